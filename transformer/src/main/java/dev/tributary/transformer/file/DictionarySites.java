package dev.tributary.transformer.file;

import dev.tributary.transformer.file.StoredDictionary.Latents;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The autoencoders of a model in one file of weights; {@link Dictionaries#load} tells the layout.
 * All names are checked when it is opened, as a {@link Checkpoint}'s are.
 */
final class DictionarySites {
  static final String SITES = "sites";

  private static final String LATENTS = "n_latents";

  private static final String ENCODER = "encoder.weight";
  private static final String DECODER = "decoder.weight";
  private static final String PRE_BIAS = "pre_bias";
  private static final String LATENT_BIAS = "latent_bias";
  private static final String THRESHOLD = "threshold";
  private static final String GATE_BIAS = "gate_bias";
  private static final String LOG_SCALE = "log_scale";

  private static final List<String> WORDS =
      List.of(
          "resid_delta_attn",
          "resid_post_attn",
          "mlp_post_act",
          "resid_delta_mlp",
          "resid_post_mlp");

  private static final Pattern NAME = Pattern.compile("([^.]+)\\.(0|[1-9]\\d{0,8})\\.(.+)");

  private final Path file;
  private final JsonFile json;
  private final Safetensors weights;
  private final Map<String, Kind> kinds = new LinkedHashMap<>();
  private final Map<String, Set<Integer>> layers = new LinkedHashMap<>();

  /** What the autoencoders of a site have in common. */
  private record Kind(JsonFile json, String activation, boolean tied) {
    /** The parts of their names after site and layer. */
    List<String> parts() {
      List<String> parts = new ArrayList<>(List.of(ENCODER, PRE_BIAS, LATENT_BIAS));
      if (!tied) {
        parts.add(DECODER);
      }
      switch (activation) {
        case "JumpReLU" -> parts.add(THRESHOLD);
        case "Gated" -> parts.addAll(List.of(GATE_BIAS, LOG_SCALE));
        default -> {}
      }
      return parts;
    }
  }

  private DictionarySites(JsonFile json) throws IOException {
    this.file = json.path().resolveSibling(weightsBeside(json.path()));
    this.json = json;
    readKinds();
    this.weights = Safetensors.open(file);
    readNames();
    requireComplete();
  }

  private static String weightsBeside(Path config) {
    return String.valueOf(config.getFileName()).replace(".json", ".safetensors");
  }

  /** The autoencoders of all sites. */
  static List<StoredDictionary> read(JsonFile json) throws IOException {
    return new DictionarySites(json).dictionaries();
  }

  private void readKinds() throws IOException {
    JsonFile sites = json.object(SITES);
    for (String word : sites.names()) {
      if (!WORDS.contains(word)) {
        throw BadFile.because(
            sites.path(), "sites has the key %s, expected %s", BadFile.quoted(word), words());
      }
      kinds.put(word, kind(sites.object(word)));
    }
    if (kinds.isEmpty()) {
      throw json.wrong(SITES, "at least one of " + words());
    }
  }

  private static String words() {
    return String.join(", ", WORDS);
  }

  private static Kind kind(JsonFile json) throws IOException {
    String activation = json.text("activation", "");
    boolean top = activation.equals("TopK");
    if (!top && !List.of("ReLU", "JumpReLU", "Gated").contains(activation)) {
      throw json.wrong("activation", "ReLU, TopK, JumpReLU or Gated");
    }
    List<String> known = top ? List.of("activation", "tied", "k") : List.of("activation", "tied");
    for (String key : json.names()) {
      if (json.has(key) && !known.contains(key)) {
        throw json.wrong(
            key, "none: " + activation + " has only the keys " + String.join(", ", known));
      }
    }
    if (top) {
      json.positive("k");
    }
    return new Kind(json, activation, json.flag("tied", false));
  }

  private void readNames() throws IOException {
    for (String name : weights.names()) {
      Matcher matcher = NAME.matcher(name);
      if (!matcher.matches() || !WORDS.contains(matcher.group(1))) {
        throw refused(
            name, "is unknown: names are <site>.<layer>.<part> with a site of " + words());
      }
      Kind kind = kinds.get(matcher.group(1));
      if (kind == null) {
        throw refused(name, "is of a site that " + json.path() + " does not have");
      }
      if (!kind.parts().contains(matcher.group(3))) {
        throw refused(name, "is unknown: its site has " + String.join(", ", kind.parts()));
      }
      int layer = Integer.parseInt(matcher.group(2));
      layers.computeIfAbsent(matcher.group(1), key -> new TreeSet<>()).add(layer);
    }
  }

  private IOException refused(String name, String reason) {
    return StoredTensor.because(file, name, "%s", reason);
  }

  private void requireComplete() throws IOException {
    for (Map.Entry<String, Kind> entry : kinds.entrySet()) {
      Set<Integer> present = layers.get(entry.getKey());
      if (present == null) {
        throw BadFile.because(
            file, "there is no tensor of site %s, which %s has", entry.getKey(), json.path());
      }
      for (int layer : present) {
        for (String part : entry.getValue().parts()) {
          String name = entry.getKey() + "." + layer + "." + part;
          if (!weights.contains(name)) {
            throw BadFile.because(
                file,
                "there is no tensor %s, and there are others of its layer",
                BadFile.quoted(name));
          }
        }
      }
    }
  }

  private List<StoredDictionary> dictionaries() throws IOException {
    List<StoredDictionary> result = new ArrayList<>();
    for (Map.Entry<String, Kind> entry : kinds.entrySet()) {
      Hook hook = Hook.named(entry.getKey()).orElseThrow();
      for (int layer : layers.getOrDefault(entry.getKey(), Set.of())) {
        result.add(
            dictionary(hook.in(layer), entry.getKey() + "." + layer + ".", entry.getValue()));
      }
    }
    return result;
  }

  private StoredDictionary dictionary(Hook.Point point, String name, Kind kind) throws IOException {
    StoredDictionary result =
        new StoredDictionary(
                String.valueOf(json.path().getFileName()),
                json.path(),
                weights,
                point,
                "",
                name + ENCODER,
                Latents.FIRST)
            .writes(
                point,
                name + (kind.tied ? ENCODER : DECODER),
                kind.tied ? Latents.FIRST : Latents.LAST,
                Optional.of(name + PRE_BIAS))
            .subtracts(name + PRE_BIAS)
            .latentBias(name + LATENT_BIAS);
    if (json.positive(LATENTS, result.latents()) != result.latents()) {
      throw json.wrong(
          LATENTS,
          "%d, as tensor %s in %s"
              .formatted(result.latents(), BadFile.quoted(name + ENCODER), file));
    }
    return switch (kind.activation) {
      case "TopK" -> {
        int count = kind.json.positive("k");
        if (count > result.latents()) {
          throw kind.json.wrong(
              "k",
              "at most %d, as tensor %s says"
                  .formatted(result.latents(), BadFile.quoted(name + ENCODER)));
        }
        yield result.topK(count);
      }
      case "JumpReLU" -> result.jumpReluOfEach(name + THRESHOLD);
      case "Gated" -> result.gated(name + GATE_BIAS, name + LATENT_BIAS, name + LOG_SCALE);
      default -> result;
    };
  }
}
