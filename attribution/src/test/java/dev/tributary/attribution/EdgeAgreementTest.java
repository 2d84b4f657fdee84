package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.AttentionConfig;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Frozen;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.Mlp;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

/**
 * Every kind of source to every kind of target, pushed, pulled, taken by central differences, and
 * measured by an intervention on the frozen model. What is compared with was computed by running
 * the whole model again with the residual stream changed, without any of the slicing that edges are
 * computed with. Leaves the table of the largest disagreements in {@code target/edge-agreement.md}.
 */
class EdgeAgreementTest {
  /** Random edges of each pair of kinds. */
  private static final int EDGES = 200;

  /** Rounding in 64 bits, relative to the gradient or 1. */
  private static final double EXACT = 1e-10;

  /** The frozen model is evaluated, not differentiated: differences of numbers of order 1. */
  private static final double FROZEN = 1e-9;

  /** Truncation of central differences, relative to the edge or 1. */
  private static final double DIFFERENCE = 1e-6;

  private static final double STEP = 1e-5;

  private static final long SEED = 20261123;

  /** The largest disagreements of one pair of kinds. */
  private static final class Cell {
    int edges;
    int nonzero;
    double pushed;
    double differences;
    double frozen;
  }

  @Test
  void everyPairOfKinds_pushPullDifferencesAndFrozenModel_agree() throws IOException {
    Map<String, Map<String, Cell>> table = new LinkedHashMap<>();
    Map<String, RandomNodes.Kind<Source>> sources = RandomNodes.sourceKinds();
    Map<String, RandomNodes.Kind<Target>> targets = RandomNodes.targetKinds();
    sources.keySet().forEach(s -> table.put(s, new LinkedHashMap<>()));
    for (int draw = 0; draw < EDGES; draw++) {
      long seed = SEED + draw;
      Random random = RandomNodes.random(seed);
      try (Scope scope = Scope.open()) {
        NodeAttribution nodes =
            draw / 4 % 2 == 0 ? RandomNodes.attribution(seed) : RandomNodes.mixture(seed);
        Transformer model = nodes.run().model();
        ScaleGradient scale = draw % 2 == 0 ? ScaleGradient.LIVE : ScaleGradient.DETACHED;
        EdgeMeasure measure = draw / 2 % 2 == 0 ? EdgeMeasure.ATTRIBUTION : EdgeMeasure.ACTIVATION;
        EdgeAttribution edges = EdgeAttribution.of(nodes, scale, measure);
        EdgeAttribution detached = EdgeAttribution.of(nodes, ScaleGradient.DETACHED, measure);
        for (Map.Entry<String, RandomNodes.Kind<Source>> s : sources.entrySet()) {
          Source source = s.getValue().apply(random, 0);
          if (!RandomNodes.has(nodes.run(), source)) {
            continue;
          }
          EdgeScores pushed = edges.outOf(source);
          for (Map.Entry<String, RandomNodes.Kind<Target>> t : targets.entrySet()) {
            try (Scope inner = Scope.open()) {
              int layer = 1 + random.nextInt(RandomNodes.LAYERS - 1);
              Target drawn = t.getValue().apply(random, layer);
              Target target =
                  drawn instanceof Direction d
                      ? new Direction(model.attention(layer).reads(), d.token(), d.vector())
                      : drawn;
              if (!RandomNodes.has(nodes.run(), target)) {
                continue;
              }
              Cell cell =
                  table
                      .getOrDefault(s.getKey(), Map.of())
                      .computeIfAbsent(t.getKey(), k -> new Cell());
              Compared compared = new Compared(nodes, measure, scale, source, target, edges);
              compared.check(cell, pushed, detached, "seed " + seed);
            }
          }
        }
      }
    }
    report(table);
  }

  /** One edge, computed in every way. */
  private static final class Compared {
    private final NodeAttribution nodes;
    private final Run run;
    private final EdgeMeasure measure;
    private final ScaleGradient scale;
    private final Source source;
    private final Target target;
    private final EdgeAttribution edges;
    private final ResidualGradient gradient;
    private final Tensor write;

    Compared(
        NodeAttribution nodes,
        EdgeMeasure measure,
        ScaleGradient scale,
        Source source,
        Target target,
        EdgeAttribution edges) {
      this.nodes = nodes;
      this.run = nodes.run();
      this.measure = measure;
      this.scale = scale;
      this.source = source;
      this.target = target;
      this.edges = edges;
      this.gradient = edges.gradient(target);
      this.write = RandomNodes.write(nodes.run(), source);
    }

