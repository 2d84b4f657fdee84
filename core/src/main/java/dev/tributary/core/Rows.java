package dev.tributary.core;

import dev.tributary.core.Kernels.Binary;
import dev.tributary.core.Kernels.Unary;
import org.bytedeco.javacpp.Pointer;

/**
 * The inner loops of {@link CpuKernels} for one element type: arithmetic on the first {@code n}
 * entries of heap arrays, copies between those and off-heap blocks, and matrix products on the
 * blocks. Each computes on the thread that calls it.
 *
 * <p>A position in a block is a {@code long}; what is copied from there to the heap at a time is
 * short.
 *
 * <p>Every loop is its own small method whose arrays are indexed by the loop variable alone: only
 * then does the compiler vectorise it.
 *
 * @param <A> {@code float[]} or {@code double[]}
 */
interface Rows<A> {
  A array(int n);

  int length(A x);

  /** How the memory of a block is read and written. */
  interface Access {}

  /** Access to so many elements from the given one on. */
  Access access(Pointer pointer, int start, long elements);

  void read(Access from, long offset, A to, int start, int n);

  /** Elements that lie apart evenly. */
  void readStrided(Access from, long offset, int stride, A to, int n);

  /** The elements {@code offset + indices[start + i] · stride}. */
  void readEach(Access from, long offset, long stride, int[] indices, int start, A to, int n);

  /** to[i] = from[indices[start + i]] */
  void pick(A from, int[] indices, int start, A to, int n);

  void write(A from, int start, int n, Access to, long offset);

  /** Copies between blocks without a stop on the heap. */
  void copy(Access from, long fromOffset, Access to, long toOffset, int n);

  double get(Access from, long offset);

  double get(A x, int i);

  void set(A x, int i, double value);

  void fill(A x, double value, int n);

  void unary(Unary function, A x, A z, int n);

  /** The functions of {@link Kernels#unaryWithDerivative}, with their derivatives. */
  void unaryWithDerivative(Unary function, A x, A z, A slope, int n);

  /** e^x where x is at most 0; what is smaller than a normal number may be 0. */
  void expOfNonPositive(A x, A z, int n);

  void binary(Binary function, A x, A y, A z, int n);

  void binary(Binary function, A x, double y, A z, int n);

  void binary(Binary function, double x, A y, A z, int n);

  /** z[i] = x[i] · a[i] + factor · y[i] · b[i]. */
  void sumOfProducts(A x, A a, double factor, A y, A b, A z, int n);

  /**
   * Takes the two halves of each of the first {@code blocks} blocks of 2 · {@code size} entries of
   * {@code x} from {@code from} on apart, to {@code first} and {@code second} from {@code to} on.
   */
  void split(A x, int from, int blocks, int size, A first, A second, int to);

  /** The inverse of {@link #split}. */
  void join(A first, A second, int from, int blocks, int size, A x, int to);

  /** The sum of x[from..to). */
  double sum(A x, int from, int to);

  double dot(A x, A y, int n);

  /** z[i] = |x[i]| + factor · y[i]. */
  void magnitudesPlus(A x, double factor, A y, A z, int n);

  /** The largest of x[from..to). */
  double max(A x, int from, int to);

  /** x[i] -= y for from <= i < to. */
  void subtract(A x, double y, int from, int to);

  /** x[i] = x[i] / scale · gain[i] + bias[i]. */
  void rescale(A x, double scale, A gain, A bias, int n);

  /** x[i] *= y for from <= i < to. */
  void scale(A x, double y, int from, int to);

  /**
   * A matrix in a block: row-major or, if transposed, stored the other way.
   *
   * @param stride from one stored row to the next, in elements
   */
  record Matrix(Access access, long offset, int stride, boolean transposed) {
    /** The rest of it from a row and a column on. */
    Matrix from(int row, int column) {
      return moved(transposed ? (long) column * stride + row : (long) row * stride + column);
    }

    /** The same shape so many elements later. */
    Matrix moved(long elements) {
      return new Matrix(access, offset + elements, stride, transposed);
    }

    /** Its transpose, in the same place. */
    Matrix transpose() {
      return new Matrix(access, offset, stride, !transposed);
    }
  }

  /** Copies a matrix; one of the two may be stored the other way. */
  void copy(Matrix from, Matrix to, int rows, int columns);

  /** How far apart products want the stored rows of a weight, in elements. */
  int rowStride(int columns);

  /**
   * How many elements such a product takes on its way from {@link Cpu} and gives back, perhaps 0.
   */
  int scratch(boolean xTransposed, boolean yTransposed, boolean accumulate, int m, int n, int k);

  /** out[m, n] = x[m, k] y[k, n] (+ out), where {@code out} is not transposed. */
  void gemm(Matrix x, Matrix y, Matrix out, boolean accumulate, int m, int n, int k);
}
