package dev.tributary.autodiff;

import static dev.tributary.core.Checks.requireArgument;
import static dev.tributary.core.Checks.requirePresent;
import static dev.tributary.core.Checks.requireState;

import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A tensor and, unless it is constant, the linear maps from the variables it was computed from.
 * Each method is a primitive: it computes the value and says, beside it, what its derivative is.
 *
 * <p>What a constant touches costs nothing: a primitive of constants is a constant, and no map is
 * made along a constant operand. Inside a map, axes are counted from the end, so that a rule does
 * not know for how many directions it runs.
 */
public final class Variable {
  private static final AtomicLong COUNTER = new AtomicLong();

  /** How a variable depends on another one. */
  record Edge(Variable from, LinearMap map) {}

  /** A dependence whose map is made only if {@code from} is not constant. */
  private record Along(Variable from, Supplier<LinearMap> map) {}

  private final Tensor value;
  private final boolean live;
  private final List<Edge> edges;
  private final @Nullable Tensor tangents;

  /**
   * Variables are numbered as they are made, so that this order is one in which they can be walked.
   */
  private final long number = COUNTER.getAndIncrement();

  private Variable(Tensor value, boolean live, List<Edge> edges, @Nullable Tensor tangents) {
    this.value = value;
    this.live = live;
    this.edges = edges;
    this.tangents = tangents;
  }

  // ---- leaves ------------------------------------------------------------------------------

  /**
   * {@return a variable that derivatives may be taken with respect to}
   *
   * @param value its numbers
   */
  public static Variable input(Tensor value) {
    return new Variable(value, true, List.of(), null);
  }

  /**
   * {@return a variable that does not vary: zero in both directions}
   *
   * @param value its numbers
   */
  public static Variable constant(Tensor value) {
    return new Variable(value, false, List.of(), null);
  }

  /**
   * A variable that takes its tangents along: whatever is computed from it is pushed at once and
   * records nothing. See {@link Jacobian#pushOnce}.
   */
  static Variable moving(Tensor value, Tensor tangents) {
    return new Variable(value, false, List.of(), tangents);
  }

  /** {@return the same value as a constant: derivatives stop here, in both directions} */
  public Variable detach() {
    return isConstant() ? this : constant(value);
  }

  /** {@return its numbers} */
  public Tensor value() {
    return value;
  }

  /** {@return the sizes of the axes of its value} */
  public Shape shape() {
    return value.shape();
  }

  /**
   * {@return whether every derivative of it is zero because nothing it was computed from varies}
   */
  public boolean isConstant() {
    return !live && tangents == null;
  }

  List<Edge> edges() {
    return edges;
  }

  long number() {
    return number;
  }

  @Nullable Tensor tangents() {
    return tangents;
  }

  // ---- how a primitive is made -------------------------------------------------------------

  private static Variable derived(Tensor value, Along... dependences) {
    boolean live = false;
    boolean moving = false;
    for (Along along : dependences) {
      live |= along.from.live;
      moving |= along.from.tangents != null;
    }
    requireState(
        !(live && moving), "a variable that is pushed at once met one that is recorded: %s", value);
    if (moving) {
      return moving(value, pushed(dependences));
    }
    if (!live) {
      return constant(value);
    }
    List<Edge> edges = new ArrayList<>(dependences.length);
    for (Along along : dependences) {
      if (along.from.live) {
        edges.add(new Edge(along.from, along.map.get()));
      }
    }
    return new Variable(value, true, edges, null);
  }

  /** Makes each map, uses it and drops it with all that it holds. */
  private static Tensor pushed(Along... dependences) {
    try (Scope scope = Scope.open()) {
      Tensor sum = null;
      for (Along along : dependences) {
        if (along.from.tangents != null) {
          Tensor part = along.map.get().push(along.from.tangents);
          sum = sum == null ? part : sum.plus(part);
        }
      }
      return scope.keep(requirePresent(sum, "no operand carries tangents"));
    }
  }

  private static Along along(Variable from, Supplier<LinearMap> map) {
    return new Along(from, map);
  }

  /**
   * {@return a variable whose value is known already and whose derivative along this one is {@code
   * map}: for primitives of one's own, and where a value was recorded earlier}
   *
   * @param map from [k, *shape of this] to [k, *shape of value]
   * @param value its numbers
   */
  public Variable through(LinearMap map, Tensor value) {
    return derived(value, along(this, () -> map));
  }

