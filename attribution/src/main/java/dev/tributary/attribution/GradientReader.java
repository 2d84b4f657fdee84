package dev.tributary.attribution;

import dev.tributary.core.Tensor;
import dev.tributary.core.TopK;
import dev.tributary.transformer.Outlet;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import java.util.Arrays;
import java.util.function.UnaryOperator;

/** A gradient in the residual stream of a run, as what writes there meets it. */
final class GradientReader {
  private final Run run;
  private final ResidualGradient gradient;

  /** Rows times weights [n, dModel], transposed, where nothing stands between. */
  private final UnaryOperator<Tensor> products;

  GradientReader(Run run, ResidualGradient gradient) {
    this.run = run;
    this.gradient = gradient;
    this.products = products(gradient.rows());
  }

  Run run() {
    return run;
  }

  /** Where it reads. */
  Point point() {
    return gradient.point();
  }

  /** The first token that is read. */
  int from() {
    return gradient.firstToken();
  }

  /** The token after the last that is read. */
  int to() {
    return gradient.endToken();
  }

  /** The entries of a recorded tensor at the tokens that are read. */
  Tensor read(Tensor recorded, int axis) {
    return recorded.slice(axis, from(), to());
  }

  /** The gradient in the residual stream, [token, dModel]. */
  Tensor rows() {
    return gradient.rows();
  }

  /** The gradient in what a part computes before its outlet, [token, dModel]. */
  Tensor rows(Outlet outlet) {
    return outlet.pull(run, from(), gradient.rows());
  }

  /** ⟨gradient, row of weights before the outlet⟩, weights [n, dModel] to [token, n]. */
  Tensor times(Outlet outlet, Tensor weights) {
    return (outlet.isNone() ? products : products(rows(outlet))).apply(weights);
  }

  /**
   * How rows of a gradient read weights [n, dModel]: row · weight. All rows of a key are multiples
   * of one where the scale is held fixed, and then one row is multiplied instead of all.
   */
  private static UnaryOperator<Tensor> products(Tensor rows) {
    double[] norms = rows.norm(-1).toDoubles();
    int longest = TopK.indices(norms, 1)[0];
    if (norms.length == 1 || norms[longest] == 0) {
      return rows::matmulTransposed;
    }
    Tensor one = rows.slice(0, longest, longest + 1);
    Tensor factors = rows.matmulTransposed(one).times(1 / (norms[longest] * norms[longest]));
    double[] rests = rows.minus(factors.times(one)).norm(-1).toDoubles();
    double rounding = 16 * rows.dtype().epsilon() * norms[longest];
    return Arrays.stream(rests).allMatch(rest -> rest <= rounding)
        ? weight -> factors.times(one.matmulTransposed(weight))
        : rows::matmulTransposed;
  }
}
