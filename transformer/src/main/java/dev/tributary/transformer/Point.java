package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

/**
 * A place in the residual stream: 0 after the embedding, then one after every write. Parts that
 * read the same point and write the next one together, as in a parallel layer, share both.
 *
 * <p>A dictionary of the residual stream reads a point and writes it anew: it does so before any
 * part reads it, and reads nothing of what dictionaries write there.
 *
 * @param index number in the order of writing
 * @param ofDictionary whether it is a dictionary that reads or writes there
 */
public record Point(int index, boolean ofDictionary) implements Comparable<Point> {
  /** After the embedding. */
  public static final Point EMBEDDING = new Point(0);

  /**
   * Refuses a negative number.
   *
   * @param index {@link #index()}
   * @param ofDictionary {@link #ofDictionary()}
   */
  public Point {
    requireArgument(index >= 0, "point %d: points of the residual stream count from 0", index);
  }

  /**
   * A point that parts of the model read or write.
   *
   * @param index {@link #index()}
   */
  public Point(int index) {
    this(index, false);
  }

  /** {@return the same as a dictionary reads or writes it} */
  public Point forDictionary() {
    return new Point(index, true);
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
    return index < other.index || (index == other.index && !(ofDictionary && other.ofDictionary));
  }

  @Override
  public int compareTo(Point other) {
    return index == other.index
        ? Boolean.compare(ofDictionary, other.ofDictionary)
        : Integer.compare(index, other.index);
  }

  @Override
  public String toString() {
    return "point " + index;
  }
}
