package dev.tributary.benchmarks;

import dev.tributary.attribution.EdgeAttribution;
import dev.tributary.attribution.EdgeScores;
import dev.tributary.attribution.Explained;
import dev.tributary.attribution.HeadPair;
import dev.tributary.attribution.Latent;
import dev.tributary.attribution.Neuron;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.attribution.Source;
import dev.tributary.attribution.Target;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
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
 * What do edges cost: all sources into one node of a late layer, one neuron of an early layer out
 * to all targets, and some neurons of the early layer to some of the late one?
 *
 * <pre>java -jar benchmarks/target/benchmarks.jar EdgeAttributionBenchmark</pre>
 */
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 3, time = 1)
@Fork(1)
public class EdgeAttributionBenchmark {
  /** All sources into a neuron. */
  @Benchmark
  public EdgeScores intoNeuron(RandomModel random) {
    return into(random.nodes, new Neuron(random.shape.targetLayer(), random.tokens - 1, 100));
  }

  /** All sources into a query. */
  @Benchmark
  public EdgeScores intoQuery(RandomModel random) {
    return intoHead(random, InputPath.QUERY);
  }

  /** All sources into a key. */
  @Benchmark
  public EdgeScores intoKey(RandomModel random) {
    return intoHead(random, InputPath.KEY);
  }

  /** All sources into a value. */
  @Benchmark
  public EdgeScores intoValue(RandomModel random) {
    return intoHead(random, InputPath.VALUE);
  }

  private static EdgeScores intoHead(RandomModel random, InputPath path) {
    HeadPair pair =
        new HeadPair(random.shape.targetLayer(), 3, random.tokens - 1, random.tokens / 2);
    return into(random.nodes, pair.through(path));
  }

  /** All sources into the metric. */
  @Benchmark
  public EdgeScores intoMetric(RandomModel random) {
    return into(random.nodes, new Explained());
  }

  /** An autoencoder of the MLP output of the late layer, of eight latents for each number. */
  @State(org.openjdk.jmh.annotations.Scope.Thread)
  public static class Encoded {
    /** For each number of the MLP output. */
    private static final int LATENTS = 8;

    private static final int ACTIVE = 32;

    private Scope scope;
    private NodeAttribution nodes;
    private Latent latent;

    /** Encodes the run. */
    @Setup(Level.Trial)
    public void open(RandomModel random) {
      scope = Scope.open();
      int dModel = random.model.config().dModel();
      int layer = random.shape.targetLayer();
      int width = LATENTS * dModel;
      Tensor directions = RandomModel.gaussian(width, dModel);
      Dictionary autoencoder =
          Dictionary.autoencoder(
              "given weights",
              Place.of(Site.MLP_OUTPUT, layer),
              new LatentActivation.TopK(ACTIVE),
              directions,
              directions,
              RandomModel.gaussian(dModel),
              RandomModel.gaussian(width));
      Transformer model = random.model.with(List.of(autoencoder));
      nodes = NodeAttribution.of(model.run(random.prompt), random.metric);
      int token = random.tokens - 1;
      Tensor latents = nodes.run().encoding(autoencoder).latents();
      int active =
          IntStream.range(0, width).filter(i -> latents.get(token, i) > 0).findFirst().orElse(0);
      latent = new Latent(autoencoder.id(), token, active);
    }

    /** Frees it. */
    @TearDown(Level.Trial)
    public void close() {
      scope.close();
    }
  }

  /** All sources into an active latent. */
  @Benchmark
  public EdgeScores intoLatent(Encoded encoded) {
    return into(encoded.nodes, encoded.latent);
  }

  private static EdgeScores into(NodeAttribution nodes, Target target) {
    try (Scope scope = Scope.open()) {
      return Measured.edges(edges(nodes).into(target));
    }
  }

  /** A neuron at the last token out to all neurons and all queries, keys and values of heads. */
  @Benchmark
  public EdgeScores outOfNeuronAtLast(RandomModel random) {
    return outOf(random, random.tokens - 1);
  }

  /** The same at the middle token, which more queries see. */
  @Benchmark
  public EdgeScores outOfNeuronAtMiddle(RandomModel random) {
    return outOf(random, random.tokens / 2);
  }

  private static EdgeScores outOf(RandomModel random, int token) {
    try (Scope scope = Scope.open()) {
      return Measured.edges(
          edges(random.nodes).outOf(new Neuron(random.shape.sourceLayer(), token, 100)));
    }
  }

  /** All sources into 64 neurons of one layer and token, each read off for 64 sources. */
  @Benchmark
  public double between64And64(RandomModel random) {
    return between(random, 64, 64);
  }

  /** One source, one target. */
  @Benchmark
  public double between1And1(RandomModel random) {
    return between(random, 1, 1);
  }

  /** From so many neurons of the early layer to so many of the late one, at the last token. */
  static double between(RandomModel random, int sources, int targets) {
    try (Scope scope = Scope.open()) {
      Measured.edges((long) sources * targets);
      return edges(random.nodes)
          .between(sources(random, sources), targets(random, targets))
          .get(0, 0);
    }
  }

  static List<Source> sources(RandomModel random, int count) {
    return IntStream.range(0, count)
        .<Source>mapToObj(i -> new Neuron(random.shape.sourceLayer(), random.tokens - 1, 20 * i))
        .toList();
  }

  static List<Target> targets(RandomModel random, int count) {
    return IntStream.range(0, count)
        .<Target>mapToObj(i -> new Neuron(random.shape.targetLayer(), random.tokens - 1, 20 * i))
        .toList();
  }

  static EdgeAttribution edges(NodeAttribution nodes) {
    return EdgeAttribution.of(nodes, ScaleGradient.DETACHED);
  }
}
