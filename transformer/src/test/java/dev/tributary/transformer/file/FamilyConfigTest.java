package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.AttentionConfig;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.Positions;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Slot;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.Weight;
import dev.tributary.transformer.family.Architecture;
import dev.tributary.transformer.family.Architectures;
import dev.tributary.transformer.family.Layout;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * What the configs of the families mean, and where their files keep the numbers: the readings that
 * are easily mistaken, each from its source in transformers.
 */
class FamilyConfigTest {
  private static final int DRAWS = 6;

  @TempDir private Path temporary;

  /** A small config of a family with some more keys. */
  private static Map<String, Object> keys(String type, @Nullable Object... more) {
    Map<String, Object> keys = new LinkedHashMap<>();
    keys.put("model_type", type);
    keys.put("hidden_size", 8);
    keys.put("num_attention_heads", 2);
    keys.put("num_key_value_heads", 2);
    keys.put("head_dim", 4);
    keys.put("intermediate_size", 6);
    keys.put("num_hidden_layers", 4);
    keys.put("max_position_embeddings", 16);
    keys.put("vocab_size", 11);
    for (int i = 0; i < more.length; i += 2) {
      keys.put(String.valueOf(more[i]), more[i + 1]);
    }
    return keys;
  }

  private static TransformerConfig read(String type, @Nullable Object... more) throws IOException {
    return RandomFamily.read(keys(type, more));
  }

  private static AttentionConfig attention(int layer, String type, @Nullable Object... more)
      throws IOException {
    return read(type, more).layers().get(layer).attention();
  }

  private static List<Integer> windows(TransformerConfig config) {
    return config.layers().stream().map(layer -> layer.attention().window().orElse(0)).toList();
  }

  private static double angle(AttentionConfig attention, int pair) {
    return ((Positions.Rotary) attention.positions()).frequencies().get(pair);
  }

  // ---- every family --------------------------------------------------------------------------

  @Test
  void save_everyFamily_comesBackWithItsNumbers() throws IOException {
    for (String type : RandomFamily.types()) {
      for (int seed = 0; seed < DRAWS; seed++) {
        Random random = new Random(seed + 100L * type.hashCode());
        Map<String, Object> keys =
            RandomFamily.keys(random, type, 2, 6, 1 + random.nextInt(3), 4, 5, 7, 9);
        TransformerConfig config = RandomFamily.read(keys);
        Architecture family =
            Architectures.all().stream()
                .filter(one -> one.modelTypes().contains(type))
                .findFirst()
                .orElseThrow();
        Path folder = temporary.resolve(type + seed);
        try (Scope scope = Scope.open()) {
          Transformer model = Transformer.random(config, DType.DOUBLE, seed);
          // A norm that both parts of a layer read through is stored once.
          Models.save(model, folder, family, keys, entry -> ElementType.F64);
          Transformer read = Models.load(folder, DType.DOUBLE, Progress.NONE);
          assertEquals(config, read.config(), () -> keys.toString());
          Layout layout = Layout.of(family, config);
          for (Map.Entry<Slot, Tensor> weight : model.weights().entrySet()) {
            Slot slot = weight.getKey();
            Slot kept = layout.of(slot).isShared() ? layout.of(slot).slots().get(0) : slot;
            assertArrayEquals(
                model.weight(kept.weight(), kept.layer()).toDoubles(),
                read.weight(slot.weight(), slot.layer()).toDoubles(),
                1e-15,
                () -> slot + " " + keys);
          }
          Path again = temporary.resolve(type + seed + "again");
          Models.save(read, again, Checkpoint.open(folder), Optional.of(ElementType.F64));
          assertEquals(config, Models.load(again, DType.DOUBLE, Progress.NONE).config());
          assertEquals(family, Checkpoint.open(again).family());
        }
      }
    }
  }

  /** Any value of another kind or size, anywhere in a config: a config or a sentence. */
  @Test
  void read_changedValues_areReadOrRefused() {
    List<Object> values = new ArrayList<>();
    values.addAll(List.of(-1, 0, 1, 3, 1 << 30, 1e300, 1e-300, 0.3, true, false, "", "yarn"));
    values.addAll(List.of(List.of(), List.of(1, "x"), Map.of(), Map.of("rope_type", "linear")));
    values.addAll(
        List.of(List.of(List.of("local", 2)), List.of(List.of(List.of("local"), 1 << 30))));
    int refused = 0;
    int known = 0;
    for (String type : RandomFamily.types()) {
      Random random = new Random(type.hashCode());
      for (int draw = 0; draw < 300; draw++) {
        Map<String, Object> keys = RandomFamily.keys(random, type, 2, 8, 2, 4, 5, 7, 9);
        List<String> names = new ArrayList<>(keys.keySet());
        String changed = names.get(1 + random.nextInt(names.size() - 1));
        keys.put(changed, values.get(random.nextInt(values.size())));
        try {
          RandomFamily.read(keys);
          known++;
        } catch (IOException e) {
          String sentence = String.valueOf(e.getMessage());
          assertTrue(sentence.startsWith("config.json: "), () -> keys + " " + sentence);
          refused++;
        }
      }
    }
    assertTrue(refused > 1000 && known > 500, refused + " " + known);
  }

