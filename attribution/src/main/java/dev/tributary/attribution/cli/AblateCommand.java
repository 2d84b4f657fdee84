package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Latent;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.cli.SubjectOptions.NodeConverter;
import dev.tributary.attribution.explain.Ablate;
import dev.tributary.attribution.explain.Ablate.Ablated;
import dev.tributary.attribution.explain.Ablate.Action;
import dev.tributary.attribution.explain.Ablate.Put;
import dev.tributary.attribution.explain.Ablate.Scale;
import dev.tributary.attribution.explain.Intervene;
import dev.tributary.attribution.explain.Intervene.Intervened;
import dev.tributary.attribution.export.AnswerJson;
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

/** Runs a model again without some nodes. */
@Command(
    name = "ablate",
    header = "Runs the model again without some nodes, and says what that changed.",
    description = {
      "One prediction, beside what was to be expected. (generate edits parts of the model at any"
          + " tokens, several together, and says how the text goes on.)"
    },
    sortOptions = false,
    sortSynopsis = false,
    footer = {
      "",
      "Examples:",
      "  ablate \"L0.head1[7<-2]\" \"L0.neuron376[14]\"",
      "  ablate \"L0.transcoder_latent5[3]\" --transcoders DIR"
    })
final class AblateCommand implements Callable<Integer> {
  private final PrintWriter out;

  @Mixin private final SubjectOptions options = new SubjectOptions();

  @Parameters(
      paramLabel = "NODE",
      arity = "1..*",
      converter = NodeConverter.class,
      description = "Nodes to change, named before the options: each alone, then all together.")
  private List<Node> named = List.of();

  @Option(
      names = "--scale",
      paramLabel = "F",
      description = "What is left of what they write. Default: ${DEFAULT-VALUE}, nothing.")
  private double scale = 0;

  @Option(
      names = "--set",
      paramLabel = "A",
      description = "Give them this activation instead (neurons, heads and latents).")
  private Optional<Double> set = Optional.empty();

  @Option(
      names = "--transcoders",
      paramLabel = "DIR",
      description =
          "The nodes are latents of these transcoders, a folder as for graph: say what changing them"
              + " does with attention patterns, scales of norms and other latents held, as graph"
              + " --transcoders has it, beside what it does when less is held, and the difference.")
  private Optional<String> transcoders = Optional.empty();

  @Option(
      names = "--top",
      paramLabel = "N",
      description =
          "How many of the other nodes to tell of, those that change most; with --transcoders, of"
              + " other latents. Default: ${DEFAULT-VALUE}.")
  private int top = 10;

  AblateCommand(PrintWriter out) {
    this.out = out;
  }

  @Override
  public Integer call() throws IOException {
    requireArgument(
        set.isEmpty() || scale == 0, "--set and --scale say two things about the same nodes");
    Action action = set.isPresent() ? new Put(set.get()) : new Scale(scale);
    Ablate question = new Ablate(options.subject(), named, action, top);
    if (transcoders.isEmpty()) {
      Ablated ablated = TerminalProgress.ask(options.choice(), question);
      out.print(options.json() ? AnswerJson.of(ablated) : TextReport.of(ablated));
    } else {
      Intervened intervened =
          TerminalProgress.ask(
              options.choice().withTranscoders(transcoders.get()),
              new Intervene(question.subject(), latents(), action, top));
      out.print(options.json() ? AnswerJson.of(intervened) : InterventionReport.of(intervened));
    }
    return ExitCode.OK;
  }

  private List<Latent> latents() {
    List<Latent> latents = new ArrayList<>();
    for (Node node : named) {
      requireArgument(
          node instanceof Latent,
          "%s is no latent of --transcoders, such as L0.transcoder_latent5[3]",
          node);
      latents.add((Latent) node);
    }
    return latents;
  }
}
