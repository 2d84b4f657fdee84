package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Certificate;
import dev.tributary.attribution.Coordinates;
import dev.tributary.attribution.EdgeAttribution;
import dev.tributary.attribution.EdgePatch;
import dev.tributary.attribution.EdgeScores;
import dev.tributary.attribution.Explained;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeScore;
import dev.tributary.attribution.Readings;
import dev.tributary.attribution.Source;
import dev.tributary.attribution.Target;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Point;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;

/**
 * Which edges lead into a node, out of one, or from one to the other; and what their targets really
 * lose without them?
 *
 * @param subject what is explained
 * @param into the node that they lead into; where neither is named, the most important one that
 *     reads what other neurons or heads wrote
 * @param from the node that they come from
 * @param tokens at which nodes are wanted, if not at all; of a head, the query
 * @param top how many edges to find
 */
public record Edges(
    Subject subject, Optional<Node> into, Optional<Node> from, Optional<Range> tokens, int top)
    implements Question<Edges.Connected> {
  /**
   * Refuses ends that nodes cannot be, and to find none.
   *
   * @param subject {@link #subject()}
   * @param into {@link #into()}
   * @param from {@link #from()}
   * @param tokens {@link #tokens()}
   * @param top {@link #top()}
   * @throws IllegalArgumentException if the one reads nothing, or the other writes nothing
   */
  public Edges {
    requireArgument(top >= 1, "top is %d, it must be 1 or more", top);
    from.ifPresent(
        node ->
            requireArgument(
                node.asSource().isPresent(),
                "%s writes nothing into the residual stream: from needs an embedding, a neuron,"
                    + " a head, a latent or a bias",
                node));
    into.ifPresent(
        node ->
            requireArgument(
                !node.targets().isEmpty(),
                "%s reads nothing from the residual stream: into needs a neuron, a head, an"
                    + " input of either, a latent, a logit or metric",
                node));
  }

  /**
   * {@return the edges into a node}
   *
   * @param subject what is explained
   * @param node that reads
   * @param top how many to find
   */
  public static Edges into(Subject subject, Node node, int top) {
    return new Edges(subject, Optional.of(node), Optional.empty(), Optional.empty(), top);
  }

  /**
   * {@return the edges out of a node}
   *
   * @param subject what is explained
   * @param node that writes
   * @param top how many to find
   */
  public static Edges outOf(Subject subject, Node node, int top) {
    return new Edges(subject, Optional.empty(), Optional.of(node), Optional.empty(), top);
  }

  /**
   * The most important edges.
   *
   * @param into the node that they lead to, if that was asked or chosen
   * @param from the node that they come from, if that was asked
   * @param largest of them, largest first
   * @param sums of all edges into each target, if no source was named
   */
  public record Found(
      Optional<Node> into, Optional<Source> from, List<Edge> largest, List<Sum> sums) {}

  /**
   * What was found.
   *
   * @param overview what is explained
   * @param edges that were asked for
   */
  public record Connected(Overview overview, Found edges) {}

  /**
   * How much of the attribution of a target arrived from a source, and how good a prediction of
   * what really happens that is.
   *
   * @param source what writes
   * @param target what reads
   * @param score the edge
   * @param patch what the target loses without the write
   */
  public record Edge(Source source, Target target, double score, EdgePatch patch) {
    /** {@return whether the target really loses something quite different} */
    public boolean isFarOff() {
      return patch.linearisationError() > 0.5;
    }
  }

  /**
   * The sum of the edges from all sources into a target, and whether that is all.
   *
   * @param target what reads
   * @param certificate of the sum
   */
  public record Sum(Target target, Certificate certificate) {}

  private record Candidate(Source source, Target target, double score) {}

  @Override
  public Connected answer(Work work) throws IOException {
    Explanation explanation = Explanation.of(work, subject);
    into.ifPresent(explanation::requireUpstream);
    from.ifPresent(explanation::requireUpstream);
    Range.requireInside("tokens", tokens, explanation.overview().tokens().size());
    work.enter(Phase.EDGES);
    Largest largest = new Largest(explanation.basis(), tokens);
    try (Scope scope = Scope.open()) {
      Optional<Source> source = from.flatMap(Node::asSource);
      Found found =
          source.isEmpty()
              ? into(explanation, into.orElseGet(() -> mostImportant(explanation, largest)))
              : new Found(
                  into,
                  source,
                  patched(
                      explanation.edges(),
                      into.isEmpty()
                          ? outOf(explanation, largest, source.get())
                          : between(explanation, source.get(), into.get().targets())),
                  List.of());
      return new Connected(explanation.overview(), found);
    }
  }

  /**
   * The node of largest attribution that has other neurons or heads upstream; the metric if it
   * depends on none. Heads of layer 0 are not asked: they read the embeddings alone.
   */
  private static Node mostImportant(Explanation explanation, Largest largest) {
    Readings attribution = explanation.nodes().activationTimesGradient();
    return largest.of(attribution::top, Edges::hasUpstream, 1).stream()
        .map(NodeScore::node)
        .findFirst()
        .orElseGet(Explained::new);
  }

  private static boolean hasUpstream(Node node) {
    Coordinates at = node.coordinates();
    return at.part().isEmpty()
        && !node.targets().isEmpty()
        && (at.component() == Coordinates.Component.MLP || at.layer().orElse(0) > 0);
  }

  private Found into(Explanation explanation, Node node) {
    EdgeAttribution edges = explanation.edges();
    List<Candidate> found = new ArrayList<>();
    List<Sum> sums = new ArrayList<>();
    for (Target target : node.targets()) {
      try (Scope scope = Scope.open()) {
        Point read = edges.gradient(target).point();
        EdgeScores scores = edges.into(target);
        for (NodeScore score : Largest.any(scores::top, one -> sees(explanation, read, one), top)) {
          found.add(new Candidate(score.node().asSource().orElseThrow(), target, score.score()));
        }
      }
      sums.add(new Sum(target, edges.certify(target)));
    }
    return new Found(Optional.of(node), Optional.empty(), patched(edges, found), sums);
  }

  private static boolean sees(Explanation explanation, Point read, Node node) {
    return explanation.basis().isEmpty()
        || node.asSource()
            .filter(source -> explanation.basis().get().has(source, read))
            .isPresent();
  }

  private List<Candidate> outOf(Explanation explanation, Largest largest, Source source) {
    EdgeScores scores = explanation.edges().outOf(source);
    return Largest.any(scores::top, largest::isInBasis, top).stream()
        .map(score -> new Candidate(source, score.node().targets().get(0), score.score()))
        .toList();
  }

  private static List<Candidate> between(
      Explanation explanation, Source source, List<Target> targets) {
    return targets.stream()
        .map(target -> new Candidate(source, target, explanation.edges().between(source, target)))
        .toList();
  }

  /** The largest, with what their targets really lose. */
  private List<Edge> patched(EdgeAttribution edges, List<Candidate> found) {
    return found.stream()
        .sorted(Comparator.comparingDouble(edge -> -Math.abs(edge.score)))
        .limit(top)
        .map(
            edge ->
                new Edge(
                    edge.source, edge.target, edge.score, edges.patch(edge.source, edge.target)))
        .toList();
  }
}
