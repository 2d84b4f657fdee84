package dev.tributary.attribution;

import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.core.TopK;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;

/**
 * One number for each node of a rectangular set: a tensor whose axes have names. Head pairs whose
 * key is later than their query are no nodes; their entries are 0.
 */
public final class NodeArray {
  /**
   * An axis of the array.
   *
   * @param name what it counts, e.g. {@code token}
   * @param from what its first entry stands for
   * @param size number of entries
   */
  public record Axis(String name, int from, int size) {}

  private final Family family;
  private final List<Axis> axes;
  private final Tensor values;

  private NodeArray(Family family, List<Axis> axes, Tensor values) {
    this.family = family;
    this.axes = axes;
    this.values = values;
  }

  /**
   * Numbers of the nodes of a family.
   *
   * @param values of as many axes; of a family of one axis, of any shape
   * @param first what the first entry along each axis stands for; of axes not named, 0
   */
  static NodeArray of(Family family, Tensor values, int... first) {
    List<String> names = family.axes();
    List<Axis> axes = new ArrayList<>();
    for (int i = 0; i < names.size(); i++) {
      int size = names.size() == 1 ? values.shape().length() : values.shape().size(i);
      axes.add(new Axis(names.get(i), i < first.length ? first[i] : 0, size));
    }
    Shape shape = Shape.of(axes.stream().mapToInt(Axis::size).toArray());
    return new NodeArray(family, List.copyOf(axes), values.reshape(shape));
  }

  /** The nodes of which it has the numbers. */
  Family family() {
    return family;
  }

  /** The same numbers of the nodes of another family. */
  NodeArray of(Family other) {
    return new NodeArray(other, axes, values);
  }

  /** The sums of numbers of the same nodes. */
  NodeArray plus(NodeArray other) {
    return new NodeArray(family, axes, values.plus(other.values));
  }

  /** The same of sources. */
  SourceFamily source() {
    return node(0).asSource().orElseThrow().family();
  }

  /** {@return the axes of {@link #values}, outermost first} */
  public List<Axis> axes() {
    return axes;
  }

  /** {@return the numbers} */
  public Tensor values() {
    return values;
  }

  /** The node of an entry, by its position in row-major order. */
  Node node(int position) {
    int[] at = new int[axes.size()];
    int rest = position;
    for (int i = at.length - 1; i >= 0; i--) {
      Axis axis = axes.get(i);
      at[i] = axis.from + rest % axis.size;
      rest /= axis.size;
    }
    return family.node(at);
  }

  /** Ranks its nodes by magnitude among others; exact zeros are left out. */
  void rank(TopK<NodeScore> largest) {
    if (largest.least() > 0 && values.shape().length() > 0) {
      int columns = values.shape().size(-1);
      int rows = values.shape().length() / columns;
      Tensor flat = values.reshape(rows, columns);
      double[] none = new double[columns];
      int[] found = flat.reaching(new double[rows], none, largest.least());
      try (Scope scope = Scope.open()) {
        double[] numbers = values.reshape(values.shape().length()).gather(0, found).toDoubles();
        for (int i = 0; i < found.length; i++) {
          rank(largest, found[i], numbers[i]);
        }
      }
      return;
    }
    values.forEach(
        (from, numbers, count) -> {
          for (int i = 0; i < count; i++) {
            rank(largest, from + i, numbers[i]);
          }
        });
  }

  private void rank(TopK<NodeScore> largest, int position, double number) {
    double magnitude = Math.abs(number);
    if (magnitude != 0 && largest.takes(magnitude)) {
      largest.add(magnitude, new NodeScore(node(position), number));
    }
  }

  /** The number of a node, if it is in this set. */
  OptionalDouble of(Node wanted) {
    if (!wanted.family().equals(family)) {
      return OptionalDouble.empty();
    }
    int[] index = wanted.index();
    for (int i = 0; i < index.length; i++) {
      Axis axis = axes.get(i);
      index[i] -= axis.from;
      if (index[i] < 0 || index[i] >= axis.size) {
        return OptionalDouble.empty();
      }
    }
    return OptionalDouble.of(values.get(index));
  }
}
