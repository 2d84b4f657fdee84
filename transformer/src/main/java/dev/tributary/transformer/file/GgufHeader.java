package dev.tributary.transformer.file;

import com.google.errorprone.annotations.FormatMethod;
import com.google.errorprone.annotations.FormatString;
import dev.tributary.core.Shape;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.AbstractList;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.RandomAccess;
import org.jspecify.annotations.Nullable;

/**
 * What a GGUF file says before its numbers.
 *
 * @param path of the file
 * @param metadata in its order, as {@link Gguf#metadata} says
 * @param tensors by name, in its order
 */
record GgufHeader(Path path, Map<String, Object> metadata, Map<String, StoredTensor> tensors) {
  /** Largest header, bytes; that of a model with a large vocabulary has some millions. */
  private static final int LIMIT = 256 << 20;

  /** Deepest arrays of arrays. */
  private static final int DEPTH_LIMIT = 8;

  private static final int RANK_LIMIT = 4;
  private static final String ALIGNMENT = "general.alignment";
  private static final long DEFAULT_ALIGNMENT = 32;

  /** Bytes of the shortest entry: the length of its name, its type, its value. */
  private static final int SHORTEST_ENTRY = 8 + 4 + 1;

  /** Bytes of the shortest tensor: the length of its name, its rank, its type, its offset. */
  private static final int SHORTEST_TENSOR = 8 + 4 + 4 + 8;

  /** By their number in the format. */
  private static final List<ValueType> VALUE_TYPES = List.of(ValueType.values());

  /** By their number in the format. */
  private static final @Nullable ElementType[] TYPES = types();

  GgufHeader {
    metadata = Collections.unmodifiableMap(metadata);
    tensors = Collections.unmodifiableMap(tensors);
  }

  private static @Nullable ElementType[] types() {
    @Nullable ElementType[] types = new ElementType[41];
    types[0] = ElementType.F32;
    types[1] = ElementType.F16;
    types[2] = ElementType.Q4_0;
    types[3] = ElementType.Q4_1;
    types[6] = ElementType.Q5_0;
    types[7] = ElementType.Q5_1;
    types[8] = ElementType.Q8_0;
    types[10] = ElementType.Q2_K;
    types[11] = ElementType.Q3_K;
    types[12] = ElementType.Q4_K;
    types[13] = ElementType.Q5_K;
    types[14] = ElementType.Q6_K;
    types[16] = ElementType.IQ2_XXS;
    types[17] = ElementType.IQ2_XS;
    types[18] = ElementType.IQ3_XXS;
    types[19] = ElementType.IQ1_S;
    types[20] = ElementType.IQ4_NL;
    types[21] = ElementType.IQ3_S;
    types[22] = ElementType.IQ2_S;
    types[23] = ElementType.IQ4_XS;
    types[24] = ElementType.I8;
    types[25] = ElementType.I16;
    types[26] = ElementType.I32;
    types[27] = ElementType.I64;
    types[28] = ElementType.F64;
    types[29] = ElementType.IQ1_M;
    types[30] = ElementType.BF16;
    types[34] = ElementType.TQ1_0;
    types[35] = ElementType.TQ2_0;
    types[39] = ElementType.MXFP4;
    types[40] = ElementType.NVFP4;
    return types;
  }

  /** Types of metadata, in the order of their numbers in the format. */
  private enum ValueType {
    UINT8(1),
    INT8(1),
    UINT16(2),
    INT16(2),
    UINT32(4),
    INT32(4),
    FLOAT32(4),
    BOOL(1),
    STRING(8),
    ARRAY(12),
    UINT64(8),
    INT64(8),
    FLOAT64(8);

    /** Size of a value, or of the shortest one. */
    final int bytes;

    ValueType(int bytes) {
      this.bytes = bytes;
    }

