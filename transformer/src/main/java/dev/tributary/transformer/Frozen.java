package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Tensor;
import java.util.Arrays;

/**
 * Holds what makes a transformer curved as it was in a base run: the scales of layer norms, the
 * attention patterns, and the slopes of neurons (each moves along its tangent). What remains is
 * linear in the embeddings and goes through the values of the base run.
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
        Arrays.equals(base.tokens(), other.tokens()),
        "frozen: the run that is held has tokens %s and the one that is changed %s",
        Arrays.toString(base.tokens()),
        Arrays.toString(other.tokens()));
  }

  @Override
  Variable at(Site site, int layer, Variable variable, Run.Recorder run) {
    return switch (site) {
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
      default -> variable;
    };
  }
}
