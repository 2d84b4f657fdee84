package dev.tributary.attribution.export;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.EdgeMeasure;
import dev.tributary.attribution.Embedding;
import dev.tributary.attribution.HeadPair;
import dev.tributary.attribution.Neuron;
import dev.tributary.attribution.Node;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What the programs that read this format rely on. */
class AttributionGraphJsonTest {
  private static final double ROUNDING = 1e-12;

  private static Stream<JsonNode> items(JsonNode list) {
    return StreamSupport.stream(list.spliterator(), false);
  }

  private static JsonNode graph(Circuit circuit) throws IOException {
    return new ObjectMapper().readTree(AttributionGraphJson.of(circuit));
  }

  /** The nodes of a graph in the order of a circuit. */
  private static List<JsonNode> nodes(Circuit circuit, JsonNode graph) {
    int size = circuit.nodes().size();
    List<Integer> order =
        IntStream.range(0, size)
            .boxed()
            .sorted(Comparator.comparing(i -> rank(circuit, i)))
            .toList();
    JsonNode[] result = new JsonNode[size];
    for (int at = 0; at < size; at++) {
      result[order.get(at)] = graph.get("nodes").get(at);
    }
    return List.of(result);
  }

  /** Features, biases, errors, embeddings, logits. */
  private static int rank(Circuit circuit, int i) {
    Node node = circuit.nodes().get(i).node();
    if (circuit.nodes().get(i).output().isPresent()) {
      return 4;
    } else if (node.isInput()) {
      return 3;
    } else if (node.isError()) {
      return 2;
    }
    return node.coordinates().index().isPresent() ? 0 : 1;
  }

  // ---- the schema --------------------------------------------------------------------------

  /** The part of JSON Schema that the schema uses. */
  private static void assertValid(JsonNode schema, JsonNode json, String where) {
    JsonNode types = schema.path("type");
    Stream<JsonNode> allowed = types.isArray() ? items(types) : Stream.of(types);
    assertTrue(
        allowed.anyMatch(type -> isOf(type.asText(), json)), where + " is " + json + ": " + types);
    items(schema.path("required"))
        .forEach(name -> assertTrue(json.has(name.asText()), where + " has no " + name));
    schema
        .path("properties")
        .properties()
        .forEach(
            property -> {
              if (json.has(property.getKey())) {
                JsonNode value = json.get(property.getKey());
                assertValid(property.getValue(), value, where + "." + property.getKey());
              }
            });
    if (schema.has("items")) {
      items(json).forEach(item -> assertValid(schema.get("items"), item, where + "[]"));
    }
  }

  private static boolean isOf(String type, JsonNode json) {
    return switch (type) {
      case "object" -> json.isObject();
      case "array" -> json.isArray();
      case "string" -> json.isTextual();
      case "integer" -> json.isIntegralNumber();
      case "number" -> json.isNumber();
      case "boolean" -> json.isBoolean();
      case "null" -> json.isNull();
      default -> throw new AssertionError(type);
    };
  }

  @Test
  void of_circuit_fitsTheSchema() throws IOException {
    String resource = "/attribution-graph/schema-1.json";
    try (InputStream in = AttributionGraphJsonTest.class.getResourceAsStream(resource)) {
      JsonNode schema = new ObjectMapper().readTree(Objects.requireNonNull(in));
      assertValid(schema, graph(CircuitJsonTest.circuit(EdgeMeasure.ATTRIBUTION)), "graph");
    }
  }

  // ---- what the front ends do with it ------------------------------------------------------

  @Test
  void of_circuit_hasOneNodeForEachOfOursAndOneLinkForEachPair() throws IOException {
    Circuit circuit = CircuitJsonTest.circuit(EdgeMeasure.ATTRIBUTION);
    JsonNode graph = graph(circuit);
    assertEquals(circuit.nodes().size(), graph.get("nodes").size());
    Set<String> ids = new HashSet<>();
    Set<List<String>> features = new HashSet<>(); // by which Neuronpedia finds a node again
    for (JsonNode node : graph.get("nodes")) {
      assertTrue(ids.add(node.get("node_id").asText()), node.toString());
      assertTrue(
          features.add(
              List.of(
                  node.get("layer").asText(),
                  node.get("feature").asText(),
                  node.get("ctx_idx").asText())),
          node.toString());
    }
    Map<List<String>, Double> links = new HashMap<>();
    for (JsonNode link : graph.get("links")) {
      List<String> ends = List.of(link.get("source").asText(), link.get("target").asText());
      assertTrue(ids.containsAll(ends));
      assertFalse(links.containsKey(ends));
      links.put(ends, link.get("weight").doubleValue());
    }
    List<JsonNode> nodes = nodes(circuit, graph);
    Map<List<String>, Double> expected = new HashMap<>();
    for (Circuit.Edge edge : circuit.edges()) {
      String source = nodes.get(edge.source()).get("node_id").asText();
      String target = nodes.get(edge.target()).get("node_id").asText();
      expected.merge(List.of(source, target), edge.weight(), Double::sum);
    }
    assertEquals(expected, links);
  }

