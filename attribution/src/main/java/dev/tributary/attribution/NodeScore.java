package dev.tributary.attribution;

import dev.tributary.core.TopK;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** A node and its number. */
public record NodeScore(Node node, double score) {
  /** The {@code count} nodes of largest magnitude, largest first; exact zeros are left out. */
  static List<NodeScore> largest(List<NodeArray> arrays, int count) {
    List<NodeScore> best = new ArrayList<>();
    for (NodeArray array : arrays) {
      double[] values = array.values().toDoubles();
      for (int position : TopK.indices(magnitudes(values), count)) {
        if (values[position] != 0) {
          best.add(new NodeScore(array.node(position), values[position]));
        }
      }
    }
    double[] scores = best.stream().mapToDouble(NodeScore::score).toArray();
    List<NodeScore> result = new ArrayList<>();
    for (int position : TopK.indices(magnitudes(scores), count)) {
      result.add(best.get(position));
    }
    return result;
  }

  private static double[] magnitudes(double[] values) {
    double[] result = new double[values.length];
    for (int i = 0; i < values.length; i++) {
      result[i] = Math.abs(values[i]);
    }
    return result;
  }

  @Override
  public String toString() {
    return String.format(Locale.ROOT, "%s %.4g", node, score);
  }
}
