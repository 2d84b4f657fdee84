package dev.tributary.transformer;

import dev.tributary.core.DType;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.SafetensorsHeader.Entry;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;

/**
 * A file of named tensors in the safetensors format. All that its header claims is checked when it
 * is opened, so that nothing an untrusted file says is used before it is known to make sense.
 *
 * <p>Immutable; several threads may read at once. There is nothing to close: a small file is held
 * in memory, and the handle of a large one is given back when this object is garbage.
 */
public final class Safetensors {
  /** Largest header, bytes: the limit of the format's own reader. */
  private static final int HEADER_LIMIT = 100_000_000;

  /** Up to this size, bytes, a file is held in memory. */
  private static final long MEMORY_LIMIT = 16 << 20;

  /** Elements compared at a time. */
  private static final int PIECE = 4096;

  private static final int LENGTH_FIELD = Long.BYTES;

  private final Path file;
  private final Bytes bytes;
  private final long dataStart;
  private final Map<String, Entry> entries;

  private Safetensors(Path file, Bytes bytes) throws IOException {
    this.file = file;
    this.bytes = bytes;
    byte[] header = header(file, bytes);
    this.dataStart = (long) LENGTH_FIELD + header.length;
    this.entries = SafetensorsHeader.parse(file, header, bytes.size() - dataStart);
  }

  /** Random access to the whole file. */
  private interface Bytes extends Closeable {
    long size();

    /** Fills the rest of {@code target}. */
    void read(long position, ByteBuffer target) throws IOException;
  }

  private record InMemory(ByteBuffer content) implements Bytes {
    @Override
    public long size() {
      return content.capacity();
    }

    @Override
    public void read(long position, ByteBuffer target) {
      target.put(content.slice(Math.toIntExact(position), target.remaining()));
    }

    @Override
    public void close() {}
  }

  /**
   * Not mapped into memory: a mapped file that somebody shortens takes the process down, and
   * reading costs no more. A channel that nobody can reach any longer is closed by the garbage
   * collector.
   */
  private record OnDisk(FileChannel channel, long size) implements Bytes {
    static OnDisk open(Path file) throws IOException {
      FileChannel channel = FileChannel.open(file);
      return new OnDisk(channel, channel.size());
    }

