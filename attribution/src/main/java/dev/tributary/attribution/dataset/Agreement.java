package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

/** How well scores agree with what is true. */
public final class Agreement {
  private Agreement() {}

  /**
   * {@return the share of pairs of an edge of a truth and another edge in which the former has the
   * higher score, where the two are equal counted half} The area under the receiver operating
   * characteristic. Not a number if all edges are true, or none is.
   *
   * @param scores of all edges
   * @param truth edges that are true
   */
  public static double auroc(double[] scores, ComponentCircuit truth) {
    requireSize(scores.length, truth.graph().edges().size());
    double[] ranks = ranks(scores);
    double sum = 0;
    for (int edge : truth.edges()) {
      sum += ranks[edge];
    }
    double positive = truth.size();
    double negative = scores.length - positive;
    return (sum - positive * (positive + 1) / 2) / (positive * negative);
  }

  /**
   * {@return the share of the edges of a circuit that are true} Not a number if it has none.
   *
   * @param circuit what is claimed
   * @param truth edges that are true
   */
  public static double precision(ComponentCircuit circuit, ComponentCircuit truth) {
    return (double) shared(circuit, truth) / circuit.size();
  }

  /**
   * {@return the share of true edges that a circuit has} Not a number if there are none.
   *
   * @param circuit what is claimed
   * @param truth edges that are true
   */
  public static double recall(ComponentCircuit circuit, ComponentCircuit truth) {
    return (double) shared(circuit, truth) / truth.size();
  }

  private static long shared(ComponentCircuit circuit, ComponentCircuit truth) {
    return truth.edges().stream().filter(circuit::contains).count();
  }

  /**
   * {@return Spearman's rank correlation of two scores of the same edges, those of equals the mean
   * of their ranks} Not a number if all scores of one are equal.
   *
   * @param left scores
   * @param right as many
   */
  public static double rankCorrelation(double[] left, double[] right) {
    return correlation(ranks(left), ranks(right));
  }

  /**
   * {@return Pearson's correlation of two scores of the same edges} Not a number if all scores of
   * one are equal.
   *
   * @param left scores
   * @param right as many
   */
  public static double correlation(double[] left, double[] right) {
    requireSize(left.length, right.length);
    double leftMean = DoubleStream.of(left).average().orElse(0);
    double rightMean = DoubleStream.of(right).average().orElse(0);
    double product = 0;
    double leftSquares = 0;
    double rightSquares = 0;
    for (int i = 0; i < left.length; i++) {
      double x = left[i] - leftMean;
      double y = right[i] - rightMean;
      product += x * y;
      leftSquares += x * x;
      rightSquares += y * y;
    }
    return product / Math.sqrt(leftSquares * rightSquares);
  }

  /** From 1; of equals the mean of their ranks. */
  private static double[] ranks(double[] scores) {
    int[] order =
        IntStream.range(0, scores.length)
            .boxed()
            .sorted(Comparator.comparingDouble(i -> scores[i]))
            .mapToInt(Integer::intValue)
            .toArray();
    double[] ranks = new double[scores.length];
    for (int from = 0; from < order.length; ) {
      int to = from;
      while (to < order.length && scores[order[to]] == scores[order[from]]) {
        to++;
      }
      double rank = (from + 1 + to) / 2.0;
      Arrays.stream(order, from, to).forEach(i -> ranks[i] = rank);
      from = to;
    }
    return ranks;
  }

  private static void requireSize(int scores, int edges) {
    requireArgument(scores == edges, "%d scores of %d edges", scores, edges);
  }
}
