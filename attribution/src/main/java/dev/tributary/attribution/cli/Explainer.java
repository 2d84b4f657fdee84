package dev.tributary.attribution.cli;

import dev.tributary.attribution.Basis;
import dev.tributary.attribution.Coordinates;
import dev.tributary.attribution.EdgeAttribution;
import dev.tributary.attribution.EdgeScores;
import dev.tributary.attribution.Explained;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.attribution.NodeScore;
import dev.tributary.attribution.Readings;
import dev.tributary.attribution.Source;
import dev.tributary.attribution.Target;
import dev.tributary.attribution.cli.Explanation.Edges;
import dev.tributary.attribution.cli.Explanation.RankedEdge;
import dev.tributary.attribution.cli.Explanation.RankedNode;
import dev.tributary.attribution.cli.Explanation.Sum;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Point;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.IntFunction;
import java.util.function.Predicate;

/** Finds the most important nodes and edges of one run. */
final class Explainer {
  private final NodeAttribution nodes;
  private final Readings attribution;

  private final EdgeAttribution edges;
  private final Optional<Range> tokens;
  private final Optional<Basis> basis;
  private final int top;

  /**
   * Explains what the gradients of a metric say.
   *
   * @param tokens at which nodes are wanted, if not at all
   * @param top number of nodes, and of edges, to find
   */
  Explainer(Subject subject, Optional<Range> tokens, int top) {
    this.nodes = subject.nodes();
    this.attribution = nodes.activationTimesGradient();
    this.edges = EdgeAttribution.of(nodes, subject.scaleGradient());
    this.tokens = tokens;
    this.basis = subject.basis();
    this.top = top;
  }

  /** The nodes of largest attribution. */
  List<RankedNode> nodes() {
    Readings activation = nodes.activation();
    EdgeScores directEffect = nodes.directEffect();
    return largest(attribution::top, this::isWanted, top).stream()
        .map(
            found ->
                new RankedNode(
                    found.node(),
                    activation.of(found.node()),
                    found.score(),
                    directEffect.of(found.node())))
        .toList();
  }

  /** Edges to and from the named nodes; if none is named, into the most important one. */
  Edges edges(Optional<Node> into, Optional<Source> from) {
    if (from.isEmpty()) {
      return into(into.orElseGet(this::mostImportant));
    }
    List<Candidate> found =
        into.isEmpty() ? outOf(from.get()) : between(from.get(), into.get().targets());
    return new Edges(into, from, patched(found), List.of());
  }

  /**
   * The node of largest attribution that has other neurons or heads upstream; the metric if it
   * depends on none. Heads of layer 0 are not asked: they read the embeddings alone.
   */
  private Node mostImportant() {
    return largest(attribution::top, node -> isWanted(node) && hasUpstream(node), 1).stream()
        .map(NodeScore::node)
        .findFirst()
        .orElseGet(Explained::new);
  }

  /** The nodes of largest score, of those that are wanted. */
  private List<NodeScore> largest(
      IntFunction<List<NodeScore>> ranked, Predicate<Node> wanted, int most) {
    for (int count = top; ; count = (int) Math.min(Integer.MAX_VALUE, 4L * count)) {
      List<NodeScore> all = ranked.apply(count);
      List<NodeScore> found =
          all.stream().filter(score -> wanted.test(score.node())).limit(most).toList();
      if (found.size() == most || all.size() < count) {
        return found;
      }
    }
  }

  private boolean isWanted(Node node) {
    OptionalInt token = node.coordinates().token();
    return isInBasis(node) && isAtTokens(token);
  }

  private boolean isInBasis(Node node) {
    return basis.filter(one -> !one.has(node)).isEmpty();
  }

  private boolean isAtTokens(OptionalInt token) {
    return tokens.isEmpty() || (token.isPresent() && tokens.get().contains(token.getAsInt()));
  }

  private static boolean hasUpstream(Node node) {
    Coordinates at = node.coordinates();
    return at.part().isEmpty()
        && !node.targets().isEmpty()
        && (at.component() == Coordinates.Component.MLP || at.layer().orElse(0) > 0);
  }

  private Edges into(Node node) {
    List<Candidate> found = new ArrayList<>();
    List<Sum> sums = new ArrayList<>();
    for (Target target : node.targets()) {
      try (Scope scope = Scope.open()) {
        Point read = edges.gradient(target).point();
        for (NodeScore score : largest(edges.into(target)::top, one -> sees(read, one), top)) {
          found.add(new Candidate(score.node().asSource().orElseThrow(), target, score.score()));
        }
      }
      sums.add(new Sum(target, edges.certify(target)));
    }
    return new Edges(Optional.of(node), Optional.empty(), patched(found), sums);
  }

  private boolean sees(Point read, Node node) {
    return basis.isEmpty()
        || node.asSource().filter(source -> basis.get().has(source, read)).isPresent();
  }

  private List<Candidate> outOf(Source source) {
    return largest(edges.outOf(source)::top, this::isInBasis, top).stream()
        .map(score -> new Candidate(source, score.node().targets().get(0), score.score()))
        .toList();
  }

  private List<Candidate> between(Source source, List<Target> targets) {
    return targets.stream()
        .map(target -> new Candidate(source, target, edges.between(source, target)))
        .toList();
  }

  private record Candidate(Source from, Target to, double score) {}

  /** The largest, with what their targets really lose. */
  private List<RankedEdge> patched(List<Candidate> found) {
    return found.stream()
        .sorted(Comparator.comparingDouble(edge -> -Math.abs(edge.score)))
        .limit(top)
        .map(
            edge -> new RankedEdge(edge.from, edge.to, edge.score, edges.patch(edge.from, edge.to)))
        .toList();
  }
}
