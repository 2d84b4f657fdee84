package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.TopK;
import java.util.Arrays;
import java.util.BitSet;
import java.util.stream.IntStream;

/**
 * A directed graph without cycles whose edges have weights, and what of it matters to some of its
 * nodes. Between two nodes there may be several edges; together they are one entry.
 *
 * <p>With A[target, source] the sum of |weight| of an entry, divided by the sum over all entries
 * into the target, and w the weights of the outputs, the influence of the nodes is I = w (A + A² +
 * A³ + ...): what a walk backwards from the outputs, which at each node chooses among the edges
 * into it in proportion, is expected to pass. Since there is no cycle it solves I = (w + I) A,
 * which takes one step for each edge if targets come before their sources.
 *
 * @see <a href="https://transformer-circuits.pub/2025/attribution-graphs/methods.html">Ameisen et
 *     al. 2025, on pruning</a>
 */
final class WeightedGraph {
  private static final double EQUAL = 1 - 1e-9;

  private final int[] sources;
  private final int[] targets;
  private final double[] magnitudes;

  /** Edges by target, then source; those into node n are at first[n] to first[n + 1]. */
  private final int[] sorted;

  private final int[] first;

  /** For each edge, the first of those between the same nodes. */
  private final int[] entry;

  /** Nodes, each after all that it has edges to. */
  private final int[] backwards;

  /**
   * A graph of nodes 0 to {@code nodes - 1}.
   *
   * @throws IllegalArgumentException if an edge has no such node or no finite weight, or edges form
   *     a cycle
   */
  WeightedGraph(int nodes, int[] sources, int[] targets, double[] weights) {
    requireArgument(
        sources.length == targets.length && sources.length == weights.length,
        "edges with %d sources, %d targets and %d weights",
        sources.length,
        targets.length,
        weights.length);
    for (int edge = 0; edge < weights.length; edge++) {
      requireArgument(
          Math.min(sources[edge], targets[edge]) >= 0
              && Math.max(sources[edge], targets[edge]) < nodes,
          "edge %d leads from node %d to node %d of %d nodes",
          edge,
          sources[edge],
          targets[edge],
          nodes);
      requireArgument(Double.isFinite(weights[edge]), "edge %d has weight %s", edge, weights[edge]);
    }
    this.sources = sources.clone();
    this.targets = targets.clone();
    this.magnitudes = Arrays.stream(weights).map(Math::abs).toArray();
    this.first = offsets(nodes, targets);
    this.sorted = bySourceThenTarget(nodes);
    this.entry = entries();
    this.backwards = backwards(nodes);
  }

  /** The same nodes and edges, with the weights of those that are not kept set to zero. */
  private WeightedGraph(WeightedGraph graph, BitSet kept) {
    this.sources = graph.sources;
    this.targets = graph.targets;
    this.magnitudes = graph.magnitudes.clone();
    this.first = graph.first;
    this.sorted = graph.sorted;
    this.entry = graph.entry;
    this.backwards = graph.backwards;
    for (int edge = 0; edge < magnitudes.length; edge++) {
      if (!kept.get(edge)) {
        magnitudes[edge] = 0;
      }
    }
  }

  private static int[] offsets(int nodes, int[] ends) {
    int[] result = new int[nodes + 1];
    for (int end : ends) {
      result[end + 1]++;
    }
    Arrays.parallelPrefix(result, Integer::sum);
    return result;
  }

  /** Two passes of a counting sort: by source, then by target. */
  private int[] bySourceThenTarget(int nodes) {
    int[] bySource =
        sorted(IntStream.range(0, sources.length).toArray(), sources, offsets(nodes, sources));
    return sorted(bySource, targets, first);
  }

  private static int[] sorted(int[] edges, int[] keys, int[] offsets) {
    int[] next = offsets.clone();
    int[] result = new int[edges.length];
    for (int edge : edges) {
      result[next[keys[edge]]++] = edge;
    }
    return result;
  }

