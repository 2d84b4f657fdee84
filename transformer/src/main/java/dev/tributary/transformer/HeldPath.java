package dev.tributary.transformer;

import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.stream.IntStream;

/**
 * A way from one point of the residual stream to a later one that is linear while attention
 * patterns and scales of norms are held as a run has them: through the values of an attention, or
 * past the latents of a transcoder. Rows are of tokens that follow each other, from the first of
 * those for which it was made. Lives in the scope in which it was made.
 */
public sealed interface HeldPath permits HeldAttention, HeldSkip {
  /** {@return where it reads} */
  Point reads();

  /** {@return where it writes} */
  Point writes();

  /**
   * What it writes of what is added to the stream that it reads.
   *
   * @param tangents of several directions, [token, direction, dModel]
   * @return of the same shape
   */
  Tensor push(Tensor tangents);

  /**
   * Cotangents where it writes as cotangents where it reads: the adjoint of {@link #push}.
   *
   * @param cotangents of several directions, [token, direction, dModel]
   * @return of the same shape
   */
  Tensor pull(Tensor cotangents);

  /**
   * The same of directions that are each at one token alone.
   *
   * @param directions [direction, dModel]
   * @param at the token of each, counted from the first row
   * @param tokens how many rows are wanted, those of all directions among them
   * @return [token, direction, dModel]
   */
  default Tensor pull(Tensor directions, int[] at, int tokens) {
    try (Scope scope = Scope.open()) {
      return scope.keep(pull(spread(directions, at, tokens)));
    }
  }

  /**
   * Products of what is pulled with a row of each token.
   *
   * @param cotangents as for {@link #pull(Tensor)}
   * @param rows of the stream that it reads, [token, dModel]
   * @return [token, direction, 1]
   */
  default Tensor pullAlong(Tensor cotangents, Tensor rows) {
    try (Scope scope = Scope.open()) {
      return scope.keep(
          pull(cotangents).matmul(rows.reshape(rows.shape().size(0), rows.shape().size(1), 1)));
    }
  }

  /**
   * {@return directions each at its token among all, [token, direction, dModel]}
   *
   * @param directions [direction, dModel]
   * @param at the token of each
   * @param tokens how many there are
   */
  static Tensor spread(Tensor directions, int[] at, int tokens) {
    int count = at.length;
    int[] places = IntStream.range(0, count).map(i -> at[i] * count + i).toArray();
    return directions
        .scatterAdd(0, tokens * count, places)
        .reshape(Shape.of(tokens, count, directions.shape().size(1)));
  }
}
