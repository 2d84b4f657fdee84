package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

/**
 * Sums over pairs of the metric in runs of some circuits. Totals of parts of a data set can be
 * added.
 */
public final class CircuitTotals {
  private final double[] circuits;
  private double full;
  private double empty;
  private long count;

  /**
   * Totals of no pairs.
   *
   * @param circuits how many there are
   */
  public CircuitTotals(int circuits) {
    this.circuits = new double[circuits];
  }

  /**
   * Counts a pair.
   *
   * @param metrics in as many circuits
   */
  public void add(CircuitEvaluator.Metrics metrics) {
    requireCircuits(metrics.circuits().size());
    for (int i = 0; i < circuits.length; i++) {
      circuits[i] += metrics.circuits().get(i);
    }
    full += metrics.full();
    empty += metrics.empty();
    count++;
  }

  /**
   * Counts the pairs of other totals.
   *
   * @param other of as many circuits
   */
  public void add(CircuitTotals other) {
    requireCircuits(other.circuits.length);
    for (int i = 0; i < circuits.length; i++) {
      circuits[i] += other.circuits[i];
    }
    full += other.full;
    empty += other.empty;
    count += other.count;
  }

  private void requireCircuits(int number) {
    requireArgument(
        number == circuits.length, "%d circuits and totals of %d", number, circuits.length);
  }

  /** {@return how many pairs were counted} */
  public long count() {
    return count;
  }

  /** {@return the mean metric of plain clean runs} */
  public double full() {
    return full / count;
  }

  /** {@return the mean metric of runs in which all edges are missing} */
  public double empty() {
    return empty / count;
  }

  /**
   * {@return the mean metric of runs of a circuit}
   *
   * @param circuit its number
   */
  public double metric(int circuit) {
    return circuits[circuit] / count;
  }

  /**
   * {@return how much of the metric a circuit keeps: that of the circuit over that of the model,
   * both less that of no edges} A ratio of means. Of the complement of a circuit it says how
   * complete the circuit is: 0 where the model does nothing without it.
   *
   * @param circuit its number
   */
  public double faithfulness(int circuit) {
    return (metric(circuit) - empty()) / (full() - empty());
  }
}
