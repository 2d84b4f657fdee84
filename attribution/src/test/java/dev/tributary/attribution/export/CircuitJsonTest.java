package dev.tributary.attribution.export;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.Basis;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Group;
import dev.tributary.attribution.Circuit.Labels;
import dev.tributary.attribution.Circuit.Member;
import dev.tributary.attribution.Circuit.Output;
import dev.tributary.attribution.CircuitAttention;
import dev.tributary.attribution.CircuitBuilder;
import dev.tributary.attribution.EdgeAttribution;
import dev.tributary.attribution.EdgeMeasure;
import dev.tributary.attribution.Logit;
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
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
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
          new Circuit.Labels("textbook", List.of(), String.join(" ", texts), texts);
      EdgeAttribution edges =
          EdgeAttribution.of(NodeAttribution.of(run, metric), ScaleGradient.DETACHED, measure);
      Circuit circuit =
          CircuitBuilder.of(edges, labels, "logit \"Mary\" - logit John", Progress.NONE)
              .grown(120)
              .prune(0.95, 0.98);
      return circuit.with(
          CircuitAttention.of(edges, Basis.of(run.model()), circuit, 12, Progress.NONE));
    }
  }

  /** The same circuit by other names. */
  static Circuit called(Circuit circuit, Circuit.Labels labels, String metric) {
    Circuit.Origin origin = circuit.origin();
    return new Circuit(
        new Circuit.Origin(
            labels, origin.tokens(), origin.layers(), origin.scaleGradient(), origin.measure()),
        circuit.nodes().stream().map(node -> called(node, metric)).toList(),
        circuit.edges(),
        circuit.inputs(),
        circuit.patterns(),
        circuit.groups(),
        circuit.attention());
  }

  private static Member called(Member node, String metric) {
    return new Member(
        node.node(),
        node.point(),
        node.activation(),
        node.attribution(),
        node.directEffect(),
        node.output()
            .map(read -> new Output(metric, read.position(), read.value(), read.weight())));
  }

  private Path write(String text) throws IOException {
    return Files.writeString(folder.resolve("circuit.json"), text);
  }

  @Test
  void read_writtenLogitsAndGroups_isEqual() throws IOException {
    Circuit circuit = circuit(EdgeMeasure.ACTIVATION);
    List<Member> nodes = new ArrayList<>(circuit.nodes());
    Member metric = nodes.remove(nodes.size() - 1);
    OptionalDouble none = OptionalDouble.empty();
    for (int word : new int[] {5, 3}) {
      Output output = new Output("\"" + word, 14, OptionalDouble.of(1.25), 0.125 * word);
      nodes.add(
          new Member(new Logit(14, word), metric.point(), none, none, none, Optional.of(output)));
    }
    Labels labels = circuit.origin().labels();
    Circuit several =
        new Circuit(
            new Circuit.Origin(
                new Labels(labels.model(), List.of("a", "b/c"), labels.prompt(), labels.tokens()),
                circuit.origin().tokens(),
                circuit.origin().layers(),
                circuit.origin().scaleGradient(),
                circuit.origin().measure()),
            nodes,
            circuit.edges(),
            circuit.inputs(),
            circuit.patterns(),
            List.of(new Group("say \"x\"", List.of(0, 3)), new Group("", List.of(2))),
            circuit.attention());
    assertEquals(several, CircuitFile.read(write(CircuitJson.of(several))));
  }

  @Test
  void read_written_isEqual() throws IOException {
    for (EdgeMeasure measure : EdgeMeasure.values()) {
      Circuit circuit = circuit(measure);
      assertTrue(circuit.edges().size() > 50);
      assertEquals(12, circuit.attention().loadings().size());
      assertEquals(12, circuit.attention().scores().size());
      Circuit read = CircuitFile.read(write(CircuitJson.of(circuit)));
      assertEquals(circuit, read);
      assertEquals(CircuitJson.of(circuit), CircuitJson.of(read));
    }
  }

  /** Files were written before it was said what explains attention. */
  @Test
  void read_withoutAttention_isTheSameCircuitWithout() throws IOException {
    Circuit circuit = circuit(EdgeMeasure.ATTRIBUTION);
    ObjectNode json = (ObjectNode) new ObjectMapper().readTree(CircuitJson.of(circuit));
    json.remove("loadings");
    json.remove("head_scores");
    assertEquals(circuit.with(CircuitAttention.NONE), CircuitFile.read(write(json.toString())));
  }

  @Test
  void read_loadingsOfNoEdgeOrTwice_isRefused() throws IOException {
    JsonNode json = new ObjectMapper().readTree(CircuitJson.of(circuit(EdgeMeasure.ATTRIBUTION)));
    for (String list : List.of("loadings", "head_scores")) {
      ObjectNode twice = json.deepCopy();
      ((ArrayNode) twice.get(list)).add(twice.get(list).get(0));
      IOException e =
          assertThrows(IOException.class, () -> CircuitFile.read(write(twice.toString())));
      String message = Objects.requireNonNull(e.getMessage());
      assertTrue(
          message.contains(list.equals("loadings") ? "split before" : "two scores"), message);
    }
  }

  /** A file from before nodes had fields. */
  @Test
  void read_firstVersion_isTheSameCircuit() throws IOException {
    String resource = "/circuit/version-1.json";
    byte[] bytes;
    try (InputStream in = CircuitJsonTest.class.getResourceAsStream(resource)) {
      bytes = Objects.requireNonNull(in).readAllBytes();
    }
    String first = new String(bytes, StandardCharsets.UTF_8);
    JsonNode old = new ObjectMapper().readTree(first);
    Circuit circuit = CircuitFile.read(write(first));
    JsonNode json = new ObjectMapper().readTree(CircuitJson.of(circuit));
    assertEquals(2, json.get("version").intValue());
    for (String same :
        List.of("model", "prompt", "tokens", "scale", "measure", "edges", "scores")) {
      assertEquals(old.get(same), json.get(same), same);
    }
    assertEquals(old.get("nodes").size(), json.get("nodes").size());
    for (int i = 0; i < json.get("nodes").size(); i++) {
      JsonNode was = old.get("nodes").get(i);
      JsonNode node = json.get("nodes").get(i);
      assertEquals(was.get("block"), node.get("point"));
      for (String same : List.of("name", "kind", "component", "layer", "key", "influence")) {
        assertEquals(was.get(same), node.get(same), same);
      }
    }
    JsonNode output = json.get("nodes").get(json.get("nodes").size() - 1).get("output");
    for (String same : List.of("text", "value", "position")) {
      assertEquals(old.get("metric").get(same), output.get(same), same);
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
      assertTrue(node.get("point").asInt() >= block);
      block = node.get("point").asInt();
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
        "version\": 2 | version\": 3 | expected \"format\": \"tributary-circuit\" and \"version\": 1 or 2",
        "version\": 2 | version\": 1 | \"block\" is not a whole number",
        "\"layers\": 4 | \"layers\": 4.5 | \"layers\" is not a whole number",
        "\"scale\": \"detached\" | \"scale\": \"deleted\" | \"scale\" is \"deleted\"",
        "\"output\": {\"text\" | \"put\": {\"text\" | a circuit that explains nothing",
        "\"output\": {\"text\" | \"output\": 1, \"put\": {\"text\" | \"output\" is not an object",
        "\"weight\": 1.0 | \"weight\": 0.0 | it must be above 0",
        "\"kind\": \"metric\" | \"kind\": \"banana\" | there is no kind of node of which banana is one",
        "\"kind\": \"neuron\" | \"kind\": \"head\" | there is no kind of node of which L",
        "\"component\": \"mlp\" | \"component\": \"moon\" | \"component\" is \"moon\"",
        "\"groups\": [] | \"groups\": [{\"name\": \"a\", \"nodes\": [0.5]}] | holds what is no whole number",
        "\"groups\": [] | \"groups\": [{\"name\": \"a\", \"nodes\": [-1]}] | node -1 of",
        "\"source\": 0, | \"source\": 100000, | expected one before it",
        "\"source\": 0, | \"source\": -1, | expected one before it",
        "\"weight\": | \"weight\": 1e999, \"w\": | \"weight\" is not a number",
        "\"certificates\" | \"other\" | \"certificates\" is not a list",
        "\"loadings\": [ | \"loadings\": [{}, | \"loadings\", item 0: \"source\" is not a whole number",
        "\"loadings\": [ | \"readings\": [ | \"loadings\" is not a list",
        "\"head_scores\": [ | \"head_scores\": [{\"kind\": \"neuron\", \"component\": \"mlp\", \"layer\": 0, \"index\": 0, \"token\": 0}, | neuron0[0] is no head at a pair of tokens",
        "\"edge\": | \"hedge\": | \"edge\" is not a number",
        "\"passing\": | \"passing\": 1e999, \"was\": | \"passing\" is not a number",
        "\"layers\": [{\"layer\": | \"layers\": [{\"layer\": 9, \"was\": | loadings of layer 9 of 4",
        "\"count\": | \"count\": 1, \"was\": | 10 of the 1 pairs of",
        "\"prompt\" | \"model\" | this is not JSON",
        "{ | [ | this is not JSON",
      })
  void read_brokenText_saysWhatIsWrong(String what, String with, String expected)
      throws IOException {
    String text = CircuitJson.of(circuit(EdgeMeasure.ATTRIBUTION));
    assertTrue(text.contains(what), what);
    Path file = write(text.replaceFirst(Pattern.quote(what), with));
    IOException e = assertThrows(IOException.class, () -> CircuitFile.read(file));
    String message = Objects.requireNonNull(e.getMessage());
    assertTrue(message.startsWith(file + ": "), message);
    assertTrue(message.contains(expected), message);
    assertFalse(message.contains("\n"), message);
  }
}
