package dev.tributary.transformer.file;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;

/**
 * The numbers of base + scale · left · right, computed in DOUBLE a strip at a time, whatever the
 * base is. For one thread, while the scope of its tensors is open.
 */
final class LowRankSum implements Tensor.Source {
  /** Largest strip, elements. */
  private static final int STRIP = 1 << 16;

  /** Elements read at a time for their squares. */
  private static final int PIECE = 4096;

  private final Tensor base;
  private final Tensor left;
  private final Tensor right;
  private final double scale;
  private final int rows;
  private final int columns;

  /** The elements from {@code begin} on. */
  private double[] strip = new double[0];

  private int begin;

  /**
   * A sum.
   *
   * @param base [row, column]
   * @param left [row, rank], DOUBLE
   * @param right [rank, column], DOUBLE
   */
  LowRankSum(Tensor base, Tensor left, Tensor right, double scale) {
    this.base = base;
    this.left = left;
    this.right = right;
    this.scale = scale;
    this.rows = base.shape().size(0);
    this.columns = base.shape().size(1);
  }

  /** The sum, in the innermost open scope. */
  Tensor tensor(DType dtype) {
    return Tensor.generate(dtype, base.shape(), this);
  }

  /**
   * The sum with each row or column at a length of its own (Liu et al. 2024, "DoRA").
   *
   * @param axis 0 if lengths are of rows, 1 if of columns
   * @param lengths L2 norms, as many as the axis has elements
   */
  Tensor tensor(DType dtype, int axis, double... lengths) {
    double[] factors = new double[lengths.length];
    double[] values = new double[PIECE];
    for (int from = 0; from < base.shape().length(); from += PIECE) {
      int count = Math.min(PIECE, base.shape().length() - from);
      read(from, values, count);
      for (int i = 0; i < count; i++) {
        factors[along(axis, from + i)] += values[i] * values[i];
      }
    }
    for (int i = 0; i < factors.length; i++) {
      factors[i] = lengths[i] / Math.sqrt(factors[i]);
    }
    return Tensor.generate(
        dtype,
        base.shape(),
        (from, numbers, count) -> {
          read(from, numbers, count);
          for (int i = 0; i < count; i++) {
            numbers[i] *= factors[along(axis, from + i)];
          }
        });
  }

  private int along(int axis, int element) {
    return axis == 0 ? element / columns : element % columns;
  }

  @Override
  public void read(int from, double[] values, int count) {
    int done = 0;
    while (done < count) {
      int at = from + done;
      if (at < begin || at >= begin + strip.length) {
        load(at);
      }
      int length = Math.min(count - done, begin + strip.length - at);
      System.arraycopy(strip, at - begin, values, done, length);
      done += length;
    }
  }

  /** Whole rows, or of a long one a part. */
  private void load(int at) {
    int row = at / columns;
    boolean whole = columns <= STRIP;
    int height = whole ? Math.min(rows - row, STRIP / columns) : 1;
    int column = whole ? 0 : at % columns;
    int width = whole ? columns : Math.min(columns - column, STRIP);
    try (Scope scope = Scope.open()) {
      double[] sum = part(base.slice(0, row, row + height), column, width).toDoubles();
      double[] product =
          left.slice(0, row, row + height).matmul(part(right, column, width)).toDoubles();
      for (int i = 0; i < sum.length; i++) {
        sum[i] += scale * product[i];
      }
      strip = sum;
      begin = row * columns + column;
    }
  }

  private Tensor part(Tensor matrix, int column, int width) {
    return width == columns ? matrix : matrix.slice(1, column, column + width);
  }
}
