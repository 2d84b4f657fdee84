package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicContainer.dynamicContainer;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.core.BlockFormat;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.transformer.Oracles;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Checkpoint;
import dev.tributary.transformer.file.ElementType;
import dev.tributary.transformer.file.Gguf;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Safetensors;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import dev.tributary.transformer.file.Widening;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * GGUF files of other programs, and what these programs get out of them: the oracle {@code
 * reference-gguf}, whose README tells the format. The real model is compared where the system
 * property {@code tributary.smollm2} names its file.
 */
class GgufReferenceTest {
  /** Both sides compute in 64 bits; what they differ by is the order of their sums. */
  private static final double DOUBLE_TOLERANCE = 1e-10;

  /** Rounding of sums in 32 bits. */
  private static final double FLOAT_TOLERANCE = 1e-4;

  /** Of gains and rotation, which a GGUF file rounds to 32 bits and another one does not. */
  private static final double ROUNDED_TOLERANCE = 1e-6;

  /** Of a real model in 32 bits, with room for other orders of summation. */
  private static final double REAL_FLOAT_TOLERANCE = 2e-5;

  @TempDir Path temporary;

  /** What each refusal must speak of. */
  private static final Map<String, String> FAULTS =
      Map.ofEntries(
          Map.entry("magic", "does not begin with the letters GGUF"),
          Map.entry("version-1", "version 1, expected 2 or 3"),
          Map.entry("version-4", "version 4, expected 2 or 3"),
          Map.entry("empty", "does not begin with the letters GGUF"),
          Map.entry("cut-in-header", "2 tensors, and at most 0 fit"),
          Map.entry("metadata-count-too-large", "metadata, and at most"),
          Map.entry("tensor-count-too-large", "tensors, and at most"),
          Map.entry("string-length-too-large", "bytes, and at most"),
          Map.entry("unknown-metadata-type", "which is not known"),
          Map.entry("dimensions-5", "has 5 axes, expected at most 4"),
          Map.entry("unknown-tensor-type", "is of type 4, which is not known"),
          Map.entry("offset-not-aligned", "expected a multiple of 32"),
          Map.entry("offset-outside", "of the data"),
          Map.entry("dimension-overflow", "a tensor holds at most"),
          Map.entry("duplicate-tensor", "is there twice"),
          Map.entry("duplicate-key", "is there twice"),
          Map.entry("alignment-not-power-of-two", "24, expected a power of two"),
          Map.entry("alignment-zero", "0, expected a power of two"),
          Map.entry("cut-in-data", "of the data"));

  // ---- blocks --------------------------------------------------------------------------------

  @TestFactory
  Stream<? extends DynamicNode> everyBlockFormat_isDecodedBitForBit() throws IOException {
    return Oracles.tests(
        "reference-gguf/blocks",
        folder ->
            Arrays.stream(BlockFormat.values())
                .map(format -> dynamicTest(format.name(), () -> compareBlocks(folder, format))));
  }

  private static void compareBlocks(Path folder, BlockFormat format) throws IOException {
    Gguf file = Gguf.open(folder.resolve(format + ".gguf"));
    assertEquals(Set.of("quantised", "random"), file.names());
    for (String name : file.names()) {
      assertEquals(format.name(), file.elementType(name).name());
      compareTensor(file, name, folder.resolve("expected.safetensors"), format + "/" + name);
    }
  }

  /** Exactly, except that 0 and -0 are equal. */
  private static void compareTensor(Gguf file, String name, Path values, String expected)
      throws IOException {
    Safetensors reference = Safetensors.open(values);
    try (Scope scope = Scope.open()) {
      for (DType dtype : DType.values()) {
        assertArrayEquals(
            reference.tensor(expected, dtype).plus(0.0).toDoubles(),
            file.tensor(name, dtype).plus(0.0).toDoubles());
      }
    }
  }

  // ---- container -----------------------------------------------------------------------------

  @TestFactory
  Stream<? extends DynamicNode> everyContainer_saysWhatIsInIt() throws IOException {
    return Oracles.tests(
        "reference-gguf/container",
        folder ->
            files(folder).stream()
                .map(
                    file ->
                        dynamicTest(
                            file.getFileName().toString(), () -> compareContainer(folder, file))));
  }

