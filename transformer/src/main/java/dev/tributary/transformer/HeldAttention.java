package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import java.util.Optional;

/**
 * An attention whose pattern and scales of norms are held as a run has them: an affine map of the
 * residual stream that it reads. Gains, means and multipliers are in its weights and scales in its
 * pattern, so that many directions pass it as products of matrices alone.
 */
public final class HeldAttention implements HeldPath {
  private final Attention attention;
  private final Run run;

  /** The token of the first row. */
  private final int from;

  /** The number of tokens from there on. */
  private final int length;

  /** Values from the stream, transposed, the entry's gain and mean included, [kv · dHead, d]. */
  private final Tensor values;

  /** What heads write, transposed, the outlet's gain and mean included, [d, head · dHead]. */
  private final Tensor output;

  /** The pattern over the scales of its queries and keys, [head, query, key], if it is kept. */
  private final Optional<Tensor> kept;

  private HeldAttention(
      Attention attention,
      Run run,
      int from,
      int length,
      Tensor values,
      Tensor output,
      Optional<Tensor> kept) {
    this.attention = attention;
    this.run = run;
    this.from = from;
    this.length = length;
    this.values = values;
    this.output = output;
    this.kept = kept;
  }

  /**
   * {@return an attention as it was in a run} Where the run recorded no pattern, it is computed
   * anew from queries and keys for each use.
   *
   * @param run that recorded the residual stream, and the pattern or queries and keys
   * @param layer from 0
   * @throws IllegalArgumentException if there is no such layer, or the run did not record these
   */
  public static HeldAttention of(Run run, int layer) {
    return of(run, layer, 0, run.length());
  }

  /**
   * {@return an attention as it was in a run among some tokens}
   *
   * @param run as without them
   * @param layer from 0
   * @param from the first token
   * @param to the token after the last
   * @throws IllegalArgumentException as without them
   */
  public static HeldAttention of(Run run, int layer, int from, int to) {
    Attention attention = run.model().attention(layer);
    try (Scope scope = Scope.open()) {
      Tensor turned = attention.projection(InputPath.VALUE).weight().permute(1, 0);
      Tensor values = attention.entry().map(norm -> norm.directions(turned)).orElse(turned);
      Tensor output = attention.outlet().fixed(attention.outputRows()).permute(1, 0);
      Optional<Tensor> kept =
          run.has(Place.of(Site.PATTERN, layer))
              ? Optional.of(scope.keep(scaled(run, attention, from, to)))
              : Optional.empty();
      return new HeldAttention(
          attention, run, from, to - from, scope.keep(values), scope.keep(output), kept);
    }
  }

  /** The pattern among some tokens over the scales of the norms at its queries and keys. */
  private static Tensor scaled(Run run, Attention attention, int from, int to) {
    int layer = attention.layer();
    try (Scope scope = Scope.open()) {
      Tensor pattern =
          run.has(Place.of(Site.PATTERN, layer))
              ? run.value(Site.PATTERN, layer).slice(1, from, to)
              : attention
                  .pattern(
                      attention.scores(
                          run.variable(Site.QUERY, layer).detach().slice(1, from, to),
                          run.variable(Site.KEY, layer).detach().slice(1, 0, to),
                          from),
                      from)
                  .value();
      Tensor outer = attention.outlet().perToken(run, from, pattern.slice(2, from, to));
      Tensor residual = run.residual(attention.reads()).value().slice(0, from, to);
      Optional<Tensor> scales = attention.entry().map(norm -> norm.scale(residual));
      Tensor whole = scales.map(own -> outer.over(own.reshape(1, 1, to - from))).orElse(outer);
      return scope.keep(whole);
    }
  }

  private Tensor pattern(int tokens) {
    return kept.map(all -> all.slice(1, 0, tokens).slice(2, 0, tokens))
        .orElseGet(() -> scaled(run, attention, from, from + tokens));
  }

  /** {@return the attention that is held} */
  public Attention attention() {
    return attention;
  }

  @Override
  public Point reads() {
    return attention.reads();
  }

  @Override
  public Point writes() {
    return attention.writes();
  }

  @Override
  public Tensor pull(Tensor cotangents) {
    try (Scope scope = Scope.open()) {
      return scope.keep(atValues(cotangents).matmul(values));
    }
  }

  /** For less than that of directions at all tokens. */
  @Override
  public Tensor pull(Tensor cotangents, int[] at, int tokens) {
    int directions = cotangents.shape().size(0);
    int heads = attention.heads();
    int keyHeads = attention.keyHeads();
    int dHead = attention.dHead();
    int width = cotangents.shape().size(1);
    try (Scope scope = Scope.open()) {
      Tensor atHeads =
          cotangents
              .matmul(output)
              .reshape(directions, heads, dHead)
              .permute(1, 0, 2)
              .reshape(keyHeads, heads / keyHeads * directions, dHead);
      Tensor ofHeads =
          atHeads
              .matmul(values.reshape(keyHeads, dHead, width))
              .reshape(heads, directions, width)
              .permute(1, 0, 2);
      Tensor probabilities = pattern(tokens).gather(1, at).permute(1, 2, 0);
      return scope.keep(probabilities.matmul(ofHeads).permute(1, 0, 2));
    }
  }

