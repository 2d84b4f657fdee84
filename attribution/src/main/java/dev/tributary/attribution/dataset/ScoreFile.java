package dev.tributary.attribution.dataset;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.Lowercase;
import dev.tributary.transformer.StreamReader;
import dev.tributary.transformer.StreamWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/** Scores of edges, and circuits, as JSON. */
public final class ScoreFile {
  private static final String SCORES = "tributary edge scores";
  private static final String CIRCUIT = "tributary component circuit";
  private static final int VERSION = 1;
  private static final ObjectMapper MAPPER =
      new ObjectMapper()
          .enable(SerializationFeature.INDENT_OUTPUT)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private ScoreFile() {}

  /**
   * {@return scores as JSON, each edge with its name, its ends and its numbers}
   *
   * @param scored what is written
   */
  public static String of(ScoredPairs scored) {
    ObjectNode json = begun(SCORES, scored.model(), scored.graph());
    ArrayNode files = json.putArray("files");
    scored.files().forEach(file -> files.add(file.toString()));
    EdgeTotals totals = scored.totals();
    json.put("pairs", totals.count()).put("rowsLeftOut", scored.badRows());
    ArrayNode bad = json.putArray("leftOut");
    scored
        .bad()
        .forEach(
            row ->
                bad.addObject()
                    .put("file", row.file().toString())
                    .put("line", row.line())
                    .put("reason", row.reason()));
    json.put("method", scored.method()).put("ablation", scored.ablation());
    json.put("metric", scored.measure());
    json.put("clean", totals.clean()).put("corrupted", totals.corrupted());
    scored
        .sample()
        .ifPresent(
            sample -> {
              ObjectNode exact = json.putObject("exactSample").put("pairs", sample.count());
              put(exact, "rankCorrelation", sample.rankCorrelation());
              ArrayNode edges = exact.putArray("edges");
              for (ExactSample.Compared one : sample.worstFirst()) {
                edges
                    .addObject()
                    .put("edge", scored.graph().edges().get(one.edge()).toString())
                    .put("exact", one.exact())
                    .put("estimate", one.estimate());
              }
            });
    ArrayNode edges = json.putArray("edges");
    for (int i = 0; i < totals.edges(); i++) {
      ObjectNode edge = edge(edges, scored.graph().edges().get(i));
      edge.put("score", totals.mean(i));
      put(edge, "standardError", totals.standardError(i));
      edge.put("magnitude", totals.meanMagnitude(i));
    }
    return written(json);
  }

  /**
   * {@return a circuit as JSON}
   *
   * @param model what it is called
   * @param circuit what is written
   */
  public static String of(String model, ComponentCircuit circuit) {
    ObjectNode json = begun(CIRCUIT, model, circuit.graph());
    ArrayNode edges = json.putArray("edges");
    circuit.edges().forEach(edge -> edge(edges, circuit.graph().edges().get(edge)));
    return written(json);
  }

  private static ObjectNode begun(String format, String model, ComponentGraph graph) {
    return JsonNodeFactory.instance
        .objectNode()
        .put("format", format)
        .put("version", VERSION)
        .put("model", model)
        .put("input", Lowercase.of(graph.input().site()));
  }

  /** A number, or nothing where there is none. */
  private static void put(ObjectNode json, String name, double number) {
    if (Double.isFinite(number)) {
      json.put(name, number);
    } else {
      json.putNull(name);
    }
  }

  private static ObjectNode edge(ArrayNode edges, ComponentGraph.Edge edge) {
    ObjectNode json = edges.addObject().put("edge", edge.toString());
    StreamWriter source = edge.source();
    ObjectNode from = json.putObject("from");
    if (source instanceof StreamWriter.Head head) {
      from.put("component", "head").put("layer", head.layer()).put("head", head.head());
    } else if (source instanceof StreamWriter.OfMlp mlp) {
      from.put("component", "mlp").put("layer", mlp.layer());
    } else {
      from.put("component", "input");
    }
    StreamReader reader = edge.reader();
    ObjectNode to = json.putObject("to");
    if (reader instanceof StreamReader.Head head) {
      to.put("component", "head").put("layer", head.layer()).put("head", head.head());
      to.put("input", head.path().name().toLowerCase(Locale.ROOT));
    } else if (reader instanceof StreamReader.OfMlp mlp) {
      to.put("component", "mlp").put("layer", mlp.layer());
    } else {
      to.put("component", "logits");
    }
    return json;
  }

  private static String written(ObjectNode json) {
    try {
      return MAPPER.writeValueAsString(json) + System.lineSeparator();
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e); // it is made of nodes
    }
  }

  /**
   * {@return the mean score of every edge}
   *
   * @param file as {@link #of(ScoredPairs)} writes it
   * @param graph of the model
   * @throws IOException if it is no such file, or one of a model of other edges
   */
  public static double[] scores(Path file, ComponentGraph graph) throws IOException {
    JsonNode edges = read(file, SCORES, graph).path("edges");
    require(
        edges.size() == graph.edges().size(),
        file,
        "%d edges, and the model has %d",
        edges.size(),
        graph.edges().size());
    double[] scores = new double[edges.size()];
    for (int i = 0; i < scores.length; i++) {
      String name = graph.edges().get(i).toString();
      JsonNode edge = edges.get(i);
      require(
          edge.path("edge").asText().equals(name) && edge.path("score").isNumber(),
          file,
          "edge %d is %s, and %s of the model, with a score, was expected",
          i,
          RowFile.shortened(edge.path("edge").asText()),
          name);
      scores[i] = edge.path("score").doubleValue();
    }
    return scores;
  }

  /**
   * {@return a circuit}
   *
   * @param file as {@link #of(String, ComponentCircuit)} writes it
   * @param graph of the model
   * @throws IOException if it is no such file, or the model lacks an edge of it
   */
  public static ComponentCircuit circuit(Path file, ComponentGraph graph) throws IOException {
    List<String> names =
        read(file, CIRCUIT, graph).path("edges").findValuesAsText("edge").stream()
            .distinct()
            .toList();
    try {
      return ComponentCircuit.of(
          graph, names.stream().map(name -> graph.number(graph.edge(name))).toList());
    } catch (IllegalArgumentException e) {
      throw new IOException(file + ": " + RowFile.shortened(String.valueOf(e.getMessage())), e);
    }
  }

  private static JsonNode read(Path file, String format, ComponentGraph graph) throws IOException {
    require(Files.isRegularFile(file), file, "there is no such file");
    JsonNode json;
    try {
      json = MAPPER.readTree(file.toFile());
    } catch (JsonProcessingException e) {
      throw new IOException(file + ": this is no JSON", e);
    }
    require(
        json.path("format").asText().equals(format),
        file,
        "this has no \"format\": \"%s\"",
        format);
    require(
        json.path("version").asInt() == VERSION,
        file,
        "version %s, and %d can be read",
        RowFile.shortened(json.path("version").asText()),
        VERSION);
    require(
        json.path("input").asText().equals(Lowercase.of(graph.input().site())),
        file,
        "its input is %s, and that of the graph %s",
        RowFile.shortened(json.path("input").asText()),
        Lowercase.of(graph.input().site()));
    return json;
  }

  private static void require(boolean sound, Path file, String reason, Object... values)
      throws IOException {
    if (!sound) {
      throw new IOException(file + ": " + String.format(Locale.ROOT, reason, values));
    }
  }
}
