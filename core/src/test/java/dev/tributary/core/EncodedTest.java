package dev.tributary.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.Rows.Matrix;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import net.jqwik.api.Assume;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.lifecycle.AddLifecycleHook;

/** A matrix that lies in blocks behaves as the one of its numbers. */
@AddLifecycleHook(InScope.class)
class EncodedTest {
  /** Products are summed in another order. */
  private static final double ROUNDINGS = 64;

  /** Random blocks of numbers below 10, and what they are. */
  static final class Stored {
    private final BlockFormat format;
    private final boolean turned;
    private final Shape shape;
    private final byte[] bytes;
    private final double[] values;

    private Stored(BlockFormat format, boolean turned, Shape shape, byte[] bytes, double[] values) {
      this.format = format;
      this.turned = turned;
      this.shape = shape;
      this.bytes = bytes;
      this.values = values;
    }

    /** So many stored rows of so many numbers. */
    static Stored random(BlockFormat format, boolean turned, int rows, int width, long seed) {
      Random random = new Random(seed);
      byte[] bytes = new byte[rows * width / format.elements() * format.bytes()];
      float[] numbers = new float[rows * width];
      byte[] one = new byte[format.bytes()];
      float[] decoded = new float[format.elements()];
      for (int block = 0; block < numbers.length / decoded.length; block++) {
        do {
          random.nextBytes(one);
          format.decode(one, 0, decoded, 0, 1);
        } while (!IntStream.range(0, decoded.length).allMatch(i -> Math.abs(decoded[i]) < 10));
        System.arraycopy(one, 0, bytes, block * one.length, one.length);
        System.arraycopy(decoded, 0, numbers, block * decoded.length, decoded.length);
      }
      double[] values = new double[numbers.length];
      for (int i = 0; i < values.length; i++) {
        values[turned ? i % width * rows + i / width : i] = numbers[i];
      }
      Shape shape = turned ? Shape.of(width, rows) : Shape.of(rows, width);
      return new Stored(format, turned, shape, bytes, values);
    }

    static Stored random(BlockFormat format, boolean turned, int rows, long seed) {
      int blocks = 1 + new Random(seed).nextInt(format.elements() == 1 ? 900 : 5);
      return random(format, turned, rows, blocks * format.elements(), seed);
    }

    void read(long from, ByteBuffer target) {
      target.put(bytes, (int) from, target.remaining());
    }

    Tensor encoded(DType dtype) {
      return Tensor.encoded(dtype, shape, format, turned, this::read);
    }

    Tensor decoded(DType dtype) {
      return Tensor.decoded(dtype, shape, format, turned, this::read);
    }

    Tensor plain(DType dtype) {
      return Tensor.of(dtype, shape, values);
    }
  }

  private static Tensor gaussian(DType dtype, Shape shape, Random random) {
    return Tensor.of(dtype, shape, random.doubles(shape.length(), -2, 2).toArray());
  }

  @Property(tries = 300)
  void encoded_andDecoded_areTheirNumbers(
      @ForAll BlockFormat format,
      @ForAll DType dtype,
      @ForAll boolean turned,
      @ForAll @IntRange(min = 1, max = 140) int rows,
      @ForAll long seed) {
    Random random = new Random(seed);
    Stored stored = Stored.random(format, turned, rows, seed);
    for (Tensor x : List.of(stored.encoded(dtype), stored.decoded(dtype))) {
      assertEquals(stored.shape, x.shape());
      assertEquals(dtype, x.dtype());
      assertArrayEquals(stored.values, x.toDoubles());
      assertTrue(x.isFinite());
      int i = random.nextInt(stored.shape.size(0));
      int j = random.nextInt(stored.shape.size(1));
      assertEquals(stored.values[i * stored.shape.size(1) + j], x.get(i, j));
    }
  }

