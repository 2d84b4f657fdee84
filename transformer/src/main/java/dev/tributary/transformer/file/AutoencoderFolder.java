package dev.tributary.transformer.file;

import dev.tributary.core.DType;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.file.AutoencoderFiles.Found;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The autoencoders of a model in a folder; {@link Dictionaries#load} tells the layout. All names
 * are checked when it is opened, as a {@link Checkpoint}'s are.
 */
final class AutoencoderFolder {
  static final String CONFIG = "autoencoders.json";
  static final String WEIGHTS = "autoencoders.safetensors";

  private static final String LATENTS = "n_latents";

  private static final String ENCODER = "encoder.weight";
  private static final String DECODER = "decoder.weight";
  private static final String PRE_BIAS = "pre_bias";
  private static final String LATENT_BIAS = "latent_bias";
  private static final String THRESHOLD = "threshold";
  private static final String GATE_BIAS = "gate_bias";
  private static final String LOG_SCALE = "log_scale";

  private static final Map<Site, String> SITE_WORDS =
      new EnumMap<>(
          Map.of(
              Site.ATTENTION_OUTPUT, "resid_delta_attn",
              Site.MLP_ACTIVATION, "mlp_post_act",
              Site.MLP_OUTPUT, "resid_delta_mlp"));

  private static final Pattern NAME = Pattern.compile("([^.]+)\\.(0|[1-9]\\d{0,8})\\.(.+)");

  private final Path file;
  private final JsonFile json;
  private final TransformerConfig config;
  private final Safetensors weights;
  private final Map<Site, Kind> kinds = new EnumMap<>(Site.class);
  private final Map<Site, Set<Integer>> layers = new EnumMap<>(Site.class);

  /** What the autoencoders of a site have in common. */
  private record Kind(JsonFile json, String word, String activation, boolean tied) {
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

  AutoencoderFolder(Path folder, JsonFile json, TransformerConfig config) throws IOException {
    this.file = folder.resolve(WEIGHTS);
    this.config = config;
    this.json = json;
    readKinds();
    this.weights = Safetensors.open(file);
    readNames();
    requireComplete();
  }

  private void readKinds() throws IOException {
    JsonFile sites = json.object("sites");
    for (String word : keys(sites)) {
      kinds.put(keySite(sites, word), kind(sites.object(word), word));
    }
    if (kinds.isEmpty()) {
      throw json.wrong("sites", "at least one of " + words());
    }
  }

  private static List<String> keys(JsonFile json) {
    List<String> keys = new ArrayList<>();
    for (Iterator<String> names = json.root().fieldNames(); names.hasNext(); ) {
      keys.add(names.next());
    }
    return keys;
  }

  private static String words() {
    return String.join(", ", SITE_WORDS.values());
  }

  /** The site that the text at a key names. */
  static Site site(JsonFile json, String key) throws IOException {
    Site site = siteOf(json.text(key, ""));
    if (site == null) {
      throw json.wrong(key, words());
    }
    return site;
  }

  private static Site keySite(JsonFile sites, String word) throws IOException {
    Site site = siteOf(word);
    if (site == null) {
      throw BadFile.because(
          sites.path(), "sites has the key %s, expected %s", BadFile.quoted(word), words());
    }
    return site;
  }

  private static @Nullable Site siteOf(String word) {
    for (Map.Entry<Site, String> entry : SITE_WORDS.entrySet()) {
      if (entry.getValue().equals(word)) {
        return entry.getKey();
      }
    }
    return null;
  }

  private static Kind kind(JsonFile json, String word) throws IOException {
    String activation = json.text("activation", "");
    boolean top = activation.equals("TopK");
    if (!top && !List.of("ReLU", "JumpReLU", "Gated").contains(activation)) {
      throw json.wrong("activation", "ReLU, TopK, JumpReLU or Gated");
    }
    List<String> known = top ? List.of("activation", "tied", "k") : List.of("activation", "tied");
    for (String key : keys(json)) {
      if (json.has(key) && !known.contains(key)) {
        throw json.wrong(
            key, "none: " + activation + " has only the keys " + String.join(", ", known));
      }
    }
    if (top) {
      json.positive("k");
    }
    return new Kind(json, word, activation, json.flag("tied", false));
  }

  private void readNames() throws IOException {
    for (String name : weights.names()) {
      Matcher matcher = NAME.matcher(name);
      Site site = matcher.matches() ? siteOf(matcher.group(1)) : null;
      if (site == null) {
        throw refused(
            name, "is unknown: names are <site>.<layer>.<part> with a site of " + words());
      }
      Kind kind = kinds.get(site);
      if (kind == null) {
        throw refused(name, "is of a site that " + json.path() + " does not have");
      }
      if (!kind.parts().contains(matcher.group(3))) {
        throw refused(name, "is unknown: its site has " + String.join(", ", kind.parts()));
      }
      int layer = Integer.parseInt(matcher.group(2));
      if (layer >= config.layers().size()) {
        throw refused(
            name, "is of a layer that the model does not have: it has " + config.layers().size());
      }
      layers.computeIfAbsent(site, key -> new TreeSet<>()).add(layer);
    }
  }

  private IOException refused(String name, String reason) {
    return BadFile.because(file, "tensor %s %s", BadFile.quoted(name), reason);
  }

  private void requireComplete() throws IOException {
    for (Map.Entry<Site, Kind> entry : kinds.entrySet()) {
      Kind kind = entry.getValue();
      Set<Integer> present = layers.get(entry.getKey());
      if (present == null) {
        throw BadFile.because(
            file, "there is no tensor of site %s, which %s has", kind.word, json.path());
      }
      for (int layer : present) {
        for (String part : kind.parts()) {
          String name = kind.word + "." + layer + "." + part;
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

  /** What is there. */
  List<Found> found() {
    List<Found> result = new ArrayList<>();
    kinds.forEach(
        (site, kind) -> {
          for (int layer : layers.getOrDefault(site, Set.of())) {
            result.add(
                new Found(json.path(), site, layer, dtype -> read(site, layer, kind, dtype)));
          }
        });
    return result;
  }

  private Dictionary read(Site site, int layer, Kind kind, DType dtype) throws IOException {
    String name = kind.word + "." + layer + ".";
    int n = AutoencoderFiles.width(site, layer, config);
    int latents = AutoencoderFiles.latents(weights, name + ENCODER, n);
    requireStated(name + ENCODER, latents);
    LatentActivation activation = activation(kind, name, latents, dtype);
    Tensor encoder = AutoencoderFiles.tensor(weights, name + ENCODER, dtype, latents, n);
    Tensor preBias = AutoencoderFiles.tensor(weights, name + PRE_BIAS, dtype, n);
    Tensor latentBias = AutoencoderFiles.tensor(weights, name + LATENT_BIAS, dtype, latents);
    Tensor decoder =
        kind.tied
            ? encoder
            : AutoencoderFiles.transposed(weights, name + DECODER, dtype, n, latents);
    return Dictionary.autoencoder(
        CONFIG, Place.of(site, layer), activation, encoder, decoder, preBias, latentBias);
  }

  private void requireStated(String encoder, int latents) throws IOException {
    if (json.positive(LATENTS, latents) != latents) {
      throw json.wrong(
          LATENTS, "%d, as tensor %s in %s".formatted(latents, BadFile.quoted(encoder), file));
    }
  }

  private LatentActivation activation(Kind kind, String name, int latents, DType dtype)
      throws IOException {
    return switch (kind.activation) {
      case "TopK" -> {
        int count = kind.json.positive("k");
        if (count > latents) {
          throw kind.json.wrong(
              "k",
              "at most %d, as tensor %s says".formatted(latents, BadFile.quoted(name + ENCODER)));
        }
        yield new LatentActivation.TopK(count);
      }
      case "JumpReLU" ->
          new LatentActivation.JumpRelu(
              AutoencoderFiles.tensor(weights, name + THRESHOLD, dtype, latents));
      case "Gated" ->
          new LatentActivation.Gated(
              AutoencoderFiles.tensor(weights, name + GATE_BIAS, dtype, latents),
              AutoencoderFiles.tensor(weights, name + LOG_SCALE, dtype, latents));
      default -> new LatentActivation.Relu();
    };
  }
}
