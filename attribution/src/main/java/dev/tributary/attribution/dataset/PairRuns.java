package dev.tributary.attribution.dataset;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Transformer;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.function.Function;

/**
 * The two plain runs of a pair, and what is heard of sources. Lives in the scope in which it was
 * made.
 *
 * @param graph of the model
 * @param pair of prompts
 * @param clean with derivatives, if these are wanted
 * @param corrupted without
 * @param metric of runs of this pair
 * @param written what each source writes in the clean run, [source, token, dModel]
 * @param missing what is heard of each where an edge is missing, of the same shape
 */
record PairRuns(
    ComponentGraph graph,
    Pair pair,
    Run clean,
    Run corrupted,
    Function<Run, Variable> metric,
    Tensor written,
    Tensor missing) {
  /** What a run without derivatives has to record to be measured. */
  static final Set<Site> LAST = EnumSet.of(Site.FINAL_NORMALISED);

  /** Runs both prompts, the clean one with all that gradients take. */
  static PairRuns withDerivatives(
      Transformer model, ComponentGraph graph, AblationValues ablation, Pair pair) {
    Run clean = model.run(ReaderGradients.sites(), Pair.ids(pair.clean()));
    return of(graph, ablation, pair, clean);
  }

  /** Runs both prompts without derivatives. */
  static PairRuns values(
      Transformer model, ComponentGraph graph, AblationValues ablation, Pair pair) {
    return of(graph, ablation, pair, model.values(valueSites(), Pair.ids(pair.clean())));
  }

  /** What a run without derivatives has to record for others that begin in some layer. */
  private static Set<Site> valueSites() {
    Set<Site> sites =
        EnumSet.of(Site.FINAL_NORMALISED, Site.RESIDUAL_AFTER_ATTENTION, Site.RESIDUAL_AFTER_MLP);
    sites.addAll(StreamWriter.sites());
    return sites;
  }

  private static PairRuns of(ComponentGraph graph, AblationValues ablation, Pair pair, Run clean) {
    Run corrupted = clean.model().values(valueSites(), Pair.ids(pair.corrupted()));
    Tensor written = StreamWriter.written(clean, graph.input());
    return new PairRuns(
        graph,
        pair,
        clean,
        corrupted,
        pair.metric().against(clean),
        written,
        ablation.heard(graph, written, corrupted));
  }

  /** How far what is heard of a missing source is from what it writes, [source, token, dModel]. */
  Tensor moved() {
    return missing.minus(written);
  }

  /** The value of a metric in a run. */
  static double value(Function<Run, Variable> metric, Run run) {
    try (Scope scope = Scope.open()) {
      return metric.apply(run).value().item();
    }
  }

  double cleanMetric() {
    return value(metric, clean);
  }

  double corruptedMetric() {
    return value(metric, corrupted);
  }

  /** The metric of the clean run with something changed. */
  double metricWith(Change change) {
    return value(metric, clean.valuesWith(LAST, change));
  }

  /** What one source writes, [token, dModel]. */
  static Tensor of(Tensor bySource, int source) {
    return bySource
        .slice(0, source, source + 1)
        .reshape(bySource.shape().size(1), bySource.shape().size(2));
  }

  List<StreamWriter> sources() {
    return graph.sources();
  }
}
