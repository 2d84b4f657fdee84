package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.cli.DatasetOptions.Data;
import dev.tributary.attribution.dataset.Agreement;
import dev.tributary.attribution.dataset.CircuitTotals;
import dev.tributary.attribution.dataset.ComponentCircuit;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.ScoreFile;
import dev.tributary.attribution.explain.Phase;
import dev.tributary.core.Scope;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
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

  @Mixin private final EdgeChoice choice = new EdgeChoice();

  @Option(
      names = "--circuit",
      paramLabel = "FILE",
      description =
          "A circuit that --out wrote, or a list of edges as --truth has it, in place of --scores.")
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
      names = "--truth",
      paramLabel = "FILE",
      description =
          "Compare with the edges that are known to matter: a circuit that --out wrote, a JSON array"
              + " of names such as \"m0->a1.h3<q>\", or a table with the columns source and reader.")
  private Optional<Path> truth = Optional.empty();

  @Option(
      names = "--minimality",
      description = "Also run the circuit without each of its edges: a run for each edge and pair.")
  private boolean minimality;

  @Option(names = "--out", paramLabel = "FILE", description = "Write the circuit as JSON.")
  private Optional<Path> file = Optional.empty();

  @Mixin private final PageOption page = new PageOption();

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
      CircuitTotals totals,
      Optional<Truth> truth) {
    ComponentCircuit circuit() {
      return circuits.get(0);
    }
  }

  /**
   * How a circuit agrees with the edges that matter.
   *
   * @param edges that matter
   * @param ranked how scores rank all edges, if it was chosen by scores
   */
  record Truth(int edges, double precision, double recall, Optional<Ranked> ranked) {}

  /**
   * Areas under the receiver operating characteristic.
   *
   * @param byScore of the importance of mean scores
   * @param byMagnitude of mean magnitudes
   */
  record Ranked(double byScore, double byMagnitude) {}

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
      Optional<Truth> compared =
          truth.isPresent() ? Optional.of(compared(pruned, truth.get())) : Optional.empty();
      List<ComponentCircuit> circuits = new ArrayList<>(List.of(pruned, pruned.complement()));
      if (minimality) {
        pruned.edges().forEach(edge -> circuits.add(pruned.without(edge)));
      }
      CircuitTotals totals =
          DatasetOptions.totals(data, circuits, leftOut, progress.within(Phase.PAIRS));
      tested = new Tested(data.called(), data.measure(), chosen.size(), circuits, totals, compared);
      if (file.isPresent()) {
        DatasetScoreCommand.write(file.get(), ScoreFile.of(data.called(), pruned));
      }
    }
    out.print(json ? DatasetReport.json(tested) : DatasetReport.of(tested));
    List<String> answers = new ArrayList<>();
    if (choice.scores().isPresent()) {
      answers.add(Files.readString(choice.scores().get()));
    }
    answers.add(ScoreFile.of(tested.called(), tested.circuit()));
    answers.add(DatasetReport.json(tested));
    page.write(answers, err);
    leftOut.lines().forEach(err::println);
    return ExitCode.OK;
  }

  private void requireOptions() {
    page.requireWritable();
    boolean byScores = choice.scores().isPresent();
    requireArgument(
        byScores != circuit.isPresent(),
        "a circuit is chosen by --scores, or named by --circuit: one of the two");
    requireArgument(
        byScores ? top.isPresent() != threshold.isPresent() : top.isEmpty() && threshold.isEmpty(),
        "--scores are followed by one of --top and --threshold, --circuit by none");
    requireArgument(
        !choice.isGreedy() || top.isPresent(),
        "--greedy goes with --top, which says how many edges");
    file.ifPresent(path -> CircuitOutputs.requireWritable("--out", path.toString()));
    top.ifPresent(count -> requireArgument(count >= 1, "%d edges, it must be 1 or more", count));
  }

  private ComponentCircuit chosen(ComponentGraph graph) throws IOException {
    if (circuit.isPresent()) {
      return ScoreFile.circuit(circuit.get(), graph);
    }
    double[] known = ScoreFile.scores(choice.scores().orElseThrow(), graph);
    return threshold.isPresent()
        ? choice.importance().above(graph, known, threshold.get())
        : choice.of(graph, known, top.orElseThrow());
  }

  private Truth compared(ComponentCircuit own, Path file) throws IOException {
    ComponentCircuit known = ScoreFile.circuit(file, own.graph());
    Optional<Ranked> ranked = Optional.empty();
    if (choice.scores().isPresent()) {
      Path scores = choice.scores().get();
      double[] importance =
          Arrays.stream(ScoreFile.scores(scores, own.graph()))
              .map(choice.importance()::of)
              .toArray();
      ranked =
          Optional.of(
              new Ranked(
                  Agreement.auroc(importance, known),
                  Agreement.auroc(ScoreFile.magnitudes(scores, own.graph()), known)));
    }
    return new Truth(
        known.size(), Agreement.precision(own, known), Agreement.recall(own, known), ranked);
  }
}
