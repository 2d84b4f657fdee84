package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.TopK;
import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * How the next token is chosen: the most probable one, or one drawn by its probability at a
 * temperature, of the most probable ones alone. The same seed draws the same tokens.
 *
 * @see <a href="https://arxiv.org/abs/1904.09751">Holtzman et al. 2020, of nucleus sampling</a>
 */
public final class Sampling {
  private final double temperature;
  private final int topK;
  private final double topP;
  private final SplittableRandom random;

  private Sampling(double temperature, int topK, double topP, long seed) {
    this.temperature = temperature;
    this.topK = topK;
    this.topP = topP;
    this.random = new SplittableRandom(seed);
  }

  /** {@return the most probable token, of equals the first} */
  public static Sampling greedy() {
    return new Sampling(1, 1, 1, 0);
  }

  /**
   * {@return tokens drawn at random} The temperature comes first, then the number of tokens, then
   * their probability.
   *
   * @param temperature by which logits are divided
   * @param topK so many of the most probable tokens
   * @param topP as few of them as have this probability together, at least one
   * @param seed of the random numbers
   * @throws IllegalArgumentException if the temperature is not positive, or there is no token or
   *     probability left
   */
  public static Sampling of(double temperature, int topK, double topP, long seed) {
    requireArgument(
        temperature > 0 && Double.isFinite(temperature),
        "the temperature is %s, it must be a positive number",
        temperature);
    requireArgument(topK > 0, "top k: k is %d, it must be 1 or more", topK);
    requireArgument(
        topP > 0 && topP <= 1, "top p: p is %s, it must be more than 0 and at most 1", topP);
    return new Sampling(temperature, topK, topP, seed);
  }

  /** One of the tokens with these logits. */
  int choose(double[] logits) {
    requireArgument(
        Arrays.stream(logits).allMatch(Double::isFinite),
        "the logits of this model are not finite numbers");
    int[] likely = TopK.indices(logits, topK);
    double[] weights = new double[likely.length];
    double sum = 0;
    for (int i = 0; i < likely.length; i++) {
      weights[i] = Math.exp((logits[likely[i]] - logits[likely[0]]) / temperature);
      sum += weights[i];
    }
    double kept = 0;
    int count = 0;
    while (count < likely.length && (count == 0 || kept < topP * sum)) {
      kept += weights[count++];
    }
    if (count == 1) {
      return likely[0];
    }
    double left = random.nextDouble() * kept;
    int chosen = 0;
    while (chosen < count - 1 && left >= weights[chosen]) {
      left -= weights[chosen++];
    }
    return likely[chosen];
  }
}
