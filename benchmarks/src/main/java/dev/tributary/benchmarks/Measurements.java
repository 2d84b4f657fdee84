package dev.tributary.benchmarks;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;

/** What JMH wrote as JSON. */
final class Measurements {
  private final List<JsonNode> results;

  private Measurements(List<JsonNode> results) {
    this.results = results;
  }

  /** Reads files; one that is not there says nothing. */
  static Measurements read(Path... files) throws IOException {
    List<JsonNode> results = new ArrayList<>();
    for (Path file : files) {
      if (Files.exists(file) && Files.size(file) > 0) {
        new ObjectMapper().readTree(file.toFile()).forEach(results::add);
      }
    }
    return new Measurements(results);
  }

  /** Whether nothing was measured. */
  boolean isEmpty() {
    return results.isEmpty();
  }

  /** Median time of a method, in milliseconds. */
  OptionalDouble milliseconds(String method, Map<String, ?> parameters) {
    JsonNode metric = find(method, parameters).path("primaryMetric");
    JsonNode median = metric.path("scorePercentiles").path("50.0");
    double unit = metric.path("scoreUnit").asText().startsWith("us") ? 1e-3 : 1;
    return median.isNumber() ? OptionalDouble.of(median.asDouble() * unit) : OptionalDouble.empty();
  }

  /** What {@link Measured} noted beside. */
  OptionalDouble noted(String what, String method, Map<String, ?> parameters) {
    JsonNode score = find(method, parameters).path("secondaryMetrics").path(what).path("score");
    return score.isNumber() ? OptionalDouble.of(score.asDouble()) : OptionalDouble.empty();
  }

  private JsonNode find(String method, Map<String, ?> parameters) {
    for (JsonNode result : results) {
      boolean fits = result.path("benchmark").asText().endsWith("." + method);
      for (Map.Entry<String, ?> parameter : parameters.entrySet()) {
        String value = result.path("params").path(parameter.getKey()).asText();
        fits &= value.equals(String.valueOf(parameter.getValue()));
      }
      if (fits) {
        return result;
      }
    }
    return new ObjectMapper().missingNode();
  }
}
