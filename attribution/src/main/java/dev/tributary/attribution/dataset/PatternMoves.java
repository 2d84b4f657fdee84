package dev.tributary.attribution.dataset;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.Tokens;
import java.util.List;

/**
 * How far a metric moves with the attention patterns of a layer that other queries or keys have: Σ
 * (P' - P) · dM/dP, with P the clean pattern and P' the other. Lives in the scope in which it was
 * made.
 */
final class PatternMoves {
  private final Attention attention;
  private final Tensor q;
  private final Tensor k;

  /** Of the clean run, [head, query, key]. */
  private final Tensor scores;

  private final Tensor pattern;

  /** Gradient at the pattern, of the same shape. */
  private final Tensor slopes;

  /**
   * Of the clean run of one prompt.
   *
   * @param q [head, token, dHead]
   * @param k [key head, token, dHead]
   * @param v of the same shape
   * @param atHeads gradient at the outputs of heads, [head, token, dHead]
   */
  PatternMoves(Attention attention, Tensor q, Tensor k, Tensor v, Tensor atHeads) {
    this.attention = attention;
    this.q = q;
    this.k = k;
    scores = scores(q, k);
    pattern = pattern(scores);
    slopes = attention.valuesAlong(Variable.constant(atHeads), Variable.constant(v)).value();
  }

  private Tensor scores(Tensor queries, Tensor keys) {
    return attention.scores(Variable.constant(queries), Variable.constant(keys), 0).value();
  }

  private Tensor pattern(Tensor scores) {
    return attention.pattern(Variable.constant(scores), 0).value();
  }

  private Tensor moved(Tensor others) {
    return pattern(others).minus(pattern).times(slopes);
  }

  /** With other queries, each of which moves its own row: [head, query]. */
  Tensor ofQueries(Tensor others) {
    return moved(scores(others, k)).sum(-1);
  }

  /** With other keys at each of some spans of tokens alone: [head][span]. */
  double[][] ofKeys(Tensor others, List<Tokens> spans) {
    int tokens = scores.shape().size(2);
    double[][] all = new double[attention.heads()][spans.size()];
    Tensor other = scores(q, others);
    for (int span = 0; span < spans.size(); span++) {
      int first = spans.get(span).first();
      int end = spans.get(span).endIn(tokens);
      try (Scope scope = Scope.open()) {
        Tensor mixed =
            end - first == tokens
                ? other
                : Tensor.concat(
                    2,
                    List.of(
                        scores.slice(2, 0, first),
                        other.slice(2, first, end),
                        scores.slice(2, end, tokens)));
        double[] sums =
            moved(mixed).reshape(attention.heads(), tokens * tokens).sum(-1).toDoubles();
        for (int head = 0; head < sums.length; head++) {
          all[head][span] = sums[head];
        }
      }
    }
    return all;
  }
}
