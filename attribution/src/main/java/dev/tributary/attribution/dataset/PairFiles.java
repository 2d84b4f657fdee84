package dev.tributary.attribution.dataset;

import dev.tributary.attribution.dataset.PairReader.BadRow;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Consumer;

/**
 * A data set: pairs of prompts in some files, read anew whenever they are asked for, so that they
 * take no memory.
 *
 * @param files in their order
 * @param reader of all
 */
public record PairFiles(List<Path> files, PairReader reader) {
  /**
   * Keeps a copy.
   *
   * @param files {@link #files()}
   * @param reader {@link #reader()}
   */
  public PairFiles {
    files = List.copyOf(files);
  }

  /**
   * Reads all rows, file by file.
   *
   * @param pairs hears of each pair
   * @param bad hears of each row that is none
   * @throws IOException as {@link PairReader#read}
   */
  public void read(Consumer<Pair> pairs, Consumer<BadRow> bad) throws IOException {
    for (Path file : files) {
      reader.read(file, row -> pairs.accept(row.pair()), bad);
    }
  }

  /**
   * Reads the first pairs.
   *
   * @param count how many, if there are so many
   * @param pairs hears of each
   * @throws IOException as {@link PairReader#read}
   */
  public void readFirst(int count, Consumer<Pair> pairs) throws IOException {
    int[] seen = {0};
    read(
        pair -> {
          if (seen[0]++ < count) {
            pairs.accept(pair);
          }
        },
        row -> {});
  }

  /**
   * {@return how many rows there are, good and bad} Nothing is split into tokens.
   *
   * @throws IOException as {@link PairReader#read}
   */
  public long rows() throws IOException {
    long rows = 0;
    for (Path file : files) {
      rows += reader.rows(file);
    }
    return rows;
  }

  /** What differs if any file does, or how it is read. */
  String identity() throws IOException {
    MessageDigest digest;
    try {
      digest = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e); // every Java has it
    }
    for (Path file : files) {
      try (InputStream stream = new DigestInputStream(Files.newInputStream(file), digest)) {
        stream.transferTo(OutputStream.nullOutputStream());
      }
    }
    return HexFormat.of().formatHex(digest.digest()) + " " + reader;
  }
}
