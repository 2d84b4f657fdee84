package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;

/** Whether derivatives see the scales of norms move. */
public enum ScaleGradient {
  /** They do. */
  LIVE,
  /** Scales are held fixed. */
  DETACHED;

  Variable seen(Variable scale) {
    return this == DETACHED ? scale.detach() : scale;
  }
}
