package dev.tributary.transformer;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.SparseAutoencoder.Activation;
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
 * The autoencoders of a model in a folder; {@link SparseAutoencoder#load} tells the layout. All
 * names are checked when it is opened, as a {@link Checkpoint}'s are.
 */
final class AutoencoderFolder {
  static final String CONFIG = "autoencoders.json";
  static final String WEIGHTS = "autoencoders.safetensors";

  /** Largest autoencoders.json, bytes; they have a few hundred. */
  private static final int CONFIG_LIMIT = 1 << 20;

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

  AutoencoderFolder(Path folder, TransformerConfig config) throws IOException {
    this.file = folder.resolve(WEIGHTS);
    this.config = config;
    this.json = JsonFile.read(folder.resolve(CONFIG), CONFIG_LIMIT);
    readKinds();
    this.weights = Safetensors.open(file);
    readNames();
    requireComplete();
  }

  private void readKinds() throws IOException {
    JsonFile sites = json.object("sites");
    for (String word : keys(sites)) {
      kinds.put(site(sites, word), kind(sites.object(word), word));
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

  private static Site site(JsonFile sites, String word) throws IOException {
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
      if (layer >= config.layers()) {
        throw refused(
            name, "is of a layer that the model does not have: it has " + config.layers());
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

  /** All autoencoders in the order of the forward pass, in the innermost open scope. */
  List<SparseAutoencoder> read(DType dtype) throws IOException {
    List<SparseAutoencoder> result = new ArrayList<>();
    for (Map.Entry<Site, Kind> entry : kinds.entrySet()) {
      for (int layer : layers.getOrDefault(entry.getKey(), Set.of())) {
        result.add(read(entry.getKey(), layer, entry.getValue(), dtype));
      }
    }
    return AutoencoderFiles.inForwardOrder(result);
  }

  private SparseAutoencoder read(Site site, int layer, Kind kind, DType dtype) throws IOException {
    String name = kind.word + "." + layer + ".";
    int n = site == Site.MLP_ACTIVATION ? config.neurons() : config.dModel();
    Shape encoded = weights.shape(name + ENCODER);
    if (encoded.rank() != 2 || encoded.length() == 0 || encoded.size(1) != n) {
      throw refused(
          name + ENCODER,
          "is %s, and the model needs [latents, %d] at this site".formatted(encoded, n));
    }
    int latents = encoded.size(0);
    requireStated(name + ENCODER, latents);
    Activation activation = activation(kind, name, latents, dtype);
    Tensor encoder = tensor(name + ENCODER, encoded, dtype);
    Tensor preBias = tensor(name + PRE_BIAS, Shape.of(n), dtype);
    Tensor latentBias = tensor(name + LATENT_BIAS, Shape.of(latents), dtype);
    Tensor decoder = encoder;
    if (!kind.tied) {
      try (Scope scope = Scope.open()) {
        Tensor columns = tensor(name + DECODER, Shape.of(n, latents), dtype);
        decoder = scope.keep(columns.permute(1, 0));
      }
    }
    return new SparseAutoencoder(site, layer, activation, encoder, decoder, preBias, latentBias);
  }

  private void requireStated(String encoder, int latents) throws IOException {
    if (json.positive(LATENTS, latents) != latents) {
      throw json.wrong(
          LATENTS, "%d, as tensor %s in %s".formatted(latents, BadFile.quoted(encoder), file));
    }
  }

  private Activation activation(Kind kind, String name, int latents, DType dtype)
      throws IOException {
    Shape shape = Shape.of(latents);
    return switch (kind.activation) {
      case "TopK" -> {
        int count = kind.json.positive("k");
        if (count > latents) {
          throw kind.json.wrong(
              "k",
              "at most %d, as tensor %s says".formatted(latents, BadFile.quoted(name + ENCODER)));
        }
        yield new Activation.TopK(count);
      }
      case "JumpReLU" -> new Activation.JumpRelu(tensor(name + THRESHOLD, shape, dtype));
      case "Gated" ->
          new Activation.Gated(
              tensor(name + GATE_BIAS, shape, dtype), tensor(name + LOG_SCALE, shape, dtype));
      default -> new Activation.Relu();
    };
  }

  private Tensor tensor(String name, Shape expected, DType dtype) throws IOException {
    Shape shape = weights.shape(name);
    if (!shape.equals(expected)) {
      throw refused(name, "is %s, expected %s".formatted(shape, expected));
    }
    Tensor tensor = weights.tensor(name, dtype);
    if (!tensor.isFinite()) {
      throw refused(name, "holds a number that is infinite or NaN");
    }
    return tensor;
  }
}
