package dev.tributary.transformer.file;

import static dev.tributary.core.Checks.requireArgument;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.Collectors;

/** Writes named tensors to a safetensors file. */
public final class SafetensorsWriter {
  /** Numbers written at a time. */
  private static final int PIECE = 4096;

  /** The data begin at a multiple of this many bytes. */
  private static final int ALIGNMENT = 8;

  private final Map<String, Item> items = new LinkedHashMap<>();

  private record Item(ElementType type, Shape shape, Supplier<Tensor> tensor) {}

  /** A file without tensors so far. */
  public SafetensorsWriter() {}

  /**
   * Adds a tensor.
   *
   * @param name of the tensor
   * @param type to which its numbers are rounded: F64, F32, F16 or BF16
   * @param tensor its numbers, read when the file is written
   * @return this writer
   * @throws IllegalArgumentException if numbers cannot be written as this type, or there is a
   *     tensor of this name
   */
  public SafetensorsWriter put(String name, ElementType type, Tensor tensor) {
    return put(name, type, tensor.shape(), () -> tensor);
  }

  /** Adds a tensor that is made when it is written, in a scope of its own. */
  SafetensorsWriter put(String name, ElementType type, Shape shape, Supplier<Tensor> tensor) {
    requireArgument(
        type.isWritable(), "tensor %s cannot be written as %s: F64, F32, F16 or BF16", name, type);
    requireArgument(!items.containsKey(name), "two tensors are called %s", name);
    items.put(name, new Item(type, shape, tensor));
    return this;
  }

  /** The type that holds the numbers of all tensors. */
  ElementType widest() {
    return ElementType.holding(items.values().stream().map(Item::type).collect(Collectors.toSet()));
  }

  /**
   * Writes the file, which appears or is replaced once it is complete.
   *
   * @param file where; what is there is replaced
   * @throws IllegalArgumentException if a number is larger than its type can hold
   * @throws IOException if the file cannot be written
   */
  public void write(Path file) throws IOException {
    AtomicFile.write(
        file,
        out -> {
          out.write(header());
          for (Map.Entry<String, Item> entry : items.entrySet()) {
            write(out, entry.getKey(), entry.getValue());
          }
        });
  }

  private byte[] header() throws IOException {
    ObjectNode root = new ObjectMapper().createObjectNode();
    root.putObject("__metadata__").put("format", "pt");
    long end = 0;
    for (Map.Entry<String, Item> entry : items.entrySet()) {
      Item item = entry.getValue();
      ObjectNode node = root.putObject(entry.getKey()).put("dtype", item.type.name());
      Arrays.stream(item.shape.dimensions()).forEach(node.putArray("shape")::add);
      long begin = end;
      end += (long) item.shape.length() * item.type.bytes();
      node.putArray("data_offsets").add(begin).add(end);
    }
    byte[] json = root.toString().getBytes(StandardCharsets.UTF_8);
    byte[] padded = Arrays.copyOf(json, (json.length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    Arrays.fill(padded, json.length, padded.length, (byte) ' ');
    return ByteBuffer.allocate(Long.BYTES + padded.length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(padded.length)
        .put(padded)
        .array();
  }

  private static void write(OutputStream out, String name, Item item) throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(PIECE * item.type.bytes());
    buffer.order(ByteOrder.LITTLE_ENDIAN);
    try (Scope scope = Scope.open()) {
      Tensor flat = item.tensor.get().reshape(item.shape.length());
      for (int from = 0; from < item.shape.length(); from += PIECE) {
        int to = Math.min(item.shape.length(), from + PIECE);
        buffer.clear();
        for (double number : flat.slice(0, from, to).toDoubles()) {
          requireArgument(
              item.type.encode(number, buffer),
              "tensor %s holds %s, which is too large for %s",
              name,
              number,
              item.type);
        }
        out.write(buffer.array(), 0, buffer.position());
      }
    }
  }
}
