package dev.tributary.transformer.file;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.DecoderRows;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Dictionary.Normalisation;
import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

/**
 * A dictionary in a file whose names and shapes have been checked, and how it was trained to be
 * read: a layout says which tensor is what, and what is beyond an encoder and a decoder is worked
 * into the weights here, once for all layouts.
 *
 * <pre>
 * u       = normalised(f x, or f (x - mean))        c = u - b_dec, if that is subtracted, else u
 * z       = (W_enc c + b_enc) times the norms of W_dec's rows, if rescaled
 * written = denormalised((W_dec (scaling factor latents / those norms) + b_dec) / g) + W_skip x
 * </pre>
 */
final class StoredDictionary {
  private final String origin;
  private final Path path;
  private final TensorFile weights;
  private final Hook.Point reads;
  private final String label;
  private final StoredTensor encoder;
  private final List<Written> written = new ArrayList<>();
  private final Set<String> used = new TreeSet<>();
  private Optional<StoredTensor> latentBias = Optional.empty();
  private Optional<StoredTensor> inputBias = Optional.empty();
  private Optional<StoredTensor> skip = Optional.empty();
  private Optional<StoredTensor> latentScale = Optional.empty();
  private StoredActivation activation = StoredActivation.of(new LatentActivation.Relu());
  private Normalisation normalisation = Normalisation.NONE;
  private boolean centred;
  private boolean rescaled;
  private double encoderFactor = 1;
  private double decoderFactor = 1;
  private double biasFactor = 1;
  private boolean crossLayer;
  private boolean onDisk;

  /** Which axis of a matrix in a file is that of the latents. */
  enum Latents {
    /** Each has a row. */
    FIRST,
    /** Each has a column. */
    LAST
  }

  /** What latents write at one point, [latent, n], and the bias there. */
  private record Written(Hook.Point point, StoredTensor rows, Optional<StoredTensor> bias) {}

  /**
   * A dictionary that is a rectified linear function of what it reads, without biases.
   *
   * @param path the file that says what it is
   * @param encoder its name in the file
   */
  StoredDictionary(
      String origin,
      Path path,
      TensorFile weights,
      Hook.Point reads,
      String label,
      String encoder,
      Latents latents)
      throws IOException {
    this.origin = origin;
    this.path = path;
    this.weights = weights;
    this.reads = reads;
    this.label = label;
    this.encoder = matrix(encoder, latents);
    if (this.encoder.shape().length() == 0) {
      throw StoredTensor.because(
          weights.path(), encoder, "is %s, and there have to be latents", weights.shape(encoder));
    }
  }

  // ---- what a layout says ------------------------------------------------------------------

  private StoredTensor stored(String name) throws IOException {
    used.add(name);
    return weights.stored(name);
  }

  private StoredTensor matrix(String name, Latents latents) throws IOException {
    StoredTensor stored = stored(name);
    if (stored.shape().rank() != 2) {
      throw StoredTensor.because(weights.path(), name, "is %s, expected a matrix", stored.shape());
    }
    return latents == Latents.FIRST ? stored : stored.transposed();
  }

  private StoredTensor vector(String name, int size) throws IOException {
    StoredTensor stored = stored(name);
    if (!stored.shape().equals(Shape.of(size))) {
      throw StoredTensor.because(
          weights.path(), name, "is %s, expected %s", stored.shape(), Shape.of(size));
    }
    return stored;
  }

  /** Its number of latents. */
  int latents() {
    return encoder.shape().size(0);
  }

  /** The size of the vectors that it reads. */
  int width() {
    return encoder.shape().size(1);
  }

  /** What it writes, or one of several. */
  StoredDictionary writes(Hook.Point point, String decoder, Latents latents, Optional<String> bias)
      throws IOException {
    return writes(point, matrix(decoder, latents), decoder, bias);
  }

