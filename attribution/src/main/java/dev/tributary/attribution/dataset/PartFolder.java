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
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Optional;

/**
 * A folder with sums over the parts of a data set that are finished. They are there whole, as of
 * the last part, whenever the process ends; one process has the folder at a time.
 */
final class PartFolder implements Closeable {
  private static final String QUESTION = "question.txt";
  private static final String SUMS = ".sums";
  private static final String LOCK = "lock";

  private final Path folder;
  private final FileChannel lock;

  private PartFolder(Path folder, FileChannel lock) {
    this.folder = folder;
    this.lock = lock;
  }

  /**
   * Opens a folder, made if it is not there.
   *
   * @param question what is asked of which data: sums of another question are not taken
   */
  static PartFolder open(Path folder, String question) throws IOException {
    requireArgument(
        Files.notExists(folder) || Files.isDirectory(folder),
        "%s: this is a file, and the folder for what is finished would be here",
        folder);
    Files.createDirectories(folder);
    FileChannel lock =
        FileChannel.open(folder.resolve(LOCK), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
    try {
      requireArgument(isLocked(lock), "%s: another process is at work on what is here", folder);
      Path file = folder.resolve(QUESTION);
      if (Files.exists(file)) {
        requireArgument(
            Files.readString(file).equals(question),
            "%s has what is finished of another question (see %s there): remove the folder, or let this one be"
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

  private Path sums(String called) {
    return folder.resolve(called + SUMS);
  }

  /** What was written last, if anything was. */
  Optional<double[]> read(String called, int length) throws IOException {
    Path file = sums(called);
    if (Files.notExists(file)) {
      return Optional.empty();
    }
    byte[] bytes = Files.readAllBytes(file);
    if (bytes.length != length * Double.BYTES) {
      throw new IOException(
          "%s: %d bytes where %d numbers should be: remove the folder, and all begins anew"
              .formatted(file, bytes.length, length));
    }
    double[] numbers = new double[length];
    ByteBuffer.wrap(bytes).asDoubleBuffer().get(numbers);
    return Optional.of(numbers);
  }

  /** In place of what was written before. */
  void write(String called, double... numbers) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(numbers.length * Double.BYTES);
    bytes.asDoubleBuffer().put(numbers);
    AtomicFile.write(sums(called), stream -> stream.write(bytes.array()));
  }

  /**
   * Removes what was written here, the question behind all that answers it: whenever the process
   * ends, no sums are left of which nobody knows what they are.
   */
  void delete() throws IOException {
    for (String own : List.of("*" + SUMS, AtomicFile.UNFINISHED + "*", QUESTION)) {
      try (DirectoryStream<Path> files = Files.newDirectoryStream(folder, own)) {
        for (Path file : files) {
          Files.delete(file);
        }
      }
    }
    lock.close();
    Files.deleteIfExists(folder.resolve(LOCK));
    try {
      Files.deleteIfExists(folder);
    } catch (DirectoryNotEmptyException e) {
      return; // something else is kept here
    }
  }

  @Override
  public void close() throws IOException {
    lock.close();
  }
}