  /**
   * As Neuronpedia takes layer and index out of a feature, and a text and a number out of labels.
   */
  @Test
  void of_circuit_nodesAreWhatTheirFieldsSay() throws IOException {
    Circuit circuit = CircuitJsonTest.circuit(EdgeMeasure.ATTRIBUTION);
    JsonNode graph = graph(circuit);
    Set<String> types = new HashSet<>();
    for (int i = 0; i < circuit.nodes().size(); i++) {
      JsonNode json = nodes(circuit, graph).get(i);
      Node node = circuit.nodes().get(i).node();
      types.add(json.get("feature_type").asText());
      long feature = json.get("feature").longValue();
      if (node instanceof Neuron neuron) {
        assertEquals("cross layer transcoder", json.get("feature_type").asText());
        assertEquals(List.of((long) neuron.layer(), (long) neuron.neuron()), unpaired(feature));
        assertEquals(
            neuron.layer() + "_" + neuron.neuron() + "_" + neuron.token(),
            json.get("node_id").asText());
      } else if (node instanceof HeadPair pair) {
        assertEquals("lorsa", json.get("feature_type").asText());
        long tokens = circuit.origin().tokens().size();
        long index = 10_000_000 + pair.head() * tokens + pair.key();
        assertEquals(List.of((long) pair.layer(), index), unpaired(feature));
      } else if (node instanceof Embedding embedding) {
        assertEquals("embedding", json.get("feature_type").asText());
        int id = circuit.origin().tokens().get(embedding.token());
        assertEquals("E_" + id + "_" + embedding.token(), json.get("node_id").asText());
      }
    }
    assertTrue(
        types.containsAll(Set.of("cross layer transcoder", "lorsa", "embedding", "logit")),
        types.toString());
    JsonNode metric = graph.get("nodes").get(circuit.nodes().size() - 1);
    assertEquals("logit", metric.get("feature_type").asText());
    assertEquals("5", metric.get("layer").asText());
    assertTrue(metric.get("is_target_logit").booleanValue());
    String[] label = metric.get("clerp").asText().split("\"", -1);
    assertEquals("logit 'Mary' - logit John", label[1]);
    assertEquals(" (p=1.000)", label[2]);
  }

  private static JsonNode metadata(String model, String prompt, String metric) throws IOException {
    Circuit circuit = CircuitJsonTest.circuit(EdgeMeasure.ATTRIBUTION);
    Circuit.Labels labels =
        new Circuit.Labels(model, List.of(), prompt, circuit.origin().labels().tokens());
    return graph(CircuitJsonTest.called(circuit, labels, metric)).get("metadata");
  }

  @Test
  void slug_tellsAnyTwoPromptsApart() throws IOException {
    List<String> prompts =
        List.of(
            "\u65e5\u672c",
            "\u4e2d\u56fd",
            "\u0645\u0631\u062d\u0628\u0627",
            "\ud83d\ude00",
            "\ud83d\ude01",
            "caf\u00e9",
            "cafe\u0301",
            "cafe",
            "Cafe",
            "cafe!",
            "cafe?",
            "a b",
            "a-b",
            "a  b",
            "-",
            "--",
            "...",
            "x".repeat(100),
            "x".repeat(101),
            "x".repeat(100) + "\u65e5",
            "\n",
            "");
    Set<String> slugs = new HashSet<>();
    for (String prompt : prompts) {
      for (String metric : List.of("logit(\"a\")", "logit(\"b\")")) {
        String slug = metadata("gpt2", prompt, metric).get("slug").textValue();
        assertTrue(slug.matches("gpt2(-[a-z0-9]+)+"), slug);
        assertTrue(slug.length() <= 60, slug);
        assertTrue(slugs.add(slug), slug + " is that of two");
        JsonNode elsewhere = metadata("/home/models/gpt2/", prompt, metric);
        assertEquals(slug, elsewhere.get("slug").textValue());
      }
    }
    assertFalse(slugs.contains(metadata("gpt3", "cafe", "logit(\"a\")").get("slug").textValue()));
    String unnamed = metadata("\u65e5", "\u672c", "").get("slug").textValue();
    assertTrue(unnamed.matches("[a-z0-9]+"), unnamed);
  }

  @ParameterizedTest
  @CsvSource({
    "gpt2, gpt2",
    "a/gpt2, gpt2",
    "/a/gpt2/, gpt2",
    "C:\\a\\gpt2, gpt2",
    "a/gpt2/., gpt2",
    "., model",
    "./, model",
    "/, model",
    "../.., model",
    "'', model",
    "\u65e5\u672c/\u4e2d, \u4e2d"
  })
  void scan_isTheNameOfTheModel(String model, String scan) throws IOException {
    assertEquals(scan, metadata(model, "a", "b").get("scan").textValue());
  }

  /** Cantor's pairing function backwards. */
  private static List<Long> unpaired(long feature) {
    long diagonal = (long) Math.floor((Math.sqrt(8.0 * feature + 1) - 1) / 2);
    long index = feature - diagonal * (diagonal + 1) / 2;
    return List.of(diagonal - index, index);
  }

  /** Which nodes a threshold shows: those that have, with all more influential ones, that share. */
  @Test
  void of_circuit_influenceIsCumulative() throws IOException {
    Circuit circuit = CircuitJsonTest.circuit(EdgeMeasure.ATTRIBUTION);
    List<JsonNode> nodes = nodes(circuit, graph(circuit));
    double[] influence = circuit.influence();
    double all = Arrays.stream(influence).sum();
    for (int i = 0; i < influence.length - 1; i++) {
      double own = influence[i];
      double larger = Arrays.stream(influence).filter(one -> one > own).sum();
      double share = nodes.get(i).get("influence").doubleValue();
      assertTrue(share >= (larger + own) / all - ROUNDING && share <= 1);
      assertTrue(
          share <= Arrays.stream(influence).filter(one -> one >= own).sum() / all + ROUNDING);
    }
  }
}
