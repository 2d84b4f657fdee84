package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.cli.DatasetOptions.Data;
import dev.tributary.attribution.cli.DatasetOptions.LeftOut;
import dev.tributary.attribution.cli.TerminalProgress.Phase;
import dev.tributary.attribution.dataset.EdgeMethod;
import dev.tributary.attribution.dataset.EdgeScorer;
import dev.tributary.attribution.dataset.EdgeTotals;
import dev.tributary.attribution.dataset.ExactSample;
import dev.tributary.attribution.dataset.Pair;
import dev.tributary.attribution.dataset.PartedTotals;
import dev.tributary.attribution.dataset.ScoreFile;
import dev.tributary.attribution.dataset.ScoredPairs;
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
  private static final int STEPS = 5;

  /** Pairs over which a sample of edges is patched. */
  private static final int SAMPLE_PAIRS = 8;

  private static final long SEED = 1;

  private final PrintWriter out;
  private final PrintWriter err;

  @Mixin private final DatasetOptions options = new DatasetOptions();

  @Option(
      names = "--method",
      paramLabel = "METHOD",
      converter = MethodConverter.class,
      description =
          "eap (edge attribution patching), eap-ig-inputs, eap-ig-activations or"
              + " eap-ig-activations-pooled (with integrated gradients), clean-corrupted,"
              + " eap-qk-fix, or exact (a run for each edge). Default: eap.")
  private MethodName method = MethodName.EAP;

  @Option(
      names = "--steps",
      paramLabel = "N",
      description = "Of integrated gradients. Default: " + STEPS + ".")
  private Optional<Integer> steps = Optional.empty();

  @Option(
      names = "--sample",
      paramLabel = "N",
      description =
          "Run the model without each of so many edges, drawn at random, over the first "
              + SAMPLE_PAIRS
              + " pairs, to say how good the scores are; 0 for none. Default: ${DEFAULT-VALUE}.")
  private int sample = 50;

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

  enum MethodName {
    EAP,
    EAP_IG_INPUTS,
    EAP_IG_ACTIVATIONS,
    EAP_IG_ACTIVATIONS_POOLED,
    CLEAN_CORRUPTED,
    EAP_QK_FIX,
    EXACT;

    private boolean isIntegrated() {
      return this == EAP_IG_INPUTS
          || this == EAP_IG_ACTIVATIONS
          || this == EAP_IG_ACTIVATIONS_POOLED;
    }

    private EdgeMethod with(int steps) {
      return switch (this) {
        case EAP -> EdgeMethod.EAP;
        case EAP_IG_INPUTS -> EdgeMethod.eapIgInputs(steps);
        case EAP_IG_ACTIVATIONS -> EdgeMethod.eapIgActivations(steps);
        case EAP_IG_ACTIVATIONS_POOLED -> EdgeMethod.eapIgPooledActivations(steps);
        case CLEAN_CORRUPTED -> EdgeMethod.CLEAN_CORRUPTED;
        case EAP_QK_FIX -> EdgeMethod.QK_FIX;
        case EXACT -> EdgeMethod.EXACT;
      };
    }
  }

  static final class MethodConverter extends HyphenConverter<MethodName> {
    MethodConverter() {
      super(MethodName.class);
    }
  }

  @Override
  public Integer call() throws IOException {
    requireArgument(
        steps.isEmpty() || method.isIntegrated(),
        "--steps are those of integrated gradients, and --method is %s",
        HyphenConverter.name(method));
    requireArgument(
        steps.isEmpty() || steps.get() >= 1,
        "--steps is %d, it must be 1 or more",
        steps.orElse(0));
    requireArgument(sample >= 0, "--sample is %d, it must be 0 or more", sample);
    requireArgument(top >= 1, "--top is %d, it must be 1 or more", top);
    file.ifPresent(path -> CircuitOutputs.requireWritable("--out", path.toString()));
    csv.ifPresent(path -> CircuitOutputs.requireWritable("--csv", path.toString()));
    page.requireWritable();
    ScoredPairs scored;
    LeftOut leftOut = new LeftOut();
    try (TerminalProgress progress = TerminalProgress.start();
        Scope scope = Scope.open()) {
      Data data = options.open(progress);
      EdgeScorer scorer =
          new EdgeScorer(
              data.model(), data.graph(), data.ablation(), method.with(steps.orElse(STEPS)));
      try (PartedTotals parts = parts(scorer, data)) {
        EdgeTotals totals = parts.score(leftOut::add, progress.within(Phase.PAIRS));
        requireArgument(
            totals.count() > 0,
            "there is no pair of prompts in %s: %s",
            options.files(),
            leftOut.told().isEmpty() ? "no rows" : leftOut.told().get(0));
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
    DatasetOptions.told(leftOut).forEach(err::println);
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
    Optional<ExactSample> exact =
        sample == 0 || method == MethodName.EXACT
            ? Optional.empty()
            : Optional.of(compared(data, scorer, progress.within(Phase.PAIRS)));
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
        exact);
  }

  private ExactSample compared(Data data, EdgeScorer scorer, Progress progress) throws IOException {
    ExactSample compared = new ExactSample(ExactSample.draw(data.graph(), sample, SEED));
    List<Pair> pairs = DatasetOptions.first(data.files(), SAMPLE_PAIRS);
    for (Pair pair : pairs) {
      progress.at((int) compared.count(), pairs.size());
      compared.add(scorer.score(pair), scorer.exact(pair, compared.edges()));
    }
    return compared;
  }

  static void write(Path file, String text) throws IOException {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    AtomicFile.write(file, stream -> stream.write(bytes));
  }
}
