package dev.tributary.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.Kernels.Binary;
import dev.tributary.core.Kernels.Unary;
import java.lang.reflect.Method;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Assume;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.lifecycle.AddLifecycleHook;
import net.jqwik.api.lifecycle.LifecycleContext;
import net.jqwik.api.lifecycle.SkipExecutionHook;

/**
 * The kernels of the CPU and those of its twins, the operations of ND4J and the kernels for CUDA,
 * give the same.
 */
@AddLifecycleHook(InScope.class)
class KernelsTest {
  /** ND4J's exponential and its sums round in more steps than ours. */
  private static final double ROUNDINGS = 32;

  /** Allowed difference, in epsilons relative to the number or to 1: an axis may be summed. */
  private static double roundings(Operand operand) {
    return ROUNDINGS + Arrays.stream(operand.shape().dimensions()).max().orElse(0);
  }

  /** One call with drawn operands; what it gives on either device must be the same. */
  private interface Case {
    Function<Kernels, Tensor> prepare(Draw draw);
  }

  /** Where a case takes its operands from. */
  private record Draw(Operand operand, Random random) {
    DType dtype() {
      return operand.dtype();
    }

    Shape shape() {
      return operand.shape();
    }

    Tensor operandTensor() {
      return operand.tensor();
    }

    Tensor gaussian(Shape shape) {
      return operand.tensor(Reference.gaussian(dtype(), shape, random));
    }

    int upTo(int largest) {
      return random.nextInt(largest + 1);
    }

    @SafeVarargs
    final <E> E oneOf(E... choices) {
      return choices[random.nextInt(choices.length)];
    }

    /** The shape with some axes set to 1. */
    Shape shrunk() {
      int[] dimensions = shape().dimensions();
      for (int axis = 0; axis < dimensions.length; axis++) {
        dimensions[axis] = random.nextBoolean() ? dimensions[axis] : 1;
      }
      return Shape.of(dimensions);
    }

    /** Memory for a result, dirty as recycled memory is. */
    Tensor out(Shape shape) {
      return Tensor.full(dtype(), shape, Double.NaN);
    }
  }

  /** What has its derivative at once. */
  private static final Unary[] WITH_DERIVATIVE = {
    Unary.GELU, Unary.EXACT_GELU, Unary.SILU, Unary.RELU
  };

  private static final Map<String, Case> CASES = cases();

