package dev.tributary.autodiff;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.Random;
import java.util.function.UnaryOperator;

/** Says how wrong a derivative is: the dot test of its two directions, and central differences. */
public final class DerivativeCheck {
  /** Near the cube root of the epsilon of doubles, where rounding and curvature err alike. */
  private static final double STEP = 6e-6;

  private DerivativeCheck() {}

  /**
   * Dot test: |⟨push(u), v⟩ - ⟨u, pull(v)⟩| for random u and v, relative to ‖push(u)‖‖v‖ +
   * ‖u‖‖pull(v)‖.
   *
   * @param map what is tested
   * @param dtype element type of the directions
   * @param directions how many are mapped at once
   * @param seed of the random directions
   * @return a few epsilons of {@code dtype} if the two directions are adjoint
   * @throws IllegalArgumentException if the map gives another shape than it should
   */
  public static double adjoint(LinearMap map, DType dtype, int directions, long seed) {
    Random random = new Random(seed);
    try (Scope scope = Scope.open()) {
      Tensor u = gaussian(dtype, map.domain().prepend(directions), random);
      Tensor v = gaussian(dtype, map.codomain().prepend(directions), random);
      double[] moved = map.push(u).toDoubles();
      double[] pulled = map.pull(v).toDoubles();
      double[] from = u.toDoubles();
      double[] to = v.toDoubles();
      double scale = norm(moved) * norm(to) + norm(from) * norm(pulled);
      return Math.abs(dot(moved, to) - dot(from, pulled)) / Math.max(scale, Double.MIN_NORMAL);
    }
  }

  /**
   * Compares a push with (f(x + h u) - f(x - h u)) / 2h for a random direction u.
   *
   * @param function of primitives of {@link Variable}, smooth near {@code at}
   * @param at where, DOUBLE
   * @param seed of the random directions
   * @return the largest difference, relative to the largest entry of either side or 1e-3
   * @throws IllegalArgumentException if {@code at} is not DOUBLE
   */
  public static double centralDifferences(UnaryOperator<Variable> function, Tensor at, long seed) {
    requireArgument(
        at.dtype() == DType.DOUBLE, "central differences need DOUBLE, not %s", at.dtype());
    try (Scope scope = Scope.open()) {
      Tensor direction = gaussian(DType.DOUBLE, at.shape(), new Random(seed));
      Variable input = Variable.input(at);
      double[] moved =
          Jacobian.of(function.apply(input), input)
              .push(direction.reshape(at.shape().prepend(1)))
              .toDoubles();
      double[] ahead = valueAt(function, at.plus(direction.times(STEP)));
      double[] behind = valueAt(function, at.plus(direction.times(-STEP)));
      double error = 0;
      double scale = 1e-3;
      for (int i = 0; i < moved.length; i++) {
        double difference = (ahead[i] - behind[i]) / (2 * STEP);
        error = Math.max(error, Math.abs(moved[i] - difference));
        scale = Math.max(scale, Math.max(Math.abs(moved[i]), Math.abs(difference)));
      }
      return error / scale;
    }
  }

  private static double[] valueAt(UnaryOperator<Variable> function, Tensor at) {
    return function.apply(Variable.constant(at)).value().toDoubles();
  }

  private static Tensor gaussian(DType dtype, Shape shape, Random random) {
    return Tensor.of(
        dtype,
        shape,
        random.doubles(shape.length(), 0, 1).map(x -> random.nextGaussian()).toArray());
  }

  private static double dot(double[] x, double[] y) {
    double sum = 0;
    for (int i = 0; i < x.length; i++) {
      sum += x[i] * y[i];
    }
    return sum;
  }

  private static double norm(double[] x) {
    return Math.sqrt(dot(x, x));
  }
}
