package dev.tributary.core;

import static org.bytedeco.openblas.global.openblas_nolapack.CblasNoTrans;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasRowMajor;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasTrans;
import static org.bytedeco.openblas.global.openblas_nolapack.cblas_dgemm;
import static org.bytedeco.openblas.global.openblas_nolapack.cblas_dgemv;

import dev.tributary.core.Kernels.Binary;
import dev.tributary.core.Kernels.Unary;
import java.nio.ByteOrder;
import java.nio.DoubleBuffer;
import java.util.Arrays;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.Pointer;

/** {@link Rows} of {@code double}. */
final class DoubleRows implements Rows<double[]> {
  static final DoubleRows INSTANCE = new DoubleRows();

  private record View(DoubleBuffer buffer, DoublePointer pointer) implements Access {
    DoublePointer at(int offset) {
      return new DoublePointer(pointer).position(offset);
    }
  }

  private DoubleRows() {}

  @Override
  public Access access(Pointer pointer, int start, int elements) {
    DoublePointer from = pointer.getPointer(DoublePointer.class, start);
    from.capacity(elements);
    return new View(from.asByteBuffer().order(ByteOrder.nativeOrder()).asDoubleBuffer(), from);
  }

  private static View view(Access access) {
    return (View) access;
  }

  @Override
  public double[] array(int n) {
    return new double[n];
  }

  @Override
  public int length(double[] x) {
    return x.length;
  }

  @Override
  public void read(Access from, int offset, double[] to, int start, int n) {
    view(from).buffer.get(offset, to, start, n);
  }

  @Override
  public void write(double[] from, int start, int n, Access to, int offset) {
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
  public double get(double[] x, int i) {
    return x[i];
  }

  @Override
  public void set(double[] x, int i, double value) {
    x[i] = value;
  }

  @Override
  public void fill(double[] x, double value, int n) {
    Arrays.fill(x, 0, n, value);
  }

  @Override
  public void unary(Unary function, double[] x, double[] z, int n) {
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
      case EXACT_GELU_DERIVATIVE -> unaryWithDerivative(Unary.EXACT_GELU, x, new double[n], z, n);
    }
  }

  @Override
  public void unaryWithDerivative(Unary function, double[] x, double[] z, double[] slope, int n) {
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
  public void binary(Binary function, double[] x, double[] y, double[] z, int n) {
    switch (function) {
      case PLUS -> plus(x, y, z, n);
      case MINUS -> minus(x, y, z, n);
      case TIMES -> times(x, y, z, n);
      case OVER -> over(x, y, z, n);
    }
  }

  @Override
  public void binary(Binary function, double[] x, double y, double[] z, int n) {
    switch (function) {
      case PLUS -> plus(x, y, z, n);
      case MINUS -> plus(x, -y, z, n);
      case TIMES -> times(x, y, z, n);
      case OVER -> over(x, y, z, n);
    }
  }

  @Override
  public void binary(Binary function, double x, double[] y, double[] z, int n) {
    switch (function) {
      case PLUS -> plus(y, x, z, n);
      case MINUS -> minus(x, y, z, n);
      case TIMES -> times(y, x, z, n);
      case OVER -> over(x, y, z, n);
    }
  }

  private static void negate(double[] x, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = -x[i];
    }
  }

