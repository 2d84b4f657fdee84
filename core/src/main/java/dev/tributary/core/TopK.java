package dev.tributary.core;

import static dev.tributary.core.Checks.requireArgument;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/**
 * The largest of many numbers that come one after the other, without sorting or holding them all.
 *
 * @param <T> what the numbers belong to
 */
public final class TopK<T> {
  private final int count;

  /** A heap: the worst kept number is at 0. */
  private double[] keys = new double[16];

  /** Which of all numbers each is, so that of equals the first one is kept. */
  private long[] numbers = new long[keys.length];

  /** What each belongs to. */
  private final List<T> entries = new ArrayList<>();

  private long seen;

  /**
   * None yet.
   *
   * @param count how many are kept at most
   * @throws IllegalArgumentException if {@code count} is negative
   */
  public TopK(int count) {
    requireArgument(count >= 0, "top k: k is %d, it must be 0 or more", count);
    this.count = count;
  }

  /**
   * {@return the indices of the {@code count} largest values, largest first; of equals the first
   * one first; NaN counts as smallest} All indices if there are fewer values than {@code count}.
   *
   * @param values where to look
   * @param count at most so many
   * @throws IllegalArgumentException if {@code count} is negative
   */
  public static int[] indices(double[] values, int count) {
    TopK<Integer> top = new TopK<>(count);
    for (int i = 0; i < values.length; i++) {
      if (top.takes(values[i])) {
        top.add(values[i], i);
      }
    }
    return top.entries().stream().mapToInt(Integer::intValue).toArray();
  }

  /**
   * {@return whether the next number is among the largest so far: if not, it need not be added}
   *
   * @param key the number
   */
  public boolean takes(double key) {
    return entries.size() < count || least() < key;
  }

  /** {@return what the next number must exceed; negative infinity while any is kept} */
  public double least() {
    if (entries.size() < count) {
      return Double.NEGATIVE_INFINITY;
    }
    return count == 0 ? Double.POSITIVE_INFINITY : keys[0];
  }

  /**
   * Adds a number.
   *
   * @param key the number; NaN counts as smallest
   * @param entry what it belongs to
   */
  public void add(double key, T entry) {
    double ordered = Double.isNaN(key) ? Double.NEGATIVE_INFINITY : key;
    long number = seen++;
    int held = entries.size();
    if (held < count) {
      if (held == keys.length) {
        keys = Arrays.copyOf(keys, 2 * held);
        numbers = Arrays.copyOf(numbers, 2 * held);
      }
      entries.add(entry);
      rise(held, ordered, number, entry);
    } else if (takes(ordered)) {
      sink(held, ordered, number, entry);
    }
  }

  /** {@return what the largest numbers belong to, largest first; of equals the first one first} */
  public List<T> entries() {
    int held = entries.size();
    List<Integer> places = new ArrayList<>();
    for (int i = 0; i < held; i++) {
      places.add(i);
    }
    places.sort((i, j) -> isWorse(i, keys[j], numbers[j]) ? 1 : -1);
    List<T> ordered = new ArrayList<>(held);
    places.forEach(place -> ordered.add(entries.get(place)));
    return Collections.unmodifiableList(ordered);
  }

  /** Puts a number where the last one is, or nearer to the worst. */
  private void rise(int last, double key, long number, T entry) {
    int at = last;
    while (at > 0 && !isWorse((at - 1) / 2, key, number)) {
      move((at - 1) / 2, at);
      at = (at - 1) / 2;
    }
    put(at, key, number, entry);
  }

  /** Puts a number in place of the worst. */
  private void sink(int held, double key, long number, T entry) {
    int at = 0;
    while (true) {
      int child = 2 * at + 1;
      if (child + 1 < held && isWorse(child + 1, keys[child], numbers[child])) {
        child++;
      }
      if (child >= held || !isWorse(child, key, number)) {
        put(at, key, number, entry);
        return;
      }
      move(child, at);
      at = child;
    }
  }

  private void move(int from, int to) {
    put(to, keys[from], numbers[from], entries.get(from));
  }

  private void put(int at, double key, long number, T entry) {
    keys[at] = key;
    numbers[at] = number;
    entries.set(at, entry);
  }

  /** Whether what is kept at a place ranks after another number. */
  private boolean isWorse(int at, double key, long number) {
    return keys[at] < key || (keys[at] == key && numbers[at] > number);
  }
}
