package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.Optional;

/**
 * How the latents of a {@link SparseAutoencoder} follow from pre-activations z = slope z₀ +
 * latentBias, with z₀ = encoder (y - preBias): they are z where they are active, else 0. Which
 * latents are active does not vary when a derivative is taken.
 */
public sealed interface LatentActivation {
  /**
   * Which latents are active.
   *
   * @param z0 [.., token, latent]
   * @param z [.., token, latent]
   * @return 1 where a latent is active, else 0, [.., token, latent]
   */
  Tensor active(Tensor z0, Tensor z);

  /** {@return whether a latent is active only by comparison with the others of its token} */
  default boolean comparesLatents() {
    return false;
  }

  /** {@return what z₀ is multiplied by, [latent]; nothing if that is 1} */
  default Optional<Tensor> slope() {
    return Optional.empty();
  }

  /**
   * {@return the same with the parameters of one latent, as views}
   *
   * @param latent from 0
   */
  default LatentActivation only(int latent) {
    return this;
  }

  /**
   * Checks the parameters.
   *
   * @param encoder [latent, n]
   * @throws IllegalArgumentException if a parameter does not fit it
   */
  default void requireFit(Tensor encoder) {}

  /** {@return what it is called, such as "TopK of 32"} */
  default String description() {
    return getClass().getSimpleName();
  }

  /** max(z, 0). */
  record Relu() implements LatentActivation {
    @Override
    public Tensor active(Tensor z0, Tensor z) {
      return z.positive();
    }
  }

  /**
   * max(z, 0) of the largest pre-activations of each token, 0 of the others.
   *
   * @param count how many are kept
   * @see <a href="https://arxiv.org/abs/2406.04093">Gao et al. 2024</a>
   */
  record TopK(int count) implements LatentActivation {
    /**
     * Checks the count.
     *
     * @param count {@link #count()}
     */
    public TopK {
      requireArgument(count > 0, "TopK: count is %d, expected a positive number", count);
    }

    @Override
    public Tensor active(Tensor z0, Tensor z) {
      return z.topKMask(count).times(z.positive());
    }

    @Override
    public boolean comparesLatents() {
      return true;
    }

    @Override
    public void requireFit(Tensor encoder) {
      requireArgument(
          count <= encoder.shape().size(0),
          "TopK: count is %d, and encoder %s has %d latents",
          count,
          encoder.shape(),
          encoder.shape().size(0));
    }

    @Override
    public String description() {
      return "TopK of " + count;
    }
  }

  /**
   * z where it is above the latent's threshold, else 0.
   *
   * @param threshold [latent]
   * @see <a href="https://arxiv.org/abs/2407.14435">Rajamanoharan et al. 2024b</a>
   */
  record JumpRelu(Tensor threshold) implements LatentActivation {
    @Override
    public Tensor active(Tensor z0, Tensor z) {
      return z.minus(threshold).positive();
    }

    @Override
    public LatentActivation only(int latent) {
      return new JumpRelu(SparseAutoencoder.row(threshold, latent));
    }

    @Override
    public void requireFit(Tensor encoder) {
      requireLatents("threshold", threshold, encoder);
    }
  }

  /**
   * max(z, 0) where z₀ + gateBias is positive, else 0, with slope = exp(logScale).
   *
   * @param gateBias [latent]
   * @param logScale [latent]
   * @see <a href="https://arxiv.org/abs/2404.16014">Rajamanoharan et al. 2024a</a>
   */
  record Gated(Tensor gateBias, Tensor logScale) implements LatentActivation {
    @Override
    public Tensor active(Tensor z0, Tensor z) {
      return z.positive().times(z0.plus(gateBias).positive());
    }

    @Override
    public Optional<Tensor> slope() {
      return Optional.of(logScale.exp());
    }

    @Override
    public LatentActivation only(int latent) {
      return new Gated(
          SparseAutoencoder.row(gateBias, latent), SparseAutoencoder.row(logScale, latent));
    }

    @Override
    public void requireFit(Tensor encoder) {
      requireLatents("gateBias", gateBias, encoder);
      requireLatents("logScale", logScale, encoder);
    }
  }

  private static void requireLatents(String name, Tensor tensor, Tensor encoder) {
    SparseAutoencoder.requireShape(name, tensor, encoder, Shape.of(encoder.shape().size(0)));
  }
}
