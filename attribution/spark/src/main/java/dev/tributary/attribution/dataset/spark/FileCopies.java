package dev.tributary.attribution.dataset.spark;

import java.io.IOException;
import java.io.OutputStream;
import java.io.Serializable;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.stream.Stream;

/** What files of a folder hold, or one file, as it can be sent to another machine. */
final class FileCopies implements Serializable {
  private static final long serialVersionUID = 1;

  /** Bytes of a piece: an array holds no large file. */
  private static final int PIECE = 1 << 26;

  private final String id = UUID.randomUUID().toString();
  private final boolean isFolder;
  private final ArrayList<String> names = new ArrayList<>();
  private final ArrayList<byte[][]> contents = new ArrayList<>();

  private FileCopies(boolean isFolder) {
    this.isFolder = isFolder;
  }

  static FileCopies of(Path path) throws IOException {
    FileCopies copies = new FileCopies(Files.isDirectory(path));
    if (!copies.isFolder) {
      copies.add(path);
      return copies;
    }
    try (Stream<Path> files = Files.list(path)) {
      for (Path file : files.filter(Files::isRegularFile).sorted().toList()) {
        copies.add(file);
      }
    }
    return copies;
  }

  private void add(Path file) throws IOException {
    List<byte[]> pieces = new ArrayList<>();
    try (FileChannel channel = FileChannel.open(file)) {
      for (long left = channel.size(); left > 0; ) {
        ByteBuffer piece = ByteBuffer.allocate((int) Math.min(left, PIECE));
        while (piece.hasRemaining()) {
          if (channel.read(piece) < 0) {
            throw new IOException(file + ": this file became shorter while it was read");
          }
        }
        left -= piece.capacity();
        pieces.add(piece.array());
      }
    }
    names.add(String.valueOf(file.getFileName()));
    contents.add(pieces.toArray(byte[][]::new));
  }

  /** {@return what no other copies are called} */
  String id() {
    return id;
  }

  /** What is done with files. */
  @FunctionalInterface
  interface Use<T> {
    T with(Path path) throws IOException;
  }

  /** Writes the files and uses them, which are gone afterwards. */
  <T> T during(Use<T> use) throws IOException {
    Path folder = Files.createTempDirectory("tributary");
    try {
      for (int i = 0; i < names.size(); i++) {
        try (OutputStream out = Files.newOutputStream(folder.resolve(names.get(i)))) {
          for (byte[] piece : contents.get(i)) {
            out.write(piece);
          }
        }
      }
      return use.with(isFolder ? folder : folder.resolve(names.get(0)));
    } finally {
      for (String name : names) {
        Files.deleteIfExists(folder.resolve(name));
      }
      Files.delete(folder);
    }
  }
}
