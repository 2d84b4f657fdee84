package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.List;

/**
 * Sets a latent of a transcoder, which the model does not compute with: where its dictionary
 * writes, the difference between the value and what the latent is in the changed run, times the row
 * of its decoder, is added to what the model computes. Derivatives see no latent move.
 */
public final class LatentIntervention extends Change {
  private final Dictionary dictionary;
  private final int token;
  private final int latent;
  private final double value;

  private LatentIntervention(Dictionary dictionary, int token, int latent, double value) {
    this.dictionary = dictionary;
    this.token = token;
    this.latent = latent;
    this.value = value;
  }

  /**
   * {@return the intervention that sets a latent}
   *
   * @param dictionary a transcoder or cross-layer transcoder
   * @param token from 0
   * @param latent from 0
   * @param value what it is set to
   * @throws IllegalArgumentException if the dictionary is an autoencoder or has no such latent, or
   *     the value is not finite
   */
  public static LatentIntervention set(Dictionary dictionary, int token, int latent, double value) {
    requireArgument(
        !dictionary.isAutoencoder(),
        "%s writes what it reads: latents of transcoders are set this way",
        dictionary);
    requireArgument(
        latent >= 0 && latent < dictionary.latentCount(),
        "latent %d of %s, which has %d, counted from 0",
        latent,
        dictionary,
        dictionary.latentCount());
    requireArgument(Double.isFinite(value), "latent %d is set to %s", latent, value);
    return new LatentIntervention(dictionary, token, latent, value);
  }

  @Override
  int firstLayer(Transformer model) {
    return dictionary.decoders().get(0).place().layer();
  }

  @Override
  boolean changes(Site site) {
    return dictionary.decoders().stream().anyMatch(decoder -> decoder.place().site() == site);
  }

  @Override
  void requireFits(Run base) {
    dictionary.requireFits(base.model());
    requireArgument(
        token >= 0 && token < base.length(),
        "%s: the run has %d tokens, counted from 0",
        this,
        base.length());
  }

  @Override
  Variable at(Site site, int layer, Variable variable, Run.Recorder run) {
    List<Dictionary.Decoder> decoders = dictionary.decoders();
    Variable changed = variable;
    for (int i = 0; i < decoders.size(); i++) {
      Place place = decoders.get(i).place();
      if (place.site() == site && place.layer() == layer) {
        changed = changed.plus(Variable.constant(added(i, run, variable.shape().size(0))));
      }
    }
    return changed;
  }

  /** What one decoder adds at all tokens, [token, written]. */
  private Tensor added(int decoder, Run.Recorder run, int tokens) {
    try (Scope scope = Scope.open()) {
      Variable read = run.readBy(dictionary).slice(0, token, token + 1);
      Variable now = dictionary.latent(read, ScaleGradient.DETACHED, latent);
      Tensor rows = dictionary.decoders().get(decoder).rows().of(latent);
      Tensor scaled = dictionary.scale(read.value()).map(rows::times).orElse(rows);
      Tensor row = scaled.times(value - now.value().item());
      return scope.keep(row.reshape(Shape.of(1, row.shape().length())).pad(0, token, tokens));
    }
  }

  @Override
  public String toString() {
    return "latent %d of %s at token %d set to %s".formatted(latent, dictionary, token, value);
  }
}
