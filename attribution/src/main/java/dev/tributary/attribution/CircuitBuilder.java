package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Circuit.Edge;
import dev.tributary.attribution.Circuit.Input;
import dev.tributary.attribution.Circuit.Labels;
import dev.tributary.attribution.Circuit.Member;
import dev.tributary.attribution.Circuit.Origin;
import dev.tributary.attribution.Circuit.Output;
import dev.tributary.attribution.Circuit.Pattern;
import dev.tributary.core.Scope;
import dev.tributary.core.TopK;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.function.Supplier;

/**
 * Makes a {@link Circuit} out of a run. Every node of it that reads something is pulled from once
 * for each of its inputs; the gradient that comes of it says all: which sources are the largest,
 * whether they are complete, and the edges from those that are chosen.
 */
public final class CircuitBuilder {
  /** How many probabilities of attention a circuit holds at most. */
  private static final int PROBABILITIES = 500_000;

  private static final double DECIMALS = 1e5;

  private final EdgeAttribution edges;
  private final NodeAttribution nodes;
  private final Run run;
  private final Labels labels;
  private final String metric;
  private final Progress progress;
  private final Basis basis;

  /** What was pulled; of the scope in which the circuit is made. */
  private final Map<Target, Pulled> pulled = new HashMap<>();

  private record Pulled(ResidualGradient gradient, Certificate certificate) {}

  private CircuitBuilder(
      EdgeAttribution edges, Labels labels, String metric, Progress progress, Basis basis) {
    this.edges = edges;
    this.nodes = edges.nodes();
    this.run = nodes.run();
    this.labels = labels;
    this.metric = metric;
    this.progress = progress;
    this.basis = basis;
    requireArgument(
        labels.tokens().size() == run.length(),
        "texts of %d tokens for a run of %d",
        labels.tokens().size(),
        run.length());
  }

  /**
   * {@return what makes circuits of a run}
   *
   * @param edges of the run and metric that are explained
   * @param labels what to call what a circuit is of
   * @param metric what is explained, in words
   * @param progress hears how many nodes have been found or explained
   * @throws IllegalArgumentException if {@code labels} are of another number of tokens
   */
  public static CircuitBuilder of(
      EdgeAttribution edges, Labels labels, String metric, Progress progress) {
    Basis all = Basis.of(edges.nodes().run().model());
    return new CircuitBuilder(edges, labels, metric, progress, all);
  }

  /**
   * {@return the same, of the nodes of another basis than that of all dictionaries}
   *
   * @param other of the model of the run
   * @throws IllegalArgumentException if the model has not the dictionaries of the basis
   */
  public CircuitBuilder in(Basis other) {
    other.requireOf(run.model());
    return new CircuitBuilder(edges, labels, metric, progress, other);
  }

  // ---- which nodes -------------------------------------------------------------------------

  /**
   * {@return the circuit of some nodes and the metric}
   *
   * @param chosen sources; order and repetition do not matter
   * @throws IllegalArgumentException if the run has no such node, it is not upstream of the metric,
   *     or it says what others say: one of those that an autoencoder encodes, or a part of an
   *     embedding that is there whole
   * @throws java.util.concurrent.CancellationException if the thread is interrupted, which it stays
   */
  public Circuit among(List<? extends Node> chosen) {
    Set<Source> sources = new LinkedHashSet<>();
    for (Node node : chosen) {
      if (!node.equals(new Explained())) {
        sources.add(checked(node));
      }
    }
    for (Source source : sources) {
      for (Node part : source.parts()) {
        requireArgument(
            part.equals(source) || !sources.contains(part),
            "%s is a part of the embedding of that token, which is there whole",
            part);
      }
    }
    return within(() -> sources);
  }

  private Circuit within(Supplier<Collection<Source>> found) {
    try (Scope scope = Scope.open()) {
      return circuit(found.get());
    } finally {
      pulled.clear();
    }
  }

  private Source checked(Node node) {
    node.requireIn(run);
    Coordinates at = node.coordinates();
    requireArgument(
        at.path() == InputPath.ALL,
        "%s is one input of %s, which is the node of a circuit",
        node,
        at.path(InputPath.ALL));
    requireArgument(
        node.asSource().isPresent(),
        "%s is no node of a circuit: those are embeddings, neurons, heads, latents, errors and"
            + " biases",
        node);
    Source source = node.asSource().get();
    basis.requireHas(source);
    requireArgument(
        point(source).reaches(nodes.residualGradient().point()),
        "%s is not upstream of what is explained",
        node);
    return source;
  }

  private Point point(Source source) {
    return source.family().point(run.model());
  }

