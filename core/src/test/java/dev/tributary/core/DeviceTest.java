package dev.tributary.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.File;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.lifecycle.AddLifecycleHook;

@AddLifecycleHook(InScope.class)
class DeviceTest {
  /** A second processor, which has other formats of blocks. */
  private static final class Second extends Device {
    private final List<BlockFormat> formats;

    Second(BlockFormat... formats) {
      this.formats = List.of(formats);
    }

    @Override
    Kernels kernels() {
      return Cpu.INSTANCE.kernels();
    }

    @Override
    Block make(Size size) {
      return Cpu.INSTANCE.make(size);
    }

    @Override
    long limitBytes() {
      return Cpu.INSTANCE.limitBytes();
    }

    @Override
    boolean encodes(BlockFormat format) {
      return formats.contains(format);
    }

    @Override
    void fill(Tensor encoded, Tensor.Bytes source) {
      Cpu.INSTANCE.fill(encoded, source);
    }

    @Override
    void read(Tensor encoded, long from, ByteBuffer target) {
      Cpu.INSTANCE.read(encoded, from, target);
    }
  }

  @Provide
  Arbitrary<Operand> operands() {
    return Operand.any(0);
  }

  @Property(tries = 200)
  void to_anotherDevice_isACopyOfTheSameNumbers(@ForAll("operands") Operand operand) {
    Device second = new Second();
    Tensor x = operand.tensor();
    Tensor copy = x.to(second);
    assertSame(second, copy.lease().device);
    assertEquals(x.shape(), copy.shape());
    assertEquals(x.dtype(), copy.dtype());
    assertArrayEquals(x.toDoubles(), copy.toDoubles());
    assertSame(copy, copy.to(second));
    assertArrayEquals(x.toDoubles(), copy.to(Device.cpu()).plus(0).toDoubles());
  }

  @Example
  void to_ofSpacedRows_isTheSameNumbers() {
    Tensor x =
        Tensor.generate(
                DType.FLOAT,
                Shape.of(3, 4096),
                (from, values, count) -> Arrays.setAll(values, i -> from + i))
            .spacedRows();
    assertArrayEquals(x.toDoubles(), x.to(new Second()).toDoubles());
  }

  @Property(tries = 200)
  void to_ofBlocks_keepsThemWhereTheDeviceHasThem(
      @ForAll BlockFormat format,
      @ForAll DType dtype,
      @ForAll boolean turned,
      @ForAll @IntRange(min = 1, max = 20) int rows,
      @ForAll boolean keeps,
      @ForAll long seed) {
    Device second = keeps ? new Second(format) : new Second();
    EncodedTest.Stored stored = EncodedTest.Stored.random(format, turned, rows, seed);
    Tensor whole = stored.encoded(dtype);
    Random random = new Random(seed);
    for (UnaryOperator<Tensor> part :
        List.<UnaryOperator<Tensor>>of(
            x -> x,
            x -> x.permute(1, 0),
            x -> x.slice(turned ? 1 : 0, random.nextInt(rows), rows),
            x -> x.slice(turned ? 0 : 1, 0, format.elements()))) {
      Tensor x = part.apply(whole);
      Tensor there = x.to(second);
      assertSame(second, there.lease().device);
      assertEquals(second.encodes(format), there.isEncoded());
      assertArrayEquals(x.toDoubles(), there.toDoubles());
    }
  }

  @Example
  void named_whatIsNoDevice_isRefused() {
    assertSame(Device.cpu(), Device.named("cpu"));
    for (String name :
        List.of("", "gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cuda:99999", "cuda:1 ")) {
      String message =
          assertThrows(IllegalArgumentException.class, () -> Device.named(name)).getMessage();
      assertEquals("\"" + name + "\" is no device: it is cpu, cuda, or cuda:1 and so on", message);
    }
  }

  @Example
  void during_isOfThisThreadAndEnds() throws InterruptedException {
    Device second = new Second();
    assertSame(second, second.during(() -> Tensor.zeros(DType.FLOAT, Shape.of(2)).lease().device));
    assertThrows(
        IllegalStateException.class,
        () ->
            second.during(
                () -> {
                  throw new IllegalStateException();
                }));
    assertSame(Device.standard(), Device.current());
    Device[] elsewhere = new Device[1];
    Thread other = new Thread(() -> elsewhere[0] = Device.current());
    second.during(
        () -> {
          other.start();
          return other;
        });
    other.join();
    assertSame(Device.standard(), elsewhere[0]);
  }

  /** What {@link #main} prints. */
  private static List<String> products() {
    try (Scope scope = Scope.open()) {
      Random random = new Random(5);
      return Stream.of(DType.values())
          .flatMap(
              dtype -> {
                Tensor x = random(random, dtype, 20, 300);
                Tensor y = random(random, dtype, 300, 70);
                Tensor z = random(random, dtype, 70, 300);
                return Stream.of(x.matmul(y), x.matmulTransposed(z), x.gelu(), y.softmax());
              })
          .map(x -> Arrays.toString(x.toDoubles()))
          .toList();
    }
  }

  private static Tensor random(Random random, DType dtype, int rows, int columns) {
    double[] values = random.doubles((long) rows * columns, -1, 1).toArray();
    return Tensor.of(dtype, Shape.of(rows, columns), values);
  }

  /** Computes without ND4J. */
  public static void main(String[] args) {
    products().forEach(System.out::println);
    System.out.println(Device.HAS_ND4J);
  }

  @Example
  void withoutNd4j_theNumbersAreTheSame() throws Exception {
    List<String> expected = Stream.concat(products().stream(), Stream.of("false")).toList();
    assertEquals(expected, runWithout("nd4j"));
  }

  @Example
  void withoutOneDnn_openBlasServes() throws Exception {
    List<String> lines = runWithout("nd4j", "dnnl", "opencl");
    assertEquals(products().size() + 1, lines.size());
    for (int i = 0; i < products().size(); i++) {
      assertArrayEquals(numbers(products().get(i)), numbers(lines.get(i)), 1e-4);
    }
  }

  private static double[] numbers(String line) {
    return Arrays.stream(line.substring(1, line.length() - 1).split(", ", -1))
        .mapToDouble(Double::parseDouble)
        .toArray();
  }

  /** What {@link #main} prints in a process of its own, which loads nothing of these libraries. */
  private static List<String> runWithout(String... libraries) throws Exception {
    String path =
        Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator, -1))
            .filter(
                entry -> Arrays.stream(libraries).noneMatch(new File(entry).getName()::contains))
            .collect(Collectors.joining(File.pathSeparator));
    Process process =
        new ProcessBuilder(
                new File(System.getProperty("java.home"), "bin/java").getPath(),
                "-Dtributary.threads=" + Workers.THREADS,
                "-classpath",
                path,
                DeviceTest.class.getName())
            .redirectErrorStream(true)
            .start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), output);
    return output.lines().toList();
  }
}
