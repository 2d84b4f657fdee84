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

  /** Numbers in a row of those that are read together. */
  private static final int ROW = 1024;

  /** Numbers that are read first to know what those that rank reach. */
  private static final int FIRST = 1 << 16;

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

  /** Numbers of nodes that are read together. */
  private static final class Together {
    private final List<NodeArray> arrays = new ArrayList<>();
    private int length;

    private boolean hasRoomFor(NodeArray array) {
      return arrays.isEmpty() || (long) length + array.length() <= Scope.tile();
    }

    private void add(NodeArray array) {
      arrays.add(array);
      length += array.length();
    }

    /** All of them and zeros, in rows of equal length. */
    private Tensor rows() {
      if (arrays.size() == 1) {
        Shape shape = arrays.get(0).values.shape();
        int columns = Math.max(1, shape.size(-1));
        return arrays.get(0).values.reshape(length / columns, columns);
      }
      int rows = (length + ROW - 1) / ROW;
      List<Tensor> parts = new ArrayList<>();
      arrays.forEach(array -> parts.add(array.values.reshape(array.length())));
      parts.add(Tensor.zeros(parts.get(0).dtype(), Shape.of(rows * ROW - length)));
      return Tensor.concat(0, parts).reshape(rows, ROW);
    }

    /** All numbers are read until it is known what those that rank reach. */
    private void rank(TopK<NodeScore> largest) {
      Places places = new Places(arrays);
      Sink sink =
          (array, position, numbers, start, stop) ->
              array.rank(largest, position, numbers, start, stop);
      try (Scope scope = Scope.open()) {
        Tensor rows = rows();
        int columns = rows.shape().size(1);
        int end = rows.shape().size(0);
        int from = 0;
        for (int step = FIRST; from < end && largest.least() == 0; step *= 2) {
          int to = (int) Math.min(end, from + 1L + step / columns);
          places.takeAll(rows.slice(0, from, to), from * columns, sink);
          from = to;
        }
        if (from < end) {
          Tensor rest = rows.slice(0, from, end);
          int[] found = rest.reaching(new double[end - from], new double[columns], largest.least());
          double[] numbers = rest.reshape(rest.shape().length()).gather(0, found).toDoubles();
          for (int i = 0; i < found.length; i++) {
            places.take(from * columns + found[i], numbers, i, i + 1, sink);
          }
        }
      }
    }
  }

  private int length() {
    return values.shape().length();
  }

  /** As many as are read at a time, so that of many small ones there are few readings. */
  private static List<Together> together(List<NodeArray> arrays) {
    List<Together> result = new ArrayList<>();
    for (NodeArray array : arrays) {
      if (result.isEmpty() || !result.get(result.size() - 1).hasRoomFor(array)) {
        result.add(new Together());
      }
      result.get(result.size() - 1).add(array);
    }
    return result;
  }

  /** Where numbers of arrays go. */
  interface Sink {
    /**
     * Takes {@code numbers[from..to)}, which begin at a position of an array in row-major order.
     */
    void take(NodeArray array, int position, double[] numbers, int from, int to);
  }

  /** Hands over all numbers of some arrays, one array after the other. */
  static void forEach(List<NodeArray> arrays, Sink sink) {
    for (Together together : together(arrays)) {
      try (Scope scope = Scope.open()) {
        new Places(together.arrays).takeAll(together.rows(), 0, sink);
      }
    }
  }

  /** Finds the arrays of ascending positions among all that are together. */
  private static final class Places {
    private final List<NodeArray> arrays;
    private int array;
    private int first;

    Places(List<NodeArray> arrays) {
      this.arrays = arrays;
    }

    void takeAll(Tensor numbers, int at, Sink sink) {
      numbers.forEach((from, some, count) -> take(at + from, some, 0, count, sink));
    }

    void take(int position, double[] numbers, int from, int to, Sink sink) {
      int done = from;
      while (done < to && array < arrays.size()) {
        int at = position + done - from - first;
        int length = arrays.get(array).length();
        if (at >= length) {
          first += length;
          array++;
          continue;
        }
        int end = Math.min(to, done + length - at);
        sink.take(arrays.get(array), at, numbers, done, end);
        done = end;
      }
    }
  }

  /** Ranks nodes by magnitude among others; exact zeros are left out. */
  static void rank(List<NodeArray> arrays, TopK<NodeScore> largest) {
    together(arrays).forEach(together -> together.rank(largest));
  }

  private void rank(TopK<NodeScore> largest, int position, double[] numbers, int from, int to) {
    for (int i = from; i < to; i++) {
      double magnitude = Math.abs(numbers[i]);
      if (magnitude != 0 && largest.takes(magnitude)) {
        largest.add(magnitude, new NodeScore(node(position + i - from), numbers[i]));
      }
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
