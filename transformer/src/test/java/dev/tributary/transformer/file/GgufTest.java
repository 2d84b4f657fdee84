package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.tributary.core.BlockFormat;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.management.ManagementFactory;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Files of other programs are read in {@code GgufReferenceTest}. */
class GgufTest {
  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();
  private static final int F32 = 0;
  private static final int Q8_0 = 8;
  private static final int I32 = 26;

  @TempDir private Path folder;

  private static byte[] random(int length, int seed) {
    byte[] bytes = new byte[length];
    new Random(seed).nextBytes(bytes);
    return bytes;
  }

  /** Of Q8_0, with scales that are finite. */
  private static byte[] blocks(int count) {
    byte[] bytes = random(34 * count, 5);
    for (int i = 0; i < count; i++) {
      bytes[34 * i + 1] = 0x3c;
    }
    return bytes;
  }

  private static double[] read(StoredTensor tensor) throws IOException {
    try (Scope scope = Scope.open()) {
      return tensor.read(DType.DOUBLE).toDoubles();
    }
  }

  // ---- what is read ------------------------------------------------------------------------

  @Test
  void metadata_anyValue_isWhatWasWritten() throws IOException {
    List<Object> lists = List.of(List.of(1L, 2L), List.of(), List.of(-3L));
    Path file =
        new GgufBuilder()
            .put("text", "\u0120 \ud83d\ude00")
            .put("count", -1)
            .put("large", -5L)
            .put("real", 0.1f)
            .put("flag", true)
            .put("words", List.of("a", "", "bc"))
            .put("lists", List.of(List.of(1L, 2L), List.of(), List.of(-3L)))
            .write(folder.resolve("x.gguf"));
    Gguf read = Gguf.open(file);
    assertEquals("\u0120 \ud83d\ude00", read.metadata().get("text"));
    assertEquals(0xffff_ffffL, read.metadata().get("count"));
    assertEquals(-5L, read.metadata().get("large"));
    assertEquals((double) 0.1f, read.metadata().get("real"));
    assertEquals(true, read.metadata().get("flag"));
    assertEquals(List.of("a", "", "bc"), read.metadata().get("words"));
    assertEquals(lists, read.metadata().get("lists"));
    assertEquals("GGUF, 0 tensors ", read.description());
  }

  /** Longer than what is read from the file at a time, and begun anywhere within it. */
  @Test
  void metadata_longerThanAChunk_isWhole() throws IOException {
    List<String> words = new ArrayList<>();
    Random random = new Random(3);
    for (int i = 0; i < 40_000; i++) {
      words.add("\u00e9".repeat(random.nextInt(12)));
    }
    String longest = "ab".repeat(200_000);
    Path file =
        new GgufBuilder()
            .put("words", words)
            .put("longest", longest)
            .put("last", 7)
            .write(folder.resolve("x.gguf"));
    for (long memoryLimit : new long[] {0, FileBytes.MEMORY_LIMIT}) {
      Gguf read = (Gguf) TensorFile.open(file, memoryLimit);
      assertEquals(words, read.metadata().get("words"));
      assertEquals(longest, read.metadata().get("longest"));
      assertEquals(7L, read.metadata().get("last"));
    }
  }

  @Test
  void tensor_quantised_isDecodedInAnyOrderOfAxes() throws IOException {
    byte[] raw = blocks(6);
    float[] expected = new float[6 * 32];
    BlockFormat.Q8_0.decode(raw, 0, expected, 0, 6);
    Path file =
        new GgufBuilder().put("w", Q8_0, new long[] {3, 64}, raw).write(folder.resolve("x.gguf"));
    StoredTensor stored = TensorFile.open(file, 0).stored("w");
    assertEquals(Shape.of(3, 64), stored.shape());
    double[] turned = read(stored.transposed());
    double[] plain = read(stored);
    for (int i = 0; i < 3; i++) {
      for (int j = 0; j < 64; j++) {
        assertEquals(expected[i * 64 + j], plain[i * 64 + j]);
        assertEquals(expected[i * 64 + j], turned[j * 3 + i]);
      }
    }
    assertTrue(stored.sameNumbers(stored.named("v")));
  }

