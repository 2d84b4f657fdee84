package dev.tributary.transformer.file;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * One autoencoder as SAELens saves it. What its config has beyond an encoder and a decoder is
 * worked into the weights, so that latents and reconstructions are SAELens' own.
 *
 * <pre>
 * x        = y, less its mean if the model was loaded with center_writing_weights
 * z₀       = (x - b_dec if apply_b_dec_to_input) W_enc
 * latents  = relu(z₀ + b_enc)                                standard
 *          = relu of the k largest of z₀ + b_enc             topk
 *          = relu(z₀ + b_enc) where z₀ + b_enc > threshold   jumprelu
 *          = relu(exp(r_mag) z₀ + b_mag) where z₀ + b_gate > 0 gated
 * decoded  = (latents · finetuning_scaling_factor) W_dec + b_dec
 * </pre>
 *
 * @see <a href="https://github.com/decoderesearch/SAELens">SAELens, sae_lens/saes</a>
 */
final class SaeLensFolder {
  static final String CONFIG = "cfg.json";
  static final String WEIGHTS = "sae_weights.safetensors";

  private static final Map<Site, String> HOOKS =
      new EnumMap<>(
          Map.of(
              Site.ATTENTION_OUTPUT, "hook_attn_out",
              Site.MLP_ACTIVATION, "mlp.hook_post",
              Site.MLP_OUTPUT, "hook_mlp_out"));

  private static final Pattern HOOK = Pattern.compile("blocks\\.(0|[1-9]\\d{0,8})\\.(.+)");

  private static final String TOP = "topk";
  private static final String JUMP = "jumprelu";
  private static final String GATED = "gated";
  private static final List<String> ARCHITECTURES = List.of("standard", TOP, JUMP, GATED);

  private static final String ENCODER = "W_enc";
  private static final String DECODER = "W_dec";
  private static final String DECODER_BIAS = "b_dec";
  private static final String ENCODER_BIAS = "b_enc";
  private static final String THRESHOLD = "threshold";
  private static final String GATE_BIAS = "b_gate";
  private static final String MAGNITUDE_BIAS = "b_mag";
  private static final String MAGNITUDE_SCALE = "r_mag";
  private static final String RESCALED = "rescale_acts_by_decoder_norm";
  private static final String FINE_TUNED = "finetuning_scaling_factor";
  private static final String OLDER_FINE_TUNED = "scaling_factor";

  private final Path file;
  private final JsonFile json;

  /** Where version 6 keeps what the autoencoder belongs to; the config itself in older ones. */
  private final JsonFile metadata;

  private final Safetensors weights;
  private final Site site;
  private final int layer;
  private final String architecture;

  /** Latents that stay active, only if topk. */
  private final int count;

  private final int n;
  private final int latents;

  SaeLensFolder(Path folder, JsonFile json, TransformerConfig config) throws IOException {
    this.file = folder.resolve(WEIGHTS);
    this.json = json;
    this.metadata = json.has("metadata") ? json.object("metadata") : json;
    Matcher hook = hook();
    this.site = site(hook);
    this.layer = Integer.parseInt(hook.group(1));
    if (layer >= config.layers().size()) {
      throw BadFile.because(
          json.path(),
          "%s is of a layer that the model does not have: it has %d",
          BadFile.quoted(hook.group()),
          config.layers().size());
    }
    requireRepresentable();
    String activation = json.text(present(json, "activation_fn_str", "activation_fn"), "relu");
    boolean topActivation = activation.equals(TOP);
    this.architecture = topActivation ? TOP : json.text("architecture", "standard");
    if (!ARCHITECTURES.contains(architecture)) {
      throw json.wrong("architecture", String.join(", ", ARCHITECTURES));
    }
    if (!topActivation && !activation.equals("relu")) {
      throw json.wrong(present(json, "activation_fn_str", "activation_fn"), "relu or topk");
    }
    this.count = architecture.equals(TOP) ? count(topActivation) : 0;
    this.n = AutoencoderFiles.width(site, layer, config);
    if (json.positive("d_in") != n) {
      throw json.wrong("d_in", n + ", the size of the model's vectors at this site");
    }
    this.weights = Safetensors.open(file);
    this.latents = latents();
    requireNames();
  }

  /** What it is. */
  AutoencoderFiles.Found found() {
    return new AutoencoderFiles.Found(json.path(), site, layer, this::read);
  }

