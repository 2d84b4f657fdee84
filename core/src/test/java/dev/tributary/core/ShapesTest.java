package dev.tributary.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.lifecycle.AddLifecycleHook;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** What {@link Shapes} counts is what the CPU then takes. */
class ShapesTest {
  /** One operation of a drawn program. */
  private interface Step {
    Tensor apply(Tensor x, Random random);
  }

  private static final Map<String, Step> STEPS = steps();

  private static Map<String, Step> steps() {
    Map<String, Step> steps = new LinkedHashMap<>();
    steps.put("of", (x, random) -> Tensor.of(x.dtype(), x.shape(), new double[length(x)]));
    steps.put("full", (x, random) -> Tensor.full(x.dtype(), x.shape(), 1));
    steps.put("zeros", (x, random) -> Tensor.zeros(x.dtype(), x.shape()));
    steps.put(
        "generate",
        (x, random) -> Tensor.generate(x.dtype(), x.shape(), (from, values, count) -> {}));
    steps.put(
        "encoded",
        (x, random) -> {
          Shape shape = Shape.of(64, 96);
          boolean turned = random.nextBoolean();
          Tensor.Bytes zeros = (from, target) -> {};
          return Tensor.encoded(x.dtype(), shape, BlockFormat.Q8_0, turned, zeros);
        });
    steps.put(
        "decoded",
        (x, random) ->
            Tensor.decoded(
                x.dtype(), Shape.of(2, 32), BlockFormat.Q8_0, false, (from, target) -> {}));
    steps.put("plus", (x, random) -> random.nextBoolean() ? x.plus(x.mean(-1)) : x.plus(1));
    steps.put("minus", (x, random) -> x.minus(x));
    steps.put("times", (x, random) -> random.nextBoolean() ? x.times(x) : x.times(2));
    steps.put("over", (x, random) -> x.mean(0).over(x));
    steps.put("to", (x, random) -> x.to(Device.cpu()));
    steps.put("negate", (x, random) -> x.negate());
    steps.put("square", (x, random) -> x.square());
    steps.put("sqrt", (x, random) -> x.sqrt());
    steps.put("exp", (x, random) -> x.exp());
    steps.put("log", (x, random) -> x.log());
    steps.put("tanh", (x, random) -> x.tanh());
    steps.put("relu", (x, random) -> x.relu());
    steps.put("positive", (x, random) -> x.positive());
    steps.put("gelu", (x, random) -> x.gelu());
    steps.put("geluDerivative", (x, random) -> x.geluDerivative());
    steps.put("geluWithDerivative", (x, random) -> x.geluWithDerivative().derivative());
    steps.put("exactGelu", (x, random) -> x.exactGelu());
    steps.put("exactGeluDerivative", (x, random) -> x.exactGeluDerivative());
    steps.put("exactGeluWithDerivative", (x, random) -> x.exactGeluWithDerivative().value());
    steps.put("silu", (x, random) -> x.silu());
    steps.put("siluDerivative", (x, random) -> x.siluDerivative());
    steps.put("siluWithDerivative", (x, random) -> x.siluWithDerivative().derivative());
    steps.put("gated", (x, random) -> x.gated(Activation.SILU, x));
    steps.put(
        "gatedWithDerivatives",
        (x, random) -> x.gatedWithDerivatives(Activation.GELU, x).alongUp());
    steps.put("sum", (x, random) -> x.sum(axis(x, random)));
    steps.put("mean", (x, random) -> x.mean(axis(x, random)));
    steps.put("centred", (x, random) -> x.centred(axis(x, random)));
    steps.put("norm", (x, random) -> x.norm(axis(x, random)));
    steps.put("rowDots", (x, random) -> x.rowDots(x));
    steps.put("rootMeanSquare", (x, random) -> x.rootMeanSquare(1e-5));
    steps.put(
        "rescaled",
        (x, random) -> {
          Tensor row = Tensor.zeros(x.dtype(), Shape.of(x.shape().size(-1)));
          return x.rescaled(x.mean(-1), row, row);
        });
    steps.put(
        "rotated",
        (x, random) -> {
          Tensor angles = Tensor.zeros(x.dtype(), Shape.of(x.shape().size(-2), 2));
          return x.pad(-1, 0, x.shape().size(-1) + 4).rotated(angles, angles, 1);
        });
    steps.put("sumTo", (x, random) -> x.sumTo(x.shape().with(axis(x, random), 1)));
    steps.put("matmul", (x, random) -> x.matmul(few(x).permute(1, 0)));
    steps.put("matmulTransposed", (x, random) -> x.matmulTransposed(few(x)));
    steps.put("transposedMatmul", (x, random) -> x.transposedMatmul(x.slice(-1, 0, 2)));
    steps.put(
        "affine",
        (x, random) -> {
          int n = x.shape().size(-1);
          Tensor weight = Tensor.zeros(x.dtype(), Shape.of(n, 3)).spacedRows();
          return x.affine(weight, Tensor.zeros(x.dtype(), Shape.of(3)));
        });
    steps.put(
        "byRow",
        (x, random) -> {
          Tensor rows = matrix(x).reshape(1, length(x) / x.shape().size(-1), x.shape().size(-1));
          return Tensor.byRow(List.of(Products.of(rows), Products.of(rows)));
        });
    steps.put("leadingRows", (x, random) -> x.leadingRows(2).times(2));
    steps.put("softmax", (x, random) -> x.softmax());
    steps.put("causalSoftmax", (x, random) -> x.causalSoftmax(1));
    steps.put("causalMask", (x, random) -> x.causalMask(2, -1));
    steps.put("softmaxDerivative", (x, random) -> x.softmaxDerivative(x, 1));
    steps.put("logSoftmax", (x, random) -> x.logSoftmax());
    steps.put("topKMask", (x, random) -> x.topKMask(1));
    steps.put("reshape", (x, random) -> x.reshape(length(x) / 2, 2));
    steps.put("spacedRows", (x, random) -> matrix(x).spacedRows());
    steps.put(
        "permute",
        (x, random) -> {
          List<Integer> axes = new ArrayList<>();
          IntStream.range(0, x.shape().rank()).forEach(axes::add);
          Collections.shuffle(axes, random);
          return x.permute(axes.stream().mapToInt(axis -> axis).toArray());
        });
    steps.put(
        "slice",
        (x, random) -> {
          int axis = axis(x, random);
          return x.slice(axis, 0, Math.max(2, x.shape().size(axis) / 2));
        });
    steps.put(
        "pad",
        (x, random) -> {
          int axis = axis(x, random);
          return x.pad(axis, 0, x.shape().size(axis) + 2 * random.nextInt(2));
        });
    steps.put("concat", (x, random) -> Tensor.concat(axis(x, random), List.of(x, x)));
    steps.put("gather", (x, random) -> x.gather(axis(x, random), 1, 0, 1, 1));
    steps.put(
        "scatterAdd",
        (x, random) -> x.scatterAdd(0, 4, random.ints(x.shape().size(0), 0, 4).toArray()));
    steps.put(
        "broadcastTo", (x, random) -> x.broadcastTo(x.shape().prepend(1 + random.nextInt(2))));
    return steps;
  }

