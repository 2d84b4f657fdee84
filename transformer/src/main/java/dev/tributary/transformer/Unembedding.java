package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Tensor;
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
    Variable logits = product(normalised);
    if (bias.isPresent()) {
      logits = logits.plus(Variable.constant(bias.get()));
    }
    double multiplier = config.multiplier();
    Variable scaled = multiplier == 1 ? logits : logits.times(multiplier);
    OptionalDouble cap = config.cap();
    return cap.isEmpty()
        ? scaled
        : scaled.times(1 / cap.getAsDouble()).tanh().times(cap.getAsDouble());
  }

  private Variable product(Variable normalised) {
    return normalised.matmulTransposed(Variable.constant(rows));
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
