package dev.tributary.transformer.file;

import dev.tributary.core.Shape;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/** Writes safetensors files for tests, valid ones and, from a header as it comes, broken ones. */
final class SafetensorsBuilder {
  private final Map<String, String> kinds = new LinkedHashMap<>();
  private final Map<String, byte[]> contents = new LinkedHashMap<>();

  /** Bytes of a file with this header text and this data, whether or not they make sense. */
  static byte[] file(String header, byte... data) {
    return file(header.getBytes(StandardCharsets.UTF_8), data);
  }

  static byte[] file(byte[] header, byte... data) {
    return ByteBuffer.allocate(Long.BYTES + header.length + data.length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(header.length)
        .put(header)
        .put(data)
        .array();
  }

  /** Adds a tensor, or replaces the one of that name. */
  SafetensorsBuilder put(String name, String type, Shape shape, byte... data) {
    kinds.put(name, String.format("\"dtype\":\"%s\",\"shape\":%s", type, shape));
    contents.put(name, data);
    return this;
  }

  SafetensorsBuilder put(String name, Shape shape, float... values) {
    ByteBuffer data =
        ByteBuffer.allocate(values.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      data.putFloat(value);
    }
    return put(name, "F32", shape, data.array());
  }

  SafetensorsBuilder remove(String name) {
    contents.remove(name);
    return this;
  }

  byte[] build() {
    StringBuilder header = new StringBuilder("{\"__metadata__\":{\"format\":\"pt\"}");
    ByteArrayOutputStream data = new ByteArrayOutputStream();
    contents.forEach(
        (name, content) -> {
          int from = data.size();
          data.writeBytes(content);
          header.append(
              String.format(
                  ",\"%s\":{%s,\"data_offsets\":[%d,%d]}",
                  name, kinds.get(name), from, data.size()));
        });
    return file(header.append("} ").toString(), data.toByteArray());
  }

  Path write(Path file) throws IOException {
    return Files.write(file, build());
  }
}
