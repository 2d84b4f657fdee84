package dev.tributary.transformer.family;

import dev.tributary.transformer.LayerConfig;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.List;

/**
 * StableLM 2: Llama with layer norms, of which a part of every head turns.
 *
 * @see <a href="https://arxiv.org/abs/2402.17834">Bellagente et al. 2024</a>
 */
final class StableLm implements HuggingFace {
  @Override
  public String name() {
    return "StableLm";
  }

  @Override
  public String modelType() {
    return "stablelm";
  }

  @Override
  public TransformerConfig config(Keys keys, Tensors tensors) throws IOException {
    Decoder decoder =
        Decoder.read(
            keys,
            new Decoder.Sizes(2560, 6912, 32, 32, 4096, 50_304),
            Decoder.layerNorm(keys, "layer_norm_eps", 1e-5));
    Decoder.requireFlag(keys, "qk_layernorm", false);
    decoder.readKeyHeads(32);
    Rope.partial(10_000, 0.25).read(keys, decoder);
    decoder.projectionBias = keys.flag("use_qkv_bias", false);
    if (keys.flag("use_parallel_residual", false)) {
      decoder.order = LayerConfig.Order.PARALLEL;
    }
    decoder.activation = Decoder.activation(keys, "hidden_act", "silu");
    decoder.tied = keys.flag("tie_word_embeddings", false);
    return decoder.config();
  }

  /** Parallel parts have one norm. */
  @Override
  public List<Spelling> spellings(TransformerConfig config) {
    boolean parallel = config.layers().get(0).order() == LayerConfig.Order.PARALLEL;
    Spellings spellings = Spellings.common();
    return (parallel ? spellings.sharedNorm() : spellings).all();
  }
}
