package dev.tributary.transformer.family;

import dev.tributary.transformer.LayerConfig;
import dev.tributary.transformer.Positions;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.List;

/**
 * GPT-J: parallel parts with one norm, neighbouring numbers turn together, a bias of logits.
 *
 * @see <a href="https://github.com/kingoflolz/mesh-transformer-jax">Wang and Komatsuzaki 2021</a>
 */
final class GptJ implements HuggingFace {
  @Override
  public String name() {
    return "GPTJ";
  }

  @Override
  public String modelType() {
    return "gptj";
  }

  @Override
  public TransformerConfig config(Keys keys, Tensors tensors) throws IOException {
    int dModel = Decoder.size(keys, "n_embd", "hidden_size", 4096);
    Decoder decoder =
        new Decoder(
            keys,
            new Decoder.Sizes(
                dModel,
                keys.positive("n_inner", Decoder.fourTimes(dModel)),
                Decoder.size(keys, "n_layer", "num_hidden_layers", 28),
                Decoder.size(keys, "n_head", "num_attention_heads", 16),
                Decoder.size(keys, "n_positions", "max_position_embeddings", 2048),
                keys.positive("vocab_size", 50_400)),
            Decoder.layerNorm(keys, "layer_norm_epsilon", 1e-5));
    if (keys.isNull("rotary_dim")) {
      throw keys.wrong("rotary_dim", "how many numbers of a head turn");
    }
    int turning = keys.positive("rotary_dim", 64);
    if (turning % 2 != 0 || turning > decoder.dHead()) {
      throw keys.wrong("rotary_dim", "an even number up to the size of a head, " + decoder.dHead());
    }
    decoder.positions(
        new Positions.Rotary(Rope.frequencies(turning, 10_000), Positions.Pairs.NEIGHBOURS));
    decoder.order = LayerConfig.Order.PARALLEL;
    decoder.plainMlp(true, "activation_function", "gelu_new");
    decoder.unembeddingBias = true;
    decoder.tied = keys.flag("tie_word_embeddings", false);
    return decoder.config();
  }

  @Override
  public List<Spelling> spellings(TransformerConfig config) {
    return Spellings.common()
        .embedding("wte")
        .attentionNorm("h.*.ln_1")
        .sharedNorm()
        .projections("h.*.attn")
        .attentionOutput("h.*.attn.out_proj")
        .mlpInput("h.*.mlp.fc_in", "n_inner")
        .mlpOutput("h.*.mlp.fc_out", "n_inner")
        .finalNorm("ln_f")
        .all();
  }

  @Override
  public String prefix() {
    return "transformer.";
  }

  /** Of the causal mask, which old files hold. */
  @Override
  public List<String> constants() {
    return List.of("h.*.attn.bias", "h.*.attn.masked_bias");
  }
}
