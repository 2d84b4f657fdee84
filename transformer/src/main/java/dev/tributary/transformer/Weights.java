package dev.tributary.transformer;

import dev.tributary.core.DType;
import dev.tributary.core.Tensor;
import java.io.IOException;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;

/** Where the weights of a transformer come from. */
@FunctionalInterface
public interface Weights {
  /**
   * One weight, in the innermost scope.
   *
   * @param slot which, and its shape
   * @return of that shape, in the element type of the model
   * @throws IOException if there is none, or its numbers are not finite
   */
  Tensor read(Slot slot) throws IOException;

  /**
   * {@return random ones, by their roles: see {@link Transformer#random}}
   *
   * @param dtype of the model
   * @param seed of the random numbers
   */
  static Weights random(DType dtype, long seed) {
    RandomGenerator random = RandomGeneratorFactory.of("L64X128MixRandom").create(seed);
    return slot -> {
      Weight.Role role = slot.weight().role();
      double mean = role == Weight.Role.GAIN ? 1 : 0;
      double deviation =
          switch (role) {
            case MATRIX -> 1 / Math.sqrt(slot.shape().size(0));
            case TABLE -> 0.5;
            case GAIN, BIAS -> 0.1;
          };
      return Tensor.generate(
          dtype,
          slot.shape(),
          (from, values, count) -> {
            for (int i = 0; i < count; i++) {
              values[i] = mean + deviation * random.nextGaussian();
            }
          });
    };
  }
}
