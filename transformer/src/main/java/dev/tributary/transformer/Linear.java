package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Tensor;

/**
 * Affine map y = x · weight + bias of the last axis.
 *
 * @param weight [input, output]
 * @param bias [output]
 */
public record Linear(Tensor weight, Tensor bias) {
  /**
   * The map.
   *
   * @param x [.., input]
   * @return x · weight + bias, [.., output]
   */
  public Variable apply(Variable x) {
    return x.affine(Variable.constant(weight), Variable.constant(bias));
  }

  /**
   * The map where its value was recorded earlier: only the derivative is new.
   *
   * @param x [.., input]
   * @param value the result, [.., output]
   * @return the value, with its derivative along {@code x}
   */
  public Variable apply(Variable x, Tensor value) {
    return x.through(Variable.rightFactor(weight), value);
  }

  void save(Weights.Taker weights, String name) {
    weights.put(name + ".weight", weight);
    weights.put(name + ".bias", bias);
  }

  /**
   * {@return the map to these outputs only}
   *
   * @param outputs from 0
   */
  public Linear columns(int... outputs) {
    return new Linear(weight.gather(-1, outputs), bias.gather(-1, outputs));
  }

  /**
   * {@return the map to the outputs from {@code from} to {@code to} only}
   *
   * @param from the first output
   * @param to after the last output
   */
  public Linear columns(int from, int to) {
    return new Linear(weight.slice(-1, from, to), bias.slice(-1, from, to));
  }
}
