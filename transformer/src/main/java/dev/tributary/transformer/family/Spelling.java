package dev.tributary.transformer.family;

import dev.tributary.transformer.Weight;

/**
 * How the files of a family spell a weight.
 *
 * @param weight which it is
 * @param name of the tensor that holds it, with {@code *} for the number of its layer
 * @param keys of the config that say how large that tensor is
 * @param transposed whether its rows are our columns
 * @param together how it lies with other weights of that name
 * @param skippedRows how many rows of the tensor come before those of the weight
 * @param added what is added to the stored numbers to make them ours
 * @param inPairs whether numbers i and i + n/2 of the n of a head lie side by side
 */
public record Spelling(
    Weight weight,
    String name,
    String keys,
    boolean transposed,
    Together together,
    int skippedRows,
    double added,
    boolean inPairs) {

  /** How weights of one name lie in its tensor. */
  public enum Together {
    /** One after the other. */
    SIDE_BY_SIDE,
    /** One after the other for each key head. */
    BY_KEY_HEAD,
    /** All are the same numbers. */
    SHARED
  }

  /** A weight that is stored as we have it. */
  static Spelling stored(Weight weight, String name, String keys) {
    return new Spelling(weight, name, keys, false, Together.SIDE_BY_SIDE, 0, 0, false);
  }

  /** A matrix that is stored [output, input]. */
  static Spelling transposed(Weight weight, String name, String keys) {
    return new Spelling(weight, name, keys, true, Together.SIDE_BY_SIDE, 0, 0, false);
  }

  /** The same of another weight. */
  Spelling of(Weight other) {
    return new Spelling(other, name, keys, transposed, together, skippedRows, added, inPairs);
  }

  /** The same, otherwise beside other weights of its name. */
  Spelling together(Together other) {
    return new Spelling(weight, name, keys, transposed, other, skippedRows, added, inPairs);
  }

  /** The same after some rows. */
  Spelling after(int rows) {
    return new Spelling(weight, name, keys, transposed, together, rows, added, inPairs);
  }

  /** The same less a number. */
  Spelling less(double number) {
    return new Spelling(weight, name, keys, transposed, together, skippedRows, number, inPairs);
  }

  /** The same, what turns together in a head side by side. */
  Spelling paired() {
    return new Spelling(weight, name, keys, transposed, together, skippedRows, added, true);
  }

  /** The same where other keys say how large it is. */
  Spelling sized(String otherKeys) {
    return new Spelling(weight, name, otherKeys, transposed, together, skippedRows, added, inPairs);
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
