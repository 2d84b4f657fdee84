package dev.tributary.benchmarks;

import dev.tributary.attribution.EdgeAttribution;
import dev.tributary.attribution.Source;
import dev.tributary.attribution.Target;
import dev.tributary.autodiff.Jacobian;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * How much cheaper are k directions at once than one by one, and from how many sources on to how
 * many targets does pulling from the targets beat pushing from the sources?
 *
 * <pre>java -jar benchmarks/target/benchmarks.jar DirectionsBenchmark -p tokens=16</pre>
 */
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 3, time = 1)
@Fork(1)
public class DirectionsBenchmark {
  /** As many directions through layers 3 to 9. */
  @State(org.openjdk.jmh.annotations.Scope.Thread)
  public static class Directions {
    /** Number of directions. */
    @Param({"1", "8", "64"})
    public int k = 1;

    private Scope scope;
    private Jacobian jacobian;
    private Tensor directions;

    /** Records a run. */
    @Setup(Level.Trial)
    public void open(RandomModel random) {
      scope = Scope.open();
      Run run = random.nodes.run();
      jacobian =
          Jacobian.of(
              run.variable(Site.RESIDUAL_AFTER_MLP, random.shape.targetLayer()),
              run.variable(Site.RESIDUAL_AFTER_MLP, random.shape.sourceLayer()));
      directions = RandomModel.gaussian(k, random.tokens, random.model.config().dModel());
    }

    /** Frees it. */
    @TearDown(Level.Trial)
    public void close() {
      scope.close();
    }
  }

  /** Pushes them together. */
  @Benchmark
  public int pushTogether(Directions all) {
    try (Scope scope = Scope.open()) {
      return all.jacobian.push(all.directions).shape().length();
    }
  }

  /** Pushes one after the other. */
  @Benchmark
  public int pushOneByOne(Directions all) {
    int length = 0;
    for (int i = 0; i < all.k; i++) {
      try (Scope scope = Scope.open()) {
        length += all.jacobian.push(all.directions.slice(0, i, i + 1)).shape().length();
      }
    }
    return length;
  }

  /** Pulls them together. */
  @Benchmark
  public int pullTogether(Directions all) {
    try (Scope scope = Scope.open()) {
      return all.jacobian.pull(all.directions).size();
    }
  }

  /** Pulls one after the other. */
  @Benchmark
  public int pullOneByOne(Directions all) {
    int length = 0;
    for (int i = 0; i < all.k; i++) {
      try (Scope scope = Scope.open()) {
        length += all.jacobian.pull(all.directions.slice(0, i, i + 1)).size();
      }
    }
    return length;
  }

  /** Sources and targets: neurons of layers 2 and 9. */
  @State(org.openjdk.jmh.annotations.Scope.Thread)
  public static class Pairs {
    /** Number of sources. */
    @Param({"1", "8", "64"})
    public int sources = 1;

    /** Number of targets. */
    @Param({"1", "8", "64"})
    public int targets = 1;
  }

  /** The edges between them, in the way that the library chooses. */
  @Benchmark
  public double between(RandomModel random, Pairs pairs) {
    return EdgeAttributionBenchmark.between(random, pairs.sources, pairs.targets);
  }

  /** All sources into each of the targets. */
  @Benchmark
  public void intoEach(RandomModel random, Directions all) {
    EdgeAttribution edges = EdgeAttributionBenchmark.edges(random.nodes);
    for (Target target : EdgeAttributionBenchmark.targets(random, all.k)) {
      try (Scope scope = Scope.open()) {
        edges.into(target);
      }
    }
  }

  /** Each of the sources out to all targets. */
  @Benchmark
  public void outOfEach(RandomModel random, Directions all) {
    EdgeAttribution edges = EdgeAttributionBenchmark.edges(random.nodes);
    for (Source source : EdgeAttributionBenchmark.sources(random, all.k)) {
      try (Scope scope = Scope.open()) {
        edges.outOf(source);
      }
    }
  }
}
