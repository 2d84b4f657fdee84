package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.HeadPair;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.explain.Attend;
import dev.tributary.attribution.explain.Attend.Attended;
import dev.tributary.attribution.explain.NamedEdge;
import dev.tributary.attribution.export.AnswerJson;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
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

  @Override
  public Integer call() throws IOException {
    Attend question =
        new Attend(
            basis.of(options.subject()),
            named.stream().filter(NamedEdge::is).map(NamedEdge::of).toList(),
            named.stream().filter(name -> !NamedEdge.is(name)).map(AttentionCommand::head).toList(),
            against.map(OptionalInt::of).orElse(OptionalInt.empty()),
            top);
    Attended attended = TerminalProgress.ask(options.choice(), question);
    out.print(options.json() ? AnswerJson.of(attended) : AttentionReport.of(attended));
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
}
