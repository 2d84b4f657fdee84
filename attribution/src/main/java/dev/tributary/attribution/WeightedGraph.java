package dev.tributary.attribution;

import dev.tributary.core.TopK;
import java.util.Arrays;
import java.util.BitSet;
import java.util.function.DoubleConsumer;

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
 * <p>Edges are read row by row, all into one target, so that nothing of the size of all of them is
 * made but what is asked for.
 *
 * @see <a href="https://transformer-circuits.pub/2025/attribution-graphs/methods.html">Ameisen et
 *     al. 2025, on pruning</a>
 */
final class WeightedGraph {
  private static final double EQUAL = 1 - 1e-9;

  /** Edges by target. */
  interface Rows {
    /** Nodes, each after all that it has edges to. */
    int[] backwards();

    /** The number of edges into the nodes before one; of all, for the one after the last. */
    int first(int node);

    /** Edges into a node: from where, ascending, and |weight|. */
    void read(int node, int[] sources, double[] magnitudes);

    /** What others call an edge, which lies at some place, row by row. */
    default int number(int place) {
      return place;
    }
  }

  private final Rows rows;

  /** Nodes, each after all that it has edges to. */
  private final int[] backwards;

  WeightedGraph(Rows rows) {
    this.rows = rows;
    this.backwards = rows.backwards();
  }

  /**
   * A graph of nodes 0 to {@code nodes - 1}.
   *
   * @throws IllegalArgumentException if an edge has no such node or no finite weight, or edges form
   *     a cycle
   */
  WeightedGraph(int nodes, int[] sources, int[] targets, double[] weights) {
    this(ListedEdges.of(nodes, sources, targets, weights));
  }

  /** The edges into one node at a time. */
  private final class Row {
    private final int[] sources;

    /** Magnitudes, and then shares. */
    private final double[] numbers;

    private int first;
    private int count;

    Row() {
      int longest = 0;
      for (int node : backwards) {
        longest = Math.max(longest, rows.first(node + 1) - rows.first(node));
      }
      sources = new int[longest];
      numbers = new double[longest];
    }

    void read(int node) {
      first = rows.first(node);
      count = rows.first(node + 1) - first;
      if (count > 0) {
        rows.read(node, sources, numbers);
      }
    }

    /** With the shares of those from and to some nodes, 0 of others. */
    void readShares(int node, BitSet among) {
      read(node);
      boolean target = among.get(node);
      double largest = 0; // divided by first, for the sum of large numbers may be infinite
      for (int i = 0; i < count; i++) {
        numbers[i] = target && among.get(sources[i]) ? numbers[i] : 0;
        largest = Math.max(largest, numbers[i]);
      }
      double sum = 0;
      for (int i = 0; i < count; i++) {
        numbers[i] = largest == 0 ? 0 : numbers[i] / largest;
        sum += numbers[i];
      }
      for (int i = 0; i < count; i++) {
        numbers[i] = largest == 0 ? 0 : numbers[i] / sum;
      }
    }

    /** Adds to each edge those before it between the same nodes: at the last is the entry. */
    void addWithinEntries() {
      for (int i = 1; i < count; i++) {
        numbers[i] += sources[i] == sources[i - 1] ? numbers[i - 1] : 0;
      }
    }

    boolean endsEntry(int i) {
      return i == count - 1 || sources[i + 1] != sources[i];
    }

    /** Sums of entries, at each edge that of its own. */
    void sumEntries() {
      addWithinEntries();
      for (int i = count - 2; i >= 0; i--) {
        numbers[i] = sources[i] == sources[i + 1] ? numbers[i + 1] : numbers[i];
      }
    }
  }

  // ---- influence ---------------------------------------------------------------------------

  /**
   * How much each node influences the outputs.
   *
   * @param outputs w, the weight of each node as an output
   */
  double[] influence(double[] outputs) {
    return influence(outputs, all());
  }

