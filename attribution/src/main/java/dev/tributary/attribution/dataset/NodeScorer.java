package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.dataset.NodeScores.Kind;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.ReadIntervention;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamReader;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Tokens;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.WriteIntervention;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.stream.IntStream;

/**
 * Scores of all nodes of a model over pairs of prompts: estimates of the metric of a run in which a
 * node is as in the corrupted run, less that of the clean run; magnitudes of these, where a method
 * drops layers.
 *
 * @param model that runs
 * @param method how nodes are scored
 * @param kinds of nodes that are scored
 */
public record NodeScorer(Transformer model, NodeMethod method, Set<Kind> kinds) {
  private static final StreamWriter.Input INPUT = new StreamWriter.Input(Site.TOKEN_EMBEDDING);

  /**
   * Refuses to drop the only layer.
   *
   * @param model {@link #model()}
   * @param method {@link #method()}
   * @param kinds {@link #kinds()}
   */
  public NodeScorer {
    kinds = Set.copyOf(kinds);
    requireArgument(
        !method.dropsLayers() || model.layers() > 1,
        "%s is a mean over other layers than that of a node, and this model has one",
        method);
  }

  /**
   * Scores components.
   *
   * @param model that runs
   * @param method how nodes are scored
   */
  public NodeScorer(Transformer model, NodeMethod method) {
    this(model, method, Kind.COMPONENTS);
  }

  /** {@return all nodes that are scored, see {@link NodeScores#nodes}} */
  public List<NodeScores.Node> nodes() {
    return NodeScores.nodes(model, kinds);
  }

  /**
   * {@return the scores of one pair}
   *
   * @param pair of prompts
   * @throws IllegalArgumentException if the model cannot run it, or its metric reads what does not
   *     exist
   */
  public NodeScores score(Pair pair) {
    return of(pair, this::scores);
  }

  /**
   * {@return the sums over tokens of the scores of one pair, in the order of {@link #nodes()}}
   *
   * @param pair of prompts
   * @throws IllegalArgumentException as {@link #score}
   */
  public PairScores sums(Pair pair) {
    return of(
        pair,
        runs -> {
          NodeScores scores = scores(runs);
          return new PairScores(
              PairRuns.value(runs.metric, runs.clean),
              PairRuns.value(runs.metric, runs.corrupted),
              nodes().stream().mapToDouble(scores::sum).toArray());
        });
  }

  /**
   * {@return what really happens in a pair with some nodes, whatever the method: the sums over
   * tokens that {@link NodeMethod#EXACT} has, of magnitudes where the method has those}
   *
   * @param pair of prompts
   * @param nodes their numbers in {@link #nodes()}
   * @throws IllegalArgumentException as {@link #score}, or if there is no such node
   */
  public List<Double> exact(Pair pair, List<Integer> nodes) {
    List<NodeScores.Node> all = nodes();
    for (int node : nodes) {
      requireArgument(
          node >= 0 && node < all.size(), "node %d of a model that has %d", node, all.size());
    }
    List<NodeScores.Node> chosen = nodes.stream().map(all::get).toList();
    return of(
        pair,
        runs -> {
          NodeScores scores = exact(runs, Set.copyOf(chosen)::contains);
          if (method.dropsLayers()) {
            scores.combine(scores, (own, same) -> Math.abs(own));
          }
          return chosen.stream().map(scores::sum).toList();
        });
  }

  private <T> T of(Pair pair, Function<Runs, T> made) {
    try (Scope scope = Scope.open()) {
      Run clean = model.run(NodeGradients.sites(kinds), Pair.ids(pair.clean()));
      Run corrupted = model.values(NodeGradients.sites(kinds), Pair.ids(pair.corrupted()));
      Function<Run, Variable> metric = pair.metric().against(clean);
      return made.apply(
          new Runs(
              clean,
              corrupted,
              metric,
              StreamWriter.written(clean, INPUT),
              StreamWriter.written(corrupted, INPUT)));
    }
  }

  private NodeScores scores(Runs runs) {
    return method == NodeMethod.EXACT ? exact(runs, any -> true) : estimated(runs);
  }

