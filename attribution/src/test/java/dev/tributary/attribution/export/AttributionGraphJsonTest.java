package dev.tributary.attribution.export;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.EdgeMeasure;
import dev.tributary.attribution.Node;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;

/** What the programs that read this format rely on. */
class AttributionGraphJsonTest {
  private static final double ROUNDING = 1e-12;

  private static Stream<JsonNode> items(JsonNode list) {
    return StreamSupport.stream(list.spliterator(), false);
  }

  private static JsonNode graph(Circuit circuit) throws IOException {
    return new ObjectMapper().readTree(AttributionGraphJson.of(circuit));
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
    Map<List<String>, Double> expected = new HashMap<>();
    for (Circuit.Edge edge : circuit.edges()) {
      String source = graph.at("/nodes/" + edge.source() + "/node_id").asText();
      String target = graph.at("/nodes/" + edge.target() + "/node_id").asText();
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
      JsonNode json = graph.get("nodes").get(i);
      Node node = circuit.nodes().get(i).node();
      types.add(json.get("feature_type").asText());
      long feature = json.get("feature").longValue();
      if (node instanceof Node.Neuron neuron) {
        assertEquals("cross layer transcoder", json.get("feature_type").asText());
        assertEquals(List.of((long) neuron.layer(), (long) neuron.neuron()), unpaired(feature));
        assertEquals(
            neuron.layer() + "_" + neuron.neuron() + "_" + neuron.token(),
            json.get("node_id").asText());
      } else if (node instanceof Node.HeadPair pair) {
        assertEquals("lorsa", json.get("feature_type").asText());
        long tokens = circuit.origin().tokens().size();
        long index = 10_000_000 + pair.head() * tokens + pair.key();
        assertEquals(List.of((long) pair.layer(), index), unpaired(feature));
      } else if (node instanceof Node.Embedding embedding) {
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
    JsonNode nodes = graph(circuit).get("nodes");
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
