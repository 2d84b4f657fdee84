package dev.tributary.transformer.file;

import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.file.StoredDictionary.Latents;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The transcoders of a model as circuit-tracer reads them: config.yaml beside a file for each
 * layer, or of a cross-layer transcoder two. Decoders stay on disk.
 *
 * @see <a href="https://github.com/safety-research/circuit-tracer">circuit-tracer,
 *     circuit_tracer/transcoder</a>
 */
final class CircuitTracer {
  static final String CONFIG = "config.yaml";

  private static final Pattern LAYER = Pattern.compile("layer_(0|[1-9]\\d{0,8})\\.safetensors");

  /** Of a cross-layer transcoder each layer has both. */
  private static final Pattern PART =
      Pattern.compile("W_(?:enc|dec)_(0|[1-9]\\d{0,8})\\.safetensors");

  private final JsonFile config;
  private final Given given;
  private final Hook reads;
  private final Hook writes;

  private CircuitTracer(JsonFile config, Given given) throws IOException {
    this.config = config;
    this.given = given;
    this.reads = hook("feature_input_hook");
    this.writes = hook("feature_output_hook");
  }

  /** Whether a file is the config of some. */
  static boolean isOne(Path file) {
    return file.endsWith(CONFIG);
  }

  static List<StoredDictionary> read(Path file, Given given) throws IOException {
    JsonFile config = JsonFile.readYaml(file, DictionaryFiles.CONFIG_LIMIT);
    CircuitTracer folder = new CircuitTracer(config, given);
    if (config.has("transcoders")) {
      throw config.wrong("transcoders", "none: their files have to lie beside this one");
    }
    return switch (config.text("model_kind", "")) {
      case "transcoder_set" -> folder.transcoders();
      case "cross_layer_transcoder" -> folder.crossLayer();
      default -> throw config.wrong("model_kind", "transcoder_set or cross_layer_transcoder");
    };
  }

  /** What feature pages call the transcoders beside a config: one name, several, or none. */
  static List<String> scan(Path file) throws IOException {
    JsonFile config = JsonFile.readYaml(file, DictionaryFiles.CONFIG_LIMIT);
    List<String> names =
        config.root().path("scan").isArray()
            ? config.texts("scan")
            : List.of(config.text("scan", ""));
    return names.stream().filter(name -> !name.isBlank()).toList();
  }

  private Hook hook(String key) throws IOException {
    Optional<Hook> hook = Hook.named(config.text(key, ""));
    if (hook.isEmpty()) {
      throw config.wrong(key, "one of " + Hook.known());
    }
    return hook.get();
  }

  /** The layers of which there is such a file. */
  private Set<Integer> layers(Pattern pattern) throws IOException {
    Path folder = config.path().resolveSibling("");
    Set<Integer> layers = new TreeSet<>();
    for (Path file : FileTree.find(folder, 0, each -> Names.of(each, pattern).isPresent())) {
      Matcher name = Names.of(file, pattern).orElseThrow();
      layers.add(Integer.valueOf(name.group(1)));
    }
    if (layers.isEmpty()) {
      throw config.because(
          "there are no files named %s beside this one",
          pattern == LAYER ? "layer_<layer>.safetensors" : "W_enc_<layer>.safetensors");
    }
    return layers;
  }

  private List<StoredDictionary> transcoders() throws IOException {
    List<StoredDictionary> result = new ArrayList<>();
    for (int layer : layers(LAYER)) {
      Path file = config.path().resolveSibling("layer_" + layer + ".safetensors");
      Safetensors weights = Safetensors.open(file);
      StoredDictionary one =
          new StoredDictionary(
                  "circuit-tracer",
                  file,
                  weights,
                  given.reads(file, reads.in(layer)),
                  given.label(),
                  "W_enc",
                  Latents.FIRST)
              .writes(writes.in(layer), "W_dec", Latents.FIRST, Optional.of("b_dec"))
              .onDisk()
              .latentBias("b_enc");
      if (weights.contains("W_skip")) {
        one.skip("W_skip", false);
      }
      activation(one, weights, "activation_function.threshold");
      result.add(one.requireKnown(Set.of()));
    }
    return result;
  }

  private List<StoredDictionary> crossLayer() throws IOException {
    List<StoredDictionary> result = new ArrayList<>();
    for (int layer : layers(PART)) {
      Path file = config.path().resolveSibling("W_enc_" + layer + ".safetensors");
      Path decoder = config.path().resolveSibling("W_dec_" + layer + ".safetensors");
      Safetensors weights = Safetensors.open(file);
      StoredDictionary one =
          new StoredDictionary(
                  "circuit-tracer",
                  file,
                  weights,
                  given.reads(file, reads.in(layer)),
                  given.label(),
                  "W_enc_" + layer,
                  Latents.FIRST)
              .writesFrom(
                  writes.in(layer), Safetensors.open(decoder), "W_dec_" + layer, "b_dec_" + layer)
              .latentBias("b_enc_" + layer);
      activation(one, weights, "threshold_" + layer);
      result.add(one.requireKnown(Set.of()));
    }
    return result;
  }

  private void activation(StoredDictionary one, Safetensors weights, String threshold)
      throws IOException {
    String name = config.text("activation", weights.contains(threshold) ? "jump_relu" : "relu");
    switch (name) {
      case "relu" -> {}
      case "jump_relu", "jumprelu" -> {
        one.jumpReluOfEach(threshold);
        requireNoneNegative(weights, threshold);
      }
      case "topk" -> {
        int count = config.positive("k");
        one.requireCount(count);
        one.activation(new LatentActivation.SignedTopK(count));
      }
      default -> throw config.wrong("activation", "relu, jump_relu or topk");
    }
  }

  /** Latents between a negative threshold and 0 would be active there, and are not here. */
  private static void requireNoneNegative(Safetensors weights, String threshold)
      throws IOException {
    for (double value : weights.numbers(threshold, weights.shape(threshold).length())) {
      if (value < 0) {
        throw StoredTensor.because(
            weights.path(), threshold, "holds %s, and thresholds here are not negative", value);
      }
    }
  }
}