  /** In the order of the forward pass, those of one point and token by kind and number. */
  private int compare(Source one, Source other) {
    return Comparator.comparing(this::point)
        .thenComparingInt(Source::token)
        .thenComparingInt(source -> Kind.all().indexOf(Kind.of(source)))
        .thenComparing(Source::index, Arrays::compare)
        .thenComparing(Source::toString)
        .compare(one, other);
  }

  /**
   * {@return the circuit of the nodes of largest |attribution|, and the metric}
   *
   * @param count number of nodes besides the metric; fewer if no others have an attribution
   * @throws IllegalArgumentException if {@code count} is negative
   * @throws java.util.concurrent.CancellationException if the thread is interrupted, which it stays
   */
  public Circuit largest(int count) {
    requireCount(count);
    return within(
        () ->
            NodeScore.largest(basis.of(nodes.activationTimesGradient().arrays()), count).stream()
                .map(found -> (Source) found.node())
                .toList());
  }

  /**
   * {@return the circuit grown backwards from the metric: of all nodes with edges into those that
   * were found, the one of largest influence is next} Influence is then that in the graph of the
   * nodes found and all their sources. Of each found node, the largest 4 · {@code count} sources
   * (at least 1000) are looked at.
   *
   * @param count number of nodes besides the metric; fewer if no others lead to it
   * @throws IllegalArgumentException if {@code count} is negative
   * @throws java.util.concurrent.CancellationException if the thread is interrupted, which it stays
   */
  public Circuit grown(int count) {
    requireCount(count);
    return within(() -> new Growth(count).nodes());
  }

  private static void requireCount(int count) {
    requireArgument(count >= 0, "a circuit of %d nodes", count);
  }

  /**
   * Finds node after node. What is found is expanded: its largest sources become candidates, with
   * their shares of it. Influence is computed anew for each node, since a node found late may feed
   * one found early.
   */
  private final class Growth {
    private static final int LEAST_SOURCES = 1000;
    private static final int METRIC = -1;

    private final int count;
    private final int sourcesEach;
    private final List<Source> candidates = new ArrayList<>();
    private final Map<Source, Integer> indices = new HashMap<>();

    /** Latest in the forward pass first. */
    private final List<Expanded> expanded = new ArrayList<>();

    /** A found node, and the sources with the share that each has of all edges into it. */
    private record Expanded(int index, Point point, List<Share> sources) {}

    private record Share(int source, double share) {}

    Growth(int count) {
      this.count = count;
      this.sourcesEach = (int) Math.min(Integer.MAX_VALUE, Math.max(LEAST_SOURCES, 4L * count));
    }

    Set<Source> nodes() {
      Set<Source> found = new LinkedHashSet<>();
      BitSet taken = new BitSet();
      expand(new Explained(), METRIC, run.model().end().next());
      while (found.size() < count) {
        double[] influence = influence();
        taken.stream().forEach(index -> influence[index] = 0);
        int[] best = TopK.indices(influence, 1);
        if (best.length == 0 || influence[best[0]] == 0) {
          break;
        }
        Source next = candidates.get(best[0]);
        found.add(next);
        taken.set(best[0]);
        expand(next, best[0], point(next));
        progress.at(found.size(), count);
      }
      return found;
    }

    private double[] influence() {
      double[] influence = new double[candidates.size()];
      for (Expanded node : expanded) {
        double own = node.index == METRIC ? 1 : influence[node.index];
        for (Share one : node.sources) {
          influence[one.source] += own * one.share;
        }
      }
      return influence;
    }

    private void expand(Node node, int index, Point point) {
      Map<Source, Double> magnitudes = new LinkedHashMap<>();
      double sum = 0;
      for (Target target : node.targets()) {
        try (Scope scope = Scope.open()) {
          EdgeScores all = pull(target, scope);
          List<NodeArray> scores = basis.of(all.arrays(), pulled(target).gradient.point());
          sum += EdgeScores.sum(scores, Math::abs);
          for (NodeScore score : NodeScore.largest(scores, sourcesEach)) {
            magnitudes.merge((Source) score.node(), Math.abs(score.score()), Double::sum);
          }
        }
      }
      List<Share> sources = new ArrayList<>();
      for (Map.Entry<Source, Double> entry : magnitudes.entrySet()) {
        int source = indices.computeIfAbsent(entry.getKey(), this::candidate);
        sources.add(new Share(source, entry.getValue() / sum));
      }
      int place = 0;
      while (place < expanded.size() && expanded.get(place).point.compareTo(point) >= 0) {
        place++;
      }
      expanded.add(place, new Expanded(index, point, sources));
    }

    private int candidate(Source source) {
      candidates.add(source);
      return candidates.size() - 1;
    }
  }

  // ---- which edges -------------------------------------------------------------------------

