package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Node;
import dev.tributary.attribution.Stage;
import dev.tributary.transformer.ScaleGradient;
import java.util.List;
import java.util.Optional;

/**
 * What is asked about: a prompt, and one number of what a model makes of it. That is the
 * log-probability of the targets, or their logit less that of the distractors, where there are any;
 * or, of a traced node, what that computes.
 *
 * @param prompt what the model reads
 * @param position the token after which the words are predicted; -1 is the last, -2 the one before
 * @param targets texts of single tokens; of several, the mean; of none, the most probable word
 * @param distractors with which they are compared
 * @param trace a neuron, latent or head (or an input of a head) that is explained in place of words
 * @param stage on which side of its nonlinearity a traced node is explained
 * @param scaleGradient whether the scales of the norms that an edge passes are seen to move
 * @param basis which dictionaries split what the model writes, as names of their nodes begin, such
 *     as {@code L3.mlp} or {@code transcoder_wide}; of an empty list the model's own nodes alone.
 *     Where nothing is said, all nodes are shown beside each other.
 */
public record Subject(
    Prompt prompt,
    int position,
    List<String> targets,
    List<String> distractors,
    Optional<Node> trace,
    Stage stage,
    ScaleGradient scaleGradient,
    Optional<List<String>> basis) {
  /** The prompt of the example. */
  public static final String EXAMPLE =
      "When Mary and John went to the store , John gave a drink to";

  /**
   * Refuses a stage of no traced node.
   *
   * @param prompt {@link #prompt()}
   * @param position {@link #position()}
   * @param targets {@link #targets()}
   * @param distractors {@link #distractors()}
   * @param trace {@link #trace()}
   * @param stage {@link #stage()}
   * @param scaleGradient {@link #scaleGradient()}
   * @param basis {@link #basis()}
   * @throws IllegalArgumentException if there is none
   */
  public Subject {
    requireArgument(
        trace.isPresent() || stage == Stage.ACTIVATION,
        "%s says how to trace a node, and none is named",
        stage);
    targets = List.copyOf(targets);
    distractors = List.copyOf(distractors);
    basis = basis.map(List::copyOf);
  }

  /**
   * {@return the log-probability of the most probable word after a prompt}
   *
   * @param text of the prompt
   */
  public static Subject of(String text) {
    return of(Prompt.of(text));
  }

  /**
   * {@return the log-probability of the most probable word after a prompt}
   *
   * @param prompt what the model reads
   */
  public static Subject of(Prompt prompt) {
    return new Subject(
        prompt,
        -1,
        List.of(),
        List.of(),
        Optional.empty(),
        Stage.ACTIVATION,
        ScaleGradient.LIVE,
        Optional.empty());
  }

  /** {@return the example of the shipped model: "Mary" against "John"} */
  public static Subject example() {
    return of(EXAMPLE).target("Mary").distractor("John");
  }

  /**
   * {@return the same with other targets}
   *
   * @param words texts of single tokens
   */
  public Subject target(String... words) {
    return new Subject(
        prompt, position, List.of(words), distractors, trace, stage, scaleGradient, basis);
  }

  /**
   * {@return the same with other distractors}
   *
   * @param words texts of single tokens
   */
  public Subject distractor(String... words) {
    return new Subject(
        prompt, position, targets, List.of(words), trace, stage, scaleGradient, basis);
  }

  /**
   * {@return the same after another token}
   *
   * @param token its number, or -1 for the last, -2 for the one before
   */
  public Subject at(int token) {
    return new Subject(prompt, token, targets, distractors, trace, stage, scaleGradient, basis);
  }

  /**
   * {@return what a node computes, in place of words}
   *
   * @param node a neuron, latent or head, or an input of a head
   */
  public Subject tracing(Node node) {
    return tracing(node, Stage.ACTIVATION);
  }

  /**
   * {@return what a node computes, in place of words}
   *
   * @param node a neuron, latent or head, or an input of a head
   * @param side of its nonlinearity
   */
  public Subject tracing(Node node, Stage side) {
    return new Subject(
        prompt, position, targets, distractors, Optional.of(node), side, scaleGradient, basis);
  }

  /** {@return the same with the scales of norms held} */
  public Subject detached() {
    return new Subject(
        prompt, position, targets, distractors, trace, stage, ScaleGradient.DETACHED, basis);
  }

  /**
   * {@return the same in nodes of some dictionaries}
   *
   * @param names as {@link #basis()} has them
   */
  public Subject in(List<String> names) {
    return new Subject(
        prompt, position, targets, distractors, trace, stage, scaleGradient, Optional.of(names));
  }
}
