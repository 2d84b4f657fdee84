package dev.tributary.transformer.file;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.exc.StreamConstraintsException;
import com.fasterxml.jackson.core.io.JsonEOFException;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.exc.MismatchedInputException;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.IntNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import com.google.errorprone.annotations.FormatMethod;
import com.google.errorprone.annotations.FormatString;
import dev.tributary.transformer.family.Keys;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** A JSON file from outside: whoever asks it for a value says of which type the value has to be. */
final class JsonFile implements Keys {
  private static final int NESTING = 64;

  /** So many characters before and after the place where a text breaks are repeated. */
  private static final int NEAR = 12;

  /**
   * Python writes NaN and Infinity, which JSON does not know; whoever reads a number says whether
   * it may be one. Names are not shared between parsers: the table in which they would be has a
   * limit of its own, which a file full of colliding names could reach.
   */
  static final JsonFactory FACTORY =
      JsonFactory.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
          .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
          .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
          .streamReadConstraints(StreamReadConstraints.builder().maxNestingDepth(NESTING).build())
          .build();

  private static final ObjectMapper MAPPER =
      new ObjectMapper(FACTORY).enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private static final ObjectMapper YAML =
      new ObjectMapper(
          YAMLFactory.builder()
              .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
              .streamReadConstraints(
                  StreamReadConstraints.builder().maxNestingDepth(NESTING).build())
              .build());

  private final Path path;

  /** How to get from the top of the file to {@code root}: empty, or keys that each end in a dot. */
  private final String inside;

  private final ObjectNode root;

  private JsonFile(Path path, String inside, ObjectNode root) {
    this.path = path;
    this.inside = inside;
    this.root = root;
  }

  /**
   * Reads a file that holds one JSON object.
   *
   * @param limit largest size that such a file has, bytes
   * @throws IOException if it cannot be read, is larger, or holds anything else
   */
  static JsonFile read(Path path, int limit) throws IOException {
    byte[] bytes = BadFile.bytes(path, limit);
    try (Reader reader = reader(bytes)) {
      JsonNode node = MAPPER.readTree(reader);
      if (node instanceof ObjectNode object) {
        return new JsonFile(path, "", object);
      }
      throw BadFile.because(path, "this file holds %s, expected a JSON object", kind(node));
    } catch (JsonProcessingException | CharacterCodingException e) {
      throw BadFile.causedBy(e, path, "this file is not valid JSON: %s", reason(e, bytes));
    } catch (OutOfMemoryError e) {
      throw BadFile.causedBy(e, path, "what this file describes does not fit into memory");
    }
  }

  /**
   * Reads a YAML file that holds one mapping, as if it were JSON. What YAML has beyond that, such
   * as tags and anchors, makes nothing but texts, numbers, lists and mappings.
   *
   * @param limit largest size that such a file has, bytes
   * @throws IOException if it cannot be read, is larger, or holds anything else
   */
  static JsonFile readYaml(Path path, int limit) throws IOException {
    byte[] bytes = BadFile.bytes(path, limit);
    try (Reader reader = reader(bytes)) {
      if (YAML.readTree(reader) instanceof ObjectNode object) {
        return new JsonFile(path, "", object);
      }
      throw BadFile.because(path, "this file holds no YAML mapping");
    } catch (IOException | RuntimeException e) {
      throw e instanceof IOException bad && bad.getClass() == IOException.class
          ? bad
          : BadFile.causedBy(e, path, "this file is not valid YAML, or nests too deeply");
    } catch (OutOfMemoryError | StackOverflowError e) {
      throw BadFile.causedBy(e, path, "what this file describes does not fit into memory");
    }
  }

  /** What another file says, in the shape of a JSON file. */
  static JsonFile of(Path path, ObjectNode root) {
    return new JsonFile(path, "", root);
  }

  /** What another file says by keys, in the shape of a JSON file. */
  static JsonFile of(Path path, Map<String, ?> values) {
    ObjectNode root = JsonNodeFactory.instance.objectNode();
    values.forEach((key, value) -> root.set(key, node(value)));
    return of(path, root);
  }

  /** Where the type of a whole number does not say how large it is, the smallest one that can. */
  private static JsonNode node(Object value) {
    if (value instanceof Long number && number == (int) (long) number) {
      return IntNode.valueOf((int) (long) number);
    }
    if (value instanceof List<?> list) {
      ArrayNode array = JsonNodeFactory.instance.arrayNode(list.size());
      list.forEach(item -> array.add(node(item)));
      return array;
    }
    return MAPPER.valueToTree(value);
  }

