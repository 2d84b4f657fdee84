package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * What a {@link ReplacementGraph} explains: a logit less the mean of all, before any cap, or how
 * far the residual stream goes in a direction.
 *
 * @param node a {@link Logit} or a {@link Direction}
 * @param weight how much it counts in influence, more than 0
 */
public record ReplacementOutput(Target node, double weight) {
  /**
   * Refuses other nodes.
   *
   * @param node {@link #node()}
   * @param weight {@link #weight()}
   */
  public ReplacementOutput {
    requireArgument(
        node instanceof Logit || node instanceof Direction,
        "%s is no output of a replacement graph: those are logits and directions",
        node);
    requireArgument(weight > 0 && Double.isFinite(weight), "the weight of %s is %s", node, weight);
  }

  /**
   * {@return the words that follow most probably, each of its probability}
   *
   * @param run that recorded what logits are made of
   * @param most so many at most
   * @param share of the probability that they have at least, unless there are {@code most}, 0 to 1
   * @throws IllegalArgumentException if {@code most} is not positive
   */
  public static List<ReplacementOutput> mostProbable(Run run, int most, double share) {
    requireArgument(most > 0, "the %d most probable words", most);
    double[] probabilities = probabilities(run);
    int[] order =
        IntStream.range(0, probabilities.length)
            .boxed()
            .sorted((one, other) -> Double.compare(probabilities[other], probabilities[one]))
            .limit(most)
            .mapToInt(Integer::intValue)
            .toArray();
    List<ReplacementOutput> result = new ArrayList<>();
    double sum = 0;
    for (int i = 0; i < order.length && (i == 0 || sum < share); i++) {
      result.add(logit(run, order[i], probabilities));
      sum += probabilities[order[i]];
    }
    return result;
  }

  /**
   * {@return some words that may follow, each of its probability}
   *
   * @param run that recorded what logits are made of
   * @param words their ids
   * @throws IllegalArgumentException if one is outside the vocabulary
   */
  public static List<ReplacementOutput> words(Run run, int... words) {
    Arrays.stream(words).forEach(run.model()::requireWord);
    double[] probabilities = probabilities(run);
    return Arrays.stream(words).mapToObj(word -> logit(run, word, probabilities)).toList();
  }

  private static ReplacementOutput logit(Run run, int word, double[] probabilities) {
    return new ReplacementOutput(
        new Logit(run.lastToken(), word), Math.max(probabilities[word], Double.MIN_NORMAL));
  }

  private static double[] probabilities(Run run) {
    try (Scope scope = Scope.open()) {
      return run.logits(run.lastToken()).softmax().toDoubles();
    }
  }

  /**
   * {@return the difference of two logits after the last token, before any cap, as a direction of
   * the residual stream there with the scale of the last norm held, of weight 1} Its vector belongs
   * to the innermost scope.
   *
   * @param run that recorded the residual stream
   * @param target id of a word
   * @param distractor id of a word
   * @throws IllegalArgumentException if one is outside the vocabulary
   */
  public static ReplacementOutput difference(Run run, int target, int distractor) {
    Transformer model = run.model();
    try (Scope scope = Scope.open()) {
      Tensor two = model.logitDirections(target, distractor);
      Tensor along = two.slice(0, 0, 1).minus(two.slice(0, 1, 2));
      int last = run.lastToken();
      Tensor vector = scope.keep(alongStream(run, last, along));
      return new ReplacementOutput(
          new Direction(model.end(), last, vector.reshape(model.config().dModel())), 1);
    }
  }

  /** A direction of logits [1, dModel] in the residual stream at a token. */
  private static Tensor alongStream(Run run, int token, Tensor direction) {
    Tensor residual = run.residual(run.model().end()).value().slice(0, token, token + 1);
    return run.model()
        .finalNorm()
        .map(norm -> norm.directions(direction).over(norm.scale(residual)))
        .orElse(direction);
  }

  /** How an output reads the residual stream, in the innermost scope. */
  static ResidualGradient gradient(Run run, Node node) {
    if (node instanceof Direction direction) {
      Tensor row = direction.vector().reshape(1, direction.vector().shape().length());
      return new ResidualGradient(direction.point(), direction.token(), row);
    }
    Logit logit = (Logit) node;
    Transformer model = run.model();
    Tensor along = model.logitDirections(logit.word());
    return new ResidualGradient(model.end(), logit.token(), alongStream(run, logit.token(), along));
  }
}