  @ParameterizedTest
  @ValueSource(ints = {Q8_0, F32})
  void tensor_bigEndian_isTheSame(int type) throws IOException {
    BlockFormat format = type == F32 ? BlockFormat.F32 : BlockFormat.Q8_0;
    byte[] raw = blocks(4 * 32 / format.elements());
    byte[] little = Arrays.copyOf(raw, 4 * 32 / format.elements() * format.bytes());
    byte[] big = little.clone();
    format.swap(big, 0, big.length / format.bytes());
    long[] dimensions = {2, 64};
    Path one = new GgufBuilder().put("w", type, dimensions, little).write(folder.resolve("a.gguf"));
    Path other =
        new GgufBuilder(ByteOrder.BIG_ENDIAN)
            .put("w", type, dimensions, big)
            .write(folder.resolve("b.gguf"));
    double[] expected = read(Gguf.open(one).stored("w"));
    assertArrayEquals(expected, read(Gguf.open(other).stored("w")));
    assertArrayEquals(expected, read(TensorFile.open(other, 0).stored("w")));
  }

  @Test
  void tensor_integers_isRefused() throws IOException {
    Path file =
        new GgufBuilder()
            .put("n", I32, new long[] {1}, new byte[4])
            .write(folder.resolve("x.gguf"));
    Gguf read = Gguf.open(file);
    assertEquals(ElementType.I32, read.elementType("n"));
    assertEquals(
        file + ": tensor \"n\" is I32, expected F32, F16, BF16 or F64",
        refusal(() -> read.tensor("n", DType.FLOAT)));
  }

  /** A file of 16 GB, mostly hole: only its header is read, and a tensor near its end. */
  @Test
  void open_largeFile_readsItsHeaderOnly() throws IOException {
    int tensors = 57;
    int rows = (1 << 15) - 1;
    long size = rows * 256L * 34;
    GgufBuilder.Pieces header = GgufBuilder.start(ByteOrder.LITTLE_ENDIAN, tensors, 0);
    for (int i = 0; i < tensors; i++) {
      header.tensor("t" + i, Q8_0, i * size, rows, 256 * 32);
    }
    header.pad();
    Path file = folder.resolve("x.gguf");
    byte[] bytes = header.toBytes();
    byte[] last = blocks(256);
    try (RandomAccessFile access = new RandomAccessFile(file.toFile(), "rw")) {
      access.write(bytes);
      access.setLength(bytes.length + tensors * size);
      access.seek(access.length() - last.length);
      access.write(last);
    }
    assertTrue(Files.size(file) > 15L << 30);
    long before = THREADS.getCurrentThreadAllocatedBytes();
    Gguf read = Gguf.open(file);
    assertTrue(THREADS.getCurrentThreadAllocatedBytes() - before < 1 << 20);
    assertEquals(Shape.of(rows, 256 * 32), read.shape("t56"));
    float[] expected = new float[256 * 32];
    BlockFormat.Q8_0.decode(last, 0, expected, 0, 256);
    StoredTensor lastRow = read.stored("t56").after(rows - 1);
    double[] numbers = read(lastRow);
    for (int i = 0; i < expected.length; i++) {
      assertEquals(expected[i], numbers[i]);
    }
  }

  // ---- several files -----------------------------------------------------------------------

  private Path part(int number, int count, GgufBuilder content) throws IOException {
    return content
        .put("split.no", number)
        .put("split.count", count)
        .write(folder.resolve(String.format("m-%05d-of-%05d.gguf", number + 1, count)));
  }

  private List<Path> parts() throws IOException {
    return List.of(
        part(0, 3, new GgufBuilder().put("name", "m").put("split.tensors.count", 2)),
        part(1, 3, new GgufBuilder().put("a", F32, new long[] {1}, new byte[4])),
        part(2, 3, new GgufBuilder().put("b", F32, new long[] {1}, new byte[] {0, 0, -128, 63})));
  }

