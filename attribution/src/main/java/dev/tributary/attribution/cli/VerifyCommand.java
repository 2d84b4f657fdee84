package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Certificate;
import dev.tributary.attribution.EdgeAttribution;
import dev.tributary.attribution.EdgePatch;
import dev.tributary.attribution.Node;
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
  private static final String ARROW = "->";

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
    int arrow = edge.indexOf(ARROW);
    requireArgument(arrow > 0, "\"%s\" is not an edge: write SOURCE->TARGET", edge);
    Node from = Node.parse(edge.substring(0, arrow));
    Node to = Node.parse(edge.substring(arrow + ARROW.length()));
    requireArgument(
        from.asSource().isPresent(), "%s writes nothing into the residual stream", from);
    requireArgument(
        to.targets().contains(to),
        "%s is no target: it needs a neuron (or its gate or up), an input of a head (query, key or"
            + " value), a latent, a logit or metric",
        to);
    String report;
    try (TerminalProgress progress = TerminalProgress.start();
        Scope scope = Scope.open()) {
      Subject subject = options.open(progress);
      subject.requireUpstream(from);
      subject.requireUpstream(to);
      Verified verified = verify(subject, from.asSource().orElseThrow(), to.targets().get(0));
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
