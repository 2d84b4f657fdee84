package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.List;

/**
 * Causal self-attention of several heads.
 *
 * @see <a href="https://arxiv.org/abs/1706.03762">Vaswani et al. 2017, section 3.2</a>
 */
public final class Attention {
  private final int heads;
  private final Linear query;
  private final Linear key;
  private final Linear value;
  private final Linear output;

  /**
   * @param query to all heads, [dModel, head · dHead], head by head; {@code key}, {@code value}
   *     alike
   * @param output from all heads, [head · dHead, dModel]
   */
  Attention(int heads, Linear query, Linear key, Linear value, Linear output) {
    this.heads = heads;
    this.query = query;
    this.key = key;
    this.value = value;
    this.output = output;
  }

  /**
   * What attention adds to the residual stream.
   *
   * @param x residual stream after layer norm, [token, dModel]
   * @param path through which derivatives pass
   * @return [token, dModel]
   */
  public Variable apply(Variable x, AttentionPath path) {
    return apply(x, path, Site.Visitor.NONE);
  }

  Variable apply(Variable x, AttentionPath path, Site.Visitor visitor) {
    Variable fixed = x.detach();
    Variable q = visitor.at(Site.QUERY, query(path.includes(AttentionPath.QUERY) ? x : fixed));
    Variable k = visitor.at(Site.KEY, key(path.includes(AttentionPath.KEY) ? x : fixed));
    Variable v = visitor.at(Site.VALUE, value(path.includes(AttentionPath.VALUE) ? x : fixed));
    Variable scores = visitor.at(Site.SCORES, scores(q, k, 0));
    Variable pattern = visitor.at(Site.PATTERN, pattern(scores, 0));
    Variable headOutput = visitor.at(Site.HEAD_OUTPUT, pattern.matmul(v));
    return visitor.at(Site.ATTENTION_OUTPUT, output(headOutput));
  }

  /** {@return the number of heads} */
  public int heads() {
    return heads;
  }

  /**
   * {@return the queries of every head, from [token, dModel] to [head, token, dHead]}
   *
   * @param x normalised residual stream, [token, dModel]
   */
  public Variable query(Variable x) {
    return split(query.apply(x));
  }

  /**
   * {@link #query(Variable)} where its value was recorded earlier.
   *
   * @param x normalised residual stream, [token, dModel]
   * @param recorded the result, [head, token, dHead]
   * @return the recorded queries, with their derivative along {@code x}
   */
  public Variable query(Variable x, Tensor recorded) {
    return split(query.apply(x, merge(recorded)));
  }

  /**
   * {@return the keys of every head, from [token, dModel] to [head, token, dHead]}
   *
   * @param x normalised residual stream, [token, dModel]
   */
  public Variable key(Variable x) {
    return split(key.apply(x));
  }

  /**
   * {@link #key(Variable)} where its value was recorded earlier.
   *
   * @param x normalised residual stream, [token, dModel]
   * @param recorded the result, [head, token, dHead]
   * @return the recorded keys, with their derivative along {@code x}
   */
  public Variable key(Variable x, Tensor recorded) {
    return split(key.apply(x, merge(recorded)));
  }

  /**
   * {@return the values of every head, from [token, dModel] to [head, token, dHead]}
   *
   * @param x normalised residual stream, [token, dModel]
   */
  public Variable value(Variable x) {
    return split(value.apply(x));
  }

  /**
   * {@link #value(Variable)} where its value was recorded earlier.
   *
   * @param x normalised residual stream, [token, dModel]
   * @param recorded the result, [head, token, dHead]
   * @return the recorded values, with their derivative along {@code x}
   */
  public Variable value(Variable x, Tensor recorded) {
    return split(value.apply(x, merge(recorded)));
  }

  /**
   * Scaled query-key products, minus infinity where the key is later than the query.
   *
   * @param q [head, query, dHead], the first of which is token {@code firstQuery}
   * @param k [head, key, dHead], the first of which is token 0
   * @param firstQuery token of the first query, from 0
   * @return [head, query, key]
   */
  public Variable scores(Variable q, Variable k, int firstQuery) {
    return products(q, k).causalMask(firstQuery + 1);
  }

