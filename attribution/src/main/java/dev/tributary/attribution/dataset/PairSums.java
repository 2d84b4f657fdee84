package dev.tributary.attribution.dataset;

import java.util.List;
import java.util.function.ObjLongConsumer;
import java.util.function.Supplier;

/**
 * What is summed over the pairs of a data set. Sums over parts of it add up number by number, in
 * the same order to the same bits.
 */
public interface PairSums {
  /**
   * Counts a pair.
   *
   * @param pair of prompts
   * @param number of the pair, another than that of any other
   * @throws IllegalArgumentException if the model cannot run it, or its metric reads what does not
   *     exist
   */
  void add(Pair pair, long number);

  /** {@return all sums, as many whatever has been counted} */
  double[] toArray();

  /**
   * {@return what makes {@link EdgeTotals} of all edges}
   *
   * @param scorer of pairs
   */
  static PairSums edges(EdgeScorer scorer) {
    RunningTotals running = new RunningTotals(scorer);
    return of((pair, number) -> running.add(pair), () -> running.totals().toArray());
  }

  /**
   * {@return what makes {@link EdgeTotals} of all nodes}
   *
   * @param scorer of pairs
   */
  static PairSums nodes(NodeScorer scorer) {
    EdgeTotals totals = new EdgeTotals(scorer.nodes().size());
    return of((pair, number) -> totals.add(scorer.sums(pair)), totals::toArray);
  }

  /**
   * {@return what makes an {@link ExactSample} of edges}
   *
   * @param scorer by the method
   * @param edges numbers of the edges
   */
  static PairSums sample(EdgeScorer scorer, List<Integer> edges) {
    ExactSample sample = new ExactSample(edges);
    return of((pair, number) -> sample.add(scorer, pair), sample::toArray);
  }

  /**
   * {@return what makes an {@link ExactSample} of nodes}
   *
   * @param scorer by the method
   * @param nodes numbers of the nodes
   */
  static PairSums sample(NodeScorer scorer, List<Integer> nodes) {
    ExactSample sample = new ExactSample(nodes);
    return of(
        (pair, number) -> sample.add(scorer.sums(pair), scorer.exact(pair, nodes)),
        sample::toArray);
  }

  /**
   * {@return what makes {@link CircuitTotals}}
   *
   * @param evaluator that runs circuits
   * @param circuits of its graph
   * @param resampled how many resampled data sets
   */
  static PairSums circuits(
      CircuitEvaluator evaluator, List<ComponentCircuit> circuits, int resampled) {
    CircuitTotals totals = new CircuitTotals(circuits.size(), resampled);
    return of(
        (pair, number) -> totals.add(number, evaluator.evaluate(pair, circuits)), totals::toArray);
  }

  /**
   * {@return what makes means over clean prompts}
   *
   * @param none the means of no prompts, which is changed
   */
  static PairSums means(WriteMeans none) {
    return of((pair, number) -> none.add(pair.clean()), none::toArray);
  }

  private static PairSums of(ObjLongConsumer<Pair> add, Supplier<double[]> numbers) {
    return new PairSums() {
      @Override
      public void add(Pair pair, long number) {
        add.accept(pair, number);
      }

      @Override
      public double[] toArray() {
        return numbers.get();
      }
    };
  }
}
