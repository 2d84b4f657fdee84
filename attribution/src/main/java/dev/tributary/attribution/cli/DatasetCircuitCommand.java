package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.cli.DatasetOptions.Data;
import dev.tributary.attribution.cli.TerminalProgress.Phase;
import dev.tributary.attribution.dataset.CircuitTotals;
import dev.tributary.attribution.dataset.ComponentCircuit;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.Importance;
import dev.tributary.attribution.dataset.ScoreFile;
import dev.tributary.core.Scope;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Chooses a circuit by scores of its edges, and runs it. */
@Command(
    name = "circuit",
    header = "Chooses a circuit by scores of edges, and runs it with everything else missing.",
    sortOptions = false,
    sortSynopsis = false,
    footer = {
      "",
      "faithful: how much of the metric the circuit keeps, 1 if all. complete: how much what is",
      "left of the model without the circuit keeps, 0 if nothing.",
      "",
      "Examples:",
      "  dataset circuit pairs.jsonl --scores scores.json --top 200 --out circuit.json",
      "  dataset circuit other.jsonl --circuit circuit.json --minimality"
    })
final class DatasetCircuitCommand implements Callable<Integer> {
  private final PrintWriter out;
  private final PrintWriter err;

  @Mixin private final DatasetOptions options = new DatasetOptions();

  @Option(names = "--scores", paramLabel = "FILE", description = "Scores that score --out wrote.")
  private Optional<Path> scores = Optional.empty();

  @Option(
      names = "--circuit",
      paramLabel = "FILE",
      description = "A circuit that --out wrote, in place of --scores.")
  private Optional<Path> circuit = Optional.empty();

  @Option(
      names = "--top",
      paramLabel = "N",
      description = "Choose so many edges, the most important ones.")
  private Optional<Integer> top = Optional.empty();

  @Option(
      names = "--threshold",
      paramLabel = "X",
      description = "Choose the edges that are at least so important.")
  private Optional<Double> threshold = Optional.empty();

  @Option(
      names = "--greedy",
      paramLabel = "N",
      description =
          "Choose so many edges, time after time the most important of those that lead to what has"
              + " been chosen, beginning at the logits.")
  private Optional<Integer> greedy = Optional.empty();

  @Option(
      names = "--importance",
      paramLabel = "absolute|signed",
      description =
          "An edge is important if it moves the metric, or if the metric falls without it."
              + " Default: absolute.")
  private Importance importance = Importance.ABSOLUTE;

  @Option(
      names = "--minimality",
      description = "Also run the circuit without each of its edges: a run for each edge and pair.")
  private boolean minimality;

  @Option(names = "--out", paramLabel = "FILE", description = "Write the circuit as JSON.")
  private Optional<Path> file = Optional.empty();

  @Option(names = "--json", description = "Print one JSON object.")
  private boolean json;

  DatasetCircuitCommand(PrintWriter out, PrintWriter err) {
    this.out = out;
    this.err = err;
  }

  /**
   * A circuit that was run.
   *
   * @param chosen how many edges were chosen, before those went that nothing hears
   * @param circuits the circuit, its complement, and the circuit without each of its edges if that
   *     was asked for
   */
  record Tested(
      String called,
      String measure,
      int chosen,
      List<ComponentCircuit> circuits,
      CircuitTotals totals) {
    ComponentCircuit circuit() {
      return circuits.get(0);
    }
  }

  @Override
  public Integer call() throws IOException {
    requireOptions();
    Tested tested;
    DatasetOptions.LeftOut leftOut = new DatasetOptions.LeftOut();
    try (TerminalProgress progress = TerminalProgress.start();
        Scope scope = Scope.open()) {
      Data data = options.open(progress);
      ComponentCircuit chosen = chosen(data.graph());
      ComponentCircuit pruned = chosen.pruned();
      List<ComponentCircuit> circuits = new ArrayList<>(List.of(pruned, pruned.complement()));
      if (minimality) {
        pruned.edges().forEach(edge -> circuits.add(pruned.without(edge)));
      }
      CircuitTotals totals =
          DatasetOptions.totals(data, circuits, leftOut, progress.within(Phase.PAIRS));
      tested = new Tested(data.called(), data.measure(), chosen.size(), circuits, totals);
      if (file.isPresent()) {
        DatasetScoreCommand.write(file.get(), ScoreFile.of(data.called(), pruned));
      }
    }
    out.print(json ? DatasetReport.json(tested) : DatasetReport.of(tested));
    DatasetOptions.told(leftOut).forEach(err::println);
    return ExitCode.OK;
  }

  private void requireOptions() {
    requireArgument(
        scores.isPresent() != circuit.isPresent(),
        "a circuit is chosen by --scores, or named by --circuit: one of the two");
    long ways = Stream.of(top, threshold, greedy).filter(Optional::isPresent).count();
    requireArgument(
        ways == (scores.isPresent() ? 1 : 0),
        "--scores are followed by one of --top, --threshold and --greedy, --circuit by none");
    file.ifPresent(path -> CircuitOutputs.requireWritable("--out", path.toString()));
    Stream.of(top, greedy)
        .flatMap(Optional::stream)
        .forEach(count -> requireArgument(count >= 1, "%d edges, it must be 1 or more", count));
  }

  private ComponentCircuit chosen(ComponentGraph graph) throws IOException {
    if (circuit.isPresent()) {
      return ScoreFile.circuit(circuit.get(), graph);
    }
    double[] known = ScoreFile.scores(scores.orElseThrow(), graph);
    if (threshold.isPresent()) {
      return importance.above(graph, known, threshold.get());
    }
    return top.isPresent()
        ? importance.top(graph, known, top.get())
        : importance.greedy(graph, known, greedy.orElseThrow());
  }
}
