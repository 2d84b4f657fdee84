package dev.tributary.benchmarks;

import dev.tributary.attribution.NodeAttribution;
import dev.tributary.core.Scope;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What does a forward pass of GPT-2 small cost, what recording it, and what the gradient at every
 * site?
 *
 * <pre>java -jar benchmarks/target/benchmarks.jar LinearizeBenchmark</pre>
 */
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 3, time = 3)
@Measurement(iterations = 5, time = 3)
@Fork(1)
public class LinearizeBenchmark {
  /** Logits of the last position. */
  @Benchmark
  public double forwardLast(RandomGpt2 gpt2) {
    try (Scope scope = Scope.open()) {
      return gpt2.model.nextLogits(gpt2.prompt).get(0);
    }
  }

  /** Logits of all positions. */
  @Benchmark
  public double forward(RandomGpt2 gpt2) {
    try (Scope scope = Scope.open()) {
      return gpt2.model.logits(gpt2.prompt).get(0, 0);
    }
  }

  /** Logits of all positions, with every site and its derivative. */
  @Benchmark
  public int forwardRecorded(RandomGpt2 gpt2) {
    try (Scope scope = Scope.open()) {
      return gpt2.model.run(gpt2.prompt).length();
    }
  }

  /** The same, then the gradient of a logit difference at every site. */
  @Benchmark
  public double forwardAndGradientOfAllSites(RandomGpt2 gpt2) {
    try (Scope scope = Scope.open()) {
      return NodeAttribution.of(gpt2.model.run(gpt2.prompt), gpt2.metric).value();
    }
  }
}
