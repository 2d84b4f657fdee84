package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;
import static dev.tributary.transformer.TransformerConfig.requirePositive;

import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;

/**
 * Sizes and kind of an {@link Attention}. {@code heads} times {@code dHead} need not be the width
 * of the residual stream.
 *
 * @param entry the norm through which it reads
 * @param heads of queries
 * @param keyHeads of keys and values; as many query heads share each
 * @param dHead width of a query, key or value of one head
 * @param headNorm of queries and of keys, before positions turn them
 * @param positions how queries and keys depend on their tokens
 * @param scoreScale what query-key products are multiplied with
 * @param cap c of scores that become c · tanh(score / c)
 * @param causal whether a query sees no later token; else it sees all
 * @param window how many tokens a query sees, itself included
 * @param inputBias whether queries, keys and values have biases
 * @param outputBias whether the output has one
 * @param outlet what its output passes on its way to the residual stream
 */
public record AttentionConfig(
    Optional<NormConfig> entry,
    int heads,
    int keyHeads,
    int dHead,
    Optional<HeadNorm> headNorm,
    Positions positions,
    double scoreScale,
    OptionalDouble cap,
    boolean causal,
    OptionalInt window,
    boolean inputBias,
    boolean outputBias,
    OutletConfig outlet) {

  /**
   * The norm of queries, and that of keys.
   *
   * @param norm of what kind
   * @param extent over what each is taken
   */
  public record HeadNorm(NormConfig norm, Extent extent) {
    /** What one scale is of. */
    public enum Extent {
      /** The numbers of one head; all heads have the same gain. */
      EACH_HEAD,
      /** The numbers of all heads. */
      ALL_HEADS
    }
  }

  /**
   * Checks the sizes.
   *
   * @param entry {@link #entry()}
   * @param heads {@link #heads()}
   * @param keyHeads {@link #keyHeads()}
   * @param dHead {@link #dHead()}
   * @param headNorm {@link #headNorm()}
   * @param positions {@link #positions()}
   * @param scoreScale {@link #scoreScale()}
   * @param cap {@link #cap()}
   * @param causal {@link #causal()}
   * @param window {@link #window()}
   * @param inputBias {@link #inputBias()}
   * @param outputBias {@link #outputBias()}
   * @param outlet {@link #outlet()}
   * @throws IllegalArgumentException if a size is not positive, or two contradict each other
   */
  public AttentionConfig {
    requirePositive("heads", heads);
    requirePositive("keyHeads", keyHeads);
    requirePositive("dHead", dHead);
    requireArgument(
        heads % keyHeads == 0, "%d heads cannot share %d key heads evenly", heads, keyHeads);
    requireArgument(
        Double.isFinite(scoreScale) && scoreScale != 0, "scores are scaled by %s", scoreScale);
    cap.ifPresent(c -> requireArgument(c > 0, "scores are capped at %s", c));
    window.ifPresent(w -> requirePositive("window", w));
    requireArgument(
        causal || window.isEmpty(), "a query sees later tokens and has a window of %s", window);
    requireArgument(
        positions.turning() <= dHead,
        "%d numbers of a head turn, which has %d",
        positions.turning(),
        dHead);
  }

  /**
   * {@return attention as in GPT-2: a key head for each head, biases, positions elsewhere}
   *
   * @param entry the norm through which it reads
   * @param heads {@link #heads()}
   * @param dHead {@link #dHead()}
   */
  public static AttentionConfig plain(NormConfig entry, int heads, int dHead) {
    requirePositive("dHead", dHead);
    return new AttentionConfig(
        Optional.of(entry),
        heads,
        heads,
        dHead,
        Optional.empty(),
        new Positions.None(),
        1 / Math.sqrt(dHead),
        OptionalDouble.empty(),
        true,
        OptionalInt.empty(),
        true,
        true,
        OutletConfig.NONE);
  }
}
