package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import java.util.Arrays;
import java.util.stream.Stream;

/**
 * Sums over pairs of what each edge, or node, scores. Totals of parts of a data set can be added,
 * and take the same memory however many pairs there are.
 */
public final class EdgeTotals {
  private final double[] sums;
  private final double[] magnitudes;
  private final double[] squares;
  private double clean;
  private double corrupted;
  private long count;

  /**
   * Totals of no pairs.
   *
   * @param edges how many there are
   */
  public EdgeTotals(int edges) {
    sums = new double[edges];
    magnitudes = new double[edges];
    squares = new double[edges];
  }

  /**
   * {@return totals as {@link #toArray} gave them}
   *
   * @param numbers all of them
   * @throws IllegalArgumentException if they are not as many as totals have
   */
  public static EdgeTotals of(double... numbers) {
    requireArgument(
        numbers.length >= 3 && numbers.length % 3 == 0,
        "%d numbers, expected three for each edge and three more",
        numbers.length);
    EdgeTotals totals = new EdgeTotals(numbers.length / 3 - 1);
    int edges = totals.sums.length;
    totals.count = (long) numbers[0];
    totals.clean = numbers[1];
    totals.corrupted = numbers[2];
    System.arraycopy(numbers, 3, totals.sums, 0, edges);
    System.arraycopy(numbers, 3 + edges, totals.magnitudes, 0, edges);
    System.arraycopy(numbers, 3 + 2 * edges, totals.squares, 0, edges);
    return totals;
  }

  /**
   * {@return all that is counted so far, to be kept or sent: the number of pairs, sums of the
   * metric in clean and in corrupted runs; of each edge sums of scores, then of magnitudes, then of
   * squares}
   */
  public double[] toArray() {
    return Stream.of(new double[] {count, clean, corrupted}, sums, magnitudes, squares)
        .flatMapToDouble(Arrays::stream)
        .toArray();
  }

  /**
   * Counts a pair.
   *
   * @param scores of as many edges
   */
  public void add(PairScores scores) {
    requireEdges(scores.size());
    for (int i = 0; i < sums.length; i++) {
      double score = scores.score(i);
      sums[i] += score;
      magnitudes[i] += Math.abs(score);
      squares[i] += score * score;
    }
    clean += scores.clean();
    corrupted += scores.corrupted();
    count++;
  }

  /**
   * Counts the pairs of other totals.
   *
   * @param other of as many edges
   */
  public void add(EdgeTotals other) {
    requireEdges(other.sums.length);
    for (int i = 0; i < sums.length; i++) {
      sums[i] += other.sums[i];
      magnitudes[i] += other.magnitudes[i];
      squares[i] += other.squares[i];
    }
    clean += other.clean;
    corrupted += other.corrupted;
    count += other.count;
  }

  private void requireEdges(int edges) {
    requireArgument(edges == sums.length, "%d edges and totals of %d", edges, sums.length);
  }

  /** {@return how many pairs were counted} */
  public long count() {
    return count;
  }

  /** {@return how many edges there are} */
  public int edges() {
    return sums.length;
  }

  /** {@return the mean metric of plain clean runs} */
  public double clean() {
    return clean / count;
  }

  /** {@return the mean metric of plain corrupted runs} */
  public double corrupted() {
    return corrupted / count;
  }

  /**
   * {@return the mean score of an edge}
   *
   * @param edge its number
   */
  public double mean(int edge) {
    return sums[edge] / count;
  }

  /**
   * {@return the mean magnitude of the scores of an edge}
   *
   * @param edge its number
   */
  public double meanMagnitude(int edge) {
    return magnitudes[edge] / count;
  }

  /**
   * {@return the standard error of the mean score of an edge over pairs, not a number for fewer
   * than two pairs}
   *
   * @param edge its number
   */
  public double standardError(int edge) {
    double mean = mean(edge);
    double variance = Math.max(0, squares[edge] / count - mean * mean) * count / (count - 1);
    return count < 2 ? Double.NaN : Math.sqrt(variance / count);
  }

  /** {@return the mean score of every edge} */
  public double[] means() {
    double[] means = new double[sums.length];
    for (int i = 0; i < means.length; i++) {
      means[i] = mean(i);
    }
    return means;
  }

  /** {@return the mean magnitude of the scores of every edge} */
  public double[] meanMagnitudes() {
    double[] means = new double[sums.length];
    for (int i = 0; i < means.length; i++) {
      means[i] = meanMagnitude(i);
    }
    return means;
  }
}
