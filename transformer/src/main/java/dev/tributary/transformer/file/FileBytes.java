package dev.tributary.transformer.file;

import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Random access to a file, which is not mapped into memory: a mapped file that somebody shortens
 * takes the process down, and reading costs no more. Several threads may read at once. There is
 * nothing to close: a small file is held in memory, and a large one is opened for as long as one
 * tensor is read.
 */
final class FileBytes {
  /** Up to this size, bytes, a file is held in memory. */
  static final long MEMORY_LIMIT = 16 << 20;

  private final Path path;
  private final byte @Nullable [] content;
  private final State state;

  /** By which it is seen whether a file is still the one that was checked. */
  private record State(long size, FileTime modified, @Nullable Object key) {
    static State of(Path file) throws IOException {
      BasicFileAttributes attributes = Files.readAttributes(file, BasicFileAttributes.class);
      return new State(attributes.size(), attributes.lastModifiedTime(), attributes.fileKey());
    }
  }

  private FileBytes(Path path, byte @Nullable [] content, State state) {
    this.path = path;
    this.content = content;
    this.state = state;
  }

  /** A file that is open. */
  interface Access extends Closeable {
    /** Fills the rest of {@code target}, which must lie inside the file. */
    void fill(long position, ByteBuffer target) throws IOException;

    @Override
    void close() throws IOException;
  }

  private record InMemory(ByteBuffer content) implements Access {
    @Override
    public void fill(long position, ByteBuffer target) {
      target.put(content.slice(Math.toIntExact(position), target.remaining()));
    }

    @Override
    public void close() {}
  }

  private record OnDisk(FileChannel channel) implements Access {
    @Override
    public void fill(long position, ByteBuffer target) throws IOException {
      long shift = position - target.position();
      while (target.hasRemaining()) {
        if (channel.read(target, shift + target.position()) < 0) {
          throw new EOFException("the file has become shorter since it was opened");
        }
      }
    }

    @Override
    public void close() throws IOException {
      channel.close();
    }
  }

  /**
   * Looks at a file, and holds it in memory if it is no larger than that; one inside an archive,
   * which has no cheap random access, always.
   */
  static FileBytes open(Path file, long memoryLimit) throws IOException {
    BadFile.requireFile(file);
    try {
      State state = State.of(file);
      if (file.getFileSystem() == FileSystems.getDefault() && state.size > memoryLimit) {
        return new FileBytes(file, null, state);
      }
      byte[] content = Files.readAllBytes(file);
      return new FileBytes(file, content, new State(content.length, state.modified, state.key));
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
    return state.size;
  }

  /**
   * Opens the file.
   *
   * @throws IOException if that is not possible, or it is no longer the file that it was
   */
  Access access() throws IOException {
    if (content != null) {
      return new InMemory(ByteBuffer.wrap(content));
    }
    FileChannel channel = FileChannel.open(path);
    if (!Objects.equals(state, State.of(path))) {
      channel.close();
      throw new IOException("the file has changed since it was opened");
    }
    return new OnDisk(channel);
  }

  /** A piece, which must lie inside the file, little-endian. */
  ByteBuffer read(long position, int length) throws IOException {
    ByteBuffer target = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
    try (Access access = access()) {
      access.fill(position, target);
    } catch (IOException e) {
      throw BadFile.causedBy(e, path, "this file cannot be read");
    }
    return target.flip();
  }
}
