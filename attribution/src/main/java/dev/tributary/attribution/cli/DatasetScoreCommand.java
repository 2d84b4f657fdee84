package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.cli.DatasetOptions.Data;
import dev.tributary.attribution.cli.DatasetOptions.LeftOut;
import dev.tributary.attribution.dataset.EdgeMethod;
import dev.tributary.attribution.dataset.EdgeScorer;
import dev.tributary.attribution.dataset.EdgeTotals;
import dev.tributary.attribution.dataset.ExactSample;
import dev.tributary.attribution.dataset.Pair;
import dev.tributary.attribution.dataset.PartedTotals;
import dev.tributary.attribution.dataset.ScoreFile;
import dev.tributary.attribution.dataset.ScoredPairs;
import dev.tributary.attribution.explain.Phase;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.file.AtomicFile;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Scores the edges among the components of a model over pairs of prompts. */
@Command(
    name = "score",
    header = "Scores the edges among heads, MLPs, input and logits over pairs of prompts.",
    sortOptions = false,
    sortSynopsis = false,
    footer = {
      "",
      "A score estimates what the metric is without the edge, less what it is with it: it is",
      "negative where the edge helps. What is written to --out goes on from its last finished",
      "part when the same command is given again.",
      "",
      "Examples:",
      "  dataset score pairs.jsonl",
      "  dataset score pairs.csv --method eap-ig-inputs --steps 10 --out scores.json"
    })
final class DatasetScoreCommand implements Callable<Integer> {
  private final PrintWriter out;
  private final PrintWriter err;

  @Mixin private final DatasetOptions options = new DatasetOptions();

  @Mixin private final ScoringOptions scoring = new ScoringOptions();

  @Option(
      names = "--top",
      paramLabel = "N",
      description = "How many edges to print. Default: ${DEFAULT-VALUE}.")
  private int top = 20;

  @Option(
      names = "--out",
      paramLabel = "FILE",
      description =
          "Write the scores of all edges as JSON, from which circuit and evaluate go on. Until it is"
              + " written FILE.parts has what is finished.")
  private Optional<Path> file = Optional.empty();

  @Option(names = "--csv", paramLabel = "FILE", description = "Write them as a table.")
  private Optional<Path> csv = Optional.empty();

  @Mixin private final PageOption page = new PageOption();

  @Option(names = "--json", description = "Print one JSON object.")
  private boolean json;

  DatasetScoreCommand(PrintWriter out, PrintWriter err) {
    this.out = out;
    this.err = err;
  }

  @Override
  public Integer call() throws IOException {
    scoring.requireOptions();
    EdgeMethod method = scoring.method().with(scoring.steps());
    requireArgument(top >= 1, "--top is %d, it must be 1 or more", top);
    file.ifPresent(path -> CircuitOutputs.requireWritable("--out", path.toString()));
    csv.ifPresent(path -> CircuitOutputs.requireWritable("--csv", path.toString()));
    page.requireWritable();
    ScoredPairs scored;
    LeftOut leftOut = new LeftOut();
    try (TerminalProgress progress = TerminalProgress.start();
        Scope scope = Scope.open()) {
      Data data = options.open(progress);
      EdgeScorer scorer = new EdgeScorer(data.model(), data.graph(), data.ablation(), method);
      try (PartedTotals parts = parts(scorer, data)) {
        EdgeTotals totals = parts.score(leftOut::add, progress.within(Phase.PAIRS));
        leftOut.requirePairs(totals.count(), options.files());
        scored = scored(data, scorer, totals, leftOut, progress);
        if (file.isPresent()) {
          write(file.get(), ScoreFile.of(scored));
        }
        parts.delete();
      }
    }
    if (csv.isPresent()) {
      write(csv.get(), DatasetReport.table(scored));
    }
    out.print(json ? ScoreFile.of(scored) : DatasetReport.of(scored, top));
    page.write(List.of(ScoreFile.of(scored)), err);
    leftOut.lines().forEach(err::println);
    return ExitCode.OK;
  }

  private PartedTotals parts(EdgeScorer scorer, Data data) throws IOException {
    return file.isPresent()
        ? PartedTotals.in(Path.of(file.get() + ".parts"), scorer, data.files())
        : PartedTotals.of(scorer, data.files());
  }

  private ScoredPairs scored(
      Data data, EdgeScorer scorer, EdgeTotals totals, LeftOut leftOut, TerminalProgress progress)
      throws IOException {
    Optional<ExactSample> sample = scoring.noSample(data.graph());
    if (sample.isPresent()) {
      compare(data, scorer, sample.get(), progress.within(Phase.PAIRS));
    }
    return new ScoredPairs(
        data.called(),
        options.files(),
        scorer.method().toString(),
        data.ablation().toString(),
        data.measure(),
        data.graph(),
        totals,
        leftOut.told(),
        leftOut.count(),
        sample);
  }

  private static void compare(Data data, EdgeScorer scorer, ExactSample sample, Progress progress)
      throws IOException {
    List<Pair> pairs = DatasetOptions.first(data.files(), ScoringOptions.SAMPLE_PAIRS);
    for (Pair pair : pairs) {
      progress.at((int) sample.count(), pairs.size());
      sample.add(scorer, pair);
    }
  }

  static void write(Path file, String text) throws IOException {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    AtomicFile.write(file, stream -> stream.write(bytes));
  }
}
