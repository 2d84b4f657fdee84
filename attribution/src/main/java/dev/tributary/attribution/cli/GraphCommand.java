package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Node;
import dev.tributary.attribution.cli.SubjectOptions.NodeConverter;
import dev.tributary.attribution.explain.Graph;
import dev.tributary.attribution.explain.Graph.Among;
import dev.tributary.attribution.explain.Graph.Choice;
import dev.tributary.attribution.explain.Graph.Graphed;
import dev.tributary.attribution.explain.Graph.Grown;
import dev.tributary.attribution.explain.Graph.Pruning;
import dev.tributary.attribution.explain.Graph.Replaced;
import dev.tributary.attribution.explain.Graph.Shares;
import dev.tributary.attribution.explain.Graph.Strongest;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
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
  private final PrintWriter out;
  private final PrintWriter err;

  @Mixin private final SubjectOptions options = new SubjectOptions();

  @Option(
      names = "--nodes",
      paramLabel = "N",
      description =
          "How many nodes to find, backwards from what is explained, the most influential first."
              + " Default: "
              + Grown.USUAL
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
          "Then keep the most influential nodes that have this share of all influence. Default:"
              + " 0.8, and 1 with --include, --threshold or --top.")
  private Optional<Double> nodeShare = Optional.empty();

  @Option(
      names = "--edge-share",
      paramLabel = "X",
      description = "The same of edges. Default: 0.98, or 1 as above.")
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
    outputs.requireWritable(options.json());
    Graph question = new Graph(basis.of(options.subject()), choice(), pruning(), explained());
    Graphed graphed = TerminalProgress.ask(replacement.of(options.choice()), question);
    outputs.write(
        graphed.circuit(), options.json(), TextReport.of(graphed, steps(question)), out, err);
    return ExitCode.OK;
  }

  /** Refuses options that contradict each other. */
  private void requireOptions() {
    requireArgument(
        include.isEmpty() || (nodes.isEmpty() && !largest),
        "--include says which nodes; --nodes and --largest look for others");
    replacement.requireOptions();
    requireArgument(
        !replacement.isReplaced() || (include.isEmpty() && !largest),
        "--transcoders bring latents of their own: --include and --largest name others");
    requireArgument(loadings >= 0, "--loadings is %d, it must be 0 or more", loadings);
  }

  /** How many edges and heads are explained: none where nobody would see it. */
  private int explained() {
    return outputs.isWhole(options.json()) ? loadings : 0;
  }

  private Choice choice() {
    if (replacement.isReplaced()) {
      return replacement.replaced(nodes);
    }
    if (!include.isEmpty()) {
      return new Among(include);
    }
    int count = nodes.orElse(Grown.USUAL);
    return largest ? new Strongest(count) : new Grown(count);
  }

  private Pruning pruning() {
    if (include.isEmpty()
        && threshold.isEmpty()
        && top.isEmpty()
        && nodeShare.isEmpty()
        && edgeShare.isEmpty()) {
      return Pruning.USUAL;
    }
    boolean usual = include.isEmpty() && threshold.isEmpty() && top.isEmpty();
    Shares rest = usual ? Pruning.USUAL.shares().orElseThrow() : new Shares(1, 1);
    return new Pruning(
        nodeShare.isPresent() || edgeShare.isPresent()
            ? Optional.of(
                new Shares(nodeShare.orElse(rest.nodes()), edgeShare.orElse(rest.edges())))
            : Optional.empty(),
        threshold.map(OptionalDouble::of).orElse(OptionalDouble.empty()),
        top.map(OptionalInt::of).orElse(OptionalInt.empty()));
  }

  /** What was done, in words. */
  private static List<String> steps(Graph graph) {
    List<String> steps = new ArrayList<>();
    if (graph.choice() instanceof Replaced replaced) {
      steps.add("at most " + replaced.settings().mostLatents() + " latents of a replacement model");
    } else if (graph.choice() instanceof Among) {
      steps.add("the nodes named");
    } else if (graph.choice() instanceof Strongest strongest) {
      steps.add(strongest.count() + " nodes of largest attribution");
    } else if (graph.choice() instanceof Grown grown) {
      steps.add(grown.count() + " nodes found backwards from the metric");
    }
    Pruning pruning = graph.pruning();
    pruning
        .shares()
        .ifPresent(
            shares ->
                steps.add(
                    "pruned to %s of their influence and %s of that of edges"
                        .formatted(shares.nodes(), shares.edges())));
    pruning.threshold().ifPresent(least -> steps.add("edges of at least " + least));
    pruning.top().ifPresent(count -> steps.add("the " + count + " edges of largest score"));
    return steps;
  }
}
