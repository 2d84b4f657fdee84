package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Circuit.Edge;
import dev.tributary.attribution.HeadLoadings.LayerSplit;
import dev.tributary.attribution.ScoreAttribution.Pair;
import dev.tributary.core.Scope;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * What explains the attention behind some edges and heads of a {@link Circuit}: through which heads
 * the edges pass, and which writes these heads look for.
 *
 * @param loadings of edges, at most one of each
 * @param scores of heads, at most one of each pair of tokens
 */
public record CircuitAttention(List<Loadings> loadings, List<Score> scores) {
  /** Nothing is explained. */
  public static final CircuitAttention NONE = new CircuitAttention(List.of(), List.of());

  /** Pairs of tokens that are named of an edge. */
  private static final int PASSED = 5;

  /** Pairs of writes that are named of a head. */
  private static final int PAIRS = 10;

  /**
   * What of an edge passes a head at a pair of tokens.
   *
   * @param head and its tokens
   * @param loading what passes
   */
  public record Passed(HeadPair head, double loading) {
    /**
     * Refuses what is no number.
     *
     * @param head {@link #head()}
     * @param loading {@link #loading()}
     */
    public Passed {
      requireFinite(loading);
    }
  }

  /**
   * An edge through frozen attention, split over heads, see {@link HeadLoadings}.
   *
   * @param source index of the node
   * @param target index of the node
   * @param path through which input of a head, as of the edge
   * @param edge all that reaches the target through frozen attention: in a replacement graph the
   *     weight of the edge, in a circuit with heads among its nodes, where that is what passes no
   *     head, more
   * @param direct what of it passes no head
   * @param layers those in which some of it passes a head, in their order; each sums to the edge
   * @param passed the heads at the pairs of tokens at which most of it passes, largest first
   */
  public record Loadings(
      int source,
      int target,
      InputPath path,
      double edge,
      double direct,
      List<LayerSplit> layers,
      List<Passed> passed) {
    /**
     * Takes copies of the lists, and refuses what is no number.
     *
     * @param source {@link #source()}
     * @param target {@link #target()}
     * @param path {@link #path()}
     * @param edge {@link #edge()}
     * @param direct {@link #direct()}
     * @param layers {@link #layers()}
     * @param passed {@link #passed()}
     */
    public Loadings {
      layers = List.copyOf(layers);
      passed = List.copyOf(passed);
      requireFinite(edge);
      requireFinite(direct);
      for (LayerSplit layer : layers) {
        requireFinite(layer.passing());
        layer.heads().forEach(CircuitAttention::requireFinite);
      }
    }

    private static Loadings of(Edge edge, HeadLoadings split) {
      return new Loadings(
          edge.source(),
          edge.target(),
          edge.path(),
          split.edge(),
          split.direct(),
          split.layers().stream()
              .filter(layer -> layer.heads().stream().anyMatch(loading -> loading != 0))
              .toList(),
          split.top(PASSED).stream()
              .map(pair -> new Passed((HeadPair) pair.node(), pair.score()))
              .toList());
    }

    /** Which edge it is of. */
    List<Object> key() {
      return List.of(source, target, path);
    }
  }

  /**
   * The score of a head at a pair of tokens and what adds most to it, see {@link ScoreAttribution}.
   *
   * @param head and its tokens
   * @param score as the run has it, before a cap
   * @param sum of all pairs of writes, which is the score
   * @param count how many pairs there are
   * @param pairs the largest of them, largest first
   */
  public record Score(HeadPair head, double score, double sum, long count, List<Pair> pairs) {
    /**
     * Takes a copy of the list, and refuses what is no number.
     *
     * @param head {@link #head()}
     * @param score {@link #score()}
     * @param sum {@link #sum()}
     * @param count {@link #count()}
     * @param pairs {@link #pairs()}
     */
    public Score {
      pairs = List.copyOf(pairs);
      requireFinite(score);
      requireFinite(sum);
      pairs.forEach(pair -> requireFinite(pair.score()));
      requireArgument(count >= pairs.size(), "%d of the %d pairs of %s", pairs.size(), count, head);
    }

