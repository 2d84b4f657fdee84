package dev.tributary.benchmarks;

import dev.tributary.attribution.NodeAttribution;
import dev.tributary.autodiff.Jacobian;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What does a forward pass cost, what recording it, what one push and one pull through the whole of
 * it, and what the gradient at every site?
 *
 * <pre>java -jar benchmarks/target/benchmarks.jar LinearizeBenchmark</pre>
 */
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 2, time = 2)
@Measurement(iterations = 3, time = 2)
@Fork(1)
public class LinearizeBenchmark {
  /** Logits of the last position. */
  @Benchmark
  public double forwardLast(RandomModel random) {
    try (Scope scope = Scope.open()) {
      return random.model.nextLogits(random.prompt).get(0);
    }
  }

  /** Logits of all positions. */
  @Benchmark
  public double forwardAll(RandomModel random) {
    try (Scope scope = Scope.open()) {
      return random.model.logits(random.prompt).get(0, 0);
    }
  }

  /** Logits of all positions, with every site and its derivative. */
  @Benchmark
  public int forwardRecorded(RandomModel random) {
    try (Scope scope = Scope.open()) {
      return random.model.run(random.prompt).length();
    }
  }

  /** The derivative of all logits along the embeddings, once recorded. */
  @State(org.openjdk.jmh.annotations.Scope.Thread)
  public static class Whole {
    private Scope scope;
    private Jacobian jacobian;
    private Tensor tangent;
    private Tensor cotangent;

    /** Records a run. */
    @Setup(Level.Trial)
    public void open(RandomModel random) {
      scope = Scope.open();
      Run run = random.nodes.run();
      jacobian = Jacobian.of(run.variable(Site.LOGITS), run.variable(Site.EMBEDDING));
      tangent = RandomModel.gaussian(1, random.tokens, random.model.config().dModel());
      cotangent = RandomModel.gaussian(1, random.tokens, random.model.config().vocabulary());
    }

    /** Frees it. */
    @TearDown(Level.Trial)
    public void close() {
      scope.close();
    }
  }

  /** One push from the embeddings to all logits. */
  @Benchmark
  public Tensor push(Whole whole) {
    try (Scope scope = Scope.open()) {
      return whole.jacobian.push(whole.tangent);
    }
  }

  /** One pull from all logits to the embeddings. */
  @Benchmark
  public List<Tensor> pull(Whole whole) {
    try (Scope scope = Scope.open()) {
      return whole.jacobian.pull(whole.cotangent);
    }
  }

  /** A recorded pass, then the gradient of a logit difference at every site. */
  @Benchmark
  public double gradientOfAllSites(RandomModel random) {
    try (Scope scope = Scope.open()) {
      return NodeAttribution.of(random.model.run(random.prompt), random.metric).value();
    }
  }
}
