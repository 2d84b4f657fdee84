package dev.tributary.attribution.export;

import static dev.tributary.core.Checks.requireArgument;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.util.MinimalPrettyPrinter;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.Certificate;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Edge;
import dev.tributary.attribution.Circuit.Input;
import dev.tributary.attribution.Circuit.Labels;
import dev.tributary.attribution.Circuit.Member;
import dev.tributary.attribution.Circuit.Origin;
import dev.tributary.attribution.Circuit.Pattern;
import dev.tributary.attribution.Circuit.Scores;
import dev.tributary.attribution.EdgeMeasure;
import dev.tributary.attribution.Lowercase;
import dev.tributary.attribution.Node;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.ScaleGradient;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.Function;
import java.util.function.Predicate;

/**
 * Our own format of a circuit, version 1, of which nothing is lost. What follows from the rest
 * (influence, scores, remainders) is written for readers and not read back. The file {@code
 * docs/circuit-json.md} describes every field.
 */
public final class CircuitJson {
  private static final String FORMAT = "tributary-circuit";
  private static final int VERSION = 1;

  /** Lists whose items have a line each are no deeper in the text than this. */
  private static final int LINES = 2;

  private static final ObjectMapper MAPPER =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private CircuitJson() {}

  // ---- writing -----------------------------------------------------------------------------

  /**
   * {@return the text of a circuit: one line for each node, edge, pattern and certificate}
   *
   * @param circuit what is written
   */
  public static String of(Circuit circuit) {
    return text(json(circuit));
  }

