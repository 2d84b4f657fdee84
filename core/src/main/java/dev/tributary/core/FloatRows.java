package dev.tributary.core;

import static dev.tributary.core.FloatNumerics.SQUARE_ROUNDER;
import static dev.tributary.core.FloatNumerics.TAIL_END;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasNoTrans;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasRowMajor;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasTrans;
import static org.bytedeco.openblas.global.openblas_nolapack.cblas_sgemm;
import static org.bytedeco.openblas.global.openblas_nolapack.cblas_sgemv;

import dev.tributary.core.Kernels.Binary;
import dev.tributary.core.Kernels.Unary;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Arrays;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;

/**
 * {@link Rows} of {@code float}. There is one text for both types: the build writes that of {@code
 * double} from it (core/pom.xml). What differs is in {@link FloatNumerics} and {@link
 * FloatProducts}.
 */
@SuppressWarnings("cast") // of a double to double
final class FloatRows implements Rows<float[]> {
  static final FloatRows INSTANCE = new FloatRows();

  /**
   * A buffer holds fewer than 2^31 bytes, so there are several: one begins every {@link #STEP}
   * elements and holds twice as many, so that whatever is shorter than a step lies in one of them.
   */
  private static final class View implements Access {
    private final FloatBuffer[] buffers;
    private final FloatPointer pointer;

    View(FloatBuffer[] buffers, FloatPointer pointer) {
      this.buffers = buffers;
      this.pointer = pointer;
    }

    FloatPointer at(long offset) {
      return new FloatPointer(pointer).position(offset);
    }

    /** The buffer in which the elements from {@code offset} on lie, at {@link #index}. */
    FloatBuffer buffer(long offset) {
      return buffers[(int) (offset >>> STEP_BITS)];
    }

    static int index(long offset) {
      return (int) offset & (STEP - 1);
    }

    float get(long offset) {
      return buffer(offset).get(index(offset));
    }
  }

  private static final int STEP_BITS = 26;

  private static final int STEP = 1 << STEP_BITS;

  private FloatRows() {}

  @Override
  public Access access(Pointer pointer, int start, long elements) {
    FloatPointer from = pointer.getPointer(FloatPointer.class, start);
    from.capacity(elements);
    FloatBuffer[] buffers = new FloatBuffer[1 + (int) (elements >>> STEP_BITS)];
    for (int i = 0; i < buffers.length; i++) {
      long first = (long) i << STEP_BITS;
      FloatPointer part = from.getPointer(FloatPointer.class, first);
      part.capacity(Math.min(2L * STEP, elements - first));
      buffers[i] = part.asByteBuffer().order(ByteOrder.nativeOrder()).asFloatBuffer();
    }
    return new View(buffers, from);
  }

  private static View view(Access access) {
    return (View) access;
  }

  @Override
  public float[] array(int n) {
    return new float[n];
  }

  @Override
  public int length(float[] x) {
    return x.length;
  }

  @Override
  public void read(Access from, long offset, float[] to, int start, int n) {
    view(from).buffer(offset).get(View.index(offset), to, start, n);
  }

  @Override
  public void readStrided(Access from, long offset, int stride, float[] to, int n) {
    View view = view(from);
    for (int i = 0; i < n; i++) {
      to[i] = view.get(offset + (long) i * stride);
    }
  }

  @Override
  public void readEach(
      Access from, long offset, long stride, int[] indices, int start, float[] to, int n) {
    View view = view(from);
    for (int i = 0; i < n; i++) {
      to[i] = view.get(offset + indices[start + i] * stride);
    }
  }

  @Override
  public void pick(float[] from, int[] indices, int start, float[] to, int n) {
    for (int i = 0; i < n; i++) {
      to[i] = from[indices[start + i]];
    }
  }

  @Override
  public void write(float[] from, int start, int n, Access to, long offset) {
    view(to).buffer(offset).put(View.index(offset), from, start, n);
  }

  @Override
  public void copy(Access from, long fromOffset, Access to, long toOffset, int n) {
    for (int done = 0; done < n; done += STEP) {
      long source = fromOffset + done;
      long target = toOffset + done;
      FloatBuffer buffer = view(to).buffer(target);
      if (n == 1) {
        buffer.put(View.index(target), view(from).get(source));
      } else {
        buffer.put(
            View.index(target),
            view(from).buffer(source),
            View.index(source),
            Math.min(STEP, n - done));
      }
    }
  }

