package dev.tributary.transformer.file;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.core.Shape;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.family.Architectures;
import dev.tributary.transformer.family.Tensors;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;

/**
 * Configs of every family, with the options that it has. They are drawn as the files of today or of
 * before transformers 5 say them.
 */
public final class RandomFamily {
  /** What lies beside a config that says everything. */
  static final Tensors NONE =
      new Tensors() {
        @Override
        public boolean contains(String name) {
          throw new AssertionError(name);
        }

        @Override
        public double[] numbers(String name, int size) {
          throw new AssertionError(name);
        }

        @Override
        public Shape shape(String name, int rank) {
          throw new AssertionError(name);
        }

        @Override
        public boolean sameNumbers(String left, String right) {
          throw new AssertionError(left);
        }
      };

  private static final String FULL = "full_attention";
  private static final String SLIDING = "sliding_attention";

  /** Of which some or all numbers of a head turn, so that one number is too few. */
  private static final List<String> TURNING =
      List.of(
          "gemma",
          "gemma2",
          "gemma3_text",
          "gpt_neox",
          "gptj",
          "granite",
          "llama",
          "mistral",
          "olmo2",
          "phi",
          "phi3",
          "qwen2",
          "qwen3",
          "smollm3",
          "stablelm",
          "starcoder2");

  private final Random random;
  private final String type;
  private final int layers;
  private final int heads;
  private final int dHead;
  private final boolean old;
  private final Map<String, Object> keys = new LinkedHashMap<>();

  private RandomFamily(Random random, String type, int layers, int heads, int dHead) {
    this.random = random;
    this.type = type;
    this.layers = layers;
    this.heads = heads;
    this.dHead = dHead;
    this.old = random.nextBoolean();
  }

  /** The families that are drawn. */
  static List<String> types() {
    List<String> all = new ArrayList<>(TURNING);
    all.addAll(List.of("gpt2", "gpt_neo", "opt"));
    return all;
  }

  /** A config of some family, of these sizes. */
  public static TransformerConfig of(
      Random random,
      int layers,
      int dModel,
      int heads,
      int dHead,
      int neurons,
      int context,
      int vocabulary) {
    List<String> all = types();
    if (dHead % 2 != 0) {
      all.removeAll(TURNING);
    }
    String type = all.get(random.nextInt(all.size()));
    Map<String, Object> keys =
        keys(random, type, layers, dModel, heads, dHead, neurons, context, vocabulary);
    try {
      return read(keys);
    } catch (IOException e) {
      throw new AssertionError(keys.toString(), e);
    }
  }

  /** What our reader makes of a config. */
  static TransformerConfig read(Map<String, Object> keys) throws IOException {
    ObjectNode root = new ObjectMapper().valueToTree(keys);
    JsonFile json = JsonFile.of(Path.of("config.json"), root);
    return Architectures.of(json).config(json, NONE);
  }

  /** A config of one family, by its keys. */
  static Map<String, Object> keys(
      Random random,
      String type,
      int layers,
      int dModel,
      int heads,
      int dHead,
      int neurons,
      int context,
      int vocabulary) {
    RandomFamily drawn = new RandomFamily(random, type, layers, heads, dHead);
    Map<String, Object> keys = drawn.keys;
    keys.put("model_type", type);
    boolean brief = type.equals("gptj") || type.equals("gpt2");
    boolean neo = type.equals("gpt_neo");
    keys.put("vocab_size", vocabulary);
    keys.put(brief ? "n_embd" : "hidden_size", dModel);
    keys.put(brief ? "n_layer" : neo ? "num_layers" : "num_hidden_layers", layers);
    keys.put(brief ? "n_head" : neo ? "num_heads" : "num_attention_heads", heads);
    keys.put(brief ? "n_positions" : "max_position_embeddings", context);
    keys.put(brief ? "n_inner" : type.equals("opt") ? "ffn_dim" : "intermediate_size", neurons);
    keys.put("head_dim", dHead);
    keys.put("tie_word_embeddings", random.nextBoolean());
    drawn.options();
    return keys;
  }

