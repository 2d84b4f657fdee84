package dev.tributary.transformer;

import dev.tributary.core.Tensor;
import java.io.IOException;

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
}
