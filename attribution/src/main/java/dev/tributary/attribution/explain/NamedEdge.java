package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Node;
import dev.tributary.attribution.Source;
import dev.tributary.attribution.Target;

/**
 * An edge by both ends.
 *
 * @param source that writes
 * @param target that reads
 */
public record NamedEdge(Source source, Target target) {
  private static final String ARROW = "->";

  /**
   * {@return whether a text looks like one}
   *
   * @param text of any kind
   */
  public static boolean is(String text) {
    return text.indexOf(ARROW) > 0;
  }

  /**
   * {@return the edge of a name}
   *
   * @param text SOURCE->TARGET
   * @throws IllegalArgumentException if it is none
   */
  public static NamedEdge of(String text) {
    requireArgument(is(text), "\"%s\" is not an edge: write SOURCE->TARGET", text);
    int arrow = text.indexOf(ARROW);
    Node from = Node.parse(text.substring(0, arrow));
    Node to = Node.parse(text.substring(arrow + ARROW.length()));
    requireArgument(
        from.asSource().isPresent(), "%s writes nothing into the residual stream", from);
    requireArgument(
        to.targets().contains(to),
        "%s is no target: it needs a neuron (or its gate or up), an input of a head (query, key or"
            + " value), a latent, a logit or metric",
        to);
    return new NamedEdge(from.asSource().orElseThrow(), to.targets().get(0));
  }

  /** Refuses one that a run does not have, or that what is explained cannot depend on. */
  void requireUpstream(Explanation explanation) {
    explanation.requireUpstream(source);
    explanation.requireUpstream(target);
  }

  @Override
  public String toString() {
    return source + ARROW + target;
  }
}
