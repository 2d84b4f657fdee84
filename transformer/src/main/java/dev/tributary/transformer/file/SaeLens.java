package dev.tributary.transformer.file;

import dev.tributary.transformer.Dictionary.Normalisation;
import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.file.StoredDictionary.Latents;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * A dictionary as versions 2 to 6 of SAELens save it: cfg.json beside sae_weights.safetensors.
 *
 * @see <a href="https://github.com/decoderesearch/SAELens">SAELens, sae_lens/saes</a>
 */
final class SaeLens {
  static final String CONFIG = "cfg.json";
  static final String WEIGHTS = "sae_weights.safetensors";

  /** Where a training run leaves the factor of its vectors. */
  private static final String SCALER = "activation_scaler.json";

  private static final String ENCODER = "W_enc";
  private static final String DECODER = "W_dec";
  private static final String DECODER_BIAS = "b_dec";
  private static final String TRAINED_THRESHOLD = "topk_threshold";
  private static final String RESCALED = "rescale_acts_by_decoder_norm";
  private static final String FINE_TUNED = "finetuning_scaling_factor";
  private static final String OLDER_FINE_TUNED = "scaling_factor";
  private static final String NORMALIZE = "normalize_activations";
  private static final String TRANSCODER = "transcoder";
  private static final String SKIP = "skip_" + TRANSCODER;

  private static final List<String> ARCHITECTURES =
      List.of(
          "standard",
          "topk",
          "jumprelu",
          "gated",
          "abstopk",
          "batchtopk",
          "matryoshka_batchtopk",
          TRANSCODER,
          SKIP,
          "jumprelu_" + TRANSCODER,
          "jumprelu_" + SKIP);

  private final JsonFile json;

  /** Where version 6 keeps what the dictionary belongs to; the config itself in older ones. */
  private final JsonFile metadata;

  private final Given given;
  private final Safetensors weights;
  private final String architecture;

  private SaeLens(Path config, Given given) throws IOException {
    this.json = JsonFile.read(config, DictionaryFiles.CONFIG_LIMIT);
    this.metadata = json.has("metadata") ? json.object("metadata") : json;
    this.given = given;
    this.architecture = json.text("architecture", "standard");
    if (!ARCHITECTURES.contains(architecture)) {
      throw json.wrong("architecture", String.join(", ", ARCHITECTURES));
    }
    this.weights = Safetensors.open(config.resolveSibling(WEIGHTS));
  }

  /** Whether a file is the config of one. */
  static boolean isOne(Path file) {
    return file.endsWith(CONFIG) && !Sparsify.isOne(file);
  }

  static List<StoredDictionary> read(Path config, Given given) throws IOException {
    return List.of(new SaeLens(config, given).dictionary());
  }

  private boolean isTranscoder() {
    return architecture.endsWith(TRANSCODER);
  }

  /** The first of two names for the same thing that a config has. */
  private static String present(JsonFile json, String name, String older) {
    return json.has(older) && !json.has(name) ? older : name;
  }

  private static Hook.Point point(JsonFile json, String key) throws IOException {
    Optional<Hook.Point> point = Hook.Point.of(json.text(key, ""));
    if (point.isEmpty()) {
      throw json.wrong(key, "blocks.<layer>.<hook> with a hook of " + Hook.known());
    }
    return point.get();
  }

  private StoredDictionary dictionary() throws IOException {
    Hook.Point reads =
        given.reads(json.path(), point(metadata, present(metadata, "hook_name", "hook_point")));
    Hook.Point writes = reads;
    if (isTranscoder()) {
      writes = given.writes(json.path(), point(metadata, "hook_name_out"));
    } else if (metadata.has("hook_name_out")
        && !metadata.text("hook_name_out", "").equals(reads.toString())) {
      throw metadata.wrong("hook_name_out", "none: the architecture is no transcoder");
    }
    requireWholeVectors(reads);
    StoredDictionary result =
        new StoredDictionary(
                "SAELens", json.path(), weights, reads, given.label(), ENCODER, Latents.LAST)
            .writes(writes, DECODER, Latents.FIRST, Optional.of(DECODER_BIAS));
    if (json.positive("d_in") != result.width()) {
      throw json.wrong("d_in", result.width() + ", as in tensor " + BadFile.quoted(ENCODER));
    }
    if (json.positive("d_sae") != result.latents()) {
      throw json.wrong("d_sae", result.latents() + ", as in tensor " + BadFile.quoted(ENCODER));
    }
    if (architecture.endsWith(SKIP)) {
      result.skip("W_skip", false);
    }
    if (json.flag("apply_b_dec_to_input", !isTranscoder())) {
      result.subtracts(DECODER_BIAS);
    }
    if (json.flag(RESCALED, false)) {
      result.rescaled();
    }
    activation(result);
    fineTuned(result);
    normalised(result);
    centred(result, reads);
    return result.requireKnown(Set.of());
  }

