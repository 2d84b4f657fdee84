package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.cli.DatasetOptions.Data;
import dev.tributary.attribution.dataset.CircuitTotals;
import dev.tributary.attribution.dataset.ComponentCircuit;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.FaithfulnessCurve;
import dev.tributary.attribution.dataset.ScoreFile;
import dev.tributary.attribution.explain.Phase;
import dev.tributary.core.Scope;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
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
      "of the model without it keeps, 0 if nothing.",
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

  @Mixin private final EdgeChoice choice = new EdgeChoice();

  @Option(
      names = "--fractions",
      paramLabel = "X,...",
      split = ",",
      description = "Shares of all edges, ascending. Default: those of the benchmark, .001 to 1.")
  private List<Double> fractions = FaithfulnessCurve.FRACTIONS;

  @Mixin private final PageOption page = new PageOption();

  @Option(names = "--json", description = "Print one JSON object.")
  private boolean json;

  DatasetEvaluateCommand(PrintWriter out, PrintWriter err) {
    this.out = out;
    this.err = err;
  }

  /**
   * Circuits of more and more edges.
   *
   * @param chosen how many edges were chosen for each
   * @param totals of the circuits, then of their complements
   */
  record Curve(
      String called,
      String measure,
      List<Double> fractions,
      List<Integer> chosen,
      List<ComponentCircuit> circuits,
      CircuitTotals totals) {
    FaithfulnessCurve faithfulness() {
      return FaithfulnessCurve.of(fractions, totals);
    }
  }

  @Override
  public Integer call() throws IOException {
    page.requireWritable();
    requireArgument(choice.scores().isPresent(), "circuits are chosen by --scores FILE");
    for (double fraction : fractions) {
      requireArgument(
          fraction >= 0 && fraction <= 1,
          "--fractions has %s, they must be between 0 and 1",
          fraction);
    }
    Curve curve;
    DatasetOptions.LeftOut leftOut = new DatasetOptions.LeftOut();
    try (TerminalProgress progress = TerminalProgress.start();
        Scope scope = Scope.open()) {
      Data data = options.open(progress);
      ComponentGraph graph = data.graph();
      double[] known = ScoreFile.scores(choice.scores().orElseThrow(), graph);
      List<ComponentCircuit> circuits = new ArrayList<>();
      List<Integer> chosen = new ArrayList<>();
      for (double fraction : fractions) {
        int count = FaithfulnessCurve.count(graph, fraction);
        circuits.add(choice.of(graph, known, count).pruned());
        chosen.add(count);
      }
      List<ComponentCircuit> all = new ArrayList<>(circuits);
      circuits.forEach(circuit -> all.add(circuit.complement()));
      CircuitTotals totals =
          DatasetOptions.totals(data, all, leftOut, progress.within(Phase.PAIRS));
      curve = new Curve(data.called(), data.measure(), fractions, chosen, circuits, totals);
    }
    out.print(json ? DatasetReport.json(curve) : DatasetReport.of(curve));
    page.write(
        List.of(Files.readString(choice.scores().orElseThrow()), DatasetReport.json(curve)), err);
    leftOut.lines().forEach(err::println);
    return ExitCode.OK;
  }
}
