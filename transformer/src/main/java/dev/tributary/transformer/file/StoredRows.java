package dev.tributary.transformer.file;

import dev.tributary.core.BlockFormat;
import dev.tributary.core.DType;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.file.StoredTensor.Storage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;

/** A matrix whose rows, or whose columns, each lie in a file without a gap. */
final class StoredRows {
  private final Storage storage;
  private final BlockFormat format;

  /** Of the matrix as it is wanted. */
  private final Shape shape;

  /** Whether what lies in the file row by row are its columns. */
  private final boolean turned;

  /** Numbers of a row. */
  private final int width;

  private final long[] starts;

  /**
   * @param starts of each row, in numbers from where the storage begins
   */
  StoredRows(Storage storage, BlockFormat format, Shape shape, boolean turned, long... starts) {
    this.storage = storage;
    this.format = format;
    this.shape = shape;
    this.turned = turned;
    this.width = shape.size(turned ? 0 : 1);
    this.starts = starts;
  }

  /** Into memory as they are. */
  Tensor encoded(DType dtype, FileBytes.Access access) {
    return Tensor.encoded(
        dtype, shape, format, turned, (from, target) -> read(access, from, target));
  }

  Tensor decoded(DType dtype, FileBytes.Access access) {
    return Tensor.decoded(
        dtype, shape, format, turned, (from, target) -> read(access, from, target));
  }

  private long bytes(long elements) {
    return elements / format.elements() * format.bytes();
  }

  /** Rows that follow each other in the file are read at once. */
  private void read(FileBytes.Access access, long from, ByteBuffer target) {
    long rowBytes = bytes(width);
    int end = target.limit();
    try {
      while (target.position() < end) {
        long at = from + target.position();
        int row = (int) (at / rowBytes);
        long skipped = at % rowBytes;
        int next = row + 1;
        while (next < starts.length
            && starts[next] == starts[next - 1] + width
            && (next - row) * rowBytes - skipped < end - target.position()) {
          next++;
        }
        long length = Math.min(end - target.position(), (next - row) * rowBytes - skipped);
        target.limit(target.position() + (int) length);
        access.fill(storage.position() + bytes(starts[row]) + skipped, target);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
