package dev.tributary.attribution.viewer;

import java.util.List;

/**
 * What a data set says of the edges among components, or of nodes, as one page for a browser, which
 * needs nothing else: no other file and no network.
 */
public final class DatasetPage {
  private static final Page EDGES = page("dataset", "Edges among components");
  private static final Page NODES = page("nodes", "Scores of nodes");

  private DatasetPage() {}

  private static Page page(String name, String title) {
    return new Page(
        name, title, List.of("scores.css"), List.of(), List.of("scores.js"), Page.NOBODY);
  }

  /**
   * {@return the text of the page, HTML}
   *
   * @param answers what is shown, each in JSON, each once at most: scores or a circuit as {@link
   *     dev.tributary.attribution.dataset.ScoreFile} writes them, and what {@code dataset circuit}
   *     and {@code dataset evaluate} print as JSON; with scores or a circuit among them
   */
  public static String of(List<String> answers) {
    return EDGES.around("[" + String.join(",", answers) + "]");
  }

  /**
   * {@return the text of a page of nodes, HTML}
   *
   * @param scores of nodes as {@link dev.tributary.attribution.dataset.ScoreFile} writes them
   */
  public static String ofNodes(String scores) {
    return NODES.around("[" + scores + "]");
  }
}
