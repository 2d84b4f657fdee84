package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Node;
import dev.tributary.attribution.Source;
import dev.tributary.attribution.Target;

/** An edge by the names of both ends. */
record NamedEdge(Source source, Target target) {
  private static final String ARROW = "->";

  /** Whether a text looks like one. */
  static boolean is(String text) {
    return text.indexOf(ARROW) > 0;
  }

  /**
   * {@return the edge of a name}
   *
   * @param text SOURCE->TARGET
   * @throws IllegalArgumentException if it is none
   */
  static NamedEdge of(String text) {
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

  /** Refuses one that a run does not have, or that a trace cannot depend on. */
  void requireUpstream(Subject subject) {
    subject.requireUpstream(source);
    subject.requireUpstream(target);
  }
}
