package dev.tributary.attribution.viewer;

import dev.tributary.attribution.Bias;
import dev.tributary.attribution.Bias.BiasPart;
import dev.tributary.attribution.Certificate;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Edge;
import dev.tributary.attribution.Circuit.Input;
import dev.tributary.attribution.Circuit.Labels;
import dev.tributary.attribution.Circuit.Member;
import dev.tributary.attribution.Circuit.Origin;
import dev.tributary.attribution.Circuit.Output;
import dev.tributary.attribution.Circuit.Pattern;
import dev.tributary.attribution.CircuitAttention;
import dev.tributary.attribution.CircuitAttention.Loadings;
import dev.tributary.attribution.CircuitAttention.Passed;
import dev.tributary.attribution.CircuitAttention.Score;
import dev.tributary.attribution.Coordinates;
import dev.tributary.attribution.EdgeMeasure;
import dev.tributary.attribution.Embedding;
import dev.tributary.attribution.Embedding.EmbeddingPart;
import dev.tributary.attribution.Explained;
import dev.tributary.attribution.HeadLoadings.LayerSplit;
import dev.tributary.attribution.HeadPair;
import dev.tributary.attribution.Latent;
import dev.tributary.attribution.Neuron;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.PreBias;
import dev.tributary.attribution.ReconstructionError;
import dev.tributary.attribution.ScoreAttribution.Pair;
import dev.tributary.attribution.Source;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.ScaleGradient;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** Circuits that no model has: of any size, with every kind of node, and any texts. */
final class RandomCircuit {
  private static final int HEADS = 8;

  private final Random random;
  private final int tokens;
  private final String metric;
  private final int layers;

  private RandomCircuit(long seed, int tokens, String metric, int layers) {
    random = new Random(seed);
    this.tokens = tokens;
    this.metric = metric;
    this.layers = layers;
  }

  /**
   * A circuit.
   *
   * @param labels of whose tokens each has an embedding
   * @param count of nodes
   * @param edges number of them, if there is room
   */
  static Circuit of(long seed, Labels labels, String metric, int layers, int count, int edges) {
    return new RandomCircuit(seed, labels.tokens().size(), metric, layers)
        .circuit(labels, count, edges);
  }

  /** A circuit with what passes heads of some edges, and the scores of some heads. */
  static Circuit explained(long seed, Circuit circuit, int count) {
    int layers = circuit.origin().layers();
    int tokens = circuit.origin().tokens().size();
    RandomCircuit draws = new RandomCircuit(seed, tokens, "", layers);
    List<Loadings> loadings = circuit.edges().stream().limit(count).map(draws::loadings).toList();
    List<HeadPair> heads =
        Stream.concat(
                circuit.nodes().stream().map(Member::node),
                loadings.stream().flatMap(of -> of.passed().stream()).map(Passed::head))
            .filter(HeadPair.class::isInstance)
            .map(HeadPair.class::cast)
            .distinct()
            .toList();
    return circuit.with(new CircuitAttention(loadings, heads.stream().map(draws::score).toList()));
  }

  private Loadings loadings(Edge edge) {
    List<LayerSplit> splits = new ArrayList<>();
    for (int layer = 0; layer < layers; layer++) {
      List<Double> heads = random.doubles(HEADS, -1, 1).boxed().toList();
      double sum = heads.stream().reduce(0.0, Double::sum);
      splits.add(new LayerSplit(layer, heads, edge.weight() - sum));
    }
    List<Passed> passed =
        Stream.generate(() -> new Passed(head(), random.nextGaussian())).limit(3).toList();
    return new Loadings(
        edge.source(), edge.target(), edge.path(), edge.weight(), 0, splits, passed);
  }

  private Score score(HeadPair head) {
    List<Pair> pairs =
        Stream.generate(() -> new Pair(side(), side(), random.nextGaussian())).limit(5).toList();
    double score = 10 * random.nextGaussian();
    return new Score(head, score, score * (1 + 1e-7), 1234, pairs);
  }

  private Optional<Source> side() {
    return random.nextInt(5) == 0 ? Optional.empty() : Optional.of(source());
  }

  private HeadPair head() {
    int token = random.nextInt(tokens);
    return new HeadPair(
        random.nextInt(layers), random.nextInt(HEADS), token, random.nextInt(token + 1));
  }

  private Circuit circuit(Labels labels, int count, int edges) {
    Origin origin =
        new Origin(
            labels,
            IntStream.range(0, tokens).boxed().toList(),
            layers,
            ScaleGradient.LIVE,
            EdgeMeasure.ATTRIBUTION);
    List<Node> nodes = nodes(count);
    Map<Integer, Map<InputPath, Map<Integer, Double>>> weights = weights(nodes, edges);
    List<Edge> list = new ArrayList<>();
    List<Input> inputs = new ArrayList<>();
    weights.forEach(
        (target, paths) ->
            paths.forEach(
                (path, sources) -> {
                  sources.forEach((source, w) -> list.add(new Edge(source, target, path, w)));
                  double sum = sources.values().stream().mapToDouble(w -> w).sum();
                  double whole = sum + 1e-7 * random.nextDouble();
                  inputs.add(
                      new Input(
                          target, path, new Certificate(sum, whole, 1, 0, affine(path, sum))));
                }));
    return new Circuit(
        origin,
        nodes.stream().map(this::reading).toList(),
        list,
        inputs,
        patterns(nodes),
        List.of(),
        CircuitAttention.NONE);
  }

