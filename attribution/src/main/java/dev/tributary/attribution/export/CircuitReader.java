package dev.tributary.attribution.export;

import static dev.tributary.attribution.export.Fields.integer;
import static dev.tributary.attribution.export.Fields.items;
import static dev.tributary.attribution.export.Fields.list;
import static dev.tributary.attribution.export.Fields.longInteger;
import static dev.tributary.attribution.export.Fields.number;
import static dev.tributary.attribution.export.Fields.numbers;
import static dev.tributary.attribution.export.Fields.object;
import static dev.tributary.attribution.export.Fields.one;
import static dev.tributary.attribution.export.Fields.optionalInteger;
import static dev.tributary.attribution.export.Fields.optionalNumber;
import static dev.tributary.attribution.export.Fields.string;
import static dev.tributary.core.Checks.requireArgument;

import com.fasterxml.jackson.databind.JsonNode;
import dev.tributary.attribution.Certificate;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Edge;
import dev.tributary.attribution.Circuit.Group;
import dev.tributary.attribution.Circuit.Input;
import dev.tributary.attribution.Circuit.Labels;
import dev.tributary.attribution.Circuit.Member;
import dev.tributary.attribution.Circuit.Origin;
import dev.tributary.attribution.Circuit.Output;
import dev.tributary.attribution.Circuit.Pattern;
import dev.tributary.attribution.CircuitAttention;
import dev.tributary.attribution.CircuitAttention.Loadings;
import dev.tributary.attribution.CircuitAttention.Passed;
import dev.tributary.attribution.CircuitAttention.Score;
import dev.tributary.attribution.Coordinates;
import dev.tributary.attribution.Coordinates.Component;
import dev.tributary.attribution.EdgeMeasure;
import dev.tributary.attribution.Explained;
import dev.tributary.attribution.HeadLoadings.LayerSplit;
import dev.tributary.attribution.HeadPair;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.ScoreAttribution.Pair;
import dev.tributary.attribution.Source;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.ScaleGradient;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/** Reads what {@link CircuitJson} writes, and wrote when nodes had names and no fields. */
final class CircuitReader {
  private final JsonNode json;

  /** Nodes have names alone, and what is explained is one metric. */
  private final boolean isFirstVersion;

  private CircuitReader(JsonNode json, boolean isFirstVersion) {
    this.json = json;
    this.isFirstVersion = isFirstVersion;
  }

  static Circuit parse(JsonNode json) {
    JsonNode version = json.path("version");
    requireArgument(
        json.path("format").asText().equals(CircuitJson.FORMAT)
            && version.isIntegralNumber()
            && (version.asLong() == 1 || version.asLong() == CircuitJson.VERSION),
        "expected \"format\": \"%s\" and \"version\": 1 or %d",
        CircuitJson.FORMAT,
        CircuitJson.VERSION);
    return new CircuitReader(json, version.asLong() == 1).circuit();
  }

  private Circuit circuit() {
    return new Circuit(
        origin(),
        items(json, "nodes", this::member),
        items(json, "edges", CircuitReader::edge),
        items(json, "certificates", this::input),
        items(json, "patterns", CircuitReader::pattern),
        isFirstVersion ? List.of() : items(json, "groups", CircuitReader::group),
        attention());
  }

  /** Circuits were written without it. */
  private CircuitAttention attention() {
    return json.has("loadings") || json.has("head_scores")
        ? new CircuitAttention(
            items(json, "loadings", CircuitReader::loadings),
            items(json, "head_scores", CircuitReader::score))
        : CircuitAttention.NONE;
  }

  private static Loadings loadings(JsonNode one) {
    return new Loadings(
        integer(one, "source"),
        integer(one, "target"),
        path(one),
        number(one, "edge"),
        number(one, "direct"),
        items(
            one,
            "layers",
            layer ->
                new LayerSplit(
                    integer(layer, "layer"),
                    numbers(list(layer, "heads"), "heads"),
                    number(layer, "passing"))),
        items(one, "passed", passed -> new Passed(head(passed), number(passed, "loading"))));
  }

