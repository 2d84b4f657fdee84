package dev.tributary.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.Rows.Matrix;
import java.util.Arrays;
import java.util.Random;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.lifecycle.AddLifecycleHook;
import org.junit.jupiter.api.Test;

/** Every route of a matrix product in FLOAT gives what the product in DOUBLE does. */
@AddLifecycleHook(InScope.class)
class FloatRowsTest {
  @AddLifecycleHook(KernelsTest.NeedsCpu.class)
  @Property(tries = 300)
  void gemm_anySizeAndLayout_agreesWithDouble(
      @ForAll("sizes") int m,
      @ForAll("sizes") int n,
      @ForAll("sizes") int k,
      @ForAll boolean xTransposed,
      @ForAll boolean yTransposed,
      @ForAll boolean accumulate,
      @ForAll long seed) {
    Random random = new Random(seed);
    Shape xShape = xTransposed ? Shape.of(k, m) : Shape.of(m, k);
    Shape yShape = yTransposed ? Shape.of(n, k) : Shape.of(k, n);
    double[] x = floats(random, m * k);
    double[] y = floats(random, n * k);
    double[] before = accumulate ? floats(random, m * n) : nans(m * n);
    Tensor exact = Tensor.of(DType.DOUBLE, Shape.of(m, n), accumulate ? before : new double[m * n]);
    new CpuKernels()
        .matmul(
            Tensor.of(DType.DOUBLE, xShape, x),
            xTransposed,
            Tensor.of(DType.DOUBLE, yShape, y),
            yTransposed,
            exact,
            true);
    Tensor left = Tensor.of(DType.FLOAT, xShape, x);
    Tensor right = Tensor.of(DType.FLOAT, yShape, y);
    Tensor chosen = Tensor.of(DType.FLOAT, Shape.of(m, n), before);
    new CpuKernels().matmul(left, xTransposed, right, yTransposed, chosen, accumulate);
    Tensor blas = Tensor.of(DType.FLOAT, Shape.of(m, n), before);
    FloatRows.blas(
        matrix(left, xTransposed),
        matrix(right, yTransposed),
        matrix(blas, false),
        accumulate,
        m,
        n,
        k);
    double tolerance = 8 * DType.FLOAT.epsilon() * Math.sqrt(k) * 4;
    requireClose(exact, chosen, tolerance);
    requireClose(exact, blas, tolerance);
  }

  /** From one row or column to several strips; {@link KernelsTest} has the larger ones. */
  @Provide
  Arbitrary<Integer> sizes() {
    return Arbitraries.of(1, 2, 4, 5, 8, 9, 16, 63, 64, 65, 127, 200, 300).withoutEdgeCases();
  }

  private static double[] floats(Random random, int count) {
    double[] values = new double[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  /** What recycled memory may hold. */
  private static double[] nans(int count) {
    double[] values = new double[count];
    Arrays.fill(values, Double.NaN);
    return values;
  }

  private static Matrix matrix(Tensor stored, boolean transposed) {
    return new Matrix(
        Cpu.access(stored.block()), stored.offset(), stored.shape().size(-1), transposed);
  }

  private static void requireClose(Tensor exact, Tensor found, double tolerance) {
    double[] expected = exact.toDoubles();
    double[] actual = found.toDoubles();
    for (int i = 0; i < expected.length; i++) {
      assertEquals(expected[i], actual[i], tolerance * Math.max(1, Math.abs(expected[i])));
    }
  }

  @Test
  void oneDnn_onX86_isPresent() {
    String machine = System.getProperty("os.arch");
    assertTrue(OneDnn.PRESENT || !machine.equals("amd64"), "oneDNN did not load on " + machine);
  }

  /** Its pages are reserved, and but a few of them used. */
  @Test
  void elementsBeyondEveryBuffer_areReadAndWritten() {
    long length = (1L << 29) + 100;
    Cpu.Memory block = Cpu.INSTANCE.make(Device.Size.of(DType.FLOAT, length));
    try {
      float[] written = new float[1000];
      for (int i = 0; i < written.length; i++) {
        written[i] = i + 1;
      }
      FloatRows rows = FloatRows.INSTANCE;
      for (long at : new long[] {0, (1L << 26) - 500, (1L << 28) - 1, length - 1000}) {
        rows.write(written, 0, 1000, block.access(), at);
        float[] read = new float[1000];
        rows.read(block.access(), at, read, 0, 1000);
        assertArrayEquals(written, read);
        rows.readStrided(block.access(), at, 3, read, 300);
        assertEquals(3 * 299 + 1, read[299]);
        rows.readEach(block.access(), at, 9, new int[] {100, 2}, 0, read, 2);
        assertEquals(901, read[0]);
        rows.copy(block.access(), at, block.access(), 5000, 1000);
        assertEquals(1000, rows.get(block.access(), 5999));
      }
    } finally {
      block.free();
    }
  }
}
