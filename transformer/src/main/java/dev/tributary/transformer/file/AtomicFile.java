package dev.tributary.transformer.file;

import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.AccessDeniedException;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.FileSystemException;
import java.nio.file.FileSystemLoopException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFileAttributeView;
import java.util.List;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * The one way in which files are written: a file appears, or is replaced, once it is complete. A
 * new one has the permissions that the system gives to new files, one that is replaced keeps its
 * own.
 */
public final class AtomicFile {
  /** With this begins the name of a file until it is complete. */
  public static final String UNFINISHED = "unfinished-";

  /** Most links from one to the next; systems have such a limit as well. */
  private static final int LINKS_LIMIT = 40;

  /** What is here may be a file that somebody else has open. */
  private static final List<Path> DEVICES = List.of(Path.of("/dev"), Path.of("/proc"));

  private AtomicFile() {}

  /** Writes what a file is to hold. */
  @FunctionalInterface
  public interface Content {
    /**
     * Writes all of it.
     *
     * @param out the file
     * @throws IOException if it cannot be had
     */
    void writeTo(OutputStream out) throws IOException;
  }

  /**
   * Writes a file; through a link into the file to which it leads, and into a device or pipe as it
   * comes.
   *
   * @param file made or replaced
   * @param content all of it
   * @throws IOException if it cannot be written, or {@code content} throws it
   */
  public static void write(Path file, Content content) throws IOException {
    Content told = told(file, content);
    try {
      boolean device = Files.exists(file) && !Files.isRegularFile(file);
      if (device || DEVICES.stream().anyMatch(file.toAbsolutePath()::startsWith)) {
        overwrite(file, told);
        return;
      }
      Path target = target(file.toAbsolutePath());
      if (!Files.exists(target)) {
        replace(target, told);
      } else if (!Files.isWritable(target)) {
        throw new AccessDeniedException(file.toString());
      } else if (Files.isWritable(target.resolveSibling(""))) {
        replace(target, told);
      } else {
        overwrite(target, told); // nothing new may appear beside it
      }
    } catch (FileSystemException e) {
      throw unwritable(
          file, e, e instanceof AccessDeniedException ? "permission denied" : e.getReason());
    }
  }

  /**
   * Copies a file.
   *
   * @param from what is copied
   * @param to made or replaced
   * @throws IOException if one cannot be read or the other cannot be written
   */
  public static void copy(Path from, Path to) throws IOException {
    BadFile.requireFile(from);
    write(to, out -> Files.copy(from, out));
  }

  private static IOException unwritable(Path file, IOException e, @Nullable String reason) {
    return BadFile.causedBy(
        e, file, "this file cannot be written%s", reason == null ? "" : ": " + reason);
  }

  /** The same, with a sentence of the file where its disk is full or fails. */
  private static Content told(Path file, Content content) {
    return out ->
        content.writeTo(
            new FilterOutputStream(out) {
              @Override
              public void write(int b) throws IOException {
                write(new byte[] {(byte) b}, 0, 1);
              }

              @Override
              public void write(byte[] bytes, int from, int count) throws IOException {
                try {
                  out.write(bytes, from, count);
                } catch (IOException e) {
                  throw unwritable(file, e, e.getMessage());
                }
              }
            });
  }

  private static void overwrite(Path file, Content content) throws IOException {
    try (OutputStream out = Files.newOutputStream(file)) {
      content.writeTo(out);
    }
  }

  private static void replace(Path file, Content content) throws IOException {
    Path part = file.resolveSibling(UNFINISHED + UUID.randomUUID());
    try {
      try (OutputStream out = Files.newOutputStream(part, StandardOpenOption.CREATE_NEW)) {
        keepPermissions(file, part); // before there is anything to read
        content.writeTo(out);
      }
      try {
        Files.move(part, file, StandardCopyOption.ATOMIC_MOVE);
      } catch (AtomicMoveNotSupportedException e) {
        Files.move(part, file, StandardCopyOption.REPLACE_EXISTING);
      }
    } finally {
      Files.deleteIfExists(part);
    }
  }

  /** Windows has none: there a file has those of its folder. */
  private static void keepPermissions(Path old, Path replacement) throws IOException {
    PosixFileAttributeView view =
        Files.getFileAttributeView(replacement, PosixFileAttributeView.class);
    if (view != null && Files.exists(old)) {
      view.setPermissions(Files.getPosixFilePermissions(old));
    }
  }

  /** Where the links from a file end, even if nothing is there yet. */
  private static Path target(Path file) throws IOException {
    Path target = file;
    for (int links = 0; Files.isSymbolicLink(target); links++) {
      if (links == LINKS_LIMIT) {
        throw new FileSystemLoopException(file.toString());
      }
      target = target.resolveSibling(Files.readSymbolicLink(target));
    }
    return target;
  }
}
