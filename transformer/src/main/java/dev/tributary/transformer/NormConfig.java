package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

/**
 * Of what kind a {@link Norm} is.
 *
 * @param kind what its scale is of
 * @param epsilon added before the square root
 * @param biased whether a bias is added
 */
public record NormConfig(Kind kind, double epsilon, boolean biased) {
  /** What a norm divides by. */
  public enum Kind {
    /** The deviation from the mean, which is subtracted. */
    LAYER_NORM,
    /** The root of the mean square; no mean is subtracted. */
    RMS
  }

  /**
   * Checks the epsilon.
   *
   * @param kind {@link #kind()}
   * @param epsilon {@link #epsilon()}
   * @param biased {@link #biased()}
   * @throws IllegalArgumentException if the epsilon is not positive
   */
  public NormConfig {
    requireArgument(
        epsilon > 0 && Double.isFinite(epsilon),
        "epsilon is %s, expected a positive number",
        epsilon);
  }

  /** Whether the mean is subtracted. */
  boolean centres() {
    return kind == Kind.LAYER_NORM;
  }
}
