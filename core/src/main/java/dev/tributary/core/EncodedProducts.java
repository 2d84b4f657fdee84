package dev.tributary.core;

import dev.tributary.core.Rows.Matrix;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Matrix products whose right side lies encoded: a tile of it at a time is decoded, which stays in
 * the caches while it is multiplied.
 */
final class EncodedProducts {
  /** A tile's numbers: half of a second-level cache of 1 MB in FLOAT. */
  private static final int AREA = 1 << 17;

  /** Longer rows are decoded in parts. A multiple of every block. */
  private static final int BROADEST = 2048;

  private static final int CACHE_LINE = 16;

  /** From this many rows of the left side on, a tile is best on the left itself. */
  private static final int MANY_ROWS = 12;

  private final Rows<?> rows;
  private final DType dtype;
  private final Tensor y;
  private final boolean transposed;
  private final boolean accumulate;
  private final int m;
  private final int n;
  private final int k;

  /** Whether rows are decoded in halves, those of even index first, {@link #BROADEST} at a time. */
  private final boolean halves;

  /** out[m, n] = x[m, k] y[k, n] (+ out), where encoded rows are those of y or its columns. */
  private EncodedProducts(
      Rows<?> rows,
      DType dtype,
      Tensor y,
      boolean transposed,
      boolean accumulate,
      int m,
      int n,
      int k) {
    this.rows = rows;
    this.dtype = dtype;
    this.y = y;
    this.transposed = transposed;
    this.accumulate = accumulate;
    this.m = m;
    this.n = n;
    this.k = k;
    halves = EncodedRows.hasHalves(y) && (transposed ? k : n) % 2 == 0;
  }

  static EncodedProducts of(
      Rows<?> rows,
      Tensor x,
      boolean xTransposed,
      Tensor y,
      boolean yTransposed,
      Tensor out,
      boolean accumulate) {
    boolean transposed = yTransposed != y.encoding().turned();
    return new EncodedProducts(
        rows,
        out.dtype(),
        y,
        transposed,
        accumulate,
        out.shape().size(-2),
        out.shape().size(-1),
        x.shape().size(xTransposed ? -2 : -1));
  }

  /** The rows of a tile. */
  private static int height(int width) {
    return Math.max(CACHE_LINE, AREA / width / CACHE_LINE * CACHE_LINE);
  }

  void run(Matrix x, Matrix out) {
    if (!transposed) {
      inRows(x, out);
      return;
    }
    if (isOfParts() && inParts(x, out)) {
      return;
    }
    Deque<Device.Block> copies = new ArrayDeque<>();
    Matrix left = x;
    if (halves) {
      left = matrix(copies, false);
      part(x, left);
    }
    if (isTurned() && !left.transposed()) {
      left = standing(left, copies);
    }
    inColumns(left, out);
    copies.forEach(Cpu.INSTANCE::give);
  }

  /** Whether a tile is on the left of a product, which is then that of the transposes. */
  private boolean isTurned() {
    return m >= MANY_ROWS;
  }

  /** A copy of the left side whose columns are stored as rows. */
  private Matrix standing(Matrix x, Deque<Device.Block> copies) {
    Matrix copy = matrix(copies, true);
    Workers.run(
        m,
        (long) m * k,
        (from, to) -> rows.copy(x.from(from, 0), copy.from(from, 0), to - from, k));
    return copy;
  }

  private Matrix matrix(Deque<Device.Block> taken, boolean standing) {
    taken.push(Cpu.INSTANCE.take(dtype, (long) m * k));
    return new Matrix(Cpu.access(taken.element()), 0, standing ? m : k, standing);
  }

  /** Whether {@link #inParts} is fastest. */
  private boolean isOfParts() {
    return OneDnnBf16.FAST && halves && transposed;
  }

  /**
   * Every FLOAT is the sum of three BF16 numbers, so three products of BF16, added up in FLOAT, are
   * the product of FLOAT. They are the rows of one, so that weights are read once.
   *
   * @return whether the left side is small enough: the largest FLOAT is rounded to infinity
   */
  boolean inParts(Matrix x, Matrix out) {
    Cpu.Memory parts = take(DType.FLOAT, partsLength());
    boolean finite = splitIntoParts(x, parts.raw());
    EncodedRows encoded = EncodedRows.of(y);
    if (finite) {
      Workers.run(
          units(),
          work(),
          (from, to) -> {
            Cpu.Memory sums = take(DType.FLOAT, sumsLength());
            int end = Math.min(n, to * CACHE_LINE);
            for (int column = from * CACHE_LINE; column < end; column += SUMS) {
              int width = Math.min(SUMS, end - column);
              OneDnnBf16.product(
                  parts.raw().pointer(0),
                  encoded.raw().pointer(encoded.position(column, 0)),
                  encoded.stride(),
                  sums.raw().pointer(0),
                  3 * m,
                  width,
                  k);
              addParts(sums.access(), out.from(0, column), width);
            }
            Cpu.INSTANCE.give(sums);
          });
    }
    Cpu.INSTANCE.give(parts);
    return finite;
  }

