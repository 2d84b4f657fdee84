package dev.tributary.transformer.family;

import dev.tributary.transformer.Weight;

/**
 * How the files of a family spell a weight.
 *
 * @param weight which it is
 * @param name of the tensor that holds it, with {@code *} for the number of its layer
 * @param keys of the config that say how large that tensor is
 * @param transposed whether its rows are our columns
 */
public record Spelling(Weight weight, String name, String keys, boolean transposed) {
  /** A weight that is stored as we have it. */
  static Spelling stored(Weight weight, String name, String keys) {
    return new Spelling(weight, name, keys, false);
  }

  /** A matrix that is stored [output, input]. */
  static Spelling transposed(Weight weight, String name, String keys) {
    return new Spelling(weight, name, keys, true);
  }

  /**
   * {@return the name in one layer}
   *
   * @param layer from 0
   */
  public String name(int layer) {
    return inLayer(name, layer);
  }

  static String inLayer(String name, int layer) {
    return name.replace("*", Integer.toString(layer));
  }
}
