package dev.tributary.transformer;

import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.io.IOException;
import java.util.function.Supplier;

/** Where the weights of a transformer come from, by the names of Hugging Face's GPT-2. */
@FunctionalInterface
public interface Weights {
  /**
   * One weight, in the caller's scope.
   *
   * @param name of the weight; queries, keys and values have names of their own
   * @param shape that it must have
   * @return the weight
   * @throws IOException if there is none of that name and shape, or its numbers are not finite
   */
  Tensor read(String name, Shape shape) throws IOException;

  /** Takes the weights of a transformer. */
  @FunctionalInterface
  interface Taker {
    /**
     * Takes a weight that is made when it is asked for.
     *
     * @param name of the weight
     * @param shape of the weight
     * @param tensor makes it, in the innermost open scope
     */
    void put(String name, Shape shape, Supplier<Tensor> tensor);

    /**
     * Takes a weight.
     *
     * @param name of the weight
     * @param tensor the weight
     */
    default void put(String name, Tensor tensor) {
      put(name, tensor.shape(), () -> tensor);
    }
  }
}
