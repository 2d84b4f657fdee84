package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicContainer.dynamicContainer;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.attribution.Embedding.EmbeddingPart;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Oracles;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Models;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * A model of each family as Hugging Face writes it, and what an independent program computed of it:
 * every case of the oracle {@code reference-families}, whose README tells the format, each from
 * both of its configs. An expected tensor that is not compared is a failure.
 */
class FamilyReferenceTest {
  private static final String ORACLE = "reference-families";

  /** Both sides compute in 64 bits; what they differ by is the order of their sums. */
  private static final double DOUBLE_TOLERANCE = 1e-10;

  /** Of the reference program itself in 32 bits, with room for other orders of summation. */
  private static final double FLOAT_TOLERANCE = 1e-4;

  /** Of the sum of some hundred terms in 64 bits. */
  private static final double COMPLETE = 1e-12;

  private static final List<InputPath> OF_HEADS =
      List.of(InputPath.QUERY, InputPath.KEY, InputPath.VALUE);

  @TempDir Path temporary;

  @TestFactory
  Stream<? extends DynamicNode> everyCase() throws IOException {
    return Oracles.tests(
        ORACLE,
        folder -> {
          List<Path> cases;
          try (Stream<Path> files = Files.list(folder)) {
            cases = files.filter(Files::isDirectory).sorted().toList();
          }
          assertTrue(!cases.isEmpty(), () -> "no case below " + folder);
          return cases.stream()
              .map(path -> dynamicContainer(path.getFileName().toString(), tests(path)));
        });
  }

  private Stream<DynamicNode> tests(Path path) {
    List<DynamicNode> tests = new ArrayList<>();
    for (DType dtype : DType.values()) {
      String name = dtype.name().toLowerCase(Locale.ROOT);
      tests.add(dynamicTest(name, () -> compare(path, path, dtype)));
      tests.add(dynamicTest(name + ", old config", () -> compare(path, old(path), dtype)));
    }
    tests.add(dynamicTest("certificates", () -> certify(path)));
    return tests.stream();
  }

  /** The model with the config of an older file. */
  private Path old(Path path) throws IOException {
    Path folder = Files.createTempDirectory(temporary, "model");
    Files.copy(path.resolve("config-old.json"), folder.resolve("config.json"));
    Files.copy(path.resolve("model.safetensors"), folder.resolve("model.safetensors"));
    return folder;
  }

  private static void compare(Path path, Path model, DType dtype) throws IOException {
    try (Scope scope = Scope.open()) {
      Case computed = Case.of(path, model, dtype);
      computed.requireShape();
      ExpectedTensors.compare(
          path.resolve("expected.safetensors"),
          computed::quantity,
          dtype == DType.DOUBLE ? DOUBLE_TOLERANCE : FLOAT_TOLERANCE);
    }
  }

  /** Of every kind of target in every layer: biases, embeddings and outlets leave nothing over. */
  private static void certify(Path path) throws IOException {
    try (Scope scope = Scope.open()) {
      Case computed = Case.of(path, path, DType.DOUBLE);
      for (EdgeAttribution edges : computed.edges.values()) {
        for (Target target : computed.targets()) {
          Certificate certificate = edges.certify(target);
          assertTrue(certificate.relativeResidual() < COMPLETE, () -> target + ": " + certificate);
        }
      }
    }
  }

  /** All quantities of one case, by the names of the reference. */
  private static final class Case {
    private final JsonNode json;
    private final Run run;
    private final NodeAttribution nodes;
    private final Map<String, EdgeAttribution> edges;
    private final Map<String, JsonNode> nodesById = new HashMap<>();
    private final Map<String, Supplier<double[]>> plain = new HashMap<>();
    private final int layers;
    private final int tokens;
    private final int heads;
    private final int neurons;

    static Case of(Path path, Path model, DType dtype) throws IOException {
      JsonNode json = new ObjectMapper().readTree(path.resolve("case.json").toFile());
      return new Case(Models.load(model, dtype, Progress.NONE), json);
    }

    private Case(Transformer model, JsonNode json) {
      this.json = json;
      run =
          model.run(
              ExpectedTensors.integers(json.get("tokens")).stream()
                  .mapToInt(Integer::intValue)
                  .toArray());
      nodes =
          NodeAttribution.of(
              run,
              new Metric.LogitDifference(
                  run.lastToken(),
                  ExpectedTensors.integers(json.get("targets")),
                  ExpectedTensors.integers(json.get("distractors"))));
      edges =
          Map.of(
              "live", EdgeAttribution.of(nodes, ScaleGradient.LIVE),
              "detached", EdgeAttribution.of(nodes, ScaleGradient.DETACHED));
      for (String end : List.of("to", "from")) {
        for (JsonNode node : json.get(end)) {
          nodesById.put(end + "=" + node.get("id").asText(), node);
        }
      }
      layers = model.layers();
      tokens = run.length();
      heads = model.attention(0).heads();
      neurons = model.mlp(0).neuronCount();
      sites();
      readings();
    }

