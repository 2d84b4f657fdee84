package dev.tributary.benchmarks;

import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.LayerNorm;
import dev.tributary.transformer.Linear;
import dev.tributary.transformer.ScaleGradient;
import java.util.function.IntToDoubleFunction;
import java.util.function.UnaryOperator;

/** Weights that a model does not hand out, read off what it computes. */
final class ReadOff {
  /** Gain and bias of a layer norm, [dModel] each. */
  record Norm(Tensor gain, Tensor bias) {}

  private ReadOff() {}

  /** The unit vectors, [size, size]. */
  static Tensor identity(int size) {
    return tensor(Shape.of(size, size), i -> i % (size + 1) == 0 ? 1 : 0);
  }

  /** An affine map of rows of {@code input} numbers: its derivative, and its value at zero. */
  static Linear affine(UnaryOperator<Variable> map, int input) {
    Tensor zero = Tensor.zeros(DType.FLOAT, Shape.of(1, input));
    Tensor units = identity(input).reshape(input, 1, input);
    Jacobian.Pushed pushed = Jacobian.pushOnce(map, zero, units);
    int output = pushed.value().shape().length();
    return new Linear(pushed.tangents().reshape(input, output), pushed.value().reshape(output));
  }

  /** A layer norm: its value at zero, and its derivative where the scale is known, at ±1. */
  static Norm norm(LayerNorm norm, int size, double epsilon) {
    Tensor signs = tensor(Shape.of(1, size), i -> i % 2 == 0 ? 1 : -1);
    UnaryOperator<Variable> map = x -> norm.apply(x, ScaleGradient.DETACHED);
    Tensor bias = map.apply(Variable.constant(signs.times(0))).value();
    Jacobian.Pushed pushed = Jacobian.pushOnce(map, signs, signs.reshape(1, 1, size));
    Tensor gain = pushed.tangents().reshape(1, size).times(signs).times(Math.sqrt(1 + epsilon));
    return new Norm(gain.reshape(size), bias.reshape(size));
  }

  private static Tensor tensor(Shape shape, IntToDoubleFunction element) {
    return Tensor.generate(
        DType.FLOAT,
        shape,
        (from, values, count) -> {
          for (int i = 0; i < count; i++) {
            values[i] = element.applyAsDouble(from + i);
          }
        });
  }
}
