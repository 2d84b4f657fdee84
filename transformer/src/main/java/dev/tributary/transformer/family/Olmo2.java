package dev.tributary.transformer.family;

import dev.tributary.transformer.AttentionConfig;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.List;
import java.util.Optional;

/**
 * OLMo 2: norms after the parts and not before them, and of all queries and all keys of a token at
 * once.
 *
 * @see <a href="https://arxiv.org/abs/2501.00656">OLMo Team 2024</a>
 */
final class Olmo2 implements HuggingFace {
  @Override
  public String name() {
    return "Olmo2";
  }

  @Override
  public String modelType() {
    return "olmo2";
  }

  @Override
  public TransformerConfig config(Keys keys, Tensors tensors) throws IOException {
    Decoder decoder =
        Decoder.read(
            keys,
            new Decoder.Sizes(4096, 11_008, 32, 32, 2048, 50_304),
            Decoder.rms(keys, "rms_norm_eps", 1e-5));
    decoder.readKeyHeads(decoder.heads);
    decoder.entryNorm = Optional.empty();
    decoder.outletNorm = Optional.of(decoder.finalNorm);
    decoder.headNorm(decoder.finalNorm, AttentionConfig.HeadNorm.Extent.ALL_HEADS);
    Rope.whole(10_000).read(keys, decoder);
    decoder.readAttentionBias("attention_bias", false);
    decoder.activation = Decoder.activation(keys, "hidden_act", "silu");
    decoder.tied = keys.flag("tie_word_embeddings", false);
    return decoder.config();
  }

  @Override
  public List<Spelling> spellings(TransformerConfig config) {
    return Spellings.common()
        .outletNorms("layers.*.post_attention_layernorm", "layers.*.post_feedforward_layernorm")
        .all();
  }
}
