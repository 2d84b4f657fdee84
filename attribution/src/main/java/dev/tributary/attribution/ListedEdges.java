package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import java.util.Arrays;
import java.util.stream.IntStream;

/** Edges that were given in any order, sorted by target, then source. */
final class ListedEdges implements WeightedGraph.Rows {
  private final int[] sources;
  private final double[] magnitudes;
  private final int[] first;
  private final int[] sorted;
  private final int[] backwards;

  private ListedEdges(
      int[] sources, double[] magnitudes, int[] first, int[] sorted, int... backwards) {
    this.sources = sources;
    this.magnitudes = magnitudes;
    this.first = first;
    this.sorted = sorted;
    this.backwards = backwards;
  }

  /**
   * Those among nodes 0 to {@code nodes - 1}.
   *
   * @throws IllegalArgumentException if an edge has no such node or no finite weight, or edges form
   *     a cycle
   */
  static ListedEdges of(int nodes, int[] sources, int[] targets, double[] weights) {
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
    int[] first = offsets(nodes, targets);
    int[] every = IntStream.range(0, sources.length).toArray();
    int[] sorted = sorted(sorted(every, sources, offsets(nodes, sources)), targets, first);
    int[] sortedSources = IntStream.of(sorted).map(edge -> sources[edge]).toArray();
    return new ListedEdges(
        sortedSources,
        IntStream.of(sorted).mapToDouble(edge -> Math.abs(weights[edge])).toArray(),
        first,
        sorted,
        backwards(nodes, sortedSources, first));
  }

  private static int[] offsets(int nodes, int[] ends) {
    int[] result = new int[nodes + 1];
    for (int end : ends) {
      result[end + 1]++;
    }
    Arrays.parallelPrefix(result, Integer::sum);
    return result;
  }

  /** A pass of a counting sort. */
  private static int[] sorted(int[] edges, int[] keys, int[] offsets) {
    int[] next = offsets.clone();
    int[] result = new int[edges.length];
    for (int edge : edges) {
      result[next[keys[edge]]++] = edge;
    }
    return result;
  }

  private static int[] backwards(int nodes, int[] sources, int[] first) {
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
        if (--unmet[sources[i]] == 0) {
          result[size++] = sources[i];
        }
      }
    }
    requireArgument(
        size == nodes, "the edges among %d of %d nodes form a cycle", nodes - size, nodes);
    return result;
  }

  @Override
  public int[] backwards() {
    return backwards;
  }

  @Override
  public int first(int node) {
    return first[node];
  }

  @Override
  public void read(int node, int[] into, double[] numbers) {
    int count = first[node + 1] - first[node];
    System.arraycopy(sources, first[node], into, 0, count);
    System.arraycopy(magnitudes, first[node], numbers, 0, count);
  }

  @Override
  public int number(int place) {
    return sorted[place];
  }
}
