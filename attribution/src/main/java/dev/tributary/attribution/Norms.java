package dev.tributary.attribution;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import java.util.function.Supplier;

/** How long writes and directions are at most, and how far their products are off. */
final class Norms {
  private Norms() {}

  /**
   * How far a product of a write and a direction may be off, relative to both norms: each is
   * rounded, and their product is a sum of dModel terms.
   */
  static double rounding(Run run) {
    DType dtype = run.model().dtype();
    return (run.model().config().dModel() + 16) * dtype.epsilon();
  }

  /** Of rows, [n, dModel] to [n]. */
  static Tensor ofRows(Supplier<Tensor> rows) {
    try (Scope scope = Scope.open()) {
      Tensor norms = rows.get().norm(-1);
      return scope.keep(norms.reshape(norms.shape().length()));
    }
  }

  /**
   * From squares that are known as sums.
   *
   * @param squares what is left of these sums
   * @param terms the magnitudes that were added up
   */
  static Tensor ofSquares(Run run, Tensor squares, Tensor terms) {
    return squares.relu().plus(terms.times(rounding(run))).sqrt();
  }

  /** Without their signs. */
  static Tensor magnitudes(Tensor numbers) {
    return numbers.relu().plus(numbers.negate().relu());
  }

  /**
   * Of products of rows with a matrix of each head, from the products of the rows of that matrix
   * with each other. Lives in the scope in which it was made.
   */
  static final class OfProducts {
    private final Run run;

    /** [head, k, k] */
    private final Tensor gram;

    /** The square of the norm of each matrix, [head, 1, 1]. */
    private final Tensor squares;

    /**
     * Of such matrices.
     *
     * @param matrices [head, k, n]
     */
    OfProducts(Run run, Supplier<Tensor> matrices) {
      this.run = run;
      try (Scope scope = Scope.open()) {
        Tensor all = matrices.get();
        this.gram = scope.keep(all.matmulTransposed(all));
        this.squares = scope.keep(all.square().sum(-1).sum(-2));
      }
    }

    /** Of rows [head, row, k] to [head, row, 1]. */
    Tensor of(Tensor rows) {
      try (Scope scope = Scope.open()) {
        Tensor products = rows.matmul(gram).times(rows).sum(-1);
        Tensor terms = rows.square().sum(-1).times(squares);
        return scope.keep(ofSquares(run, products, terms));
      }
    }
  }
}
