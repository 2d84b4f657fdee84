package dev.tributary.attribution.dataset.spark;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.cli.CircuitOutputs;
import dev.tributary.attribution.cli.DatasetOptions;
import dev.tributary.attribution.cli.DatasetOptions.AblationName;
import dev.tributary.attribution.cli.DatasetOptions.LeftOut;
import dev.tributary.attribution.cli.ModelOptions;
import dev.tributary.attribution.cli.ScoringOptions;
import dev.tributary.attribution.cli.ScoringOptions.MethodName;
import dev.tributary.attribution.dataset.AblationValues;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.EdgeScorer;
import dev.tributary.attribution.dataset.EdgeTotals;
import dev.tributary.attribution.dataset.ExactSample;
import dev.tributary.attribution.dataset.PairFiles;
import dev.tributary.attribution.dataset.ScoreFile;
import dev.tributary.attribution.dataset.ScoredPairs;
import dev.tributary.attribution.dataset.WriteMeans;
import dev.tributary.attribution.dataset.spark.Outcome.FailedTask;
import dev.tributary.attribution.dataset.spark.SparkTotals.ForModel;
import dev.tributary.attribution.explain.OpenedModel;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.AtomicFile;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Scores the edges among the components of a model over pairs of prompts, on Spark. */
@Command(
    name = "ScoreEdges",
    header =
        "Scores the edges among heads, MLPs, input and logits over pairs of prompts, on Spark.",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    sortSynopsis = false)
public final class ScoreEdges implements Callable<Integer> {
  /** Tasks for each core, so that none waits long for the last. */
  private static final int TASKS = 4;

  @Mixin private final DatasetOptions options = new DatasetOptions();
  @Mixin private final ScoringOptions scoring = new ScoringOptions();

  @Option(
      names = "--out",
      paramLabel = "FILE",
      required = true,
      description = "Write the scores of all edges as JSON; the driver does.")
  private Path out = Path.of("");

  @Option(
      names = "--partitions",
      paramLabel = "N",
      description = "Into how many tasks the pairs are split. Default: four for each core.")
  private Optional<Integer> partitions = Optional.empty();

  @Option(
      names = "--broadcast",
      description =
          "Only the driver finds the model: send its files to all others. Without it every machine"
              + " finds it at the same place.")
  private boolean broadcast;

  private ScoreEdges() {}

  /**
   * Runs the program in the session that {@code spark-submit} asks for.
   *
   * @param args see {@code --help}
   */
  public static void main(String[] args) {
    int code = run(args);
    if (code != ExitCode.OK) {
      System.exit(code);
    }
  }

  /** The same without ending the process. */
  static int run(String... args) {
    return new CommandLine(new ScoreEdges())
        .setCaseInsensitiveEnumValuesAllowed(true)
        .setExecutionExceptionHandler(
            (e, command, parsed) -> {
              if (e instanceof IllegalArgumentException
                  || e instanceof IllegalStateException
                  || e instanceof IOException
                  || e instanceof UncheckedIOException) {
                command.getErr().println(e.getMessage());
                return e instanceof IllegalStateException ? ExitCode.SOFTWARE : ExitCode.USAGE;
              }
              throw e;
            })
        .execute(args);
  }

  @Override
  public Integer call() throws IOException {
    options.requireOptions(); // refused before anything is begun
    options.requireLatents();
    scoring.requireOptions();
    CircuitOutputs.requireWritable("--out", out.toString());
    partitions.ifPresent(
        count -> requireArgument(count >= 1, "--partitions is %d, it must be 1 or more", count));
    SparkSession spark = SparkSession.builder().appName("Tributary").getOrCreate();
    try {
      score(spark);
    } finally {
      spark.stop();
    }
    return ExitCode.OK;
  }

