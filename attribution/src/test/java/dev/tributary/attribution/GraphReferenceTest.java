package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicContainer.dynamicContainer;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.attribution.AdjacencyRows.Numbers;
import dev.tributary.attribution.AdjacencyRows.Range;
import dev.tributary.attribution.AdjacencyRows.Row;
import dev.tributary.attribution.ReplacementGraph.Kept;
import dev.tributary.attribution.ReplacementGraph.Settings;
import dev.tributary.attribution.ReplacementGraph.Sizes;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Encoding;
import dev.tributary.transformer.Oracles;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Dictionaries;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Safetensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.TestFactory;

/**
 * Replacement graphs as circuit-tracer computed them: every case of the oracle {@code
 * reference-graphs}, whose README tells the format. An expected tensor that is not compared is a
 * failure.
 */
class GraphReferenceTest {
  private static final String ORACLE = "reference-graphs";

  /** Both sides compute in 64 bits; what they differ by is the order of their sums. */
  private static final double DOUBLE_TOLERANCE = 1e-9;

  /** Of the reference program itself in 32 bits, with room for other orders of summation. */
  private static final double FLOAT_TOLERANCE = 1e-4;

  /** Of the sum of some hundred terms in 64 bits. */
  private static final double COMPLETE = 1e-12;

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
              .map(
                  path ->
                      dynamicContainer(
                          path.getFileName().toString(),
                          path.endsWith("pruning") ? Pruning.tests(path) : tests(path)));
        });
  }

  private static Stream<DynamicNode> tests(Path path) {
    return Stream.of(
        dynamicTest("double", () -> compare(path, DType.DOUBLE)),
        dynamicTest("float", () -> compare(path, DType.FLOAT)));
  }

  private static void compare(Path path, DType dtype) throws IOException {
    try (Scope scope = Scope.open()) {
      Case computed = new Case(path, dtype);
      ExpectedTensors.compare(
          path.resolve("expected.safetensors"),
          computed::quantity,
          dtype == DType.DOUBLE ? DOUBLE_TOLERANCE : FLOAT_TOLERANCE);
    }
  }

  // ---- a graph -----------------------------------------------------------------------------

  /** What is compared of any graph. */
  private static @Nullable Supplier<double[]> quantity(ReplacementGraph graph, String name) {
    int nodes = graph.nodes().size();
    return switch (name) {
      case "adjacency" ->
          () ->
              IntStream.range(0, nodes)
                  .mapToObj(graph::into)
                  .flatMapToDouble(Arrays::stream)
                  .toArray();
      case "node_influence" -> graph::influence;
      case "cumulative_scores" -> graph::cumulativeInfluence;
      case "scores" -> () -> scores(graph);
      case "node_mask" -> () -> nodeMask(graph, graph.prune(0.8, 0.98));
      case "edge_mask" -> () -> edgeMask(graph, graph.prune(0.8, 0.98));
      case "logit_tokens" ->
          () -> outputs(graph).mapToDouble(node -> ((Logit) node).word()).toArray();
      case "logit_probabilities" -> graph::outputWeights;
      default -> null;
    };
  }

  private static Stream<Node> outputs(ReplacementGraph graph) {
    return graph.nodes().stream().skip(graph.nodes().size() - graph.outputCount());
  }

  private static double[] scores(ReplacementGraph graph) {
    Circuit.Scores scores = graph.scores();
    return new double[] {scores.replacement(), scores.completeness()};
  }

  private static double[] nodeMask(ReplacementGraph graph, Kept kept) {
    return IntStream.range(0, graph.nodes().size())
        .mapToDouble(node -> kept.nodes().get(node) ? 1 : 0)
        .toArray();
  }

  private static double[] edgeMask(ReplacementGraph graph, Kept kept) {
    int nodes = graph.nodes().size();
    double[] mask = new double[nodes * nodes];
    graph.forEachKept(kept, (target, source, weight) -> mask[target * nodes + source] = 1);
    return mask;
  }

  // ---- graphs alone ------------------------------------------------------------------------

  /** Adjacency matrices without a model. */
  private record Pruning(Safetensors file, JsonNode settings) {
    static Stream<DynamicNode> tests(Path path) {
      return Stream.of(
          dynamicTest(
              "double",
              () -> {
                try (Scope scope = Scope.open()) {
                  Safetensors file = Safetensors.open(path.resolve("expected.safetensors"));
                  JsonNode json = new ObjectMapper().readTree(path.resolve("case.json").toFile());
                  Pruning pruning = new Pruning(file, json.get("settings"));
                  for (JsonNode graph : json.get("graphs")) {
                    pruning.compare(graph);
                  }
                }
              }));
    }

    private void compare(JsonNode sizes) throws IOException {
      String prefix = sizes.get("name").asText() + "/";
      ReplacementGraph graph = graph(sizes, prefix);
      ExpectedTensors.compare(
          file.path(),
          name -> name.startsWith(prefix) && !name.endsWith("active_features"),
          name -> quantity(graph, name.substring(prefix.length())),
          DOUBLE_TOLERANCE);
    }

    private @Nullable Supplier<double[]> quantity(ReplacementGraph graph, String name) {
      for (JsonNode setting : settings) {
        String prefix = setting.get("name").asText() + "/";
        if (name.startsWith(prefix)) {
          Kept kept =
              graph.prune(
                  setting.get("node_threshold").asDouble(),
                  setting.get("edge_threshold").asDouble());
          return name.endsWith("node_mask")
              ? () -> nodeMask(graph, kept)
              : () -> edgeMask(graph, kept);
        }
      }
      return GraphReferenceTest.quantity(graph, name);
    }

    private ReplacementGraph graph(JsonNode json, String prefix) throws IOException {
      int tokens = json.get("tokens").asInt();
      int outputs = json.get("logit_nodes").asInt();
      Sizes sizes =
          new Sizes(
              json.get("active_features").asInt(),
              json.get("layers").asInt() * tokens,
              tokens,
              outputs);
      double[] adjacency = ExpectedTensors.numbers(file, prefix + "adjacency");
      int nodes = sizes.nodes();
      List<Row> rows = AdjacencyRows.none(nodes);
      for (int target = 0; target < nodes; target++) {
        if (target < sizes.latents() || target >= sizes.firstOutput()) {
          double[] row = Arrays.copyOfRange(adjacency, target * nodes, (target + 1) * nodes);
          rows.set(target, new Row(List.of(new Range(0, nodes)), Numbers.of(row)));
        }
      }
      return new ReplacementGraph(
          Settings.ofCircuitTracer(),
          sizes,
          IntStream.range(0, nodes).mapToObj(i -> new Logit(0, i)).toList(),
          new double[sizes.latents()],
          ExpectedTensors.numbers(file, prefix + "logit_probabilities"),
          new AdjacencyRows(rows),
          List.of(),
          new double[0]);
    }
  }

  // ---- a model with transcoders ------------------------------------------------------------

  /** A case, computed here. */
  private static final class Case {
    private final JsonNode json;
    private final Transformer model;
    private final Run run;
    private final ReplacementModel replaced;
    private final ReplacementGraph graph;

    Case(Path path, DType dtype) throws IOException {
      json = new ObjectMapper().readTree(path.resolve("case.json").toFile());
      Transformer plain = Models.load(path, dtype, Progress.NONE);
      model = plain.with(Dictionaries.load(path.resolve("transcoders"), dtype, plain.config()));
      run = model.run(ExpectedTensors.ids(json.get("token_ids")));
      replaced = new ReplacementModel(run, ReplacementGraph.FirstToken.CONSTANT);
      graph = graph(logits(), Settings.ofCircuitTracer());
      for (int node = 0; node < graph.nodes().size(); node++) {
        if (node < graph.latentCount() || node >= graph.nodes().size() - graph.outputCount()) {
          double residual = graph.certificate(node).relativeResidual();
          int target = node;
          assertTrue(
              residual < (dtype == DType.DOUBLE ? COMPLETE : FLOAT_TOLERANCE),
              () -> graph.nodes().get(target) + ": " + graph.certificate(target));
        }
      }
    }

    private List<ReplacementOutput> logits() {
      JsonNode options = json.get("options");
      return ReplacementOutput.mostProbable(
          run, options.get("max_n_logits").asInt(), options.get("desired_logit_prob").asDouble());
    }

    private ReplacementGraph graph(List<ReplacementOutput> outputs, Settings settings) {
      return ReplacementGraph.of(run, outputs, settings, Progress.NONE);
    }

    @Nullable Supplier<double[]> quantity(String name) {
      int layers = model.layers();
      for (String subset : List.of("subset", "subset_default")) {
        if (name.startsWith(subset + "/")) {
          ReplacementGraph smaller = graph(logits(), settings(json.get(subset)));
          String rest = name.substring(subset.length() + 1);
          return rest.equals("selected_features")
              ? () -> selected(smaller)
              : ofGraph(smaller, rest);
        }
      }
      if (name.startsWith("intervention/")) {
        String[] parts = name.split("/", 3);
        return () -> changed(parts[1], parts[2]);
      }
      if (name.startsWith("targets/")) {
        int[] words = ExpectedTensors.ids(json.get("targets").get("token_ids"));
        ReplacementGraph own =
            graph(ReplacementOutput.words(run, words), Settings.ofCircuitTracer());
        return name.endsWith("logit_rows")
            ? () -> rows(own)
            : ofGraph(own, name.substring("targets/".length()));
      }
      return switch (name) {
        case "logits" -> () -> run.value(Site.LOGITS).toDoubles();
        case "attention_pattern" ->
            () -> ExpectedTensors.stack(layers, i -> run.value(Site.PATTERN, i).toDoubles());
        case "feature_input" ->
            () -> ExpectedTensors.stack(layers, i -> encoded(i).input().toDoubles());
        case "feature_output" ->
            () ->
                ExpectedTensors.stack(
                    layers, i -> run.vectors(dictionary(i).decoders().get(0).place()).toDoubles());
        case "pre_activations" -> () -> ExpectedTensors.stack(layers, i -> preActivations(i));
        case "activations" ->
            () -> ExpectedTensors.stack(layers, i -> withoutFirst(encoded(i).latents()));
        case "error_vectors" ->
            () -> ExpectedTensors.stack(layers, i -> replaced.error(i).toDoubles());
        case "active_features" -> () -> features();
        case "active_values" -> graph::activations;
        case "logit_vectors" ->
            () ->
                model
                    .logitDirections(
                        outputs(graph).mapToInt(node -> ((Logit) node).word()).toArray())
                    .toDoubles();
        default -> ofGraph(graph, name);
      };
    }

    private @Nullable Supplier<double[]> ofGraph(ReplacementGraph of, String name) {
      if (!name.startsWith("strict/")) {
        return GraphReferenceTest.quantity(of, name);
      }
      JsonNode strict = json.get("strict");
      Kept kept =
          of.prune(
              strict.get("node_threshold").asDouble(), strict.get("edge_threshold").asDouble());
      return name.endsWith("node_mask") ? () -> nodeMask(of, kept) : () -> edgeMask(of, kept);
    }

    private double[] changed(String intervention, String what) {
      ReplacementIntervention changed = intervene(intervention);
      return switch (what) {
        case "logits" -> changed.logits().toDoubles();
        case "logits_uncapped" -> changed.uncapped().toDoubles();
        case "activations" ->
            ExpectedTensors.stack(model.layers(), i -> withoutFirst(changed.latents().get(i)));
        case "pre_activations" ->
            ExpectedTensors.stack(
                model.layers(), i -> withoutFirst(changed.preActivations().get(i)));
        default -> throw new AssertionError(what);
      };
    }

    private ReplacementIntervention intervene(String name) {
      for (JsonNode one : json.get("interventions")) {
        if (one.get("name").asText().equals(name)) {
          List<ReplacementIntervention.Edit> edits = new ArrayList<>();
          for (JsonNode edit : one.get("edits")) {
            edits.add(
                new ReplacementIntervention.Edit(
                    new Latent(
                        dictionary(edit.get("layer").asInt()).id(),
                        edit.get("token").asInt(),
                        edit.get("feature").asInt()),
                    edit.get("value").asDouble()));
          }
          return ReplacementIntervention.of(
              run,
              edits,
              switch (one.get("mode").asText()) {
                case "direct" -> ReplacementIntervention.Held.ALL;
                case "frozen_attention" -> ReplacementIntervention.Held.PATTERNS;
                case "open" -> ReplacementIntervention.Held.NOTHING;
                default -> throw new AssertionError(one);
              });
        }
      }
      throw new AssertionError(name);
    }

    private Settings settings(JsonNode subset) {
      return Settings.ofCircuitTracer()
          .withMostLatents(subset.get("max_feature_nodes").asInt())
          .withRound(subset.get("batch_size").asInt() * subset.get("update_interval").asInt());
    }

    private Dictionary dictionary(int layer) {
      return model.dictionaries().get(layer);
    }

    private Encoding encoded(int layer) {
      return run.encoding(dictionary(layer));
    }

    private double[] preActivations(int layer) {
      return withoutFirst(
          dictionary(layer)
              .preActivations(Variable.constant(encoded(layer).input()), ScaleGradient.DETACHED)
              .value());
    }

    private static double[] withoutFirst(Tensor rows) {
      double[] numbers = rows.toDoubles();
      Arrays.fill(numbers, 0, rows.shape().size(1), 0);
      return numbers;
    }

    private Stream<Latent> latents(ReplacementGraph of) {
      return of.nodes().stream().limit(of.latentCount()).map(node -> (Latent) node);
    }

    private double[] features() {
      return latents(graph)
          .flatMapToDouble(
              latent ->
                  DoubleStream.of(latent.dictionary().layer(), latent.token(), latent.latent()))
          .toArray();
    }

    private double[] selected(ReplacementGraph smaller) {
      List<Latent> all = latents(graph).toList();
      return latents(smaller).mapToDouble(all::indexOf).toArray();
    }

    /** Of the outputs, without their own columns. */
    private static double[] rows(ReplacementGraph of) {
      int first = of.nodes().size() - of.outputCount();
      return IntStream.range(first, of.nodes().size())
          .mapToObj(target -> Arrays.copyOf(of.into(target), first))
          .flatMapToDouble(Arrays::stream)
          .toArray();
    }
  }
}
