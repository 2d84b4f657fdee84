package dev.tributary.transformer.file;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A file of named tensors and metadata in the format GGUF of ggml, version 2 or 3, of either byte
 * order; or several into which one was split. Shapes are row-major, the reverse of what the file
 * says.
 */
public final class Gguf extends TensorFile {
  private static final byte[] MAGIC = {'G', 'G', 'U', 'F'};

  /** Names of the files into which one was split; they count from 1. */
  private static final Pattern PART = Pattern.compile("(.*)-(\\d{5})-of-(\\d{5})\\.gguf");

  private static final String NUMBER = "split.no";
  private static final String COUNT = "split.count";
  private static final String TENSORS = "split.tensors.count";

  private final Map<String, Object> metadata;

  private Gguf(Path file, GgufHeader header) {
    super(file, header.tensors());
    this.metadata = header.metadata();
  }

  @Override
  String kind() {
    return "GGUF";
  }

  /**
   * Opens a file and checks its header, and those of the other parts if it is one of several.
   *
   * @param file in the format GGUF; of several, any
   * @return the file, its tensors not yet read
   * @throws IOException if there is no such file, it cannot be read, it breaks a rule of the
   *     format, or another part is missing or does not belong to it
   */
  public static Gguf open(Path file) throws IOException {
    return open(FileBytes.open(file, FileBytes.MEMORY_LIMIT));
  }

  /** Whether a file is in this format, to judge by its first bytes. */
  static boolean isOne(FileBytes bytes) throws IOException {
    return bytes.size() >= MAGIC.length
        && Arrays.equals(bytes.read(0, MAGIC.length).array(), MAGIC);
  }

  /** Whether there is a file in this format. */
  static boolean isOne(Path file) throws IOException {
    return Files.isRegularFile(file) && isOne(FileBytes.open(file, 0));
  }

  static Gguf open(FileBytes bytes) throws IOException {
    try {
      GgufHeader header = header(bytes);
      return new Gguf(bytes.path(), number(header, COUNT, 1) == 1 ? header : joined(header));
    } catch (OutOfMemoryError e) {
      throw BadFile.causedBy(e, bytes.path(), "what this file describes does not fit into memory");
    }
  }

  private static GgufHeader header(FileBytes bytes) throws IOException {
    if (!isOne(bytes)) {
      throw BadFile.because(bytes.path(), "this file does not begin with the letters GGUF");
    }
    return GgufHeader.read(bytes, MAGIC.length);
  }

  /**
   * {@return what the file says beside its tensors, in its order: each value a String, Boolean,
   * Double (of 32 bits too), Long, BigInteger (if a Long cannot hold it), or a List of such or of
   * Lists} Of several files, what the first says.
   */
  public Map<String, Object> metadata() {
    return metadata;
  }

  /** Metadata of some keys, in the shape of a JSON file. */
  JsonFile json(Predicate<String> wanted) {
    Map<String, Object> some = new LinkedHashMap<>(metadata);
    some.keySet().removeIf(key -> !wanted.test(key));
    return JsonFile.of(path(), some);
  }

  /** What all parts together hold, one of which is given. */
  private static GgufHeader joined(GgufHeader given) throws IOException {
    Path file = given.path();
    Matcher name = PART.matcher(String.valueOf(file.getFileName()));
    long count = number(given, COUNT, 1);
    if (!name.matches() || Long.parseLong(name.group(3)) != count) {
      throw BadFile.because(
          file,
          "this is one of %d files, expected a name that ends with -00001-of-%05d.gguf or the like",
          count,
          count);
    }
    Map<String, StoredTensor> tensors = new LinkedHashMap<>();
    GgufHeader first = given;
    for (int number = 0; number < count; number++) {
      Path path =
          file.resolveSibling(
              String.format(Locale.ROOT, "%s-%05d-of-%05d.gguf", name.group(1), number + 1, count));
      if (Files.notExists(path)) {
        throw BadFile.because(path, "there is no such file, which %s needs", file);
      }
      boolean isGiven = Long.parseLong(name.group(2)) == number + 1;
      GgufHeader part = isGiven ? given : header(FileBytes.open(path, 0));
      if (number(part, NUMBER, -1) != number || number(part, COUNT, 1) != count) {
        throw BadFile.because(
            path,
            "this file says that it is number %d (from 0) of %d, and its name says %d of %d",
            number(part, NUMBER, -1),
            number(part, COUNT, 1),
            number,
            count);
      }
      first = number == 0 ? part : first;
      for (StoredTensor tensor : part.tensors().values()) {
        if (tensors.put(tensor.name(), tensor) != null) {
          throw StoredTensor.because(path, tensor.name(), "is in two parts of this file");
        }
      }
    }
    long expected = number(first, TENSORS, tensors.size());
    if (expected != tensors.size()) {
      throw BadFile.because(
          first.path(),
          "the parts of this file have %d tensors, and it says %d",
          tensors.size(),
          expected);
    }
    return new GgufHeader(first.path(), first.metadata(), tensors);
  }

  private static long number(GgufHeader header, String key, long otherwise) throws IOException {
    Object value = header.metadata().getOrDefault(key, otherwise);
    if (value instanceof Long number && number >= otherwise) {
      return number;
    }
    throw BadFile.because(
        header.path(),
        "%s is %s, expected a whole number",
        key,
        BadFile.shortened(String.valueOf(value)));
  }
}
