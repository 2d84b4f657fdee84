package dev.tributary.core;

import dev.tributary.core.CudaCalls.Launch;
import dev.tributary.core.CudaCalls.Matrices;
import dev.tributary.core.CudaCalls.Stored;
import java.util.Arrays;
import java.util.function.LongConsumer;
import java.util.stream.IntStream;

/** Kernels for an NVIDIA GPU: those of kernels.cu, and products of cuBLAS. */
final class CudaKernels implements Kernels {
  /** Fewer sums than this of more entries than threads are made by whole blocks. */
  private static final int FEW_SUMS = 1 << 15;

  private static final int LONG_SUM = 128;

  /** Places that are read at first when a kernel looks for some. */
  static final int EXPECTED = 4095;

  /** Parts of BF16 that hold a float. */
  private static final int PARTS = 3;

  /**
   * The parts of a product with BF16 are added in memory of their own up to so many elements, and
   * one after the other in that of the result beyond.
   */
  private static final long MOST_AT_ONCE = 1 << 24;

  private final Cuda device;
  private final CudaCalls calls;

  CudaKernels(Cuda device, CudaCalls calls) {
    this.device = device;
    this.calls = calls;
  }

  /** Of the first element. */
  long address(Tensor x) {
    int bytes = x.isEncoded() ? x.encoding().format().bytes() : x.dtype().bytes();
    return ((Cuda.Memory) x.block()).address() + x.offset() * bytes;
  }

  private static int rowSize(Tensor x) {
    return x.shape().size(-1);
  }

  private static int rowsOf(Tensor x) {
    int n = rowSize(x);
    return n == 0 ? 0 : x.shape().length() / n;
  }

  /** Rows of each matrix of the last two axes. */
  private static int rowsPerMatrix(Tensor x) {
    return x.shape().rank() > 1 ? x.shape().size(-2) : 1;
  }

  /** Begins a call whose first arguments are tensors. */
  private Launch kernel(String name, Tensor... tensors) {
    Launch launch = calls.kernel(tensors[tensors.length - 1].dtype(), name);
    for (Tensor tensor : tensors) {
      launch.address(address(tensor));
    }
    return launch;
  }

  private static void each(Launch launch, Tensor out) {
    int n = out.shape().length();
    launch.whole((long) n).each(n);
  }

  @Override
  public void write(double[] values, int count, Tensor out, long from) {
    device.write(values, count, out.dtype(), address(out) + from * out.dtype().bytes());
  }

  @Override
  public void read(Tensor x, long from, double[] values, int count) {
    device.read(address(x) + from * x.dtype().bytes(), x.dtype(), values, count);
  }

  @Override
  public void fill(Tensor out, double value) {
    each(kernel("fill", out).number(value), out);
  }

  @Override
  public void unary(Unary function, Tensor x, Tensor out) {
    each(kernel("unary_" + function, x, out), out);
  }

  @Override
  public void unaryWithDerivative(Unary function, Tensor x, Tensor out, Tensor derivative) {
    each(kernel("curve_" + function, x, out, derivative), out);
  }

  @Override
  public void gate(Unary function, Tensor gate, Tensor up, Tensor out) {
    each(kernel("gate_" + function, gate, up, out), out);
  }

  @Override
  public void gateWithDerivatives(
      Unary function, Tensor gate, Tensor up, Tensor out, Tensor alongGate, Tensor alongUp) {
    each(kernel("gate_curve_" + function, gate, up, out, alongGate, alongUp), out);
  }

  @Override
  public void binary(Binary function, Tensor x, Tensor y, Tensor out) {
    int rank = out.shape().rank();
    if (x.shape().equals(out.shape()) && y.shape().equals(out.shape())) {
      each(kernel("binary_" + function, x, y, out), out);
      return;
    }
    Box box = Box.of(out.shape().dimensions(), x.broadcastStrides(rank), y.broadcastStrides(rank));
    int n = out.shape().length();
    kernel("binary_box_" + function, x, y, out).whole((long) n).box(box).each(n);
  }

  @Override
  public void binary(Binary function, Tensor x, double y, Tensor out) {
    int n = out.shape().length();
    calls
        .kernel(x.dtype(), "binary_number_" + function)
        .address(address(x))
        .number(y)
        .address(address(out))
        .whole((long) n)
        .each(n);
  }

  @Override
  public void centre(Tensor x, Tensor out) {
    kernel("centre", x, out).whole(rowSize(x)).blocks(rowsOf(x));
  }