  private StoredDictionary writes(
      Hook.Point point, StoredTensor rows, String name, Optional<String> bias) throws IOException {
    if (rows.shape().size(0) != latents()) {
      throw StoredTensor.because(
          weights.path(),
          name,
          "has rows of %d latents, and tensor %s of %d",
          rows.shape().size(0),
          BadFile.quoted(encoder.name()),
          latents());
    }
    if (point.equals(reads) && rows.shape().size(1) != width()) {
      throw StoredTensor.because(
          weights.path(),
          name,
          "writes vectors of %d, and tensor %s reads vectors of %d",
          rows.shape().size(1),
          BadFile.quoted(encoder.name()),
          width());
    }
    Optional<StoredTensor> own = Optional.empty();
    if (bias.isPresent()) {
      own = Optional.of(vector(bias.get(), rows.shape().size(1)));
    }
    written.add(new Written(point, rows, own));
    return this;
  }

  /** What it writes at a layer and those after it, [latent, layer, n], kept on disk. */
  StoredDictionary writesFrom(Hook.Point first, TensorFile file, String decoder, String bias)
      throws IOException {
    StoredTensor all = file.stored(decoder);
    if (all.shape().rank() != 3 || all.shape().size(1) == 0) {
      throw StoredTensor.because(
          file.path(), decoder, "is %s, expected [latent, layer, n]", all.shape());
    }
    crossLayer = true;
    onDisk = true;
    for (int i = 0; i < all.shape().size(1); i++) {
      writes(
          first.hook().in(first.layer() + i),
          all.along(1, i),
          decoder,
          i == 0 ? Optional.of(bias) : Optional.empty());
    }
    return this;
  }

  /** Its decoder stays on disk. */
  StoredDictionary onDisk() {
    onDisk = true;
    return this;
  }

  /** What is added to products with the encoder. */
  StoredDictionary latentBias(String name) throws IOException {
    latentBias = Optional.of(vector(name, latents()));
    return this;
  }

  /** What is subtracted before encoding. */
  StoredDictionary subtracts(String name) throws IOException {
    inputBias = Optional.of(vector(name, width()));
    return this;
  }

  /** A linear map of what it reads to what it writes, [written, read], or transposed. */
  StoredDictionary skip(String name, boolean transposed) throws IOException {
    StoredTensor map = matrix(name, transposed ? Latents.LAST : Latents.FIRST);
    Shape expected = Shape.of(written.get(0).rows.shape().size(1), width());
    if (!map.shape().equals(expected)) {
      throw StoredTensor.because(weights.path(), name, "is %s, expected %s", map.shape(), expected);
    }
    skip = Optional.of(map);
    return this;
  }

  /** What latents are multiplied by on their way into the decoder. */
  StoredDictionary latentScale(String name) throws IOException {
    latentScale = Optional.of(vector(name, latents()));
    return this;
  }

  /** How what it reads is normalised. */
  StoredDictionary normalised(Normalisation how) {
    normalisation = how;
    return this;
  }

  /** Vectors are less their means before they are encoded. */
  StoredDictionary centred() {
    centred = true;
    return this;
  }

  /** Pre-activations are multiplied by the norms of the decoder's rows, and latents divided. */
  StoredDictionary rescaled() {
    rescaled = true;
    return this;
  }

  /** What vectors are multiplied by before they are encoded, and after they are decoded divided. */
  StoredDictionary factors(double in, double out) {
    encoderFactor = in;
    decoderFactor = out;
    biasFactor = out;
    return this;
  }

  /** The same, except that the bias of what is decoded stays as it is. */
  StoredDictionary factorOfMatrices(double factor) {
    encoderFactor = factor;
    decoderFactor = factor;
    return this;
  }

  /** How latents follow from pre-activations; without that they are rectified. */
  StoredDictionary activation(LatentActivation how) {
    activation = StoredActivation.of(how);
    return this;
  }

  /** The largest of each token, rectified. */
  StoredDictionary topK(int count) throws IOException {
    requireCount(count);
    return activation(new LatentActivation.TopK(count));
  }

  /** Refuses to keep more than there are. */
  void requireCount(int count) throws IOException {
    if (count > latents()) {
      throw BadFile.because(
          path,
          "k is %d, expected at most %d, as tensor %s says",
          count,
          latents(),
          BadFile.quoted(encoder.name()));
    }
  }