  // ---- defaults ------------------------------------------------------------------------------

  static Stream<Arguments> ties() {
    return Stream.concat(
        Stream.of("gemma", "gemma2", "gemma3_text", "opt", "smollm3", "starcoder2", "gpt_neo")
            .map(type -> arguments(type, true)),
        Stream.of("llama", "mistral", "qwen2", "qwen3", "gpt_neox", "gptj", "phi", "phi3", "olmo2")
            .map(type -> arguments(type, false)));
  }

  @ParameterizedTest
  @MethodSource("ties")
  void tie_notSaid_isTheFamilysOwn(String type, boolean tied) throws IOException {
    Map<String, Object> keys = keys(type);
    keys.put("num_layers", 4);
    keys.put("num_heads", 2);
    keys.put("rotary_dim", 4);
    keys.put("rotary_pct", 1);
    assertEquals(tied, RandomFamily.read(keys).unembedding().tied());
  }

  @Test
  void headSize_notSaid_isAShareOfTheStreamOrNot() throws IOException {
    assertEquals(4, attention(0, "llama", "head_dim", null).dHead());
    assertEquals(128, attention(0, "qwen3", "head_dim", null).dHead());
    assertEquals(256, attention(0, "gemma", "head_dim", null).dHead());
    assertEquals(256, attention(0, "gemma2", "head_dim", null).dHead());
  }

  @Test
  void keyHeads_nullOrNotSaid_differ() throws IOException {
    Map<String, Object> keys = keys("mistral", "num_attention_heads", 16);
    keys.put("num_key_value_heads", null);
    assertEquals(16, RandomFamily.read(keys).layers().get(0).attention().keyHeads());
    keys.remove("num_key_value_heads");
    assertEquals(8, RandomFamily.read(keys).layers().get(0).attention().keyHeads());
  }

  // ---- windows -------------------------------------------------------------------------------

  @Test
  void window_qwen_isOffUnlessUsed() throws IOException {
    assertEquals(
        List.of(0, 0, 0, 0), windows(read("qwen2", "sliding_window", 3, "max_window_layers", 1)));
    Object[] used = {"sliding_window", 3, "max_window_layers", 1, "use_sliding_window", true};
    assertEquals(List.of(0, 3, 3, 3), windows(read("qwen2", used)));
    assertEquals(List.of(0, 3, 3, 3), windows(read("qwen3", used)));
  }

  @Test
  void window_mistral_nullIsNoneAndNotSaidIs4096() throws IOException {
    assertEquals(OptionalInt.empty(), attention(0, "mistral", "sliding_window", null).window());
    assertEquals(OptionalInt.of(4096), attention(0, "mistral").window());
    assertEquals(OptionalInt.empty(), attention(0, "phi3").window());
  }

  @Test
  void window_gemma_isInEvenLayersOrAllButEverySixth() throws IOException {
    assertEquals(List.of(4096, 0, 4096, 0), windows(read("gemma2")));
    assertEquals(
        List.of(4096, 4096, 4096, 4096, 4096, 0, 4096),
        windows(read("gemma3_text", "num_hidden_layers", 7)));
    assertEquals(
        List.of(7, 0, 7, 0),
        windows(read("gemma3_text", "sliding_window", 7, "sliding_window_pattern", 2)));
  }

  @Test
  void window_gptNeo_isLocal() throws IOException {
    Object[] said = {
      "num_layers",
      4,
      "num_heads",
      2,
      "window_size",
      5,
      "attention_types",
      List.of(List.of(List.of("global", "local"), 2))
    };
    assertEquals(List.of(0, 5, 0, 5), windows(read("gpt_neo", said)));
    assertEquals(1, attention(0, "gpt_neo", said).scoreScale());
  }

  // ---- positions -----------------------------------------------------------------------------