  @Override
  public void rowDots(Tensor x, Tensor y, Tensor out) {
    kernel("row_dots", x, y, out)
        .whole(rowSize(y))
        .whole((long) Math.max(1, x.shape().length()))
        .blocks(out.shape().length());
  }

  @Override
  public void rootMeanSquare(Tensor x, double epsilon, Tensor out) {
    kernel("root_mean_square", x, out)
        .whole(rowSize(x))
        .number(epsilon)
        .blocks(out.shape().length());
  }

  @Override
  public void rescale(Tensor x, Tensor scale, Tensor gain, Tensor bias, Tensor out) {
    int n = out.shape().length();
    kernel("rescale", x, scale, gain, bias, out)
        .whole((long) n)
        .whole(rowSize(x))
        .whole(scale.shape().length())
        .each(n);
  }

  @Override
  public void rotate(Tensor x, Tensor cosine, Tensor sine, int distance, Tensor out) {
    int n = out.shape().length();
    kernel("rotate", x, cosine, sine, out)
        .whole((long) n)
        .whole(rowSize(x))
        .whole(cosine.shape().size(0))
        .whole(cosine.shape().size(1))
        .whole(distance)
        .each(n);
  }

  @Override
  public void sum(Tensor x, int outer, int count, int inner, Tensor out) {
    long sums = (long) outer * inner;
    if (count > LONG_SUM && sums < FEW_SUMS) {
      kernel("sum_long", x, out).whole(count).whole(inner).blocks(sums);
    } else {
      kernel("sum_short", x, out).whole(sums).whole(count).whole(inner).each(sums);
    }
  }

  @Override
  public void copy(
      Tensor from,
      long fromOffset,
      int[] fromStrides,
      Tensor to,
      long toOffset,
      int[] toStrides,
      int[] box) {
    int size = to.dtype().bytes();
    long n = Arrays.stream(box).asLongStream().reduce(1, (x, y) -> x * y);
    calls
        .kernel(to.dtype(), "copy")
        .address(address(from) + fromOffset * size)
        .address(address(to) + toOffset * size)
        .whole(n)
        .box(Box.of(box, fromStrides, toStrides))
        .each(n);
  }

  /** Calls a kernel with indices in memory of the GPU meanwhile; at 0 if they follow each other. */
  private void with(int[] indices, LongConsumer call) {
    if (Tensor.isRun(indices)) {
      call.accept(0);
      return;
    }
    Cuda.Memory block = device.write(indices);
    try {
      call.accept(block.address());
    } finally {
      device.give(block);
    }
  }

  @Override
  public void gather(
      Tensor x, int outer, long outerStride, long stride, int inner, int[] indices, Tensor out) {
    int n = out.shape().length();
    if (n == 0) {
      return;
    }
    with(
        indices,
        address ->
            kernel("gather", x, out)
                .whole((long) n)
                .whole(indices.length)
                .whole(inner)
                .whole(outerStride)
                .whole(stride)
                .whole(indices[0])
                .address(address)
                .each(n));
  }

  @Override
  public void scatterAdd(Tensor x, int outer, int size, int inner, int[] indices, Tensor out) {
    int n = x.shape().length();
    if (n == 0) {
      return;
    }
    boolean areDistinct = Arrays.stream(indices).distinct().count() == indices.length;
    long threads = areDistinct ? n : (long) outer * inner;
    with(
        indices,
        address ->
            kernel(areDistinct ? "scatter_add_distinct" : "scatter_add", x, out)
                .whole(threads)
                .whole(indices.length)
                .whole(size)
                .whole(inner)
                .whole(indices[0])
                .address(address)
                .each(threads));
  }

  @Override
  public void select(Tensor x, int[] rows, int[] columns, Tensor out, long at) {
    boolean turned = x.encoding().turned();
    long n = (long) rows.length * columns.length;
    if (n == 0) {
      return;
    }
    with(
        rows,
        ofRows ->
            with(
                columns,
                ofColumns ->
                    calls
                        .kernel(out.dtype(), "select_bf16")
                        .address(address(x))
                        .whole((long) x.rowStride())
                        .address(ofRows)
                        .whole(rows[0])
                        .address(ofColumns)
                        .whole(columns[0])
                        .address(address(out) + at * out.dtype().bytes())
                        .whole(n)
                        .whole(columns.length)
                        .whole(turned ? 1 : 0)
                        .whole((long) out.rowStride())
                        .each(n)));
  }