  /** Pulls from a target, keeps what is needed of it, and says what every source adds to it. */
  private EdgeScores pull(Target target, Scope scope) {
    EdgeAttribution.requireNotInterrupted("the making of a circuit");
    ResidualGradient gradient = edges.gradient(target);
    EdgeScores scores = nodes.products(gradient);
    scope.keep(gradient.rows());
    pulled.put(target, new Pulled(gradient, edges.certificate(target, gradient, scores)));
    return scores;
  }

  private Pulled pulled(Target target) {
    if (!pulled.containsKey(target)) {
      try (Scope scope = Scope.open()) {
        pull(target, scope);
      }
    }
    return Objects.requireNonNull(pulled.get(target));
  }

  private Circuit circuit(Collection<Source> chosen) {
    List<Source> sources = chosen.stream().sorted(this::compare).toList();
    List<Input> inputs = new ArrayList<>();
    List<ResidualGradient> gradients = new ArrayList<>();
    for (int i = 0; i <= sources.size(); i++) {
      Node node = i < sources.size() ? sources.get(i) : new Explained();
      for (Target target : node.targets()) {
        Pulled from = pulled(target);
        inputs.add(new Input(i, target.coordinates().path(), from.certificate));
        gradients.add(from.gradient);
      }
      progress.at(i + 1, sources.size() + 1);
    }
    Readings attribution = nodes.activationTimesGradient();
    return new Circuit(
        origin(),
        readings(sources, attribution),
        edges(sources, inputs, gradients),
        inputs,
        patterns(sources, attribution),
        List.of(),
        CircuitAttention.NONE);
  }

  private List<Edge> edges(
      List<Source> sources, List<Input> inputs, List<ResidualGradient> gradients) {
    double[] products = edges.pulls().products(sources, gradients);
    List<Edge> result = new ArrayList<>();
    for (int j = 0; j < inputs.size(); j++) {
      Input input = inputs.get(j);
      for (int i = 0; i < sources.size(); i++) {
        double weight = products[i * inputs.size() + j];
        if (weight != 0 && basis.has(sources.get(i).family(), gradients.get(j).point())) {
          result.add(new Edge(i, input.target(), input.path(), weight));
        }
      }
    }
    result.sort(
        Comparator.comparingInt(Edge::target)
            .thenComparingInt(Edge::source)
            .thenComparing(Edge::path));
    return result;
  }

  private Origin origin() {
    return new Origin(
        labels,
        Arrays.stream(run.tokens()).boxed().toList(),
        run.model().layers(),
        edges.scaleGradient(),
        edges.measure());
  }

  private List<Member> readings(List<Source> sources, Readings attribution) {
    Readings activation = nodes.activation();
    EdgeScores directEffect = nodes.directEffect();
    List<Member> result = new ArrayList<>();
    for (Source source : sources) {
      result.add(
          new Member(
              source,
              point(source),
              activation.of(source),
              attribution.of(source),
              OptionalDouble.of(directEffect.of(source)),
              Optional.empty()));
    }
    OptionalDouble none = OptionalDouble.empty();
    int position = nodes.residualGradient().endToken() - 1;
    Output output = new Output(metric, position, OptionalDouble.of(nodes.value()), 1);
    result.add(
        new Member(
            new Explained(), run.model().end().next(), none, none, none, Optional.of(output)));
    return result;
  }

  private List<Pattern> patterns(List<Source> sources, Readings attribution) {
    Map<List<Integer>, Double> heads = new LinkedHashMap<>();
    for (Source source : sources) {
      double magnitude = Math.abs(attribution.of(source).orElse(0));
      Circuit.head(source).ifPresent(head -> heads.merge(head, magnitude, Math::max));
    }
    int most = PROBABILITIES / (run.length() * (run.length() + 1) / 2);
    return heads.entrySet().stream()
        .sorted(Comparator.comparingDouble(head -> -head.getValue()))
        .limit(most)
        .map(Map.Entry::getKey)
        .sorted(
            Comparator.<List<Integer>>comparingInt(head -> head.get(0))
                .thenComparingInt(head -> head.get(1)))
        .map(head -> pattern(head.get(0), head.get(1)))
        .toList();
  }

  private Pattern pattern(int layer, int head) {
    double[] values = run.value(Site.PATTERN, layer).slice(0, head, head + 1).toDoubles();
    List<List<Double>> rows = new ArrayList<>();
    for (int query = 0; query < run.length(); query++) {
      List<Double> row = new ArrayList<>();
      for (int key = 0; key <= query; key++) {
        row.add(Math.round(values[query * run.length() + key] * DECIMALS) / DECIMALS);
      }
      rows.add(row);
    }
    return new Pattern(layer, head, rows);
  }
}
