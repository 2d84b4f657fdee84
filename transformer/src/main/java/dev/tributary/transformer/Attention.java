package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Products;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.IntUnaryOperator;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;

/**
 * Self-attention of several heads, causal in all models of language. Keys and values may have fewer
 * heads than queries: then as many query heads that follow each other share one.
 *
 * @see <a href="https://arxiv.org/abs/1706.03762">Vaswani et al. 2017, section 3.2</a>
 * @see <a href="https://arxiv.org/abs/2305.13245">Ainslie et al. 2023, of shared key heads</a>
 */
public final class Attention implements Part {
  private final AttentionConfig config;
  private final int layer;
  private final Wiring wiring;
  private final Projection query;
  private final Projection key;
  private final Projection value;
  private final Scores scores;
  private final Linear output;

  Attention(AttentionConfig config, int layer, Point reads, Point writes, Loaded weights) {
    this.config = config;
    this.layer = layer;
    this.wiring =
        new Wiring(
            layer,
            reads,
            writes,
            weights.norm(config.entry(), Weight.ATTENTION_NORM_GAIN, Weight.ATTENTION_NORM_BIAS),
            weights.outlet(
                config.outlet(), Weight.ATTENTION_OUTLET_GAIN, Site.ATTENTION_OUTLET_SCALE, layer));
    Optional<NormConfig> norm = config.headNorm().map(AttentionConfig.HeadNorm::norm);
    boolean acrossHeads =
        config
            .headNorm()
            .filter(own -> own.extent() == AttentionConfig.HeadNorm.Extent.ALL_HEADS)
            .isPresent();
    this.query =
        new Projection(
            config.dHead(),
            weights.linear(Weight.QUERY, Weight.QUERY_BIAS),
            weights.norm(norm, Weight.QUERY_NORM_GAIN, Weight.QUERY_NORM_BIAS),
            acrossHeads,
            config.positions());
    this.key =
        new Projection(
            config.dHead(),
            weights.linear(Weight.KEY, Weight.KEY_BIAS),
            weights.norm(norm, Weight.KEY_NORM_GAIN, Weight.KEY_NORM_BIAS),
            acrossHeads,
            config.positions());
    this.value =
        new Projection(
            config.dHead(),
            weights.linear(Weight.VALUE, Weight.VALUE_BIAS),
            Optional.empty(),
            false,
            new Positions.None());
    this.scores = new Scores(config);
    this.output = weights.linear(Weight.ATTENTION_OUTPUT, Weight.ATTENTION_OUTPUT_BIAS);
  }

  private Attention(Attention other, Positions positions) {
    config = other.config;
    layer = other.layer;
    wiring = other.wiring;
    query = other.query.with(positions);
    key = other.key.with(positions);
    value = other.value;
    scores = other.scores;
    output = other.output;
  }

  /** The same where queries and keys depend otherwise on where their tokens stand. */
  Attention with(Positions positions) {
    return new Attention(this, positions);
  }

  Variable apply(Variable residual, Site.Visitor visitor) {
    Variable x =
        entry()
            .map(n -> n.apply(residual, scale -> visitor.at(Site.ATTENTION_SCALE, layer, scale)))
            .orElse(residual);
    Variable q = input(InputPath.QUERY, Site.QUERY, Site.QUERY_SCALE, residual, x, visitor);
    Variable k = input(InputPath.KEY, Site.KEY, Site.KEY_SCALE, residual, x, visitor);
    Variable v = input(InputPath.VALUE, Site.VALUE, Site.VALUE, residual, x, visitor);
    Variable keys = visitor.fromTheFirst(Site.KEY, layer, k);
    Variable values = visitor.fromTheFirst(Site.VALUE, layer, v);
    Variable mixed = visitor.at(Site.HEAD_OUTPUT, layer, mixed(q, keys, values, visitor));
    return visitor.at(
        Site.ATTENTION_OUTPUT,
        layer,
        output(mixed, scale -> visitor.at(Site.ATTENTION_OUTLET_SCALE, layer, scale)));
  }

  private Variable mixed(Variable q, Variable keys, Variable values, Site.Visitor visitor) {
    if (visitor.prompts() > 1) {
      return headOutput(visitor.prompts(), q, keys, values);
    }
    Variable pattern = visitor.at(Site.PATTERN, layer, scores.pattern(q, keys, layer, visitor));
    return headOutput(pattern, values);
  }