  private static Map<String, Case> cases() {
    Map<String, Case> cases = new LinkedHashMap<>();
    cases.put(
        "write(double[], int, Tensor, long)",
        draw -> {
          double[] values = draw.random.doubles(draw.shape().length() + 3).toArray();
          int count = draw.shape().length();
          return kernels -> {
            Tensor out = Tensor.zeros(draw.dtype(), Shape.of(count + 5));
            kernels.write(values, count, out, 2);
            return out;
          };
        });
    cases.put(
        "read(Tensor, long, double[], int)",
        draw -> {
          Tensor x = draw.operandTensor();
          int from = draw.upTo(x.shape().length());
          int count = draw.upTo(x.shape().length() - from);
          return kernels -> {
            double[] values = new double[count + 2];
            kernels.read(x, from, values, count);
            return Tensor.of(DType.DOUBLE, Shape.of(values.length), values);
          };
        });
    cases.put(
        "fill(Tensor, double)",
        draw ->
            kernels -> {
              Tensor out = draw.out(draw.shape());
              kernels.fill(out, -0.3);
              return out;
            });
    cases.put(
        "unary(Unary, Tensor, Tensor)",
        draw -> {
          Unary function = draw.oneOf(Unary.values());
          Tensor x = draw.operandTensor();
          return kernels -> {
            Tensor out = draw.out(draw.shape());
            kernels.unary(function, x, out);
            return out;
          };
        });
    cases.put(
        "unaryWithDerivative(Unary, Tensor, Tensor, Tensor)",
        draw -> {
          Unary function = draw.oneOf(WITH_DERIVATIVE);
          Tensor x = draw.operandTensor();
          return kernels -> {
            Tensor out = draw.out(draw.shape());
            Tensor derivative = draw.out(draw.shape());
            kernels.unaryWithDerivative(function, x, out, derivative);
            Shape whole = draw.shape().prepend(1);
            return Tensor.concat(0, List.of(out.reshape(whole), derivative.reshape(whole)));
          };
        });
    cases.put(
        "gate(Unary, Tensor, Tensor, Tensor)",
        draw -> {
          Unary function = draw.oneOf(WITH_DERIVATIVE);
          Tensor gate = draw.operandTensor();
          Tensor up = draw.gaussian(draw.shape());
          return kernels -> {
            Tensor out = draw.out(draw.shape());
            kernels.gate(function, gate, up, out);
            return out;
          };
        });
    cases.put(
        "gateWithDerivatives(Unary, Tensor, Tensor, Tensor, Tensor, Tensor)",
        draw -> {
          Unary function = draw.oneOf(WITH_DERIVATIVE);
          Tensor gate = draw.operandTensor();
          Tensor up = draw.gaussian(draw.shape());
          return kernels -> {
            List<Tensor> results =
                Stream.generate(() -> draw.out(draw.shape().prepend(1))).limit(3).toList();
            kernels.gateWithDerivatives(
                function, gate, up, results.get(0), results.get(1), results.get(2));
            return Tensor.concat(0, results);
          };
        });
    cases.put(
        "centre(Tensor, Tensor)",
        draw -> {
          Assume.that(draw.shape().rank() > 0);
          Tensor x = draw.operandTensor();
          return kernels -> {
            Tensor out = draw.out(draw.shape());
            kernels.centre(x, out);
            return out;
          };
        });
    cases.put(
        "rowDots(Tensor, Tensor, Tensor)",
        draw -> {
          Assume.that(draw.shape().rank() > 0);
          Tensor x = draw.operandTensor();
          Tensor y = draw.gaussian(draw.shape().prepend(draw.upTo(3)));
          return kernels -> {
            Tensor out = draw.out(y.shape().with(-1, 1));
            kernels.rowDots(x, y, out);
            return out;
          };
        });
    cases.put(
        "rootMeanSquare(Tensor, double, Tensor)",
        draw -> {
          Assume.that(draw.shape().rank() > 0);
          Tensor x = draw.operandTensor();
          return kernels -> {
            Tensor out = draw.out(draw.shape().with(-1, 1));
            kernels.rootMeanSquare(x, 0.1, out);
            return out;
          };
        });
    cases.put(
        "rescale(Tensor, Tensor, Tensor, Tensor, Tensor)",
        draw -> {
          Assume.that(draw.shape().rank() > 0);
          Tensor x = draw.gaussian(draw.shape().prepend(draw.upTo(3)));
          Tensor scale = draw.gaussian(draw.shape().with(-1, 1)).square().plus(0.5);
          Tensor gain = draw.gaussian(Shape.of(draw.shape().size(-1)));
          Tensor bias = draw.gaussian(Shape.of(draw.shape().size(-1)));
          return kernels -> {
            Tensor out = draw.out(x.shape());
            kernels.rescale(x, scale, gain, bias, out);
            return out;
          };
        });
    cases.put(
        "rotate(Tensor, Tensor, Tensor, int, Tensor)",
        draw -> {
          Assume.that(draw.shape().rank() > 1 && draw.shape().size(-1) > 0);
          Tensor x = draw.operandTensor();
          int pairs = draw.upTo(x.shape().size(-1) / 2);
          Assume.that(pairs > 0);
          int distance = draw.oneOf(1, pairs);
          Shape angles = Shape.of(x.shape().size(-2), pairs);
          Tensor cosine = draw.gaussian(angles);
          Tensor sine = draw.gaussian(angles);
          return kernels -> {
            Tensor out = draw.out(draw.shape());
            kernels.rotate(x, cosine, sine, distance, out);
            return out;
          };
        });
    cases.put(
        "binary(Binary, Tensor, Tensor, Tensor)",
        draw -> {
          Binary function = draw.oneOf(Binary.values());
          Shape left = draw.shrunk();
          Shape right = draw.shrunk();
          Tensor x = draw.gaussian(left);
          Tensor y = draw.gaussian(right.subShape(draw.upTo(right.rank()), right.rank()));
          return kernels -> {
            Tensor out = draw.out(x.shape().broadcast(y.shape()));
            kernels.binary(function, x, y, out);
            return out;
          };
        });
    cases.put(
        "binary(Binary, Tensor, double, Tensor)",
        draw -> {
          Binary function = draw.oneOf(Binary.values());
          Tensor x = draw.operandTensor();
          return kernels -> {
            Tensor out = draw.out(draw.shape());
            kernels.binary(function, x, -0.7, out);
            return out;
          };
        });
    cases.put(
        "sum(Tensor, int, int, int, Tensor)",
        draw -> {
          Folded folded = Folded.of(draw);
          Tensor x = draw.operandTensor();
          return kernels -> {
            Tensor out = draw.out(Shape.of(folded.outer, 1, folded.inner));
            kernels.sum(x, folded.outer, folded.size, folded.inner, out);
            return out;
          };
        });
    cases.put("matmul(Tensor, boolean, Tensor, boolean, Tensor, boolean)", KernelsTest::matmul);
    cases.put("copy(Tensor, long, int[], Tensor, long, int[], int[])", KernelsTest::copy);
    cases.put(
        "gather(Tensor, int, long, long, int, int[], Tensor)",
        draw -> {
          Folded folded = Folded.of(draw);
          int[] indices = folded.indices(draw, draw.upTo(4));
          Tensor x = draw.operandTensor();
          return kernels -> {
            Tensor out = draw.out(Shape.of(folded.outer, indices.length, folded.inner));
            int block = folded.size * folded.inner;
            kernels.gather(x, folded.outer, block, folded.inner, folded.inner, indices, out);
            return out;
          };
        });
    cases.put(
        "scatterAdd(Tensor, int, int, int, int[], Tensor)",
        draw -> {
          Folded folded = Folded.of(draw);
          int[] indices = folded.indices(draw, draw.upTo(4));
          Tensor x = draw.gaussian(Shape.of(folded.outer, indices.length, folded.inner));
          return kernels -> {
            Tensor out = Tensor.full(draw.dtype(), draw.shape(), 1);
            kernels.scatterAdd(x, folded.outer, folded.size, folded.inner, indices, out);
            return out;
          };
        });
    cases.put(
        "causalMask(Tensor, int, double, Tensor)",
        draw -> {
          Assume.that(draw.shape().rank() > 1);
          int visible = draw.random.nextBoolean() ? Integer.MAX_VALUE : 1 + draw.upTo(4);
          Tensor x = draw.operandTensor();
          return kernels -> {
            Tensor out = draw.out(draw.shape());
            kernels.causalMask(x, visible, -0.3, out);
            return out;
          };
        });
    cases.put(
        "softmax(Tensor, int, Tensor)",
        draw -> {
          Assume.that(draw.shape().rank() > 0 && draw.shape().size(-1) > 0);
          int visible = draw.random.nextBoolean() ? Integer.MAX_VALUE : 1 + draw.upTo(4);
          Tensor x = draw.operandTensor();
          return kernels -> {
            Tensor out = draw.out(draw.shape());
            kernels.softmax(x, visible, out);
            return out;
          };
        });
    cases.put(
        "softmaxDerivative(Tensor, Tensor, int, Tensor)",
        draw -> {
          Assume.that(draw.shape().rank() > 0 && draw.shape().size(-1) > 0);
          int visible = draw.random.nextBoolean() ? Integer.MAX_VALUE : 1 + draw.upTo(4);
          Tensor p = draw.operandTensor().causalSoftmax(visible);
          Tensor u = draw.gaussian(draw.shape().prepend(draw.upTo(3)));
          return kernels -> {
            Tensor out = draw.out(u.shape());
            kernels.softmaxDerivative(p, u, visible, out);
            return out;
          };
        });
    cases.put(
        "logSoftmax(Tensor, Tensor)",
        draw -> {
          Assume.that(draw.shape().rank() > 0 && draw.shape().size(-1) > 0);
          Tensor x = draw.operandTensor();
          return kernels -> {
            Tensor out = draw.out(draw.shape());
            kernels.logSoftmax(x, out);
            return out;
          };
        });
    cases.put(
        "topKMask(Tensor, int, Tensor)",
        draw -> {
          Assume.that(draw.shape().rank() > 0);
          Assume.that(draw.shape().length() <= MOST_ROWS * draw.shape().size(-1));
          int count = draw.upTo(draw.shape().size(-1));
          Tensor x = draw.operand.tensor(draw.operand.reference().map(Math::rint));
          return kernels -> {
            Tensor out = draw.out(draw.shape());
            kernels.topKMask(x, count, out);
            return out;
          };
        });
    cases.put(
        "isFinite(Tensor)",
        draw -> {
          double[] values = draw.operand.reference().values();
          if (values.length > 0) {
            values[draw.upTo(values.length - 1)] =
                draw.oneOf(new Double[] {0.0, Double.NaN, Double.NEGATIVE_INFINITY});
          }
          Tensor x = Tensor.of(draw.dtype(), draw.shape(), values);
          return kernels -> Tensor.full(DType.DOUBLE, Shape.of(1), kernels.isFinite(x) ? 1 : 0);
        });
    cases.put(
        "reaching(Tensor, double[], double[], double)",
        draw -> {
          int m = draw.upTo(40);
          int n = draw.upTo(40);
          double[] rows = halves(draw, m, 0, 4);
          double[] columns = halves(draw, n, 0, 4);
          Tensor x = Tensor.of(draw.dtype(), Shape.of(m, n), halves(draw, m * n, -9, 9));
          double bound = draw.upTo(20) / 4.0;
          return kernels -> {
            int[] found = kernels.reaching(x, rows, columns, bound);
            double[] positions = IntStream.of(found).asDoubleStream().toArray();
            return Tensor.of(DType.DOUBLE, Shape.of(found.length), positions);
          };
        });
    return cases;
  }