  @Test
  void positions_gemma3_turnSlowerWithoutAWindow() throws IOException {
    Object[] old = {
      "sliding_window_pattern",
      2,
      "rope_theta",
      400.0,
      "rope_local_base_freq",
      25.0,
      "rope_scaling",
      Map.of("rope_type", "linear", "factor", 2.0)
    };
    assertEquals(1 / 5.0, angle(attention(0, "gemma3_text", old), 1), 1e-15);
    assertEquals(1 / 40.0, angle(attention(1, "gemma3_text", old), 1), 1e-15);
    assertEquals(1 / 2.0, angle(attention(1, "gemma3_text", old), 0), 1e-15);
  }

  @Test
  void positions_oldAndNewKeys_sayTheSame() throws IOException {
    Map<String, Object> llama3 =
        Map.of("rope_type", "llama3", "factor", 4, "low_freq_factor", 1.0, "high_freq_factor", 4.0);
    Map<String, Object> today = new LinkedHashMap<>(llama3);
    today.put("rope_theta", 50.0);
    today.put("original_max_position_embeddings", 32);
    Map<String, Object> before = new LinkedHashMap<>(llama3);
    before.put("original_max_position_embeddings", 32);
    assertEquals(
        read("llama", "rope_parameters", today),
        read("llama", "rope_theta", 50.0, "rope_scaling", before));
  }

  @Test
  void positions_llama3_keepFastPairsAndSlowDownOthers() throws IOException {
    Map<String, Object> said = new LinkedHashMap<>();
    said.put("rope_type", "llama3");
    said.put("factor", 8.0);
    said.put("low_freq_factor", 1.0);
    said.put("high_freq_factor", 4.0);
    said.put("original_max_position_embeddings", 64);
    AttentionConfig attention =
        attention(0, "llama", "rope_theta", 1e4, "rope_scaling", said, "head_dim", 4);
    assertEquals(1, angle(attention, 0), 0); // 64 / 2π turns
    assertEquals(0.01 / 8, angle(attention, 1), 1e-17); // 0.1 turns
  }

  @Test
  void positions_pairs_areHalvesOrNeighbours() throws IOException {
    Positions.Rotary llama = (Positions.Rotary) attention(0, "llama").positions();
    assertEquals(Positions.Pairs.HALVES, llama.pairs());
    Object[] gptj = {"n_embd", 8, "n_head", 2, "n_layer", 4, "rotary_dim", 2};
    Positions.Rotary neighbours = (Positions.Rotary) attention(0, "gptj", gptj).positions();
    assertEquals(Positions.Pairs.NEIGHBOURS, neighbours.pairs());
    assertEquals(1, neighbours.frequencies().size());
  }

  @Test
  void positions_smolLm3_zeroMeansThatNothingTurns() throws IOException {
    TransformerConfig config = read("smollm3", "no_rope_layers", List.of(1, 0, 1, 1));
    List<Boolean> turning =
        config.layers().stream()
            .map(layer -> layer.attention().positions() instanceof Positions.Rotary)
            .toList();
    assertEquals(List.of(true, false, true, true), turning);
  }

  // ---- multipliers and activations -------------------------------------------------------------

  @Test
  void multipliers_areWhereTheFamilyHasThem() throws IOException {
    assertEquals(Math.sqrt(8), read("gemma").embedding().multiplier());
    assertEquals(0.5, attention(0, "gemma2", "query_pre_attn_scalar", 4).scoreScale());
    TransformerConfig granite =
        read(
            "granite",
            "embedding_multiplier",
            2,
            "attention_multiplier",
            3,
            "residual_multiplier",
            5,
            "logits_scaling",
            4);
    assertEquals(2, granite.embedding().multiplier());
    assertEquals(3, granite.layers().get(0).attention().scoreScale());
    assertEquals(5, granite.layers().get(0).attention().outlet().multiplier());
    assertEquals(5, granite.layers().get(0).mlp().outlet().multiplier());
    assertEquals(0.25, granite.unembedding().multiplier());
    assertEquals(1, attention(0, "granite").scoreScale());
  }

  @Test
  void caps_gemma2_nullIsNoneAndNotSaidIsSome() throws IOException {
    assertEquals(50, attention(0, "gemma2").cap().orElseThrow());
    assertEquals(30, read("gemma2").unembedding().cap().orElseThrow());
    assertTrue(attention(0, "gemma2", "attn_logit_softcapping", null).cap().isEmpty());
    assertTrue(read("gemma3_text").unembedding().cap().isEmpty());
  }

  @Test
  void activation_gelu_isTanhInGemmaAlone() throws IOException {
    assertEquals(
        MlpActivation.TANH_GELU,
        read("gemma", "hidden_act", "gelu").layers().get(0).mlp().activation());
    assertEquals(
        MlpActivation.EXACT_GELU,
        read("llama", "hidden_act", "gelu").layers().get(0).mlp().activation());
  }

