package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Labels;
import dev.tributary.attribution.CircuitAttention;
import dev.tributary.attribution.CircuitBuilder;
import dev.tributary.attribution.EdgeAttribution;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.cli.Subject.Word;
import dev.tributary.attribution.cli.SubjectOptions.NodeConverter;
import dev.tributary.attribution.cli.TerminalProgress.Phase;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Progress;
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

/** Finds the circuit behind a prediction, and writes it for other programs. */
@Command(
    name = "graph",
    header = "Finds the circuit behind a prediction: nodes, and all edges among them.",
    sortOptions = false,
    sortSynopsis = false,
    footer = {
      "",
      "Examples:",
      "  graph --html circuit.html",
      "  graph --nodes 200 --dot circuit.dot --csv edges.csv",
      "  graph --json > circuit.json",
      "  graph --model DIR --transcoders DIR --prompt \"The capital of France is\" --html c.html",
      "  graph --include \"L2.head5[14<-7]\" \"L0.head1[7<-2]\" \"embedding[2]\""
    })
final class GraphCommand implements Callable<Integer> {
  private static final int NODES = 100;
  private static final double NODE_SHARE = 0.8;
  private static final double EDGE_SHARE = 0.98;

  private final PrintWriter out;
  private final PrintWriter err;

  @Mixin private final SubjectOptions options = new SubjectOptions();

  @Option(
      names = "--nodes",
      paramLabel = "N",
      description =
          "How many nodes to find, backwards from what is explained, the most influential first."
              + " Default: "
              + NODES
              + ".")
  private Optional<Integer> nodes = Optional.empty();

  @Option(
      names = "--largest",
      description = "Take the nodes of largest attribution instead, wherever they are.")
  private boolean largest;

  @Option(
      names = "--include",
      arity = "1..*",
      paramLabel = "NODE",
      converter = NodeConverter.class,
      description = "Take these nodes instead.")
  private List<Node> include = List.of();

  @Option(
      names = "--node-share",
      paramLabel = "X",
      description =
          "Then keep the most influential nodes that have this share of all influence. Default: "
              + NODE_SHARE
              + ", and 1 with --include, --threshold or --top.")
  private Optional<Double> nodeShare = Optional.empty();

  @Option(
      names = "--edge-share",
      paramLabel = "X",
      description = "The same of edges. Default: " + EDGE_SHARE + ", or 1 as above.")
  private Optional<Double> edgeShare = Optional.empty();

  @Option(
      names = "--threshold",
      paramLabel = "X",
      description = "Keep the edges of at least this magnitude.")
  private Optional<Double> threshold = Optional.empty();

  @Option(
      names = "--top",
      paramLabel = "N",
      description = "Keep this many edges, those through which most influence passes.")
  private Optional<Integer> top = Optional.empty();

  @Mixin private final BasisOption basis = new BasisOption();

  @Option(
      names = "--loadings",
      paramLabel = "N",
      description =
          "How many edges to split over the heads that they pass, and how many heads' scores over"
              + " pairs of writes, the most influential first (with --transcoders edges between"
              + " tokens), for --html, --circuit and --json. Each takes a sweep through the layers"
              + " below it. Default: ${DEFAULT-VALUE}; 0 for none.")
  private int loadings = 30;

  @Mixin private final ReplacementOptions replacement = new ReplacementOptions();

  @Mixin private final CircuitOutputs outputs = new CircuitOutputs();

  GraphCommand(PrintWriter out, PrintWriter err) {
    this.out = out;
    this.err = err;
  }

  @Override
  public Integer call() throws IOException {
    requireOptions();
    Circuit circuit;
    String report;
    try (TerminalProgress progress = TerminalProgress.start();
        Scope scope = Scope.open()) {
      Subject subject = basis.of(options.open(progress));
      circuit = replacement.isReplaced() ? replaced(subject, progress) : found(subject, progress);
      report = TextReport.of(subject, circuit, steps());
    }
    outputs.write(circuit, options.json(), report, out, err);
    return ExitCode.OK;
  }

