package dev.tributary.transformer.family;

import dev.tributary.transformer.AttentionConfig;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.Optional;

/**
 * Qwen 3: norms of the queries and keys of each head, no biases.
 *
 * @see <a href="https://arxiv.org/abs/2505.09388">Yang et al. 2025</a>
 */
final class Qwen3 implements HuggingFace {
  @Override
  public String name() {
    return "Qwen3";
  }

  @Override
  public String modelType() {
    return "qwen3";
  }

  @Override
  public TransformerConfig config(Keys keys, Tensors tensors) throws IOException {
    Decoder decoder =
        Decoder.read(
            keys,
            new Decoder.Sizes(4096, 22_016, 32, 32, 32_768, 151_936),
            Decoder.rms(keys, "rms_norm_eps", 1e-6));
    decoder.headSizeOr(128);
    decoder.readKeyHeads(32);
    decoder.headNorm(decoder.finalNorm, AttentionConfig.HeadNorm.Extent.EACH_HEAD);
    Rope.whole(10_000).read(keys, decoder);
    Qwen2.windows(keys, decoder);
    decoder.readAttentionBias("attention_bias", false);
    decoder.activation = Decoder.activation(keys, "hidden_act", "silu");
    decoder.tied = keys.flag("tie_word_embeddings", false);
    return decoder.config();
  }

  @Override
  public Optional<GgufFamily> gguf() {
    return Optional.of(
        new GgufFamily("qwen3", this)
            .rms()
            .rope(Rope.whole(10_000))
            .present("attention_bias", "blk.0.attn_q.bias"));
  }
}
