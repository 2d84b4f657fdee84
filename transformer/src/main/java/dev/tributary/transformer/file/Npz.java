package dev.tributary.transformer.file;

import dev.tributary.core.Shape;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A file that numpy.savez wrote: a zip archive with an array in each entry. Arrays of Python
 * objects, which would be pickles, are refused.
 *
 * @see <a href="https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html">The format
 *     of an entry</a>
 */
final class Npz extends TensorFile {
  private static final String END = ".npy";
  private static final byte[] MAGIC = {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y'};
  private static final int PREFIX = 8;

  /** Longest header, bytes; they have about a hundred. */
  private static final int HEADER_LIMIT = 1 << 16;

  /** A dictionary of Python, its keys in the order of the alphabet, as numpy writes it. */
  private static final Pattern HEADER =
      Pattern.compile(
          "\\{'descr': '([^'\\p{Cntrl}]{1,20})', 'fortran_order': (True|False),"
              + " 'shape': \\(((?:\\d{1,19}L?,? ?){0,32})\\), ?\\}[ \\n]*");

  private static final Map<String, ElementType> TYPES =
      Map.of(
          "<f2", ElementType.F16,
          "<f4", ElementType.F32,
          "<f8", ElementType.F64,
          "<i4", ElementType.I32,
          "<i8", ElementType.I64,
          "|b1", ElementType.BOOL,
          "|u1", ElementType.U8);

  private Npz(Path file, Map<String, StoredTensor> tensors) {
    super(file, tensors);
  }

  @Override
  String kind() {
    return "numpy.savez";
  }

  /** Whether a file is a zip archive of arrays alone. */
  static boolean isOne(FileBytes bytes) throws IOException {
    return ZipArchive.isOne(bytes) && isOne(new ZipArchive(bytes));
  }

  private static boolean isOne(ZipArchive archive) {
    return !archive.names().isEmpty()
        && archive.names().stream().allMatch(name -> name.endsWith(END));
  }

  /**
   * Opens a file and checks what it says about its arrays.
   *
   * @throws IOException if it cannot be read, numpy.savez did not write it, or it breaks a rule of
   *     its format
   */
  static Npz open(FileBytes bytes) throws IOException {
    if (!ZipArchive.isOne(bytes)) {
      throw BadFile.because(bytes.path(), "this file is not one that numpy.savez wrote");
    }
    ZipArchive archive = new ZipArchive(bytes);
    if (!isOne(archive)) {
      throw BadFile.because(
          bytes.path(), "this zip archive holds more than arrays, expected entries named *%s", END);
    }
    Map<String, StoredTensor> tensors = new LinkedHashMap<>();
    for (String entry : archive.names()) {
      String name = entry.substring(0, entry.length() - END.length());
      tensors.put(name, array(bytes, name, archive.start(entry), archive.size(entry)));
    }
    return new Npz(bytes.path(), tensors);
  }

  private static StoredTensor array(FileBytes bytes, String name, long start, long size)
      throws IOException {
    byte[] prefix = read(bytes, name, start, size, PREFIX).array();
    int version = prefix[MAGIC.length];
    boolean wide = version > 1;
    if (!Arrays.equals(MAGIC, Arrays.copyOf(prefix, MAGIC.length)) || version < 1 || version > 3) {
      throw StoredTensor.because(bytes.path(), name, "is no array as numpy stores it");
    }
    int lengthField = wide ? Integer.BYTES : Short.BYTES;
    ByteBuffer length = read(bytes, name, start + PREFIX, size - PREFIX, lengthField);
    long header =
        wide ? Integer.toUnsignedLong(length.getInt()) : Short.toUnsignedLong(length.getShort());
    int before = PREFIX + lengthField;
    if (header > HEADER_LIMIT) {
      throw StoredTensor.because(
          bytes.path(),
          name,
          "has a header of %d bytes, expected at most %d",
          header,
          HEADER_LIMIT);
    }
    byte[] text = read(bytes, name, start + before, size - before, (int) header).array();
    return array(
        bytes,
        name,
        new String(text, StandardCharsets.UTF_8),
        start + before + header,
        size - before - header);
  }

  private static StoredTensor array(
      FileBytes bytes, String name, String header, long start, long size) throws IOException {
    Matcher matcher = HEADER.matcher(header);
    if (!matcher.matches()) {
      throw StoredTensor.because(
          bytes.path(), name, "has a header that is not numpy's: %s", BadFile.quoted(header));
    }
    ElementType type = TYPES.get(matcher.group(1));
    if (type == null) {
      throw StoredTensor.because(
          bytes.path(), name, "has numbers of type %s, expected <f4, <f2 or <f8", matcher.group(1));
    }
    Shape shape = StoredTensor.shape(bytes.path(), name, dimensions(bytes, name, matcher.group(3)));
    long needed = (long) shape.length() * type.bytes();
    if (needed != size) {
      throw StoredTensor.because(
          bytes.path(), name, "is %s of type %s and has %d bytes", shape, matcher.group(1), size);
    }
    if (matcher.group(2).equals("False")) {
      return StoredTensor.of(bytes, name, type, shape, start);
    }
    long[] strides = new long[shape.rank()];
    long stride = 1;
    for (int axis = 0; axis < strides.length; axis++) {
      strides[axis] = stride;
      stride *= shape.size(axis);
    }
    return StoredTensor.of(bytes, name, type, shape, start, strides);
  }

  private static long[] dimensions(FileBytes bytes, String name, String text) throws IOException {
    String[] words = text.isBlank() ? new String[0] : text.replace("L", "").split(", ?", 0);
    long[] dimensions = new long[words.length];
    for (int i = 0; i < words.length; i++) {
      try {
        dimensions[i] = Long.parseLong(words[i].strip());
      } catch (NumberFormatException e) {
        throw BadFile.causedBy(
            e, bytes.path(), "tensor %s has a shape that is none", BadFile.quoted(name));
      }
    }
    return dimensions;
  }

  private static ByteBuffer read(FileBytes bytes, String name, long start, long left, int length)
      throws IOException {
    if (length > left) {
      throw StoredTensor.because(bytes.path(), name, "ends inside its header");
    }
    return bytes.read(start, length);
  }
}
