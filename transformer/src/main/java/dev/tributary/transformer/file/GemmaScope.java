package dev.tributary.transformer.file;

import dev.tributary.transformer.file.StoredDictionary.Latents;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A dictionary as Gemma Scope publishes it. The first one has params.npz and nothing else: names of
 * folders say where it belongs. The second has params.safetensors, often beside a config.json.
 *
 * @see <a href="https://huggingface.co/google/gemma-scope">Gemma Scope</a>
 */
final class GemmaScope {
  private static final String FIRST = "params.npz";
  private static final String SECOND = "params.safetensors";
  private static final String CONFIG = "config.json";
  private static final String SKIP = "affine_skip_connection";

  private static final Pattern REPOSITORY =
      Pattern.compile(".*gemma-scope-[a-z0-9-]*?-(res|att|mlp|transcoders)(?:-.*)?");

  private static final Pattern LAYER =
      Pattern.compile("(?:layer_(0|[1-9]\\d{0,8})|(embedding))(?:_width_.*)?");

  /** The second's folders, one for each kind. */
  private static final Pattern KIND =
      Pattern.compile("(resid_post|attn_out|mlp_out|transcoder)(?:_all)?");

  private static final Map<String, Hook> HOOKS =
      Map.of(
          "res", Hook.AFTER_LAYER,
          "att", Hook.HEADS,
          "mlp", Hook.MLP_OUTPUT,
          "transcoders", Hook.MLP_STANDARDISED,
          "resid_post", Hook.AFTER_LAYER,
          "attn_out", Hook.HEADS,
          "mlp_out", Hook.MLP_OUTPUT,
          "transcoder", Hook.MLP_INPUT);

  private GemmaScope() {}

  /** Whether a file is one. */
  static boolean isOne(Path file) {
    return file.endsWith(FIRST) || file.endsWith(SECOND);
  }

  static List<StoredDictionary> read(Path file, Given given) throws IOException {
    boolean first = file.endsWith(FIRST);
    TensorFile weights = TensorFile.open(file);
    Optional<Hook> hook =
        Names.above(file, first ? REPOSITORY : KIND).map(matcher -> HOOKS.get(matcher.group(1)));
    Optional<Matcher> folder = Names.above(file, LAYER);
    Optional<Integer> layer = folder.map(name -> name.group(1)).map(Integer::valueOf);
    if (folder.filter(name -> name.group(2) != null).isPresent()) {
      hook = Optional.of(Hook.EMBEDDING);
    }
    Optional<Hook.Point> out = Optional.empty();
    Path config = file.resolveSibling(CONFIG);
    if (!first && Files.exists(config)) {
      JsonFile json = JsonFile.read(config, DictionaryFiles.CONFIG_LIMIT);
      Hook.Point in = point(json, "hf_hook_point_in");
      hook = Optional.of(in.hook());
      layer = Optional.of(in.layer());
      if (json.has("hf_hook_point_out")) {
        out = Optional.of(point(json, "hf_hook_point_out"));
      }
      if (!json.text("architecture", "jump_relu").equals("jump_relu")) {
        throw json.wrong("architecture", "jump_relu");
      }
    }
    Hook.Point reads = given.reads(file, hook, layer);
    boolean transcodes = reads.hook() == Hook.MLP_STANDARDISED || reads.hook() == Hook.MLP_INPUT;
    Hook.Point writes =
        transcodes
            ? given.writes(file, out.orElse(Hook.MLP_OUTPUT.in(reads.layer())))
            : out.orElse(reads);
    String encoder = spelled(first, "W_enc");
    StoredDictionary result =
        new StoredDictionary(
                "Gemma Scope", file, weights, reads, given.label(), encoder, Latents.LAST)
            .writes(writes, spelled(first, "W_dec"), Latents.FIRST, Optional.of("b_dec"))
            .latentBias("b_enc")
            .jumpRelu("threshold");
    if (weights.contains(SKIP)) {
      result.skip(SKIP, true);
    }
    if (reads.hook() == Hook.EMBEDDING) {
      // They were trained on embeddings before Gemma multiplies them by the root of their size.
      result.factorOfMatrices(1 / Math.sqrt(result.width()));
    }
    return List.of(result.requireKnown(Set.of()));
  }

  private static String spelled(boolean first, String name) {
    return first ? name : name.toLowerCase(Locale.ROOT);
  }

  private static Hook.Point point(JsonFile json, String key) throws IOException {
    Optional<Hook.Point> point = Hook.Point.of(json.text(key, ""));
    if (point.isEmpty()) {
      throw json.wrong(key, "model.layers.<layer>.<module>.output of a known module");
    }
    return point.get();
  }
}
