package dev.tributary.transformer;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * Random access to a file, which is not mapped into memory: a mapped file that somebody shortens
 * takes the process down, and reading costs no more. Several threads may read at once. There is
 * nothing to close: a small file is held in memory, and the channel of a large one is closed by the
 * garbage collector.
 */
final class FileBytes {
  /** Up to this size, bytes, a file is held in memory. */
  static final long MEMORY_LIMIT = 16 << 20;

  private final Path path;
  private final long size;
  private final byte[] content;
  private final @Nullable FileChannel channel;

  private FileBytes(Path path, long size, byte[] content, @Nullable FileChannel channel) {
    this.path = path;
    this.size = size;
    this.content = content;
    this.channel = channel;
  }

  /**
   * Opens a file, and holds it in memory if it is no larger than that; one inside an archive, which
   * has no cheap random access, always.
   */
  static FileBytes open(Path file, long memoryLimit) throws IOException {
    BadFile.requireFile(file);
    try {
      if (file.getFileSystem() == FileSystems.getDefault() && Files.size(file) > memoryLimit) {
        FileChannel channel = FileChannel.open(file);
        return new FileBytes(file, channel.size(), new byte[0], channel);
      }
      byte[] content = Files.readAllBytes(file);
      return new FileBytes(file, content.length, content, null);
    } catch (IOException e) {
      throw BadFile.causedBy(e, file, "this file cannot be read");
    } catch (OutOfMemoryError e) {
      throw BadFile.causedBy(e, file, "this file does not fit into memory");
    }
  }

  Path path() {
    return path;
  }

  long size() {
    return size;
  }

  /** Fills the rest of {@code target}, which must lie inside the file. */
  void fill(long position, ByteBuffer target) throws IOException {
    if (channel == null) {
      target.put(content, Math.toIntExact(position), target.remaining());
      return;
    }
    long shift = position - target.position();
    while (target.hasRemaining()) {
      if (channel.read(target, shift + target.position()) < 0) {
        throw new EOFException("the file has become shorter since it was opened");
      }
    }
  }

  /** A piece, which must lie inside the file, little-endian. */
  ByteBuffer read(long position, int length) throws IOException {
    ByteBuffer target = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
    try {
      fill(position, target);
    } catch (IOException e) {
      throw BadFile.causedBy(e, path, "this file cannot be read");
    }
    return target.flip();
  }
}
