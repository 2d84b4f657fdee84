package dev.tributary.attribution.dataset;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.TextNode;
import com.fasterxml.jackson.dataformat.csv.CsvFactory;
import com.fasterxml.jackson.dataformat.csv.CsvParser;
import com.fasterxml.jackson.dataformat.csv.CsvSchema;
import java.io.BufferedReader;
import java.io.Closeable;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A file with a row for each of many things, whose cells have names. */
abstract class RowFile implements Closeable {
  private static final Pattern NAME =
      Pattern.compile("\\.(?:(?<commas>csv)|(?<tabs>tsv)|jsonl|ndjson)$", Pattern.CASE_INSENSITIVE);

  private static final char BYTE_ORDER_MARK = '\uFEFF';

  /** Longest row, in characters. */
  private static final int LONGEST = 1 << 24;

  /** Longest piece of a file that a sentence repeats, in characters. */
  private static final int QUOTE = 60;

  final Path file;
  final BufferedReader reader;

  private RowFile(Path file) throws IOException {
    this.file = file;
    this.reader = Files.newBufferedReader(file);
    reader.mark(1);
    if (reader.read() != BYTE_ORDER_MARK) {
      reader.reset();
    }
  }

  /**
   * A row.
   *
   * @param line at which it begins, from 1
   * @param cells by name, those that it has
   * @param bad why it cannot be read, if it cannot
   */
  record Row(long line, Map<String, JsonNode> cells, Optional<String> bad) {
    static Row of(long line, Map<String, JsonNode> cells) {
      return new Row(line, cells, Optional.empty());
    }

    static Row bad(long line, String reason) {
      return new Row(line, Map.of(), Optional.of(reason));
    }
  }

  /** Opens a file by the end of its name; {@code names} are the cells that rows should have. */
  static RowFile open(Path file, List<String> names) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw new IOException(
          file + (Files.exists(file) ? ": this is not a file" : ": there is no such file"));
    }
    Matcher name = NAME.matcher(file.toString());
    if (!name.find()) {
      throw new IOException(file + ": its name ends in none of .csv, .tsv, .jsonl, .ndjson");
    }
    RowFile opened;
    try {
      if (name.group("commas") != null) {
        opened = new Separated(file, ',');
      } else if (name.group("tabs") != null) {
        opened = new Separated(file, '\t');
      } else {
        opened = new JsonLines(file);
      }
    } catch (CharacterCodingException e) {
      throw noText(file, e);
    }
    try {
      opened.begin(names);
      return opened;
    } catch (IOException | RuntimeException e) {
      opened.close();
      throw e;
    }
  }

  /** Whether a file has the name of one with rows. */
  static boolean hasRows(Path file) {
    return NAME.matcher(file.toString()).find();
  }

  private static IOException noText(Path file, CharacterCodingException e) {
    return new IOException(file + ": this is no text in UTF-8", e);
  }

  /** Text out of a file: one line, and not endless. */
  static String shortened(String text) {
    String start = text.length() > QUOTE ? text.substring(0, QUOTE) + "..." : text;
    return start.replaceAll("\\p{Cntrl}", "?");
  }

  /** Reads what is before the first row. */
  void begin(List<String> names) throws IOException {
    try {
      header(names);
    } catch (CharacterCodingException e) {
      throw noText(file, e);
    }
  }

  abstract void header(List<String> names) throws IOException;

  /**
   * {@return the next row, if there is one}
   *
   * @throws IOException if no more rows can be read
   */
  Optional<Row> next() throws IOException {
    try {
      return read();
    } catch (CharacterCodingException e) {
      throw noText(file, e);
    }
  }

  abstract Optional<Row> read() throws IOException;

  @Override
  public void close() throws IOException {
    reader.close();
  }

  /** Names in the first row, then cells of text. */
  private static final class Separated extends RowFile {
    private final CsvParser parser;
    private List<String> header = List.of();

    /** At which the row begins that was read last. */
    private long line = 1;

    Separated(Path file, char separator) throws IOException {
      super(file);
      parser =
          CsvFactory.builder()
              .enable(CsvParser.Feature.SKIP_EMPTY_LINES)
              .build()
              .createParser(reader);
      parser.setSchema(CsvSchema.emptySchema().withColumnSeparator(separator));
    }

    @Override
    void header(List<String> names) throws IOException {
      header = cells();
      if (header.isEmpty()) {
        throw new IOException(file + ": there is no first row with names of columns");
      }
      for (String name : names) {
        if (!header.contains(name)) {
          throw new IOException(
              file + ": there is no column \"" + name + "\" among " + shortened(header.toString()));
        }
      }
      if (new HashSet<>(header).size() < header.size()) {
        throw new IOException(
            file + ": two columns have one name: " + shortened(header.toString()));
      }
    }

    /** Those of the next row, none if there is none. */
    private List<String> cells() throws IOException {
      List<String> cells = new ArrayList<>();
      try {
        parser.nextToken(); // a row begins, if there is one
        for (JsonToken token = parser.nextToken();
            token == JsonToken.VALUE_STRING;
            token = parser.nextToken()) {
          if (cells.isEmpty()) {
            line = parser.currentTokenLocation().getLineNr();
          }
          cells.add(parser.getText());
        }
      } catch (JsonProcessingException e) {
        throw new IOException(
            "%s, line %d or behind it: a cell in quotes does not end, or goes on behind them"
                .formatted(file, line),
            e);
      }
      return cells;
    }

    @Override
    Optional<Row> read() throws IOException {
      List<String> values = cells();
      if (values.isEmpty()) {
        return Optional.empty();
      }
      if (values.size() != header.size()) {
        return Optional.of(
            Row.bad(
                line,
                "%d cells, and there are %d columns".formatted(values.size(), header.size())));
      }
      Map<String, JsonNode> cells = new HashMap<>();
      for (int i = 0; i < values.size(); i++) {
        cells.put(header.get(i), TextNode.valueOf(values.get(i)));
      }
      return Optional.of(Row.of(line, cells));
    }
  }

  /** An object of JSON in each line. */
  private static final class JsonLines extends RowFile {
    private static final ObjectMapper JSON =
        new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

    private long line;

    JsonLines(Path file) throws IOException {
      super(file);
    }

    @Override
    void header(List<String> names) {}

    @Override
    Optional<Row> read() throws IOException {
      for (Optional<String> text = line(); text.isPresent(); text = line()) {
        if (!text.get().isBlank()) {
          return Optional.of(row(text.get()));
        }
      }
      return Optional.empty();
    }

    private Row row(String text) {
      try {
        JsonNode json = JSON.readTree(text);
        if (!json.isObject()) {
          return Row.bad(line, "this is no object in JSON: " + shortened(text));
        }
        Map<String, JsonNode> cells = new HashMap<>();
        json.properties().forEach(field -> cells.put(field.getKey(), field.getValue()));
        return Row.of(line, cells);
      } catch (JsonProcessingException e) {
        return Row.bad(line, "this is no object in JSON: " + shortened(text));
      }
    }

    /** The next line, which may be the last without an end. */
    private Optional<String> line() throws IOException {
      StringBuilder text = new StringBuilder();
      int next = reader.read();
      if (next < 0) {
        return Optional.empty();
      }
      line++;
      for (; next >= 0 && next != '\n'; next = reader.read()) {
        if (text.length() == LONGEST) {
          throw new IOException(
              "%s, line %d: more than %d characters".formatted(file, line, LONGEST));
        }
        text.append((char) next);
      }
      return Optional.of(text.toString());
    }
  }
}
