package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import java.util.List;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

/**
 * Faithfulness of circuits of more and more edges.
 *
 * @param fractions how many of all edges each has, ascending
 * @param faithfulness of each
 * @see <a href="https://arxiv.org/abs/2504.13151">Mueller et al. 2025, MIB</a>
 */
public record FaithfulnessCurve(List<Double> fractions, List<Double> faithfulness) {
  /** The fractions of MIB. */
  public static final List<Double> FRACTIONS =
      List.of(.001, .002, .005, .01, .02, .05, .1, .2, .5, 1.0);

  /**
   * Refuses fractions that do not ascend.
   *
   * @param fractions {@link #fractions()}
   * @param faithfulness {@link #faithfulness()}
   */
  public FaithfulnessCurve {
    fractions = List.copyOf(fractions);
    faithfulness = List.copyOf(faithfulness);
    requireArgument(
        !fractions.isEmpty() && fractions.size() == faithfulness.size(),
        "%d fractions and %d circuits",
        fractions.size(),
        faithfulness.size());
    for (int i = 1; i < fractions.size(); i++) {
      requireArgument(
          fractions.get(i - 1) < fractions.get(i),
          "%s edges come before %s",
          fractions.get(i - 1),
          fractions.get(i));
    }
  }

  /**
   * {@return the curve of circuits, one for each fraction}
   *
   * @param fractions of all edges
   * @param totals of the circuits
   */
  public static FaithfulnessCurve of(List<Double> fractions, CircuitTotals totals) {
    return new FaithfulnessCurve(
        fractions, IntStream.range(0, fractions.size()).mapToObj(totals::faithfulness).toList());
  }

  /**
   * {@return how many edges a fraction of all is, rounded down}
   *
   * @param graph whose edges
   * @param fraction from 0 to 1
   */
  public static int count(ComponentGraph graph, double fraction) {
    return (int) (fraction * graph.edges().size());
  }

  /** {@return the circuit performance ratio: the area below the curve, by trapezoids} */
  public double cpr() {
    return area(faithfulness.stream().mapToDouble(Double::doubleValue));
  }

  /** {@return the circuit-model distance: the area between the curve and 1, by trapezoids} */
  public double cmd() {
    return area(faithfulness.stream().mapToDouble(own -> Math.abs(1 - own)));
  }

  /** {@return the mean faithfulness} */
  public double average() {
    return faithfulness.stream().mapToDouble(Double::doubleValue).average().orElseThrow();
  }

  private double area(DoubleStream values) {
    double[] heights = values.toArray();
    double area = 0;
    for (int i = 1; i < heights.length; i++) {
      area += (fractions.get(i) - fractions.get(i - 1)) * (heights[i] + heights[i - 1]) / 2;
    }
    return area;
  }
}
