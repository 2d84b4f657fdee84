package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.dataset.NodeList.Group;
import dev.tributary.attribution.dataset.NodeList.Kind;
import dev.tributary.attribution.dataset.NodeList.Node;
import dev.tributary.attribution.dataset.NodeList.OfDictionary;
import dev.tributary.attribution.dataset.NodeList.OfLayer;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.ReadIntervention;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamReader;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Tokens;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.WriteIntervention;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.DoubleConsumer;
import java.util.function.Function;
import java.util.function.IntPredicate;
import java.util.function.Supplier;
import java.util.stream.IntStream;

/**
 * Scores of all nodes of a model over pairs of prompts: estimates of the metric of a run in which a
 * node is as in the corrupted run, less that of the clean run; magnitudes of these, where a method
 * drops layers.
 *
 * @param nodes that are scored
 * @param method how nodes are scored
 * @param progress hears how many runs of a pair are behind, where each node takes some
 */
public record NodeScorer(NodeList nodes, NodeMethod method, Progress progress) {
  private static final StreamWriter.Input INPUT = new StreamWriter.Input(Site.TOKEN_EMBEDDING);

  /**
   * Refuses to drop the only layer.
   *
   * @param nodes {@link #nodes()}
   * @param method {@link #method()}
   * @param progress {@link #progress()}
   */
  public NodeScorer {
    requireArgument(
        !method.dropsLayers() || nodes.model().layers() > 1,
        "%s is a mean over other layers than that of a node, and this model has one",
        method);
  }

  /**
   * Tells nobody of its runs.
   *
   * @param nodes that are scored
   * @param method how nodes are scored
   */
  public NodeScorer(NodeList nodes, NodeMethod method) {
    this(nodes, method, Progress.NONE);
  }