  @Test
  void open_anyPart_hasAllTensorsAndTheMetadataOfTheFirst() throws IOException {
    for (Path part : parts()) {
      Gguf read = Gguf.open(part);
      assertEquals(part, read.path());
      assertEquals(Set.of("a", "b"), read.names());
      assertEquals("m", read.metadata().get("name"));
      assertArrayEquals(new double[] {1}, read(read.stored("b")));
    }
  }

  @Test
  void open_partsThatDoNotBelongTogether_isRefused() throws IOException {
    List<Path> parts = parts();
    Files.move(parts.get(1), folder.resolve("other.gguf"));
    assertEquals(
        parts.get(1) + ": there is no such file, which " + parts.get(2) + " needs",
        refusal(() -> Gguf.open(parts.get(2))));
    assertEquals(
        folder.resolve("other.gguf")
            + ": this is one of 3 files, expected a name that ends with -00001-of-00003.gguf or the"
            + " like",
        refusal(() -> Gguf.open(folder.resolve("other.gguf"))));
    Files.copy(parts.get(2), parts.get(1));
    assertEquals(
        parts.get(1)
            + ": this file says that it is number 2 (from 0) of 3, and its name says 1 of 3",
        refusal(() -> Gguf.open(parts.get(0))));
    part(1, 3, new GgufBuilder().put("b", F32, new long[] {1}, new byte[4]));
    assertEquals(
        parts.get(2) + ": tensor \"b\" is in two parts of this file",
        refusal(() -> Gguf.open(parts.get(0))));
    part(1, 3, new GgufBuilder());
    assertEquals(
        parts.get(0) + ": the parts of this file have 1 tensors, and it says 2",
        refusal(() -> Gguf.open(parts.get(0))));
  }

  // ---- attacks -----------------------------------------------------------------------------

  private void requireRefused(GgufBuilder.Pieces content, String reason) throws IOException {
    Path file = Files.write(folder.resolve("x.gguf"), content.toBytes());
    long before = THREADS.getCurrentThreadAllocatedBytes();
    String sentence = refusal(() -> Gguf.open(file));
    long allocated = THREADS.getCurrentThreadAllocatedBytes() - before;
    assertEquals(file + ": " + reason, sentence);
    assertTrue(allocated < (4 << 20) + 50 * Files.size(file), "takes " + allocated);
  }

  private static String refusal(Executable reading) {
    return String.valueOf(assertThrows(IOException.class, reading).getMessage());
  }

  private static GgufBuilder.Pieces start(long tensors, long entries) {
    return GgufBuilder.start(ByteOrder.LITTLE_ENDIAN, tensors, entries);
  }

  @ParameterizedTest
  @ValueSource(longs = {Long.MAX_VALUE, Long.MIN_VALUE, -1, 1L << 61, 1L << 32, 1_000_000_000, 2})
  void open_moreThanTheFileHolds_isRefused(long count) throws IOException {
    String number = Long.toUnsignedString(count);
    requireRefused(
        start(count, 0).bytes(new byte[40]),
        "this file has " + number + " tensors, and at most 1 fit into what follows");
    requireRefused(
        start(0, count).bytes(new byte[20]),
        "this file has " + number + " metadata, and at most 1 fit into what follows");
    requireRefused(
        start(0, 1).text("k").u32(8).u64(count).bytes((byte) 'a'),
        "metadata \"k\" has a text of " + number + " bytes, and at most 1 follow");
    requireRefused(
        start(0, 1).u64(count).bytes(new byte[5]),
        count == 2
            ? "metadata \"??\" ends too early: 3 bytes follow, expected 4"
            : "metadata has a text of " + number + " bytes, and at most 5 follow");
    requireRefused(
        start(0, 1).text("tokenizer.ggml.tokens").u32(9).u32(8).u64(count).bytes(new byte[8]),
        "metadata \"tokenizer.ggml.tokens\" has "
            + number
            + " values, and at most 1 fit into what follows");
    requireRefused(
        start(0, 1).text("k").u32(9).u32(12).u64(count).bytes(new byte[8]),
        "metadata \"k\" has " + number + " values, and at most 1 fit into what follows");
  }

