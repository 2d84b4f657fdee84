package dev.tributary.attribution;

import dev.tributary.core.Tensor;
import dev.tributary.transformer.Part;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.ScaleGradient;
import java.util.Arrays;
import java.util.Optional;
import java.util.function.IntFunction;
import java.util.function.Supplier;

/**
 * Targets of one family as a product of two factors: how a target reads the residual stream at a
 * token is a coefficient times a direction, and one direction, a column here, serves many tokens or
 * many targets. A direction is a gradient at what the part computes from, through the gain and the
 * mean of its norm.
 *
 * <p>Where the scale of the norm is seen to move, a direction loses what it has of the standardised
 * residual x̂ of the token: d - x̂ ⟨x̂, d⟩ / dModel.
 */
final class SearchTargets {
  /** Takes the edges of a column. */
  interface Sink {
    void edge(Supplier<Target> target, double coefficient);
  }

  /** Names the targets of a column at a token, each with its coefficient. */
  interface Column {
    void edges(int token, int column, Sink sink);
  }

  /** A tensor and its numbers. */
  private static final class Rows {
    private final Tensor tensor;
    private final double[] numbers;

    Rows(Tensor tensor) {
      this.tensor = tensor;
      this.numbers = tensor.toDoubles();
    }
  }

  private final Point point;
  private final Tensor directions;
  private final Tensor byColumn;
  private final double[] numbers;
  private final double[] norms;
  private final double[][] bounds;
  private final double[][] overlaps;
  private final long[] reading;
  private final Column column;

  /** What a softmax subtracts, [head · T + token, dModel]; columns of a head are T in a row. */
  private final Optional<Rows> means;

  /** Standardised residuals, [token, dModel]. */
  private final Optional<Rows> live;

  private SearchTargets(
      Point point,
      Tensor directions,
      double[][] bounds,
      long[] reading,
      Column column,
      Optional<Rows> means,
      Optional<Rows> live) {
    this.point = point;
    this.directions = directions;
    this.byColumn = directions.permute(1, 0);
    this.numbers = directions.toDoubles();
    this.bounds = bounds;
    this.reading = reading;
    this.column = column;
    this.means = means;
    this.live = live;
    this.norms = norms();
    this.overlaps = live.isEmpty() ? new double[0][] : overlaps(live.get());
  }

  /** ⟨direction, standardised residual⟩ / dModel of every column at every token. */
  private double[][] overlaps(Rows standardised) {
    int tokens = bounds.length;
    int columns = columns();
    double[] products = directions.matmulTransposed(standardised.tensor).toDoubles();
    double[] ofMeans =
        means
            .map(mean -> mean.tensor.matmulTransposed(standardised.tensor).toDoubles())
            .orElse(new double[0]);
    double[][] result = new double[tokens][columns];
    for (int token = 0; token < tokens; token++) {
      for (int j = 0; j < columns; j++) {
        double overlap = products[j * tokens + token];
        if (means.isPresent()) {
          overlap -= ofMeans[mean(j, token) * tokens + token];
        }
        result[token][j] = overlap / width();
      }
    }
    return result;
  }

  private double[] norms() {
    double[] result = directions.norm(-1).toDoubles();
    means.ifPresent(
        mean -> {
          for (int from = 0; from < result.length; from += bounds.length) {
            double largest = Arrays.stream(result, from, from + bounds.length).max().orElse(0);
            for (int j = from; j < from + bounds.length; j++) {
              result[j] += largest;
            }
          }
        });
    return result;
  }

  // ---- what there is -----------------------------------------------------------------------

  /** The norm through which a part reads, as directions pass it. */
  static final class Entry {
    private final Part part;
    private final Tensor scale;
    private final Optional<Rows> live;

    Entry(EdgeAttribution edges, Part part) {
      this.part = part;
      Tensor residual = edges.nodes().run().residual(part.reads()).value();
      this.scale =
          part.entry()
              .map(norm -> norm.scale(residual))
              .orElseGet(() -> Tensor.full(residual.dtype(), residual.shape().with(1, 1), 1));
      this.live =
          edges.scaleGradient() == ScaleGradient.LIVE
              ? part.entry().map(norm -> new Rows(norm.standardised(residual)))
              : Optional.empty();
    }

    /** What rows are divided by, [token, 1]. */
    Tensor scale() {
      return scale;
    }

