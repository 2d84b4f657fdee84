package dev.tributary.transformer.file;

import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.file.StoredDictionary.Latents;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A dictionary as EleutherAI's sparsify saves it: cfg.json beside sae.safetensors, in a folder with
 * the name of the module whose output it reads.
 *
 * @see <a href="https://github.com/EleutherAI/sparsify">sparsify, sparse_coder.py</a>
 */
final class Sparsify {
  private static final String WEIGHTS = "sae.safetensors";
  private static final String ENCODER = "encoder.weight";
  private static final String DECODER_BIAS = "b_dec";

  /** The path of a module, as different models name it. */
  private static final Pattern MODULE =
      Pattern.compile(
          "(?:\\w+\\.)*?(?:layers|h)\\.(0|[1-9]\\d{0,8})(?:\\.(mlp|attn|attention|self_attn))?"
              + "|(embed_tokens|embed_in|wte)");

  private Sparsify() {}

  /** Whether a file is the config of one. */
  static boolean isOne(Path file) {
    return file.endsWith(SaeLens.CONFIG) && Files.exists(file.resolveSibling(WEIGHTS));
  }

  static List<StoredDictionary> read(Path config, Given given) throws IOException {
    JsonFile json = JsonFile.read(config, DictionaryFiles.CONFIG_LIMIT);
    Safetensors weights = Safetensors.open(config.resolveSibling(WEIGHTS));
    boolean transcodes = json.flag("transcode", false);
    Optional<Hook> hook = Optional.empty();
    Optional<Integer> layer = Optional.empty();
    Optional<Matcher> module = Names.above(config, MODULE);
    if (module.isPresent()) {
      hook = Optional.of(hook(json, module.get(), transcodes));
      layer = Optional.ofNullable(module.get().group(1)).map(Integer::valueOf);
    }
    Hook.Point reads = given.reads(config, hook, layer);
    Hook.Point writes =
        transcodes ? given.writes(config, Hook.MLP_RESULT.in(reads.layer())) : reads;
    StoredDictionary result =
        new StoredDictionary(
                "sparsify", config, weights, reads, given.label(), ENCODER, Latents.FIRST)
            .writes(writes, "W_dec", Latents.FIRST, Optional.of(DECODER_BIAS))
            .latentBias("encoder.bias");
    if (!transcodes) {
      result.subtracts(DECODER_BIAS);
    }
    if (json.flag("skip_connection", false)) {
      result.skip("W_skip", false);
    }
    int stated = json.count("num_latents", 0);
    if (stated != 0 && stated != result.latents()) {
      throw json.wrong("num_latents", result.latents() + ", as in tensor " + ENCODER);
    }
    int count = json.positive("k");
    switch (json.text("activation", "topk")) {
      case "topk" -> result.topK(count);
      case "groupmax" -> {
        if (result.latents() % count != 0) {
          throw json.wrong("k", "a divisor of " + result.latents() + ", the number of latents");
        }
        result.activation(new LatentActivation.GroupMax(count));
      }
      default -> throw json.wrong("activation", "topk or groupmax");
    }
    return List.of(result.requireKnown(Set.of()));
  }

  private static Hook hook(JsonFile json, Matcher module, boolean transcodes) throws IOException {
    String part = module.group(2);
    if (transcodes) {
      if ("mlp".equals(part)) {
        return Hook.MLP_INPUT;
      }
      throw json.wrong("transcode", "false in a folder of any module but an MLP");
    }
    if (module.group(3) != null) {
      return Hook.EMBEDDING_ROWS;
    }
    return part == null
        ? Hook.AFTER_LAYER
        : part.equals("mlp") ? Hook.MLP_RESULT : Hook.ATTENTION_RESULT;
  }
}
