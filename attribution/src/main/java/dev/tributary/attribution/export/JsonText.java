package dev.tributary.attribution.export;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.util.MinimalPrettyPrinter;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import java.util.function.Function;

/** JSON as text. */
final class JsonText {
  /** Lists whose items have a line each are no deeper in the text than this. */
  private static final int LINES = 2;

  private static final ObjectMapper MAPPER =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private JsonText() {}

  /** Of an object, the items of whose outer lists have a line each. */
  static String of(ObjectNode json) {
    try {
      return MAPPER.writer(new Lines()).writeValueAsString(json) + "\n";
    } catch (JsonProcessingException e) {
      throw new AssertionError(e); // there is nothing in it but texts and numbers
    }
  }

  /** What a text says. */
  static JsonNode tree(String text) throws JsonProcessingException {
    return MAPPER.readTree(text);
  }

  /**
   * What a file holds.
   *
   * @param parse refuses what is wrong with an {@code IllegalArgumentException}
   * @throws IOException if it cannot be read, with its path and what was expected
   */
  static <T> T read(Path file, Function<JsonNode, T> parse) throws IOException {
    try {
      return parse.apply(tree(Files.readString(file)));
    } catch (CharacterCodingException e) {
      throw new IOException(file + ": this is no text in UTF-8", e);
    } catch (JsonProcessingException e) {
      JsonLocation where = Objects.requireNonNullElse(e.getLocation(), JsonLocation.NA);
      throw new IOException(
          "%s: this is not JSON: it breaks at line %d, column %d"
              .formatted(file, where.getLineNr(), where.getColumnNr()),
          e);
    } catch (IllegalArgumentException e) {
      throw new IOException(file + ": " + e.getMessage(), e);
    }
  }

  private static final class Lines extends MinimalPrettyPrinter {
    private static final long serialVersionUID = 1;

    private int depth;

    @Override
    public void writeStartObject(JsonGenerator generator) throws IOException {
      super.writeStartObject(generator);
      depth++;
    }

    @Override
    public void writeStartArray(JsonGenerator generator) throws IOException {
      super.writeStartArray(generator);
      depth++;
    }

    @Override
    public void beforeObjectEntries(JsonGenerator generator) throws IOException {
      line(generator, "");
    }

    @Override
    public void beforeArrayValues(JsonGenerator generator) throws IOException {
      line(generator, "");
    }

    @Override
    public void writeObjectFieldValueSeparator(JsonGenerator generator) throws IOException {
      generator.writeRaw(": ");
    }

    @Override
    public void writeObjectEntrySeparator(JsonGenerator generator) throws IOException {
      generator.writeRaw(',');
      line(generator, " ");
    }

    @Override
    public void writeArrayValueSeparator(JsonGenerator generator) throws IOException {
      generator.writeRaw(',');
      line(generator, " ");
    }

    @Override
    public void writeEndObject(JsonGenerator generator, int entries) throws IOException {
      close(generator, entries);
      super.writeEndObject(generator, entries);
    }

    @Override
    public void writeEndArray(JsonGenerator generator, int values) throws IOException {
      close(generator, values);
      super.writeEndArray(generator, values);
    }

    private void close(JsonGenerator generator, int items) throws IOException {
      boolean lines = depth <= LINES && items > 0;
      depth--;
      if (lines) {
        line(generator, "");
      }
    }

    private void line(JsonGenerator generator, String deeper) throws IOException {
      generator.writeRaw(depth <= LINES ? "\n" + "  ".repeat(depth) : deeper);
    }
  }
}
