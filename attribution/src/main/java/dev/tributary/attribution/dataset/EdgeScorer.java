package dev.tributary.attribution.dataset;

import dev.tributary.core.Scope;
import dev.tributary.transformer.Transformer;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;

/**
 * Scores of all edges of a model over pairs of prompts: estimates of the metric of a run that lacks
 * an edge, less the metric of the clean run.
 *
 * @param model that runs
 * @param graph of the model
 * @param ablation what is heard where an edge is missing
 * @param method how edges are scored
 */
public record EdgeScorer(
    Transformer model, ComponentGraph graph, AblationValues ablation, EdgeMethod method) {
  /**
   * {@return the scores of one pair, which is run alone}
   *
   * @param pair of prompts
   * @throws IllegalArgumentException if the model cannot run it, or its metric reads what does not
   *     exist
   */
  public PairScores score(Pair pair) {
    return score(pair, method::scores);
  }

  /**
   * {@return the scores of all sources of one pair, each as if all edges out of it were one: by
   * {@link EdgeMethod#EXACT} a run without all of them, else the sums of the scores of edges}
   *
   * @param pair of prompts
   * @throws IllegalArgumentException as {@link #score(Pair)}
   */
  public PairScores scoreSources(Pair pair) {
    return score(pair, method::ofSources);
  }

  /**
   * {@return what really happens without some edges of a pair, whatever the method: as {@link
   * EdgeMethod#EXACT} says, a run for each}
   *
   * @param pair of prompts
   * @param edges numbers of the edges
   * @throws IllegalArgumentException as {@link #score(Pair)}, or if there is no such edge
   */
  public List<Double> exact(Pair pair, List<Integer> edges) {
    ComponentCircuit.of(graph, edges); // refuses others
    try (Scope scope = Scope.open()) {
      PairRuns runs = PairRuns.values(model, graph, ablation, pair);
      int[] numbers = edges.stream().mapToInt(Integer::intValue).toArray();
      return Arrays.stream(EdgeMethod.exact(runs, numbers)).boxed().toList();
    }
  }

  private PairScores score(Pair pair, Function<PairRuns, double[]> scores) {
    try (Scope scope = Scope.open()) {
      PairRuns runs =
          method.differentiates()
              ? PairRuns.withDerivatives(model, graph, ablation, pair)
              : PairRuns.values(model, graph, ablation, pair);
      return new PairScores(runs.cleanMetric(), runs.corruptedMetric(), scores.apply(runs));
    }
  }

  /**
   * {@return the totals of some pairs}
   *
   * @param pairs one after the other
   */
  public EdgeTotals score(List<Pair> pairs) {
    EdgeTotals totals = new EdgeTotals(graph.edges().size());
    pairs.forEach(pair -> totals.add(score(pair)));
    return totals;
  }
}
