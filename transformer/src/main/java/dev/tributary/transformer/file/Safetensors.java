package dev.tributary.transformer.file;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;

/** A file of named tensors in the safetensors format. */
public final class Safetensors extends TensorFile {
  /** Largest header, bytes: the limit of the format's own reader. */
  private static final int HEADER_LIMIT = 100_000_000;

  private static final int LENGTH_FIELD = Long.BYTES;

  private Safetensors(Path file, Map<String, StoredTensor> tensors) {
    super(file, tensors);
  }

  @Override
  String kind() {
    return "safetensors";
  }

  /**
   * Opens a file and checks its header.
   *
   * @param file in the format safetensors
   * @return the file, its tensors not yet read
   * @throws IOException if there is no such file, it cannot be read, or it breaks a rule of the
   *     format
   */
  public static Safetensors open(Path file) throws IOException {
    return open(file, FileBytes.MEMORY_LIMIT);
  }

  /** Opens a file, and holds it in memory if it is no larger than that. */
  static Safetensors open(Path file, long memoryLimit) throws IOException {
    return open(FileBytes.open(file, memoryLimit));
  }

  static Safetensors open(FileBytes bytes) throws IOException {
    try {
      return new Safetensors(bytes.path(), SafetensorsHeader.parse(bytes, header(bytes)));
    } catch (OutOfMemoryError e) {
      throw BadFile.causedBy(e, bytes.path(), "what this file describes does not fit into memory");
    }
  }

  private static byte[] header(FileBytes bytes) throws IOException {
    long follows = bytes.size() - LENGTH_FIELD;
    if (follows < 0) {
      throw BadFile.because(
          bytes.path(),
          "this file has %d bytes, expected at least %d, which say how long its header is",
          bytes.size(),
          LENGTH_FIELD);
    }
    long length = bytes.read(0, LENGTH_FIELD).getLong();
    long most = Math.min(HEADER_LIMIT, follows);
    if (length < 0 || length > most) {
      throw BadFile.because(
          bytes.path(),
          "the header says that it has %s bytes, expected at most %d in this file",
          Long.toUnsignedString(length),
          most);
    }
    return bytes.read(LENGTH_FIELD, (int) length).array();
  }
}
