package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import java.util.Optional;

/**
 * Of what kind an {@link Outlet} is.
 *
 * @param norm of what the part computes, without a bias
 * @param multiplier of what the norm makes of it
 */
public record OutletConfig(Optional<NormConfig> norm, double multiplier) {
  /** What the part computes goes on as it is. */
  public static final OutletConfig NONE = new OutletConfig(Optional.empty(), 1);

  /**
   * Checks both.
   *
   * @param norm {@link #norm()}
   * @param multiplier {@link #multiplier()}
   * @throws IllegalArgumentException if the norm adds a bias, or the multiplier is 0 or no number
   */
  public OutletConfig {
    requireArgument(
        norm.filter(NormConfig::biased).isEmpty(),
        "a norm of what a part writes that adds a bias: no node would write the bias");
    requireArgument(
        Double.isFinite(multiplier) && multiplier != 0,
        "what a part writes is multiplied with %s",
        multiplier);
  }
}
