package dev.tributary.benchmarks;

import dev.tributary.attribution.EdgeAttribution;
import dev.tributary.attribution.EdgeScores;
import dev.tributary.attribution.MemoryPlan;
import dev.tributary.attribution.Metric;
import dev.tributary.attribution.Neuron;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.attribution.NodeScore;
import dev.tributary.attribution.Readings;
import dev.tributary.attribution.Source;
import dev.tributary.core.BlockFormat;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.Weights;
import java.io.IOException;
import java.util.Random;

/**
 * How much memory does a process need that explains one prediction: a run, the gradient at every
 * site, the largest nodes, the edges into a neuron, and what happens without the largest of these?
 * The peak is that of its whole life (Linux).
 *
 * <pre>
 * java -cp benchmarks/target/benchmarks.jar dev.tributary.benchmarks.PeakMemory GPT2_SMALL 1024
 * java -Xmx2g -cp benchmarks/target/benchmarks.jar dev.tributary.benchmarks.PeakMemory GEMMA_2_2B 32 1 BF16
 * </pre>
 */
public final class PeakMemory {
  private static final int SHOWN = 10;

  private final long start = System.nanoTime();

  private PeakMemory() {}

  /**
   * Prints it, step by step.
   *
   * @param args a {@link ModelShape}, the number of tokens, how often to do it all: once, and how
   *     matrices are stored: F32, or as {@link RandomStored} has them
   * @throws IOException if the system does not say how much memory this process has
   */
  public static void main(String[] args) throws IOException {
    ModelShape shape = ModelShape.valueOf(args[0]);
    int tokens = Integer.parseInt(args[1]);
    int times = args.length > 2 ? Integer.parseInt(args[2]) : 1;
    BlockFormat format = args.length > 3 ? BlockFormat.valueOf(args[3]) : BlockFormat.F32;
    Weights weights = RandomStored.of(format, 1);
    TransformerConfig config = shape.config();
    System.out.println("planned: " + MemoryPlan.of(config, DType.FLOAT, weights, tokens));
    try (Scope scope = Scope.open()) {
      PeakMemory making = new PeakMemory();
      Transformer model =
          Transformer.of(config, DType.FLOAT, "random weights", weights, Progress.NONE);
      Scope.releaseUnused();
      making.print("weights");
      int[] prompt = new Random(2).ints(tokens, 0, config.vocabulary()).toArray();
      for (int i = 0; i < times; i++) {
        new PeakMemory().explain(model, prompt, shape.targetLayer());
      }
    }
  }

  private void explain(Transformer model, int[] prompt, int layer) throws IOException {
    try (Scope scope = Scope.open()) {
      Run run = model.run(NodeAttribution.sites(), prompt);
      print("run");
      Metric metric = Metric.logProbability(run.lastToken(), RandomModel.TARGET);
      NodeAttribution nodes = NodeAttribution.of(run, metric);
      print("gradients");
      Readings attribution = nodes.activationTimesGradient();
      attribution.top(SHOWN);
      print("largest nodes");
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.LIVE);
      Neuron target = new Neuron(layer, run.lastToken(), 0);
      EdgeScores into = edges.into(target);
      edges.certify(target);
      print("edges into " + target);
      for (NodeScore score : into.top(SHOWN)) {
        edges.patch((Source) score.node(), target);
      }
      print(SHOWN + " edges patched");
    }
  }

  private void print(String step) throws IOException {
    System.out.printf(
        "%-28s %7.2f s  tensors %6.0f MB  process %6.0f MB%n",
        step,
        (System.nanoTime() - start) / 1e9,
        Scope.reservedBytes() / 1e6,
        Measured.peakBytes() / 1e6);
  }
}
