package dev.tributary.attribution.dataset;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Tokens;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The two plain runs of a pair, or at once those of several of one length, and what is heard of
 * sources. Lives in the scope in which it was made.
 */
final class PairRuns {
  private final ComponentGraph graph;
  private final AblationValues ablation;
  private final List<Pair> pairs;
  private final Run clean;
  private final Run corrupted;

  /** Of runs of each pair. */
  private final List<Function<Run, Variable>> metrics = new ArrayList<>();

  private final Scope scope = Scope.innermost();

  /** Made when asked for, as not every method needs it. */
  private @Nullable Tensor written;

  private @Nullable Tensor missing;

  private PairRuns(ComponentGraph graph, AblationValues ablation, List<Pair> pairs, Run clean) {
    this.graph = graph;
    this.ablation = ablation;
    this.pairs = pairs;
    this.clean = clean;
    graph.requireLength(clean.length());
    this.corrupted = graph.model().values(VALUES, corruptedOf(pairs), graph.split());
    for (int i = 0; i < pairs.size(); i++) {
      metrics.add(pairs.get(i).metric().against(clean.prompt(i)));
    }
  }

  /** What a run without derivatives has to record to be measured. */
  static final Set<Site> LAST = EnumSet.of(Site.FINAL_NORMALISED);

  /** The same for others that begin in some layer. */
  private static final Set<Site> VALUES =
      EnumSet.of(Site.FINAL_NORMALISED, Site.RESIDUAL_AFTER_ATTENTION, Site.RESIDUAL_AFTER_MLP);

  static {
    VALUES.addAll(StreamWriter.sites());
  }

  /** Runs the prompts, the clean ones with all that gradients take. */
  static PairRuns withDerivatives(ComponentGraph graph, AblationValues ablation, List<Pair> pairs) {
    return new PairRuns(
        graph,
        ablation,
        pairs,
        graph.model().run(ReaderGradients.SITES, cleanOf(pairs), graph.split()));
  }

  /** Runs both prompts of a pair without derivatives. */
  static PairRuns values(ComponentGraph graph, AblationValues ablation, Pair pair) {
    List<Pair> one = List.of(pair);
    return new PairRuns(
        graph, ablation, one, graph.model().values(VALUES, cleanOf(one), graph.split()));
  }

  private static List<List<Integer>> cleanOf(List<Pair> pairs) {
    return pairs.stream().map(Pair::clean).toList();
  }

  static List<List<Integer>> corruptedOf(List<Pair> pairs) {
    return pairs.stream().map(Pair::corrupted).toList();
  }

  ComponentGraph graph() {
    return graph;
  }

  List<Pair> pairs() {
    return pairs;
  }

  /** With derivatives, if these are wanted. */
  Run clean() {
    return clean;
  }

  /** Without derivatives. */
  Run corrupted() {
    return corrupted;
  }

  /** What each source writes in the clean run, [source, token, dModel]. */
  Tensor written() {
    Tensor made = written;
    if (made == null) {
      made = kept(() -> StreamWriter.written(clean, graph.sources()));
      written = made;
    }
    return made;
  }

  /** What is heard of each where an edge is missing, [source, token, dModel]. */
  Tensor missing() {
    Tensor made = missing;
    if (made == null) {
      made = kept(() -> ablation.heard(graph, written(), corrupted));
      missing = made;
    }
    return made;
  }

  /** As long as the runs. */
  private Tensor kept(Supplier<Tensor> code) {
    try (Scope here = Scope.open()) {
      return here.keepIn(scope, code.get());
    }
  }

  /** What one source writes in the clean run, [token, dModel]. */
  Tensor written(int source) {
    return sources().get(source).written(clean);
  }

  /** What is heard of one source where an edge is missing, [token, dModel]. */
  Tensor missing(int source) {
    return ablation.heard(this, source);
  }

  /** How far what is heard of one source is from what it writes, [token, dModel]. */
  Tensor moved(int source) {
    return missing(source).minus(written(source));
  }

  /** How far what is heard of each source is from what it writes, [token, source, dModel]. */
  Tensor moved() {
    return ablation.moved(this);
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
