package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.cli.CircuitOptions.Tested;
import dev.tributary.attribution.cli.DatasetOptions.Data;
import dev.tributary.attribution.cli.DatasetOptions.LeftOut;
import dev.tributary.attribution.cli.DatasetOutputs.Answer;
import dev.tributary.attribution.cli.DatasetOutputs.Question;
import dev.tributary.attribution.dataset.Agreement;
import dev.tributary.attribution.dataset.CircuitTests;
import dev.tributary.attribution.dataset.CircuitTotals;
import dev.tributary.attribution.dataset.ComponentCircuit;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.ScoreFile;
import dev.tributary.attribution.viewer.DatasetPage;
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
      "left of the model without the circuit keeps, 0 if nothing. minimality of an edge: how much",
      "less the circuit keeps without it, 0 if it can be spared. --out writes the circuit.",
      "",
      "Examples:",
      "  dataset circuit pairs.jsonl --scores scores.json --top 200 --out circuit.json",
      "  dataset circuit other.jsonl --circuit circuit.json --minimality all"
    })
final class DatasetCircuitCommand implements Callable<Integer> {
  private final PrintWriter out;
  private final PrintWriter err;

  @Mixin private final DatasetOptions options = new DatasetOptions();

  @Mixin private final CircuitOptions choice = new CircuitOptions();

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
          "Compare with the edges that are known to matter: a circuit that --out wrote, a JSON"
              + " array of names such as \"m0->a1.h3<q>\", or a table with the columns source and"
              + " reader.")
  private Optional<Path> truth = Optional.empty();

  @Mixin private final DatasetOutputs outputs = new DatasetOutputs();

  DatasetCircuitCommand(PrintWriter out, PrintWriter err) {
    this.out = out;
    this.err = err;
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
    options.requireLatents();
    requireOptions();
    return outputs.answer(this::question, out, err);
  }

  private Question question(TerminalProgress progress, LeftOut leftOut) throws IOException {
    Data data = options.open(progress);
    ComponentCircuit chosen = chosen(data.graph());
    CircuitTests tests = choice.tests(List.of(chosen));
    ComponentCircuit pruned = tests.circuits().get(0);
    Optional<Truth> compared =
        truth.isPresent() ? Optional.of(compared(pruned, truth.get())) : Optional.empty();
    return new Question(
        data,
        CircuitOptions.question(tests),
        parts -> {
          CircuitTotals totals = CircuitOptions.totals(data, parts, tests, leftOut, progress);
          Tested tested =
              new Tested(data.called(), data.measure(), tests, List.of(chosen.size()), totals);
          String saved = ScoreFile.of(data.called(), pruned);
          String json = TestedReport.json(tested, compared);
          List<String> shown = new ArrayList<>();
          if (choice.scores().isPresent()) {
            shown.add(Files.readString(choice.scores().get()));
          }
          shown.addAll(List.of(saved, json));
          return new Answer(
              TestedReport.of(tested, compared),
              json,
              saved,
              TestedReport.table(tested),
              () -> DatasetPage.of(shown));
        });
  }

  private void requireOptions() {
    choice.requireOptions();
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
    top.ifPresent(count -> requireArgument(count >= 1, "%d edges, it must be 1 or more", count));
  }

  private ComponentCircuit chosen(ComponentGraph graph) throws IOException {
    if (circuit.isPresent()) {
      return ScoreFile.circuit(circuit.get(), graph);
    }
    double[] known = ScoreFile.scores(choice.scores().orElseThrow(), graph);
    top.ifPresent(
        count ->
            requireArgument(
                count <= known.length,
                "--top is %d, and the model has %d edges",
                count,
                known.length));
    return threshold.isPresent()
        ? choice.importance().above(graph, known, threshold.get())
        : choice.choose(graph, known, top.orElseThrow());
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
