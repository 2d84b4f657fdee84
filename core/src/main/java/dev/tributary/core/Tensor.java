package dev.tributary.core;

import static dev.tributary.core.Checks.requireArgument;
import static dev.tributary.core.Checks.requirePresent;

import dev.tributary.core.Kernels.Binary;
import dev.tributary.core.Kernels.Unary;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

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
  private final DType dtype;
  private final Shape shape;
  private final Scope.Lease lease;
  private final long offset;

  /** From one row of the last axis to the next, in elements: its size, unless rows are spaced. */
  private final int rowStride;

  /** From one matrix of the last two axes to the next: as many rows as it has, unless spaced. */
  private final long matrixStride;

  private final @Nullable Encoding encoding;

  /**
   * How a matrix lies that is not made of numbers of its type.
   *
   * @param format of its rows
   * @param turned whether its rows are the columns of the tensor
   */
  record Encoding(BlockFormat format, boolean turned) {}

  private Tensor(
      DType dtype,
      Shape shape,
      Scope.Lease lease,
      long offset,
      int rowStride,
      long matrixStride,
      @Nullable Encoding encoding) {
    this.dtype = dtype;
    this.shape = shape;
    this.lease = lease;
    this.offset = offset;
    this.rowStride = rowStride;
    this.matrixStride = matrixStride;
    this.encoding = encoding;
  }

  private Tensor(
      DType dtype,
      Shape shape,
      Scope.Lease lease,
      long offset,
      int rowStride,
      @Nullable Encoding encoding) {
    this(dtype, shape, lease, offset, rowStride, evenly(shape, rowStride), encoding);
  }

  private Tensor(DType dtype, Shape shape, Scope.Lease lease, long offset, int rowStride) {
    this(dtype, shape, lease, offset, rowStride, null);
  }

  /** From one matrix to the next where no rows lie between them. */
  private static long evenly(Shape shape, int rowStride) {
    return shape.rank() < 2 ? rowStride : (long) shape.size(-2) * rowStride;
  }

  // ---- making and reading ------------------------------------------------------------------

  /** Memory in the innermost scope, its content still to be written. */
  private static Tensor allocate(Device device, DType dtype, Shape shape) {
    Scope.Lease lease = Scope.lease(device, dtype, shape, shape.length());
    return new Tensor(dtype, shape, lease, 0, rowSize(shape));
  }

  /** Memory for a result of an operation on this. */
  private Tensor allocate(Shape shape) {
    return allocate(device(), dtype, shape);
  }

  /** Where results of operations on this go. */
  private Device device() {
    return Device.current().forResultsOf(lease.device);
  }

  /** Of the device of this, which is the result of what they compute. */
  private Kernels kernels() {
    return lease.device.kernels();
  }

  private static int rowSize(Shape shape) {
    return shape.rank() == 0 ? 1 : shape.size(-1);
  }

  /**
   * {@return the same matrix with its rows as far apart as matrix products read them fastest: for
   * weights, which many products read} It behaves like any other tensor; what is not a product, a
   * slice or a gather may copy it first.
   *
   * @throws IllegalArgumentException if it does not have two axes
   */
  public Tensor spacedRows() {
    requireArgument(shape.rank() == 2, "spacedRows: %s is not a matrix", shape);
    int stride = device().rowStride(dtype, shape.size(1));
    if (isEncoded() || stride == rowStride) {
      return this;
    }
    Tensor result = spaced(device(), dtype, shape);
    result.fillFrom(this);
    return result;
  }

  /** Memory for a matrix whose rows products read fastest. */
  private static Tensor spaced(Device device, DType dtype, Shape shape) {
    int stride = device.rowStride(dtype, shape.size(1));
    Scope.Lease lease = Scope.lease(device, dtype, shape, (long) shape.size(0) * stride);
    return new Tensor(dtype, shape, lease, 0, stride);
  }

  /** Whether rows follow each other without a gap. */
  private boolean isDense() {
    return !isEncoded() && rowStride == rowSize(shape) && isEven();
  }

  /** Whether matrices do. */
  private boolean isEven() {
    return matrixStride == evenly(shape, rowStride);
  }

  /** This, or a copy whose rows follow each other. */
  private Tensor dense() {
    if (isDense()) {
      return this;
    }
    Tensor result = allocate(shape);
    if (isEncoded()) {
      selectAll(result, 0);
    } else {
      result.fillFrom(this);
    }
    return result;
  }

  /** This, or a copy that is not encoded. */
  private Tensor decoded() {
    return isEncoded() ? dense() : this;
  }

  private void selectAll(Tensor out, long at) {
    out.kernels().select(this, all(shape.size(0)), all(shape.size(1)), out, at);
  }

  private static int[] all(int size) {
    return IntStream.range(0, size).toArray();
  }

  /** Where the bytes of {@link #encoded} come from. */
  @FunctionalInterface
  public interface Bytes {
    /**
     * Fills the rest of a buffer; asked by several threads at once.
     *
     * @param from which byte is the first, of all rows one after the other without a gap
     * @param target what is filled
     */
    void read(long from, ByteBuffer target);
  }

  /**
   * {@return a matrix that stays as its bytes are} It behaves like any other tensor of its type.
   * Matrix products that have it on the right decode it piece by piece, as {@link #slice} and
   * {@link #gather} do with what they take; what is something else may decode a copy first. A
   * device that has no matrices of that format decodes it at once.
   *
   * @param dtype in which it computes
   * @param shape sizes of its two axes
   * @param format of its rows as they are stored
   * @param turned whether the stored rows are its columns
   * @param source of the bytes
   * @throws IllegalArgumentException if it has not two axes, or a stored row is no whole number of
   *     blocks
   */
  public static Tensor encoded(
      DType dtype, Shape shape, BlockFormat format, boolean turned, Bytes source) {
    requireBlocks(shape, format, turned);
    Device device = Device.current();
    if (!device.encodes(format)) {
      return decoded(dtype, shape, format, turned, source);
    }
    int width = shape.size(turned ? 0 : 1);
    long bytes = (long) shape.length() / format.elements() * format.bytes();
    long floats = (bytes + Float.BYTES - 1) / Float.BYTES;
    Scope.Lease lease = Scope.lease(device, DType.FLOAT, shape, floats);
    Tensor result = new Tensor(dtype, shape, lease, 0, width, new Encoding(format, turned));
    Scope.transfer();
    device.fill(result, source);
    return result;
  }

  /**
   * {@return the numbers of a matrix that is stored in blocks} Its rows are as far apart as matrix
   * products read them fastest.
   *
   * @param dtype element type
   * @param shape sizes of its two axes
   * @param format of its rows as they are stored
   * @param turned whether the stored rows are its columns
   * @param source of the bytes
   * @throws IllegalArgumentException as {@link #encoded}
   */
  public static Tensor decoded(
      DType dtype, Shape shape, BlockFormat format, boolean turned, Bytes source) {
    requireBlocks(shape, format, turned);
    Device device = Device.current();
    int height = shape.size(turned ? 1 : 0);
    int width = shape.size(turned ? 0 : 1);
    long rowBytes = (long) width / format.elements() * format.bytes();
    if (!device.encodes(format)) {
      Shape stored = Shape.of(height, width);
      Tensor rows = generate(dtype, stored, new DecodedBytes(format, rowBytes, width, source));
      return turned ? rows.permute(1, 0) : rows;
    }
    Tensor result = spaced(device, dtype, shape);
    int step = (int) Math.max(1, Math.min(height, DECODED_AT_A_TIME / Math.max(1, rowBytes)));
    for (int row = 0; row < height; row += step) {
      int count = Math.min(step, height - row);
      long first = row * rowBytes;
      try (Scope scope = Scope.open()) {
        Shape part = turned ? Shape.of(width, count) : Shape.of(count, width);
        Bytes rest = (from, target) -> source.read(first + from, target);
        Tensor piece = encoded(dtype, part, format, turned, rest);
        piece.selectAll(result, turned ? row : (long) row * result.rowStride);
      }
    }
    return result;
  }

  /** Numbers of rows in blocks, for a device that has no other way. */
  private record DecodedBytes(BlockFormat format, long rowBytes, int width, Bytes bytes)
      implements Source {
    @Override
    public void read(int from, double[] values, int count) {
      for (int done = 0; done < count; ) {
        int row = (from + done) / width;
        int column = (from + done) % width;
        int n = Math.min(count - done, width - column);
        ByteBuffer raw = ByteBuffer.allocate((int) rowBytes).order(ByteOrder.LITTLE_ENDIAN);
        bytes.read(row * rowBytes, raw);
        float[] numbers = new float[width];
        format.decode(raw.array(), 0, numbers, 0, width / format.elements());
        for (int i = 0; i < n; i++) {
          values[done + i] = numbers[column + i];
        }
        done += n;
      }
    }
  }

  /** Bytes of a matrix that are in memory while it is decoded. */
  private static final long DECODED_AT_A_TIME = 16 << 20;

  private static void requireBlocks(Shape shape, BlockFormat format, boolean turned) {
    requireArgument(
        shape.rank() == 2 && shape.size(turned ? 0 : 1) % format.elements() == 0,
        "a matrix %s, %s by %s, does not fall into %s blocks of %d",
        shape,
        turned ? "column" : "row",
        turned ? "column" : "row",
        format,
        format.elements());
  }

  /**
   * {@return a tensor of these numbers in row-major order}
   *
   * @param dtype element type
   * @param shape sizes of the axes
   * @param values all elements, row-major
   * @throws IllegalArgumentException if there are not as many numbers as the shape has elements
   */
  public static Tensor of(DType dtype, Shape shape, double... values) {
    requireArgument(
        values.length == shape.length(),
        "a tensor %s has %d elements, not %d",
        shape,
        shape.length(),
        values.length);
    Tensor result = allocate(Device.current(), dtype, shape);
    Scope.transfer();
    result.kernels().write(values, values.length, result, 0);
    return result;
  }

  /**
   * {@return a tensor filled with one number}
   *
   * @param dtype element type
   * @param shape sizes of the axes
   * @param value of every element
   */
  public static Tensor full(DType dtype, Shape shape, double value) {
    return full(Device.current(), dtype, shape, value);
  }

  private static Tensor full(Device device, DType dtype, Shape shape, double value) {
    Tensor result = allocate(device, dtype, shape);
    device.kernels().fill(result, value);
    return result;
  }

  /**
   * {@return a tensor of zeros}
   *
   * @param dtype element type
   * @param shape sizes of the axes
   */
  public static Tensor zeros(DType dtype, Shape shape) {
    return full(dtype, shape, 0);
  }

  /** Where the numbers of {@link #generate} come from. */
  @FunctionalInterface
  public interface Source {
    /**
     * Puts the elements {@code from} to {@code from + count} into {@code values[0..count)}.
     *
     * @param from the first element, in row-major order
     * @param values where they go
     * @param count how many, at least one
     */
    void read(int from, double[] values, int count);
  }

  /**
   * {@return a tensor whose numbers are asked for a few thousand at a time, in row-major order}
   *
   * @param dtype element type
   * @param shape sizes of the axes
   * @param source asked from the first element to the last
   */
  public static Tensor generate(DType dtype, Shape shape, Source source) {
    Device device = Device.current();
    Tensor result = allocate(device, dtype, shape);
    Scope.transfer();
    device.upload(source, result);
    return result;
  }

  /**
   * {@return the same numbers on that device: this, if it lies there, or a copy} A matrix that is
   * stored in blocks stays so where {@link #encoded} would leave it so.
   *
   * @param device where they are needed
   */
  public Tensor to(Device device) {
    Device target = Device.current().forResultsOf(device);
    if (device() == target) {
      return this;
    }
    if (isEncoded()) {
      Encoding stored = encoding();
      return target.during(
          () -> encoded(dtype, shape, stored.format, stored.turned, this::readBlocks));
    }
    Scope.transfer();
    Tensor result = allocate(target, dtype, shape);
    try (Scope scope = Scope.open()) {
      Tensor x = dense();
      target.upload((from, values, count) -> x.kernels().read(x, from, values, count), result);
    }
    return result;
  }

  /** The bytes of an encoded matrix, as {@link #encoded} asks for them. */
  private void readBlocks(long from, ByteBuffer target) {
    BlockFormat format = encoding().format;
    int width = shape.size(encoding().turned ? 0 : 1);
    long rowBytes = (long) width / format.elements() * format.bytes();
    int end = target.limit();
    while (target.position() < end) {
      long inRow = from % rowBytes;
      int n = (int) Math.min(end - target.position(), rowBytes - inRow);
      long element = offset + from / rowBytes * rowStride;
      target.limit(target.position() + n);
      lease.device.read(this, element / format.elements() * format.bytes() + inRow, target);
      from += n;
    }
  }

  /** {@return the element type} */
  public DType dtype() {
    return dtype;
  }

  /** {@return the sizes of the axes} */
  public Shape shape() {
    return shape;
  }

  /** {@return all elements in row-major order} */
  public double[] toDoubles() {
    try (Scope scope = Scope.open()) {
      Tensor x = dense();
      double[] values = new double[shape.length()];
      Scope.transfer();
      device().kernels().read(x, 0, values, values.length);
      return values;
    }
  }

  /** Where the numbers of {@link #forEach} go. */
  @FunctionalInterface
  public interface Sink {
    /**
     * Takes the elements {@code from} to {@code from + count}, which are in {@code
     * values[0..count)}.
     *
     * @param from the first element, in row-major order
     * @param values where they are, for the time of the call
     * @param count how many, at least one
     */
    void take(int from, double[] values, int count);
  }

  /**
   * Hands over all elements in row-major order, a few thousand at a time: what {@link #toDoubles}
   * does, without an array of all.
   *
   * @param sink told of the first element first
   */
  public void forEach(Sink sink) {
    try (Scope scope = Scope.open()) {
      Tensor x = dense();
      double[] values = new double[Math.min(device().piece(), shape.length())];
      Scope.transfer();
      for (int from = 0; from < shape.length(); from += values.length) {
        int count = Math.min(values.length, shape.length() - from);
        device().kernels().read(x, from, values, count);
        sink.take(from, values, count);
      }
    }
  }

  /**
   * {@return one element}
   *
   * @param index one for each axis, from 0
   * @throws IllegalArgumentException if an index is outside its axis, or there are not as many as
   *     axes
   */
  public double get(int... index) {
    requireArgument(
        index.length == shape.rank(), "tensor %s has no element %s", shape, Arrays.toString(index));
    int[] strides = strides();
    long position = 0;
    for (int axis = 0; axis < index.length; axis++) {
      requireArgument(
          index[axis] >= 0 && index[axis] < shape.size(axis),
          "tensor %s has no element %s",
          shape,
          Arrays.toString(index));
      position += (long) index[axis] * strides[axis];
    }
    double[] value = new double[1];
    Scope.transfer();
    try (Scope scope = Scope.open()) {
      Tensor x = isEncoded() ? gather(0, index[0]).gather(1, index[1]) : this;
      device().kernels().read(x, isEncoded() ? 0 : position, value, 1);
    }
    return value[0];
  }

  /**
   * {@return the only element of a tensor that has one}
   *
   * @throws IllegalArgumentException if there are more or fewer
   */
  public double item() {
    requireArgument(shape.length() == 1, "item: tensor %s has %d elements", shape, shape.length());
    return toDoubles()[0];
  }

  /** {@return whether no element is infinite or NaN} */
  public boolean isFinite() {
    Scope.transfer();
    try (Scope scope = Scope.open()) {
      return device().kernels().isFinite(isEncoded() ? this : dense());
    }
  }

  /**
   * Where a matrix may be large: {@code |x[i, j]| + rows[i] · columns[j] >= bound}.
   *
   * @param rows what may be added in each row, in units of {@code columns}
   * @param columns what may be added in each column, in units of {@code rows}
   * @param bound what is reached
   * @return the positions of these entries, {@code i · columns + j}, in their order
   * @throws IllegalArgumentException if there are not as many rows or columns
   */
  public int[] reaching(double[] rows, double[] columns, double bound) {
    requireArgument(
        shape.equals(Shape.of(rows.length, columns.length)),
        "reaching: %d rows and %d columns for %s",
        rows.length,
        columns.length,
        shape);
    Scope.transfer();
    try (Scope scope = Scope.open()) {
      return device().kernels().reaching(dense(), rows, columns, bound);
    }
  }

  // ---- element-wise ------------------------------------------------------------------------

  /**
   * {@return the sum, element by element}
   *
   * @param other a tensor of the same type that broadcasts against this one
   */
  public Tensor plus(Tensor other) {
    return binary(Binary.PLUS, other);
  }

  /**
   * {@return the difference, element by element}
   *
   * @param other a tensor of the same type that broadcasts against this one
   */
  public Tensor minus(Tensor other) {
    return binary(Binary.MINUS, other);
  }

  /**
   * {@return the product, element by element}
   *
   * @param other a tensor of the same type that broadcasts against this one
   */
  public Tensor times(Tensor other) {
    return binary(Binary.TIMES, other);
  }

  /**
   * {@return the quotient, element by element}
   *
   * @param other a tensor of the same type that broadcasts against this one
   */
  public Tensor over(Tensor other) {
    return binary(Binary.OVER, other);
  }

  /**
   * Adds a number to every element.
   *
   * @param number what is added
   * @return x plus the number
   */
  public Tensor plus(double number) {
    return binary(Binary.PLUS, number);
  }

  /**
   * Multiplies every element by a number.
   *
   * @param number the factor
   * @return x times the number
   */
  public Tensor times(double number) {
    return binary(Binary.TIMES, number);
  }

  /** {@return -x} */
  public Tensor negate() {
    return unary(Unary.NEGATE);
  }

  /** {@return x²} */
  public Tensor square() {
    return unary(Unary.SQUARE);
  }

  /** {@return the square root} */
  public Tensor sqrt() {
    return unary(Unary.SQRT);
  }

  /** {@return e to the power x} */
  public Tensor exp() {
    return unary(Unary.EXP);
  }

  /** {@return the natural logarithm} */
  public Tensor log() {
    return unary(Unary.LOG);
  }

  /** {@return the hyperbolic tangent} */
  public Tensor tanh() {
    return unary(Unary.TANH);
  }

  /** {@return max(x, 0)} */
  public Tensor relu() {
    return unary(Unary.RELU);
  }

  /** {@return 1 where x is positive, else 0} */
  public Tensor positive() {
    return unary(Unary.POSITIVE);
  }

  /**
   * {@return the Gaussian error linear unit in its tanh form: x/2 (1 + tanh(√(2/π) (x + 0.044715
   * x³)))}
   *
   * @see <a href="https://arxiv.org/abs/1606.08415">Hendrycks and Gimpel 2016</a>
   */
  public Tensor gelu() {
    return unary(Unary.GELU);
  }

  /**
   * A function of every element, and its derivative there.
   *
   * @param value of the function
   * @param derivative at the same element
   */
  public record WithDerivative(Tensor value, Tensor derivative) {}

  /** {@return {@link #gelu} and {@link #geluDerivative} for little more than the price of one} */
  public WithDerivative geluWithDerivative() {
    return withDerivative(Unary.GELU);
  }

  /**
   * {@return {@link #exactGelu} and {@link #exactGeluDerivative} for little more than the price of
   * one}
   */
  public WithDerivative exactGeluWithDerivative() {
    return withDerivative(Unary.EXACT_GELU);
  }

  /** {@return {@link #silu} and {@link #siluDerivative} for little more than the price of one} */
  public WithDerivative siluWithDerivative() {
    return withDerivative(Unary.SILU);
  }

  private WithDerivative withDerivative(Unary function) {
    WithDerivative result = new WithDerivative(allocate(shape), allocate(shape));
    result.value.kernels().unaryWithDerivative(function, dense(), result.value, result.derivative);
    return result;
  }

  /** {@return the derivative of {@link #gelu} at x} */
  public Tensor geluDerivative() {
    return unary(Unary.GELU_DERIVATIVE);
  }

  /**
   * {@return the Gaussian error linear unit as it is defined: x/2 (1 + erf(x/√2))}
   *
   * @see <a href="https://arxiv.org/abs/1606.08415">Hendrycks and Gimpel 2016</a>
   */
  public Tensor exactGelu() {
    return unary(Unary.EXACT_GELU);
  }

  /** {@return the derivative of {@link #exactGelu} at x} */
  public Tensor exactGeluDerivative() {
    return unary(Unary.EXACT_GELU_DERIVATIVE);
  }

  /**
   * {@return the sigmoid linear unit, also called swish: x / (1 + e⁻ˣ)}
   *
   * @see <a href="https://arxiv.org/abs/1606.08415">Hendrycks and Gimpel 2016</a>
   */
  public Tensor silu() {
    return unary(Unary.SILU);
  }

  /** {@return the derivative of {@link #silu} at x} */
  public Tensor siluDerivative() {
    return unary(Unary.SILU_DERIVATIVE);
  }

  /**
   * {@return function(x) · up, element by element}
   *
   * @param function of x, the gate
   * @param up of the same shape
   * @throws IllegalArgumentException if it has another shape
   */
  public Tensor gated(Activation function, Tensor up) {
    requireUp(up);
    Tensor result = allocate(shape);
    result.kernels().gate(function.function, dense(), up.dense(), result);
    return result;
  }

  /**
   * What gated neurons are, and how they move.
   *
   * @param value function(x) · up
   * @param alongGate derivative along x: function'(x) · up
   * @param alongUp derivative along up: function(x)
   */
  public record Gated(Tensor value, Tensor alongGate, Tensor alongUp) {}

  /**
   * {@return {@link #gated} with its derivatives}
   *
   * @param function of x, the gate
   * @param up of the same shape
   * @throws IllegalArgumentException if it has another shape
   */
  public Gated gatedWithDerivatives(Activation function, Tensor up) {
    requireUp(up);
    Gated result = new Gated(allocate(shape), allocate(shape), allocate(shape));
    result
        .value
        .kernels()
        .gateWithDerivatives(
            function.function, dense(), up.dense(), result.value, result.alongGate, result.alongUp);
    return result;
  }

  private void requireUp(Tensor up) {
    requireSameType("gated", up);
    requireArgument(
        shape.equals(up.shape), "gated: the gate is %s and the other %s", shape, up.shape);
  }

  private Tensor unary(Unary function) {
    Tensor result = allocate(shape);
    result.kernels().unary(function, dense(), result);
    return result;
  }

  private Tensor binary(Binary function, double number) {
    Tensor result = allocate(shape);
    result.kernels().binary(function, dense(), number, result);
    return result;
  }

  private Tensor binary(Binary function, Tensor other) {
    requireSameType(function.name().toLowerCase(Locale.ROOT), other);
    Tensor result = allocate(shape.equals(other.shape) ? shape : shape.broadcast(other.shape));
    result.kernels().binary(function, dense(), other.dense(), result);
    return result;
  }

  private void requireSameType(String operation, Tensor other) {
    requireArgument(
        dtype == other.dtype, "%s: left is %s and right is %s", operation, dtype, other.dtype);
    requireArgument(
        lease.device == other.lease.device || device() == other.device(),
        "%s: left is on %s and right is on %s; Tensor.to brings one to the other",
        operation,
        lease.device,
        other.lease.device);
  }

  // ---- reductions --------------------------------------------------------------------------

  /**
   * {@return the sum along one axis, which stays with size 1}
   *
   * @param axis from 0, or from the end: -1 is the last
   */
  public Tensor sum(int axis) {
    int at = shape.axis(axis);
    Tensor result = allocate(shape.with(at, 1));
    result.kernels().sum(dense(), outer(at), shape.size(at), inner(at), result);
    return result;
  }

  /**
   * {@return the mean along one axis, which stays with size 1}
   *
   * @param axis from 0, or from the end: -1 is the last
   */
  public Tensor mean(int axis) {
    return sum(axis).times(1.0 / shape.size(axis));
  }

  /**
   * {@return the differences from the mean along one axis}
   *
   * @param axis from 0, or from the end: -1 is the last
   */
  public Tensor centred(int axis) {
    if (shape.axis(axis) != shape.rank() - 1) {
      return minus(mean(axis));
    }
    Tensor result = allocate(shape);
    result.kernels().centre(dense(), result);
    return result;
  }

  /**
   * {@return the dot products of rows along the last axis, which stays with size 1} The rows of
   * this are repeated over the leading axes of {@code other}.
   *
   * @param other [.., *shape of this]
   * @throws IllegalArgumentException if the shape of {@code other} does not end in this one, or
   *     there are no axes
   */
  public Tensor rowDots(Tensor other) {
    requireSameType("rowDots", other);
    requireArgument(shape.rank() > 0, "rowDots: %s has no rows", shape);
    requireEnding("rowDots", other.shape, shape);
    Tensor result = allocate(other.shape.with(-1, 1));
    result.kernels().rowDots(dense(), other.dense(), result);
    return result;
  }

  /**
   * {@return the square root of the mean square plus {@code epsilon}, along the last axis, which
   * stays with size 1}
   *
   * @param epsilon added to the mean square
   * @throws IllegalArgumentException if there are no axes
   */
  public Tensor rootMeanSquare(double epsilon) {
    requireArgument(shape.rank() > 0, "rootMeanSquare: %s has no rows", shape);
    Tensor result = allocate(shape.with(-1, 1));
    result.kernels().rootMeanSquare(dense(), epsilon, result);
    return result;
  }

  /**
   * {@return what a norm does with rows: x / scale · gain + bias}
   *
   * @param scale [.., 1], one for each row, repeated over the leading axes of this
   * @param gain of each entry of a row
   * @param bias of each entry of a row
   * @throws IllegalArgumentException if they do not fit the last axes
   */
  public Tensor rescaled(Tensor scale, Tensor gain, Tensor bias) {
    requireSameType("rescaled", scale);
    requireSameType("rescaled", gain);
    requireSameType("rescaled", bias);
    requireArgument(
        shape.rank() > 0
            && scale.shape.rank() > 0
            && scale.shape.size(-1) == 1
            && gain.shape.equals(Shape.of(shape.size(-1)))
            && bias.shape.equals(gain.shape),
        "rescaled: rows %s, scale %s, gain %s and bias %s do not fit",
        shape,
        scale.shape,
        gain.shape,
        bias.shape);
    requireEnding("rescaled", shape.with(-1, 1), scale.shape);
    Tensor result = allocate(shape);
    result.kernels().rescale(dense(), scale.dense(), gain.dense(), bias.dense(), result);
    return result;
  }

  /**
   * Pairs of numbers turned by angles, as rotary positions do: (a, b) becomes (a cos - b sin, b cos
   * + a sin). The first numbers of {@code distance} pairs are followed by the second ones, then
   * come those of the next; what is left of a row passes. With the sine negated, the adjoint.
   *
   * @param cosine of the angle of each pair, [row, pair], the row counted along the axis before the
   *     last
   * @param sine of the same angles
   * @param distance from the first number of a pair to the second, a divisor of the number of pairs
   * @return of the same shape
   * @throws IllegalArgumentException if they do not fit the last two axes
   * @see <a href="https://arxiv.org/abs/2104.09864">Su et al. 2021</a>
   */
  public Tensor rotated(Tensor cosine, Tensor sine, int distance) {
    requireSameType("rotated", cosine);
    requireSameType("rotated", sine);
    requireArgument(
        shape.rank() >= 2
            && cosine.shape.rank() == 2
            && cosine.shape.size(0) == shape.size(-2)
            && 2L * cosine.shape.size(1) <= shape.size(-1)
            && sine.shape.equals(cosine.shape),
        "rotated: rows %s, cosine %s and sine %s do not fit",
        shape,
        cosine.shape,
        sine.shape);
    requireArgument(
        distance > 0 && cosine.shape.size(1) % distance == 0,
        "rotated: %d pairs of numbers that are %d apart",
        cosine.shape.size(1),
        distance);
    Tensor result = allocate(shape);
    if (shape.length() > 0) {
      result.kernels().rotate(dense(), cosine.dense(), sine.dense(), distance, result);
    }
    return result;
  }

  /** Refuses a shape that does not end in another one, which is repeated over its leading axes. */
  private static void requireEnding(String operation, Shape whole, Shape ending) {
    requireArgument(whole.endsWith(ending), "%s: %s does not end in %s", operation, whole, ending);
  }

  /**
   * {@return the Euclidean norm along one axis, which stays with size 1}
   *
   * @param axis from 0, or from the end: -1 is the last
   */
  public Tensor norm(int axis) {
    return square().sum(axis).sqrt();
  }

  /**
   * Sums over every axis along which {@code target} would be repeated to reach this shape: the
   * adjoint of {@link #broadcastTo}.
   *
   * @param target a shape that broadcasts to this one
   * @return sums, of the shape {@code target}
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
   * {@return the matrix product over the last two axes, [.., m, k] and [.., k, n] to [.., m, n];
   * leading axes broadcast}
   *
   * @param right [.., k, n]
   * @throws IllegalArgumentException if the inner axes differ or the leading ones do not broadcast
   */
  public Tensor matmul(Tensor right) {
    return matmul(this, false, right, false);
  }

  /**
   * {@return the product with the transpose of the right side, [.., m, k] and [.., n, k] to [.., m,
   * n]}
   *
   * @param right [.., n, k]
   */
  public Tensor matmulTransposed(Tensor right) {
    return matmul(this, false, right, true);
  }

  /**
   * {@return the product of the transpose of this with the right side, [.., k, m] and [.., k, n] to
   * [.., m, n]}
   *
   * @param right [.., k, n]
   */
  public Tensor transposedMatmul(Tensor right) {
    return matmul(this, true, right, false);
  }

  /**
   * Affine map of the last axis: {@code matmul(weight)} plus a bias.
   *
   * @param weight [k, n]
   * @param bias [n]
   * @return [.., n]
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
    Tensor result = allocate(Shape.of(rows.shape.size(0), weight.shape.size(1)));
    result.fillFrom(bias);
    if (rows.shape.length() > 0 && result.shape.length() > 0) {
      result.kernels().matmul(rows.decoded(), false, weight, false, result, true);
    }
    return result.reshape(shape.with(-1, weight.shape.size(1)));
  }

  /**
   * {@return matrices row by row: the first rows of all, then the second rows of all, [row, matrix,
   * n]} Products are made where they are to lie.
   *
   * @param parts one after the other, at least one, all of the same rows and columns
   * @throws IllegalArgumentException if there is none, or they differ in rows, columns or type
   */
  public static Tensor byRow(List<Products> parts) {
    requireArgument(!parts.isEmpty(), "byRow: there is nothing to put together");
    Products first = parts.get(0);
    int rows = first.shape().size(1);
    int n = first.shape().size(2);
    int count = 0;
    for (Products part : parts) {
      first.left().requireSameType("byRow", part.left());
      requireArgument(
          part.shape().with(0, 1).equals(first.shape().with(0, 1)),
          "byRow: matrices %s and %s differ in rows or columns",
          first.shape(),
          part.shape());
      count += part.shape().size(0);
    }
    Tensor result = first.left().allocate(Shape.of(rows, count, n));
    int position = 0;
    for (Products part : parts) {
      Shape shape = part.shape();
      long at = (long) position * n;
      Tensor target = new Tensor(result.dtype, shape, result.lease, at, count * n, n, null);
      if (part.right() == null) {
        target.fillFrom(part.left());
      } else {
        target.multiply(part.left(), false, part.right(), part.transposed());
      }
      position += shape.size(0);
    }
    return result;
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
    Tensor result = x.allocate(Shape.of(m, n).prepend(batch.dimensions()));
    result.multiply(x, xTransposed, y, yTransposed);
    return result;
  }

  /** Fills this, which is new, with a product. */
  private void multiply(Tensor x, boolean xTransposed, Tensor y, boolean yTransposed) {
    if (x.shape.size(xTransposed ? -2 : -1) == 0) {
      fillFrom(full(device(), dtype, Shape.of(), 0));
    } else if (shape.length() > 0) {
      Tensor right = shape.rank() == 2 ? y : y.decoded();
      kernels().matmul(x.decoded(), xTransposed, right, yTransposed, this, false);
    }
  }

  // ---- rows --------------------------------------------------------------------------------

  /** {@return the softmax along the last axis} */
  public Tensor softmax() {
    return causalSoftmax(Integer.MAX_VALUE);
  }

  /**
   * {@return the softmax along the last axis in which row i (along the axis before it) sees only
   * its first {@code visible + i} entries; the others are 0}
   *
   * @param visible entries that the first row sees, at least 1
   * @throws IllegalArgumentException if {@code visible} is not positive
   */
  public Tensor causalSoftmax(int visible) {
    requireArgument(visible > 0, "causalSoftmax: %d visible entries in the first row", visible);
    requireArgument(
        shape.rank() > 0 && shape.size(-1) > 0, "softmax: %s has no entries to normalise", shape);
    Tensor result = allocate(shape);
    result.kernels().softmax(dense(), visible, result);
    return result;
  }

  /**
   * Row i (along the axis before the last) keeps its first {@code visible + i} entries; the others
   * are {@code hidden}.
   *
   * @param visible entries that the first row sees, at least 1
   * @param hidden what the other entries become
   * @return the masked rows
   * @throws IllegalArgumentException if {@code visible} is not positive or there are not two axes
   */
  public Tensor causalMask(int visible, double hidden) {
    requireArgument(
        visible > 0 && shape.rank() >= 2,
        "causalMask: %d visible entries in the first row of %s",
        visible,
        shape);
    Tensor result = allocate(shape);
    result.kernels().causalMask(dense(), visible, hidden, result);
    return result;
  }

  /**
   * {@return the derivative of {@link #causalSoftmax}, its own adjoint: p (u - Σ p u) along the
   * last axis, where this is p, the softmax, which is repeated over the leading axes of {@code u}}
   *
   * @param u [.., *shape of this]
   * @param visible entries in the first row, as many as p was made with
   * @throws IllegalArgumentException if {@code visible} is not positive, or {@code u} does not end
   *     in this shape
   */
  public Tensor softmaxDerivative(Tensor u, int visible) {
    requireSameType("softmaxDerivative", u);
    requireArgument(visible > 0, "softmaxDerivative: %d visible entries in the first row", visible);
    requireArgument(shape.rank() > 0, "softmaxDerivative: %s has no rows", shape);
    requireEnding("softmaxDerivative", u.shape, shape);
    Tensor result = allocate(u.shape);
    result.kernels().softmaxDerivative(dense(), u.dense(), visible, result);
    return result;
  }

  /** {@return the logarithm of the softmax along the last axis} */
  public Tensor logSoftmax() {
    requireArgument(
        shape.rank() > 0 && shape.size(-1) > 0,
        "logSoftmax: %s has no entries to normalise",
        shape);
    Tensor result = allocate(shape);
    result.kernels().logSoftmax(dense(), result);
    return result;
  }

  /**
   * {@return 1 at the {@code count} largest entries along the last axis (the first of equals), else
   * 0}
   *
   * @param count from 0 to the size of the axis
   */
  public Tensor topKMask(int count) {
    requireArgument(
        count >= 0 && shape.rank() > 0 && count <= shape.size(-1),
        "topKMask: %d of a last axis in %s",
        count,
        shape);
    Tensor result = allocate(shape);
    result.kernels().topKMask(dense(), count, result);
    return result;
  }

  // ---- layout ------------------------------------------------------------------------------

  /**
   * {@return the same elements under another shape: a view}
   *
   * @param target has as many elements
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
    if (shape.equals(target)) {
      return this;
    }
    if (isEncoded() || !isEven() || (!isDense() && rowSize(target) != rowSize(shape))) {
      return dense().reshape(target);
    }
    return new Tensor(dtype, target, lease, offset, isDense() ? rowSize(target) : rowStride);
  }

  /**
   * {@link #reshape(Shape)} to these axes.
   *
   * @param dimensions sizes of the axes, which have as many elements
   * @return the same elements
   */
  public Tensor reshape(int... dimensions) {
    return reshape(Shape.of(dimensions));
  }

  /**
   * Axes in another order: axis i of the result is axis {@code axes[i]} of this.
   *
   * @param axes every axis once, from 0
   * @return the reordered tensor
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
    if (isEncoded()) {
      return axes[0] == 0 ? this : turned();
    }
    int[] own = strides();
    int[] dimensions = new int[axes.length];
    int[] strides = new int[axes.length];
    for (int i = 0; i < axes.length; i++) {
      dimensions[i] = shape.size(axes[i]);
      strides[i] = own[axes[i]];
    }
    Tensor result = allocate(Shape.of(dimensions));
    result.kernels().copy(this, 0, strides, result, 0, result.shape.strides(), dimensions);
    return result;
  }

  /** The transpose of an encoded matrix: a view. */
  private Tensor turned() {
    Shape target = Shape.of(shape.size(1), shape.size(0));
    Encoding other = new Encoding(encoding().format, !encoding().turned);
    return new Tensor(dtype, target, lease, offset, rowStride, other);
  }

  /**
   * {@return the part of one axis from {@code from} (inclusive) to {@code to} (exclusive)} A view
   * if every axis before it has size 1.
   *
   * @param axis from 0, or from the end: -1 is the last
   * @param from the first entry
   * @param to after the last entry
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
    if (isEncoded()) {
      boolean ofRows = at == (encoding().turned ? 1 : 0);
      int block = encoding().format.elements();
      if (ofRows || (from % block == 0 && to % block == 0)) {
        long start = ofRows ? (long) from * rowStride : from;
        return new Tensor(dtype, part, lease, offset + start, rowStride, encoding);
      }
      return gather(at, IntStream.range(from, to).toArray());
    }
    int[] strides = strides();
    long start = (long) from * strides[at];
    if (outer(at) == 1) {
      boolean ofARow = at == shape.rank() - 1;
      int stride = ofARow ? to - from : rowStride;
      long step = at < shape.rank() - 2 ? matrixStride : evenly(part, stride);
      return new Tensor(dtype, part, lease, offset + start, stride, step, null);
    }
    Tensor result = allocate(part);
    result.kernels().copy(this, start, strides, result, 0, part.strides(), part.dimensions());
    return result;
  }

  /**
   * {@return the first rows of each matrix of the last two axes: a view} Matrix products read them
   * where they lie; other operations may copy them first.
   *
   * @param rows how many, of the axis before the last
   * @throws IllegalArgumentException if there are not as many, or not two axes
   */
  public Tensor leadingRows(int rows) {
    requireArgument(
        shape.rank() >= 2 && rows >= 0 && rows <= shape.size(-2),
        "leadingRows: %d of the axis before the last of %s",
        rows,
        shape);
    if (isEncoded()) {
      return slice(-2, 0, rows);
    }
    return new Tensor(dtype, shape.with(-2, rows), lease, offset, rowStride, matrixStride, null);
  }

  /**
   * Zeros of the given size along one axis, with this at {@code from}: the adjoint of {@link
   * #slice}.
   *
   * @param axis from 0, or from the end: -1 is the last
   * @param from where this begins
   * @param size of the axis in the result
   * @return this among zeros
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
    Tensor result = full(device(), dtype, shape.with(at, size), 0);
    Tensor x = decoded();
    result
        .kernels()
        .copy(
            x,
            0,
            x.strides(),
            result,
            (long) from * inner(at),
            result.shape.strides(),
            shape.dimensions());
    return result;
  }

  /**
   * {@return the tensors joined along one axis}
   *
   * @param axis from 0, or from the end: -1 is the last
   * @param parts at least one, of the same type; they differ along that axis at most
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
    Tensor result = first.allocate(first.shape.with(at, size));
    int position = 0;
    for (Tensor each : parts) {
      Tensor part = each.decoded();
      result
          .kernels()
          .copy(
              part,
              0,
              part.strides(),
              result,
              (long) position * result.inner(at),
              result.shape.strides(),
              part.shape.dimensions());
      position += part.shape.size(at);
    }
    return result;
  }

  /**
   * {@return the entries of one axis at these indices, in this order; an index may come more than
   * once}
   *
   * @param axis from 0, or from the end: -1 is the last
   * @param indices entries, from 0
   * @throws IllegalArgumentException if an index is outside the axis
   */
  public Tensor gather(int axis, int... indices) {
    int at = shape.axis(axis);
    passIndices("gather", indices, shape.size(at));
    Tensor result = allocate(shape.with(at, indices.length));
    if (isEncoded()) {
      int[] rows = at == 0 ? indices : all(shape.size(0));
      result.kernels().select(this, rows, at == 1 ? indices : all(shape.size(1)), result, 0);
      return result;
    }
    Tensor x = at < shape.rank() - 2 || !isEven() ? dense() : this;
    int step = x.strides()[at];
    long block = at == shape.rank() - 1 ? x.rowStride : (long) shape.size(at) * step;
    result.kernels().gather(x, outer(at), block, step, inner(at), indices, result);
    return result;
  }

  /**
   * Zeros of the given size along one axis, with each entry of this added at its index: the adjoint
   * of {@link #gather}.
   *
   * @param axis from 0, or from the end: -1 is the last
   * @param size of the axis in the result
   * @param indices one for each entry of this, from 0
   * @return the sums
   * @throws IllegalArgumentException if an index is outside the axis, or there are not as many
   *     indices as entries
   */
  public Tensor scatterAdd(int axis, int size, int... indices) {
    int at = shape.axis(axis);
    passIndices("scatterAdd", indices, size);
    requireArgument(
        indices.length == shape.size(at),
        "scatterAdd: %d indices for axis %d of %s",
        indices.length,
        axis,
        shape);
    Tensor result = full(device(), dtype, shape.with(at, size), 0);
    result.kernels().scatterAdd(dense(), outer(at), size, inner(at), indices, result);
    return result;
  }

  /** Refuses indices that are not in an axis, and counts their way to a kernel. */
  private static void passIndices(String operation, int[] indices, int size) {
    for (int index : indices) {
      requireArgument(
          index >= 0 && index < size, "%s: index %d of an axis of %d", operation, index, size);
    }
    if (!isRun(indices)) {
      Scope.transfer();
    }
  }

  /** Whether indices follow each other: known by the first of them and how many there are. */
  static boolean isRun(int... indices) {
    for (int i = 1; i < indices.length; i++) {
      if (indices[i] != indices[0] + i) {
        return false;
      }
    }
    return true;
  }

  /**
   * This repeated to a larger shape, see {@link Shape#broadcast}.
   *
   * @param target a shape that this one broadcasts to
   * @return the repeated tensor
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
    Tensor result = allocate(target);
    result.fillFrom(this);
    return result;
  }

  private void fillFrom(Tensor values) {
    Tensor source = values.decoded();
    int rank = shape.rank();
    kernels()
        .copy(source, 0, source.broadcastStrides(rank), this, 0, strides(), shape.dimensions());
  }

  // ---- for kernels -------------------------------------------------------------------------

  Scope.Lease lease() {
    return lease;
  }

  Device.Block block() {
    return lease.block(shape);
  }

  /** Of the first element in the block, in elements. */
  long offset() {
    return offset;
  }

  /** From one row to the next as they are stored, in elements. */
  int rowStride() {
    return rowStride;
  }

  /** From one matrix of the last two axes to the next, in elements. */
  long matrixStride() {
    return matrixStride;
  }

  boolean isEncoded() {
    return encoding != null;
  }

  /** How a matrix lies that {@link #isEncoded}. */
  Encoding encoding() {
    return requirePresent(encoding, "%s is not encoded", this);
  }

  /** Distance between neighbours along each axis, in elements. */
  private int[] strides() {
    int[] strides = shape.strides();
    int last = strides.length - 1;
    for (int axis = last - 1; axis >= 0 && !isDense(); axis--) {
      strides[axis] =
          switch (last - axis) {
            case 1 -> rowStride;
            case 2 -> (int) matrixStride;
            default -> strides[axis + 1] * shape.size(axis + 1);
          };
    }
    return strides;
  }

  /** The same as seen from a broadcast result of the given rank: 0 where repeated. */
  int[] broadcastStrides(int rank) {
    return shape.broadcastStrides(strides(), rank);
  }

  @Override
  public String toString() {
    return dtype + " " + shape;
  }
}