  /** Queries, keys or values; where heads read copies of their own, of each head. */
  private Variable input(
      InputPath path, Site site, Site scales, Variable residual, Variable x, Site.Visitor visitor) {
    Projection projection = projection(path);
    int first = visitor.firstToken();
    Optional<StreamReader.Differences> own = visitor.differences(site, layer);
    return visitor.at(
        site,
        layer,
        own.isPresent()
            ? ofEach(path, residual, x, own.get(), first)
            : visitor.prompts() > 1
                ? projection.ofPrompts(
                    visitor.prompts(), x, scale -> visitor.at(scales, layer, scale))
                : projection.apply(x, first, scale -> visitor.at(scales, layer, scale)));
  }

  private Variable ofEach(
      InputPath path, Variable residual, Variable x, StreamReader.Differences own, int first) {
    Projection projection = projection(path);
    Variable copies = normalised(own.of(residual), ScaleGradient.LIVE);
    List<Integer> apart = own.numbers();
    List<Variable> heads = new ArrayList<>();
    for (int head = 0; head < config.heads(); head++) {
      int copy = apart.indexOf(head);
      Variable read = copy < 0 ? x : copies.slice(0, copy, copy + 1).reshape(x.shape());
      int column = path == InputPath.QUERY ? head : keyHead(head);
      heads.add(projection.apply(read, first, ScaleGradient.LIVE::seen, column));
    }
    return Variable.concat(0, heads);
  }

  /** {@return the number of heads, of queries and patterns} */
  public int heads() {
    return config.heads();
  }

  /** {@return the number of heads of keys and values} */
  public int keyHeads() {
    return config.keyHeads();
  }

  /** {@return the width of a query, key or value of one head} */
  public int dHead() {
    return config.dHead();
  }

  /**
   * {@return the key head that a head reads}
   *
   * @param head from 0
   */
  public int keyHead(int head) {
    return head / (config.heads() / config.keyHeads());
  }

  /**
   * What belongs to the key head of each head.
   *
   * @param byKeyHead [key head, ..]
   * @return [head, ..]
   */
  public Tensor perHead(Tensor byKeyHead) {
    if (config.heads() == config.keyHeads()) {
      return byKeyHead;
    }
    Shape each = byKeyHead.shape().subShape(1, byKeyHead.shape().rank());
    int sharing = config.heads() / config.keyHeads();
    return byKeyHead
        .reshape(each.prepend(config.keyHeads(), 1))
        .broadcastTo(each.prepend(config.keyHeads(), sharing))
        .reshape(each.prepend(config.heads()));
  }

  // ---- queries, keys, values ---------------------------------------------------------------

  /**
   * Queries of every head.
   *
   * @param x rows that they are computed from, {@link #normalised}, [token, dModel]
   * @param firstToken the token of the first row
   * @param scaleGradient whether derivatives see the scale of a norm of queries move
   * @return [head, token, dHead]
   */
  public Variable query(Variable x, int firstToken, ScaleGradient scaleGradient) {
    return query.apply(x, firstToken, scaleGradient::seen);
  }

  /**
   * Queries of one head, [1, token, dHead].
   *
   * @param x as for all heads
   * @param firstToken the token of the first row
   * @param scaleGradient as for all heads
   * @param head from 0
   * @return [1, token, dHead]
   */
  public Variable query(Variable x, int firstToken, ScaleGradient scaleGradient, int head) {
    return query.apply(x, firstToken, scaleGradient::seen, head);
  }

  /**
   * Queries of every head where they were recorded: only derivatives are new.
   *
   * @param x as without
   * @param firstToken the token of the first row
   * @param scaleGradient as without
   * @param recorded the result, [head, token, dHead]
   * @return the recorded queries, with their derivative along {@code x}
   */
  public Variable query(Variable x, int firstToken, ScaleGradient scaleGradient, Tensor recorded) {
    return query.apply(x, firstToken, scaleGradient, recorded);
  }

  /**
   * Keys of every key head.
   *
   * @param x rows that they are computed from, {@link #normalised}, [token, dModel]
   * @param firstToken the token of the first row
   * @param scaleGradient whether derivatives see the scale of a norm of keys move
   * @return [key head, token, dHead]
   */
  public Variable key(Variable x, int firstToken, ScaleGradient scaleGradient) {
    return key.apply(x, firstToken, scaleGradient::seen);
  }

