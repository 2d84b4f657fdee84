package dev.tributary.attribution.dataset;

import dev.tributary.core.Scope;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;

/**
 * Scores of all edges of a model over pairs of prompts: estimates of the metric of a run that lacks
 * an edge, less the metric of the clean run.
 *
 * @param graph of the model
 * @param ablation what is heard where an edge is missing
 * @param method how edges are scored
 */
public record EdgeScorer(ComponentGraph graph, AblationValues ablation, EdgeMethod method) {
  /**
   * {@return the scores of one pair, which is run alone}
   *
   * @param pair of prompts
   * @throws IllegalArgumentException if the model cannot run it, or its metric reads what does not
   *     exist
   */
  public PairScores score(Pair pair) {
    return together(List.of(pair)).get(0);
  }

  /**
   * {@return the scores of all sources of one pair, of each span by span of the graph, as if all
   * edges out of it there were one: by {@link EdgeMethod#EXACT} a run without all of them, else the
   * sums of the scores of edges}
   *
   * @param pair of prompts
   * @throws IllegalArgumentException as {@link #score(Pair)}
   */
  public PairScores scoreSources(Pair pair) {
    return together(List.of(pair), runs -> List.of(method.ofSources(runs))).get(0);
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
      PairRuns runs = PairRuns.values(graph, ablation, pair);
      int[] numbers = edges.stream().mapToInt(Integer::intValue).toArray();
      return Arrays.stream(EdgeMethod.exact(runs, numbers)).boxed().toList();
    }
  }

  /** Of some pairs of one length, where the method takes several. */
  List<PairScores> together(List<Pair> pairs) {
    return together(pairs, method::scores);
  }

  private List<PairScores> together(List<Pair> pairs, Function<PairRuns, List<double[]>> method) {
    try (Scope scope = Scope.open()) {
      PairRuns runs =
          this.method.differentiates()
              ? PairRuns.withDerivatives(graph, ablation, pairs)
              : PairRuns.values(graph, ablation, pairs.get(0));
      List<double[]> scores = method.apply(runs);
      List<PairScores> all = new ArrayList<>();
      for (int i = 0; i < pairs.size(); i++) {
        all.add(new PairScores(runs.cleanMetric(i), runs.corruptedMetric(i), scores.get(i)));
      }
      return all;
    }
  }

  /**
   * {@return the totals of some pairs, see {@link RunningTotals}}
   *
   * @param pairs in order
   * @throws IllegalArgumentException as {@link #score(Pair)}
   */
  public EdgeTotals score(List<Pair> pairs) {
    RunningTotals running = new RunningTotals(this);
    pairs.forEach(running::add);
    return running.totals();
  }
}
