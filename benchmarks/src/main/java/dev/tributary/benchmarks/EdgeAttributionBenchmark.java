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
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.SparseAutoencoder;
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
 * What do edges of GPT-2 small cost: all sources into one node of layer 9, one neuron of layer 2
 * out to all targets, and some neurons of layer 2 to some of layer 9?
 *
 * <pre>java -jar benchmarks/target/benchmarks.jar EdgeAttributionBenchmark</pre>
 */
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 3, time = 1)
@Fork(1)
public class EdgeAttributionBenchmark {
  static final int SOURCE_LAYER = 2;
  static final int TARGET_LAYER = 9;

  /** All sources into a neuron. */
  @Benchmark
  public EdgeScores intoNeuron(RandomGpt2 gpt2) {
    return into(gpt2.nodes, new Neuron(TARGET_LAYER, gpt2.tokens - 1, 100));
  }

  /** All sources into a query. */
  @Benchmark
  public EdgeScores intoQuery(RandomGpt2 gpt2) {
    return intoHead(gpt2, InputPath.QUERY);
  }

  /** All sources into a key. */
  @Benchmark
  public EdgeScores intoKey(RandomGpt2 gpt2) {
    return intoHead(gpt2, InputPath.KEY);
  }

  /** All sources into a value. */
  @Benchmark
  public EdgeScores intoValue(RandomGpt2 gpt2) {
    return intoHead(gpt2, InputPath.VALUE);
  }

  private static EdgeScores intoHead(RandomGpt2 gpt2, InputPath path) {
    HeadPair pair = new HeadPair(TARGET_LAYER, 3, gpt2.tokens - 1, gpt2.tokens / 2);
    return into(gpt2.nodes, pair.through(path));
  }

  /** All sources into the metric. */
  @Benchmark
  public EdgeScores intoMetric(RandomGpt2 gpt2) {
    return into(gpt2.nodes, new Explained());
  }

  /** An autoencoder of the MLP output of layer 9, of eight latents for each of its numbers. */
  @State(org.openjdk.jmh.annotations.Scope.Thread)
  public static class Encoded {
    private static final int LATENTS = 8 * RandomGpt2.D_MODEL;
    private static final int ACTIVE = 32;

    private Scope scope;
    private NodeAttribution nodes;
    private Latent latent;

    /** Encodes the run. */
    @Setup(Level.Trial)
    public void open(RandomGpt2 gpt2) {
      scope = Scope.open();
      Tensor directions = RandomGpt2.gaussian(LATENTS, RandomGpt2.D_MODEL);
      SparseAutoencoder autoencoder =
          SparseAutoencoder.of(
              "given weights",
              Site.MLP_OUTPUT,
              TARGET_LAYER,
              new LatentActivation.TopK(ACTIVE),
              directions,
              directions,
              RandomGpt2.gaussian(RandomGpt2.D_MODEL),
              RandomGpt2.gaussian(LATENTS));
      Transformer model = gpt2.model.with(List.of(autoencoder));
      nodes = NodeAttribution.of(model.run(gpt2.prompt), gpt2.metric);
      int token = gpt2.tokens - 1;
      Tensor latents = nodes.run().encoding(Site.MLP_OUTPUT, TARGET_LAYER).latents();
      int active =
          IntStream.range(0, LATENTS).filter(i -> latents.get(token, i) > 0).findFirst().orElse(0);
      latent = new Latent(Site.MLP_OUTPUT, TARGET_LAYER, token, active);
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
  public EdgeScores outOfNeuronAtLast(RandomGpt2 gpt2) {
    return outOf(gpt2, gpt2.tokens - 1);
  }

  /** The same at the middle token, which more queries see. */
  @Benchmark
  public EdgeScores outOfNeuronAtMiddle(RandomGpt2 gpt2) {
    return outOf(gpt2, gpt2.tokens / 2);
  }

  private static EdgeScores outOf(RandomGpt2 gpt2, int token) {
    try (Scope scope = Scope.open()) {
      return Measured.edges(edges(gpt2.nodes).outOf(new Neuron(SOURCE_LAYER, token, 100)));
    }
  }

  /** All sources into 64 neurons of one layer and token, each read off for 64 sources. */
  @Benchmark
  public double between64And64(RandomGpt2 gpt2) {
    return between(gpt2, 64, 64);
  }

  /** One source, one target. */
  @Benchmark
  public double between1And1(RandomGpt2 gpt2) {
    return between(gpt2, 1, 1);
  }

  /** From so many neurons of layer 2 to so many of layer 9, at the last token. */
  static double between(RandomGpt2 gpt2, int sources, int targets) {
    try (Scope scope = Scope.open()) {
      Measured.edges((long) sources * targets);
      return edges(gpt2.nodes).between(sources(gpt2, sources), targets(gpt2, targets)).get(0, 0);
    }
  }

  static List<Source> sources(RandomGpt2 gpt2, int count) {
    return IntStream.range(0, count)
        .<Source>mapToObj(i -> new Neuron(SOURCE_LAYER, gpt2.tokens - 1, 40 * i))
        .toList();
  }

  static List<Target> targets(RandomGpt2 gpt2, int count) {
    return IntStream.range(0, count)
        .<Target>mapToObj(i -> new Neuron(TARGET_LAYER, gpt2.tokens - 1, 40 * i))
        .toList();
  }

  static EdgeAttribution edges(NodeAttribution nodes) {
    return EdgeAttribution.of(nodes, ScaleGradient.DETACHED);
  }
}
