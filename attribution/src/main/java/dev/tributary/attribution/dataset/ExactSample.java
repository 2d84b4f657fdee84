package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * How good estimates are: sums over pairs of what some edges, or nodes, score by a method and of
 * what really happens without each. Sums of parts of a data set can be added.
 */
public final class ExactSample {
  private final List<Integer> edges;
  private final double[] estimates;
  private final double[] exact;
  private long count;

  /**
   * Sums of no pairs.
   *
   * @param edges numbers of the edges
   */
  public ExactSample(List<Integer> edges) {
    this.edges = List.copyOf(edges);
    estimates = new double[edges.size()];
    exact = new double[edges.size()];
  }

  /**
   * {@return some edges, drawn without favour, in order}
   *
   * @param edges how many there are
   * @param count how many; all if there are no more
   * @param seed of the draw
   */
  public static List<Integer> draw(int edges, int count, long seed) {
    return new Random(seed)
        .ints(0, Math.max(1, edges)) // the draw from nothing, of which none is taken
        .distinct()
        .limit(Math.min(count, edges))
        .sorted()
        .boxed()
        .toList();
  }

  /** {@return numbers of the edges} */
  public List<Integer> edges() {
    return edges;
  }

  /**
   * Counts a pair.
   *
   * @param scores of all edges by the method
   * @param truth of these edges alone, see {@link EdgeScorer#exact}
   */
  public void add(PairScores scores, List<Double> truth) {
    requireArgument(
        truth.size() == edges.size(), "%d exact scores of %d edges", truth.size(), edges.size());
    for (int i = 0; i < exact.length; i++) {
      estimates[i] += scores.score(edges.get(i));
      exact[i] += truth.get(i);
    }
    count++;
  }

  /**
   * Scores a pair, runs it without each of the edges, and counts it.
   *
   * @param scorer by the method
   * @param pair of prompts
   * @throws IllegalArgumentException as {@link EdgeScorer#exact}
   */
  public void add(EdgeScorer scorer, Pair pair) {
    add(scorer.score(pair), scorer.exact(pair, edges));
  }

  /**
   * {@return how many pairs were counted, sums of estimates and of exact scores, to be written
   * down}
   */
  public double[] toArray() {
    return Stream.of(new double[] {count}, estimates, exact)
        .flatMapToDouble(Arrays::stream)
        .toArray();
  }

  /**
   * Counts the pairs of other sums.
   *
   * @param numbers as {@link #toArray} wrote them, of the same edges
   * @throws IllegalArgumentException if they are of another number of edges
   */
  public void add(double[] numbers) {
    int size = edges.size();
    requireArgument(
        numbers.length == 1 + 2 * size,
        "sums of %d numbers do not fit %d edges, of which there are two and one more",
        numbers.length,
        size);
    count += (long) numbers[0];
    for (int i = 0; i < size; i++) {
      estimates[i] += numbers[1 + i];
      exact[i] += numbers[1 + size + i];
    }
  }

  /**
   * Counts the pairs of other sums.
   *
   * @param other of the same edges
   */
  public void add(ExactSample other) {
    requireArgument(edges.equals(other.edges), "sums of edges %s and of %s", edges, other.edges);
    for (int i = 0; i < exact.length; i++) {
      estimates[i] += other.estimates[i];
      exact[i] += other.exact[i];
    }
    count += other.count;
  }

  /** {@return how many pairs were counted} */
  public long count() {
    return count;
  }

  /** {@return Spearman's correlation of mean estimates and what really happens in the mean} */
  public double rankCorrelation() {
    return Agreement.rankCorrelation(estimates, exact);
  }

  /**
   * An edge of the sample.
   *
   * @param edge its number
   * @param estimate mean score by the method
   * @param exact mean of what really happens
   */
  public record Compared(int edge, double estimate, double exact) {
    /**
     * {@return the estimate over what really happens: 1 if it is right, negative if it has the
     * wrong sign}
     */
    public double ratio() {
      return estimate / exact;
    }
  }

  /** {@return all edges, those first that the method misjudges most} */
  public List<Compared> worstFirst() {
    return IntStream.range(0, exact.length)
        .mapToObj(i -> new Compared(edges.get(i), estimates[i] / count, exact[i] / count))
        .sorted(Comparator.comparingDouble(own -> -Math.abs(own.exact - own.estimate)))
        .toList();
  }
}
