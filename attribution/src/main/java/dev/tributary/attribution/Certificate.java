package dev.tributary.attribution;

import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import java.util.Optional;

/**
 * Whether the edges into a target are complete: everything that was written into what it reads,
 * biases included, must sum to its gradient · residual.
 *
 * @param sources sum of the edges from all nodes of the model
 * @param whole gradient · residual
 * @param magnitude sum of the absolute edges, of which rounding is a fraction
 * @param autoencoders largest disagreement between what an autoencoder says of its site (latents,
 *     error and pre-bias) and what the model's own nodes say of it; 0 without autoencoders
 */
public record Certificate(double sources, double whole, double magnitude, double autoencoders) {
  /** Of the edges from every source along a gradient. */
  static Certificate of(Run run, ResidualGradient gradient, EdgeScores scores) {
    try (Scope scope = Scope.open()) {
      Tensor residual =
          run.residual(gradient.point())
              .value()
              .slice(0, gradient.firstToken(), gradient.endToken());
      double autoencoders = 0;
      for (Encoded one : Encoded.of(run.model())) {
        double own = scores.sum(family -> family.within().contains(one.place()), x -> x);
        double encoded = scores.sum(family -> family.encoded().equals(Optional.of(one)), x -> x);
        autoencoders = Math.max(autoencoders, Math.abs(own - encoded));
      }
      return new Certificate(
          scores.sum(),
          gradient.rows().times(residual).sumTo(Shape.of()).item(),
          scores.sum(family -> family.encoded().isEmpty(), Math::abs),
          autoencoders);
    }
  }

  /**
   * {@return the largest disagreement, relative to {@link #magnitude}: a few epsilons if nothing is
   * missing}
   */
  public double relativeResidual() {
    double residual = Math.max(Math.abs(sources - whole), autoencoders);
    return residual / Math.max(magnitude, Double.MIN_NORMAL);
  }
}