  /** Side of the squares that {@link #turn} turns on the heap. */
  private static final int SQUARE = 64;

  private static final ThreadLocal<float[][]> SQUARES =
      ThreadLocal.withInitial(() -> new float[2][SQUARE * SQUARE]);

  @Override
  public void copy(Matrix from, Matrix to, int rows, int columns) {
    if (from.transposed()) {
      copy(from.transpose(), to.transpose(), columns, rows);
    } else if (to.transposed()) {
      transpose(from, to.transpose(), rows, columns);
    } else {
      for (int row = 0; row < rows; row++) {
        long source = from.from(row, 0).offset();
        copy(from.access(), source, to.access(), to.from(row, 0).offset(), columns);
      }
    }
  }

  /** To [columns, rows]. */
  private void transpose(Matrix from, Matrix to, int rows, int columns) {
    float[] square = SQUARES.get()[0];
    float[] turned = SQUARES.get()[1];
    for (int row = 0; row < rows; row += SQUARE) {
      int height = Math.min(SQUARE, rows - row);
      for (int column = 0; column < columns; column += SQUARE) {
        int width = Math.min(SQUARE, columns - column);
        for (int i = 0; i < height; i++) {
          read(from.access(), from.from(row + i, column).offset(), square, i * SQUARE, width);
        }
        turn(square, turned, height, width);
        for (int j = 0; j < width; j++) {
          write(turned, j * SQUARE, height, to.access(), to.from(column + j, row).offset());
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

  @Override
  public double get(Access from, long offset) {
    return view(from).get(offset);
  }

  @Override
  public double get(float[] x, int i) {
    return x[i];
  }

  @Override
  public void set(float[] x, int i, double value) {
    x[i] = (float) value;
  }

  @Override
  public void fill(float[] x, double value, int n) {
    Arrays.fill(x, 0, n, (float) value);
  }

  @Override
  public void unary(Unary function, float[] x, float[] z, int n) {
    switch (function) {
      case NEGATE -> negate(x, z, n);
      case SQUARE -> times(x, x, z, n);
      case SQRT -> sqrt(x, z, n);
      case EXP -> FloatNumerics.exp(x, z, n);
      case LOG -> log(x, z, n);
      case TANH -> FloatNumerics.tanh(x, z, n);
      case RELU -> relu(x, z, n);
      case POSITIVE -> positive(x, z, n);
      case GELU -> {
        geluExponential(x, z, n);
        overOnePlus(x, z, n);
      }
      case GELU_DERIVATIVE -> {
        geluExponential(x, z, n);
        geluDerivativeFromExponential(x, z, z, n);
      }
      case EXACT_GELU -> {
        tailExponential(x, z, n);
        FloatNumerics.tailFromExponential(x, z, n);
        exactGeluFromTail(x, z, n);
      }
      case EXACT_GELU_DERIVATIVE -> unaryWithDerivative(Unary.EXACT_GELU, x, new float[n], z, n);
      case SILU -> {
        siluExponential(x, z, n);
        overOnePlus(x, z, n);
      }
      case SILU_DERIVATIVE -> {
        siluExponential(x, z, n);
        siluDerivativeFromExponential(x, z, z, n);
      }
    }
  }

  @Override
  public void unaryWithDerivative(Unary function, float[] x, float[] z, float[] slope, int n) {
    if (function == Unary.GELU) {
      geluExponential(x, z, n);
      geluDerivativeFromExponential(x, z, slope, n);
      overOnePlus(x, z, n);
    } else if (function == Unary.SILU) {
      siluExponential(x, z, n);
      siluDerivativeFromExponential(x, z, slope, n);
      overOnePlus(x, z, n);
    } else if (function == Unary.RELU) {
      relu(x, z, n);
      positive(x, slope, n);
    } else {
      tailExponential(x, z, n);
      System.arraycopy(z, 0, slope, 0, n);
      FloatNumerics.tailFromExponential(x, z, n);
      exactGeluDerivativeFromTail(x, z, slope, n);
      exactGeluFromTail(x, z, n);
    }
  }

  @Override
  public void binary(Binary function, float[] x, float[] y, float[] z, int n) {
    switch (function) {
      case PLUS -> plus(x, y, z, n);
      case MINUS -> minus(x, y, z, n);
      case TIMES -> times(x, y, z, n);
      case OVER -> over(x, y, z, n);
    }
  }

  @Override
  public void binary(Binary function, float[] x, double y, float[] z, int n) {
    switch (function) {
      case PLUS -> plus(x, (float) y, z, n);
      case MINUS -> plus(x, (float) -y, z, n);
      case TIMES -> times(x, (float) y, z, n);
      case OVER -> over(x, (float) y, z, n);
    }
  }

  @Override
  public void binary(Binary function, double x, float[] y, float[] z, int n) {
    switch (function) {
      case PLUS -> plus(y, (float) x, z, n);
      case MINUS -> minus((float) x, y, z, n);
      case TIMES -> times(y, (float) x, z, n);
      case OVER -> over((float) x, y, z, n);
    }
  }

  private static void negate(float[] x, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = -x[i];
    }
  }

  private static void sqrt(float[] x, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = (float) Math.sqrt(x[i]);
    }
  }

  private static void log(float[] x, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = (float) Math.log(x[i]);
    }
  }

  private static void relu(float[] x, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = Math.max(x[i], 0f);
    }
  }

