package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ContainerNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import com.sun.management.ThreadMXBean;
import dev.tributary.core.Scope;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.zip.ZipEntry;
import java.util.zip.ZipException;
import java.util.zip.ZipInputStream;

/**
 * Files of one format, each with random damage: every one loads, or is refused in one sentence, and
 * neither takes much memory. {@code -Dfuzz.mutations=100000} sets how many.
 */
final class Tampering {
  private static final int FILES = Integer.getInteger("fuzz.mutations", 5_000);

  /** Bytes that one small file may make a reader allocate; an honest one takes a hundredth. */
  private static final long MEMORY = 64 << 20;

  private static final ObjectMapper JSON = new ObjectMapper();
  private static final ObjectMapper YAML = new YAMLMapper();
  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

  /** What the values of a file may be made of, and what they should not. */
  private static final List<String> VALUES =
      List.of(
          "null",
          "0",
          "-1",
          "1",
          "3",
          "0.5",
          "1e999999999",
          "-0.0",
          "2147483646",
          "2147483647",
          "2147483648",
          "4294967295",
          "9223372036854775807",
          "9223372036854775808",
          "1" + "0".repeat(900),
          "\"\"",
          "\"a\"",
          "\"<unk>\"",
          "\"none\"",
          "\"\\u0000\"",
          "\"\\ud83d\\ude00\"",
          "\"../../x\"",
          "\"" + "x".repeat(5000) + "\"",
          "true",
          "false",
          "{}",
          "[]",
          "[0]",
          "{\"a\":{\"a\":[]}}",
          "[".repeat(60) + "]".repeat(60));

  /** Pieces of text that mean something to a parser. */
  private static final List<String> PIECES =
      List.of(
          "\"",
          "{",
          "}",
          "[",
          "]",
          ",",
          ":",
          "\\",
          "\\ud800",
          "\u00fc",
          "\u0000",
          "//",
          "NaN",
          "Infinity",
          "-",
          "1e9",
          "9223372036854775808",
          "null",
          "\n",
          " ",
          "\r\n",
          "\u0120",
          "#version",
          "[[[[[[",
          "\"vocab\"",
          "\"shape\":[0,0]",
          "\"data_offsets\"",
          "\"__metadata__\"",
          "\"F32\"");

  /** What parsers say to programmers. */
  private static final List<String> OF_PARSERS =
      List.of(
          "Feature", "(code ", "CTRL-CHAR", "was expecting", "fasterxml", "[Source", "Exception");

  private Tampering() {}

  /** Reads files that it makes by chance. */
  @FunctionalInterface
  interface Attempt {
    /** Returns if the files make sense after all. */
    void load(Random random) throws IOException;
  }

  /** Writes a file anew: where one is written over, ext4 waits for the disk. */
  static Path write(Path file, byte[] content) throws IOException {
    Files.deleteIfExists(file);
    return Files.write(file, content);
  }

  /**
   * Tries many files.
   *
   * @param begin how the sentence of a refusal begins: the folder of the files
   */
  static void check(Path begin, Attempt attempt) {
    long live = Scope.liveTensors();
    int refused = 0;
    for (int seed = 0; seed < FILES; seed++) {
      Random random = new Random(seed * 0x9e3779b97f4a7c15L);
      long before = THREADS.getCurrentThreadAllocatedBytes();
      try (Scope scope = Scope.open()) {
        attempt.load(random);
      } catch (IOException e) {
        requireSentence(begin, e);
        refused++;
      } catch (Throwable e) {
        throw new AssertionError("file " + seed, e);
      }
      long allocated = THREADS.getCurrentThreadAllocatedBytes() - before;
      boolean first = seed == 0; // in which libraries may start
      assertTrue(first || allocated < MEMORY, "file " + seed + " takes " + allocated + " bytes");
    }
    assertEquals(live, Scope.liveTensors());
    assertTrue(refused > FILES / 20 && refused < FILES - FILES / 100, refused + " are refused");
  }

  /** Checks that a refusal is one sentence that begins with the path. */
  static void requireSentence(Path begin, IOException e) {
    assertEquals(IOException.class, e.getClass(), e::toString);
    String sentence = String.valueOf(e.getMessage());
    assertTrue(sentence.startsWith(begin.toString()), sentence);
    assertEquals(1, sentence.lines().count(), sentence);
    assertTrue(sentence.length() < 2000, sentence);
    for (String word : OF_PARSERS) {
      assertFalse(sentence.contains(word), sentence);
    }
  }

  /** A file of the format that its name says which is not what it was. */
  static byte[] file(String name, byte[] valid, Random random) throws IOException {
    return switch (name.substring(name.lastIndexOf('.') + 1)) {
      case "json" -> json(JSON.readTree(valid), random);
      case "yaml" ->
          random.nextBoolean() ? json(YAML.readTree(valid), random) : bytes(valid, random);
      case "safetensors" -> safetensors(valid, random);
      case "npz", "pt", "pth" -> archive(valid, random);
      default -> bytes(valid, random);
    };
  }

