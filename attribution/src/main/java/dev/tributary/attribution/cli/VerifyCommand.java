package dev.tributary.attribution.cli;

import dev.tributary.attribution.explain.NamedEdge;
import dev.tributary.attribution.explain.Verify;
import dev.tributary.attribution.explain.Verify.Verified;
import dev.tributary.attribution.export.AnswerJson;
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

  @Override
  public Integer call() throws IOException {
    Verify question = new Verify(options.subject(), NamedEdge.of(edge));
    Verified verified = TerminalProgress.ask(options.choice(), question);
    out.print(options.json() ? AnswerJson.of(verified) : TextReport.of(verified));
    return ExitCode.OK;
  }
}
