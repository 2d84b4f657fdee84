package dev.tributary.attribution;

import dev.tributary.core.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Some sources at a token in the order of a join: the longest writes first, but only by classes of
 * similar length, in which they stand in the order of writing. So those that write early enough for
 * a target are the first ones of each class.
 */
final class Writes {
  /** Bits of a float that do not tell classes apart: there are four to a factor of two. */
  private static final int WITHIN_CLASS = 21;

  /** Sources of one class that follow each other, none longer than the given norm. */
  record Stretch(int from, int to, double longest) {}

  /** Class, family and place of each, in order. */
  private final long[] keys;

  /** [family][place] */
  private final float[][] norms;

  /** One for each class that there is. */
  private final List<Stretch> classes = new ArrayList<>();

  private Writes(long[] keys, float[][] norms) {
    this.keys = keys;
    this.norms = norms;
    for (int from = 0; from < keys.length; ) {
      int to = before(keys[from] >> 48, 1 << 16);
      double longest = 0;
      for (int i = from; i < to; i++) {
        longest = Math.max(longest, norm(i));
      }
      classes.add(new Stretch(from, to, longest));
      from = to;
    }
  }

  private static long key(float norm, int family, int place) {
    int longestFirst =
        (Float.floatToIntBits(Float.POSITIVE_INFINITY) - Float.floatToIntBits(norm))
            >> WITHIN_CLASS;
    return (long) longestFirst << 48 | (long) family << 32 | place;
  }

  /** How many stand before the first of a class whose family is not below one. */
  private int before(long ofClass, int family) {
    int found = Arrays.binarySearch(keys, (ofClass << 48) + ((long) family << 32));
    return found >= 0 ? found : -found - 1;
  }

  /**
   * Puts sources in order.
   *
   * @param norms [family][place]
   * @param least norm of each family that is wanted
   * @param most so many at a time
   */
  static List<Writes> of(float[][] norms, double[] least, int most) {
    long[] keys = new long[1024];
    int count = 0;
    for (int family = 0; family < norms.length; family++) {
      for (int place = 0; place < norms[family].length; place++) {
        if (norms[family][place] >= least[family]) {
          keys = count == keys.length ? Arrays.copyOf(keys, 2 * count) : keys;
          keys[count++] = key(norms[family][place], family, place);
        }
      }
    }
    Arrays.sort(keys, 0, count);
    List<Writes> pieces = new ArrayList<>();
    for (int from = 0; from < count; from += most) {
      pieces.add(new Writes(Arrays.copyOfRange(keys, from, Math.min(count, from + most)), norms));
    }
    return pieces;
  }

  int family(int i) {
    return (int) (keys[i] >> 32) & 0xffff;
  }

  int place(int i) {
    return (int) keys[i];
  }

  float norm(int i) {
    return norms[family(i)][place(i)];
  }

  /** Of each class the sources of the first families, where there are some. */
  List<Stretch> ofFirst(int families) {
    List<Stretch> result = new ArrayList<>();
    for (Stretch all : classes) {
      int to = before(keys[all.from] >> 48, families);
      if (to > all.from) {
        result.add(new Stretch(all.from, to, all.longest));
      }
    }
    return result;
  }

  /** What they write, in their order, [source, dModel]. */
  Tensor gather(List<SearchSources> sources, int token) {
    int[] families = new int[keys.length];
    for (int i = 0; i < families.length; i++) {
      families[i] = family(i);
    }
    return Groups.rows(
        families,
        (family, own) ->
            sources.get(family).writes(token, Arrays.stream(own).map(this::place).toArray()));
  }
}