  /** A JSON text whose values, structure or letters are not what they were. */
  static byte[] json(JsonNode valid, Random random) throws IOException {
    JsonNode root = valid.deepCopy();
    for (int i = random.nextInt(3); i >= 0; i--) {
      tamper(root, random);
    }
    byte[] text = root.toString().getBytes(StandardCharsets.UTF_8);
    return random.nextInt(4) == 0 ? bytes(text, random) : text;
  }

  private static void tamper(JsonNode root, Random random) throws IOException {
    List<JsonNode> nodes = new ArrayList<>();
    collect(root, nodes);
    List<JsonNode> containers =
        nodes.stream().filter(node -> node instanceof ContainerNode && !node.isEmpty()).toList();
    if (containers.isEmpty()) {
      return;
    }
    JsonNode value =
        random.nextBoolean()
            ? JSON.readTree(VALUES.get(random.nextInt(VALUES.size())))
            : nodes.get(random.nextInt(nodes.size())).deepCopy();
    JsonNode target = containers.get(random.nextInt(containers.size()));
    int at = random.nextInt(target.size());
    int how = random.nextInt(4);
    if (target instanceof ArrayNode list) {
      switch (how) {
        case 0 -> list.remove(at);
        case 1 -> list.insert(at, list.get(at).deepCopy());
        default -> list.set(at, value);
      }
    } else if (target instanceof ObjectNode object) {
      String key = List.copyOf(object.properties()).get(at).getKey();
      switch (how) {
        case 0 -> object.remove(key);
        case 1 -> object.set("a", object.remove(key));
        default -> object.set(key, value);
      }
    }
  }

  private static void collect(JsonNode node, List<JsonNode> nodes) {
    nodes.add(node);
    node.forEach(child -> collect(child, nodes));
  }

  /** A safetensors file whose header, length or data is not what it was. */
  static byte[] safetensors(byte[] valid, Random random) throws IOException {
    int length = ByteBuffer.wrap(valid).order(ByteOrder.LITTLE_ENDIAN).getInt();
    byte[] header = Arrays.copyOfRange(valid, Long.BYTES, Long.BYTES + length);
    byte[] data = Arrays.copyOfRange(valid, Long.BYTES + length, valid.length);
    return switch (random.nextInt(4)) {
      case 0 -> bytes(valid, random);
      case 1 -> SafetensorsBuilder.file(header, bytes(data, random));
      case 2 -> SafetensorsBuilder.file(bytes(header, random), data);
      default -> SafetensorsBuilder.file(json(JSON.readTree(header), random), data);
    };
  }

  /** An archive one of whose files is not what it was, or in its own bytes. */
  private static byte[] archive(byte[] valid, Random random) throws IOException {
    List<Object> entries = new ArrayList<>();
    try (ZipInputStream zip = new ZipInputStream(new ByteArrayInputStream(valid))) {
      for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
        entries.addAll(List.of(entry.getName(), zip.readAllBytes()));
      }
    } catch (ZipException e) { // PyTorch's say the size of a file only behind it
      return bytes(valid, random);
    }
    int at = 2 * random.nextInt(entries.size() / 2) + 1;
    entries.set(at, bytes((byte[]) entries.get(at), random));
    return random.nextInt(3) == 0
        ? bytes(valid, random)
        : HostileTorchFileTest.archive(entries.toArray());
  }

  /** Bytes that are not what they were: some set, cut out, put in, doubled, or cut off. */
  static byte[] bytes(byte[] valid, Random random) {
    byte[] result = valid;
    for (int i = random.nextInt(4); i >= 0; i--) {
      int from = random.nextInt(result.length + 1);
      int to = Math.min(result.length, from + random.nextInt(16));
      byte[] middle =
          switch (random.nextInt(7)) {
            case 0 -> new byte[0];
            case 1 -> new byte[] {(byte) random.nextInt(256)};
            case 2 -> extremes(random);
            case 3 -> PIECES.get(random.nextInt(PIECES.size())).getBytes(StandardCharsets.UTF_8);
            case 4 -> twice(Arrays.copyOfRange(result, from, to));
            default -> flipped(Arrays.copyOfRange(result, from, to), random);
          };
      boolean end = random.nextInt(40) == 0;
      result = joined(result, from, middle, end ? result.length : to);
    }
    return result;
  }

  /** Numbers at which lengths overflow. */
  private static byte[] extremes(Random random) {
    long[] numbers = {-1, Long.MAX_VALUE, Long.MIN_VALUE, Integer.MAX_VALUE, 1L << 32, 1L << 40, 0};
    return ByteBuffer.allocate(Long.BYTES)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(numbers[random.nextInt(numbers.length)])
        .array();
  }

  private static byte[] twice(byte[] piece) {
    return joined(piece, piece.length, piece, piece.length);
  }

  private static byte[] flipped(byte[] piece, Random random) {
    if (piece.length > 0) {
      piece[random.nextInt(piece.length)] ^= (byte) (1 << random.nextInt(8));
    }
    return piece;
  }

  private static byte[] joined(byte[] all, int from, byte[] middle, int to) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.write(all, 0, from);
    out.writeBytes(middle);
    out.write(all, to, all.length - to);
    return out.toByteArray();
  }
}