  private static int length(Tensor x) {
    return x.shape().length();
  }

  private static int axis(Tensor x, Random random) {
    return random.nextInt(x.shape().rank());
  }

  private static Tensor few(Tensor x) {
    return matrix(x).slice(0, 0, 2);
  }

  private static Tensor matrix(Tensor x) {
    int n = x.shape().size(-1);
    return x.reshape(length(x) / n, n);
  }

  /** Axes of programs are even and not 0, so that every step is possible. */
  private static Tensor start(DType dtype, Random random) {
    int[] sizes = {2, 4, 6, 30, 1024};
    return Tensor.zeros(
        dtype, Shape.of(2, sizes[random.nextInt(4)], sizes[random.nextInt(sizes.length)]));
  }

  /** Larger results than this are not worked with further. */
  private static final int LARGEST = 1 << 16;

  /** A drawn program; what it does depends on shapes and not on numbers. */
  private static void run(DType dtype, long seed, List<String> seen) {
    Random random = new Random(seed);
    List<Step> steps = List.copyOf(STEPS.values());
    Tensor x = start(dtype, random);
    for (int phase = 0; phase < 4; phase++) {
      try (Scope scope = Scope.open()) {
        Tensor y = x;
        for (int i = random.nextInt(12); i >= 0; i--) {
          Tensor z = steps.get(random.nextInt(steps.size())).apply(y, random);
          seen.add(z.toString());
          assertEquals(length(z), z.toDoubles().length);
          boolean fits =
              length(z) <= LARGEST
                  && z.shape().rank() >= 2
                  && z.shape().rank() <= 4
                  && Arrays.stream(z.shape().dimensions()).allMatch(size -> size % 2 == 0);
          y = fits ? z : y;
        }
        x = random.nextBoolean() ? scope.keep(y) : x;
      }
    }
  }

  /**
   * What a program takes of the device of this thread.
   *
   * @param held by its tensors at its end
   * @param reserved meanwhile
   */
  private record Bytes(long held, long reserved) {
    static Bytes of(Runnable program) {
      Device device = Device.current();
      device.trim();
      long before = device.reservedBytes();
      try (Scope scope = Scope.open()) {
        program.run();
        return new Bytes(device.usedBytes() - before, device.reservedBytes() - before);
      }
    }

