package dev.tributary.benchmarks;

import dev.tributary.core.DType;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.TransformerConfig;
import java.util.Random;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;

/** A random model of the shape of GPT-2 small. */
@State(Scope.Thread)
public class RandomGpt2 extends RandomModel {
  static final int LAYERS = 12;
  static final int D_MODEL = 768;
  static final int VOCABULARY = 50257;

  @Override
  TransformerConfig config() {
    return TransformerConfig.gpt2(
        LAYERS, D_MODEL, 12, 64, 4 * D_MODEL, 1024, VOCABULARY, 1e-5, true);
  }

  /** Numbers drawn from a normal distribution, always the same. */
  static Tensor gaussian(int... dimensions) {
    Random random = new Random(1);
    return Tensor.generate(
        DType.FLOAT,
        Shape.of(dimensions),
        (from, values, count) -> {
          for (int i = 0; i < count; i++) {
            values[i] = random.nextGaussian();
          }
        });
  }
}