  private static Optional<Certificate.Affine> affine(InputPath path, double sum) {
    return path == InputPath.VALUE
        ? Optional.of(new Certificate.Affine(sum + 0.25, 0.25))
        : Optional.empty();
  }

  private List<Node> nodes(int count) {
    Set<Source> sources = new LinkedHashSet<>();
    for (int token = 0; token < tokens; token++) {
      sources.add(new Embedding(EmbeddingPart.BOTH, token));
    }
    while (sources.size() < count - 1) {
      sources.add(source());
    }
    Stream<Source> inOrder = sources.stream().sorted(Comparator.comparingInt(this::point));
    return Stream.concat(inOrder.map(Node.class::cast), Stream.of(new Explained())).toList();
  }

  private Source source() {
    int layer = random.nextInt(layers);
    int token = random.nextInt(3) == 0 ? tokens - 1 : random.nextInt(tokens);
    return switch (random.nextInt(12)) {
      case 0, 1, 2, 3 ->
          new HeadPair(layer, random.nextInt(HEADS), token, random.nextInt(token + 1));
      case 4, 5, 6 -> new Neuron(layer, token, random.nextInt(512));
      case 7, 8 -> new Latent(mlp(layer), token, random.nextInt(900));
      case 9 -> new Bias(BiasPart.ATTENTION, layer, token);
      case 10 -> new ReconstructionError(mlp(layer), token);
      default -> new PreBias(mlp(layer), token);
    };
  }

  private Member reading(Node node) {
    if (node instanceof Explained) {
      return new Member(
          node,
          new Point(point(node)),
          OptionalDouble.empty(),
          OptionalDouble.empty(),
          OptionalDouble.empty(),
          Optional.of(new Output(metric, tokens - 1, OptionalDouble.of(1.5), 1)));
    }
    return new Member(node, new Point(point(node)), normal(), normal(), normal(), Optional.empty());
  }

  /** As in a GPT-2. */
  private int point(Node node) {
    Coordinates at = node.coordinates();
    return switch (at.component()) {
      case EMBEDDING -> 0;
      case ATTENTION -> 2 * at.layer().orElseThrow() + 1;
      case MLP -> 2 * at.layer().orElseThrow() + 2;
      case OUTPUT -> 2 * layers + 1;
    };
  }

  private OptionalDouble normal() {
    return OptionalDouble.of(random.nextGaussian());
  }

  private Map<Integer, Map<InputPath, Map<Integer, Double>>> weights(List<Node> nodes, int count) {
    Map<Integer, Map<InputPath, Map<Integer, Double>>> weights = new TreeMap<>();
    int[] blocks = nodes.stream().mapToInt(this::point).toArray();
    int made = 0;
    for (int tries = 0; made < count && tries < 1000 * count; tries++) {
      int source = random.nextInt(nodes.size());
      int target = random.nextInt(nodes.size());
      if (nodes.get(target).targets().isEmpty() || blocks[source] >= blocks[target]) {
        continue;
      }
      InputPath path = InputPath.ALL;
      if (nodes.get(target) instanceof HeadPair) {
        path = List.of(InputPath.QUERY, InputPath.KEY, InputPath.VALUE).get(random.nextInt(3));
      }
      double weight = random.nextGaussian() * Math.exp(random.nextGaussian() - 3);
      boolean isNew =
          weights
                  .computeIfAbsent(target, any -> new TreeMap<>())
                  .computeIfAbsent(path, any -> new TreeMap<>())
                  .putIfAbsent(source, weight)
              == null;
      made += isNew ? 1 : 0;
    }
    return weights;
  }

  private List<Pattern> patterns(List<Node> nodes) {
    Set<List<Integer>> heads = new TreeSet<>(Comparator.comparing(List::toString));
    for (Node node : nodes) {
      if (node instanceof HeadPair pair) {
        heads.add(List.of(pair.layer(), pair.head()));
      }
    }
    return heads.stream()
        .map(
            head ->
                new Pattern(
                    head.get(0),
                    head.get(1),
                    IntStream.range(0, tokens).mapToObj(this::attention).toList()))
        .toList();
  }

  private List<Double> attention(int query) {
    double[] raw = random.doubles(query + 1L).map(x -> Math.pow(x, 6)).toArray();
    double sum = DoubleStream.of(raw).sum();
    return DoubleStream.of(raw).mapToObj(value -> Math.round(1e5 * value / sum) / 1e5).toList();
  }

  private static Dictionary.Id mlp(int layer) {
    return new Dictionary.Id(Dictionary.Kind.MLP, "", layer);
  }
}
