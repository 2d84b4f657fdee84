package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

/**
 * A place in the residual stream: 0 after the embedding, then one after every write. Parts that
 * read the same point and write the next one together, as in a parallel layer, share both.
 *
 * @param index number in the order of writing
 */
public record Point(int index) implements Comparable<Point> {
  /** After the embedding. */
  public static final Point EMBEDDING = new Point(0);

  /**
   * Refuses a negative number.
   *
   * @param index {@link #index()}
   */
  public Point {
    requireArgument(index >= 0, "point %d: points of the residual stream count from 0", index);
  }

  /** {@return the point after the next write} */
  public Point next() {
    return new Point(index + 1);
  }

  /**
   * {@return whether what is written at this point is read at another}
   *
   * @param other where it may be read
   */
  public boolean reaches(Point other) {
    return index <= other.index;
  }

  @Override
  public int compareTo(Point other) {
    return Integer.compare(index, other.index);
  }

  @Override
  public String toString() {
    return "point " + index;
  }
}
