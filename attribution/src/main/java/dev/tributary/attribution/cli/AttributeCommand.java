package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Metric;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.Node.Source;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.attribution.cli.Explanation.MetricReading;
import dev.tributary.attribution.cli.Explanation.Prediction;
import dev.tributary.attribution.cli.Explanation.Word;
import dev.tributary.attribution.cli.TerminalProgress.Phase;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.core.TopK;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Tokenizer;
import dev.tributary.transformer.Transformer;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** Explains one prediction of a model: its most important nodes and edges. */
@Command(
    name = "attribute",
    header = "Explains a prediction: which nodes matter to it, and which edges between them.",
    sortOptions = false,
    sortSynopsis = false,
    footer = {
      "",
      "Nodes, counted from 0:",
      "  embedding[3]           what token 3 enters with; or its two parts,",
      "                         token_embedding[3] and position_embedding[3]",
      "  L1.neuron77[9]         neuron 77 of layer 1 at token 9",
      "  L2.head5[14<-3]        head 5 of layer 2, token 14 looking at token 3",
      "  L2.head5.query[14<-3]  the same entered through its query, key or value",
      "  L1.mlp_bias[9]         output bias of the mlp (or attention) of layer 1",
      "  metric                 what is explained"
    })
final class AttributeCommand implements Callable<Integer> {
  private static final String PROMPT =
      "When Mary and John went to the store , John gave a drink to";
  private static final String TARGET = "Mary";
  private static final String DISTRACTOR = "John";
  private static final String TEXTBOOK = "textbook";
  private static final int PREDICTIONS = 5;

  private final PrintWriter out;

  @Option(
      names = "--model",
      paramLabel = "DIR",
      description =
          "Folder with config.json, model.safetensors and tokenizer.json. Default: the small model"
              + " that comes with the program.")
  private Optional<Path> model = Optional.empty();

  @Option(
      names = "--prompt",
      paramLabel = "TEXT",
      description = "What the model reads. Default: \"" + PROMPT + "\".")
  private Optional<String> prompt = Optional.empty();

  @Option(
      names = "--target",
      arity = "1..*",
      paramLabel = "WORD",
      description =
          "Next word to explain; of several, the mean. Default: \""
              + TARGET
              + "\" against \""
              + DISTRACTOR
              + "\" for the default prompt, the most probable word for another.")
  private List<String> targets = List.of();

  @Option(
      names = "--distractor",
      arity = "1..*",
      paramLabel = "WORD",
      description =
          "Word that the target is compared with by its logit. Without any, the log-probability of"
              + " the target is explained.")
  private List<String> distractors = List.of();

  @Option(
      names = "--position",
      paramLabel = "N",
      description =
          "Token after which the word is predicted; -1 is the last, -2 the one before."
              + " Default: ${DEFAULT-VALUE}.")
  private int position = -1;

  @Option(
      names = "--into",
      paramLabel = "NODE",
      converter = NodeConverter.class,
      description =
          "Show the edges into this node. Default: into the most important one that reads what"
              + " other neurons or heads wrote.")
  private Optional<Node> into = Optional.empty();

  @Option(
      names = "--from",
      paramLabel = "NODE",
      converter = NodeConverter.class,
      description = "Show the edges out of this node; with --into, those between the two.")
  private Optional<Node> from = Optional.empty();

  @Option(
      names = "--top",
      paramLabel = "N",
      description = "How many nodes and edges to show. Default: ${DEFAULT-VALUE}.")
  private int top = 10;

  @Option(
      names = "--detach",
      description = "Hold the scale of the layer norm that an edge passes fixed.")
  private boolean detach;

  @Option(
      names = "--dtype",
      paramLabel = "float|double",
      description = "Precision to compute in. Default: float.")
  private DType dtype = DType.FLOAT;

  @Option(names = "--json", description = "Print one JSON object.")
  private boolean json;

  AttributeCommand(PrintWriter out) {
    this.out = out;
  }

  private static final class NodeConverter implements ITypeConverter<Node> {
    @Override
    public Node convert(String name) {
      try {
        return Node.parse(name);
      } catch (IllegalArgumentException e) {
        throw new TypeConversionException(e.getMessage());
      }
    }
  }

  @Override
  public Integer call() throws IOException {
    requireOptions();
    Explanation explanation;
    try (TerminalProgress progress = TerminalProgress.start();
        Scope scope = Scope.open()) {
      explanation = explain(progress);
    }
    out.print(json ? JsonReport.of(explanation) : TextReport.of(explanation));
    return ExitCode.OK;
  }

