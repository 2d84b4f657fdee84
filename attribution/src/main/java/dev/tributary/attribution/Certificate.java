package dev.tributary.attribution;

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
  /**
   * {@return the largest disagreement, relative to {@link #magnitude}: a few epsilons if nothing is
   * missing}
   */
  public double relativeResidual() {
    double residual = Math.max(Math.abs(sources - whole), autoencoders);
    return residual / Math.max(magnitude, Double.MIN_NORMAL);
  }
}
