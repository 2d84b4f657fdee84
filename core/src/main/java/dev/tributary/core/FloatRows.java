package dev.tributary.core;

import static org.bytedeco.openblas.global.openblas_nolapack.CblasNoTrans;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasRowMajor;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasTrans;
import static org.bytedeco.openblas.global.openblas_nolapack.cblas_sgemm;
import static org.bytedeco.openblas.global.openblas_nolapack.cblas_sgemv;

import dev.tributary.core.Kernels.Binary;
import dev.tributary.core.Kernels.Unary;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.Arrays;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;

/** {@link Rows} of {@code float}. */
final class FloatRows implements Rows<float[]> {
  static final FloatRows INSTANCE = new FloatRows();

  private record View(FloatBuffer buffer, FloatPointer pointer) implements Access {
    FloatPointer at(int offset) {
      return new FloatPointer(pointer).position(offset);
    }
  }

  private FloatRows() {}

  @Override
  public Access access(Pointer pointer, int start, int elements) {
    FloatPointer from = pointer.getPointer(FloatPointer.class, start);
    from.capacity(elements);
    return new View(from.asByteBuffer().order(ByteOrder.nativeOrder()).asFloatBuffer(), from);
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
  public void read(Access from, int offset, float[] to, int start, int n) {
    view(from).buffer.get(offset, to, start, n);
  }

  @Override
  public void write(float[] from, int start, int n, Access to, int offset) {
    view(to).buffer.put(offset, from, start, n);
  }

  @Override
  public void copy(Access from, int fromOffset, Access to, int toOffset, int n) {
    if (n == 1) {
      view(to).buffer.put(toOffset, view(from).buffer.get(fromOffset));
    } else {
      view(to).buffer.put(toOffset, view(from).buffer, fromOffset, n);
    }
  }

  @Override
  public double get(Access from, int offset) {
    return view(from).buffer.get(offset);
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
      case EXP -> exp(x, z, n);
      case LOG -> log(x, z, n);
      case TANH -> tanh(x, z, n);
      case RELU -> relu(x, z, n);
      case POSITIVE -> positive(x, z, n);
      case GELU -> {
        geluExponential(x, z, n);
        geluFromExponential(x, z, n);
      }
      case GELU_DERIVATIVE -> {
        geluExponential(x, z, n);
        geluDerivativeFromExponential(x, z, z, n);
      }
      case EXACT_GELU -> {
        tailExponential(x, z, n);
        tailFromExponential(x, z, n);
        exactGeluFromTail(x, z, n);
      }
      case EXACT_GELU_DERIVATIVE -> unaryWithDerivative(Unary.EXACT_GELU, x, new float[n], z, n);
    }
  }