  /** Columns of a product of parts at a time. */
  private static final int SUMS = 4096;

  private int partsLength() {
    return (3 * m * k + 1) / 2;
  }

  private int sumsLength() {
    return 3 * m * Math.min(n, SUMS);
  }

  private static Cpu.Memory take(DType dtype, long length) {
    return (Cpu.Memory) Cpu.INSTANCE.take(dtype, length);
  }

  /** Says whether all parts are finite. */
  private boolean splitIntoParts(Matrix x, RawBytes parts) {
    AtomicBoolean finite = new AtomicBoolean(true);
    Workers.run(
        m,
        (long) m * k,
        (from, to) -> {
          float[] rest = new float[k];
          short[] part = new short[k];
          for (int i = from; i < to; i++) {
            readRow(x.from(i, 0), rest, k);
            for (int p = 0; p < 3; p++) {
              if (!takePart(rest, part)) {
                finite.set(false);
              }
              parts.write(part, k, ((long) p * m + i) * k * Short.BYTES);
            }
          }
        });
    return finite.get();
  }

  /** So many numbers of the first row. */
  private static void readRow(Matrix x, float[] to, int count) {
    if (x.transposed()) {
      FloatRows.INSTANCE.readStrided(x.access(), x.offset(), x.stride(), to, count);
    } else {
      FloatRows.INSTANCE.read(x.access(), x.offset(), to, 0, count);
    }
  }

  /** Rounds to BF16, to the nearest and of two to the even one, and leaves what is missing. */
  private static boolean takePart(float[] rest, short[] part) {
    boolean finite = true;
    for (int i = 0; i < part.length; i++) {
      int bits = Float.floatToRawIntBits(rest[i]);
      int rounded = bits + 0x7fff + (bits >>> 16 & 1) & 0xffff0000;
      part[i] = (short) (rounded >>> 16);
      float taken = Float.intBitsToFloat(rounded);
      finite &= Float.isFinite(taken);
      rest[i] -= taken;
    }
    return finite;
  }

  /** The smallest parts first. */
  private void addParts(Rows.Access sums, Matrix out, int width) {
    FloatRows floats = FloatRows.INSTANCE;
    float[] sum = new float[width];
    float[] part = new float[width];
    for (int i = 0; i < m; i++) {
      floats.read(sums, (2L * m + i) * width, sum, 0, width);
      for (int p = 1; p >= 0; p--) {
        floats.read(sums, ((long) p * m + i) * width, part, 0, width);
        floats.binary(Kernels.Binary.PLUS, sum, part, sum, width);
      }
      Matrix row = out.from(i, 0);
      if (accumulate) {
        floats.read(row.access(), row.offset(), part, 0, width);
        floats.binary(Kernels.Binary.PLUS, sum, part, sum, width);
      }
      floats.write(sum, 0, width, row.access(), row.offset());
    }
  }

  /** Columns in the order in which tiles have them. */
  private void part(Matrix x, Matrix to) {
    FloatRows floats = FloatRows.INSTANCE;
    Workers.run(
        m,
        (long) m * k,
        (from, end) -> {
          float[] row = new float[BROADEST];
          float[] parts = new float[BROADEST];
          for (int i = from; i < end; i++) {
            for (int at = 0; at < k; at += BROADEST) {
              int n = Math.min(BROADEST, k - at);
              readRow(x.from(i, at), row, n);
              for (int j = 0; j < n / 2; j++) {
                parts[j] = row[2 * j];
                parts[n / 2 + j] = row[2 * j + 1];
              }
              floats.write(parts, 0, n, to.access(), to.from(i, at).offset());
            }
          }
        });
  }

  /** Columns in the order of the matrix. */
  private void join(Matrix x, Matrix to, int n) {
    FloatRows floats = FloatRows.INSTANCE;
    float[] row = new float[n];
    float[] parts = new float[n];
    for (int i = 0; i < m; i++) {
      floats.read(x.access(), x.from(i, 0).offset(), parts, 0, n);
      for (int j = 0; j < n / 2; j++) {
        row[2 * j] = parts[j];
        row[2 * j + 1] = parts[n / 2 + j];
      }
      if (accumulate) {
        floats.read(to.access(), to.from(i, 0).offset(), parts, 0, n);
        floats.binary(Kernels.Binary.PLUS, row, parts, row, n);
      }
      floats.write(row, 0, n, to.access(), to.from(i, 0).offset());
    }
  }