  /** Numbers whose sums and products are exact: which of them reach a bound is not rounded. */
  private static double[] halves(Draw draw, int count, int from, int to) {
    return draw.random.ints(count, from, to).mapToDouble(i -> i / 2.0).toArray();
  }

  /** The ND4J kernels that go row by row would take most of the time of all tests. */
  private static final int MOST_ROWS = 50;

  /** A shape seen from one of its axes. */
  private record Folded(int outer, int size, int inner) {
    static Folded of(Draw draw) {
      Shape shape = draw.shape();
      Assume.that(shape.rank() > 0);
      int axis = draw.upTo(shape.rank() - 1);
      return new Folded(
          shape.subShape(0, axis).length(),
          shape.size(axis),
          shape.subShape(axis + 1, shape.rank()).length());
    }

    int[] indices(Draw draw, int count) {
      Assume.that(outer <= MOST_ROWS);
      return draw.random.ints(size == 0 ? 0 : count, 0, Math.max(1, size)).toArray();
    }
  }

  private static Function<Kernels, Tensor> matmul(Draw draw) {
    Shape batch = draw.shape();
    Assume.that(batch.rank() <= 2 && batch.length() < 100);
    int m = 1 + draw.upTo(6);
    int n = 1 + draw.upTo(6);
    int k = 1 + draw.upTo(6);
    boolean xTransposed = draw.random.nextBoolean();
    boolean yTransposed = draw.random.nextBoolean();
    boolean accumulate = draw.random.nextBoolean();
    Shape left = draw.shrunk();
    Shape right = draw.shrunk();
    Tensor x =
        draw.gaussian((xTransposed ? Shape.of(k, m) : Shape.of(m, k)).prepend(left.dimensions()));
    Tensor y =
        draw.gaussian((yTransposed ? Shape.of(n, k) : Shape.of(k, n)).prepend(right.dimensions()));
    Shape product = Shape.of(m, n).prepend(left.broadcast(right).dimensions());
    return kernels -> {
      Tensor out = accumulate ? Tensor.full(draw.dtype(), product, 0.5) : draw.out(product);
      kernels.matmul(x, xTransposed, y, yTransposed, out, accumulate);
      return out;
    };
  }