  private static void compareContainer(Path folder, Path path) throws IOException {
    Gguf file = Gguf.open(path);
    JsonNode expected = new ObjectMapper().readTree(folder.resolve("container.json").toFile());
    String name = path.getFileName().toString();
    Set<String> keys = names(expected.get("metadata"));
    if (name.equals("no-tensors.gguf")) {
      assertEquals(Set.of(), file.names());
      keys.retainAll(List.of("general.name", "t.u8", "t.i8"));
    } else {
      assertEquals(names(expected.get("tensors")), file.names());
      for (String tensor : file.names()) {
        JsonNode described = expected.get("tensors").get(tensor);
        assertEquals(shape(described.get("shape")), file.shape(tensor));
        String type = described.get("dtype").asText();
        assertEquals(
            type.replace("float", "F").replace("int", "I"), file.elementType(tensor).name());
        if (type.startsWith("float")) {
          compareTensor(file, tensor, folder.resolve("expected.safetensors"), tensor);
        }
      }
    }
    Map<String, Object> metadata = new LinkedHashMap<>(file.metadata());
    assertEquals(List.of(), metadata.remove("a.empty"));
    if (name.startsWith("align")) {
      assertEquals(name.substring(5), metadata.remove("general.alignment") + ".gguf");
    }
    assertEquals(keys, metadata.keySet());
    for (String key : keys) {
      JsonNode described = expected.get("metadata").get(key);
      JsonNode type = described.get("type");
      Object value =
          type.isArray()
              ? list(type.get(1).asText(), described.get("value"))
              : value(type.asText(), described.get("value"));
      assertEquals(value, metadata.get(key), key);
    }
  }

  private static List<Object> list(String type, JsonNode values) {
    List<Object> list = new ArrayList<>();
    values.forEach(value -> list.add(value(type, value)));
    return list;
  }

  private static Object value(String type, JsonNode value) {
    return switch (type) {
      case "STRING" -> value.textValue();
      case "BOOL" -> value.booleanValue();
      case "FLOAT32" -> (double) value.floatValue();
      case "FLOAT64" -> value.doubleValue();
      default -> {
        BigInteger number = new BigInteger(value.asText());
        yield number.bitLength() < Long.SIZE ? (Object) number.longValueExact() : number;
      }
    };
  }

  @TestFactory
  Stream<? extends DynamicNode> everyBadContainer_isRefused() throws IOException {
    return Oracles.tests(
        "reference-gguf/container/bad",
        folder -> {
          assertEquals(FAULTS.size(), files(folder).size());
          return FAULTS.entrySet().stream()
              .map(
                  fault ->
                      dynamicTest(
                          fault.getKey(),
                          () ->
                              refuse(folder.resolve(fault.getKey() + ".gguf"), fault.getValue())));
        });
  }

  private static void refuse(Path file, String reason) {
    IOException refusal = assertThrows(IOException.class, () -> Gguf.open(file));
    String sentence = String.valueOf(refusal.getMessage());
    assertTrue(sentence.startsWith(file + ": ") && sentence.contains(reason), sentence);
  }