  /** Characters of a text, which end in a CharacterCodingException where they are not UTF-8. */
  static Reader reader(byte[] bytes) {
    return new InputStreamReader(
        new ByteArrayInputStream(bytes), StandardCharsets.UTF_8.newDecoder());
  }

  /**
   * What is wrong with a JSON text, and where; the parser's own words are for programmers.
   *
   * @param bytes of the text
   */
  static String reason(IOException exception, byte[] bytes) {
    if (exception instanceof StreamConstraintsException) {
      return "it nests too deeply, or a name or a number in it is too long";
    }
    if (!(exception instanceof JsonProcessingException broken)) {
      return "it is not UTF-8";
    }
    JsonLocation location = Objects.requireNonNullElse(broken.getLocation(), JsonLocation.NA);
    String where = "line %d, column %d".formatted(location.getLineNr(), location.getColumnNr());
    if (exception instanceof JsonEOFException) {
      return "it ends too early, at " + where;
    }
    if (exception instanceof MismatchedInputException) {
      return "it goes on after its end, at " + where;
    }
    if (broken.getOriginalMessage().startsWith("Duplicate field")
        && broken.getProcessor() instanceof JsonParser parser) {
      return "key %s is there twice, at %s".formatted(quoted(parser), where);
    }
    String text = new String(bytes, StandardCharsets.UTF_8);
    int at = (int) Math.max(0, Math.min(text.length(), location.getCharOffset()));
    String near = text.substring(Math.max(0, at - NEAR), Math.min(text.length(), at + NEAR));
    return "it breaks at %s, near %s"
        .formatted(where, BadFile.quoted(near.strip().replaceAll("\\s+", " ")));
  }

  private static String quoted(JsonParser parser) {
    try {
      return BadFile.quoted(parser.currentName());
    } catch (IOException e) {
      throw new UncheckedIOException(e); // the name has been read
    }
  }

  private static String kind(JsonNode node) {
    return node.isMissingNode()
        ? "nothing"
        : BadFile.shortened(node.isNumber() ? node.asText() : node.toString());
  }

  Path path() {
    return path;
  }

  ObjectNode root() {
    return root;
  }

  /** The object at a key, as if it were a file of its own. */
  @Override
  public JsonFile object(String key) throws IOException {
    if (root.get(key) instanceof ObjectNode object) {
      return new JsonFile(path, inside + key + ".", object);
    }
    throw wrong(key, "an object");
  }

  /** The list at a key, as an object whose keys are {@code [0]}, {@code [1]}, and so on. */
  JsonFile list(String key) throws IOException {
    if (!(root.get(key) instanceof ArrayNode list)) {
      throw wrong(key, "a list");
    }
    ObjectNode items = JsonNodeFactory.instance.objectNode();
    for (JsonNode item : list) {
      items.set("[" + items.size() + "]", item);
    }
    return new JsonFile(path, inside + key, items);
  }

  @Override
  public List<Keys> lists(String key) throws IOException {
    JsonFile all = list(key);
    List<Keys> result = new ArrayList<>();
    for (String each : all.root.propertyStream().map(Map.Entry::getKey).toList()) {
      result.add(all.list(each));
    }
    return result;
  }

  @Override
  public List<String> names() {
    return root.propertyStream().map(Map.Entry::getKey).toList();
  }

  @Override
  public boolean has(String key) {
    return root.hasNonNull(key);
  }

  @Override
  public boolean isNull(String key) {
    return root.path(key).isNull();
  }

  @Override
  public boolean holdsItems(String key) {
    return !root.path(key).isEmpty();
  }

  @Override
  public int positive(String key) throws IOException {
    JsonNode node = value(key);
    if (node != null && node.isInt() && node.intValue() > 0) {
      return node.intValue();
    }
    throw wrong(key, "a whole number from 1 to " + Integer.MAX_VALUE);
  }

  @Override
  public int positive(String key, int otherwise) throws IOException {
    return has(key) ? positive(key) : otherwise;
  }

  @Override
  public int count(String key, int otherwise) throws IOException {
    JsonNode node = value(key);
    if (node == null) {
      return otherwise;
    }
    if (node.isInt() && node.intValue() >= 0) {
      return node.intValue();
    }
    throw wrong(key, "a whole number from 0 to " + Integer.MAX_VALUE);
  }

