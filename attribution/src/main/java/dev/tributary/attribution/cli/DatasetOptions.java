package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Latent;
import dev.tributary.attribution.Lowercase;
import dev.tributary.attribution.dataset.AblationValues;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.EdgeTotals;
import dev.tributary.attribution.dataset.ExactSample;
import dev.tributary.attribution.dataset.PairFiles;
import dev.tributary.attribution.dataset.PairReader;
import dev.tributary.attribution.dataset.PairReader.BadRow;
import dev.tributary.attribution.dataset.PairReader.Columns;
import dev.tributary.attribution.dataset.PairReader.Measure;
import dev.tributary.attribution.dataset.PairSums;
import dev.tributary.attribution.dataset.PartedSums;
import dev.tributary.attribution.dataset.ScoreFile;
import dev.tributary.attribution.dataset.ScoredPairs;
import dev.tributary.attribution.dataset.WriteMeans;
import dev.tributary.attribution.explain.ModelChoice;
import dev.tributary.attribution.explain.OpenedModel;
import dev.tributary.attribution.explain.Phase;
import dev.tributary.transformer.MlpShare;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.file.Tokenizer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** The options that say which pairs of prompts are gone through, and what is measured of them. */
public final class DatasetOptions {
  @Parameters(
      paramLabel = "FILE",
      arity = "1..*",
      description =
          "Pairs of prompts: CSV (.csv), tab-separated values (.tsv) or JSON Lines (.jsonl), named"
              + " before the options.")
  private List<Path> files = List.of();

  @Mixin private final ModelOptions model = new ModelOptions();

  @Mixin private final DictionaryOption dictionaries = new DictionaryOption();

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

  @Option(
      names = "--positions",
      description = "The input is the embedding of positions too, not of tokens alone.")
  private boolean positions;

  @Option(
      names = "--by-token",
      description =
          "Edges of each token, at which source and reader are the same, or nodes of each, instead"
              + " of one for all tokens. Pairs that are not as long as the first one are left out.")
  private boolean byToken;

  @Option(
      names = "--split",
      paramLabel = "NODE",
      split = ",",
      description =
          "Neurons, and latents of --dictionaries that write for the MLP that they read, that are"
              + " components of their own, as nodes names them: m2.n376, L2.transcoder_latent7. All"
              + " else of the MLP of layer 2, its bias too, is m2 then.")
  private List<String> split = List.of();

  @Option(
      names = "--split-by",
      paramLabel = "FILE",
      description =
          "Scores that nodes --neurons or --dictionaries --out wrote, of which the neurons and such"
              + " latents of the largest magnitudes are components of their own.")
  private Optional<Path> splitBy = Optional.empty();

  @Option(
      names = "--split-top",
      paramLabel = "N",
      description = "How many nodes --split-by takes. Default: ${DEFAULT-VALUE}.")
  private int splitTop = 10;

  /** A neuron as its node is named. */
  private static final Pattern NEURON = Pattern.compile("m(\\d{1,9})\\.n(\\d{1,9})");

  /** Options as picocli finds them. */
  public DatasetOptions() {}

  enum MetricName {
    LOGIT_DIFFERENCE(4),
    LOG_PROBABILITY(3),
    KL(2);

    private final int columns;

    MetricName(int columns) {
      this.columns = columns;
    }
  }

  /** What is heard where an edge is missing. */
  public enum AblationName {
    /** {@link AblationValues#PATCHING}. */
    PATCHING,
    /** {@link AblationValues#ZERO}. */
    ZERO,
    /** {@link WriteMeans#overPositions}. */
    MEAN,
    /** {@link WriteMeans#perPosition}. */
    MEAN_POSITIONAL;

    /**
     * {@return means of no prompts yet, if it is means that are heard}
     *
     * @param graph of the model that runs
     * @param tokens of every prompt, if all have as many
     */
    public Optional<WriteMeans> noMeans(ComponentGraph graph, int tokens) {
      return switch (this) {
        case PATCHING, ZERO -> Optional.empty();
        case MEAN -> Optional.of(WriteMeans.overPositions(graph));
        case MEAN_POSITIONAL -> Optional.of(WriteMeans.perPosition(graph, tokens));
      };
    }

    /**
     * {@return what is heard}
     *
     * @param means over all prompts, if there are any
     */
    public AblationValues values(Optional<WriteMeans> means) {
      return means
          .map(AblationValues::of)
          .orElse(this == ZERO ? AblationValues.ZERO : AblationValues.PATCHING);
    }
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

