package dev.tributary.attribution;

import dev.tributary.core.DType;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The adjacency matrix of a graph without cycles, row by row: what each source adds to a target.
 * Only the ranges of sources that may reach a target are stored, as many bits for each as the model
 * computes in.
 */
final class AdjacencyRows implements WeightedGraph.Rows {
  /** Numbers of one row, in the order of its sources. */
  sealed interface Numbers {
    double get(int at);

    void add(int at, double number);

    /** Adds some that follow each other. */
    void add(int at, double[] numbers, int from, int count);

    void read(double[] into);

    static Numbers of(double... numbers) {
      return new Doubles(numbers);
    }

    static Numbers zeros(DType dtype, int count) {
      return dtype == DType.FLOAT ? new Floats(new float[count]) : new Doubles(new double[count]);
    }
  }

  private static final class Floats implements Numbers {
    private final float[] numbers;

    Floats(float... numbers) {
      this.numbers = numbers;
    }

    @Override
    public double get(int at) {
      return numbers[at];
    }

    @Override
    public void add(int at, double number) {
      numbers[at] += (float) number;
    }

    @Override
    public void add(int at, double[] others, int from, int count) {
      for (int i = 0; i < count; i++) {
        numbers[at + i] += (float) others[from + i];
      }
    }

    @Override
    public void read(double[] into) {
      for (int i = 0; i < numbers.length; i++) {
        into[i] = numbers[i];
      }
    }
  }

  private static final class Doubles implements Numbers {
    private final double[] numbers;

    Doubles(double... numbers) {
      this.numbers = numbers;
    }

    @Override
    public double get(int at) {
      return numbers[at];
    }

    @Override
    public void add(int at, double number) {
      numbers[at] += number;
    }

    @Override
    public void add(int at, double[] others, int from, int count) {
      for (int i = 0; i < count; i++) {
        numbers[at + i] += others[from + i];
      }
    }

    @Override
    public void read(double[] into) {
      System.arraycopy(numbers, 0, into, 0, numbers.length);
    }
  }

  /** Sources that follow each other, from one to before another. */
  record Range(int from, int to) {
    int size() {
      return to - from;
    }
  }

  /** What is stored of a target. */
  record Row(List<Range> sources, Numbers numbers) {
    static Row zeros(DType dtype, List<Range> sources) {
      return new Row(sources, Numbers.zeros(dtype, sources.stream().mapToInt(Range::size).sum()));
    }

    int size() {
      return sources.stream().mapToInt(Range::size).sum();
    }

    /** Where a source is among the numbers, or -1. */
    int place(int source) {
      int before = 0;
      for (Range range : sources) {
        if (source >= range.from && source < range.to) {
          return before + source - range.from;
        }
        before += range.size();
      }
      return -1;
    }
  }

  /** Of a node that reads nothing, or is not explained. */
  static final Row NONE = new Row(List.of(), Numbers.of());

  private final List<Row> rows;
  private final int[] first;

  /**
   * @param rows of each node, whose sources come before it if they have rows themselves
   */
  AdjacencyRows(List<Row> rows) {
    this.rows = List.copyOf(rows);
    this.first = new int[rows.size() + 1];
    for (int i = 0; i < rows.size(); i++) {
      first[i + 1] = Math.addExact(first[i], rows.get(i).size());
    }
  }

  /** The same of nodes that have none. */
  static List<Row> none(int nodes) {
    return new ArrayList<>(IntStream.range(0, nodes).mapToObj(i -> NONE).toList());
  }

  int nodes() {
    return rows.size();
  }

  /** What a source adds to a target. */
  double get(int target, int source) {
    Row row = rows.get(target);
    int place = row.place(source);
    return place < 0 ? 0 : row.numbers.get(place);
  }

  /** What each source adds to a target, 0 of those that cannot reach it. */
  double[] dense(int target) {
    double[] result = new double[nodes()];
    Row row = rows.get(target);
    double[] numbers = new double[row.size()];
    row.numbers.read(numbers);
    int before = 0;
    for (Range range : row.sources) {
      System.arraycopy(numbers, before, result, range.from, range.size());
      before += range.size();
    }
    return result;
  }

  /** Those with rows from the last to the first, then the others. */
  @Override
  public int[] backwards() {
    return IntStream.concat(
            IntStream.range(0, nodes())
                .map(i -> nodes() - 1 - i)
                .filter(node -> rows.get(node).size() > 0),
            IntStream.range(0, nodes()).filter(node -> rows.get(node).size() == 0))
        .toArray();
  }

  @Override
  public int first(int node) {
    return first[node];
  }

  @Override
  public void read(int node, int[] sources, double[] magnitudes) {
    Row row = rows.get(node);
    row.numbers.read(magnitudes);
    int at = 0;
    for (Range range : row.sources) {
      for (int source = range.from; source < range.to; source++) {
        magnitudes[at] = Math.abs(magnitudes[at]);
        sources[at++] = source;
      }
    }
  }
}
