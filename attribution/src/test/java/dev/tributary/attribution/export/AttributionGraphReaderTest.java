package dev.tributary.attribution.export;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Edge;
import dev.tributary.attribution.Circuit.Group;
import dev.tributary.attribution.Node;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Oracles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Graphs that circuit-tracer wrote. */
class AttributionGraphReaderTest {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  @TempDir private Path folder;

  private Circuit read(String text) throws IOException {
    return CircuitFile.read(Files.writeString(folder.resolve("graph.json"), text));
  }

  private static Path reference() {
    return Oracles.folder("reference-graphs/llama-relu/export").resolve("llama-relu.json");
  }

  /** All but what is its own: slug, threshold, and influence, which is of what was not pruned. */
  @Test
  void read_graphOfCircuitTracer_isWrittenAsItWas() throws IOException {
    Path file = reference();
    JsonNode theirs = MAPPER.readTree(Files.readString(file));
    JsonNode ours = MAPPER.readTree(AttributionGraphJson.of(CircuitFile.read(file)));
    assertEquals(theirs.get("links"), ours.get("links"));
    assertEquals(theirs.get("qParams"), ours.get("qParams"));
    for (String same :
        List.of("scan", "transcoder_list", "prompt_tokens", "prompt", "schema_version")) {
      assertEquals(theirs.get("metadata").get(same), ours.get("metadata").get(same), same);
    }
    assertEquals(25, ours.get("nodes").size());
    for (int i = 0; i < 25; i++) {
      ObjectNode node = ours.get("nodes").get(i).deepCopy();
      assertEquals(
          node.get("feature_type").asText().equals("logit"), node.get("influence").isNull());
      assertEquals(
          theirs.get("nodes").get(i),
          node.set("influence", theirs.at("/nodes/" + i + "/influence")));
    }
  }

  @Test
  void read_graphOfCircuitTracer_isWhatItSays() throws IOException {
    Path file = reference();
    Circuit circuit = CircuitFile.read(file);
    assertEquals(3, circuit.origin().layers());
    assertEquals(List.of(1, 26, 83, 7, 78, 44, 72, 2), circuit.origin().tokens());
    assertEquals(List.of("tiny/llama-relu"), circuit.origin().labels().dictionaries());
    assertEquals(7, circuit.outputs().size());
    assertEquals("w70", circuit.outputs().get(0).text());
    assertEquals(0.5008626785917857, circuit.outputs().get(0).weight(), 0);
    List<String> names = circuit.nodes().stream().map(node -> node.node().toString()).toList();
    assertEquals("embedding[0]", names.get(0));
    assertTrue(names.contains("logit70[7]"), names.toString());
    assertEquals(8, names.stream().filter(name -> name.startsWith("embedding")).count());
    assertEquals(6, names.stream().filter(name -> name.contains("error")).count());
    assertEquals(4, names.stream().filter(name -> name.contains("latent")).count());
    assertEquals(circuit, read(CircuitJson.of(circuit)));
    assertEquals(circuit, read(AttributionGraphJson.of(circuit)));
  }

  // ---- ids ---------------------------------------------------------------------------------

  private static ObjectNode node(String id, String type, String layer, int token, int feature) {
    return MAPPER
        .createObjectNode()
        .put("node_id", id)
        .put("feature_type", type)
        .put("layer", layer)
        .put("ctx_idx", token)
        .put("feature", feature)
        .put("token_prob", 0.5)
        .put("clerp", "");
  }

  /** Feature 2 of layer 0 at token 1, and the error of layer 2 there. */
  static ObjectNode collision(String... links) {
    ObjectNode graph = MAPPER.createObjectNode();
    graph.putObject("metadata").put("scan", "s").put("prompt", "a b");
    ((ObjectNode) graph.get("metadata")).putArray("prompt_tokens").add("a").add("b");
    graph
        .putArray("nodes")
        .add(node("0_2_1", "cross layer transcoder", "0", 1, 5))
        .add(node("1_1_1", "cross layer transcoder", "1", 1, 4))
        .add(node("0_2_1", "mlp reconstruction error", "2", 1, -1))
        .add(node("E_9_0", "embedding", "E", 0, 0))
        .add(node("4_3_1", "logit", "4", 1, 3));
    graph.putArray("links");
    for (String link : links) {
      String[] ends = link.split(" ", -1);
      graph
          .withArray("links")
          .addObject()
          .put("source", ends[0])
          .put("target", ends[1])
          .put("weight", graph.get("links").size());
    }
    return graph;
  }

  private static String edges(Circuit circuit) {
    StringBuilder text = new StringBuilder();
    for (Edge edge : circuit.edges()) {
      Node source = circuit.nodes().get(edge.source()).node();
      text.append(source.isError() ? "error " : source.isInput() ? "embedding " : "latent ");
    }
    return text.toString().strip();
  }

  @ParameterizedTest
  @CsvSource({
    "E_9_0 0_2_1, embedding", // what is read is read by the feature
    "0_2_1 4_3_1/0_2_1 4_3_1, latent error",
    "0_2_1 4_3_1/1_1_1 4_3_1, latent latent",
    "1_1_1 4_3_1/0_2_1 4_3_1, latent error",
    "0_2_1 4_3_1/1_1_1 4_3_1/0_2_1 4_3_1, latent latent error",
  })
  void read_errorWithTheIdOfAFeature_isToldByItsPlaceInTheLinks(String links, String sources)
      throws IOException {
    Circuit circuit = read(collision(links.split("/", -1)).toString());
    assertEquals(sources, edges(circuit));
    String written = AttributionGraphJson.of(circuit);
    assertTrue(written.contains("\"0_2_1_error\""), written);
    assertEquals(circuit, read(written));
  }

