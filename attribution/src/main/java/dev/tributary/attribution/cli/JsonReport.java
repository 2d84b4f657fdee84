package dev.tributary.attribution.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.Metric;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.Node.Embedding;
import dev.tributary.attribution.Node.HeadPair;
import dev.tributary.attribution.Node.Neuron;
import dev.tributary.attribution.cli.Explanation.Edges;
import dev.tributary.attribution.cli.Explanation.MetricReading;
import dev.tributary.attribution.cli.Explanation.NodeReading;
import dev.tributary.attribution.cli.Explanation.Word;
import java.util.Collection;
import java.util.Locale;
import java.util.function.Function;

/** An explanation as one JSON object. */
final class JsonReport {
  private static final ObjectMapper MAPPER =
      new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);

  private JsonReport() {}

  static String of(Explanation explanation) {
    ObjectNode json = object();
    json.put("model", explanation.model());
    json.put("dtype", lower(explanation.dtype()));
    ArrayNode tokens = json.putArray("tokens");
    for (Word word : explanation.tokens()) {
      ObjectNode token = tokens.addObject().put("index", tokens.size() - 1);
      token.setAll(json(word));
    }
    json.set(
        "predictions",
        list(
            explanation.predictions(),
            prediction -> json(prediction.word()).put("probability", prediction.probability())));
    json.set("metric", json(explanation.metric()));
    json.set("nodes", list(explanation.nodes(), JsonReport::json));
    json.set("edges", json(explanation.edges()));
    try {
      return MAPPER.writeValueAsString(json) + System.lineSeparator();
    } catch (JsonProcessingException e) {
      throw new AssertionError(e); // there is nothing in it but texts and numbers
    }
  }

  private static ObjectNode json(Word word) {
    return object().put("id", word.id()).put("text", word.text());
  }

  private static ObjectNode json(MetricReading explained) {
    boolean logarithm = explained.metric() instanceof Metric.LogProbability;
    ObjectNode json = object();
    json.put("kind", logarithm ? "log-probability" : "logit difference");
    json.put("position", explained.metric().position());
    json.set("targets", list(explained.targets(), JsonReport::json));
    json.set("distractors", list(explained.distractors(), JsonReport::json));
    json.put("targetChosen", explained.chosen());
    return json.put("value", explained.value());
  }

  private static ObjectNode json(NodeReading reading) {
    ObjectNode json = object();
    Node node = reading.node();
    json.put("name", node.toString());
    if (node instanceof Embedding embedding) {
      json.put("kind", "embedding");
      json.put("part", lower(embedding.part()));
      json.put("token", embedding.token());
    } else if (node instanceof Neuron neuron) {
      json.put("kind", "neuron");
      json.put("layer", neuron.layer());
      json.put("neuron", neuron.neuron());
      json.put("token", neuron.token());
    } else if (node instanceof HeadPair pair) {
      json.put("kind", "head");
      json.put("layer", pair.layer());
      json.put("head", pair.head());
      json.put("query", pair.query());
      json.put("key", pair.key());
    }
    reading.activation().ifPresent(activation -> json.put("activation", activation));
    json.put("attribution", reading.attribution());
    return json.put("directEffect", reading.directEffect());
  }

  private static ObjectNode json(Edges edges) {
    ObjectNode json = object();
    json.put("layerNormScale", lower(edges.scaleGradient()));
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
                    .put("score", edge.score())));
    json.set(
        "sums",
        list(
            edges.sums(),
            sum -> object().put("to", sum.into().toString()).put("score", sum.sum())));
    return json;
  }

  private static <T> ArrayNode list(Collection<T> items, Function<T, ObjectNode> json) {
    return JsonNodeFactory.instance.arrayNode().addAll(items.stream().map(json).toList());
  }

  private static ObjectNode object() {
    return JsonNodeFactory.instance.objectNode();
  }

  private static String lower(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT);
  }
}