  @Property(tries = 300)
  void parts_areThoseOfTheNumbers(
      @ForAll BlockFormat format,
      @ForAll DType dtype,
      @ForAll boolean turned,
      @ForAll @IntRange(min = 1, max = 140) int rows,
      @ForAll long seed) {
    Random random = new Random(seed);
    Stored stored = Stored.random(format, turned, rows, seed);
    Shape shape = stored.shape;
    int axis = random.nextInt(2);
    int block = random.nextBoolean() ? format.elements() : 1;
    int from = random.nextInt(shape.size(axis)) / block * block;
    int to = from + random.nextInt(shape.size(axis) - from + 1) / block * block;
    int[] chosen = random.ints(random.nextInt(9), 0, shape.size(axis)).toArray();
    List<UnaryOperator<Tensor>> operations =
        List.of(
            x -> x.slice(axis, from, to),
            x -> x.slice(axis, from, to).slice(1 - axis, 0, 1),
            x -> x.slice(0, 0, shape.size(0)).slice(axis, from, to).permute(1, 0),
            x -> x.gather(axis, chosen),
            x -> x.permute(1, 0),
            x -> x.permute(1, 0).gather(axis, 0, 0),
            x -> x.permute(0, 1),
            x -> x.reshape(shape.length()),
            x -> x.reshape(1, shape.size(0), shape.size(1)),
            x -> x.times(3),
            x -> x.plus(x),
            x -> x.sum(axis),
            x -> x.pad(axis, 2, shape.size(axis) + 5),
            x -> Tensor.concat(axis, List.of(x, x)),
            x -> x.broadcastTo(shape.prepend(2)),
            Tensor::spacedRows);
    Tensor plain = stored.plain(dtype);
    for (UnaryOperator<Tensor> operation : operations) {
      Tensor expected = operation.apply(plain);
      for (Tensor x : List.of(stored.encoded(dtype), stored.decoded(dtype))) {
        Tensor actual = operation.apply(x);
        assertEquals(expected.shape(), actual.shape());
        assertArrayEquals(expected.toDoubles(), actual.toDoubles());
      }
    }
  }

  @Property(tries = 400)
  void products_areThoseOfTheNumbers(
      @ForAll BlockFormat format,
      @ForAll DType dtype,
      @ForAll boolean turned,
      @ForAll @IntRange(min = 1, max = 600) int rows,
      @ForAll @IntRange(min = 1, max = 90) int m,
      @ForAll long seed) {
    Random random = new Random(seed);
    Stored stored = Stored.random(format, turned, rows, seed);
    int k = stored.shape.size(0);
    int n = stored.shape.size(1);
    Tensor left = gaussian(dtype, Shape.of(m, k), random);
    Tensor other = gaussian(dtype, Shape.of(2, m, n), random);
    Tensor standing = gaussian(dtype, Shape.of(k, m), random);
    Tensor bias = gaussian(dtype, Shape.of(n), random);
    int first = random.nextInt(n) / format.elements() * format.elements();
    List<UnaryOperator<Tensor>> products =
        List.of(
            left::matmul,
            other::matmulTransposed,
            standing::transposedMatmul,
            x -> left.affine(x, bias),
            x -> x.matmulTransposed(other.slice(0, 0, 1).reshape(m, n)),
            x -> left.reshape(1, m, k).matmul(x.reshape(1, k, n)),
            x -> left.matmul(x.slice(1, first, n)),
            x -> standing.slice(1, 0, 1).transposedMatmul(x));
    Tensor plain = stored.plain(dtype);
    double size = Arrays.stream(stored.values).map(Math::abs).max().orElse(0);
    double tolerance = ROUNDINGS * dtype.epsilon() * (1 + size) * Math.sqrt(k + n) * 4;
    for (UnaryOperator<Tensor> product : products) {
      Tensor expected = product.apply(plain);
      for (Tensor x : List.of(stored.encoded(dtype), stored.decoded(dtype))) {
        Tensor actual = product.apply(x);
        assertEquals(expected.shape(), actual.shape());
        assertArrayEquals(expected.toDoubles(), actual.toDoubles(), tolerance);
      }
    }
  }

