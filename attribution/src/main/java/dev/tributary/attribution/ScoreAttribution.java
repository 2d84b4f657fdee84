package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.ScoreSide.At;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.core.TopK;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import java.util.List;
import java.util.Optional;

/**
 * The score of a head at a pair of tokens as a sum over pairs of writes, one at the query's token
 * and one at the key's. With the scales of all norms held, a query and a key each are a sum over
 * what was written before and a bias (of norms and of the projection), turned by their positions;
 * so their product is a sum over pairs, the bias as one more member of either side.
 *
 * <p>The score is the product of query and key times the model's scale, before a cap c, which makes
 * c · tanh(score / c) of it, and before the softmax. Where latents speak for what the model writes,
 * these are the members, as a {@link Basis} has it. Lives in the scope in which it was made.
 */
public final class ScoreAttribution {
  /** Members on either side that are multiplied at a time. */
  private static final int QUERIES = 64;

  private static final int KEYS = 1 << 12;

  /**
   * What two writes contribute together.
   *
   * @param query what writes at the token of the query; nothing of its bias
   * @param key what writes at the token of the key; nothing of its bias
   * @param score their part of the score
   */
  public record Pair(Optional<Source> query, Optional<Source> key, double score) {}

  /**
   * What a write on one side contributes together with all on the other.
   *
   * @param source what writes; nothing of a bias
   * @param score its part of the score
   */
  public record Share(Optional<Source> source, double score) {}

  private final double score;
  private final ScoreSide queries;
  private final ScoreSide keys;

  /** How far a product may be off, relative to both norms. */
  private final double rounding;

  private ScoreAttribution(double score, ScoreSide queries, ScoreSide keys, double rounding) {
    this.score = score;
    this.queries = queries;
    this.keys = keys;
    this.rounding = rounding;
  }

  /**
   * {@return the score of a head at a pair of tokens}
   *
   * @param run that recorded queries and keys
   * @param pair the head and its tokens
   * @throws IllegalArgumentException if the run has no such pair, or was changed after its
   *     embeddings
   */
  public static ScoreAttribution of(Run run, HeadPair pair) {
    return of(run, pair, Basis.of(run.model()));
  }

  /**
   * {@return the score of a head at a pair of tokens, in the nodes of a basis}
   *
   * @param run that recorded queries and keys
   * @param pair the head and its tokens
   * @param basis of the run's model
   * @throws IllegalArgumentException as without a basis, or if the model has not its dictionaries
   */
  public static ScoreAttribution of(Run run, HeadPair pair, Basis basis) {
    return of(run, pair, basis, List.of(new At(pair.key(), 1)));
  }

  /**
   * {@return how much higher a head scores a key than another key} Of scores without a cap it is
   * the logarithm of how many times as probable the first is. On the side of keys there are the
   * writes at both tokens, and one bias.
   *
   * @param run that recorded queries and keys
   * @param pair the head, the query and the first key
   * @param other the token of the other key
   * @throws IllegalArgumentException as without, or if both are the same key
   */
  public static ScoreAttribution difference(Run run, HeadPair pair, int other) {
    return difference(run, pair, other, Basis.of(run.model()));
  }

  /**
   * {@return how much higher a head scores a key than another key, in the nodes of a basis}
   *
   * @param run that recorded queries and keys
   * @param pair the head, the query and the first key
   * @param other the token of the other key
   * @param basis of the run's model
   * @throws IllegalArgumentException as without a basis, or if the model has not its dictionaries
   */
  public static ScoreAttribution difference(Run run, HeadPair pair, int other, Basis basis) {
    new HeadPair(pair.layer(), pair.head(), pair.query(), other).requireIn(run);
    requireArgument(other != pair.key(), "%s against the same key %d", pair, other);
    return of(run, pair, basis, List.of(new At(pair.key(), 1), new At(other, -1)));
  }

  private static ScoreAttribution of(Run run, HeadPair pair, Basis basis, List<At> keys) {
    run.requireComputed();
    basis.requireOf(run.model());
    pair.requireIn(run);
    double scale = run.model().config().layers().get(pair.layer()).attention().scoreScale();
    List<SearchSources> lists =
        ScoreSide.lists(run, basis, run.model().attention(pair.layer()).reads());
    try (Scope scope = Scope.open()) {
      double score = 0;
      for (At key : keys) {
        score += scale * key.factor() * product(run, pair, key.token());
      }
      List<At> query = List.of(new At(pair.query(), scale));
      return new ScoreAttribution(
              score,
              ScoreSide.of(run, lists, pair, InputPath.QUERY, query),
              ScoreSide.of(run, lists, pair, InputPath.KEY, keys),
              Norms.rounding(run))
          .keptBy(scope);
    }
  }

