package dev.tributary.benchmarks;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import dev.tributary.attribution.EdgeScores;
import dev.tributary.attribution.HeadPair;
import dev.tributary.attribution.Neuron;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.IntToDoubleFunction;
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
 * How long do a forward pass of GPT-2 small or SmolLM2, the gradient at every site, and the edges
 * into one neuron take, and how long as one writes them in Java with DJL and PyTorch? Same weights;
 * logits, gradients and edges are found equal first. PyTorch's threads spin unless {@code
 * OMP_WAIT_POLICY=passive}, which suits some machines better.
 *
 * <pre>
 * mvn -q -B -Ppeers -DskipTests -DskipChecks package
 * java -jar benchmarks/target/benchmarks.jar PeerBenchmark -p shape=SMOLLM2_135M -p tokens=64
 * </pre>
 */
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 2, time = 2)
@Measurement(iterations = 3, time = 2)
@Fork(1)
public class PeerBenchmark {
  private static final int NEURON = 100;

  /** Largest difference between the two, as a part of the largest number. */
  private static final double TOLERANCE = 1e-3;

  /** The peer's model, with the weights of ours and found equal to it. */
  @State(org.openjdk.jmh.annotations.Scope.Thread)
  public static class Peer {
    private PyTorchModel model;
    private NDManager manager;
    private PyTorchModel.Recorded recorded;

    /** Copies the weights, runs both and compares; ours is given back before the other runs. */
    @Setup(Level.Trial)
    public void open(RandomModel random) {
      Run run = random.nodes.run();
      model = PyTorchModel.of(random.shape, run);
      manager = PyTorchModel.manager();
      recorded = model.recorded(manager, random.prompt, RandomModel.TARGET, RandomModel.DISTRACTOR);
      try (NDManager inside = manager.newSubManager();
          Scope scope = Scope.open()) {
        compare("logits", run.value(Site.LOGITS), recorded.logits());
        compare("logits", run.value(Site.LOGITS), model.logits(inside, random.prompt, false));
        compare(
            "last logits",
            random.model.nextLogits(random.prompt),
            model.logits(inside, random.prompt, true));
        for (int i = 0; i < random.model.layers(); i++) {
          int layer = i;
          recorded
              .values()
              .get(layer)
              .forEach(
                  (site, theirs) ->
                      compare(site + " of layer " + layer, run.value(site, layer), theirs));
          recorded
              .gradients()
              .get(layer)
              .forEach(
                  (site, theirs) ->
                      compare(
                          "gradient at " + site + " of layer " + layer,
                          random.nodes.gradient(site, layer),
                          theirs));
        }
        compareEdges(random, inside);
      }
      random.close();
      System.gc();
    }

    private void compareEdges(RandomModel random, NDManager inside) {
      int token = random.tokens - 1;
      int target = random.shape.targetLayer();
      EdgeScores ours = into(random);
      List<PyTorchModel.Edges> theirs = model.into(inside, recorded, target, token, NEURON);
      for (int l = 0; l <= target; l++) {
        int layer = l;
        PyTorchModel.Edges edges = theirs.get(layer);
        compare(
            "edges from heads of layer " + layer,
            i -> ours.of(new HeadPair(layer, i / random.tokens, token, i % random.tokens)),
            edges.heads());
        if (layer < target) {
          compare(
              "edges from neurons of layer " + layer,
              i -> ours.of(new Neuron(layer, token, i)),
              edges.neurons());
        }
      }
    }

    private static void compare(String what, Tensor ours, NDArray theirs) {
      double[] values = ours.toDoubles();
      compare(what, i -> values[i], theirs);
    }

    private static void compare(String what, IntToDoubleFunction ours, NDArray theirs) {
      float[] found = theirs.toFloatArray();
      double largest = 0;
      double difference = 0;
      for (int i = 0; i < found.length; i++) {
        double expected = ours.applyAsDouble(i);
        largest = Math.max(largest, Math.abs(expected));
        difference = Math.max(difference, Math.abs(expected - found[i]));
      }
      if (!(difference <= TOLERANCE * largest)) {
        throw new IllegalStateException(
            what + " differ by up to " + difference + ", and are up to " + largest);
      }
    }

    /** Frees it. */
    @TearDown(Level.Trial)
    public void close() {
      manager.close();
      model.close();
    }
  }

  /** Logits of the last position, ours. */
  @Benchmark
  public double forwardLastTributary(RandomModel random) {
    try (Scope scope = Scope.open()) {
      return random.model.nextLogits(random.prompt).get(0);
    }
  }

  /** Logits of the last position, PyTorch. */
  @Benchmark
  public NDArray forwardLastPyTorch(RandomModel random, Peer peer) {
    try (NDManager inside = peer.manager.newSubManager()) {
      return peer.model.logits(inside, random.prompt, true);
    }
  }

  /** Logits of all positions, ours. */
  @Benchmark
  public double forwardAllTributary(RandomModel random) {
    try (Scope scope = Scope.open()) {
      return random.model.logits(random.prompt).get(0, 0);
    }
  }

  /** Logits of all positions, PyTorch. */
  @Benchmark
  public NDArray forwardAllPyTorch(RandomModel random, Peer peer) {
    try (NDManager inside = peer.manager.newSubManager()) {
      return peer.model.logits(inside, random.prompt, false);
    }
  }

  /** The same and the gradient of a logit difference at every site, ours. */
  @Benchmark
  public double gradientTributary(RandomModel random) {
    try (Scope scope = Scope.open()) {
      return NodeAttribution.of(random.model.run(random.prompt), random.metric).value();
    }
  }

  /** The same, PyTorch. */
  @Benchmark
  public Object gradientPyTorch(RandomModel random, Peer peer) {
    try (NDManager inside = peer.manager.newSubManager()) {
      return peer.model.recorded(inside, random.prompt, RandomModel.TARGET, RandomModel.DISTRACTOR);
    }
  }

  /** All sources into a neuron of a late layer, ours. */
  @Benchmark
  public EdgeScores intoNeuronTributary(RandomModel random) {
    try (Scope scope = Scope.open()) {
      return into(random);
    }
  }

  /** The same, PyTorch. */
  @Benchmark
  public Object intoNeuronPyTorch(RandomModel random, Peer peer) {
    try (NDManager inside = peer.manager.newSubManager()) {
      int token = random.tokens - 1;
      return peer.model.into(inside, peer.recorded, random.shape.targetLayer(), token, NEURON);
    }
  }

  private static EdgeScores into(RandomModel random) {
    Neuron target = new Neuron(random.shape.targetLayer(), random.tokens - 1, NEURON);
    return EdgeAttributionBenchmark.edges(random.nodes).into(target);
  }
}
