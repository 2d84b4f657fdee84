package dev.tributary.attribution.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.Certificate;
import dev.tributary.attribution.Coordinates;
import dev.tributary.attribution.EdgeSearch.Found;
import dev.tributary.attribution.Lowercase;
import dev.tributary.attribution.Metric;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.cli.AblateCommand.Outcome;
import dev.tributary.attribution.cli.Explanation.Edges;
import dev.tributary.attribution.cli.Explanation.RankedNode;
import dev.tributary.attribution.cli.Subject.MetricReading;
import dev.tributary.attribution.cli.Subject.Prediction;
import dev.tributary.attribution.cli.Subject.Word;
import dev.tributary.attribution.cli.VerifyCommand.Verified;
import java.util.Collection;
import java.util.List;
import java.util.function.Function;

/** An explanation as one JSON object. */
final class JsonReport {
  private static final ObjectMapper MAPPER =
      new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);

  private JsonReport() {}

  static String of(Explanation explanation) {
    ObjectNode json = json(explanation.subject());
    json.set("nodes", list(explanation.nodes(), JsonReport::json));
    json.set("edges", json(explanation.edges(), explanation.subject()));
    return text(json);
  }

  static String of(Subject subject, List<Outcome> outcomes) {
    ObjectNode json = json(subject);
    json.set(
        "ablations",
        list(
            outcomes,
            outcome -> {
              ObjectNode one = object().put("nodes", outcome.nodes());
              one.put("metric", outcome.after());
              one.put("change", outcome.after() - subject.metric().value());
              outcome.predicted().ifPresent(change -> one.put("firstOrderChange", change));
              one.set("predictions", list(outcome.predictions(), JsonReport::json));
              return one;
            }));
    return text(json);
  }

  static String of(Subject subject, Verified verified) {
    ObjectNode json = json(subject);
    ObjectNode edge = json.putObject("edge");
    edge.put("from", verified.source().toString()).put("to", verified.target().toString());
    edge.put("layerNormScale", Lowercase.of(subject.scaleGradient()));
    edge.put("pulled", verified.pulled());
    edge.put("pushed", verified.pushed());
    edge.put("withOtherScale", verified.otherScale());
    edge.put("patched", verified.patch().patched());
    edge.put("linearisationError", verified.patch().linearisationError());
    edge.put("metricChange", verified.patch().metricChange());
    ObjectNode certificate = edge.putObject("certificate");
    certificate.put("sources", verified.certificate().sources());
    certificate.put("gradientTimesResidual", verified.certificate().whole());
    recorded(verified.certificate(), certificate);
    return text(json);
  }

  /** What sources sum to besides, where the target is affine in what it reads, and how far off. */
  private static ObjectNode recorded(Certificate certificate, ObjectNode json) {
    certificate
        .affine()
        .ifPresent(
            affine -> json.put("constant", affine.constant()).put("recorded", affine.recorded()));
    return json.put("relativeResidual", certificate.relativeResidual());
  }

  static String of(Subject subject, Found found) {
    ObjectNode json = json(subject);
    ObjectNode edges = json.putObject("search");
    edges.put("layerNormScale", Lowercase.of(subject.scaleGradient()));
    edges.put("searched", found.searched());
    edges.set(
        "edges",
        list(
            found.edges(),
            edge ->
                object()
                    .put("from", edge.source().toString())
                    .put("to", edge.target().toString())
                    .put("score", edge.score())));
    return text(json);
  }

  static ObjectNode json(Subject subject) {
    ObjectNode json = object();
    json.put("model", subject.model());
    json.put("dtype", Lowercase.of(subject.nodes().run().model().dtype()));
    json.set("tokens", tokens(subject.tokens(), 0));
    json.set(
        "attentionSinks",
        list(
            subject.sinks(),
            sink -> object().put("token", sink.token()).put("times", sink.times())));
    json.set("predictions", list(subject.predictions(), JsonReport::json));
    json.set("metric", json(subject.metric()));
    return json;
  }

  /** Tokens of a text from one on. */
  static ArrayNode tokens(List<Word> words, int first) {
    ArrayNode tokens = JsonNodeFactory.instance.arrayNode();
    for (Word word : words) {
      ObjectNode token = tokens.addObject().put("index", first + tokens.size() - 1);
      token.setAll(json(word));
    }
    return tokens;
  }

  static String text(ObjectNode json) {
    try {
      return MAPPER.writeValueAsString(json) + System.lineSeparator();
    } catch (JsonProcessingException e) {
      throw new AssertionError(e); // there is nothing in it but texts and numbers
    }
  }

  private static ObjectNode json(Prediction prediction) {
    return json(prediction.word()).put("probability", prediction.probability());
  }

  static ObjectNode json(Word word) {
    return object().put("id", word.id()).put("text", word.text());
  }

  private static ObjectNode json(MetricReading explained) {
    boolean logarithm = explained.ofLogits() instanceof Metric.LogProbability;
    ObjectNode json = object();
    explained
        .trace()
        .ifPresent(
            node ->
                json.put("trace", node.toString()).put("stage", Lowercase.of(explained.stage())));
    String ofLogits = logarithm ? "log-probability" : "logit difference";
    json.put("kind", explained.trace().isPresent() ? "trace" : ofLogits);
    json.put("position", explained.ofLogits().position());
    json.set("targets", list(explained.targets(), JsonReport::json));
    json.set("distractors", list(explained.distractors(), JsonReport::json));
    json.put("targetChosen", explained.chosen());
    return json.put("value", explained.value());
  }

  private static ObjectNode json(RankedNode reading) {
    ObjectNode json = object();
    Node node = reading.node();
    json.put("name", node.toString());
    Coordinates at = node.coordinates();
    json.put("kind", at.kind());
    at.part().ifPresent(part -> json.put("part", part));
    at.layer().ifPresent(layer -> json.put("layer", layer));
    at.index().ifPresent(index -> json.put(at.kind(), index));
    at.token().ifPresent(token -> json.put(at.key().isPresent() ? "query" : "token", token));
    at.key().ifPresent(key -> json.put("key", key));
    reading.activation().ifPresent(activation -> json.put("activation", activation));
    json.put("attribution", reading.attribution());
    return json.put("directEffect", reading.directEffect());
  }

  private static ObjectNode json(Edges edges, Subject subject) {
    ObjectNode json = object();
    json.put("layerNormScale", Lowercase.of(subject.scaleGradient()));
    edges.into().ifPresent(node -> json.put("into", node.toString()));
    edges.from().ifPresent(node -> json.put("from", node.toString()));
    json.set(
        "largest",
        list(
            edges.largest(),
            edge ->
                object()
                    .put("from", edge.from().toString())
                    .put("to", edge.to().toString())
                    .put("score", edge.score())
                    .put("patched", edge.patch().patched())
                    .put("linearisationError", edge.patch().linearisationError())
                    .put("metricChange", edge.patch().metricChange())));
    json.set(
        "sums",
        list(
            edges.sums(),
            sum ->
                recorded(
                    sum.certificate(),
                    object().put("to", sum.into().toString()).put("score", sum.sum()))));
    return json;
  }

  static <T> ArrayNode list(Collection<T> items, Function<T, ObjectNode> json) {
    return JsonNodeFactory.instance.arrayNode().addAll(items.stream().map(json).toList());
  }

  static ObjectNode object() {
    return JsonNodeFactory.instance.objectNode();
  }
}
