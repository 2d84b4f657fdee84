package dev.tributary.attribution;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Edges that may be among the largest, each between two bounds of its magnitude. Those that are
 * smaller than as many others are dropped from time to time.
 */
final class Candidates {
  /**
   * An edge by where it stands in the lists of a search.
   *
   * @param source number of the family of sources
   * @param write place in its list
   * @param target number of the family of targets
   * @param direction place in its list
   * @param which of the targets of the direction
   * @param factor of that target
   * @param most what its magnitude does not exceed
   */
  record Candidate(
      int token,
      int source,
      int write,
      int target,
      int direction,
      int which,
      double factor,
      double most) {
    boolean hasDirectionOf(Candidate other) {
      return target == other.target && token == other.token && direction == other.direction;
    }
  }

  private final int count;
  private List<Candidate> held = new ArrayList<>();
  private double[] least = new double[64]; // what the magnitude of each reaches
  private double threshold;
  private long capacity;

  /**
   * @param count of the largest that are wanted
   * @param smallest magnitude that is
   */
  Candidates(int count, double smallest) {
    this.count = count;
    this.threshold = smallest;
    this.capacity = 2L * count + 1000;
  }

  /** What smaller edges need not be offered: nothing, or as many as are wanted reach it. */
  double threshold() {
    return threshold;
  }

  /**
   * Takes note of an edge.
   *
   * @param error by which its magnitude may be smaller
   */
  void offer(Candidate edge, double error) {
    if (held.size() == least.length) {
      least = Arrays.copyOf(least, 2 * least.length);
    }
    least[held.size()] = edge.most - 2 * error;
    held.add(edge);
    if (held.size() >= capacity) {
      drop();
      capacity = Math.max(capacity, 2L * held.size());
    }
  }

  /** Those that may be among the largest, and all of these if every edge was offered. */
  List<Candidate> all() {
    drop();
    return held;
  }

  private void drop() {
    if (held.size() <= count) {
      return;
    }
    double[] sorted = Arrays.copyOf(least, held.size());
    Arrays.sort(sorted);
    threshold = Math.max(threshold, sorted[sorted.length - count]);
    List<Candidate> kept = new ArrayList<>();
    for (int i = 0; i < held.size(); i++) {
      if (held.get(i).most >= threshold) {
        least[kept.size()] = least[i];
        kept.add(held.get(i));
      }
    }
    held = kept;
  }
}