  /** A box out of the middle of one tensor to the middle of another, repeated along some axes. */
  private static Function<Kernels, Tensor> copy(Draw draw) {
    int[] box = draw.shape().dimensions();
    int rank = box.length;
    int[] fromSizes = box.clone();
    int[] toSizes = box.clone();
    boolean[] repeated = new boolean[rank];
    for (int axis = 0; axis < rank; axis++) {
      repeated[axis] = draw.upTo(3) == 0;
      fromSizes[axis] = repeated[axis] ? 1 : box[axis] + draw.upTo(2);
      toSizes[axis] += draw.upTo(2);
    }
    Tensor from = draw.gaussian(Shape.of(fromSizes));
    int[] fromStrides = Shape.of(fromSizes).strides();
    int[] toStrides = Shape.of(toSizes).strides();
    int fromOffset = 0;
    int toOffset = 0;
    for (int axis = 0; axis < rank; axis++) {
      fromOffset += repeated[axis] ? 0 : (fromSizes[axis] - box[axis]) * fromStrides[axis];
      toOffset += (toSizes[axis] - box[axis]) * toStrides[axis];
      fromStrides[axis] = repeated[axis] ? 0 : fromStrides[axis];
    }
    int fromStart = fromOffset;
    int toStart = toOffset;
    return kernels -> {
      Tensor to = Tensor.zeros(draw.dtype(), Shape.of(toSizes));
      kernels.copy(from, fromStart, fromStrides, to, toStart, toStrides, box);
      return to;
    };
  }

