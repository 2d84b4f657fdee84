package dev.tributary.transformer;

/** Whether the derivative of a layer norm sees its scale move. */
public enum ScaleGradient {
  /** The full derivative. */
  LIVE,
  /** The scale is held fixed, which makes the layer norm linear. */
  DETACHED
}
