package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Node.Explained;
import dev.tributary.attribution.Node.HeadInput;
import dev.tributary.attribution.Node.HeadPair;
import dev.tributary.attribution.Node.Neuron;
import dev.tributary.attribution.Node.Source;
import dev.tributary.attribution.Node.Target;
import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Jacobian.Pushed;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.AttentionPath;
import dev.tributary.transformer.Block;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;

/**
 * How much of a node's attribution arrived from which other node.
 *
 * <p>The attribution F of a target is its activation times the metric's gradient at that
 * activation, as a function of the residual stream r that its layer reads, the gradient held fixed.
 * The edge from a source that writes w is the derivative of F along w:
 *
 * <ul>
 *   <li>{@link #into}: many sources into one target, dF/dr pulled once and multiplied with every
 *       write;
 *   <li>{@link #outOf}: one source out to many targets, w pushed once through each layer.
 * </ul>
 *
 * <p>Only what the target reads of r, and what the source changes, is computed again: rows of r and
 * slices of weights, not layers. Rows of targets: a neuron and a value read one token, a query its
 * own while the keys are held fixed, a key all tokens up to its query (they share the softmax).
 *
 * @see <a href="https://arxiv.org/abs/2310.10348">Syed et al. 2023, eq. 2</a>
 */
public final class EdgeAttribution {
  private final NodeAttribution nodes;
  private final Run run;
  private final ScaleGradient scaleGradient;

  private EdgeAttribution(NodeAttribution nodes, ScaleGradient scaleGradient) {
    this.nodes = nodes;
    this.run = nodes.run();
    this.scaleGradient = scaleGradient;
  }

  /**
   * Edges among the nodes of a run.
   *
   * @param scaleGradient whether the scale of the layer norm through which a target reads is seen
   *     to move
   */
  public static EdgeAttribution of(NodeAttribution nodes, ScaleGradient scaleGradient) {
    return new EdgeAttribution(nodes, scaleGradient);
  }

  /**
   * Edges from every source to one target: one pull.
   *
   * @throws IllegalArgumentException if the run has no such node
   */
  public NodeScores into(Target target) {
    try (Scope scope = Scope.open()) {
      return nodes.writes().dot(gradient(target)).keptBy(scope);
    }
  }

  /**
   * The edge between two nodes.
   *
   * @throws IllegalArgumentException if the run has no such node, or the source writes after the
   *     target has read
   */
  public double between(Source source, Target target) {
    source.requireIn(run);
    target.requireIn(run);
    requireArgument(
        target.isDownstreamOf(source, run.model().config()),
        "no edge from %s to %s: the source writes after the target has read",
        source,
        target);
    try (Scope scope = Scope.open()) {
      ResidualGradient gradient = gradient(target);
      int row = source.token() - gradient.firstToken();
      if (row < 0 || source.token() >= gradient.endToken()) {
        return 0;
      }
      Tensor read = gradient.rows().slice(0, row, row + 1);
      return read.times(nodes.writes().of(source)).sum(-1).item();
    }
  }

  /**
   * How a target reads the residual stream: the gradient of its attribution there.
   *
   * @throws IllegalArgumentException if the run has no such node
   */
  public ResidualGradient gradient(Target target) {
    target.requireIn(run);
    try (Scope scope = Scope.open()) {
      ResidualGradient gradient = computeGradient(target);
      scope.keep(gradient.rows());
      return gradient;
    }
  }

  private ResidualGradient computeGradient(Target target) {
    if (target instanceof Explained) {
      return nodes.finalGradient();
    }
    int after = target.readsAfter(run.model().config());
    if (target instanceof Neuron neuron) {
      Variable r = rows(run.residualBeforeMlp(neuron.layer()), neuron.token(), neuron.token() + 1);
      return gradient(after, neuron.token(), r, attribution(neuron, r));
    }
    HeadInput input = (HeadInput) target;
    HeadPair pair = input.pair();
    int from =
        switch (input.path()) {
          case QUERY -> pair.query();
          case VALUE -> pair.key();
          case KEY, ALL -> 0;
        };
    int to = input.path() == AttentionPath.VALUE ? pair.key() + 1 : pair.query() + 1;
    Variable r = rows(run.residualBeforeAttention(pair.layer()), from, to);
    return gradient(after, from, r, attribution(input, r));
  }