  /**
   * Keys that one head reads, [1, token, dHead].
   *
   * @param x as for all key heads
   * @param firstToken the token of the first row
   * @param scaleGradient as for all key heads
   * @param head of queries, from 0
   * @return [1, token, dHead]
   */
  public Variable key(Variable x, int firstToken, ScaleGradient scaleGradient, int head) {
    return key.apply(x, firstToken, scaleGradient::seen, keyHead(head));
  }

  /**
   * Keys of every key head where they were recorded: only derivatives are new.
   *
   * @param x as without
   * @param firstToken the token of the first row
   * @param scaleGradient as without
   * @param recorded the result, [key head, token, dHead]
   * @return the recorded keys, with their derivative along {@code x}
   */
  public Variable key(Variable x, int firstToken, ScaleGradient scaleGradient, Tensor recorded) {
    return key.apply(x, firstToken, scaleGradient, recorded);
  }

  /**
   * Values of every key head.
   *
   * @param x rows that they are computed from, {@link #normalised}, [token, dModel]
   * @return [key head, token, dHead]
   */
  public Variable value(Variable x) {
    return value.apply(x, 0, scale -> scale);
  }

  /**
   * Values that one head reads.
   *
   * @param x as for all key heads
   * @param head of queries, from 0
   * @return [1, token, dHead]
   */
  public Variable value(Variable x, int head) {
    return value.apply(x, 0, scale -> scale, keyHead(head));
  }

  /**
   * Values of every key head where they were recorded: only derivatives are new.
   *
   * @param x as without
   * @param recorded the result, [key head, token, dHead]
   * @return the recorded values, with their derivative along {@code x}
   */
  public Variable value(Variable x, Tensor recorded) {
    return value.apply(x, 0, ScaleGradient.LIVE, recorded);
  }

  /**
   * The query, key or value of one head at a token as an affine function of what it is computed
   * from: the scale of its norm is held as a run recorded it.
   *
   * @param path which of the three
   * @param x the row that it is computed from, {@link #normalised}, [1, dModel]
   * @param run whose scales are held
   * @param token of the row
   * @param head of queries, from 0
   * @return [1, 1, dHead]
   */
  public Variable held(InputPath path, Variable x, Run run, int token, int head) {
    int own = path == InputPath.QUERY ? head : keyHead(head);
    Site site = path == InputPath.QUERY ? Site.QUERY_SCALE : Site.KEY_SCALE;
    return projection(path)
        .apply(
            x,
            token,
            live -> {
              Tensor scale = run.value(site, layer).slice(-2, token, token + 1);
              return Variable.constant(
                  scale.shape().rank() == 2 ? scale : scale.slice(0, own, own + 1));
            },
            own);
  }

  // ---- scores and pattern ------------------------------------------------------------------

  /**
   * Scaled and capped query-key products, minus infinity where the query does not see the key: it
   * is later, or outside the window.
   *
   * @param q [head, query, dHead], the first of which is token {@code firstQuery}
   * @param k [key head, key, dHead], the first of which is token 0; of one head, both of one
   * @param firstQuery token of the first query, from 0
   * @return [head, query, key]
   */
  public Variable scores(Variable q, Variable k, int firstQuery) {
    return scores.of(q, k, firstQuery);
  }

  /**
   * {@return whether a query sees a key: it is not later, nor outside the window}
   *
   * @param query a token
   * @param key a token
   */
  public boolean sees(int query, int key) {
    return scores.sees(query, key);
  }

  /**
   * Scores of some queries of a run, those of one key computed anew.
   *
   * @param run that recorded queries and keys
   * @param token whose key it is
   * @param k the key, [key head, 1, dHead]
   * @param from the token of the first query, not before the key's
   * @param to the token after the last query
   * @return [head, query, key]
   */
  public Variable scoresWithKey(Run run, int token, Variable k, int from, int to) {
    Variable queries = Variable.constant(run.value(Site.QUERY, layer).slice(1, from, to));
    Variable keys = Variable.constant(run.value(Site.KEY, layer));
    Tensor all = scores.of(queries, keys, from).value();
    Variable column = scores.unmasked(queries, k);
    int seen = Math.max(0, token + config.window().orElse(run.length()) - from);
    if (seen < to - from) {
      Tensor beyond = all.slice(1, seen, to - from).slice(2, token, token + 1); // -infinity
      column = Variable.concat(1, List.of(column.slice(1, 0, seen), Variable.constant(beyond)));
    }
    return withEntry(2, all, token, column);
  }

  /** A recorded tensor with one entry along an axis replaced by what moves. */
  private static Variable withEntry(int axis, Tensor recorded, int index, Variable entry) {
    return Variable.concat(
        axis,
        List.of(
            Variable.constant(recorded.slice(axis, 0, index)),
            entry,
            Variable.constant(recorded.slice(axis, index + 1, recorded.shape().size(axis)))));
  }

