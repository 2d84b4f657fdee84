package dev.tributary.transformer.family;

import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.List;
import java.util.OptionalInt;

/**
 * StarCoder 2: plain MLPs, layer norms, biases everywhere.
 *
 * @see <a href="https://arxiv.org/abs/2402.19173">Lozhkov et al. 2024</a>
 */
final class Starcoder2 implements HuggingFace {
  @Override
  public String name() {
    return "Starcoder2";
  }

  @Override
  public String modelType() {
    return "starcoder2";
  }

  @Override
  public TransformerConfig config(Keys keys, Tensors tensors) throws IOException {
    Decoder decoder =
        Decoder.read(
            keys,
            new Decoder.Sizes(3072, 12_288, 30, 24, 4096, 49_152),
            Decoder.layerNorm(keys, "norm_epsilon", 1e-5));
    decoder.readKeyHeads(2);
    Rope.whole(10_000).read(keys, decoder);
    decoder.window(Decoder.window(keys, OptionalInt.empty()));
    decoder.readAttentionBias("use_bias", true);
    decoder.plainMlp(decoder.projectionBias, "hidden_act", "gelu_pytorch_tanh");
    decoder.tied = keys.flag("tie_word_embeddings", true);
    return decoder.config();
  }

  @Override
  public List<Spelling> spellings(TransformerConfig config) {
    return Spellings.common()
        .mlpInput("layers.*.mlp.c_fc", Spellings.NEURONS)
        .mlpOutput("layers.*.mlp.c_proj", Spellings.NEURONS)
        .all();
  }
}
