package dev.tributary.transformer.family;

import dev.tributary.transformer.Positions;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;

/**
 * SmolLM 3: Llama with layers in which nothing turns.
 *
 * @see <a href="https://github.com/huggingface/transformers">transformers,
 *     models/smollm3/modeling_smollm3.py</a>
 */
final class SmolLm3 implements HuggingFace {
  @Override
  public String name() {
    return "SmolLM3";
  }

  @Override
  public String modelType() {
    return "smollm3";
  }

  @Override
  public TransformerConfig config(Keys keys, Tensors tensors) throws IOException {
    Decoder decoder =
        Decoder.read(
            keys,
            new Decoder.Sizes(2048, 11_008, 36, 16, 32_768, 128_256),
            Decoder.rms(keys, "rms_norm_eps", 1e-6));
    decoder.readKeyHeads(4);
    Rope.whole(2e6).read(keys, decoder);
    List<Boolean> turning = turning(keys, decoder.layers);
    Positions rotary = decoder.positions.get(0);
    decoder.positions =
        turning.stream().map(turns -> turns ? rotary : new Positions.None()).toList();
    boolean used = keys.flag("use_sliding_window", false);
    OptionalInt window = Decoder.window(keys, OptionalInt.empty());
    decoder.slidingLayers(window, layer -> used && window.isPresent() && !turning.get(layer));
    decoder.readAttentionBias("attention_bias", false);
    decoder.mlpBias = keys.flag("mlp_bias", false);
    decoder.activation = Decoder.activation(keys, "hidden_act", "silu");
    decoder.tied = keys.flag("tie_word_embeddings", true);
    return decoder.config();
  }

  /** Whether each layer turns; 0 in the list means that it does not. */
  private static List<Boolean> turning(Keys keys, int layers) throws IOException {
    String key = "no_rope_layers";
    int interval = keys.positive("no_rope_layer_interval", 4);
    List<Boolean> turning = new ArrayList<>();
    if (!keys.has(key)) {
      for (int layer = 0; layer < layers; layer++) {
        turning.add((layer + 1) % interval != 0);
      }
      return turning;
    }
    for (String said : keys.textsIn(key)) {
      if (!said.equals("0") && !said.equals("1")) {
        throw keys.wrong(key, "0 or 1 for each layer");
      }
      turning.add(said.equals("1"));
    }
    if (turning.size() < layers) {
      throw keys.wrong(key, "0 or 1 for each of %d layers".formatted(layers));
    }
    return turning.subList(0, layers);
  }
}