  /**
   * How fast scores move with query-key products.
   *
   * @param run that recorded queries and keys
   * @param from the token of the first query
   * @param to the token after the last query
   * @param firstKey the token of the first key
   * @param endKey the token after the last key
   * @return [head, query, key]; 0 where the query does not see the key
   */
  public Tensor scoreSlopes(Run run, int from, int to, int firstKey, int endKey) {
    Tensor queries = run.value(Site.QUERY, layer).slice(1, from, to);
    Tensor keys = run.value(Site.KEY, layer).slice(1, firstKey, endKey);
    return scores.slopes(queries, from, keys, firstKey);
  }

  /**
   * Attention pattern of every head: softmax of scores over earlier tokens.
   *
   * @param scores [head, query, key], the first query of which is token {@code firstQuery}
   * @param firstQuery token of the first query, from 0
   * @return probabilities, [head, query, key]; each row sums to 1, keys after the query are 0
   */
  public Variable pattern(Variable scores, int firstQuery) {
    return this.scores.softmax(scores, firstQuery);
  }

  /**
   * Values weighted by the pattern.
   *
   * @param pattern [head, query, key]
   * @param values [key head, key, dHead]
   * @return [head, query, dHead]
   */
  public Variable headOutput(Variable pattern, Variable values) {
    return Scores.perKeyHead(pattern, values, Variable::matmul);
  }

  /**
   * Outputs of heads in several prompts of one length, whose tokens do not see each other.
   *
   * @param prompts how many
   * @param q queries of one prompt after the other, [head, token, dHead]
   * @param k keys, [key head, token, dHead]
   * @param v values, [key head, token, dHead]
   * @return [head, token, dHead]
   */
  public Variable headOutput(int prompts, Variable q, Variable k, Variable v) {
    int keyHeads = k.shape().size(0);
    int sharing = q.shape().size(0) / keyHeads;
    Variable keys = k.reshape(apart(prompts, k.shape()));
    Variable values = v.reshape(apart(prompts, v.shape()));
    Variable queries = exchanged(q, keyHeads, sharing, prompts).reshape(apart(prompts, q.shape()));
    Variable outputs = headOutput(scores.pattern(queries, keys, 0), values);
    return exchanged(outputs, keyHeads, prompts, sharing).reshape(q.shape());
  }

  /** Heads that share a key head beside each other, prompt by prompt, or back. */
  private static Variable exchanged(Variable x, int keyHeads, int outer, int inner) {
    return outer == 1 || inner == 1
        ? x
        : x.reshape(keyHeads, outer, inner, x.shape().length() / (keyHeads * outer * inner))
            .permute(0, 2, 1, 3);
  }

  /** Rows of each head, one prompt after the other, as those of a head for each prompt. */
  static Shape apart(int prompts, Shape byHead) {
    return Shape.of(byHead.size(0) * prompts, byHead.size(1) / prompts, byHead.size(2));
  }

  /**
   * Products of values with a vector for each head and query.
   *
   * @param directions [head, query, dHead]
   * @param values [key head, key, dHead]
   * @return [head, query, key]
   */
  public Variable valuesAlong(Variable directions, Variable values) {
    return Scores.perKeyHead(directions, values, Variable::matmulTransposed);
  }

  // ---- output ------------------------------------------------------------------------------

  /**
   * What the heads add to the residual stream, with the bias.
   *
   * @param headOutput values weighted by the pattern, [head, token, dHead]
   * @param scaleGradient whether derivatives see the scale of a norm of the output move
   * @return [token, dModel]
   */
  public Variable output(Variable headOutput, ScaleGradient scaleGradient) {
    return output(headOutput, scaleGradient::seen);
  }

  private Variable output(Variable headOutput, UnaryOperator<Variable> scale) {
    Variable computed = Variable.resultOf(() -> output.apply(inRows(headOutput)));
    return outlet().apply(computed, scale);
  }

  /**
   * What each head adds to the residual stream, [head, token, dModel], see {@link Outlet#share}.
   */
  Variable writes(Variable headOutput, Optional<Variable> scale) {
    return outlet().share(headOutput.matmul(Variable.constant(outputWeight())), scale);
  }

