package dev.tributary.benchmarks;

import dev.tributary.attribution.Metric;
import dev.tributary.attribution.dataset.AblationValues;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.EdgeMethod;
import dev.tributary.attribution.dataset.EdgeScorer;
import dev.tributary.attribution.dataset.EdgeTotals;
import dev.tributary.attribution.dataset.Pair;
import dev.tributary.attribution.dataset.PairMetric;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.function.IntToDoubleFunction;
import java.util.stream.IntStream;
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
 * How long do scores of all edges among components take over pairs of prompts, heads split in
 * queries, keys and values, and how long as one writes them in Java with DJL and PyTorch? A random
 * model of the shape of GPT-2 small, in FLOAT; its neurons have the exact GELU, for which DJL calls
 * one kernel of PyTorch. Same weights; means of scores and of magnitudes are found equal first.
 *
 * <pre>
 * mvn -q -B -Ppeers -DskipTests -DskipChecks package
 * java -jar benchmarks/target/benchmarks.jar DatasetBenchmark
 * </pre>
 */
@BenchmarkMode(Mode.SingleShotTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 5)
@Measurement(iterations = 5)
@Fork(1)
public class DatasetBenchmark {
  /** Largest difference between the two, as a part of the largest number. */
  private static final double TOLERANCE = 1e-3;

  /** The model and the pairs. */
  @State(org.openjdk.jmh.annotations.Scope.Thread)
  public static class Data {
    /** Steps of EAP-IG on the input; 0 is EAP, with the gradients of clean runs alone. */
    @Param({"0", "5"})
    public int steps;

    /** How many layers the model has. */
    @Param({"12"})
    public int layers = 12;

    /** How many pairs. */
    @Param({"32"})
    public int pairs = 32;

    /** Number of tokens of each prompt. */
    @Param({"16"})
    public int tokens = 16;

    private Scope scope;
    private Transformer model;
    private List<Question> drawn;
    private EdgeScorer scorer;

    /** Makes them. */
    @Setup(Level.Trial)
    public void open() {
      scope = Scope.open();
      TransformerConfig config =
          TransformerConfig.gpt2(
              layers, 768, 12, 64, 4 * 768, 1024, 50_257, 1e-5, MlpActivation.EXACT_GELU, true);
      model = Transformer.random(config, DType.FLOAT, 1);
      Random random = new Random(2);
      drawn =
          IntStream.range(0, pairs)
              .mapToObj(i -> Question.random(random, tokens, config.vocabulary()))
              .toList();
      scorer =
          new EdgeScorer(
              ComponentGraph.of(model, new StreamWriter.Input(Site.TOKEN_EMBEDDING)),
              AblationValues.PATCHING,
              steps == 0 ? EdgeMethod.EAP : EdgeMethod.eapIgInputs(steps));
    }

    EdgeTotals score() {
      return scorer.score(drawn.stream().map(Question::pair).toList());
    }

    /** Frees them. */
    @TearDown(Level.Trial)
    public void close() {
      scope.close();
      Scope.releaseUnused();
    }
  }

  /**
   * Two prompts and what is measured of them.
   *
   * @param target the word whose logit after the last token is compared
   * @param distractor with that of this one
   */
  record Question(Pair pair, int target, int distractor) {
    private static Question random(Random random, int tokens, int vocabulary) {
      int target = random.nextInt(vocabulary / 2);
      int distractor = vocabulary / 2 + random.nextInt(vocabulary / 2);
      Metric.OfLogits metric =
          new Metric.LogitDifference(tokens - 1, List.of(target), List.of(distractor));
      return new Question(
          new Pair(
              random.ints(tokens, 0, vocabulary).boxed().toList(),
              random.ints(tokens, 0, vocabulary).boxed().toList(),
              new PairMetric.OfLogits(metric)),
          target,
          distractor);
    }
  }

  /** The peer, with the weights of the model and found to give the same scores. */
  @State(org.openjdk.jmh.annotations.Scope.Thread)
  public static class Peer {
    /** How many pairs go through one pass of the peer. */
    @Param({"32"})
    public int together;

    private PyTorchEdgeScores model;

    /** Copies the weights and compares; our model is given back before the peer runs. */
    @Setup(Level.Trial)
    public void open(Data data) {
      model = new PyTorchEdgeScores(data.model);
      EdgeTotals ours = data.score();
      PyTorchEdgeScores.Means theirs = score(data);
      compare("means", ours::mean, theirs.scores());
      compare("magnitudes", ours::meanMagnitude, theirs.magnitudes());
      data.close();
      System.gc();
    }

    private PyTorchEdgeScores.Means score(Data data) {
      return model.score(data.drawn, together, data.steps);
    }

    private static void compare(String what, IntToDoubleFunction ours, List<Double> theirs) {
      double largest = 0;
      double difference = 0;
      for (int i = 0; i < theirs.size(); i++) {
        double expected = ours.applyAsDouble(i);
        largest = Math.max(largest, Math.abs(expected));
        difference = Math.max(difference, Math.abs(expected - theirs.get(i)));
      }
      System.out.printf(
          "%s of %d edges: up to %.3g, differ by up to %.3g%n",
          what, theirs.size(), largest, difference);
      if (!(difference <= TOLERANCE * largest)) {
        throw new IllegalStateException(what + " of edges differ by up to " + difference);
      }
    }

    /** Frees it. */
    @TearDown(Level.Trial)
    public void close() {
      model.close();
    }
  }

  /** Ours. */
  @Benchmark
  public EdgeTotals scoreTributary(Data data) {
    return data.score();
  }

  /** The same, PyTorch. */
  @Benchmark
  public Object scorePyTorch(Data data, Peer peer) {
    return peer.score(data);
  }
}
