package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.WeightedGraph.Kept;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class WeightedGraphTest {
  private static final double ROUNDING = 1e-12;

  // ---- a case whose values are known -------------------------------------------------------

  private static final int LOGIT = 11;

  /**
   * Twelve nodes, edges of weight 10: 11 from 1, 3, 6, 8; 3 from 0, 1, 6; 1 from 9, 10; 0 from 9.
   *
   * @see <a href="https://github.com/safety-research/circuit-tracer">tests/test_graph.py, which has
   *     these values</a>
   */
  private static WeightedGraph golden(int... leftOut) {
    int[] sources = {1, 3, 6, 8, 0, 1, 6, 9, 10, 9};
    int[] targets = {11, 11, 11, 11, 3, 3, 3, 1, 1, 0};
    double[] weights = new double[sources.length];
    for (int edge = 0; edge < weights.length; edge++) {
      int number = edge;
      weights[edge] = IntStream.of(leftOut).anyMatch(one -> one == number) ? 0 : 10;
    }
    return new WeightedGraph(12, sources, targets, weights);
  }

  private static double[] logit() {
    double[] outputs = new double[12];
    outputs[LOGIT] = 1;
    return outputs;
  }

  @Test
  void influence_goldenCase_isKnown() {
    double[] expected = {
      1.0 / 12, 1.0 / 3, 0, 1.0 / 4, 0, 0, 1.0 / 3, 0, 1.0 / 4, 1.0 / 4, 1.0 / 6, 0
    };
    assertArrayEquals(expected, golden().influence(logit()), ROUNDING);
  }

  @Test
  void edgeScores_goldenCaseWithoutTwoEdges_areKnown() {
    double[] expected = {
      1.0 / 4, 1.0 / 4, 1.0 / 4, 1.0 / 4, 0, 1.0 / 8, 1.0 / 8, 3.0 / 16, 3.0 / 16, 0
    };
    assertArrayEquals(expected, golden(4, 9).edgeScores(logit()), ROUNDING);
  }

  /** There, 0 to 4 are features, 5 to 8 errors, and 9 and 10 tokens, which always stay. */
  @Test
  void prune_goldenCase_dropsTheNodeOfLeastInfluence() {
    BitSet errorsAndTokens = bits(5, 6, 7, 8, 9, 10);
    Kept kept = golden().prune(logit(), 0.8, 0.98, bits(9, 10), errorsAndTokens);
    assertEquals(bits(1, 3, 6, 8, 9, 10, LOGIT), kept.nodes());
    assertEquals(bits(0, 1, 2, 3, 5, 6, 7, 8), kept.edges());
  }

  private static BitSet bits(int... set) {
    BitSet bits = new BitSet();
    IntStream.of(set).forEach(bits::set);
    return bits;
  }

  // ---- laws --------------------------------------------------------------------------------

  /**
   * Any graph without cycles: edges from low to high numbers, and then the numbers are shuffled.
   */
  private static final class Drawn {
    final int nodes;
    final int[] sources;
    final int[] targets;
    final double[] weights;
    final int output;

    Drawn(int nodes, int[] sources, int[] targets, double[] weights, int output) {
      this.nodes = nodes;
      this.sources = sources;
      this.targets = targets;
      this.weights = weights;
      this.output = output;
    }

    static Drawn of(int nodes, int edges, long seed) {
      Random random = RandomNodes.random(seed);
      List<Integer> names = new ArrayList<>(IntStream.range(0, nodes).boxed().toList());
      Collections.shuffle(names, random);
      int[] sources = new int[edges];
      int[] targets = new int[edges];
      double[] weights = new double[edges];
      for (int edge = 0; edge < edges; edge++) {
        int one = random.nextInt(nodes);
        int other = random.nextInt(nodes - 1);
        other += other >= one ? 1 : 0;
        sources[edge] = names.get(Math.min(one, other));
        targets[edge] = names.get(Math.max(one, other));
        weights[edge] = random.nextInt(8) == 0 ? 0 : random.nextGaussian();
      }
      return new Drawn(nodes, sources, targets, weights, names.get(nodes - 1));
    }

    WeightedGraph graph() {
      return new WeightedGraph(nodes, sources, targets, weights);
    }

    double[] outputs() {
      double[] outputs = new double[nodes];
      outputs[output] = 1;
      return outputs;
    }

    /** A[target][source]. */
    double[][] dense(BitSet among) {
      double[][] a = new double[nodes][nodes];
      for (int edge = 0; edge < sources.length; edge++) {
        if (among.get(sources[edge]) && among.get(targets[edge])) {
          a[targets[edge]][sources[edge]] += Math.abs(weights[edge]);
        }
      }
      for (double[] row : a) {
        double sum = DoubleStream.of(row).sum();
        for (int i = 0; i < row.length && sum > 0; i++) {
          row[i] /= sum;
        }
      }
      return a;
    }

    BitSet all() {
      BitSet all = new BitSet();
      all.set(0, nodes);
      return all;
    }
  }

  /** w A + w A² + ..., power by power. */
  private static double[] powers(double[][] a, double[] w) {
    double[] sum = new double[w.length];
    double[] term = w;
    for (int power = 0; power < w.length; power++) {
      double[] next = new double[w.length];
      for (int target = 0; target < w.length; target++) {
        for (int source = 0; source < w.length; source++) {
          next[source] += term[target] * a[target][source];
        }
      }
      term = next;
      for (int i = 0; i < sum.length; i++) {
        sum[i] += next[i];
      }
    }
    return sum;
  }

  @Property(tries = 200)
  void influence_anyGraph_isTheSumOfPowers(
      @ForAll @IntRange(min = 2, max = 20) int nodes,
      @ForAll @IntRange(max = 80) int edges,
      @ForAll long seed) {
    Drawn drawn = Drawn.of(nodes, edges, seed);
    double[] expected = powers(drawn.dense(drawn.all()), drawn.outputs());
    assertArrayEquals(expected, drawn.graph().influence(drawn.outputs()), ROUNDING);
  }

  @Property(tries = 200)
  void prune_anyGraph_followsTheDenseDefinition(
      @ForAll @IntRange(min = 2, max = 20) int nodes,
      @ForAll @IntRange(max = 80) int edges,
      @ForAll @IntRange(max = 99) int nodePercent,
      @ForAll @IntRange(max = 99) int edgePercent,
      @ForAll long seed) {
    Drawn drawn = Drawn.of(nodes, edges, seed);
    Random random = RandomNodes.random(~seed);
    BitSet leaves = new BitSet();
    for (int node = 0; node < nodes; node++) {
      leaves.set(node, random.nextInt(3) == 0);
    }
    double[] w = drawn.outputs();
    double[] influence = powers(drawn.dense(drawn.all()), w);
    BitSet left = new BitSet();
    double leastNode = leastOf(influence, share(nodePercent));
    for (int node = 0; node < nodes; node++) {
      left.set(
          node,
          w[node] > 0 || (influence[node] > ROUNDING && influence[node] >= leastNode - ROUNDING));
    }
    double[][] a = drawn.dense(left);
    double[] within = powers(a, w);
    double[] scores = new double[nodes * nodes];
    for (int target = 0; target < nodes; target++) {
      for (int source = 0; source < nodes; source++) {
        scores[target * nodes + source] = a[target][source] * (within[target] + w[target]);
      }
    }
    double leastEdge = leastOf(scores, share(edgePercent));
    boolean[] entries = new boolean[nodes * nodes];
    for (int i = 0; i < entries.length; i++) {
      entries[i] = scores[i] > ROUNDING && scores[i] >= leastEdge - ROUNDING;
    }
    for (int round = 0; round < nodes; round++) { // circuit-tracer repeats until nothing changes
      for (int node = 0; node < nodes; node++) {
        boolean out = w[node] > 0;
        boolean in = w[node] > 0 || leaves.get(node);
        for (int other = 0; other < nodes; other++) {
          out |= entries[other * nodes + node] && left.get(other);
          in |= entries[node * nodes + other] && left.get(other);
        }
        left.set(node, left.get(node) && in && out);
      }
    }
    Kept kept =
        drawn.graph().prune(w, share(nodePercent), share(edgePercent), new BitSet(), leaves);
    assertEquals(left, kept.nodes());
    for (int edge = 0; edge < edges; edge++) {
      int source = drawn.sources[edge];
      int target = drawn.targets[edge];
      boolean expected = left.get(source) && left.get(target) && entries[target * nodes + source];
      assertEquals(expected, kept.edges().get(edge));
    }
  }

  /** That no sum of simple fractions reaches exactly. */
  private static double share(int percent) {
    return percent / 100.0 + 0.00317;
  }

  private static double leastOf(double[] scores, double share) {
    double[] sorted = scores.clone();
    Arrays.sort(sorted);
    double sum = 0;
    for (int i = sorted.length - 1; i >= 0; i--) {
      sum += sorted[i];
      if (sum >= share * DoubleStream.of(scores).sum() - ROUNDING) {
        return sorted[i];
      }
    }
    return 0;
  }

  @Property(tries = 200)
  void prune_largerShares_keepMore(
      @ForAll @IntRange(min = 2, max = 20) int nodes,
      @ForAll @IntRange(max = 80) int edges,
      @ForAll @IntRange(max = 100) int one,
      @ForAll @IntRange(max = 100) int other,
      @ForAll long seed) {
    WeightedGraph graph = Drawn.of(nodes, edges, seed).graph();
    double[] outputs = Drawn.of(nodes, edges, seed).outputs();
    double less = Math.min(one, other) / 100.0;
    double more = Math.max(one, other) / 100.0;
    BitSet none = new BitSet();
    BitSet leaves = new BitSet();
    leaves.set(0, nodes);
    assertContains(
        graph.prune(outputs, more, 1, none, leaves), graph.prune(outputs, less, 1, none, leaves));
    assertContains(
        graph.prune(outputs, 0.9, more, none, leaves),
        graph.prune(outputs, 0.9, less, none, leaves));
    assertContains(graph.above(less, outputs), graph.above(more, outputs));
    assertContains(
        graph.top(Math.max(one, other), outputs), graph.top(Math.min(one, other), outputs));
  }

  private static void assertContains(Kept large, Kept small) {
    BitSet nodes = (BitSet) small.nodes().clone();
    nodes.andNot(large.nodes());
    BitSet edges = (BitSet) small.edges().clone();
    edges.andNot(large.edges());
    assertTrue(nodes.isEmpty() && edges.isEmpty(), nodes + " and edges " + edges);
  }

  @Test
  void influence_hundredThousandEdges_sumsToOneAtTheSources() {
    int layers = 100;
    int width = 33; // each node reads all of the layer before
    int nodes = layers * width + 1;
    int size = (layers - 1) * width * width + width;
    int[] sources = new int[size];
    int[] targets = new int[size];
    double[] weights = RandomNodes.random(3).doubles(size, -1, 1).toArray();
    int edge = 0;
    for (int target = width; target < nodes; target++) {
      int layer = Math.min(target / width, layers);
      for (int i = 0; i < width; i++) {
        sources[edge] = (layer - 1) * width + i;
        targets[edge++] = target;
      }
    }
    assertEquals(size, edge);
    assertTrue(size > 100_000);
    double[] outputs = new double[nodes];
    outputs[nodes - 1] = 1;
    double[] influence = new WeightedGraph(nodes, sources, targets, weights).influence(outputs);
    for (int layer = 0; layer < layers; layer++) {
      double sum = 0;
      for (int i = 0; i < width; i++) {
        sum += influence[layer * width + i];
      }
      assertEquals(1, sum, ROUNDING);
    }
  }

  @Test
  void shares_sumBeyondTheLargestNumber_areFinite() {
    WeightedGraph graph =
        new WeightedGraph(3, new int[] {0, 1}, new int[] {2, 2}, new double[] {1e308, -1e308});
    assertArrayEquals(new double[] {0.5, 0.5}, graph.shares(), 0);
  }

  // ---- borders -------------------------------------------------------------------------------

  /** Edges of some weights from nodes 0, 1, ... into the last. */
  private static WeightedGraph star(double... weights) {
    int[] targets = new int[weights.length];
    Arrays.fill(targets, weights.length);
    return new WeightedGraph(
        weights.length + 1, IntStream.range(0, weights.length).toArray(), targets, weights);
  }

  private static double[] center(int edges) {
    double[] outputs = new double[edges + 1];
    outputs[edges] = 1;
    return outputs;
  }

  @Test
  void prune_all_keepsWhatIsAboveZero() {
    Kept kept = star(1, 0, Double.MIN_VALUE).prune(center(3), 1, 1, new BitSet(), bits(0, 1, 2));
    assertEquals(bits(0, 2, 3), kept.nodes());
    assertEquals(bits(0, 2), kept.edges());
    kept = star(1, 0).prune(center(2), 1, 1, bits(1), bits(0, 1)); // spared, but a dead end
    assertEquals(bits(0, 2), kept.nodes());
  }

  @Test
  void prune_shareThatIsReachedExactly_keepsNoMore() {
    assertEquals(bits(0), star(7, 3).prune(center(2), 1, 0.7, new BitSet(), bits(0, 1)).edges());
    assertEquals(bits(0, 2), star(7, 3).prune(center(2), 0.7, 1, new BitSet(), bits(0, 1)).nodes());
  }

  @Test
  void prune_shareThatOnlyAllReach_keepsAll() {
    assertEquals(bits(0, 1), star(7, 3).prune(center(2), 1, 0.8, new BitSet(), bits(0, 1)).edges());
  }

  @Test
  void above_magnitudeOfAnEdge_keepsThatEdge() {
    assertEquals(bits(0, 1), star(3, -2, 1).above(2, center(3)).edges());
    assertEquals(bits(0), star(3, 0).above(0, center(2)).edges());
    assertEquals(bits(0, 2), star(3, 0).above(0, center(2)).nodes());
  }

  @Test
  void top_moreThanThereAre_keepsNoneOfZero() {
    assertEquals(bits(0, 2), star(3, 0, 1).top(3, center(3)).edges());
    assertEquals(bits(0), star(3, 0, 1).top(1, center(3)).edges());
  }

  @Test
  void new_whatIsNoGraph_isRefused() {
    assertRefused(
        "edges with 1 sources, 2 targets and 2 weights",
        3,
        new int[] {0},
        new int[] {1, 2},
        new double[] {1, 1});
    assertRefused(
        "edges with 2 sources, 2 targets and 1 weights",
        3,
        new int[] {0, 1},
        new int[] {1, 2},
        new double[] {1});
    assertRefused("edge 0 leads from node -1 to node 1 of 3 nodes", 3, -1, 1, 1);
    assertRefused("edge 0 leads from node 1 to node 3 of 3 nodes", 3, 1, 3, 1);
    assertRefused("edge 0 has weight NaN", 3, 0, 1, Double.NaN);
    assertRefused("edge 0 has weight -Infinity", 3, 0, 1, Double.NEGATIVE_INFINITY);
    assertRefused(
        "the edges among 3 of 4 nodes form a cycle",
        4,
        new int[] {0, 1, 2, 2},
        new int[] {1, 2, 1, 3},
        new double[] {1, 1, 1, 1});
    assertRefused("the edges among 1 of 2 nodes form a cycle", 2, 0, 0, 1);
  }

  private static void assertRefused(
      String message, int nodes, int source, int target, double weight) {
    assertRefused(message, nodes, new int[] {source}, new int[] {target}, new double[] {weight});
  }

  private static void assertRefused(
      String message, int nodes, int[] sources, int[] targets, double[] weights) {
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class,
            () -> new WeightedGraph(nodes, sources, targets, weights));
    assertEquals(message, e.getMessage());
  }
}