  /** The same of one head, [1, token, dModel]. */
  Variable write(int head, Variable headOutput, Optional<Variable> scale) {
    return outlet()
        .share(
            headOutput.slice(0, head, head + 1).matmul(Variable.constant(outputWeight(head))),
            scale);
  }

  /** How far what each head writes in a run is from what it writes in another one. */
  Products moved(Run from, Run to) {
    Tensor outputs =
        outlet()
            .perToken(to, 0, to.value(Site.HEAD_OUTPUT, layer))
            .minus(outlet().perToken(from, 0, from.value(Site.HEAD_OUTPUT, layer)));
    return outlet().isNone()
        ? Products.of(outputs, outputWeight())
        : Products.of(outlet().fixed(outputs.matmul(outputWeight())));
  }

  /**
   * {@return outputs of heads one after the other, [token, head · dHead]}
   *
   * @param headOutput [head, token, dHead]
   */
  public Variable inRows(Variable headOutput) {
    int tokens = headOutput.shape().size(1);
    return headOutput.permute(1, 0, 2).reshape(tokens, config.heads() * config.dHead());
  }

  /**
   * How the outputs of heads move with the query of one token, the key, and the value.
   *
   * @param run that recorded the others
   * @param token whose inputs move
   * @param path which of them moves
   * @param moving [head or key head, 1, dHead]
   * @param from the token of the first output, not before that token
   * @param to the token after the last output
   * @return the outputs at these tokens, [head, token, dHead]
   */
  public Variable headOutputWith(
      Run run, int token, InputPath path, Variable moving, int from, int to) {
    Variable values = Variable.constant(run.value(Site.VALUE, layer));
    return switch (path) {
      case QUERY -> {
        Tensor queries = run.value(Site.QUERY, layer).slice(1, from, to);
        Variable seen =
            from > token ? Variable.constant(queries) : withEntry(1, queries, 0, moving);
        Variable keys = Variable.constant(run.value(Site.KEY, layer));
        yield headOutput(pattern(scores(seen, keys, from), from), values);
      }
      case KEY -> headOutput(pattern(scoresWithKey(run, token, moving, from, to), from), values);
      case VALUE ->
          headOutput(
              Variable.constant(run.value(Site.PATTERN, layer).slice(1, from, to)),
              withEntry(1, run.value(Site.VALUE, layer), token, moving));
      case GATE, UP, ALL -> throw notOne(path);
    };
  }

  private static IllegalArgumentException notOne(InputPath path) {
    return new IllegalArgumentException(
        "a head is entered through one of query, key and value, not through " + path);
  }

  /** {@return the output weights head by head, before the outlet, [head · dHead, dModel]} */
  public Tensor outputRows() {
    return output.weight();
  }

  /** {@return the same of each head, [head, dHead, dModel]; a copy where they are encoded} */
  public Tensor outputWeight() {
    return outputRows().reshape(config.heads(), config.dHead(), outputRows().shape().size(1));
  }

  /**
   * {@return the same of one head, [dHead, dModel]}
   *
   * @param head from 0
   */
  public Tensor outputWeight(int head) {
    return outputRows().slice(0, head * config.dHead(), (head + 1) * config.dHead());
  }

  /**
   * Cotangents at queries, keys or values pulled back to copies of the residual stream, as if each
   * head read one of its own, but for the scale of the entry: see {@link Norm#directions}.
   *
   * @param path which of the three
   * @param run in whose values
   * @param cotangents of each head of queries, [head, token, dHead]
   * @return [head, token, dModel]
   */
  public Products directions(InputPath path, Run run, Tensor cotangents) {
    IntUnaryOperator made = path == InputPath.QUERY ? head -> head : this::keyHead;
    int[] heads = IntStream.range(0, config.heads()).map(made).toArray();
    return projection(path)
        .directions(
            entry(),
            () -> normalised(run.residual(reads()).detach(), ScaleGradient.LIVE).value(),
            run.prompts(),
            heads,
            cotangents);
  }

  /**
   * {@return what makes one of the three inputs of the heads}
   *
   * @param path QUERY, KEY or VALUE
   */
  public Projection projection(InputPath path) {
    return switch (path) {
      case QUERY -> query;
      case KEY -> key;
      case VALUE -> value;
      case GATE, UP, ALL -> throw notOne(path);
    };
  }

  // ---- as a part ---------------------------------------------------------------------------

  @Override
  public Wiring wiring() {
    return wiring;
  }

  @Override
  public Site output() {
    return Site.ATTENTION_OUTPUT;
  }

  @Override
  public Optional<Tensor> bias() {
    return output.bias();
  }
}
