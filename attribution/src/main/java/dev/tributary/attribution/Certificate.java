package dev.tributary.attribution;

import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Norm;
import dev.tributary.transformer.Run;
import java.util.Arrays;
import java.util.Optional;
import java.util.function.Predicate;

/**
 * Whether the edges into a target are complete: everything that was written into what it reads,
 * biases included, must sum to its gradient · residual.
 *
 * <p>A target that is affine in what it reads, with the scale of the norm held, has a second check:
 * that sum and a constant must be what was recorded of it. It also sees a gradient that went
 * through a wrong scale, which edges and gradient · residual have in common.
 *
 * @param sources sum of the edges from all nodes of the model
 * @param whole gradient · residual
 * @param magnitude of what is added, of which rounding is a fraction: the sum of the absolute
 *     edges, or of all |gradient| · |residual| if that is larger
 * @param dictionaries largest disagreement between what a dictionary says of its place (latents,
 *     error and pre-bias) and what the model's own nodes say of it; 0 without dictionaries
 * @param affine the second check, of a target that has it
 */
public record Certificate(
    double sources, double whole, double magnitude, double dictionaries, Optional<Affine> affine) {
  /**
   * What a target is that is affine in what it reads: {@code recorded = sources + constant}.
   *
   * @param recorded its attribution (or activation) as the run computed it
   * @param constant what of it no write adds: what it would be of a residual stream of zeros
   */
  public record Affine(double recorded, double constant) {
    /** What is computed from a residual stream of zeros through a norm of held scale. */
    static Tensor origin(Run run, Optional<Norm> entry) {
      Shape row = Shape.of(1, run.model().config().dModel());
      return entry
          .flatMap(Norm::bias)
          .map(bias -> bias.reshape(row))
          .orElseGet(() -> Tensor.zeros(run.model().dtype(), row));
    }
  }

  /** Of the edges from every source along a gradient. */
  static Certificate of(
      Run run, ResidualGradient gradient, EdgeScores scores, Optional<Affine> affine) {
    try (Scope scope = Scope.open()) {
      Tensor residual =
          run.residual(gradient.point())
              .value()
              .slice(0, gradient.firstToken(), gradient.endToken());
      EdgeScores.Sums sums = scores.sums();
      double dictionaries = 0;
      for (Split split : Split.of(run.model())) {
        if (split.reaches(run.model(), gradient.point())) {
          double own = sums.of(family -> split.repeats(run.model(), family));
          double encoded = sums.of(split::owns);
          dictionaries = Math.max(dictionaries, Math.abs(own - encoded));
        }
      }
      double[] products = gradient.rows().times(residual).toDoubles();
      Predicate<SourceFamily> ofModel = family -> family.encoded().isEmpty();
      return new Certificate(
          sums.of(ofModel),
          Arrays.stream(products).sum(),
          Math.max(sums.magnitude(ofModel), Arrays.stream(products).map(Math::abs).sum()),
          dictionaries,
          affine);
    }
  }

  /**
   * {@return the largest disagreement, relative to {@link #magnitude} and the constant: a few
   * epsilons if nothing is missing or wrong}
   */
  public double relativeResidual() {
    double residual = Math.max(Math.abs(sources - whole), dictionaries);
    double size = Math.max(magnitude, Double.MIN_NORMAL);
    if (affine.isPresent()) {
      Affine of = affine.get();
      residual = Math.max(residual, Math.abs(sources + of.constant - of.recorded));
      size = Math.max(size, Math.abs(of.constant));
    }
    return residual / size;
  }
}
