package dev.tributary.attribution;

import dev.tributary.core.Scope;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Run;
import java.util.Set;

/**
 * What a change of a run did. The changed run lives in the scope in which it was run.
 *
 * @param run before
 * @param changed after
 * @param metricBefore value of the metric
 * @param metricAfter value of the metric
 */
public record Effect(Run run, Run changed, double metricBefore, double metricAfter) {
  /**
   * Runs a model again with something changed.
   *
   * @param run before the change
   * @param metric what is measured
   * @param changes made together
   * @return the runs before and after
   * @throws IllegalArgumentException if a change does not fit the run
   */
  public static Effect of(Run run, Metric metric, Change... changes) {
    Run changed = run.with(changes);
    return new Effect(run, changed, value(metric, run, run), value(metric, run, changed));
  }

  /** How much a metric grows with some changes: what {@link #of} says, holding no changed run. */
  static double metricChange(Run run, Metric metric, Change... changes) {
    try (Scope scope = Scope.open()) {
      Run changed = run.valuesWith(Set.of(metric.site(run)), changes);
      return value(metric, run, changed) - value(metric, run, run);
    }
  }

  private static double value(Metric metric, Run explained, Run run) {
    return metric.value(explained, run).value().item();
  }

  /** {@return how much the metric grew} */
  public double metricChange() {
    return metricAfter - metricBefore;
  }

  /**
   * {@return how much the activation of a neuron or latent, or the probability of a head pair,
   * grew}
   *
   * @param node one of the run's
   * @throws IllegalArgumentException if the run has no such node, or it has no activation
   */
  public double activationChange(Node node) {
    return activation(changed, node) - activation(run, node);
  }

  private static double activation(Run run, Node node) {
    node.requireIn(run);
    return node.activation(run)
        .orElseThrow(() -> new IllegalArgumentException(node + " has no activation"));
  }
}
