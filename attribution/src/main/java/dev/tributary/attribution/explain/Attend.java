package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Basis;
import dev.tributary.attribution.HeadLoadings;
import dev.tributary.attribution.HeadLoadings.LayerSplit;
import dev.tributary.attribution.HeadPair;
import dev.tributary.attribution.NodeScore;
import dev.tributary.attribution.ScoreAttribution;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Run;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;
import java.util.OptionalInt;

/**
 * Through which heads does an edge pass, and why does a head look where it does?
 *
 * @param subject what is explained
 * @param edges that are split over the heads that they pass
 * @param heads at pairs of tokens, whose scores are split over pairs of writes
 * @param against a token with whose key that of each head is compared
 * @param top how many pairs to tell of each
 */
public record Attend(
    Subject subject, List<NamedEdge> edges, List<HeadPair> heads, OptionalInt against, int top)
    implements Question<Attend.Attended> {
  /**
   * Refuses to find nothing.
   *
   * @param subject {@link #subject()}
   * @param edges {@link #edges()}
   * @param heads {@link #heads()}
   * @param against {@link #against()}
   * @param top {@link #top()}
   * @throws IllegalArgumentException if it would
   */
  public Attend {
    requireArgument(top >= 1, "top is %d, it must be 1 or more", top);
    requireArgument(!edges.isEmpty() || !heads.isEmpty(), "no edge and no head is named");
    requireArgument(
        against.isEmpty() || !heads.isEmpty(),
        "against compares the key of a head with another: name a head such as L2.head5[14<-7]");
    edges = List.copyOf(edges);
    heads = List.copyOf(heads);
  }

  /**
   * What was asked for.
   *
   * @param overview what is explained
   * @param edges with the heads that they pass
   * @param heads with what their scores are of
   * @param against the token with whose key those of all heads are compared
   */
  public record Attended(
      Overview overview, List<Loaded> edges, List<Scored> heads, OptionalInt against) {}

  /**
   * An edge through frozen attention, and the heads that it passes.
   *
   * @param edge that is split
   * @param score of it, pulled
   * @param pushed the same, pushed
   * @param direct what passes no head
   * @param relativeResidual how far both, and the sums of all layers, are apart
   * @param layers split over heads
   * @param pairs heads at pairs of tokens of largest loading
   */
  public record Loaded(
      NamedEdge edge,
      double score,
      double pushed,
      double direct,
      double relativeResidual,
      List<LayerSplit> layers,
      List<NodeScore> pairs) {}

  /**
   * A head at a pair of tokens, and what its score is of.
   *
   * @param head that looks
   * @param cap that bends its score
   * @param probability with which it looks
   * @param otherProbability with which it looks at the key that it is compared with
   * @param score before the cap, less the other if one is compared
   * @param sum of all pairs
   * @param relativeResidual how far these are apart
   * @param pairCount how many pairs of writes there are
   * @param pairs of largest magnitude
   * @param queries what is written at the query, with all at the key
   * @param keys what is written at the key, with all at the query
   */
  public record Scored(
      HeadPair head,
      OptionalDouble cap,
      double probability,
      OptionalDouble otherProbability,
      double score,
      double sum,
      double relativeResidual,
      long pairCount,
      List<ScoreAttribution.Pair> pairs,
      List<ScoreAttribution.Share> queries,
      List<ScoreAttribution.Share> keys) {}

  @Override
  public Attended answer(Work work) throws IOException {
    Explanation explanation = Explanation.of(work, subject);
    edges.forEach(edge -> edge.requireUpstream(explanation));
    List<Loaded> loaded = new ArrayList<>();
    List<Scored> scored = new ArrayList<>();
    for (NamedEdge edge : edges) {
      work.enter(Phase.ATTENTION);
      loaded.add(loaded(explanation, edge));
    }
    for (HeadPair head : heads) {
      work.enter(Phase.ATTENTION);
      scored.add(scored(explanation, head));
    }
    return new Attended(explanation.overview(), loaded, scored, against);
  }

  private Loaded loaded(Explanation explanation, NamedEdge edge) {
    try (Scope scope = Scope.open()) {
      HeadLoadings loadings =
          HeadLoadings.of(
              explanation.edges(), edge.source(), edge.target(), explanation.nodesOnce());
      return new Loaded(
          edge,
          loadings.edge(),
          loadings.pushed(),
          loadings.direct(),
          loadings.relativeResidual(),
          loadings.layers(),
          loadings.top(top));
    }
  }

  private Scored scored(Explanation explanation, HeadPair head) {
    try (Scope scope = Scope.open()) {
      Run run = explanation.run();
      Basis nodes = explanation.nodesOnce();
      ScoreAttribution score =
          against.isEmpty()
              ? ScoreAttribution.of(run, head, nodes)
              : ScoreAttribution.difference(run, head, against.getAsInt(), nodes);
      return new Scored(
          head,
          run.model().config().layers().get(head.layer()).attention().cap(),
          probability(run, head, head.key()),
          against.isEmpty()
              ? OptionalDouble.empty()
              : OptionalDouble.of(probability(run, head, against.getAsInt())),
          score.score(),
          score.sum(),
          score.relativeResidual(),
          score.pairs(),
          score.top(top),
          score.queries(top),
          score.keys(top));
    }
  }

  private static double probability(Run run, HeadPair head, int key) {
    return new HeadPair(head.layer(), head.head(), head.query(), key).activation(run).orElseThrow();
  }
}
