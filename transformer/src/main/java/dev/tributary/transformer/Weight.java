package dev.tributary.transformer;

/** The weights that a transformer may have; which of them one has says its config. */
public enum Weight {
  /** [vocabulary, dModel] */
  TOKEN_EMBEDDING(Role.TABLE, false),
  /** [context, dModel] */
  POSITION_EMBEDDING(Role.TABLE, false),

  /** Of the norm through which attention reads, [dModel] */
  ATTENTION_NORM_GAIN(Role.GAIN, true),
  /** [dModel] */
  ATTENTION_NORM_BIAS(Role.BIAS, true),
  /** Queries of all heads, head by head, [dModel, head · dHead] */
  QUERY(Role.MATRIX, true),
  /** [head · dHead] */
  QUERY_BIAS(Role.BIAS, true),
  /** Of the norm of queries, [dHead], or [head · dHead] if it is across heads */
  QUERY_NORM_GAIN(Role.GAIN, true),
  /** As the gain. */
  QUERY_NORM_BIAS(Role.BIAS, true),
  /** Keys of all key heads, [dModel, key head · dHead] */
  KEY(Role.MATRIX, true),
  /** [key head · dHead] */
  KEY_BIAS(Role.BIAS, true),
  /** Of the norm of keys, as of queries */
  KEY_NORM_GAIN(Role.GAIN, true),
  /** As the gain. */
  KEY_NORM_BIAS(Role.BIAS, true),
  /** Values of all key heads, [dModel, key head · dHead] */
  VALUE(Role.MATRIX, true),
  /** [key head · dHead] */
  VALUE_BIAS(Role.BIAS, true),
  /** From all heads to what attention writes, [head · dHead, dModel] */
  ATTENTION_OUTPUT(Role.MATRIX, true),
  /** [dModel] */
  ATTENTION_OUTPUT_BIAS(Role.BIAS, true),
  /** Of the norm of what attention writes, [dModel] */
  ATTENTION_OUTLET_GAIN(Role.GAIN, true),

  /** Of the norm through which the MLP reads, [dModel] */
  MLP_NORM_GAIN(Role.GAIN, true),
  /** [dModel] */
  MLP_NORM_BIAS(Role.BIAS, true),
  /** To what the activation function of the neurons takes, [dModel, neuron] */
  MLP_INPUT(Role.MATRIX, true),
  /** [neuron] */
  MLP_INPUT_BIAS(Role.BIAS, true),
  /** To what the gate of a gated MLP multiplies, [dModel, neuron] */
  MLP_UP(Role.MATRIX, true),
  /** [neuron] */
  MLP_UP_BIAS(Role.BIAS, true),
  /** From neurons to what the MLP writes, [neuron, dModel] */
  MLP_OUTPUT(Role.MATRIX, true),
  /** [dModel] */
  MLP_OUTPUT_BIAS(Role.BIAS, true),
  /** Of the norm of what the MLP writes, [dModel] */
  MLP_OUTLET_GAIN(Role.GAIN, true),

  /** Of the norm before the unembedding, [dModel] */
  FINAL_NORM_GAIN(Role.GAIN, false),
  /** [dModel] */
  FINAL_NORM_BIAS(Role.BIAS, false),
  /** [vocabulary, dModel] */
  UNEMBEDDING(Role.TABLE, false),
  /** [vocabulary] */
  UNEMBEDDING_BIAS(Role.BIAS, false);

  /** What a weight is to the function that it is part of. */
  public enum Role {
    /** Of a linear map, [input, output]. */
    MATRIX,
    /** A row for each token or position. */
    TABLE,
    /** Multiplies. */
    GAIN,
    /** Is added. */
    BIAS
  }

  private final Role role;
  private final boolean perLayer;

  Weight(Role role, boolean perLayer) {
    this.role = role;
    this.perLayer = perLayer;
  }

  /** {@return what it is to the function that it is part of} */
  public Role role() {
    return role;
  }

  /** {@return whether it belongs to a layer} */
  public boolean perLayer() {
    return perLayer;
  }
}
