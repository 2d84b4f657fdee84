package dev.tributary.attribution.dataset.spark;

import dev.tributary.attribution.dataset.CircuitEvaluator;
import dev.tributary.attribution.dataset.CircuitTotals;
import dev.tributary.attribution.dataset.ComponentCircuit;
import dev.tributary.attribution.dataset.EdgeScorer;
import dev.tributary.attribution.dataset.EdgeTotals;
import dev.tributary.attribution.dataset.ExactSample;
import dev.tributary.attribution.dataset.PairSums;
import dev.tributary.attribution.dataset.WriteMeans;
import dev.tributary.transformer.Transformer;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.apache.spark.SparkContext;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;

/**
 * Totals over the {@link PairRows} of a data set, one job each. Pairs of a partition are run by one
 * thread, one after the other, and partitions are added up in their order: the same data set in the
 * same partitions, its rows in the same order, has the same totals to the last bit, on processors
 * of one kind, whatever is tried again or twice. Rows that come out of a shuffle have no order
 * until they are sorted within partitions. A task that failed as often as Spark tries it is an
 * {@link IllegalStateException}.
 */
public final class SparkTotals {
  private SparkTotals() {}

  /**
   * Makes on an executor what works with its model.
   *
   * @param <T> what is made
   */
  @FunctionalInterface
  public interface ForModel<T> extends Serializable {
    /**
     * {@return what works with a model}
     *
     * @param model of the executor
     */
    T of(Transformer model);
  }

  /**
   * {@return scores of all edges}
   *
   * @param pairs {@link PairRows}
   * @param model that runs
   * @param scorer by which
   * @throws IllegalArgumentException if the columns are others, or there are no partitions
   */
  public static Outcome<EdgeTotals> edges(
      Dataset<Row> pairs, ExecutorModel model, ForModel<EdgeScorer> scorer) {
    return outcome(pairs, model, own -> PairSums.edges(scorer.of(own)), EdgeTotals::of);
  }

  /**
   * {@return how good the scores of some edges are}
   *
   * @param pairs {@link PairRows}, each of which is run without every one of the edges
   * @param model that runs
   * @param scorer by which
   * @param edges numbers of the edges
   * @throws IllegalArgumentException if the columns are others, or there are no partitions
   */
  public static Outcome<ExactSample> sample(
      Dataset<Row> pairs, ExecutorModel model, ForModel<EdgeScorer> scorer, List<Integer> edges) {
    List<Integer> sent = new ArrayList<>(edges);
    return outcome(
        pairs,
        model,
        own -> PairSums.sample(scorer.of(own), sent),
        numbers -> {
          ExactSample sample = new ExactSample(edges);
          sample.add(numbers);
          return sample;
        });
  }

  /**
   * {@return the metric in runs of circuits}
   *
   * @param pairs {@link PairRows}
   * @param model that runs
   * @param evaluator by which
   * @param circuits of the model
   * @param resampled how many resampled data sets, for {@link CircuitTotals#interval}; how often a
   *     pair comes in each depends on its file and line alone
   * @throws IllegalArgumentException if the columns are others, or there are no partitions
   */
  public static Outcome<CircuitTotals> circuits(
      Dataset<Row> pairs,
      ExecutorModel model,
      ForModel<CircuitEvaluator> evaluator,
      List<ComponentCircuit> circuits,
      int resampled) {
    List<List<Integer>> edges = new ArrayList<>();
    circuits.forEach(circuit -> edges.add(circuit.edges()));
    return outcome(
        pairs,
        model,
        own -> {
          CircuitEvaluator evaluates = evaluator.of(own);
          List<ComponentCircuit> ours =
              edges.stream().map(some -> ComponentCircuit.of(evaluates.graph(), some)).toList();
          return PairSums.circuits(evaluates, ours, resampled);
        },
        numbers -> CircuitTotals.of(edges.size(), numbers));
  }

  /**
   * {@return what each source writes in the mean over clean prompts} The driver loads the model as
   * well.
   *
   * @param pairs {@link PairRows}
   * @param model that runs
   * @param none the means of no prompts
   * @throws IllegalArgumentException if the columns are others, or there are no partitions
   */
  public static Outcome<WriteMeans> means(
      Dataset<Row> pairs, ExecutorModel model, ForModel<WriteMeans> none) {
    return outcome(
        pairs,
        model,
        own -> PairSums.means(none.of(own)),
        numbers -> {
          WriteMeans means = none.of(model.get());
          means.add(numbers);
          return means;
        });
  }

  private static <T> Outcome<T> outcome(
      Dataset<Row> pairs,
      ExecutorModel model,
      ForModel<PairSums> begin,
      Function<double[], T> totals) {
    SparkContext context = pairs.sparkSession().sparkContext();
    FailedTasks failed = new FailedTasks();
    PartialSums sums = failed.during(context, () -> PartitionSums.of(pairs, model, begin));
    return new Outcome<>(totals.apply(sums.numbers()), sums.badRows(), failed.heard());
  }
}