    @Override
    public void read(long position, ByteBuffer target) throws IOException {
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
   * Opens a file and checks its header.
   *
   * @throws IOException if there is no such file, it cannot be read, or it breaks a rule of the
   *     format
   */
  public static Safetensors open(Path file) throws IOException {
    return open(file, MEMORY_LIMIT);
  }

  /** Opens a file, and holds it in memory if it is no larger than that. */
  static Safetensors open(Path file, long memoryLimit) throws IOException {
    BadFile.requireFile(file);
    try {
      Bytes bytes = bytes(file, memoryLimit);
      try {
        return new Safetensors(file, bytes);
      } catch (Throwable e) {
        bytes.close();
        throw e;
      }
    } catch (OutOfMemoryError e) {
      throw BadFile.causedBy(e, file, "this file does not fit into memory");
    }
  }

  /** A file inside an archive has no cheap random access, so it is held in memory as well. */
  private static Bytes bytes(Path file, long memoryLimit) throws IOException {
    try {
      return file.getFileSystem() == FileSystems.getDefault() && Files.size(file) > memoryLimit
          ? OnDisk.open(file)
          : new InMemory(ByteBuffer.wrap(Files.readAllBytes(file)));
    } catch (IOException e) {
      throw BadFile.causedBy(e, file, "this file cannot be read");
    }
  }

  private static byte[] header(Path file, Bytes bytes) throws IOException {
    long follows = bytes.size() - LENGTH_FIELD;
    if (follows < 0) {
      throw BadFile.because(
          file,
          "this file has %d bytes, expected at least %d, which say how long its header is",
          bytes.size(),
          LENGTH_FIELD);
    }
    ByteBuffer field = ByteBuffer.allocate(LENGTH_FIELD).order(ByteOrder.LITTLE_ENDIAN);
    read(file, bytes, 0, field);
    long length = field.getLong(0);
    long most = Math.min(HEADER_LIMIT, follows);
    if (length < 0 || length > most) {
      throw BadFile.because(
          file,
          "the header says that it has %s bytes, expected at most %d in this file",
          Long.toUnsignedString(length),
          most);
    }
    byte[] header = new byte[(int) length];
    read(file, bytes, LENGTH_FIELD, ByteBuffer.wrap(header));
    return header;
  }

  private static void read(Path file, Bytes bytes, long position, ByteBuffer target)
      throws IOException {
    try {
      bytes.read(position, target);
    } catch (IOException e) {
      throw BadFile.causedBy(e, file, "this file cannot be read");
    }
  }

  /** Names of all tensors, in the order of the header. */
  public Set<String> names() {
    return entries.keySet();
  }

  /** Whether there is a tensor of this name. */
  public boolean contains(String name) {
    return entries.containsKey(name);
  }

  /**
   * Shape of one tensor.
   *
   * @throws IOException if there is no tensor of this name
   */
  public Shape shape(String name) throws IOException {
    return entry(name).shape();
  }

  /**
   * One tensor, in the innermost open scope. F32, F16, BF16 and F64 can be read; numbers are
   * rounded if {@code dtype} is narrower.
   *
   * @throws IOException if there is no tensor of this name, it has another element type, or the
   *     file can no longer be read
   */
  public Tensor tensor(String name, DType dtype) throws IOException {
    Numbers numbers = numbers(name);
    try {
      return Tensor.generate(dtype, numbers.entry.shape(), numbers);
    } catch (UncheckedIOException e) {
      throw BadFile.causedBy(e, file, "tensor %s can no longer be read", BadFile.quoted(name));
    }
  }

  /** Whether two tensors hold the same numbers in the same shape. */
  boolean sameNumbers(String left, String right) throws IOException {
    if (!shape(left).equals(shape(right))) {
      return false;
    }
    Numbers leftNumbers = numbers(left);
    Numbers rightNumbers = numbers(right);
    int length = shape(left).length();
    double[] x = new double[PIECE];
    double[] y = new double[PIECE];
    try {
      for (int from = 0; from < length; from += PIECE) {
        int count = Math.min(PIECE, length - from);
        leftNumbers.read(from, x, count);
        rightNumbers.read(from, y, count);
        if (!Arrays.equals(x, 0, count, y, 0, count)) {
          return false;
        }
      }
      return true;
    } catch (UncheckedIOException e) {
      throw BadFile.causedBy(e, file, "tensor %s can no longer be read", BadFile.quoted(left));
    }
  }

  private Entry entry(String name) throws IOException {
    Entry entry = entries.get(name);
    if (entry == null) {
      throw BadFile.because(file, "there is no tensor %s", BadFile.quoted(name));
    }
    return entry;
  }

  private Numbers numbers(String name) throws IOException {
    Entry entry = entry(name);
    return switch (entry.type()) {
      case F16, BF16, F32, F64 -> new Numbers(entry);
      default ->
          throw BadFile.because(
              file,
              "tensor %s is %s, expected F32, F16, BF16 or F64",
              BadFile.quoted(name),
              entry.type());
    };
  }

  /** The numbers of one tensor, piece by piece, for one thread. */
  private final class Numbers implements Tensor.Source {
    private final Entry entry;
    private ByteBuffer raw = ByteBuffer.allocate(0);
    private float[] floats = {};
    private short[] halves = {};

    Numbers(Entry entry) {
      this.entry = entry;
    }

    @Override
    public void read(int from, double[] values, int count) {
      fill(from, count);
      switch (entry.type()) {
        case F64 -> raw.asDoubleBuffer().get(values, 0, count);
        case F32 -> {
          raw.asFloatBuffer().get(floats, 0, count);
          for (int i = 0; i < count; i++) {
            values[i] = floats[i];
          }
        }
        case F16 -> {
          raw.asShortBuffer().get(halves, 0, count);
          for (int i = 0; i < count; i++) {
            values[i] = half(halves[i]);
          }
        }
        case BF16 -> {
          raw.asShortBuffer().get(halves, 0, count);
          for (int i = 0; i < count; i++) {
            values[i] = Float.intBitsToFloat(halves[i] << 16);
          }
        }
        default -> throw new AssertionError(entry.type());
      }
    }

    private void fill(int from, int count) {
      int size = entry.type().bytes();
      if (raw.capacity() < count * size) {
        raw = ByteBuffer.allocate(count * size).order(ByteOrder.LITTLE_ENDIAN);
        floats = new float[size == Float.BYTES ? count : 0];
        halves = new short[size == Short.BYTES ? count : 0];
      }
      raw.clear().limit(count * size);
      try {
        bytes.read(dataStart + entry.from() + (long) from * size, raw);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      raw.flip();
    }
  }

  /** Value of an IEEE 754 binary16: 1 bit of sign, 5 of exponent, 10 of mantissa. */
  private static float half(short bits) {
    int sign = (bits & 0x8000) << 16;
    int exponent = (bits >> 10) & 0x1f;
    int mantissa = bits & 0x3ff;
    if (exponent == 0) {
      float subnormal = mantissa * 0x1p-24f;
      return sign == 0 ? subnormal : -subnormal;
    }
    int widened = exponent == 0x1f ? 0xff : exponent + 127 - 15;
    return Float.intBitsToFloat(sign | (widened << 23) | (mantissa << 13));
  }
}
