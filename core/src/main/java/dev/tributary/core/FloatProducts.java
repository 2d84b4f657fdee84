package dev.tributary.core;

import dev.tributary.core.Rows.Matrix;

/** Which way a matrix product of {@code float} goes: {@link OneDnn}, turned round, or BLAS. */
final class FloatProducts {
  private FloatProducts() {}

  /**
   * Rows a multiple of a page apart meet in the same few sets of the caches: up to half the speed
   * of a product that reads them where they lie, which loses from a quarter of a page on.
   */
  static int rowStride(int columns) {
    int aliasing = OneDnn.READS_IN_PLACE ? PAGE / 4 : PAGE;
    return OneDnn.PRESENT && columns % aliasing == 0 ? columns + CACHE_LINE : columns;
  }

  private static final int PAGE = 4096 / Float.BYTES;

  private static final int CACHE_LINE = 64 / Float.BYTES;

  static int scratch(
      boolean xTransposed, boolean yTransposed, boolean accumulate, int m, int n, int k) {
    boolean turned =
        OneDnn.PRESENT
            && yTransposed
            && !xTransposed
            && !accumulate
            && m > FEW_ROWS
            && m < MANY_ROWS
            && (long) n * k > SMALL_MATRIX;
    return turned ? m * (k + n) : 0;
  }

  static void gemm(Matrix x, Matrix y, Matrix out, boolean accumulate, int m, int n, int k) {
    int scratch = scratch(x.transposed(), y.transposed(), accumulate, m, n, k);
    if (scratch > 0) {
      turned(x, y, out, scratch, m, n, k);
    } else if (OneDnn.PRESENT) {
      dnn(x, y, out, accumulate, m, n, k);
    } else {
      FloatRows.blas(x, y, out, accumulate, m, n, k);
    }
  }

  /** The other way round, out^T = y^T x^T: two small transpositions in place of a slow product. */
  private static void turned(Matrix x, Matrix y, Matrix out, int scratch, int m, int n, int k) {
    Device.Block turned = Cpu.INSTANCE.take(DType.FLOAT, scratch);
    try {
      Matrix right = new Matrix(Cpu.access(turned), 0, m, false);
      Matrix product = right.moved((long) m * k);
      FloatRows.INSTANCE.copy(x, right.transpose(), m, k);
      dnn(y.transpose(), right, product, false, n, m, k);
      FloatRows.INSTANCE.copy(product, out.transpose(), n, m);
    } finally {
      Cpu.INSTANCE.give(turned);
    }
  }

  private static void dnn(Matrix x, Matrix y, Matrix out, boolean accumulate, int m, int n, int k) {
    boolean inStrips = y.transposed() && OneDnn.READS_IN_PLACE && m > FEW_ROWS;
    int width = inStrips ? TRANSPOSED_COLUMNS : n;
    for (int column = 0; column < n; column += width) {
      OneDnn.sgemm(
          FloatRows.pointer(x),
          x.transposed(),
          x.stride(),
          FloatRows.pointer(y.from(0, column)),
          y.transposed(),
          y.stride(),
          FloatRows.pointer(out.from(0, column)),
          out.stride(),
          accumulate,
          m,
          Math.min(width, n - column),
          k);
    }
  }

  /** Of so many columns a transposed right side, read where it lies, stays in the caches. */
  private static final int TRANSPOSED_COLUMNS = 512;

  /** Up to this many rows oneDNN reads a transposed right side as fast as any other. */
  private static final int FEW_ROWS = 8;

  /** From this many rows on, what turning the right side round costs it is lost in the rest. */
  private static final int MANY_ROWS = 128;

  /** Up to this many elements, the right side stays in the second-level cache. */
  private static final int SMALL_MATRIX = 1 << 16;
}
