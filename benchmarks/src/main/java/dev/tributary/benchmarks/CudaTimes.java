package dev.tributary.benchmarks;

import dev.tributary.attribution.EdgeScores;
import dev.tributary.attribution.EdgeSearch;
import dev.tributary.attribution.Metric;
import dev.tributary.attribution.Neuron;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.core.BlockFormat;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Slot;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.Weight;
import dev.tributary.transformer.Weights;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.function.DoubleSupplier;

/**
 * How long do a recorded forward pass, the gradient at every site, the edges into one neuron, and
 * the search of all edges take on the device that the property {@code tributary.device} names? Each
 * try ends when one of its numbers has been read. {@code cuda-peer.py} measures the same in
 * PyTorch, and {@code cuda-check.sh} runs both.
 */
public final class CudaTimes {
  private static final int NEURON = 100;

  /** So many of the largest edges are searched for. */
  private static final int LARGEST = 100;

  /** Tries, however long they take. */
  private static final int FEWEST = 3;

  private final ModelShape shape;
  private final BlockFormat format;
  private final int tokens;
  private final double seconds;

  private CudaTimes(ModelShape shape, BlockFormat format, int tokens, double seconds) {
    this.shape = shape;
    this.format = format;
    this.tokens = tokens;
    this.seconds = seconds;
  }

  /**
   * Prints, separated by tabs: the shape, the format of its matrices, the number of tokens, the
   * question, the median and the least time in milliseconds, and the number of tries.
   *
   * @param args for how many seconds each question is asked before it is timed, and again while it
   *     is; {@code questions}, or {@code search} for the search alone; then, as often as wanted, a
   *     {@link ModelShape}, F32 or BF16, and the number of tokens
   * @throws IOException never: random weights are read from no file
   */
  public static void main(String[] args) throws IOException {
    for (int i = 2; i + 2 < args.length; i += 3) {
      CudaTimes times =
          new CudaTimes(
              ModelShape.valueOf(args[i]),
              BlockFormat.valueOf(args[i + 1]),
              Integer.parseInt(args[i + 2]),
              Double.parseDouble(args[0]));
      times.measure(args[1].equals("search"));
      Scope.releaseUnused();
    }
  }

  private void measure(boolean search) throws IOException {
    try (Scope scope = Scope.open()) {
      long start = System.nanoTime();
      Weights weights = format == BlockFormat.F32 ? CudaTimes::plain : RandomStored.of(format, 1);
      Transformer model =
          Transformer.of(shape.config(), DType.FLOAT, "random weights", weights, Progress.NONE);
      int[] prompt = new Random(2).ints(tokens, 0, model.config().vocabulary()).toArray();
      System.out.printf("# %s made in %.1f s%n", shape, (System.nanoTime() - start) / 1e9);
      Run run = model.run(NodeAttribution.sites(), prompt);
      Metric metric =
          Metric.logitDifference(run.lastToken(), RandomModel.TARGET, RandomModel.DISTRACTOR);
      NodeAttribution nodes = NodeAttribution.of(run, metric);
      if (search) {
        EdgeSearch edges = EdgeSearch.of(EdgeAttributionBenchmark.edges(nodes));
        time("search", () -> edges.top(LARGEST, Progress.NONE).searched());
        return;
      }
      int last = model.layers() - 1;
      time(
          "forward",
          () -> first(model.run(NodeAttribution.sites(), prompt).value(Site.RESIDUAL_AFTER_MLP, last)));
      time("gradient", () -> NodeAttribution.of(run, metric).value());
      time(
          "forward+gradient",
          () -> NodeAttribution.of(model.run(NodeAttribution.sites(), prompt), metric).value());
      Neuron target = new Neuron(shape.targetLayer(), run.lastToken(), NEURON);
      time(
          "into",
          () -> {
            EdgeScores edges = EdgeAttributionBenchmark.edges(nodes).into(target);
            return edges.of(new Neuron(0, run.lastToken(), NEURON));
          });
    }
  }

  private static double first(Tensor x) {
    return x.get(new int[x.shape().rank()]);
  }

  /** Numbers of one magnitude, made in a second. */
  private static Tensor plain(Slot slot) {
    boolean isGain = slot.weight().role() == Weight.Role.GAIN;
    double deviation =
        switch (slot.weight().role()) {
          case MATRIX -> 1 / Math.sqrt(slot.shape().size(0));
          case TABLE -> 0.5;
          case GAIN, BIAS -> 0.1;
        };
    SplittableRandom random = new SplittableRandom(slot.shape().length());
    return Tensor.generate(
        DType.FLOAT,
        slot.shape(),
        (from, values, count) -> {
          for (int i = 0; i < count; i++) {
            values[i] = (isGain ? 1 : 0) + deviation * (2 * random.nextDouble() - 1);
          }
        });
  }

  private void time(String question, DoubleSupplier asked) {
    repeat(asked);
    List<Double> times = repeat(asked);
    times.sort(null);
    System.out.printf(
        "%s\t%s\t%d\t%s\t%.4f\t%.4f\t%d%n",
        shape, format, tokens, question, times.get(times.size() / 2), times.get(0), times.size());
  }

  /** {@return the times that it took, in milliseconds} */
  private List<Double> repeat(DoubleSupplier asked) {
    List<Double> times = new ArrayList<>();
    long start = System.nanoTime();
    while (times.size() < FEWEST || System.nanoTime() - start < seconds * 1e9) {
      long before = System.nanoTime();
      try (Scope scope = Scope.open()) {
        if (Double.isNaN(asked.getAsDouble())) {
          throw new IllegalStateException("not a number");
        }
      }
      times.add((System.nanoTime() - before) / 1e6);
    }
    return times;
  }
}
