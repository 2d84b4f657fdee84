package dev.tributary.attribution.dataset;

import java.util.Arrays;

/**
 * Scores of all edges of one pair, in the order of {@link ComponentGraph#edges}, or of all nodes in
 * that of {@link NodeList}.
 */
public final class PairScores {
  private final double clean;
  private final double corrupted;
  private final double[] scores;

  PairScores(double clean, double corrupted, double[] scores) {
    this.clean = clean;
    this.corrupted = corrupted;
    this.scores = scores;
  }

  /** {@return the metric of the plain clean run} */
  public double clean() {
    return clean;
  }

  /** {@return the metric of the plain corrupted run} */
  public double corrupted() {
    return corrupted;
  }

  /** {@return the scores, a copy} */
  public double[] toArray() {
    return scores.clone();
  }

  /** {@return how many there are} */
  public int size() {
    return scores.length;
  }

  /**
   * {@return an estimate of the metric without an edge, less that of the clean run}
   *
   * @param edge its number
   */
  public double score(int edge) {
    return scores[edge];
  }

  @Override
  public String toString() {
    return "scores of a pair whose metric is %s and %s: %s"
        .formatted(clean, corrupted, Arrays.toString(scores));
  }
}
