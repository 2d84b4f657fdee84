package dev.tributary.attribution.explain;

import dev.tributary.attribution.AttentionSink;
import dev.tributary.attribution.Coordinates;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.Stage;
import dev.tributary.core.DType;
import dev.tributary.transformer.ScaleGradient;
import java.util.List;
import java.util.Optional;

/**
 * What is explained, and its value: what every answer about a {@link Subject} begins with.
 *
 * @param model what it is called
 * @param dtype in which it computes
 * @param prompt as the model read it
 * @param tokens of the prompt
 * @param attentionSinks tokens at which the model keeps long residual streams
 * @param predictions after the explained position, most probable first
 * @param metric what is explained
 * @param scaleGradient whether edges see the scales of norms move
 * @param saysTwice whether dictionaries say once more what other nodes say that are shown too
 */
public record Overview(
    String model,
    DType dtype,
    String prompt,
    List<Word> tokens,
    List<AttentionSink> attentionSinks,
    List<Prediction> predictions,
    Reading metric,
    ScaleGradient scaleGradient,
    boolean saysTwice) {
  /**
   * What may follow a position.
   *
   * @param word of the vocabulary
   * @param probability of it
   */
  public record Prediction(Word word, double probability) {}

  /** What kind of number is explained. */
  public enum Quantity {
    /** Of the targets. */
    LOG_PROBABILITY,
    /** Of the targets less that of the distractors. */
    LOGIT_DIFFERENCE,
    /** Of a traced neuron or latent. */
    ACTIVATION,
    /** Of a traced head at a pair of tokens, or its score. */
    ATTENTION,
    /** What a traced head writes, along the gradient of the words. */
    VALUE
  }

  /**
   * What is explained, and its value.
   *
   * @param quantity of words or of a traced node
   * @param trace the node that is explained in place of words
   * @param stage on which side of its nonlinearity a traced node is explained
   * @param scaleGradient whether it sees the scales of norms move
   * @param position after which the words are predicted
   * @param targets words
   * @param distractors with which they are compared
   * @param chosen whether the target is the most probable word, since nobody named one
   * @param value of the quantity
   */
  public record Reading(
      Quantity quantity,
      Optional<Node> trace,
      Stage stage,
      ScaleGradient scaleGradient,
      int position,
      List<Word> targets,
      List<Word> distractors,
      boolean chosen,
      double value) {}

  /** Words of a metric that are all named. */
  private static final int NAMED = 4;

  /** {@return what is explained, in words: pieces between which a line may break} */
  public List<String> explained() {
    String node = metric.trace.map(traced -> traced + " (" + where(traced) + ")").orElse("");
    return switch (metric.quantity) {
      case LOG_PROBABILITY -> List.of(named("log-probability", metric.targets));
      case LOGIT_DIFFERENCE ->
          List.of(named("logit", metric.targets), "- " + named("logit", metric.distractors));
      case ACTIVATION ->
          List.of((metric.stage == Stage.PRE_ACTIVATION ? "pre-" : "") + "activation of " + node);
      case ATTENTION ->
          List.of(metric.stage == Stage.ACTIVATION ? "attention of" : "score of", node);
      case VALUE ->
          List.of(
              "what " + metric.trace.orElseThrow() + " writes",
              "(" + where(metric.trace.orElseThrow()) + "), along the gradient of",
              named("logit", metric.targets) + ",");
    };
  }

  private static String named(String function, List<Word> words) {
    List<String> names = words.stream().map(Word::quoted).toList();
    if (names.size() == 1) {
      return function + "(" + names.get(0) + ")";
    }
    String shown =
        names.size() <= NAMED
            ? String.join(", ", names)
            : String.join(", ", names.subList(0, NAMED - 1))
                + ", ... "
                + names.get(names.size() - 1)
                + "; "
                + names.size()
                + " words";
    return "mean " + function + "(" + shown + ")";
  }

  /**
   * {@return the word at the token of a node, or the two of a head; nothing of one without}
   *
   * @param node of the run
   */
  public String where(Node node) {
    Coordinates at = node.coordinates();
    String keys = at.key().isPresent() ? " <- " + word(at.key().getAsInt()) : "";
    return at.token().isPresent() ? word(at.token().getAsInt()) + keys : "";
  }

  /**
   * {@return the word at a token, in quotation marks}
   *
   * @param token of the prompt, from 0
   */
  public String word(int token) {
    return tokens.get(token).quoted();
  }
}
