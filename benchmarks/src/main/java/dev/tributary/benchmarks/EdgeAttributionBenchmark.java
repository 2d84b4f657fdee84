package dev.tributary.benchmarks;

import dev.tributary.attribution.EdgeAttribution;
import dev.tributary.attribution.Node.HeadPair;
import dev.tributary.attribution.Node.Neuron;
import dev.tributary.attribution.NodeScores;
import dev.tributary.core.Scope;
import dev.tributary.transformer.AttentionPath;
import dev.tributary.transformer.ScaleGradient;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What do the edges of one node of GPT-2 small cost: all sources into one of layer 9, one of layer
 * 2 out to all targets?
 *
 * <pre>java -jar benchmarks/target/benchmarks.jar EdgeAttributionBenchmark</pre>
 */
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 3, time = 2)
@Measurement(iterations = 5, time = 2)
@Fork(1)
public class EdgeAttributionBenchmark {
  /** All sources into a neuron. */
  @Benchmark
  public NodeScores intoNeuron(RandomGpt2 gpt2) {
    try (Scope scope = Scope.open()) {
      return edges(gpt2).into(new Neuron(9, gpt2.tokens - 1, 100));
    }
  }

  /** All sources into a query. */
  @Benchmark
  public NodeScores intoQuery(RandomGpt2 gpt2) {
    return intoHead(gpt2, AttentionPath.QUERY);
  }

  /** All sources into a key. */
  @Benchmark
  public NodeScores intoKey(RandomGpt2 gpt2) {
    return intoHead(gpt2, AttentionPath.KEY);
  }

  /** All sources into a value. */
  @Benchmark
  public NodeScores intoValue(RandomGpt2 gpt2) {
    return intoHead(gpt2, AttentionPath.VALUE);
  }

  private static NodeScores intoHead(RandomGpt2 gpt2, AttentionPath path) {
    try (Scope scope = Scope.open()) {
      HeadPair pair = new HeadPair(9, 3, gpt2.tokens - 1, gpt2.tokens / 2);
      return edges(gpt2).into(pair.through(path));
    }
  }

  /** A neuron at the last token out to all neurons and all queries, keys and values of heads. */
  @Benchmark
  public NodeScores outOfNeuron(RandomGpt2 gpt2) {
    try (Scope scope = Scope.open()) {
      return edges(gpt2).outOf(new Neuron(2, gpt2.tokens - 1, 100));
    }
  }

  /** The same at the middle token, which more queries see. */
  @Benchmark
  public NodeScores outOfNeuronAtMiddle(RandomGpt2 gpt2) {
    try (Scope scope = Scope.open()) {
      return edges(gpt2).outOf(new Neuron(2, gpt2.tokens / 2, 100));
    }
  }

  private static EdgeAttribution edges(RandomGpt2 gpt2) {
    return EdgeAttribution.of(gpt2.nodes, ScaleGradient.DETACHED);
  }
}
