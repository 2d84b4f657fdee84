package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeScore;
import dev.tributary.attribution.Readings;
import dev.tributary.core.Scope;
import java.io.IOException;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/**
 * Which nodes matter more, or less, in another prompt of as many tokens?
 *
 * @param subject what is explained
 * @param other the other prompt, of which the same words are explained
 * @param top how many nodes to find
 */
public record Compare(Subject subject, Prompt other, int top)
    implements Question<Compare.Compared> {
  /**
   * Refuses to find none.
   *
   * @param subject {@link #subject()}
   * @param other {@link #other()}
   * @param top {@link #top()}
   * @throws IllegalArgumentException if it would
   */
  public Compare {
    requireArgument(top >= 1, "top is %d, it must be 1 or more", top);
  }

  /**
   * Both prompts beside each other.
   *
   * @param overview what is explained
   * @param other the same of the other prompt
   * @param nodes whose attributions are furthest apart, furthest first
   */
  public record Compared(Overview overview, Overview other, List<Difference> nodes) {}

  /**
   * A node in both prompts.
   *
   * @param node at the same place of both
   * @param attribution in the first
   * @param otherAttribution in the other
   */
  public record Difference(Node node, double attribution, double otherAttribution) {
    private double magnitude() {
      return Math.abs(otherAttribution - attribution);
    }
  }

  @Override
  public Compared answer(Work work) throws IOException {
    Explanation first = Explanation.of(work, subject);
    List<String> targets = first.overview().metric().targets().stream().map(Word::text).toList();
    Subject same =
        new Subject(
            other,
            first.overview().metric().position(),
            targets,
            subject.distractors(),
            subject.trace(),
            subject.stage(),
            subject.scaleGradient(),
            subject.basis());
    int tokens = first.overview().tokens().size();
    int others = work.opened().words(other).size();
    requireArgument(
        tokens == others,
        "the prompts have %d and %d tokens: nodes can be compared where these are as many",
        tokens,
        others);
    Explanation second = Explanation.of(work, same);
    try (Scope scope = Scope.open()) {
      return new Compared(first.overview(), second.overview(), differences(first, second));
    }
  }

  /** No node that is among the largest of neither run differs by more than both last ones. */
  private List<Difference> differences(Explanation first, Explanation second) {
    Readings own = first.nodes().activationTimesGradient();
    Readings others = second.nodes().activationTimesGradient();
    for (int count = 4 * top; ; count = (int) Math.min(Integer.MAX_VALUE, 4L * count)) {
      List<NodeScore> largest = own.top(count);
      List<NodeScore> otherLargest = others.top(count);
      Set<Node> nodes = new LinkedHashSet<>();
      Stream.concat(largest.stream(), otherLargest.stream())
          .map(NodeScore::node)
          .filter(node -> first.basis().filter(basis -> !basis.has(node)).isEmpty())
          .forEach(nodes::add);
      List<Difference> found =
          nodes.stream()
              .map(
                  node ->
                      new Difference(
                          node, own.of(node).orElseThrow(), others.of(node).orElseThrow()))
              .sorted(Comparator.comparingDouble(Difference::magnitude).reversed())
              .limit(top)
              .toList();
      double unseen = last(largest, count) + last(otherLargest, count);
      if (unseen == 0 || (found.size() == top && found.get(top - 1).magnitude() >= unseen)) {
        return found.stream().filter(one -> one.magnitude() > 0).toList();
      }
    }
  }

  /** What no node beyond the largest exceeds. */
  private static double last(List<NodeScore> largest, int count) {
    return largest.size() < count ? 0 : Math.abs(largest.get(count - 1).score());
  }
}
