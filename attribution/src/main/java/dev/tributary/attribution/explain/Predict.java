package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.TopK;
import dev.tributary.transformer.Run;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalDouble;

/**
 * What does the model expect after each token of a prompt?
 *
 * @param prompt what the model reads
 * @param alternatives how many of the most probable words to tell of after each token
 */
public record Predict(Prompt prompt, int alternatives) implements Question<Predict.Predicted> {
  /**
   * Refuses a negative number.
   *
   * @param prompt {@link #prompt()}
   * @param alternatives {@link #alternatives()}
   * @throws IllegalArgumentException if it is one
   */
  public Predict {
    requireArgument(alternatives >= 0, "%d alternatives, there must be 0 or more", alternatives);
  }

  /**
   * What the model expects.
   *
   * @param model what it is called
   * @param dtype in which it computes
   * @param tokens of the prompt, in order
   */
  public record Predicted(String model, DType dtype, List<Token> tokens) {}

  /**
   * A token of the prompt.
   *
   * @param word that it is
   * @param logProbability of it after the tokens before it, natural; none of the first
   * @param next what is expected after it, most probable first
   */
  public record Token(Word word, OptionalDouble logProbability, List<Alternative> next) {
    /** {@return how surprising it is, in bits; none of the first} */
    public OptionalDouble surprise() {
      return logProbability.isPresent()
          ? OptionalDouble.of(-logProbability.getAsDouble() / Math.log(2))
          : OptionalDouble.empty();
    }
  }

  /**
   * A word that may follow.
   *
   * @param word of the vocabulary
   * @param logit of it
   * @param logProbability of it, natural
   */
  public record Alternative(Word word, double logit, double logProbability) {}

  @Override
  public Predicted answer(Work work) throws IOException {
    OpenedModel opened = work.opened();
    List<Word> words = opened.words(prompt);
    Run run = work.run(words);
    List<Token> tokens = new ArrayList<>();
    OptionalDouble own = OptionalDouble.empty();
    for (int i = 0; i < words.size(); i++) {
      double[] logits = logits(run, i);
      double normaliser = logSumExp(logits);
      List<Alternative> next =
          Arrays.stream(TopK.indices(logits, alternatives))
              .mapToObj(id -> new Alternative(opened.word(id), logits[id], logits[id] - normaliser))
              .toList();
      tokens.add(new Token(words.get(i), own, next));
      own =
          i + 1 < words.size()
              ? OptionalDouble.of(logits[words.get(i + 1).id()] - normaliser)
              : OptionalDouble.empty();
    }
    return new Predicted(opened.called(), run.model().dtype(), List.copyOf(tokens));
  }

  private static double[] logits(Run run, int position) {
    try (Scope scope = Scope.open()) {
      return Explanation.requireFinite(run.logits(position)).toDoubles();
    }
  }

  private static double logSumExp(double[] logits) {
    double largest = Arrays.stream(logits).max().orElseThrow();
    return largest + Math.log(Arrays.stream(logits).map(logit -> Math.exp(logit - largest)).sum());
  }
}
