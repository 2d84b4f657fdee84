package dev.tributary.attribution;

import dev.tributary.core.Tensor;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import java.util.Optional;
import java.util.function.IntFunction;

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

  /** How many places the list of a token has; what writes nothing may have none. */
  int length(int token);

  /** Norms of what is written at a token, as many as there are places. */
  Tensor norms(int token);

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
      public int length(int token) {
        return whole.length(token);
      }

      @Override
      public Tensor norms(int token) {
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
      public int length(int token) {
        return 1;
      }

      @Override
      public Tensor norms(int token) {
        return written.apply(token).norm(-1);
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
   * Sources each of which writes an activation times a row of its own.
   *
   * @param activations [token, source]
   * @param norms of the rows, [source]
   */
  static SearchSources ofRows(
      SourceFamily family, Run run, Tensor activations, Tensor norms, Rows rows) {
    return new SearchSources() {
      @Override
      public Point point() {
        return family.point(run.model());
      }

      @Override
      public long count(int token) {
        return norms.shape().length();
      }

      @Override
      public int length(int token) {
        return norms.shape().length();
      }

      @Override
      public Tensor norms(int token) {
        return Norms.magnitudes(activations.slice(0, token, token + 1)).times(norms);
      }

      @Override
      public Tensor writes(int token, int... chosen) {
        Tensor scalars = activations.slice(0, token, token + 1).gather(-1, chosen);
        return rows.of(chosen).times(scalars.reshape(chosen.length, 1));
      }

      @Override
      public Source node(int token, int place) {
        return family.node(token, place);
      }
    };
  }
}