  /** The objects of a list. */
  List<JsonFile> objects(String key) throws IOException {
    if (!(root.get(key) instanceof ArrayNode list)) {
      throw wrong(key, "a list");
    }
    List<JsonFile> result = new ArrayList<>();
    for (JsonNode node : list) {
      if (!(node instanceof ObjectNode object)) {
        throw wrong(key, "a list of objects");
      }
      result.add(new JsonFile(path, inside + key + "[" + result.size() + "].", object));
    }
    return result;
  }

  /** The texts of a list. */
  List<String> texts(String key) throws IOException {
    if (!(root.get(key) instanceof ArrayNode list)) {
      throw wrong(key, "a list of texts");
    }
    List<String> result = new ArrayList<>();
    for (JsonNode node : list) {
      if (!node.isTextual()) {
        throw wrong(key, "a list of texts");
      }
      result.add(node.textValue());
    }
    return result;
  }

  @Override
  public List<String> textsIn(String key) {
    List<String> result = new ArrayList<>();
    if (root.get(key) instanceof ArrayNode list) {
      list.forEach(node -> result.add(node.asText()));
    }
    return result;
  }

  int id(String key) throws IOException {
    JsonNode node = value(key);
    // The number of ids, one more than the largest, is an int as well.
    if (node != null
        && node.isInt()
        && node.intValue() >= 0
        && node.intValue() < Integer.MAX_VALUE) {
      return node.intValue();
    }
    throw wrong(key, "a token id from 0");
  }

  /** One of {@code size} things that are counted from 0. */
  int index(String key, int size) throws IOException {
    JsonNode node = value(key);
    if (node != null && node.isInt() && node.intValue() >= 0 && node.intValue() < size) {
      return node.intValue();
    }
    throw wrong(key, "a whole number from 0 to " + (size - 1));
  }

  @Override
  public double positive(String key, double otherwise) throws IOException {
    JsonNode node = value(key);
    if (node == null) {
      return otherwise;
    }
    if (node.isNumber() && node.doubleValue() > 0 && Double.isFinite(node.doubleValue())) {
      return node.doubleValue();
    }
    throw wrong(key, "a positive number");
  }

  @Override
  public List<Double> positives(String key) throws IOException {
    List<Double> result = numbers(key);
    if (!result.stream().allMatch(number -> number > 0)) {
      throw wrong(key, "a list of positive numbers");
    }
    return result;
  }

  /** The numbers of a list. */
  List<Double> numbers(String key) throws IOException {
    if (!(root.get(key) instanceof ArrayNode list)) {
      throw wrong(key, "a list of numbers");
    }
    List<Double> result = new ArrayList<>();
    for (JsonNode node : list) {
      if (!node.isNumber() || !Double.isFinite(node.doubleValue())) {
        throw wrong(key, "a list of numbers");
      }
      result.add(node.doubleValue());
    }
    return result;
  }

  double number(String key, double otherwise) throws IOException {
    JsonNode node = value(key);
    if (node == null) {
      return otherwise;
    }
    if (node.isNumber() && Double.isFinite(node.doubleValue())) {
      return node.doubleValue();
    }
    throw wrong(key, "a number");
  }

  @Override
  public boolean flag(String key, boolean otherwise) throws IOException {
    JsonNode node = value(key);
    if (node == null) {
      return otherwise;
    }
    if (node.isBoolean()) {
      return node.booleanValue();
    }
    throw wrong(key, "true or false");
  }

  @Override
  public String text(String key, String otherwise) throws IOException {
    JsonNode node = value(key);
    if (node == null) {
      return otherwise;
    }
    if (node.isTextual()) {
      return node.textValue();
    }
    throw wrong(key, "a text");
  }

  private @Nullable JsonNode value(String key) {
    return has(key) ? root.get(key) : null;
  }

  @Override
  public IOException wrong(String key, String expected) {
    JsonNode node = root.get(key);
    return BadFile.because(
        path,
        "%s is %s, expected %s",
        BadFile.shortened(inside + key),
        node == null ? "missing" : kind(node),
        expected);
  }

  @Override
  public IOException impossible(IllegalArgumentException refused, String keys) {
    return BadFile.causedBy(
        refused, path, "%s: see %s", String.valueOf(refused.getMessage()), keys);
  }

  @Override
  @FormatMethod
  public IOException because(@FormatString String reason, Object... values) {
    return BadFile.because(path, reason, values);
  }
}
