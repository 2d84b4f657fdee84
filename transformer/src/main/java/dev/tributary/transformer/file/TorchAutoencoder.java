package dev.tributary.transformer.file;

import dev.tributary.core.DType;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * One autoencoder as transformer-debugger saves it: the state dictionary of its module, by
 * torch.save. The file does not say what it encodes, so a list in autoencoders.json does.
 *
 * @see <a href="https://github.com/openai/transformer-debugger">transformer-debugger,
 *     neuron_explainer/models/autoencoder.py</a>
 */
final class TorchAutoencoder {
  /** Key of the list in autoencoders.json. */
  static final String FILES = "files";

  /** Longest path, characters. */
  private static final int PATH_LIMIT = 1000;

  private static final String PATH = "path";
  private static final String NORMALIZE = "normalize";

  private static final String ENCODER = "encoder.weight";
  private static final String DECODER = "decoder.weight";
  private static final String TIED_DECODER = "decoder.linear.weight";
  private static final String PRE_BIAS = "pre_bias";
  private static final String LATENT_BIAS = "latent_bias";

  /** What training noted down. */
  private static final Set<String> STATISTICS =
      Set.of("stats_last_nonzero", "latents_activation_frequency", "latents_mean_square");

  private static final String ACTIVATION = "activation";
  private static final String COUNT = "activation_state_dict.k";
  private static final String AFTER_TOP = "activation_state_dict.postact_fn";
  private static final String RELU = "ReLU";
  private static final String TOP = "TopK";

  private final JsonFile entry;
  private final Site site;
  private final int layer;
  private final int n;
  private final int latents;
  private final TorchFile weights;
  private final boolean tied;
  private final LatentActivation activation;

  private TorchAutoencoder(Path folder, JsonFile entry, TransformerConfig config)
      throws IOException {
    this.entry = entry;
    this.site = AutoencoderFolder.site(entry, "site");
    this.layer = entry.index("layer", config.layers().size());
    this.n = AutoencoderFiles.width(site, layer, config);
    this.weights = TorchFile.open(file(folder, entry));
    this.tied = !weights.contains(DECODER) && weights.contains(TIED_DECODER);
    requireKnown();
    this.latents = AutoencoderFiles.latents(weights, ENCODER, n);
    AutoencoderFiles.requireShape(weights, PRE_BIAS, n);
    AutoencoderFiles.requireShape(weights, LATENT_BIAS, latents);
    if (!tied) {
      AutoencoderFiles.requireShape(weights, DECODER, n, latents);
    } else if (!weights.sameNumbers(ENCODER, TIED_DECODER)) {
      throw StoredTensor.because(
          weights.path(), TIED_DECODER, "is not %s: such a decoder is the encoder", ENCODER);
    }
    this.activation = activation();
  }

  /** The files that a config lists. */
  static List<AutoencoderFiles.Found> listed(Path folder, JsonFile json, TransformerConfig config)
      throws IOException {
    if (json.has("sites")) {
      throw json.wrong("sites", "none, since " + FILES + " are listed");
    }
    List<AutoencoderFiles.Found> result = new ArrayList<>();
    for (JsonFile entry : json.objects(FILES)) {
      result.add(new TorchAutoencoder(folder, entry, config).found());
    }
    if (result.isEmpty()) {
      throw json.wrong(FILES, "a list of at least one");
    }
    return result;
  }

  private static Path file(Path folder, JsonFile entry) throws IOException {
    String text = entry.text(PATH, "");
    try {
      Path path = folder.getFileSystem().getPath(text).normalize();
      boolean plausible = !text.isEmpty() && text.length() < PATH_LIMIT;
      if (plausible && !path.isAbsolute() && !path.startsWith("..")) {
        return folder.resolve(path);
      }
    } catch (InvalidPathException e) {
      throw BadFile.causedBy(e, entry.path(), "%s is not the path of a file", BadFile.quoted(text));
    }
    throw entry.wrong(PATH, "the path of a file in this folder");
  }

  private void requireKnown() throws IOException {
    Set<String> known = new TreeSet<>(STATISTICS);
    known.addAll(List.of(ENCODER, PRE_BIAS, LATENT_BIAS, tied ? TIED_DECODER : DECODER));
    requireKnown(weights.names(), known);
    requireKnown(weights.values().keySet(), Set.of(ACTIVATION, COUNT, AFTER_TOP));
  }

  private void requireKnown(Set<String> names, Set<String> known) throws IOException {
    for (String name : names) {
      if (!known.contains(name)) {
        throw BadFile.because(
            weights.path(),
            "%s is not known in an autoencoder, which has %s",
            BadFile.quoted(name),
            String.join(", ", new TreeSet<>(known)));
      }
    }
  }

  private LatentActivation activation() throws IOException {
    Map<String, Object> values = weights.values();
    Object name = values.getOrDefault(ACTIVATION, RELU);
    boolean top = name.equals(TOP);
    if (!top && !name.equals(RELU)) {
      throw wrong(ACTIVATION, name, RELU + " or " + TOP);
    }
    boolean normalized = entry.flag(NORMALIZE, false);
    if (normalized || (top && !entry.has(NORMALIZE))) {
      throw entry.wrong(
          NORMALIZE,
          "false: a TopK file does not say whether its vectors were normalised, and autoencoders"
              + " of normalised ones cannot be read");
    }
    if (!top) {
      return new LatentActivation.Relu();
    }
    Object after = values.getOrDefault(AFTER_TOP, RELU);
    if (!after.equals(RELU)) {
      throw wrong(AFTER_TOP, after, RELU);
    }
    Object count = values.getOrDefault(COUNT, "missing");
    if (!(count instanceof Long number) || number < 1 || number > latents) {
      throw wrong(COUNT, count, "a whole number from 1 to " + latents);
    }
    return new LatentActivation.TopK(number.intValue());
  }

  private IOException wrong(String name, Object value, String expected) {
    return BadFile.because(
        weights.path(),
        "%s is %s, expected %s",
        name,
        BadFile.shortened(String.valueOf(value)),
        expected);
  }

  /** What it is. */
  AutoencoderFiles.Found found() {
    return new AutoencoderFiles.Found(weights.path(), site, layer, this::read);
  }

  private Dictionary read(DType dtype) throws IOException {
    Tensor encoder = AutoencoderFiles.tensor(weights, ENCODER, dtype, latents, n);
    Tensor preBias = AutoencoderFiles.tensor(weights, PRE_BIAS, dtype, n);
    Tensor latentBias = AutoencoderFiles.tensor(weights, LATENT_BIAS, dtype, latents);
    Tensor decoder =
        tied ? encoder : AutoencoderFiles.transposed(weights, DECODER, dtype, n, latents);
    return Dictionary.autoencoder(
        "torch file", Place.of(site, layer), activation, encoder, decoder, preBias, latentBias);
  }
}
