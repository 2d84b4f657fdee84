package dev.tributary.transformer.file;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/** Writes GGUF files for tests, valid ones and, from pieces as they come, broken ones. */
final class GgufBuilder {
  private static final int ALIGNMENT = 32;

  private final ByteOrder order;
  private final Map<String, Object> metadata = new LinkedHashMap<>();
  private final Map<String, Integer> types = new LinkedHashMap<>();

  /** Row-major. */
  private final Map<String, long[]> dimensions = new LinkedHashMap<>();

  private final Map<String, byte[]> contents = new LinkedHashMap<>();

  GgufBuilder() {
    this(ByteOrder.LITTLE_ENDIAN);
  }

  GgufBuilder(ByteOrder order) {
    this.order = order;
  }

  /**
   * Adds an entry: a String, Boolean, Integer (UINT32), Long (INT64), Float, Double, or a List of
   * one of these.
   */
  GgufBuilder put(String key, Object value) {
    metadata.put(key, value);
    return this;
  }

  /**
   * Adds a tensor of a type by its number in the format, and its bytes in the order of the file.
   */
  GgufBuilder put(String name, int type, long[] sizes, byte... data) {
    types.put(name, type);
    dimensions.put(name, sizes);
    contents.put(name, data);
    return this;
  }

  byte[] build() {
    Pieces out = start(order, types.size(), metadata.size());
    metadata.forEach((key, value) -> out.text(key).value(value));
    long offset = 0;
    for (String name : types.keySet()) {
      out.tensor(
          name,
          Objects.requireNonNull(types.get(name)),
          offset,
          Objects.requireNonNull(dimensions.get(name)));
      offset = padded(offset + Objects.requireNonNull(contents.get(name)).length);
    }
    for (byte[] content : contents.values()) {
      out.pad();
      out.bytes(content);
    }
    return out.toBytes();
  }

  Path write(Path file) throws IOException {
    return Files.write(file, build());
  }

  private static long padded(long size) {
    return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  /** The beginning of a file of version 3. */
  static Pieces start(ByteOrder order, long tensors, long entries) {
    return new Pieces(order)
        .bytes("GGUF".getBytes(StandardCharsets.US_ASCII))
        .u32(3)
        .u64(tensors)
        .u64(entries);
  }

  /** Bytes of a file, one after the other. */
  static final class Pieces {
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();
    private final ByteOrder order;

    private Pieces(ByteOrder order) {
      this.order = order;
    }

    Pieces bytes(byte... bytes) {
      out.writeBytes(bytes);
      return this;
    }

    Pieces u32(int number) {
      return bytes(ByteBuffer.allocate(Integer.BYTES).order(order).putInt(number).array());
    }

    Pieces u64(long number) {
      return bytes(ByteBuffer.allocate(Long.BYTES).order(order).putLong(number).array());
    }

    Pieces text(String text) {
      byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
      return u64(bytes.length).bytes(bytes);
    }

    /** What is said about a tensor, row-major. */
    Pieces tensor(String name, int type, long offset, long... dimensions) {
      text(name).u32(dimensions.length);
      for (int axis = dimensions.length - 1; axis >= 0; axis--) {
        u64(dimensions[axis]);
      }
      return u32(type).u64(offset);
    }

    /** The type of a value, and the value. */
    Pieces value(Object value) {
      u32(type(value));
      return value instanceof List<?> list ? list(list) : plain(value);
    }

    private Pieces list(List<?> list) {
      u32(list.isEmpty() ? 5 : type(list.get(0))).u64(list.size());
      list.forEach(this::inside);
      return this;
    }

    private void inside(Object element) {
      if (element instanceof List<?> list) {
        list(list);
      } else {
        plain(element);
      }
    }

    private static int type(Object value) {
      return value instanceof Integer
          ? 4
          : value instanceof Float
              ? 6
              : value instanceof Boolean
                  ? 7
                  : value instanceof String
                      ? 8
                      : value instanceof List ? 9 : value instanceof Long ? 11 : 12;
    }

    private Pieces plain(Object value) {
      if (value instanceof String text) {
        return text(text);
      }
      if (value instanceof Boolean flag) {
        return bytes((byte) (flag ? 1 : 0));
      }
      if (value instanceof Integer number) {
        return u32(number);
      }
      if (value instanceof Float number) {
        return u32(Float.floatToRawIntBits(number));
      }
      return u64(
          value instanceof Long number ? number : Double.doubleToRawLongBits((Double) value));
    }

    Pieces pad() {
      out.writeBytes(new byte[(int) (padded(out.size()) - out.size())]);
      return this;
    }

    byte[] toBytes() {
      return out.toByteArray();
    }
  }
}
