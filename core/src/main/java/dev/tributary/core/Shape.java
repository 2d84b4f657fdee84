package dev.tributary.core;

import static dev.tributary.core.Checks.requireArgument;

import java.util.Arrays;

/**
 * Sizes of the axes of a tensor, outermost first. Printed {@code [64, 768]}; a scalar is {@code
 * []}.
 */
public final class Shape {
  /** Elements that one tensor may have: 2^31, less what sizes are rounded up by. */
  public static final int LARGEST = Integer.MAX_VALUE - (1 << 20);

  private final int[] dimensions;
  private final int length;

  private Shape(int[] dimensions) {
    this.dimensions = dimensions;
    long product = 1;
    for (int dimension : dimensions) {
      requireArgument(dimension >= 0, "shape %s has a negative axis", this);
      product *= dimension;
      requireArgument(product <= LARGEST, "shape %s has more than %d elements", this, LARGEST);
    }
    this.length = (int) product;
  }

  /**
   * {@return the shape with these axes}
   *
   * @param dimensions sizes, outermost first
   * @throws IllegalArgumentException if an axis is negative or there are more elements than {@link
   *     #LARGEST}
   */
  public static Shape of(int... dimensions) {
    return new Shape(dimensions.clone());
  }

  /** {@return the number of axes} */
  public int rank() {
    return dimensions.length;
  }

  /** {@return the number of elements: the product of all axes} */
  public int length() {
    return length;
  }

  /**
   * {@return the size of one axis}
   *
   * @param axis from 0, or from the end: -1 is the last
   * @throws IllegalArgumentException if there is no such axis
   */
  public int size(int axis) {
    return dimensions[axis(axis)];
  }

  /**
   * {@return the axis counted from 0}
   *
   * @param axis from 0, or from the end: -1 is the last
   * @throws IllegalArgumentException if there is no such axis
   */
  public int axis(int axis) {
    int fromStart = axis < 0 ? axis + rank() : axis;
    requireArgument(fromStart >= 0 && fromStart < rank(), "shape %s has no axis %d", this, axis);
    return fromStart;
  }

  /** {@return all axes, a copy} */
  public int[] dimensions() {
    return dimensions.clone();
  }

  /**
   * {@return this shape with one axis replaced}
   *
   * @param axis from 0, or from the end: -1 is the last
   * @param size of that axis
   */
  public Shape with(int axis, int size) {
    int[] result = dimensions();
    result[axis(axis)] = size;
    return new Shape(result);
  }

  /**
   * {@return this shape with axes added in front, e.g. {@code [3]} becomes {@code [count, 3]}}
   *
   * @param outer sizes of the axes added, outermost first
   */
  public Shape prepend(int... outer) {
    int[] result = Arrays.copyOf(outer, outer.length + rank());
    System.arraycopy(dimensions, 0, result, outer.length, rank());
    return new Shape(result);
  }

  /**
   * {@return the axes from {@code from} (inclusive) to {@code to} (exclusive), counted from 0}
   *
   * @param from the first axis
   * @param to after the last axis
   */
  public Shape subShape(int from, int to) {
    requireArgument(
        from >= 0 && from <= to && to <= rank(), "shape %s has no axes %d to %d", this, from, to);
    return new Shape(Arrays.copyOfRange(dimensions, from, to));
  }

  /**
   * {@return whether the last axes are those of another shape}
   *
   * @param ending the last axes, outermost first
   */
  public boolean endsWith(Shape ending) {
    int outer = rank() - ending.rank();
    return outer >= 0
        && Arrays.equals(dimensions, outer, rank(), ending.dimensions, 0, ending.rank());
  }

  /**
   * {@return this shape with leading axes of size 1 until it has {@code rank} axes}
   *
   * @param rank at least that of this shape
   */
  public Shape padTo(int rank) {
    requireArgument(rank >= rank(), "shape %s has more than %d axes", this, rank);
    int[] ones = new int[rank - rank()];
    Arrays.fill(ones, 1);
    return prepend(ones);
  }

  /**
   * {@return the shape of an element-wise operation: axes are matched from the last; a missing
   * axis, or one of size 1, is repeated}
   *
   * @param other the other operand's shape
   * @throws IllegalArgumentException if two matched axes differ and neither is 1
   */
  public Shape broadcast(Shape other) {
    int rank = Math.max(rank(), other.rank());
    int[] result = new int[rank];
    for (int axis = 1; axis <= rank; axis++) {
      int left = axis <= rank() ? size(-axis) : 1;
      int right = axis <= other.rank() ? other.size(-axis) : 1;
      requireArgument(
          left == right || left == 1 || right == 1,
          "shapes %s and %s do not broadcast (%d and %d)",
          this,
          other,
          left,
          right);
      result[rank - axis] = left == 1 ? right : left;
    }
    return new Shape(result);
  }

  /** Distance between neighbours along each axis of a row-major tensor, in elements. */
  int[] strides() {
    int[] strides = new int[rank()];
    int stride = 1;
    for (int axis = rank() - 1; axis >= 0; axis--) {
      strides[axis] = stride;
      stride *= dimensions[axis];
    }
    return strides;
  }

  /** Strides as seen from a broadcast result of the given rank: 0 where repeated. */
  int[] broadcastStrides(int[] strides, int rank) {
    int[] result = new int[rank];
    for (int axis = 0; axis < rank(); axis++) {
      result[rank - rank() + axis] = dimensions[axis] == 1 ? 0 : strides[axis];
    }
    return result;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Shape shape && Arrays.equals(dimensions, shape.dimensions);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(dimensions);
  }

  @Override
  public String toString() {
    return Arrays.toString(dimensions);
  }
}
