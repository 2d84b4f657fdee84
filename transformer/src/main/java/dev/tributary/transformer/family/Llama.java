package dev.tributary.transformer.family;

import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.Optional;

/**
 * Llama 1 to 3, and models of other names in its files, such as SmolLM2.
 *
 * @see <a href="https://arxiv.org/abs/2302.13971">Touvron et al. 2023</a>
 */
final class Llama implements HuggingFace {
  @Override
  public String name() {
    return "Llama";
  }

  @Override
  public String modelType() {
    return "llama";
  }

  @Override
  public TransformerConfig config(Keys keys, Tensors tensors) throws IOException {
    Decoder decoder =
        Decoder.read(
            keys,
            new Decoder.Sizes(4096, 11_008, 32, 32, 2048, 32_000),
            Decoder.rms(keys, "rms_norm_eps", 1e-6));
    decoder.readKeyHeads(decoder.heads);
    Rope.whole(10_000).read(keys, decoder);
    decoder.readAttentionBias("attention_bias", false);
    decoder.mlpBias = keys.flag("mlp_bias", false);
    decoder.activation = Decoder.activation(keys, "hidden_act", "silu");
    decoder.tied = keys.flag("tie_word_embeddings", false);
    return decoder.config();
  }

  @Override
  public Optional<GgufFamily> gguf() {
    return Optional.of(
        new GgufFamily("llama", this)
            .rms()
            .rope(Rope.whole(10_000))
            .present("attention_bias", "blk.0.attn_q.bias")
            .present("mlp_bias", "blk.0.ffn_gate.bias")
            .spelled(Spellings::queriesAndKeysInPairs));
  }
}