  /** A data set and the model that it is for. */
  record Data(
      String called, ComponentGraph graph, PairFiles files, AblationName ablation, String measure) {
    Transformer model() {
      return graph.model();
    }

    /** All of it on which numbers depend, but for the files, in words. */
    List<String> identity() {
      return List.of(
          model().description() + ", " + model().fingerprint(),
          model().dtype().toString(),
          graph.toString(),
          "ablation: " + Lowercase.of(ablation));
    }

    /** What is heard where an edge is missing; means are those over all clean prompts. */
    AblationValues missing(PartedSums parts, Progress progress) throws IOException {
      int tokens = ablation == AblationName.MEAN_POSITIONAL ? tokens(files) : 0;
      Optional<WriteMeans> means = ablation.noMeans(graph, tokens);
      if (means.isPresent()) {
        Supplier<PairSums> none =
            () -> PairSums.means(ablation.noMeans(graph, tokens).orElseThrow());
        means.get().add(parts.over("means", none, row -> {}, progress));
      }
      return ablation.values(means);
    }

    /**
     * Scores something over all pairs, at least one.
     *
     * @param of what is scored
     * @param sample numbers of what is compared with what really happens, if anything is
     */
    ScoredPairs scored(
        ScoredPairs.Scored of,
        String method,
        PartedSums parts,
        Supplier<PairSums> scores,
        List<Integer> sample,
        Supplier<PairSums> compared,
        LeftOut leftOut,
        TerminalProgress progress)
        throws IOException {
      EdgeTotals totals =
          EdgeTotals.of(parts.over("scores", scores, leftOut::add, progress.within(Phase.PAIRS)));
      leftOut.requirePairs(totals.count(), files.files());
      Optional<ExactSample> exact = Optional.empty();
      if (!sample.isEmpty()) {
        exact = Optional.of(new ExactSample(sample));
        exact
            .get()
            .add(
                parts.overFirst(
                    ScoringOptions.SAMPLE_PAIRS,
                    "sample",
                    compared,
                    progress.within(Phase.SAMPLE)));
      }
      return new ScoredPairs(
          called,
          files.files(),
          method,
          Lowercase.of(ablation),
          measure,
          of,
          totals,
          leftOut.told(),
          leftOut.count(),
          exact);
    }
  }

  /** Of the first pair, 0 if there is none. */
  private static int tokens(PairFiles files) throws IOException {
    AtomicInteger tokens = new AtomicInteger();
    files.readFirst(1, pair -> tokens.set(pair.length()));
    return tokens.get();
  }

  /** Rows that are no pairs: how many, and the first of them. */
  public static final class LeftOut {
    private final List<BadRow> told = new ArrayList<>();
    private long count;

    /** None yet. */
    public LeftOut() {}

    /**
     * Counts a row.
     *
     * @param row that is no pair
     */
    public void add(BadRow row) {
      count++;
      if (told.size() < ScoredPairs.TOLD) {
        told.add(row);
      }
    }

    /** {@return the first of them} */
    public List<BadRow> told() {
      return told;
    }

    /** {@return how many there are} */
    public long count() {
      return count;
    }

    /** {@return lines that tell of them} */
    public List<String> lines() {
      List<String> lines = new ArrayList<>();
      if (count > 0) {
        lines.add(Table.counted(count, "row") + " left out:");
        told.forEach(row -> lines.add(Table.INDENT + row));
        if (count > told.size()) {
          lines.add(Table.INDENT + "...");
        }
      }
      return lines;
    }

    /**
     * Refuses totals of nothing.
     *
     * @param pairs how many there are beside these rows
     * @param files that were read
     * @throws IllegalArgumentException if there are none, with the first of these rows
     */
    public void requirePairs(long pairs, List<Path> files) {
      requireArgument(
          pairs > 0,
          "there is no pair of prompts in %s: %s",
          files,
          told.isEmpty() ? "no rows" : told.get(0));
    }
  }

  /** {@return the files with pairs} */
  public List<Path> files() {
    return files;
  }

  /** {@return the model that is asked for} */
  public ModelOptions model() {
    return model;
  }

  /** {@return the model with its dictionaries} */
  public ModelChoice choice() {
    return dictionaries.of(model.choice());
  }

