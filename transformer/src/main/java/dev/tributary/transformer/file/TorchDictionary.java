package dev.tributary.transformer.file;

import dev.tributary.transformer.Dictionary.Normalisation;
import dev.tributary.transformer.file.StoredDictionary.Latents;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * One dictionary in a file that torch.save wrote, by the names in it: transformer-debugger's, Qwen
 * Scope's, Goodfire's, or those of the attention autoencoders of Kissane and Krzyzanowski.
 *
 * @see <a href="https://github.com/openai/transformer-debugger">transformer-debugger,
 *     neuron_explainer/models/autoencoder.py</a>
 */
final class TorchDictionary {
  private static final List<String> ENDS = List.of(".pt", ".pth");

  private static final String ENCODER = "encoder.weight";
  private static final String DECODER = "decoder.weight";
  private static final String TIED_DECODER = "decoder.linear.weight";
  private static final String PRE_BIAS = "pre_bias";

  /** What training noted down. */
  private static final Set<String> STATISTICS =
      Set.of("stats_last_nonzero", "latents_activation_frequency", "latents_mean_square");

  private static final String ACTIVATION = "activation";
  private static final String COUNT = "activation_state_dict.k";
  private static final String AFTER_TOP = "activation_state_dict.postact_fn";
  private static final String RELU = "ReLU";
  private static final String TOP = "TopK";

  private static final Pattern NUMBERED = Pattern.compile("(0|[1-9]\\d{0,8})\\.pt");

  private static final Pattern LOCATION =
      Pattern.compile(
          "(resid_post_attn|resid_post_mlp|resid_delta_attn|resid_delta_mlp"
              + "|mlp_post_act)(?:_v\\d.*)?");

  private static final Pattern QWEN = Pattern.compile(".*SAE-Res-.*-L0_(\\d{1,9})");
  private static final Pattern QWEN_FILE = Pattern.compile("layer(0|[1-9]\\d{0,8})\\.sae\\.pt");
  private static final Pattern GOODFIRE_FILE = Pattern.compile(".*-SAE-l(0|[1-9]\\d{0,8})\\.pth?");

  private final Path file;
  private final TorchFile weights;
  private final Given given;

  private TorchDictionary(Path file, Given given) throws IOException {
    this.file = file;
    this.weights = TorchFile.open(file);
    this.given = given;
  }

  /** Whether a file may be one, to judge by its name. */
  static boolean isOne(Path file) {
    return ENDS.stream().anyMatch(file.toString()::endsWith);
  }

  static List<StoredDictionary> read(Path file, Given given) throws IOException {
    TorchDictionary read = new TorchDictionary(file, given);
    Path config =
        file.resolveSibling(String.valueOf(file.getFileName()).replace(".pt", "_cfg.json"));
    StoredDictionary result;
    if (read.weights.contains(PRE_BIAS)) {
      result = read.debugger();
    } else if (read.weights.contains("W_enc") && Files.exists(config)) {
      result = read.attention(JsonFile.read(config, DictionaryFiles.CONFIG_LIMIT));
    } else if (read.weights.contains("W_enc")) {
      result = read.qwen();
    } else if (read.weights.contains("encoder_linear.weight")) {
      result = read.goodfire("encoder_linear", "decoder_linear");
    } else if (read.weights.contains("encoder.bias")) {
      result = read.goodfire("encoder", "decoder");
    } else {
      throw BadFile.because(
          file,
          "the names in this file are those of no known kind of dictionary: %s",
          BadFile.shortened(String.join(", ", read.weights.names())));
    }
    return List.of(result);
  }

  private Optional<Integer> layer(Pattern pattern) {
    return Names.of(file, pattern).map(name -> Integer.valueOf(name.group(1)));
  }

