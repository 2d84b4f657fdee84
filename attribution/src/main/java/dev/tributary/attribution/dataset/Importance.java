package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.Comparator;
import java.util.List;
import java.util.PriorityQueue;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;

/** Which edges come first when some are chosen by their scores; of equals, the earlier one. */
public enum Importance {
  /** Those that move the metric most, up or down. */
  ABSOLUTE {
    @Override
    public double of(double score) {
      return Math.abs(score);
    }
  },
  /** Those whose loss lowers the metric most. */
  SIGNED {
    @Override
    public double of(double score) {
      return -score;
    }
  };

  /**
   * {@return how important an edge is}
   *
   * @param score estimate of the metric without it, less that of the clean run
   */
  public abstract double of(double score);

  /**
   * {@return the circuit of the most important edges}
   *
   * @param graph whose they are
   * @param scores of all edges
   * @param count how many
   * @throws IllegalArgumentException if there are not as many scores as edges, or so many edges
   */
  public ComponentCircuit top(ComponentGraph graph, double[] scores, int count) {
    requireScores(graph, scores);
    requireArgument(count >= 0 && count <= scores.length, "%d of %d edges", count, scores.length);
    return ComponentCircuit.of(
        graph,
        IntStream.range(0, scores.length).boxed().sorted(order(scores)).limit(count).toList());
  }

  /**
   * {@return the circuit of all edges that are at least so important}
   *
   * @param graph whose they are
   * @param scores of all edges
   * @param threshold the least importance
   * @throws IllegalArgumentException if there are not as many scores as edges
   */
  public ComponentCircuit above(ComponentGraph graph, double[] scores, double threshold) {
    requireScores(graph, scores);
    IntPredicate isAbove = edge -> of(scores[edge]) >= threshold;
    return ComponentCircuit.of(
        graph, IntStream.range(0, scores.length).filter(isAbove).boxed().toList());
  }

  /**
   * {@return the circuit that grows back from the logits} Time after time the most important edge
   * is taken of those that lead to what has been taken.
   *
   * @param graph whose they are
   * @param scores of all edges
   * @param count how many edges, if so many are reached
   * @throws IllegalArgumentException if there are not as many scores as edges, or so many edges
   */
  public ComponentCircuit greedy(ComponentGraph graph, double[] scores, int count) {
    requireScores(graph, scores);
    requireArgument(count >= 0 && count <= scores.length, "%d of %d edges", count, scores.length);
    PriorityQueue<Integer> candidates = new PriorityQueue<>(order(scores));
    List<List<Integer>> into = new ArrayList<>(); // edges by the writes that they reach
    for (int write = 0; write < graph.writes(); write++) {
      into.add(new ArrayList<>());
    }
    for (int i = 0; i < scores.length; i++) {
      if (graph.reached(i).length == 0) {
        candidates.add(i);
      }
      for (int write : graph.reached(i)) {
        into.get(write).add(i);
      }
    }
    List<Integer> taken = new ArrayList<>();
    BitSet reached = new BitSet();
    BitSet known = new BitSet();
    while (taken.size() < count && !candidates.isEmpty()) {
      int edge = candidates.remove();
      taken.add(edge);
      int write = graph.write(edge);
      if (!reached.get(write)) {
        reached.set(write);
        into.get(write).stream().filter(i -> !known.get(i)).forEach(candidates::add);
        into.get(write).forEach(known::set);
      }
    }
    return ComponentCircuit.of(graph, taken);
  }

  private Comparator<Integer> order(double[] scores) {
    return Comparator.<Integer>comparingDouble(edge -> -of(scores[edge]))
        .thenComparing(Comparator.naturalOrder());
  }

  private static void requireScores(ComponentGraph graph, double[] scores) {
    requireArgument(
        scores.length == graph.edges().size(),
        "%d scores of %d edges",
        scores.length,
        graph.edges().size());
    for (double score : scores) {
      requireArgument(!Double.isNaN(score), "a score that is no number");
    }
  }
}