    /** Gradients at what the part computes from, as directions, [column, dModel]. */
    Tensor directions(Tensor gradients) {
      return part.entry().map(norm -> norm.directions(gradients)).orElse(gradients);
    }

    /** Targets along such gradients. */
    SearchTargets targets(Tensor gradients, double[][] bounds, long[] reading, Column column) {
      return new SearchTargets(
          part.reads(), directions(gradients), bounds, reading, column, Optional.empty(), live);
    }

    /** The same with a mean subtracted from directions that have passed. */
    SearchTargets targets(
        Tensor directions, Tensor means, double[][] bounds, long[] reading, Column column) {
      return new SearchTargets(
          part.reads(), directions, bounds, reading, column, Optional.of(new Rows(means)), live);
    }
  }

  /**
   * Targets each of whose rows has a direction of its own and coefficient 1; column target · rows +
   * row.
   *
   * @param firstToken of the rows that each reads
   * @param directions [target · row, dModel]
   * @param rows how many each reads
   * @param tokens of the run
   */
  static SearchTargets ofEach(
      Point point,
      int firstToken,
      Tensor directions,
      int rows,
      int tokens,
      IntFunction<? extends Target> target) {
    int targets = directions.shape().size(0) / rows;
    double[][] bounds = new double[tokens][targets * rows];
    long[] reading = new long[tokens];
    for (int row = 0; row < rows; row++) {
      reading[firstToken + row] = targets;
      for (int i = 0; i < targets; i++) {
        bounds[firstToken + row][i * rows + row] = 1;
      }
    }
    return new SearchTargets(
        point,
        directions,
        bounds,
        reading,
        (token, column, sink) -> sink.edge(() -> target.apply(column / rows), 1),
        Optional.empty(),
        Optional.empty());
  }

  // ---- for the search ----------------------------------------------------------------------

  /** Where they read. */
  Point point() {
    return point;
  }

  /** The directions, [dModel, column]. */
  Tensor byColumn() {
    return byColumn;
  }

  /** Number of columns. */
  int columns() {
    return directions.shape().size(0);
  }

  private int width() {
    return directions.shape().size(1);
  }

  /** Norm of each direction, and of the mean that is subtracted from it. */
  double[] directionNorms() {
    return norms;
  }

  /** Largest magnitude of a coefficient of each column at a token; 0 if it does not read there. */
  double[] bounds(int token) {
    return bounds[token];
  }

  /** How many targets read a token. */
  long nodesReading(int token) {
    return reading[token];
  }

  /** Whether the scale of the layer norm is seen to move. */
  boolean isLive() {
    return live.isPresent();
  }

  /** Standardised residuals of all tokens, [token, dModel]; of live targets. */
  Tensor standardised() {
    return live.orElseThrow().tensor;
  }

  /** What each direction has of the standardised residual of a token; of live targets. */
  double[] overlaps(int token) {
    return overlaps[token];
  }

  /** Whether a mean is subtracted from the directions. */
  boolean hasMeans() {
    return means.isPresent();
  }

  /** [mean, dModel] */
  Tensor means() {
    return means.orElseThrow().tensor;
  }

  /** How many columns that follow each other have the same mean. */
  int columnsPerMean() {
    return bounds.length;
  }

  /** Which mean is subtracted from a column at a token. */
  int mean(int j, int token) {
    int tokens = columnsPerMean();
    return j - j % tokens + token;
  }

  /** The whole direction of a column at a token. */
  double[] direction(int token, int j) {
    int width = width();
    double[] direction = Arrays.copyOfRange(numbers, j * width, (j + 1) * width);
    means.ifPresent(mean -> subtract(direction, mean.numbers, mean(j, token) * width, 1));
    live.ifPresent(
        standardised -> {
          double overlap = 0;
          for (int i = 0; i < width; i++) {
            overlap += direction[i] * standardised.numbers[token * width + i];
          }
          subtract(direction, standardised.numbers, token * width, overlap / width);
        });
    return direction;
  }

  private static void subtract(double[] from, double[] numbers, int offset, double factor) {
    for (int i = 0; i < from.length; i++) {
      from[i] -= factor * numbers[offset + i];
    }
  }

  /** The targets of a column at a token. */
  void edges(int token, int j, Sink sink) {
    column.edges(token, j, sink);
  }
}
