package dev.tributary.attribution.explain;

import dev.tributary.attribution.Certificate;
import dev.tributary.attribution.EdgeAttribution;
import dev.tributary.attribution.EdgePatch;
import dev.tributary.core.Scope;
import dev.tributary.transformer.ScaleGradient;
import java.io.IOException;

/**
 * What is an edge, computed in every way there is, and what really happens without it?
 *
 * @param subject what is explained
 * @param edge that is verified
 */
public record Verify(Subject subject, NamedEdge edge) implements Question<Verify.Verified> {
  /**
   * One edge, computed in every way.
   *
   * @param overview what is explained
   * @param edge that was verified
   * @param pulled from the target
   * @param pushed from the source
   * @param otherScale with the scales of norms treated the other way
   * @param patch what the target loses without the write
   * @param certificate of the sum of all edges into the target
   */
  public record Verified(
      Overview overview,
      NamedEdge edge,
      double pulled,
      double pushed,
      double otherScale,
      EdgePatch patch,
      Certificate certificate) {}

  @Override
  public Verified answer(Work work) throws IOException {
    Explanation explanation = Explanation.of(work, subject);
    edge.requireUpstream(explanation);
    work.enter(Phase.EDGES);
    boolean live = subject.scaleGradient() == ScaleGradient.LIVE;
    try (Scope scope = Scope.open()) {
      EdgeAttribution edges = explanation.edges();
      EdgeAttribution others =
          EdgeAttribution.of(
              explanation.nodes(), live ? ScaleGradient.DETACHED : ScaleGradient.LIVE);
      return new Verified(
          explanation.overview(),
          edge,
          edges.between(edge.source(), edge.target()),
          edges.pushed(edge.source(), edge.target()),
          others.between(edge.source(), edge.target()),
          edges.patch(edge.source(), edge.target()),
          edges.certify(edge.target()));
    }
  }
}