  private static List<Path> files(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.filter(file -> file.toString().endsWith(".gguf")).sorted().toList();
    }
  }

  private static Set<String> names(JsonNode object) {
    Set<String> names = new LinkedHashSet<>();
    object.fieldNames().forEachRemaining(names::add);
    return names;
  }

  private static Shape shape(JsonNode sizes) {
    return Shape.of(IntStream.range(0, sizes.size()).map(i -> sizes.get(i).intValue()).toArray());
  }

  // ---- tiny models -------------------------------------------------------------------------

  @TestFactory
  Stream<? extends DynamicNode> models() throws IOException {
    return Oracles.tests(
        "reference-gguf/models",
        folder -> {
          List<Path> cases = list(folder);
          assertTrue(!cases.isEmpty(), () -> "no case below " + folder);
          return cases.stream()
              .map(path -> dynamicContainer(path.getFileName().toString(), tests(path)));
        });
  }

  private static List<Path> list(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.sorted().toList();
    }
  }

  private Stream<DynamicNode> tests(Path path) {
    List<DynamicNode> tests = new ArrayList<>();
    for (Path file : files(path, "model-")) {
      String type = type(file);
      for (DType dtype : DType.values()) {
        double tolerance = dtype == DType.DOUBLE ? DOUBLE_TOLERANCE : FLOAT_TOLERANCE;
        tests.add(
            dynamicTest(
                type + ", " + dtype.name().toLowerCase(Locale.ROOT),
                () -> compare(path, file, dtype, type, tolerance)));
      }
      tests.add(dynamicTest(type + ", converted", () -> compareConverted(path, file, type)));
      tests.add(dynamicTest(type + ", tokenizer", () -> compareTokens(path, file)));
      tests.add(dynamicTest(type + ", saved tokenizer", () -> compareSavedTokens(path, file)));
    }
    for (Path part : files(path, "split-")) {
      tests.add(
          dynamicTest(
              part.getFileName().toString(),
              () -> {
                compare(path, part, DType.DOUBLE, "f32", DOUBLE_TOLERANCE);
                compareTokens(path, part);
              }));
    }
    Path original = path.resolve("hf");
    if (Files.exists(original)) {
      tests.add(
          dynamicTest("hf", () -> compare(path, original, DType.DOUBLE, "f32", ROUNDED_TOLERANCE)));
    }
    return tests.stream();
  }

  private static List<Path> files(Path folder, String begin) {
    try {
      return list(folder).stream()
          .filter(file -> file.getFileName().toString().startsWith(begin))
          .toList();
    } catch (IOException e) {
      throw new AssertionError(folder.toString(), e);
    }
  }

  private static String type(Path file) {
    return file.getFileName().toString().replaceAll("^model-|\\.gguf$", "");
  }

  private static JsonNode json(Path file) throws IOException {
    return new ObjectMapper().readTree(file.toFile());
  }

  private static void compare(Path path, Path model, DType dtype, String type, double tolerance)
      throws IOException {
    for (Widening widening : Widening.values()) {
      compare(path, model, dtype, widening, type, tolerance);
    }
  }

  private static void compare(
      Path path, Path model, DType dtype, Widening widening, String type, double tolerance)
      throws IOException {
    try (Scope scope = Scope.open()) {
      Transformer loaded = Models.load(Checkpoint.open(model), dtype, widening, Progress.NONE);
      int[] tokens = ExpectedTensors.ids(json(path.resolve("case.json")).get("token_ids"));
      Run run = loaded.run(tokens);
      int[] first = Arrays.copyOf(tokens, 6);
      ExpectedTensors.compare(
          path.resolve("expected.safetensors"),
          name -> name.startsWith(type + "/"),
          name ->
              switch (name.substring(type.length() + 1)) {
                case "logits" -> () -> run.value(Site.LOGITS).toDoubles();
                case "stream" -> () -> stream(run);
                case "logits_first_6" -> () -> loaded.logits(first).toDoubles();
                default -> null;
              },
          tolerance);
    }
  }

  /** The residual stream after the embedding and after each layer. */
  private static double[] stream(Run run) {
    return ExpectedTensors.stack(
        run.model().layers() + 1,
        i ->
            (i == 0 ? run.value(Site.EMBEDDING) : run.value(Site.RESIDUAL_AFTER_MLP, i - 1))
                .toDoubles());
  }

  /** What is written as Hugging Face has it is the same model, whoever reads it. */
  private void compareConverted(Path path, Path file, String type) throws IOException {
    Path folder = Files.createTempDirectory(temporary, "converted");
    try (Scope scope = Scope.open()) {
      Checkpoint checkpoint = Checkpoint.open(file);
      Models.save(
          Models.load(checkpoint, DType.DOUBLE, Progress.NONE),
          folder,
          checkpoint,
          Optional.of(ElementType.F64));
    }
    compare(path, folder, DType.DOUBLE, type, DOUBLE_TOLERANCE);
    JsonNode written = json(folder.resolve("config.json"));
    Path original = path.resolve("hf");
    if (Files.exists(original)) {
      JsonNode config = json(original.resolve("config.json"));
      assertEquals(config.get("model_type"), written.get("model_type"));
      assertEquals(config.get("architectures"), written.get("architectures"));
    }
  }

  private static void compareTokens(Path path, Path file) throws IOException {
    Tokenizer tokenizer = Tokenizers.load(file);
    JsonNode texts = json(path.resolve("case.json")).get("tokenizer");
    assertTrue(!texts.isEmpty());
    for (JsonNode each : texts) {
      String text = each.get("text").asText();
      assertArrayEquals(ExpectedTensors.ids(each.get("ids")), tokens(tokenizer, text), text);
    }
  }

  /** A tokenizer out of a GGUF file, written as Hugging Face has it, is the same one. */
  private void compareSavedTokens(Path path, Path file) throws IOException {
    Path saved = Files.createTempDirectory(temporary, "saved");
    Tokenizers.save(file, saved);
    compareTokens(path, saved);
    assertEquals(Tokenizers.load(file).vocabulary(), Tokenizers.load(saved).vocabulary());
  }

  private static int[] tokens(Tokenizer tokenizer, String text) {
    return tokenizer.split(text, true).stream().mapToInt(Tokenizer.Token::id).toArray();
  }

  // ---- a real model ------------------------------------------------------------------------

  @TestFactory
  Stream<? extends DynamicNode> smollm2() throws IOException {
    Optional<Path> file = Oracles.file("smollm2");
    if (file.isEmpty()) {
      return Stream.of(
          dynamicTest(
              "smollm2", () -> Assumptions.abort("no file where tributary.smollm2 points")));
    }
    return Oracles.tests(
        "reference-gguf/smollm2", folder -> realTests(folder, file.get()).stream());
  }

  /** In what the real model is computed, and how its matrices lie in memory. */
  private enum Arithmetic {
    FLOAT(DType.FLOAT, Widening.IF_ROOM),
    FLOAT_OF_BLOCKS(DType.FLOAT, Widening.NEVER),
    DOUBLE(DType.DOUBLE, Widening.IF_ROOM);

    private final DType dtype;
    private final Widening widening;

    Arithmetic(DType dtype, Widening widening) {
      this.dtype = dtype;
      this.widening = widening;
    }
  }

  private static List<DynamicNode> realTests(Path folder, Path file) throws IOException {
    List<DynamicNode> tests = new ArrayList<>();
    tests.add(dynamicTest("tokens", () -> compareRealTokens(folder.resolve("tokens.json"), file)));
    for (Arithmetic arithmetic : Arithmetic.values()) {
      DType dtype = arithmetic.dtype;
      double tolerance = dtype == DType.DOUBLE ? DOUBLE_TOLERANCE : REAL_FLOAT_TOLERANCE;
      tests.add(
          dynamicTest(
              arithmetic.name().toLowerCase(Locale.ROOT),
              () -> {
                try (Scope scope = Scope.open()) {
                  Transformer model =
                      Models.load(Checkpoint.open(file), dtype, arithmetic.widening, Progress.NONE);
                  for (Path prompt : list(folder).stream().filter(Files::isDirectory).toList()) {
                    compareReal(model, prompt, tolerance);
                  }
                }
              }));
    }
    return tests;
  }

  private static void compareReal(Transformer model, Path prompt, double tolerance)
      throws IOException {
    try (Scope scope = Scope.open()) {
      RealCase real = new RealCase(model, json(prompt.resolve("case.json")));
      real.requireWords();
      ExpectedTensors.compare(prompt.resolve("expected.safetensors"), real::quantity, tolerance);
    }
  }

  private static void compareRealTokens(Path expected, Path file) throws IOException {
    Tokenizer tokenizer = Tokenizers.load(file);
    for (JsonNode each : json(expected).get("strings")) {
      String text = each.get("text").asText();
      assertArrayEquals(ExpectedTensors.ids(each.get("ids")), tokens(tokenizer, text), text);
    }
  }
}
