package dev.tributary.benchmarks;

import dev.tributary.attribution.EdgeSearch;
import dev.tributary.attribution.HeadInput;
import dev.tributary.attribution.HeadPair;
import dev.tributary.attribution.Neuron;
import dev.tributary.attribution.NodeFilter;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Progress;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Warmup;

/**
 * How long does it take to find the 10,000 largest of all edges of a prompt?
 *
 * <pre>java -jar benchmarks/target/benchmarks.jar EdgeSearchBenchmark</pre>
 */
@BenchmarkMode(Mode.SingleShotTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 0)
@Measurement(iterations = 1)
@Fork(1)
public class EdgeSearchBenchmark {
  private static final int COUNT = 10_000;

  /** Among neurons, and between neurons and heads. */
  @Benchmark
  public EdgeSearch.Found search(RandomModel random) {
    return search(
        EdgeSearch.of(EdgeAttributionBenchmark.edges(random.nodes))
            .from(NodeFilter.ALL.kinds(List.of(Neuron.class, HeadPair.class)))
            .into(NodeFilter.ALL.kinds(List.of(Neuron.class, HeadInput.class))));
  }

  /** Among all nodes. */
  @Benchmark
  public EdgeSearch.Found searchAll(RandomModel random) {
    return search(EdgeSearch.of(EdgeAttributionBenchmark.edges(random.nodes)));
  }

  private static EdgeSearch.Found search(EdgeSearch search) {
    try (Scope scope = Scope.open()) {
      EdgeSearch.Found found = search.top(COUNT, Progress.NONE);
      Measured.edges(found.searched());
      return found;
    }
  }
}
