package dev.tributary.attribution.dataset.spark;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.dataset.AblationValues;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.EdgeMethod;
import dev.tributary.attribution.dataset.EdgeScorer;
import dev.tributary.attribution.dataset.EdgeTotals;
import dev.tributary.attribution.dataset.PairReader;
import dev.tributary.attribution.dataset.PairReader.BadRow;
import dev.tributary.attribution.dataset.ScoreFile;
import dev.tributary.attribution.dataset.ScoredPairs;
import dev.tributary.attribution.dataset.WriteMeans;
import dev.tributary.attribution.dataset.spark.SparkTotals.ForModel;
import dev.tributary.core.DType;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.AtomicFile;
import dev.tributary.transformer.file.LocalModel;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Scores the edges among the components of a model over pairs of prompts, on Spark. */
@Command(
    name = "ScoreEdges",
    header =
        "Scores the edges among heads, MLPs, input and logits over pairs of prompts, on Spark.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
public final class ScoreEdges implements Callable<Integer> {
  private static final String TEXTBOOK = "textbook";

  @Parameters(
      index = "0",
      paramLabel = "MODEL",
      description =
          "A folder or file that every machine finds at one place, the name of a model that all"
              + " have, or \""
              + TEXTBOOK
              + "\" for the one that comes with the program.")
  private String model = TEXTBOOK;

  @Parameters(
      index = "1",
      paramLabel = "PAIRS",
      description =
          "CSV, tab-separated values or JSON Lines with clean, corrupted, answer and foil, which the"
              + " driver reads.")
  private Path pairs = Path.of("");

  @Parameters(
      index = "2",
      paramLabel = "OUT",
      description = "File for the scores of all edges as JSON, which the driver writes.")
  private Path out = Path.of("");

  @Option(
      names = "--method",
      paramLabel = "METHOD",
      description =
          "eap, eap-ig-inputs, eap-ig-activations, eap-ig-activations-pooled, clean-corrupted,"
              + " eap-qk-fix, or exact. Default: ${DEFAULT-VALUE}.")
  private String method = "eap";

  @Option(
      names = "--steps",
      paramLabel = "N",
      description = "Of integrated gradients. Default: ${DEFAULT-VALUE}.")
  private int steps = 5;

  @Option(
      names = "--ablation",
      paramLabel = "patching|zero|mean",
      description =
          "What is heard where an edge is missing; means are those over all clean prompts."
              + " Default: ${DEFAULT-VALUE}.")
  private Ablation ablation = Ablation.PATCHING;

  @Option(
      names = "--dtype",
      paramLabel = "float|double",
      description = "Precision to compute in. Default: float.")
  private DType dtype = DType.FLOAT;

  @Option(
      names = "--partitions",
      paramLabel = "N",
      description = "Into how many tasks the pairs are split. Default: four for each core.")
  private Optional<Integer> partitions = Optional.empty();

  @Option(
      names = "--broadcast",
      description = "Only the driver finds MODEL: send its files to all others.")
  private boolean broadcast;

  enum Ablation {
    PATCHING,
    ZERO,
    MEAN
  }

  /**
   * Runs the program in the session that {@code spark-submit} asks for.
   *
   * @param args see {@code --help}
   */
  public static void main(String[] args) {
    int code =
        new CommandLine(new ScoreEdges())
            .setCaseInsensitiveEnumValuesAllowed(true)
            .setExecutionExceptionHandler(
                (e, command, parsed) -> {
                  if (e instanceof IllegalArgumentException || e instanceof IOException) {
                    command.getErr().println(e.getMessage());
                    return ExitCode.USAGE;
                  }
                  throw e;
                })
            .execute(args);
    if (code != ExitCode.OK) {
      System.exit(code);
    }
  }

  @Override
  public Integer call() throws IOException {
    method(method, steps); // refused before anything is begun
    SparkSession spark = SparkSession.builder().appName("Tributary").getOrCreate();
    try {
      run(spark);
    } finally {
      spark.stop();
    }
    return ExitCode.OK;
  }

  private void run(SparkSession spark) throws IOException {
    JavaSparkContext context = JavaSparkContext.fromSparkContext(spark.sparkContext());
    ExecutorModel executorModel = model(context);
    Transformer own = executorModel.get();
    Dataset<Row> rows =
        PairRows.read(
            spark,
            PairReader.of(PairReader.Columns.standard(), tokenizer(), own.config()),
            List.of(pairs),
            partitions.orElse(4 * context.defaultParallelism()));
    String name = method;
    int count = steps;
    ForModel<AblationValues> missing = missing(rows, executorModel);
    Outcome<EdgeTotals> outcome =
        SparkTotals.edges(
            rows,
            executorModel,
            at -> new EdgeScorer(at, graph(at), missing.of(at), method(name, count)));
    EdgeTotals totals = outcome.totals();
    List<BadRow> bad = outcome.badRows();
    requireArgument(
        totals.count() > 0,
        "there is no pair of prompts in %s: %s",
        pairs,
        bad.isEmpty() ? "no rows" : bad.get(0));
    ScoredPairs scored =
        new ScoredPairs(
            model,
            List.of(pairs),
            method(name, count).toString(),
            missing.of(own).toString(),
            "logit_difference",
            graph(own),
            totals,
            bad,
            bad.size(),
            Optional.empty());
    byte[] json = ScoreFile.of(scored).getBytes(StandardCharsets.UTF_8);
    AtomicFile.write(out, stream -> stream.write(json));
    bad.forEach(System.err::println);
    System.err.printf(
        Locale.ROOT,
        "%,d pairs scored, %,d rows left out, %,d tries of tasks failed%n",
        totals.count(),
        bad.size(),
        outcome.failedTasks().size());
  }

  private ExecutorModel model(JavaSparkContext context) throws IOException {
    if (model.equals(TEXTBOOK)) {
      return ExecutorModel.textbook(dtype);
    }
    Path path = LocalModel.find(model).path();
    return broadcast
        ? ExecutorModel.broadcast(context, path, dtype)
        : ExecutorModel.at(path, dtype);
  }

  private Tokenizer tokenizer() throws IOException {
    return model.equals(TEXTBOOK)
        ? Tokenizers.textbook()
        : Tokenizers.load(LocalModel.find(model).path());
  }

  private static ComponentGraph graph(Transformer model) {
    return ComponentGraph.of(model, new StreamWriter.Input(Site.TOKEN_EMBEDDING));
  }

  private ForModel<AblationValues> missing(Dataset<Row> rows, ExecutorModel executorModel) {
    return switch (ablation) {
      case PATCHING -> at -> AblationValues.PATCHING;
      case ZERO -> at -> AblationValues.ZERO;
      case MEAN -> {
        double[] means =
            SparkTotals.means(rows, executorModel, ScoreEdges::graph, ScoreEdges::noMeans)
                .totals()
                .toArray();
        yield at -> {
          WriteMeans own = noMeans(at);
          own.add(means);
          return AblationValues.of(own);
        };
      }
    };
  }

  private static WriteMeans noMeans(Transformer model) {
    return WriteMeans.overPositions(model, graph(model));
  }

  private static EdgeMethod method(String name, int steps) {
    List<EdgeMethod> all =
        List.of(
            EdgeMethod.EAP,
            EdgeMethod.eapIgInputs(steps),
            EdgeMethod.eapIgActivations(steps),
            EdgeMethod.eapIgPooledActivations(steps),
            EdgeMethod.CLEAN_CORRUPTED,
            EdgeMethod.QK_FIX,
            EdgeMethod.EXACT);
    Stream<EdgeMethod> named =
        all.stream().filter(one -> word(one).equals(name.toLowerCase(Locale.ROOT)));
    return named
        .findFirst()
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "--method is %s, and there are %s"
                        .formatted(name, all.stream().map(ScoreEdges::word).toList())));
  }

  /** As options are written. */
  private static String word(EdgeMethod method) {
    return method.toString().replace('_', '-').replaceFirst(" .*", "");
  }
}
