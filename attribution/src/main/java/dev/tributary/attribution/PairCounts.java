package dev.tributary.attribution;

import java.util.stream.IntStream;

/**
 * How many pairs of a write and a direction there are at each token, by the product of their norms:
 * counted in classes, so a little more than reach it.
 */
final class PairCounts {
  /** Classes to a factor of two. */
  private static final int FINENESS = 8;

  /** The class of the smallest float; the product of two has twice it. */
  private static final int FIRST = -150 * FINENESS;

  private static final int CLASSES = 280 * FINENESS;

  /** [token][class of the product] */
  private final long[][] byProduct;

  PairCounts(int tokens) {
    this.byProduct = new long[tokens][2 * CLASSES];
  }

  private static int classOf(double norm) {
    int exact = (int) Math.floor(FINENESS * Math.log(norm) / Math.log(2));
    return Math.min(CLASSES, exact - FIRST);
  }

  /** How many norms there are of each class. */
  private static int[] histogram(int[] into, float... norms) {
    for (float norm : norms) {
      if (norm > 0) {
        into[classOf(norm)]++;
      }
    }
    return into;
  }

  /**
   * Adds the pairs at a token.
   *
   * @param writes norms by family, in the order of writing
   * @param directions norms by family
   * @param reaching how many families of writes each of these sees
   */
  void add(int token, float[][] writes, float[][] directions, int... reaching) {
    int[] early = new int[CLASSES];
    for (int families = 1; families <= writes.length; families++) {
      histogram(early, writes[families - 1]);
      int[] reading = new int[CLASSES];
      for (int j = 0; j < reaching.length; j++) {
        if (reaching[j] == families) {
          histogram(reading, directions[j]);
        }
      }
      multiply(early, reading, byProduct[token]);
    }
  }

  private static void multiply(int[] first, int[] second, long[] products) {
    int[] some = IntStream.range(0, second.length).filter(j -> second[j] > 0).toArray();
    for (int i = 0; i < first.length; i++) {
      for (int k = 0; first[i] > 0 && k < some.length; k++) {
        products[i + some[k]] += (long) first[i] * second[some[k]];
      }
    }
  }

  /** How many pairs at a token reach a product. */
  long reaching(int token, double product) {
    long count = 0;
    for (int i = first(product); i < byProduct[token].length; i++) {
      count += byProduct[token][i];
    }
    return count;
  }

  /** The first class whose products may reach one: those of both norms are rounded down. */
  private static int first(double product) {
    double exact = Math.floor(FINENESS * Math.log(product) / Math.log(2));
    return (int) Math.max(0, Math.min(2 * CLASSES, exact - 2 * FIRST - 1));
  }

  /** How many reach a product at all tokens. */
  long reaching(double product) {
    long count = 0;
    for (int token = 0; token < byProduct.length; token++) {
      count += reaching(token, product);
    }
    return count;
  }

  /** A product that so many pairs reach; 0 if there are not more. */
  double threshold(long count) {
    long found = 0;
    for (int i = 2 * CLASSES - 1; i >= 0; i--) {
      for (long[] products : byProduct) {
        found += products[i];
      }
      if (found > count) {
        return Math.pow(2, (i + 1 + 2 * FIRST) / (double) FINENESS);
      }
    }
    return 0;
  }
}