    static Bytes planned(Runnable program) {
      return Shapes.measure(() -> of(program));
    }
  }

  @AddLifecycleHook(KernelsTest.NeedsCpu.class)
  @Property(tries = 300)
  void measure_anyProgram_countsWhatTheCpuTakes(@ForAll DType dtype, @ForAll long seed) {
    List<String> planned = new ArrayList<>();
    List<String> made = new ArrayList<>();
    assertEquals(
        Bytes.of(() -> run(dtype, seed, made)), Bytes.planned(() -> run(dtype, seed, planned)));
    assertEquals(made, planned);
  }

  @Test
  void everyOperation_isAStep() {
    TreeSet<String> operations = new TreeSet<>();
    for (Method method : Tensor.class.getDeclaredMethods()) {
      if (Modifier.isPublic(method.getModifiers())
          && Set.of(Tensor.class, Tensor.WithDerivative.class, Tensor.Gated.class)
              .contains(method.getReturnType())) {
        operations.add(method.getName());
      }
    }
    assertEquals(operations, new TreeSet<>(STEPS.keySet()));
  }

  /** Of the blocks that threads hold for a moment as many are counted as there can be at a time. */
  @AddLifecycleHook(KernelsTest.NeedsCpu.class)
  @Property(tries = 20)
  void measure_productThatIsTurned_countsItsScratch(@ForAll long seed) {
    Random random = new Random(seed);
    int m = 9 + random.nextInt(118);
    int k = 600 + random.nextInt(300);
    int n = 600 + random.nextInt(300);
    Runnable product =
        () -> {
          Tensor y = Tensor.zeros(DType.FLOAT, Shape.of(n, k));
          Tensor.zeros(DType.FLOAT, Shape.of(m, k)).matmulTransposed(y);
        };
    Bytes planned = Bytes.planned(product);
    Bytes taken = Bytes.of(product);
    String both = taken + " taken, " + planned + " planned";
    assertEquals(taken.held, planned.held);
    assertTrue(!OneDnn.PRESENT || taken.reserved > taken.held, both);
    assertTrue(taken.reserved <= planned.reserved, both);
    long most = taken.held + Workers.THREADS * (taken.reserved - taken.held);
    assertTrue(planned.reserved <= most + most / 8, both); // blocks of two sizes
  }

  @Test
  void measure_tensorsOfNumbers_areOperandsAndAreNotRead() {
    try (Scope scope = Scope.open()) {
      Tensor weight = Tensor.full(DType.FLOAT, Shape.of(64, 32), Double.NaN);
      long used = Device.current().usedBytes();
      Bytes bytes =
          Bytes.planned(
              () -> {
                Tensor x = weight.gather(0, 5, 6).slice(1, 0, 16);
                assertArrayEquals(new double[32], x.toDoubles());
                assertEquals(0, weight.sum(0).sum(1).item());
                assertEquals(0, weight.get(1, 2));
                assertTrue(x.isFinite());
                assertEquals(Long.MAX_VALUE, Device.current().limitBytes());
              });
      assertTrue(bytes.held > 0 && bytes.held <= bytes.reserved, bytes.toString());
      assertEquals(used, Device.current().usedBytes());
      assertTrue(Double.isNaN(weight.get(1, 2)));
    }
  }

  @Test
  void measure_tensorKeptForLater_isRefusedThere() {
    try (Scope scope = Scope.open()) {
      Tensor kept =
          Shapes.measure(
              () -> {
                try (Scope inner = Scope.open()) {
                  return inner.keepIn(scope, Tensor.zeros(DType.FLOAT, Shape.of(2)));
                }
              });
      for (Executable use : List.<Executable>of(() -> kept.plus(1), kept::toDoubles)) {
        String message = assertThrows(IllegalStateException.class, use).toString();
        assertTrue(message.contains("only measured was used after the measurement"), message);
      }
    }
  }

  @Test
  void measure_insideAnother_countsForItself() {
    Runnable small = () -> Tensor.zeros(DType.FLOAT, Shape.of(1000));
    Bytes alone = Bytes.planned(small);
    Bytes outer = Bytes.planned(() -> assertEquals(alone, Bytes.planned(small)));
    assertEquals(new Bytes(0, 0), outer);
  }

  @Test
  void measure_wrongShapes_areRefusedAsElsewhere() {
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () ->
                    Shapes.measure(
                        () -> {
                          Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(2, 3));
                          return x.matmul(x);
                        }))
            .toString();
    assertTrue(message.contains("left [2, 3] and right [2, 3] do not share"), message);
    assertEquals(Device.standard(), Device.current());
  }
}
