package dev.tributary.core;

import dev.tributary.core.Rows.Matrix;
import java.nio.FloatBuffer;

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
      Matrix product = right.moved(m * k);
      transpose(x, right, m, k);
      dnn(y.transpose(), right, product, false, n, m, k);
      transpose(product, out, n, m);
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

  /** Side of the squares that {@link #transpose} turns on the heap. */
  private static final int SQUARE = 64;

  private static final ThreadLocal<float[][]> SQUARES =
      ThreadLocal.withInitial(() -> new float[2][SQUARE * SQUARE]);

  /** Copies [rows, columns] to [columns, rows]. */
  private static void transpose(Matrix from, Matrix to, int rows, int columns) {
    FloatBuffer source = FloatRows.buffer(from.access());
    FloatBuffer target = FloatRows.buffer(to.access());
    float[] square = SQUARES.get()[0];
    float[] turned = SQUARES.get()[1];
    for (int row = 0; row < rows; row += SQUARE) {
      int height = Math.min(SQUARE, rows - row);
      for (int column = 0; column < columns; column += SQUARE) {
        int width = Math.min(SQUARE, columns - column);
        for (int i = 0; i < height; i++) {
          source.get(from.from(row + i, column).offset(), square, i * SQUARE, width);
        }
        turn(square, turned, height, width);
        for (int j = 0; j < width; j++) {
          target.put(to.from(column + j, row).offset(), turned, j * SQUARE, height);
        }
      }
    }
  }

  /**
   * In pieces of 4 by 4, which go through registers. Those at the edges take more along, which
   * nobody reads.
   */
  private static void turn(float[] square, float[] turned, int height, int width) {
    for (int row = 0; row < height; row += 4) {
      for (int column = 0; column < width; column += 4) {
        turn(square, row * SQUARE + column, turned, column * SQUARE + row);
      }
    }
  }

  private static void turn(float[] x, int from, float[] z, int to) {
    int row = from;
    float a0 = x[row];
    float a1 = x[row + 1];
    float a2 = x[row + 2];
    float a3 = x[row + 3];
    row += SQUARE;
    float b0 = x[row];
    float b1 = x[row + 1];
    float b2 = x[row + 2];
    float b3 = x[row + 3];
    row += SQUARE;
    float c0 = x[row];
    float c1 = x[row + 1];
    float c2 = x[row + 2];
    float c3 = x[row + 3];
    row += SQUARE;
    float d0 = x[row];
    float d1 = x[row + 1];
    float d2 = x[row + 2];
    float d3 = x[row + 3];
    row = to;
    z[row] = a0;
    z[row + 1] = b0;
    z[row + 2] = c0;
    z[row + 3] = d0;
    row += SQUARE;
    z[row] = a1;
    z[row + 1] = b1;
    z[row + 2] = c1;
    z[row + 3] = d1;
    row += SQUARE;
    z[row] = a2;
    z[row + 1] = b2;
    z[row + 2] = c2;
    z[row + 3] = d2;
    row += SQUARE;
    z[row] = a3;
    z[row + 1] = b3;
    z[row + 2] = c3;
    z[row + 3] = d3;
  }
}