  @Override
  public void unaryWithDerivative(Unary function, float[] x, float[] z, float[] slope, int n) {
    if (function == Unary.GELU) {
      geluExponential(x, z, n);
      geluDerivativeFromExponential(x, z, slope, n);
      geluFromExponential(x, z, n);
    } else {
      tailExponential(x, z, n);
      System.arraycopy(z, 0, slope, 0, n);
      tailFromExponential(x, z, n);
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

  private static void tanh(float[] x, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = (float) Math.tanh(x[i]);
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

  private static void times(float[] x, float[] y, float[] z, int n) {
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

  /** Beyond these, e^x is 0 or infinite in 32 bits. */
  private static final float EXP_LOWEST = -104f;

  private static final float EXP_HIGHEST = 89f;

  /** Where k is -127, which as an exponent means 0. */
  private static final float NORMAL_EXP_LOWEST = -88f;

  /** 1.5 x 2^23: adding it rounds to a whole number and leaves that in the low bits. */
  private static final float ROUNDER = 12582912f;

  private static final int ROUNDER_BITS = Float.floatToRawIntBits(ROUNDER);

  /** Of the exponent of a float. */
  private static final int BIAS = 127;

  /**
   * e^x with a relative error below 1e-7: x = k ln 2 + r, a polynomial in r (Cephes expf), times
   * 2^k in two halves, so that results near either end of the range are right.
   */
  private static void exp(float[] x, float[] z, int n) {
    Powers powers = Powers.ofThisThread(n);
    expReduced(x, z, powers.exponent, ROUNDER, n);
    powers.inHalves(n);
    times(z, powers.first, z, n);
    times(z, powers.second, z, n);
  }

  /**
   * The same with 2^k in one piece, which has no bits for k below -126: what is smaller than a
   * normal number is 0, and e^x is infinite from x = 88.4 on.
   */
  private static void expOfNormal(float[] x, float[] z, int n) {
    Powers powers = Powers.ofThisThread(n);
    expReduced(x, z, powers.exponent, ROUNDER + BIAS, n);
    powers.whole(n);
    times(z, powers.first, z, n);
  }

  @Override
  public void expOfNonPositive(float[] x, float[] z, int n) {
    expOfNormal(x, z, n);
  }

  /**
   * 2^k in two factors. The bits of a float[] are had as an int[] by way of memory outside the
   * heap: a loop over {@link Float#floatToRawIntBits} does not vectorise.
   */
  private static final class Powers {
    private static final ThreadLocal<Powers> LAST = ThreadLocal.withInitial(() -> new Powers(0));

    /** k and what it was rounded with. */
    private final float[] exponent;

    private final float[] first;
    private final float[] second;
    private final int[] bits;
    private final int[] firstBits;
    private final int[] secondBits;
    private final FloatBuffer floats;
    private final IntBuffer ints;

    private Powers(int n) {
      exponent = new float[n];
      first = new float[n];
      second = new float[n];
      bits = new int[n];
      firstBits = new int[n];
      secondBits = new int[n];
      ByteBuffer memory = ByteBuffer.allocateDirect(n * Float.BYTES).order(ByteOrder.nativeOrder());
      floats = memory.asFloatBuffer();
      ints = memory.asIntBuffer();
    }

    static Powers ofThisThread(int n) {
      Powers powers = LAST.get();
      if (powers.exponent.length < n) {
        powers = new Powers(n);
        LAST.set(powers);
      }
      return powers;
    }

    /** With k + {@link #ROUNDER} + {@link #BIAS}, whose low bits are the exponent of 2^k. */
    void whole(int n) {
      floats.put(0, exponent, 0, n);
      ints.get(0, bits, 0, n);
      shift(bits, n);
      ints.put(0, bits, 0, n);
      floats.get(0, first, 0, n);
    }

    private static void shift(int[] bits, int n) {
      for (int i = 0; i < n; i++) {
        bits[i] <<= 23;
      }
    }

    /** With k + {@link #ROUNDER}. */
    void inHalves(int n) {
      floats.put(0, exponent, 0, n);
      ints.get(0, bits, 0, n);
      halves(bits, firstBits, secondBits, n);
      ints.put(0, firstBits, 0, n);
      floats.get(0, first, 0, n);
      ints.put(0, secondBits, 0, n);
      floats.get(0, second, 0, n);
    }

    private static void halves(int[] bits, int[] first, int[] second, int n) {
      for (int i = 0; i < n; i++) {
        int k = bits[i] - ROUNDER_BITS;
        int half = k >> 1;
        first[i] = (half + BIAS) << 23;
        second[i] = (k - half + BIAS) << 23;
      }
    }
  }

  @SuppressWarnings("FloatingPointLiteralPrecision") // constants as published
  private static void expReduced(float[] x, float[] z, float[] exponent, float rounder, int n) {
    float lowest = rounder == ROUNDER ? EXP_LOWEST : NORMAL_EXP_LOWEST;
    for (int i = 0; i < n; i++) {
      float v = Math.max(lowest, Math.min(EXP_HIGHEST, x[i]));
      float k = v * 1.44269504f + rounder;
      exponent[i] = k;
      k -= rounder;
      float r = v - k * 0.693359375f + k * 2.12194440e-4f;
      float p = 1.9875691500e-4f * r + 1.3981999507e-3f;
      p = p * r + 8.3334519073e-3f;
      p = p * r + 4.1665795894e-2f;
      p = p * r + 1.6666665459e-1f;
      p = p * r + 5.0000001201e-1f;
      z[i] = p * (r * r) + r + 1;
    }
  }

  private static final float GELU_LINEAR = (float) (-2 * Math.sqrt(2 / Math.PI));
  private static final float GELU_CUBIC = (float) (0.044715 * -2 * Math.sqrt(2 / Math.PI));

  private static void geluExponential(float[] x, float[] z, int n) {
    geluExponent(x, z, n);
    expOfNormal(z, z, n);
  }

  private static void geluExponent(float[] x, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] * (GELU_LINEAR + GELU_CUBIC * (x[i] * x[i]));
    }
  }

  private static void geluFromExponential(float[] x, float[] z, int n) {
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

  /** Beyond this, the normal distribution has nothing left in 32 bits. */
  private static final float TAIL_END = 15f;

  /** Adding and subtracting it leaves few enough bits for an exact square. */
  private static final float SQUARE_ROUNDER = 49152f;

  private static final float NORMAL_DENSITY = (float) (1 / Math.sqrt(2 * Math.PI));

  /** e^(-a²/2) with a = |x|. */
  private static void tailExponential(float[] x, float[] z, int n) {
    tailExponent(x, z, n);
    expOfNormal(z, z, n);
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
      z[i] *= 1 - d * (1 - d * (0.5f - d * (0.16666667f - d * 0.041666668f)));
    }
  }

  /**
   * From e^(-a²/2) to the tail of the normal distribution beyond a, relative error 3e-7: their
   * quotient times 1 + a is a polynomial in (a - 3) / (a + 3), Chebyshev's of degree 10, error
   * 1.4e-8.
   */
  private static void tailFromExponential(float[] x, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      float a = Math.min(Math.abs(x[i]), TAIL_END);
      float t = (a - 3) / (a + 3);
      float p = 5.9719056e-05f * t + 3.5775105e-05f;
      p = p * t - 0.00047400672f;
      p = p * t - 0.0003653922f;
      p = p * t + 0.0029866972f;
      p = p * t + 0.0011640537f;
      p = p * t - 0.022724451f;
      p = p * t + 0.04516344f;
      p = p * t - 0.016432611f;
      p = p * t - 0.09652674f;
      p = p * t + 0.4860558f;
      z[i] = z[i] * p / (1 + a);
    }
  }

  private static void exactGeluFromTail(float[] x, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = Math.max(x[i], 0f) - Math.min(Math.abs(x[i]), TAIL_END) * z[i];
    }
  }

