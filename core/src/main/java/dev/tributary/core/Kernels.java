package dev.tributary.core;

/**
 * What is computed over whole tensors. Results are written into {@code out}, which was allocated
 * for the purpose and shares memory with no operand; shapes were checked by {@link Tensor}.
 *
 * <p>Each {@link Device} has its own and gives them tensors that lie on it; those that compute are
 * tested equal.
 */
interface Kernels {
  /** Element-wise functions of one operand. */
  enum Unary {
    NEGATE,
    SQUARE,
    SQRT,
    EXP,
    LOG,
    TANH,
    RELU,
    /** 1 where positive, else 0: the derivative of RELU. */
    POSITIVE,
    /**
     * x / (1 + exp(-2c(x + 0.044715 x^3))), c = sqrt(2/pi): the tanh form of GELU without its tanh.
     */
    GELU,
    GELU_DERIVATIVE,
    /** x times the normal distribution function of x. */
    EXACT_GELU,
    EXACT_GELU_DERIVATIVE,
    /** x / (1 + exp(-x)) */
    SILU,
    SILU_DERIVATIVE
  }

  /** Element-wise functions of two operands. */
  enum Binary {
    PLUS,
    MINUS,
    TIMES,
    OVER
  }

  /** Copies {@code values[0..count)} to the elements of {@code out} from {@code from}. */
  void write(double[] values, int count, Tensor out, long from);

  /** Copies the elements of {@code x} from {@code from} to {@code values[0..count)}. */
  void read(Tensor x, long from, double[] values, int count);

  void fill(Tensor out, double value);

  void unary(Unary function, Tensor x, Tensor out);

  /**
   * {@link Unary#GELU}, {@link Unary#EXACT_GELU}, {@link Unary#SILU} or {@link Unary#RELU} and its
   * derivative at once: most of the work is the same.
   */
  void unaryWithDerivative(Unary function, Tensor x, Tensor out, Tensor derivative);

  /** function(gate) · up, element by element; of the functions of {@link #unaryWithDerivative}. */
  void gate(Unary function, Tensor gate, Tensor up, Tensor out);

  /**
   * The same with its derivatives: function'(gate) · up along the gate, function(gate) along up.
   */
  void gateWithDerivatives(
      Unary function, Tensor gate, Tensor up, Tensor out, Tensor alongGate, Tensor alongUp);

  /** Element-wise with broadcasting. */
  void binary(Binary function, Tensor x, Tensor y, Tensor out);

  void binary(Binary function, Tensor x, double y, Tensor out);

  /** Differences of each row (along the last axis) from its mean. */
  void centre(Tensor x, Tensor out);

  /**
   * Products of rows with rows, each summed, to [.., 1]; {@code x} is repeated over the leading
   * axes of {@code y}.
   */
  void rowDots(Tensor x, Tensor y, Tensor out);

  /** The root of the mean square of each row plus {@code epsilon}, to [.., 1]. */
  void rootMeanSquare(Tensor x, double epsilon, Tensor out);

  /**
   * x / scale · gain + bias, with a scale for each row of {@code x}, repeated over its leading
   * axes, and a gain and a bias for each entry of a row.
   */
  void rescale(Tensor x, Tensor scale, Tensor gain, Tensor bias, Tensor out);

  /**
   * Turns pairs (a, b) in each row to (a cos - b sin, b cos + a sin). Entry i of the first number
   * of a pair is {@code distance} before the second, in blocks of twice that; what is left of a row
   * is copied.
   *
   * @param cosine [row, pair], where the row is the index along the axis before the last
   * @param sine of the same shape
   */
  void rotate(Tensor x, Tensor cosine, Tensor sine, int distance, Tensor out);

  /** Sums the middle axis of {@code x} seen as [outer, count, inner]. */
  void sum(Tensor x, int outer, int count, int inner, Tensor out);

  /**
   * Matrix products over the last two axes, leading axes broadcast. Rows of the operands may be
   * {@link Tensor#rowStride spaced}; every other kernel but {@link #copy} and {@link #gather},
   * which are told strides, takes tensors whose rows follow each other.
   *
   * @param accumulate whether {@code out} already holds something to add to
   */
  void matmul(
      Tensor x, boolean xTransposed, Tensor y, boolean yTransposed, Tensor out, boolean accumulate);

  /** Copies a box of the given size between two tensors; a source stride of 0 repeats. */
  void copy(
      Tensor from,
      long fromOffset,
      int[] fromStrides,
      Tensor to,
      long toOffset,
      int[] toStrides,
      int[] box);

  /**
   * From {@code x} seen as [outer, size, inner] to [outer, indices.length, inner].
   *
   * @param outerStride from one of the outer entries to the next, in elements
   * @param stride from one of the {@code size} entries to the next, in elements
   */
  void gather(
      Tensor x, int outer, long outerStride, long stride, int inner, int[] indices, Tensor out);

  /**
   * The entries of an encoded matrix at these rows and columns, to a matrix that begins in {@code
   * out} at {@code at} and has the rows of {@code out}. Only for devices that {@link Device#encodes
   * encode} its format; every other kernel but {@link #matmul}, which takes one on the right, and
   * {@link #isFinite} takes tensors that are not encoded.
   */
  void select(Tensor x, int[] rows, int[] columns, Tensor out, long at);

  /** The adjoint of {@link #gather}: adds to {@code out}, seen as [outer, size, inner]. */
  void scatterAdd(Tensor x, int outer, int size, int inner, int[] indices, Tensor out);

  /**
   * Copies the first {@code row + visible} entries of each row and puts {@code hidden} in place of
   * the rest. The row is the index along the axis before the last.
   */
  void causalMask(Tensor x, int visible, double hidden, Tensor out);

  /**
   * Softmax of each row over its first {@code row + visible} entries, the rest 0. The row is the
   * index along the axis before the last.
   */
  void softmax(Tensor x, int visible, Tensor out);

  /**
   * p (u - sum(p u)) along the last axis, over the entries that {@link #softmax} saw, the rest 0:
   * push and pull of it.
   */
  void softmaxDerivative(Tensor p, Tensor u, int visible, Tensor out);

  void logSoftmax(Tensor x, Tensor out);

  /** 1 at the {@code count} largest entries of each row (the first of equals), else 0. */
  void topKMask(Tensor x, int count, Tensor out);

  /** Whether no element is infinite or NaN. */
  boolean isFinite(Tensor x);

  /** Positions, in their order, at which |x[i, j]| + rows[i] · columns[j] reaches a bound. */
  int[] reaching(Tensor x, double[] rows, double[] columns, double bound);
}