  /** Latents are positive and above their thresholds, which are one for each or one for all. */
  StoredDictionary jumpRelu(String threshold) throws IOException {
    StoredTensor stored = stored(threshold);
    if (stored.shape().length() != 1) {
      vector(threshold, latents());
    }
    activation = StoredActivation.jumpRelu(latents(), dtype -> Finite.read(stored, dtype));
    return this;
  }

  /** The same with a threshold for each. */
  StoredDictionary jumpReluOfEach(String threshold) throws IOException {
    vector(threshold, latents());
    return jumpRelu(threshold);
  }

  /** The same with the logarithms of thresholds. */
  StoredDictionary jumpReluOfLogarithm(String threshold) throws IOException {
    StoredTensor stored = vector(threshold, latents());
    activation =
        StoredActivation.jumpRelu(
            latents(), dtype -> Finite.require(stored, Finite.read(stored, dtype).exp()));
    return this;
  }

  /** The same with one threshold. */
  StoredDictionary jumpRelu(double threshold) {
    activation =
        StoredActivation.jumpRelu(latents(), dtype -> Tensor.full(dtype, Shape.of(1), threshold));
    return this;
  }

  /**
   * Latents where a gate is open: its bias, the bias of their size and the logarithm of a slope.
   */
  StoredDictionary gated(String gateBias, String magnitudeBias, String logScale)
      throws IOException {
    activation = StoredActivation.gated(vector(gateBias, latents()), vector(logScale, latents()));
    return latentBias(magnitudeBias);
  }

  /**
   * Refuses tensors that no one has asked for.
   *
   * @param ignored those that do not matter
   */
  StoredDictionary requireKnown(Set<String> ignored) throws IOException {
    for (String name : weights.names()) {
      if (!used.contains(name) && !ignored.contains(name)) {
        throw StoredTensor.because(
            weights.path(),
            name,
            "is unknown: a dictionary of this kind has %s",
            String.join(", ", used));
      }
    }
    return this;
  }

  // ---- reading -----------------------------------------------------------------------------

  /** The file that says what it is. */
  Path path() {
    return path;
  }

  /** Where it reads. */
  Hook.Point reads() {
    return reads;
  }

  /** Where it writes. */
  List<Hook.Point> points() {
    return written.stream().map(Written::point).toList();
  }

  /** Whether it writes what it reads. */
  boolean isAutoencoder() {
    return points().equals(List.of(reads));
  }

  /** What tells it from others of its kind and layer, or empty. */
  String label() {
    return label;
  }

  /** Such as "SAELens, TopK of 32, 24576 latents of 768, F32". */
  String description() {
    return "%s, %s, %d latents of %d, %s"
        .formatted(origin, activation.name(), latents(), width(), encoder.type());
  }

  /** Where it reads in a model. */
  Place place(TransformerConfig config) throws IOException {
    return place(reads, config);
  }

  private Place place(Hook.Point point, TransformerConfig config) throws IOException {
    try {
      return point.place(config);
    } catch (IllegalArgumentException e) {
      throw BadFile.causedBy(e, path, "%s", String.valueOf(e.getMessage()));
    }
  }

  /** Refuses a model whose vectors have other sizes. */
  void requireFits(TransformerConfig config) throws IOException {
    requireWidth("reads", reads, width(), config);
    for (Written each : written) {
      requireWidth("writes", each.point, each.rows.shape().size(1), config);
    }
  }

  private void requireWidth(String does, Hook.Point point, int width, TransformerConfig config)
      throws IOException {
    Place place = place(point, config);
    int there = Hook.width(place, config);
    if (width != there) {
      throw BadFile.because(
          path,
          "this dictionary %s vectors of %d at %s, and there the model has vectors of %d",
          does,
          width,
          place,
          there);
    }
  }

