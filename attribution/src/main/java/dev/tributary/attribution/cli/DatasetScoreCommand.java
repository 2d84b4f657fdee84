package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.cli.DatasetOptions.Data;
import dev.tributary.attribution.cli.DatasetOptions.LeftOut;
import dev.tributary.attribution.cli.DatasetOutputs.Question;
import dev.tributary.attribution.dataset.AblationValues;
import dev.tributary.attribution.dataset.EdgeMethod;
import dev.tributary.attribution.dataset.EdgeScorer;
import dev.tributary.attribution.dataset.PairSums;
import dev.tributary.attribution.dataset.ScoredPairs;
import dev.tributary.attribution.explain.Phase;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
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

  @Mixin private final DatasetOutputs outputs = new DatasetOutputs();

  DatasetScoreCommand(PrintWriter out, PrintWriter err) {
    this.out = out;
    this.err = err;
  }

  @Override
  public Integer call() throws IOException {
    options.requireLatents();
    scoring.requireOptions();
    requireArgument(top >= 1, "--top is %d, it must be 1 or more", top);
    return outputs.answer(this::question, out, err);
  }

  private Question question(TerminalProgress progress, LeftOut leftOut) throws IOException {
    EdgeMethod method = scoring.method().with(scoring.steps());
    Data data = options.open(progress);
    List<Integer> sample = scoring.sample(data.graph().edges().size());
    return new Question(
        data,
        List.of("edges by " + method, "compared: " + sample),
        parts -> {
          AblationValues missing = data.missing(parts, progress.within(Phase.MEANS));
          EdgeScorer scorer = new EdgeScorer(data.graph(), missing, method);
          return DatasetReport.answer(
              data.scored(
                  new ScoredPairs.Edges(data.graph()),
                  method.toString(),
                  parts,
                  () -> PairSums.edges(scorer),
                  sample,
                  () -> PairSums.sample(scorer, sample),
                  leftOut,
                  progress),
              top);
        });
  }
}
