package dev.tributary.core;

import dev.tributary.core.Rows.Matrix;

/** Matrix products of {@code double} all go to BLAS: oneDNN has none. */
final class DoubleProducts {
  private DoubleProducts() {}

  static int rowStride(int columns) {
    return columns;
  }

  static int scratch(
      boolean xTransposed, boolean yTransposed, boolean accumulate, int m, int n, int k) {
    return 0;
  }

  static void gemm(Matrix x, Matrix y, Matrix out, boolean accumulate, int m, int n, int k) {
    DoubleRows.blas(x, y, out, accumulate, m, n, k);
  }
}
