package dev.tributary.transformer.family;

import dev.tributary.transformer.NormConfig;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.Weight;
import java.io.IOException;
import java.util.List;

/**
 * OPT: GPT-2 with relu, and positions that are stored from the third row on.
 *
 * @see <a href="https://arxiv.org/abs/2205.01068">Zhang et al. 2022</a>
 */
final class Opt implements HuggingFace {
  @Override
  public String name() {
    return "OPT";
  }

  @Override
  public String modelType() {
    return "opt";
  }

  @Override
  public TransformerConfig config(Keys keys, Tensors tensors) throws IOException {
    for (String key : List.of("do_layer_norm_before", "layer_norm_elementwise_affine")) {
      Decoder.requireFlag(keys, key, true);
    }
    Decoder.requireFlag(keys, "_remove_final_layer_norm", false);
    Decoder decoder =
        new Decoder(
            keys,
            new Decoder.Sizes(
                keys.positive("hidden_size", 768),
                keys.positive("ffn_dim", 3072),
                keys.positive("num_hidden_layers", 12),
                keys.positive("num_attention_heads", 12),
                keys.positive("max_position_embeddings", 2048),
                keys.positive("vocab_size", 50_272)),
            new NormConfig(NormConfig.Kind.LAYER_NORM, 1e-5, true));
    String width = "word_embed_proj_dim";
    if (keys.positive(width, decoder.dModel) != decoder.dModel) {
      throw keys.wrong(width, "as hidden_size, %d".formatted(decoder.dModel));
    }
    decoder.positionEmbedding = true;
    decoder.readAttentionBias("enable_bias", true);
    decoder.plainMlp(decoder.projectionBias, "activation_function", "relu");
    decoder.tied = keys.flag("tie_word_embeddings", true);
    return decoder.config();
  }

  @Override
  public List<Spelling> spellings(TransformerConfig config) {
    return Spellings.common()
        .embedding("decoder.embed_tokens")
        .put(
            Spelling.stored(
                    Weight.POSITION_EMBEDDING,
                    "decoder.embed_positions.weight",
                    "max_position_embeddings + 2, hidden_size")
                .after(2))
        .attentionNorm("decoder.layers.*.self_attn_layer_norm")
        .projections("decoder.layers.*.self_attn")
        .attentionOutput("decoder.layers.*.self_attn.out_proj")
        .mlpNorm("decoder.layers.*.final_layer_norm")
        .mlpInput("decoder.layers.*.fc1", "ffn_dim")
        .mlpOutput("decoder.layers.*.fc2", "ffn_dim")
        .finalNorm("decoder.final_layer_norm")
        .all();
  }

  @Override
  public List<String> constants() {
    return List.of();
  }
}
