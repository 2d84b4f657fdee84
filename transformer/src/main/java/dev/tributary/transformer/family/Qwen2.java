package dev.tributary.transformer.family;

import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * Qwen 2 and 2.5: Llama with biases of queries, keys and values alone. Its configs say a window
 * that is off if they do not say otherwise.
 *
 * @see <a href="https://arxiv.org/abs/2407.10671">Yang et al. 2024</a>
 */
final class Qwen2 implements HuggingFace {
  @Override
  public String name() {
    return "Qwen2";
  }

  @Override
  public String modelType() {
    return "qwen2";
  }

  @Override
  public TransformerConfig config(Keys keys, Tensors tensors) throws IOException {
    Decoder decoder =
        Decoder.read(
            keys,
            new Decoder.Sizes(4096, 22_016, 32, 32, 32_768, 151_936),
            Decoder.rms(keys, "rms_norm_eps", 1e-6));
    decoder.readKeyHeads(32);
    Rope.whole(10_000).read(keys, decoder);
    windows(keys, decoder);
    decoder.projectionBias = true;
    decoder.activation = Decoder.activation(keys, "hidden_act", "silu");
    decoder.tied = keys.flag("tie_word_embeddings", false);
    return decoder.config();
  }

  /** The window of Qwen's layers, which is on only if the config says so. */
  static void windows(Keys keys, Decoder decoder) throws IOException {
    boolean used = keys.flag("use_sliding_window", false);
    OptionalInt said = Decoder.window(keys, OptionalInt.of(4096));
    OptionalInt window = used ? said : OptionalInt.empty();
    int full = keys.count("max_window_layers", 28);
    decoder.slidingLayers(window, layer -> window.isPresent() && layer >= full);
  }

  @Override
  public Optional<GgufFamily> gguf() {
    return Optional.of(new GgufFamily("qwen2", this).rms().rope(Rope.whole(10_000)));
  }
}
