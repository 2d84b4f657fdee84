package dev.tributary.attribution.dataset;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Tokens;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.function.Function;

/**
 * The two plain runs of a pair, or at once those of several of one length, and what is heard of
 * sources. Lives in the scope in which it was made.
 *
 * @param graph of the model
 * @param pairs of prompts
 * @param clean with derivatives, if these are wanted
 * @param corrupted without
 * @param metrics of runs of each pair
 * @param written what each source writes in the clean run, [source, token, dModel]
 * @param missing what is heard of each where an edge is missing, of the same shape
 */
record PairRuns(
    ComponentGraph graph,
    List<Pair> pairs,
    Run clean,
    Run corrupted,
    List<Function<Run, Variable>> metrics,
    Tensor written,
    Tensor missing) {
  /** What a run without derivatives has to record to be measured. */
  static final Set<Site> LAST = EnumSet.of(Site.FINAL_NORMALISED);

  /** Runs the prompts, the clean ones with all that gradients take. */
  static PairRuns withDerivatives(
      Transformer model, ComponentGraph graph, AblationValues ablation, List<Pair> pairs) {
    return of(graph, ablation, pairs, model.run(ReaderGradients.sites(), cleanOf(pairs)));
  }

  /** Runs both prompts of a pair without derivatives. */
  static PairRuns values(
      Transformer model, ComponentGraph graph, AblationValues ablation, Pair pair) {
    List<Pair> one = List.of(pair);
    return of(graph, ablation, one, model.values(valueSites(), cleanOf(one)));
  }

  private static List<List<Integer>> cleanOf(List<Pair> pairs) {
    return pairs.stream().map(Pair::clean).toList();
  }

  static List<List<Integer>> corruptedOf(List<Pair> pairs) {
    return pairs.stream().map(Pair::corrupted).toList();
  }

  /** What a run without derivatives has to record for others that begin in some layer. */
  private static Set<Site> valueSites() {
    Set<Site> sites =
        EnumSet.of(Site.FINAL_NORMALISED, Site.RESIDUAL_AFTER_ATTENTION, Site.RESIDUAL_AFTER_MLP);
    sites.addAll(StreamWriter.sites());
    return sites;
  }

  private static PairRuns of(
      ComponentGraph graph, AblationValues ablation, List<Pair> pairs, Run clean) {
    graph.requireLength(clean.length());
    Run corrupted = clean.model().values(valueSites(), corruptedOf(pairs));
    Tensor written = StreamWriter.written(clean, graph.input());
    List<Function<Run, Variable>> metrics = new ArrayList<>();
    for (int i = 0; i < pairs.size(); i++) {
      metrics.add(pairs.get(i).metric().against(clean.prompt(i)));
    }
    return new PairRuns(
        graph,
        pairs,
        clean,
        corrupted,
        metrics,
        written,
        ablation.heard(graph, written, corrupted));
  }

  /** How far what is heard of a missing source is from what it writes, [source, token, dModel]. */
  Tensor moved() {
    return missing.minus(written);
  }

  /** The sum of the metrics of all pairs. */
  Variable metric(Run run) {
    Variable sum = metrics.get(0).apply(run.prompt(0));
    for (int i = 1; i < metrics.size(); i++) {
      sum = sum.plus(metrics.get(i).apply(run.prompt(i)));
    }
    return sum;
  }

  /** The value of a metric in a run. */
  static double value(Function<Run, Variable> metric, Run run) {
    try (Scope scope = Scope.open()) {
      return metric.apply(run).value().item();
    }
  }

  double cleanMetric(int pair) {
    return value(metrics.get(pair), clean.prompt(pair));
  }

  double corruptedMetric(int pair) {
    return value(metrics.get(pair), corrupted.prompt(pair));
  }

  /** The metric of the clean run of a single pair with something changed. */
  double metricWith(Change change) {
    return value(this::metric, clean.valuesWith(LAST, change));
  }

  /** What one source writes, [token, dModel]. */
  static Tensor of(Tensor bySource, int source) {
    return bySource
        .slice(0, source, source + 1)
        .reshape(bySource.shape().size(1), bySource.shape().size(2));
  }

  /** Some tokens along the axis of them. */
  static Tensor at(Tensor byToken, int axis, Tokens tokens) {
    int length = byToken.shape().size(axis);
    return tokens.first() == 0 && tokens.endIn(length) == length
        ? byToken
        : byToken.slice(axis, tokens.first(), tokens.endIn(length));
  }

  /** Rows of some tokens, zeros elsewhere, [token, dModel]. */
  static Tensor only(Tensor rows, Tokens tokens) {
    return at(rows, 0, tokens).pad(0, tokens.first(), rows.shape().size(0));
  }

  List<StreamWriter> sources() {
    return graph.sources();
  }
}
