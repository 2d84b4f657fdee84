package dev.tributary.transformer.family;

import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;

/**
 * Gemma 2: Gemma with norms after both parts, a window in every other layer, and caps.
 *
 * @see <a href="https://arxiv.org/abs/2408.00118">Gemma Team 2024</a>
 */
final class Gemma2 implements HuggingFace {
  @Override
  public String name() {
    return "Gemma2";
  }

  @Override
  public String modelType() {
    return "gemma2";
  }

  @Override
  public TransformerConfig config(Keys keys, Tensors tensors) throws IOException {
    Decoder decoder = read(keys, new Decoder.Sizes(2304, 9216, 26, 8, 8192, 256_000));
    decoder.scoreCap = Decoder.cap(keys, "attn_logit_softcapping", OptionalDouble.of(50));
    decoder.logitCap = Decoder.cap(keys, "final_logit_softcapping", OptionalDouble.of(30));
    Rope.whole(10_000).read(keys, decoder);
    decoder.slidingLayers(Decoder.window(keys, OptionalInt.of(4096)), layer -> layer % 2 == 0);
    return decoder.config();
  }

  /** What Gemma 2 and 3 have in common. */
  static Decoder read(Keys keys, Decoder.Sizes otherwise) throws IOException {
    Decoder decoder = Decoder.read(keys, otherwise, Decoder.rms(keys, "rms_norm_eps", 1e-6));
    decoder.headSizeOr(256);
    decoder.readKeyHeads(4);
    decoder.scoreScale = 1 / Math.sqrt(keys.positive("query_pre_attn_scalar", 256.0));
    decoder.outletNorm = Optional.of(decoder.finalNorm);
    decoder.readAttentionBias("attention_bias", false);
    decoder.activation = Decoder.activation(keys, "hidden_activation", "gelu_pytorch_tanh");
    decoder.embeddingMultiplier = Math.sqrt(decoder.dModel);
    decoder.tied = keys.flag("tie_word_embeddings", true);
    return decoder;
  }

  @Override
  public List<Spelling> spellings(TransformerConfig config) {
    return spellings();
  }

  /** Four norms in a layer: before and after each part. */
  static List<Spelling> spellings() {
    return Spellings.common()
        .mlpNorm("layers.*.pre_feedforward_layernorm")
        .outletNorms("layers.*.post_attention_layernorm", "layers.*.post_feedforward_layernorm")
        .gainsLessOne()
        .all();
  }

  @Override
  public Optional<GgufFamily> gguf() {
    return Optional.of(
        new GgufFamily("gemma2", this)
            .rms()
            .rope(Rope.whole(10_000))
            .window()
            .says(scoreScale(46))
            .number("attn_logit_softcapping", "attn_logit_softcapping")
            .number("final_logit_softcapping", "final_logit_softcapping"));
  }

  /**
   * What GGUF files leave out.
   *
   * @param largest how many layers the one model has whose scores are not scaled by its heads
   */
  static GgufFamily.Saying scoreScale(int largest) {
    return (metadata, config) ->
        config.put(
            "query_pre_attn_scalar",
            metadata.size("block_count") == largest ? metadata.share() : metadata.headSize());
  }
}