  private static Variable rows(Variable residual, int from, int to) {
    return Variable.input(residual.value().slice(0, from, to));
  }

  private static ResidualGradient gradient(int after, int firstToken, Variable r, Variable f) {
    return new ResidualGradient(after, firstToken, Jacobian.of(f, r).gradient().get(0));
  }

  /** F of a neuron, from its row of the residual stream. */
  private Variable attribution(Neuron neuron, Variable r) {
    Block block = run.model().block(neuron.layer());
    Variable x = block.mlpNorm().apply(r, scaleGradient);
    double gradient =
        nodes.gradient(Site.MLP_ACTIVATION, neuron.layer()).get(neuron.token(), neuron.neuron());
    return block
        .mlp()
        .input()
        .columns(neuron.neuron(), neuron.neuron() + 1)
        .apply(x)
        .gelu()
        .times(gradient);
  }

  /** F of a head entered through one input, from the rows of the residual stream that it reads. */
  private Variable attribution(HeadInput input, Variable r) {
    HeadPair pair = input.pair();
    int layer = pair.layer();
    int query = pair.query();
    Block block = run.model().block(layer);
    Attention head = block.attention().head(pair.head());
    Variable x = block.attentionNorm().apply(r, scaleGradient);
    if (input.path() == AttentionPath.VALUE) {
      Variable read = of(nodes.gradient(Site.HEAD_OUTPUT, layer), pair, query, query + 1);
      double probability = run.value(Site.PATTERN, layer).get(pair.head(), query, pair.key());
      return head.value(x).matmulTransposed(read).times(probability);
    }
    Variable q =
        input.path() == AttentionPath.QUERY
            ? head.query(x)
            : of(run.value(Site.QUERY, layer), pair, query, query + 1);
    Variable k =
        input.path() == AttentionPath.KEY
            ? head.key(x)
            : of(run.value(Site.KEY, layer), pair, 0, query + 1);
    double gradient = nodes.gradient(Site.PATTERN, layer).get(pair.head(), query, pair.key());
    return head.pattern(head.scores(q, k, query), query)
        .slice(-1, pair.key(), pair.key() + 1)
        .times(gradient);
  }

  /** What was recorded of one head at some tokens, held fixed: [1, token, dHead]. */
  private static Variable of(Tensor byHead, HeadPair pair, int from, int to) {
    return Variable.constant(byHead.slice(0, pair.head(), pair.head() + 1).slice(1, from, to));
  }

  /**
   * Edges from one source to every target: one push for each layer after it.
   *
   * @throws IllegalArgumentException if the run has no such node
   */
  public NodeScores outOf(Source source) {
    source.requireIn(run);
    try (Scope scope = Scope.open()) {
      return computeOutOf(source).keptBy(scope);
    }
  }

  private NodeScores computeOutOf(Source source) {
    int dModel = run.model().config().dModel();
    Tensor write = nodes.writes().of(source).reshape(1, 1, dModel);
    int token = source.token();
    List<NodeArray> arrays = new ArrayList<>();
    for (int layer = 0; layer < run.model().config().layers(); layer++) {
      if (source.block() <= 2 * layer) {
        arrays.addAll(intoHeads(layer, token, write));
      }
      if (source.block() <= 2 * layer + 1) {
        arrays.add(intoNeurons(layer, token, write));
      }
    }
    ResidualGradient last = nodes.finalGradient();
    if (last.firstToken() == token) {
      arrays.add(NodeArray.explained(last.rows().times(write.reshape(1, dModel)).sum(-1)));
    }
    return new NodeScores(run, arrays);
  }

