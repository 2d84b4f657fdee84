package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.ReadIntervention;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamReader;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Tokens;
import dev.tributary.transformer.WriteIntervention;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
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
        boolean takesSeveralPairs() {
          return true;
        }

        @Override
        List<double[]> scores(PairRuns runs) {
          return inOrder(runs, products(runs, runs.moved(), runs.clean()));
        }
      };

  /** The mean of G of the clean and of the corrupted run. */
  public static final EdgeMethod CLEAN_CORRUPTED =
      new EdgeMethod("clean_corrupted") {
        @Override
        boolean takesSeveralPairs() {
          return true;
        }

        @Override
        List<double[]> scores(PairRuns runs) {
          Tensor moved = runs.moved();
          List<double[][]> sums = products(runs, moved, runs.clean());
          try (Scope scope = Scope.open()) {
            Run corrupted =
                runs.clean()
                    .model()
                    .run(
                        ReaderGradients.SITES,
                        PairRuns.corruptedOf(runs.pairs()),
                        runs.graph().split());
            add(sums, products(runs, moved, corrupted));
          }
          return inOrder(runs, times(sums, 0.5));
        }
      };

  /**
   * As {@link #EAP}, but edges into queries and keys see how far the attention pattern really
   * moves: Σ (P' - P) · dM/dP, with P the clean pattern and P' that of the queries, or keys, of all
   * tokens of the edge that hear the source otherwise, the others as they are.
   *
   * @see <a href="https://arxiv.org/abs/2403.00745">Kramár et al. 2024, section 3.1.1</a>
   */
  public static final EdgeMethod QK_FIX =
      new EdgeMethod("eap_qk_fix") {
        @Override
        List<double[]> scores(PairRuns runs) {
          ReaderGradients gradients = ReaderGradients.of(runs.clean(), runs.graph(), runs::metric);
          List<double[][]> scores = gradients.products(runs.moved(), 0);
          for (int reader = 0; reader < runs.graph().readers().size(); reader++) {
            if (runs.graph().readers().get(reader) instanceof StreamReader.Head head
                && head.head() == 0
                && head.path() != InputPath.VALUE) {
              fix(scores.get(0), runs, gradients, head, reader);
            }
          }
          return inOrder(runs, scores);
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
        List<double[]> scores(PairRuns runs) {
          return List.of(exact(runs, IntStream.range(0, runs.graph().edges().size()).toArray()));
        }

        @Override
        double[] ofSources(PairRuns runs) {
          double clean = runs.cleanMetric(0);
          List<Tokens> spans = runs.graph().spans();
          double[] scores = new double[runs.graph().writes()];
          for (int i = 0; i < scores.length; i++) {
            try (Scope scope = Scope.open()) {
              int source = i / spans.size();
              Tensor moved = PairRuns.only(runs.moved(source), spans.get(i % spans.size()));
              Tensor constant = runs.written(source).plus(moved);
              Change change = WriteIntervention.put(Map.of(runs.sources().get(source), constant));
              scores[i] = runs.metricWith(change) - clean;
            }
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
      boolean takesSeveralPairs() {
        return true;
      }

      @Override
      List<double[]> scores(PairRuns runs) {
        Tensor moved = runs.moved();
        List<double[][]> sums = zeros(runs);
        for (int k = 0; k < steps; k++) {
          try (Scope scope = Scope.open()) {
            add(sums, products(runs, moved, between(runs, 0, 1, (double) k / steps)));
          }
        }
        return inOrder(runs, times(sums, 1.0 / steps));
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
      List<double[]> scores(PairRuns runs) {
        Tensor moved = runs.moved();
        double[][] sum = zeros(runs).get(0);
        int spans = runs.graph().spans().size();
        for (int source = 0; source < runs.sources().size(); source++) {
          for (int k = 1; k <= steps; k++) {
            try (Scope scope = Scope.open()) {
              Run run = between(runs, source, source + 1, (double) k / steps);
              double[][] own =
                  ReaderGradients.of(run, runs.graph(), runs::metric)
                      .products(moved.slice(1, source, source + 1), source)
                      .get(0);
              for (int span = 0; span < spans; span++) {
                add(sum[source * spans + span], own[span]);
              }
            }
          }
        }
        return inOrder(runs, times(Collections.singletonList(sum), 1.0 / steps));
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
      boolean takesSeveralPairs() {
        return true;
      }

      @Override
      List<double[]> scores(PairRuns runs) {
        Tensor moved = runs.moved();
        List<double[][]> sums = zeros(runs);
        List<List<StreamWriter>> groups = StreamWriter.bySite(runs.sources());
        int first = 0;
        for (List<StreamWriter> group : groups) {
          int end = first + group.size();
          for (int k = 1; k <= steps; k++) {
            try (Scope scope = Scope.open()) {
              add(sums, products(runs, moved, between(runs, first, end, (double) k / steps)));
            }
          }
          first = end;
        }
        return inOrder(runs, times(sums, 1.0 / (steps * groups.size())));
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

  /** Whether several pairs of one length can go through one run. */
  boolean takesSeveralPairs() {
    return false;
  }

  /** Of every edge of each pair, in the order of the graph. */
  abstract List<double[]> scores(PairRuns runs);

  /**
   * Of every {@link ComponentGraph#write} of one pair as a whole, all edges out of it: in a linear
   * method their sum.
   */
  double[] ofSources(PairRuns runs) {
    double[] edges = scores(runs).get(0);
    double[] sums = new double[runs.graph().writes()];
    for (int i = 0; i < edges.length; i++) {
      sums[runs.graph().write(i)] += edges[i];
    }
    return sums;
  }

  // ---- products with gradients -------------------------------------------------------------

  private static List<double[][]> products(PairRuns runs, Tensor moved, Run run) {
    return ReaderGradients.of(run, runs.graph(), runs::metric).products(moved, 0);
  }

  private static List<double[]> inOrder(PairRuns runs, List<double[][]> byPair) {
    return byPair.stream().map(runs.graph()::inOrder).toList();
  }

  /** The clean run in which some sources write constants. */
  private static Run between(PairRuns runs, int first, int end, double fraction) {
    Map<StreamWriter, Tensor> constants = new LinkedHashMap<>();
    for (int source = first; source < end; source++) {
      Tensor missing = runs.missing(source);
      Tensor clean = runs.written(source);
      constants.put(runs.sources().get(source), missing.plus(clean.minus(missing).times(fraction)));
    }
    return runs.clean().with(WriteIntervention.put(constants));
  }

  private static List<double[][]> zeros(PairRuns runs) {
    int readers = runs.graph().readers().size();
    return runs.pairs().stream().map(any -> new double[runs.graph().writes()][readers]).toList();
  }

  private static void add(List<double[][]> sums, List<double[][]> more) {
    for (int pair = 0; pair < sums.size(); pair++) {
      for (int write = 0; write < sums.get(pair).length; write++) {
        add(sums.get(pair)[write], more.get(pair)[write]);
      }
    }
  }

  private static void add(double[] sums, double[] more) {
    for (int i = 0; i < sums.length; i++) {
      sums[i] += more[i];
    }
  }

  private static List<double[][]> times(List<double[][]> sums, double factor) {
    for (double[][] sum : sums) {
      for (double[] row : sum) {
        for (int reader = 0; reader < row.length; reader++) {
          row[reader] *= factor;
        }
      }
    }
    return sums;
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
    List<Tokens> spans = runs.graph().spans();
    try (Scope scope = Scope.open()) {
      Tensor residual = run.residual(attention.reads()).value();
      PatternMoves moves =
          new PatternMoves(
              attention,
              run.value(Site.QUERY, layer),
              run.value(Site.KEY, layer),
              run.value(Site.VALUE, layer),
              gradients.atHeads(layer));
      for (int source = 0; source < runs.graph().before(firstReader); source++) {
        try (Scope own = Scope.open()) {
          Variable x =
              attention.normalised(
                  Variable.constant(residual.plus(runs.moved(source))), ScaleGradient.LIVE);
          double[][] sums =
              first.path() == InputPath.QUERY
                  ? bySpan(
                      moves.ofQueries(attention.query(x, 0, ScaleGradient.LIVE).value()), spans)
                  : moves.ofKeys(attention.key(x, 0, ScaleGradient.LIVE).value(), spans);
          for (int head = 0; head < sums.length; head++) {
            for (int span = 0; span < spans.size(); span++) {
              scores[source * spans.size() + span][firstReader + head] = sums[head][span];
            }
          }
        }
      }
    }
  }

  /** Sums of [head, token], [head][span]. */
  private static double[][] bySpan(Tensor byToken, List<Tokens> spans) {
    double[][] sums = new double[byToken.shape().size(0)][spans.size()];
    for (int span = 0; span < spans.size(); span++) {
      double[] own = PairRuns.at(byToken, 1, spans.get(span)).sum(1).toDoubles();
      for (int head = 0; head < own.length; head++) {
        sums[head][span] = own[head];
      }
    }
    return sums;
  }

  // ---- exact -------------------------------------------------------------------------------

  /** What really happens without each of some edges. */
  static double[] exact(PairRuns runs, int... edges) {
    double clean = runs.cleanMetric(0);
    double[] scores = new double[edges.length];
    for (int i = 0; i < edges.length; i++) {
      try (Scope scope = Scope.open()) {
        ComponentGraph.Edge edge = runs.graph().edges().get(edges[i]);
        int source = runs.graph().write(edges[i]) / runs.graph().spans().size();
        Tensor write = PairRuns.only(runs.moved(source), edge.tokens());
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