  /** The route of processors that have units for BF16, on any that knows it at all. */
  @Property(tries = 100)
  void inParts_isTheProductOfFloat(
      @ForAll @IntRange(min = 1, max = 600) int rows,
      @ForAll @IntRange(min = 1, max = 70) int m,
      @ForAll boolean accumulate,
      @ForAll boolean standing,
      @ForAll long seed) {
    Assume.that(OneDnnBf16.POSSIBLE);
    Random random = new Random(seed);
    int k = 2 * (1 + random.nextInt(300));
    Stored stored = Stored.random(BlockFormat.BF16, true, rows, k, seed);
    double[] numbers = random.doubles((long) m * k, -2, 2).toArray();
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = (float) numbers[i] * Math.scalb(1, random.nextInt(40) - 20);
    }
    Tensor left = Tensor.of(DType.FLOAT, Shape.of(m, k), numbers);
    Tensor right = stored.encoded(DType.FLOAT);
    Tensor out = Tensor.full(DType.FLOAT, Shape.of(m, rows), accumulate ? 3 : 7);
    Tensor arranged = standing ? left.permute(1, 0) : left;
    Matrix x =
        new Matrix(Cpu.access(arranged.block()), arranged.offset(), standing ? m : k, standing);
    Matrix result = new Matrix(Cpu.access(out.block()), out.offset(), rows, false);
    assertTrue(
        EncodedProducts.of(FloatRows.INSTANCE, left, false, right, false, out, accumulate)
            .inParts(x, result));
    Tensor exact = Tensor.of(DType.DOUBLE, Shape.of(m, k), numbers);
    Tensor sizes = stored.plain(DType.DOUBLE);
    double[] expected = exact.matmul(sizes).plus(accumulate ? 3 : 0).toDoubles();
    Tensor absolute = exact.square().sqrt().matmul(sizes.square().sqrt()).plus(3);
    double[] scale = absolute.toDoubles();
    double[] actual = out.toDoubles();
    for (int i = 0; i < actual.length; i++) {
      assertEquals(expected[i], actual[i], 8 * DType.FLOAT.epsilon() * scale[i]);
    }
  }

  @Property(tries = 100)
  void otherDevices_decodeAtOnce(
      @ForAll BlockFormat format,
      @ForAll DType dtype,
      @ForAll boolean turned,
      @ForAll @IntRange(min = 1, max = 20) int rows,
      @ForAll long seed) {
    Stored stored = Stored.random(format, turned, rows, seed);
    double[] numbers = Nd4jDevice.INSTANCE.during(() -> stored.encoded(dtype).toDoubles());
    assertArrayEquals(stored.values, numbers);
  }

  @Example
  void notFinite_isSeen() {
    for (int bits : new int[] {0x7f80, 0xff80, 0x7fc1}) {
      for (int width : new int[] {33, 34}) {
        for (int at : new int[] {200, 201}) {
          assertFalse(bf16(width, at, bits).isFinite());
          assertTrue(bf16(width, at, bits ^ 0x100).isFinite());
        }
      }
    }
  }

  /** Seven stored rows of zeros but for one number. */
  private static Tensor bf16(int width, int at, int bits) {
    ByteBuffer raw = ByteBuffer.allocate(2 * width * 7).order(ByteOrder.LITTLE_ENDIAN);
    raw.putShort(2 * at, (short) bits);
    return Tensor.encoded(
        DType.FLOAT,
        Shape.of(width, 7),
        BlockFormat.BF16,
        true,
        (from, target) -> target.put(raw.array(), (int) from, target.remaining()));
  }

  /** Its pages are reserved, and but a few of them used. */
  @Example
  void rowsBeyondEveryBuffer_areRead() {
    int width = 4096;
    int height = (1 << 18) + 100;
    int last = height - 1;
    long at = (long) last * width * Short.BYTES;
    Tensor.Bytes source =
        (from, target) -> {
          if (from <= at && at < from + target.remaining()) {
            ByteBuffer row = target.slice((int) (at - from), 2 * width);
            for (int i = 0; i < width; i++) {
              row.order(ByteOrder.LITTLE_ENDIAN).putShort(2 * i, (short) (0x3f80 + i % 100));
            }
          }
        };
    Tensor x =
        Tensor.encoded(DType.FLOAT, Shape.of(height, width), BlockFormat.BF16, false, source);
    Tensor row = x.gather(0, last);
    double[] expected = IntStream.range(0, width).mapToDouble(i -> 1 + i % 100 / 128d).toArray();
    assertArrayEquals(expected, row.toDoubles());
    assertEquals(expected[77], x.get(last, 77));
    Tensor end = x.slice(0, last, height);
    assertEquals(row.rowDots(row).item(), row.matmulTransposed(end).item(), 0.01);
    assertArrayEquals(expected, end.toDoubles());
  }

  @Example
  void memory_isThatOfTheBytes() {
    long before = Scope.reservedBytes();
    Shape shape = Shape.of(3000, 5000);
    Tensor.encoded(DType.FLOAT, shape, BlockFormat.BF16, true, (from, target) -> {});
    long taken = Scope.reservedBytes() - before;
    assertTrue(taken >= 2L * shape.length() && taken < 2.2 * shape.length(), "bytes " + taken);
  }

  @Example
  void partsOfBlocks_areRefused() {
    IllegalArgumentException refused =
        assertThrows(
            IllegalArgumentException.class,
            () ->
                Tensor.encoded(
                    DType.FLOAT, Shape.of(4, 33), BlockFormat.Q8_0, false, (from, target) -> {}));
    assertEquals(
        "a matrix [4, 33], row by row, does not fall into Q8_0 blocks of 32", refused.getMessage());
  }
}
