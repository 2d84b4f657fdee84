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
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.MlpShare;
import dev.tributary.transformer.StreamReader;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Tokens;
import dev.tributary.transformer.Transformer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;

/** Scores of edges and nodes, and circuits, as JSON. */
public final class ScoreFile {
  private static final String SCORES = "tributary edge scores";
  private static final String NODES = "tributary node scores";
  private static final String CIRCUIT = "tributary component circuit";
  private static final int VERSION = 2;
  private static final String SOURCE = "source";
  private static final String READER = "reader";
  private static final String TOKENS = "tokens";
  private static final String SPLIT = "split";
  private static final ObjectMapper MAPPER =
      new ObjectMapper()
          .enable(SerializationFeature.INDENT_OUTPUT)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private ScoreFile() {}

  /**
   * {@return scores as JSON, each edge or node with its name, what it is and its numbers}
   *
   * @param scored what is written
   */
  public static String of(ScoredPairs scored) {
    ScoredPairs.Scored of = scored.of();
    ObjectNode json =
        of instanceof ScoredPairs.Edges edges
            ? begun(SCORES, scored.model(), edges.graph())
            : begun(NODES, scored.model());
    ArrayNode files = json.putArray("files");
    scored.files().forEach(file -> files.add(file.toString()));
    EdgeTotals totals = scored.totals();
    json.put("pairs", totals.count()).put("rows_left_out", scored.badRows());
    ArrayNode bad = json.putArray("left_out");
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
              ObjectNode exact = json.putObject("exact_sample").put("pairs", sample.count());
              put(exact, "rank_correlation", sample.rankCorrelation());
              ArrayNode all = exact.putArray(of.word() + "s");
              for (ExactSample.Compared one : sample.worstFirst()) {
                ObjectNode own = all.addObject().put(of.word(), of.name(one.edge()));
                own.put("exact", one.exact()).put("estimate", one.estimate());
                put(own, "ratio", one.ratio());
              }
            });
    int[] listed = scored.listed();
    if (listed.length < totals.edges()) {
      json.put("latents_that_score_zero", totals.edges() - listed.length);
    }
    ArrayNode all = json.putArray(of.word() + "s");
    for (int i : listed) {
      ObjectNode own =
          of instanceof ScoredPairs.Nodes nodes
              ? node(all, nodes.nodes().get(i))
              : edge(all, ((ScoredPairs.Edges) of).graph().edges().get(i));
      own.put("score", totals.mean(i));
      put(own, "standard_error", totals.standardError(i));
      own.put("magnitude", totals.meanMagnitude(i));
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
    ObjectNode json = begun(format, model).put("input", Lowercase.of(graph.input().site()));
    put(json, TOKENS, spans(graph));
    put(json, SPLIT, shares(graph));
    return json;
  }

  private static void put(ObjectNode json, String name, List<String> words) {
    if (!words.isEmpty()) {
      ArrayNode all = json.putArray(name);
      words.forEach(all::add);
    }
  }

  /** Names of what MLPs are split at. */
  private static List<String> shares(ComponentGraph graph) {
    return graph.split().shares().stream().map(MlpShare::toString).toList();
  }

  /** Words for tokens that have edges of their own, none where all have the same. */
  private static List<String> spans(ComponentGraph graph) {
    return graph.isByToken() ? graph.spans().stream().map(Tokens::toString).toList() : List.of();
  }

  private static ObjectNode begun(String format, String model) {
    return JsonNodeFactory.instance
        .objectNode()
        .put("format", format)
        .put("version", VERSION)
        .put("model", model);
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
    if (!edge.tokens().equals(Tokens.ALL)) {
      json.put(TOKENS, edge.tokens().toString());
    }
    StreamWriter source = edge.source();
    ObjectNode from = json.putObject("from");
    if (source instanceof StreamWriter.Head head) {
      from.put("component", "head").put("layer", head.layer()).put("head", head.head());
    } else if (source instanceof StreamWriter.OfMlp mlp) {
      from.put("component", "mlp").put("layer", mlp.layer());
    } else if (source instanceof StreamWriter.OfShare own) {
      put(from, own.share());
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
    } else if (reader instanceof StreamReader.OfShare own) {
      put(to, own.share());
    } else {
      to.put("component", "logits");
    }
    return json;
  }

  private static void put(ObjectNode json, MlpShare share) {
    if (share.of() instanceof MlpShare.Latents latents) {
      json.put("component", "latent").put("dictionary", latents.dictionary().word());
      json.put("layer", share.layer()).put("latent", share.number());
    } else {
      json.put("component", "neuron").put("layer", share.layer()).put("neuron", share.number());
    }
  }

  private static ObjectNode node(ArrayNode nodes, NodeList.Node node) {
    ObjectNode json = nodes.addObject().put("node", node.toString());
    if (!node.tokens().equals(Tokens.ALL)) {
      json.put(TOKENS, node.tokens().toString());
    }
    NodeList.Group group = node.group();
    json.put("component", component(group.kind()));
    if (group instanceof NodeList.OfDictionary own) {
      json.put("dictionary", own.dictionary().word());
    }
    json.put("layer", group.layer());
    switch (group.kind()) {
      case MLP, ERROR -> {}
      case NEURON -> json.put("neuron", node.index());
      case LATENT -> json.put("latent", node.index());
      case HEAD -> json.put("head", node.index());
      default -> json.put("head", node.index()).put("input", Lowercase.of(group.kind()));
    }
    return json;
  }

  private static String component(NodeList.Kind kind) {
    return switch (kind) {
      case MLP, NEURON, LATENT, ERROR -> Lowercase.of(kind);
      default -> "head";
    };
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
    return numbers(file, graph, "score");
  }

  /**
   * {@return the mean magnitude of the scores of every edge}
   *
   * @param file as {@link #of(ScoredPairs)} writes it
   * @param graph of the model
   * @throws IOException if it is no such file, or one of a model of other edges
   */
  public static double[] magnitudes(Path file, ComponentGraph graph) throws IOException {
    return numbers(file, graph, "magnitude");
  }

  private static double[] numbers(Path file, ComponentGraph graph, String which)
      throws IOException {
    JsonNode json = json(file);
    requireFormat(json, file, SCORES, graph);
    JsonNode edges = json.path("edges");
    require(
        edges.size() == graph.edges().size(),
        file,
        "%d edges, and the model has %d",
        edges.size(),
        graph.edges().size());
    double[] numbers = new double[edges.size()];
    for (int i = 0; i < numbers.length; i++) {
      String name = graph.edges().get(i).toString();
      JsonNode edge = edges.get(i);
      require(
          edge.path("edge").asText().equals(name) && edge.path(which).isNumber(),
          file,
          "edge %d is %s, and %s of the model, with a %s, was expected",
          i,
          RowFile.shortened(edge.path("edge").asText()),
          name,
          which);
      numbers[i] = edge.path(which).doubleValue();
    }
    return numbers;
  }

  /**
   * {@return a circuit}
   *
   * @param file as {@link #of(String, ComponentCircuit)} writes it, or a list of names of edges
   *     such as {@code m0->a1.h3<q>}, or {@code m0->a1.h3<q>@5} at a token: an array in JSON, or
   *     the columns {@code source} and {@code reader}, and {@code tokens}, of a table ({@code
   *     .csv}, {@code .tsv}, {@code .jsonl})
   * @param graph of the model
   * @throws IOException if it is no such file, or the model lacks an edge of it
   */
  public static ComponentCircuit circuit(Path file, ComponentGraph graph) throws IOException {
    List<String> names = RowFile.hasRows(file) ? inRows(file) : listed(file, graph);
    try {
      return ComponentCircuit.of(
          graph, names.stream().map(name -> graph.number(graph.edge(name))).toList());
    } catch (IllegalArgumentException e) {
      throw new IOException(file + ": " + RowFile.shortened(String.valueOf(e.getMessage())), e);
    }
  }

  /**
   * {@return the neurons, and the latents that can be shares of an MLP, of the largest mean
   * magnitudes, which are added up over tokens; the largest first}
   *
   * @param file as {@link #of(ScoredPairs)} writes scores of nodes
   * @param count how many
   * @param model of which they are
   * @throws IOException if it is no such file, or has fewer of them
   */
  public static List<MlpShare> shares(Path file, int count, Transformer model) throws IOException {
    JsonNode json = json(file);
    requireFormat(json, file, NODES);
    Map<MlpShare, Double> magnitudes = new LinkedHashMap<>();
    for (JsonNode node : json.path("nodes")) {
      Optional<MlpShare> share = share(node, file);
      if (share.isPresent() && share.get().of().isOf(model)) {
        require(
            node.path("magnitude").isNumber(),
            file,
            "%s has no magnitude",
            RowFile.shortened(node.path("node").asText()));
        magnitudes.merge(share.get(), node.path("magnitude").doubleValue(), Double::sum);
      }
    }
    require(
        magnitudes.size() >= count,
        file,
        "%d neurons and latents of MLPs of this model, and %d are asked for",
        magnitudes.size(),
        count);
    return magnitudes.entrySet().stream()
        .sorted(Comparator.comparingDouble(own -> -own.getValue()))
        .limit(count)
        .map(Map.Entry::getKey)
        .toList();
  }

  /** What a node is to an MLP, if it is a neuron or a latent. */
  private static Optional<MlpShare> share(JsonNode node, Path file) throws IOException {
    String component = node.path("component").asText();
    if (!component.equals("neuron") && !component.equals("latent")) {
      return Optional.empty();
    }
    JsonNode layer = node.path("layer");
    JsonNode number = node.path(component);
    require(
        layer.canConvertToInt() && layer.intValue() >= 0 && number.canConvertToInt(),
        file,
        "%s has no layer, or no number of a %s",
        RowFile.shortened(node.path("node").asText()),
        component);
    return component.equals("neuron")
        ? Optional.of(MlpShare.neuron(layer.intValue(), number.intValue()))
        : Dictionary.Id.of(node.path("dictionary").asText(), layer.intValue())
            .map(id -> MlpShare.latent(id, number.intValue()));
  }

  private static List<String> listed(Path file, ComponentGraph graph) throws IOException {
    JsonNode json = json(file);
    List<String> names = new ArrayList<>();
    if (json.isArray()) {
      for (JsonNode name : json) {
        require(
            name.isTextual(),
            file,
            "%s is no name of an edge",
            RowFile.shortened(String.valueOf(name)));
        names.add(name.textValue());
      }
    } else {
      requireFormat(json, file, CIRCUIT, graph);
      names.addAll(json.path("edges").findValuesAsText("edge"));
    }
    return names;
  }

  private static List<String> inRows(Path file) throws IOException {
    List<String> names = new ArrayList<>();
    try (RowFile rows = RowFile.open(file, List.of(SOURCE, READER))) {
      for (Optional<RowFile.Row> row = rows.next(); row.isPresent(); row = rows.next()) {
        Map<String, JsonNode> cells = row.get().cells();
        require(
            cells.containsKey(SOURCE) && cells.containsKey(READER),
            file,
            "line %d: %s",
            row.get().line(),
            row.get().bad().orElse("it has no source and reader"));
        names.add(
            Objects.requireNonNull(cells.get(SOURCE)).asText()
                + "->"
                + Objects.requireNonNull(cells.get(READER)).asText()
                + Optional.ofNullable(cells.get(TOKENS)).map(at -> "@" + at.asText()).orElse(""));
      }
    }
    return names;
  }

  private static JsonNode json(Path file) throws IOException {
    require(Files.isRegularFile(file), file, "there is no such file");
    try {
      return MAPPER.readTree(file.toFile());
    } catch (JsonProcessingException e) {
      throw new IOException(file + ": this is no JSON", e);
    }
  }

  private static void requireFormat(JsonNode json, Path file, String format) throws IOException {
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
  }

  private static void requireFormat(JsonNode json, Path file, String format, ComponentGraph graph)
      throws IOException {
    requireFormat(json, file, format);
    require(
        json.path("input").asText().equals(Lowercase.of(graph.input().site())),
        file,
        "its input is %s, and that of the graph %s",
        RowFile.shortened(json.path("input").asText()),
        Lowercase.of(graph.input().site()));
    List<String> spans = words(json, TOKENS);
    require(
        spans.equals(spans(graph)),
        file,
        "its edges are %s, and those of the graph %s",
        RowFile.shortened(ofTokens(spans)),
        RowFile.shortened(ofTokens(spans(graph))));
    List<String> shares = words(json, SPLIT);
    require(
        shares.equals(shares(graph)),
        file,
        "in it %s, and in the graph %s",
        RowFile.shortened(split(shares)),
        RowFile.shortened(split(shares(graph))));
  }

  private static List<String> words(JsonNode json, String name) {
    List<String> words = new ArrayList<>();
    json.path(name).forEach(word -> words.add(word.asText()));
    return words;
  }

  private static String split(List<String> shares) {
    return shares.isEmpty() ? "no MLP is split" : "MLPs are split at " + shares;
  }

  private static String ofTokens(List<String> spans) {
    return spans.isEmpty() ? "of all tokens as one" : "of each of the tokens " + spans;
  }

  private static void require(boolean sound, Path file, String reason, Object... values)
      throws IOException {
    if (!sound) {
      throw new IOException(file + ": " + String.format(Locale.ROOT, reason, values));
    }
  }
}