  private void score(SparkSession spark) throws IOException {
    JavaSparkContext context = JavaSparkContext.fromSparkContext(spark.sparkContext());
    OpenedModel opened = options.choice().open();
    ExecutorModel model = model(context);
    Transformer own = model.get();
    PairFiles files = options.pairs(opened.tokenizer(), own.config());
    Dataset<Row> rows =
        PairRows.read(spark, files, partitions.orElse(TASKS * context.defaultParallelism()));
    List<FailedTask> failed = new ArrayList<>();

    Site input = options.input();
    int tokens = files.reader().length().orElse(0);
    List<String> split = new ArrayList<>(options.split(own));
    ForModel<ComponentGraph> graphs = at -> DatasetOptions.graph(at, input, split, tokens);
    ForModel<AblationValues> missing = missing(rows, graphs, model, failed);
    MethodName method = scoring.method();
    int steps = scoring.steps();
    ForModel<EdgeScorer> scorer =
        at -> new EdgeScorer(graphs.of(at), missing.of(at), method.with(steps));
    Outcome<EdgeTotals> scored = SparkTotals.edges(rows, model, scorer);
    failed.addAll(scored.failedTasks());
    LeftOut leftOut = new LeftOut();
    scored.badRows().forEach(leftOut::add);
    leftOut.requirePairs(scored.totals().count(), options.files());
    ComponentGraph graph = graphs.of(own);
    List<Integer> edges = scoring.sample(graph.edges().size());
    Optional<ExactSample> sample = Optional.empty();
    if (!edges.isEmpty()) {
      Outcome<ExactSample> compared =
          SparkTotals.sample(
              PairRows.first(rows, ScoringOptions.SAMPLE_PAIRS), model, scorer, edges);
      sample = Optional.of(compared.totals());
      failed.addAll(compared.failedTasks());
    }
    write(
        new ScoredPairs(
            opened.called(),
            options.files(),
            method.with(steps).toString(),
            missing.of(own).toString(),
            options.measure(),
            new ScoredPairs.Edges(graph),
            scored.totals(),
            leftOut.told(),
            leftOut.count(),
            sample));
    System.err.printf(
        Locale.ROOT,
        "%,d pairs scored, %,d rows left out, %,d tries of tasks failed%n",
        scored.totals().count(),
        leftOut.count(),
        failed.size());
    leftOut.lines().forEach(System.err::println);
    failed.forEach(System.err::println);
  }

  private void write(ScoredPairs scored) throws IOException {
    byte[] json = ScoreFile.of(scored).getBytes(StandardCharsets.UTF_8);
    AtomicFile.write(out, stream -> stream.write(json));
  }

  private ExecutorModel model(JavaSparkContext context) throws IOException {
    ExecutorModel model = plain(context);
    return options.choice().dictionaries().map(model::withDictionaries).orElse(model);
  }

  private ExecutorModel plain(JavaSparkContext context) throws IOException {
    ModelOptions model = options.model();
    Optional<Path> path = model.path();
    Optional<Path> adapter = model.adapter();
    if (path.isEmpty()) {
      return ExecutorModel.textbook(model.dtype());
    }
    requireArgument(
        adapter.isEmpty() || !broadcast,
        "--broadcast sends the files of a model, and none of an --adapter: convert merges them");
    if (broadcast) {
      return ExecutorModel.broadcast(context, path.get(), model.dtype());
    }
    return adapter.isPresent()
        ? ExecutorModel.at(path.get(), adapter.get(), model.dtype())
        : ExecutorModel.at(path.get(), model.dtype());
  }

  /** Means are those over all clean prompts, for which they are run once more. */
  private ForModel<AblationValues> missing(
      Dataset<Row> rows,
      ForModel<ComponentGraph> graph,
      ExecutorModel model,
      List<FailedTask> failed) {
    AblationName name = options.ablation();
    if (name == AblationName.PATCHING || name == AblationName.ZERO) {
      return at -> name.values(Optional.empty());
    }
    int tokens = PairRows.tokens(rows);
    ForModel<WriteMeans> none = at -> name.noMeans(graph.of(at), tokens).orElseThrow();
    Outcome<WriteMeans> means = SparkTotals.means(rows, model, none);
    failed.addAll(means.failedTasks());
    double[] numbers = means.totals().toArray();
    return at -> {
      WriteMeans own = none.of(at);
      own.add(numbers);
      return name.values(Optional.of(own));
    };
  }
}
