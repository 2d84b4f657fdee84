package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.function.DoubleUnaryOperator;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.ToDoubleFunction;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** All quantities of a prompt to a real model, by the names of {@code reference-gguf/smollm2}. */
final class RealCase {
  /** Of logits, above which the best word is the same in every arithmetic. */
  private static final double SMALLEST_MARGIN = 0.05;

  private final JsonNode json;
  private final Transformer model;
  private final Run run;
  private final NodeAttribution nodes;
  private final List<NodeArray> attribution;
  private final EdgeScores direct;
  private final Neuron target;
  private final int last;

  RealCase(Transformer model, JsonNode json) {
    this.json = json;
    this.model = model;
    run = model.run(ExpectedTensors.ids(json.get("token_ids")));
    last = run.lastToken();
    nodes =
        NodeAttribution.of(
            run,
            new Metric.LogitDifference(
                last,
                List.of(json.get("target_token").asInt()),
                List.of(json.get("distractor_token").asInt())));
    attribution = nodes.activationTimesGradient().arrays();
    direct = nodes.directEffect();
    JsonNode neuron = json.get("target_neuron");
    target =
        new Neuron(
            neuron.get("layer").asInt(), neuron.get("token").asInt(), neuron.get("index").asInt());
  }

  /** The words that the model puts first, and those with which it goes on. */
  void requireWords() {
    List<Integer> best = ExpectedTensors.integers(json.get("logits_top20_ids"));
    assertEquals(best, largest(lastLogits(), best.size()));
    int[] text = run.tokens();
    for (int i = 0; i < json.get("greedy_ids").size(); i++) {
      if (json.get("greedy_margins").get(i).asDouble() < SMALLEST_MARGIN) {
        return;
      }
      int next = largest(model.nextLogits(text).toDoubles(), 1).get(0);
      assertEquals(json.get("greedy_ids").get(i).asInt(), next);
      text = Arrays.copyOf(text, text.length + 1);
      text[text.length - 1] = next;
    }
  }

  private static List<Integer> largest(double[] values, int count) {
    return IntStream.range(0, values.length)
        .boxed()
        .sorted(Comparator.comparingDouble(i -> -values[i]))
        .limit(count)
        .toList();
  }

  private double[] lastLogits() {
    return run.value(Site.LOGITS).slice(0, last, last + 1).toDoubles();
  }