  @Test
  void read_linkThatMayBeOfTwoNodes_isRefused() {
    for (String links : List.of("0_2_1 4_3_1", "0_2_1 4_3_1/E_9_0 4_3_1/1_1_1 4_3_1")) {
      String text = collision(links.split("/", -1)).toString();
      IOException e = assertThrows(IOException.class, () -> read(text));
      String message = Objects.requireNonNull(e.getMessage());
      assertTrue(message.contains("\"0_2_1\" is L0."), message);
      assertTrue(message.endsWith("and the link does not say which"), message);
    }
  }

  @Test
  void of_groups_areSupernodesOfPinnedNodes() throws IOException {
    Circuit plain = read(collision("E_9_0 1_1_1", "1_1_1 4_3_1").toString());
    Circuit circuit =
        new Circuit(
            plain.origin(),
            plain.nodes(),
            plain.edges(),
            plain.inputs(),
            plain.patterns(),
            List.of(new Group("say b", List.of(0, 4)), new Group("a", List.of(2))),
            plain.attention());
    JsonNode view = MAPPER.readTree(AttributionGraphJson.of(circuit)).get("qParams");
    assertEquals(
        "[[\"say b\",\"E_9_0\",\"4_3_1\"],[\"a\",\"1_1_1\"]]", view.get("supernodes").toString());
    assertEquals("[\"E_9_0\",\"4_3_1\",\"1_1_1\"]", view.get("pinnedIds").toString());
    assertEquals(circuit, read(AttributionGraphJson.of(circuit)));
  }

  @Test
  void of_severalDictionaries_areListedAndOneIsTheScan() throws IOException {
    Circuit circuit = read(collision("E_9_0 1_1_1", "1_1_1 4_3_1").toString());
    Circuit.Labels labels = circuit.origin().labels();
    for (List<String> names : List.of(List.of("a/b"), List.of("a/b", "c"))) {
      Circuit called =
          CircuitJsonTest.called(
              circuit, new Circuit.Labels("m", names, labels.prompt(), labels.tokens()), "x");
      JsonNode metadata = MAPPER.readTree(AttributionGraphJson.of(called)).get("metadata");
      assertEquals(names.size() == 1, metadata.get("scan").asText().equals("a/b"));
      assertEquals(names.size() == 1 ? 0 : 2, metadata.get("transcoder_list").size());
      assertEquals(names, read(AttributionGraphJson.of(called)).origin().labels().dictionaries());
    }
  }

  // ---- strangers ---------------------------------------------------------------------------

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "\"feature\":4 | \"feature\":5 | \"feature\" 5 is number 2 of layer 0, and the node is of layer 1",
        "\"feature\":4 | \"feature\":-4 | \"feature\" is -4.0",
        "\"feature\":4 | \"feature\":4.5 | \"feature\" is 4.5",
        "\"feature\":4 | \"feature\":1e300 | \"feature\" is 1.0E300",
        "\"layer\":\"1\" | \"layer\":\"x\" | \"layer\" is \"x\"",
        "\"layer\":\"1\" | \"layer\":1 | \"layer\" is not a text",
        "\"layer\":\"4\" | \"layer\":\"1\" | a logit of layer 1",
        "\"ctx_idx\":0 | \"ctx_idx\":2 | embedding[2] is not in a run of 2 tokens",
        "\"ctx_idx\":0 | \"ctx_idx\":-1 | embedding[-1] is not in a run of 2 tokens",
        "\"feature_type\":\"logit\" | \"feature_type\":\"banana\" | a graph without a logit",
        "\"feature_type\":\"embedding\" | \"feature_type\":\"banana\" | \"feature_type\" is \"banana\"",
        "\"target\":\"4_3_1\" | \"target\":\"E_9_0\" | \"E_9_0\" reads nothing",
        "\"target\":\"4_3_1\" | \"target\":\"4\" | there is no node \"4\"",
        "\"source\":\"E_9_0\" | \"source\":\"4_3_1\" | which does not come after it",
        "\"source\":\"E_9_0\" | \"source\":\"1_1_1\" | which does not come after it",
        "\"prompt_tokens\" | \"prompt\" | this is not JSON",
        "\"prompt_tokens\" | \"p\" | \"prompt_tokens\" is not a list",
        "\"weight\":1 | \"weight\":1e999 | \"weight\" is not a number",
        "\"token_prob\":0.5,\"clerp\":\"\"}]| \"token_prob\":0,\"clerp\":\"\"}] | it must be above 0",
      })
  void read_brokenGraph_saysWhatIsWrong(String what, String with, String expected) {
    String text = collision("E_9_0 1_1_1", "1_1_1 4_3_1").toString();
    assertTrue(text.contains(what), text);
    String broken = text.replaceFirst(Pattern.quote(what), with);
    IOException e = assertThrows(IOException.class, () -> read(broken));
    String message = Objects.requireNonNull(e.getMessage());
    assertTrue(message.startsWith(folder.resolve("graph.json") + ": "), message);
    assertTrue(message.contains(expected), message);
    assertFalse(message.contains("\n"), message);
  }

  @Test
  void read_links_areEdgesIntoWholeNodes() throws IOException {
    Circuit circuit = read(collision("E_9_0 1_1_1", "1_1_1 4_3_1").toString());
    assertEquals(
        List.of(new Edge(0, 2, InputPath.ALL, 1), new Edge(2, 4, InputPath.ALL, 2)),
        circuit.edges());
  }
}
