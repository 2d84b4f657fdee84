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
    double inHeads = (double) config.heads() * config.dHead();
    double n = config.neurons();
    double t = tokens;
    double weights =
        (double) config.vocabulary() * d * (config.tied() ? 1 : 2)
            + config.context() * d
            + config.layers() * (4 * d * inHeads + 3 * inHeads + 2 * d * n + n + 6 * d)
            + 2 * d;
    // Of a layer: 2 of each of two norms and 2 of each of two blocks; 2 of each of query, key,
    // value and output; activations before and after, and slopes; scores in 3 steps and pattern.
    double layer = t * (8 * d + 8 * inHeads + 3 * n) + t * t * (4.0 * config.heads() + 2);
    // Of a layer: the residual stream twice; query, key, value and output; activations before and
    // after; scores and pattern. What is pulled on the way lives for a step or a few.
    double gradients = t * (2 * d + 4 * inHeads + 2 * n) + 2 * t * t * config.heads();
    double outside = 10 * t * d;
    double logits = 2 * t * config.vocabulary(); // as they are and on their way there
    double encoded = 0;
    for (SparseAutoencoder autoencoder : autoencoders) {
      weights += 2.0 * autoencoder.latents() * autoencoder.width();
      encoded += t * (6.0 * autoencoder.latents() + 4.0 * autoencoder.width());
    }
    return new MemoryPlan(
        bytes(weights, dtype),
        bytes(config.layers() * layer + outside + logits + encoded, dtype),
        bytes(config.layers() * gradients + outside + t * config.vocabulary(), dtype));
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