  /** JSON in which the items of the outer lists have a line each. */
  static String text(ObjectNode json) {
    try {
      return MAPPER.writer(new Lines()).writeValueAsString(json) + "\n";
    } catch (JsonProcessingException e) {
      throw new AssertionError(e); // there is nothing in it but texts and numbers
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

  private static ObjectNode json(Circuit circuit) {
    Origin origin = circuit.origin();
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("format", FORMAT).put("version", VERSION);
    json.put("model", origin.labels().model()).put("prompt", origin.labels().prompt());
    ArrayNode tokens = json.putArray("tokens");
    for (int i = 0; i < origin.tokens().size(); i++) {
      tokens
          .addObject()
          .put("id", origin.tokens().get(i))
          .put("text", origin.labels().tokens().get(i));
    }
    json.put("layers", origin.layers());
    json.putObject("metric")
        .put("text", origin.labels().metric())
        .put("value", origin.metric())
        .put("position", origin.position());
    json.put("scale", Lowercase.of(origin.scaleGradient()))
        .put("measure", Lowercase.of(origin.measure()));
    double[] remainders = circuit.remainders();
    nodes(circuit, remainders, json.putArray("nodes"));
    double[] scores = circuit.edgeScores();
    ArrayNode edges = json.putArray("edges");
    for (int i = 0; i < scores.length; i++) {
      Edge edge = circuit.edges().get(i);
      ObjectNode one = edges.addObject().put("source", edge.source()).put("target", edge.target());
      path(edge.path(), one);
      one.put("weight", edge.weight()).put("score", scores[i]);
    }
    ArrayNode patterns = json.putArray("patterns");
    for (Pattern pattern : circuit.patterns()) {
      ObjectNode one =
          patterns.addObject().put("layer", pattern.layer()).put("head", pattern.head());
      ArrayNode rows = one.putArray("values");
      pattern.probabilities().forEach(row -> row.forEach(rows.addArray()::add));
    }
    ArrayNode certificates = json.putArray("certificates");
    for (int i = 0; i < remainders.length; i++) {
      Input input = circuit.inputs().get(i);
      ObjectNode one = certificates.addObject().put("target", input.target());
      path(input.path(), one);
      one.put("sources", input.certificate().sources())
          .put("whole", input.certificate().whole())
          .put("magnitude", input.certificate().magnitude())
          .put("autoencoders", input.certificate().autoencoders());
      input
          .certificate()
          .affine()
          .ifPresent(
              affine -> one.put("recorded", affine.recorded()).put("constant", affine.constant()));
      one.put("relative_residual", input.certificate().relativeResidual())
          .put("remainder", remainders[i]);
    }
    Scores whole = circuit.scores();
    json.putObject("scores")
        .put("replacement", whole.replacement())
        .put("completeness", whole.completeness());
    return json;
  }

  private static void nodes(Circuit circuit, double[] remainders, ArrayNode nodes) {
    double[] influence = circuit.influence();
    double[] left = new double[influence.length];
    for (int i = 0; i < remainders.length; i++) {
      left[circuit.inputs().get(i).target()] += remainders[i];
    }
    for (int i = 0; i < influence.length; i++) {
      Member reading = circuit.nodes().get(i);
      Cell cell = Cell.of(circuit, i);
      ObjectNode one =
          nodes.addObject().put("name", reading.node().toString()).put("kind", cell.kind());
      one.put("component", Lowercase.of(cell.node().component()));
      cell.layer().ifPresent(layer -> one.put("layer", layer));
      one.put("token", cell.token());
      cell.key().ifPresent(key -> one.put("key", key));
      one.put("block", cell.point().index());
      reading.activation().ifPresent(value -> one.put("activation", value));
      reading.attribution().ifPresent(value -> one.put("attribution", value));
      reading.directEffect().ifPresent(value -> one.put("direct_effect", value));
      one.put("influence", influence[i]);
      if (!reading.node().targets().isEmpty()) {
        one.put("remainder", left[i]);
      }
    }
  }

  private static void path(InputPath path, ObjectNode json) {
    if (path != InputPath.ALL) {
      json.put("path", Lowercase.of(path));
    }
  }

  // ---- reading -----------------------------------------------------------------------------

  /**
   * Reads a circuit from a file.
   *
   * @param file what {@link #of} gave, in UTF-8
   * @return the circuit as it was
   * @throws IOException if it cannot be read, with its path and what was expected
   */
  public static Circuit read(Path file) throws IOException {
    try {
      return parse(Files.readString(file));
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

  private static Circuit parse(String text) throws JsonProcessingException {
    JsonNode json = MAPPER.readTree(text);
    requireArgument(json.isObject(), "expected one JSON object");
    requireArgument(
        json.path("format").asText().equals(FORMAT) && json.path("version").asInt() == VERSION,
        "expected \"format\": \"%s\" and \"version\": %d",
        FORMAT,
        VERSION);
    List<Integer> ids = new ArrayList<>();
    List<String> texts = new ArrayList<>();
    for (JsonNode token : list(json, "tokens")) {
      ids.add(integer(token, "id"));
      texts.add(string(token, "text"));
    }
    JsonNode metric = json.path("metric");
    Labels labels =
        new Labels(string(json, "model"), string(json, "prompt"), texts, string(metric, "text"));
    Origin origin =
        new Origin(
            labels,
            ids,
            integer(json, "layers"),
            number(metric, "value"),
            integer(metric, "position"),
            one(ScaleGradient.class, json, "scale"),
            one(EdgeMeasure.class, json, "measure"));
    return new Circuit(
        origin,
        items(json, "nodes", CircuitJson::node),
        items(json, "edges", CircuitJson::edge),
        items(json, "certificates", CircuitJson::input),
        items(json, "patterns", CircuitJson::pattern));
  }

  private static Member node(JsonNode json) {
    return new Member(
        Node.parse(string(json, "name")),
        new Point(integer(json, "block")),
        reading(json, "activation"),
        reading(json, "attribution"),
        reading(json, "direct_effect"));
  }

  private static OptionalDouble reading(JsonNode json, String field) {
    return json.has(field) ? OptionalDouble.of(number(json, field)) : OptionalDouble.empty();
  }

  private static Edge edge(JsonNode json) {
    return new Edge(
        integer(json, "source"), integer(json, "target"), path(json), number(json, "weight"));
  }

  private static Input input(JsonNode json) {
    return new Input(
        integer(json, "target"),
        path(json),
        new Certificate(
            number(json, "sources"),
            number(json, "whole"),
            number(json, "magnitude"),
            number(json, "autoencoders"),
            affine(json)));
  }

  private static Optional<Certificate.Affine> affine(JsonNode json) {
    return json.has("recorded")
        ? Optional.of(new Certificate.Affine(number(json, "recorded"), number(json, "constant")))
        : Optional.empty();
  }

  private static InputPath path(JsonNode json) {
    return json.has("path") ? one(InputPath.class, json, "path") : InputPath.ALL;
  }

  private static Pattern pattern(JsonNode json) {
    List<List<Double>> rows = new ArrayList<>();
    for (JsonNode row : list(json, "values")) {
      List<Double> values = new ArrayList<>();
      row.forEach(
          value -> {
            requireArgument(value.isNumber(), "\"values\" holds what is no number");
            values.add(value.asDouble());
          });
      rows.add(values);
    }
    return new Pattern(integer(json, "layer"), integer(json, "head"), rows);
  }

  private static <T> List<T> items(JsonNode json, String field, Function<JsonNode, T> read) {
    List<T> result = new ArrayList<>();
    for (JsonNode item : list(json, field)) {
      try {
        result.add(read.apply(item));
      } catch (IllegalArgumentException e) {
        throw new IllegalArgumentException(
            "\"%s\", item %d: %s".formatted(field, result.size(), e.getMessage()), e);
      }
    }
    return result;
  }

  private static JsonNode list(JsonNode json, String field) {
    return field(json, field, "a list", node -> node.isArray());
  }

  private static String string(JsonNode json, String field) {
    return field(json, field, "a text", node -> node.isTextual()).textValue();
  }

  private static int integer(JsonNode json, String field) {
    return field(
            json,
            field,
            "a whole number",
            node -> node.canConvertToInt() && node.isIntegralNumber())
        .intValue();
  }

  private static double number(JsonNode json, String field) {
    return field(
            json, field, "a number", node -> node.isNumber() && Double.isFinite(node.doubleValue()))
        .doubleValue();
  }

  private static JsonNode field(
      JsonNode json, String field, String expected, Predicate<JsonNode> is) {
    JsonNode value = json.path(field);
    requireArgument(is.test(value), "\"%s\" is not %s", field, expected);
    return value;
  }

  private static <E extends Enum<E>> E one(Class<E> type, JsonNode json, String field) {
    String word = string(json, field);
    for (E value : type.getEnumConstants()) {
      if (Lowercase.of(value).equals(word)) {
        return value;
      }
    }
    throw new IllegalArgumentException("\"%s\" is \"%s\"".formatted(field, word));
  }
}
