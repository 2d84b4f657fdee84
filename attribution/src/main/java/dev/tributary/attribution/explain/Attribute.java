package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.EdgeScores;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeScore;
import dev.tributary.attribution.Readings;
import dev.tributary.core.Scope;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * Which nodes matter most to what is explained?
 *
 * @param subject what is explained
 * @param tokens at which nodes are wanted, if not at all; of a head, the query
 * @param top how many nodes to find
 */
public record Attribute(Subject subject, Optional<Range> tokens, int top)
    implements Question<Attribute.Attributed> {
  /**
   * Refuses to find none.
   *
   * @param subject {@link #subject()}
   * @param tokens {@link #tokens()}
   * @param top {@link #top()}
   * @throws IllegalArgumentException if it is less than one
   */
  public Attribute {
    requireArgument(top >= 1, "top is %d, it must be 1 or more", top);
  }

  /**
   * At all tokens.
   *
   * @param subject what is explained
   * @param top how many nodes to find
   */
  public Attribute(Subject subject, int top) {
    this(subject, Optional.empty(), top);
  }

  /**
   * The most important nodes.
   *
   * @param overview what is explained
   * @param nodes of largest attribution, largest first
   */
  public record Attributed(Overview overview, List<Ranked> nodes) {}

  /**
   * What was read of a node.
   *
   * @param node of the run
   * @param explanation what others say that a latent stands for, if a file does
   * @param activation of what has one
   * @param attribution activation times gradient
   * @param directEffect what reaches the metric without passing another node
   * @param writeNorm Euclidean norm of what it writes
   */
  public record Ranked(
      Node node,
      Optional<String> explanation,
      OptionalDouble activation,
      double attribution,
      double directEffect,
      double writeNorm) {
    @Override
    public String toString() {
      return new NodeScore(node, attribution).toString();
    }
  }

  @Override
  public Attributed answer(Work work) throws IOException {
    Explanation explanation = Explanation.of(work, subject);
    Range.requireInside("tokens", tokens, explanation.overview().tokens().size());
    Explanations explanations = work.explanations();
    try (Scope scope = Scope.open()) {
      Readings attribution = explanation.nodes().activationTimesGradient();
      Readings activation = explanation.nodes().activation();
      Readings norm = explanation.nodes().writeNorm();
      EdgeScores direct = explanation.nodes().directEffect();
      List<Ranked> nodes =
          new Largest(explanation.basis(), tokens)
              .of(attribution::top, node -> true, top).stream()
                  .map(
                      found ->
                          new Ranked(
                              found.node(),
                              explanations.of(found.node()),
                              activation.of(found.node()),
                              found.score(),
                              direct.of(found.node()),
                              Math.abs(norm.of(found.node()).orElse(0))))
                  .toList();
      return new Attributed(explanation.overview(), nodes);
    }
  }
}
