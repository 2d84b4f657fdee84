package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.LinearMap;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.List;

/**
 * A sparse autoencoder of the vectors at one site of one layer: few latents are active at a token,
 * and their directions, each times its latent, add up to about the vector.
 *
 * <p>Immutable; its tensors belong to the scope in which it was made, and any thread may use it
 * while that scope is open.
 *
 * @see <a href="https://arxiv.org/abs/2309.08600">Cunningham et al. 2023</a>
 */
public final class SparseAutoencoder {
  /** Sites whose vectors can be encoded. */
  private static final List<Site> SITES =
      List.of(Site.ATTENTION_OUTPUT, Site.MLP_ACTIVATION, Site.MLP_OUTPUT);

  /** Where its weights are from. */
  private final String origin;

  private final Site site;
  private final int layer;
  private final LatentActivation activation;

  /** [latent, n] */
  private final Tensor encoder;

  /** One row for each latent, [latent, n]: edges read few of them. */
  private final Tensor decoder;

  private final Tensor preBias;
  private final Tensor latentBias;

  private SparseAutoencoder(
      String origin,
      Site site,
      int layer,
      LatentActivation activation,
      Tensor encoder,
      Tensor decoder,
      Tensor preBias,
      Tensor latentBias) {
    this.origin = origin;
    this.site = site;
    this.layer = layer;
    this.activation = activation;
    this.encoder = encoder;
    this.decoder = decoder;
    this.preBias = preBias;
    this.latentBias = latentBias;
  }

  /**
   * {@return an autoencoder of given weights}
   *
   * @param origin where its weights are from, such as "SAELens"
   * @param site MLP_ACTIVATION, MLP_OUTPUT or ATTENTION_OUTPUT
   * @param layer from 0
   * @param activation how latents follow from pre-activations
   * @param encoder one row for each latent, [latent, n]
   * @param decoder one row for each latent, [latent, n]; the encoder itself if they are tied
   * @param preBias subtracted before encoding and added after decoding, [n]
   * @param latentBias [latent]
   * @throws IllegalArgumentException if another site is given, the layer is negative, or tensors
   *     differ in their element types or do not fit together
   */
  public static SparseAutoencoder of(
      String origin,
      Site site,
      int layer,
      LatentActivation activation,
      Tensor encoder,
      Tensor decoder,
      Tensor preBias,
      Tensor latentBias) {
    requireArgument(
        SITES.contains(site), "an autoencoder of site %s, expected one of %s", site, SITES);
    requireArgument(layer >= 0, "an autoencoder of layer %d: layers count from 0", layer);
    requireArgument(
        encoder.shape().rank() == 2 && encoder.shape().length() > 0,
        "encoder is %s, expected [latent, n]",
        encoder.shape());
    requireShape("decoder", decoder, encoder, encoder.shape());
    requireShape("preBias", preBias, encoder, Shape.of(encoder.shape().size(1)));
    requireShape("latentBias", latentBias, encoder, Shape.of(encoder.shape().size(0)));
    activation.requireFit(encoder);
    return new SparseAutoencoder(
        origin, site, layer, activation, encoder, decoder, preBias, latentBias);
  }

  static void requireShape(String name, Tensor tensor, Tensor encoder, Shape expected) {
    requireArgument(
        tensor.shape().equals(expected),
        "%s is %s, and encoder %s needs %s",
        name,
        tensor.shape(),
        encoder.shape(),
        expected);
    requireArgument(
        tensor.dtype() == encoder.dtype(),
        "%s is %s and encoder is %s",
        name,
        tensor.dtype(),
        encoder.dtype());
  }

  /** {@return the site whose vectors it encodes} */
  public Site site() {
    return site;
  }

  /** {@return the layer whose vectors it encodes, from 0} */
  public int layer() {
    return layer;
  }

  /** {@return the number of latents} */
  public int latentCount() {
    return encoder.shape().size(0);
  }

  /** {@return the size of the vectors that it encodes, called n here} */
  public int width() {
    return encoder.shape().size(1);
  }

  /** {@return the element type in which it computes} */
  public DType dtype() {
    return encoder.dtype();
  }

  /** {@return how its latents follow from pre-activations} */
  public LatentActivation activation() {
    return activation;
  }

  /** {@return one row for each latent, [latent, n]} */
  public Tensor encoder() {
    return encoder;
  }

  /** {@return one row for each latent, its direction, [latent, n]} */
  public Tensor decoder() {
    return decoder;
  }

  /** {@return what is subtracted before encoding and added after decoding, [n]} */
  public Tensor preBias() {
    return preBias;
  }

  /**
   * {@return what one latent of size 1 adds to the reconstruction, [n]} A view.
   *
   * @param latent from 0
   * @throws IllegalArgumentException if there is no such latent
   */
  public Tensor direction(int latent) {
    requireLatent(latent);
    return decoder.slice(0, latent, latent + 1).reshape(width());
  }

  /**
   * Latents of vectors at the site.
   *
   * @param y [.., token, n]
   * @return [.., token, latent]; an inactive one is 0 and so is its derivative
   * @throws IllegalArgumentException if {@code y} has another last axis or no other
   */
  public Variable latents(Variable y) {
    requireEncodable(y.shape());
    Variable z0 = beforeBias(y);
    Variable z = preActivation(z0);
    return masked(z, active(z0.value(), z.value()));
  }

