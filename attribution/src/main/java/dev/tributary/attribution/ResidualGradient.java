package dev.tributary.attribution;

import dev.tributary.core.Tensor;
import dev.tributary.transformer.Point;

/**
 * How a scalar reads the residual stream: its gradient there, for the tokens that it reads; at
 * others the gradient is zero.
 *
 * @param point at which it reads
 * @param firstToken the token of the first row
 * @param rows gradient, [token, dModel]
 */
public record ResidualGradient(Point point, int firstToken, Tensor rows) {
  /** The token after the last row. */
  int endToken() {
    return firstToken + rows.shape().size(0);
  }

  boolean reads(int token) {
    return token >= firstToken && token < endToken();
  }

  /** Of a token that is read, [1, dModel]. */
  Tensor row(int token) {
    return rows.slice(0, token - firstToken, token - firstToken + 1);
  }
}
