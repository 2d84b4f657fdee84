package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.transformer.file.AtomicFile;
import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Optional;

/**
 * A folder with the totals of the parts of a data set that are finished. A part is there whole or
 * not at all, whenever the process ends; one process has the folder at a time.
 */
final class PartFolder implements Closeable {
  private static final String QUESTION = "question.txt";
  private static final String PART = "part-";

  private final Path folder;
  private final FileChannel lock;

  private PartFolder(Path folder, FileChannel lock) {
    this.folder = folder;
    this.lock = lock;
  }

  /**
   * Opens a folder, made if it is not there.
   *
   * @param question what is asked of which data: parts of another question are not taken
   */
  static PartFolder open(Path folder, String question) throws IOException {
    Files.createDirectories(folder);
    FileChannel lock =
        FileChannel.open(
            folder.resolve("lock"), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
    try {
      requireArgument(
          isLocked(lock), "%s: another process is at work on the parts that are here", folder);
      Path file = folder.resolve(QUESTION);
      if (Files.exists(file)) {
        requireArgument(
            Files.readString(file).equals(question),
            "%s has finished parts of another question (%s): remove the folder, or let this one be"
                + " written elsewhere",
            folder,
            QUESTION);
      } else {
        AtomicFile.write(file, stream -> stream.write(question.getBytes(StandardCharsets.UTF_8)));
      }
      return new PartFolder(folder, lock);
    } catch (IOException | RuntimeException e) {
      lock.close();
      throw e;
    }
  }

  private static boolean isLocked(FileChannel channel) throws IOException {
    try {
      FileLock own = channel.tryLock();
      return own != null;
    } catch (OverlappingFileLockException e) {
      return false;
    }
  }

  private Path part(int number) {
    return folder.resolve(PART + number);
  }

  /** The numbers of a part, if it is finished. */
  Optional<double[]> read(int number, int length) throws IOException {
    Path file = part(number);
    if (Files.notExists(file)) {
      return Optional.empty();
    }
    byte[] bytes = Files.readAllBytes(file);
    if (bytes.length != length * Double.BYTES) {
      throw new IOException(
          "%s: %d bytes, and the part has %d numbers".formatted(file, bytes.length, length));
    }
    double[] numbers = new double[length];
    ByteBuffer.wrap(bytes).asDoubleBuffer().get(numbers);
    return Optional.of(numbers);
  }

  /** Finishes a part. */
  void write(int number, double[] numbers) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(numbers.length * Double.BYTES);
    bytes.asDoubleBuffer().put(numbers);
    AtomicFile.write(part(number), stream -> stream.write(bytes.array()));
  }

  /** Removes everything, when the whole is written elsewhere. */
  void delete() throws IOException {
    lock.close();
    try (DirectoryStream<Path> files = Files.newDirectoryStream(folder)) {
      for (Path file : files) {
        Files.delete(file);
      }
    }
    Files.delete(folder);
  }

  @Override
  public void close() throws IOException {
    lock.close();
  }
}
