package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Node;
import dev.tributary.attribution.cli.SubjectOptions.NodeConverter;
import dev.tributary.attribution.cli.TerminalProgress.Phase;
import dev.tributary.core.Scope;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Explains one prediction of a model: its most important nodes and edges. */
@Command(
    name = "attribute",
    header = "Explains a prediction: which nodes matter to it, and which edges between them.",
    sortOptions = false,
    sortSynopsis = false,
    footer = {
      "",
      "Nodes, counted from 0:",
      "  embedding[3]           what token 3 enters with; or its two parts,",
      "                         token_embedding[3] and position_embedding[3]",
      "  L1.neuron77[9]         neuron 77 of layer 1 at token 9",
      "  L1.neuron77.gate[9]    a gated one entered through its gate, or its up",
      "  L2.head5[14<-3]        head 5 of layer 2, token 14 looking at token 3",
      "  L2.head5.query[14<-3]  the same entered through its query, key or value",
      "  L1.mlp_bias[9]         output bias of the mlp (or attention) of layer 1",
      "  L1.mlp_latent12[9]     latent of the autoencoder of the mlp's (or",
      "                         attention's) output, or of neurons: activation",
      "  L1.mlp_error[9]        what that autoencoder lacks; also _pre_bias",
      "  logit5[9]              the logit of word 5 at token 9",
      "  metric                 what is explained",
      "",
      "Example:",
      "  attribute --prompt \"The keys near the cabinet\" --target are --distractor is"
    })
final class AttributeCommand implements Callable<Integer> {
  private final PrintWriter out;

  @Mixin private final SubjectOptions options = new SubjectOptions();

  @Option(
      names = "--into",
      paramLabel = "NODE",
      converter = NodeConverter.class,
      description =
          "Show the edges into this node. Default: into the most important one that reads what"
              + " other neurons or heads wrote.")
  private Optional<Node> into = Optional.empty();

  @Option(
      names = "--from",
      paramLabel = "NODE",
      converter = NodeConverter.class,
      description = "Show the edges out of this node; with --into, those between the two.")
  private Optional<Node> from = Optional.empty();

  @Option(
      names = "--tokens",
      paramLabel = "A-B",
      converter = Range.Converter.class,
      description =
          "Show only nodes at these tokens, counted from 0, both included; of a head, the query.")
  private Optional<Range> tokens = Optional.empty();

  @Option(
      names = "--top",
      paramLabel = "N",
      description = "How many nodes and edges to show. Default: ${DEFAULT-VALUE}.")
  private int top = 10;

  @Mixin private final BasisOption basis = new BasisOption();

  AttributeCommand(PrintWriter out) {
    this.out = out;
  }

  @Override
  public Integer call() throws IOException {
    requireOptions();
    Explanation explanation;
    String report;
    try (TerminalProgress progress = TerminalProgress.start();
        Scope scope = Scope.open()) {
      Subject subject = basis.of(options.open(progress));
      into.ifPresent(subject::requireUpstream);
      from.ifPresent(subject::requireUpstream);
      Range.requireInside("--tokens", tokens, subject.tokens().size());
      progress.enter(Phase.EDGES);
      Explainer explainer = new Explainer(subject, tokens, top);
      explanation =
          new Explanation(
              subject, explainer.nodes(), explainer.edges(into, from.flatMap(Node::asSource)));
      report = options.json() ? JsonReport.of(explanation) : TextReport.of(explanation);
    }
    out.print(report);
    return ExitCode.OK;
  }

  /** Refuses what can be refused before anything is read. */
  private void requireOptions() {
    requireArgument(top >= 1, "--top is %d, it must be 1 or more", top);
    tokens.ifPresent(
        range ->
            requireArgument(
                range.first() <= range.last(),
                "tokens %d to %d: there are none such",
                range.first(),
                range.last()));
    from.ifPresent(
        node ->
            requireArgument(
                node.asSource().isPresent(),
                "%s writes nothing into the residual stream: --from needs an embedding, a neuron,"
                    + " a head, a latent or a bias",
                node));
    into.ifPresent(
        node ->
            requireArgument(
                !node.targets().isEmpty(),
                "%s reads nothing from the residual stream: --into needs a neuron, a head, an"
                    + " input of either, a latent, a logit or metric",
                node));
  }
}