    /** Value {@code i} of several; of a BOOL, which must be 0 or 1, null if it is neither. */
    @Nullable Object value(ByteBuffer raw, int i) {
      int at = i * bytes;
      return switch (this) {
        case UINT8 -> (long) Byte.toUnsignedInt(raw.get(at));
        case INT8 -> (long) raw.get(at);
        case UINT16 -> (long) Short.toUnsignedInt(raw.getShort(at));
        case INT16 -> (long) raw.getShort(at);
        case UINT32 -> Integer.toUnsignedLong(raw.getInt(at));
        case INT32 -> (long) raw.getInt(at);
        case FLOAT32 -> (double) raw.getFloat(at);
        case BOOL -> raw.get(at) == 0 ? Boolean.FALSE : raw.get(at) == 1 ? Boolean.TRUE : null;
        case UINT64 -> unsigned(raw.getLong(at));
        case INT64 -> raw.getLong(at);
        case FLOAT64 -> raw.getDouble(at);
        case STRING, ARRAY -> throw new AssertionError(this);
      };
    }

    private static Object unsigned(long bits) {
      return bits >= 0 ? (Object) bits : new BigInteger(Long.toUnsignedString(bits));
    }
  }

  /** Values of one size, which stay as they lie in the file, so that they take no more memory. */
  private static final class Values extends AbstractList<Object> implements RandomAccess {
    private final ValueType type;
    private final ByteBuffer raw;

    Values(ValueType type, ByteBuffer raw) {
      this.type = type;
      this.raw = raw;
    }

    @Override
    public Object get(int index) {
      Object value = type.value(raw, index);
      if (value == null) {
        throw new AssertionError(type);
      }
      return value;
    }

    @Override
    public int size() {
      return raw.limit() / type.bytes;
    }
  }

  /** What is said about a tensor; {@code from} and {@code to} count bytes of the data. */
  private record Entry(String name, ElementType type, Shape shape, long from, long to) {}

  /**
   * Reads a header and checks that the tensors lie in the file and apart.
   *
   * @param position where the version is
   * @throws IOException if it breaks a rule of the format
   */
  static GgufHeader read(FileBytes bytes, int position) throws IOException {
    try (FileBytes.Access access = bytes.access()) {
      return new Reader(bytes, access, position).read();
    }
  }

  /** Goes through the header once. */
  private static final class Reader {
    private static final int CHUNK = 1 << 16;

    private final FileBytes bytes;
    private final FileBytes.Access access;

    /** Where the header must have ended, bytes. */
    private final long end;

    /** Of the next byte that is not in the chunk. */
    private long position;

    private final ByteBuffer chunk =
        ByteBuffer.allocate(CHUNK).order(ByteOrder.LITTLE_ENDIAN).limit(0);
    private final CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder();
    private ByteOrder order = ByteOrder.LITTLE_ENDIAN;

    /** What is being read, and its name if it has one. */
    private String kind = "this file";

    private String name = "";

    Reader(FileBytes bytes, FileBytes.Access access, int position) {
      this.bytes = bytes;
      this.access = access;
      this.end = Math.min(bytes.size(), LIMIT);
      this.position = position;
    }

    GgufHeader read() throws IOException {
      readVersion();
      long tensorCount = u64();
      long entryCount = u64();
      requireCount("tensors", tensorCount, SHORTEST_TENSOR);
      requireCount("metadata", entryCount, SHORTEST_ENTRY);
      Map<String, Object> metadata = new LinkedHashMap<>();
      for (long i = 0; i < entryCount; i++) {
        String key = name("metadata");
        if (metadata.put(key, value(valueType(), 0)) != null) {
          throw bad("%s is there twice", subject());
        }
      }
      long alignment = alignment(metadata);
      Map<String, Entry> entries = new LinkedHashMap<>();
      for (long i = 0; i < tensorCount; i++) {
        Entry entry = entry(alignment);
        if (entries.put(entry.name, entry) != null) {
          throw bad("%s is there twice", subject());
        }
      }
      // What lies before the data is at most LIMIT, and the alignment below 2^32.
      long dataStart = (at() + alignment - 1) / alignment * alignment;
      requireApart(entries, bytes.size() - dataStart);
      Map<String, StoredTensor> tensors = new LinkedHashMap<>();
      for (Entry entry : entries.values()) {
        StoredTensor.Storage storage =
            new StoredTensor.Storage(bytes, entry.type, order, dataStart + entry.from);
        tensors.put(entry.name, StoredTensor.of(storage, entry.name, entry.shape));
      }
      return new GgufHeader(bytes.path(), metadata, tensors);
    }