  /** Refuses what is of a part of the vectors. */
  private void requireWholeVectors(Hook.Point reads) throws IOException {
    String head = present(metadata, "hook_head_index", "hook_point_head_index");
    if (metadata.has(head)) {
      throw metadata.wrong(head, "none: a dictionary of one head has no place here");
    }
    String shape = json.text("reshape_activations", "none");
    if (!shape.equals("none") && !(shape.equals("hook_z") && reads.hook() == Hook.HEADS)) {
      throw json.wrong("reshape_activations", "none, or hook_z at a hook of that name");
    }
  }

  private void activation(StoredDictionary result) throws IOException {
    String key = present(json, "activation_fn_str", "activation_fn");
    String function = json.text(key, "relu");
    if (!List.of("relu", "topk", "tanh-relu").contains(function)) {
      throw json.wrong(key, "relu, topk or tanh-relu");
    }
    if (architecture.equals("gated")) {
      result.gated("b_gate", "b_mag", "r_mag");
      return;
    }
    result.latentBias("b_enc");
    if (function.equals("topk")) {
      boolean flat = architecture.equals("topk") && json.has("k");
      result.topK(count(result, flat ? json : json.object("activation_fn_kwargs")));
    } else if (function.equals("tanh-relu")) {
      result.activation(new LatentActivation.TanhRelu());
    } else if (architecture.equals("topk")) {
      result.topK(count(result, json));
    } else if (architecture.equals("abstopk")) {
      int count = count(result, json);
      result.activation(new LatentActivation.AbsTopK(count));
    } else if (architecture.endsWith("batchtopk")) {
      result.jumpRelu(TRAINED_THRESHOLD);
    } else if (architecture.startsWith("jumprelu")) {
      result.jumpRelu("threshold");
    }
  }

  private static int count(StoredDictionary result, JsonFile holder) throws IOException {
    if (holder.has("postact_fn")) {
      throw holder.wrong("postact_fn", "none: the k largest go through relu");
    }
    int count = holder.positive("k");
    if (count > result.latents()) {
      throw holder.wrong("k", "at most " + result.latents() + ", the d_sae");
    }
    return count;
  }

  private void fineTuned(StoredDictionary result) throws IOException {
    String name = weights.contains(OLDER_FINE_TUNED) ? OLDER_FINE_TUNED : FINE_TUNED;
    if (weights.contains(name)) {
      result.latentScale(name);
      // Version 2 does not say whether it applies: it always does.
      if (!json.flag(FINE_TUNED, name.equals(OLDER_FINE_TUNED) && !json.has(FINE_TUNED))) {
        requireOnes(name, result.latents());
      }
    }
  }

  private void requireOnes(String name, int size) throws IOException {
    for (double value : weights.numbers(name, size)) {
      if (value != 1) {
        throw StoredTensor.because(
            weights.path(),
            name,
            "is not all ones, and %s is not true in %s",
            FINE_TUNED,
            json.path());
      }
    }
  }

  private void normalised(StoredDictionary result) throws IOException {
    boolean scaled =
        json.root().path(NORMALIZE).isBoolean()
            ? json.flag(NORMALIZE, false)
            : json.text(NORMALIZE, "none").equals("expected_average_only_in");
    if (scaled) {
      double factor = given.factor(json.path(), scaler());
      result.factors(factor, factor);
    } else if (!json.root().path(NORMALIZE).isBoolean()) {
      switch (json.text(NORMALIZE, "none")) {
        case "none" -> {}
        case "layer_norm" -> result.normalised(Normalisation.LAYER_NORM);
        case "constant_norm_rescale" -> result.normalised(Normalisation.CONSTANT_NORM);
        default ->
            throw json.wrong(
                NORMALIZE, "none, expected_average_only_in, layer_norm or constant_norm_rescale");
      }
    }
  }

  private Optional<Double> scaler() throws IOException {
    Path file = json.path().resolveSibling(SCALER);
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    JsonFile scaler = JsonFile.read(file, DictionaryFiles.CONFIG_LIMIT);
    return scaler.has("scaling_factor")
        ? Optional.of(scaler.positive("scaling_factor", 1.0))
        : Optional.empty();
  }

  /** Some models were loaded so that all they write to the residual stream has mean 0. */
  private void centred(StoredDictionary result, Hook.Point reads) throws IOException {
    String key = "model_from_pretrained_kwargs";
    boolean own = metadata.has(key) && metadata.object(key).flag("center_writing_weights", false);
    if (given.centred(own) && reads.hook().inStream()) {
      if (!json.root().path(NORMALIZE).isMissingNode()
          && List.of("layer_norm", "constant_norm_rescale")
              .contains(json.root().path(NORMALIZE).asText())) {
        throw json.wrong(NORMALIZE, "none, as vectors are less their mean");
      }
      result.centred();
    }
  }
}