  private void options() {
    switch (type) {
      case "llama" -> {
        rms();
        rope();
        flags("attention_bias", "mlp_bias");
        words("hidden_act", "silu", "gelu", "relu", "gelu_pytorch_tanh");
      }
      case "mistral" -> {
        rms();
        rope();
        window(true);
      }
      case "qwen2" -> {
        rms();
        rope();
        qwenWindow();
      }
      case "qwen3" -> {
        rms();
        rope();
        qwenWindow();
        flags("attention_bias");
      }
      case "gemma" -> {
        rms();
        rope();
        flags("attention_bias");
        words("hidden_act", "gelu", "gelu_pytorch_tanh");
      }
      case "gemma2" -> {
        rms();
        rope();
        gemma();
        numbers("attn_logit_softcapping", 2, "final_logit_softcapping", 5);
        layerTypes();
      }
      case "gemma3_text" -> {
        rms();
        twoRopes();
        gemma();
        if (old) {
          keys.put("sliding_window_pattern", 1 + random.nextInt(3));
        } else {
          layerTypes();
        }
      }
      case "gpt_neox" -> {
        keys.put("layer_norm_eps", 1e-3);
        partial("rotary_emb_base", "rotary_pct");
        flags("use_parallel_residual", "attention_bias");
        words("hidden_act", "gelu", "gelu_new", "relu");
      }
      case "gpt_neo" -> {
        keys.put("layer_norm_epsilon", 1e-3);
        keys.put("window_size", 1 + random.nextInt(3));
        List<String> kinds =
            IntStream.range(0, layers)
                .mapToObj(layer -> random.nextBoolean() ? "global" : "local")
                .toList();
        keys.put("attention_types", List.of(List.of(kinds, 1)));
      }
      case "gptj" -> {
        keys.put("layer_norm_epsilon", 1e-3);
        keys.put("rotary_dim", turning());
      }
      case "gpt2" -> {
        keys.put("layer_norm_epsilon", 1e-3);
        words("activation_function", "gelu_new", "gelu", "relu");
      }
      case "phi" -> {
        keys.put("layer_norm_eps", 1e-3);
        keyHeads();
        partial("rope_theta", "partial_rotary_factor");
        flags("qk_layernorm");
      }
      case "phi3" -> {
        rms();
        keyHeads();
        partial("rope_theta", "partial_rotary_factor");
        window(true);
      }
      case "olmo2", "granite" -> {
        rms();
        rope();
        flags("attention_bias");
        if (type.equals("granite")) {
          flags("mlp_bias");
          numbers("embedding_multiplier", 2, "attention_multiplier", 0.8);
          numbers("residual_multiplier", 0.6, "logits_scaling", 1.5);
        }
      }
      case "opt" -> flags("enable_bias");
      case "smollm3" -> {
        rms();
        rope();
        flags("attention_bias", "mlp_bias", "use_sliding_window");
        window(true);
        keys.put(
            "no_rope_layers", IntStream.range(0, layers).map(l -> random.nextInt(2)).toArray());
      }
      case "starcoder2" -> {
        keys.put("norm_epsilon", 1e-3);
        rope();
        window(true);
        flags("use_bias");
      }
      case "stablelm" -> {
        keys.put("layer_norm_eps", 1e-3);
        keyHeads();
        partial("rope_theta", "partial_rotary_factor");
        flags("use_qkv_bias", "use_parallel_residual");
      }
      default -> throw new AssertionError(type);
    }
  }

  private void rms() {
    keys.put("rms_norm_eps", 1e-3);
  }

  private void flags(String... names) {
    for (String name : names) {
      if (random.nextBoolean()) {
        keys.put(name, random.nextBoolean());
      }
    }
  }