  /**
   * Of a pair.
   *
   * @param cleanWrites what each source writes, [source, token, dModel]
   * @param corruptedWrites the same of the other run
   */
  private record Runs(
      Run clean,
      Run corrupted,
      Function<Run, Variable> metric,
      Tensor cleanWrites,
      Tensor corruptedWrites) {}

  // ---- estimates ---------------------------------------------------------------------------

  private NodeScores estimated(Runs runs) {
    NodeGradients gradients = NodeGradients.of(runs.clean, runs.metric, kinds);
    if (!method.dropsLayers()) {
      return estimated(runs, gradients);
    }
    NodeScores sum = new NodeScores(model, kinds, runs.clean.length());
    for (int layer = 0; layer < model.layers(); layer++) {
      try (Scope scope = Scope.open()) {
        int others = model.layers() - 1;
        sum.combine(
            estimated(runs, gradients.without(layer)), (all, own) -> all + Math.abs(own) / others);
      }
    }
    return sum;
  }

  private NodeScores estimated(Runs runs, NodeGradients gradients) {
    NodeScores scores = new NodeScores(model, kinds, runs.clean.length());
    Tensor moved = runs.corruptedWrites.minus(runs.cleanWrites);
    int source = 1;
    for (int layer = 0; layer < model.layers(); layer++) {
      try (Scope scope = Scope.open()) {
        int heads = model.attention(layer).heads();
        put(
            scores.at(Kind.HEAD, layer),
            moved
                .slice(0, source, source + heads)
                .times(gradients.at(Site.ATTENTION_OUTPUT, layer))
                .sum(-1));
        source += heads;
        put(
            scores.at(Kind.MLP, layer),
            moved.slice(0, source, source + 1).times(gradients.at(Site.MLP_OUTPUT, layer)).sum(-1));
        source++;
        ofInputs(scores, runs, layer, gradients.at(Site.HEAD_OUTPUT, layer));
        if (kinds.contains(Kind.NEURON)) {
          put(
              scores.at(Kind.NEURON, layer),
              runs.corrupted
                  .value(Site.MLP_ACTIVATION, layer)
                  .minus(runs.clean.value(Site.MLP_ACTIVATION, layer))
                  .times(gradients.at(Site.MLP_ACTIVATION, layer))
                  .permute(1, 0));
        }
      }
    }
    return scores;
  }

  private static void put(double[] scores, Tensor sums) {
    System.arraycopy(sums.toDoubles(), 0, scores, 0, scores.length);
  }

  private void ofInputs(NodeScores scores, Runs runs, int layer, Tensor atHeads) {
    Attention attention = model.attention(layer);
    List<Tensor> gradients = ReaderGradients.atInputs(runs.clean, layer, atHeads);
    Tensor q = runs.clean.value(Site.QUERY, layer);
    Tensor k = attention.perHead(runs.clean.value(Site.KEY, layer));
    Tensor v = attention.perHead(runs.clean.value(Site.VALUE, layer));
    Tensor otherQ = runs.corrupted.value(Site.QUERY, layer);
    Tensor otherK = attention.perHead(runs.corrupted.value(Site.KEY, layer));
    Tensor otherV = attention.perHead(runs.corrupted.value(Site.VALUE, layer));
    put(scores.at(Kind.VALUE, layer), otherV.minus(v).times(gradients.get(2)).sum(-1));
    if (method.fixesPatterns()) {
      PatternMoves moves = new PatternMoves(attention, q, k, v, atHeads);
      put(scores.at(Kind.QUERY, layer), moves.ofQueries(otherQ));
      List<Tokens> tokens = IntStream.range(0, runs.clean.length()).mapToObj(Tokens::at).toList();
      double[][] ofKeys = moves.ofKeys(otherK, tokens);
      for (int head = 0; head < ofKeys.length; head++) {
        System.arraycopy(
            ofKeys[head], 0, scores.at(Kind.KEY, layer), head * tokens.size(), tokens.size());
      }
    } else {
      put(scores.at(Kind.QUERY, layer), otherQ.minus(q).times(gradients.get(0)).sum(-1));
      put(scores.at(Kind.KEY, layer), otherK.minus(k).times(gradients.get(1)).sum(-1));
    }
  }

