package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.LinearMap;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.BinaryOperator;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * A sparse dictionary of a model's vectors: it encodes what it reads into few active latents, and
 * decodes these into what it writes. A sparse autoencoder writes what it reads, a transcoder reads
 * what an MLP reads and writes what it writes, a cross-layer transcoder writes for the MLPs of all
 * layers from its own on.
 *
 * <pre>
 * u       = normalised(x) - inputBias
 * z       = slope (encoder u) + latentBias
 * latent  = activation(z)
 * written = denormalised(decoder latent + bias) + skip x
 * </pre>
 *
 * <p>Immutable; its tensors belong to the scope in which it was made, and any thread may use it
 * while that scope is open.
 *
 * @see <a href="https://arxiv.org/abs/2309.08600">Cunningham et al. 2023</a>
 * @see <a href="https://arxiv.org/abs/2406.11944">Dunefsky et al. 2024, of transcoders</a>
 */
public final class Dictionary {
  /** What a dictionary is to the model. */
  public enum Kind {
    /** An autoencoder of the activations of MLP neurons. */
    ACTIVATION,
    /** An autoencoder of what an MLP writes. */
    MLP,
    /** An autoencoder of what attention writes. */
    ATTENTION,
    /** An autoencoder of the outputs of all heads of a layer, one after the other. */
    HEADS,
    /** An autoencoder of the residual stream after a layer. */
    RESIDUAL,
    /** An autoencoder of the residual stream between attention and MLP. */
    MIDDLE_RESIDUAL,
    /** An autoencoder of embeddings. */
    EMBEDDING,
    /** Of what an MLP reads, it writes what the MLP writes. */
    TRANSCODER,
    /** Of what an MLP reads, it writes for the MLPs of this and later layers. */
    CROSS_LAYER;

    private String word() {
      return name().toLowerCase(Locale.ROOT);
    }

    /** What an autoencoder of a site is. */
    private static Kind ofAutoencoder(Site site) {
      return switch (site) {
        case MLP_ACTIVATION -> ACTIVATION;
        case MLP_OUTPUT, MLP_RESULT -> MLP;
        case ATTENTION_OUTPUT -> ATTENTION;
        case HEAD_OUTPUT -> HEADS;
        case RESIDUAL_AFTER_MLP -> RESIDUAL;
        case RESIDUAL_AFTER_ATTENTION -> MIDDLE_RESIDUAL;
        case EMBEDDING, TOKEN_EMBEDDING -> EMBEDDING;
        default ->
            throw new IllegalArgumentException(
                "an autoencoder of site " + site + ": its vectors are no part of the model");
      };
    }
  }

  /**
   * Which dictionary of a model it is.
   *
   * @param kind what it is to the model
   * @param label that tells it from others of the same kind and layer, lowercase letters and _, or
   *     empty
   * @param layer of what it writes first, from 0; 0 of embeddings
   */
  public record Id(Kind kind, String label, int layer) {
    /**
     * Checks the label.
     *
     * @param kind {@link #kind()}
     * @param label {@link #label()}
     * @param layer {@link #layer()}
     */
    public Id {
      requireArgument(
          label.matches("([a-z]([a-z_]*[a-z])?)?"),
          "\"%s\" labels no dictionary: a label consists of letters from a to z and _",
          label);
      requireArgument(layer >= 0, "a dictionary of layer %d: layers count from 0", layer);
    }

    /**
     * {@return the id that a word means}
     *
     * @param word as {@link #word} says it
     * @param layer from 0
     */
    public static Optional<Id> of(String word, int layer) {
      return Stream.of(Kind.values())
          .filter(kind -> word.equals(kind.word()) || word.startsWith(kind.word() + "_"))
          .max(Comparator.comparingInt(kind -> kind.word().length()))
          .map(
              kind ->
                  new Id(
                      kind,
                      word.substring(Math.min(word.length(), kind.word().length() + 1)),
                      layer));
    }

    /** {@return what its nodes are called after, such as "mlp" or "mlp_wide"} */
    public String word() {
      return label.isEmpty() ? kind.word() : kind.word() + "_" + label;
    }

