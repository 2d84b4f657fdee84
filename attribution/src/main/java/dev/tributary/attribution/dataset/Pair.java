package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import java.util.List;

/**
 * Two prompts that differ where the answer hangs on it, and what is measured of them.
 *
 * @param clean ids of the prompt that is explained
 * @param corrupted ids of as many tokens
 * @param metric what is measured
 */
public record Pair(List<Integer> clean, List<Integer> corrupted, PairMetric metric) {
  /**
   * Refuses prompts of different lengths.
   *
   * @param clean {@link #clean()}
   * @param corrupted {@link #corrupted()}
   * @param metric {@link #metric()}
   */
  public Pair {
    clean = List.copyOf(clean);
    corrupted = List.copyOf(corrupted);
    requireArgument(!clean.isEmpty(), "a pair of empty prompts");
    requireArgument(
        clean.size() == corrupted.size(),
        "the clean prompt has %d tokens and the corrupted one %d",
        clean.size(),
        corrupted.size());
  }

  /** {@return how many tokens each prompt has} */
  public int length() {
    return clean.size();
  }

  static int[] ids(List<Integer> tokens) {
    return tokens.stream().mapToInt(Integer::intValue).toArray();
  }
}
