package dev.tributary.transformer;

import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.io.IOException;

/** Where the weights of a transformer come from, by the names of {@link WeightNames}. */
@FunctionalInterface
interface Weights {
  /**
   * One weight, in the caller's scope.
   *
   * @throws IOException if there is none of that name and shape, or its numbers are not finite
   */
  Tensor read(String name, Shape shape) throws IOException;
}
