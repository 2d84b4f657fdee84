package dev.tributary.attribution.explain;

import dev.tributary.attribution.Basis;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeScore;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.IntFunction;
import java.util.function.Predicate;

/**
 * The nodes of largest score, of those that are wanted.
 *
 * @param basis of which they are, if one is named
 * @param tokens at which they are, if some are named; of a head, the query
 */
record Largest(Optional<Basis> basis, Optional<Range> tokens) {
  /**
   * {@return those of largest score, largest first}
   *
   * @param ranked so many of largest score
   * @param wanted refuses others
   * @param most how many
   */
  List<NodeScore> of(IntFunction<List<NodeScore>> ranked, Predicate<Node> wanted, int most) {
    return any(ranked, node -> isInBasis(node) && isAtTokens(node) && wanted.test(node), most);
  }

  /** The same, of any basis and at any tokens. */
  static List<NodeScore> any(
      IntFunction<List<NodeScore>> ranked, Predicate<Node> wanted, int most) {
    for (int count = most; ; count = (int) Math.min(Integer.MAX_VALUE, 4L * count)) {
      List<NodeScore> all = ranked.apply(count);
      List<NodeScore> found =
          all.stream().filter(score -> wanted.test(score.node())).limit(most).toList();
      if (found.size() == most || all.size() < count) {
        return found;
      }
    }
  }

  boolean isInBasis(Node node) {
    return basis.filter(one -> !one.has(node)).isEmpty();
  }

  private boolean isAtTokens(Node node) {
    OptionalInt token = node.coordinates().token();
    return tokens.isEmpty() || (token.isPresent() && tokens.get().contains(token.getAsInt()));
  }
}