    void check(Cell cell, EdgeScores pushed, EdgeAttribution detached, String where) {
      String name = where + ": " + source + " to " + target;
      double edge = edges.between(source, target);
      double magnitude = 1;
      for (double entry : gradient.rows().toDoubles()) {
        magnitude = Math.max(magnitude, Math.abs(entry));
      }
      cell.edges++;
      cell.nonzero += edge == 0 ? 0 : 1;
      double error = Math.abs(edges.pushed(source, target) - edge);
      if (!(target instanceof Logit || target instanceof Direction)) {
        error = Math.max(error, Math.abs(pushed.of(target) - edge));
      }
      assertEquals(0, error / magnitude, EXACT, name);
      cell.pushed = Math.max(cell.pushed, error / magnitude);
      boolean frozenScale = scale == ScaleGradient.DETACHED;
      double ahead = value(changed(STEP, frozenScale));
      double behind = value(changed(-STEP, frozenScale));
      double differenceError =
          Math.abs((ahead - behind) / (2 * STEP) - edge) / Math.max(magnitude, Math.abs(edge));
      assertEquals(0, differenceError, DIFFERENCE, name);
      cell.differences = Math.max(cell.differences, differenceError);
      if (!(target instanceof Explained)) { // whose gradient includes the live final scale
        double predicted = detached.between(source, target);
        double lost = -tangent(changed(-1, true));
        double frozenError = Math.abs(lost - predicted) / magnitude;
        assertEquals(0, frozenError, FROZEN, name);
        cell.frozen = Math.max(cell.frozen, frozenError);
      }
    }

    /** The whole model, run again with a multiple of the write added to what the target reads. */
    private Run changed(double factor, boolean frozen) {
      Place place = run.model().residualAt(gradient.point());
      Intervention add = Intervention.add(place.at(0, source.token()), write.times(factor));
      return frozen ? run.with(Frozen.as(run), add) : run.with(add);
    }

    /** F of the target, curved, from what a changed run has at the sites before its curvature. */
    private double value(Run changed) {
      if (target instanceof Explained) {
        return residualProduct(changed, gradient.rows());
      }
      if (target instanceof Direction direction) {
        return residualProduct(changed, direction.vector());
      }
      if (target instanceof Logit logit) {
        return changed.value(Site.LOGITS).get(logit.token(), logit.word());
      }
      if (target instanceof Neuron n) {
        Tensor activation = activated(changed, n.layer());
        return activation.get(n.token(), n.neuron()) * weight(n);
      }
      if (target instanceof NeuronInput input) {
        Neuron n = input.neuron();
        boolean gate = input.path() == InputPath.GATE;
        Tensor gated = (gate ? run : changed).value(Site.MLP_UP, n.layer());
        Tensor activation = activation(gate ? changed : run, n.layer()).times(gated);
        return activation.get(n.token(), n.neuron()) * weight(n);
      }
      if (target instanceof Latent l) {
        Tensor latents =
            autoencoder(l).latents(Variable.constant(site(l, changed)), ScaleGradient.LIVE).value();
        return latents.get(l.token(), l.latent()) * weight(l);
      }
      HeadInput input = (HeadInput) target;
      HeadPair p = input.pair();
      if (input.path() == InputPath.VALUE) {
        return valueOf(p, changed.value(Site.VALUE, p.layer()));
      }
      boolean query = input.path() == InputPath.QUERY;
      Tensor pattern =
          pattern(
              p.layer(),
              (query ? changed : run).value(Site.QUERY, p.layer()),
              (query ? run : changed).value(Site.KEY, p.layer()));
      return pattern.get(p.head(), p.query(), p.key()) * weight(p);
    }