  private NodeArray intoNeurons(int layer, int token, Tensor write) {
    Block block = run.model().block(layer);
    Tensor preActivation = row(run.value(Site.MLP_PRE_ACTIVATION, layer), 0, token);
    Tensor gradient = row(nodes.gradient(Site.MLP_ACTIVATION, layer), 0, token);
    Tensor edges =
        push(
            r -> {
              Variable x = block.mlpNorm().apply(r, scaleGradient);
              return block
                  .mlp()
                  .input()
                  .apply(x, preActivation)
                  .gelu()
                  .times(Variable.constant(gradient));
            },
            row(run.residualBeforeMlp(layer).value(), 0, token),
            write);
    return NodeArray.neurons(layer, token, edges);
  }

  /** Queries at the token, keys and values of it as later queries see them. */
  private List<NodeArray> intoHeads(int layer, int token, Tensor write) {
    Block block = run.model().block(layer);
    Attention attention = block.attention();
    int end = run.length();
    Tensor residual = row(run.residualBeforeAttention(layer).value(), 0, token);
    Pushed x =
        Jacobian.pushOnce(r -> block.attentionNorm().apply(r, scaleGradient), residual, write);
    Tensor keys = run.value(Site.KEY, layer);
    Tensor pattern = run.value(Site.PATTERN, layer).slice(1, token, end);
    Tensor patternGradient = nodes.gradient(Site.PATTERN, layer).slice(1, token, end);
    Tensor outputGradient = nodes.gradient(Site.HEAD_OUTPUT, layer).slice(1, token, end);

    Tensor query =
        push(
            normalised -> {
              Variable q = attention.query(normalised, row(run.value(Site.QUERY, layer), 1, token));
              Variable seen = Variable.constant(keys.slice(1, 0, token + 1));
              Tensor gradient = row(patternGradient, 1, 0).slice(2, 0, token + 1);
              return attention
                  .pattern(attention.scores(q, seen, token), token)
                  .times(Variable.constant(gradient));
            },
            x.value(),
            x.tangents());
    Tensor key =
        push(
            normalised -> {
              Variable k = attention.key(normalised, row(keys, 1, token));
              Variable scores = withKey(layer, token, attention, k);
              return attention.pattern(scores, token).times(Variable.constant(patternGradient));
            },
            x.value(),
            x.tangents());
    Tensor value =
        push(
            normalised -> {
              Variable v = attention.value(normalised, row(run.value(Site.VALUE, layer), 1, token));
              return Variable.constant(outputGradient)
                  .matmulTransposed(v)
                  .times(Variable.constant(pattern.slice(2, token, token + 1)));
            },
            x.value(),
            x.tangents());
    return List.of(
        NodeArray.headInputs(AttentionPath.QUERY, layer, token, 0, query),
        NodeArray.headInputs(AttentionPath.KEY, layer, token, 0, key),
        NodeArray.headInputs(AttentionPath.VALUE, layer, token, token, value));
  }

  /** The recorded scores of the queries from a token on, with those of its key computed anew. */
  private Variable withKey(int layer, int token, Attention attention, Variable k) {
    Variable queries =
        Variable.constant(run.value(Site.QUERY, layer).slice(1, token, run.length()));
    Tensor scores = run.value(Site.SCORES, layer).slice(1, token, run.length());
    return Variable.concat(
        -1,
        List.of(
            Variable.constant(scores.slice(2, 0, token)),
            attention.scores(queries, k, run.length()),
            Variable.constant(scores.slice(2, token + 1, run.length()))));
  }

  private static Tensor row(Tensor rows, int axis, int token) {
    return rows.slice(axis, token, token + 1);
  }

  /** The derivative of a function along one direction, without the axis that counts directions. */
  private static Tensor push(UnaryOperator<Variable> function, Tensor at, Tensor tangent) {
    Tensor moved = Jacobian.pushOnce(function, at, tangent).tangents();
    return moved.reshape(moved.shape().subShape(1, moved.shape().rank()));
  }
}