  @Provide
  Arbitrary<String> methods() {
    return Arbitraries.of(CASES.keySet());
  }

  @Provide
  Arbitrary<Operand> operands() {
    return Operand.any(0);
  }

  /** The twin is another way to compute on the CPU. */
  static final class NeedsCpu implements SkipExecutionHook {
    @Override
    public SkipResult shouldBeSkipped(LifecycleContext context) {
      return Device.current() == Cpu.INSTANCE
          ? SkipResult.doNotSkip()
          : SkipResult.skip("tensors live on " + Device.current());
    }
  }

  @AddLifecycleHook(NeedsCpu.class)
  @Property(tries = 1700)
  void everyMethod_bothDevices_giveTheSame(
      @ForAll("methods") String method, @ForAll("operands") Operand operand) {
    requireSame(method, Nd4jDevice.INSTANCE, operand);
  }

  @AddLifecycleHook(NeedsCpu.class)
  @AddLifecycleHook(CudaStandIn.Needed.class)
  @Property(tries = 1700)
  void everyMethod_onCuda_givesTheSame(
      @ForAll("methods") String method, @ForAll("operands") Operand operand) {
    requireSame(method, Cuda.of(0), operand);
  }

  /**
   * Long enough to be shared by threads, in rows of several pieces, of one, and of many together.
   */
  private static final Shape[] LARGE = {
    Shape.of(70_000),
    Shape.of(2, 50_000),
    Shape.of(40, 2500),
    Shape.of(3, 40, 700),
    Shape.of(45, 9, 130)
  };

  @Provide
  Arbitrary<Operand> largeOperands() {
    return Operand.of(Arbitraries.of(LARGE));
  }

  @AddLifecycleHook(NeedsCpu.class)
  @Property(tries = 200)
  void everyMethod_largeOperands_bothDevices_giveTheSame(
      @ForAll("methods") String method, @ForAll("largeOperands") Operand operand) {
    requireSame(method, Nd4jDevice.INSTANCE, operand);
  }

  @AddLifecycleHook(NeedsCpu.class)
  @AddLifecycleHook(CudaStandIn.Needed.class)
  @Property(tries = 200)
  void everyMethod_largeOperands_onCuda_givesTheSame(
      @ForAll("methods") String method, @ForAll("largeOperands") Operand operand) {
    requireSame(method, Cuda.of(0), operand);
  }

  private static void requireSame(String method, Device twin, Operand operand) {
    Case tested = Checks.requirePresent(CASES.get(method), "no case for %s", method);
    requireSame(tested, twin, operand, roundings(operand));
  }

  private static void requireSame(Case tested, Device twin, Operand operand, double roundings) {
    Tensor ours = on(Cpu.INSTANCE, tested, operand);
    assertSame(ours, on(twin, tested, operand), roundings);
  }

  private static Tensor on(Device device, Case tested, Operand operand) {
    return device.during(
        () -> tested.prepare(new Draw(operand, operand.random())).apply(device.kernels()));
  }

