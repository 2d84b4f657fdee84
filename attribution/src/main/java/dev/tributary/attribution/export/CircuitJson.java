package dev.tributary.attribution.export;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
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
import dev.tributary.attribution.CircuitAttention.Score;
import dev.tributary.attribution.Coordinates;
import dev.tributary.attribution.HeadLoadings.LayerSplit;
import dev.tributary.attribution.Lowercase;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.ScoreAttribution.Pair;
import dev.tributary.transformer.InputPath;

/**
 * Our own format of a circuit, version 2, of which nothing is lost; {@link CircuitFile} reads it.
 * What follows from the rest (names, influence, scores, remainders) is written for readers and not
 * read back. The file {@code docs/circuit-json.md} describes every field.
 */
public final class CircuitJson {
  static final String FORMAT = "tributary-circuit";
  static final int VERSION = 2;

  private CircuitJson() {}

  /**
   * {@return the text of a circuit: one line for each node, edge, pattern and certificate}
   *
   * @param circuit what is written
   */
  public static String of(Circuit circuit) {
    return JsonText.of(json(circuit));
  }

  static ObjectNode json(Circuit circuit) {
    Origin origin = circuit.origin();
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("format", FORMAT).put("version", VERSION);
    Labels labels = origin.labels();
    json.put("model", labels.model());
    labels.dictionaries().forEach(json.putArray("dictionaries")::add);
    json.put("prompt", labels.prompt());
    ArrayNode tokens = json.putArray("tokens");
    for (int i = 0; i < origin.tokens().size(); i++) {
      tokens.addObject().put("id", origin.tokens().get(i)).put("text", labels.tokens().get(i));
    }
    json.put("layers", origin.layers());
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
          .put("dictionaries", input.certificate().dictionaries());
      input
          .certificate()
          .affine()
          .ifPresent(
              affine -> one.put("recorded", affine.recorded()).put("constant", affine.constant()));
      one.put("relative_residual", input.certificate().relativeResidual())
          .put("remainder", remainders[i]);
    }
    ArrayNode groups = json.putArray("groups");
    for (Group group : circuit.groups()) {
      ObjectNode one = groups.addObject().put("name", group.name());
      group.nodes().forEach(one.putArray("nodes")::add);
    }
    attention(circuit.attention(), json);
    circuit
        .scores()
        .ifPresent(
            whole ->
                json.putObject("scores")
                    .put("replacement", whole.replacement())
                    .put("completeness", whole.completeness()));
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
      ObjectNode one = node(reading.node(), nodes.addObject());
      one.put("point", reading.point().index());
      reading.activation().ifPresent(value -> one.put("activation", value));
      reading.attribution().ifPresent(value -> one.put("attribution", value));
      reading.directEffect().ifPresent(value -> one.put("direct_effect", value));
      reading.output().ifPresent(output -> output(output, one.putObject("output")));
      one.put("influence", influence[i]);
      if (!reading.node().targets().isEmpty()) {
        one.put("remainder", left[i]);
      }
    }
  }

  private static void attention(CircuitAttention attention, ObjectNode json) {
    ArrayNode loadings = json.putArray("loadings");
    for (Loadings of : attention.loadings()) {
      ObjectNode one = loadings.addObject().put("source", of.source()).put("target", of.target());
      path(of.path(), one);
      one.put("edge", of.edge()).put("direct", of.direct());
      ArrayNode layers = one.putArray("layers");
      for (LayerSplit split : of.layers()) {
        ObjectNode layer = layers.addObject().put("layer", split.layer());
        split.heads().forEach(layer.putArray("heads")::add);
        layer.put("passing", split.passing());
      }
      ArrayNode passed = one.putArray("passed");
      of.passed()
          .forEach(head -> node(head.head(), passed.addObject()).put("loading", head.loading()));
    }
    ArrayNode scores = json.putArray("head_scores");
    for (Score of : attention.scores()) {
      ObjectNode one = node(of.head(), scores.addObject());
      one.put("score", of.score()).put("sum", of.sum()).put("count", of.count());
      ArrayNode pairs = one.putArray("pairs");
      for (Pair pair : of.pairs()) {
        ObjectNode two = pairs.addObject();
        pair.query().ifPresent(query -> node(query, two.putObject("query")));
        pair.key().ifPresent(key -> node(key, two.putObject("key")));
        two.put("score", pair.score());
      }
    }
  }

  static ObjectNode node(Node node, ObjectNode json) {
    json.put("name", node.toString());
    Coordinates at = node.coordinates();
    json.put("kind", at.kind()).put("component", Lowercase.of(at.component()));
    at.part().ifPresent(part -> json.put("part", part));
    at.layer().ifPresent(layer -> json.put("layer", layer));
    at.index().ifPresent(index -> json.put("index", index));
    path(at.path(), json);
    at.token().ifPresent(token -> json.put("token", token));
    at.key().ifPresent(key -> json.put("key", key));
    return json;
  }

  private static void output(Output output, ObjectNode json) {
    json.put("text", output.text()).put("position", output.position());
    output.value().ifPresent(value -> json.put("value", value));
    json.put("weight", output.weight());
  }

  private static void path(InputPath path, ObjectNode json) {
    if (path != InputPath.ALL) {
      json.put("path", Lowercase.of(path));
    }
  }
}
