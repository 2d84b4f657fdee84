package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

import java.util.Optional;

/**
 * Layers or tokens, counted from 0.
 *
 * @param first of them
 * @param last included
 */
public record Range(int first, int last) {
  /**
   * Refuses an empty one.
   *
   * @param first {@link #first()}
   * @param last {@link #last()}
   * @throws IllegalArgumentException if there are none such
   */
  public Range {
    requireArgument(first >= 0 && first <= last, "%d to %d: there are none such", first, last);
  }

  boolean contains(int number) {
    return first <= number && number <= last;
  }

  /** Refuses what leads beyond the last of them. */
  static void requireInside(String what, Optional<Range> range, int size) {
    range.ifPresent(
        r ->
            requireArgument(
                r.last < size,
                "%s %d-%d: there are %d, counted from 0",
                what,
                r.first,
                r.last,
                size));
  }
}
