package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

class NpzTest {
  @TempDir private Path folder;

  private TensorFile open(byte[] content) throws IOException {
    return TensorFile.open(Files.write(folder.resolve("x.npz"), content));
  }

  @Test
  void open_arrays_areRowsOrColumns() throws IOException {
    TensorFile file =
        open(
            HostileTorchFileTest.archive(
                "rows.npy",
                PublishedDictionaries.array("<f4", false, "(2, 3)", 1, 2, 3, 4, 5, 6),
                "columns.npy",
                PublishedDictionaries.array("<f4", true, "(2, 3)", 1, 2, 3, 4, 5, 6),
                "scalar.npy",
                PublishedDictionaries.array("<f4", false, "()", 7)));
    try (Scope scope = Scope.open()) {
      assertEquals("numpy.savez, 3 tensors F32", file.description());
      assertArrayEquals(
          new double[] {1, 2, 3, 4, 5, 6}, file.tensor("rows", DType.FLOAT).toDoubles());
      assertArrayEquals(
          new double[] {1, 3, 5, 2, 4, 6}, file.tensor("columns", DType.DOUBLE).toDoubles());
      assertEquals(Shape.of(), file.shape("scalar"));
    }
  }

  private static byte[] compressed() throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ZipOutputStream zip = new ZipOutputStream(bytes)) {
      zip.putNextEntry(new ZipEntry("w.npy"));
      zip.write(PublishedDictionaries.array("<f4", false, "(1,)", 1));
    }
    return bytes.toByteArray();
  }

  private static byte[] one(byte[] array) {
    return HostileTorchFileTest.archive("w.npy", array);
  }

  static Stream<Arguments> badFiles() throws IOException {
    byte[] array = PublishedDictionaries.array("<f4", false, "(2,)", 1, 2);
    byte[] other = array.clone();
    other[0] = 0;
    return Stream.of(
        arguments(
            compressed(),
            "entry \"w.npy\" is compressed or encrypted, and torch.save and numpy.savez do neither"),
        arguments(one(other), "tensor \"w\" is no array as numpy stores it"),
        arguments(one(Arrays.copyOf(array, 30)), "tensor \"w\" ends inside its header"),
        arguments(
            one(Arrays.copyOf(array, array.length - 1)),
            "tensor \"w\" is [2] of type <f4 and has 7 bytes"),
        arguments(
            one(PublishedDictionaries.array("|O", false, "(1,)", 1)),
            "tensor \"w\" has numbers of type |O, expected <f4, <f2 or <f8"),
        arguments(
            one(PublishedDictionaries.array(">f4", false, "(1,)", 1)),
            "tensor \"w\" has numbers of type >f4, expected <f4, <f2 or <f8"),
        arguments(
            one(PublishedDictionaries.array("<f4", false, "__import__('os')", 1)),
            "tensor \"w\" has a header that is not numpy's: \"{'descr': '<f4', 'fortran_order':"
                + " False, 'shape': __import__('os'), }?\""));
  }

  @ParameterizedTest
  @MethodSource("badFiles")
  void open_badFile_isRefusedInOneSentence(byte[] content, String sentence) {
    IOException refusal = assertThrows(IOException.class, () -> open(content));
    assertEquals(folder.resolve("x.npz") + ": " + sentence, refusal.getMessage());
  }
}