  /** Refuses what can be refused before anything is read. */
  private void requireOptions() {
    requireArgument(top >= 1, "--top is %d, it must be 1 or more", top);
    prompt.ifPresent(text -> requireArgument(!text.isBlank(), "the prompt is empty"));
    requireArgument(model.isEmpty() || prompt.isPresent(), "--model needs a --prompt");
    model.ifPresent(
        folder ->
            requireArgument(
                Files.isDirectory(folder),
                "%s is %s, expected a folder with config.json, model.safetensors and"
                    + " tokenizer.json",
                folder,
                Files.exists(folder) ? "not a folder" : "not there"));
    Set<String> words = new HashSet<>();
    for (List<String> named : List.of(targets, distractors)) {
      for (String word : named) {
        requireArgument(
            words.add(word), "\"%s\" is named twice by --target and --distractor", word);
      }
    }
    from.ifPresent(
        node ->
            requireArgument(
                node instanceof Source,
                "%s writes nothing into the residual stream: --from needs an embedding, a neuron,"
                    + " a head or a bias",
                node));
    into.ifPresent(
        node ->
            requireArgument(
                !Explainer.targets(node).isEmpty(),
                "%s reads nothing from the residual stream: --into needs a neuron, a head, an"
                    + " input of a head, or metric",
                node));
  }

  private Explanation explain(TerminalProgress progress) throws IOException {
    Tokenizer tokenizer =
        model.isEmpty()
            ? Tokenizer.textbook()
            : Tokenizer.load(model.get().resolve("tokenizer.json"));
    int[] tokens = tokenizer.encode(prompt.orElse(PROMPT));
    boolean example = prompt.isEmpty() && targets.isEmpty() && distractors.isEmpty();
    List<Word> wanted = words(tokenizer, example ? List.of(TARGET) : targets);
    List<Word> unwanted = words(tokenizer, example ? List.of(DISTRACTOR) : distractors);
    int at = position(tokens.length);

    progress.enter(Phase.WEIGHTS);
    Transformer transformer =
        model.isEmpty()
            ? Transformer.textbook(dtype)
            : Transformer.load(model.get(), dtype, progress);
    progress.enter(Phase.RUN);
    Run run = transformer.run(tokens);
    into.ifPresent(node -> node.requireIn(run));
    from.ifPresent(node -> node.requireIn(run));
    List<Prediction> predictions = predictions(tokenizer, run, at);
    boolean chosen = wanted.isEmpty();
    List<Word> explained = chosen ? List.of(predictions.get(0).word()) : wanted;
    requireArgument(
        !chosen || !unwanted.containsAll(explained),
        "the most probable word is a --distractor, so a --target is needed");
    Metric.OfLogits metric =
        unwanted.isEmpty()
            ? new Metric.LogProbability(at, ids(explained))
            : new Metric.LogitDifference(at, ids(explained), ids(unwanted));

    progress.enter(Phase.GRADIENTS);
    NodeAttribution attribution = NodeAttribution.of(run, metric);
    progress.enter(Phase.EDGES);
    ScaleGradient scaleGradient = detach ? ScaleGradient.DETACHED : ScaleGradient.LIVE;
    Explainer explainer = new Explainer(attribution, scaleGradient, top);
    return new Explanation(
        model.map(Path::toString).orElse(TEXTBOOK),
        dtype,
        Arrays.stream(tokens).mapToObj(id -> word(tokenizer, id)).toList(),
        predictions,
        new MetricReading(metric, explained, unwanted, chosen, attribution.value()),
        explainer.nodes(),
        explainer.edges(into, from.map(Source.class::cast)));
  }

  private int position(int length) {
    requireArgument(
        position >= -length && position < length,
        "--position is %d, and the prompt has %d tokens: 0 to %d, or -1 to -%d from the end",
        position,
        length,
        length - 1,
        length);
    return position < 0 ? length + position : position;
  }

  private static List<Prediction> predictions(Tokenizer tokenizer, Run run, int position) {
    Tensor logits = run.value(Site.LOGITS).slice(0, position, position + 1);
    requireArgument(
        logits.isFinite(), "the logits of this model are not finite numbers in %s", logits.dtype());
    double[] probabilities = logits.softmax().toDoubles();
    return Arrays.stream(TopK.indices(probabilities, PREDICTIONS))
        .mapToObj(id -> new Prediction(word(tokenizer, id), probabilities[id]))
        .toList();
  }

  private static List<Word> words(Tokenizer tokenizer, List<String> texts) {
    return texts.stream().map(text -> word(tokenizer, tokenizer.token(text))).toList();
  }

  private static List<Integer> ids(List<Word> words) {
    return words.stream().map(Word::id).toList();
  }

  /** A model may have more ids than its tokenizer has words. */
  private static Word word(Tokenizer tokenizer, int id) {
    try {
      return new Word(id, tokenizer.text(id));
    } catch (IllegalArgumentException e) {
      return new Word(id, "<id " + id + ">");
    }
  }
}