  private static void positive(float[] x, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] > 0 ? 1 : 0;
    }
  }

  private static void plus(float[] x, float[] y, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] + y[i];
    }
  }

  private static void minus(float[] x, float[] y, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] - y[i];
    }
  }

  static void times(float[] x, float[] y, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] * y[i];
    }
  }

  private static void over(float[] x, float[] y, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] / y[i];
    }
  }

  private static void plus(float[] x, float y, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] + y;
    }
  }

  private static void minus(float x, float[] y, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x - y[i];
    }
  }

  private static void times(float[] x, float y, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] * y;
    }
  }

  private static void over(float[] x, float y, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] / y;
    }
  }

  private static void over(float x, float[] y, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x / y[i];
    }
  }

  @Override
  public void sumOfProducts(
      float[] x, float[] a, double factor, float[] y, float[] b, float[] z, int n) {
    addProducts(x, a, (float) factor, y, b, z, n);
  }

  private static void addProducts(
      float[] x, float[] a, float factor, float[] y, float[] b, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] * a[i] + factor * y[i] * b[i];
    }
  }

  @Override
  public void split(
      float[] x, int from, int blocks, int size, float[] first, float[] second, int to) {
    for (int block = 0; block < blocks; block++) {
      if (size == 1) {
        first[to + block] = x[from + 2 * block];
        second[to + block] = x[from + 2 * block + 1];
      } else {
        System.arraycopy(x, from + 2 * block * size, first, to + block * size, size);
        System.arraycopy(x, from + (2 * block + 1) * size, second, to + block * size, size);
      }
    }
  }

  @Override
  public void join(
      float[] first, float[] second, int from, int blocks, int size, float[] x, int to) {
    for (int block = 0; block < blocks; block++) {
      if (size == 1) {
        x[to + 2 * block] = first[from + block];
        x[to + 2 * block + 1] = second[from + block];
      } else {
        System.arraycopy(first, from + block * size, x, to + 2 * block * size, size);
        System.arraycopy(second, from + block * size, x, to + (2 * block + 1) * size, size);
      }
    }
  }

  @Override
  public void expOfNonPositive(float[] x, float[] z, int n) {
    FloatNumerics.expOfNormal(x, z, n);
  }

  private static final float GELU_LINEAR = (float) (-2 * Math.sqrt(2 / Math.PI));
  private static final float GELU_CUBIC = (float) (0.044715 * -2 * Math.sqrt(2 / Math.PI));

  private static void geluExponential(float[] x, float[] z, int n) {
    geluExponent(x, z, n);
    FloatNumerics.expOfNormal(z, z, n);
  }

  private static void geluExponent(float[] x, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] * (GELU_LINEAR + GELU_CUBIC * (x[i] * x[i]));
    }
  }

  /** GELU or SiLU from its exponential. */
  private static void overOnePlus(float[] x, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] / (1 + z[i]);
    }
  }

  /**
   * With z = e^-2y: s = 1 / (1 + z) and 1 - s = s z, which does not cancel. The bounds, where the
   * derivative is 0 or 1, keep infinity away from 0.
   */
  private static void geluDerivativeFromExponential(float[] x, float[] z, float[] slope, int n) {
    for (int i = 0; i < n; i++) {
      float s = 1 / (1 + z[i]);
      float rest = s * Math.min(z[i], Float.MAX_VALUE);
      float square = Math.min(x[i] * x[i], 1e6f);
      slope[i] = s - x[i] * s * rest * (GELU_LINEAR + 3 * GELU_CUBIC * square);
    }
  }

  private static void siluExponential(float[] x, float[] z, int n) {
    negate(x, z, n);
    FloatNumerics.expOfNormal(z, z, n);
  }

  /** As of GELU, whose exponent is not -x. */
  private static void siluDerivativeFromExponential(float[] x, float[] z, float[] slope, int n) {
    for (int i = 0; i < n; i++) {
      float s = 1 / (1 + z[i]);
      float rest = s * Math.min(z[i], Float.MAX_VALUE);
      slope[i] = s + x[i] * s * rest;
    }
  }

  private static final float NORMAL_DENSITY = (float) (1 / Math.sqrt(2 * Math.PI));

  /** e^(-a²/2) with a = |x|. */
  private static void tailExponential(float[] x, float[] z, int n) {
    tailExponent(x, z, n);
    FloatNumerics.expOfNormal(z, z, n);
    tailRest(x, z, n);
  }

  /**
   * -a²/2 with a = |x|, less what rounding a leaves over. An error of the exponent would be one of
   * e^(-a²/2) relative to it.
   */
  private static void tailExponent(float[] x, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      float rounded = (Math.min(Math.abs(x[i]), TAIL_END) + SQUARE_ROUNDER) - SQUARE_ROUNDER;
      z[i] = -0.5f * rounded * rounded;
    }
  }

  /** The rest of e^(-a²/2), as a factor near 1. */
  private static void tailRest(float[] x, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      float a = Math.min(Math.abs(x[i]), TAIL_END);
      float rounded = (a + SQUARE_ROUNDER) - SQUARE_ROUNDER;
      float d = 0.5f * (a - rounded) * (a + rounded);
      z[i] *= 1 - d * (1 - d * (0.5f - d * (1 / 6f - d * (1 / 24f))));
    }
  }

  private static void exactGeluFromTail(float[] x, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = Math.max(x[i], 0f) - Math.min(Math.abs(x[i]), TAIL_END) * z[i];
    }
  }

  /**
   * From e^(-a²/2) and the tail Q(a): Q(a) - a density(a), or 1 less that where x > 0. Not chosen
   * by a condition, with which the loop does not vectorise.
   */
  private static void exactGeluDerivativeFromTail(float[] x, float[] tail, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      float a = Math.min(Math.abs(x[i]), TAIL_END);
      float s = tail[i] - a * (NORMAL_DENSITY * z[i]);
      float positive = Math.max(0f, Math.min(1f, x[i] * Float.MAX_VALUE));
      z[i] = positive + (1 - 2 * positive) * s;
    }
  }

  @Override
  public double sum(float[] x, int from, int to) {
    double a = 0;
    double b = 0;
    double c = 0;
    double d = 0;
    double e = 0;
    double f = 0;
    double g = 0;
    double h = 0;
    int i = from;
    for (; i + 8 <= to; i += 8) {
      a += x[i];
      b += x[i + 1];
      c += x[i + 2];
      d += x[i + 3];
      e += x[i + 4];
      f += x[i + 5];
      g += x[i + 6];
      h += x[i + 7];
    }
    for (; i < to; i++) {
      a += x[i];
    }
    return ((a + b) + (c + d)) + ((e + f) + (g + h));
  }

  @Override
  public double dot(float[] x, float[] y, int n) {
    float a = 0;
    float b = 0;
    float c = 0;
    float d = 0;
    float e = 0;
    float f = 0;
    float g = 0;
    float h = 0;
    int i = 0;
    for (; i + 8 <= n; i += 8) {
      a += x[i] * y[i];
      b += x[i + 1] * y[i + 1];
      c += x[i + 2] * y[i + 2];
      d += x[i + 3] * y[i + 3];
      e += x[i + 4] * y[i + 4];
      f += x[i + 5] * y[i + 5];
      g += x[i + 6] * y[i + 6];
      h += x[i + 7] * y[i + 7];
    }
    for (; i < n; i++) {
      a += x[i] * y[i];
    }
    return ((a + b) + (c + d)) + ((e + f) + (g + h));
  }

  @Override
  public void magnitudesPlus(float[] x, double factor, float[] y, float[] z, int n) {
    float times = (float) factor;
    for (int i = 0; i < n; i++) {
      z[i] = Math.abs(x[i]) + times * y[i];
    }
  }

  @Override
  public double max(float[] x, int from, int to) {
    float a = Float.NEGATIVE_INFINITY;
    float b = a;
    float c = a;
    float d = a;
    int i = from;
    for (; i + 4 <= to; i += 4) {
      a = Math.max(a, x[i]);
      b = Math.max(b, x[i + 1]);
      c = Math.max(c, x[i + 2]);
      d = Math.max(d, x[i + 3]);
    }
    for (; i < to; i++) {
      a = Math.max(a, x[i]);
    }
    return Math.max(Math.max(a, b), Math.max(c, d));
  }

  @Override
  public void subtract(float[] x, double y, int from, int to) {
    float subtrahend = (float) y;
    for (int i = from; i < to; i++) {
      x[i] -= subtrahend;
    }
  }

  @Override
  public void rescale(float[] x, double scale, float[] gain, float[] bias, int n) {
    rescaleBy(x, (float) (1 / scale), gain, bias, n);
  }

  private static void rescaleBy(float[] x, float factor, float[] gain, float[] bias, int n) {
    for (int i = 0; i < n; i++) {
      x[i] = x[i] * factor * gain[i] + bias[i];
    }
  }

  @Override
  public void scale(float[] x, double y, int from, int to) {
    float factor = (float) y;
    for (int i = from; i < to; i++) {
      x[i] *= factor;
    }
  }

  @Override
  public int rowStride(int columns) {
    return FloatProducts.rowStride(columns);
  }

  @Override
  public int scratch(
      boolean xTransposed, boolean yTransposed, boolean accumulate, int m, int n, int k) {
    return FloatProducts.scratch(xTransposed, yTransposed, accumulate, m, n, k);
  }

  @Override
  public void gemm(Matrix x, Matrix y, Matrix out, boolean accumulate, int m, int n, int k) {
    FloatProducts.gemm(x, y, out, accumulate, m, n, k);
  }

  static FloatPointer pointer(Matrix x) {
    return view(x.access()).at(x.offset());
  }

  /** Up to this many rows, BLAS is faster with one matrix-vector product each. */
  private static final int VECTORS = 4;

  /** A product by BLAS, on the thread that calls. */
  static void blas(Matrix x, Matrix y, Matrix out, boolean accumulate, int m, int n, int k) {
    float beta = accumulate ? 1 : 0;
    FloatPointer a = pointer(x);
    FloatPointer b = pointer(y);
    FloatPointer c = pointer(out);
    if (n == 1) {
      int rows = x.transposed() ? k : m;
      int columns = x.transposed() ? m : k;
      int transpose = x.transposed() ? CblasTrans : CblasNoTrans;
      int step = y.transposed() ? 1 : y.stride();
      cblas_sgemv(
          CblasRowMajor,
          transpose,
          rows,
          columns,
          1,
          a,
          x.stride(),
          b,
          step,
          beta,
          c,
          out.stride());
    } else if (m == 1 || (m <= VECTORS && !x.transposed())) {
      int rows = y.transposed() ? n : k;
      int columns = y.transposed() ? k : n;
      int transpose = y.transposed() ? CblasNoTrans : CblasTrans;
      int step = x.transposed() ? x.stride() : 1;
      for (int row = 0; row < m; row++) {
        a.position(x.offset() + (long) row * x.stride());
        c.position(out.offset() + (long) row * out.stride());
        cblas_sgemv(CblasRowMajor, transpose, rows, columns, 1, b, y.stride(), a, step, beta, c, 1);
      }
    } else {
      cblas_sgemm(
          CblasRowMajor,
          x.transposed() ? CblasTrans : CblasNoTrans,
          y.transposed() ? CblasTrans : CblasNoTrans,
          m,
          n,
          k,
          1,
          a,
          x.stride(),
          b,
          y.stride(),
          beta,
          c,
          out.stride());
    }
  }
}
