package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.Optional;

/**
 * How the latents of a {@link Dictionary} follow from pre-activations z = slope z₀ + latentBias,
 * with z₀ the product with the encoder: they are {@link #value} where they are active, else 0.
 * Which latents are active does not vary when a derivative is taken.
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

  /**
   * What an active latent is.
   *
   * @param z pre-activations, [.., token, latent]
   * @return of the same shape
   */
  default Variable value(Variable z) {
    return z;
  }

  /**
   * How fast latents move with their pre-activations.
   *
   * @param z pre-activations, [.., token, latent]
   * @param active as {@link #active} says
   * @return of the same shape, 0 where inactive
   */
  default Tensor derivative(Tensor z, Tensor active) {
    return active;
  }

  /** {@return whether a latent is active only by comparison with the others of its token} */
  default boolean comparesLatents() {
    return false;
  }

  /** {@return what z₀ is multiplied by, [latent]; nothing if that is 1} */
  default Optional<Tensor> slope() {
    return Optional.empty();
  }

  /**
   * {@return the same with the parameters of some latents}
   *
   * @param latents from 0
   */
  default LatentActivation only(int... latents) {
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
      requirePositive("TopK", count);
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
      requireCount("TopK", count, encoder);
    }

    @Override
    public String description() {
      return "TopK of " + count;
    }
  }

  /**
   * max(z, 0) where z is above the latent's threshold, else 0.
   *
   * @param threshold [latent]
   * @see <a href="https://arxiv.org/abs/2407.14435">Rajamanoharan et al. 2024b</a>
   */
  record JumpRelu(Tensor threshold) implements LatentActivation {
    @Override
    public Tensor active(Tensor z0, Tensor z) {
      return z.minus(threshold).positive().times(z.positive());
    }

    @Override
    public LatentActivation only(int... latents) {
      return new JumpRelu(threshold.gather(0, latents));
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
    public LatentActivation only(int... latents) {
      return new Gated(gateBias.gather(0, latents), logScale.gather(0, latents));
    }

    @Override
    public void requireFit(Tensor encoder) {
      requireLatents("gateBias", gateBias, encoder);
      requireLatents("logScale", logScale, encoder);
    }
  }

  /**
   * z of the largest pre-activations of each token, whatever their sign, 0 of the others.
   *
   * @param count how many are kept
   */
  record SignedTopK(int count) implements LatentActivation {
    /**
     * Checks the count.
     *
     * @param count {@link #count()}
     */
    public SignedTopK {
      requirePositive("SignedTopK", count);
    }

    @Override
    public Tensor active(Tensor z0, Tensor z) {
      return z.topKMask(count);
    }

    @Override
    public boolean comparesLatents() {
      return true;
    }

    @Override
    public void requireFit(Tensor encoder) {
      requireCount("SignedTopK", count, encoder);
    }

    @Override
    public String description() {
      return "TopK of " + count + " of any sign";
    }
  }

  /**
   * z where its magnitude is among the largest of its token, 0 of the others.
   *
   * @param count how many are kept
   */
  record AbsTopK(int count) implements LatentActivation {
    /**
     * Checks the count.
     *
     * @param count {@link #count()}
     */
    public AbsTopK {
      requirePositive("AbsTopK", count);
    }

    @Override
    public Tensor active(Tensor z0, Tensor z) {
      return z.square().topKMask(count);
    }

    @Override
    public boolean comparesLatents() {
      return true;
    }

    @Override
    public void requireFit(Tensor encoder) {
      requireCount("AbsTopK", count, encoder);
    }

    @Override
    public String description() {
      return "TopK of " + count + " by magnitude";
    }
  }

  /**
   * max(z, 0) of the largest of each of several groups of latents that follow each other.
   *
   * @param count how many groups
   */
  record GroupMax(int count) implements LatentActivation {
    /**
     * Checks the count.
     *
     * @param count {@link #count()}
     */
    public GroupMax {
      requirePositive("GroupMax", count);
    }

    @Override
    public Tensor active(Tensor z0, Tensor z) {
      Shape shape = z.shape();
      int latents = shape.size(-1);
      Tensor groups = z.reshape(shape.length() / latents, count, latents / count);
      return groups.topKMask(1).times(groups.positive()).reshape(shape);
    }

    @Override
    public boolean comparesLatents() {
      return true;
    }

    @Override
    public void requireFit(Tensor encoder) {
      requireArgument(
          encoder.shape().size(0) % count == 0,
          "GroupMax: %d groups of the %d latents of encoder %s are not equally large",
          count,
          encoder.shape().size(0),
          encoder.shape());
    }

    @Override
    public String description() {
      return "largest of each of " + count + " groups";
    }
  }

  /** tanh(max(z, 0)). */
  record TanhRelu() implements LatentActivation {
    @Override
    public Tensor active(Tensor z0, Tensor z) {
      return z.positive();
    }

    @Override
    public Variable value(Variable z) {
      return z.tanh();
    }

    @Override
    public Tensor derivative(Tensor z, Tensor active) {
      return z.tanh().square().negate().plus(1).times(active);
    }

    @Override
    public String description() {
      return "tanh of ReLU";
    }
  }

  private static void requirePositive(String name, int count) {
    requireArgument(count > 0, "%s: count is %d, expected a positive number", name, count);
  }

  private static void requireCount(String name, int count, Tensor encoder) {
    requireArgument(
        count <= encoder.shape().size(0),
        "%s: count is %d, and encoder %s has %d latents",
        name,
        count,
        encoder.shape(),
        encoder.shape().size(0));
  }

  private static void requireLatents(String name, Tensor tensor, Tensor encoder) {
    Dictionary.requireShape(name, tensor, encoder, Shape.of(encoder.shape().size(0)));
  }
}