  private static Score score(JsonNode one) {
    return new Score(
        head(one),
        number(one, "score"),
        number(one, "sum"),
        longInteger(one, "count"),
        items(
            one,
            "pairs",
            pair -> new Pair(source(pair, "query"), source(pair, "key"), number(pair, "score"))));
  }

  private static HeadPair head(JsonNode one) {
    Node node = node(one);
    requireArgument(node instanceof HeadPair, "%s is no head at a pair of tokens", node);
    return (HeadPair) node;
  }

  private static Optional<Source> source(JsonNode pair, String side) {
    if (!pair.has(side)) {
      return Optional.empty();
    }
    Node node = node(object(pair, side));
    requireArgument(node.asSource().isPresent(), "%s writes nothing", node);
    return node.asSource();
  }

  private Origin origin() {
    List<Integer> ids = new ArrayList<>();
    List<String> texts = new ArrayList<>();
    for (JsonNode token : list(json, "tokens")) {
      ids.add(integer(token, "id"));
      texts.add(string(token, "text"));
    }
    List<String> dictionaries = isFirstVersion ? List.of() : Fields.strings(json, "dictionaries");
    return new Origin(
        new Labels(string(json, "model"), dictionaries, string(json, "prompt"), texts),
        ids,
        integer(json, "layers"),
        one(ScaleGradient.class, json, "scale"),
        one(EdgeMeasure.class, json, "measure"));
  }

  private Member member(JsonNode one) {
    Node node = isFirstVersion ? Node.parse(string(one, "name")) : node(one);
    return new Member(
        node,
        new Point(integer(one, isFirstVersion ? "block" : "point")),
        optionalNumber(one, "activation"),
        optionalNumber(one, "attribution"),
        optionalNumber(one, "direct_effect"),
        isFirstVersion ? metric(node) : output(one));
  }

  private static Node node(JsonNode one) {
    return Node.at(
        new Coordinates(
            string(one, "kind"),
            one(Component.class, one, "component"),
            one.has("part") ? Optional.of(string(one, "part")) : Optional.empty(),
            optionalInteger(one, "layer"),
            optionalInteger(one, "index"),
            path(one),
            optionalInteger(one, "token"),
            optionalInteger(one, "key")));
  }

  private static Optional<Output> output(JsonNode one) {
    if (!one.has("output")) {
      return Optional.empty();
    }
    JsonNode output = object(one, "output");
    return Optional.of(
        new Output(
            string(output, "text"),
            integer(output, "position"),
            optionalNumber(output, "value"),
            number(output, "weight")));
  }

  private Optional<Output> metric(Node node) {
    if (!node.equals(new Explained())) {
      return Optional.empty();
    }
    JsonNode metric = json.path("metric");
    return Optional.of(
        new Output(
            string(metric, "text"),
            integer(metric, "position"),
            OptionalDouble.of(number(metric, "value")),
            1));
  }

  private static Edge edge(JsonNode one) {
    return new Edge(
        integer(one, "source"), integer(one, "target"), path(one), number(one, "weight"));
  }

  private Input input(JsonNode one) {
    return new Input(
        integer(one, "target"),
        path(one),
        new Certificate(
            number(one, "sources"),
            number(one, "whole"),
            number(one, "magnitude"),
            number(one, isFirstVersion ? "autoencoders" : "dictionaries"),
            affine(one)));
  }

  private static Optional<Certificate.Affine> affine(JsonNode one) {
    return one.has("recorded")
        ? Optional.of(new Certificate.Affine(number(one, "recorded"), number(one, "constant")))
        : Optional.empty();
  }

  private static InputPath path(JsonNode one) {
    return one.has("path") ? one(InputPath.class, one, "path") : InputPath.ALL;
  }

  private static Pattern pattern(JsonNode one) {
    List<List<Double>> rows = new ArrayList<>();
    for (JsonNode row : list(one, "values")) {
      rows.add(numbers(row, "values"));
    }
    return new Pattern(integer(one, "layer"), integer(one, "head"), rows);
  }

  private static Group group(JsonNode one) {
    return new Group(string(one, "name"), Fields.integers(one, "nodes"));
  }
}
