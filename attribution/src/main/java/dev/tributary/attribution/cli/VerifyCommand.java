package dev.tributary.attribution.cli;

import dev.tributary.attribution.Certificate;
import dev.tributary.attribution.EdgeAttribution;
import dev.tributary.attribution.EdgePatch;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.attribution.Source;
import dev.tributary.attribution.Target;
import dev.tributary.core.Scope;
import dev.tributary.transformer.ScaleGradient;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/** Computes one edge in every way there is. */
@Command(
    name = "verify",
    header = "Computes an edge in both directions, and what really happens without it.",
    sortOptions = false,
    sortSynopsis = false,
    footer = {"", "Example:", "  verify \"L0.head1[7<-2]->L2.head5.value[14<-7]\""})
final class VerifyCommand implements Callable<Integer> {
  private final PrintWriter out;

  @Mixin private final SubjectOptions options = new SubjectOptions();

  @Parameters(paramLabel = "EDGE", description = "Source and target as SOURCE->TARGET.")
  private String edge = "";

  VerifyCommand(PrintWriter out) {
    this.out = out;
  }

  /**
   * One edge, computed in every way.
   *
   * @param otherScale the edge with the scale of the layer norm treated the other way
   */
  record Verified(
      Source source,
      Target target,
      double pulled,
      double pushed,
      double otherScale,
      EdgePatch patch,
      Certificate certificate) {}

  @Override
  public Integer call() throws IOException {
    NamedEdge named = NamedEdge.of(edge);
    String report;
    try (TerminalProgress progress = TerminalProgress.start();
        Scope scope = Scope.open()) {
      Subject subject = options.open(progress);
      named.requireUpstream(subject);
      Verified verified = verify(subject, named.source(), named.target());
      report = options.json() ? JsonReport.of(subject, verified) : TextReport.of(subject, verified);
    }
    out.print(report);
    return ExitCode.OK;
  }

  private static Verified verify(Subject subject, Source source, Target target) {
    NodeAttribution nodes = subject.nodes();
    boolean live = subject.scaleGradient() == ScaleGradient.LIVE;
    EdgeAttribution edges = EdgeAttribution.of(nodes, subject.scaleGradient());
    EdgeAttribution others =
        EdgeAttribution.of(nodes, live ? ScaleGradient.DETACHED : ScaleGradient.LIVE);
    return new Verified(
        source,
        target,
        edges.between(source, target),
        edges.pushed(source, target),
        others.between(source, target),
        edges.patch(source, target),
        edges.certify(target));
  }
}
