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
  /** Numbers that are decoded at a time on the heap. A multiple of every block. */
  private static final int PIECE = 1024;

  /** Numbers of a tile, the largest part of a matrix that is decoded at a time. */
  static final int TILE = (1 << 17) + (1 << 15);

  /** Bytes that are read from a file at a time. */
  private static final int READ = 1 << 20;

  /** A tile of what is copied: as large, and broad, as most copies are of rows. */
  private static final int SLAB_ROWS = 64;

  private static final int SLAB_COLUMNS = 1024;

  /** Bytes and numbers of a tile's row on the heap. */
  private static final ThreadLocal<byte[]> BYTES =
      ThreadLocal.withInitial(() -> new byte[PIECE * Float.BYTES]);

  private static final ThreadLocal<float[]> FLOATS =
      ThreadLocal.withInitial(() -> new float[PIECE]);

  static EncodedRows of(Tensor x) {
    return new EncodedRows(Cpu.raw(x.block()), x.encoding().format(), x.offset(), x.rowStride());
  }

  /** Of a number that begins a block, bytes. */
  long position(int row, int column) {
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
    boolean inHalves = hasHalves(x) && width % 2 == 0;
    Workers.run(
        height,
        x.shape().length(),
        (from, to) -> {
          for (int row = from; row < to && finite.get(); row++) {
            if (!(inHalves ? raw.isFinite(position(row, 0), width) : isFinite(row, width))) {
              finite.set(false);
            }
          }
        });
    return finite.get();
  }

  private boolean isFinite(int row, int width) {
    Cpu.Memory piece = tile(DType.FLOAT);
    float[] numbers = FLOATS.get();
    for (int column = 0; column < width; column += PIECE) {
      int n = Math.min(PIECE, width - column);
      decode(FloatRows.INSTANCE, row, column, n, piece, 0);
      FloatRows.INSTANCE.read(piece.access(), 0, numbers, 0, n);
      if (!CpuKernels.isFinite(FloatRows.INSTANCE, numbers, n)) {
        return false;
      }
    }
    return true;
  }

  /** Part of one row, whole blocks, into a block of the processor. */
  <A> void decode(Rows<A> rows, int row, int column, int n, Cpu.Memory to, long at) {
    for (int done = 0; done < n; done += PIECE) {
      decodePiece(rows, row, column + done, Math.min(PIECE, n - done), to, at + done);
    }
  }

  /** Whether {@link #decodeHalves} can decode even parts of the rows of a matrix. */
  static boolean hasHalves(Tensor x) {
    return x.encoding().format() == BlockFormat.BF16
        && x.dtype() == DType.FLOAT
        && x.offset() % 2 == 0
        && x.rowStride() % 2 == 0;
  }

  /** As {@link #decode}, those of even index before those of odd index, which is fastest. */
  void decodeHalves(int row, int column, int n, Cpu.Memory to, long at) {
    raw.widenHalves(position(row, column), to.raw(), at * Float.BYTES, n);
  }

  private <A> void decodePiece(Rows<A> rows, int row, int column, int n, Cpu.Memory to, long at) {
    long position = position(row, column);
    boolean isFloat = to.size().dtype() == DType.FLOAT;
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
                Matrix decoded = slab(rows, slab, column, whole(n), tile(out.dtype()));
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
            for (int column = 0; column < read; column += PIECE) {
              int n = Math.min(PIECE, read - column);
              Cpu.Memory tile = tile(out.dtype());
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
    int stride = SLAB_COLUMNS + 16;
    for (int i = 0; i < slab.length; i++) {
      decode(rows, slab[i], column, n, tile, (long) i * stride);
    }
    return new Matrix(tile.access(), 0, stride, false);
  }

  /** Where a thread decodes. */
  private static final ThreadLocal<Cpu.Memory> FLOAT_TILE =
      ThreadLocal.withInitial(() -> tileOf(DType.FLOAT));

  private static final ThreadLocal<Cpu.Memory> DOUBLE_TILE =
      ThreadLocal.withInitial(() -> tileOf(DType.DOUBLE));

  private static Cpu.Memory tileOf(DType dtype) {
    return Cpu.INSTANCE.make(Device.Size.of(dtype, TILE));
  }

  /** Where this thread decodes. */
  static Cpu.Memory tile(DType dtype) {
    return (dtype == DType.FLOAT ? FLOAT_TILE : DOUBLE_TILE).get();
  }
}
