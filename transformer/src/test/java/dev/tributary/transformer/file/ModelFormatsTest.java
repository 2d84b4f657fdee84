package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.core.BlockFormat;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Transformer;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * One model in every format gives what PyTorch computes; {@code recipe.py} beside the checkpoints
 * made both.
 */
class ModelFormatsTest {
  private static final double DOUBLE_TOLERANCE = 1e-12;

  @TempDir private Path folder;

  static Path genuine(String name) {
    try {
      return Path.of(
          Objects.requireNonNull(ModelFormatsTest.class.getResource("checkpoints/" + name), name)
              .toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  private static int[] tokens(JsonNode expected) {
    return StreamSupport.stream(expected.get("tokens").spliterator(), false)
        .mapToInt(JsonNode::intValue)
        .toArray();
  }

  private static JsonNode expected() throws IOException {
    return new ObjectMapper().readTree(genuine("expected.json").toFile());
  }

  private static void requireLogits(String model, Transformer transformer, double tolerance)
      throws IOException {
    JsonNode expected = expected();
    double[] logits =
        StreamSupport.stream(expected.get(model).spliterator(), false)
            .flatMap(row -> StreamSupport.stream(row.spliterator(), false))
            .mapToDouble(JsonNode::doubleValue)
            .toArray();
    assertArrayEquals(logits, transformer.logits(tokens(expected)).toDoubles(), tolerance);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "tied | tied-bin | Hugging Face GPT-2, pytorch_model.bin, 31 tensors F32, U8",
        "tied | legacy-bin | Hugging Face GPT-2, pytorch_model.bin, 31 tensors F32, U8",
        "tied | tied-safetensors | Hugging Face GPT-2, model.safetensors, 28 tensors F32",
        "untied | sharded-bin | Hugging Face GPT-2, pytorch_model.bin.index.json, 17 tensors F32",
        "untied | sharded-safetensors"
            + " | Hugging Face GPT-2, model.safetensors.index.json, 17 tensors F32",
        "debugger | debugger | transformer-debugger checkpoint, model_pieces, 21 tensors F32",
        "tied | tied-bin/pytorch_model.bin"
            + " | Hugging Face GPT-2, pytorch_model.bin, 31 tensors F32, U8",
        "untied | sharded-bin/pytorch_model.bin.index.json"
            + " | Hugging Face GPT-2, pytorch_model.bin.index.json, 17 tensors F32",
        "untied | sharded-safetensors/config.json"
            + " | Hugging Face GPT-2, model.safetensors.index.json, 17 tensors F32",
      })
  void load_anyFormat_givesPyTorchsLogits(String model, String path, String description)
      throws IOException {
    try (Scope scope = Scope.open()) {
      Transformer transformer = Models.load(genuine(path), DType.DOUBLE, Progress.NONE);
      assertEquals(description, transformer.description());
      requireLogits(model, transformer, DOUBLE_TOLERANCE);
      assertEquals(model.equals("tied"), transformer.config().unembedding().tied());
    }
  }

  /** The tolerances are what 11 and 8 bits leave of logits up to 10. */
  @ParameterizedTest
  @CsvSource({"F64, 1e-12", "F32, 1e-12", "F16, 2e-2", "BF16, 0.3"})
  void save_anyFormat_loadsAgain(ElementType type, double tolerance) throws IOException {
    try (Scope scope = Scope.open()) {
      for (String model : List.of("tied-bin", "sharded-bin", "debugger")) {
        Transformer original = Models.load(genuine(model), DType.DOUBLE, Progress.NONE);
        Path saved = folder.resolve(model);
        Models.save(original, saved, type);
        Transformer again = Models.load(saved, DType.DOUBLE, Progress.NONE);
        assertEquals(original.config(), again.config());
        assertEquals(
            type,
            TensorFile.open(saved.resolve("model.safetensors"))
                .elementType("transformer.h.0.attn.c_attn.weight"));
        requireLogits(model.replaceAll("-.*", "").replace("sharded", "untied"), again, tolerance);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"F16, F16", "BF16, BF16", "F16 BF16, F32", "F16 F32, F32", "F16 F32 F64, F64"})
  void holding_severalTypes_isTheNarrowestForAll(String types, ElementType expected) {
    assertEquals(
        expected,
        ElementType.holding(
            Stream.of(types.split(" ")).map(ElementType::valueOf).collect(Collectors.toSet())));
  }

  @Test
  void save_file_isThatOfTheOtherWriter() throws IOException {
    try (Scope scope = Scope.open()) {
      Models.save(Models.load(genuine("tied-bin")), folder, ElementType.F32);
    }
    TensorFile ours = TensorFile.open(folder.resolve("model.safetensors"));
    TensorFile theirs = TensorFile.open(genuine("tied-safetensors/model.safetensors"));
    assertEquals(theirs.names(), Set.copyOf(ours.names()));
    for (String name : theirs.names()) {
      assertTrue(ours.stored(name).sameNumbers(theirs.stored(name)), name);
    }
    assertEquals(
        List.of("config.json", "model.safetensors"),
        Stream.of(Objects.requireNonNull(folder.toFile().list())).sorted().toList());
  }

  @Test
  void save_numberTooLargeForItsType_isRefused() {
    try (Scope scope = Scope.open()) {
      Tensor large = Tensor.of(DType.DOUBLE, Shape.of(2), 1, Double.MAX_VALUE);
      for (ElementType type : List.of(ElementType.F16, ElementType.BF16, ElementType.F32)) {
        SafetensorsWriter writer = new SafetensorsWriter().put("x", type, large);
        assertEquals(
            "tensor x holds 1.7976931348623157E308, which is too large for " + type,
            assertThrows(
                    IllegalArgumentException.class,
                    () -> writer.write(folder.resolve("x.safetensors")))
                .getMessage());
      }
    }
    assertEquals(0, Objects.requireNonNull(folder.toFile().list()).length);
  }

  /** Against what the standard says: the nearest, of two the one with an even last bit. */
  @ParameterizedTest
  @EnumSource(names = {"F16", "BF16"})
  void encode_roundsToTheNearest(ElementType type) {
    ByteBuffer raw = ByteBuffer.allocate(2).order(ByteOrder.LITTLE_ENDIAN);
    Random random = new Random(7);
    for (int i = 0; i < 100_000; i++) {
      short bits = (short) random.nextInt(0x10000);
      short next = (short) (bits + 1);
      double low = decoded(type, bits);
      double high = decoded(type, next);
      if (Double.isFinite(low) && Double.isFinite(high) && low * high > 0) {
        short even = (bits & 1) == 0 ? bits : next;
        requireBits(type, even, (low + high) / 2, raw);
        requireBits(type, bits, low + (high - low) * 0.499, raw);
        requireBits(type, next, low + (high - low) * 0.501, raw);
        requireBits(type, bits, low, raw);
      }
    }
    requireBits(type, (short) 0, 0, raw);
    requireBits(type, (short) 0x8000, -0.0, raw);
  }

  private static double decoded(ElementType type, short bits) {
    float[] values = new float[1];
    byte[] raw = {(byte) bits, (byte) (bits >> 8)};
    BlockFormat.valueOf(type.name()).decode(raw, 0, values, 0, 1);
    return values[0];
  }

  private static void requireBits(ElementType type, short expected, double number, ByteBuffer raw) {
    assertTrue(type.encode(number, raw.clear()), () -> String.valueOf(number));
    assertEquals(expected, raw.getShort(0), () -> String.valueOf(number));
  }

  // ---- refusals ----------------------------------------------------------------------------

  private void copy(String model) throws IOException {
    Path from = genuine(model);
    try (Stream<Path> files = Files.walk(from)) {
      for (Path file : files.toList()) {
        Path to = folder.resolve(from.relativize(file).toString());
        if (Files.isDirectory(file)) {
          Files.createDirectories(to);
        } else {
          Files.copy(file, to);
        }
      }
    }
  }

  private String refusal() {
    IOException refusal =
        assertThrows(
            IOException.class,
            () -> {
              try (Scope scope = Scope.open()) {
                Models.load(folder);
              }
            });
    Tampering.requireSentence(folder, refusal);
    return String.valueOf(refusal.getMessage()).substring(folder.toString().length());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "../tied-bin/pytorch_model.bin",
        "/etc/passwd",
        "a/b.bin",
        "..",
        ".",
        "",
        "a\\\\b.bin",
        "x\\u0000y"
      })
  void load_shardOutsideTheFolder_isRefused(String name) throws IOException {
    copy("sharded-bin");
    Path index = folder.resolve("pytorch_model.bin.index.json");
    Files.writeString(index, Files.readString(index).replace("pytorch_model-2-of-2.bin", name));
    String sentence = refusal();
    assertTrue(sentence.startsWith("/pytorch_model.bin.index.json: "), sentence);
    assertTrue(
        sentence.contains("the name of a file") || sentence.contains("no name of a file"),
        sentence);
  }

  @Test
  void load_indexThatNamesItself_isRefused() throws IOException {
    copy("sharded-bin");
    Path index = folder.resolve("pytorch_model.bin.index.json");
    Files.writeString(
        index,
        Files.readString(index)
            .replace("pytorch_model-2-of-2.bin", "pytorch_model.bin.index.json"));
    assertTrue(refusal().startsWith("/pytorch_model.bin.index.json: the header"));
  }

  @Test
  void load_shardsThatContradictTheIndex_areRefused() throws IOException {
    copy("sharded-safetensors");
    Path index = folder.resolve("model.safetensors.index.json");
    String json = Files.readString(index);
    Files.writeString(index, json.replace("wpe.weight", "wpe"));
    assertEquals(
        "/model-2-of-2.safetensors: there is no tensor \"wpe\", which " + index + " says is here",
        refusal());
    Files.writeString(index, json.replaceFirst(",\\s*\"wpe.weight\": \"[^\"]*\"", ""));
    assertEquals(
        "/model-2-of-2.safetensors: tensor \"wpe.weight\" is not in weight_map of " + index,
        refusal());
    Files.writeString(index, json.replaceFirst("\"lm_head.weight\"", "\"h.0.attn.bias\""));
    assertTrue(refusal().contains("there is no tensor \"h.0.attn.bias\", which"));
    Files.writeString(index, "{\"weight_map\": []}");
    assertEquals("/model.safetensors.index.json: weight_map is [], expected an object", refusal());
    Files.writeString(index, json);
    Files.delete(folder.resolve("model-1-of-2.safetensors"));
    assertEquals(
        "/model-1-of-2.safetensors: there is no such file, which " + index + " names", refusal());
  }

  /** Savers list the tied unembedding, which they then leave out. */
  @ParameterizedTest
  @ValueSource(strings = {"lm_head.weight", "transformer.lm_head.weight"})
  void load_indexThatListsATiedUnembedding_isRead(String name) throws IOException {
    copy("tied-safetensors");
    Path weights = folder.resolve("model.safetensors");
    Files.move(weights, folder.resolve("model-1-of-1.safetensors"));
    ObjectNode map = new ObjectMapper().createObjectNode();
    for (String stored : TensorFile.open(folder.resolve("model-1-of-1.safetensors")).names()) {
      map.put(stored, "model-1-of-1.safetensors");
    }
    Path index = folder.resolve("model.safetensors.index.json");
    map.put(name, "model-1-of-1.safetensors");
    Files.writeString(index, "{\"weight_map\": " + map + "}");
    try (Scope scope = Scope.open()) {
      Transformer transformer = Models.load(folder, DType.DOUBLE, Progress.NONE);
      requireLogits("tied", transformer, DOUBLE_TOLERANCE);
    }
    Path config = folder.resolve("config.json");
    Files.writeString(
        config,
        Files.readString(config)
            .replace("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false"));
    assertEquals(
        "/model.safetensors.index.json: there is no tensor \"lm_head.weight\", and"
            + " tie_word_embeddings is false",
        refusal());
    map.put(name, "model-2-of-2.safetensors");
    Files.writeString(index, "{\"weight_map\": " + map + "}");
    assertEquals(
        "/model-2-of-2.safetensors: there is no such file, which " + index + " names", refusal());
  }

  /** A model that transformer-debugger never had, and its folder neither. */
  @Test
  void load_anotherModelType_isRefusedBeforeItsWeights() throws IOException {
    Files.writeString(
        folder.resolve("config.json"),
        "{\"model_type\": \"t5\", \"d_model\": 512, \"num_layers\": 6, \"vocab_size\": 32128}");
    String refusal = refusal();
    assertTrue(
        refusal.startsWith("/config.json: model_type is \"t5\", expected gpt2 or gemma"), refusal);
  }

  @Test
  void save_mixedTypes_areKept() throws IOException {
    List<ElementType> types =
        List.of(ElementType.F32, ElementType.F16, ElementType.BF16, ElementType.F64);
    try (Scope scope = Scope.open()) {
      Models.save(Models.load(genuine("tied-bin")), folder.resolve("one"), ElementType.F32);
      TensorFile one = TensorFile.open(folder.resolve("one/model.safetensors"));
      SafetensorsWriter writer = new SafetensorsWriter();
      int count = 0;
      for (String name : one.names()) {
        writer.put(name, types.get(count++ % types.size()), one.tensor(name, DType.DOUBLE));
      }
      writer.write(folder.resolve("one/model.safetensors"));
      Checkpoint mixed = Checkpoint.open(folder.resolve("one"));
      Models.save(
          Models.load(mixed, DType.DOUBLE, Progress.NONE),
          folder.resolve("two"),
          mixed,
          Optional.empty());
      TensorFile two = Checkpoint.open(folder.resolve("two")).weights();
      assertEquals(mixed.weights().names(), two.names());
      for (String name : two.names()) {
        assertEquals(mixed.weights().elementType(name), two.elementType(name), name);
        assertTrue(two.stored(name).sameNumbers(mixed.weights().stored(name)), name);
      }
      assertTrue(
          Files.readString(folder.resolve("two/config.json"))
              .contains("\"torch_dtype\" : \"float64\""));
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "d_model | 1e9 | d_model is 1.0E9, expected a whole number",
        "d_model | 16 | is [11, 8], and",
        "m_attn | 0.7 | m_attn d_model is 5, which n_heads, 2, does not divide",
        "m_attn | 1e300 | m_attn is 1.0E300, expected a number that makes d_model, 8, a size",
        "m_attn | 1e-9 | m_attn is 1.0E-9, expected a number that makes d_model, 8, a size",
        "m_mlp | \"4\" | m_mlp is \"4\", expected a positive number",
        "m_mlp | 4 | is [20, 8], and",
        "n_heads | 0 | n_heads is 0, expected a whole number",
        "n_layers | 2 | there is no tensor \"xf_layers.1.ln_1.weight\", which a model of 2",
        "ctx_window | 13 | is [12, 8], and",
        "d_head_qk | 4 | d_head_qk is 4, expected 3, as d_model, m_attn and n_heads say",
      })
  void load_debuggerConfigThatIsWrong_namesTheKey(String key, String value, String message)
      throws IOException {
    copy("debugger");
    Path config = folder.resolve("config.json");
    String json = Files.readString(config);
    String changed = json.replaceFirst("\"" + key + "\": [^,\\n]*", "\"" + key + "\": " + value);
    Files.writeString(
        config, json.contains(key) ? changed : json.replaceFirst("\\{", "{\"" + key + "\": 4,"));
    String sentence = refusal();
    assertTrue(sentence.contains(message), sentence);
  }

  @Test
  void load_debuggerPiecesThatAreWrong_areNamed() throws IOException {
    copy("debugger");
    Path pieces = folder.resolve("model_pieces");
    Path unembedding = pieces.resolve("unembed.weight.pt");
    Files.move(unembedding, pieces.resolve("unembed.pt"));
    assertEquals("/model_pieces: there is no tensor \"unembed.weight\"", refusal());
    Files.move(pieces.resolve("unembed.pt"), unembedding);
    Path extra = Files.copy(unembedding, pieces.resolve("xf_layers.0.attn.r_proj.weight.pt"));
    assertTrue(refusal().contains("tensor \"xf_layers.0.attn.r_proj.weight\" is unknown"));
    Files.delete(extra);
    Files.copy(TorchFileTest.genuine("strided.pt"), pieces.resolve("x.pt"));
    assertEquals(
        "/model_pieces/x.pt: this file does not hold one tensor and nothing else", refusal());
    Files.delete(pieces.resolve("x.pt"));
    Path config = folder.resolve("config.json");
    String json = Files.readString(config);
    Files.writeString(config, json.replace("ctx_window", "ctx"));
    assertTrue(refusal().startsWith("/config.json: ctx_window is missing"));
    Files.writeString(config, json);
    Files.move(pieces, folder.resolve("pieces"));
    assertEquals(": there is no folder model_pieces in this folder", refusal());
  }

  @Test
  void load_pickleThatCalls_isRefusedByName() throws IOException {
    copy("tied-bin");
    Files.copy(
        TorchFileTest.genuine("system.pt"),
        folder.resolve("pytorch_model.bin"),
        StandardCopyOption.REPLACE_EXISTING);
    assertTrue(
        refusal().startsWith("/pytorch_model.bin: the pickle in this file asks for \"posix"));
  }
}
