package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Node;
import dev.tributary.attribution.Stage;
import dev.tributary.attribution.explain.ModelChoice;
import dev.tributary.attribution.explain.Subject;
import dev.tributary.transformer.ScaleGradient;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** The options that say what is explained, the same for every command that explains. */
final class SubjectOptions {
  private static final String TARGET = "Mary";
  private static final String DISTRACTOR = "John";

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

  /** What is explained. */
  Subject subject() {
    requireArgument(
        trace.isPresent() || side == Side.POST, "--stage says how to --trace a node: name one");
    boolean example = options.isExample() && targets.isEmpty() && distractors.isEmpty();
    return new Subject(
        options.prompt(),
        position,
        example ? List.of(TARGET) : targets,
        example ? List.of(DISTRACTOR) : distractors,
        trace,
        side.stage,
        detach ? ScaleGradient.DETACHED : ScaleGradient.LIVE,
        Optional.empty());
  }

  /** The model of which it is explained. */
  ModelChoice choice() {
    return options.choice();
  }
}