  private Transformer model() {
    return nodes.model();
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
   * {@return the scores of one pair by the numbers of {@link #nodes()}: sums over the tokens of
   * each}
   *
   * @param pair of prompts
   * @throws IllegalArgumentException as {@link #score}
   */
  public PairScores sums(Pair pair) {
    return of(
        pair,
        runs ->
            new PairScores(
                PairRuns.value(runs.metric, runs.clean),
                PairRuns.value(runs.metric, runs.corrupted),
                scores(runs).byNumber()));
  }

  /**
   * {@return what really happens in a pair with some nodes, whatever the method: the sums over
   * their tokens that {@link NodeMethod#EXACT} has, of magnitudes where the method has those}
   *
   * @param pair of prompts
   * @param numbers of {@link #nodes()}
   * @throws IllegalArgumentException as {@link #score}, or if there is no such node
   */
  public List<Double> exact(Pair pair, List<Integer> numbers) {
    numbers.forEach(nodes::get); // which refuses others
    Set<Integer> chosen = Set.copyOf(numbers);
    return of(
        pair,
        runs -> {
          NodeScores scores = exact(runs, chosen::contains);
          if (method.dropsLayers()) {
            NodeScores signed = scores;
            scores = signed.zeros();
            scores.addMagnitudes(signed, group -> 1);
          }
          double[] sums = scores.byNumber();
          return numbers.stream().map(number -> sums[number]).toList();
        });
  }

  /**
   * {@return the numbers of the nodes that may score something in a pair, ascending: all but
   * latents that are the same in both runs}
   *
   * @param pair of prompts
   * @throws IllegalArgumentException as {@link #score}
   */
  public int[] moved(Pair pair) {
    nodes.requireLength(pair.length());
    if (nodes.dictionaries().isEmpty()) {
      return IntStream.range(0, nodes.size()).toArray();
    }
    try (Scope scope = Scope.open()) {
      Run clean = model().values(NodeGradients.sites(nodes), Pair.ids(pair.clean()));
      Run corrupted = model().values(NodeGradients.sites(nodes), Pair.ids(pair.corrupted()));
      BitSet moved = new BitSet();
      moved.set(0, nodes.size());
      moves(clean, corrupted)
          .forEach(
              (group, own) -> {
                NodeList.Numbers numbers = nodes.numbers(group);
                int last = group.count(model()) - 1;
                moved.clear(numbers.of(0, 0), numbers.of(last, pair.length() - 1) + 1);
                for (int i = 0; i < own.count(); i++) {
                  moved.set(numbers.of(own.latent(i), own.token(i)));
                }
              });
      return moved.stream().toArray();
    }
  }

  private Map<Group, LatentMoves> moves(Run clean, Run corrupted) {
    Map<Group, LatentMoves> moves = new HashMap<>();
    for (Dictionary dictionary : nodes.dictionaries()) {
      moves.put(
          new OfDictionary(Kind.LATENT, dictionary.id()),
          LatentMoves.of(dictionary, clean, corrupted));
    }
    return moves;
  }

  private <T> T of(Pair pair, Function<Runs, T> made) {
    nodes.requireLength(pair.length());
    try (Scope scope = Scope.open()) {
      Run clean = model().run(NodeGradients.sites(nodes), Pair.ids(pair.clean()));
      Run corrupted = model().values(NodeGradients.sites(nodes), Pair.ids(pair.corrupted()));
      Function<Run, Variable> metric = pair.metric().against(clean);
      return made.apply(
          new Runs(
              clean,
              corrupted,
              metric,
              StreamWriter.written(clean, INPUT),
              StreamWriter.written(corrupted, INPUT),
              moves(clean, corrupted)));
    }
  }

  private NodeScores scores(Runs runs) {
    return method == NodeMethod.EXACT ? exact(runs, any -> true) : estimated(runs);
  }

  private NodeScores zeros(Runs runs) {
    return new NodeScores(nodes, runs.moves, runs.clean.length());
  }

  /**
   * Of a pair.
   *
   * @param cleanWrites what each source writes, [source, token, dModel]
   * @param corruptedWrites the same of the other run
   * @param moves of latents, of each group of these
   */
  private record Runs(
      Run clean,
      Run corrupted,
      Function<Run, Variable> metric,
      Tensor cleanWrites,
      Tensor corruptedWrites,
      Map<Group, LatentMoves> moves) {
    LatentMoves of(Dictionary dictionary) {
      return Objects.requireNonNull(moves.get(new OfDictionary(Kind.LATENT, dictionary.id())));
    }

    /**
     * What moves where a dictionary writes first beyond its latents and those of others of its kind
     * that write there too, [token, n].
     */
    Tensor error(Dictionary dictionary) {
      Place place = dictionary.decoders().get(0).place();
      try (Scope scope = Scope.open()) {
        Tensor error = corrupted.vectors(place).minus(clean.vectors(place));
        for (LatentMoves own : moves.values()) {
          Dictionary.Id id = own.dictionary().id();
          int decoder = NodeGradients.places(own.dictionary()).indexOf(place);
          if (decoder >= 0
              && id.kind() == dictionary.id().kind()
              && id.label().equals(dictionary.id().label())) {
            error = error.minus(own.together(decoder));
          }
        }
        return scope.keep(error);
      }
    }
  }

  // ---- estimates ---------------------------------------------------------------------------

  private NodeScores estimated(Runs runs) {
    NodeGradients gradients = NodeGradients.of(runs.clean, runs.metric, nodes);
    if (!method.dropsLayers()) {
      return estimated(runs, gradients);
    }
    NodeScores sum = zeros(runs);
    for (int layer = 0; layer < model().layers(); layer++) {
      try (Scope scope = Scope.open()) {
        sum.addMagnitudes(estimated(runs, gradients.without(layer)), this::layersBeside);
      }
    }
    return sum;
  }

  /** How many layers count for the nodes of a group where one after the other is dropped. */
  private int layersBeside(Group group) {
    if (!(group instanceof OfDictionary own)) {
      return model().layers() - 1;
    }
    List<Place> places = NodeGradients.places(model().dictionary(own.dictionary()));
    return NodeGradients.layersBeside(
        group.kind() == Kind.ERROR ? places.subList(0, 1) : places, model());
  }

  private NodeScores estimated(Runs runs, NodeGradients gradients) {
    NodeScores scores = zeros(runs);
    Tensor moved = runs.corruptedWrites.minus(runs.cleanWrites);
    int source = 1;
    for (int layer = 0; layer < model().layers(); layer++) {
      try (Scope scope = Scope.open()) {
        int heads = model().attention(layer).heads();
        put(
            scores.at(new OfLayer(Kind.HEAD, layer)),
            moved
                .slice(0, source, source + heads)
                .times(gradients.at(Site.ATTENTION_OUTPUT, layer))
                .sum(-1));
        source += heads;
        put(
            scores.at(new OfLayer(Kind.MLP, layer)),
            moved.slice(0, source, source + 1).times(gradients.at(Site.MLP_OUTPUT, layer)).sum(-1));
        source++;
        ofInputs(scores, runs, layer, gradients.at(Site.HEAD_OUTPUT, layer));
        if (nodes.has(Kind.NEURON)) {
          put(
              scores.at(new OfLayer(Kind.NEURON, layer)),
              runs.corrupted
                  .value(Site.MLP_ACTIVATION, layer)
                  .minus(runs.clean.value(Site.MLP_ACTIVATION, layer))
                  .times(gradients.at(Site.MLP_ACTIVATION, layer))
                  .permute(1, 0));
        }
      }
    }
    for (Dictionary dictionary : nodes.dictionaries()) {
      try (Scope scope = Scope.open()) {
        double[] own = runs.of(dictionary).products(gradients::vectors);
        double[] latents = scores.at(new OfDictionary(Kind.LATENT, dictionary.id()));
        System.arraycopy(own, 0, latents, 0, own.length);
        Tensor there = gradients.vectors(dictionary.decoders().get(0).place());
        put(
            scores.at(new OfDictionary(Kind.ERROR, dictionary.id())),
            runs.error(dictionary).times(there).sum(-1));
      }
    }
    return scores;
  }

  private static void put(double[] scores, Tensor sums) {
    System.arraycopy(sums.toDoubles(), 0, scores, 0, scores.length);
  }

  private void ofInputs(NodeScores scores, Runs runs, int layer, Tensor atHeads) {
    Attention attention = model().attention(layer);
    List<Tensor> gradients = ReaderGradients.atInputs(runs.clean, layer, atHeads);
    Tensor q = runs.clean.value(Site.QUERY, layer);
    Tensor k = attention.perHead(runs.clean.value(Site.KEY, layer));
    Tensor v = attention.perHead(runs.clean.value(Site.VALUE, layer));
    Tensor otherQ = runs.corrupted.value(Site.QUERY, layer);
    Tensor otherK = attention.perHead(runs.corrupted.value(Site.KEY, layer));
    Tensor otherV = attention.perHead(runs.corrupted.value(Site.VALUE, layer));
    put(scores.at(new OfLayer(Kind.VALUE, layer)), otherV.minus(v).times(gradients.get(2)).sum(-1));
    if (method.fixesPatterns()) {
      PatternMoves moves = new PatternMoves(attention, q, k, v, atHeads);
      put(scores.at(new OfLayer(Kind.QUERY, layer)), moves.ofQueries(otherQ));
      List<Tokens> tokens = IntStream.range(0, runs.clean.length()).mapToObj(Tokens::at).toList();
      double[][] ofKeys = moves.ofKeys(otherK, tokens);
      for (int head = 0; head < ofKeys.length; head++) {
        System.arraycopy(
            ofKeys[head],
            0,
            scores.at(new OfLayer(Kind.KEY, layer)),
            head * tokens.size(),
            tokens.size());
      }
    } else {
      put(
          scores.at(new OfLayer(Kind.QUERY, layer)),
          otherQ.minus(q).times(gradients.get(0)).sum(-1));
      put(scores.at(new OfLayer(Kind.KEY, layer)), otherK.minus(k).times(gradients.get(1)).sum(-1));
    }
  }

  // ---- exact -------------------------------------------------------------------------------

  /**
   * A run in which one node is as in the corrupted run at one token.
   *
   * @param change of the clean run
   * @param score hears what it does
   */
  private record Patch(Supplier<Change> change, DoubleConsumer score) {}

  /** Zeros of nodes that are not wanted. */
  private NodeScores exact(Runs runs, IntPredicate wanted) {
    NodeScores scores = zeros(runs);
    List<Patch> patches = new ArrayList<>();
    int source = 1;
    for (int layer = 0; layer < model().layers(); layer++) {
      ofInputs(patches, scores, runs, layer, wanted);
      for (int head = 0; head < model().attention(layer).heads(); head++) {
        OfLayer heads = new OfLayer(Kind.HEAD, layer);
        ofWrite(patches, scores, new Node(heads, head), runs, source++, wanted);
      }
      OfLayer mlp = new OfLayer(Kind.MLP, layer);
      ofWrite(patches, scores, new Node(mlp, 0), runs, source++, wanted);
      ofNeurons(patches, scores, runs, layer, wanted);
    }
    nodes.dictionaries().forEach(own -> ofDictionary(patches, scores, runs, own, wanted));
    double clean = PairRuns.value(runs.metric, runs.clean);
    for (int i = 0; i < patches.size(); i++) {
      try (Scope scope = Scope.open()) {
        Patch patch = patches.get(i);
        Run patched = runs.clean.valuesWith(PairRuns.LAST, patch.change.get());
        patch.score.accept(PairRuns.value(runs.metric, patched) - clean);
      }
      progress.at(i + 1, patches.size());
    }
    return scores;
  }

  /** A change at one token. */
  @FunctionalInterface
  private interface AtToken {
    Change change(int token);
  }

  private void atEachToken(
      List<Patch> patches,
      NodeScores scores,
      Node node,
      Runs runs,
      IntPredicate wanted,
      AtToken at) {
    int tokens = runs.clean.length();
    double[] all = scores.at(node.group());
    NodeList.Numbers numbers = nodes.numbers(node.group());
    for (int token = 0; token < tokens; token++) {
      if (wanted.test(numbers.of(node.index(), token))) {
        int own = token;
        int place = node.index() * tokens + token;
        patches.add(new Patch(() -> at.change(own), score -> all[place] = score));
      }
    }
  }

  private void ofInputs(
      List<Patch> patches, NodeScores scores, Runs runs, int layer, IntPredicate wanted) {
    Attention attention = model().attention(layer);
    Tensor stream = runs.clean.residual(attention.reads()).value();
    Tensor moved = runs.corrupted.residual(attention.reads()).value().minus(stream);
    Tensor nothing = Tensor.zeros(moved.dtype(), moved.shape());
    for (int head = 0; head < attention.heads(); head++) {
      for (InputPath path : StreamReader.Head.PATHS) {
        Kind kind =
            switch (path) {
              case QUERY -> Kind.QUERY;
              case KEY -> Kind.KEY;
              default -> Kind.VALUE;
            };
        StreamReader reader = new StreamReader.Head(layer, head, path);
        atEachToken(
            patches,
            scores,
            new Node(new OfLayer(kind, layer), head),
            runs,
            wanted,
            token -> ReadIntervention.add(reader, withRow(nothing, moved, token)));
      }
    }
  }

  private void ofWrite(
      List<Patch> patches,
      NodeScores scores,
      Node node,
      Runs runs,
      int source,
      IntPredicate wanted) {
    int layer = node.group().layer();
    StreamWriter writer =
        node.group().kind() == Kind.MLP
            ? new StreamWriter.OfMlp(layer)
            : new StreamWriter.Head(layer, node.index());
    Tensor clean = PairRuns.of(runs.cleanWrites, source);
    Tensor corrupted = PairRuns.of(runs.corruptedWrites, source);
    atEachToken(
        patches,
        scores,
        node,
        runs,
        wanted,
        token -> WriteIntervention.put(Map.of(writer, withRow(clean, corrupted, token))));
  }

  private void ofNeurons(
      List<Patch> patches, NodeScores scores, Runs runs, int layer, IntPredicate wanted) {
    OfLayer group = new OfLayer(Kind.NEURON, layer);
    int neurons = nodes.has(Kind.NEURON) ? group.count(model()) : 0;
    for (int neuron = 0; neuron < neurons; neuron++) {
      Place own = Place.of(Site.MLP_ACTIVATION, layer).at(1, neuron);
      atEachToken(
          patches,
          scores,
          new Node(group, neuron),
          runs,
          wanted,
          token -> Intervention.patch(own.at(0, token), runs.corrupted));
    }
  }

  private void ofDictionary(
      List<Patch> patches,
      NodeScores scores,
      Runs runs,
      Dictionary dictionary,
      IntPredicate wanted) {
    OfDictionary latents = new OfDictionary(Kind.LATENT, dictionary.id());
    LatentMoves moves = runs.of(dictionary);
    double[] all = scores.at(latents);
    NodeList.Numbers numbers = nodes.numbers(latents);
    for (int i = 0; i < moves.count(); i++) {
      int move = i;
      if (wanted.test(numbers.of(moves.latent(move), moves.token(move)))) {
        patches.add(new Patch(() -> moves.alone(move), score -> all[move] = score));
      }
    }
    Place place = dictionary.decoders().get(0).place();
    Tensor error = runs.error(dictionary);
    atEachToken(
        patches,
        scores,
        new Node(new OfDictionary(Kind.ERROR, dictionary.id()), 0),
        runs,
        wanted,
        token -> Intervention.add(model(), place, token, error.slice(0, token, token + 1)));
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
