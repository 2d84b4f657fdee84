package dev.tributary.transformer.family;

import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.List;
import java.util.Optional;

/**
 * Gemma 1: gains stored less one, embeddings multiplied with the root of their width, heads of a
 * size of their own.
 *
 * @see <a href="https://arxiv.org/abs/2403.08295">Gemma Team 2024</a>
 */
final class Gemma implements HuggingFace {
  @Override
  public String name() {
    return "Gemma";
  }

  @Override
  public String modelType() {
    return "gemma";
  }

  @Override
  public TransformerConfig config(Keys keys, Tensors tensors) throws IOException {
    Decoder decoder =
        Decoder.read(
            keys,
            new Decoder.Sizes(3072, 24_576, 28, 16, 8192, 256_000),
            Decoder.rms(keys, "rms_norm_eps", 1e-6));
    decoder.headSizeOr(256);
    decoder.readKeyHeads(16);
    Rope.whole(10_000).read(keys, decoder);
    decoder.readAttentionBias("attention_bias", false);
    decoder.activation = activation(keys);
    decoder.embeddingMultiplier = Math.sqrt(decoder.dModel);
    decoder.tied = keys.flag("tie_word_embeddings", true);
    return decoder.config();
  }

  /** Its first files say gelu and mean the tanh form, with which they were trained. */
  private static MlpActivation activation(Keys keys) throws IOException {
    String key = "hidden_act";
    MlpActivation activation =
        keys.text(key, "gelu").equals("gelu")
            ? MlpActivation.TANH_GELU
            : Decoder.activation(keys, key, "gelu");
    String other = "hidden_activation";
    if (keys.has(other) && Decoder.activation(keys, other, "") != activation) {
      throw keys.wrong(other, "the same as " + key);
    }
    return activation;
  }

  @Override
  public List<Spelling> spellings(TransformerConfig config) {
    return Spellings.common().gainsLessOne().all();
  }

  @Override
  public Optional<GgufFamily> gguf() {
    return Optional.of(new GgufFamily("gemma", this).rms().rope(Rope.whole(10_000)));
  }
}
