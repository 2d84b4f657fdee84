package dev.tributary.attribution.cli;

import dev.tributary.attribution.Certificate;
import dev.tributary.attribution.EdgePatch;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.Source;
import dev.tributary.attribution.Target;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * What {@code attribute} found.
 *
 * @param nodes most important first
 */
record Explanation(Subject subject, List<RankedNode> nodes, Edges edges) {
  /**
   * What was read of a node.
   *
   * @param activation none of what has no activation
   * @param attribution activation times gradient
   */
  record RankedNode(
      Node node, OptionalDouble activation, double attribution, double directEffect) {}

  /**
   * How much of the attribution of a target arrived from a source, and how good a prediction that
   * is.
   */
  record RankedEdge(Source from, Target to, double score, EdgePatch patch) {
    /** Whether the target really loses something quite different from what the edge says. */
    boolean isFarOff() {
      return patch.linearisationError() > 0.5;
    }
  }

  /** The sum of the edges from all sources into a target, and whether that is all. */
  record Sum(Target into, Certificate certificate) {
    double sum() {
      return certificate.sources();
    }
  }

  /**
   * The most important edges, largest first.
   *
   * @param into the node that they lead to, if that was asked
   * @param from the node that they come from, if that was asked
   * @param sums of all edges into each target, if no source was named
   */
  record Edges(
      Optional<Node> into, Optional<Source> from, List<RankedEdge> largest, List<Sum> sums) {}
}