  /**
   * Scaled query-key products of any tokens, whichever is later.
   *
   * @param q [head, query, dHead]
   * @param k [head, key, dHead]
   * @return [head, query, key]
   */
  public Variable products(Variable q, Variable k) {
    return q.times(scoreScale()).matmulTransposed(k);
  }

  /** {@return what query-key products are multiplied with: 1 / √dHead} */
  public double scoreScale() {
    return 1 / Math.sqrt(dHead());
  }

  /**
   * Attention pattern of every head: softmax of scores over earlier tokens.
   *
   * @param scores [head, query, key], the first query of which is token {@code firstQuery}
   * @param firstQuery token of the first query, from 0
   * @return probabilities, [head, query, key]; each row sums to 1, keys after the query are 0
   */
  public Variable pattern(Variable scores, int firstQuery) {
    return scores.causalSoftmax(firstQuery + 1);
  }

  /**
   * {@return what the heads add to the residual stream, with the bias, [head, token, dHead] to
   * [token, dModel]}
   *
   * @param headOutput values weighted by the pattern, [head, token, dHead]
   */
  public Variable output(Variable headOutput) {
    Variable rows = headOutput.permute(1, 0, 2);
    return output.apply(rows.reshape(rows.shape().size(0), heads * dHead()));
  }

  /** {@return the output weights by head, [head, dHead, dModel]} */
  public Tensor outputWeight() {
    return output.weight().reshape(heads, dHead(), output.weight().shape().size(1));
  }

  /** {@return what attention adds whatever the heads do, [dModel]} */
  public Tensor outputBias() {
    return output.bias();
  }

  /**
   * Cotangents at one of the three inputs of every head pulled back through its weights.
   *
   * @param path QUERY, KEY or VALUE
   * @param cotangents [head, row, dHead]
   * @return [head, row, dModel]
   */
  public Tensor pulled(AttentionPath path, Tensor cotangents) {
    Linear input =
        switch (path) {
          case QUERY -> query;
          case KEY -> key;
          case VALUE -> value;
          case ALL -> throw new IllegalArgumentException("pulled: name one path, not all of them");
        };
    Tensor byHead = input.weight().reshape(input.weight().shape().size(0), heads, dHead());
    return cotangents.matmulTransposed(byHead.permute(1, 0, 2));
  }

  /** By Hugging Face's names, queries, keys and values side by side in one matrix. */
  void save(Weights.Taker weights, String name) {
    List<Linear> parts = List.of(query, key, value);
    for (boolean isWeight : new boolean[] {true, false}) {
      List<Tensor> tensors =
          parts.stream().map(part -> isWeight ? part.weight() : part.bias()).toList();
      Shape one = tensors.get(0).shape();
      weights.put(
          name + (isWeight ? "c_attn.weight" : "c_attn.bias"),
          one.with(-1, 3 * one.size(-1)),
          () -> Tensor.concat(-1, tensors));
    }
    output.save(weights, name + "c_proj");
  }

  /**
   * {@return one head as an attention of its own}
   *
   * @param head from 0
   */
  public Attention head(int head) {
    int from = head * dHead();
    int to = from + dHead();
    return new Attention(
        1,
        query.columns(from, to),
        key.columns(from, to),
        value.columns(from, to),
        new Linear(output.weight().slice(0, from, to), output.bias()));
  }

  private int dHead() {
    return query.bias().shape().length() / heads;
  }

  /** [head, token, dHead] to [token, head · dHead], the inverse of {@link #split}. */
  private Tensor merge(Tensor byHead) {
    return byHead.permute(1, 0, 2).reshape(byHead.shape().size(1), heads * dHead());
  }

  private Variable split(Variable x) {
    int tokens = x.shape().size(0);
    return x.reshape(Shape.of(tokens, heads, dHead())).permute(1, 0, 2);
  }
}
