package dev.tributary.core;

import dev.tributary.core.Rows.Matrix;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.IntStream;

/**
 * A matrix whose rows lie in blocks of a {@link BlockFormat}. What reads it decodes a tile of it
 * that stays in the caches, so that arithmetic is that of the tensor's element type on exactly the
 * numbers that are stored.
 *
 * @param offset of the first number, in elements; like the stride a whole number of blocks
 * @param stride from one row to the next, in elements
 */
record EncodedRows(RawBytes raw, BlockFormat format, long offset, int stride) {
  /** A tile of a matrix product: half of a second-level cache in FLOAT. */
  private static final int TILE_ROWS = 256;

  /** A multiple of every block and of a cache line. */
  static final int TILE_COLUMNS = 512;

  private static final int CACHE_LINE = 16;

  /** Rows a power of two apart meet in the same few sets of the caches. */
  private static final int TILE_STRIDE = TILE_COLUMNS + CACHE_LINE;

  private static final int TILE = TILE_ROWS * TILE_STRIDE;

  /** Bytes that are read from a file at a time. */
  private static final int READ = 1 << 20;

  /** A tile of what is copied: as large, and broad, as most copies are of rows. */
  private static final int SLAB_ROWS = 64;

  private static final int SLAB_COLUMNS = TILE_ROWS / SLAB_ROWS * TILE_COLUMNS;

  /** Bytes and numbers of a tile's row on the heap. */
  private static final ThreadLocal<byte[]> BYTES =
      ThreadLocal.withInitial(() -> new byte[TILE_COLUMNS * Float.BYTES]);

  private static final ThreadLocal<float[]> FLOATS =
      ThreadLocal.withInitial(() -> new float[TILE_COLUMNS]);

  static EncodedRows of(Tensor x) {
    return new EncodedRows(Cpu.raw(x.block()), x.encoding().format(), x.offset(), x.rowStride());
  }

  private long position(int row, int column) {
    long element = offset + (long) row * stride + column;
    return element / format.elements() * format.bytes();
  }

  /** Reads all rows, several at a time. */
  void fill(Tensor x, Tensor.Bytes source) {
    long length = (long) x.shape().length() / format.elements() * format.bytes();
    int pieces = (int) ((length + READ - 1) / READ);
    long start = offset / format.elements() * format.bytes();
    Workers.run(
        pieces,
        length,
        (from, to) -> {
          for (int i = from; i < to; i++) {
            long at = (long) i * READ;
            int n = (int) Math.min(READ, length - at);
            source.read(at, raw.slice(start + at, n));
          }
        });
  }

  boolean isFinite(Tensor x) {
    AtomicBoolean finite = new AtomicBoolean(true);
    boolean turned = x.encoding().turned();
    int height = x.shape().size(turned ? 1 : 0);
    int width = x.shape().size(turned ? 0 : 1);
    Workers.run(
        height,
        x.shape().length(),
        (from, to) -> {
          Cpu.Memory piece = Tile.of(DType.FLOAT);
          float[] numbers = new float[TILE_COLUMNS];
          for (int row = from; row < to && finite.get(); row++) {
            for (int column = 0; column < width; column += TILE_COLUMNS) {
              int n = Math.min(TILE_COLUMNS, width - column);
              decodePiece(FloatRows.INSTANCE, row, column, n, piece, 0);
              FloatRows.INSTANCE.read(piece.access(), 0, numbers, 0, n);
              if (!CpuKernels.isFinite(FloatRows.INSTANCE, numbers, n)) {
                finite.set(false);
              }
            }
          }
        });
    return finite.get();
  }

  /** Part of one row, whole blocks, into a block of the processor. */
  private <A> void decode(Rows<A> rows, int row, int column, int n, Cpu.Memory to, long at) {
    for (int done = 0; done < n; done += TILE_COLUMNS) {
      decodePiece(rows, row, column + done, Math.min(TILE_COLUMNS, n - done), to, at + done);
    }
  }

  private <A> void decodePiece(Rows<A> rows, int row, int column, int n, Cpu.Memory to, long at) {
    long position = position(row, column);
    boolean isFloat = to.size().dtype() == DType.FLOAT;
    if (format == BlockFormat.BF16
        && isFloat
        && n % 4 == 0
        && RawBytes.isAligned(position)
        && RawBytes.isAligned(at * Float.BYTES)) {
      raw.widen(position, to.raw(), at * Float.BYTES, n);
      return;
    }
    byte[] bytes = BYTES.get();
    float[] floats = FLOATS.get();
    int blocks = n / format.elements();
    raw.read(position, bytes, blocks * format.bytes());
    format.decode(bytes, 0, floats, 0, blocks);
    if (isFloat) {
      FloatRows.INSTANCE.write(floats, 0, n, to.access(), at);
    } else {
      A wide = CpuKernels.Scratch.array(rows, 0, n);
      for (int i = 0; i < n; i++) {
        rows.set(wide, i, floats[i]);
      }
      rows.write(wide, 0, n, to.access(), at);
    }
  }

