package dev.tributary.transformer;

import dev.tributary.core.DType;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The weights of a model in a Hugging Face folder. All names are checked when it is opened: a
 * weight that nobody reads would be a silently different model.
 */
final class Checkpoint {
  private static final String CONFIG = "config.json";
  private static final String WEIGHTS = "model.safetensors";

  /** Before most names in some files, and before none in others. */
  private static final String PREFIX = "transformer.";

  private static final String TOKEN_EMBEDDING = "wte.weight";
  private static final String UNEMBEDDING = "lm_head.weight";

  /** Weights outside the layers, and the keys of the config that say how large they are. */
  private static final Map<String, String> OUTSIDE =
      ordered(
          TOKEN_EMBEDDING,
          "vocab_size, n_embd",
          "wpe.weight",
          "n_positions, n_embd",
          "ln_f.weight",
          "n_embd",
          "ln_f.bias",
          "n_embd");

  /** Weights of each layer, and the keys of the config that say how large they are. */
  private static final Map<String, String> OF_LAYER =
      ordered(
          "ln_1.weight", "n_embd",
          "ln_1.bias", "n_embd",
          "attn.c_attn.weight", "n_embd, 3 n_head head_dim",
          "attn.c_attn.bias", "3 n_head head_dim",
          "attn.c_proj.weight", "n_head head_dim, n_embd",
          "attn.c_proj.bias", "n_embd",
          "ln_2.weight", "n_embd",
          "ln_2.bias", "n_embd",
          "mlp.c_fc.weight", "n_embd, n_inner",
          "mlp.c_fc.bias", "n_inner",
          "mlp.c_proj.weight", "n_inner, n_embd",
          "mlp.c_proj.bias", "n_embd");

  /** Constants of the causal mask, which old files hold. */
  private static final List<String> MASKS = List.of("attn.bias", "attn.masked_bias");

  private static final Pattern LAYER_NAME = Pattern.compile("h\\.(0|[1-9]\\d{0,8})\\.(.+)");

  private final Path folder;
  private final Path file;
  private final TransformerConfig config;
  private final Safetensors weights;
  private final Map<String, String> storedNames = new HashMap<>();

  private Checkpoint(Path folder) throws IOException {
    this.folder = folder;
    this.file = folder.resolve(WEIGHTS);
    this.config = TransformerConfig.read(folder.resolve(CONFIG));
    this.weights = Safetensors.open(file);
  }

  private static Map<String, String> ordered(String... namesAndKeys) {
    Map<String, String> result = new LinkedHashMap<>();
    for (int i = 0; i < namesAndKeys.length; i += 2) {
      result.put(namesAndKeys[i], namesAndKeys[i + 1]);
    }
    return result;
  }

  /**
   * Opens a folder that holds {@code config.json} and {@code model.safetensors}.
   *
   * @throws IOException if there is no such folder, a file in it is missing or broken, or the
   *     weights are not those that the config describes
   */
  static Checkpoint open(Path folder) throws IOException {
    if (Files.notExists(folder)) {
      throw BadFile.because(folder, "there is no such folder");
    }
    if (!Files.isDirectory(folder)) {
      throw BadFile.because(
          folder, "this is not a folder, expected one with %s and %s", CONFIG, WEIGHTS);
    }
    for (String name : List.of(CONFIG, WEIGHTS)) {
      if (Files.notExists(folder.resolve(name))) {
        throw BadFile.because(folder, "there is no %s in this folder", name);
      }
    }
    Checkpoint checkpoint = new Checkpoint(folder);
    checkpoint.requireKnown();
    checkpoint.requireComplete();
    checkpoint.requireTie();
    return checkpoint;
  }

  /** Its sizes. */
  TransformerConfig config() {
    return config;
  }

  /**
   * One weight, in the innermost open scope.
   *
   * @param name with or without {@code transformer.} before it, whichever the file has
   * @throws IOException if there is none, its shape is another one, or a number is infinite or NaN
   */
  Tensor read(String name, Shape expected, DType dtype) throws IOException {
    String stored = storedNames.get(bare(name));
    if (stored == null) {
      throw BadFile.because(file, "there is no tensor %s", BadFile.quoted(name));
    }
    Shape shape = weights.shape(stored);
    if (!shape.equals(expected)) {
      throw BadFile.because(
          file,
          "tensor %s is %s, and %s says %s%s",
          BadFile.quoted(stored),
          shape,
          folder.resolve(CONFIG),
          expected,
          keys(bare(name)));
    }
    Tensor tensor = weights.tensor(stored, dtype);
    if (!tensor.isFinite()) {
      throw BadFile.because(
          file, "tensor %s holds a number that is infinite or NaN", BadFile.quoted(stored));
    }
    return tensor;
  }

  private static String bare(String name) {
    return name.startsWith(PREFIX) ? name.substring(PREFIX.length()) : name;
  }

  private static String keys(String name) {
    Matcher layer = LAYER_NAME.matcher(name);
    String keys = layer.matches() ? OF_LAYER.get(layer.group(2)) : OUTSIDE.get(name);
    if (name.equals(UNEMBEDDING)) {
      keys = OUTSIDE.get(TOKEN_EMBEDDING);
    }
    return keys == null ? "" : " (" + keys + ")";
  }

  private void requireKnown() throws IOException {
    for (String stored : weights.names()) {
      String name = bare(stored);
      String reason = refusal(name);
      if (reason != null) {
        throw BadFile.because(file, "tensor %s %s", BadFile.quoted(stored), reason);
      }
      if (storedNames.put(name, stored) != null) {
        throw BadFile.because(
            file, "tensor %s is there with and without %s", BadFile.quoted(name), PREFIX);
      }
    }
  }

  private @Nullable String refusal(String name) {
    Matcher layer = LAYER_NAME.matcher(name);
    boolean known;
    if (layer.matches()) {
      known = OF_LAYER.containsKey(layer.group(2)) || MASKS.contains(layer.group(2));
      if (known && Integer.parseInt(layer.group(1)) >= config.layers()) {
        return String.format(
            "is of a layer that %s does not have: n_layer is %d",
            folder.resolve(CONFIG), config.layers());
      }
    } else {
      known = OUTSIDE.containsKey(name) || name.equals(UNEMBEDDING);
    }
    return known ? null : "is unknown: GPT-2 has no weight of that name";
  }

  private void requireComplete() throws IOException {
    for (String name : OUTSIDE.keySet()) {
      requirePresent(name, "");
    }
    for (int layer = 0; layer < config.layers(); layer++) {
      for (String name : OF_LAYER.keySet()) {
        requirePresent("h." + layer + "." + name, ", and n_layer is " + config.layers());
      }
    }
    if (!config.tied()) {
      requirePresent(UNEMBEDDING, ", and tie_word_embeddings is false");
    }
  }

  private void requirePresent(String name, String reason) throws IOException {
    if (!storedNames.containsKey(name)) {
      throw BadFile.because(file, "there is no tensor %s%s", BadFile.quoted(name), reason);
    }
  }

  private void requireTie() throws IOException {
    String unembedding = storedNames.get(UNEMBEDDING);
    String embedding = storedNames.get(TOKEN_EMBEDDING);
    if (config.tied()
        && unembedding != null
        && embedding != null
        && !weights.sameNumbers(unembedding, embedding)) {
      throw BadFile.because(
          file,
          "tensors %s and %s differ, and tie_word_embeddings in %s is true",
          BadFile.quoted(unembedding),
          BadFile.quoted(embedding),
          folder.resolve(CONFIG));
    }
  }
}
