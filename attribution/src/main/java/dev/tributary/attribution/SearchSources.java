package dev.tributary.attribution;

import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import java.util.Arrays;
import java.util.Optional;
import java.util.function.IntFunction;
import java.util.stream.IntStream;

/**
 * The sources of one family as lists, one for each token: how long what each writes is, and what it
 * writes, on demand.
 */
interface SearchSources {
  /** Where they write. */
  Point point();

  /** From here on another list says what they write; of most, there is none. */
  default Optional<Point> end() {
    return Optional.empty();
  }

  /** Whether it says what a reader of a point sees. */
  default boolean isSeen(Point read) {
    return point().reaches(read) && end().filter(end -> end.reaches(read)).isEmpty();
  }

  /** How many there are at a token, those that write nothing among them. */
  long count(int token);

  /** Norms of what is written at a token; what writes nothing may be left out. */
  double[] norms(int token);

  /**
   * What some write, each by its place in the list of a token, [chosen, dModel]: of one alone, to
   * the last bit what it is whenever one is asked for alone.
   */
  Tensor writes(int token, int... chosen);

  /** The node at a place in the list of a token. */
  Source node(int token, int place);

  /** The same up to a point, from which on another list says what they write. */
  default SearchSources until(Point last) {
    SearchSources whole = this;
    return new SearchSources() {
      @Override
      public Point point() {
        return whole.point();
      }

      @Override
      public boolean isSeen(Point read) {
        return whole.isSeen(read) && !last.reaches(read);
      }

      @Override
      public long count(int token) {
        return whole.count(token);
      }

      @Override
      public double[] norms(int token) {
        return whole.norms(token);
      }

      @Override
      public Tensor writes(int token, int... chosen) {
        return whole.writes(token, chosen);
      }

      @Override
      public Source node(int token, int place) {
        return whole.node(token, place);
      }
    };
  }

  /**
   * One source at each token.
   *
   * @param written what it writes there, [1, dModel]
   */
  static SearchSources onePerToken(SourceFamily family, Run run, IntFunction<Tensor> written) {
    return new SearchSources() {
      @Override
      public Point point() {
        return family.point(run.model());
      }

      @Override
      public long count(int token) {
        return 1;
      }

      @Override
      public double[] norms(int token) {
        try (Scope scope = Scope.open()) {
          return written.apply(token).norm(-1).toDoubles();
        }
      }

      @Override
      public Tensor writes(int token, int... chosen) {
        return written.apply(token);
      }

      @Override
      public Source node(int token, int place) {
        return family.node(token);
      }
    };
  }

  /** Rows of the residual stream, whatever the token. */
  interface Rows {
    /** [chosen, dModel] */
    Tensor of(int... chosen);
  }

  /**
   * Sources each of which writes an activation times a row of its own; a list has the active ones.
   *
   * @param activations [token, source]
   * @param norms of the rows
   */
  static SearchSources ofRows(
      SourceFamily family, Run run, Tensor activations, double[] norms, Rows rows) {
    return new SearchSources() {
      @Override
      public Point point() {
        return family.point(run.model());
      }

      @Override
      public long count(int token) {
        return norms.length;
      }

      private double[] at(int token) {
        return activations.slice(0, token, token + 1).toDoubles();
      }

      private int[] active(double... at) {
        return IntStream.range(0, at.length).filter(i -> at[i] != 0).toArray();
      }

      @Override
      public double[] norms(int token) {
        double[] at = at(token);
        return Arrays.stream(active(at)).mapToDouble(i -> Math.abs(at[i]) * norms[i]).toArray();
      }

      @Override
      public Tensor writes(int token, int... chosen) {
        int[] active = active(at(token));
        int[] sources = Arrays.stream(chosen).map(place -> active[place]).toArray();
        Tensor scalars = activations.slice(0, token, token + 1).gather(-1, sources);
        return rows.of(sources).times(scalars.reshape(sources.length, 1));
      }

      @Override
      public Source node(int token, int place) {
        return family.node(token, active(at(token))[place]);
      }
    };
  }
}
