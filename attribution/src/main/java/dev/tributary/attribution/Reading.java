package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Node.Direction;
import dev.tributary.attribution.Node.HeadPair;
import dev.tributary.attribution.Node.Latent;
import dev.tributary.attribution.Node.Neuron;
import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.AttentionPath;
import dev.tributary.transformer.Block;
import dev.tributary.transformer.Mlp;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.SparseAutoencoder;
import java.util.Set;
import java.util.function.BiFunction;

/**
 * A scalar as a function of the rows of the residual stream that it reads directly: what one node
 * computes, everything else of the run held fixed. Only those rows and the slices of the weights
 * that the scalar needs are computed.
 *
 * @param afterBlock which residual stream, see {@link Run#residualAfter}
 * @param firstToken of the rows
 * @param endToken after the last row
 * @param function from the rows, [token, dModel], to a tensor of one element
 */
public record Reading(
    int afterBlock,
    int firstToken,
    int endToken,
    BiFunction<Variable, ScaleGradient, Variable> function) {

  /** The scalar as it depends on the rows. */
  Variable of(Variable rows, ScaleGradient scaleGradient) {
    return function.apply(rows, scaleGradient).reshape();
  }

  /** The scalar as it depends on all that the run computed before. */
  Variable of(Run run, ScaleGradient scaleGradient) {
    return of(run.residualAfter(afterBlock).slice(0, firstToken, endToken), scaleGradient);
  }

  /** The rows of a run that are read. */
  Tensor rows(Run run) {
    return run.residualAfter(afterBlock).value().slice(0, firstToken, endToken);
  }

  /** How the scalar reads the residual stream of a run, in the innermost scope. */
  ResidualGradient gradient(Run run, ScaleGradient scaleGradient) {
    try (Scope scope = Scope.open()) {
      Variable rows = Variable.input(rows(run));
      Tensor gradient = Jacobian.of(of(rows, scaleGradient), rows).gradient().get(0);
      return new ResidualGradient(afterBlock, firstToken, scope.keep(gradient));
    }
  }

  /** How the scalar moves along a vector at a token: one push. */
  double push(Run run, int token, Tensor write, ScaleGradient scaleGradient) {
    try (Scope scope = Scope.open()) {
      Tensor rows = rows(run);
      Tensor tangent = rowsOf(token, write).reshape(rows.shape().prepend(1));
      return Jacobian.pushOnce(r -> of(r, scaleGradient), rows, tangent).tangents().item();
    }
  }

  /** A vector in the row of its token, zeros in the others that are read. */
  private Tensor rowsOf(int token, Tensor vector) {
    return vector
        .reshape(1, vector.shape().length())
        .pad(0, token - firstToken, endToken - firstToken);
  }

  /**
   * What the scalar loses if a vector at a token is taken out of the rows; exact, not linearised.
   */
  double lostWithout(Run run, int token, Tensor write) {
    try (Scope scope = Scope.open()) {
      Tensor rows = rows(run);
      Tensor taken = rowsOf(token, write);
      Tensor before = of(Variable.constant(rows), ScaleGradient.LIVE).value();
      Tensor after = of(Variable.constant(rows.minus(taken)), ScaleGradient.LIVE).value();
      return before.item() - after.item();
    }
  }

  /** The scalar times a number that is held fixed. */
  Reading times(double factor) {
    return new Reading(
        afterBlock, firstToken, endToken, (r, scale) -> function.apply(r, scale).times(factor));
  }

  // ---- what nodes compute ------------------------------------------------------------------

  static Reading neuron(Run run, Neuron neuron, Stage stage) {
    Block block = run.model().block(neuron.layer());
    return new Reading(
        2 * neuron.layer() + 1,
        neuron.token(),
        neuron.token() + 1,
        (r, scaleGradient) -> {
          Variable preActivation =
              block
                  .mlp()
                  .input()
                  .columns(neuron.neuron(), neuron.neuron() + 1)
                  .apply(block.mlpNorm().apply(r, scaleGradient));
          return stage == Stage.ACTIVATION
              ? block.mlp().activation().apply(preActivation)
              : preActivation;
        });
  }

  /** Score or probability of a head at a pair, entered through its query, its key or both. */
  static Reading pattern(Run run, HeadPair pair, Set<AttentionPath> paths, Stage stage) {
    requireArgument(
        !paths.isEmpty() && Set.of(AttentionPath.QUERY, AttentionPath.KEY).containsAll(paths),
        "%s: a pattern is entered through query or key, not through %s",
        pair,
        paths);
    Block block = run.model().block(pair.layer());
    int query = pair.query();
    boolean throughKey = paths.contains(AttentionPath.KEY);
    return new Reading(
        2 * pair.layer(),
        throughKey ? 0 : query,
        query + 1,
        (r, scaleGradient) -> {
          Attention head = block.attention().head(pair.head());
          Variable x = block.attentionNorm().apply(r, scaleGradient);
          int last = x.shape().size(0);
          Variable q =
              paths.contains(AttentionPath.QUERY)
                  ? head.query(x.slice(0, last - 1, last))
                  : recorded(run, Site.QUERY, pair, query, query + 1);
          Variable k = throughKey ? head.key(x) : recorded(run, Site.KEY, pair, 0, query + 1);
          Variable scores = head.scores(q, k, query);
          Variable read = stage == Stage.ACTIVATION ? head.pattern(scores, query) : scores;
          return read.slice(-1, pair.key(), pair.key() + 1);
        });
  }

  /**
   * What a head takes from its key, weighted by the recorded probability, along a vector.
   *
   * @param along held fixed, dHead elements
   */
  static Reading value(Run run, HeadPair pair, Tensor along) {
    Block block = run.model().block(pair.layer());
    double probability =
        run.value(Site.PATTERN, pair.layer()).get(pair.head(), pair.query(), pair.key());
    Variable read = Variable.constant(along.reshape(1, 1, along.shape().length()));
    return new Reading(
        2 * pair.layer(),
        pair.key(),
        pair.key() + 1,
        (r, scaleGradient) ->
            block
                .attention()
                .head(pair.head())
                .value(block.attentionNorm().apply(r, scaleGradient))
                .matmulTransposed(read)
                .times(probability));
  }

  /** What was recorded of one head at some tokens, held fixed: [1, token, dHead]. */
  private static Variable recorded(Run run, Site site, HeadPair pair, int from, int to) {
    Tensor byHead = run.value(site, pair.layer());
    return Variable.constant(byHead.slice(0, pair.head(), pair.head() + 1).slice(1, from, to));
  }

  static Reading latent(Run run, Latent latent, Stage stage) {
    Vector vector = encoded(run, latent.site(), latent.layer(), latent.token());
    SparseAutoencoder autoencoder = run.model().autoencoder(latent.site(), latent.layer());
    return new Reading(
        vector.afterBlock,
        vector.firstToken,
        latent.token() + 1,
        (r, scaleGradient) -> {
          Variable y = vector.function.apply(r, scaleGradient);
          return stage == Stage.ACTIVATION
              ? autoencoder.latent(y, latent.latent())
              : autoencoder.preActivation(y, latent.latent());
        });
  }

  /**
   * What an autoencoder encodes at a token, as a function of the rows of the residual stream that
   * it reads.
   *
   * @param afterBlock which residual stream, see {@link Run#residualAfter}
   * @param firstToken of the rows; the last is the token's
   * @param function from the rows, [token, dModel], to [1, n]
   */
  record Vector(
      int afterBlock, int firstToken, BiFunction<Variable, ScaleGradient, Variable> function) {
    /** Gradients in the rows of scalars that move with the vector, [k, n] to [k, token, dModel]. */
    Tensor pull(Run run, int token, Tensor cotangents, ScaleGradient scaleGradient) {
      try (Scope scope = Scope.open()) {
        Variable rows =
            Variable.input(run.residualAfter(afterBlock).value().slice(0, firstToken, token + 1));
        Tensor directions =
            cotangents.reshape(cotangents.shape().size(0), 1, cotangents.shape().size(1));
        Variable vector = function.apply(rows, scaleGradient);
        return scope.keep(Jacobian.of(vector, rows).pull(directions).get(0));
      }
    }
  }

  static Vector encoded(Run run, Site site, int layer, int token) {
    Block block = run.model().block(layer);
    return site == Site.ATTENTION_OUTPUT
        ? new Vector(2 * layer, 0, (r, scale) -> attentionOutput(block, r, scale))
        : new Vector(2 * layer + 1, token, (r, scale) -> mlpSite(block, site, r, scale));
  }

  /** Output of the attention at the last row, all of its inputs read from the rows up to there. */
  private static Variable attentionOutput(Block block, Variable r, ScaleGradient scaleGradient) {
    Attention attention = block.attention();
    Variable x = block.attentionNorm().apply(r, scaleGradient);
    int last = x.shape().size(0) - 1;
    Variable q = attention.query(x.slice(0, last, last + 1));
    Variable pattern = attention.pattern(attention.scores(q, attention.key(x), last), last);
    return attention.output(pattern.matmul(attention.value(x)));
  }

  private static Variable mlpSite(Block block, Site site, Variable r, ScaleGradient scaleGradient) {
    Mlp mlp = block.mlp();
    Variable activation =
        mlp.activation().apply(mlp.input().apply(block.mlpNorm().apply(r, scaleGradient)));
    return site == Site.MLP_ACTIVATION ? activation : mlp.output().apply(activation);
  }

  static Reading direction(Direction direction) {
    Variable vector = Variable.constant(direction.vector());
    return new Reading(
        direction.block(),
        direction.token(),
        direction.token() + 1,
        (r, scaleGradient) -> r.times(vector).sum(-1));
  }
}
