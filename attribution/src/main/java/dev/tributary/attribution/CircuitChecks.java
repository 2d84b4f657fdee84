package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Circuit.Edge;
import dev.tributary.attribution.Circuit.Input;
import dev.tributary.attribution.Circuit.Member;
import dev.tributary.attribution.Circuit.Origin;
import dev.tributary.transformer.InputPath;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** What makes a graph a {@link Circuit} of a run. */
final class CircuitChecks {
  private CircuitChecks() {}

  static void requireNodes(Origin origin, List<Member> nodes) {
    requireArgument(!nodes.isEmpty(), "a circuit without nodes");
    Set<Node> seen = new HashSet<>();
    for (int i = 0; i < nodes.size(); i++) {
      Node node = nodes.get(i).node();
      boolean last = i == nodes.size() - 1;
      requireArgument(
          last ? node.equals(new Explained()) : node.asSource().isPresent(),
          last ? "the last node is %s, expected the metric" : "%s is no node of a circuit",
          node);
      requireArgument(
          isIn(origin, node.coordinates()),
          "%s is not in a run of %d tokens through %d layers",
          node,
          origin.tokens().size(),
          origin.layers());
      requireArgument(seen.add(node), "%s is there twice", node);
      requireArgument(
          nodes.get(i).point().reaches(nodes.get(nodes.size() - 1).point()),
          "%s writes at %s, after the metric, at %s",
          node,
          nodes.get(i).point(),
          nodes.get(nodes.size() - 1).point());
    }
  }

  private static boolean isIn(Origin origin, Coordinates node) {
    int token = node.token().orElse(0);
    int key = node.key().orElse(0);
    int layer = node.layer().orElse(0);
    return layer >= 0
        && layer < origin.layers()
        && token >= 0
        && token < origin.tokens().size()
        && key >= 0
        && key <= (node.key().isPresent() ? token : 0);
  }

  static void requireEdges(List<Member> nodes, List<Edge> edges, List<Input> inputs) {
    Set<List<Object>> known = new HashSet<>();
    for (Input input : inputs) {
      requireInput(nodes, input.target(), input.path());
      requireArgument(
          known.add(List.of(input.target(), input.path())),
          "two certificates of node %d through %s",
          input.target(),
          input.path());
    }
    Set<List<Object>> seen = new HashSet<>();
    for (Edge edge : edges) {
      requireInput(nodes, edge.target(), edge.path());
      requireArgument(
          edge.source() >= 0 && edge.source() < edge.target(),
          "an edge into node %d from node %d, expected one before it",
          edge.target(),
          edge.source());
      requireArgument(
          Double.isFinite(edge.weight()),
          "an edge of weight %s into node %d",
          edge.weight(),
          edge.target());
      requireArgument(
          seen.add(List.of(edge.source(), edge.target(), edge.path())),
          "two edges from node %d to node %d through %s",
          edge.source(),
          edge.target(),
          edge.path());
      requireArgument(
          known.contains(List.of(edge.target(), edge.path())),
          "an edge into node %d through %s, of which there is no certificate",
          edge.target(),
          edge.path());
    }
  }

  private static void requireInput(List<Member> nodes, int target, InputPath path) {
    requireArgument(target >= 0 && target < nodes.size(), "node %d of %d", target, nodes.size());
    Node node = nodes.get(target).node();
    requireArgument(!node.targets().isEmpty(), "an edge into %s, which reads nothing", node);
    requireArgument(
        node.targets().stream().anyMatch(input -> input.coordinates().path() == path),
        "an edge into %s through %s",
        node,
        path);
  }
}
