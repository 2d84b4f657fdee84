package dev.tributary.autodiff;

import static dev.tributary.core.Checks.requireArgument;
import static dev.tributary.core.Checks.requirePresent;
import static dev.tributary.core.Checks.requireState;

import dev.tributary.autodiff.LinearMap.Rule;
import dev.tributary.core.Activation;
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

  /** A dependence whose rule is made only if {@code from} is not constant. */
  private record Along(Variable from, Supplier<Rule> rule) {
    LinearMap map(String name, Tensor value) {
      return new LinearMap(name, from.shape(), value.shape(), rule.get());
    }
  }

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

  private static Variable derived(String name, Tensor value, Along... dependences) {
    boolean live = false;
    boolean moving = false;
    for (Along along : dependences) {
      live |= along.from.live;
      moving |= along.from.tangents != null;
    }
    requireState(
        !(live && moving), "a variable that is pushed at once met one that is recorded: %s", value);
    if (moving) {
      return moving(value, pushed(name, value, dependences));
    }
    if (!live) {
      return constant(value);
    }
    List<Edge> edges = new ArrayList<>(dependences.length);
    for (Along along : dependences) {
      if (along.from.live) {
        edges.add(new Edge(along.from, along.map(name, value)));
      }
    }
    return new Variable(value, true, edges, null);
  }

  /** Makes each map, uses it and drops it with all that it holds. */
  private static Tensor pushed(String name, Tensor value, Along... dependences) {
    try (Scope scope = Scope.open()) {
      Tensor sum = null;
      for (Along along : dependences) {
        if (along.from.tangents != null) {
          Tensor part = along.map(name, value).push(along.from.tangents);
          sum = sum == null ? part : sum.plus(part);
        }
      }
      return scope.keep(requirePresent(sum, "no operand carries tangents"));
    }
  }

  /** What some steps give, and nothing of what is on the way. */
  private static Tensor result(Supplier<Tensor> steps) {
    try (Scope scope = Scope.open()) {
      return scope.keep(steps.get());
    }
  }

  private static Along along(Variable from, Supplier<Rule> rule) {
    return new Along(from, rule);
  }

  /**
   * {@return a variable whose value is known already and whose derivative along this one is {@code
   * map}: for primitives of one's own, and where a value was recorded earlier}
   *
   * @param map from the shape of this to that of {@code value}
   * @param value its numbers
   * @throws IllegalArgumentException if the map goes from or to another shape
   */
  public Variable through(LinearMap map, Tensor value) {
    requireArgument(
        map.domain().equals(shape()) && map.codomain().equals(value.shape()),
        "through: the map %s does not go from %s to %s",
        map,
        shape(),
        value.shape());
    return derived(map.name(), value, along(this, map::rule));
  }

  /**
   * {@return what some steps give, and of the values on the way nothing: for steps whose rules do
   * not hold what was computed on the way, such as layout, masks and maps by constants} If one
   * does, the first push or pull says that a tensor was used after its scope closed.
   *
   * @param steps of primitives; only their result may be used elsewhere
   */
  public static Variable resultOf(Supplier<Variable> steps) {
    try (Scope scope = Scope.open()) {
      Variable result = steps.get();
      scope.keep(result.value);
      if (result.tangents != null) {
        scope.keep(result.tangents);
      }
      return result;
    }
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
        "plus",
        y,
        along(this, () -> spread(shape(), y.shape(), u -> u)),
        along(other, () -> spread(other.shape(), y.shape(), u -> u)));
  }

  /**
   * {@return the difference, element by element}
   *
   * @param other a variable that broadcasts against this one
   */
  public Variable minus(Variable other) {
    Tensor y = value.minus(other.value);
    return derived(
        "minus",
        y,
        along(this, () -> spread(shape(), y.shape(), u -> u)),
        along(other, () -> spread(other.shape(), y.shape(), Tensor::negate)));
  }

  /**
   * {@return the product, element by element}
   *
   * @param other a variable that broadcasts against this one
   */
  public Variable times(Variable other) {
    Tensor y = value.times(other.value);
    return derived(
        "times",
        y,
        along(this, () -> spread(shape(), y.shape(), u -> u.times(other.value))),
        along(other, () -> spread(other.shape(), y.shape(), u -> u.times(value))));
  }

  /**
   * {@return the quotient, element by element}
   *
   * @param other a variable that broadcasts against this one
   */
  public Variable over(Variable other) {
    Tensor y = value.over(other.value);
    return derived(
        "over",
        y,
        along(this, () -> spread(shape(), y.shape(), u -> u.over(other.value))),
        along(
            other,
            () -> {
              Rule scaling = spread(other.shape(), y.shape(), u -> u.times(y));
              return new Rule(
                  u -> scaling.push().apply(u.over(other.value).negate()),
                  v -> scaling.pull().apply(v).over(other.value).negate());
            }));
  }

  /**
   * Adds a number to every element.
   *
   * @param number what is added
   * @return x plus the number
   */
  public Variable plus(double number) {
    return derived("plus", value.plus(number), along(this, () -> Rule.selfAdjoint(u -> u)));
  }

  /**
   * Multiplies every element by a number.
   *
   * @param number the factor
   * @return x times the number
   */
  public Variable times(double number) {
    return derived(
        "times", value.times(number), along(this, () -> Rule.selfAdjoint(u -> u.times(number))));
  }

  /**
   * An element-wise map of a tensor repeated from one shape to a larger one; its adjoint sums.
   *
   * @param map its own adjoint; what it holds broadcasts against [k, *to]
   */
  private static Rule spread(Shape from, Shape to, UnaryOperator<Tensor> map) {
    if (from.equals(to)) {
      return Rule.selfAdjoint(map);
    }
    return new Rule(
        u -> map.apply(aligned(u, from, to)).broadcastTo(to.prepend(u.shape().size(0))),
        v -> summed(map.apply(v), from, to));
  }

  /** Multiplication of every element by its own factor. */
  private static Rule diagonal(Tensor factors) {
    return Rule.selfAdjoint(u -> u.times(factors));
  }

  /** [k, *from] with axes of size 1 after the first, so that it broadcasts against [k, *to]. */
  private static Tensor aligned(Tensor u, Shape from, Shape to) {
    return u.reshape(from.padTo(to.rank()).prepend(u.shape().size(0)));
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
        "matmul",
        y,
        along(
            this,
            () ->
                new Rule(
                    u -> aligned(u, shape(), y.shape()).matmul(right.value),
                    v -> summedBatch(v.matmulTransposed(right.value), shape(), y.shape()))),
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
        "matmulTransposed",
        y,
        along(
            this,
            () ->
                new Rule(
                    u -> aligned(u, shape(), y.shape()).matmulTransposed(right.value),
                    v -> summedBatch(v.matmul(right.value), shape(), y.shape()))),
        along(
            right,
            () ->
                new Rule(
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
        "affine",
        y,
        along(this, () -> rightFactor(weight.value)),
        along(weight, () -> leftTimes(this, weight, y.shape())),
        along(bias, () -> spread(bias.shape(), y.shape(), u -> u)));
  }

  /**
   * {@return the map x to x · {@code right}}
   *
   * @param domain shape of x, [.., k], with at least as many axes as {@code right}
   * @param right [.., k, n]
   * @throws IllegalArgumentException if they do not share k
   */
  public static LinearMap rightFactor(Shape domain, Tensor right) {
    requireArgument(
        domain.size(-1) == right.shape().size(-2),
        "rightFactor: rows of %s and %s do not share an inner axis (%d and %d)",
        domain,
        right.shape(),
        domain.size(-1),
        right.shape().size(-2));
    Shape codomain = domain.with(-1, right.shape().size(-1));
    return new LinearMap("matmul", domain, codomain, rightFactor(right));
  }

  private static Rule rightFactor(Tensor right) {
    return new Rule(u -> u.matmul(right), v -> v.matmulTransposed(right));
  }

  private static Rule leftTimes(Variable left, Variable right, Shape product) {
    Tensor x = left.value;
    if (right.shape().rank() == 2) { // all rows of x meet one matrix: one product instead of many
      int columns = product.size(-1);
      int rows = product.subShape(0, product.rank() - 1).length();
      Tensor all = x.reshape(rows, x.shape().size(-1));
      return new Rule(
          u -> all.matmul(u).reshape(product.prepend(u.shape().size(0))),
          v -> all.transposedMatmul(v.reshape(v.shape().size(0), rows, columns)));
    }
    return new Rule(
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
    return derived("square", value.square(), along(this, () -> diagonal(value.times(2))));
  }

  /** {@return the square root} */
  public Variable sqrt() {
    Tensor y = value.sqrt();
    return derived("sqrt", y, along(this, () -> Rule.selfAdjoint(u -> u.over(y).times(0.5))));
  }

  /** {@return e to the power x} */
  public Variable exp() {
    Tensor y = value.exp();
    return derived("exp", y, along(this, () -> diagonal(y)));
  }

  /** {@return the natural logarithm} */
  public Variable log() {
    return derived("log", value.log(), along(this, () -> Rule.selfAdjoint(u -> u.over(value))));
  }

  /** {@return the hyperbolic tangent} */
  public Variable tanh() {
    Tensor y = value.tanh();
    return derived(
        "tanh", y, along(this, () -> diagonal(result(() -> y.square().negate().plus(1)))));
  }

  /** {@return max(x, 0), with derivative 0 at 0} */
  public Variable relu() {
    return derived("relu", value.relu(), along(this, () -> diagonal(value.positive())));
  }

  /** {@return the Gaussian error linear unit in its tanh form, see {@link Tensor#gelu}} */
  public Variable gelu() {
    return withDerivative("gelu", Tensor::gelu, Tensor::geluDerivative, Tensor::geluWithDerivative);
  }

  /** {@return the Gaussian error linear unit as it is defined, see {@link Tensor#exactGelu}} */
  public Variable exactGelu() {
    return withDerivative(
        "exactGelu",
        Tensor::exactGelu,
        Tensor::exactGeluDerivative,
        Tensor::exactGeluWithDerivative);
  }

  /** {@return the sigmoid linear unit, see {@link Tensor#silu}} */
  public Variable silu() {
    return withDerivative("silu", Tensor::silu, Tensor::siluDerivative, Tensor::siluWithDerivative);
  }

  private Variable withDerivative(
      String name,
      UnaryOperator<Tensor> alone,
      UnaryOperator<Tensor> derivative,
      Function<Tensor, Tensor.WithDerivative> both) {
    if (!live) {
      return derived(
          name, alone.apply(value), along(this, () -> diagonal(derivative.apply(value))));
    }
    Tensor.WithDerivative y = both.apply(value);
    return derived(name, y.value(), along(this, () -> diagonal(y.derivative())));
  }

  /**
   * {@return function(x) · up, element by element}
   *
   * @param function of x, the gate
   * @param up of the same shape
   */
  public Variable gated(Activation function, Variable up) {
    if (!live && !up.live) {
      return derived(
          "gated",
          value.gated(function, up.value),
          along(this, () -> diagonal(value.gatedWithDerivatives(function, up.value).alongGate())),
          along(up, () -> diagonal(value.gatedWithDerivatives(function, up.value).alongUp())));
    }
    Tensor.Gated y = value.gatedWithDerivatives(function, up.value);
    return derived(
        "gated",
        y.value(),
        along(this, () -> diagonal(y.alongGate())),
        along(up, () -> diagonal(y.alongUp())));
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
        "sum",
        value.sum(axis),
        along(
            this,
            () ->
                new Rule(
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
        "centred",
        value.centred(axis),
        along(this, () -> Rule.selfAdjoint(u -> u.centred(fromEnd))));
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
        "rootMeanSquare",
        y,
        along(
            this,
            () ->
                new Rule(
                    u -> value.rowDots(u).over(y.times(n)), v -> value.times(v.over(y.times(n))))));
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
        "rescaled",
        y,
        along(this, () -> Rule.selfAdjoint(u -> u.rescaled(scale.value, gain, bias.times(0)))),
        along(
            scale,
            () -> {
              Supplier<Tensor> divisor = () -> scale.value.square().negate();
              return new Rule(
                  u -> value.times(gain).times(u.over(divisor.get())),
                  v -> value.times(gain).rowDots(v).over(divisor.get()));
            }));
  }

  /**
   * Pairs of numbers turned by angles, see {@link Tensor#rotated}.
   *
   * @param cosine of the angle of each pair, [row, pair]
   * @param sine of the same angles
   * @param distance from the first number of a pair to the second
   * @return of the same shape
   */
  public Variable rotated(Tensor cosine, Tensor sine, int distance) {
    return derived(
        "rotated",
        value.rotated(cosine, sine, distance),
        along(
            this,
            () ->
                new Rule(
                    u -> u.rotated(cosine, sine, distance),
                    v -> v.rotated(cosine, sine.negate(), distance))));
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
    return derived(
        "softmax", p, along(this, () -> Rule.selfAdjoint(u -> p.softmaxDerivative(u, visible))));
  }

  /** {@return the logarithm of the softmax along the last axis} */
  public Variable logSoftmax() {
    Tensor y = value.logSoftmax();
    return derived(
        "logSoftmax",
        y,
        along(
            this,
            () -> {
              Tensor p = y.exp();
              return new Rule(u -> u.minus(u.times(p).sum(-1)), v -> v.minus(p.times(v.sum(-1))));
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
        "causalMask",
        value.causalMask(visible, Double.NEGATIVE_INFINITY),
        along(this, () -> Rule.selfAdjoint(u -> u.causalMask(visible, 0))));
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
    return derived("topK", value.times(mask), along(this, () -> diagonal(mask)));
  }

  // ---- layout ------------------------------------------------------------------------------

  /**
   * {@return the same elements under another shape}
   *
   * @param target has as many elements
   */
  public Variable reshape(Shape target) {
    return derived(
        "reshape",
        value.reshape(target),
        along(
            this,
            () ->
                new Rule(
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
        "permute",
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
              return new Rule(u -> u.permute(forth), v -> v.permute(back));
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
        "slice",
        value.slice(axis, from, to),
        along(
            this,
            () -> new Rule(u -> u.slice(fromEnd, from, to), v -> v.pad(fromEnd, from, size))));
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
        "gather",
        value.gather(axis, entries),
        along(
            this,
            () ->
                new Rule(
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
              () -> new Rule(u -> u.pad(fromEnd, from, whole), v -> v.slice(fromEnd, from, to)));
      position = to;
    }
    return derived("concat", y, dependences);
  }

  @Override
  public String toString() {
    return (isConstant() ? "constant " : "variable ") + value;
  }
}