  /** Refuses what can be refused before anything is read. */
  private void requireOptions() {
    requireArgument(
        include.isEmpty() || (nodes.isEmpty() && !largest),
        "--include says which nodes; --nodes and --largest look for others");
    replacement.requireOptions();
    requireArgument(
        !replacement.isReplaced() || (include.isEmpty() && !largest),
        "--transcoders bring latents of their own: --include and --largest name others");
    requireArgument(
        !replacement.isReplaced() || !basis.isNamed(),
        "--basis is of --dictionaries, and --transcoders all split");
    nodes.ifPresent(
        count -> requireArgument(count >= 1, "--nodes is %d, it must be 1 or more", count));
    top.ifPresent(count -> requireArgument(count >= 1, "--top is %d, it must be 1 or more", count));
    nodeShare.ifPresent(share -> requireShare("--node-share", share));
    edgeShare.ifPresent(share -> requireShare("--edge-share", share));
    threshold.ifPresent(
        least -> requireArgument(least >= 0, "--threshold is %s, it must be 0 or more", least));
    requireArgument(loadings >= 0, "--loadings is %d, it must be 0 or more", loadings);
    outputs.requireWritable(options.json());
  }

  private static void requireShare(String option, double share) {
    requireArgument(
        share >= 0 && share <= 1, "%s is %s, it must be between 0 and 1", option, share);
  }

  /** How many edges and heads are explained: none where nobody would see it. */
  private int explained() {
    return outputs.isWhole(options.json()) ? loadings : 0;
  }

  private Circuit replaced(Subject subject, TerminalProgress progress) throws IOException {
    ReplacementOptions.Replaced replaced =
        replacement.replaced(subject, nodes, explained() > 0, progress.within(Phase.CIRCUIT));
    Circuit circuit = cut(replaced.circuit(nodeShare(), edgeShare()));
    return circuit.with(
        CircuitAttention.of(
            replaced.run(),
            replaced.graph(),
            circuit,
            explained(),
            progress.within(Phase.ATTENTION)));
  }

  private Circuit found(Subject subject, TerminalProgress progress) {
    EdgeAttribution edges = EdgeAttribution.of(subject.nodes(), subject.scaleGradient());
    Circuit circuit = pruned(find(subject, edges, progress.within(Phase.CIRCUIT)));
    return circuit.with(
        CircuitAttention.of(
            edges, subject.nodesOnce(), circuit, explained(), progress.within(Phase.ATTENTION)));
  }

  private Circuit find(Subject subject, EdgeAttribution edges, Progress progress) {
    Labels labels =
        new Labels(
            subject.model(),
            List.of(),
            subject.prompt(),
            subject.tokens().stream().map(Word::text).toList());
    CircuitBuilder builder =
        CircuitBuilder.of(edges, labels, TextReport.explained(subject), progress)
            .in(subject.nodesOnce());
    if (!include.isEmpty()) {
      return builder.among(include);
    }
    int count = nodes.orElse(NODES);
    return largest ? builder.largest(count) : builder.grown(count);
  }

  private Circuit pruned(Circuit circuit) {
    return cut(isSharePruned() ? circuit.prune(nodeShare(), edgeShare()) : circuit);
  }

  private Circuit cut(Circuit circuit) {
    Circuit pruned = circuit;
    if (threshold.isPresent()) {
      pruned = pruned.above(threshold.get());
    }
    return top.isPresent() ? pruned.top(top.get()) : pruned;
  }

  private boolean isSharePruned() {
    return isDefault() || nodeShare.isPresent() || edgeShare.isPresent();
  }

  private boolean isDefault() {
    return include.isEmpty() && threshold.isEmpty() && top.isEmpty();
  }

  private double nodeShare() {
    return nodeShare.orElse(isDefault() ? NODE_SHARE : 1);
  }

  private double edgeShare() {
    return edgeShare.orElse(isDefault() ? EDGE_SHARE : 1);
  }

  /** What was done, in words. */
  private List<String> steps() {
    List<String> steps = new ArrayList<>();
    steps.add(
        replacement.isReplaced()
            ? "at most " + replacement.mostLatents(nodes) + " latents of a replacement model"
            : !include.isEmpty()
                ? "the nodes named"
                : largest
                    ? nodes.orElse(NODES) + " nodes of largest attribution"
                    : nodes.orElse(NODES) + " nodes found backwards from the metric");
    if (isSharePruned()) {
      steps.add(
          "pruned to "
              + nodeShare()
              + " of their influence and "
              + edgeShare()
              + " of that of edges");
    }
    threshold.ifPresent(least -> steps.add("edges of at least " + least));
    top.ifPresent(count -> steps.add("the " + count + " edges of largest score"));
    return steps;
  }
}
