package dev.tributary.attribution.cli;

import dev.tributary.attribution.Node;
import dev.tributary.attribution.cli.SubjectOptions.NodeConverter;
import dev.tributary.attribution.explain.Attribute;
import dev.tributary.attribution.explain.Attribute.Attributed;
import dev.tributary.attribution.explain.Edges;
import dev.tributary.attribution.explain.Edges.Connected;
import dev.tributary.attribution.explain.Range;
import dev.tributary.attribution.explain.Session;
import dev.tributary.attribution.explain.Subject;
import dev.tributary.attribution.export.AnswerJson;
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
      converter = RangeConverter.class,
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
    Subject subject = basis.of(options.subject());
    Attribute nodes = new Attribute(subject, tokens, top);
    Edges edges = new Edges(subject, into, from, tokens, top);
    Attributed attributed;
    Connected connected;
    try (TerminalProgress progress = TerminalProgress.start();
        Session session = Session.open(options.choice())) {
      connected = session.ask(edges, progress).answer(); // may be refused, so first
      attributed = session.ask(nodes, progress).answer();
    }
    out.print(
        options.json()
            ? AnswerJson.of(attributed, connected)
            : TextReport.of(attributed, connected));
    return ExitCode.OK;
  }
}