    @Override
    public String toString() {
      return "the " + word().replace('_', ' ') + " dictionary of layer " + layer;
    }
  }

  /** How what is read is normalised before it is encoded; what is decoded is brought back. */
  public enum Normalisation {
    /** It is not. */
    NONE {
      @Override
      Normalised of(Variable x, ScaleGradient scaleGradient) {
        return new Normalised(x, Optional.empty(), Optional.empty());
      }
    },
    /** (x - mean) / (s + 1e-5), with the deviation s over n - 1; back: times s, plus the mean. */
    LAYER_NORM {
      @Override
      Normalised of(Variable x, ScaleGradient scaleGradient) {
        int n = x.shape().size(-1);
        Variable centred = x.centred(-1);
        Variable deviation =
            scaleGradient.seen(
                centred.rootMeanSquare(OF_ZEROS).times(Math.sqrt(n / (double) Math.max(1, n - 1))));
        return new Normalised(
            centred.over(deviation.plus(EPSILON)), Optional.of(deviation), Optional.of(x.mean(-1)));
      }
    },
    /** x √n / |x|, and zeros where all are 0; back: times |x| / √n. */
    CONSTANT_NORM {
      @Override
      Normalised of(Variable x, ScaleGradient scaleGradient) {
        Variable scale = scaleGradient.seen(x.rootMeanSquare(OF_ZEROS));
        return new Normalised(x.over(scale), Optional.of(scale), Optional.empty());
      }
    };

    private static final double EPSILON = 1e-5;

    /** Keeps quotients and derivatives finite where all of x is 0, and changes no other number. */
    private static final double OF_ZEROS = Float.MIN_NORMAL;

    abstract Normalised of(Variable x, ScaleGradient scaleGradient);

    /** Whether the mean of what is read is added to what is decoded. */
    boolean bringsMeanBack() {
      return this == LAYER_NORM;
    }
  }

  /** What is encoded, and what brings back what is decoded, each [.., token, 1]. */
  private record Normalised(Variable vectors, Optional<Variable> scale, Optional<Variable> mean) {}

  /**
   * What latents write in one place: their rows, each times its latent, and a bias.
   *
   * @param place all of a site
   * @param rows one for each latent
   * @param bias what is added whatever the latents are, [n]
   */
  public record Decoder(Place place, DecoderRows rows, Optional<Tensor> bias) {
    /** {@return the size of the vectors that it writes} */
    public int width() {
      return rows.width();
    }
  }

  /** Where its weights are from. */
  private final String origin;

  private final Id id;
  private final Place reads;
  private final LatentActivation activation;

  /** [latent, n] */
  private final Tensor encoder;

  private final Tensor latentBias;
  private final List<Decoder> decoders;
  private final Optional<Tensor> inputBias;
  private final Normalisation normalisation;
  private final Optional<Tensor> skip;

  private Dictionary(
      String origin,
      Id id,
      Place reads,
      LatentActivation activation,
      Tensor encoder,
      Tensor latentBias,
      List<Decoder> decoders,
      Optional<Tensor> inputBias,
      Normalisation normalisation,
      Optional<Tensor> skip) {
    this.origin = origin;
    this.id = id;
    this.reads = reads;
    this.activation = activation;
    this.encoder = encoder;
    this.latentBias = latentBias;
    this.decoders = List.copyOf(decoders);
    this.inputBias = inputBias;
    this.normalisation = normalisation;
    this.skip = skip;
  }

