package dev.tributary.attribution.dataset;

import dev.tributary.attribution.dataset.PairReader.BadRow;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * What the edges or nodes of a model score over a data set.
 *
 * @param model what it is called
 * @param files with the pairs
 * @param method by which they were scored
 * @param ablation what is heard where an edge is missing
 * @param measure what is measured of pairs
 * @param of what is scored
 * @param totals over all pairs
 * @param bad rows that are no pairs, the first of them
 * @param badRows how many there are
 * @param sample how good the scores are, unless they are exact
 */
public record ScoredPairs(
    String model,
    List<Path> files,
    String method,
    String ablation,
    String measure,
    Scored of,
    EdgeTotals totals,
    List<BadRow> bad,
    long badRows,
    Optional<ExactSample> sample) {
  /** What is scored. */
  public sealed interface Scored {
    /** {@return what one is called} */
    String word();

    /** {@return the names of all, in the order of their numbers} */
    List<String> names();
  }

  /**
   * All edges of a graph.
   *
   * @param graph whose edges
   */
  public record Edges(ComponentGraph graph) implements Scored {
    @Override
    public String word() {
      return "edge";
    }

    @Override
    public List<String> names() {
      return graph.edges().stream().map(ComponentGraph.Edge::toString).toList();
    }
  }

  /**
   * All nodes of a model.
   *
   * @param nodes {@link NodeScores#nodes}
   */
  public record Nodes(List<NodeScores.Node> nodes) implements Scored {
    /**
     * Keeps a copy.
     *
     * @param nodes {@link #nodes()}
     */
    public Nodes {
      nodes = List.copyOf(nodes);
    }

    @Override
    public String word() {
      return "node";
    }

    @Override
    public List<String> names() {
      return nodes.stream().map(NodeScores.Node::toString).toList();
    }
  }

  /** How many rows that are no pairs are told of, one by one. */
  public static final int TOLD = 20;

  /**
   * Keeps copies.
   *
   * @param model {@link #model()}
   * @param files {@link #files()}
   * @param method {@link #method()}
   * @param ablation {@link #ablation()}
   * @param measure {@link #measure()}
   * @param of {@link #of()}
   * @param totals {@link #totals()}
   * @param bad {@link #bad()}
   * @param badRows {@link #badRows()}
   * @param sample {@link #sample()}
   */
  public ScoredPairs {
    files = List.copyOf(files);
    bad = List.copyOf(bad);
  }
}
