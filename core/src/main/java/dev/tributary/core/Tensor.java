package dev.tributary.core;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Kernels.Binary;
import dev.tributary.core.Kernels.Unary;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * An immutable row-major array of numbers with any number of axes. An operation that has something
 * to compute gives a new tensor in the innermost open {@link Scope}. One whose result is in this
 * tensor already gives a view or this tensor itself, which live as long as this: {@link #reshape}
 * and {@link #slice} along the first axis that has more than one entry, {@link #broadcastTo},
 * {@link #sumTo} and {@link #pad} where the shape has it so already.
 *
 * <p>Axes may be counted from the end: -1 is the last. Element-wise operations broadcast, see
 * {@link Shape#broadcast}. Operands must have the same {@link DType}.
 */
public final class Tensor {
  /** Elements that {@link #generate} asks for at a time. */
  private static final int PIECE = 4096;

  private final DType dtype;
  private final Shape shape;
  private final Memory.Lease lease;
  private final int offset;

  private Tensor(DType dtype, Shape shape, Memory.Lease lease, int offset) {
    this.dtype = dtype;
    this.shape = shape;
    this.lease = lease;
    this.offset = offset;
  }

  // ---- making and reading ------------------------------------------------------------------

  /** Memory in the innermost scope, its content still to be written. */
  private static Tensor allocate(DType dtype, Shape shape) {
    return new Tensor(dtype, shape, Scope.lease(dtype, shape), 0);
  }

  /**
   * A tensor of these numbers in row-major order.
   *
   * @throws IllegalArgumentException if there are not as many numbers as the shape has elements
   */
  public static Tensor of(DType dtype, Shape shape, double... values) {
    requireArgument(
        values.length == shape.length(),
        "a tensor %s has %d elements, not %d",
        shape,
        shape.length(),
        values.length);
    Tensor result = allocate(dtype, shape);
    Backend.kernels().write(values, values.length, result, 0);
    return result;
  }

  /** A tensor filled with one number. */
  public static Tensor full(DType dtype, Shape shape, double value) {
    Tensor result = allocate(dtype, shape);
    Backend.kernels().fill(result, value);
    return result;
  }

  /** A tensor of zeros. */
  public static Tensor zeros(DType dtype, Shape shape) {
    return full(dtype, shape, 0);
  }

  /** Where the numbers of {@link #generate} come from. */
  @FunctionalInterface
  public interface Source {
    /** Puts the elements {@code from} to {@code from + count} into {@code values[0..count)}. */
    void read(int from, double[] values, int count);
  }

  /** A tensor whose numbers are asked for a few thousand at a time, in row-major order. */
  public static Tensor generate(DType dtype, Shape shape, Source source) {
    Tensor result = allocate(dtype, shape);
    double[] values = new double[Math.min(PIECE, shape.length())];
    for (int from = 0; from < shape.length(); from += PIECE) {
      int count = Math.min(PIECE, shape.length() - from);
      source.read(from, values, count);
      Backend.kernels().write(values, count, result, from);
    }
    return result;
  }

  /** Element type. */
  public DType dtype() {
    return dtype;
  }

  /** Sizes of the axes. */
  public Shape shape() {
    return shape;
  }

  /** All elements in row-major order. */
  public double[] toDoubles() {
    double[] values = new double[shape.length()];
    Backend.kernels().read(this, 0, values, values.length);
    return values;
  }

  /**
   * One element.
   *
   * @throws IllegalArgumentException if an index is outside its axis, or there are not as many as
   *     axes
   */
  public double get(int... index) {
    requireArgument(
        index.length == shape.rank(), "tensor %s has no element %s", shape, Arrays.toString(index));
    int position = 0;
    for (int axis = 0; axis < index.length; axis++) {
      requireArgument(
          index[axis] >= 0 && index[axis] < shape.size(axis),
          "tensor %s has no element %s",
          shape,
          Arrays.toString(index));
      position = position * shape.size(axis) + index[axis];
    }
    double[] value = new double[1];
    Backend.kernels().read(this, position, value, 1);
    return value[0];
  }

  /**
   * The only element of a tensor that has one.
   *
   * @throws IllegalArgumentException if there are more or fewer
   */
  public double item() {
    requireArgument(shape.length() == 1, "item: tensor %s has %d elements", shape, shape.length());
    return toDoubles()[0];
  }

  /** Whether no element is infinite or NaN. */
  public boolean isFinite() {
    return Backend.kernels().isFinite(this);
  }

  // ---- element-wise ------------------------------------------------------------------------

  /** Sum, element by element. */
  public Tensor plus(Tensor other) {
    return binary(Binary.PLUS, other);
  }

  /** Difference, element by element. */
  public Tensor minus(Tensor other) {
    return binary(Binary.MINUS, other);
  }

  /** Product, element by element. */
  public Tensor times(Tensor other) {
    return binary(Binary.TIMES, other);
  }

  /** Quotient, element by element. */
  public Tensor over(Tensor other) {
    return binary(Binary.OVER, other);
  }

  /** Adds a number to every element. */
  public Tensor plus(double number) {
    return binary(Binary.PLUS, number);
  }

  /** Multiplies every element by a number. */
  public Tensor times(double number) {
    return binary(Binary.TIMES, number);
  }

  /** -x. */
  public Tensor negate() {
    return unary(Unary.NEGATE);
  }

  /** x². */
  public Tensor square() {
    return unary(Unary.SQUARE);
  }

  /** Square root. */
  public Tensor sqrt() {
    return unary(Unary.SQRT);
  }

  /** e to the power x. */
  public Tensor exp() {
    return unary(Unary.EXP);
  }

  /** Natural logarithm. */
  public Tensor log() {
    return unary(Unary.LOG);
  }

  /** Hyperbolic tangent. */
  public Tensor tanh() {
    return unary(Unary.TANH);
  }

  /** max(x, 0). */
  public Tensor relu() {
    return unary(Unary.RELU);
  }

  /** 1 where x is positive, else 0. */
  public Tensor positive() {
    return unary(Unary.POSITIVE);
  }

  /**
   * Gaussian error linear unit in its tanh form: x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))).
   *
   * @see <a href="https://arxiv.org/abs/1606.08415">Hendrycks and Gimpel 2016</a>
   */
  public Tensor gelu() {
    return unary(Unary.GELU);
  }

  /** The derivative of {@link #gelu} at x. */
  public Tensor geluDerivative() {
    return unary(Unary.GELU_DERIVATIVE);
  }

  /**
   * Gaussian error linear unit as it is defined: x/2 (1 + erf(x/√2)).
   *
   * @see <a href="https://arxiv.org/abs/1606.08415">Hendrycks and Gimpel 2016</a>
   */
  public Tensor exactGelu() {
    return unary(Unary.EXACT_GELU);
  }

  /** The derivative of {@link #exactGelu} at x. */
  public Tensor exactGeluDerivative() {
    return unary(Unary.EXACT_GELU_DERIVATIVE);
  }

  private Tensor unary(Unary function) {
    Tensor result = allocate(dtype, shape);
    Backend.kernels().unary(function, this, result);
    return result;
  }

  private Tensor binary(Binary function, double number) {
    Tensor result = allocate(dtype, shape);
    Backend.kernels().binary(function, this, number, result);
    return result;
  }

  private Tensor binary(Binary function, Tensor other) {
    requireSameType(function.name().toLowerCase(Locale.ROOT), other);
    Tensor result =
        allocate(dtype, shape.equals(other.shape) ? shape : shape.broadcast(other.shape));
    Backend.kernels().binary(function, this, other, result);
    return result;
  }

  private void requireSameType(String operation, Tensor other) {
    requireArgument(
        dtype == other.dtype, "%s: left is %s and right is %s", operation, dtype, other.dtype);
  }

  // ---- reductions --------------------------------------------------------------------------

  /** Sum along one axis, which stays with size 1. */
  public Tensor sum(int axis) {
    int at = shape.axis(axis);
    Tensor result = allocate(dtype, shape.with(at, 1));
    Backend.kernels().sum(this, outer(at), shape.size(at), inner(at), result);
    return result;
  }

  /** Mean along one axis, which stays with size 1. */
  public Tensor mean(int axis) {
    return sum(axis).times(1.0 / shape.size(axis));
  }

  /** Differences from the mean along one axis. */
  public Tensor centred(int axis) {
    return minus(mean(axis));
  }

  /** Euclidean norm along one axis, which stays with size 1. */
  public Tensor norm(int axis) {
    return square().sum(axis).sqrt();
  }

  /**
   * Sums over every axis along which {@code target} would be repeated to reach this shape: the
   * adjoint of {@link #broadcastTo}.
   *
   * @throws IllegalArgumentException if {@code target} does not broadcast to this shape
   */
  public Tensor sumTo(Shape target) {
    requireArgument(
        target.broadcast(shape).equals(shape), "sumTo: %s does not broadcast to %s", target, shape);
    Shape padded = target.padTo(shape.rank());
    Tensor result = this;
    for (int axis = 0; axis < shape.rank(); axis++) {
      if (padded.size(axis) == 1 && shape.size(axis) != 1) {
        result = result.sum(axis);
      }
    }
    return result.reshape(target);
  }

  private int outer(int axis) {
    return shape.subShape(0, axis).length();
  }

  private int inner(int axis) {
    return shape.subShape(axis + 1, shape.rank()).length();
  }

  // ---- matrix products ---------------------------------------------------------------------

  /**
   * Matrix product over the last two axes, [.., m, k] and [.., k, n] to [.., m, n]; leading axes
   * broadcast.
   *
   * @throws IllegalArgumentException if the inner axes differ or the leading ones do not broadcast
   */
  public Tensor matmul(Tensor right) {
    return matmul(this, false, right, false);
  }

  /** Product with the transpose of the right side, [.., m, k] and [.., n, k] to [.., m, n]. */
  public Tensor matmulTransposed(Tensor right) {
    return matmul(this, false, right, true);
  }

  /**
   * Product of the transpose of this with the right side, [.., k, m] and [.., k, n] to [.., m, n].
   */
  public Tensor transposedMatmul(Tensor right) {
    return matmul(this, true, right, false);
  }

  /**
   * Affine map of the last axis: {@code matmul(weight)} plus a bias.
   *
   * @param weight [k, n]
   * @param bias [n]
   */
  public Tensor affine(Tensor weight, Tensor bias) {
    requireSameType("affine", weight);
    requireSameType("affine", bias);
    requireArgument(
        weight.shape.rank() == 2
            && shape.rank() >= 1
            && shape.size(-1) == weight.shape.size(0)
            && bias.shape.equals(Shape.of(weight.shape.size(1))),
        "affine: input %s, weight %s and bias %s do not fit",
        shape,
        weight.shape,
        bias.shape);
    Tensor rows = reshape(Shape.of(outer(shape.rank() - 1), shape.size(-1)));
    Tensor result = allocate(dtype, Shape.of(rows.shape.size(0), weight.shape.size(1)));
    result.fillFrom(bias);
    if (rows.shape.length() > 0 && result.shape.length() > 0) {
      Backend.kernels().matmul(rows, false, weight, false, result, true);
    }
    return result.reshape(shape.with(-1, weight.shape.size(1)));
  }

  private static Tensor matmul(Tensor x, boolean xTransposed, Tensor y, boolean yTransposed) {
    x.requireSameType("matmul", y);
    requireArgument(
        x.shape.rank() >= 2 && y.shape.rank() >= 2,
        "matmul: left %s and right %s must have two axes or more",
        x.shape,
        y.shape);
    int m = x.shape.size(xTransposed ? -1 : -2);
    int k = x.shape.size(xTransposed ? -2 : -1);
    int n = y.shape.size(yTransposed ? -2 : -1);
    int yInner = y.shape.size(yTransposed ? -1 : -2);
    requireArgument(
        k == yInner,
        "matmul: left %s%s and right %s%s do not share an inner axis (%d and %d)",
        x.shape,
        xTransposed ? " transposed" : "",
        y.shape,
        yTransposed ? " transposed" : "",
        k,
        yInner);
    Shape xBatch = x.shape.subShape(0, x.shape.rank() - 2);
    if (y.shape.rank() == 2 && !xTransposed && x.shape.rank() > 2) {
      return matmul(x.reshape(Shape.of(xBatch.length() * m, k)), false, y, yTransposed)
          .reshape(Shape.of(m, n).prepend(xBatch.dimensions()));
    }
    Shape batch = xBatch.broadcast(y.shape.subShape(0, y.shape.rank() - 2));
    Tensor result = allocate(x.dtype, Shape.of(m, n).prepend(batch.dimensions()));
    if (k == 0) {
      Backend.kernels().fill(result, 0);
    } else if (result.shape.length() > 0) {
      Backend.kernels().matmul(x, xTransposed, y, yTransposed, result, false);
    }
    return result;
  }

  // ---- rows --------------------------------------------------------------------------------

  /** Softmax along the last axis. */
  public Tensor softmax() {
    return causalSoftmax(Integer.MAX_VALUE);
  }

  /**
   * Softmax along the last axis in which row i (along the axis before it) sees only its first
   * {@code visible + i} entries; the others are 0.
   *
   * @throws IllegalArgumentException if {@code visible} is not positive
   */
  public Tensor causalSoftmax(int visible) {
    requireArgument(visible > 0, "causalSoftmax: %d visible entries in the first row", visible);
    requireArgument(
        shape.rank() > 0 && shape.size(-1) > 0, "softmax: %s has no entries to normalise", shape);
    Tensor result = allocate(dtype, shape);
    Backend.kernels().softmax(this, visible, result);
    return result;
  }

  /**
   * Row i (along the axis before the last) keeps its first {@code visible + i} entries; the others
   * are {@code hidden}.
   *
   * @throws IllegalArgumentException if {@code visible} is not positive or there are not two axes
   */
  public Tensor causalMask(int visible, double hidden) {
    requireArgument(
        visible > 0 && shape.rank() >= 2,
        "causalMask: %d visible entries in the first row of %s",
        visible,
        shape);
    Tensor result = allocate(dtype, shape);
    Backend.kernels().causalMask(this, visible, hidden, result);
    return result;
  }

  /**
   * The derivative of softmax, its own adjoint: p (u - Σ p u) along the last axis, where this is p,
   * the softmax, which is repeated over the leading axes of {@code u}.
   */
  public Tensor softmaxDerivative(Tensor u) {
    requireSameType("softmaxDerivative", u);
    requireArgument(
        shape.rank() > 0
            && u.shape.rank() >= shape.rank()
            && u.shape.subShape(u.shape.rank() - shape.rank(), u.shape.rank()).equals(shape),
        "softmaxDerivative: %s does not end in %s",
        u.shape,
        shape);
    Tensor result = allocate(dtype, u.shape);
    Backend.kernels().softmaxDerivative(this, u, result);
    return result;
  }

  /** Logarithm of the softmax along the last axis. */
  public Tensor logSoftmax() {
    requireArgument(
        shape.rank() > 0 && shape.size(-1) > 0,
        "logSoftmax: %s has no entries to normalise",
        shape);
    Tensor result = allocate(dtype, shape);
    Backend.kernels().logSoftmax(this, result);
    return result;
  }

  /** 1 at the {@code count} largest entries along the last axis (the first of equals), else 0. */
  public Tensor topKMask(int count) {
    requireArgument(
        count >= 0 && shape.rank() > 0 && count <= shape.size(-1),
        "topKMask: %d of a last axis in %s",
        count,
        shape);
    Tensor result = allocate(dtype, shape);
    Backend.kernels().topKMask(this, count, result);
    return result;
  }

  // ---- layout ------------------------------------------------------------------------------

  /**
   * The same elements under another shape: a view.
   *
   * @throws IllegalArgumentException if the number of elements differs
   */
  public Tensor reshape(Shape target) {
    requireArgument(
        target.length() == shape.length(),
        "reshape: %s has %d elements and %s has %d",
        shape,
        shape.length(),
        target,
        target.length());
    return shape.equals(target) ? this : new Tensor(dtype, target, lease, offset);
  }

  /** {@link #reshape(Shape)} to these axes. */
  public Tensor reshape(int... dimensions) {
    return reshape(Shape.of(dimensions));
  }

  /**
   * Axes in another order: axis i of the result is axis {@code axes[i]} of this.
   *
   * @throws IllegalArgumentException if {@code axes} is not a permutation of all axes
   */
  public Tensor permute(int... axes) {
    boolean[] seen = new boolean[shape.rank()];
    boolean valid = axes.length == shape.rank();
    for (int i = 0; valid && i < axes.length; i++) {
      valid = axes[i] >= 0 && axes[i] < seen.length && !seen[axes[i]];
      if (valid) {
        seen[axes[i]] = true;
      }
    }
    requireArgument(
        valid, "permute: %s is not an order of the axes of %s", Arrays.toString(axes), shape);
    int[] own = shape.strides();
    int[] dimensions = new int[axes.length];
    int[] strides = new int[axes.length];
    for (int i = 0; i < axes.length; i++) {
      dimensions[i] = shape.size(axes[i]);
      strides[i] = own[axes[i]];
    }
    Tensor result = allocate(dtype, Shape.of(dimensions));
    Backend.kernels().copy(this, 0, strides, result, 0, result.shape.strides(), dimensions);
    return result;
  }

  /**
   * The part of one axis from {@code from} (inclusive) to {@code to} (exclusive). A view if every
   * axis before it has size 1.
   *
   * @throws IllegalArgumentException if the range is not inside the axis
   */
  public Tensor slice(int axis, int from, int to) {
    int at = shape.axis(axis);
    requireArgument(
        from >= 0 && from <= to && to <= shape.size(at),
        "slice: %d to %d is not inside axis %d of %s",
        from,
        to,
        axis,
        shape);
    Shape part = shape.with(at, to - from);
    int start = from * inner(at);
    if (outer(at) == 1) {
      return new Tensor(dtype, part, lease, offset + start);
    }
    Tensor result = allocate(dtype, part);
    Backend.kernels()
        .copy(this, start, shape.strides(), result, 0, part.strides(), part.dimensions());
    return result;
  }

  /**
   * Zeros of the given size along one axis, with this at {@code from}: the adjoint of {@link
   * #slice}.
   *
   * @throws IllegalArgumentException if this does not fit there
   */
  public Tensor pad(int axis, int from, int size) {
    int at = shape.axis(axis);
    requireArgument(
        from >= 0 && from <= size - shape.size(at),
        "pad: %s does not fit at %d of an axis of %d",
        shape,
        from,
        size);
    if (shape.size(at) == size) {
      return this;
    }
    Tensor result = zeros(dtype, shape.with(at, size));
    Backend.kernels()
        .copy(
            this,
            0,
            shape.strides(),
            result,
            from * inner(at),
            result.shape.strides(),
            shape.dimensions());
    return result;
  }

  /**
   * Tensors joined along one axis.
   *
   * @throws IllegalArgumentException if there are none, or they differ in another axis
   */
  public static Tensor concat(int axis, List<Tensor> parts) {
    requireArgument(!parts.isEmpty(), "concat: there is nothing to join");
    Tensor first = parts.get(0);
    int at = first.shape.axis(axis);
    int size = 0;
    for (Tensor part : parts) {
      first.requireSameType("concat", part);
      requireArgument(
          part.shape.rank() == first.shape.rank()
              && part.shape.with(at, 1).equals(first.shape.with(at, 1)),
          "concat: %s and %s differ in another axis than %d",
          first.shape,
          part.shape,
          axis);
      size += part.shape.size(at);
    }
    Tensor result = allocate(first.dtype, first.shape.with(at, size));
    int position = 0;
    for (Tensor part : parts) {
      Backend.kernels()
          .copy(
              part,
              0,
              part.shape.strides(),
              result,
              position * result.inner(at),
              result.shape.strides(),
              part.shape.dimensions());
      position += part.shape.size(at);
    }
    return result;
  }

  /**
   * The entries of one axis at these indices, in this order; an index may come more than once.
   *
   * @throws IllegalArgumentException if an index is outside the axis
   */
  public Tensor gather(int axis, int... indices) {
    int at = shape.axis(axis);
    requireIndices("gather", indices, shape.size(at));
    Tensor result = allocate(dtype, shape.with(at, indices.length));
    Backend.kernels().gather(this, outer(at), shape.size(at), inner(at), indices, result);
    return result;
  }

  /**
   * Zeros of the given size along one axis, with each entry of this added at its index: the adjoint
   * of {@link #gather}.
   *
   * @throws IllegalArgumentException if an index is outside the axis, or there are not as many
   *     indices as entries
   */
  public Tensor scatterAdd(int axis, int size, int... indices) {
    int at = shape.axis(axis);
    requireIndices("scatterAdd", indices, size);
    requireArgument(
        indices.length == shape.size(at),
        "scatterAdd: %d indices for axis %d of %s",
        indices.length,
        axis,
        shape);
    Tensor result = zeros(dtype, shape.with(at, size));
    Backend.kernels().scatterAdd(this, outer(at), size, inner(at), indices, result);
    return result;
  }

  private static void requireIndices(String operation, int[] indices, int size) {
    for (int index : indices) {
      requireArgument(
          index >= 0 && index < size, "%s: index %d of an axis of %d", operation, index, size);
    }
  }

  /**
   * This repeated to a larger shape, see {@link Shape#broadcast}.
   *
   * @throws IllegalArgumentException if it does not broadcast to that shape
   */
  public Tensor broadcastTo(Shape target) {
    requireArgument(
        shape.broadcast(target).equals(target),
        "broadcastTo: %s does not broadcast to %s",
        shape,
        target);
    if (shape.equals(target)) {
      return this;
    }
    Tensor result = allocate(dtype, target);
    result.fillFrom(this);
    return result;
  }

  private void fillFrom(Tensor source) {
    Backend.kernels()
        .copy(
            source,
            0,
            source.shape.broadcastStrides(shape.rank()),
            this,
            0,
            shape.strides(),
            shape.dimensions());
  }

  // ---- for kernels -------------------------------------------------------------------------

  Memory.Lease lease() {
    return lease;
  }

  Memory.Block block() {
    return lease.block(shape);
  }

  Kernels.Access access() {
    return block().access;
  }

  /** Of the first element in the block, in elements. */
  int offset() {
    return offset;
  }

  @Override
  public String toString() {
    return dtype + " " + shape;
  }
}