    /** The version, by which also the byte order is known. */
    private void readVersion() throws IOException {
      int version = number(Integer.BYTES).getInt();
      if ((version & 0xffff) == 0) {
        order = ByteOrder.BIG_ENDIAN;
        chunk.order(order);
        version = Integer.reverseBytes(version);
      }
      if (version != 2 && version != 3) {
        throw bad("this is GGUF version %s, expected 2 or 3", Integer.toUnsignedString(version));
      }
    }

    private void requireCount(String what, long count, int shortest) throws IOException {
      if (count < 0 || count > (end - at()) / shortest) {
        throw bad(
            "%s has %s %s, and at most %d fit into what follows",
            subject(), Long.toUnsignedString(count), what, (end - at()) / shortest);
      }
    }

    private ValueType valueType() throws IOException {
      int number = number(Integer.BYTES).getInt();
      if (number < 0 || number >= VALUE_TYPES.size()) {
        throw bad(
            "%s is of type %s, which is not known", subject(), Integer.toUnsignedString(number));
      }
      return VALUE_TYPES.get(number);
    }

    private Object value(ValueType type, int depth) throws IOException {
      return switch (type) {
        case STRING -> text();
        case ARRAY -> list(depth);
        default -> values(type, 1).get(0);
      };
    }

    private List<Object> list(int depth) throws IOException {
      if (depth == DEPTH_LIMIT) {
        throw bad("%s has lists deeper than %d", subject(), DEPTH_LIMIT);
      }
      ValueType type = valueType();
      long count = u64();
      requireCount("values", count, type.bytes);
      if (type != ValueType.STRING && type != ValueType.ARRAY) {
        return Collections.unmodifiableList(values(type, (int) count));
      }
      List<Object> list = new ArrayList<>((int) count);
      for (int i = 0; i < count; i++) {
        list.add(value(type, depth + 1));
      }
      return Collections.unmodifiableList(list);
    }

    private List<Object> values(ValueType type, int count) throws IOException {
      ByteBuffer raw = take(count * type.bytes);
      for (int i = 0; i < count && type == ValueType.BOOL; i++) {
        if (type.value(raw, i) == null) {
          throw bad("%s has %d for a BOOL, expected 0 or 1", subject(), raw.get(i));
        }
      }
      return new Values(type, raw);
    }

    private long alignment(Map<String, Object> metadata) throws IOException {
      Object value = metadata.getOrDefault(ALIGNMENT, DEFAULT_ALIGNMENT);
      if (value instanceof Long alignment
          && alignment > 0
          && alignment < 1L << 32
          && Long.bitCount(alignment) == 1) {
        return alignment;
      }
      throw bad(
          "%s is %s, expected a power of two", ALIGNMENT, BadFile.shortened(String.valueOf(value)));
    }