  /**
   * One latent of vectors at the site, for the cost of one row of the encoder, except that TopK has
   * to compare the pre-activations of all.
   *
   * @param y [.., token, n]
   * @param latent from 0
   * @return [.., token, 1]
   * @throws IllegalArgumentException if there is no such latent, or as {@link #latents(Variable)}
   */
  public Variable latent(Variable y, int latent) {
    requireEncodable(y.shape());
    requireLatent(latent);
    if (!activation.comparesLatents()) {
      return only(latent).latents(y);
    }
    Tensor active;
    try (Scope scope = Scope.open()) {
      active = scope.keep(active(y.value()).slice(-1, latent, latent + 1));
    }
    SparseAutoencoder one = only(latent);
    return masked(one.preActivation(one.beforeBias(y)), active);
  }

  /**
   * What the activation of one latent takes, for the cost of one row of the encoder.
   *
   * @param y [.., token, n]
   * @param latent from 0
   * @return [.., token, 1]
   * @throws IllegalArgumentException if there is no such latent, or as {@link #latents(Variable)}
   */
  public Variable preActivation(Variable y, int latent) {
    requireEncodable(y.shape());
    requireLatent(latent);
    SparseAutoencoder one = only(latent);
    return one.preActivation(one.beforeBias(y));
  }

  /**
   * The vectors that latents stand for.
   *
   * @param latents [.., latent]
   * @return [.., n]
   * @throws IllegalArgumentException if there are not as many latents as here
   */
  public Variable reconstruction(Variable latents) {
    Shape shape = latents.shape();
    requireArgument(
        shape.rank() > 0 && shape.size(-1) == latentCount(),
        "%s decodes [.., %d], not %s",
        this,
        latentCount(),
        shape);
    return latents.affine(Variable.constant(decoder), Variable.constant(preBias));
  }

  /**
   * Derivative of each latent with respect to the product of its row of the encoder and y.
   *
   * @param y [.., token, n]
   * @return [.., token, latent]; 0 where inactive
   * @throws IllegalArgumentException as {@link #latents(Variable)}
   */
  public Tensor slopes(Tensor y) {
    requireEncodable(y.shape());
    try (Scope scope = Scope.open()) {
      Tensor active = active(y);
      return scope.keep(activation.slope().map(active::times).orElse(active));
    }
  }

  private Variable beforeBias(Variable y) {
    return y.minus(Variable.constant(preBias)).matmulTransposed(Variable.constant(encoder));
  }

  private Variable preActivation(Variable z0) {
    Variable scaled =
        activation.slope().map(slope -> z0.times(Variable.constant(slope))).orElse(z0);
    return scaled.plus(Variable.constant(latentBias));
  }

  /** 1 where a latent is active, else 0. */
  private Tensor active(Tensor y) {
    Variable z0 = beforeBias(Variable.constant(y));
    return active(z0.value(), preActivation(z0).value());
  }

  private Tensor active(Tensor z0, Tensor z) {
    try (Scope scope = Scope.open()) {
      return scope.keep(activation.active(z0, z));
    }
  }

  private static Variable masked(Variable z, Tensor active) {
    Tensor value;
    try (Scope scope = Scope.open()) {
      // plus(0) because a negative number times 0 is -0.
      value = scope.keep(z.value().times(active).plus(0));
    }
    return z.through(LinearMap.selfAdjoint("latents", z.shape(), active::times), value);
  }

  /** An autoencoder of one latent, if that does not depend on the others. A view. */
  private SparseAutoencoder only(int latent) {
    return new SparseAutoencoder(
        origin,
        site,
        layer,
        activation.only(latent),
        row(encoder, latent),
        row(decoder, latent),
        preBias,
        row(latentBias, latent));
  }

  static Tensor row(Tensor tensor, int index) {
    return tensor.slice(0, index, index + 1);
  }

  /** Refuses a model that it does not fit. */
  void requireFits(Transformer model) {
    String place = site + " of layer " + layer;
    model.requireLayer(layer);
    int there =
        site == Site.MLP_ACTIVATION ? model.mlp(layer).neuronCount() : model.config().dModel();
    requireArgument(
        width() == there,
        "the autoencoder of %s encodes vectors of %d, and there they have %d",
        place,
        width(),
        there);
    requireArgument(
        dtype() == model.dtype(),
        "the autoencoder of %s is %s and the model %s",
        place,
        dtype(),
        model.dtype());
  }

  private void requireEncodable(Shape y) {
    requireArgument(
        y.rank() >= 2 && y.size(-1) == width(),
        "%s encodes [.., token, %d], not %s",
        this,
        width(),
        y);
  }

  private void requireLatent(int latent) {
    requireArgument(
        latent >= 0 && latent < latentCount(),
        "latent %d of %s, which has %d, counted from 0",
        latent,
        this,
        latentCount());
  }

  /**
   * What it is and where it is from, such as "SAELens, TopK of 32, 24576 latents of 768".
   *
   * @return a description, for people
   */
  public String description() {
    return "%s, %s, %d latents of %d"
        .formatted(origin, activation.description(), latentCount(), width());
  }

  @Override
  public String toString() {
    return "the autoencoder of " + site + " in layer " + layer;
  }
}
