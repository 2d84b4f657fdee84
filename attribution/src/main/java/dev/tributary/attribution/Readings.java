package dev.tributary.attribution;

import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.core.TopK;
import dev.tributary.transformer.Run;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.Function;
import java.util.stream.Stream;

/**
 * One reading of the nodes of a run, such as their activation. A node of a kind that has no such
 * reading has no number, which is not the same as 0. The numbers of a family are computed when they
 * are asked for and live in the scope in which this was made, those that are only ranked no longer
 * than that takes.
 */
public final class Readings {
  private final Run run;
  private final Function<SourceFamily, Optional<Tensor>> reading;
  private final List<? extends SourceFamily> families;
  private final Scope scope = Scope.innermost();

  /** What was asked for so far; guarded by itself. */
  private final Map<SourceFamily, Optional<NodeArray>> held = new HashMap<>();

  /**
   * Readings of families.
   *
   * @param reading computes the numbers of a family, if it has them, in the innermost scope
   */
  Readings(Run run, Function<SourceFamily, Optional<Tensor>> reading) {
    this.run = run;
    this.reading = reading;
    this.families = Kind.sourcesOf(run.model());
  }

  private Optional<NodeArray> compute(SourceFamily family) {
    return reading.apply(family).map(values -> NodeArray.of(family, values));
  }

  private Optional<NodeArray> array(SourceFamily family) {
    synchronized (held) {
      return held.computeIfAbsent(
          family,
          any -> {
            try (Scope here = Scope.open()) {
              Optional<NodeArray> array = compute(family);
              array.ifPresent(found -> here.keepIn(scope, found.values()));
              return array;
            }
          });
    }
  }

  /** Those that are not sums of others. */
  private Stream<? extends SourceFamily> parts() {
    return families.stream().filter(family -> !family.isWhole());
  }

  /**
   * {@return the numbers, by kind and layer} No node is in two arrays, and of embeddings only the
   * parts are there.
   */
  public List<NodeArray> arrays() {
    return parts().flatMap(family -> array(family).stream()).toList();
  }

  /**
   * {@return the reading of one node, if it has this reading}
   *
   * @param node of the run
   * @throws IllegalArgumentException if the run has no such node
   */
  public OptionalDouble of(Node node) {
    node.requireIn(run);
    return families.stream()
        .filter(family -> family.equals(node.family()))
        .findFirst()
        .flatMap(this::array)
        .map(array -> array.of(node))
        .orElse(OptionalDouble.empty());
  }

  /**
   * {@return the nodes of largest magnitude, largest first; exact zeros are left out, and so are
   * embeddings as wholes}
   *
   * @param count at most so many
   */
  public List<NodeScore> top(int count) {
    TopK<NodeScore> largest = new TopK<>(count);
    try (Scope ranking = Scope.open()) {
      List<NodeArray> some = new ArrayList<>();
      for (SourceFamily family : families) {
        if (!family.isWhole()) {
          try (Scope one = Scope.open()) {
            compute(family)
                .ifPresent(
                    array -> {
                      one.keep(array.values());
                      some.add(array);
                    });
          }
        }
        if (some.stream().mapToLong(array -> array.values().shape().length()).sum()
            >= Scope.tile()) {
          NodeArray.rank(some, largest);
          some.clear();
          ranking.clear();
        }
      }
      NodeArray.rank(some, largest);
    }
    return largest.entries();
  }
}