    private Entry entry(long alignment) throws IOException {
      String tensor = name("tensor");
      int rank = number(Integer.BYTES).getInt();
      if (rank < 0 || rank > RANK_LIMIT) {
        throw bad(
            "%s has %s axes, expected at most %d",
            subject(), Integer.toUnsignedString(rank), RANK_LIMIT);
      }
      long[] dimensions = new long[rank];
      for (int axis = rank - 1; axis >= 0; axis--) {
        dimensions[axis] = u64();
      }
      Shape shape = StoredTensor.shape(bytes.path(), tensor, dimensions);
      int number = number(Integer.BYTES).getInt();
      ElementType type = number >= 0 && number < TYPES.length ? TYPES[number] : null;
      if (type == null) {
        throw bad(
            "%s is of type %s, which is not known", subject(), Integer.toUnsignedString(number));
      }
      int last = rank == 0 ? 1 : shape.size(-1);
      if (last % type.elements() != 0) {
        throw bad(
            "%s is %s %s, and its rows are not whole blocks of %d",
            subject(), type, shape, type.elements());
      }
      long from = u64();
      if (from < 0 || from % alignment != 0) {
        throw bad(
            "%s begins at byte %s of the data, expected a multiple of %d",
            subject(), Long.toUnsignedString(from), alignment);
      }
      long length = (long) shape.length() / type.elements() * type.bytes();
      if (from > bytes.size() - length) {
        throw bad(
            "%s is %s %s from byte %d of the data on and needs %d, and this file has %d bytes",
            subject(), type, shape, from, length, bytes.size());
      }
      return new Entry(tensor, type, shape, from, from + length);
    }

    private void requireApart(Map<String, Entry> entries, long dataLength) throws IOException {
      List<Entry> inOrder = new ArrayList<>(entries.values());
      inOrder.sort(Comparator.comparingLong(Entry::from).thenComparingLong(Entry::to));
      long before = 0;
      for (Entry entry : inOrder) {
        if (entry.from < before || (entry.to > dataLength && entry.to > entry.from)) {
          throw StoredTensor.because(
              bytes.path(),
              entry.name,
              "lies in bytes %d to %d of the data, expected after %d and before %d",
              entry.from,
              entry.to,
              before,
              Math.max(0, dataLength));
        }
        before = entry.to;
      }
    }

    private long u64() throws IOException {
      return number(Long.BYTES).getLong();
    }

    /** The name of what is read from now on. */
    private String name(String what) throws IOException {
      kind = what;
      name = "";
      name = text();
      return name;
    }

    /** Made only where a sentence needs it. */
    private String subject() {
      return name.isEmpty() ? kind : kind + " " + BadFile.quoted(name);
    }

    /** Text in UTF-8, after its length. */
    private String text() throws IOException {
      long length = u64();
      if (length < 0 || length > end - at()) {
        throw bad(
            "%s has a text of %s bytes, and at most %d follow",
            subject(), Long.toUnsignedString(length), end - at());
      }
      try {
        return decoder.decode(take((int) length)).toString();
      } catch (CharacterCodingException e) {
        throw BadFile.causedBy(e, bytes.path(), "%s is not valid UTF-8", subject());
      }
    }

    /** Where the next byte lies. */
    private long at() {
      return position - chunk.remaining();
    }

    /** A few bytes, from which a number can be read. */
    private ByteBuffer number(int count) throws IOException {
      requireFollow(count);
      if (chunk.remaining() < count) {
        chunk.compact();
        chunk.limit((int) Math.min(chunk.capacity(), chunk.position() + end - position));
        int begin = chunk.position();
        access.fill(position, chunk);
        position += chunk.position() - begin;
        chunk.flip();
      }
      return chunk;
    }

    /** Bytes to keep. */
    private ByteBuffer take(int count) throws IOException {
      requireFollow(count);
      ByteBuffer taken = ByteBuffer.allocate(count).order(order);
      int ready = Math.min(count, chunk.remaining());
      taken.put(chunk.slice(chunk.position(), ready));
      chunk.position(chunk.position() + ready);
      int rest = taken.remaining();
      if (rest > 0) {
        access.fill(position, taken);
        position += rest;
      }
      return taken.flip();
    }

    private void requireFollow(int count) throws IOException {
      if (count > end - at()) {
        throw bad("%s ends too early: %d bytes follow, expected %d", subject(), end - at(), count);
      }
    }

    @FormatMethod
    private IOException bad(@FormatString String reason, Object... values) {
      return BadFile.because(bytes.path(), reason, values);
    }
  }
}