    private static Score of(Run run, HeadPair head, Basis basis) {
      try (Scope scope = Scope.open()) {
        ScoreAttribution score = ScoreAttribution.of(run, head, basis);
        return new Score(head, score.score(), score.sum(), score.pairs(), score.top(PAIRS));
      }
    }
  }

  /**
   * Takes copies of the lists.
   *
   * @param loadings {@link #loadings()}
   * @param scores {@link #scores()}
   */
  public CircuitAttention {
    loadings = List.copyOf(loadings);
    scores = List.copyOf(scores);
  }

  private static void requireFinite(double number) {
    requireArgument(Double.isFinite(number), "a part of attention is %s", number);
  }

  /**
   * {@return what explains the attention of a circuit that a {@link CircuitBuilder} made}
   *
   * @param edges with which it was made
   * @param basis of its nodes
   * @param circuit whole or pruned
   * @param count how many edges are split, those of largest score that pass heads, and how many
   *     heads are explained: the most influential nodes, then those that these edges pass
   * @param progress hears how many have been
   * @throws IllegalArgumentException if {@code count} is negative or the circuit is of other tokens
   * @throws java.util.concurrent.CancellationException if the thread is interrupted, which it stays
   */
  public static CircuitAttention of(
      EdgeAttribution edges, Basis basis, Circuit circuit, int count, Progress progress) {
    return of(
        edges.nodes().run(),
        basis,
        circuit,
        largest(circuit.edges(), circuit.edgeScores()),
        count,
        progress,
        edge -> HeadLoadings.of(edges, source(circuit, edge), target(circuit, edge), basis));
  }

  private static Source source(Circuit circuit, Edge edge) {
    return circuit.nodes().get(edge.source()).node().asSource().orElseThrow();
  }

  private static Target target(Circuit circuit, Edge edge) {
    return circuit.nodes().get(edge.target()).node().targets().stream()
        .filter(target -> target.coordinates().path() == edge.path())
        .findFirst()
        .orElseThrow();
  }

  /**
   * {@return what explains the attention of a circuit that is of a replacement graph}
   *
   * @param run that it is of; for scores of heads one that recorded all sites
   * @param graph of the run
   * @param circuit of the graph, whole or pruned
   * @param count how many edges are split, those between tokens first and then those of largest
   *     score, and how many of the heads that they pass are explained
   * @param progress hears how many have been
   * @throws IllegalArgumentException if {@code count} is negative or the circuit is of other tokens
   * @throws java.util.concurrent.CancellationException if the thread is interrupted, which it stays
   */
  public static CircuitAttention of(
      Run run, ReplacementGraph graph, Circuit circuit, int count, Progress progress) {
    try (Scope scope = Scope.open()) {
      ReplacementEdges edges = new ReplacementEdges(run, graph);
      List<Edge> order =
          largest(circuit.edges(), circuit.edgeScores()).stream()
              .sorted(Comparator.comparing(edge -> !crosses(circuit, edge)))
              .toList();
      Basis basis = Basis.of(run.model());
      return of(run, basis, circuit, order, count, progress, edge -> edges.loadings(circuit, edge));
    }
  }

