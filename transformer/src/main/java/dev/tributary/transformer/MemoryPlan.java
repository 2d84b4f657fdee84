package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.DType;
import java.util.Collection;
import java.util.List;
import java.util.Locale;

/**
 * How much off-heap memory a model and its runs need, said before any of it is asked for.
 *
 * @param weights of the model and its autoencoders, bytes
 * @param recording what one run records: every site and what its derivative holds, bytes
 * @param gradients what one pull through all of that needs besides, bytes
 */
public record MemoryPlan(long weights, long recording, long gradients) {
  /**
   * {@return what a run of a model without autoencoders needs}
   *
   * @param config sizes of the model
   * @param dtype in which it computes
   * @param tokens of the prompt
   */
  public static MemoryPlan of(TransformerConfig config, DType dtype, int tokens) {
    return of(config, List.of(), dtype, tokens);
  }

  /**
   * What a run needs.
   *
   * @param tokens of the prompt
   * @throws IllegalArgumentException if there are none, or more than the context holds
   */
  static MemoryPlan of(
      TransformerConfig config,
      Collection<SparseAutoencoder> autoencoders,
      DType dtype,
      int tokens) {
    requireArgument(
        tokens > 0 && tokens <= config.context(),
        "memory for %d tokens: the context of this model holds 1 to %d",
        tokens,
        config.context());
    double d = config.dModel();
    double t = tokens;
    double weights = 0;
    for (Slot slot : config.slots()) {
      weights += slot.shape().length();
    }
    double passed = 10 * t * d;
    double gradients = 0;
    for (LayerConfig layer : config.layers()) {
      double heads = layer.attention().heads();
      double inHeads = heads * layer.attention().dHead();
      double neurons = layer.mlp().neurons();
      passed += t * (8 * d + 8 * inHeads + 3 * neurons) + t * t * (4 * heads + 2);
      gradients += t * (2 * d + 4 * inHeads + 2 * neurons) + 2 * t * t * heads;
    }
    double logits = 2 * t * config.vocabulary(); // as they are and on their way there
    double encoded = 0;
    for (SparseAutoencoder autoencoder : autoencoders) {
      weights += 2.0 * autoencoder.latents() * autoencoder.width();
      encoded += t * (6.0 * autoencoder.latents() + 4.0 * autoencoder.width());
    }
    return new MemoryPlan(
        bytes(weights, dtype),
        bytes(passed + logits + encoded, dtype),
        bytes(gradients + 10 * t * d + t * config.vocabulary(), dtype));
  }

  private static long bytes(double elements, DType dtype) {
    return Math.round(elements * dtype.bytes());
  }

  /** {@return the sum of all three, bytes} */
  public long total() {
    return weights + recording + gradients;
  }

  @Override
  public String toString() {
    return String.format(
        Locale.ROOT,
        "%.0f MB: weights %.0f, recording %.0f, gradients %.0f",
        total() / 1e6,
        weights / 1e6,
        recording / 1e6,
        gradients / 1e6);
  }
}