  /** {@return what is heard where an edge is missing} */
  public AblationName ablation() {
    return ablation;
  }

  /** {@return what is measured, in a word} */
  public String measure() {
    return Lowercase.of(metric);
  }

  /**
   * {@return the pairs}
   *
   * @param tokenizer of the model
   * @param config of the model
   * @throws IllegalArgumentException if the options contradict each other
   * @throws IOException if edges of each token are asked for and files cannot be read
   */
  public PairFiles pairs(Tokenizer tokenizer, TransformerConfig config) throws IOException {
    PairReader reader = PairReader.of(columns(), tokenizer, config);
    if (ids) {
      reader = reader.ofIds();
    }
    if (filler.isPresent()) {
      reader = reader.filled(tokenizer.token(filler.get()));
    }
    PairFiles pairs = new PairFiles(files, reader);
    return byToken ? new PairFiles(files, reader.ofLength(tokens(pairs))) : pairs;
  }

  /**
   * {@return the components of a model, as edges are counted among them}
   *
   * @param model whose
   * @param input {@link #input}
   * @param split {@link #split}
   * @param tokens of each pair where each has edges of its own, else 0
   * @throws IllegalArgumentException if the model has no such neuron or latent, or one is named
   *     twice
   */
  public static ComponentGraph graph(
      Transformer model, Site input, List<String> split, int tokens) {
    List<MlpShare> shares = split.stream().map(DatasetOptions::share).toList();
    ComponentGraph graph = ComponentGraph.of(model, new StreamWriter.Input(input), shares);
    return tokens == 0 ? graph : graph.byToken(tokens);
  }

  private static MlpShare share(String name) {
    Matcher neuron = NEURON.matcher(name);
    if (neuron.matches()) {
      return MlpShare.neuron(Integer.parseInt(neuron.group(1)), Integer.parseInt(neuron.group(2)));
    }
    return Latent.named(name)
        .map(latent -> MlpShare.latent(latent.dictionary(), latent.latent()))
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "--split: \"%s\" is no neuron such as m2.n376 and no latent such as"
                            .formatted(name)
                        + " L2.transcoder_latent7"));
  }

  /**
   * {@return names of the neurons and latents that are components of their own}
   *
   * @param model of which they are
   * @throws IOException if they are to be read from a file that has none
   */
  public List<String> split(Transformer model) throws IOException {
    List<String> names = new ArrayList<>(split);
    if (splitBy.isPresent()) {
      ScoreFile.shares(splitBy.get(), splitTop, model).stream()
          .map(MlpShare::toString)
          .filter(name -> !split.contains(name))
          .forEach(names::add);
    }
    return names;
  }

  /** {@return what the input writes} */
  public Site input() {
    return positions ? Site.EMBEDDING : Site.TOKEN_EMBEDDING;
  }

  /** Loads the model and prepares what is asked of it, in the innermost scope. */
  Data open(TerminalProgress progress) throws IOException {
    requireOptions();
    OpenedModel opened = choice().open();
    Transformer transformer = opened.load(progress.within(Phase.WEIGHTS));
    PairFiles pairs = pairs(opened.tokenizer(), transformer.config());
    ComponentGraph graph =
        graph(transformer, input(), split(transformer), pairs.reader().length().orElse(0));
    return new Data(opened.called(), graph, pairs, ablation, measure());
  }

  /**
   * Refuses what can be refused before anything is read.
   *
   * @throws IllegalArgumentException if the options contradict each other
   */
  public void requireOptions() {
    choice();
    columns();
    requireArgument(splitTop >= 1, "--split-top is %d, it must be 1 or more", splitTop);
  }

  /** Refuses values of missing edges, for a reason. */
  void requirePatching(String reason) {
    requireArgument(
        ablation == AblationName.PATCHING,
        "--ablation is %s: %s",
        HyphenConverter.name(ablation),
        reason);
  }

  /**
   * Refuses dictionaries of whose latents none is a component.
   *
   * @throws IllegalArgumentException if there are such
   */
  public void requireLatents() {
    requireArgument(
        choice().dictionaries().isEmpty() || !split.isEmpty() || splitBy.isPresent(),
        "--dictionaries: --split or --split-by says which of their latents are components; nodes"
            + " scores all");
  }

  /** Refuses components of MLPs, for a reason. */
  void requireWhole(String reason) {
    requireArgument(split.isEmpty() && splitBy.isEmpty(), "--split: %s", reason);
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
}
