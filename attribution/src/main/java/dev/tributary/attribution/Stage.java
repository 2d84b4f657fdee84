package dev.tributary.attribution;

/** On which side of its nonlinearity a node is read. */
public enum Stage {
  /** Before: what a neuron or latent receives, the score of a head. */
  PRE_ACTIVATION,
  /** After: the activation of a neuron or latent, the probability of a head. */
  ACTIVATION
}
