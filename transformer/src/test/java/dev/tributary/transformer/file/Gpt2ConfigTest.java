package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.family.Architectures;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class Gpt2ConfigTest {
  @TempDir private Path folder;

  private Path path() {
    return folder.resolve("config.json");
  }

  static TransformerConfig read(Path file) throws IOException {
    return read(Checkpoint.json(file));
  }

  private static TransformerConfig read(JsonFile json) throws IOException {
    return Architectures.of(json).config(json, RandomFamily.NONE);
  }

  /** The keys that must be there. */
  private static Map<String, String> smallest() {
    return new TreeMap<>(
        Map.of(
            "n_layer", "3",
            "n_embd", "32",
            "n_head", "4",
            "n_positions", "16",
            "vocab_size", "97"));
  }

  private TransformerConfig read(Map<String, String> keys) throws IOException {
    String json =
        keys.entrySet().stream()
            .filter(entry -> !entry.getValue().isEmpty())
            .map(entry -> "\"" + entry.getKey() + "\": " + entry.getValue())
            .collect(Collectors.joining(",\n", "{", "}"));
    return read(Files.writeString(path(), json));
  }

  private TransformerConfig read(String key, String value) throws IOException {
    Map<String, String> keys = smallest();
    keys.put(key, value);
    return read(keys);
  }

  @Test
  void read_onlyWhatIsNeeded_fillsInTheRest() throws IOException {
    assertEquals(TransformerConfig.gpt2(3, 32, 4, 8, 128, 16, 97, 1e-5, true), read(smallest()));
  }

  @Test
  void read_everything_isTaken() throws IOException {
    Map<String, String> keys = smallest();
    keys.put("model_type", "\"gpt2\"");
    keys.put("head_dim", "5");
    keys.put("n_inner", "96");
    keys.put("n_ctx", "16");
    keys.put("layer_norm_epsilon", "1e-6");
    keys.put("tie_word_embeddings", "false");
    keys.put("activation_function", "\"gelu_pytorch_tanh\"");
    keys.put("scale_attn_weights", "true");
    keys.put("scale_attn_by_inverse_layer_idx", "false");
    keys.put("reorder_and_upcast_attn", "true");
    keys.put("add_cross_attention", "false");
    keys.put("task_specific_params", "{\"text-generation\": {\"do_sample\": true}}");
    assertEquals(TransformerConfig.gpt2(3, 32, 4, 5, 96, 16, 97, 1e-6, false), read(keys));
  }

  @ParameterizedTest
  @ValueSource(strings = {"head_dim", "n_inner", "n_ctx", "model_type", "quantization_config"})
  void read_null_isAsIfAbsent(String key) throws IOException {
    assertEquals(read(smallest()), read(key, "null"));
  }

  @Test
  void read_oldNameOfTheContext_isTaken() throws IOException {
    Map<String, String> keys = smallest();
    keys.remove("n_positions");
    keys.put("n_ctx", "11");
    assertEquals(11, read(keys).context());
  }

  @Test
  void of_nestedObject_isReadAndNamed() throws IOException {
    Files.writeString(
        path(),
        "{\"model\": {\"n_layer\": 2, \"n_embd\": 16, \"n_head\": 2, \"n_positions\": 16,"
            + " \"vocab_size\": \"50\"}}");
    IOException e =
        assertThrows(IOException.class, () -> read(JsonFile.read(path(), 1000).object("model")));
    requireSentence("model.vocab_size is \"50\"", e);
  }

  /** GPT2Config of transformers 5.24, asked for the values of each. */
  @Test
  void read_otherNames_areThoseOfGpt2Config() throws IOException {
    Map<String, String> keys =
        new TreeMap<>(
            Map.of(
                "num_hidden_layers", "3",
                "hidden_size", "32",
                "num_attention_heads", "4",
                "max_position_embeddings", "16",
                "vocab_size", "97"));
    TransformerConfig expected = read(smallest());
    assertEquals(expected, read(keys));
    keys.put("n_ctx", "7");
    assertEquals(expected, read(keys));
    keys.putAll(smallest());
    assertEquals(expected, read(keys));
    keys.put("hidden_size", "null");
    assertEquals(expected, read(keys));
  }

  /** The same: what is missing is as in the smallest GPT-2. */
  @Test
  void read_missingSizes_areThoseOfGpt2() throws IOException {
    TransformerConfig gpt2 =
        TransformerConfig.gpt2(12, 768, 12, 64, 3072, 1024, 50_257, 1e-5, true);
    assertEquals(gpt2, read(Map.of("model_type", "\"gpt2\"")));
    assertEquals(gpt2, read(Map.of("architectures", "[\"GPT2LMHeadModel\"]")));
    assertEquals(gpt2, read(Map.of("n_layer", "12")));
  }

  @ParameterizedTest
  @ValueSource(strings = {"24", "8", "0", "-1", "NaN", "\"16\"", "null", "[16]"})
  void read_sizeOfTheCausalMask_saysNothing(String value) throws IOException {
    assertEquals(read(smallest()), read("n_ctx", value));
  }

  @ParameterizedTest
  @ValueSource(strings = {"NaN", "Infinity", "-Infinity", "[0.0, Infinity, {\"x\": NaN}]"})
  void read_notANumberThatNobodyReads_isIgnored(String value) throws IOException {
    assertEquals(read(smallest()), read("task_specific_params", value));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{'model_type': 't5', 'd_model': 512, 'num_layers': 6} | model_type is \"t5\", expected gpt2",
        "{'model_type': 'mixtral', 'hidden_size': 8} | model_type is \"mixtral\", expected gpt2",
        "{'model_type': '', 'n_embd': 8} | model_type is \"\", expected gpt2",
        "{'architectures': ['T5Model'], 'd_model': 8} | architectures is [\"T5Model\"], expected a class of gpt2",
        "{'architectures': [], 'n_embd': 8} | architectures is [], expected a class of gpt2",
        "{'architectures': 3, 'n_embd': 8} | architectures is 3, expected a class of gpt2",
        "{'d_model': 512, 'num_layers': 6} | model_type is missing, expected gpt2",
        "{} | model_type is missing, expected gpt2",
      })
  void read_anotherModel_isRefusedByItsType(String json, String message) throws IOException {
    Files.writeString(path(), json.replace('\'', '"'));
    requireSentence(message, assertThrows(Exception.class, () -> read(path())));
  }

  static Stream<Arguments> wrong() {
    return Stream.of(
        arguments("vocab_size", "null", "vocab_size is null"),
        arguments("n_head", "null", "n_head is null, expected a whole number"),
        arguments("n_head", "NaN", "n_head is NaN, expected a whole number"),
        arguments("hidden_size", "16", "hidden_size is 16, expected the same as n_embd, 32"),
        arguments("num_attention_heads", "8", "is 8, expected the same as n_head, 4"),
        arguments("num_hidden_layers", "2", "is 2, expected the same as n_layer, 3"),
        arguments("max_position_embeddings", "17", "is 17, expected the same as n_positions, 16"),
        arguments("max_position_embeddings", "Infinity", "max_position_embeddings is Infinity"),
        arguments("n_layer", "0", "n_layer is 0"),
        arguments("n_layer", "-3", "n_layer is -3"),
        arguments("n_layer", "3.0", "n_layer is 3.0"),
        arguments("n_layer", "\"3\"", "n_layer is \"3\""),
        arguments("n_layer", "[3]", "n_layer is [3]"),
        arguments("n_layer", "true", "n_layer is true"),
        arguments("n_layer", "2147483648", "n_layer is 2147483648"),
        arguments("n_layer", "1" + "0".repeat(500), "n_layer is 1000"),
        arguments("n_head", "5", "n_embd is 32, which n_head, 5, does not divide"),
        arguments("head_dim", "0", "head_dim is 0"),
        arguments("head_dim", "2147483647", "head_dim"),
        arguments("n_inner", "-1", "n_inner is -1"),
        arguments("n_inner", "2147483647", "n_inner"),
        arguments("n_embd", "2147483644", "n_embd"),
        arguments("n_positions", "2147483647", "n_positions"),
        arguments("vocab_size", "2147483647", "vocab_size"),
        arguments("layer_norm_epsilon", "0", "layer_norm_epsilon is 0"),
        arguments("layer_norm_epsilon", "-1e-5", "layer_norm_epsilon"),
        arguments("layer_norm_epsilon", "1e999", "layer_norm_epsilon"),
        arguments("layer_norm_epsilon", "\"1e-5\"", "layer_norm_epsilon is \"1e-5\""),
        arguments("layer_norm_epsilon", "NaN", "layer_norm_epsilon is NaN, expected a positive"),
        arguments("layer_norm_epsilon", "Infinity", "layer_norm_epsilon is Infinity, expected"),
        arguments("tie_word_embeddings", "NaN", "tie_word_embeddings is NaN, expected true or"),
        arguments("activation_function", "-Infinity", "activation_function is -Infinity"),
        arguments("model_type", "NaN", "model_type is NaN, expected a text"),
        arguments("tie_word_embeddings", "1", "tie_word_embeddings is 1, expected true or false"),
        arguments(
            "activation_function",
            "\"mish\"",
            "activation_function is \"mish\", expected gelu_new or gelu_pytorch_tanh or gelu"),
        arguments("activation_function", "3", "activation_function is 3"),
        arguments("model_type", "\"mamba\"", "model_type is \"mamba\", expected gpt2"),
        arguments("scale_attn_weights", "false", "scale_attn_weights is false"),
        arguments(
            "scale_attn_by_inverse_layer_idx", "true", "scale_attn_by_inverse_layer_idx is true"),
        arguments("add_cross_attention", "true", "add_cross_attention is true"),
        arguments("pruned_heads", "{\"0\": [1]}", "pruned_heads is {\"0\":[1]}, expected none"),
        arguments("quantization_config", "{\"bits\": 4}", "quantization_config is {"));
  }

  @ParameterizedTest
  @CsvSource({
    "gelu_new, TANH_GELU",
    "gelu_pytorch_tanh, TANH_GELU",
    "gelu_python_tanh, TANH_GELU",
    "gelu_accurate, TANH_GELU",
    "gelu_fast, TANH_GELU",
    "gelu, EXACT_GELU",
    "gelu_python, EXACT_GELU"
  })
  void read_activation_isTheOneNamed(String word, MlpActivation expected) throws IOException {
    assertEquals(
        expected, read("activation_function", '"' + word + '"').layers().get(0).mlp().activation());
  }

  @ParameterizedTest(name = "{0} {1}")
  @MethodSource("wrong")
  void read_wrong_namesTheKey(String key, String value, String message) {
    requireSentence(message, assertThrows(Exception.class, () -> read(key, value)));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "  ",
        "[]",
        "null",
        "3",
        "{",
        "{} {}",
        "{\"n_layer\": 1, \"n_layer\": 1}",
        "{'a': 1}",
        "\u0000"
      })
  void read_noJsonObject_saysSo(String content) throws IOException {
    Files.writeString(path(), content);
    requireSentence("this file", assertThrows(Exception.class, () -> read(path())));
  }

  @Test
  void read_deep_isRefused() throws IOException {
    Files.writeString(path(), "{\"a\":".repeat(100_000));
    requireSentence("nests too deeply", assertThrows(Exception.class, () -> read(path())));
  }

  @Test
  void read_large_isRefused() throws IOException {
    Files.writeString(path(), " ".repeat(2 << 20));
    requireSentence("more than 1048576 bytes", assertThrows(Exception.class, () -> read(path())));
  }

  @Test
  void read_notUtf8_isRefused() throws IOException {
    Files.write(path(), new byte[] {'{', '"', (byte) 0xc3, '"', '}'});
    requireSentence("not UTF-8", assertThrows(Exception.class, () -> read(path())));
  }

  @Test
  void read_missing_saysSo() {
    requireSentence("there is no such file", assertThrows(Exception.class, () -> read(path())));
  }

  private void requireSentence(String message, Exception refusal) {
    assertEquals(IOException.class, refusal.getClass(), refusal::toString);
    String sentence = String.valueOf(refusal.getMessage());
    assertTrue(sentence.startsWith(path() + ": "), sentence);
    assertTrue(sentence.contains(message), sentence);
    assertEquals(1, sentence.lines().count(), sentence);
  }
}
