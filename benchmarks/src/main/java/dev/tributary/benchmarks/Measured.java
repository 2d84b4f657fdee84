package dev.tributary.benchmarks;

import dev.tributary.attribution.EdgeScores;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.openjdk.jmh.infra.BenchmarkParams;
import org.openjdk.jmh.infra.IterationParams;
import org.openjdk.jmh.profile.InternalProfiler;
import org.openjdk.jmh.results.AggregationPolicy;
import org.openjdk.jmh.results.IterationResult;
import org.openjdk.jmh.results.Result;
import org.openjdk.jmh.results.ScalarResult;

/**
 * What JMH is to note beside the time, with {@code -prof dev.tributary.benchmarks.Measured}: the
 * peak of resident memory of the process while it measures (Linux), and how many edges an answer
 * has.
 */
public final class Measured implements InternalProfiler {
  static final String PEAK = "peak memory";
  static final String EDGES = "edges";

  private static final Path STATUS = Path.of("/proc/self/status");
  private static final Path CLEAR = Path.of("/proc/self/clear_refs");

  /** What resets the peak to what is resident now, see proc(5). */
  private static final String RESET_PEAK = "5";

  private static long edges;

  /** Notes how many edges an answer has. */
  static EdgeScores edges(EdgeScores answer) {
    edges = answer.arrays().stream().mapToLong(array -> array.values().shape().length()).sum();
    return answer;
  }

  /** Notes how many edges an answer has. */
  static void edges(long count) {
    edges = count;
  }

  /** The peak of resident memory, 0 where the system does not say it. */
  static double peakBytes() throws IOException {
    if (Files.isReadable(STATUS)) {
      for (String line : Files.readAllLines(STATUS)) {
        if (line.startsWith("VmHWM:")) {
          return 1024 * Double.parseDouble(line.replaceAll("\\D", ""));
        }
      }
    }
    return 0;
  }

  @Override
  public String getDescription() {
    return "peak resident memory and number of edges";
  }

  @Override
  public void beforeIteration(BenchmarkParams benchmark, IterationParams iteration) {
    try {
      if (Files.isWritable(CLEAR)) {
        Files.writeString(CLEAR, RESET_PEAK);
      }
    } catch (IOException e) {
      // Not every kernel lets a process do so; the peak is then that of its whole life.
    }
  }

  @Override
  public Collection<? extends Result<?>> afterIteration(
      BenchmarkParams benchmark, IterationParams iteration, IterationResult result) {
    List<Result<?>> results = new ArrayList<>();
    try {
      double bytes = peakBytes();
      if (bytes > 0) {
        results.add(new ScalarResult(PEAK, bytes / (1 << 20), "MB", AggregationPolicy.MAX));
      }
    } catch (IOException e) {
      // Then there is nothing to report.
    }
    if (edges > 0) {
      results.add(new ScalarResult(EDGES, edges, "edges", AggregationPolicy.MAX));
    }
    return results;
  }
}
