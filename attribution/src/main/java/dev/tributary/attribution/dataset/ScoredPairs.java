package dev.tributary.attribution.dataset;

import dev.tributary.attribution.dataset.PairReader.BadRow;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

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

    /**
     * {@return the name of one}
     *
     * @param number from 0
     */
    String name(int number);

    /**
     * {@return whether one is left out where all are listed if it scores 0 in every pair}
     *
     * @param number from 0
     */
    boolean isSparse(int number);
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
    public String name(int number) {
      return graph.edges().get(number).toString();
    }

    @Override
    public boolean isSparse(int number) {
      return false;
    }
  }

  /**
   * All nodes of a model.
   *
   * @param nodes that are scored
   */
  public record Nodes(NodeList nodes) implements Scored {
    @Override
    public String word() {
      return "node";
    }

    @Override
    public String name(int number) {
      return nodes.get(number).toString();
    }

    @Override
    public boolean isSparse(int number) {
      return nodes.get(number).group().kind() == NodeList.Kind.LATENT;
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

  /**
   * {@return the numbers of what is listed: of latents those alone that score something in some
   * pair}
   */
  public int[] listed() {
    return IntStream.range(0, totals.edges())
        .filter(number -> totals.meanMagnitude(number) != 0 || !of.isSparse(number))
        .toArray();
  }
}
