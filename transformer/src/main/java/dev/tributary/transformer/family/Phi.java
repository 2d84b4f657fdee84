package dev.tributary.transformer.family;

import dev.tributary.transformer.AttentionConfig;
import dev.tributary.transformer.LayerConfig;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.List;

/**
 * Phi 1 to 2: parallel parts with one norm, biases everywhere, and a part of every head turns.
 *
 * @see <a href="https://arxiv.org/abs/2306.11644">Gunasekar et al. 2023</a>
 */
final class Phi implements HuggingFace {
  @Override
  public String name() {
    return "Phi";
  }

  @Override
  public String modelType() {
    return "phi";
  }

  @Override
  public TransformerConfig config(Keys keys, Tensors tensors) throws IOException {
    Decoder decoder =
        Decoder.read(
            keys,
            new Decoder.Sizes(2048, 8192, 24, 32, 2048, 51_200),
            Decoder.layerNorm(keys, "layer_norm_eps", 1e-5));
    decoder.readKeyHeads(decoder.heads);
    if (keys.flag("qk_layernorm", false)) {
      decoder.headNorm(decoder.finalNorm, AttentionConfig.HeadNorm.Extent.EACH_HEAD);
    }
    Rope.partial(10_000, 0.5).read(keys, decoder);
    decoder.order = LayerConfig.Order.PARALLEL;
    decoder.projectionBias = true;
    decoder.attentionOutputBias = true;
    decoder.plainMlp(true, "hidden_act", "gelu_new");
    decoder.unembeddingBias = true;
    decoder.tied = keys.flag("tie_word_embeddings", false);
    return decoder.config();
  }

  @Override
  public List<Spelling> spellings(TransformerConfig config) {
    return Spellings.common()
        .sharedNorm()
        .headNorm("layers.*.self_attn.q_layernorm", "layers.*.self_attn.k_layernorm")
        .attentionOutput("layers.*.self_attn.dense")
        .mlpInput("layers.*.mlp.fc1", Spellings.NEURONS)
        .mlpOutput("layers.*.mlp.fc2", Spellings.NEURONS)
        .finalNorm("final_layernorm")
        .all();
  }
}