  private static void assertSame(Tensor ours, Tensor theirs, double roundings) {
    Reference.of(theirs).assertClose(ours, roundings);
  }

  /** Rows of products: one, a few, and both sides of what fills caches and strips. */
  private static final int[] ROWS = {1, 2, 4, 5, 8, 9, 16, 17, 64, 65, 127, 130, 300};

  /** Columns and inner sizes of products. */
  private static final int[][] SIZES = {
    {1, 4100}, {4100, 1}, {16, 17}, {65, 1024}, {300, 300}, {1000, 400}, {4096, 300}, {768, 3072}
  };

  /** Takes a few milliseconds. */
  private static final long MOST_PRODUCTS = 1 << 26;

  /** Products of all sizes at which one is routed, shared or turned in another way. */
  @AddLifecycleHook(NeedsCpu.class)
  @Property(tries = 1)
  void matmul_sizesOfEveryRoute_bothDevices_giveTheSame(@ForAll long seed) {
    requireSameProducts(Nd4jDevice.INSTANCE, seed);
  }

  @AddLifecycleHook(NeedsCpu.class)
  @AddLifecycleHook(CudaStandIn.Needed.class)
  @Property(tries = 1)
  void matmul_sizesOfEveryRoute_onCuda_givesTheSame(@ForAll long seed) {
    requireSameProducts(Cuda.of(0), seed);
  }

  private static void requireSameProducts(Device twin, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    for (int[] size : SIZES) {
      for (int rows : ROWS) {
        if ((long) rows * size[0] * size[1] <= MOST_PRODUCTS) {
          requireSameProducts(twin, 1, 1, rows, size[0], size[1], random);
        }
      }
    }
    for (int rows : ROWS) {
      requireSameProducts(twin, 3, 3, rows, 65, 130, random);
      requireSameProducts(twin, 3, 1, rows, 130, 65, random);
    }
  }

  /** Of small whole numbers, so that products are exact in whatever order they are summed. */
  private static void requireSameProducts(
      Device twin, int batch, int rightBatch, int m, int n, int k, SplittableRandom random) {
    double[] lefts = wholeNumbers(batch * m * k, random);
    double[] rights = wholeNumbers(rightBatch * k * n, random);
    int spaced = random.nextInt(256); // a bit for each layout
    for (DType dtype : DType.values()) {
      Function<Device, List<double[]>> products =
          device ->
              device.during(
                  () -> {
                    try (Scope scope = Scope.open()) {
                      Tensor x = Tensor.of(dtype, Shape.of(batch, m, k), lefts);
                      Tensor y = Tensor.of(dtype, Shape.of(rightBatch, k, n), rights);
                      return Stream.concat(
                              IntStream.range(0, 8)
                                  .mapToObj(bits -> product(device, x, y, bits, spaced)),
                              amongOthers(x, y).map(Tensor::toDoubles))
                          .toList();
                    }
                  });
      List<double[]> ours = products.apply(Cpu.INSTANCE);
      List<double[]> theirs = products.apply(twin);
      for (int bits = 0; bits < ours.size(); bits++) {
        String what = dtype + " " + List.of(batch, rightBatch, m, n, k, bits, spaced);
        assertArrayEquals(unsigned(theirs.get(bits)), unsigned(ours.get(bits)), what);
      }
    }
  }

  /** With one zero: libraries differ in which one a product is. */
  private static double[] unsigned(double... values) {
    return Arrays.stream(values).map(value -> value + 0.0).toArray();
  }

  /** The product of [batch, m, k] and [batch, k, n], taken as they are or as transposes. */
  private static double[] product(Device device, Tensor x, Tensor y, int bits, int spaced) {
    boolean xTransposed = (bits & 1) != 0;
    boolean yTransposed = (bits & 2) != 0;
    boolean accumulate = (bits & 4) != 0;
    Shape out = x.shape().with(-1, y.shape().size(-1));
    Tensor left = xTransposed ? turned(x) : x;
    Tensor right = yTransposed ? turned(y) : y;
    if (y.shape().size(0) == 1) {
      Tensor matrix = right.reshape(right.shape().subShape(1, 3));
      right = (spaced >> bits & 1) == 1 ? matrix.spacedRows() : matrix;
    }
    try (Scope scope = Scope.open()) {
      Tensor result = Tensor.full(x.dtype(), out, accumulate ? 0.5 : Double.NaN);
      device.kernels().matmul(left, xTransposed, right, yTransposed, result, accumulate);
      return result.toDoubles();
    }
  }