  @Test
  void biases_qwen2_areOfQueriesKeysAndValuesAlone() throws IOException {
    AttentionConfig attention = attention(0, "qwen2");
    assertTrue(attention.inputBias() && !attention.outputBias());
    AttentionConfig llama = attention(0, "llama", "attention_bias", true);
    assertTrue(llama.inputBias() && llama.outputBias());
  }

  // ---- where numbers lie -----------------------------------------------------------------------

  /** A model of which each stored number is its place in its tensor. */
  private Transformer counted(String type, @Nullable Object... more) throws IOException {
    Map<String, Object> keys = keys(type, more);
    TransformerConfig config = RandomFamily.read(keys);
    Path folder = temporary.resolve("counted");
    Architecture family =
        Architectures.all().stream()
            .filter(one -> one.modelTypes().contains(type))
            .findFirst()
            .orElseThrow();
    Models.save(
        Transformer.random(config, DType.DOUBLE, 1),
        folder,
        family,
        keys,
        entry -> ElementType.F64);
    SafetensorsWriter writer = new SafetensorsWriter();
    TensorFile drawn = TensorFile.open(folder.resolve("model.safetensors"));
    for (String name : drawn.names()) {
      Shape shape = drawn.shape(name);
      double[] places = IntStream.range(0, shape.length()).asDoubleStream().toArray();
      writer.put(name, ElementType.F64, shape, () -> Tensor.of(DType.DOUBLE, shape, places));
    }
    writer.write(folder.resolve("model.safetensors"));
    return Models.load(folder, DType.DOUBLE, Progress.NONE);
  }

  @Test
  void weights_gptNeoX_lieHeadByHead() throws IOException {
    try (Scope scope = Scope.open()) {
      Transformer model = counted("gpt_neox", "hidden_size", 4, "head_dim", 2, "rotary_pct", 1);
      // Rows of [head, (query, key, value), 2] by 4 columns; ours are [4, head · 2].
      double[] key = model.weight(Weight.KEY, 1).toDoubles();
      for (int row = 0; row < 4; row++) {
        for (int head = 0; head < 2; head++) {
          for (int i = 0; i < 2; i++) {
            assertEquals(((head * 3 + 1) * 2 + i) * 4 + row, key[row * 4 + head * 2 + i]);
          }
        }
      }
      assertArrayEquals(
          new double[] {4, 5, 10, 11}, model.weight(Weight.VALUE_BIAS, 0).toDoubles());
    }
  }

  @Test
  void weights_phi3_lieSideBySide() throws IOException {
    try (Scope scope = Scope.open()) {
      Transformer model =
          counted("phi3", "hidden_size", 4, "head_dim", 2, "num_key_value_heads", 1);
      // Rows: 4 of queries, 2 of keys, 2 of values, by 4 columns.
      assertEquals(4 * 4, model.weight(Weight.KEY, 0).toDoubles()[0]);
      assertEquals(6 * 4, model.weight(Weight.VALUE, 0).toDoubles()[0]);
      assertEquals(0, model.weight(Weight.MLP_INPUT, 0).toDoubles()[0]);
      assertEquals(6 * 4, model.weight(Weight.MLP_UP, 0).toDoubles()[0]);
    }
  }

  @Test
  void weights_gemmaGains_areStoredLessOne() throws IOException {
    try (Scope scope = Scope.open()) {
      Transformer model = counted("gemma3_text", "sliding_window", 3);
      for (Weight gain :
          List.of(
              Weight.ATTENTION_NORM_GAIN,
              Weight.QUERY_NORM_GAIN,
              Weight.KEY_NORM_GAIN,
              Weight.ATTENTION_OUTLET_GAIN,
              Weight.MLP_OUTLET_GAIN,
              Weight.FINAL_NORM_GAIN)) {
        double[] numbers = model.weight(gain, 0).toDoubles();
        assertArrayEquals(
            IntStream.rangeClosed(1, numbers.length).asDoubleStream().toArray(), numbers);
      }
      assertEquals(0, counted("llama").weight(Weight.FINAL_NORM_GAIN, 0).toDoubles()[0]);
    }
  }

  @Test
  void weights_optPositions_beginAtTheThirdRow() throws IOException {
    try (Scope scope = Scope.open()) {
      Tensor positions =
          counted("opt", "num_key_value_heads", null).weight(Weight.POSITION_EMBEDDING, 0);
      assertEquals(Shape.of(16, 8), positions.shape());
      assertEquals(2 * 8, positions.toDoubles()[0]);
    }
  }

