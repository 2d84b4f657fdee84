package dev.tributary.transformer.family;

import dev.tributary.transformer.LayerConfig;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * GPT-NeoX and Pythia: parallel parts with a norm each, and a part of every head turns.
 *
 * @see <a href="https://arxiv.org/abs/2204.06745">Black et al. 2022</a>
 */
final class GptNeoX implements HuggingFace {
  private static final Rope ROPE =
      new Rope("rotary_emb_base", 10_000, "rotary_pct", OptionalDouble.of(0.25));

  private static final String PARALLEL = "use_parallel_residual";

  @Override
  public String name() {
    return "GPTNeoX";
  }

  @Override
  public String modelType() {
    return "gpt_neox";
  }

  @Override
  public TransformerConfig config(Keys keys, Tensors tensors) throws IOException {
    Decoder decoder =
        Decoder.read(
            keys,
            new Decoder.Sizes(6144, 24_576, 44, 64, 2048, 50_432),
            Decoder.layerNorm(keys, "layer_norm_eps", 1e-5));
    ROPE.read(keys, decoder);
    decoder.readAttentionBias("attention_bias", true);
    decoder.plainMlp(true, "hidden_act", "gelu");
    decoder.order =
        keys.flag(PARALLEL, true) ? LayerConfig.Order.PARALLEL : LayerConfig.Order.SEQUENTIAL;
    decoder.tied = keys.flag("tie_word_embeddings", false);
    return decoder.config();
  }

  @Override
  public List<Spelling> spellings(TransformerConfig config) {
    return Spellings.common()
        .embedding("embed_in")
        .fusedProjections("layers.*.attention.query_key_value", Spelling.Together.BY_KEY_HEAD)
        .attentionOutput("layers.*.attention.dense")
        .mlpInput("layers.*.mlp.dense_h_to_4h", Spellings.NEURONS)
        .mlpOutput("layers.*.mlp.dense_4h_to_h", Spellings.NEURONS)
        .finalNorm("final_layer_norm")
        .unembedding("embed_out")
        .all();
  }

  @Override
  public String unembedding() {
    return "embed_out.weight";
  }

  @Override
  public String prefix() {
    return "gpt_neox.";
  }

  /** Of the causal mask and the rotation, which old files hold. */
  @Override
  public List<String> constants() {
    return List.of(
        "layers.*.attention.bias",
        "layers.*.attention.masked_bias",
        "layers.*.attention.rotary_emb.inv_freq");
  }

  @Override
  public List<String> adapted() {
    return List.of("query_key_value");
  }

  @Override
  public Optional<GgufFamily> gguf() {
    return Optional.of(
        new GgufFamily("gptneox", this)
            .epsilon("attention.layer_norm_epsilon", "layer_norm_eps")
            .rope(ROPE)
            .says(
                (metadata, config) ->
                    config.put(PARALLEL, metadata.flag("use_parallel_residual", true)))
            .spelled(GgufFamily::fused));
  }
}
