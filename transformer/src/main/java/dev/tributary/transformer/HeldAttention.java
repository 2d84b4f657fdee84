package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import java.util.Optional;

/**
 * An attention whose pattern and scales of norms are held as a run has them: an affine map of the
 * residual stream that it reads. Gains, means and multipliers are in its weights and scales in its
 * pattern, so that many directions pass it as products of matrices alone. Lives in the scope in
 * which it was made.
 */
public final class HeldAttention {
  private final Attention attention;
  private final Run run;

  /** Values from the stream, transposed, the entry's gain and mean included, [kv · dHead, d]. */
  private final Tensor values;

  /** What heads write, transposed, the outlet's gain and mean included, [d, head · dHead]. */
  private final Tensor output;

  /** The pattern over the scales of its queries and keys, [head, query, key], if it is kept. */
  private final Optional<Tensor> kept;

  private HeldAttention(
      Attention attention, Run run, Tensor values, Tensor output, Optional<Tensor> kept) {
    this.attention = attention;
    this.run = run;
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
    Attention attention = run.model().attention(layer);
    try (Scope scope = Scope.open()) {
      Tensor turned = attention.projection(InputPath.VALUE).weight().permute(1, 0);
      Tensor values = attention.entry().map(norm -> norm.directions(turned)).orElse(turned);
      Tensor output = attention.outlet().fixed(attention.outputRows()).permute(1, 0);
      Optional<Tensor> kept =
          run.has(Place.of(Site.PATTERN, layer))
              ? Optional.of(scope.keep(scaled(run, attention, run.length())))
              : Optional.empty();
      return new HeldAttention(attention, run, scope.keep(values), scope.keep(output), kept);
    }
  }

  /** The pattern of the first tokens over the scales of the norms at its queries and keys. */
  private static Tensor scaled(Run run, Attention attention, int tokens) {
    int layer = attention.layer();
    try (Scope scope = Scope.open()) {
      Tensor pattern =
          run.has(Place.of(Site.PATTERN, layer))
              ? run.value(Site.PATTERN, layer).slice(1, 0, tokens).slice(2, 0, tokens)
              : attention
                  .pattern(
                      attention.scores(
                          run.variable(Site.QUERY, layer).detach().slice(1, 0, tokens),
                          run.variable(Site.KEY, layer).detach().slice(1, 0, tokens),
                          0),
                      0)
                  .value();
      Tensor outer = attention.outlet().perToken(run, 0, pattern);
      Tensor residual = run.residual(attention.reads()).value().slice(0, 0, tokens);
      Optional<Tensor> scales = attention.entry().map(norm -> norm.scale(residual));
      Tensor whole = scales.map(own -> outer.over(own.reshape(1, 1, tokens))).orElse(outer);
      return scope.keep(whole);
    }
  }

  private Tensor pattern(int tokens) {
    return kept.map(all -> all.slice(1, 0, tokens).slice(2, 0, tokens))
        .orElseGet(() -> scaled(run, attention, tokens));
  }

  /** {@return the attention that is held} */
  public Attention attention() {
    return attention;
  }

  /**
   * Cotangents where it writes as cotangents where it reads.
   *
   * @param cotangents of several directions at the first tokens, [token, direction, dModel]
   * @return of the same shape
   */
  public Tensor pull(Tensor cotangents) {
    try (Scope scope = Scope.open()) {
      return scope.keep(atValues(cotangents).matmul(values));
    }
  }

  /**
   * The same of directions that are each at one token alone, for less.
   *
   * @param cotangents [direction, dModel]
   * @param at the token of each
   * @param tokens how many of the first tokens are wanted, those of all directions among them
   * @return [token, direction, dModel]
   */
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

  /**
   * Products of {@link #pull} with a row of each token, for the cost of half of it.
   *
   * @param cotangents as there
   * @param rows of the stream that it reads, [token, dModel]
   * @return [token, direction, 1]
   */
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

  /**
   * What it writes of what is added to the stream that it reads: the adjoint of {@link #pull}.
   *
   * @param tangents of several directions at all tokens, [token, direction, dModel]
   * @return of the same shape
   */
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

  /** {@return what it writes of a residual stream of zeros: its biases, [token, dModel]} */
  public Tensor constant() {
    int tokens = run.length();
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
      Tensor written = attention.outlet().push(run, 0, biased);
      Optional<Tensor> shift = attention.outlet().bias();
      return scope.keep(shift.map(bias -> written.plus(bias.reshape(1, width))).orElse(written));
    }
  }
}