  /** Through some nodes alone. */
  private double[] influence(double[] outputs, BitSet among) {
    double[] influence = new double[outputs.length];
    Row row = new Row();
    for (int node : backwards) {
      double own = influence[node] + outputs[node];
      if (own == 0) {
        continue;
      }
      row.readShares(node, among);
      for (int i = 0; i < row.count; i++) {
        influence[row.sources[i]] += row.numbers[i] * own;
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
    Row row = new Row();
    for (int node : backwards) {
      row.read(node);
      for (int i = 0; i < row.count; i++) {
        scores[rows.number(row.first + i)] *= influence[node] + outputs[node];
      }
    }
    return scores;
  }

  /** The share that each edge has of all into its target. */
  double[] shares() {
    double[] shares = new double[rows.first(backwards.length)];
    BitSet all = all();
    Row row = new Row();
    for (int node : backwards) {
      row.readShares(node, all);
      for (int i = 0; i < row.count; i++) {
        shares[rows.number(row.first + i)] = row.numbers[i];
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
    double least =
        least(
            nodeShare,
            take -> {
              for (double one : influence) {
                take.accept(one);
              }
            });
    BitSet nodes = new BitSet();
    for (int node = 0; node < influence.length; node++) {
      nodes.set(node, influence[node] >= least || spared.get(node) || outputs[node] != 0);
    }
    double[] among = influence(outputs, nodes);
    double leastEntry = least(edgeShare, take -> forEachScore(outputs, among, nodes, take));
    BitSet edges = new BitSet();
    Row row = new Row();
    for (int node : backwards) {
      if (nodes.get(node)) {
        readScores(row, outputs, among, nodes, node);
        row.sumEntries();
        for (int i = 0; i < row.count; i++) {
          if (row.numbers[i] >= leastEntry && nodes.get(row.sources[i])) {
            edges.set(row.first + i);
          }
        }
      }
    }
    return withoutDeadEnds(nodes, edges, outputs, leaves);
  }

  private static void readScores(
      Row row, double[] outputs, double[] influence, BitSet among, int node) {
    row.readShares(node, among);
    for (int i = 0; i < row.count; i++) {
      row.numbers[i] *= influence[node] + outputs[node];
    }
  }

  /** Of every entry among some nodes. */
  private void forEachScore(
      double[] outputs, double[] influence, BitSet among, DoubleConsumer take) {
    Row row = new Row();
    for (int node : backwards) {
      if (among.get(node)) {
        readScores(row, outputs, influence, among, node);
        row.addWithinEntries();
        for (int i = 0; i < row.count; i++) {
          if (row.endsEntry(i)) {
            take.accept(row.numbers[i]);
          }
        }
      }
    }
  }

  /** Keeps the entries of at least some magnitude, then removes what leads to no output. */
  Kept above(double threshold, double[] outputs) {
    BitSet edges = new BitSet();
    Row row = new Row();
    for (int node : backwards) {
      row.read(node);
      row.sumEntries();
      for (int i = 0; i < row.count; i++) {
        edges.set(row.first + i, row.numbers[i] > 0 && row.numbers[i] >= threshold);
      }
    }
    return withoutDeadEnds(all(), edges, outputs, all());
  }

  /** Keeps the entries of largest score, then removes what leads to no output. */
  Kept top(int count, double[] outputs) {
    double[] influence = influence(outputs);
    BitSet all = all();
    double[] entries = new double[rows.first(backwards.length)];
    int[] entry = new int[entries.length];
    Row row = new Row();
    for (int node : backwards) {
      readScores(row, outputs, influence, all, node);
      row.addWithinEntries();
      for (int i = row.count - 1; i >= 0; i--) {
        boolean ends = row.endsEntry(i);
        entry[row.first + i] = ends ? row.first + i : entry[row.first + i + 1];
        entries[row.first + i] = ends ? row.numbers[i] : 0;
      }
    }
    BitSet largest = new BitSet();
    for (int place : TopK.indices(entries, count)) {
      largest.set(place, entries[place] > 0);
    }
    BitSet edges = new BitSet();
    for (int place = 0; place < entries.length; place++) {
      edges.set(place, largest.get(entry[place]));
    }
    return withoutDeadEnds(all, edges, outputs, all);
  }

  private BitSet all() {
    BitSet nodes = new BitSet();
    nodes.set(0, backwards.length);
    return nodes;
  }

  /** Numbers, handed over as often as asked for. */
  private interface Stream {
    void forEach(DoubleConsumer take);
  }

  /** Bits of a positive number by which it is counted first, together with those near it. */
  private static final int COARSE = 44;

  /**
   * The least of the scores, none negative, that the largest need to reach a share of their sum,
   * less what rounding may set equal ones apart by; for all of it, the least above zero. Scores are
   * not kept: those near the least are found by sums of those that are about as large.
   */
  private static double least(double share, Stream scores) {
    if (share >= 1) {
      return Double.MIN_VALUE;
    }
    double[] sums = new double[1 << (63 - COARSE)];
    int[] counts = new int[sums.length];
    scores.forEach(
        score -> {
          int bin = bin(score);
          sums[bin] += score;
          counts[bin]++;
        });
    double wanted = share * Arrays.stream(sums).sum() * EQUAL;
    double reached = 0;
    int last = sums.length - 1;
    while (last > 0 && (counts[last] == 0 || reached + sums[last] < wanted)) {
      reached += sums[last--];
    }
    int bin = last;
    double[] near = new double[counts[bin]];
    int[] size = new int[1];
    scores.forEach(
        score -> {
          if (bin(score) == bin) {
            near[size[0]++] = score;
          }
        });
    Arrays.sort(near);
    for (int i = near.length - 1; i >= 0; i--) {
      reached += near[i];
      if (reached >= wanted || i == 0) {
        return Math.max(near[i] * EQUAL, Double.MIN_VALUE);
      }
    }
    return Double.MIN_VALUE;
  }

  private static int bin(double score) {
    return (int) (Double.doubleToRawLongBits(score) >>> COARSE);
  }

  /**
   * Removes the nodes that lead to no output, then those that nothing leads to. The second leaves
   * no new ones of the first: what has no edge into it leaves no source behind.
   */
  private Kept withoutDeadEnds(BitSet nodes, BitSet edges, double[] outputs, BitSet leaves) {
    BitSet leading = new BitSet();
    Row row = new Row();
    for (int node : backwards) { // each target has marked its sources before they are met
      boolean leads = nodes.get(node) && (outputs[node] != 0 || leading.get(node));
      leading.set(node, leads);
      if (leads) {
        row.read(node);
        for (int i = 0; i < row.count; i++) {
          if (edges.get(row.first + i)) {
            leading.set(row.sources[i]);
          }
        }
      }
    }
    BitSet left = new BitSet();
    BitSet kept = new BitSet();
    for (int at = backwards.length - 1; at >= 0; at--) {
      int node = backwards[at];
      if (!leading.get(node)) {
        continue;
      }
      boolean fed = leaves.get(node) || outputs[node] != 0;
      row.read(node);
      for (int i = 0; i < row.count; i++) {
        if (edges.get(row.first + i) && left.get(row.sources[i])) {
          fed = true;
          kept.set(rows.number(row.first + i));
        }
      }
      left.set(node, fed);
    }
    return new Kept(left, kept);
  }
}
