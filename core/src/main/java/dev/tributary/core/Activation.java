package dev.tributary.core;

import dev.tributary.core.Kernels.Unary;

/** What the gate of a gated neuron passes: a function of one number. */
public enum Activation {
  /** {@link Tensor#gelu} */
  GELU(Unary.GELU),
  /** {@link Tensor#exactGelu} */
  EXACT_GELU(Unary.EXACT_GELU),
  /** {@link Tensor#silu} */
  SILU(Unary.SILU),
  /** {@link Tensor#relu} */
  RELU(Unary.RELU);

  final Unary function;

  Activation(Unary function) {
    this.function = function;
  }
}
