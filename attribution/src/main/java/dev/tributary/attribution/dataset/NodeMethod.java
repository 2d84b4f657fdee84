package dev.tributary.attribution.dataset;

/**
 * How nodes are scored, each at one token. Where heads share a key head, each has a key and a value
 * of its own.
 *
 * @see <a href="https://arxiv.org/abs/2403.00745">Kramár et al. 2024, AtP*</a>
 */
public enum NodeMethod {
  /** What really happens: a run for each node, in which it is as in the corrupted run. */
  EXACT,
  /** Attribution patching: how far the node moves times the gradient of the clean run. */
  ATP,
  /** The same, but queries and keys see how far the attention pattern really moves. */
  ATP_QK_FIX,
  /**
   * The mean of magnitudes of {@link #ATP} over the layers, what each writes in turn being a
   * constant for the gradient; a layer does not count for its own nodes, and all count for what
   * dictionaries write into the residual stream itself.
   */
  GRAD_DROP,
  /** The same of {@link #ATP_QK_FIX}. */
  ATP_STAR;

  boolean fixesPatterns() {
    return this == ATP_QK_FIX || this == ATP_STAR;
  }

  boolean dropsLayers() {
    return this == GRAD_DROP || this == ATP_STAR;
  }
}
