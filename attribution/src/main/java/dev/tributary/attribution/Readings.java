package dev.tributary.attribution;

import dev.tributary.core.Scope;
import dev.tributary.transformer.Run;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * One reading of the nodes of a run, such as their activation. A node of a kind that has no such
 * reading has no number, which is not the same as 0. Lives in the scope in which it was made.
 */
public final class Readings {
  private final Run run;
  private final List<NodeArray> arrays;

  /** Of nodes whose parts are in {@link #arrays} already. */
  private final List<NodeArray> wholes;

  Readings(Run run, List<NodeArray> arrays) {
    this.run = run;
    Map<Boolean, List<NodeArray>> byWhole =
        arrays.stream().collect(Collectors.partitioningBy(array -> array.source().isWhole()));
    this.arrays = byWhole.getOrDefault(false, List.of());
    this.wholes = byWhole.getOrDefault(true, List.of());
  }

  /** Hands the numbers to the scope around the one in which they were computed. */
  Readings keptBy(Scope scope) {
    all().forEach(array -> scope.keep(array.values()));
    return this;
  }

  private Stream<NodeArray> all() {
    return Stream.concat(arrays.stream(), wholes.stream());
  }

  /**
   * {@return the numbers, by kind and layer} No node is in two arrays, and of embeddings only the
   * parts are there.
   */
  public List<NodeArray> arrays() {
    return arrays;
  }

  /**
   * {@return the reading of one node, if it has this reading}
   *
   * @param node of the run
   * @throws IllegalArgumentException if the run has no such node
   */
  public OptionalDouble of(Node node) {
    node.requireIn(run);
    return all()
        .map(array -> array.of(node))
        .filter(OptionalDouble::isPresent)
        .findFirst()
        .orElse(OptionalDouble.empty());
  }

  /**
   * {@return the nodes of largest magnitude, largest first; exact zeros are left out, and so are
   * embeddings as wholes}
   *
   * @param count at most so many
   */
  public List<NodeScore> top(int count) {
    return NodeScore.largest(arrays, count);
  }
}
