package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;

/**
 * A named place in the model whose tensor a run records. Names of axes in brackets; sites of the
 * whole model first and last, between them those that every layer has.
 */
public enum Site {
  /** [token, dModel] */
  TOKEN_EMBEDDING(false),
  /** [token, dModel] */
  POSITION_EMBEDDING(false),
  /** Residual stream at its start, token plus position, [token, dModel] */
  EMBEDDING(false),

  /** Scale of the layer norm before attention, [token, 1] */
  ATTENTION_SCALE(true),
  /** [head, token, dHead] */
  QUERY(true),
  /** [head, token, dHead] */
  KEY(true),
  /** [head, token, dHead] */
  VALUE(true),
  /** Query-key products over √dHead, minus infinity where the key is later, [head, query, key] */
  SCORES(true),
  /** Softmax of the scores, [head, query, key] */
  PATTERN(true),
  /** Sum of values weighted by the pattern, [head, query, dHead] */
  HEAD_OUTPUT(true),
  /** What attention adds to the residual stream, bias included, [token, dModel] */
  ATTENTION_OUTPUT(true),
  /** Residual stream between attention and MLP, [token, dModel] */
  RESIDUAL_AFTER_ATTENTION(true),
  /** Scale of the layer norm before the MLP, [token, 1] */
  MLP_SCALE(true),
  /** [token, neuron] */
  MLP_PRE_ACTIVATION(true),
  /** [token, neuron] */
  MLP_ACTIVATION(true),
  /** What the MLP adds to the residual stream, bias included, [token, dModel] */
  MLP_OUTPUT(true),
  /** Residual stream after the MLP, [token, dModel] */
  RESIDUAL_AFTER_MLP(true),

  /** Scale of the last layer norm, [token, 1] */
  FINAL_SCALE(false),
  /** Final residual stream after the last layer norm, [token, dModel] */
  FINAL_NORMALISED(false),
  /** [token, vocabulary] */
  LOGITS(false);

  private final boolean perLayer;

  Site(boolean perLayer) {
    this.perLayer = perLayer;
  }

  /** {@return whether every layer has one} */
  public boolean perLayer() {
    return perLayer;
  }

  /** Whether it is the scale of a layer norm, which rows are divided by. */
  boolean isScale() {
    return this == ATTENTION_SCALE || this == MLP_SCALE || this == FINAL_SCALE;
  }

  /** Sees a variable of the forward pass as it passes a site, and says what goes on from there. */
  @FunctionalInterface
  interface Visitor {
    Visitor NONE = (site, variable) -> variable;

    Variable at(Site site, Variable variable);
  }
}
