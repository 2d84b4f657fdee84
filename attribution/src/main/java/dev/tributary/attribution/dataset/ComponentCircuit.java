package dev.tributary.attribution.dataset;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.transformer.StreamReader;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Tokens;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.IntPredicate;

/** Some edges of a {@link ComponentGraph}, immutable; in a run of it all others are missing. */
public final class ComponentCircuit {
  private final ComponentGraph graph;
  private final BitSet edges;

  private ComponentCircuit(ComponentGraph graph, BitSet edges) {
    this.graph = graph;
    this.edges = edges;
  }

  /**
   * {@return the circuit of some edges}
   *
   * @param graph whose they are
   * @param edges their numbers
   * @throws IllegalArgumentException if there is no such edge
   */
  public static ComponentCircuit of(ComponentGraph graph, Collection<Integer> edges) {
    BitSet chosen = new BitSet();
    int count = graph.edges().size();
    for (int edge : edges) {
      requireArgument(edge >= 0 && edge < count, "edge %d of a graph that has %d", edge, count);
      chosen.set(edge);
    }
    return new ComponentCircuit(graph, chosen);
  }

  /**
   * {@return the circuit of no edges}
   *
   * @param graph whose
   */
  public static ComponentCircuit empty(ComponentGraph graph) {
    return new ComponentCircuit(graph, new BitSet());
  }

  /** {@return the graph whose edges it has} */
  public ComponentGraph graph() {
    return graph;
  }

  /** {@return the numbers of its edges, in order} */
  public List<Integer> edges() {
    return edges.stream().boxed().toList();
  }

  /** {@return how many edges it has} */
  public int size() {
    return edges.cardinality();
  }

  /**
   * {@return whether it has an edge}
   *
   * @param edge its number
   */
  public boolean contains(int edge) {
    return edges.get(edge);
  }

  /** {@return the circuit of all other edges: what is left of the model without this one} */
  public ComponentCircuit complement() {
    BitSet others = (BitSet) edges.clone();
    others.flip(0, graph.edges().size());
    return new ComponentCircuit(graph, others);
  }

  /**
   * {@return the circuit that lacks one edge}
   *
   * @param edge its number
   */
  public ComponentCircuit without(int edge) {
    BitSet others = (BitSet) edges.clone();
    others.clear(edge);
    return new ComponentCircuit(graph, others);
  }

  /**
   * {@return the edges that lie on a path from the input to the logits} Until nothing changes, an
   * edge goes whose source is no input and hears nothing, or whose reader is of a component that
   * nothing hears; a head hears through any of its three readers. Of edges by token it is what a
   * component writes at a token that hears or is heard; keys and values are heard at all tokens
   * that see theirs.
   */
  public ComponentCircuit pruned() {
    BitSet left = (BitSet) edges.clone();
    int before;
    do {
      before = left.cardinality();
      BitSet hearing = new BitSet();
      hearing.set(0, graph.spans().size()); // the input, the first of sources
      BitSet heard = new BitSet();
      left.stream()
          .forEach(
              edge -> {
                Arrays.stream(graph.reached(edge)).forEach(hearing::set);
                heard.set(graph.write(edge));
              });
      IntPredicate loose =
          i -> {
            int[] reached = graph.reached(i);
            return !hearing.get(graph.write(i))
                || (reached.length > 0 && Arrays.stream(reached).noneMatch(heard::get));
          };
      for (int i : left.stream().filter(loose).toArray()) {
        left.clear(i);
      }
    } while (left.cardinality() < before);
    return new ComponentCircuit(graph, left);
  }

  /** What each reader does not hear, at each span of tokens at which it lacks something. */
  Map<Tokens, Map<StreamReader, Set<StreamWriter>>> missing() {
    Map<Tokens, Map<StreamReader, Set<StreamWriter>>> missing = new LinkedHashMap<>();
    for (int i = edges.nextClearBit(0); i < graph.edges().size(); i = edges.nextClearBit(i + 1)) {
      ComponentGraph.Edge edge = graph.edges().get(i);
      missing
          .computeIfAbsent(edge.tokens(), any -> new LinkedHashMap<>())
          .computeIfAbsent(edge.reader(), any -> new HashSet<>())
          .add(edge.source());
    }
    return missing;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof ComponentCircuit own
        && own.edges.equals(edges)
        && own.graph.edges().equals(graph.edges());
  }

  @Override
  public int hashCode() {
    return edges.hashCode();
  }

  @Override
  public String toString() {
    return edges.stream().mapToObj(graph.edges()::get).toList().toString();
  }
}
