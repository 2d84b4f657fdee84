package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.AttentionSink;
import dev.tributary.attribution.Metric;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.attribution.Stage;
import dev.tributary.attribution.Trace;
import dev.tributary.attribution.cli.PromptOptions.Prompt;
import dev.tributary.attribution.cli.Subject.MetricReading;
import dev.tributary.attribution.cli.Subject.Prediction;
import dev.tributary.attribution.cli.Subject.Word;
import dev.tributary.attribution.cli.TerminalProgress.Phase;
import dev.tributary.core.Tensor;
import dev.tributary.core.TopK;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Transformer;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** The options that say what is explained, the same for every command that explains. */
final class SubjectOptions {
  private static final String TARGET = "Mary";
  private static final String DISTRACTOR = "John";
  static final int PREDICTIONS = 5;

  @Mixin private final PromptOptions options = new PromptOptions();

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
      names = "--detach",
      description = "Hold the scales of the norms that an edge passes fixed.")
  private boolean detach;

  @Option(
      names = "--trace",
      paramLabel = "NODE",
      converter = NodeConverter.class,
      description =
          "Explain what this neuron, latent or head computes instead of a word. A head is followed"
              + " through its query and key, an input of a node through itself; a value to the"
              + " target.")
  private Optional<Node> trace = Optional.empty();

  @Option(
      names = "--stage",
      paramLabel = "pre|post",
      description = "Explain a traced node before or after its nonlinearity. Default: post.")
  private Side side = Side.POST;

  /** Sides of a nonlinearity, as the user calls them. */
  enum Side {
    PRE(Stage.PRE_ACTIVATION),
    POST(Stage.ACTIVATION);

    private final Stage stage;

    Side(Stage stage) {
      this.stage = stage;
    }
  }

  /** Names of nodes. */
  static final class NodeConverter implements ITypeConverter<Node> {
    @Override
    public Node convert(String name) {
      try {
        return Node.parse(name);
      } catch (IllegalArgumentException e) {
        throw new TypeConversionException(e.getMessage());
      }
    }
  }

  boolean json() {
    return options.json();
  }

  ScaleGradient scaleGradient() {
    return detach ? ScaleGradient.DETACHED : ScaleGradient.LIVE;
  }

  /** Runs the model and takes the gradient of what is explained, in the innermost scope. */
  Subject open(TerminalProgress progress) throws IOException {
    requireArgument(
        trace.isPresent() || side == Side.POST, "--stage says how to --trace a node: name one");
    Prompt prompt = options.read();
    boolean example = options.isExample() && targets.isEmpty() && distractors.isEmpty();
    Map<Integer, String> named = new HashMap<>();
    List<Word> wanted = words(prompt, example ? List.of(TARGET) : targets, named);
    List<Word> unwanted = words(prompt, example ? List.of(DISTRACTOR) : distractors, named);
    int at = position(prompt.tokens().length);

    Transformer transformer = options.load(prompt, progress);
    progress.enter(Phase.RUN);
    Run run = transformer.run(NodeAttribution.sites(), prompt.tokens());
    List<Prediction> predictions = predictions(prompt, run, at);
    boolean chosen = wanted.isEmpty();
    List<Word> explained = chosen ? List.of(predictions.get(0).word()) : wanted;
    requireArgument(
        !chosen || !unwanted.containsAll(explained),
        "the most probable word is a --distractor, so a --target is needed");
    Metric.OfLogits ofLogits =
        unwanted.isEmpty()
            ? new Metric.LogProbability(at, ids(explained))
            : new Metric.LogitDifference(at, ids(explained), ids(unwanted));
    trace.ifPresent(node -> node.requireIn(run));
    Metric metric =
        trace.isEmpty()
            ? ofLogits
            : trace.get().traced(new Trace.Side(side.stage, scaleGradient()), ofLogits);

    progress.enter(Phase.GRADIENTS);
    NodeAttribution nodes = NodeAttribution.of(run, metric);
    return new Subject(
        prompt.model(),
        prompt.text(),
        nodes,
        scaleGradient(),
        prompt.words(),
        AttentionSink.of(run),
        predictions,
        new MetricReading(ofLogits, trace, side.stage, explained, unwanted, chosen, nodes.value()),
        prompt::word,
        changed -> predictions(prompt, changed, at),
        Optional.empty());
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

  private static List<Prediction> predictions(Prompt prompt, Run run, int position) {
    double[] probabilities = probabilities(run.logits(position));
    return Arrays.stream(TopK.indices(probabilities, PREDICTIONS))
        .mapToObj(id -> new Prediction(prompt.word(id), probabilities[id]))
        .toList();
  }

  static double[] probabilities(Tensor logits) {
    requireArgument(
        logits.isFinite(), "the logits of this model are not finite numbers in %s", logits.dtype());
    return logits.softmax().toDoubles();
  }

  /**
   * The tokens that some texts are.
   *
   * @param named what each token was called that has been named; these are added
   */
  private static List<Word> words(Prompt prompt, List<String> texts, Map<Integer, String> named) {
    List<Word> words = new ArrayList<>();
    for (String text : texts) {
      int id = prompt.tokenizer().token(text);
      String other = named.putIfAbsent(id, text);
      requireArgument(
          other == null,
          "\"%s\" is named twice by --target and --distractor%s",
          text,
          text.equals(other) ? "" : ": \"" + other + "\" is the same token");
      words.add(prompt.word(id));
    }
    return words;
  }

  private static List<Integer> ids(List<Word> words) {
    return words.stream().map(Word::id).toList();
  }
}