  @Override
  public void causalMask(Tensor x, int visible, double hidden, Tensor out) {
    int n = out.shape().length();
    kernel("causal_mask", x, out)
        .whole((long) n)
        .whole(rowSize(x))
        .whole(rowsPerMatrix(x))
        .whole(visible)
        .number(hidden)
        .each(n);
  }

  @Override
  public void softmax(Tensor x, int visible, Tensor out) {
    kernel("softmax", x, out)
        .whole(rowSize(x))
        .whole(rowsPerMatrix(x))
        .whole(visible)
        .blocks(rowsOf(x));
  }

  @Override
  public void softmaxDerivative(Tensor p, Tensor u, int visible, Tensor out) {
    kernel("softmax_derivative", p, u, out)
        .whole(rowSize(u))
        .whole(rowsPerMatrix(p))
        .whole(visible)
        .whole((long) Math.max(1, p.shape().length()))
        .blocks(rowsOf(u));
  }

  @Override
  public void logSoftmax(Tensor x, Tensor out) {
    kernel("log_softmax", x, out).whole(rowSize(x)).blocks(rowsOf(x));
  }

  @Override
  public void topKMask(Tensor x, int count, Tensor out) {
    kernel("top_k_mask", x, out).whole(rowSize(x)).whole(count).blocks(rowsOf(x));
  }

  @Override
  public boolean isFinite(Tensor x) {
    long n = x.shape().length();
    Cuda.Memory found = device.write(new int[1]);
    try {
      if (x.isEncoded()) {
        calls
            .kernel(x.dtype(), "find_not_finite_bf16")
            .address(address(x))
            .whole((long) x.rowStride())
            .address(found.address())
            .whole(n)
            .whole(x.shape().size(x.encoding().turned() ? 0 : 1))
            .each(n);
      } else {
        kernel("find_not_finite", x).address(found.address()).whole(n).each(n);
      }
      return device.read(found.address(), 1)[0] == 0;
    } finally {
      device.give(found);
    }
  }

  @Override
  public int[] reaching(Tensor x, double[] rows, double[] columns, double bound) {
    int n = x.shape().length();
    DType dtype = x.dtype();
    Cuda.Memory factors = (Cuda.Memory) device.take(dtype, (long) rows.length + columns.length);
    try {
      device.write(rows, rows.length, dtype, factors.address());
      long second = factors.address() + (long) rows.length * dtype.bytes();
      device.write(columns, columns.length, dtype, second);
      int[] found = reaching(x, factors.address(), second, columns.length, bound, EXPECTED);
      if (found[0] > EXPECTED) {
        found = reaching(x, factors.address(), second, columns.length, bound, n);
      }
      return Arrays.stream(found, 1, 1 + found[0]).sorted().toArray();
    } finally {
      device.give(factors);
    }
  }

  /** How many they are, and the places of so many of them. */
  private int[] reaching(Tensor x, long rows, long columns, int width, double bound, int most) {
    int n = x.shape().length();
    Cuda.Memory found = (Cuda.Memory) device.take(DType.FLOAT, 1L + most);
    try {
      calls.kernel(DType.FLOAT, "fill").address(found.address()).number(0).whole(1L).each(1);
      kernel("find_reaching", x)
          .address(rows)
          .address(columns)
          .address(found.address())
          .whole((long) n)
          .whole(width)
          .number(bound)
          .whole(most)
          .each(n);
      int count = most > EXPECTED ? device.read(found.address(), 1)[0] : most;
      return device.read(found.address(), 1 + count);
    } finally {
      device.give(found);
    }
  }

  // ---- matrix products ---------------------------------------------------------------------

  @Override
  public void matmul(
      Tensor x,
      boolean xTransposed,
      Tensor y,
      boolean yTransposed,
      Tensor out,
      boolean accumulate) {
    int m = out.shape().size(-2);
    int n = out.shape().size(-1);
    int k = x.shape().size(xTransposed ? -2 : -1);
    if (y.isEncoded()) {
      boolean turned = yTransposed != y.encoding().turned();
      if (x.dtype() == DType.FLOAT) {
        multiplyParts(x, xTransposed, y, turned, out, accumulate, m, n, k);
      } else {
        multiplyDecoded(x, xTransposed, y, turned, out, accumulate, m, n, k);
      }
      return;
    }
    Box box = Box.ofBatch(x, y, out);
    int inner = box.inner();
    int size = x.dtype().bytes();
    for (int outer = 0; outer < box.outer(); outer++) {
      calls.multiply(
          Stored.of(x.dtype()),
          new Matrices(
              address(x) + box.offset(0, outer) * size,
              x.rowStride(),
              box.innerStride(0),
              xTransposed),
          new Matrices(
              address(y) + box.offset(1, outer) * size,
              y.rowStride(),
              box.innerStride(1),
              yTransposed),
          new Matrices(
              address(out) + (long) outer * inner * out.matrixStride() * size,
              out.rowStride(),
              out.matrixStride(),
              false),
          accumulate,
          m,
          n,
          k,
          inner);
    }
  }