    /** How F moves along its tangent, from how a frozen run moves at the same sites. */
    private double tangent(Run changed) {
      if (target instanceof Direction || target instanceof Logit) {
        return value(changed) - value(run);
      }
      if (target instanceof Neuron n) {
        return RandomNodes.activation(changed, n) * weight(n)
            - RandomNodes.activation(run, n) * weight(n);
      }
      if (target instanceof NeuronInput input) {
        Neuron n = input.neuron();
        boolean gate = input.path() == InputPath.GATE;
        Mlp.Factor factor = run.model().mlp(n.layer()).factors(run).get(gate ? 0 : 1);
        Place place = Place.of(factor.site(), n.layer());
        Tensor moved = changed.value(place).minus(run.value(place)).times(factor.slopes());
        return moved.get(n.token(), n.neuron()) * weight(n);
      }
      if (target instanceof Latent l) {
        int layer = l.dictionary().layer();
        Dictionary autoencoder = autoencoder(l);
        Tensor moved =
            autoencoder(l).reads().site() == Site.ATTENTION_OUTPUT
                ? movedAttention(layer, changed)
                : changed
                    .value(autoencoder(l).reads().site(), layer)
                    .minus(run.value(autoencoder(l).reads().site(), layer));
        Tensor latents =
            moved
                .matmulTransposed(autoencoder.encoder())
                .times(autoencoder.slopes(run.value(autoencoder(l).reads().site(), layer)));
        return latents.get(l.token(), l.latent()) * weight(l);
      }
      HeadInput input = (HeadInput) target;
      HeadPair p = input.pair();
      int layer = p.layer();
      if (input.path() == InputPath.VALUE) {
        return valueOf(p, changed.value(Site.VALUE, layer))
            - valueOf(p, run.value(Site.VALUE, layer));
      }
      boolean query = input.path() == InputPath.QUERY;
      Tensor pattern = movedPattern(layer, changed, query, !query);
      return pattern.get(p.head(), p.query(), p.key()) * weight(p);
    }

    private Attention attention(int layer) {
      return run.model().attention(layer);
    }

    /** How the pattern moves along its tangent with queries and keys. */
    private Tensor movedPattern(int layer, Run changed, boolean query, boolean key) {
      Attention attention = attention(layer);
      Tensor q = run.value(Site.QUERY, layer);
      Tensor k = attention.perHead(run.value(Site.KEY, layer));
      Tensor pattern = run.value(Site.PATTERN, layer);
      Tensor products = Tensor.zeros(DType.DOUBLE, pattern.shape());
      if (query) {
        products = products.plus(changed.value(Site.QUERY, layer).minus(q).matmulTransposed(k));
      }
      if (key) {
        Tensor moved = attention.perHead(changed.value(Site.KEY, layer)).minus(k);
        products = products.plus(q.matmulTransposed(moved));
      }
      AttentionConfig config = run.model().config().layers().get(layer).attention();
      Tensor scores = products.times(config.scoreScale());
      if (config.cap().isPresent()) {
        Tensor share =
            q.matmulTransposed(k).times(config.scoreScale() / config.cap().getAsDouble()).tanh();
        scores = scores.times(share.square().negate().plus(1));
      }
      // Where nothing is seen the probability is 0, and so is its derivative.
      return pattern.softmaxDerivative(scores, 1);
    }

    private Tensor movedAttention(int layer, Run changed) {
      Attention attention = attention(layer);
      Tensor v = attention.perHead(run.value(Site.VALUE, layer));
      Tensor heads =
          run.value(Site.PATTERN, layer)
              .matmul(attention.perHead(changed.value(Site.VALUE, layer)).minus(v))
              .plus(movedPattern(layer, changed, true, true).matmul(v));
      return attention.outlet().push(run, 0, written(layer, heads));
    }

    /** What head outputs come to before the outlet, without the bias. */
    private Tensor written(int layer, Tensor heads) {
      Tensor byHead = heads.matmul(attention(layer).outputWeight());
      return byHead.sum(0).reshape(RandomNodes.TOKENS, RandomNodes.WIDTH);
    }

    private Tensor site(Latent l, Run changed) {
      int layer = l.dictionary().layer();
      boolean held = scale == ScaleGradient.DETACHED;
      if (autoencoder(l).reads().site() == Site.ATTENTION_OUTPUT) {
        Attention attention = attention(layer);
        Tensor pattern =
            pattern(layer, changed.value(Site.QUERY, layer), changed.value(Site.KEY, layer));
        Tensor heads = pattern.matmul(attention.perHead(changed.value(Site.VALUE, layer)));
        Tensor moved = heads.minus(run.value(Site.HEAD_OUTPUT, layer));
        return held
            ? run.value(autoencoder(l).reads().site(), layer)
                .plus(attention.outlet().push(run, 0, written(layer, moved)))
            : attention.output(Variable.constant(heads), ScaleGradient.LIVE).value();
      }
      Tensor activation = activated(changed, layer);
      if (autoencoder(l).reads().site() == Site.MLP_ACTIVATION) {
        return activation;
      }
      Mlp mlp = run.model().mlp(layer);
      Tensor moved = activation.minus(run.value(Site.MLP_ACTIVATION, layer)).matmul(mlp.rows());
      return held
          ? run.value(autoencoder(l).reads().site(), layer).plus(mlp.outlet().push(run, 0, moved))
          : mlp.output(Variable.constant(activation), ScaleGradient.LIVE).value();
    }

