package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Tensor;
import java.util.Optional;

/**
 * Affine map y = x · weight + bias of the last axis.
 *
 * @param weight [input, output]
 * @param bias [output], if there is one
 */
record Linear(Tensor weight, Optional<Tensor> bias) {
  /** From [.., input] to [.., output]. */
  Variable apply(Variable x) {
    Variable matrix = Variable.constant(weight);
    return bias.map(added -> x.affine(matrix, Variable.constant(added)))
        .orElseGet(() -> x.matmul(matrix));
  }

  /** The map where its value was recorded earlier: only the derivative along x is new. */
  Variable apply(Variable x, Tensor value) {
    return x.through(Variable.rightFactor(x.shape(), weight), value);
  }

  /** The map to these outputs only. */
  Linear columns(int... outputs) {
    return new Linear(weight.gather(-1, outputs), bias.map(b -> b.gather(-1, outputs)));
  }

  /** The map to the outputs from one to before another only. */
  Linear columns(int from, int to) {
    return new Linear(weight.slice(-1, from, to), bias.map(b -> b.slice(-1, from, to)));
  }
}