  // ---- arithmetic, with broadcasting -------------------------------------------------------

  /**
   * {@return the sum, element by element}
   *
   * @param other a variable that broadcasts against this one
   */
  public Variable plus(Variable other) {
    Tensor y = value.plus(other.value);
    return derived(
        y,
        along(this, () -> spread(shape(), y.shape())),
        along(other, () -> spread(other.shape(), y.shape())));
  }

  /**
   * {@return the difference, element by element}
   *
   * @param other a variable that broadcasts against this one
   */
  public Variable minus(Variable other) {
    Tensor y = value.minus(other.value);
    return derived(
        y,
        along(this, () -> spread(shape(), y.shape())),
        along(other, () -> spread(other.shape(), y.shape()).then(NEGATION)));
  }

  /**
   * {@return the product, element by element}
   *
   * @param other a variable that broadcasts against this one
   */
  public Variable times(Variable other) {
    Tensor y = value.times(other.value);
    return derived(
        y,
        along(this, () -> scaling(other.value, shape(), y.shape())),
        along(other, () -> scaling(value, other.shape(), y.shape())));
  }

  /**
   * {@return the quotient, element by element}
   *
   * @param other a variable that broadcasts against this one
   */
  public Variable over(Variable other) {
    Tensor y = value.over(other.value);
    return derived(
        y,
        along(
            this,
            () ->
                spread(shape(), y.shape())
                    .then(LinearMap.of(u -> u.over(other.value), v -> v.over(other.value)))),
        along(
            other,
            () ->
                LinearMap.of(u -> u.over(other.value).negate(), v -> v.over(other.value).negate())
                    .then(scaling(y, other.shape(), y.shape()))));
  }

  /**
   * Adds a number to every element.
   *
   * @param number what is added
   * @return x plus the number
   */
  public Variable plus(double number) {
    return derived(value.plus(number), along(this, () -> IDENTITY));
  }

  /**
   * Multiplies every element by a number.
   *
   * @param number the factor
   * @return x times the number
   */
  public Variable times(double number) {
    return derived(
        value.times(number),
        along(this, () -> LinearMap.of(u -> u.times(number), v -> v.times(number))));
  }

  private static final LinearMap IDENTITY = LinearMap.of(u -> u, v -> v);
  private static final LinearMap NEGATION = LinearMap.of(Tensor::negate, Tensor::negate);

  /** Repetition from one shape to a larger one; its adjoint sums. */
  private static LinearMap spread(Shape from, Shape to) {
    return from.equals(to)
        ? IDENTITY
        : LinearMap.of(u -> repeated(u, from, to), v -> summed(v, from, to));
  }

  /** Multiplication by a factor on the way from one shape to a larger one. */
  private static LinearMap scaling(Tensor factor, Shape from, Shape to) {
    if (from.equals(to)) {
      return LinearMap.of(u -> u.times(factor), v -> v.times(factor));
    }
    return LinearMap.of(
        u -> {
          Tensor product = aligned(u, from, to).times(factor);
          return product.broadcastTo(to.prepend(u.shape().size(0)));
        },
        v -> summed(v.times(factor), from, to));
  }

  /** Multiplication of every element by its own factor. */
  private static LinearMap diagonal(Tensor factors) {
    return scaling(factors, factors.shape(), factors.shape());
  }

  /** [k, *from] with axes of size 1 after the first, so that it broadcasts against [k, *to]. */
  private static Tensor aligned(Tensor u, Shape from, Shape to) {
    return u.reshape(from.padTo(to.rank()).prepend(u.shape().size(0)));
  }

  private static Tensor repeated(Tensor u, Shape from, Shape to) {
    return aligned(u, from, to).broadcastTo(to.prepend(u.shape().size(0)));
  }

  private static Tensor summed(Tensor v, Shape from, Shape to) {
    int k = v.shape().size(0);
    return v.sumTo(from.padTo(to.rank()).prepend(k)).reshape(from.prepend(k));
  }

  // ---- matrix products ---------------------------------------------------------------------

  /**
   * {@return the matrix product over the last two axes, [.., m, k] and [.., k, n] to [.., m, n]}
   *
   * @param right [.., k, n]
   */
  public Variable matmul(Variable right) {
    Tensor y = value.matmul(right.value);
    return derived(
        y,
        along(this, () -> timesRight(this, right, y.shape())),
        along(right, () -> leftTimes(this, right, y.shape())));
  }

