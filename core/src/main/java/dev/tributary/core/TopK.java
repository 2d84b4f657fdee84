package dev.tributary.core;

import static dev.tributary.core.Checks.requireArgument;

/** The largest of many numbers, without sorting them all. */
public final class TopK {
  private TopK() {}

  /**
   * {@return the indices of the {@code count} largest values, largest first; of equals the first
   * one first; NaN counts as smallest} All indices if there are fewer values than {@code count}.
   *
   * @param values where to look
   * @param count at most so many
   * @throws IllegalArgumentException if {@code count} is negative
   */
  public static int[] indices(double[] values, int count) {
    requireArgument(count >= 0, "top k: k is %d, it must be 0 or more", count);
    int size = Math.min(count, values.length);
    int[] heap = new int[size]; // the worst kept value is at 0
    int held = 0;
    for (int i = 0; i < values.length; i++) {
      if (held < size) {
        int at = held++;
        while (at > 0 && worse(values, i, heap[(at - 1) / 2])) {
          heap[at] = heap[(at - 1) / 2];
          at = (at - 1) / 2;
        }
        heap[at] = i;
      } else if (size > 0 && worse(values, heap[0], i)) {
        sink(values, heap, held, i);
      }
    }
    int[] result = new int[size];
    for (int at = size - 1; at >= 0; at--) {
      result[at] = heap[0];
      held--;
      if (held > 0) {
        sink(values, heap, held, heap[held]);
      }
    }
    return result;
  }

  /** Replaces the worst of {@code heap[0..held)} by {@code index}. */
  private static void sink(double[] values, int[] heap, int held, int index) {
    int at = 0;
    while (true) {
      int child = 2 * at + 1;
      if (child + 1 < held && worse(values, heap[child + 1], heap[child])) {
        child++;
      }
      if (child >= held || worse(values, index, heap[child])) {
        heap[at] = index;
        return;
      }
      heap[at] = heap[child];
      at = child;
    }
  }

  private static boolean worse(double[] values, int i, int j) {
    double x = Double.isNaN(values[i]) ? Double.NEGATIVE_INFINITY : values[i];
    double y = Double.isNaN(values[j]) ? Double.NEGATIVE_INFINITY : values[j];
    return x < y || (x == y && i > j);
  }
}
