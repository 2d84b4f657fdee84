package dev.tributary.transformer.file;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.io.IOException;
import java.math.BigInteger;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.IntUnaryOperator;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Files that PyTorch wrote; {@code recipe.py} beside them says from what. */
class TorchFileTest {
  @TempDir private Path folder;

  static Path genuine(String name) {
    try {
      return Path.of(
          Objects.requireNonNull(TorchFileTest.class.getResource("torch/" + name), name).toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  private static void requireTensor(
      TorchFile file, String name, Shape shape, IntUnaryOperator values) throws IOException {
    try (Scope scope = Scope.open()) {
      for (DType dtype : DType.values()) {
        Tensor tensor = file.tensor(name, dtype);
        assertEquals(shape, tensor.shape(), name);
        double[] expected =
            IntStream.range(0, shape.length()).map(values).asDoubleStream().toArray();
        assertArrayEquals(expected, tensor.toDoubles(), name);
      }
    }
  }

  /** In memory and on disk. */
  @ParameterizedTest
  @CsvSource({
    "strided.pt, 0",
    "strided.pt, 1000000",
    "legacy-strided.pt, 0",
    "legacy-strided.pt, 1000000"
  })
  void tensor_anyStrides_areRight(String name, long memoryLimit) throws IOException {
    TorchFile file = TorchFile.open(genuine(name), memoryLimit);
    requireTensor(file, "plain", Shape.of(3, 4), i -> i);
    requireTensor(file, "parameter", Shape.of(3, 4), i -> i);
    requireTensor(file, "again", Shape.of(3, 4), i -> i);
    requireTensor(file, "transposed", Shape.of(4, 3), i -> i % 3 * 4 + i / 3);
    requireTensor(file, "columns", Shape.of(3, 2), i -> i / 2 * 4 + i % 2 + 1);
    requireTensor(file, "everySecond", Shape.of(2, 2), i -> i / 2 * 8 + i % 2 * 2);
    requireTensor(file, "last", Shape.of(4), i -> 8 + i);
    requireTensor(file, "row", Shape.of(3, 4), i -> 4 + i % 4);
    requireTensor(file, "empty", Shape.of(0, 3), i -> i);
    requireTensor(file, "swapped", Shape.of(3, 4, 2), i -> i % 2 * 12 + i / 2);
    try (Scope scope = Scope.open()) {
      assertEquals(7.5, file.tensor("scalar", DType.FLOAT).item());
    }
    assertTrue(file.sameNumbers("plain", "again"));
    assertTrue(file.sameNumbers("plain", "parameter"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"types.pt", "legacy-types.pt"})
  void tensor_everyType_isReadOrRefused(String fileName) throws IOException {
    TorchFile file = TorchFile.open(genuine(fileName));
    try (Scope scope = Scope.open()) {
      for (String name : file.names()) {
        assertEquals(name, file.elementType(name).name());
        if (Set.of("F16", "BF16").contains(name)) {
          assertArrayEquals(
              new double[] {0, -1.5, 3.140625, 65280}, file.tensor(name, DType.DOUBLE).toDoubles());
        } else if (Set.of("F32", "F64").contains(name)) {
          double[] values = file.tensor(name, DType.DOUBLE).toDoubles();
          assertEquals(name.equals("F64") ? 65280 / 3.0 : 65280 / 3f, values[3]);
        } else {
          String sentence =
              String.valueOf(
                  assertThrows(IOException.class, () -> file.tensor(name, DType.FLOAT))
                      .getMessage());
          assertTrue(
              sentence.endsWith(
                  "tensor \"" + name + "\" is " + name + ", expected F32, F16, BF16 or F64"),
              sentence);
        }
      }
    }
    assertEquals(10, file.names().size());
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 4, 5})
  void values_everyProtocol_areNamedByTheirWay(int protocol) throws IOException {
    TorchFile file = TorchFile.open(genuine("values" + protocol + ".pt"));
    assertEquals(
        new TreeSet<>(
            List.of(
                "model.inner.weight",
                "model.inner.bias",
                "optimizer.0.step",
                "optimizer.groups.1")),
        new TreeSet<>(file.names()));
    requireTensor(file, "model.inner.weight", Shape.of(1, 2), i -> i + 1);
    requireTensor(file, "optimizer.groups.1", Shape.of(4), i -> i);
    assertEquals("TopK", file.values().get("activation"));
    assertEquals(32L, file.values().get("activation_state_dict.k"));
    assertEquals("ReLU", file.values().get("activation_state_dict.postact_fn"));
    assertEquals(1L << 40, file.values().get("step"));
    assertEquals(-3L, file.values().get("negative"));
    assertEquals(BigInteger.ONE.shiftLeft(64).subtract(BigInteger.ONE), file.values().get("seed"));
    assertEquals(1e-3, file.values().get("rate"));
    assertEquals(true, file.values().get("done"));
    assertEquals(List.of(3.0, 2.5, 2L), file.values().get("losses"));
    assertEquals(List.of(1L, 2L), file.values().get("sizes"));
    assertEquals(0.1, file.values().get("optimizer.groups.0.lr"));
    assertEquals("größe", file.values().get("é"));
    assertEquals(12, file.values().size(), () -> file.values().toString());
  }

  @Test
  void open_tensorAlone_hasTheEmptyName() throws IOException {
    TorchFile file = TorchFile.open(genuine("alone.pt"));
    assertEquals(Set.of(""), file.names());
    requireTensor(file, "", Shape.of(4, 3), i -> i % 3 * 4 + i / 3);
    assertEquals("text", TorchFile.open(genuine("text.pt")).values().get(""));
  }

  private static String refusal(Path file) {
    Exception refusal = assertThrows(Exception.class, () -> TorchFile.open(file));
    assertEquals(IOException.class, refusal.getClass(), refusal::toString);
    String sentence = String.valueOf(refusal.getMessage());
    assertTrue(sentence.startsWith(file + ": "), sentence);
    assertEquals(1, sentence.lines().count(), sentence);
    return sentence.substring((file + ": ").length());
  }

  @ParameterizedTest
  @CsvSource({"system.pt, posix.system", "module.pt, torch.nn.modules.container.Sequential"})
  void open_anythingToCall_isRefusedByName(String name, String asked) {
    assertEquals(
        "the pickle in this file asks for \""
            + asked
            + "\", expected only tensors, numbers, texts, lists and dictionaries",
        refusal(genuine(name)));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4, 5})
  void open_beforeVersion16_isReadInEveryProtocol(int protocol) throws IOException {
    for (long memoryLimit : new long[] {0, 1 << 20}) {
      TorchFile file = TorchFile.open(genuine("legacy" + protocol + ".pt"), memoryLimit);
      assertEquals(Set.of("x", "half"), file.names());
      requireTensor(file, "x", Shape.of(3, 4), i -> i);
      requireTensor(file, "half", Shape.of(3, 4), i -> i);
      assertEquals(ElementType.F16, file.elementType("half"));
      assertEquals(Map.of("step", 1L << 40, "done", true, "sizes", List.of(1L, 2L)), file.values());
      assertTrue(TensorFile.open(genuine("legacy" + protocol + ".pt")) instanceof TorchFile);
    }
    requireTensor(TorchFile.open(genuine("legacy.pt")), "x", Shape.of(3, 4), i -> i);
  }

  @Test
  void open_viewsOfStorages_seeTheirPart() throws IOException {
    TorchFile file = TorchFile.open(genuine("legacy-views.pt"));
    requireTensor(file, "whole", Shape.of(3, 4), i -> i);
    requireTensor(file, "middle", Shape.of(4), i -> 4 + i);
    requireTensor(file, "late", Shape.of(2, 2), i -> 7 + i);
  }

  @Test
  void open_tarArchive_saysHowToConvert() throws IOException {
    byte[] tar = new byte[1024];
    System.arraycopy("ustar".getBytes(US_ASCII), 0, tar, 257, 5);
    Path file = Files.write(folder.resolve("tar.pt"), tar);
    assertTrue(refusal(file).startsWith("this is a tar archive of torch's first versions"));
    assertThrows(IOException.class, () -> TensorFile.open(file));
  }
}