  // ---- exact -------------------------------------------------------------------------------

  /** Zeros of nodes that are not wanted. */
  private NodeScores exact(Runs runs, Predicate<NodeScores.Node> wanted) {
    NodeScores scores = new NodeScores(model, kinds, runs.clean.length());
    int source = 1;
    for (int layer = 0; layer < model.layers(); layer++) {
      Attention attention = model.attention(layer);
      Tensor stream = runs.clean.residual(attention.reads()).value();
      Tensor moved = runs.corrupted.residual(attention.reads()).value().minus(stream);
      for (int head = 0; head < attention.heads(); head++) {
        for (InputPath path : StreamReader.Head.PATHS) {
          Kind kind =
              switch (path) {
                case QUERY -> Kind.QUERY;
                case KEY -> Kind.KEY;
                default -> Kind.VALUE;
              };
          if (!wanted.test(new NodeScores.Node(kind, layer, head))) {
            continue;
          }
          StreamReader reader = new StreamReader.Head(layer, head, path);
          Tensor nothing = Tensor.zeros(moved.dtype(), moved.shape());
          exact(
              scores.at(kind, layer),
              head,
              runs,
              token -> ReadIntervention.add(reader, withRow(nothing, moved, token)));
        }
        if (wanted.test(new NodeScores.Node(Kind.HEAD, layer, head))) {
          exactWrite(
              scores.at(Kind.HEAD, layer), head, runs, new StreamWriter.Head(layer, head), source);
        }
        source++;
      }
      if (wanted.test(new NodeScores.Node(Kind.MLP, layer, 0))) {
        exactWrite(scores.at(Kind.MLP, layer), 0, runs, new StreamWriter.OfMlp(layer), source);
      }
      source++;
      exactNeurons(scores, runs, layer, wanted);
    }
    return scores;
  }

  private void exactNeurons(
      NodeScores scores, Runs runs, int layer, Predicate<NodeScores.Node> wanted) {
    int neurons = kinds.contains(Kind.NEURON) ? Kind.NEURON.count(model, layer) : 0;
    for (int neuron = 0; neuron < neurons; neuron++) {
      if (wanted.test(new NodeScores.Node(Kind.NEURON, layer, neuron))) {
        Place own = Place.of(Site.MLP_ACTIVATION, layer).at(1, neuron);
        exact(
            scores.at(Kind.NEURON, layer),
            neuron,
            runs,
            token -> Intervention.patch(own.at(0, token), runs.corrupted));
      }
    }
  }

  private static void exactWrite(
      double[] scores, int head, Runs runs, StreamWriter writer, int source) {
    Tensor clean = PairRuns.of(runs.cleanWrites, source);
    Tensor corrupted = PairRuns.of(runs.corruptedWrites, source);
    exact(
        scores,
        head,
        runs,
        token -> WriteIntervention.put(Map.of(writer, withRow(clean, corrupted, token))));
  }

  /** A change at one token. */
  @FunctionalInterface
  private interface AtToken {
    Change change(int token);
  }

  private static void exact(double[] scores, int node, Runs runs, AtToken at) {
    double clean = PairRuns.value(runs.metric, runs.clean);
    int tokens = runs.clean.length();
    for (int token = 0; token < tokens; token++) {
      try (Scope scope = Scope.open()) {
        Run patched = runs.clean.valuesWith(PairRuns.LAST, at.change(token));
        scores[node * tokens + token] = PairRuns.value(runs.metric, patched) - clean;
      }
    }
  }

  /** Rows of one tensor but for one, which is another's. */
  private static Tensor withRow(Tensor rows, Tensor other, int row) {
    return Tensor.concat(
        0,
        List.of(
            rows.slice(0, 0, row),
            other.slice(0, row, row + 1),
            rows.slice(0, row + 1, rows.shape().size(0))));
  }
}
