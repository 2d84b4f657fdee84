package dev.tributary.core;

import static dev.tributary.core.Checks.requireState;

import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.function.Supplier;
import java.util.stream.IntStream;

/**
 * A device without memory: its tensors have shapes and no numbers, and it counts the bytes that
 * they would take elsewhere. What is run on it is a plan of the memory that it needs.
 */
public final class Shapes extends Device {
  private final Device planned;
  private final Kernels kernels = new Counting();

  /** Whatever is kept of a measurement by mistake must not be read as zeros. */
  private boolean ended;

  private Shapes(Device planned) {
    this.planned = planned;
  }

  /**
   * Runs a piece of code without computing anything. All tensors that it makes are of no numbers,
   * from whatever tensors it makes them: what is read of them is 0, and they die at its end.
   *
   * @param <T> what it returns
   * @param code that learns from {@link Scope#reservedBytes} what it has taken so far, of a device
   *     that had nothing before; what it does on other threads is not measured
   * @return what it returns
   */
  public static <T> T measure(Supplier<T> code) {
    Device current = Device.current();
    Shapes shapes = new Shapes(current instanceof Shapes outer ? outer.planned : current);
    return shapes.during(
        () -> {
          try (Scope scope = Scope.open()) {
            return code.get();
          } finally {
            shapes.ended = true;
          }
        });
  }

  private record Nothing(Size size) implements Block {
    @Override
    public void free() {}
  }

  @Override
  Device forResultsOf(Device operands) {
    return this;
  }

  @Override
  Kernels kernels() {
    requireState(!ended, "a tensor that was only measured was used after the measurement");
    return kernels;
  }

  @Override
  int rowStride(DType dtype, int columns) {
    return planned.rowStride(dtype, columns);
  }

  @Override
  int tile() {
    return planned.tile();
  }

  @Override
  int leastTile() {
    return planned.leastTile();
  }

  @Override
  Block make(Size size) {
    return new Nothing(size);
  }

  @Override
  long limitBytes() {
    return Long.MAX_VALUE;
  }

  @Override
  void upload(Tensor.Source source, Tensor out) {}

  @Override
  boolean encodes(BlockFormat format) {
    return planned.encodes(format);
  }

  @Override
  void fill(Tensor encoded, Tensor.Bytes source) {}

  @Override
  void read(Tensor encoded, long from, ByteBuffer target) {
    kernels();
    target.position(target.limit());
  }

  @Override
  public String toString() {
    return "shapes alone";
  }

  /** Kernels that compute nothing, but take what memory they would take. */
  private final class Counting implements Kernels {
    @Override
    public void write(double[] values, int count, Tensor out, long from) {}

    @Override
    public void read(Tensor x, long from, double[] values, int count) {}

    @Override
    public void fill(Tensor out, double value) {}

    @Override
    public void unary(Unary function, Tensor x, Tensor out) {}

    @Override
    public void unaryWithDerivative(Unary function, Tensor x, Tensor out, Tensor derivative) {}

    @Override
    public void gate(Unary function, Tensor gate, Tensor up, Tensor out) {}

    @Override
    public void gateWithDerivatives(
        Unary function, Tensor gate, Tensor up, Tensor out, Tensor alongGate, Tensor alongUp) {}

    @Override
    public void binary(Binary function, Tensor x, Tensor y, Tensor out) {}

    @Override
    public void binary(Binary function, Tensor x, double y, Tensor out) {}

    @Override
    public void centre(Tensor x, Tensor out) {}

    @Override
    public void rowDots(Tensor x, Tensor y, Tensor out) {}

    @Override
    public void rootMeanSquare(Tensor x, double epsilon, Tensor out) {}

    @Override
    public void rescale(Tensor x, Tensor scale, Tensor gain, Tensor bias, Tensor out) {}

    @Override
    public void rotate(Tensor x, Tensor cosine, Tensor sine, int distance, Tensor out) {}

    @Override
    public void sum(Tensor x, int outer, int count, int inner, Tensor out) {}

    @Override
    public void matmul(
        Tensor x,
        boolean xTransposed,
        Tensor y,
        boolean yTransposed,
        Tensor out,
        boolean accumulate) {
      Deque<Block> taken = new ArrayDeque<>();
      planned
          .scratch(x, xTransposed, y, yTransposed, out, accumulate)
          .forEach(length -> taken.push(take(out.dtype(), length)));
      taken.forEach(Shapes.this::give);
    }

    @Override
    public void copy(
        Tensor from,
        long fromOffset,
        int[] fromStrides,
        Tensor to,
        long toOffset,
        int[] toStrides,
        int[] box) {}

    @Override
    public void gather(
        Tensor x, int outer, long outerStride, long stride, int inner, int[] indices, Tensor out) {
      indices(out, indices);
    }

    @Override
    public void select(Tensor x, int[] rows, int[] columns, Tensor out, long at) {
      indices(out, rows, columns);
    }

    @Override
    public void scatterAdd(Tensor x, int outer, int size, int inner, int[] indices, Tensor out) {
      indices(x, indices);
    }

    /** What they take that do not follow each other, where there is something to move. */
    private void indices(Tensor moved, int[]... indices) {
      if (moved.shape().length() > 0) {
        meanwhile(
            Arrays.stream(indices)
                .filter(each -> !Tensor.isRun(each))
                .mapToInt(each -> planned.wholeNumbers(each.length)));
      }
    }

    private void meanwhile(IntStream wholeNumbers) {
      Deque<Block> taken = new ArrayDeque<>();
      wholeNumbers
          .filter(length -> length > 0)
          .forEach(length -> taken.push(take(DType.FLOAT, length)));
      taken.forEach(Shapes.this::give);
    }

    @Override
    public void causalMask(Tensor x, int visible, double hidden, Tensor out) {}

    @Override
    public void softmax(Tensor x, int visible, Tensor out) {}

    @Override
    public void softmaxDerivative(Tensor p, Tensor u, int visible, Tensor out) {}

    @Override
    public void logSoftmax(Tensor x, Tensor out) {}

    @Override
    public void topKMask(Tensor x, int count, Tensor out) {}

    @Override
    public boolean isFinite(Tensor x) {
      meanwhile(IntStream.of(planned.wholeNumbers(1)));
      return true;
    }

    @Override
    public int[] reaching(Tensor x, double[] rows, double[] columns, double bound) {
      int found = planned.wholeNumbers(1 + CudaKernels.EXPECTED);
      if (found > 0) {
        Block factors = take(x.dtype(), (long) rows.length + columns.length);
        meanwhile(IntStream.of(found));
        give(factors);
      }
      return new int[0];
    }
  }
}