  private StoredDictionary debugger() throws IOException {
    boolean tied = !weights.contains(DECODER) && weights.contains(TIED_DECODER);
    Optional<Matcher> location = Names.above(file, LOCATION);
    Hook.Point reads =
        given.reads(
            file,
            location.flatMap(name -> Hook.named(name.group(1))),
            location.isPresent() ? layer(NUMBERED) : Optional.empty());
    if (tied && !weights.sameNumbers(ENCODER, TIED_DECODER)) {
      throw StoredTensor.because(
          file, TIED_DECODER, "is not %s: such a decoder is the encoder", ENCODER);
    }
    StoredDictionary result =
        new StoredDictionary(
                "torch file", file, weights, reads, given.label(), ENCODER, Latents.FIRST)
            .writes(
                reads,
                tied ? ENCODER : DECODER,
                tied ? Latents.FIRST : Latents.LAST,
                Optional.of(PRE_BIAS))
            .subtracts(PRE_BIAS)
            .latentBias("latent_bias");
    Set<String> ignored = new TreeSet<>(STATISTICS);
    ignored.add(TIED_DECODER);
    result.requireKnown(ignored);
    for (String name : weights.values().keySet()) {
      if (!List.of(ACTIVATION, COUNT, AFTER_TOP).contains(name)) {
        throw BadFile.because(
            file, "%s is not known in a dictionary of this kind", BadFile.quoted(name));
      }
    }
    return debuggerActivation(result);
  }

  /** The file does not say so, but vectors were normalised where the activation is TopK. */
  private StoredDictionary debuggerActivation(StoredDictionary result) throws IOException {
    Map<String, Object> values = weights.values();
    Object name = values.getOrDefault(ACTIVATION, RELU);
    boolean top = name.equals(TOP);
    if (!top && !name.equals(RELU)) {
      throw wrong(ACTIVATION, name, RELU + " or " + TOP);
    }
    if (given.normalized(top)) {
      result.normalised(Normalisation.LAYER_NORM);
    }
    if (!top) {
      return result;
    }
    Object after = values.getOrDefault(AFTER_TOP, RELU);
    if (!after.equals(RELU)) {
      throw wrong(AFTER_TOP, after, RELU);
    }
    Object count = values.getOrDefault(COUNT, "missing");
    if (!(count instanceof Long number) || number < 1 || number > result.latents()) {
      throw wrong(COUNT, count, "a whole number from 1 to " + result.latents());
    }
    return result.topK(number.intValue());
  }

  private IOException wrong(String name, Object value, String expected) {
    return BadFile.because(
        file, "%s is %s, expected %s", name, BadFile.shortened(String.valueOf(value)), expected);
  }

  /** [latent, n] and [n, latent], against what the same names are elsewhere. */
  private StoredDictionary qwen() throws IOException {
    Optional<Matcher> folder = Names.above(file, QWEN);
    Hook.Point reads = given.reads(file, folder.map(name -> Hook.AFTER_LAYER), layer(QWEN_FILE));
    int count = given.count(file, folder.map(name -> Integer.valueOf(name.group(1))));
    return new StoredDictionary(
            "Qwen Scope", file, weights, reads, given.label(), "W_enc", Latents.FIRST)
        .writes(reads, "W_dec", Latents.LAST, Optional.of("b_dec"))
        .latentBias("b_enc")
        .topK(count)
        .requireKnown(Set.of());
  }

  private StoredDictionary goodfire(String encoder, String decoder) throws IOException {
    Optional<Integer> layer = layer(GOODFIRE_FILE);
    Hook.Point reads = given.reads(file, layer.map(own -> Hook.AFTER_LAYER), layer);
    return new StoredDictionary(
            "Goodfire", file, weights, reads, given.label(), encoder + ".weight", Latents.FIRST)
        .writes(reads, decoder + ".weight", Latents.LAST, Optional.of(decoder + ".bias"))
        .latentBias(encoder + ".bias")
        .requireKnown(Set.of());
  }

  private StoredDictionary attention(JsonFile json) throws IOException {
    Optional<Hook.Point> own = Hook.Point.of(json.text("act_name", ""));
    if (own.isEmpty()) {
      throw json.wrong("act_name", "blocks.<layer>.<hook> with a hook of " + Hook.known());
    }
    Hook.Point reads = given.reads(json.path(), own.get());
    StoredDictionary result =
        new StoredDictionary(
                "attention autoencoder", file, weights, reads, given.label(), "W_enc", Latents.LAST)
            .writes(reads, "W_dec", Latents.FIRST, Optional.of("b_dec"))
            .subtracts("b_dec")
            .latentBias("b_enc")
            .requireKnown(Set.of());
    if (json.positive("act_size") != result.width()) {
      throw json.wrong("act_size", result.width() + ", as in tensor \"W_enc\"");
    }
    return result;
  }
}
