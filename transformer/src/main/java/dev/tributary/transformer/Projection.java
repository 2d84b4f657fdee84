package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.Optional;
import java.util.function.UnaryOperator;

/**
 * What makes queries, keys or values of the heads of an attention: a linear map, a norm, and
 * positions.
 *
 * @param map to all heads, head by head, [dModel, head · dHead]
 * @param norm of what it gives
 * @param acrossHeads whether one scale is of all heads
 */
record Projection(
    int dHead, Linear map, Optional<Norm> norm, boolean acrossHeads, Positions positions) {
  /** Whether it is the linear map alone. */
  boolean isLinear() {
    return norm.isEmpty() && positions instanceof Positions.None;
  }

  /** Of all heads: [token, dModel] to [head, token, dHead]. */
  Variable apply(Variable x, int firstToken, UnaryOperator<Variable> scale) {
    if (norm.isPresent() && acrossHeads) {
      return positions.apply(split(norm.get().apply(map.apply(x), scale)), firstToken);
    }
    Variable rows = Variable.resultOf(() -> split(map.apply(x)));
    return positions.apply(norm.map(n -> n.apply(rows, scale)).orElse(rows), firstToken);
  }

  /** Of one head, [1, token, dHead], for the cost of its columns if that is possible. */
  Variable apply(Variable x, int firstToken, UnaryOperator<Variable> scale, int head) {
    if (norm.isPresent() && acrossHeads) {
      return apply(x, firstToken, scale).slice(0, head, head + 1);
    }
    Variable rows = split(map.columns(head * dHead, (head + 1) * dHead).apply(x));
    Variable normed = norm.map(n -> n.apply(rows, scale)).orElse(rows);
    return positions.apply(normed, firstToken);
  }

  /** Of all heads, where the result was recorded: only the derivative is new, if possible. */
  Variable apply(Variable x, int firstToken, ScaleGradient scaleGradient, Tensor recorded) {
    return isLinear()
        ? split(map.apply(x, merge(recorded)))
        : apply(x, firstToken, scaleGradient::seen);
  }

  /** [head, token, dHead] to [token, head · dHead], the inverse of {@link #split}. */
  private Tensor merge(Tensor byHead) {
    int heads = byHead.shape().size(0);
    return byHead.permute(1, 0, 2).reshape(byHead.shape().size(1), heads * dHead);
  }

  private Variable split(Variable x) {
    int heads = x.shape().size(1) / dHead;
    return x.reshape(Shape.of(x.shape().size(0), heads, dHead)).permute(1, 0, 2);
  }
}
