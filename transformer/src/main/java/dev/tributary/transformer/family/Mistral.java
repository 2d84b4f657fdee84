package dev.tributary.transformer.family;

import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.OptionalInt;

/**
 * Mistral: Llama with a window in every layer, or in those that layer_types names.
 *
 * @see <a href="https://arxiv.org/abs/2310.06825">Jiang et al. 2023</a>
 */
final class Mistral implements HuggingFace {
  @Override
  public String name() {
    return "Mistral";
  }

  @Override
  public String modelType() {
    return "mistral";
  }

  @Override
  public TransformerConfig config(Keys keys, Tensors tensors) throws IOException {
    Decoder decoder =
        Decoder.read(
            keys,
            new Decoder.Sizes(4096, 14_336, 32, 32, 131_072, 32_000),
            Decoder.rms(keys, "rms_norm_eps", 1e-6));
    decoder.readKeyHeads(8);
    Rope.whole(10_000).read(keys, decoder);
    OptionalInt window = Decoder.window(keys, OptionalInt.of(4096));
    decoder.slidingLayers(window, layer -> window.isPresent());
    decoder.activation = Decoder.activation(keys, "hidden_act", "silu");
    decoder.tied = keys.flag("tie_word_embeddings", false);
    return decoder.config();
  }
}