    private Tensor pattern(int layer, Tensor q, Tensor k) {
      return attention(layer)
          .scores(Variable.constant(q), Variable.constant(k), 0)
          .value()
          .causalSoftmax(1);
    }

    private double residualProduct(Run changed, Tensor rows) {
      int from = gradient.firstToken();
      Tensor residual =
          changed.residual(gradient.point()).value().slice(0, from, gradient.endToken());
      return residual.times(rows).sumTo(Shape.of()).item();
    }

    /** Probability times the value along the metric's gradient, or along what the head writes. */
    private double valueOf(HeadPair p, Tensor values) {
      int layer = p.layer();
      Attention attention = attention(layer);
      Tensor value = vector(attention.perHead(values), p.head(), p.key());
      Tensor along;
      if (measure == EdgeMeasure.ATTRIBUTION) {
        along = vector(nodes.gradient(Site.HEAD_OUTPUT, layer), p.head(), p.query());
      } else {
        Tensor weight = attention.outputWeight().slice(0, p.head(), p.head() + 1);
        Tensor matrix = weight.reshape(RandomNodes.HEAD_WIDTH, RandomNodes.WIDTH);
        Tensor own = attention.perHead(run.value(Site.VALUE, layer));
        Tensor written = attention.outlet().fixed(vector(own, p.head(), p.key()).matmul(matrix));
        Tensor direction = written.over(written.norm(-1));
        along = attention.outlet().directions(direction).matmulTransposed(matrix);
      }
      return value.matmulTransposed(along).item() * RandomNodes.activation(run, p);
    }

    private static Tensor vector(Tensor byHead, int head, int token) {
      return byHead
          .slice(0, head, head + 1)
          .slice(1, token, token + 1)
          .reshape(1, RandomNodes.HEAD_WIDTH);
    }

    private Dictionary autoencoder(Latent l) {
      return run.model().dictionary(l.dictionary());
    }

    private double weight(Node node) {
      if (measure == EdgeMeasure.ACTIVATION) {
        return 1;
      }
      if (node instanceof Neuron n) {
        return nodes.gradient(Site.MLP_ACTIVATION, n.layer()).get(n.token(), n.neuron());
      }
      if (node instanceof HeadPair p) {
        return nodes.gradient(Site.PATTERN, p.layer()).get(p.head(), p.query(), p.key());
      }
      Latent l = (Latent) node;
      return nodes.latentGradient(autoencoder(l)).get(l.token(), l.latent());
    }
  }

  private static void report(Map<String, Map<String, Cell>> table) throws IOException {
    StringBuilder text = new StringBuilder();
    List.of("pushed against pulled", "pulled against central differences", "pulled against frozen")
        .forEach(
            title -> {
              text.append("\n").append(title).append("\n\n| source |");
              table.values().iterator().next().keySet().forEach(t -> text.append(t).append(" |"));
              text.append("\n|---|");
              table.values().iterator().next().keySet().forEach(t -> text.append("---|"));
              table.forEach(
                  (source, row) -> {
                    text.append("\n| ").append(source).append(" |");
                    row.forEach(
                        (target, cell) ->
                            text.append(
                                String.format(
                                    Locale.ROOT,
                                    " %.0e |",
                                    title.startsWith("pushed")
                                        ? cell.pushed
                                        : title.endsWith("frozen")
                                            ? cell.frozen
                                            : cell.differences)));
                  });
              text.append("\n");
            });
    Files.writeString(Path.of("target", "edge-agreement.md"), text);
    table.forEach(
        (source, row) ->
            row.forEach(
                (target, cell) -> {
                  assertTrue(cell.edges >= EDGES / 2 * share(target), source + " to " + target);
                  assertTrue(
                      cell.nonzero >= EDGES / 20 * share(target),
                      source + " to " + target + ": only " + cell.nonzero + " are not zero");
                }));
  }

  /**
   * A quarter of the models are mixtures, in which half of the layers are gated and half of the
   * parts are biased; of families, few are both.
   */
  private static double share(String target) {
    return target.equals("gate") || target.equals("up") ? 0.0625 : 1;
  }

  private static Tensor activated(Run run, int layer) {
    Place up = Place.of(Site.MLP_UP, layer);
    return run.has(up) ? activation(run, layer).times(run.value(up)) : activation(run, layer);
  }

  /** What activation functions make of pre-activations. */
  private static Tensor activation(Run run, int layer) {
    MlpActivation function = run.model().config().layers().get(layer).mlp().activation();
    return function.apply(Variable.constant(run.value(Site.MLP_PRE_ACTIVATION, layer))).value();
  }
}
