package dev.tributary.benchmarks;

import static dev.tributary.benchmarks.EdgeAttributionBenchmark.TARGET_LAYER;

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
 * How long do a forward pass of GPT-2 small, the gradient at every site, and the edges into one
 * neuron take, and how long as one writes them in Java with DJL and PyTorch? Same weights; logits,
 * gradients and edges are found equal first. PyTorch's threads spin unless {@code
 * OMP_WAIT_POLICY=passive}, which suits some machines better.
 *
 * <pre>
 * mvn -q -B -Ppeers -DskipTests -DskipChecks package
 * java -jar benchmarks/target/benchmarks.jar PeerBenchmark
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
    private PyTorchGpt2 model;
    private NDManager manager;
    private PyTorchGpt2.Recorded recorded;

    /** Copies the weights, runs both and compares; ours is given back before the other runs. */
    @Setup(Level.Trial)
    public void open(RandomGpt2 gpt2) {
      Run run = gpt2.nodes.run();
      model = new PyTorchGpt2(run);
      manager = PyTorchGpt2.manager();
      recorded = model.recorded(manager, gpt2.prompt, RandomGpt2.TARGET, RandomGpt2.DISTRACTOR);
      try (NDManager inside = manager.newSubManager();
          Scope scope = Scope.open()) {
        compare("logits", run.value(Site.LOGITS), recorded.logits());
        compare("logits", run.value(Site.LOGITS), model.logits(inside, gpt2.prompt, false));
        compare(
            "last logits",
            gpt2.model.nextLogits(gpt2.prompt),
            model.logits(inside, gpt2.prompt, true));
        for (int layer = 0; layer < RandomGpt2.LAYERS; layer++) {
          for (Site site : PyTorchGpt2.SITES) {
            String place = site + " of layer " + layer;
            compare(place, run.value(site, layer), recorded.value(site, layer));
            compare(
                "gradient at " + place,
                gpt2.nodes.gradient(site, layer),
                recorded.gradient(site, layer));
          }
        }
        compareEdges(gpt2, inside);
      }
      gpt2.close();
      System.gc();
    }

    private void compareEdges(RandomGpt2 gpt2, NDManager inside) {
      int token = gpt2.tokens - 1;
      EdgeScores ours = into(gpt2.nodes, token);
      List<PyTorchGpt2.Edges> theirs = model.into(inside, recorded, TARGET_LAYER, token, NEURON);
      for (int l = 0; l <= TARGET_LAYER; l++) {
        int layer = l;
        PyTorchGpt2.Edges edges = theirs.get(layer);
        compare(
            "edges from heads of layer " + layer,
            i -> ours.of(new HeadPair(layer, i / gpt2.tokens, token, i % gpt2.tokens)),
            edges.heads());
        if (layer < TARGET_LAYER) {
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
  public double forwardLastTributary(RandomGpt2 gpt2) {
    try (Scope scope = Scope.open()) {
      return gpt2.model.nextLogits(gpt2.prompt).get(0);
    }
  }

  /** Logits of the last position, PyTorch. */
  @Benchmark
  public NDArray forwardLastPyTorch(RandomGpt2 gpt2, Peer peer) {
    try (NDManager inside = peer.manager.newSubManager()) {
      return peer.model.logits(inside, gpt2.prompt, true);
    }
  }

  /** Logits of all positions, ours. */
  @Benchmark
  public double forwardAllTributary(RandomGpt2 gpt2) {
    try (Scope scope = Scope.open()) {
      return gpt2.model.logits(gpt2.prompt).get(0, 0);
    }
  }

  /** Logits of all positions, PyTorch. */
  @Benchmark
  public NDArray forwardAllPyTorch(RandomGpt2 gpt2, Peer peer) {
    try (NDManager inside = peer.manager.newSubManager()) {
      return peer.model.logits(inside, gpt2.prompt, false);
    }
  }

  /** The same and the gradient of a logit difference at every site, ours. */
  @Benchmark
  public double gradientTributary(RandomGpt2 gpt2) {
    try (Scope scope = Scope.open()) {
      return NodeAttribution.of(gpt2.model.run(gpt2.prompt), gpt2.metric).value();
    }
  }

  /** The same, PyTorch. */
  @Benchmark
  public Object gradientPyTorch(RandomGpt2 gpt2, Peer peer) {
    try (NDManager inside = peer.manager.newSubManager()) {
      return peer.model.recorded(inside, gpt2.prompt, RandomGpt2.TARGET, RandomGpt2.DISTRACTOR);
    }
  }

  /** All sources into a neuron of layer 9, ours. */
  @Benchmark
  public EdgeScores intoNeuronTributary(RandomGpt2 gpt2) {
    try (Scope scope = Scope.open()) {
      return into(gpt2.nodes, gpt2.tokens - 1);
    }
  }

  /** The same, PyTorch. */
  @Benchmark
  public Object intoNeuronPyTorch(RandomGpt2 gpt2, Peer peer) {
    try (NDManager inside = peer.manager.newSubManager()) {
      return peer.model.into(inside, peer.recorded, TARGET_LAYER, gpt2.tokens - 1, NEURON);
    }
  }

  private static EdgeScores into(NodeAttribution nodes, int token) {
    return EdgeAttributionBenchmark.edges(nodes).into(new Neuron(TARGET_LAYER, token, NEURON));
  }
}
