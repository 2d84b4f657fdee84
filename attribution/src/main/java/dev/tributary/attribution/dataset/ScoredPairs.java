package dev.tributary.attribution.dataset;

import dev.tributary.attribution.dataset.PairReader.BadRow;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * What the edges of a model score over a data set.
 *
 * @param model what it is called
 * @param files with the pairs
 * @param method by which edges were scored
 * @param ablation what is heard where an edge is missing
 * @param measure what is measured of pairs
 * @param graph whose edges
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
    ComponentGraph graph,
    EdgeTotals totals,
    List<BadRow> bad,
    long badRows,
    Optional<ExactSample> sample) {
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
   * @param graph {@link #graph()}
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