    /** The points, the order of parts and the kind of neurons are those that the case tells. */
    void requireShape() {
      Transformer model = run.model();
      assertEquals(json.get("points").asInt() - 1, model.end().index());
      for (int layer = 0; layer < layers; layer++) {
        assertEquals(
            json.get("parallel").asBoolean(),
            model.attention(layer).reads().equals(model.mlp(layer).reads()));
        assertEquals(
            json.get("gated").asBoolean(), model.mlp(layer).paths().contains(InputPath.GATE));
      }
    }

    /** How to compute a tensor, or null if nothing here is called that. */
    @Nullable Supplier<double[]> quantity(String name) {
      String[] parts = name.split("/", -1);
      if (parts.length == 3 && parts[0].startsWith("to=")) {
        String[] mode = parts[1].split("\\.", -1);
        return into(target(parts[0], mode), edges(mode[0]), parts[2]);
      }
      if (parts.length == 3 && parts[0].startsWith("from=")) {
        return outOf((Source) node(parts[0]), edges(parts[1]), parts[2]);
      }
      if (parts.length == 2 && parts[0].startsWith("from=") && parts[1].equals("write")) {
        return () -> write((Source) node(parts[0]));
      }
      return plain.get(name);
    }

    private EdgeAttribution edges(String mode) {
      return Objects.requireNonNull(edges.get(mode), mode);
    }

    private Target target(String id, String... mode) {
      Target whole = (Target) node(id);
      return mode.length == 1
          ? whole
          : ((Neuron) whole).through(InputPath.valueOf(mode[1].toUpperCase(Locale.ROOT)));
    }

    private Node node(String id) {
      JsonNode node = Objects.requireNonNull(nodesById.get(id), () -> id + " is not in case.json");
      String kind = node.get("kind").asText();
      return switch (kind) {
        case "embedding" -> new Embedding(EmbeddingPart.BOTH, node.get("token").asInt());
        case "neuron" ->
            new Neuron(
                node.get("layer").asInt(), node.get("token").asInt(), node.get("neuron").asInt());
        case "head" -> pair(node);
        default -> pair(node).through(InputPath.valueOf(kind.toUpperCase(Locale.ROOT)));
      };
    }

    private static HeadPair pair(JsonNode node) {
      return new HeadPair(
          node.get("layer").asInt(),
          node.get("head").asInt(),
          node.get("query").asInt(),
          node.get("key").asInt());
    }

    private @Nullable Supplier<double[]> into(
        Target target, EdgeAttribution edge, String quantity) {
      return switch (quantity) {
        case "gradient" ->
            () -> {
              ResidualGradient gradient = edge.gradient(target);
              return gradient.rows().pad(0, gradient.firstToken(), tokens).toDoubles();
            };
        case "neuron" -> () -> ofNeurons(edge.into(target)::of);
        case "head" -> () -> ofPairs(edge.into(target)::of, pair -> pair);
        case "embedding" -> () -> ofEmbeddings(EmbeddingPart.BOTH, edge.into(target)::of);
        case "embedding_token" -> () -> ofEmbeddings(EmbeddingPart.TOKEN, edge.into(target)::of);
        case "embedding_position" ->
            () -> ofEmbeddings(EmbeddingPart.POSITION, edge.into(target)::of);
        default -> null;
      };
    }

    private @Nullable Supplier<double[]> outOf(
        Source source, EdgeAttribution edge, String quantity) {
      return switch (quantity) {
        case "neuron" -> () -> ofNeurons(edge.outOf(source)::of);
        case "query" ->
            () -> ofPairs(edge.outOf(source)::of, pair -> pair.through(InputPath.QUERY));
        case "key" -> () -> ofPairs(edge.outOf(source)::of, pair -> pair.through(InputPath.KEY));
        case "value" ->
            () -> ofPairs(edge.outOf(source)::of, pair -> pair.through(InputPath.VALUE));
        default -> null;
      };
    }

    private double[] write(Source source) {
      return RandomNodes.write(run, source)
          .reshape(1, run.model().config().dModel())
          .pad(0, source.token(), tokens)
          .toDoubles();
    }