  /** How to compute a tensor, or null if nothing here is called that. */
  @Nullable Supplier<double[]> quantity(String name) {
    String[] parts = name.split("/", 3);
    if (parts.length == 3) {
      return into(parts[1], parts[2]);
    }
    double[] logits = lastLogits();
    return switch (name) {
      case "metric" -> () -> new double[] {nodes.value()};
      case "logits_logsumexp" -> () -> new double[] {logSumExp(logits)};
      case "logits_top20" ->
          () ->
              Arrays.stream(ExpectedTensors.ids(json.get("logits_top20_ids")))
                  .mapToDouble(i -> logits[i])
                  .toArray();
      case "logits_target_distractor" ->
          () ->
              new double[] {
                logits[json.get("target_token").asInt()],
                logits[json.get("distractor_token").asInt()]
              };
      case "residual_norms" -> () -> points(place -> norms(run.value(place)));
      case "gradient_norms" -> () -> points(place -> norms(nodes.gradient(place)));
      case "residual_last_token" -> () -> points(place -> lastRow(run.value(place)));
      case "gradient_last_token" -> () -> points(place -> lastRow(nodes.gradient(place)));
      case "neurons_top40/index" -> () -> indices(strongest(attribution, Neuron.class, 40));
      case "neurons_top40/act_times_grad" -> () -> scores(strongest(attribution, Neuron.class, 40));
      case "neurons_top40/activation" ->
          () -> ofStrongest(neuron -> at(run.value(Site.MLP_ACTIVATION, neuron.layer()), neuron));
      case "neurons_top40/gradient" ->
          () ->
              ofStrongest(
                  neuron -> at(nodes.gradient(Site.MLP_ACTIVATION, neuron.layer()), neuron));
      case "neurons_sum_per_layer/act_times_grad" ->
          () -> neuronsByLayer(attribution, value -> value);
      case "neurons_abs_sum_per_layer/act_times_grad" ->
          () -> neuronsByLayer(attribution, Math::abs);
      case "neurons_direct_top40/index" ->
          () -> indices(strongest(direct.arrays(), Neuron.class, 40));
      case "neurons_direct_top40/value" ->
          () -> scores(strongest(direct.arrays(), Neuron.class, 40));
      case "neurons_direct_sum_per_layer" -> () -> neuronsByLayer(direct.arrays(), value -> value);
      case "heads_direct_sum" -> () -> pairsByHead(direct.arrays());
      case "embedding_direct" -> () -> embeddings(direct::of);
      case "patterns_top40/index" -> () -> indices(strongest(attribution, HeadPair.class, 40));
      case "patterns_top40/pattern_times_grad" ->
          () -> scores(strongest(attribution, HeadPair.class, 40));
      case "heads_sum/pattern_times_grad" -> () -> pairsByHead(attribution);
      case "target/activation" -> () -> ofTarget(run.value(Site.MLP_ACTIVATION, target.layer()));
      case "target/gradient" -> () -> ofTarget(nodes.gradient(Site.MLP_ACTIVATION, target.layer()));
      case "target/gate" -> () -> ofTarget(run.value(Site.MLP_PRE_ACTIVATION, target.layer()));
      case "target/up" -> () -> ofTarget(run.value(Site.MLP_UP, target.layer()));
      default -> null;
    };
  }

  /** Edges into the target neuron, in one of four modes. */
  private @Nullable Supplier<double[]> into(String mode, String quantity) {
    ScaleGradient scale = mode.equals("live") ? ScaleGradient.LIVE : ScaleGradient.DETACHED;
    Target entered =
        switch (mode) {
          case "gate" -> target.through(InputPath.GATE);
          case "up" -> target.through(InputPath.UP);
          default -> target;
        };
    EdgeAttribution edges = EdgeAttribution.of(nodes, scale);
    Supplier<EdgeScores> scores = () -> edges.into(entered);
    return switch (quantity) {
      case "D" -> () -> edges.gradient(entered).rows().toDoubles();
      case "D_norm" -> () -> norms(edges.gradient(entered).rows());
      case "embedding" -> () -> embeddings(scores.get()::of);
      case "neurons_sum_per_layer" -> () -> neuronsByLayer(scores.get().arrays(), value -> value);
      case "heads_sum" -> () -> pairsByHead(scores.get().arrays());
      case "total" -> () -> total(edges.gradient(entered), scores.get());
      case "neurons_top40/index" ->
          () -> indices(strongest(scores.get().arrays(), Neuron.class, 40));
      case "neurons_top40/value" ->
          () -> scores(strongest(scores.get().arrays(), Neuron.class, 40));
      case "head_pairs_top20/index" ->
          () -> indices(strongest(scores.get().arrays(), HeadPair.class, 20));
      case "head_pairs_top20/value" ->
          () -> scores(strongest(scores.get().arrays(), HeadPair.class, 20));
      default -> null;
    };
  }

  /** Of embeddings, head pairs, neurons, and the residual stream along the gradient. */
  private double[] total(ResidualGradient gradient, EdgeScores scores) {
    Tensor residual =
        run.residual(gradient.point())
            .value()
            .slice(
                0, gradient.firstToken(), gradient.firstToken() + gradient.rows().shape().size(0));
    return new double[] {
      Arrays.stream(embeddings(scores::of)).sum(),
      Arrays.stream(pairsByHead(scores.arrays())).sum(),
      Arrays.stream(neuronsByLayer(scores.arrays(), value -> value)).sum(),
      dot(residual, gradient.rows())
    };
  }

