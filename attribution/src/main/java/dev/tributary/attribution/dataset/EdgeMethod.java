package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.ReadIntervention;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamReader;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.WriteIntervention;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * How edges are scored. The score of an edge estimates how far the metric moves when its reader
 * hears something else of its source: where nothing else is said, Δ · G, with Δ how far that is
 * from what the source writes in the clean run, and G the gradient at the reader's own copy of the
 * residual stream.
 */
public abstract class EdgeMethod {
  /**
   * Edge attribution patching: G of the clean run. One forward pass of each prompt, one pull.
   *
   * @see <a href="https://arxiv.org/abs/2310.10348">Syed et al. 2023</a>
   */
  public static final EdgeMethod EAP =
      new EdgeMethod("eap") {
        @Override
        double[] scores(PairRuns runs) {
          return runs.graph().inOrder(products(runs, runs.clean()));
        }
      };

  /** The mean of G of the clean and of the corrupted run. */
  public static final EdgeMethod CLEAN_CORRUPTED =
      new EdgeMethod("clean_corrupted") {
        @Override
        double[] scores(PairRuns runs) {
          double[][] sum = products(runs, runs.clean());
          try (Scope scope = Scope.open()) {
            Run corrupted =
                runs.clean()
                    .model()
                    .run(ReaderGradients.sites(), Pair.ids(runs.pair().corrupted()));
            add(sum, products(runs, corrupted));
          }
          return runs.graph().inOrder(times(sum, 0.5));
        }
      };

  /**
   * As {@link #EAP}, but edges into queries and keys see how far the attention pattern really
   * moves: Σ (P' - P) · dM/dP, with P the clean pattern and P' that of the queries, or keys, of all
   * positions that hear the source otherwise.
   *
   * @see <a href="https://arxiv.org/abs/2403.00745">Kramár et al. 2024, section 3.1.1</a>
   */
  public static final EdgeMethod QK_FIX =
      new EdgeMethod("eap_qk_fix") {
        @Override
        double[] scores(PairRuns runs) {
          ReaderGradients gradients = ReaderGradients.of(runs.clean(), runs.metric());
          double[][] scores = gradients.products(runs.graph(), runs.moved(), 0);
          for (int reader = 0; reader < runs.graph().readers().size(); reader++) {
            if (runs.graph().readers().get(reader) instanceof StreamReader.Head head
                && head.head() == 0
                && head.path() != InputPath.VALUE) {
              fix(scores, runs, gradients, head, reader);
            }
          }
          return runs.graph().inOrder(scores);
        }
      };

  /**
   * What really happens to the metric: a run for each edge, in which one reader hears something
   * else of one source and everything after it answers.
   */
  public static final EdgeMethod EXACT =
      new EdgeMethod("exact") {
        @Override
        boolean differentiates() {
          return false;
        }

        @Override
        double[] scores(PairRuns runs) {
          return exact(runs, IntStream.range(0, runs.graph().edges().size()).toArray());
        }

        @Override
        double[] ofSources(PairRuns runs) {
          double clean = runs.cleanMetric();
          double[] scores = new double[runs.sources().size()];
          for (int i = 0; i < scores.length; i++) {
            Tensor constant = PairRuns.of(runs.missing(), i);
            scores[i] =
                runs.metricWith(WriteIntervention.put(Map.of(runs.sources().get(i), constant)))
                    - clean;
          }
          return scores;
        }
      };

  private final String name;

  private EdgeMethod(String name) {
    this.name = name;
  }

  /**
   * {@return the method that takes the mean of G over runs whose input lies on the way from what is
   * heard of it where it is missing, which is included, to what it is, which is not}
   *
   * @param steps how many runs
   * @see <a href="https://arxiv.org/abs/2403.17806">Hanna et al. 2024, EAP-IG</a>
   */
  public static EdgeMethod eapIgInputs(int steps) {
    requireSteps(steps);
    return new EdgeMethod("eap_ig_inputs of %d steps".formatted(steps)) {
      @Override
      double[] scores(PairRuns runs) {
        double[][] sum = zeros(runs);
        for (int k = 0; k < steps; k++) {
          try (Scope scope = Scope.open()) {
            add(sum, products(runs, between(runs, 0, 1, (double) k / steps)));
          }
        }
        return runs.graph().inOrder(times(sum, 1.0 / steps));
      }
    };
  }

  /**
   * {@return the method that takes for each source the mean of G over runs in which it writes a
   * constant on the way from what is heard of it where it is missing, which is not included, to
   * what it writes, which is}
   *
   * @param steps how many runs for each source
   * @see <a href="https://arxiv.org/abs/2403.17806">Hanna et al. 2024, EAP-IG</a>
   */
  public static EdgeMethod eapIgActivations(int steps) {
    requireSteps(steps);
    return new EdgeMethod("eap_ig_activations of %d steps".formatted(steps)) {
      @Override
      double[] scores(PairRuns runs) {
        Tensor moved = runs.moved();
        double[][] sum = zeros(runs);
        for (int source = 0; source < sum.length; source++) {
          for (int k = 1; k <= steps; k++) {
            try (Scope scope = Scope.open()) {
              Run run = between(runs, source, source + 1, (double) k / steps);
              double[] own =
                  ReaderGradients.of(run, runs.metric())
                      .products(runs.graph(), moved.slice(0, source, source + 1), source)[0];
              for (int reader = 0; reader < own.length; reader++) {
                sum[source][reader] += own[reader];
              }
            }
          }
        }
        return runs.graph().inOrder(times(sum, 1.0 / steps));
      }
    };
  }

