package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Scope;
import dev.tributary.transformer.Run;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalDouble;
import java.util.function.DoubleUnaryOperator;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The edges between one node and every node that may be at their other end. A score is there for
 * each of these: one that has no path, since it writes too late or at a token that is not read, has
 * exactly 0. Lives in the scope in which it was made.
 */
public final class EdgeScores {
  private final Run run;
  private final Class<? extends Family> role;
  private final String end;
  private final List<NodeArray> arrays;

  /** Of the inputs of nodes that are in {@link #arrays} already. */
  private final List<NodeArray> inputs;

  private EdgeScores(Run run, Class<? extends Family> role, String end, List<NodeArray> arrays) {
    this.run = run;
    this.role = role;
    this.end = end;
    Map<Boolean, List<NodeArray>> listed =
        arrays.stream()
            .collect(Collectors.partitioningBy(array -> Kind.of(array.node(0)).isListed()));
    this.arrays = listed.getOrDefault(true, List.of());
    this.inputs = listed.getOrDefault(false, List.of());
  }

  /** Edges from every source. */
  static EdgeScores from(Run run, List<NodeArray> arrays) {
    return new EdgeScores(
        run, SourceFamily.class, "the source of an edge: it writes nothing", arrays);
  }

  /** Edges into every target of which there is a definite number. */
  static EdgeScores into(Run run, List<NodeArray> arrays) {
    return new EdgeScores(
        run, TargetFamily.class, "among the targets whose edges these are", arrays);
  }

  /** Hands the numbers to the scope around the one in which they were computed. */
  EdgeScores keptBy(Scope scope) {
    all().forEach(array -> scope.keep(array.values()));
    return this;
  }

  /** {@link #arrays} and those of inputs. */
  Stream<NodeArray> all() {
    return Stream.concat(arrays.stream(), inputs.stream());
  }

  /**
   * {@return the scores, by kind and layer} No node is in two arrays, and of gated neurons only the
   * wholes are there; what is in none has exactly 0.
   */
  public List<NodeArray> arrays() {
    return arrays;
  }

  /**
   * {@return the score of one node; of an embedding, that of its parts together}
   *
   * @param node at the other end of the edge
   * @throws IllegalArgumentException if the run has no such node, or these edges do not end in
   *     nodes of its kind
   */
  public double of(Node node) {
    node.requireIn(run);
    requireArgument(role.isInstance(node.family()), "%s is not %s", node, end);
    return node.parts().stream().mapToDouble(this::find).sum();
  }

  private double find(Node node) {
    return all()
        .map(array -> array.of(node))
        .filter(OptionalDouble::isPresent)
        .findFirst()
        .orElse(OptionalDouble.of(0))
        .getAsDouble();
  }

  /**
   * {@return the nodes of largest magnitude, largest first; exact zeros are left out, and so are
   * the inputs of neurons}
   *
   * @param count at most so many
   */
  public List<NodeScore> top(int count) {
    return NodeScore.largest(arrays, count);
  }

  /**
   * {@return the sum over all nodes of the model itself} Latents, errors and pre-biases, which say
   * once more what the nodes at the site of their autoencoder say, are left out.
   */
  public double sum() {
    return sums().of(family -> family.encoded().isEmpty());
  }

  /** Sums over the sources of each family, all numbers read once. */
  Sums sums() {
    Map<NodeArray, double[]> sums = new LinkedHashMap<>();
    arrays.forEach(array -> sums.put(array, new double[2]));
    NodeArray.forEach(
        arrays,
        (array, position, numbers, from, to) -> {
          double[] own = Objects.requireNonNull(sums.get(array));
          for (int i = from; i < to; i++) {
            own[0] += numbers[i];
            own[1] += Math.abs(numbers[i]);
          }
        });
    return new Sums(sums);
  }

  static double sum(List<NodeArray> arrays, DoubleUnaryOperator of) {
    double[] sum = new double[1];
    NodeArray.forEach(
        arrays,
        (array, position, numbers, from, to) -> {
          for (int i = from; i < to; i++) {
            sum[0] += of.applyAsDouble(numbers[i]);
          }
        });
    return sum[0];
  }

  /** Of each array the sum, and that of the magnitudes. */
  static final class Sums {
    private final Map<NodeArray, double[]> sums;

    private Sums(Map<NodeArray, double[]> sums) {
      this.sums = sums;
    }

    /** Over the sources of some families. */
    double of(Predicate<SourceFamily> families) {
      return sum(families, 0);
    }

    /** Of magnitudes. */
    double magnitude(Predicate<SourceFamily> families) {
      return sum(families, 1);
    }

    private double sum(Predicate<SourceFamily> families, int which) {
      return sums.entrySet().stream()
          .filter(entry -> families.test(entry.getKey().source()))
          .mapToDouble(entry -> entry.getValue()[which])
          .sum();
    }
  }
}