  /** Of query and key as recorded. */
  private static double product(Run run, HeadPair pair, int key) {
    Attention attention = run.model().attention(pair.layer());
    Tensor q = row(run.value(Site.QUERY, pair.layer()), pair.head(), pair.query());
    Tensor k = row(run.value(Site.KEY, pair.layer()), attention.keyHead(pair.head()), key);
    return q.matmulTransposed(k).item();
  }

  private static Tensor row(Tensor recorded, int head, int token) {
    return recorded.slice(0, head, head + 1).slice(1, token, token + 1);
  }

  private ScoreAttribution keptBy(Scope scope) {
    queries.keptBy(scope);
    keys.keptBy(scope);
    return this;
  }

  /** {@return the score as the run has it, before a cap} */
  public double score() {
    return score;
  }

  /** {@return the sum over all pairs, which is the score} */
  public double sum() {
    try (Scope scope = Scope.open()) {
      return queries.sum().matmulTransposed(keys.sum()).item();
    }
  }

  /**
   * {@return how far the sum over all pairs is from the score, relative to what is added: a few
   * epsilons if nothing is missing or wrong}
   */
  public double relativeResidual() {
    try (Scope scope = Scope.open()) {
      double magnitude = queries.magnitude().matmulTransposed(keys.magnitude()).item();
      return Math.abs(sum() - score) / Math.max(magnitude, Double.MIN_NORMAL);
    }
  }

  /** {@return how many pairs there are} */
  public long pairs() {
    return (long) queries.size() * keys.size();
  }

  /**
   * {@return the largest members on the side of the query, each with all keys, largest magnitude
   * first; exact zeros are left out}
   *
   * @param count at most so many
   */
  public List<Share> queries(int count) {
    try (Scope scope = Scope.open()) {
      return queries.along(keys.sum(), count);
    }
  }

  /**
   * {@return the largest members on the side of the key, each with all queries, largest magnitude
   * first; exact zeros are left out}
   *
   * @param count at most so many
   */
  public List<Share> keys(int count) {
    try (Scope scope = Scope.open()) {
      return keys.along(queries.sum(), count);
    }
  }

  /**
   * {@return the largest pairs, largest magnitude first; exact zeros are left out} Only products of
   * members that are long enough are computed.
   *
   * @param count at most so many
   */
  public List<Pair> top(int count) {
    return top(count, QUERIES, KEYS);
  }

  /** The same in other steps, which must not change what it finds. */
  List<Pair> top(int count, int rows, int columns) {
    TopK<Found> largest = new TopK<>(count);
    for (int row = 0; row < queries.size() && reaches(row, 0, largest); row += rows) {
      int last = Math.min(queries.size(), row + rows);
      for (int column = 0; column < keys.size() && reaches(row, column, largest); ) {
        int end = Math.min(keys.size(), column + columns);
        multiply(row, last, column, end, largest);
        column = end;
      }
    }
    return largest.entries().stream()
        .map(at -> new Pair(queries.source(at.query), keys.source(at.key), at.score))
        .toList();
  }

  /** Whether a pair, or one of shorter members, may be among the largest; none of 0 is. */
  private boolean reaches(int row, int column, TopK<Found> largest) {
    double most = queries.norm(row) * keys.norm(column) * (1 + rounding);
    return most > 0 && largest.takes(most);
  }

  /** A pair by its place on both sides. */
  private record Found(int query, int key, double score) {}

  private void multiply(int row, int last, int column, int end, TopK<Found> largest) {
    try (Scope scope = Scope.open()) {
      Tensor left = queries.rows(row, last);
      Tensor right = keys.rows(column, end);
      Tensor products = left.matmulTransposed(right);
      double[] errors = queries.norms(row, last);
      for (int i = 0; i < errors.length; i++) {
        errors[i] *= rounding;
      }
      double[] q = left.toDoubles();
      double[] k = right.toDoubles();
      int dHead = left.shape().size(1);
      for (int at : products.reaching(errors, keys.norms(column, end), largest.least())) {
        int i = at / (end - column);
        int j = at % (end - column);
        double exact = 0;
        for (int n = 0; n < dHead; n++) {
          exact += q[i * dHead + n] * k[j * dHead + n];
        }
        if (exact != 0 && largest.takes(Math.abs(exact))) {
          largest.add(Math.abs(exact), new Found(row + i, column + j, exact));
        }
      }
    }
  }
}
