package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Tensor;
import java.util.Arrays;

/**
 * Holds what makes a transformer curved as it was in a base run of the same model and tokens: the
 * scales of layer norms, the attention patterns, and the slopes of neurons (each moves along its
 * tangent). What remains is linear in the embeddings and goes through the values of the base run.
 */
public final class Frozen extends Change {
  private final Run base;

  private Frozen(Run base) {
    this.base = base;
  }

  /**
   * Frozen as in this run.
   *
   * @param base of the same model and as many tokens
   * @return the change
   */
  public static Frozen as(Run base) {
    return new Frozen(base);
  }

  @Override
  int firstLayer(TransformerConfig config) {
    return 0;
  }

  @Override
  void requireFits(Run other) {
    requireArgument(
        base.model().hasWeightsOf(other.model()),
        "frozen: the run that is held is of another model, %s, than the one that is changed, %s",
        base.model().description(),
        other.model().description());
    requireArgument(
        Arrays.equals(base.tokens(), other.tokens()),
        "frozen: the run that is held has tokens %s and the one that is changed %s",
        Arrays.toString(base.tokens()),
        Arrays.toString(other.tokens()));
  }

  @Override
  Variable at(Site site, int layer, Variable variable, Run.Recorder run) {
    return switch (site) { // without a default, so that a new site has to say what it is
      case FINAL_SCALE -> Variable.constant(base.value(site));
      case ATTENTION_SCALE, MLP_SCALE, PATTERN -> Variable.constant(base.value(site, layer));
      case MLP_ACTIVATION -> {
        Tensor preActivation = base.value(Site.MLP_PRE_ACTIVATION, layer);
        Tensor slope = base.model().block(layer).mlp().activation().derivative(preActivation);
        Variable moved =
            run.recorded(Site.MLP_PRE_ACTIVATION, layer)
                .minus(Variable.constant(preActivation))
                .times(Variable.constant(slope));
        yield moved.plus(Variable.constant(base.value(site, layer)));
      }
      case TOKEN_EMBEDDING,
          POSITION_EMBEDDING,
          EMBEDDING,
          QUERY,
          KEY,
          VALUE,
          SCORES,
          HEAD_OUTPUT,
          ATTENTION_OUTPUT,
          RESIDUAL_AFTER_ATTENTION,
          MLP_PRE_ACTIVATION,
          MLP_OUTPUT,
          RESIDUAL_AFTER_MLP,
          FINAL_NORMALISED,
          LOGITS ->
          variable;
    };
  }

  @Override
  public String toString() {
    return "frozen";
  }
}
