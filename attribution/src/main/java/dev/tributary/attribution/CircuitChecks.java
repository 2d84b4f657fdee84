package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Circuit.Edge;
import dev.tributary.attribution.Circuit.Group;
import dev.tributary.attribution.Circuit.Input;
import dev.tributary.attribution.Circuit.Member;
import dev.tributary.attribution.Circuit.Origin;
import dev.tributary.attribution.Circuit.Output;
import dev.tributary.attribution.CircuitAttention.Loadings;
import dev.tributary.attribution.CircuitAttention.Score;
import dev.tributary.attribution.HeadLoadings.LayerSplit;
import dev.tributary.attribution.ScoreAttribution.Pair;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Point;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** What makes a graph a {@link Circuit} of a run. */
final class CircuitChecks {
  private CircuitChecks() {}

  static void requireNodes(Origin origin, List<Member> nodes) {
    requireArgument(
        !nodes.isEmpty() && isOutput(nodes, nodes.size() - 1), "a circuit that explains nothing");
    Set<Node> seen = new HashSet<>();
    Point last = nodes.get(nodes.size() - 1).point();
    for (int i = 0; i < nodes.size(); i++) {
      Node node = nodes.get(i).node();
      Optional<Output> output = nodes.get(i).output();
      requireArgument(
          output.isPresent()
              ? node.asSource().isEmpty() && !node.targets().isEmpty()
              : node.asSource().isPresent(),
          output.isPresent() ? "%s is no output of a circuit" : "%s is no node of a circuit",
          node);
      requireArgument(
          output.isPresent() || i == 0 || !isOutput(nodes, i - 1),
          "%s comes after an output",
          node);
      requireIn(origin, node);
      output.ifPresent(read -> requirePosition(origin, node, read.position()));
      requireArgument(seen.add(node), "%s is there twice", node);
      requireArgument(
          nodes.get(i).point().reaches(last),
          "%s writes at %s, after the outputs, at %s",
          node,
          nodes.get(i).point(),
          last);
    }
  }

  private static boolean isOutput(List<Member> nodes, int index) {
    return nodes.get(index).output().isPresent();
  }

  private static void requirePosition(Origin origin, Node node, int position) {
    requireArgument(
        position >= 0 && position < origin.tokens().size(),
        "%s reads token %d of %d",
        node,
        position,
        origin.tokens().size());
    requireArgument(
        node.coordinates().token().orElse(position) == position,
        "%s is said to read token %d",
        node,
        position);
  }

  private static void requireIn(Origin origin, Node node) {
    requireArgument(
        isIn(origin, node.coordinates()),
        "%s is not in a run of %d tokens through %d layers",
        node,
        origin.tokens().size(),
        origin.layers());
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
          !isOutput(nodes, edge.source()), "an edge from %s", nodes.get(edge.source()).node());
      requireArgument(
          inputs.isEmpty() || known.contains(List.of(edge.target(), edge.path())),
          "an edge into node %d through %s, of which there is no certificate",
          edge.target(),
          edge.path());
    }
  }

  static void requireGroups(int nodes, List<Group> groups) {
    Set<Integer> grouped = new HashSet<>();
    for (Group group : groups) {
      requireArgument(!group.nodes().isEmpty(), "the group \"%s\" has no nodes", group.name());
      for (int node : group.nodes()) {
        requireArgument(node >= 0 && node < nodes, "node %d of %d", node, nodes);
        requireArgument(grouped.add(node), "node %d is grouped twice", node);
      }
    }
  }

  static void requireAttention(Origin origin, List<Edge> edges, CircuitAttention attention) {
    Set<List<Object>> known = new HashSet<>();
    edges.forEach(edge -> known.add(List.of(edge.source(), edge.target(), edge.path())));
    for (Loadings loadings : attention.loadings()) {
      requireArgument(
          known.remove(loadings.key()),
          "loadings of an edge from node %d to node %d through %s, which is not there or was split"
              + " before",
          loadings.source(),
          loadings.target(),
          loadings.path());
      for (LayerSplit split : loadings.layers()) {
        requireArgument(
            split.layer() >= 0 && split.layer() < origin.layers(),
            "loadings of layer %d of %d",
            split.layer(),
            origin.layers());
      }
      loadings.passed().forEach(passed -> requireIn(origin, passed.head()));
    }
    Set<HeadPair> scored = new HashSet<>();
    for (Score score : attention.scores()) {
      requireIn(origin, score.head());
      requireArgument(scored.add(score.head()), "two scores of %s", score.head());
      for (Pair pair : score.pairs()) {
        pair.query().ifPresent(source -> requireIn(origin, source));
        pair.key().ifPresent(source -> requireIn(origin, source));
      }
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