  private static boolean atOnce(int m, int n) {
    return (long) PARTS * m * n <= MOST_AT_ONCE;
  }

  /** See {@link Device#scratch}. */
  static IntStream scratch(Tensor x, Tensor y, Tensor out) {
    if (!y.isEncoded()) {
      return IntStream.empty();
    }
    if (x.dtype() == DType.DOUBLE) {
      return IntStream.of(y.shape().length());
    }
    int m = out.shape().size(-2);
    int n = out.shape().size(-1);
    int parts = partElements(x);
    return atOnce(m, n) ? IntStream.of(parts, PARTS * m * n) : IntStream.of(parts);
  }

  /** Of floats, for three times as many numbers of half the size. */
  private static int partElements(Tensor x) {
    return (PARTS * x.shape().length() + 1) / 2;
  }

  /**
   * A product with a matrix of BF16 on the tensor cores, as exact as one of floats: the left side
   * is three matrices of BF16, whose products are added from the smallest on.
   */
  private void multiplyParts(
      Tensor x,
      boolean xTransposed,
      Tensor y,
      boolean turned,
      Tensor out,
      boolean accumulate,
      int m,
      int n,
      int k) {
    int own = x.rowStride();
    Cuda.Memory parts = (Cuda.Memory) device.take(DType.FLOAT, partElements(x));
    try {
      calls
          .kernel(DType.FLOAT, "split_bf16")
          .address(address(x))
          .whole(xTransposed ? 1L : own)
          .whole(xTransposed ? own : 1L)
          .address(parts.address())
          .whole((long) m * k)
          .whole(k)
          .each((long) m * k);
      Matrices right = new Matrices(address(y), y.rowStride(), 0, turned);
      if (atOnce(m, n)) {
        Cuda.Memory products = (Cuda.Memory) device.take(DType.FLOAT, (long) PARTS * m * n);
        try {
          Matrices left = new Matrices(parts.address(), k, 0, false);
          Matrices all = new Matrices(products.address(), n, 0, false);
          calls.multiply(Stored.BF16, left, right, all, false, PARTS * m, n, k, 1);
          calls
              .kernel(DType.FLOAT, "join_products")
              .address(products.address())
              .address(address(out))
              .whole((long) m * n)
              .whole(accumulate ? 1 : 0)
              .each((long) m * n);
        } finally {
          device.give(products);
        }
      } else {
        Matrices sum = new Matrices(address(out), n, 0, false);
        for (int part = PARTS - 1; part >= 0; part--) {
          long at = parts.address() + (long) part * m * k * BlockFormat.BF16.bytes();
          boolean adds = accumulate || part < PARTS - 1;
          calls.multiply(Stored.BF16, new Matrices(at, k, 0, false), right, sum, adds, m, n, k, 1);
        }
      }
    } finally {
      device.give(parts);
    }
  }

  private void multiplyDecoded(
      Tensor x,
      boolean xTransposed,
      Tensor y,
      boolean turned,
      Tensor out,
      boolean accumulate,
      int m,
      int n,
      int k) {
    int height = turned ? n : k;
    int width = turned ? k : n;
    Cuda.Memory decoded = (Cuda.Memory) device.take(x.dtype(), y.shape().length());
    try {
      long count = (long) height * width;
      calls
          .kernel(x.dtype(), "widen_bf16")
          .address(address(y))
          .whole((long) y.rowStride())
          .address(decoded.address())
          .whole(count)
          .whole(width)
          .each(count);
      calls.multiply(
          Stored.of(x.dtype()),
          new Matrices(address(x), x.rowStride(), 0, xTransposed),
          new Matrices(decoded.address(), width, 0, turned),
          new Matrices(address(out), n, 0, false),
          accumulate,
          m,
          n,
          k,
          1);
    } finally {
      device.give(decoded);
    }
  }
}