  /**
   * The entries at these rows and columns as they are stored, to {@code out} from {@code at} on,
   * row after row or, if it is turned, column after column.
   */
  <A> void select(Rows<A> rows, int[] chosen, int[] columns, Tensor out, long at, boolean turned) {
    Matrix target = new Matrix(Cpu.access(out.block()), out.offset() + at, out.rowStride(), turned);
    int width = columns.length;
    if (IntStream.range(0, width).allMatch(i -> columns[i] == i)) {
      int slabs = (chosen.length + SLAB_ROWS - 1) / SLAB_ROWS;
      Workers.run(
          slabs,
          (long) chosen.length * width,
          (from, to) -> {
            int end = Math.min(chosen.length, to * SLAB_ROWS);
            for (int row = from * SLAB_ROWS; row < end; row += SLAB_ROWS) {
              int[] slab = Arrays.copyOfRange(chosen, row, Math.min(end, row + SLAB_ROWS));
              for (int column = 0; column < width; column += SLAB_COLUMNS) {
                int n = Math.min(SLAB_COLUMNS, width - column);
                Matrix decoded = slab(rows, slab, column, whole(n), Tile.of(out.dtype()));
                rows.copy(decoded, target.from(row, column), slab.length, n);
              }
            }
          });
      return;
    }
    int read = whole(1 + IntStream.of(columns).max().orElse(-1));
    Workers.run(
        chosen.length,
        (long) chosen.length * read,
        (from, to) -> {
          A row = rows.array(read);
          A picked = rows.array(width);
          for (int i = from; i < to; i++) {
            for (int column = 0; column < read; column += TILE_COLUMNS) {
              int n = Math.min(TILE_COLUMNS, read - column);
              Cpu.Memory tile = Tile.of(out.dtype());
              decode(rows, chosen[i], column, n, tile, 0);
              rows.read(tile.access(), 0, row, column, n);
            }
            rows.pick(row, columns, 0, picked, width);
            for (int j = 0; turned && j < width; j++) {
              rows.write(picked, j, 1, target.access(), target.from(i, j).offset());
            }
            if (!turned) {
              rows.write(picked, 0, width, target.access(), target.from(i, 0).offset());
            }
          }
        });
  }

  /** So many numbers and the rest of their last block. */
  private int whole(int n) {
    return (n + format.elements() - 1) / format.elements() * format.elements();
  }

  private <A> Matrix slab(Rows<A> rows, int[] slab, int column, int n, Cpu.Memory tile) {
    int stride = SLAB_COLUMNS + CACHE_LINE;
    for (int i = 0; i < slab.length; i++) {
      decode(rows, slab[i], column, n, tile, (long) i * stride);
    }
    return new Matrix(tile.access(), 0, stride, false);
  }

  /** Where one thread decodes. */
  private static final class Tile {
    private static final ThreadLocal<Cpu.Memory> FLOATS = ThreadLocal.withInitial(() -> make(DType.FLOAT));
    private static final ThreadLocal<Cpu.Memory> DOUBLES = ThreadLocal.withInitial(() -> make(DType.DOUBLE));

    private static Cpu.Memory make(DType dtype) {
      return Cpu.INSTANCE.make(Device.Size.of(dtype, TILE));
    }

    static Cpu.Memory of(DType dtype) {
      return (dtype == DType.FLOAT ? FLOATS : DOUBLES).get();
    }
  }

  /**
   * out[m, n] = x[m, k] y[k, n] (+ out), where the rows of this are those of y or, transposed, its
   * columns.
   */
  <A> void product(
      Rows<A> rows,
      DType dtype,
      Matrix x,
      boolean transposed,
      Matrix out,
      boolean accumulate,
      int m,
      int n,
      int k) {
    int unit = unit(format, transposed);
    Workers.run(
        units(format, transposed, n),
        work(m, n, k),
        (from, to) -> {
          Cpu.Memory tile = Tile.of(dtype);
          Matrix right = new Matrix(tile.access(), 0, TILE_STRIDE, transposed);
          int start = from * unit;
          int end = Math.min(n, to * unit);
          int inner = transposed ? TILE_COLUMNS : TILE_ROWS;
          int outer = transposed ? TILE_ROWS : TILE_COLUMNS;
          for (int column = start; column < end; column += outer) {
            int width = Math.min(outer, end - column);
            for (int at = 0; at < k; at += inner) {
              int depth = Math.min(inner, k - at);
              if (transposed) {
                decode(rows, column, width, at, depth, tile);
              } else {
                decode(rows, at, depth, column, width, tile);
              }
              boolean more = accumulate || at > 0;
              rows.gemm(x.from(0, at), right, out.from(0, column), more, m, width, depth);
            }
          }
        });
  }

  private <A> void decode(
      Rows<A> rows, int row, int height, int column, int width, Cpu.Memory tile) {
    for (int i = 0; i < height; i++) {
      decode(rows, row + i, column, width, tile, (long) i * TILE_STRIDE);
    }
  }

  /** Threads share columns of the result by so many: blocks are decoded whole. */
  private static int unit(BlockFormat format, boolean transposed) {
    return transposed ? CACHE_LINE : Math.max(CACHE_LINE, format.elements());
  }

  private static int units(BlockFormat format, boolean transposed, int n) {
    int unit = unit(format, transposed);
    return (n + unit - 1) / unit;
  }

  /** As work for {@link Workers}: what is decoded takes as long as a few multiplications. */
  private static long work(int m, int n, int k) {
    return (long) (m / CpuKernels.PRODUCTS_PER_OPERATION + 1) * n * k;
  }

  /** How many elements each of the blocks has that a product takes from the pool at a time. */
  static IntStream scratch(
      BlockFormat format,
      Rows<?> rows, boolean xTransposed, boolean transposed, boolean accumulate, int m, int n, int k) {
    int pieces = Workers.pieces(units(format, transposed, n), work(m, n, k));
    int width = Math.min(n, transposed ? TILE_ROWS : TILE_COLUMNS);
    int depth = Math.min(k, transposed ? TILE_COLUMNS : TILE_ROWS);
    int turned = rows.scratch(xTransposed, transposed, accumulate, m, width, depth);
    return IntStream.generate(() -> turned).limit(turned > 0 ? pieces : 0);
  }
}