  /** Tiles are parts of y. */
  private void inRows(Matrix x, Matrix out) {
    int unit = unit();
    EncodedRows encoded = EncodedRows.of(y);
    Workers.run(
        units(),
        work(),
        (from, to) -> {
          Cpu.Memory memory = EncodedRows.tile(dtype);
          Device.@Nullable Block own = halves ? Cpu.INSTANCE.take(dtype, productOfHalves()) : null;
          int end = Math.min(n, to * unit);
          for (int column = from * unit; column < end; column += BROADEST) {
            int width = Math.min(BROADEST, end - column);
            int height = height(width);
            Matrix tile = new Matrix(memory.access(), 0, width + CACHE_LINE, false);
            Matrix target = out.from(0, column);
            Matrix product = own == null ? target : new Matrix(Cpu.access(own), 0, width, false);
            boolean adds = accumulate && own == null;
            for (int row = 0; row < k; row += height) {
              int depth = Math.min(height, k - row);
              decode(encoded, row, depth, column, width, memory, width + CACHE_LINE);
              rows.gemm(x.from(0, row), tile, product, adds || row > 0, m, width, depth);
            }
            if (own != null) {
              join(product, target, width);
            }
          }
          if (own != null) {
            Cpu.INSTANCE.give(own);
          }
        });
  }

  private long productOfHalves() {
    return (long) m * Math.min(n, BROADEST);
  }

  /** Tiles are parts of the transpose of y. */
  private void inColumns(Matrix x, Matrix out) {
    EncodedRows encoded = EncodedRows.of(y);
    Workers.run(
        units(),
        work(),
        (from, to) -> {
          Cpu.Memory memory = EncodedRows.tile(dtype);
          int broad = Math.min(BROADEST, k);
          int height = height(broad);
          int end = Math.min(n, to * CACHE_LINE);
          Matrix tile = new Matrix(memory.access(), 0, broad + CACHE_LINE, false);
          Device.@Nullable Block own =
              isTurned() ? Cpu.INSTANCE.take(dtype, (long) m * height) : null;
          for (int column = from * CACHE_LINE; column < end; column += height) {
            int width = Math.min(height, end - column);
            Matrix target = out.from(0, column);
            Matrix product = own == null ? target : new Matrix(Cpu.access(own), 0, m, true);
            if (own != null && accumulate) {
              rows.copy(target, product, m, width);
            }
            for (int row = 0; row < k; row += broad) {
              int depth = Math.min(broad, k - row);
              decode(
                  encoded,
                  /* row= */ column,
                  /* rowCount= */ width,
                  /* first= */ row,
                  /* count= */ depth,
                  memory,
                  broad + CACHE_LINE);
              boolean adds = accumulate || row > 0;
              Matrix left = x.from(0, row);
              if (own == null) {
                rows.gemm(left, tile.transpose(), product, adds, m, width, depth);
              } else {
                rows.gemm(tile, left.transpose(), product.transpose(), adds, width, m, depth);
              }
            }
            if (own != null) {
              rows.copy(product, target, m, width);
            }
          }
          if (own != null) {
            Cpu.INSTANCE.give(own);
          }
        });
  }

  private void decode(
      EncodedRows encoded,
      int row,
      int rowCount,
      int first,
      int count,
      Cpu.Memory tile,
      int stride) {
    for (int i = 0; i < rowCount; i++) {
      if (halves) {
        encoded.decodeHalves(row + i, first, count, tile, (long) i * stride);
      } else {
        encoded.decode(rows, row + i, first, count, tile, (long) i * stride);
      }
    }
  }

  /** Threads share columns of the result by so many: blocks are decoded whole. */
  private int unit() {
    return transposed ? CACHE_LINE : Math.max(CACHE_LINE, y.encoding().format().elements());
  }

  private int units() {
    return (n + unit() - 1) / unit();
  }

  /** As work for {@link Workers}: what is decoded takes as long as a few multiplications. */
  private long work() {
    return (long) (m / CpuKernels.PRODUCTS_PER_OPERATION + 1) * n * k;
  }

  /** How many elements each of the blocks has that it takes from the pool at a time. */
  IntStream scratch(boolean xTransposed) {
    int pieces = Workers.pieces(units(), work());
    if (isOfParts()) {
      return IntStream.concat(
          IntStream.of(partsLength()), IntStream.generate(this::sumsLength).limit(pieces));
    }
    if (!transposed) {
      return IntStream.generate(() -> (int) productOfHalves()).limit(halves ? pieces : 0);
    }
    boolean stands = xTransposed && !halves;
    int copies = (halves ? 1 : 0) + (isTurned() && !stands ? 1 : 0);
    int own = m * height(Math.min(BROADEST, k));
    return IntStream.concat(
        IntStream.generate(() -> m * k).limit(copies),
        IntStream.generate(() -> own).limit(isTurned() ? pieces : 0));
  }
}
