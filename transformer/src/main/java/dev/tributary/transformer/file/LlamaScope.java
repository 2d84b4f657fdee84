package dev.tributary.transformer.file;

import dev.tributary.transformer.file.StoredDictionary.Latents;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * A dictionary as Llama Scope publishes it: hyperparams.json above checkpoints/final.safetensors;
 * those of distilled models have config.json beside sae_weights.safetensors. Latents are SAELens':
 * in units of the vectors as they were scaled for training.
 *
 * @see <a href="https://arxiv.org/abs/2410.20526">He et al. 2024</a>
 */
final class LlamaScope {
  private static final String CONFIG = "hyperparams.json";
  private static final String WEIGHTS = "checkpoints/final.safetensors";
  private static final String DISTILLED_CONFIG = "config.json";
  private static final String ENCODER = "encoder.weight";
  private static final String DECODER_BIAS = "decoder.bias";
  private static final String NORM = "dataset_average_activation_norm";
  private static final String LOGARITHM = "log_jumprelu_threshold";

  private LlamaScope() {}

  /** Whether a file is the config of one. */
  static boolean isOne(Path file) {
    return file.endsWith(CONFIG)
        || (file.endsWith(DISTILLED_CONFIG)
            && Files.exists(file.resolveSibling(SaeLens.WEIGHTS))
            && Files.notExists(file.resolveSibling(SaeLens.CONFIG)));
  }

  static List<StoredDictionary> read(Path config, Given given) throws IOException {
    JsonFile json = JsonFile.read(config, DictionaryFiles.CONFIG_LIMIT);
    Safetensors weights =
        Safetensors.open(
            config.resolveSibling(config.endsWith(CONFIG) ? WEIGHTS : SaeLens.WEIGHTS));
    if (json.flag("use_glu_encoder", false)) {
      throw json.wrong("use_glu_encoder", "false: encoders with a gate of their own are unknown");
    }
    Hook.Point in = given.reads(config, point(json, "hook_point_in"));
    Hook.Point out = point(json, "hook_point_out");
    boolean biased = json.flag("use_decoder_bias", true);
    StoredDictionary result =
        new StoredDictionary(
                "Llama Scope", config, weights, in, given.label(), ENCODER, Latents.FIRST)
            .writes(
                out,
                "decoder.weight",
                Latents.LAST,
                biased ? Optional.of(DECODER_BIAS) : Optional.empty())
            .latentBias("encoder.bias");
    if (json.positive("d_model") != result.width()) {
      throw json.wrong("d_model", result.width() + ", as in tensor " + BadFile.quoted(ENCODER));
    }
    if (biased && json.flag("apply_decoder_bias_to_pre_encoder", false)) {
      result.subtracts(DECODER_BIAS);
    }
    double factor = factors(json, given, in.equals(out), result);
    switch (json.text("act_fn", "")) {
      case "relu" -> {}
      case "topk" -> result.topK(given.count(config, Optional.of(json.positive("top_k"))));
      case "jumprelu" -> {
        if (weights.contains(LOGARITHM)) {
          result.jumpReluOfLogarithm(LOGARITHM);
        } else {
          // It is for latents of vectors that were not scaled.
          result.jumpRelu(json.number("jump_relu_threshold", 0) * factor);
        }
      }
      default -> throw json.wrong("act_fn", "jumprelu, topk or relu");
    }
    return List.of(result.requireKnown(Set.of()));
  }

  private static Hook.Point point(JsonFile json, String key) throws IOException {
    Optional<Hook.Point> point = Hook.Point.of(json.text(key, ""));
    if (point.isEmpty()) {
      throw json.wrong(key, "blocks.<layer>.<hook> with a hook of " + Hook.known());
    }
    return point.get();
  }

  /** Has the factors of vectors worked in, and gives that of those that are read. */
  private static double factors(
      JsonFile json, Given given, boolean autoencoder, StoredDictionary result) throws IOException {
    String how = json.text("norm_activation", "");
    if (how.equals("none") || how.equals("inference")) {
      return 1;
    }
    if (!how.equals("dataset-wise")) {
      throw json.wrong("norm_activation", "dataset-wise, inference or none");
    }
    if (!json.has(NORM)) {
      if (!autoencoder) {
        throw json.wrong(NORM, "an object: a transcoder has two factors");
      }
      double factor = given.factor(json.path(), Optional.empty());
      result.factors(factor, factor);
      return factor;
    }
    JsonFile norms = json.object(NORM);
    double root = Math.sqrt(result.width());
    double in = root / positive(norms, "in");
    result.factors(in, autoencoder ? in : root / positive(norms, "out"));
    return in;
  }

  private static double positive(JsonFile json, String key) throws IOException {
    if (!json.has(key)) {
      throw json.wrong(key, "a positive number");
    }
    return json.positive(key, 1.0);
  }
}