  /** Products that are written between rows of others, and of matrices that lie there. */
  private static Stream<Tensor> amongOthers(Tensor x, Tensor y) {
    Tensor half = x.leadingRows((x.shape().size(1) + 1) / 2);
    if (x.shape().size(0) != y.shape().size(0)) {
      return Stream.of(half.matmul(y));
    }
    Products plain = Products.of(x.matmul(y));
    Products product = Products.of(x, y);
    Products transposed = Products.transposed(x, y.permute(0, 2, 1));
    return Stream.of(half.matmul(y), Tensor.byRow(List.of(product, plain, transposed)));
  }

  /** The same numbers, the last two axes of each other's size. */
  private static Tensor turned(Tensor x) {
    return x.reshape(x.shape().size(0), x.shape().size(2), x.shape().size(1));
  }

  private static double[] wholeNumbers(int length, SplittableRandom random) {
    double[] values = new double[length];
    for (int i = 0; i < length; i++) {
      values[i] = random.nextInt(9) - 4;
    }
    return values;
  }

  @AddLifecycleHook(NeedsCpu.class)
  @Example
  void softmax_oddRows_bothDevices_giveTheSame() {
    requireSameSoftmaxOfOddRows(Nd4jDevice.INSTANCE);
  }

  @AddLifecycleHook(NeedsCpu.class)
  @AddLifecycleHook(CudaStandIn.Needed.class)
  @Example
  void softmax_oddRows_onCuda_givesTheSame() {
    requireSameSoftmaxOfOddRows(Cuda.of(0));
  }

  private static void requireSameSoftmaxOfOddRows(Device twin) {
    double hidden = Double.NEGATIVE_INFINITY;
    double[] rows = {
      hidden, 1, 2, hidden, hidden, hidden, Double.NaN, 1, 2, 1e30, 1e30, -1e30, 0, -200, -90
    };
    for (DType dtype : DType.values()) {
      Operand operand = new Operand(dtype, Shape.of(5, 3), 0, false);
      requireSame(
          draw -> {
            Tensor x = Tensor.of(dtype, draw.shape(), rows);
            return kernels -> {
              Tensor softmax = draw.out(draw.shape());
              Tensor logarithms = draw.out(draw.shape());
              kernels.softmax(x, Integer.MAX_VALUE, softmax);
              kernels.logSoftmax(x, logarithms);
              return Tensor.concat(0, List.of(softmax, logarithms));
            };
          },
          twin,
          operand,
          ROUNDINGS);
    }
  }

  @AddLifecycleHook(NeedsCpu.class)
  @Example
  void operands_onTwoDevices_areRefused() {
    Tensor here = Tensor.full(DType.FLOAT, Shape.of(2), 1);
    Tensor there = Nd4jDevice.INSTANCE.during(() -> Tensor.full(DType.FLOAT, Shape.of(2), 1));
    String message =
        assertThrows(IllegalArgumentException.class, () -> here.plus(there)).toString();
    assertTrue(message.contains("plus: left is on the CPU and right is on ND4J; "), message);
    assertArrayEquals(new double[] {2, 2}, here.plus(there.to(Device.cpu())).toDoubles());
    Tensor sum = there.plus(there).plus(1); // stays there
    assertArrayEquals(new double[] {3, 3}, sum.toDoubles());
    assertEquals(Nd4jDevice.INSTANCE, sum.lease().device);
  }

  @Example
  void everyMethod_hasACase() {
    Set<String> methods = new TreeSet<>();
    for (Method method : Kernels.class.getDeclaredMethods()) {
      methods.add(
          Arrays.stream(method.getParameterTypes())
              .map(Class::getSimpleName)
              .collect(Collectors.joining(", ", method.getName() + "(", ")")));
    }
    methods.removeIf(method -> method.startsWith("select(")); // no twin: EncodedTest
    assertEquals(methods, new TreeSet<>(CASES.keySet()));
  }
}
