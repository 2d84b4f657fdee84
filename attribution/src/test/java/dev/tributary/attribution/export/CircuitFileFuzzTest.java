package dev.tributary.attribution.export;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.EdgeMeasure;
import dev.tributary.attribution.viewer.CircuitPage;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A damaged file is a circuit all the same, or refused in one sentence with its path. */
class CircuitFileFuzzTest {
  private static final int MUTATIONS = Integer.getInteger("fuzz.mutations", 1000);
  private static final ObjectMapper MAPPER = new ObjectMapper();

  @TempDir private Path folder;

  @Test
  void read_damagedCircuit_isRefusedOrACircuit() throws IOException {
    survive(CircuitJson.of(CircuitJsonTest.circuit(EdgeMeasure.ACTIVATION).top(30)), 1);
  }

  @Test
  void read_damagedFirstVersion_isRefusedOrACircuit() throws IOException {
    String resource = "/circuit/version-1.json";
    try (InputStream in = CircuitFileFuzzTest.class.getResourceAsStream(resource)) {
      byte[] bytes = Objects.requireNonNull(in).readAllBytes();
      survive(new String(bytes, StandardCharsets.UTF_8), 2);
    }
  }

  @Test
  void read_damagedGraph_isRefusedOrACircuit() throws IOException {
    survive(AttributionGraphReaderTest.collision("E_9_0 1_1_1", "1_1_1 4_3_1").toString(), 3);
  }

  private void survive(String text, long seed) throws IOException {
    Random random = new Random(seed);
    Path file = folder.resolve("damaged.json");
    JsonNode json = MAPPER.readTree(text);
    int refused = 0;
    for (int i = 0; i < MUTATIONS; i++) {
      byte[] damaged = i % 2 == 0 ? bytes(text, random) : tree(json.deepCopy(), random);
      Files.write(file, damaged);
      Circuit circuit;
      try {
        circuit = CircuitFile.read(file);
      } catch (IOException e) {
        String message = Objects.requireNonNull(e.getMessage());
        assertTrue(message.startsWith(file + ": "), message);
        assertFalse(message.contains("Exception"), message);
        refused++;
        continue;
      } catch (RuntimeException e) {
        String shown = new String(damaged, StandardCharsets.UTF_8);
        throw new AssertionError("seed " + seed + ", mutation " + i + ": " + shown, e);
      }
      Files.writeString(file, CircuitJson.of(circuit));
      assertEquals(circuit, CircuitFile.read(file), "seed " + seed + ", mutation " + i);
      Dot.of(circuit);
      EdgeTable.of(circuit);
      AttributionGraphJson.of(circuit);
      CircuitPage.of(circuit);
    }
    assertTrue(refused > MUTATIONS / 3 && refused < MUTATIONS, refused + " refused");
  }

  private static byte[] bytes(String text, Random random) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    for (int flips = 1 + random.nextInt(3); flips > 0; flips--) {
      bytes[random.nextInt(bytes.length)] = (byte) random.nextInt(256);
    }
    return bytes;
  }

  /** Some value is another, or gone. */
  private static byte[] tree(JsonNode json, Random random) {
    List<JsonNode> containers = new ArrayList<>();
    collect(json, containers);
    JsonNode parent = containers.get(random.nextInt(containers.size()));
    JsonNode value = value(containers, random);
    int at = parent.isEmpty() ? 0 : random.nextInt(parent.size());
    if (parent instanceof ObjectNode object && !object.isEmpty()) {
      List<String> names = new ArrayList<>();
      object.fieldNames().forEachRemaining(names::add);
      if (random.nextInt(4) == 0) {
        object.remove(names.get(at));
      } else {
        object.set(names.get(at), value);
      }
    } else if (parent instanceof ArrayNode array) {
      if (random.nextInt(3) == 0 || array.isEmpty()) {
        array.add(value);
      } else if (random.nextBoolean()) {
        array.remove(at);
      } else {
        array.set(at, value);
      }
    }
    return json.toString().getBytes(StandardCharsets.UTF_8);
  }

  private static JsonNode value(List<JsonNode> containers, Random random) {
    return switch (random.nextInt(9)) {
      case 0 -> MAPPER.nullNode();
      case 1 -> MAPPER.getNodeFactory().numberNode(-1);
      case 2 -> MAPPER.getNodeFactory().numberNode(random.nextInt(20));
      case 3 -> MAPPER.getNodeFactory().numberNode(Long.MAX_VALUE);
      case 4 -> MAPPER.getNodeFactory().numberNode(random.nextGaussian() * 1e300);
      case 5 -> MAPPER.getNodeFactory().textNode("metric");
      case 6 -> MAPPER.getNodeFactory().textNode("");
      case 7 -> MAPPER.getNodeFactory().booleanNode(true);
      default -> containers.get(random.nextInt(containers.size())).deepCopy();
    };
  }

  private static void collect(JsonNode json, List<JsonNode> containers) {
    if (json.isContainerNode()) {
      containers.add(json);
      json.forEach(child -> collect(child, containers));
    }
  }
}
