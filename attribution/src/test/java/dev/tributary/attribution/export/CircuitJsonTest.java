package dev.tributary.attribution.export;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.EdgeAttribution;
import dev.tributary.attribution.EdgeMeasure;
import dev.tributary.attribution.Metric;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.file.Dictionaries;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CircuitJsonTest {
  private static final double ROUNDING = 1e-12;

  @TempDir private Path folder;

  private static final Map<EdgeMeasure, Circuit> CIRCUITS = new EnumMap<>(EdgeMeasure.class);

  /** A circuit of the shipped model with an autoencoder, whose labels need every escape. */
  static Circuit circuit(EdgeMeasure measure) throws IOException {
    if (!CIRCUITS.containsKey(measure)) {
      CIRCUITS.put(measure, compute(measure));
    }
    return Objects.requireNonNull(CIRCUITS.get(measure));
  }

  private static Circuit compute(EdgeMeasure measure) throws IOException {
    try (Scope scope = Scope.open()) {
      Tokenizer tokenizer = Tokenizers.textbook();
      int[] tokens =
          tokenizer.encode("When Mary and John went to the store , John gave a drink to");
      Run run =
          Models.textbook(DType.DOUBLE)
              .with(Dictionaries.textbook(DType.DOUBLE).subList(0, 1))
              .run(tokens);
      Metric metric =
          Metric.logitDifference(run.lastToken(), tokenizer.token("Mary"), tokenizer.token("John"));
      List<String> texts =
          new ArrayList<>(Arrays.stream(tokens).mapToObj(tokenizer::text).toList());
      texts.set(1, "a \"quoted\", \\ word");
      texts.set(7, texts.get(1));
      texts.set(14, "two\r\nlines {|}<&> \u0000 \u00e9 \ud83d\ude00");
      Circuit.Labels labels =
          new Circuit.Labels(
              "textbook", String.join(" ", texts), texts, "logit \"Mary\" - logit John");
      EdgeAttribution edges =
          EdgeAttribution.of(NodeAttribution.of(run, metric), ScaleGradient.DETACHED, measure);
      return Circuit.grown(edges, labels, 120, Progress.NONE).prune(0.95, 0.98);
    }
  }

  /** The same circuit by other names. */
  static Circuit called(Circuit circuit, Circuit.Labels labels) {
    Circuit.Origin origin = circuit.origin();
    return new Circuit(
        new Circuit.Origin(
            labels,
            origin.tokens(),
            origin.layers(),
            origin.metric(),
            origin.position(),
            origin.scaleGradient(),
            origin.measure()),
        circuit.nodes(),
        circuit.edges(),
        circuit.inputs(),
        circuit.patterns());
  }

  private Path write(String text) throws IOException {
    return Files.writeString(folder.resolve("circuit.json"), text);
  }

  @Test
  void read_written_isEqual() throws IOException {
    for (EdgeMeasure measure : EdgeMeasure.values()) {
      Circuit circuit = circuit(measure);
      assertTrue(circuit.edges().size() > 50);
      Circuit read = CircuitJson.read(write(CircuitJson.of(circuit)));
      assertEquals(circuit, read);
      assertEquals(CircuitJson.of(circuit), CircuitJson.of(read));
    }
  }

  @Test
  void of_circuit_saysWhatTheCircuitSays() throws IOException {
    Circuit circuit = circuit(EdgeMeasure.ATTRIBUTION);
    String text = CircuitJson.of(circuit);
    assertTrue(text.contains("\n    {\"name\": \"embedding[7]\", \"kind\": \"embedding\", "), text);
    JsonNode json = new ObjectMapper().readTree(text);
    assertEquals("tributary-circuit", json.get("format").asText());
    assertEquals("detached", json.get("scale").asText());
    double incoming = 0;
    int last = json.get("nodes").size() - 1;
    for (JsonNode edge : json.get("edges")) {
      JsonNode target = json.get("nodes").get(edge.get("target").asInt());
      assertEquals(target.get("kind").asText().equals("head"), edge.has("path"));
      incoming += edge.get("target").asInt() == last ? edge.get("score").asDouble() : 0;
    }
    assertEquals(1, incoming, ROUNDING);
    int block = 0;
    for (JsonNode node : json.get("nodes")) {
      assertTrue(node.get("block").asInt() >= block);
      block = node.get("block").asInt();
      assertEquals(block == 0 || block == 9, !node.has("layer"));
      assertEquals(node.get("kind").asText().equals("head"), node.has("key"));
      assertEquals(node.get("kind").asText().equals("metric"), !node.has("direct_effect"));
    }
    assertEquals("metric", json.get("nodes").get(last).get("kind").asText());
    for (JsonNode pattern : json.get("patterns")) {
      int query = 0;
      for (JsonNode row : pattern.get("values")) {
        double sum = 0;
        for (JsonNode probability : row) {
          sum += probability.asDouble();
        }
        assertEquals(++query, row.size());
        assertEquals(1, sum, 1e-4);
      }
      assertEquals(circuit.origin().tokens().size(), query);
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "version\": 1 | version\": 2 | expected \"format\": \"tributary-circuit\" and \"version\": 1",
        "\"layers\": 4 | \"layers\": 4.5 | \"layers\" is not a whole number",
        "\"scale\": \"detached\" | \"scale\": \"deleted\" | \"scale\" is \"deleted\"",
        "\"name\": \"metric\" | \"name\": \"L0.mlp_bias[3]\" | expected the metric",
        "\"name\": \"metric\" | \"name\": \"banana\" | is not the name of a node",
        "\"source\": 0, | \"source\": 100000, | expected one before it",
        "\"source\": 0, | \"source\": -1, | expected one before it",
        "\"weight\": | \"weight\": 1e999, \"w\": | \"weight\" is not a number",
        "\"certificates\" | \"other\" | \"certificates\" is not a list",
        "\"prompt\" | \"model\" | this is not JSON",
        "{ | [ | this is not JSON",
      })
  void read_brokenText_saysWhatIsWrong(String what, String with, String expected)
      throws IOException {
    String text = CircuitJson.of(circuit(EdgeMeasure.ATTRIBUTION));
    assertTrue(text.contains(what), what);
    Path file = write(text.replaceFirst(Pattern.quote(what), with));
    IOException e = assertThrows(IOException.class, () -> CircuitJson.read(file));
    String message = Objects.requireNonNull(e.getMessage());
    assertTrue(message.startsWith(file + ": "), message);
    assertTrue(message.contains(expected), message);
    assertFalse(message.contains("\n"), message);
  }
}
