package dev.tributary.transformer.family;

import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.Weight;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;

/**
 * GPT-Neo: GPT-2 with scores that are not scaled, and a window in some layers.
 *
 * @see <a href="https://doi.org/10.5281/zenodo.5297715">Black et al. 2021</a>
 */
final class GptNeo implements HuggingFace {
  /** The kind of each layer. */
  private static final String LAYERS = "attention_layers";

  /** Lists of kinds, each with how often it repeats. */
  private static final String GROUPS = "attention_types";

  @Override
  public String name() {
    return "GPTNeo";
  }

  @Override
  public String modelType() {
    return "gpt_neo";
  }

  @Override
  public TransformerConfig config(Keys keys, Tensors tensors) throws IOException {
    int dModel = keys.positive("hidden_size", 2048);
    Decoder decoder =
        new Decoder(
            keys,
            new Decoder.Sizes(
                dModel,
                keys.positive("intermediate_size", Decoder.fourTimes(dModel)),
                Decoder.size(keys, "num_layers", "num_hidden_layers", 24),
                Decoder.size(keys, "num_heads", "num_attention_heads", 16),
                keys.positive("max_position_embeddings", 2048),
                keys.positive("vocab_size", 50_257)),
            Decoder.layerNorm(keys, "layer_norm_epsilon", 1e-5));
    decoder.positionEmbedding = true;
    decoder.scoreScale = 1;
    OptionalInt window = OptionalInt.of(keys.positive("window_size", 256));
    decoder.windows =
        local(keys, decoder.layers).stream()
            .map(local -> local ? window : OptionalInt.empty())
            .toList();
    decoder.attentionOutputBias = true;
    decoder.plainMlp(true, "activation_function", "gelu_new");
    decoder.tied = keys.flag("tie_word_embeddings", true);
    return decoder.config();
  }

  /** Whether each layer has a window; where the config says it twice, the same. */
  private static List<Boolean> local(Keys keys, int layers) throws IOException {
    List<Boolean> single = new ArrayList<>();
    if (keys.has(LAYERS)) {
      add(keys, LAYERS, keys.textsIn(LAYERS), single);
      requireEach(keys, LAYERS, single, layers);
    }
    List<Boolean> repeated = new ArrayList<>();
    if (keys.has(GROUPS)) {
      for (Keys group : keys.lists(GROUPS)) {
        List<String> kinds = group.textsIn("[0]");
        int repeats = group.positive("[1]");
        for (int i = 0; i < repeats && repeated.size() <= layers && !kinds.isEmpty(); i++) {
          add(keys, GROUPS, kinds, repeated);
        }
      }
      requireEach(keys, GROUPS, repeated, layers);
    }
    if (keys.has(LAYERS) && keys.has(GROUPS) && !single.equals(repeated)) {
      throw keys.wrong(GROUPS, "the same as " + LAYERS);
    }
    if (keys.has(LAYERS) || keys.has(GROUPS)) {
      return keys.has(LAYERS) ? single : repeated;
    }
    return IntStream.range(0, layers).mapToObj(layer -> layer % 2 == 1).toList();
  }

  private static void add(Keys keys, String key, List<String> kinds, List<Boolean> local)
      throws IOException {
    for (String kind : kinds) {
      if (!kind.equals("global") && !kind.equals("local")) {
        throw keys.wrong(key, "global or local");
      }
      local.add(kind.equals("local"));
    }
  }

  private static void requireEach(Keys keys, String key, List<Boolean> local, int layers)
      throws IOException {
    if (local.size() != layers) {
      throw keys.wrong(key, "kinds of %d layers".formatted(layers));
    }
  }

  @Override
  public List<Spelling> spellings(TransformerConfig config) {
    return Spellings.common()
        .embedding("wte")
        .put(
            Spelling.stored(
                Weight.POSITION_EMBEDDING, "wpe.weight", "max_position_embeddings, hidden_size"))
        .attentionNorm("h.*.ln_1")
        .projections("h.*.attn.attention")
        .attentionOutput("h.*.attn.attention.out_proj")
        .mlpNorm("h.*.ln_2")
        .mlpInput("h.*.mlp.c_fc", Spellings.NEURONS)
        .mlpOutput("h.*.mlp.c_proj", Spellings.NEURONS)
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
    return List.of("h.*.attn.attention.bias", "h.*.attn.attention.masked_bias");
  }
}