  /**
   * {@return the product with the transpose of the right side, [.., m, k] and [.., n, k] to [.., m,
   * n]}
   *
   * @param right [.., n, k]
   */
  public Variable matmulTransposed(Variable right) {
    Tensor y = value.matmulTransposed(right.value);
    return derived(
        y,
        along(
            this,
            () ->
                LinearMap.of(
                    u -> aligned(u, shape(), y.shape()).matmulTransposed(right.value),
                    v -> summedBatch(v.matmul(right.value), shape(), y.shape()))),
        along(
            right,
            () ->
                LinearMap.of(
                    u -> value.matmulTransposed(aligned(u, right.shape(), y.shape())),
                    v -> summedBatch(v.transposedMatmul(value), right.shape(), y.shape()))));
  }

  /**
   * Affine map of the last axis: {@code matmul(weight)} plus a bias.
   *
   * @param weight [k, n]
   * @param bias [n]
   * @return [.., n]
   */
  public Variable affine(Variable weight, Variable bias) {
    Tensor y = value.affine(weight.value, bias.value);
    return derived(
        y,
        along(this, () -> rightFactor(weight.value)),
        along(weight, () -> leftTimes(this, weight, y.shape())),
        along(bias, () -> spread(bias.shape(), y.shape())));
  }

  /**
   * {@return the map x to x · {@code right}, for x with at least as many axes as {@code right}}
   *
   * @param right [.., k, n]
   */
  public static LinearMap rightFactor(Tensor right) {
    return LinearMap.of(u -> u.matmul(right), v -> v.matmulTransposed(right));
  }

  private static LinearMap timesRight(Variable left, Variable right, Shape product) {
    LinearMap map = rightFactor(right.value);
    return LinearMap.of(
        u -> map.push(aligned(u, left.shape(), product)),
        v -> summedBatch(map.pull(v), left.shape(), product));
  }

  private static LinearMap leftTimes(Variable left, Variable right, Shape product) {
    Tensor x = left.value;
    if (right.shape().rank() == 2) { // all rows of x meet one matrix: one product instead of many
      int columns = product.size(-1);
      int rows = product.subShape(0, product.rank() - 1).length();
      Tensor all = x.reshape(rows, x.shape().size(-1));
      return LinearMap.of(
          u -> all.matmul(u).reshape(product.prepend(u.shape().size(0))),
          v -> all.transposedMatmul(v.reshape(v.shape().size(0), rows, columns)));
    }
    return LinearMap.of(
        u -> x.matmul(aligned(u, right.shape(), product)),
        v -> summedBatch(x.transposedMatmul(v), right.shape(), product));
  }

  /** Sums leading axes back to those of a matrix operand: [k, *batch, m, n] to [k, *operand]. */
  private static Tensor summedBatch(Tensor v, Shape operand, Shape product) {
    return summed(v, operand, v.shape().subShape(1, product.rank() + 1));
  }

  // ---- element-wise functions --------------------------------------------------------------

  /** {@return x²} */
  public Variable square() {
    return derived(value.square(), along(this, () -> diagonal(value.times(2))));
  }

  /** {@return the square root} */
  public Variable sqrt() {
    Tensor y = value.sqrt();
    return derived(
        y, along(this, () -> LinearMap.of(u -> u.over(y).times(0.5), v -> v.over(y).times(0.5))));
  }

  /** {@return e to the power x} */
  public Variable exp() {
    Tensor y = value.exp();
    return derived(y, along(this, () -> diagonal(y)));
  }

  /** {@return the natural logarithm} */
  public Variable log() {
    return derived(
        value.log(), along(this, () -> LinearMap.of(u -> u.over(value), v -> v.over(value))));
  }

  /** {@return the hyperbolic tangent} */
  public Variable tanh() {
    Tensor y = value.tanh();
    return derived(y, along(this, () -> diagonal(y.square().negate().plus(1))));
  }

  /** {@return max(x, 0), with derivative 0 at 0} */
  public Variable relu() {
    return derived(value.relu(), along(this, () -> diagonal(value.positive())));
  }

  /** {@return the Gaussian error linear unit in its tanh form, see {@link Tensor#gelu}} */
  public Variable gelu() {
    return withDerivative(Tensor::gelu, Tensor::geluDerivative, Tensor::geluWithDerivative);
  }

  /** {@return the Gaussian error linear unit as it is defined, see {@link Tensor#exactGelu}} */
  public Variable exactGelu() {
    return withDerivative(
        Tensor::exactGelu, Tensor::exactGeluDerivative, Tensor::exactGeluWithDerivative);
  }

