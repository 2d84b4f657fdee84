package dev.tributary.transformer;

import static dev.tributary.transformer.TransformerConfig.requirePositive;

import java.util.Optional;

/**
 * Sizes and kind of an {@link Mlp}.
 *
 * @param entry the norm through which it reads
 * @param neurons how many
 * @param kind of its neurons
 * @param activation function of its neurons
 * @param inputBias whether what neurons take has a bias
 * @param outputBias whether the output has one
 * @param outlet what its output passes on its way to the residual stream
 */
public record MlpConfig(
    Optional<NormConfig> entry,
    int neurons,
    Kind kind,
    MlpActivation activation,
    boolean inputBias,
    boolean outputBias,
    OutletConfig outlet) {
  /** What neurons compute. */
  public enum Kind {
    /** The activation function of one linear map. */
    PLAIN,
    /** The activation function of one linear map, the gate, times another. */
    GATED
  }

  /**
   * Checks the size.
   *
   * @param entry {@link #entry()}
   * @param neurons {@link #neurons()}
   * @param kind {@link #kind()}
   * @param activation {@link #activation()}
   * @param inputBias {@link #inputBias()}
   * @param outputBias {@link #outputBias()}
   * @param outlet {@link #outlet()}
   * @throws IllegalArgumentException if there are no neurons
   */
  public MlpConfig {
    requirePositive("neurons", neurons);
  }

  /**
   * {@return an MLP as in GPT-2: plain, with biases}
   *
   * @param entry the norm through which it reads
   * @param neurons {@link #neurons()}
   * @param activation {@link #activation()}
   */
  public static MlpConfig plain(NormConfig entry, int neurons, MlpActivation activation) {
    return new MlpConfig(
        Optional.of(entry), neurons, Kind.PLAIN, activation, true, true, OutletConfig.NONE);
  }
}
