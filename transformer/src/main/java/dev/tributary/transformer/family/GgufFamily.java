package dev.tributary.transformer.family;

import dev.tributary.transformer.MlpConfig;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;

/**
 * A family as GGUF files have it, which hold all in one: metadata, which say what its config would,
 * and weights under names that all families share. A family says what it has otherwise, in the
 * order in which its config shall say it.
 *
 * @see <a href="https://github.com/ggml-org/ggml/blob/master/docs/gguf.md">GGUF</a>
 */
public final class GgufFamily implements Architecture {
  /** Keys of a config by those of metadata, for sizes that every model has. */
  private static final Map<String, String> SIZES = sizes();

  /** One thing that the config of a family says. */
  @FunctionalInterface
  interface Saying {
    void add(GgufMetadata metadata, Map<String, Object> config) throws IOException;
  }

  private final String name;
  private final Architecture family;
  private final List<Saying> sayings = new ArrayList<>();
  private UnaryOperator<Spellings> spelled = UnaryOperator.identity();

  /**
   * A family of which nothing but the sizes is known.
   *
   * @param name of the architecture in GGUF files
   */
  GgufFamily(String name, Architecture family) {
    this.name = name;
    this.family = family;
  }

  private static Map<String, String> sizes() {
    Map<String, String> result = new LinkedHashMap<>();
    result.put("embedding_length", "hidden_size");
    result.put("feed_forward_length", Spellings.NEURONS);
    result.put("block_count", "num_hidden_layers");
    result.put("attention.head_count", "num_attention_heads");
    result.put("attention.head_count_kv", "num_key_value_heads");
    result.put("attention.key_length", "head_dim");
    result.put("context_length", "max_position_embeddings");
    return result;
  }

  // ---- what a family says of itself --------------------------------------------------------

  /** The same, and its config says one thing more. */
  GgufFamily says(Saying one) {
    sayings.add(one);
    return this;
  }

  /** A number that need not be there. */
  GgufFamily number(String key, String as) {
    return says((metadata, config) -> metadata.number(key).ifPresent(n -> config.put(as, n)));
  }

  /** The epsilon of its norms. */
  GgufFamily epsilon(String key, String as) {
    return says((metadata, config) -> config.put(as, metadata.required(key)));
  }

  /** Norms of the root mean square. */
  GgufFamily rms() {
    return epsilon("attention.layer_norm_rms_epsilon", "rms_norm_eps");
  }

  /** A window, which 0 switches off. */
  GgufFamily window() {
    return says(
        (metadata, config) -> {
          int window = metadata.count("attention.sliding_window", 0);
          config.put("sliding_window", window == 0 ? null : window);
        });
  }

  /** Rotary positions, as the family's config says them. */
  GgufFamily rope(Rope rope) {
    return says((metadata, config) -> new GgufRope(metadata, rope).add(config));
  }

  /** Something is so if there is a tensor of this name. */
  GgufFamily present(String as, String tensor) {
    return says((metadata, config) -> config.put(as, metadata.tensors().contains(tensor)));
  }

  /** Weights of these names or layouts. */
  GgufFamily spelled(UnaryOperator<Spellings> change) {
    spelled = change;
    return this;
  }

  /** Queries, keys and values are in one tensor, one after the other. */
  static Spellings fused(Spellings spellings) {
    return spellings.fusedProjections("blk.*.attn_qkv", Spelling.Together.SIDE_BY_SIDE);
  }

  // ---- as a family -------------------------------------------------------------------------

  /** {@return the name of its architecture, such as "llama"} */
  public String name() {
    return name;
  }

  /**
   * What a config of the family would say.
   *
   * @param metadata of a GGUF file
   * @param tensors in it
   * @return values by the keys of the family's config
   * @throws IOException if a key is missing, has the wrong type, or is not known
   */
  public Map<String, Object> said(Keys metadata, Tensors tensors) throws IOException {
    GgufMetadata own = new GgufMetadata(metadata, tensors, name);
    Map<String, Object> config = new LinkedHashMap<>();
    config.put("architectures", family.classes().subList(0, 1));
    config.put("model_type", family.modelTypes().get(0));
    own.sizes(SIZES).forEach(config::put);
    for (Saying saying : sayings) {
      saying.add(own, config);
    }
    config.put("vocab_size", own.vocabulary());
    config.put("tie_word_embeddings", !tensors.contains(unembedding()));
    own.requireAllKnown();
    return config;
  }

  @Override
  public String kind() {
    return "GGUF " + name;
  }

  @Override
  public TransformerConfig config(Keys config, Tensors tensors) throws IOException {
    return family.config(config, tensors);
  }

  @Override
  public List<Spelling> spellings(TransformerConfig config) {
    Spellings all = Spellings.gguf();
    if (config.layers().get(0).mlp().kind() == MlpConfig.Kind.PLAIN) {
      all.mlpInput("blk.*.ffn_up", Spellings.NEURONS);
    }
    return spelled.apply(all).all().stream().map(GgufFamily::sized).toList();
  }

  /** By the keys of the metadata that say how large a weight is. */
  private static Spelling sized(Spelling spelling) {
    String keys = spelling.keys();
    for (Map.Entry<String, String> size : SIZES.entrySet()) {
      keys = keys.replace(size.getValue(), size.getKey());
    }
    return spelling.sized(keys);
  }

  @Override
  public String unembedding() {
    return "output.weight";
  }

  /** Of rotation, which {@link #said} has read. */
  @Override
  public List<String> constants() {
    return GgufRope.TENSORS;
  }

  @Override
  public Architecture written() {
    return family;
  }
}
