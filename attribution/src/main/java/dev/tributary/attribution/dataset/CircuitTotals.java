package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;

/**
 * Sums over pairs of the metric in runs of some circuits, and the same sums over data sets in which
 * each pair comes as often as a Poisson variable of mean 1 says, which depends on the number of the
 * pair alone. Totals of parts of a data set can be added.
 *
 * @see <a href="https://arxiv.org/abs/1312.5021">Chamandy et al. 2012, of the Poisson bootstrap</a>
 */
public final class CircuitTotals {
  private static final double ONE_OF_NONE = Math.exp(-1);

  private final int circuits;

  /**
   * Of the data themselves, then of each resampled data set: the full model, no edges, and each
   * circuit.
   */
  private final double[][] sums;

  private long count;

  /**
   * Totals of no pairs.
   *
   * @param circuits how many there are
   * @param resampled how many resampled data sets, for {@link #interval}
   */
  public CircuitTotals(int circuits, int resampled) {
    this.circuits = circuits;
    this.sums = new double[1 + resampled][2 + circuits];
  }

  /**
   * {@return totals as {@link #toArray} gave them}
   *
   * @param circuits how many there are
   * @param numbers all of them
   * @throws IllegalArgumentException if they are not as many as totals of so many circuits have
   */
  public static CircuitTotals of(int circuits, double... numbers) {
    int each = 2 + circuits;
    requireArgument(
        numbers.length > each && numbers.length % each == 1,
        "%d numbers, expected one and %d for each data set",
        numbers.length,
        each);
    CircuitTotals totals = new CircuitTotals(circuits, numbers.length / each - 1);
    totals.count = (long) numbers[0];
    for (int i = 0; i < totals.sums.length; i++) {
      System.arraycopy(numbers, 1 + i * each, totals.sums[i], 0, each);
    }
    return totals;
  }

  /**
   * {@return all that is counted so far, to be kept or sent: the number of pairs; of the data, then
   * of each resampled data set, sums of the metric of the full model, of no edges and of each
   * circuit}
   */
  public double[] toArray() {
    return Stream.concat(Stream.of(new double[] {count}), Arrays.stream(sums))
        .flatMapToDouble(Arrays::stream)
        .toArray();
  }

  /**
   * Counts a pair.
   *
   * @param pair its number in the whole data set
   * @param metrics in as many circuits
   */
  public void add(long pair, CircuitEvaluator.Metrics metrics) {
    requireArgument(
        metrics.circuits().size() == circuits,
        "%d circuits and totals of %d",
        metrics.circuits().size(),
        circuits);
    SplittableRandom random = new SplittableRandom(pair);
    for (int i = 0; i < sums.length; i++) {
      int times = i == 0 ? 1 : poisson(random);
      double[] own = sums[i];
      own[0] += times * metrics.full();
      own[1] += times * metrics.empty();
      for (int circuit = 0; circuit < circuits; circuit++) {
        own[2 + circuit] += times * metrics.circuits().get(circuit);
      }
    }
    count++;
  }

  /** How often something of mean 1 comes. */
  private static int poisson(SplittableRandom random) {
    int times = 0;
    for (double left = random.nextDouble(); left > ONE_OF_NONE; left *= random.nextDouble()) {
      times++;
    }
    return times;
  }

  /**
   * Counts the pairs of other totals.
   *
   * @param other of as many circuits and resampled data sets, and of other pairs
   */
  public void add(CircuitTotals other) {
    requireArgument(
        circuits == other.circuits && sums.length == other.sums.length,
        "%d circuits, %d times resampled, and totals of %d, %d times",
        other.circuits,
        other.sums.length - 1,
        circuits,
        sums.length - 1);
    for (int i = 0; i < sums.length; i++) {
      for (int j = 0; j < sums[i].length; j++) {
        sums[i][j] += other.sums[i][j];
      }
    }
    count += other.count;
  }

  /** {@return how many pairs were counted} */
  public long count() {
    return count;
  }

  /** {@return the mean metric of plain clean runs} */
  public double full() {
    return sums[0][0] / count;
  }

  /** {@return the mean metric of runs in which all edges are missing} */
  public double empty() {
    return sums[0][1] / count;
  }

  /**
   * {@return the mean metric of runs of a circuit}
   *
   * @param circuit its number
   */
  public double metric(int circuit) {
    return sums[0][2 + circuit] / count;
  }

  /**
   * {@return how much of the metric a circuit keeps: that of the circuit over that of the model,
   * both less that of no edges} A ratio of means, not a number if the model adds nothing. Of the
   * complement of a circuit it says how complete the circuit is: 0 where the model does nothing
   * without it.
   *
   * @param circuit its number
   */
  public double faithfulness(int circuit) {
    return faithfulness(sums[0], circuit);
  }

  private static double faithfulness(double[] own, int circuit) {
    return (own[2 + circuit] - own[1]) / (own[0] - own[1]);
  }

  /**
   * {@return the minimality of an edge of a circuit: how much the faithfulness of the circuit falls
   * when this edge alone is taken out of it} 0 of an edge that it does not need, negative of one
   * without which it keeps more.
   *
   * @param circuit its number
   * @param lacking the number of the circuit that lacks the edge
   * @see <a href="https://arxiv.org/abs/2211.00593">Wang et al. 2022, section 4, who take out nodes
   *     after a set of others, which is empty here, and do not divide by what the model adds</a>
   */
  public double minimality(int circuit, int lacking) {
    return minimality(sums[0], circuit, lacking);
  }

  private static double minimality(double[] own, int circuit, int lacking) {
    return faithfulness(own, circuit) - faithfulness(own, lacking);
  }

  /**
   * Where a number lies in resampled data.
   *
   * @param low so much or less in as many as are above
   * @param high so much or more
   */
  public record Interval(double low, double high) {}

  /**
   * {@return an interval of confidence of the faithfulness of a circuit: that of the resampled data
   * sets, without as many at both ends} No numbers if the model does as much without any edges.
   *
   * @param circuit its number
   * @param level how many of the data sets are within, such as 0.95
   * @throws IllegalArgumentException if nothing was resampled
   */
  public Interval interval(int circuit, double level) {
    return interval(level, own -> faithfulness(own, circuit));
  }

  /**
   * {@return an interval of confidence of {@link #minimality}, both circuits over the same
   * resampled data sets}
   *
   * @param circuit its number
   * @param lacking the number of the circuit that lacks the edge
   * @param level how many of the data sets are within, such as 0.95
   * @throws IllegalArgumentException if nothing was resampled
   */
  public Interval minimalityInterval(int circuit, int lacking, double level) {
    return interval(level, own -> minimality(own, circuit, lacking));
  }

  private Interval interval(double level, ToDoubleFunction<double[]> of) {
    requireArgument(sums.length > 1, "an interval without resampled data sets");
    requireArgument(level > 0 && level < 1, "a level of %s, expected one between 0 and 1", level);
    double[] all =
        Arrays.stream(sums, 1, sums.length)
            .mapToDouble(of)
            .filter(own -> !Double.isNaN(own)) // no pair came at all, or none in which edges matter
            .sorted()
            .toArray();
    if (all.length == 0) {
      return new Interval(Double.NaN, Double.NaN);
    }
    int outside = (int) Math.round((1 - level) / 2 * (all.length - 1));
    return new Interval(all[outside], all[all.length - 1 - outside]);
  }

  @Override
  public String toString() {
    return count + " pairs, " + Arrays.toString(sums[0]);
  }
}