    private void sites() {
      plain.put("loss", () -> new double[] {nodes.value()});
      whole("logits", Site.LOGITS);
      whole("embedding_token", Site.TOKEN_EMBEDDING);
      whole("embedding_position", Site.POSITION_EMBEDDING);
      whole("scale.final", Site.FINAL_SCALE);
      plain.put("residual", () -> residuals(run::value));
      plain.put("residual.gradient", () -> residuals(nodes::gradient));
      site("query", Site.QUERY);
      site("key", Site.KEY);
      site("value", Site.VALUE);
      site("score", Site.SCORES);
      site("pattern", Site.PATTERN);
      site("z", Site.HEAD_OUTPUT);
      site("attention_out", Site.ATTENTION_OUTPUT);
      site("mlp_out", Site.MLP_OUTPUT);
      site("pre", Site.MLP_PRE_ACTIVATION);
      site("gate", Site.MLP_PRE_ACTIVATION);
      site("up", Site.MLP_UP);
      site("neuron", Site.MLP_ACTIVATION);
      site("scale.attention_in", Site.ATTENTION_SCALE);
      site("scale.mlp_in", Site.MLP_SCALE);
      site("scale.attention_out", Site.ATTENTION_OUTLET_SCALE);
      site("scale.mlp_out", Site.MLP_OUTLET_SCALE);
      site("scale.q", Site.QUERY_SCALE);
      site("scale.k", Site.KEY_SCALE);
    }

    private void whole(String name, Site site) {
      plain.put(name, () -> run.value(site).toDoubles());
    }

    private void site(String name, Site site) {
      plain.put(name, () -> stack(layer -> run.value(site, layer)));
      plain.put(name + ".gradient", () -> stack(layer -> nodes.gradient(site, layer)));
    }

    private double[] stack(Function<Integer, Tensor> layer) {
      return ExpectedTensors.stack(layers, i -> layer.apply(i).toDoubles());
    }

    private double[] residuals(Function<Place, Tensor> of) {
      Transformer model = run.model();
      return ExpectedTensors.stack(
          model.end().index() + 1,
          point -> of.apply(model.residualAt(new Point(point))).toDoubles());
    }

    private void readings() {
      Readings attribution = nodes.activationTimesGradient();
      ToDoubleFunction<Node> of = node -> attribution.of(node).orElseThrow();
      plain.put("attribution.neuron", () -> ofNeurons(of));
      plain.put("attribution.head", () -> ofPairs(of, pair -> pair));
      plain.put("direct.neuron", () -> ofNeurons(nodes.directEffect()::of));
      plain.put("direct.head", () -> ofPairs(nodes.directEffect()::of, pair -> pair));
      direct("direct.embedding", EmbeddingPart.BOTH);
      direct("direct.embedding_token", EmbeddingPart.TOKEN);
      direct("direct.embedding_position", EmbeddingPart.POSITION);
    }

    private void direct(String name, EmbeddingPart part) {
      plain.put(name, () -> ofEmbeddings(part, nodes.directEffect()::of));
    }

    private double[] ofEmbeddings(EmbeddingPart part, ToDoubleFunction<Node> scores) {
      return ExpectedTensors.stack(
          tokens, token -> new double[] {scores.applyAsDouble(new Embedding(part, token))});
    }

    private double[] ofNeurons(ToDoubleFunction<Node> scores) {
      double[] result = new double[layers * tokens * neurons];
      for (int i = 0; i < result.length; i++) {
        int token = i / neurons;
        result[i] = scores.applyAsDouble(new Neuron(token / tokens, token % tokens, i % neurons));
      }
      return result;
    }

    /** [layer, head, query, key] */
    private double[] ofPairs(ToDoubleFunction<Node> scores, Function<HeadPair, Node> node) {
      double[] result = new double[layers * heads * tokens * tokens];
      for (int i = 0; i < result.length; i++) {
        int query = i / tokens;
        int head = query / tokens;
        if (i % tokens <= query % tokens) {
          HeadPair pair = new HeadPair(head / heads, head % heads, query % tokens, i % tokens);
          result[i] = scores.applyAsDouble(node.apply(pair));
        }
      }
      return result;
    }

    /** One target of each kind in each layer, and the metric. */
    List<Target> targets() {
      int last = tokens - 1;
      List<Target> targets = new ArrayList<>(List.of(new Explained(), new Logit(last, 1)));
      for (int layer = 0; layer < layers; layer++) {
        for (int token : List.of(last, last / 2)) {
          Neuron neuron = new Neuron(layer, token, (layer + token) % neurons);
          targets.add(neuron);
          run.model().mlp(layer).paths().stream()
              .filter(path -> path != InputPath.ALL)
              .forEach(path -> targets.add(neuron.through(path)));
          for (int head = 0; head < heads; head++) {
            HeadPair pair = new HeadPair(layer, head, token, token - head % 2);
            OF_HEADS.forEach(path -> targets.add(pair.through(path)));
          }
        }
      }
      return targets;
    }
  }
}