  private static double dot(Tensor x, Tensor y) {
    double[] left = x.toDoubles();
    double[] right = y.toDoubles();
    return IntStream.range(0, left.length).mapToDouble(i -> left[i] * right[i]).sum();
  }

  // ---- nodes -------------------------------------------------------------------------------

  private static List<NodeArray> of(List<NodeArray> arrays, Class<? extends Node> kind) {
    return arrays.stream().filter(array -> kind.isInstance(array.node(0))).toList();
  }

  private static List<NodeScore> strongest(
      List<NodeArray> arrays, Class<? extends Node> kind, int count) {
    return NodeScore.largest(of(arrays, kind), count);
  }

  private static double[] scores(List<NodeScore> nodes) {
    return nodes.stream().mapToDouble(NodeScore::score).toArray();
  }

  private static double[] indices(List<NodeScore> nodes) {
    return nodes.stream().flatMapToInt(node -> index(node.node())).asDoubleStream().toArray();
  }

  private static IntStream index(Node node) {
    if (node instanceof Neuron neuron) {
      return IntStream.of(neuron.layer(), neuron.token(), neuron.neuron());
    }
    HeadPair pair = (HeadPair) node;
    return IntStream.of(pair.layer(), pair.head(), pair.query(), pair.key());
  }

  private double[] ofStrongest(ToDoubleFunction<Neuron> value) {
    return strongest(attribution, Neuron.class, 40).stream()
        .mapToDouble(one -> value.applyAsDouble((Neuron) one.node()))
        .toArray();
  }

  private double[] ofTarget(Tensor values) {
    return new double[] {at(values, target)};
  }

  private static double at(Tensor values, Neuron neuron) {
    return values.get(neuron.token(), neuron.neuron());
  }

  private double[] embeddings(ToDoubleFunction<Node> score) {
    return IntStream.range(0, run.length())
        .mapToDouble(t -> score.applyAsDouble(new Embedding(Embedding.EmbeddingPart.BOTH, t)))
        .toArray();
  }

  private double[] neuronsByLayer(List<NodeArray> arrays, DoubleUnaryOperator of) {
    double[] sums = new double[model.layers()];
    for (NodeArray array : of(arrays, Neuron.class)) {
      int layer = ((Neuron) array.node(0)).layer();
      sums[layer] += Arrays.stream(array.values().toDoubles()).map(of).sum();
    }
    return sums;
  }

  /** [layer, head] */
  private double[] pairsByHead(List<NodeArray> arrays) {
    int heads = model.attention(0).heads();
    double[] sums = new double[model.layers() * heads];
    for (NodeArray array : of(arrays, HeadPair.class)) {
      double[] values = array.values().toDoubles();
      for (int i = 0; i < values.length; i++) {
        HeadPair pair = (HeadPair) array.node(i);
        sums[pair.layer() * heads + pair.head()] += values[i];
      }
    }
    return sums;
  }

  // ---- tensors -----------------------------------------------------------------------------

  private double[] points(Function<Place, double[]> of) {
    return ExpectedTensors.stack(
        model.end().index() + 1, point -> of.apply(model.residualAt(new Point(point))));
  }

  private double[] lastRow(Tensor x) {
    return x.slice(0, last, last + 1).toDoubles();
  }

  private static double[] norms(Tensor x) {
    int width = x.shape().size(1);
    double[] values = x.toDoubles();
    double[] result = new double[values.length / width];
    for (int i = 0; i < values.length; i++) {
      result[i / width] += values[i] * values[i];
    }
    return Arrays.stream(result).map(Math::sqrt).toArray();
  }

  private static double logSumExp(double[] values) {
    double largest = Arrays.stream(values).max().orElseThrow();
    return largest + Math.log(Arrays.stream(values).map(v -> Math.exp(v - largest)).sum());
  }
}
