package dev.tributary.core;

import static dev.tributary.core.Checks.requireArgument;

import org.jspecify.annotations.Nullable;

/**
 * Matrices of one size, which are there or are products still to be made, for {@link Tensor#byRow}.
 * They live as long as what they are made of.
 */
public final class Products {
  private final Tensor left;
  private final @Nullable Tensor right;
  private final boolean transposed;
  private final Shape shape;

  private Products(Tensor left, @Nullable Tensor right, boolean transposed, int columns) {
    this.left = left;
    this.right = right;
    this.transposed = transposed;
    this.shape = left.shape().with(-1, columns);
  }

  /**
   * {@return matrices that are there}
   *
   * @param matrices [matrix, row, n]
   * @throws IllegalArgumentException if they do not have three axes
   */
  public static Products of(Tensor matrices) {
    requireArgument(matrices.shape().rank() == 3, "Products: %s are no matrices", matrices.shape());
    return new Products(matrices, null, false, matrices.shape().size(-1));
  }

  /**
   * {@return products of each matrix with another one}
   *
   * @param left [matrix, row, k]
   * @param right [matrix, k, n]
   * @throws IllegalArgumentException if they do not fit
   */
  public static Products of(Tensor left, Tensor right) {
    return of(left, right, false);
  }

  /**
   * {@return products of each matrix with the transpose of another one}
   *
   * @param left [matrix, row, k]
   * @param right [matrix, n, k]
   * @throws IllegalArgumentException if they do not fit
   */
  public static Products transposed(Tensor left, Tensor right) {
    return of(left, right, true);
  }

  private static Products of(Tensor left, Tensor right, boolean transposed) {
    Shape x = left.shape();
    Shape y = right.shape();
    requireArgument(
        x.rank() == 3
            && y.rank() == 3
            && x.size(0) == y.size(0)
            && x.size(2) == y.size(transposed ? 2 : 1)
            && left.dtype() == right.dtype(),
        "Products: left %s and right %s%s do not fit",
        left,
        right,
        transposed ? " transposed" : "");
    return new Products(left, right, transposed, y.size(transposed ? 1 : 2));
  }

  /** [matrix, row, n]. */
  Shape shape() {
    return shape;
  }

  /** The left sides, or the matrices themselves if there is no right side. */
  Tensor left() {
    return left;
  }

  @Nullable Tensor right() {
    return right;
  }

  boolean transposed() {
    return transposed;
  }
}
