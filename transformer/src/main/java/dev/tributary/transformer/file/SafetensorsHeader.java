package dev.tributary.transformer.file;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.google.errorprone.annotations.FormatMethod;
import com.google.errorprone.annotations.FormatString;
import dev.tributary.core.Shape;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The JSON header of a safetensors file: which tensors there are and where their bytes lie. */
final class SafetensorsHeader {
  private static final String METADATA = "__metadata__";

  private final Path file;
  private final JsonParser parser;

  private SafetensorsHeader(Path file, JsonParser parser) {
    this.file = file;
    this.parser = parser;
  }

  /** One tensor. {@code from} and {@code to} count bytes from where the header ends. */
  private record Entry(String name, ElementType type, Shape shape, long from, long to) {}

  /**
   * Reads a header and checks that the tensors fill the data, which are the rest of the file.
   *
   * @return the tensors by name, in the order of the header
   * @throws IOException if it breaks a rule of the format
   */
  static Map<String, StoredTensor> parse(FileBytes bytes, byte[] header) throws IOException {
    Path file = bytes.path();
    Map<String, Entry> entries;
    try (JsonParser parser = JsonFile.FACTORY.createParser(JsonFile.reader(header))) {
      entries = new SafetensorsHeader(file, parser).parseEntries();
    } catch (JsonProcessingException | CharacterCodingException e) {
      throw BadFile.causedBy(
          e, file, "the header is not valid JSON: %s", JsonFile.reason(e, header));
    }
    long dataStart = (long) Long.BYTES + header.length;
    requireFilled(file, entries.values(), bytes.size() - dataStart);
    Map<String, StoredTensor> tensors = new LinkedHashMap<>();
    entries.forEach(
        (name, entry) ->
            tensors.put(
                name,
                StoredTensor.of(bytes, name, entry.type, entry.shape, dataStart + entry.from)));
    return tensors;
  }

  private Map<String, Entry> parseEntries() throws IOException {
    if (parser.nextToken() != JsonToken.START_OBJECT) {
      throw BadFile.because(file, "the header is not a JSON object");
    }
    Map<String, Entry> entries = new LinkedHashMap<>();
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String name = parser.currentName();
      parser.nextToken();
      if (name.equals(METADATA)) {
        skipMetadata();
      } else {
        entries.put(name, parseEntry(name));
      }
    }
    if (parser.nextToken() != null) {
      throw BadFile.because(file, "the header goes on after its JSON object");
    }
    return entries;
  }

  private void skipMetadata() throws IOException {
    boolean valid = parser.currentToken() == JsonToken.START_OBJECT;
    while (valid && parser.nextToken() == JsonToken.FIELD_NAME) {
      valid = parser.nextToken() == JsonToken.VALUE_STRING;
    }
    if (!valid) {
      throw BadFile.because(file, "%s in the header is not an object of texts", METADATA);
    }
  }

  private Entry parseEntry(String name) throws IOException {
    if (parser.currentToken() != JsonToken.START_OBJECT) {
      throw bad(name, "is described by %s, expected an object", value());
    }
    ElementType type = null;
    long[] dimensions = null;
    long[] offsets = null;
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String key = parser.currentName();
      parser.nextToken();
      switch (key) {
        case "dtype" -> type = parseType(name);
        case "shape" -> dimensions = parseNumbers(name, key, StoredTensor.RANK_LIMIT);
        case "data_offsets" -> offsets = parseNumbers(name, key, 2);
        default -> throw bad(name, "has a key %s, which is not known", BadFile.quoted(key));
      }
    }
    if (type == null || dimensions == null || offsets == null) {
      throw bad(
          name,
          "has no %s",
          type == null ? "dtype" : dimensions == null ? "shape" : "data_offsets");
    }
    return entry(name, type, dimensions, offsets);
  }

  private ElementType parseType(String name) throws IOException {
    ElementType type =
        parser.currentToken() == JsonToken.VALUE_STRING
            ? ElementType.named(parser.getText())
            : null;
    if (type == null) {
      throw bad(name, "has dtype %s, which is not known", value());
    }
    return type;
  }

  private long[] parseNumbers(String name, String key, int limit) throws IOException {
    if (parser.currentToken() != JsonToken.START_ARRAY) {
      throw bad(name, "has %s %s, expected a list of numbers", key, value());
    }
    long[] numbers = new long[limit];
    int count = 0;
    while (parser.nextToken() != JsonToken.END_ARRAY) {
      boolean whole =
          parser.currentToken() == JsonToken.VALUE_NUMBER_INT
              && parser.getNumberType() != JsonParser.NumberType.BIG_INTEGER;
      if (!whole || parser.getLongValue() < 0) {
        throw bad(name, "has %s in its %s, expected whole numbers below 2^63", value(), key);
      }
      if (count == limit) {
        throw bad(name, "has more than %d numbers in its %s", limit, key);
      }
      numbers[count++] = parser.getLongValue();
    }
    return Arrays.copyOf(numbers, count);
  }

  private Entry entry(String name, ElementType type, long[] dimensions, long[] offsets)
      throws IOException {
    Shape shape = StoredTensor.shape(file, name, dimensions);
    if (offsets.length != 2 || offsets[0] > offsets[1]) {
      throw bad(
          name,
          "has data_offsets %s, expected where it begins and where it ends",
          Arrays.toString(offsets));
    }
    long length = (long) shape.length() * type.bytes();
    if (offsets[1] - offsets[0] != length) {
      throw bad(
          name,
          "is %s %s and needs %d bytes, and its data_offsets %s hold %d",
          type,
          shape,
          length,
          Arrays.toString(offsets),
          offsets[1] - offsets[0]);
    }
    return new Entry(name, type, shape, offsets[0], offsets[1]);
  }

  /** The format knows no holes: each byte of the data belongs to one tensor. */
  private static void requireFilled(Path file, Collection<Entry> entries, long dataLength)
      throws IOException {
    List<Entry> inOrder = new ArrayList<>(entries);
    inOrder.sort(Comparator.comparingLong(Entry::from).thenComparingLong(Entry::to));
    long end = 0;
    String before = "";
    for (Entry entry : inOrder) {
      if (entry.to > dataLength) {
        throw StoredTensor.because(
            file,
            entry.name,
            "ends at byte %d of the data, and this file has %d",
            entry.to,
            dataLength);
      }
      if (entry.from < end) {
        throw StoredTensor.because(
            file,
            entry.name,
            "begins at byte %d of the data, and tensor %s ends at %d: they overlap",
            entry.from,
            BadFile.quoted(before),
            end);
      }
      requireNoHole(file, end, entry.from);
      end = entry.to;
      before = entry.name;
    }
    requireNoHole(file, end, dataLength);
  }

  private static void requireNoHole(Path file, long from, long to) throws IOException {
    if (from != to) {
      throw BadFile.because(file, "bytes %d to %d of the data belong to no tensor", from, to);
    }
  }

  private String value() throws IOException {
    JsonToken token = parser.currentToken();
    if (token == JsonToken.START_OBJECT || token == JsonToken.START_ARRAY) {
      return token == JsonToken.START_OBJECT ? "an object" : "a list";
    }
    String text = parser.getText();
    return token == JsonToken.VALUE_STRING ? BadFile.quoted(text) : BadFile.shortened(text);
  }

  @FormatMethod
  private IOException bad(String name, @FormatString String reason, Object... values) {
    return StoredTensor.because(file, name, reason, values);
  }
}