  private int[] entries() {
    int[] result = new int[sorted.length];
    for (int i = 0; i < sorted.length; i++) {
      int edge = sorted[i];
      int before = i == 0 ? edge : sorted[i - 1];
      boolean same = sources[edge] == sources[before] && targets[edge] == targets[before];
      result[edge] = i > 0 && same ? result[before] : edge;
    }
    return result;
  }

  private int[] backwards(int nodes) {
    int[] unmet = new int[nodes];
    for (int source : sources) {
      unmet[source]++;
    }
    int[] result = new int[nodes];
    int size = 0;
    for (int node = 0; node < nodes; node++) {
      if (unmet[node] == 0) {
        result[size++] = node;
      }
    }
    for (int at = 0; at < size; at++) {
      for (int i = first[result[at]]; i < first[result[at] + 1]; i++) {
        int source = sources[sorted[i]];
        if (--unmet[source] == 0) {
          result[size++] = source;
        }
      }
    }
    requireArgument(
        size == nodes, "the edges among %d of %d nodes form a cycle", nodes - size, nodes);
    return result;
  }

  // ---- influence ---------------------------------------------------------------------------

  /**
   * How much each node influences the outputs.
   *
   * @param outputs w, the weight of each node as an output
   */
  double[] influence(double[] outputs) {
    double[] influence = new double[outputs.length];
    double[] shares = shares();
    for (int node : backwards) {
      for (int i = first[node]; i < first[node + 1]; i++) {
        int edge = sorted[i];
        influence[sources[edge]] += shares[edge] * (influence[node] + outputs[node]);
      }
    }
    return influence;
  }

  /**
   * How much of the influence passes each edge: its share of its target, A, times the target's
   * influence and weight.
   */
  double[] edgeScores(double[] outputs) {
    double[] influence = influence(outputs);
    double[] scores = shares();
    for (int edge = 0; edge < scores.length; edge++) {
      scores[edge] *= influence[targets[edge]] + outputs[targets[edge]];
    }
    return scores;
  }

  /** The share that each edge has of all into its target. */
  double[] shares() {
    double[] shares = new double[magnitudes.length];
    for (int node = 0; node < backwards.length; node++) {
      double largest = 0; // divided by first, for the sum of large numbers may be infinite
      for (int i = first[node]; i < first[node + 1]; i++) {
        largest = Math.max(largest, magnitudes[sorted[i]]);
      }
      double sum = 0;
      for (int i = first[node]; i < first[node + 1]; i++) {
        sum += largest == 0 ? 0 : magnitudes[sorted[i]] / largest;
      }
      for (int i = first[node]; i < first[node + 1]; i++) {
        shares[sorted[i]] = largest == 0 ? 0 : magnitudes[sorted[i]] / largest / sum;
      }
    }
    return shares;
  }

  // ---- pruning -----------------------------------------------------------------------------

  /** What is left of a graph. */
  record Kept(BitSet nodes, BitSet edges) {}

  /**
   * Keeps the most influential nodes and edges, then removes dead ends.
   *
   * @param outputs weight of each node as an output; those that have one are kept
   * @param nodeShare of the sum of all influence that the kept nodes have at least
   * @param edgeShare of the sum of all scores of entries, among the kept nodes, that the kept ones
   *     have at least
   * @param spared nodes that are kept whatever their influence, unless they are dead ends
   * @param leaves nodes that need no edge into them
   */
  Kept prune(double[] outputs, double nodeShare, double edgeShare, BitSet spared, BitSet leaves) {
    double[] influence = influence(outputs);
    double least = least(influence, nodeShare);
    BitSet nodes = new BitSet();
    for (int node = 0; node < influence.length; node++) {
      nodes.set(node, influence[node] >= least || spared.get(node) || outputs[node] != 0);
    }
    BitSet among = among(nodes);
    double[] scores = entrySums(new WeightedGraph(this, among).edgeScores(outputs));
    double leastEntry = least(scores, edgeShare);
    BitSet edges = new BitSet();
    for (int edge = among.nextSetBit(0); edge >= 0; edge = among.nextSetBit(edge + 1)) {
      edges.set(edge, scores[entry[edge]] >= leastEntry);
    }
    return withoutDeadEnds(nodes, edges, outputs, leaves);
  }

