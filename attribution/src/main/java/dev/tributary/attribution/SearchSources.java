package dev.tributary.attribution;

import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Outlet;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import java.util.Arrays;

/**
 * Sources of one family as a product of two factors: what source i writes at a token is its
 * activation there times row i, which is the same at all tokens. A row of something that is written
 * at one token only has activation 0 at the others.
 */
final class SearchSources {
  /** Names the node of a row at a token. */
  interface Name {
    Source of(int row, int token);
  }

  private final Point point;
  private final Tensor rows;
  private final double[][] activations;
  private final double[] largest;
  private final double largestNorm;
  private final Name name;
  private final int[] nodes;

  /**
   * Sources of these rows.
   *
   * @param rows [source, dModel]
   * @param activations [token][source]
   * @param nodes how many sources there are at each token
   */
  SearchSources(Point point, Tensor rows, double[][] activations, int[] nodes, Name name) {
    this.point = point;
    this.rows = rows;
    this.activations = activations;
    this.nodes = nodes;
    this.name = name;
    this.largest = new double[activations.length];
    for (int token = 0; token < activations.length; token++) {
      for (double activation : activations[token]) {
        largest[token] = Math.max(largest[token], Math.abs(activation));
      }
    }
    try (Scope scope = Scope.open()) {
      this.largestNorm = Arrays.stream(rows.norm(-1).toDoubles()).max().orElse(0);
    }
  }

  /** One row for each node, whatever the token, and activations [token, node]. */
  static SearchSources shared(SourceFamily family, Run run, Tensor rows, Tensor activations) {
    return new SearchSources(
        family.point(run.model()),
        rows,
        byToken(activations),
        constant(run.length(), rows.shape().size(0)),
        (row, token) -> family.node(token, row));
  }

  /** One row, written at every token through an outlet. */
  static SearchSources everywhere(SourceFamily family, Run run, Outlet outlet, Tensor row) {
    Tensor ones = Tensor.full(row.dtype(), row.shape().with(0, run.length()).with(1, 1), 1);
    return new SearchSources(
        family.point(run.model()),
        outlet.fixed(row),
        byToken(outlet.perToken(run, 0, ones)),
        constant(run.length(), 1),
        (only, token) -> family.node(token));
  }

  /** One row for each token, written there. */
  static SearchSources atOwnToken(SourceFamily family, Run run, Tensor rows) {
    int tokens = run.length();
    double[][] own = new double[tokens][tokens];
    for (int token = 0; token < tokens; token++) {
      own[token][token] = 1;
    }
    return new SearchSources(
        family.point(run.model()),
        rows,
        own,
        constant(tokens, 1),
        (row, token) -> family.node(token));
  }

  private static double[][] byToken(Tensor values) {
    int columns = values.shape().size(1);
    double[] all = values.toDoubles();
    double[][] result = new double[values.shape().size(0)][];
    for (int token = 0; token < result.length; token++) {
      result[token] = Arrays.copyOfRange(all, token * columns, (token + 1) * columns);
    }
    return result;
  }

  private static int[] constant(int tokens, int count) {
    int[] result = new int[tokens];
    Arrays.fill(result, count);
    return result;
  }

  /** Where they write. */
  Point point() {
    return point;
  }

  /** [source, dModel] */
  Tensor rows() {
    return rows;
  }

  /** Number of rows. */
  int count() {
    return rows.shape().size(0);
  }

  /** Number of tokens of the run. */
  int tokens() {
    return activations.length;
  }

  /** Number of nodes at a token. */
  long nodesAt(int token) {
    return nodes[token];
  }

  /** Activation of each row at a token. */
  double[] activations(int token) {
    return activations[token];
  }

  /** Largest magnitude of these. */
  double largest(int token) {
    return largest[token];
  }

  /** Largest norm of a row. */
  double largestNorm() {
    return largestNorm;
  }

  /** The node of a row at a token. */
  Source node(int row, int token) {
    return name.of(row, token);
  }
}
