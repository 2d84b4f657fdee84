package dev.tributary.attribution.dataset;

import dev.tributary.core.Scope;
import dev.tributary.transformer.EdgeIntervention;
import java.util.ArrayList;
import java.util.List;

/**
 * Runs circuits on clean prompts, every edge outside them missing.
 *
 * @param graph of the model
 * @param ablation what is heard where an edge is missing
 */
public record CircuitEvaluator(ComponentGraph graph, AblationValues ablation) {
  /**
   * The metric of a pair in each circuit.
   *
   * @param full in the plain clean run
   * @param empty in the run in which all edges are missing
   * @param circuits in runs of the circuits
   */
  public record Metrics(double full, double empty, List<Double> circuits) {
    /**
     * Keeps a copy.
     *
     * @param full {@link #full()}
     * @param empty {@link #empty()}
     * @param circuits {@link #circuits()}
     */
    public Metrics {
      circuits = List.copyOf(circuits);
    }
  }

  /**
   * {@return the metric of one pair in each of some circuits}
   *
   * @param pair of prompts
   * @param circuits of the graph
   * @throws IllegalArgumentException if the model cannot run the pair, or its metric reads what
   *     does not exist
   */
  public Metrics evaluate(Pair pair, List<ComponentCircuit> circuits) {
    try (Scope scope = Scope.open()) {
      PairRuns runs = PairRuns.values(graph, ablation, pair);
      List<Double> metrics = new ArrayList<>();
      circuits.forEach(circuit -> metrics.add(metric(runs, circuit)));
      return new Metrics(runs.cleanMetric(0), metric(runs, ComponentCircuit.empty(graph)), metrics);
    }
  }

  private static double metric(PairRuns runs, ComponentCircuit circuit) {
    try (Scope scope = Scope.open()) {
      return runs.metricWith(
          EdgeIntervention.without(runs.sources(), runs.missing(), circuit.missing()));
    }
  }

  /**
   * {@return the totals of some pairs, numbered from 0}
   *
   * @param pairs one after the other
   * @param circuits of the graph
   * @param resampled how many resampled data sets, for {@link CircuitTotals#interval}
   */
  public CircuitTotals evaluate(List<Pair> pairs, List<ComponentCircuit> circuits, int resampled) {
    CircuitTotals totals = new CircuitTotals(circuits.size(), resampled);
    for (int i = 0; i < pairs.size(); i++) {
      totals.add(i, evaluate(pairs.get(i), circuits));
    }
    return totals;
  }
}
