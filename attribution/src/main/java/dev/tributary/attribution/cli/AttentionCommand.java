package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Basis;
import dev.tributary.attribution.EdgeAttribution;
import dev.tributary.attribution.HeadLoadings;
import dev.tributary.attribution.HeadPair;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.ScoreAttribution;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Run;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Explains attention: through which heads an edge passes, and why a head looks where it does. */
@Command(
    name = "attention",
    header = "Explains attention: the heads that an edge passes, the writes that a score is of.",
    sortOptions = false,
    sortSynopsis = false,
    footer = {
      "",
      "An edge is split over the heads of each layer and what passes the layer by, attention",
      "patterns and norm scales held and what MLPs add constant. The score of a head at a pair",
      "of tokens is split over pairs of writes, one at the query and one at the key.",
      "",
      "Examples:",
      "  attention \"token_embedding[2]->metric\"",
      "  attention \"L2.head5[14<-7]\" --against 2"
    })
final class AttentionCommand implements Callable<Integer> {
  private final PrintWriter out;

  @Mixin private final SubjectOptions options = new SubjectOptions();

  @Parameters(
      paramLabel = "EDGE|HEAD",
      arity = "1..*",
      description =
          "Edges as SOURCE->TARGET and heads such as L2.head5[14<-7], named before the options.")
  private List<String> named = List.of();

  @Option(
      names = "--against",
      paramLabel = "KEY",
      description =
          "How much higher each head scores its key than the key at this token, counted from 0.")
  private Optional<Integer> against = Optional.empty();

  @Option(
      names = "--top",
      paramLabel = "N",
      description = "How many pairs to show of each. Default: ${DEFAULT-VALUE}.")
  private int top = 10;

  @Mixin private final BasisOption basis = new BasisOption();

  AttentionCommand(PrintWriter out) {
    this.out = out;
  }

  /** An edge and the heads that it passes. */
  record Loaded(NamedEdge edge, HeadLoadings loadings) {}

  /** A head and what its score is of. */
  record Scored(HeadPair head, ScoreAttribution score) {}

  /**
   * What was asked for.
   *
   * @param against the key with which those of all heads are compared
   * @param top how many pairs are shown of each
   */
  record Explained(List<Loaded> edges, List<Scored> heads, Optional<Integer> against, int top) {}

  @Override
  public Integer call() throws IOException {
    requireArgument(top >= 1, "--top is %d, it must be 1 or more", top);
    List<NamedEdge> edges = named.stream().filter(NamedEdge::is).map(NamedEdge::of).toList();
    List<HeadPair> heads =
        named.stream().filter(name -> !NamedEdge.is(name)).map(AttentionCommand::head).toList();
    requireArgument(
        against.isEmpty() || !heads.isEmpty(),
        "--against compares the key of a head with another: name a head such as L2.head5[14<-7]");
    String report;
    try (TerminalProgress progress = TerminalProgress.start();
        Scope scope = Scope.open()) {
      Subject subject = basis.of(options.open(progress));
      edges.forEach(edge -> edge.requireUpstream(subject));
      Explained explained = explain(subject, edges, heads);
      report =
          options.json()
              ? AttentionReport.json(subject, explained)
              : AttentionReport.text(subject, explained);
    }
    out.print(report);
    return ExitCode.OK;
  }

  private static HeadPair head(String name) {
    Node node = Node.parse(name);
    requireArgument(
        node instanceof HeadPair,
        "%s is neither an edge, which is written SOURCE->TARGET, nor a head at a pair of tokens such"
            + " as L2.head5[14<-7]",
        node);
    return (HeadPair) node;
  }

  private Explained explain(Subject subject, List<NamedEdge> edges, List<HeadPair> heads) {
    Run run = subject.nodes().run();
    Basis nodes = subject.nodesOnce();
    EdgeAttribution attribution = EdgeAttribution.of(subject.nodes(), subject.scaleGradient());
    List<Loaded> loaded = new ArrayList<>();
    for (NamedEdge edge : edges) {
      loaded.add(
          new Loaded(edge, HeadLoadings.of(attribution, edge.source(), edge.target(), nodes)));
    }
    List<Scored> scored = new ArrayList<>();
    for (HeadPair head : heads) {
      scored.add(
          new Scored(
              head,
              against.isEmpty()
                  ? ScoreAttribution.of(run, head, nodes)
                  : ScoreAttribution.difference(run, head, against.get(), nodes)));
    }
    return new Explained(loaded, scored, against, top);
  }
}
