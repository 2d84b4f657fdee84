package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import dev.tributary.core.Scope;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Models and tokenizers in GGUF files that say what they should not, or were tampered with. */
class GgufModelTest {
  private static final int WIDTH = 4;
  private static final int NEURONS = 3;
  private static final int LAYERS = 2;

  private static final int NORMAL = 1;
  private static final int CONTROL = 3;

  /** What values may be, and what they should not. */
  private static final List<Object> VALUES =
      List.of(
          0,
          1,
          2,
          -1,
          Integer.MAX_VALUE,
          Long.MAX_VALUE,
          Long.MIN_VALUE,
          0.5f,
          Float.NaN,
          Float.POSITIVE_INFINITY,
          Double.MIN_VALUE,
          1e300,
          true,
          false,
          "",
          "llama",
          "gpt2",
          "x".repeat(5000),
          "\u0000\n",
          List.of(),
          List.of("a", "a"),
          List.of(1, 1, 1),
          List.of(List.of(1)));

  @TempDir private Path folder;

  // ---- a small file --------------------------------------------------------------------------

  /** Of a Llama that lacks nothing, and a tokenizer of bytes. */
  private static Map<String, Object> metadata() {
    Map<String, Object> all = new LinkedHashMap<>();
    all.put("general.architecture", "llama");
    all.put("llama.embedding_length", WIDTH);
    all.put("llama.feed_forward_length", NEURONS);
    all.put("llama.block_count", LAYERS);
    all.put("llama.context_length", 8);
    all.put("llama.attention.head_count", 2);
    all.put("llama.attention.head_count_kv", 1);
    all.put("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    all.put("llama.rope.freq_base", 10_000f);
    all.put("llama.rope.dimension_count", 2);
    all.putAll(bytes());
    return all;
  }

  private static Map<String, Object> bytes() {
    List<String> tokens = new ArrayList<>(ByteCharacters.all());
    Collections.sort(tokens);
    tokens.addAll(List.of("ab", "abc", "12", "123", "1234", "<s>", "</s>"));
    List<Integer> types = new ArrayList<>(Collections.nCopies(tokens.size() - 2, NORMAL));
    types.addAll(List.of(CONTROL, CONTROL));
    Map<String, Object> all = new LinkedHashMap<>();
    all.put("tokenizer.ggml.model", "gpt2");
    all.put("tokenizer.ggml.pre", "llama-bpe");
    all.put("tokenizer.ggml.tokens", tokens);
    all.put("tokenizer.ggml.token_type", types);
    all.put("tokenizer.ggml.merges", List.of("a b", "ab c", "1 2", "12 3", "123 4"));
    all.put("tokenizer.ggml.bos_token_id", tokens.indexOf("<s>"));
    all.put("tokenizer.ggml.eos_token_id", tokens.indexOf("</s>"));
    all.put("tokenizer.ggml.add_bos_token", true);
    all.put("tokenizer.ggml.add_eos_token", false);
    return all;
  }

  private static Map<String, Object> pieces() {
    List<String> tokens = new ArrayList<>(List.of("<unk>", "<s>", "</s>"));
    List<Integer> types = new ArrayList<>(List.of(2, CONTROL, CONTROL));
    for (int value = 0; value < 256; value++) {
      tokens.add("<0x%02X>".formatted(value));
      types.add(6);
    }
    tokens.addAll(List.of("\u2581", "a", "b", "ab", "\u2581ab", "!!"));
    types.addAll(List.of(NORMAL, NORMAL, NORMAL, NORMAL, NORMAL, 4));
    Map<String, Object> all = new LinkedHashMap<>();
    all.put("tokenizer.ggml.model", "llama");
    all.put("tokenizer.ggml.tokens", tokens);
    all.put(
        "tokenizer.ggml.scores",
        IntStream.range(0, tokens.size()).mapToObj(id -> (float) -id).toList());
    all.put("tokenizer.ggml.token_type", types);
    all.put("tokenizer.ggml.add_space_prefix", true);
    return all;
  }

  private static byte[] file(Map<String, Object> metadata, boolean tied) {
    GgufBuilder file = new GgufBuilder();
    metadata.forEach(file::put);
    Random random = new Random(1);
    put(file, random, "token_embd.weight", 263, WIDTH);
    put(file, random, "output_norm.weight", WIDTH);
    if (!tied) {
      put(file, random, "output.weight", 263, WIDTH);
    }
    for (int layer = 0; layer < LAYERS; layer++) {
      String block = "blk." + layer + ".";
      put(file, random, block + "attn_norm.weight", WIDTH);
      put(file, random, block + "ffn_norm.weight", WIDTH);
      put(file, random, block + "attn_q.weight", WIDTH, WIDTH);
      put(file, random, block + "attn_k.weight", 2, WIDTH);
      put(file, random, block + "attn_v.weight", 2, WIDTH);
      put(file, random, block + "attn_output.weight", WIDTH, WIDTH);
      put(file, random, block + "ffn_gate.weight", NEURONS, WIDTH);
      put(file, random, block + "ffn_up.weight", NEURONS, WIDTH);
      put(file, random, block + "ffn_down.weight", WIDTH, NEURONS);
    }
    return file.build();
  }

  private static void put(GgufBuilder file, Random random, String name, long... sizes) {
    int length = 1;
    for (long size : sizes) {
      length *= (int) size;
    }
    ByteBuffer raw = ByteBuffer.allocate(4 * length).order(ByteOrder.LITTLE_ENDIAN);
    while (raw.hasRemaining()) {
      raw.putFloat((float) random.nextGaussian());
    }
    file.put(name, 0, sizes, raw.array());
  }

  private Path write(Map<String, Object> metadata) throws IOException {
    return Files.write(folder.resolve("model.gguf"), file(metadata, true));
  }

  // ---- what files say ------------------------------------------------------------------------

  static Stream<Arguments> refusals() {
    return Stream.of(
        arguments("general.architecture", "mamba", "general.architecture is \"mamba\", expected"),
        arguments("general.architecture", null, "general.architecture is missing, expected"),
        arguments("llama.embedding_length", null, "llama.embedding_length is missing, expected"),
        arguments("llama.embedding_length", "4", "llama.embedding_length is \"4\", expected"),
        arguments("llama.block_count", -1, "llama.block_count is"),
        arguments("llama.block_count", 1 << 20, "there are 1048576 layers"),
        arguments("llama.attention.head_count", 3, "head_count is 3, expected a divisor"),
        arguments("llama.attention.head_count", List.of(2, 2), "head_count is"),
        arguments("llama.attention.key_length", 4, "dimension_count is 2, expected 4: all of"),
        arguments("llama.attention.value_length", 4, "value_length is 4, expected 2"),
        arguments("llama.attention.layer_norm_rms_epsilon", null, "epsilon is missing"),
        arguments("llama.attention.layer_norm_rms_epsilon", Float.NaN, "epsilon is"),
        arguments("llama.attention.causal", false, "causal is false, expected true"),
        arguments("llama.attention.sliding_window", 2, "sliding_window is 2, expected none"),
        arguments("llama.vocab_size", 9, "vocab_size is 9, expected 263"),
        arguments("llama.expert_count", 8, "expert_count is 8, expected 0"),
        arguments("llama.rope.dimension_count", 1, "dimension_count is 1, expected 2: all of a"),
        arguments("llama.rope.scaling.type", "yarn", "scaling.type is \"yarn\", expected none or"),
        arguments("llama.rope.scaling.attn_factor", 2f, "attn_factor is 2.0, expected 1"),
        arguments("llama.logit_scale", 0.5f, "logit_scale is 0.5, expected none: it is not"));
  }

  @ParameterizedTest
  @MethodSource("refusals")
  void open_whatCannotBeFollowed_isRefused(String key, @Nullable Object value, String sentence)
      throws IOException {
    requireRefused(with(metadata(), key, value), sentence, Models::load);
  }

  static Stream<Arguments> tokenizerRefusals() {
    return Stream.of(
        arguments("tokenizer.ggml.model", null, "there is no tokenizer in this file"),
        arguments("tokenizer.ggml.model", "t5", "ggml.model is \"t5\", expected gpt2 or llama"),
        arguments("tokenizer.ggml.pre", "grok-2", "ggml.pre is \"grok-2\", expected a name by"),
        arguments("tokenizer.ggml.tokens", List.of(), "ggml.tokens is"),
        arguments("tokenizer.ggml.tokens", List.of("a", "b"), "a list of 2 numbers"),
        arguments("tokenizer.ggml.token_type", List.of(1), "a list of 263 numbers"),
        arguments("tokenizer.ggml.token_type", Collections.nCopies(263, 7), "from 1 to 6"),
        arguments("tokenizer.ggml.merges", List.of("a z z"), "does not make a token"),
        arguments("tokenizer.ggml.bos_token_id", 263, "bos_token_id is 263, expected"),
        arguments("tokenizer.ggml.bos_token_id", null, "bos_token_id is missing, expected"));
  }

  @ParameterizedTest
  @MethodSource("tokenizerRefusals")
  void load_tokenizerThatIsNone_isRefused(String key, @Nullable Object value, String sentence)
      throws IOException {
    requireRefused(with(metadata(), key, value), sentence, Tokenizers::load);
  }

  private static Map<String, Object> with(
      Map<String, Object> metadata, String key, @Nullable Object value) {
    metadata.remove(key);
    if (value != null) {
      metadata.put(key, value);
    }
    return metadata;
  }

  private interface Loading {
    Object load(Path file) throws IOException;
  }

  private void requireRefused(Map<String, Object> metadata, String sentence, Loading loading)
      throws IOException {
    Path file = write(metadata);
    try (Scope scope = Scope.open()) {
      IOException refusal = assertThrows(IOException.class, () -> loading.load(file));
      Tampering.requireSentence(file, refusal);
      assertTrue(String.valueOf(refusal.getMessage()).contains(sentence), refusal::getMessage);
    }
  }

  @Test
  void load_bytesByName_areSplitAndBegunAsThese() throws IOException {
    Map<String, Object> metadata = metadata();
    metadata.remove("tokenizer.ggml.add_bos_token");
    assertArrayEquals(new String[] {"<s>", "abc", "123", "4"}, tokens(metadata, "abc1234"));
    metadata.put("tokenizer.ggml.pre", "qwen2");
    assertArrayEquals(new String[] {"abc", "1", "2", "3", "4"}, tokens(metadata, "abc1234"));
    metadata.put("tokenizer.ggml.pre", "smollm");
    assertArrayEquals(new String[] {"abc", "1", "2", "3", "4"}, tokens(metadata, "abc1234"));
    metadata.put("tokenizer.ggml.pre", "gpt-2");
    assertArrayEquals(new String[] {"abc", "1234"}, tokens(metadata, "abc1234"));
    metadata.put("tokenizer.ggml.pre", "default");
    assertArrayEquals(new String[] {"abc", "123", "4"}, tokens(metadata, "abc1234"));
    metadata.put("tokenizer.ggml.add_bos_token", true);
    metadata.put("tokenizer.ggml.add_eos_token", true);
    assertArrayEquals(new String[] {"<s>", "abc", "</s>"}, tokens(metadata, "abc"));
  }

  private String[] tokens(Map<String, Object> metadata, String text) throws IOException {
    Tokenizer tokenizer = Tokenizers.load(write(metadata));
    return IntStream.of(tokenizer.encode(text)).mapToObj(tokenizer::content).toArray(String[]::new);
  }

  @Test
  void load_piecesByDefault_beginWithTokenAndSpace() throws IOException {
    assertArrayEquals(
        new String[] {"<s>", "\u2581ab", "!!", "\u2581ab"}, tokens(pieces(), "ab!!ab"));
  }

  // ---- tampering -----------------------------------------------------------------------------

  @Test
  void model_loadsOrIsRefused() throws IOException {
    Path file = folder.resolve("model.gguf");
    Map<String, Object> untied = metadata();
    Tampering.check(
        file,
        random -> {
          boolean values = random.nextInt(4) > 0;
          byte[] valid = file(values ? tampered(untied, random) : untied, random.nextBoolean());
          Files.write(file, values ? valid : Tampering.bytes(valid, random));
          Transformer model = Models.load(file);
          assertEquals(1, model.run(0).value(Site.LOGITS).shape().size(0));
        });
  }

  @Test
  void tokenizer_loadsOrIsRefused() throws IOException {
    Path file = folder.resolve("model.gguf");
    List<Map<String, Object>> valid = List.of(bytes(), pieces());
    Tampering.check(
        file,
        random -> {
          GgufBuilder builder = new GgufBuilder();
          boolean values = random.nextInt(4) > 0;
          Map<String, Object> one = valid.get(random.nextInt(valid.size()));
          (values ? tampered(one, random) : one).forEach(builder::put);
          byte[] content = builder.build();
          Files.write(file, values ? content : Tampering.bytes(content, random));
          TamperedFilesTest.use(Tokenizers.load(file));
        });
  }

  /** The same metadata, some of which are missing, called or made otherwise. */
  private static Map<String, Object> tampered(Map<String, Object> valid, Random random) {
    Map<String, Object> result = new LinkedHashMap<>(valid);
    for (int i = random.nextInt(3); i >= 0; i--) {
      String key = new ArrayList<>(result.keySet()).get(random.nextInt(result.size()));
      Object value = result.get(key);
      switch (random.nextInt(5)) {
        case 0 -> result.remove(key);
        case 1 -> result.put(key + "s", result.remove(key));
        case 2 -> {
          if (value instanceof List<?> list && !list.isEmpty()) {
            List<Object> other = new ArrayList<>(list);
            Object element = list.get(random.nextInt(list.size()));
            other.set(random.nextInt(list.size()), element);
            result.put(key, other);
          }
        }
        default -> result.put(key, VALUES.get(random.nextInt(VALUES.size())));
      }
      if (result.isEmpty()) {
        result.put("a", 1);
      }
    }
    return result;
  }
}