  /** The dictionary, in the innermost open scope. */
  Dictionary read(DType dtype, TransformerConfig config) throws IOException {
    Place where = place(config);
    try (Scope scope = Scope.open()) {
      boolean folded = encoderFactor != 1 || rescaled || centred;
      Tensor rows = folded ? Finite.read(encoder, dtype) : Finite.keep(encoder, dtype);
      Tensor bias =
          latentBias.isPresent()
              ? Finite.read(latentBias.get(), dtype)
              : Tensor.zeros(dtype, Shape.of(latents()));
      Optional<Tensor> norm = Optional.empty();
      if (rescaled) {
        norm = Optional.of(Finite.read(written.get(0).rows, dtype).norm(-1));
        rows = rows.times(norm.get());
        bias = bias.times(norm.get().reshape(latents()));
      }
      rows = encoderFactor == 1 ? rows : rows.times(encoderFactor);
      Optional<Tensor> subtracted = Optional.empty();
      if (inputBias.isPresent()) {
        subtracted = Optional.of(Finite.read(inputBias.get(), dtype).times(1 / encoderFactor));
      }
      Optional<Tensor> shift = Optional.empty();
      if (centred && subtracted.isPresent()) {
        Tensor column = subtracted.get().reshape(width(), 1);
        shift = Optional.of(rows.matmul(column).reshape(latents()).negate());
        subtracted = Optional.empty();
      }
      rows = centred ? rows.centred(-1) : rows;
      LatentActivation how =
          activation.reader().read(new StoredActivation.Reading(dtype, scope, shift));
      if (shift.isPresent()) {
        bias = bias.plus(how.slope().map(shift.get()::times).orElse(shift.get()));
      }
      if (subtracted.isPresent()) {
        subtracted = Optional.of(scope.keep(Finite.require(inputBias.get(), subtracted.get())));
      }
      Tensor kept = scope.keep(Finite.require(encoder, rows));
      List<Dictionary.Decoder> decoders = new ArrayList<>();
      for (Written each : written) {
        boolean tied = each.rows == encoder && !folded && decoderFactor == 1;
        decoders.add(
            new Dictionary.Decoder(
                place(each.point, config),
                tied ? DecoderRows.of(kept) : rows(each, norm, dtype, scope),
                isSubtracted(each) ? subtracted : bias(each, dtype, scope)));
      }
      Dictionary result =
          Dictionary.of(
                  origin, where, how, kept, scope.keep(Finite.require(encoder, bias)), decoders)
              .withNormalisation(normalisation)
              .labelled(label);
      if (subtracted.isPresent()) {
        result = result.withInputBias(subtracted.get());
      }
      if (skip.isPresent()) {
        result = result.withSkip(scope.keep(Finite.read(skip.get(), dtype)));
      }
      return crossLayer ? result.crossLayer() : result;
    } catch (IllegalArgumentException e) {
      throw BadFile.causedBy(e, path, "%s", String.valueOf(e.getMessage()));
    }
  }

  /** Whether what is added after decoding is what is subtracted before encoding. */
  private boolean isSubtracted(Written each) {
    return !centred
        && biasFactor == encoderFactor
        && each.bias.isPresent()
        && each.bias.equals(inputBias);
  }

  private DecoderRows rows(Written each, Optional<Tensor> norm, DType dtype, Scope scope)
      throws IOException {
    if (onDisk) {
      return new StoredDecoder(each.rows, dtype);
    }
    Tensor rows = Finite.read(each.rows, dtype);
    rows = norm.isPresent() ? rows.over(norm.get()) : rows;
    if (latentScale.isPresent()) {
      rows = rows.times(Finite.read(latentScale.get(), dtype).reshape(latents(), 1));
    }
    rows = decoderFactor == 1 ? rows : rows.times(1 / decoderFactor);
    return DecoderRows.of(scope.keep(Finite.require(each.rows, rows)));
  }

  private Optional<Tensor> bias(Written each, DType dtype, Scope scope) throws IOException {
    if (each.bias.isEmpty()) {
      return Optional.empty();
    }
    Tensor bias = Finite.read(each.bias.get(), dtype);
    bias = biasFactor == 1 ? bias : bias.times(1 / biasFactor);
    return Optional.of(scope.keep(Finite.require(each.bias.get(), bias)));
  }
}
