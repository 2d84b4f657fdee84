package dev.tributary.transformer.family;

import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;

/**
 * Granite 3: Llama with multipliers of embeddings, scores, what the parts write, and logits.
 *
 * @see <a href="https://github.com/ibm-granite/granite-3.0-language-models">Granite Team 2024</a>
 */
final class Granite implements HuggingFace {
  @Override
  public String name() {
    return "Granite";
  }

  @Override
  public String modelType() {
    return "granite";
  }

  @Override
  public TransformerConfig config(Keys keys, Tensors tensors) throws IOException {
    Decoder decoder =
        Decoder.read(
            keys,
            new Decoder.Sizes(4096, 11_008, 32, 32, 2048, 32_000),
            Decoder.rms(keys, "rms_norm_eps", 1e-6));
    decoder.readKeyHeads(decoder.heads);
    decoder.embeddingMultiplier = keys.positive("embedding_multiplier", 1.0);
    decoder.scoreScale = keys.positive("attention_multiplier", 1.0);
    decoder.outletMultiplier = keys.positive("residual_multiplier", 1.0);
    decoder.logitMultiplier = 1 / keys.positive("logits_scaling", 1.0);
    Rope.whole(10_000).read(keys, decoder);
    decoder.readAttentionBias("attention_bias", false);
    decoder.mlpBias = keys.flag("mlp_bias", false);
    decoder.activation = Decoder.activation(keys, "hidden_act", "silu");
    decoder.tied = keys.flag("tie_word_embeddings", false);
    return decoder.config();
  }
}
