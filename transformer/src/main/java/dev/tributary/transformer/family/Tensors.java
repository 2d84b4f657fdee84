package dev.tributary.transformer.family;

import dev.tributary.core.Shape;
import java.io.IOException;

/** The tensors that lie beside a config which does not say everything. */
public interface Tensors {
  /**
   * {@return whether there is one of this name}
   *
   * @param name as it is stored
   * @throws IOException if what holds them cannot be read
   */
  boolean contains(String name) throws IOException;

  /**
   * {@return the numbers of one}
   *
   * @param name as it is stored
   * @param size how many it must have, on one axis
   * @throws IOException if there is none of this name and size, or it cannot be read
   */
  double[] numbers(String name, int size) throws IOException;

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