  /** From e^(-a²/2) and the tail Q(a): Q(a) - a density(a), or 1 less that where x > 0. */
  private static void exactGeluDerivativeFromTail(float[] x, float[] tail, float[] z, int n) {
    for (int i = 0; i < n; i++) {
      float a = Math.min(Math.abs(x[i]), TAIL_END);
      float s = tail[i] - a * (NORMAL_DENSITY * z[i]);
      z[i] = x[i] > 0 ? 1 - s : s;
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

  /**
   * Rows a multiple of a page apart meet in the same few sets of the caches: up to half the speed
   * of a product that reads them where they lie, which loses from a quarter of a page on.
   */
  @Override
  public int rowStride(int columns) {
    int aliasing = OneDnn.READS_IN_PLACE ? PAGE / 4 : PAGE;
    return OneDnn.PRESENT && columns % aliasing == 0 ? columns + CACHE_LINE : columns;
  }

  private static final int PAGE = 4096 / Float.BYTES;

  private static final int CACHE_LINE = 64 / Float.BYTES;

  @Override
  public int scratch(
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

  @Override
  public void gemm(Matrix x, Matrix y, Matrix out, boolean accumulate, int m, int n, int k) {
    int scratch = scratch(x.transposed(), y.transposed(), accumulate, m, n, k);
    if (scratch > 0) {
      turned(x, y, out, scratch, m, n, k);
    } else if (OneDnn.PRESENT) {
      dnn(x, y, out, accumulate, m, n, k);
    } else {
      blas(x, y, out, accumulate, m, n, k);
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
          pointer(x),
          x.transposed(),
          x.stride(),
          pointer(y.from(0, column)),
          y.transposed(),
          y.stride(),
          pointer(out.from(0, column)),
          out.stride(),
          accumulate,
          m,
          Math.min(width, n - column),
          k);
    }
  }

  /** Of so many columns a transposed right side, read where it lies, stays in the caches. */
  private static final int TRANSPOSED_COLUMNS = 512;

  private static FloatPointer pointer(Matrix x) {
    return view(x.access()).at(x.offset());
  }

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
    FloatBuffer source = view(from.access()).buffer;
    FloatBuffer target = view(to.access()).buffer;
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

  /** Up to this many rows, BLAS is faster with one matrix-vector product each. */
  private static final int VECTORS = 4;

  /** The same on machines without oneDNN. */
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
