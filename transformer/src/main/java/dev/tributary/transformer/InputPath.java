package dev.tributary.transformer;

/** Through which input of a node derivatives pass; the others are held fixed. */
public enum InputPath {
  /** What an attention head looks for. */
  QUERY,
  /** What it looks at. */
  KEY,
  /** What it takes from there. */
  VALUE,
  /** What the activation function of a gated neuron takes. */
  GATE,
  /** What the gate of a gated neuron multiplies. */
  UP,
  /** All that there are. */
  ALL;

  boolean includes(InputPath path) {
    return this == ALL || this == path;
  }
}
