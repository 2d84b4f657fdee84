package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;

/**
 * What is different in a run that is run again: an {@link Intervention}, or that it is {@link
 * Frozen}. See {@link Run#with}.
 */
public abstract sealed class Change permits Intervention, Frozen {
  Change() {}

  /** The earliest layer that must be computed again; 0 also where the embeddings change. */
  abstract int firstLayer(Transformer model);

  /** Whether only what the model reads is changed, and nothing of what it computes from that. */
  boolean isOfInput() {
    return false;
  }

  /** Whether something else may go on from a site than what arrived there. */
  abstract boolean changes(Site site);

  /** Refuses a base run that this change does not fit. */
  abstract void requireFits(Run base);

  /**
   * What goes on from a site.
   *
   * @param layer of the site, 0 for sites of the whole model
   * @param variable what arrived there
   * @param run the sites before this one
   */
  abstract Variable at(Site site, int layer, Variable variable, Run.Recorder run);
}