  @Test
  void open_deepLists_isRefused() throws IOException {
    GgufBuilder.Pieces content = start(0, 1).text("k").u32(9);
    for (int i = 0; i < 100_000; i++) {
      content.u32(9).u64(1);
    }
    requireRefused(content, "metadata \"k\" has lists deeper than 8");
  }

  /** Each list costs more memory than the file has bytes for it, but not many times more. */
  @Test
  void open_manyEmptyLists_isInProportion() throws IOException {
    int count = 200_000;
    GgufBuilder.Pieces content = start(0, 1).text("k").u32(9).u32(9).u64(count);
    for (int i = 0; i < count; i++) {
      content.u32(4).u64(0);
    }
    Path file = Files.write(folder.resolve("x.gguf"), content.toBytes());
    long before = THREADS.getCurrentThreadAllocatedBytes();
    Gguf read = Gguf.open(file);
    long allocated = THREADS.getCurrentThreadAllocatedBytes() - before;
    assertEquals(Collections.nCopies(count, List.of()), read.metadata().get("k"));
    assertTrue(allocated < 50 * Files.size(file), "takes " + allocated);
  }

  @Test
  void open_metadataOfNoKnownKind_isRefused() throws IOException {
    requireRefused(
        start(0, 1).text("k").u32(13).u64(0), "metadata \"k\" is of type 13, which is not known");
    requireRefused(
        start(0, 1).text("k").u32(-1).u64(0),
        "metadata \"k\" is of type 4294967295, which is not known");
    requireRefused(
        start(0, 1).text("k").u32(9).u32(14).u64(0),
        "metadata \"k\" is of type 14, which is not known");
    requireRefused(
        start(0, 1).text("k").u32(7).bytes((byte) 2),
        "metadata \"k\" has 2 for a BOOL, expected 0 or 1");
    requireRefused(
        start(0, 1).text("k").u32(9).u32(7).u64(2).bytes((byte) 1, (byte) -1),
        "metadata \"k\" has -1 for a BOOL, expected 0 or 1");
    requireRefused(
        start(0, 1).text("k").u32(8).u64(2).bytes((byte) 0xc3, (byte) 0x28),
        "metadata \"k\" is not valid UTF-8");
    requireRefused(
        start(0, 2).text("k").u32(7).bytes((byte) 0).text("k").u32(7).bytes((byte) 0),
        "metadata \"k\" is there twice");
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 24, -1})
  void open_alignmentThatIsNoPowerOfTwo_isRefused(int alignment) throws IOException {
    requireRefused(
        start(0, 1).text("general.alignment").value(alignment),
        "general.alignment is "
            + Integer.toUnsignedString(alignment)
            + ", expected a power of two");
    requireRefused(
        start(0, 1).text("general.alignment").value("8"),
        "general.alignment is 8, expected a power of two");
  }

  @Test
  void open_tensorsThatOverlapOrEndEarly_isRefused() throws IOException {
    GgufBuilder.Pieces overlapping = start(2, 0).tensor("a", F32, 0, 16);
    overlapping.tensor("b", Q8_0, 32, 32).pad();
    requireRefused(
        overlapping.bytes(new byte[256]),
        "tensor \"b\" lies in bytes 32 to 66 of the data, expected after 64 and before 256");
    GgufBuilder.Pieces same = start(2, 0).tensor("a", F32, 0, 8);
    same.tensor("b", F32, 0, 8).pad();
    requireRefused(
        same.bytes(new byte[256]),
        "tensor \"b\" lies in bytes 0 to 32 of the data, expected after 32 and before 256");
    GgufBuilder.Pieces early = start(1, 0).tensor("a", Q8_0, 0, 2, 32);
    early.pad();
    requireRefused(
        early.bytes(new byte[67]),
        "tensor \"a\" lies in bytes 0 to 68 of the data, expected after 0 and before 67");
    requireRefused(
        start(1, 0).tensor("a", F32, 0, 1),
        "tensor \"a\" lies in bytes 0 to 4 of the data, expected after 0 and before 0");
  }

  @Test
  void open_tensorThatCannotBe_isRefused() throws IOException {
    requireRefused(
        start(1, 0).tensor("a", F32, -32, 1),
        "tensor \"a\" begins at byte 18446744073709551584 of the data, expected a multiple of 32");
    requireRefused(
        start(1, 0).tensor("a", F32, 0x7fff_ffff_ffff_ffe0L, 1),
        "tensor \"a\" is F32 [1] from byte 9223372036854775776 of the data on and needs 4, and this"
            + " file has 57 bytes");
    requireRefused(
        start(1, 0).tensor("a", F32, 8, 1),
        "tensor \"a\" begins at byte 8 of the data, expected a multiple of 32");
    requireRefused(
        start(1, 0).tensor("a", Q8_0, 0, 2, 33),
        "tensor \"a\" is Q8_0 [2, 33], and its rows are not whole blocks of 32");
    requireRefused(
        start(1, 0).tensor("a", 12, 0, 32, 16),
        "tensor \"a\" is Q4_K [32, 16], and its rows are not whole blocks of 256");
    requireRefused(
        start(1, 0).tensor("a", 4, 0, 1), "tensor \"a\" is of type 4, which is not known");
    requireRefused(
        start(1, 0).tensor("a", -1, 0, 1),
        "tensor \"a\" is of type 4294967295, which is not known");
    requireRefused(
        start(1, 0).tensor("a", F32, 0, 1, 1, 1, 1, 1),
        "tensor \"a\" has 5 axes, expected at most 4");
    requireRefused(
        start(1, 0).text("a").u32(-1).bytes(new byte[12]),
        "tensor \"a\" has 4294967295 axes, expected at most 4");
    for (long size : new long[] {Long.MAX_VALUE, -1, 1L << 32}) {
      requireRefused(
          start(1, 0).tensor("a", F32, 0, size, 1L << 32),
          "tensor \"a\" has shape ["
              + size
              + ", 4294967296], and a tensor holds at most "
              + Shape.LARGEST
              + " elements");
    }
    requireRefused(
        start(2, 0).tensor("a", F32, 0, 0).tensor("a", F32, 0, 0), "tensor \"a\" is there twice");
  }

  @Test
  void open_otherVersions_isRefused() throws IOException {
    for (int version : new int[] {0, 1, 4, 0x0100_0000, -1}) {
      byte[] content = start(0, 0).toBytes();
      for (int i = 0; i < 4; i++) {
        content[4 + i] = (byte) (version >> (8 * i));
      }
      Path file = Files.write(folder.resolve("x.gguf"), content);
      int said = (version & 0xffff) == 0 ? Integer.reverseBytes(version) : version;
      assertEquals(
          file + ": this is GGUF version " + Integer.toUnsignedString(said) + ", expected 2 or 3",
          refusal(() -> Gguf.open(file)));
    }
  }

  /** Each beginning of a file is refused, wherever it ends. */
  @Test
  void open_cutAnywhere_isRefused() throws IOException {
    byte[] whole =
        new GgufBuilder()
            .put("words", List.of("a", "bc"))
            .put("lists", List.of(List.of(1L)))
            .put("a", F32, new long[] {2}, new byte[8])
            .put("b", Q8_0, new long[] {32}, new byte[34])
            .build();
    for (int length = 0; length < whole.length; length++) {
      Path file = Files.write(folder.resolve("x.gguf"), Arrays.copyOf(whole, length));
      String sentence = refusal(() -> Gguf.open(file));
      assertTrue(sentence.startsWith(file + ": ") && sentence.lines().count() == 1, sentence);
    }
    assertEquals(2, Gguf.open(Files.write(folder.resolve("x.gguf"), whole)).names().size());
  }

  @Test
  void open_anotherFormat_isRefused() throws IOException {
    Path file = Files.write(folder.resolve("x.gguf"), "GGML".getBytes(StandardCharsets.UTF_8));
    assertEquals(
        file + ": this file does not begin with the letters GGUF", refusal(() -> Gguf.open(file)));
  }
}