  private static void sqrt(double[] x, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = Math.sqrt(x[i]);
    }
  }

  private static void log(double[] x, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = Math.log(x[i]);
    }
  }

  private static void tanh(double[] x, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = Math.tanh(x[i]);
    }
  }

  private static void relu(double[] x, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = Math.max(x[i], 0d);
    }
  }

  private static void positive(double[] x, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] > 0 ? 1 : 0;
    }
  }

  private static void plus(double[] x, double[] y, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] + y[i];
    }
  }

  private static void minus(double[] x, double[] y, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] - y[i];
    }
  }

  private static void times(double[] x, double[] y, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] * y[i];
    }
  }

  private static void over(double[] x, double[] y, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] / y[i];
    }
  }

  private static void plus(double[] x, double y, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] + y;
    }
  }

  private static void minus(double x, double[] y, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x - y[i];
    }
  }

  private static void times(double[] x, double y, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] * y;
    }
  }

  private static void over(double[] x, double y, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] / y;
    }
  }

  private static void over(double x, double[] y, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x / y[i];
    }
  }

  private static void exp(double[] x, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = Math.exp(x[i]);
    }
  }

  @Override
  public void expOfNonPositive(double[] x, double[] z, int n) {
    exp(x, z, n);
  }

  private static final double GELU_LINEAR = (-2 * Math.sqrt(2 / Math.PI));
  private static final double GELU_CUBIC = (0.044715 * -2 * Math.sqrt(2 / Math.PI));

  private static void geluExponential(double[] x, double[] z, int n) {
    geluExponent(x, z, n);
    exp(z, z, n);
  }

  private static void geluExponent(double[] x, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] * (GELU_LINEAR + GELU_CUBIC * (x[i] * x[i]));
    }
  }

  private static void geluFromExponential(double[] x, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = x[i] / (1 + z[i]);
    }
  }

  /**
   * With z = e^-2y: s = 1 / (1 + z) and 1 - s = s z, which does not cancel. The bounds, where the
   * derivative is 0 or 1, keep infinity away from 0.
   */
  private static void geluDerivativeFromExponential(double[] x, double[] z, double[] slope, int n) {
    for (int i = 0; i < n; i++) {
      double s = 1 / (1 + z[i]);
      double rest = s * Math.min(z[i], Double.MAX_VALUE);
      double square = Math.min(x[i] * x[i], 1e6);
      slope[i] = s - x[i] * s * rest * (GELU_LINEAR + 3 * GELU_CUBIC * square);
    }
  }

  /** Beyond this, the normal distribution has nothing left in 64 bits. */
  private static final double TAIL_END = 40;

  /** Adding and subtracting it leaves few enough bits for an exact square. */
  private static final double SQUARE_ROUNDER = 6442450944.0;

  private static final double NORMAL_DENSITY = (1 / Math.sqrt(2 * Math.PI));

  /** e^(-a²/2) with a = |x|. */
  private static void tailExponential(double[] x, double[] z, int n) {
    tailExponent(x, z, n);
    exp(z, z, n);
    tailRest(x, z, n);
  }

  /**
   * -a²/2 with a = |x|, less what rounding a leaves over. An error of the exponent would be one of
   * e^(-a²/2) relative to it.
   */
  private static void tailExponent(double[] x, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      double rounded = (Math.min(Math.abs(x[i]), TAIL_END) + SQUARE_ROUNDER) - SQUARE_ROUNDER;
      z[i] = -0.5 * rounded * rounded;
    }
  }

  /** The rest of e^(-a²/2), as a factor near 1. */
  private static void tailRest(double[] x, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      double a = Math.min(Math.abs(x[i]), TAIL_END);
      double rounded = (a + SQUARE_ROUNDER) - SQUARE_ROUNDER;
      double d = 0.5 * (a - rounded) * (a + rounded);
      z[i] *= 1 - d * (1 - d * (0.5 - d * (1.0 / 6 - d * (1.0 / 24))));
    }
  }

  /**
   * From e^(-a²/2) to the tail of the normal distribution beyond a, to a few roundings: their
   * quotient times 1 + a is a polynomial in (a - 5) / (a + 5), Chebyshev's of degree 24, error
   * 1.1e-17.
   */
  private static void tailFromExponential(double[] x, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      double a = Math.min(Math.abs(x[i]), TAIL_END);
      double t = (a - 5) / (a + 5);
      double p = 2.5086998016985133e-11 * t - 3.815816262632953e-10;
      p = p * t - 4.327297110082094e-10;
      p = p * t + 4.4011596227599254e-09;
      p = p * t + 4.022493382168717e-09;
      p = p * t - 3.095201755804207e-08;
      p = p * t - 2.688202129280215e-08;
      p = p * t + 1.9627809920091187e-07;
      p = p * t + 1.284479710649634e-07;
      p = p * t - 1.3074486019237587e-06;
      p = p * t - 7.070628846317715e-08;
      p = p * t + 9.05982468125664e-06;
      p = p * t - 9.895946159334735e-06;
      p = p * t - 5.36075811148722e-05;
      p = p * t + 0.00018233410307611755;
      p = p * t + 7.791597409338999e-06;
      p = p * t - 0.0016760723371645697;
      p = p * t + 0.006522000667783896;
      p = p * t - 0.015170415403281224;
      p = p * t + 0.024536963243678652;
      p = p * t - 0.026401042966267253;
      p = p * t + 0.010002352385229382;
      p = p * t + 0.031030368425962847;
      p = p * t - 0.09155228183400904;
      p = p * t + 0.46151582985003775;
      z[i] = z[i] * p / (1 + a);
    }
  }

  private static void exactGeluFromTail(double[] x, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      z[i] = Math.max(x[i], 0d) - Math.min(Math.abs(x[i]), TAIL_END) * z[i];
    }
  }

  /** From e^(-a²/2) and the tail Q(a): Q(a) - a density(a), or 1 less that where x > 0. */
  private static void exactGeluDerivativeFromTail(double[] x, double[] tail, double[] z, int n) {
    for (int i = 0; i < n; i++) {
      double a = Math.min(Math.abs(x[i]), TAIL_END);
      double s = tail[i] - a * (NORMAL_DENSITY * z[i]);
      z[i] = x[i] > 0 ? 1 - s : s;
    }
  }

  @Override
  public double sum(double[] x, int from, int to) {
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
  public double dot(double[] x, double[] y, int n) {
    double a = 0;
    double b = 0;
    double c = 0;
    double d = 0;
    double e = 0;
    double f = 0;
    double g = 0;
    double h = 0;
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
  public double max(double[] x, int from, int to) {
    double a = Double.NEGATIVE_INFINITY;
    double b = a;
    double c = a;
    double d = a;
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
  public void subtract(double[] x, double y, int from, int to) {
    for (int i = from; i < to; i++) {
      x[i] -= y;
    }
  }

  @Override
  public void rescale(double[] x, double scale, double[] gain, double[] bias, int n) {
    for (int i = 0; i < n; i++) {
      x[i] = x[i] / scale * gain[i] + bias[i];
    }
  }

  @Override
  public void scale(double[] x, double y, int from, int to) {
    for (int i = from; i < to; i++) {
      x[i] *= y;
    }
  }

  /** Up to this many rows, one matrix-vector product each is faster than a matrix product. */
  private static final int FEW_ROWS = 4;

  @Override
  public int rowStride(int columns) {
    return columns;
  }

  @Override
  public int scratch(
      boolean xTransposed, boolean yTransposed, boolean accumulate, int m, int n, int k) {
    return 0;
  }

  @Override
  public void gemm(Matrix x, Matrix y, Matrix out, boolean accumulate, int m, int n, int k) {
    double beta = accumulate ? 1 : 0;
    DoublePointer a = view(x.access()).at(x.offset());
    DoublePointer b = view(y.access()).at(y.offset());
    DoublePointer c = view(out.access()).at(out.offset());
    if (n == 1) {
      int rows = x.transposed() ? k : m;
      int columns = x.transposed() ? m : k;
      int transpose = x.transposed() ? CblasTrans : CblasNoTrans;
      int step = y.transposed() ? 1 : y.stride();
      cblas_dgemv(
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
    } else if (m == 1 || (m <= FEW_ROWS && !x.transposed())) {
      int rows = y.transposed() ? n : k;
      int columns = y.transposed() ? k : n;
      int transpose = y.transposed() ? CblasNoTrans : CblasTrans;
      int step = x.transposed() ? x.stride() : 1;
      for (int row = 0; row < m; row++) {
        a.position(x.offset() + (long) row * x.stride());
        c.position(out.offset() + (long) row * out.stride());
        cblas_dgemv(CblasRowMajor, transpose, rows, columns, 1, b, y.stride(), a, step, beta, c, 1);
      }
    } else {
      cblas_dgemm(
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
