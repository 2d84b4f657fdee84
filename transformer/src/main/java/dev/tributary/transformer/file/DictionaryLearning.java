package dev.tributary.transformer.file;

import dev.tributary.transformer.file.StoredDictionary.Latents;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A dictionary as dictionary_learning saves it: ae.pt beside config.json. Which vectors it encodes
 * only names of folders or its submodule say.
 *
 * @see <a href="https://github.com/saprmarks/dictionary_learning">dictionary_learning,
 *     dictionary.py</a>
 */
final class DictionaryLearning {
  private static final String WEIGHTS = "ae.pt";
  private static final String CONFIG = "config.json";

  private static final Pattern SUBMODULE =
      Pattern.compile("(resid_post|resid_out|resid_pre|mlp_out|attn_out)_layer_?(0|[1-9]\\d{0,8})");

  private static final Map<String, Hook> HOOKS =
      Map.of(
          "resid_post", Hook.AFTER_LAYER,
          "resid_out", Hook.AFTER_LAYER,
          "resid_pre", Hook.BEFORE_LAYER,
          "mlp_out", Hook.MLP_RESULT,
          "attn_out", Hook.ATTENTION_RESULT);

  private DictionaryLearning() {}

  /** Whether a file holds the weights of one. */
  static boolean isOne(Path file) {
    return file.endsWith(WEIGHTS);
  }

  static List<StoredDictionary> read(Path file, Given given) throws IOException {
    JsonFile json = JsonFile.read(file.resolveSibling(CONFIG), DictionaryFiles.CONFIG_LIMIT);
    JsonFile trainer = json.object("trainer");
    TorchFile weights = TorchFile.open(file);
    Hook.Point reads = reads(file, trainer, given);
    String kind = trainer.text("dict_class", "").replaceAll(".*\\.|\\W+$", "");
    boolean byModule = weights.contains("encoder.weight");
    String bias =
        switch (kind) {
          case "AutoEncoder" -> "bias";
          case "AutoEncoderNew" -> "decoder.bias";
          case "GatedAutoEncoder" -> "decoder_bias";
          case "AutoEncoderTopK", "BatchTopKSAE", "MatryoshkaBatchTopKSAE", "JumpReluAutoEncoder" ->
              "b_dec";
          default ->
              throw trainer.wrong(
                  "dict_class",
                  "AutoEncoder, AutoEncoderNew, GatedAutoEncoder, AutoEncoderTopK, BatchTopKSAE,"
                      + " MatryoshkaBatchTopKSAE or JumpReluAutoEncoder");
        };
    StoredDictionary result =
        new StoredDictionary(
                "dictionary_learning",
                file,
                weights,
                reads,
                given.label(),
                byModule ? "encoder.weight" : "W_enc",
                byModule ? Latents.FIRST : Latents.LAST)
            .writes(
                reads,
                byModule ? "decoder.weight" : "W_dec",
                byModule ? Latents.LAST : Latents.FIRST,
                Optional.of(bias));
    if (!kind.equals("AutoEncoderNew") && !kind.equals("JumpReluAutoEncoder")) {
      result.subtracts(bias);
    }
    switch (kind) {
      case "GatedAutoEncoder" -> result.gated("gate_bias", "mag_bias", "r_mag");
      case "AutoEncoderTopK" -> result.topK(given.count(file, Optional.of(trainer.positive("k"))));
      case "BatchTopKSAE", "MatryoshkaBatchTopKSAE", "JumpReluAutoEncoder" ->
          result.jumpRelu("threshold");
      default -> {}
    }
    if (!kind.equals("GatedAutoEncoder")) {
      result.latentBias(byModule ? "encoder.bias" : "b_enc");
    }
    return List.of(result.requireKnown(Set.of("k", "threshold", "group_sizes")));
  }

  private static Hook.Point reads(Path file, JsonFile trainer, Given given) throws IOException {
    Matcher submodule = SUBMODULE.matcher(trainer.text("submodule_name", ""));
    Optional<Matcher> named =
        submodule.matches() ? Optional.of(submodule) : Names.above(file, SUBMODULE);
    int stated = trainer.count("layer", -1);
    Optional<Integer> layer =
        stated < 0 ? named.map(name -> Integer.valueOf(name.group(2))) : Optional.of(stated);
    return given.reads(file, named.map(name -> HOOKS.get(name.group(1))), layer);
  }
}