  /** The first of two names for the same thing that a config has. */
  private static String present(JsonFile json, String name, String older) {
    return json.has(older) && !json.has(name) ? older : name;
  }

  private Matcher hook() throws IOException {
    String key = present(metadata, "hook_name", "hook_point");
    Matcher matcher = HOOK.matcher(metadata.text(key, ""));
    if (!matcher.matches() || !HOOKS.containsValue(matcher.group(2))) {
      throw metadata.wrong(
          key, "blocks.<layer>.<hook> with a hook of " + String.join(", ", HOOKS.values()));
    }
    return matcher;
  }

  private static Site site(Matcher hook) {
    return HOOKS.entrySet().stream()
        .filter(entry -> entry.getValue().equals(hook.group(2)))
        .findFirst()
        .orElseThrow()
        .getKey();
  }

  private void requireRepresentable() throws IOException {
    String normalize = "normalize_activations";
    boolean off = json.has(normalize) && json.root().get(normalize).isBoolean();
    if (off ? json.flag(normalize, false) : !json.text(normalize, "none").equals("none")) {
      throw json.wrong(normalize, "none: vectors are encoded as they are");
    }
    if (!json.text("reshape_activations", "none").equals("none")) {
      throw json.wrong("reshape_activations", "none: vectors are encoded as they are");
    }
    String head = present(metadata, "hook_head_index", "hook_point_head_index");
    if (metadata.has(head)) {
      throw metadata.wrong(head, "none: an autoencoder of one head has no site here");
    }
    if (metadata.has("hook_name_out")) {
      throw metadata.wrong("hook_name_out", "none: a transcoder is not an autoencoder");
    }
  }

  private int count(boolean inActivation) throws IOException {
    JsonFile holder = inActivation ? json.object("activation_fn_kwargs") : json;
    if (holder.has("postact_fn")) {
      throw holder.wrong("postact_fn", "none: the k largest go through relu");
    }
    int result = holder.positive("k");
    if (result > json.positive("d_sae")) {
      throw holder.wrong("k", "at most " + json.positive("d_sae") + ", the d_sae");
    }
    return result;
  }

  /** What the weights say; the config has to agree. */
  private int latents() throws IOException {
    Shape shape = weights.shape(ENCODER);
    if (shape.rank() != 2 || shape.size(0) != n || shape.length() == 0) {
      throw StoredTensor.because(file, ENCODER, "is %s, expected [%d, latents]", shape, n);
    }
    if (json.positive("d_sae") != shape.size(1)) {
      throw json.wrong("d_sae", shape.size(1) + ", as in tensor " + BadFile.quoted(ENCODER));
    }
    return shape.size(1);
  }

  /** The tensors that there have to be, with their shapes. */
  private Map<String, Shape> shapes() {
    Map<String, Shape> shapes = new TreeMap<>();
    shapes.put(ENCODER, Shape.of(n, latents));
    shapes.put(DECODER, Shape.of(latents, n));
    shapes.put(DECODER_BIAS, Shape.of(n));
    Shape latent = Shape.of(latents);
    if (architecture.equals(GATED)) {
      shapes.put(GATE_BIAS, latent);
      shapes.put(MAGNITUDE_BIAS, latent);
      shapes.put(MAGNITUDE_SCALE, latent);
    } else {
      shapes.put(ENCODER_BIAS, latent);
    }
    if (architecture.equals(JUMP)) {
      shapes.put(THRESHOLD, latent);
    }
    return shapes;
  }

  private void requireNames() throws IOException {
    Map<String, Shape> shapes = shapes();
    for (String name : weights.names()) {
      boolean fineTuned = name.equals(FINE_TUNED) || name.equals(OLDER_FINE_TUNED);
      if (!fineTuned && !shapes.containsKey(name)) {
        throw BadFile.because(
            file,
            "tensor %s is unknown: a %s autoencoder has %s",
            BadFile.quoted(name),
            architecture,
            String.join(", ", shapes.keySet()));
      }
    }
    for (Map.Entry<String, Shape> entry : shapes.entrySet()) {
      requireShape(entry.getKey(), entry.getValue());
    }
  }

  private void requireShape(String name, Shape expected) throws IOException {
    AutoencoderFiles.requireShape(weights, name, expected.dimensions());
  }

