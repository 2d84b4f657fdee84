package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.cli.CircuitOptions.Tested;
import dev.tributary.attribution.cli.DatasetOptions.Data;
import dev.tributary.attribution.cli.DatasetOptions.LeftOut;
import dev.tributary.attribution.cli.DatasetOutputs.Answer;
import dev.tributary.attribution.cli.DatasetOutputs.Question;
import dev.tributary.attribution.dataset.CircuitTests;
import dev.tributary.attribution.dataset.CircuitTotals;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.FaithfulnessCurve;
import dev.tributary.attribution.dataset.ScoreFile;
import dev.tributary.attribution.viewer.DatasetPage;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Says how much of the metric circuits of more and more edges keep. */
@Command(
    name = "evaluate",
    header = "Says how much of the metric circuits keep that have more and more edges.",
    sortOptions = false,
    sortSynopsis = false,
    footer = {
      "",
      "faithful: how much of the metric a circuit keeps, 1 if all. complete: how much what is left",
      "of the model without it keeps, 0 if nothing. spared: edges of those that --minimality draws",
      "without which a circuit keeps as much.",
      "CPR is the area below the curve of faithfulness over the share of edges, CMD that",
      "between the curve and 1, as the Mechanistic Interpretability Benchmark has them.",
      "",
      "Example:",
      "  dataset evaluate pairs.jsonl --scores scores.json"
    })
final class DatasetEvaluateCommand implements Callable<Integer> {
  private final PrintWriter out;
  private final PrintWriter err;

  @Mixin private final DatasetOptions options = new DatasetOptions();

  @Mixin private final CircuitOptions choice = new CircuitOptions();

  @Option(
      names = "--fractions",
      paramLabel = "X,...",
      split = ",",
      description = "Shares of all edges, ascending. Default: those of the benchmark, .001 to 1.")
  private List<Double> fractions = FaithfulnessCurve.FRACTIONS;

  @Mixin private final DatasetOutputs outputs = new DatasetOutputs();

  DatasetEvaluateCommand(PrintWriter out, PrintWriter err) {
    this.out = out;
    this.err = err;
  }

  /**
   * Circuits of more and more edges.
   *
   * @param fractions how many of all edges were chosen for each
   */
  record Curve(List<Double> fractions, Tested tested) {
    FaithfulnessCurve faithfulness() {
      return FaithfulnessCurve.of(fractions, tested.totals());
    }
  }

  @Override
  public Integer call() throws IOException {
    options.requireLatents();
    choice.requireOptions();
    requireArgument(choice.scores().isPresent(), "circuits are chosen by --scores FILE");
    for (double fraction : fractions) {
      requireArgument(
          fraction >= 0 && fraction <= 1,
          "--fractions has %s, they must be between 0 and 1",
          fraction);
    }
    requireArgument(
        fractions.equals(fractions.stream().distinct().sorted().toList()),
        "--fractions is %s, they must ascend",
        fractions);
    return outputs.answer(this::question, out, err);
  }

  private Question question(TerminalProgress progress, LeftOut leftOut) throws IOException {
    Data data = options.open(progress);
    ComponentGraph graph = data.graph();
    Path scores = choice.scores().orElseThrow();
    double[] known = ScoreFile.scores(scores, graph);
    List<Integer> chosen =
        fractions.stream().map(share -> FaithfulnessCurve.count(graph, share)).toList();
    CircuitTests tests =
        choice.tests(chosen.stream().map(count -> choice.choose(graph, known, count)).toList());
    return new Question(
        data,
        CircuitOptions.question(tests),
        parts -> {
          CircuitTotals totals = CircuitOptions.totals(data, parts, tests, leftOut, progress);
          Tested tested = new Tested(data.called(), data.measure(), tests, chosen, totals);
          Curve curve = new Curve(fractions, tested);
          String json = TestedReport.json(curve);
          List<String> shown = List.of(Files.readString(scores), json);
          return new Answer(
              TestedReport.of(curve),
              json,
              json,
              TestedReport.table(curve),
              () -> DatasetPage.of(shown));
        });
  }
}