  private void words(String name, String... words) {
    if (random.nextBoolean()) {
      keys.put(name, words[random.nextInt(words.length)]);
    }
  }

  private void numbers(String one, double first, String other, double second) {
    keys.put(one, first);
    keys.put(other, second);
  }

  private void keyHeads() {
    List<Integer> divisors =
        IntStream.rangeClosed(1, heads).filter(count -> heads % count == 0).boxed().toList();
    keys.put("num_key_value_heads", divisors.get(random.nextInt(divisors.size())));
  }

  private void window(boolean mayBeNull) {
    keys.put("sliding_window", mayBeNull && random.nextBoolean() ? null : 1 + random.nextInt(3));
  }

  private void qwenWindow() {
    window(false);
    keys.put("use_sliding_window", random.nextBoolean());
    keys.put("max_window_layers", random.nextInt(layers + 1));
  }

  private void gemma() {
    window(false);
    keys.put("query_pre_attn_scalar", 1 + random.nextInt(5));
    flags("attention_bias");
  }

  private void layerTypes() {
    if (random.nextBoolean()) {
      keys.put(
          "layer_types",
          IntStream.range(0, layers)
              .mapToObj(layer -> random.nextBoolean() ? FULL : SLIDING)
              .toList());
    }
  }

  private double base() {
    return 10 + random.nextInt(1000);
  }

  /** Of a family with its own key heads, all of whose numbers turn. */
  private void rope() {
    keyHeads();
    Map<String, Object> scaling = scaling(dHead / 2);
    if (old) {
      keys.put("rope_theta", base());
      keys.put("rope_scaling", scaling);
    } else {
      scaling.put("rope_theta", base());
      keys.put("rope_parameters", scaling);
    }
  }

  private void twoRopes() {
    keyHeads();
    if (old) {
      keys.put("rope_theta", base());
      keys.put("rope_scaling", scaling(dHead / 2));
      keys.put("rope_local_base_freq", base());
    } else {
      Map<String, Object> full = scaling(dHead / 2);
      full.put("rope_theta", base());
      Map<String, Object> sliding = scaling(dHead / 2);
      sliding.put("rope_theta", base());
      keys.put("rope_parameters", Map.of(FULL, full, SLIDING, sliding));
    }
  }

  /** Even, and as many as a head has or fewer. */
  private int turning() {
    return 2 * (1 + random.nextInt(dHead / 2));
  }

  private void partial(String base, String share) {
    int turning = turning();
    double part = turning == dHead ? 1 : (turning + 0.5) / dHead;
    Map<String, Object> scaling = scaling(turning / 2);
    if (old) {
      keys.put(base, base());
      keys.put(share, part);
      keys.put("rope_scaling", scaling);
    } else {
      scaling.put("rope_theta", base());
      scaling.put("partial_rotary_factor", part);
      keys.put("rope_parameters", scaling);
    }
  }

  private Map<String, Object> scaling(int pairs) {
    Map<String, Object> result = new LinkedHashMap<>();
    String word = old && !type.equals("gemma3_text") && random.nextBoolean() ? "type" : "rope_type";
    switch (random.nextInt(4)) {
      case 0 -> result.put(word, "default");
      case 1 -> {
        result.put(word, "linear");
        result.put("factor", 1 + random.nextInt(4));
      }
      case 2 -> {
        result.put(word, "longrope");
        result.put("short_factor", random.doubles(pairs, 1, 2).toArray());
        result.put("long_factor", random.doubles(pairs, 2, 8).toArray());
        result.put("attention_factor", 1 + random.nextDouble());
        result.put("original_max_position_embeddings", 2 + random.nextInt(6));
      }
      default -> {
        result.put(word, "llama3");
        result.put("factor", 1 + random.nextInt(4));
        result.put("low_freq_factor", 1.0);
        result.put("high_freq_factor", 4.0);
        result.put("original_max_position_embeddings", 4 + random.nextInt(60));
      }
    }
    return result;
  }
}
