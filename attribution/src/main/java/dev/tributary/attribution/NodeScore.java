package dev.tributary.attribution;

import dev.tributary.core.TopK;
import java.util.List;
import java.util.Locale;

/** A node and its number. */
public record NodeScore(Node node, double score) {
  /** The {@code count} nodes of largest magnitude, largest first; exact zeros are left out. */
  static List<NodeScore> largest(List<NodeArray> arrays, int count) {
    TopK<NodeScore> largest = new TopK<>(count);
    NodeArray.rank(arrays, largest);
    return largest.entries();
  }

  @Override
  public String toString() {
    return String.format(Locale.ROOT, "%s %.4g", node, score);
  }
}
