package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Lowercase;
import dev.tributary.attribution.cli.ModelOptions.Opened;
import dev.tributary.attribution.dataset.AblationValues;
import dev.tributary.attribution.dataset.CircuitEvaluator;
import dev.tributary.attribution.dataset.CircuitTotals;
import dev.tributary.attribution.dataset.ComponentCircuit;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.Pair;
import dev.tributary.attribution.dataset.PairFiles;
import dev.tributary.attribution.dataset.PairReader;
import dev.tributary.attribution.dataset.PairReader.BadRow;
import dev.tributary.attribution.dataset.PairReader.Columns;
import dev.tributary.attribution.dataset.PairReader.Measure;
import dev.tributary.attribution.dataset.ScoredPairs;
import dev.tributary.attribution.dataset.WriteMeans;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Transformer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** The options that say which pairs of prompts are gone through, and what is measured of them. */
final class DatasetOptions {
  /** Data sets that are resampled for intervals of confidence. */
  private static final int RESAMPLED = 1000;

  @Parameters(
      paramLabel = "FILE",
      arity = "1..*",
      description =
          "Pairs of prompts: CSV (.csv), tab-separated values (.tsv) or JSON Lines (.jsonl), named"
              + " before the options.")
  private List<Path> files = List.of();

  @Mixin private final ModelOptions model = new ModelOptions();

  @Option(
      names = "--metric",
      paramLabel = "logit-difference|log-probability|kl",
      converter = MetricConverter.class,
      description =
          "What is measured behind the last token: the logit of the answer less that of the foil,"
              + " the log-probability of the answer, or how far the probabilities of all words are"
              + " from those of the clean run. Default: logit-difference.")
  private MetricName metric = MetricName.LOGIT_DIFFERENCE;

  @Option(
      names = "--columns",
      paramLabel = "CLEAN,CORRUPTED,ANSWER,FOIL",
      split = ",",
      description =
          "Names of columns, as many as --metric needs. Default: clean,corrupted,answer,foil.")
  private List<String> columns = List.of("clean", "corrupted", "answer", "foil");

  @Option(
      names = "--ids",
      description = "Cells are token ids, as in [0, 17, 4], and 17 as answer. JSON says so itself.")
  private boolean ids;

  @Option(
      names = "--fill",
      paramLabel = "WORD",
      description =
          "Make the shorter prompt of a pair as long as the other, by this word behind the first"
              + " token. Without it a pair of unequal lengths is left out.")
  private Optional<String> filler = Optional.empty();

  @Option(
      names = "--ablation",
      paramLabel = "patching|zero|mean|mean-positional",
      converter = AblationConverter.class,
      description =
          "What is heard where an edge is missing: what its source writes in the corrupted prompt,"
              + " nothing, or its mean over clean prompts, at all tokens or token by token."
              + " Default: patching.")
  private AblationName ablation = AblationName.PATCHING;

  enum MetricName {
    LOGIT_DIFFERENCE(4),
    LOG_PROBABILITY(3),
    KL(2);

    private final int columns;

    MetricName(int columns) {
      this.columns = columns;
    }
  }

  enum AblationName {
    PATCHING,
    ZERO,
    MEAN,
    MEAN_POSITIONAL
  }

  static final class MetricConverter extends HyphenConverter<MetricName> {
    MetricConverter() {
      super(MetricName.class);
    }
  }

  static final class AblationConverter extends HyphenConverter<AblationName> {
    AblationConverter() {
      super(AblationName.class);
    }
  }

  /**
   * A data set and the model that it is for.
   *
   * @param ablation what is heard where an edge is missing
   */
  record Data(
      String called,
      Transformer model,
      ComponentGraph graph,
      PairFiles files,
      AblationValues ablation,
      String measure) {}

  /** Rows that are no pairs. */
  static final class LeftOut {
    private final List<BadRow> told = new ArrayList<>();
    private long count;

    void add(BadRow row) {
      count++;
      if (told.size() < ScoredPairs.TOLD) {
        told.add(row);
      }
    }

    List<BadRow> told() {
      return told;
    }

    long count() {
      return count;
    }
  }

  List<Path> files() {
    return files;
  }