  /**
   * {@return the method that takes for all sources the mean of G over runs in which the input, all
   * heads of a layer, or an MLP write constants as in {@link #eapIgActivations}}
   *
   * @param steps how many runs for each of these
   */
  public static EdgeMethod eapIgPooledActivations(int steps) {
    requireSteps(steps);
    return new EdgeMethod("eap_ig_activations_pooled of %d steps".formatted(steps)) {
      @Override
      double[] scores(PairRuns runs) {
        double[][] sum = zeros(runs);
        int groups = 0;
        for (int first = 0; first < sum.length; ) {
          int end = first + 1;
          while (end < sum.length
              && runs.sources().get(end).site() == runs.sources().get(first).site()
              && runs.sources().get(end).layer() == runs.sources().get(first).layer()) {
            end++;
          }
          for (int k = 1; k <= steps; k++) {
            try (Scope scope = Scope.open()) {
              add(sum, products(runs, between(runs, first, end, (double) k / steps)));
            }
          }
          groups++;
          first = end;
        }
        return runs.graph().inOrder(times(sum, 1.0 / (steps * groups)));
      }
    };
  }

  private static void requireSteps(int steps) {
    requireArgument(steps > 0, "%d steps, expected at least one", steps);
  }

  /** Whether the clean run needs derivatives. */
  boolean differentiates() {
    return true;
  }

  /** Of every edge, in the order of the graph. */
  abstract double[] scores(PairRuns runs);

  /** Of every source as a whole, all edges out of it: in a linear method their sum. */
  double[] ofSources(PairRuns runs) {
    double[] edges = scores(runs);
    double[] sums = new double[runs.sources().size()];
    for (int i = 0; i < edges.length; i++) {
      sums[runs.graph().source(i)] += edges[i];
    }
    return sums;
  }

  // ---- products with gradients -------------------------------------------------------------

  private static double[][] products(PairRuns runs, Run run) {
    return ReaderGradients.of(run, runs.metric()).products(runs.graph(), runs.moved(), 0);
  }

  /** The clean run in which some sources write constants. */
  private static Run between(PairRuns runs, int first, int end, double fraction) {
    Map<StreamWriter, Tensor> constants = new LinkedHashMap<>();
    for (int source = first; source < end; source++) {
      Tensor missing = PairRuns.of(runs.missing(), source);
      Tensor clean = PairRuns.of(runs.written(), source);
      constants.put(runs.sources().get(source), missing.plus(clean.minus(missing).times(fraction)));
    }
    return runs.clean().with(WriteIntervention.put(constants));
  }

  private static double[][] zeros(PairRuns runs) {
    return new double[runs.sources().size()][runs.graph().readers().size()];
  }

  private static void add(double[][] sum, double[][] more) {
    for (int source = 0; source < sum.length; source++) {
      for (int reader = 0; reader < sum[source].length; reader++) {
        sum[source][reader] += more[source][reader];
      }
    }
  }

  private static double[][] times(double[][] sum, double factor) {
    for (double[] row : sum) {
      for (int reader = 0; reader < row.length; reader++) {
        row[reader] *= factor;
      }
    }
    return sum;
  }

  // ---- patterns ----------------------------------------------------------------------------

  /** Scores of edges into the queries, or keys, of all heads of a layer. */
  private static void fix(
      double[][] scores,
      PairRuns runs,
      ReaderGradients gradients,
      StreamReader.Head first,
      int firstReader) {
    Run run = runs.clean();
    int layer = first.layer();
    Attention attention = run.model().attention(layer);
    int tokens = run.length();
    try (Scope scope = Scope.open()) {
      Tensor residual = run.residual(attention.reads()).value();
      Variable q = run.variable(Site.QUERY, layer).detach();
      Variable k = run.variable(Site.KEY, layer).detach();
      Tensor pattern = attention.pattern(attention.scores(q, k, 0), 0).value();
      Tensor slopes =
          attention
              .valuesAlong(
                  Variable.constant(gradients.atHeads(layer)),
                  run.variable(Site.VALUE, layer).detach())
              .value();
      Tensor moved = runs.moved();
      for (int source = 0; source < runs.graph().before(firstReader); source++) {
        try (Scope own = Scope.open()) {
          Variable x =
              attention.normalised(
                  Variable.constant(residual.plus(PairRuns.of(moved, source))), ScaleGradient.LIVE);
          Variable patched =
              first.path() == InputPath.QUERY
                  ? attention.scores(attention.query(x, 0, ScaleGradient.LIVE), k, 0)
                  : attention.scores(q, attention.key(x, 0, ScaleGradient.LIVE), 0);
          double[] sums =
              attention
                  .pattern(patched, 0)
                  .value()
                  .minus(pattern)
                  .times(slopes)
                  .reshape(attention.heads(), tokens * tokens)
                  .sum(-1)
                  .toDoubles();
          System.arraycopy(sums, 0, scores[source], firstReader, sums.length);
        }
      }
    }
  }

  // ---- exact -------------------------------------------------------------------------------

  /** What really happens without each of some edges. */
  static double[] exact(PairRuns runs, int... edges) {
    double clean = runs.cleanMetric();
    Tensor moved = runs.moved();
    double[] scores = new double[edges.length];
    for (int i = 0; i < edges.length; i++) {
      try (Scope scope = Scope.open()) {
        ComponentGraph.Edge edge = runs.graph().edges().get(edges[i]);
        Tensor write = PairRuns.of(moved, runs.graph().source(edges[i]));
        scores[i] = runs.metricWith(ReadIntervention.add(edge.reader(), write)) - clean;
      }
    }
    return scores;
  }

  @Override
  public String toString() {
    return name;
  }
}
