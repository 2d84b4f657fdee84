package dev.tributary.attribution.viewer;

import java.util.List;

/**
 * What a data set says of the edges among components, as one page for a browser, which needs
 * nothing else: no other file and no network.
 */
public final class DatasetPage {
  private static final Page PAGE = new Page("dataset", List.of(), List.of());

  private DatasetPage() {}

  /**
   * {@return the text of the page, HTML}
   *
   * @param answers what is shown, each in JSON, each once at most: scores or a circuit as {@link
   *     dev.tributary.attribution.dataset.ScoreFile} writes them, and what {@code dataset circuit}
   *     and {@code dataset evaluate} print as JSON; with scores or a circuit among them
   */
  public static String of(List<String> answers) {
    return PAGE.around("[" + String.join(",", answers) + "]");
  }
}
