package dev.tributary.transformer;

import dev.tributary.core.DType;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.Map;
import java.util.WeakHashMap;

/**
 * How far the pairs of rows turn, times the multiplier.
 *
 * @param cosine [token, pair]
 * @param sine [token, pair]
 */
record Angles(Tensor cosine, Tensor sine) {
  /** Of all rotary positions in use: the layers of a model have the same. */
  private static final Map<Positions.Rotary, double[][]> TABLES = new WeakHashMap<>();

  /** From one token to before another. */
  static Angles of(Positions.Rotary rotary, DType dtype, int firstToken, int end) {
    int tokens = end - firstToken;
    int pairs = rotary.frequencies().size();
    double[][] tables = tables(rotary, end);
    Tensor[] made = new Tensor[2];
    for (int i = 0; i < 2; i++) {
      double[] table = tables[i];
      made[i] =
          Tensor.generate(
              dtype,
              Shape.of(tokens, pairs),
              (from, values, count) ->
                  System.arraycopy(table, firstToken * pairs + from, values, 0, count));
    }
    return new Angles(made[0], made[1]);
  }

  /** Cosines and sines of at least so many tokens. */
  private static double[][] tables(Positions.Rotary rotary, int tokens) {
    synchronized (TABLES) {
      double[][] found = TABLES.get(rotary);
      int pairs = rotary.frequencies().size();
      if (found == null || found[0].length < tokens * pairs) {
        found = new double[2][tokens * pairs];
        for (int i = 0; i < tokens * pairs; i++) {
          int token = i / pairs;
          double angle = token * rotary.frequencies().get(i % pairs);
          found[0][i] = rotary.multiplier() * Math.cos(angle);
          found[1][i] = rotary.multiplier() * Math.sin(angle);
        }
        TABLES.put(rotary, found);
      }
      return found;
    }
  }
}
