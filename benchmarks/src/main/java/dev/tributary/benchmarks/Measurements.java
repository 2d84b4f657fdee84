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
import java.util.TreeMap;

/** What JMH wrote as JSON. */
final class Measurements {
  /** By how much the median of an iteration may be below that of the one before. */
  private static final double STABLE = 0.95;

  /** A benchmark that still grew faster while it was measured. */
  record Unstable(String benchmark, Map<String, String> parameters) {
    /** What names it and no other to JMH. */
    String pattern() {
      return "^" + benchmark.replace(".", "\\.") + "$";
    }
  }

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

  /** What has to warm up longer: the last iteration was faster than the one before. */
  List<Unstable> unstable() {
    List<Unstable> unstable = new ArrayList<>();
    for (JsonNode result : results) {
      JsonNode iterations = result.path("primaryMetric").path("rawDataHistogram").path(0);
      int count = iterations.size();
      if (count > 1
          && median(iterations.get(count - 1)) < STABLE * median(iterations.get(count - 2))) {
        unstable.add(new Unstable(result.path("benchmark").asText(), parameters(result)));
      }
    }
    return unstable;
  }

  private static Map<String, String> parameters(JsonNode result) {
    Map<String, String> parameters = new TreeMap<>();
    result
        .path("params")
        .properties()
        .forEach(p -> parameters.put(p.getKey(), p.getValue().asText()));
    return parameters;
  }

  /** Of a histogram, pairs of a time and how often it took that. */
  private static double median(JsonNode histogram) {
    TreeMap<Double, Long> counts = new TreeMap<>();
    long all = 0;
    for (JsonNode bin : histogram) {
      counts.merge(bin.path(0).asDouble(), bin.path(1).asLong(), Long::sum);
      all += bin.path(1).asLong();
    }
    long seen = 0;
    for (Map.Entry<Double, Long> count : counts.entrySet()) {
      seen += count.getValue();
      if (2 * seen >= all) {
        return count.getKey();
      }
    }
    return Double.NaN;
  }

  /** Puts these in the place of what was measured of the same benchmarks and parameters. */
  void replace(Measurements others) {
    for (JsonNode other : others.results) {
      results.replaceAll(
          result ->
              result.path("benchmark").equals(other.path("benchmark"))
                      && parameters(result).equals(parameters(other))
                  ? other
                  : result);
    }
  }

  /** Writes them as JMH does. */
  void write(Path file) throws IOException {
    new ObjectMapper().writerWithDefaultPrettyPrinter().writeValue(file.toFile(), results);
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
