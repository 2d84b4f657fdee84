package dev.tributary.transformer.family;

import dev.tributary.core.Shape;
import java.io.IOException;

/** The tensors that lie beside a config which does not say everything. */
public interface Tensors {
  /**
   * {@return the shape of one}
   *
   * @param name as it is stored
   * @param rank how many axes it must have
   * @throws IOException if there is none of this name and rank
   */
  Shape shape(String name, int rank) throws IOException;

  /**
   * {@return whether two hold the same numbers in the same shape}
   *
   * @param left name of one
   * @param right name of the other
   * @throws IOException if one is missing, or cannot be read
   */
  boolean sameNumbers(String left, String right) throws IOException;
}