  private Dictionary read(DType dtype) throws IOException {
    try (Scope scope = Scope.open()) {
      Tensor encoder = encoder(dtype);
      Tensor decoder = tensor(DECODER, dtype);
      Tensor preBias = tensor(DECODER_BIAS, dtype);
      Tensor bias = tensor(architecture.equals(GATED) ? MAGNITUDE_BIAS : ENCODER_BIAS, dtype);
      if (architecture.equals(TOP) && json.flag(RESCALED, false)) {
        Tensor norm = decoder.norm(-1);
        encoder = encoder.times(norm);
        bias = bias.times(norm.reshape(latents));
        decoder = decoder.over(norm);
      }
      decoder = fineTuned(decoder);
      Tensor shift = shift(encoder, preBias);
      LatentActivation activation = activation(shift, scope, dtype);
      shift = activation.slope().map(shift::times).orElse(shift);
      encoder = isCentred() ? encoder.centred(-1) : encoder;
      return Dictionary.autoencoder(
          "SAELens",
          Place.of(site, layer),
          activation,
          scope.keep(finite(ENCODER, encoder)),
          scope.keep(finite(DECODER, decoder)),
          scope.keep(preBias),
          scope.keep(finite(ENCODER_BIAS, bias.plus(shift))));
    }
  }

  /** [latent, n] */
  private Tensor encoder(DType dtype) throws IOException {
    return tensor(ENCODER, dtype).permute(1, 0);
  }

  /**
   * What pre-activations have beyond the product of the encoder, centred if it has to be, and the
   * vector less its bias: that bias is subtracted here whether or not SAELens does, since it is
   * added to what is decoded.
   */
  private Tensor shift(Tensor encoder, Tensor preBias) throws IOException {
    Tensor column = preBias.reshape(n, 1);
    Tensor mean = encoder.mean(-1);
    Tensor subtracted = isCentred() ? encoder.minus(mean).matmul(column) : encoder.matmul(column);
    Tensor shift =
        json.flag("apply_b_dec_to_input", true)
            ? subtracted.minus(encoder.matmul(column))
            : subtracted;
    return shift.reshape(latents);
  }

  /** Whether the model that it was trained on wrote vectors of mean 0 to its residual stream. */
  private boolean isCentred() throws IOException {
    String key = "model_from_pretrained_kwargs";
    return site != Site.MLP_ACTIVATION
        && metadata.has(key)
        && metadata.object(key).flag("center_writing_weights", false);
  }

  private Tensor fineTuned(Tensor decoder) throws IOException {
    String name = weights.contains(OLDER_FINE_TUNED) ? OLDER_FINE_TUNED : FINE_TUNED;
    if (!weights.contains(name)) {
      return decoder;
    }
    requireShape(name, Shape.of(latents));
    Tensor factor = tensor(name, decoder.dtype());
    boolean applies = json.flag(FINE_TUNED, false);
    if (!applies && Arrays.stream(factor.toDoubles()).anyMatch(value -> value != 1)) {
      throw json.wrong(FINE_TUNED, "true, as there is such a tensor in " + file);
    }
    return decoder.times(factor.reshape(latents, 1));
  }

  private LatentActivation activation(Tensor shift, Scope scope, DType dtype) throws IOException {
    return switch (architecture) {
      case TOP -> new LatentActivation.TopK(count);
      // A latent is positive and above its threshold.
      case JUMP -> new LatentActivation.JumpRelu(scope.keep(tensor(THRESHOLD, dtype).relu()));
      case GATED ->
          new LatentActivation.Gated(
              scope.keep(finite(GATE_BIAS, tensor(GATE_BIAS, dtype).plus(shift))),
              scope.keep(tensor(MAGNITUDE_SCALE, dtype)));
      default -> new LatentActivation.Relu();
    };
  }

  private Tensor tensor(String name, DType dtype) throws IOException {
    return AutoencoderFiles.tensor(weights, name, dtype, weights.shape(name).dimensions());
  }

  /** What has been worked into a tensor may have become too large. */
  private Tensor finite(String name, Tensor tensor) throws IOException {
    if (!tensor.isFinite()) {
      throw StoredTensor.because(
          file, name, "leads to a number that is infinite or NaN, as %s has it", json.path());
    }
    return tensor;
  }
}