  /**
   * The same of any circuit of a run.
   *
   * @param order of its edges
   */
  private static CircuitAttention of(
      Run run,
      Basis basis,
      Circuit circuit,
      List<Edge> order,
      int count,
      Progress progress,
      Function<Edge, HeadLoadings> split) {
    requireArgument(count >= 0, "the attention behind %d edges", count);
    requireArgument(
        circuit.origin().tokens().equals(Arrays.stream(run.tokens()).boxed().toList()),
        "the circuit is of tokens %s, the run of %s",
        circuit.origin().tokens(),
        Arrays.toString(run.tokens()));
    List<Edge> passing = order.stream().filter(edge -> passesHeads(run, circuit, edge)).toList();
    List<Loadings> loadings = new ArrayList<>();
    for (int i = 0; i < passing.size() && loadings.size() < count; i++) {
      requireNotInterrupted();
      try (Scope scope = Scope.open()) {
        Loadings of = Loadings.of(passing.get(i), split.apply(passing.get(i)));
        if (!of.layers.isEmpty()) {
          loadings.add(of);
        }
      }
      progress.at(loadings.size(), 2 * count);
    }
    List<Score> scores = new ArrayList<>();
    for (HeadPair head : heads(circuit, loadings, count)) {
      requireNotInterrupted();
      scores.add(Score.of(run, head, basis));
      progress.at(count + scores.size(), 2 * count);
    }
    loadings.sort(
        Comparator.comparingInt(Loadings::target)
            .thenComparingInt(Loadings::source)
            .thenComparing(Loadings::path));
    return new CircuitAttention(loadings, scores);
  }

  private static void requireNotInterrupted() {
    EdgeAttribution.requireNotInterrupted("the explanation of attention");
  }

  /** All of some, those of the largest numbers first. */
  private static <T> List<T> largest(List<T> all, double... numbers) {
    return IntStream.range(0, numbers.length)
        .boxed()
        .sorted(Comparator.comparingDouble(i -> -numbers[i]))
        .<T>map(all::get)
        .toList();
  }

  /** Whether an attention stands between the nodes of an edge. */
  private static boolean passesHeads(Run run, Circuit circuit, Edge edge) {
    Point from = circuit.nodes().get(edge.source()).point();
    Point to = circuit.nodes().get(edge.target()).point();
    return IntStream.range(0, run.model().layers())
        .mapToObj(run.model()::attention)
        .anyMatch(
            attention -> from.reaches(attention.reads()) && attention.writes().compareTo(to) < 0);
  }

  /** Whether an edge comes from another token than its target reads, which takes a head. */
  private static boolean crosses(Circuit circuit, Edge edge) {
    Circuit.Member target = circuit.nodes().get(edge.target());
    int read =
        target
            .output()
            .map(Circuit.Output::position)
            .orElseGet(() -> target.node().coordinates().token().orElseThrow());
    return source(circuit, edge).token() != read;
  }

  private static List<HeadPair> heads(Circuit circuit, List<Loadings> loadings, int count) {
    Stream<HeadPair> nodes =
        largest(circuit.nodes(), circuit.influence()).stream()
            .flatMap(member -> Stream.of(member.node()))
            .filter(HeadPair.class::isInstance)
            .map(HeadPair.class::cast);
    Stream<HeadPair> passed = loadings.stream().flatMap(of -> of.passed.stream()).map(Passed::head);
    return Stream.concat(nodes, passed).distinct().limit(count).toList();
  }

  /**
   * What is left of it with some edges of a circuit, whose nodes have other numbers.
   *
   * @param edges those that are left
   * @param index the new number of each node
   * @param nodes those that are left
   */
  CircuitAttention kept(List<Edge> edges, int[] index, List<Circuit.Member> nodes) {
    Set<List<Object>> left =
        edges.stream()
            .map(edge -> List.<Object>of(edge.source(), edge.target(), edge.path()))
            .collect(Collectors.toSet());
    List<Loadings> some =
        loadings.stream()
            .filter(of -> left.contains(of.key()))
            .map(
                of ->
                    new Loadings(
                        index[of.source],
                        index[of.target],
                        of.path,
                        of.edge,
                        of.direct,
                        of.layers,
                        of.passed))
            .toList();
    Set<Node> heads = nodes.stream().map(Circuit.Member::node).collect(Collectors.toSet());
    some.forEach(of -> of.passed.forEach(passed -> heads.add(passed.head)));
    return new CircuitAttention(
        some, scores.stream().filter(score -> heads.contains(score.head)).toList());
  }
}
