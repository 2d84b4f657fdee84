package dev.tributary.attribution;

import dev.tributary.core.Tensor;
import dev.tributary.transformer.Part;
import dev.tributary.transformer.Point;

/**
 * How the targets of one family read the residual stream, as lists of directions, one list for each
 * token: how long each is, and what it is, on demand. A direction serves one target, or several
 * that differ in a factor.
 */
interface SearchTargets {
  /** Where they read. */
  Point point();

  /** How many targets that are wanted read a token. */
  long count(int token);

  /**
   * What no direction at a token at which there are targets is longer than; 0 if nothing that is
   * wanted reads along it.
   */
  Tensor norms(int token);

  /**
   * Some directions, each by its place in the list of a token, [chosen, dModel]: of one alone, to
   * the last bit what it is whenever one is asked for alone.
   */
  Tensor directions(int token, int... chosen);

  /**
   * For each of some directions, by their places, and each target of it, what that reads along it
   * is multiplied with: 1 at most.
   */
  default double[][] factors(int token, int... places) {
    double[][] ones = new double[places.length][1];
    for (double[] one : ones) {
      one[0] = 1;
    }
    return ones;
  }

  /** A target of a direction. */
  Target target(int token, int place, int which);

  /** Gradients at what a part computes from at a token, as directions, [n, dModel]. */
  static Tensor throughEntry(EdgeAttribution edges, Part part, int token, Tensor gradients) {
    Tensor row = edges.nodes().run().residual(part.reads()).value().slice(0, token, token + 1);
    return part.entry()
        .map(norm -> norm.pulled(row, gradients, edges.scaleGradient()))
        .orElse(gradients);
  }

  /** What the entry of a part divides rows by, [token, 1]. */
  static Tensor scales(EdgeAttribution edges, Part part) {
    Tensor residual = edges.nodes().run().residual(part.reads()).value();
    return part.entry()
        .map(norm -> norm.scale(residual))
        .orElseGet(() -> Tensor.full(residual.dtype(), residual.shape().with(1, 1), 1));
  }

  /** Gradients at what a part computes from, but for what its entry does to tokens. */
  static Tensor fixed(Part part, Tensor gradients) {
    return part.entry().map(norm -> norm.directions(gradients)).orElse(gradients);
  }
}