  /** For half of what it costs to pull. */
  @Override
  public Tensor pullAlong(Tensor cotangents, Tensor rows) {
    try (Scope scope = Scope.open()) {
      Tensor seen = rows.matmulTransposed(values);
      Tensor columns = seen.reshape(seen.shape().size(0), seen.shape().size(1), 1);
      return scope.keep(atValues(cotangents).matmul(columns));
    }
  }

  /** Cotangents at values, [token, direction, key head · dHead], over the scale of the token. */
  private Tensor atValues(Tensor cotangents) {
    int tokens = cotangents.shape().size(0);
    int directions = cotangents.shape().size(1);
    int heads = attention.heads();
    int keyHeads = attention.keyHeads();
    int dHead = attention.dHead();
    try (Scope scope = Scope.open()) {
      Tensor atHeads =
          cotangents
              .matmul(output)
              .reshape(tokens, directions, heads, dHead)
              .permute(2, 0, 1, 3)
              .reshape(keyHeads, heads / keyHeads * tokens, directions * dHead);
      Tensor queries = pattern(tokens).reshape(keyHeads, heads / keyHeads * tokens, tokens);
      return scope.keep(
          queries
              .transposedMatmul(atHeads)
              .reshape(keyHeads, tokens, directions, dHead)
              .permute(1, 2, 0, 3)
              .reshape(tokens, directions, keyHeads * dHead));
    }
  }

  @Override
  public Tensor push(Tensor tangents) {
    int tokens = tangents.shape().size(0);
    int directions = tangents.shape().size(1);
    int heads = attention.heads();
    int keyHeads = attention.keyHeads();
    int dHead = attention.dHead();
    try (Scope scope = Scope.open()) {
      Tensor atValues =
          tangents
              .matmulTransposed(values)
              .reshape(tokens, directions, keyHeads, dHead)
              .permute(2, 0, 1, 3)
              .reshape(keyHeads, tokens, directions * dHead);
      Tensor queries = pattern(tokens).reshape(keyHeads, heads / keyHeads * tokens, tokens);
      Tensor atHeads =
          queries
              .matmul(atValues)
              .reshape(heads, tokens, directions, dHead)
              .permute(1, 2, 0, 3)
              .reshape(tokens, directions, heads * dHead);
      return scope.keep(atHeads.matmulTransposed(output));
    }
  }

  /**
   * {@return what of one direction passes each head at each pair of tokens, [head, query, key]; the
   * sum of all is that of what is pushed, times the cotangents}
   *
   * @param tangents where it reads, [token, 1, dModel]
   * @param cotangents where it writes, of the same shape
   */
  public Tensor pairs(Tensor tangents, Tensor cotangents) {
    int tokens = tangents.shape().size(0);
    int heads = attention.heads();
    int keyHeads = attention.keyHeads();
    int dHead = attention.dHead();
    try (Scope scope = Scope.open()) {
      Tensor atValues =
          tangents.matmulTransposed(values).reshape(tokens, keyHeads, dHead).permute(1, 0, 2);
      Tensor atHeads =
          cotangents
              .matmul(output)
              .reshape(tokens, heads, dHead)
              .permute(1, 0, 2)
              .reshape(keyHeads, heads / keyHeads * tokens, dHead);
      Tensor products = atHeads.matmulTransposed(atValues).reshape(heads, tokens, tokens);
      return scope.keep(products.times(pattern(tokens)));
    }
  }

  /** {@return what it writes of a residual stream of zeros: its biases, [token, dModel]} */
  public Tensor constant() {
    int tokens = length;
    int heads = attention.heads();
    int width = run.model().config().dModel();
    try (Scope scope = Scope.open()) {
      Tensor read =
          attention
              .entry()
              .flatMap(Norm::bias)
              .map(bias -> bias.reshape(1, width))
              .orElseGet(() -> Tensor.zeros(run.model().dtype(), values.shape().with(0, 1)));
      Tensor ofKeyHeads = attention.value(Variable.constant(read)).value();
      Tensor ofHeads = attention.perHead(ofKeyHeads); // [head, 1, dHead]
      Tensor mixed = // the probabilities of a query sum to 1
          ofHeads
              .gather(1, new int[tokens])
              .permute(1, 0, 2)
              .reshape(tokens, heads * attention.dHead());
      Tensor computed = mixed.matmul(attention.outputRows());
      Tensor biased =
          attention.bias().map(bias -> computed.plus(bias.reshape(1, width))).orElse(computed);
      Tensor written = attention.outlet().push(run, from, biased);
      Optional<Tensor> shift = attention.outlet().bias();
      return scope.keep(shift.map(bias -> written.plus(bias.reshape(1, width))).orElse(written));
    }
  }
}
