package dev.tributary.transformer.family;

import dev.tributary.transformer.AttentionConfig;
import dev.tributary.transformer.LayerConfig;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.MlpConfig;
import dev.tributary.transformer.OutletConfig;
import dev.tributary.transformer.Positions;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;

/**
 * Programs that were compiled to a transformer: no norms, tokens see later ones, and the outputs
 * are not those of a vocabulary. Their tensors are spelled as GPT-2's.
 *
 * @see <a href="https://arxiv.org/abs/2301.05062">Lindner et al. 2023, Tracr</a>
 */
final class Tracr implements Architecture {
  private static final Gpt2 SPELLED = new Gpt2();

  @Override
  public String kind() {
    return "Tracr";
  }

  @Override
  public List<String> modelTypes() {
    return List.of("tracr");
  }

  @Override
  public TransformerConfig config(Keys config, Tensors tensors) throws IOException {
    Decoder.requireKnown(config);
    Decoder.requireFlag(config, "causal", false);
    if (config.has("normalization") && !config.isNull("normalization")) {
      throw config.wrong("normalization", "null");
    }
    String scale = "1/sqrt(head_dim)";
    if (!config.text("attention_scale", scale).equals(scale)) {
      throw config.wrong("attention_scale", scale);
    }
    Decoder.requireFlag(config, "tie_word_embeddings", false);
    MlpActivation activation = Decoder.activation(config, "activation_function", "relu");
    int heads = config.positive("n_head");
    int dHead = config.positive("head_dim");
    int neurons = config.positive("n_inner");
    int layers = config.positive("n_layer");
    if (layers > TransformerConfig.MOST_LAYERS) {
      throw config.because(
          "there are %d layers, expected no more than %d", layers, TransformerConfig.MOST_LAYERS);
    }
    int dModel = config.positive("n_embd");
    int vocabulary = config.positive("vocab_size");
    int context = config.positive("n_positions");
    int outputs = config.positive("n_outputs");
    try {
      LayerConfig layer =
          new LayerConfig(
              new AttentionConfig(
                  Optional.empty(),
                  heads,
                  heads,
                  dHead,
                  Optional.empty(),
                  new Positions.None(),
                  1 / Math.sqrt(dHead),
                  OptionalDouble.empty(),
                  false,
                  OptionalInt.empty(),
                  true,
                  true,
                  OutletConfig.NONE),
              new MlpConfig(
                  Optional.empty(),
                  neurons,
                  MlpConfig.Kind.PLAIN,
                  activation,
                  true,
                  true,
                  OutletConfig.NONE),
              LayerConfig.Order.SEQUENTIAL);
      return new TransformerConfig(
          dModel,
          vocabulary,
          context,
          new TransformerConfig.Embedding(1, true),
          Collections.nCopies(layers, layer),
          Optional.empty(),
          new TransformerConfig.Unembedding(
              false, false, 1, OptionalDouble.empty(), OptionalInt.of(outputs)));
    } catch (IllegalArgumentException e) {
      throw config.impossible(
          e, "vocab_size, n_positions, n_embd, n_head, head_dim, n_inner and n_outputs");
    }
  }

  @Override
  public List<Spelling> spellings(TransformerConfig config) {
    return SPELLED.spellings(config);
  }

  @Override
  public String prefix() {
    return SPELLED.prefix();
  }
}
