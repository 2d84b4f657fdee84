package dev.tributary.benchmarks;

import dev.tributary.attribution.ReplacementGraph;
import dev.tributary.attribution.ReplacementOutput;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.DecoderRows;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
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
 * How long does it take to run a model on a prompt and to make the whole graph of its replacement
 * model?
 *
 * <pre>java -jar benchmarks/target/benchmarks.jar ReplacementGraphBenchmark -p active=1391</pre>
 *
 * <p>What it takes by arithmetic: a row of layer l and token t, both from 0, needs the held
 * attentions of l + 1 layers at t + 1 tokens, at each of which two products with matrices of
 * dModel² numbers, and then one number for each active latent, error and embedding before it, a
 * product of dModel numbers. Here that is 140 billion multiply-adds for 1,391 latents and 1,700
 * billion for 14,708. {@link #plainProducts} is as many in products of matrices. Less is possible:
 * at its own layer a row is at one token, embeddings can be met as values of heads.
 */
@BenchmarkMode(Mode.SingleShotTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 1)
@Measurement(iterations = 3)
@Fork(1)
public class ReplacementGraphBenchmark {
  private static final int TOKENS = 32;
  private static final int LATENTS = 4096;

  /** As many words are explained as circuit-tracer explains. */
  private static final int OUTPUTS = 10;

  private static final double SHARE = 0.95;

  private static final ReplacementGraph.Settings WHOLE =
      ReplacementGraph.Settings.ofCircuitTracer().withMostLatents(Integer.MAX_VALUE);

  /** GPT-2 small with a transcoder for each MLP, a prompt, and how many latents are active. */
  @State(org.openjdk.jmh.annotations.Scope.Thread)
  public static class Replaced {
    /** Of all layers and of all tokens but the first. */
    @Param({"1391", "14708"})
    public int active = 1391;

    private Scope scope;
    private int[] prompt;
    private Transformer model;

    /** How many pairs of nodes have an edge. */
    private long edges;

    /** How often a vector of the stream passes a projection of an attention, for all rows. */
    private long projections;

    /** Makes them. */
    @Setup(Level.Trial)
    public void open() {
      scope = Scope.open();
      TransformerConfig config = ModelShape.GPT2_SMALL.config();
      prompt = new Random(2).ints(TOKENS, 0, config.vocabulary()).toArray();
      Transformer plain = Transformer.random(config, DType.FLOAT, 1);
      Run run = plain.run(prompt);
      long[] sources = new long[TOKENS]; // of each token, below a layer
      Arrays.fill(sources, 1); // its embedding
      List<Dictionary> transcoders = new ArrayList<>();
      for (int layer = 0; layer < plain.layers(); layer++) {
        Place reads = Place.of(Site.RESIDUAL_AFTER_ATTENTION, layer);
        Shape shape = Shape.of(LATENTS, config.dModel());
        Tensor encoder = RandomModel.gaussian(2L * layer, shape);
        Tensor preActivations = run.vectors(reads).matmulTransposed(encoder);
        int wanted = active * (layer + 1) / plain.layers() - active * layer / plain.layers();
        double threshold = threshold(preActivations, wanted);
        transcoders.add(
            Dictionary.of(
                "random weights",
                reads,
                new LatentActivation.Relu(),
                encoder,
                Tensor.full(DType.FLOAT, Shape.of(LATENTS), -threshold),
                List.of(
                    new Dictionary.Decoder(
                        Place.of(Site.MLP_OUTPUT, layer),
                        DecoderRows.of(RandomModel.gaussian(2L * layer + 1, shape)),
                        Optional.empty()))));
        count(layer, preActivations, threshold, sources);
      }
      model = plain.with(transcoders);
    }

    /** What just so many numbers exceed, those of the first token left out. */
    private static double threshold(Tensor numbers, int wanted) {
      double[] sorted = numbers.slice(0, 1, TOKENS).toDoubles();
      Arrays.sort(sorted);
      int first = sorted.length - wanted;
      return (sorted[first - 1] + sorted[first]) / 2;
    }

    private void count(int layer, Tensor preActivations, double threshold, long[] sources) {
      double[] numbers = preActivations.toDoubles();
      long before = sources[0];
      sources[0]++; // the error
      for (int token = 1; token < TOKENS; token++) {
        before += sources[token];
        long rows =
            Arrays.stream(numbers, token * LATENTS, (token + 1) * LATENTS)
                .filter(number -> number > threshold)
                .count();
        edges += rows * before;
        projections += rows * 2 * (layer + 1) * (token + 1);
        sources[token] += rows + 1;
      }
    }

    /** Frees them. */
    @TearDown(Level.Trial)
    public void close() {
      scope.close();
      Scope.releaseUnused();
    }
  }

  /** Run and graph. */
  @Benchmark
  public ReplacementGraph graph(Replaced replaced) {
    Measured.edges(replaced.edges);
    try (Scope scope = Scope.open()) {
      Run run = replaced.model.run(replaced.prompt);
      List<ReplacementOutput> outputs = ReplacementOutput.mostProbable(run, OUTPUTS, SHARE);
      return ReplacementGraph.of(run, outputs, WHOLE, Progress.NONE);
    }
  }

  /** Products of matrices with as many multiply-adds as rows and edges are. */
  @Benchmark
  public long plainProducts(Products products) {
    for (long i = 0; i < products.count; i++) {
      try (Scope scope = Scope.open()) {
        products.left.matmul(products.right);
      }
    }
    return products.count;
  }

  /** Matrices of the size of those that rows pass. */
  @State(org.openjdk.jmh.annotations.Scope.Thread)
  public static class Products {
    private static final int ROWS = 512;

    private Scope scope;
    private Tensor left;
    private Tensor right;
    private long count;

    /** Makes them. */
    @Setup(Level.Trial)
    public void open(Replaced replaced) {
      scope = Scope.open();
      int width = replaced.model.config().dModel();
      left = RandomModel.gaussian(ROWS, width);
      right = RandomModel.gaussian(width, width);
      long multiplyAdds = (replaced.projections * width + replaced.edges) * width;
      count = multiplyAdds / ((long) ROWS * width * width);
    }

    /** Frees them. */
    @TearDown(Level.Trial)
    public void close() {
      scope.close();
    }
  }
}