  /**
   * {@return a dictionary of given weights} Without more, nothing is subtracted from what it reads,
   * normalised or skipped.
   *
   * @param origin where its weights are from, such as "SAELens"
   * @param reads where it reads, all of a site
   * @param activation how latents follow from pre-activations
   * @param encoder one row for each latent, [latent, n]
   * @param latentBias [latent]
   * @param decoders what it writes: the place that it reads, if it is an autoencoder, the output of
   *     an MLP, or outputs of several
   * @throws IllegalArgumentException if nothing of this kind reads or writes there, or tensors
   *     differ in their element types or do not fit together
   */
  public static Dictionary of(
      String origin,
      Place reads,
      LatentActivation activation,
      Tensor encoder,
      Tensor latentBias,
      List<Decoder> decoders) {
    requireArgument(
        encoder.shape().rank() == 2 && encoder.shape().length() > 0,
        "encoder is %s, expected [latent, n]",
        encoder.shape());
    requireShape("latentBias", latentBias, encoder, Shape.of(encoder.shape().size(0)));
    activation.requireFit(encoder);
    requireArgument(!decoders.isEmpty(), "a dictionary without a decoder writes nothing");
    for (Decoder decoder : decoders) {
      DecoderRows rows = decoder.rows;
      requireArgument(
          rows.latents() == encoder.shape().size(0) && rows.dtype() == encoder.dtype(),
          "decoder has rows of %d latents in %s, and encoder %s is %s",
          rows.latents(),
          rows.dtype(),
          encoder.shape(),
          encoder.dtype());
      decoder.bias.ifPresent(
          bias -> requireShape("bias", bias, encoder, Shape.of(decoder.width())));
    }
    return new Dictionary(
        origin,
        new Id(kind(reads, encoder, decoders), "", decoders.get(0).place.layer()),
        reads,
        activation,
        encoder,
        latentBias,
        decoders,
        Optional.empty(),
        Normalisation.NONE,
        Optional.empty());
  }

  /**
   * {@return an autoencoder that subtracts before encoding what it adds after decoding}
   *
   * @param origin where its weights are from
   * @param place of the vectors that it encodes, all of a site
   * @param activation how latents follow from pre-activations
   * @param encoder one row for each latent, [latent, n]
   * @param decoder one row for each latent, [latent, n]; the encoder itself if they are tied
   * @param bias subtracted before encoding and added after decoding, [n]
   * @param latentBias [latent]
   * @throws IllegalArgumentException as {@link #of}
   */
  public static Dictionary autoencoder(
      String origin,
      Place place,
      LatentActivation activation,
      Tensor encoder,
      Tensor decoder,
      Tensor bias,
      Tensor latentBias) {
    Decoder written = new Decoder(place, DecoderRows.of(decoder), Optional.of(bias));
    return of(origin, place, activation, encoder, latentBias, List.of(written)).withInputBias(bias);
  }

