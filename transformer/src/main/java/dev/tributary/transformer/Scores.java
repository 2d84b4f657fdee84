package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.Arrays;
import java.util.function.BinaryOperator;

/** What queries and keys of an attention make of each other. */
record Scores(AttentionConfig config) {
  /** See {@link Attention#scores}. */
  Variable of(Variable q, Variable k, int firstQuery) {
    Variable scaled = q.times(config.scoreScale());
    Variable scores =
        config.cap().isEmpty()
            ? Variable.resultOf(() -> masked(products(scaled, k), firstQuery))
            : masked(capped(products(scaled, k)), firstQuery);
    return windowed(scores, firstQuery);
  }

  private Variable masked(Variable scores, int firstQuery) {
    return config.causal() ? scores.causalMask(firstQuery + 1) : scores;
  }

  /** Of scores, masked or not. */
  Variable softmax(Variable scores, int firstQuery) {
    return config.causal() ? scores.causalSoftmax(firstQuery + 1) : scores.softmax();
  }

  /** Of any tokens, whichever is later. */
  Variable unmasked(Variable q, Variable k) {
    return capped(products(q.times(config.scoreScale()), k));
  }

  /**
   * The pattern of all queries that pass. Where nobody wants the scores, they are neither masked
   * nor kept.
   */
  Variable pattern(Variable q, Variable k, int layer, Site.Visitor visitor) {
    int first = visitor.firstToken();
    if (visitor.wants(Site.SCORES)) {
      return softmax(visitor.at(Site.SCORES, layer, of(q, k, first)), first);
    }
    return pattern(q, k, first);
  }

  /** The pattern of all queries, whose scores nobody wants. */
  Variable pattern(Variable q, Variable k, int first) {
    Variable scaled = q.times(config.scoreScale());
    return config.cap().isEmpty()
        ? Variable.resultOf(() -> softmax(windowed(products(scaled, k), first), first))
        : softmax(windowed(capped(products(scaled, k)), first), first);
  }

  /** See {@link Attention#sees}. */
  boolean sees(int query, int key) {
    return (key <= query || !config.causal())
        && (config.window().isEmpty() || query - key < config.window().getAsInt());
  }

  /**
   * How fast scores move with query-key products; 0 where the query does not see the key.
   *
   * @param queries [head, query, dHead], from token {@code firstQuery} on
   * @param keys [key head, key, dHead], from token {@code firstKey} on
   * @return [head, query, key]
   */
  Tensor slopes(Tensor queries, int firstQuery, Tensor keys, int firstKey) {
    int rows = queries.shape().size(1);
    int columns = keys.shape().size(1);
    Shape shape = Shape.of(config.heads(), rows, columns);
    double[] slopes =
        config.cap().isEmpty()
            ? new double[shape.length()]
            : unmasked(Variable.constant(queries), Variable.constant(keys)).value().toDoubles();
    for (int i = 0; i < slopes.length; i++) {
      boolean seen = sees(firstQuery + i / columns % rows, firstKey + i % columns);
      double capped = config.cap().isEmpty() ? 0 : slopes[i] / config.cap().getAsDouble();
      slopes[i] = seen ? config.scoreScale() * (1 - capped * capped) : 0;
    }
    return Tensor.of(queries.dtype(), shape, slopes);
  }

  /** Minus infinity where a key is outside the window of a query. */
  private Variable windowed(Variable scores, int firstQuery) {
    int queries = scores.shape().size(1);
    int keys = scores.shape().size(2);
    if (config.window().isEmpty() || firstQuery + queries <= config.window().getAsInt()) {
      return scores;
    }
    double[] hidden = new double[queries * keys];
    for (int i = 0; i < queries; i++) {
      int seen = Math.min(keys, firstQuery + i - config.window().getAsInt() + 1);
      if (seen > 0) {
        Arrays.fill(hidden, i * keys, i * keys + seen, Double.NEGATIVE_INFINITY);
      }
    }
    return scores.plus(
        Variable.constant(Tensor.of(scores.value().dtype(), Shape.of(queries, keys), hidden)));
  }

  private Variable capped(Variable scores) {
    return config.cap().isEmpty()
        ? scores
        : scores.times(1 / config.cap().getAsDouble()).tanh().times(config.cap().getAsDouble());
  }

  private static Variable products(Variable q, Variable k) {
    return perKeyHead(q, k, Variable::matmulTransposed);
  }

  /**
   * Products of what belongs to heads with what belongs to the key heads that they share: heads
   * that share one go into one product, as rows.
   *
   * @param byHead [head, row, n]
   * @param byKeyHead [key head, ..]
   * @param product of matrices
   * @return [head, row, ..]
   */
  static Variable perKeyHead(
      Variable byHead, Variable byKeyHead, BinaryOperator<Variable> product) {
    Shape shape = byHead.shape();
    int heads = shape.size(0);
    int rows = shape.size(1);
    int keyHeads = byKeyHead.shape().size(0);
    if (keyHeads == heads) {
      return product.apply(byHead, byKeyHead);
    }
    Variable grouped = byHead.reshape(keyHeads, heads / keyHeads * rows, shape.size(2));
    Variable products = product.apply(grouped, byKeyHead);
    return products.reshape(heads, rows, products.shape().size(2));
  }
}