  /** Keeps the entries of at least some magnitude, then removes what leads to no output. */
  Kept above(double threshold, double[] outputs) {
    double[] entries = entrySums(magnitudes);
    BitSet edges = new BitSet();
    for (int edge = 0; edge < entries.length; edge++) {
      double sum = entries[entry[edge]];
      edges.set(edge, sum > 0 && sum >= threshold);
    }
    return withoutDeadEnds(all(), edges, outputs, all());
  }

  /** Keeps the entries of largest score, then removes what leads to no output. */
  Kept top(int count, double[] outputs) {
    double[] entries = entrySums(edgeScores(outputs));
    BitSet largest = new BitSet();
    for (int edge : TopK.indices(entries, count)) {
      largest.set(edge, entries[edge] > 0);
    }
    BitSet edges = new BitSet();
    for (int edge = 0; edge < entries.length; edge++) {
      edges.set(edge, largest.get(entry[edge]));
    }
    return withoutDeadEnds(all(), edges, outputs, all());
  }

  private BitSet all() {
    BitSet nodes = new BitSet();
    nodes.set(0, backwards.length);
    return nodes;
  }

  private BitSet among(BitSet nodes) {
    BitSet edges = new BitSet();
    for (int edge = 0; edge < sources.length; edge++) {
      edges.set(edge, nodes.get(sources[edge]) && nodes.get(targets[edge]));
    }
    return edges;
  }

  /**
   * The least of the scores that the largest need to reach a share of their sum, less what rounding
   * may set equal ones apart by; for all of it, the least above zero.
   */
  private static double least(double[] scores, double share) {
    if (share >= 1) {
      return Double.MIN_VALUE;
    }
    double[] ascending = scores.clone();
    Arrays.sort(ascending);
    double sum = 0;
    for (int i = ascending.length - 1; i >= 0; i--) {
      sum += ascending[i];
    }
    double reached = 0;
    for (int i = ascending.length - 1; i >= 0; i--) {
      reached += ascending[i];
      if (reached >= share * sum * EQUAL) {
        return Math.max(ascending[i] * EQUAL, Double.MIN_VALUE);
      }
    }
    return Double.MIN_VALUE;
  }

  /** For each entry, at the first of its edges, the sum over its edges. */
  private double[] entrySums(double[] values) {
    double[] sums = new double[values.length];
    for (int edge : sorted) {
      sums[entry[edge]] += values[edge];
    }
    return sums;
  }

  /**
   * Removes the nodes that lead to no output, then those that nothing leads to. The second leaves
   * no new ones of the first: what has no edge into it leaves no source behind.
   */
  private Kept withoutDeadEnds(BitSet nodes, BitSet edges, double[] outputs, BitSet leaves) {
    BitSet leading = new BitSet();
    for (int node : backwards) { // each target has marked its sources before they are met
      boolean leads = nodes.get(node) && (outputs[node] != 0 || leading.get(node));
      leading.set(node, leads);
      for (int i = first[node]; leads && i < first[node + 1]; i++) {
        leading.set(sources[sorted[i]], leading.get(sources[sorted[i]]) || edges.get(sorted[i]));
      }
    }
    BitSet left = new BitSet();
    for (int at = backwards.length - 1; at >= 0; at--) {
      int node = backwards[at];
      boolean fed = leaves.get(node) || outputs[node] != 0;
      for (int i = first[node]; !fed && i < first[node + 1]; i++) {
        fed = edges.get(sorted[i]) && left.get(sources[sorted[i]]);
      }
      left.set(node, leading.get(node) && fed);
    }
    BitSet among = among(left);
    among.and(edges);
    return new Kept(left, among);
  }
}
