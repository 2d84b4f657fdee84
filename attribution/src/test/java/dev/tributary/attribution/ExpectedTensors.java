package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.transformer.file.ElementType;
import dev.tributary.transformer.file.Safetensors;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;
import java.util.function.IntFunction;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** A file of tensors that another system computed, each of which has to be computed here too. */
public final class ExpectedTensors {
  /**
   * Tensors of smaller numbers than this are sums that cancel; their rounding is that of the terms.
   */
  private static final double SMALLEST_SCALE = 1e-3;

  private ExpectedTensors() {}

  /**
   * Fails if a tensor of the file differs, or nothing here computes it.
   *
   * @param computed how to compute a tensor, or null if nothing is called that
   * @param tolerance of the largest magnitude of a tensor
   */
  public static void compare(
      Path file, Function<String, @Nullable Supplier<double[]>> computed, double tolerance)
      throws IOException {
    compare(file, name -> true, computed, tolerance);
  }

  /**
   * The same of some tensors.
   *
   * @param wanted which, by their names
   */
  public static void compare(
      Path file,
      Predicate<String> wanted,
      Function<String, @Nullable Supplier<double[]>> computed,
      double tolerance)
      throws IOException {
    Safetensors expected = Safetensors.open(file);
    List<String> failures = new ArrayList<>();
    int compared = 0;
    for (String name : expected.names().stream().filter(wanted).toList()) {
      Supplier<double[]> quantity = computed.apply(name);
      if (quantity == null) {
        failures.add(name + " is not compared");
        continue;
      }
      try (Scope scope = Scope.open()) {
        compared++;
        String failure =
            difference(
                numbers(expected, name),
                quantity.get(),
                tolerance,
                name.contains("to=") || name.contains("from="));
        if (!failure.isEmpty()) {
          failures.add(name + ": " + failure);
        }
      }
    }
    if (!failures.isEmpty() || compared == 0) {
      fail(compared + " compared\n" + String.join("\n", failures));
    }
  }

  /** Numbers of a tensor, also of whole ones and of bytes. */
  static double[] numbers(Safetensors file, String name) throws IOException {
    ElementType type = file.elementType(name);
    if (type != ElementType.I64 && type != ElementType.U8) {
      return file.tensor(name, DType.DOUBLE).toDoubles();
    }
    ByteBuffer bytes =
        ByteBuffer.wrap(Files.readAllBytes(file.path())).order(ByteOrder.LITTLE_ENDIAN);
    byte[] header = new byte[Math.toIntExact(bytes.getLong())];
    bytes.get(header);
    JsonNode offsets = new ObjectMapper().readTree(header).get(name).get("data_offsets");
    ByteBuffer own =
        bytes
            .slice(
                bytes.position() + offsets.get(0).asInt(),
                offsets.get(1).asInt() - offsets.get(0).asInt())
            .order(ByteOrder.LITTLE_ENDIAN);
    double[] result = new double[own.remaining() / (type == ElementType.U8 ? 1 : Long.BYTES)];
    for (int i = 0; i < result.length; i++) {
      result[i] = type == ElementType.U8 ? own.get() : own.getLong();
    }
    return result;
  }

  /**
   * What is wrong, or nothing.
   *
   * @param edges where there is no path they are 0 and not about 0
   */
  private static String difference(
      double[] expected, double[] actual, double tolerance, boolean edges) {
    assertEquals(expected.length, actual.length);
    double scale = SMALLEST_SCALE;
    for (double value : expected) {
      if (Double.isFinite(value)) {
        scale = Math.max(scale, Math.abs(value));
      }
    }
    for (int i = 0; i < expected.length; i++) {
      double allowed = edges && expected[i] == 0 ? 0 : tolerance * scale;
      boolean equal =
          Double.isFinite(expected[i])
              ? Math.abs(expected[i] - actual[i]) <= allowed
              : expected[i] == actual[i];
      if (!equal) {
        return String.format(
            Locale.ROOT,
            "entry %d is %.17g, expected %.17g, scale %.3g",
            i,
            actual[i],
            expected[i],
            scale);
      }
    }
    return "";
  }

  /** Numbers of each of some layers or points, one after the other. */
  public static double[] stack(int count, IntFunction<double[]> of) {
    return IntStream.range(0, count).mapToObj(of).flatMapToDouble(Arrays::stream).toArray();
  }

  /** The numbers of an array. */
  public static List<Integer> integers(JsonNode array) {
    return IntStream.range(0, array.size()).mapToObj(i -> array.get(i).asInt()).toList();
  }

  /** The same as an array. */
  static int[] ids(JsonNode array) {
    return integers(array).stream().mapToInt(Integer::intValue).toArray();
  }
}
