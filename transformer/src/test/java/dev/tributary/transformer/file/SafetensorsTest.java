package dev.tributary.transformer.file;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class SafetensorsTest {
  @TempDir private Path folder;

  private Path path() {
    return folder.resolve("x.safetensors");
  }

  private double[] read(String type, Shape shape, DType dtype, byte... data) throws IOException {
    Path file = new SafetensorsBuilder().put("x", type, shape, data).write(path());
    try (Scope scope = Scope.open()) {
      return Safetensors.open(file).tensor("x", dtype).toDoubles();
    }
  }

  private static byte[] shorts(int... values) {
    ByteBuffer data =
        ByteBuffer.allocate(values.length * Short.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    Arrays.stream(values).forEach(value -> data.putShort((short) value));
    return data.array();
  }

  private static byte[] ints(int... values) {
    ByteBuffer data =
        ByteBuffer.allocate(values.length * Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    Arrays.stream(values).forEach(data::putInt);
    return data.array();
  }

  private static byte[] longs(long... values) {
    ByteBuffer data =
        ByteBuffer.allocate(values.length * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    Arrays.stream(values).forEach(data::putLong);
    return data.array();
  }

  // ---- values ------------------------------------------------------------------------------

  /** From the tables of IEEE 754-2008 for binary16. */
  @ParameterizedTest
  @EnumSource
  void tensor_f16_hasTheValuesOfTheStandard(DType dtype) throws IOException {
    int[] bits = {
      0x0000, 0x8000, 0x0001, 0x03ff, 0x0400, 0x3555, 0x3c00, 0x3c01, 0x7bff, 0xfbff, 0x7c00,
      0xfc00, 0x7e00, 0x8001
    };
    double[] expected = {
      0.0,
      -0.0,
      5.9604644775390625e-8,
      6.097555160522461e-5,
      6.103515625e-5,
      0.333251953125,
      1,
      1.0009765625,
      65504,
      -65504,
      Double.POSITIVE_INFINITY,
      Double.NEGATIVE_INFINITY,
      Double.NaN,
      -5.9604644775390625e-8
    };
    assertArrayEquals(expected, read("F16", Shape.of(bits.length), dtype, shorts(bits)));
  }

  /** Against the definition, sign · 2^(exponent - 15) · (1 + mantissa / 1024), in 64 bits. */
  @Test
  void tensor_everyF16_isItsDefinition() throws IOException {
    int[] bits = IntStream.range(0, 1 << 16).toArray();
    double[] expected =
        Arrays.stream(bits)
            .mapToDouble(
                value -> {
                  double sign = value >= 1 << 15 ? -1 : 1;
                  int exponent = value / 1024 % 32;
                  double fraction = value % 1024 / 1024.0;
                  if (exponent == 31) {
                    return fraction == 0 ? sign / 0 : Double.NaN;
                  }
                  return exponent == 0
                      ? sign * Math.pow(2, -14) * fraction
                      : sign * Math.pow(2, exponent - 15) * (1 + fraction);
                })
            .toArray();
    assertArrayEquals(expected, read("F16", Shape.of(256, 256), DType.DOUBLE, shorts(bits)));
  }

  @ParameterizedTest
  @EnumSource
  void tensor_bf16_isTheUpperHalfOfAFloat(DType dtype) throws IOException {
    int[] bits = {0x3f80, 0xc049, 0x0001, 0x7f7f, 0x7f80, 0xff80, 0x7fc0, 0x8000};
    double[] expected = {
      1,
      -3.140625,
      9.183549615799121e-41,
      3.3895313892515355e38,
      Double.POSITIVE_INFINITY,
      Double.NEGATIVE_INFINITY,
      Double.NaN,
      -0.0
    };
    assertArrayEquals(expected, read("BF16", Shape.of(2, 4), dtype, shorts(bits)));
  }

  @ParameterizedTest
  @EnumSource
  void tensor_f32_isExact(DType dtype) throws IOException {
    int[] bits = {0x3dcccccd, 0x00000001, 0xff7fffff, 0x7f800000, 0x7fc00000};
    double[] expected = {
      0.10000000149011612,
      1.401298464324817e-45,
      -3.4028234663852886e38,
      Double.POSITIVE_INFINITY,
      Double.NaN
    };
    assertArrayEquals(expected, read("F32", Shape.of(5), dtype, ints(bits)));
  }

  @Test
  void tensor_f64_isExactAndNarrowed() throws IOException {
    byte[] data = longs(0x3fb999999999999aL, 1, 0x7e37e43c8800759cL, 0x7ff8000000000000L);
    assertArrayEquals(
        new double[] {0.1, Double.MIN_VALUE, 1e300, Double.NaN},
        read("F64", Shape.of(4), DType.DOUBLE, data));
    assertArrayEquals(
        new double[] {0.1f, 0, Double.POSITIVE_INFINITY, Double.NaN},
        read("F64", Shape.of(4), DType.FLOAT, data));
  }

  @Test
  void tensor_scalarAndEmpty_areRead() throws IOException {
    assertArrayEquals(new double[] {1}, read("BF16", Shape.of(), DType.FLOAT, shorts(0x3f80)));
    assertArrayEquals(new double[] {}, read("F32", Shape.of(3, 0), DType.FLOAT));
  }

  /** More numbers than are converted at a time, from behind another tensor. */
  @ParameterizedTest
  @ValueSource(longs = {0, 1 << 20})
  void tensor_long_isReadInOrder(long memoryLimit) throws IOException {
    float[] values = new float[10_001];
    for (int i = 0; i < values.length; i++) {
      values[i] = i;
    }
    Path file =
        new SafetensorsBuilder()
            .put("before", "U8", Shape.of(3), (byte) 1, (byte) 2, (byte) 3)
            .put("x", Shape.of(73, 137), values)
            .put("y", Shape.of(1), 7)
            .write(path());
    try (Scope scope = Scope.open()) {
      Safetensors tensors = Safetensors.open(file, memoryLimit);
      Tensor x = tensors.tensor("x", DType.FLOAT);
      assertEquals(Shape.of(73, 137), x.shape());
      assertArrayEquals(IntStream.range(0, 10_001).asDoubleStream().toArray(), x.toDoubles());
      assertEquals(7, tensors.tensor("y", DType.DOUBLE).item());
    }
  }

  @Test
  void open_insideAnArchive_isRead() throws IOException {
    Path archive = folder.resolve("x.zip");
    try (FileSystem zip = FileSystems.newFileSystem(archive, Map.of("create", "true"))) {
      new SafetensorsBuilder().put("x", Shape.of(2), 1, 2).write(zip.getPath("/x.safetensors"));
    }
    try (FileSystem zip = FileSystems.newFileSystem(archive);
        Scope scope = Scope.open()) {
      Safetensors tensors = Safetensors.open(zip.getPath("/x.safetensors"), 0);
      assertArrayEquals(new double[] {1, 2}, tensors.tensor("x", DType.FLOAT).toDoubles());
    }
  }

  @Test
  void names_areThoseOfTheHeader() throws IOException {
    Path file =
        new SafetensorsBuilder()
            .put("b", Shape.of(2), 1, 2)
            .put("a", Shape.of(1, 1), 3)
            .put("n", "I64", Shape.of(1), longs(5))
            .write(path());
    Safetensors tensors = Safetensors.open(file);
    assertEquals(List.of("b", "a", "n"), List.copyOf(tensors.names()));
    assertTrue(tensors.contains("a"));
    assertFalse(tensors.contains("__metadata__"));
    assertEquals(Shape.of(1, 1), tensors.shape("a"));
  }

  @Test
  void open_tensorsInAnotherOrderThanTheirData_areRead() throws IOException {
    String header =
        "{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]},"
            + "\"a\":{\"data_offsets\":[0,4],\"shape\":[1],\"dtype\":\"F32\"},"
            + "\"e\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[4,4]}}";
    Files.write(path(), SafetensorsBuilder.file(header, ints(0x3f800000, 0x40000000)));
    try (Scope scope = Scope.open()) {
      Safetensors tensors = Safetensors.open(path());
      assertEquals(1, tensors.tensor("a", DType.FLOAT).item());
      assertEquals(2, tensors.tensor("b", DType.FLOAT).item());
    }
  }

  @Test
  void sameNumbers_comparesShapesAndEveryNumber() throws IOException {
    float[] values = new float[5000];
    float[] other = values.clone();
    other[4999] = 1;
    Path file =
        new SafetensorsBuilder()
            .put("x", Shape.of(5000), values)
            .put("same", Shape.of(5000), values)
            .put("half", "F16", Shape.of(5000), new byte[10_000])
            .put("other", Shape.of(5000), other)
            .put("shape", Shape.of(50, 100), values)
            .write(path());
    Safetensors tensors = Safetensors.open(file);
    assertTrue(tensors.sameNumbers("x", "same"));
    assertTrue(tensors.sameNumbers("x", "half"));
    assertFalse(tensors.sameNumbers("x", "other"));
    assertFalse(tensors.sameNumbers("x", "shape"));
  }

  // ---- refusals ----------------------------------------------------------------------------

  private static String entry(String dtype, String shape, String offsets) {
    return "{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
  }

  private static Arguments header(String what, String header, int data, String message) {
    return arguments(what, SafetensorsBuilder.file(header, new byte[data]), message);
  }

  private static Arguments tensor(
      String what, String dtype, String shape, String offsets, int data, String message) {
    return header(what, "{\"w\":" + entry(dtype, shape, offsets) + "}", data, message);
  }

  private static Arguments lengthField(String what, long length, String message) {
    ByteBuffer file = ByteBuffer.allocate(30).order(ByteOrder.LITTLE_ENDIAN).putLong(length);
    return arguments(what, file.array(), message);
  }

  private static final String F32 = "\"F32\"";

  static Stream<Arguments> hostile() {
    String good = entry(F32, "[1]", "[0,4]");
    return Stream.of(
        arguments("empty file", new byte[0], "this file has 0 bytes, expected at least 8"),
        arguments("truncated length", new byte[7], "this file has 7 bytes, expected at least 8"),
        lengthField("negative length", -1, "18446744073709551615 bytes, expected at most 22"),
        lengthField("smallest length", Long.MIN_VALUE, "9223372036854775808 bytes"),
        lengthField("length beyond the file", 23, "has 23 bytes, expected at most 22"),
        lengthField("length beyond the limit", 100_000_001, "has 100000001 bytes"),
        lengthField("zeros for a header", 22, "not valid JSON"),
        header("no header", "", 0, "not a JSON object"),
        header("blank header", "   ", 0, "not a JSON object"),
        header("list", "[]", 0, "not a JSON object"),
        header("number", "1", 0, "not a JSON object"),
        header("truncated JSON", "{\"w\":{\"dtype\":\"F32\"", 4, "not valid JSON"),
        header("comma at the end", "{\"w\":" + good + ",}", 4, "not valid JSON"),
        header("text after the object", "{}{}", 0, "goes on after its JSON object"),
        header("garbage after the object", "{}x", 0, "not valid JSON"),
        arguments(
            "not UTF-8",
            SafetensorsBuilder.file(new byte[] {'{', '"', (byte) 0xff, '"', ':', '1', '}'}),
            "not UTF-8"),
        arguments(
            "UTF-16",
            SafetensorsBuilder.file("{}".getBytes(java.nio.charset.StandardCharsets.UTF_16)),
            "not"),
        header("deep list", "[".repeat(1_000_000), 0, "not a JSON object"),
        header("deep entry", "{\"w\":" + "[".repeat(1_000_000), 0, "described by a list"),
        header(
            "deep shape", "{\"w\":{\"shape\":" + "[".repeat(1_000_000), 0, "a list in its shape"),
        header("long name", "{\"" + "n".repeat(1_000_000) + "\":1}", 0, "too long"),
        header("long number", "{\"w\":" + "1".repeat(1_000_000) + "}", 0, "too long"),
        header(
            "the same name twice",
            "{\"w\":" + good + ",\"w\":" + good + "}",
            4,
            "\"w\" is there twice"),
        header(
            "the same key twice",
            "{\"w\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
            4,
            "key \"dtype\" is there twice"),
        header("metadata is a list", "{\"__metadata__\":[]}", 0, "__metadata__"),
        header("metadata of numbers", "{\"__metadata__\":{\"a\":1}}", 0, "__metadata__"),
        header("entry is a list", "{\"w\":[1]}", 0, "\"w\" is described by a list"),
        header("entry is null", "{\"w\":null}", 0, "\"w\" is described by null"),
        header("entry is text", "{\"w\":\"F32\"}", 0, "\"w\" is described by \"F32\""),
        header("entry is empty", "{\"w\":{}}", 0, "\"w\" has no dtype"),
        header(
            "no shape",
            "{\"w\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}",
            4,
            "\"w\" has no shape"),
        header(
            "no offsets",
            "{\"w\":{\"dtype\":\"F32\",\"shape\":[1]}}",
            4,
            "\"w\" has no data_offsets"),
        header(
            "unknown key",
            "{\"w\":{\"strides\":[1],\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
            4,
            "\"w\" has a key \"strides\""),
        tensor("unknown dtype", "\"F31\"", "[1]", "[0,4]", 4, "\"w\" has dtype \"F31\""),
        tensor("dtype in small letters", "\"f32\"", "[1]", "[0,4]", 4, "dtype \"f32\""),
        tensor("dtype is a number", "32", "[1]", "[0,4]", 4, "dtype 32"),
        tensor("dtype is null", "null", "[1]", "[0,4]", 4, "dtype null"),
        tensor("shape is a number", F32, "1", "[0,4]", 4, "shape 1, expected a list"),
        tensor("shape is an object", F32, "{}", "[0,4]", 4, "shape an object"),
        tensor("negative dimension", F32, "[-1]", "[0,4]", 4, "has -1 in its shape"),
        tensor("two negative dimensions", F32, "[-1,-1]", "[0,4]", 4, "has -1 in its shape"),
        tensor("fractional dimension", F32, "[1.0]", "[0,4]", 4, "has 1.0 in its shape"),
        tensor("exponent in a dimension", F32, "[1e0]", "[0,4]", 4, "has 1e0 in its shape"),
        tensor("text in a shape", F32, "[\"1\"]", "[0,4]", 4, "has \"1\" in its shape"),
        tensor("list in a shape", F32, "[[1]]", "[0,4]", 4, "has a list in its shape"),
        tensor("true in a shape", F32, "[true]", "[0,4]", 4, "has true in its shape"),
        tensor("dimension of 2^63", F32, "[9223372036854775808]", "[0,4]", 4, "2^63"),
        tensor("product of 2^64", F32, "[4294967296,4294967296]", "[0,0]", 0, "at most 2146435071"),
        tensor("product of 2^32", F32, "[65536,65536]", "[0,0]", 0, "at most 2146435071"),
        tensor("product of 2^31", F32, "[2147483648]", "[0,8589934592]", 4, "at most 2146435071"),
        tensor("zero after too many", F32, "[65536,65536,0]", "[0,0]", 0, "at most 2146435071"),
        tensor("zero before too many", F32, "[0,4294967296]", "[0,0]", 0, "at most 2146435071"),
        tensor("many axes", F32, "[1" + ",1".repeat(32) + "]", "[0,4]", 4, "more than 32"),
        tensor("one offset", F32, "[1]", "[4]", 4, "data_offsets [4]"),
        tensor("three offsets", F32, "[1]", "[0,2,4]", 4, "more than 2"),
        tensor("no offset", F32, "[1]", "[]", 4, "data_offsets []"),
        tensor("negative offset", F32, "[1]", "[-4,0]", 4, "has -4 in its data_offsets"),
        tensor("fractional offset", F32, "[1]", "[0,4.0]", 4, "has 4.0 in its data_offsets"),
        tensor("exponent in an offset", F32, "[250]", "[0,1e3]", 1000, "has 1e3"),
        tensor("offset of 2^63", F32, "[1]", "[0,9223372036854775808]", 4, "2^63"),
        tensor("reversed offsets", F32, "[1]", "[4,0]", 4, "data_offsets [4, 0]"),
        tensor("past the end", F32, "[2]", "[0,8]", 4, "ends at byte 8 of the data"),
        tensor(
            "far past the end",
            F32,
            "[1]",
            "[9223372036854775803,9223372036854775807]",
            4,
            "\"w\" ends at byte 9223372036854775807 of the data, and this file has 4"),
        tensor("too few bytes", F32, "[2]", "[0,4]", 4, "needs 8 bytes"),
        tensor("too many bytes", F32, "[1]", "[0,8]", 8, "needs 4 bytes"),
        tensor("bytes of another type", "\"F16\"", "[1]", "[0,4]", 4, "needs 2 bytes"),
        tensor("bytes for no element", F32, "[0]", "[0,4]", 4, "needs 0 bytes"),
        tensor("hole before", F32, "[1]", "[4,8]", 8, "bytes 0 to 4 of the data belong to no"),
        tensor("data after", F32, "[1]", "[0,4]", 5, "bytes 4 to 5 of the data belong to no"),
        header("data without tensors", "{}", 1, "bytes 0 to 1 of the data belong to no"),
        header(
            "overlap",
            "{\"v\":" + entry(F32, "[2]", "[0,8]") + ",\"w\":" + entry(F32, "[2]", "[4,12]") + "}",
            12,
            "\"w\" begins at byte 4 of the data, and tensor \"v\" ends at 8: they overlap"),
        header(
            "the same bytes twice",
            "{\"v\":" + good + ",\"w\":" + good + "}",
            4,
            "\"w\" begins at byte 0 of the data, and tensor \"v\" ends at 4: they overlap"),
        header(
            "empty tensor inside another",
            "{\"v\":" + entry(F32, "[2]", "[0,8]") + ",\"w\":" + entry(F32, "[0]", "[4,4]") + "}",
            8,
            "they overlap"),
        header(
            "hole between",
            "{\"v\":" + good + ",\"w\":" + entry(F32, "[1]", "[8,12]") + "}",
            12,
            "bytes 4 to 8 of the data belong to no tensor"),
        header(
            "line breaks in a name", "{\"a\\nb\\u0000\":{}}", 0, "tensor \"a?b?\" has no dtype"));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("hostile")
  void open_hostile_isRefusedInOneSentence(String what, byte[] content, String message)
      throws IOException {
    Files.write(path(), content);
    for (long memoryLimit : new long[] {0, 1 << 24}) {
      requireRefusal(
          message,
          assertThrows(Exception.class, () -> Safetensors.open(path(), memoryLimit), what));
    }
  }

  private void requireRefusal(String message, Exception refusal) {
    assertEquals(IOException.class, refusal.getClass(), refusal::toString);
    String sentence = String.valueOf(refusal.getMessage());
    assertTrue(sentence.startsWith(path() + ": "), sentence);
    assertTrue(sentence.contains(message), sentence);
    assertFalse(sentence.contains("\n"), sentence);
    assertTrue(sentence.length() < 600, sentence);
  }

  @Test
  void open_lengthWithinALargeFile_isStillLimited() throws IOException {
    try (FileChannel channel =
        FileChannel.open(path(), StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
      ByteBuffer length = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
      channel.write(length.putLong(0, 100_000_001));
      channel.write(ByteBuffer.allocate(1), 200_000_000);
    }
    requireRefusal(
        "100000001 bytes, expected at most 100000000",
        assertThrows(Exception.class, () -> Safetensors.open(path())));
  }

  @Test
  void open_missing_saysSo() {
    requireRefusal(
        "there is no such file", assertThrows(Exception.class, () -> Safetensors.open(path())));
  }

  @Test
  void open_folder_saysSo() throws IOException {
    Files.createDirectory(path());
    requireRefusal("folder", assertThrows(Exception.class, () -> Safetensors.open(path())));
  }

  @Test
  void open_device_doesNotHang() {
    Path device = Path.of("/dev/zero");
    Assumptions.assumeTrue(Files.exists(device));
    assertTimeoutPreemptively(
        Duration.ofSeconds(20),
        () -> assertThrows(IOException.class, () -> Safetensors.open(device)));
  }

  @Test
  void tensor_unknownName_saysSo() throws IOException {
    Safetensors tensors = Safetensors.open(new SafetensorsBuilder().write(path()));
    try (Scope scope = Scope.open()) {
      requireRefusal(
          "there is no tensor \"x\"",
          assertThrows(Exception.class, () -> tensors.tensor("x", DType.FLOAT)));
    }
    requireRefusal(
        "there is no tensor \"x\"", assertThrows(Exception.class, () -> tensors.shape("x")));
  }

  @Test
  void tensor_integers_areRefused() throws IOException {
    Path file = new SafetensorsBuilder().put("n", "I64", Shape.of(1), longs(5)).write(path());
    Safetensors tensors = Safetensors.open(file);
    try (Scope scope = Scope.open()) {
      requireRefusal(
          "tensor \"n\" is I64, expected F32, F16, BF16 or F64",
          assertThrows(Exception.class, () -> tensors.tensor("n", DType.FLOAT)));
    }
  }

  @Test
  void tensor_fileShortenedSinceOpened_isRefused() throws IOException {
    Path file =
        new SafetensorsBuilder().put("x", Shape.of(20_000), new float[20_000]).write(path());
    Safetensors tensors = Safetensors.open(file, 0);
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE);
        Scope scope = Scope.open()) {
      channel.truncate(40_000);
      requireRefusal(
          "tensor \"x\" can no longer be read",
          assertThrows(Exception.class, () -> tensors.tensor("x", DType.FLOAT)));
    }
  }

  @Test
  void open_nameInUtf8_isRead() throws IOException {
    Path file = new SafetensorsBuilder().put("größe", Shape.of(1), 1).write(path());
    assertTrue(new String(Files.readAllBytes(file), UTF_8).contains("größe"));
    assertTrue(Safetensors.open(file).contains("größe"));
  }
}
