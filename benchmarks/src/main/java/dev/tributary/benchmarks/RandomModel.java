package dev.tributary.benchmarks;

import dev.tributary.attribution.Metric;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.core.BlockFormat;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Random;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** A random model of some shape, FLOAT, and a prompt of random tokens. */
@State(org.openjdk.jmh.annotations.Scope.Thread)
public class RandomModel {
  /** The words whose logits the metric compares. */
  static final int TARGET = 1;

  static final int DISTRACTOR = 2;

  /** Of what shape: GPT-2 small unless another is asked for. */
  @Param({"GPT2_SMALL"})
  public ModelShape shape = ModelShape.GPT2_SMALL;

  /** How its matrices are stored. */
  @Param({"F32"})
  public BlockFormat stored = BlockFormat.F32;

  /** Number of tokens of the prompt. */
  @Param({"16", "64", "256"})
  public int tokens = 64;

  private Scope scope;
  Transformer model;
  int[] prompt;
  Metric metric;
  NodeAttribution nodes;

  /** Makes the model, runs it once and takes the gradient of a logit difference. */
  @Setup(Level.Trial)
  public void open() {
    scope = Scope.open();
    TransformerConfig config = shape.config();
    model = model(config);
    prompt = new Random(2).ints(tokens, 0, config.vocabulary()).toArray();
    Run run = model.run(prompt);
    metric = Metric.logitDifference(run.lastToken(), TARGET, DISTRACTOR);
    nodes = NodeAttribution.of(run, metric);
  }

  private Transformer model(TransformerConfig config) {
    try {
      return Transformer.of(
          config, DType.FLOAT, "random weights", RandomStored.of(stored, 1), Progress.NONE);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Frees it. */
  @TearDown(Level.Trial)
  public void close() {
    scope.close();
    Scope.releaseUnused();
  }

  /** Numbers drawn from a normal distribution, always the same. */
  static Tensor gaussian(int... dimensions) {
    return gaussian(1, Shape.of(dimensions));
  }

  /** Numbers drawn from a normal distribution, for each seed others. */
  static Tensor gaussian(long seed, Shape shape) {
    Random random = new Random(seed);
    return Tensor.generate(
        DType.FLOAT,
        shape,
        (from, values, count) -> {
          for (int i = 0; i < count; i++) {
            values[i] = random.nextGaussian();
          }
        });
  }
}