  private Variable withDerivative(
      UnaryOperator<Tensor> alone,
      UnaryOperator<Tensor> derivative,
      Function<Tensor, Tensor.WithDerivative> both) {
    if (!live) {
      return derived(alone.apply(value), along(this, () -> diagonal(derivative.apply(value))));
    }
    Tensor.WithDerivative y = both.apply(value);
    return derived(y.value(), along(this, () -> diagonal(y.derivative())));
  }

  // ---- reductions --------------------------------------------------------------------------

  /**
   * {@return the sum along one axis, which stays with size 1}
   *
   * @param axis from 0, or from the end: -1 is the last
   */
  public Variable sum(int axis) {
    int fromEnd = shape().axis(axis) - shape().rank();
    return derived(
        value.sum(axis),
        along(
            this,
            () ->
                LinearMap.of(
                    u -> u.sum(fromEnd), v -> v.broadcastTo(shape().prepend(v.shape().size(0))))));
  }

  /**
   * {@return the differences from the mean along one axis}
   *
   * @param axis from 0, or from the end: -1 is the last
   */
  public Variable centred(int axis) {
    int fromEnd = shape().axis(axis) - shape().rank();
    return derived(
        value.centred(axis),
        along(this, () -> LinearMap.of(u -> u.centred(fromEnd), v -> v.centred(fromEnd))));
  }

  /**
   * {@return the square root of the mean square plus {@code epsilon}, along the last axis, which
   * stays with size 1}
   *
   * @param epsilon added to the mean square
   */
  public Variable rootMeanSquare(double epsilon) {
    Tensor y = value.rootMeanSquare(epsilon);
    int n = shape().size(-1);
    return derived(
        y,
        along(
            this,
            () -> {
              Tensor divisor = y.times(n);
              return LinearMap.of(
                  u -> value.rowDots(u).over(divisor), v -> value.times(v.over(divisor)));
            }));
  }

  /**
   * What a norm does with rows: x / scale · gain + bias.
   *
   * @param scale one for each row, [.., 1]
   * @param gain of each entry of a row, a constant
   * @param bias of each entry of a row, a constant
   * @return rows of the same shape
   * @throws IllegalArgumentException if they do not fit
   */
  public Variable rescaled(Variable scale, Tensor gain, Tensor bias) {
    requireArgument(
        scale.shape().equals(shape().with(-1, 1)),
        "rescaled: rows %s and scale %s do not fit",
        shape(),
        scale.shape());
    Tensor y = value.rescaled(scale.value, gain, bias);
    return derived(
        y,
        along(
            this,
            () -> {
              Tensor none = bias.times(0);
              UnaryOperator<Tensor> map = u -> u.rescaled(scale.value, gain, none);
              return LinearMap.of(map, map);
            }),
        along(
            scale,
            () -> {
              Tensor slopes = value.rescaled(scale.value.square(), gain.negate(), bias.times(0));
              return LinearMap.of(slopes::times, slopes::rowDots);
            }));
  }

  /**
   * {@return the mean along one axis, which stays with size 1}
   *
   * @param axis from 0, or from the end: -1 is the last
   */
  public Variable mean(int axis) {
    return sum(axis).times(1.0 / shape().size(axis));
  }

  // ---- rows --------------------------------------------------------------------------------

  /** {@return the softmax along the last axis} */
  public Variable softmax() {
    return causalSoftmax(Integer.MAX_VALUE);
  }

  /**
   * {@return the softmax in which row i sees its first {@code visible + i} entries: {@link
   * Tensor#causalSoftmax}}
   *
   * @param visible entries that the first row sees, at least 1
   */
  public Variable causalSoftmax(int visible) {
    Tensor p = value.causalSoftmax(visible);
    UnaryOperator<Tensor> map = u -> p.softmaxDerivative(u, visible);
    return derived(p, along(this, () -> LinearMap.of(map, map)));
  }

  /** {@return the logarithm of the softmax along the last axis} */
  public Variable logSoftmax() {
    Tensor y = value.logSoftmax();
    return derived(
        y,
        along(
            this,
            () -> {
              Tensor p = y.exp();
              return LinearMap.of(
                  u -> u.minus(u.times(p).sum(-1)), v -> v.minus(p.times(v.sum(-1))));
            }));
  }

