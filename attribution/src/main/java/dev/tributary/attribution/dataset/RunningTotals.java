package dev.tributary.attribution.dataset;

import java.util.ArrayList;
import java.util.List;

/**
 * Totals of pairs that come one after the other. Those of one length that follow each other are run
 * together, some at a time, where the method allows it; the peak of memory does not grow with the
 * number of pairs. The same pairs in the same order have the same totals bit by bit.
 */
public final class RunningTotals {
  /** Up to how many tokens several pairs go through one run: more are hardly faster. */
  private static final int TOKENS = 256;

  private final EdgeScorer scorer;
  private final EdgeTotals totals;
  private final List<Pair> open = new ArrayList<>();

  /**
   * Totals of no pairs.
   *
   * @param scorer of pairs
   */
  public RunningTotals(EdgeScorer scorer) {
    this.scorer = scorer;
    this.totals = new EdgeTotals(scorer.graph().edges().size());
  }

  /**
   * Counts a pair, which may be run later, with others.
   *
   * @param pair of prompts
   * @throws IllegalArgumentException as {@link EdgeScorer#score(Pair)}, for this one or one that
   *     waited
   */
  public void add(Pair pair) {
    if (!open.isEmpty() && !fits(pair)) {
      run();
    }
    open.add(pair);
  }

  private boolean fits(Pair next) {
    return scorer.method().takesSeveralPairs()
        && next.length() == open.get(0).length()
        && (open.size() + 1) * next.length() <= TOKENS;
  }

  private void run() {
    List<Pair> some = List.copyOf(open);
    open.clear();
    scorer.together(some).forEach(totals::add);
  }

  /**
   * {@return the totals of all pairs so far}
   *
   * @throws IllegalArgumentException as {@link #add}
   */
  public EdgeTotals totals() {
    if (!open.isEmpty()) {
      run();
    }
    return totals;
  }
}
