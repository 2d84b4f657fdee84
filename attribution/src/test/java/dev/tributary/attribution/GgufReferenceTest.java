package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.core.BlockFormat;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.transformer.file.Gguf;
import dev.tributary.transformer.file.Safetensors;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.TestFactory;

/**
 * GGUF files of other programs, and what these programs get out of them: the oracle {@code
 * reference-gguf}, whose README tells the format.
 */
class GgufReferenceTest {
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
          Map.entry("duplicate-tensor", "two tensors are called"),
          Map.entry("duplicate-key", "twice"),
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
}