  /** Loads the model and prepares what is asked of it, in the innermost scope. */
  Data open(TerminalProgress progress) throws IOException {
    model.requireOptions();
    Columns named = columns();
    Opened opened = model.open();
    Transformer transformer = model.load(opened, progress);
    PairReader reader = PairReader.of(named, opened.tokenizer(), transformer.config());
    if (ids) {
      reader = reader.ofIds();
    }
    if (filler.isPresent()) {
      reader = reader.filled(opened.tokenizer().token(filler.get()));
    }
    PairFiles pairs = new PairFiles(files, reader);
    ComponentGraph graph =
        ComponentGraph.of(transformer, new StreamWriter.Input(Site.TOKEN_EMBEDDING));
    return new Data(
        opened.called(),
        transformer,
        graph,
        pairs,
        ablation(transformer, graph, pairs),
        Lowercase.of(metric));
  }

  private Columns columns() {
    requireArgument(
        columns.size() >= metric.columns,
        "--columns names %s, and --metric %s needs %d",
        columns,
        Lowercase.of(metric),
        metric.columns);
    Measure measure =
        switch (metric) {
          case LOGIT_DIFFERENCE -> new Measure.LogitDifference(columns.get(2), columns.get(3));
          case LOG_PROBABILITY -> new Measure.LogProbability(columns.get(2));
          case KL -> new Measure.Divergence();
        };
    return new Columns(columns.get(0), columns.get(1), measure);
  }

  private AblationValues ablation(Transformer model, ComponentGraph graph, PairFiles pairs)
      throws IOException {
    return switch (ablation) {
      case PATCHING -> AblationValues.PATCHING;
      case ZERO -> AblationValues.ZERO;
      case MEAN -> {
        WriteMeans means = WriteMeans.overPositions(model, graph);
        pairs.read(pair -> means.add(model, graph, pair.clean()), row -> {});
        yield AblationValues.of(means);
      }
      case MEAN_POSITIONAL -> {
        List<Pair> first = first(pairs, 1);
        WriteMeans means = WriteMeans.perPosition(model, graph, first.get(0).length());
        pairs.read(pair -> means.add(model, graph, pair.clean()), row -> {});
        yield AblationValues.of(means);
      }
    };
  }

  /** The first pairs, at least one. */
  static List<Pair> first(PairFiles files, int count) throws IOException {
    List<Pair> pairs = new ArrayList<>();
    files.read(
        pair -> {
          if (pairs.size() < count) {
            pairs.add(pair);
          }
        },
        row -> {});
    requireArgument(!pairs.isEmpty(), "there is no pair of prompts in %s", files.files());
    return pairs;
  }

  /** The metric of circuits, over at least one pair. */
  static CircuitTotals totals(
      Data data, List<ComponentCircuit> circuits, LeftOut leftOut, Progress progress)
      throws IOException {
    CircuitEvaluator evaluator = new CircuitEvaluator(data.model(), data.graph(), data.ablation());
    CircuitTotals totals = new CircuitTotals(circuits.size(), RESAMPLED);
    int rows = (int) Math.min(data.files().rows(), Integer.MAX_VALUE);
    data.files()
        .read(
            pair -> {
              progress.at((int) totals.count(), rows);
              totals.add(totals.count(), evaluator.evaluate(pair, circuits));
            },
            leftOut::add);
    requireArgument(
        totals.count() > 0,
        "there is no pair of prompts in %s: %s",
        data.files().files(),
        leftOut.told().isEmpty() ? "no rows" : leftOut.told().get(0));
    return totals;
  }

  /** What rows that were left out are told of. */
  static List<String> told(LeftOut leftOut) {
    List<String> lines = new ArrayList<>();
    if (leftOut.count() > 0) {
      lines.add(
          String.format(
              Locale.ROOT,
              "%,d row%s left out:",
              leftOut.count(),
              leftOut.count() == 1 ? "" : "s"));
      leftOut.told().forEach(row -> lines.add(Table.INDENT + row));
      if (leftOut.count() > leftOut.told().size()) {
        lines.add(Table.INDENT + "...");
      }
    }
    return lines;
  }
}