  private static Kind kind(Place reads, Tensor encoder, List<Decoder> decoders) {
    Decoder first = decoders.get(0);
    if (decoders.size() == 1 && first.place.equals(reads)) {
      requireArgument(
          first.width() == encoder.shape().size(1),
          "an autoencoder reads vectors of %d and writes vectors of %d",
          encoder.shape().size(1),
          first.width());
      return Kind.ofAutoencoder(reads.site());
    }
    for (Decoder decoder : decoders) {
      Site site = decoder.place.site();
      requireArgument(
          site == Site.MLP_OUTPUT || site == Site.MLP_RESULT,
          "a dictionary that reads %s and writes %s: transcoders write the outputs of MLPs",
          reads,
          decoder.place);
    }
    return decoders.size() == 1 ? Kind.TRANSCODER : Kind.CROSS_LAYER;
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

  /**
   * {@return the same with something subtracted before encoding}
   *
   * @param bias [n]
   * @throws IllegalArgumentException if it does not fit the encoder
   */
  public Dictionary withInputBias(Tensor bias) {
    requireShape("inputBias", bias, encoder, Shape.of(width()));
    return with(id, Optional.of(bias), normalisation, skip);
  }

  /**
   * {@return the same with what it reads normalised}
   *
   * @param how in place of how it was
   */
  public Dictionary withNormalisation(Normalisation how) {
    return with(id, inputBias, how, skip);
  }

  /**
   * {@return the same with a linear map of what it reads, not normalised, added to what it writes
   * first}
   *
   * @param map [written, read]
   * @throws IllegalArgumentException if it fits neither
   */
  public Dictionary withSkip(Tensor map) {
    requireShape("skip", map, encoder, Shape.of(decoders.get(0).width(), width()));
    return with(id, inputBias, normalisation, Optional.of(map));
  }

  /**
   * {@return the same, told from others of its kind and layer}
   *
   * @param label see {@link Id#label}
   */
  public Dictionary labelled(String label) {
    return with(new Id(id.kind, label, id.layer), inputBias, normalisation, skip);
  }

  /**
   * {@return the same as a part of a cross-layer transcoder, also where only one layer is left for
   * it to write}
   *
   * @throws IllegalArgumentException if it is an autoencoder
   */
  public Dictionary crossLayer() {
    requireArgument(
        id.kind == Kind.TRANSCODER || id.kind == Kind.CROSS_LAYER,
        "%s is an autoencoder, and no part of a cross-layer transcoder",
        id);
    return with(new Id(Kind.CROSS_LAYER, id.label, id.layer), inputBias, normalisation, skip);
  }

  /** The same of other parts round the latents. */
  private Dictionary with(
      Id other, Optional<Tensor> bias, Normalisation how, Optional<Tensor> map) {
    return new Dictionary(
        origin, other, reads, activation, encoder, latentBias, decoders, bias, how, map);
  }

  /** {@return which dictionary of its model it is} */
  public Id id() {
    return id;
  }

  /** {@return where it reads, all of a site} */
  public Place reads() {
    return reads;
  }

  /** {@return what it writes, in the order of the forward pass} */
  public List<Decoder> decoders() {
    return decoders;
  }

  /** {@return whether it writes what it reads} */
  public boolean isAutoencoder() {
    return id.kind != Kind.TRANSCODER && id.kind != Kind.CROSS_LAYER;
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

  /** {@return what is added to products with the encoder, [latent]} */
  public Tensor latentBias() {
    return latentBias;
  }

  /** {@return what is subtracted before encoding, [n], if something is} */
  public Optional<Tensor> inputBias() {
    return inputBias;
  }

  /** {@return how what it reads is normalised} */
  public Normalisation normalisation() {
    return normalisation;
  }

  /** {@return the linear map of what it reads that its first decoder adds, [written, read]} */
  public Optional<Tensor> skip() {
    return skip;
  }

  /**
   * Latents of vectors where it reads.
   *
   * @param x [.., token, n]
   * @param scaleGradient whether derivatives see the scale of a normalisation move
   * @return [.., token, latent]; an inactive one is 0 and so is its derivative
   * @throws IllegalArgumentException if {@code x} has another last axis or no other
   */
  public Variable latents(Variable x, ScaleGradient scaleGradient) {
    requireEncodable(x.shape());
    Variable z0 = product(x, scaleGradient);
    Variable z = preActivation(z0);
    return masked(activation.value(z), active(z0.value(), z.value()));
  }

  /**
   * Some latents of vectors where it reads, for the cost of their rows of the encoder, except that
   * some activations have to compare the pre-activations of all.
   *
   * @param x [.., token, n]
   * @param scaleGradient whether derivatives see the scale of a normalisation move
   * @param chosen latents, from 0
   * @return [.., token, chosen]
   * @throws IllegalArgumentException if there is no such latent, or as {@link #latents}
   */
  public Variable latents(Variable x, ScaleGradient scaleGradient, int... chosen) {
    requireEncodable(x.shape());
    IntStream.of(chosen).forEach(this::requireLatent);
    Dictionary some = only(chosen);
    if (!activation.comparesLatents()) {
      return some.latents(x, scaleGradient);
    }
    Tensor active;
    try (Scope scope = Scope.open()) {
      active = scope.keep(active(x.value()).gather(-1, chosen));
    }
    Variable z = some.preActivation(some.product(x, scaleGradient));
    return masked(some.activation.value(z), active);
  }

  /**
   * What the activation of every latent takes.
   *
   * @param x [.., token, n]
   * @param scaleGradient as for {@link #latents}
   * @return [.., token, latent]
   * @throws IllegalArgumentException as {@link #latents}
   */
  public Variable preActivations(Variable x, ScaleGradient scaleGradient) {
    requireEncodable(x.shape());
    return preActivation(product(x, scaleGradient));
  }

  /**
   * What the activation of one latent takes, for the cost of one row of the encoder.
   *
   * @param x [.., token, n]
   * @param scaleGradient as for {@link #latents}
   * @param latent from 0
   * @return [.., token, 1]
   * @throws IllegalArgumentException if there is no such latent, or as {@link #latents}
   */
  public Variable preActivation(Variable x, ScaleGradient scaleGradient, int latent) {
    requireLatent(latent);
    return only(latent).preActivations(x, scaleGradient);
  }

  /**
   * What it writes in one place.
   *
   * @param latents [.., token, latent]
   * @param x what it read, [.., token, n]
   * @param scaleGradient as for {@link #latents}
   * @param decoder which of {@link #decoders}, from 0
   * @return [.., token, written]
   * @throws IllegalArgumentException if there is no such decoder, or there are not as many latents
   *     as here
   */
  public Variable reconstruction(
      Variable latents, Variable x, ScaleGradient scaleGradient, int decoder) {
    requireArgument(
        decoder >= 0 && decoder < decoders.size(),
        "decoder %d of %s, which has %d, counted from 0",
        decoder,
        id,
        decoders.size());
    Shape shape = latents.shape();
    requireArgument(
        shape.rank() > 0 && shape.size(-1) == latentCount(),
        "%s decodes [.., %d], not %s",
        id,
        latentCount(),
        shape);
    Variable rows = Variable.constant(rows(decoders.get(decoder)));
    return brought(latents.matmul(rows), x, scaleGradient, decoder);
  }

  private Tensor rows(Decoder decoder) {
    int[] all = IntStream.range(0, latentCount()).toArray();
    return decoder.rows.of(all);
  }

  /** What is decoded, with bias, in the units of what is written, and with what is skipped. */
  private Variable brought(Variable decoded, Variable x, ScaleGradient scaleGradient, int decoder) {
    Optional<Tensor> bias = decoders.get(decoder).bias;
    Variable result = bias.map(own -> decoded.plus(Variable.constant(own))).orElse(decoded);
    if (normalisation != Normalisation.NONE) {
      Normalised normalised = normalisation.of(x, scaleGradient);
      result = normalised.scale.map(result::times).orElse(result);
      result = normalised.mean.map(result::plus).orElse(result);
    }
    if (decoder == 0 && skip.isPresent()) {
      result = result.plus(x.matmulTransposed(Variable.constant(skip.get())));
    }
    return result;
  }

  /**
   * What it writes in one place whatever the latents are: bias, mean and what is skipped.
   *
   * @param x what it read, [token, n]
   * @param decoder which of {@link #decoders}, from 0
   * @return [token, written]
   */
  public Tensor withoutLatents(Tensor x, int decoder) {
    try (Scope scope = Scope.open()) {
      Shape shape = Shape.of(x.shape().size(0), decoders.get(decoder).width());
      Variable nothing = Variable.constant(Tensor.zeros(dtype(), shape));
      return scope.keep(
          brought(nothing, Variable.constant(x), ScaleGradient.DETACHED, decoder).value());
    }
  }

  /**
   * {@return whether something of what it reads passes its latents by on the way to a place}
   *
   * @param decoder which of {@link #decoders}, from 0
   */
  public boolean passes(int decoder) {
    return normalisation.bringsMeanBack() || (decoder == 0 && skip.isPresent());
  }

  /**
   * What passes its latents by on the way to a place, a linear map: its skip map, and the mean that
   * its normalisation takes out and brings back.
   *
   * @param x what it reads, or how that moves, [.., n]
   * @param decoder which of {@link #decoders}, from 0
   * @return [.., written]
   */
  public Tensor passing(Tensor x, int decoder) {
    return passing(x, decoder, decoders.get(decoder).width(), Tensor::matmulTransposed);
  }

  /**
   * The adjoint of {@link #passing}.
   *
   * @param cotangents in what it writes, [.., written]
   * @param decoder which of {@link #decoders}, from 0
   * @return [.., n]
   */
  public Tensor passingPulled(Tensor cotangents, int decoder) {
    return passing(cotangents, decoder, width(), Tensor::matmul);
  }

  private Tensor passing(Tensor rows, int decoder, int into, BinaryOperator<Tensor> product) {
    try (Scope scope = Scope.open()) {
      Shape shape = rows.shape().with(rows.shape().rank() - 1, into);
      Tensor sum =
          decoder == 0 && skip.isPresent()
              ? product.apply(rows, skip.get())
              : Tensor.zeros(dtype(), shape);
      return scope.keep(
          normalisation.bringsMeanBack() ? sum.plus(rows.sum(-1).times(1.0 / width())) : sum);
    }
  }

  /** Numbers of latents, [token, chosen], in the units of what is written where this was read. */
  Variable inUnits(Variable numbers, Variable x) {
    return normalisation.of(x, ScaleGradient.LIVE).scale.map(numbers::times).orElse(numbers);
  }

  /**
   * What rows of decoders are multiplied by to be in the units of what is written.
   *
   * @param x what it read, [token, n]
   * @return [token, 1]; nothing if it is 1
   */
  public Optional<Tensor> scale(Tensor x) {
    if (normalisation == Normalisation.NONE) {
      return Optional.empty();
    }
    try (Scope scope = Scope.open()) {
      return normalisation
          .of(Variable.constant(x), ScaleGradient.DETACHED)
          .scale
          .map(Variable::value)
          .map(scope::keep);
    }
  }

  /**
   * Derivative of each latent with respect to the product of its row of the encoder and what is
   * encoded.
   *
   * @param x what it read, [.., token, n]
   * @return [.., token, latent]; 0 where inactive
   * @throws IllegalArgumentException as {@link #latents}
   */
  public Tensor slopes(Tensor x) {
    requireEncodable(x.shape());
    try (Scope scope = Scope.open()) {
      Variable z0 = product(Variable.constant(x), ScaleGradient.DETACHED);
      return scope.keep(slopes(z0, activation::active));
    }
  }

  /**
   * The same of latents that are active, for the cost of their rows of the encoder.
   *
   * @param x what it read, [token, n]
   * @param rowOfEach rows of tokens to that of the token of each latent, [active, n]
   * @param active latents that are active there
   * @return [active, 1]
   */
  Tensor slopes(Tensor x, UnaryOperator<Tensor> rowOfEach, int... active) {
    try (Scope scope = Scope.open()) {
      Dictionary own = only(active);
      Variable rows = centred(Variable.constant(x), ScaleGradient.DETACHED);
      Tensor z0 = rowOfEach.apply(rows.value()).rowDots(own.encoder).reshape(1, active.length);
      Tensor slopes =
          own.slopes(Variable.constant(z0), (z, all) -> Tensor.full(z.dtype(), z.shape(), 1));
      return scope.keep(slopes.reshape(active.length, 1));
    }
  }

  /** Of those that a function of z₀ and z says are active. */
  private Tensor slopes(Variable z0, BinaryOperator<Tensor> active) {
    Tensor z = preActivation(z0).value();
    Tensor slopes = activation.derivative(z, active.apply(z0.value(), z));
    return activation.slope().map(slopes::times).orElse(slopes);
  }

  /**
   * {@return what is encoded: what it read, normalised}
   *
   * @param x what it read, [.., token, n]
   */
  public Tensor encoded(Tensor x) {
    if (normalisation == Normalisation.NONE) {
      return x;
    }
    try (Scope scope = Scope.open()) {
      return scope.keep(
          normalisation.of(Variable.constant(x), ScaleGradient.DETACHED).vectors.value());
    }
  }

  /**
   * Gradients in what is encoded, pulled back to what is read.
   *
   * @param x what it read at a token, [1, n]
   * @param gradients in products with rows of the encoder, [k, n]
   * @param scaleGradient as for {@link #latents}
   * @return [k, n]
   */
  public Tensor pulled(Tensor x, Tensor gradients, ScaleGradient scaleGradient) {
    if (normalisation == Normalisation.NONE) {
      return gradients;
    }
    try (Scope scope = Scope.open()) {
      Variable read = Variable.input(x);
      Variable vectors = normalisation.of(read, scaleGradient).vectors;
      Tensor pulled =
          Jacobian.of(vectors, read)
              .pull(gradients.reshape(gradients.shape().size(0), 1, width()))
              .get(0);
      return scope.keep(pulled.reshape(gradients.shape()));
    }
  }

  /**
   * Movements of what is read, pushed to what is encoded: the adjoint of {@link #pulled}.
   *
   * @param x what it read, [token, n]
   * @param moved how that moves, [token, n]
   * @param scaleGradient as for {@link #latents}
   * @return [token, n]
   */
  public Tensor pushed(Tensor x, Tensor moved, ScaleGradient scaleGradient) {
    if (normalisation == Normalisation.NONE) {
      return moved;
    }
    try (Scope scope = Scope.open()) {
      Tensor tangents =
          Jacobian.pushOnce(
                  read -> normalisation.of(read, scaleGradient).vectors,
                  x,
                  moved.reshape(moved.shape().prepend(1)))
              .tangents();
      return scope.keep(tangents.reshape(moved.shape()));
    }
  }

  private Variable product(Variable x, ScaleGradient scaleGradient) {
    return centred(x, scaleGradient).matmulTransposed(Variable.constant(encoder));
  }

  /** What rows of the encoder are multiplied with. */
  private Variable centred(Variable x, ScaleGradient scaleGradient) {
    Variable u = normalisation.of(x, scaleGradient).vectors;
    return inputBias.map(bias -> u.minus(Variable.constant(bias))).orElse(u);
  }

  private Variable preActivation(Variable z0) {
    Variable scaled =
        activation.slope().map(slope -> z0.times(Variable.constant(slope))).orElse(z0);
    return scaled.plus(Variable.constant(latentBias));
  }

  /** 1 where a latent is active, else 0. */
  private Tensor active(Tensor x) {
    Variable z0 = product(Variable.constant(x), ScaleGradient.DETACHED);
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

  /** A dictionary of some latents, if these do not depend on the others. */
  private Dictionary only(int... latents) {
    return new Dictionary(
        origin,
        id,
        reads,
        activation.only(latents),
        encoder.gather(0, latents),
        latentBias.gather(0, latents),
        decoders,
        inputBias,
        normalisation,
        skip);
  }

  /** Refuses a model that it does not fit. */
  void requireFits(Transformer model) {
    requireWidth(model, reads, width(), "reads");
    for (Decoder decoder : decoders) {
      requireWidth(model, decoder.place, decoder.width(), "writes");
    }
    requireArgument(
        dtype() == model.dtype(), "%s is %s and the model %s", id, dtype(), model.dtype());
  }

  private void requireWidth(Transformer model, Place place, int width, String does) {
    int there = model.width(place);
    requireArgument(
        width == there,
        "%s %s vectors of %d at %s, and there they have %d",
        id,
        does,
        width,
        place,
        there);
  }

  private void requireEncodable(Shape x) {
    requireArgument(
        x.rank() >= 2 && x.size(-1) == width(),
        "%s encodes [.., token, %d], not %s",
        id,
        width(),
        x);
  }

  void requireLatent(int latent) {
    requireArgument(
        latent >= 0 && latent < latentCount(),
        "latent %d of %s, which has %d, counted from 0",
        latent,
        id,
        latentCount());
  }

  /** Its weights, but for thresholds and what is skipped. */
  void addTo(Fingerprint fingerprint) {
    fingerprint.add(id + " " + description());
    fingerprint.add(encoder);
    fingerprint.add(latentBias);
    decoders.forEach(decoder -> fingerprint.add(decoder.rows));
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
    return id.toString();
  }
}