  /** One name is of the norm before the MLP, or of that after attention. */
  @Test
  void weights_postAttentionNorm_hasTwoMeanings() throws IOException {
    String name = "layers.0.post_attention_layernorm.weight";
    for (String type : List.of("llama", "gemma2", "olmo2")) {
      TransformerConfig config = read(type);
      Architecture family = Architectures.of(JsonFile.of(Path.of("config.json"), root(type)));
      Layout.Entry entry =
          Layout.of(family, config).entries().stream()
              .filter(one -> one.name().equals(name))
              .findFirst()
              .orElseThrow();
      assertEquals(
          type.equals("llama") ? Weight.MLP_NORM_GAIN : Weight.ATTENTION_OUTLET_GAIN,
          entry.weight());
    }
  }

  private static ObjectNode root(String type) {
    return new ObjectMapper().valueToTree(keys(type));
  }

  // ---- refusals --------------------------------------------------------------------------------

  static Stream<Arguments> refusals() {
    Map<String, Object> yarn = Map.of("rope_type", "yarn", "factor", 4.0);
    return Stream.of(
        arguments("mixtral", "num_local_experts", 8, "model_type is \"mixtral\""),
        arguments("qwen2_moe", "num_experts", 8, "model_type is \"qwen2_moe\""),
        arguments("deepseek_v3", "q_lora_rank", 8, "model_type is \"deepseek_v3\""),
        arguments("mamba", "state_size", 8, "model_type is \"mamba\""),
        arguments("t5", "d_kv", 8, "model_type is \"t5\""),
        arguments("llama", "rope_scaling", yarn, "rope_scaling.rope_type is \"yarn\""),
        arguments("llama", "rope_scaling", Map.of("type", "dynamic"), "rope_scaling.type is"),
        arguments(
            "phi3",
            "rope_scaling",
            Map.of("type", "longrope"),
            "rope_scaling.short_factor is missing"),
        arguments("llama", "rope_parameters", Map.of("rope_type", "linear"), "factor is missing"),
        arguments(
            "qwen2",
            "rope_parameters",
            Map.of("sliding_attention", Map.of("rope_theta", 9)),
            "rope_parameters.sliding_attention is"),
        arguments(
            "gemma3_text",
            "rope_scaling",
            Map.of("type", "linear", "factor", 2),
            "rope_scaling.rope_type is missing"),
        arguments("llama", "partial_rotary_factor", 0.5, "partial_rotary_factor is 0.5"),
        arguments("gpt_neox", "rotary_pct", 0.25, "rotary_pct is 0.25, expected a share"),
        arguments("llama", "hidden_act", "mish", "hidden_act is \"mish\", expected gelu_new or"),
        arguments("llama", "quantization_config", Map.of("bits", 4), "quantization_config is"),
        arguments("llama", "is_causal", false, "is_causal is false, expected true"),
        arguments("llama", "is_causal", null, "is_causal is null, expected true"),
        arguments("gemma", "use_bidirectional_attention", true, "use_bidirectional_attention is"),
        arguments("gemma3_text", "attn_logit_softcapping", 50, "attn_logit_softcapping is 50"),
        arguments("qwen2", "layer_types", List.of("chunked_attention"), "layer_types is"),
        arguments("qwen2", "layer_types", List.of("full_attention"), "expected one for each of 4"),
        arguments("opt", "do_layer_norm_before", false, "do_layer_norm_before is false"),
        arguments("opt", "word_embed_proj_dim", 4, "word_embed_proj_dim is 4"),
        arguments("stablelm", "qk_layernorm", true, "qk_layernorm is true, expected false"),
        arguments("llama", "num_hidden_layers", 1 << 20, "there are 1048576 layers"),
        arguments("llama", "num_key_value_heads", 3, "2 heads cannot share 3 key heads"));
  }

  /** The folder holds no weights: nobody looks for them first. */
  @ParameterizedTest
  @MethodSource("refusals")
  void open_whatCannotBeFollowed_isRefusedBeforeWeights(
      String type, String key, @Nullable Object value, String sentence) throws IOException {
    Files.writeString(
        temporary.resolve("config.json"),
        new ObjectMapper().valueToTree(keys(type, key, value)).toString());
    IOException refusal = assertThrows(IOException.class, () -> Checkpoint.open(temporary));
    String message = String.valueOf(refusal.getMessage());
    assertTrue(message.contains(sentence) && !message.contains("\n"), message);
  }
}
