package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.Arrays;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * What makes logits of normalised final residuals.
 *
 * @param rows [vocabulary, dModel]
 * @param bias [vocabulary], if there is one
 */
record Unembedding(TransformerConfig.Unembedding config, Tensor rows, Optional<Tensor> bias) {
  /** Of some words alone. */
  Unembedding of(int... words) {
    return new Unembedding(config, rows.gather(0, words), bias.map(b -> b.gather(0, words)));
  }

  /** From [token, dModel] to [token, word]. */
  Variable logits(Variable normalised) {
    Variable scaled = uncapped(normalised);
    OptionalDouble cap = config.cap();
    return cap.isEmpty()
        ? scaled
        : scaled.times(1 / cap.getAsDouble()).tanh().times(cap.getAsDouble());
  }

  /** The same before any cap. */
  Variable uncapped(Variable normalised) {
    Variable logits = product(normalised);
    if (bias.isPresent()) {
      logits = logits.plus(Variable.constant(bias.get()));
    }
    double multiplier = config.multiplier();
    return multiplier == 1 ? logits : logits.times(multiplier);
  }

  private Variable product(Variable normalised) {
    return normalised.matmulTransposed(Variable.constant(rows));
  }

  /** See {@link Transformer#logitDirections}. */
  Tensor directions(int... words) {
    try (Scope scope = Scope.open()) {
      int vocabulary = rows.shape().size(0);
      Tensor mean =
          Tensor.full(rows.dtype(), Shape.of(1, vocabulary), 1.0 / vocabulary).matmul(rows);
      return scope.keep(rows.gather(0, words).minus(mean).times(config.multiplier()));
    }
  }

  /** See {@link Transformer#logitBiases}. */
  double[] biases(int... words) {
    if (bias.isEmpty()) {
      return new double[words.length];
    }
    double[] all = bias.get().toDoubles();
    double mean = Arrays.stream(all).average().orElse(0);
    return Arrays.stream(words).mapToDouble(w -> (all[w] - mean) * config.multiplier()).toArray();
  }

  /** Logits that move along their tangents in a base run. */
  Variable linearised(Run base, Run.Recorder moved, Variable logits) {
    OptionalDouble cap = config.cap();
    if (cap.isEmpty()) {
      return logits;
    }
    Variable before = Variable.constant(base.value(Site.FINAL_NORMALISED));
    Variable change = moved.recorded(Site.FINAL_NORMALISED, 0).minus(before);
    Tensor held = base.value(Site.LOGITS);
    Tensor slope = held.times(1 / cap.getAsDouble()).square().negate().plus(1);
    return product(change)
        .times(config.multiplier())
        .times(Variable.constant(slope))
        .plus(Variable.constant(held));
  }
}