  /**
   * Minus infinity where row i (along the axis before the last) may not look: after its first
   * {@code visible + i} entries. Nothing passes there in either direction.
   *
   * @param visible entries that the first row sees, at least 1
   * @return the masked rows
   */
  public Variable causalMask(int visible) {
    return derived(
        value.causalMask(visible, Double.NEGATIVE_INFINITY),
        along(
            this,
            () -> LinearMap.of(u -> u.causalMask(visible, 0), v -> v.causalMask(visible, 0))));
  }

  /**
   * Keeps the {@code count} largest entries along the last axis (the first of equals), zeroes the
   * rest.
   *
   * @param count from 0 to the size of the axis
   * @return the entries kept, among zeros
   */
  public Variable topK(int count) {
    Tensor mask = value.topKMask(count);
    return derived(value.times(mask), along(this, () -> diagonal(mask)));
  }

  // ---- layout ------------------------------------------------------------------------------

  /**
   * {@return the same elements under another shape}
   *
   * @param target has as many elements
   */
  public Variable reshape(Shape target) {
    return derived(
        value.reshape(target),
        along(
            this,
            () ->
                LinearMap.of(
                    u -> u.reshape(target.prepend(u.shape().size(0))),
                    v -> v.reshape(shape().prepend(v.shape().size(0))))));
  }

  /**
   * {@link #reshape(Shape)} to these axes.
   *
   * @param dimensions sizes of the axes, which have as many elements
   * @return the same elements
   */
  public Variable reshape(int... dimensions) {
    return reshape(Shape.of(dimensions));
  }

  /**
   * Axes in another order: axis i of the result is axis {@code axes[i]} of this.
   *
   * @param axes every axis once, from 0
   * @return the reordered variable
   */
  public Variable permute(int... axes) {
    int[] order = axes.clone();
    return derived(
        value.permute(order),
        along(
            this,
            () -> {
              int[] forth = new int[order.length + 1];
              int[] back = new int[order.length + 1];
              for (int i = 0; i < order.length; i++) {
                forth[i + 1] = order[i] + 1;
                back[order[i] + 1] = i + 1;
              }
              return LinearMap.of(u -> u.permute(forth), v -> v.permute(back));
            }));
  }

  /**
   * {@return the part of one axis from {@code from} (inclusive) to {@code to} (exclusive)}
   *
   * @param axis from 0, or from the end: -1 is the last
   * @param from the first entry
   * @param to after the last entry
   */
  public Variable slice(int axis, int from, int to) {
    int fromEnd = shape().axis(axis) - shape().rank();
    int size = shape().size(axis);
    return derived(
        value.slice(axis, from, to),
        along(
            this,
            () -> LinearMap.of(u -> u.slice(fromEnd, from, to), v -> v.pad(fromEnd, from, size))));
  }

  /**
   * {@return the entries of one axis at these indices; an index may come more than once}
   *
   * @param axis from 0, or from the end: -1 is the last
   * @param indices entries, from 0
   */
  public Variable gather(int axis, int... indices) {
    int fromEnd = shape().axis(axis) - shape().rank();
    int size = shape().size(axis);
    int[] entries = indices.clone();
    return derived(
        value.gather(axis, entries),
        along(
            this,
            () ->
                LinearMap.of(
                    u -> u.gather(fromEnd, entries), v -> v.scatterAdd(fromEnd, size, entries))));
  }

  /**
   * {@return the variables joined along one axis}
   *
   * @param axis from 0, or from the end: -1 is the last
   * @param parts at least one; they differ along that axis at most
   */
  public static Variable concat(int axis, List<Variable> parts) {
    requireArgument(!parts.isEmpty(), "concat: there is nothing to join");
    Tensor y = Tensor.concat(axis, parts.stream().map(Variable::value).toList());
    int fromEnd = y.shape().axis(axis) - y.shape().rank();
    int whole = y.shape().size(axis);
    Along[] dependences = new Along[parts.size()];
    int position = 0;
    for (int i = 0; i < dependences.length; i++) {
      Variable part = parts.get(i);
      int from = position;
      int to = from + part.shape().size(axis);
      dependences[i] =
          along(
              part,
              () ->
                  LinearMap.of(u -> u.pad(fromEnd, from, whole), v -> v.slice(fromEnd, from, to)));
      position = to;
    }
    return derived(y, dependences);
  }

  @Override
  public String toString() {
    return (isConstant() ? "constant " : "variable ") + value;
  }
}
