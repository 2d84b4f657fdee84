package dev.tributary.attribution.dataset;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.attribution.ExpectedTensors;
import dev.tributary.attribution.Metric;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Safetensors;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * A case of the oracle {@code reference-datasets}, whose README tells the format.
 *
 * @param folder in which it lies
 * @param model in 64 bits
 * @param graph of the model
 * @param json its pairs
 * @param expected names, circuits and areas
 */
record ReferenceCase(
    Path folder, Transformer model, ComponentGraph graph, JsonNode json, JsonNode expected) {

  static ReferenceCase read(Path folder) throws IOException {
    JsonNode json = new ObjectMapper().readTree(folder.resolve("case.json").toFile());
    Transformer model = Models.load(folder, DType.DOUBLE, Progress.NONE);
    boolean tokens = json.get("input_node").asText().equals("token_embedding");
    StreamWriter.Input input =
        new StreamWriter.Input(tokens ? Site.TOKEN_EMBEDDING : Site.EMBEDDING);
    return new ReferenceCase(
        folder,
        model,
        ComponentGraph.of(model, input),
        json,
        new ObjectMapper().readTree(folder.resolve("expected.json").toFile()));
  }

  /** The pairs, with one of the metrics. */
  List<Pair> pairs(String metric) {
    List<Pair> pairs = new ArrayList<>();
    for (JsonNode pair : json.get("pairs")) {
      List<Integer> clean = ExpectedTensors.integers(pair.get("clean"));
      int last = clean.size() - 1;
      PairMetric measured =
          switch (metric) {
            case "kl" -> new PairMetric.Divergence(last);
            case "logit_difference" ->
                new PairMetric.OfLogits(
                    new Metric.LogitDifference(
                        last,
                        List.of(pair.get("answer").asInt()),
                        List.of(pair.get("foil").asInt())));
            case "outputs" -> new PairMetric.SquaredDistance(1);
            case "linear" -> linear(pair.get("linear"));
            default -> throw new AssertionError(metric);
          };
      pairs.add(new Pair(clean, ExpectedTensors.integers(pair.get("corrupted")), measured));
    }
    return pairs;
  }

  private static PairMetric linear(JsonNode triples) {
    List<PairMetric.Linear.Term> terms = new ArrayList<>();
    for (JsonNode triple : triples) {
      terms.add(
          new PairMetric.Linear.Term(
              triple.get(0).asInt(), triple.get(1).asInt(), triple.get(2).asDouble()));
    }
    return new PairMetric.Linear(terms);
  }

  /** An expected tensor. */
  double[] tensor(String name) {
    try (Scope scope = Scope.open()) {
      return Safetensors.open(folder.resolve("expected.safetensors"))
          .tensor(name, DType.DOUBLE)
          .toDoubles();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** What is heard of missing sources. */
  AblationValues ablation(String name) {
    return switch (name) {
      case "patching" -> AblationValues.PATCHING;
      case "zero" -> AblationValues.ZERO;
      default -> AblationValues.of(means(name));
    };
  }

  /** Over the clean prompts. */
  WriteMeans means(String name) {
    String metric = json.get("metrics").get(0).asText();
    List<Pair> pairs = pairs(metric);
    WriteMeans means =
        name.equals("mean")
            ? WriteMeans.overPositions(graph)
            : WriteMeans.perPosition(graph, pairs.get(0).length());
    pairs.forEach(pair -> means.add(pair.clean()));
    return means;
  }
}
