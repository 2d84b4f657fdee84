package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
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
    Shape shape = Shape.of(config.heads(), queries.shape().size(1), keys.shape().size(1));
    Tensor seen = seen(queries.dtype(), shape.subShape(1, 3), firstQuery - firstKey);
    if (config.cap().isEmpty()) {
      return seen.times(config.scoreScale()).broadcastTo(shape);
    }
    Variable scores = unmasked(Variable.constant(queries), Variable.constant(keys));
    Tensor tanh = scores.value().times(1 / config.cap().getAsDouble());
    return tanh.square().negate().plus(1).times(seen).times(config.scoreScale());
  }

  /**
   * 1 where a query sees a key, else 0.
   *
   * @param shape [query, key]
   * @param ahead by how many tokens the first query is after the first key
   */
  private Tensor seen(DType dtype, Shape shape, int ahead) {
    Tensor ones = Tensor.full(dtype, shape, 1);
    Tensor seen = config.causal() ? upTo(ones, ahead) : ones;
    return config.window().isEmpty()
        ? seen
        : seen.minus(upTo(ones, ahead - config.window().getAsInt()));
  }

  /** Row i keeps its entries up to {@code last + i}. */
  private static Tensor upTo(Tensor rows, int last) {
    int size = rows.shape().size(0);
    int first = Math.min(size, Math.max(0, -last));
    return first == size
        ? rows.times(0)
        : rows.slice(0, first, size).causalMask(last + first + 1, 0).pad(0, first, size);
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
