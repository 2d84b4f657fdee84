package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Edit;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.TopK;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Continuation;
import dev.tributary.transformer.Sampling;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Tokenizer;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.Set;

/**
 * How does the model go on with a prompt, as it is and with parts of it edited?
 *
 * @param prompt what the model reads
 * @param edits made together; of none, the model goes on as it is alone
 * @param maxTokens most tokens that follow
 * @param draws how tokens are drawn; if not at all, the most probable is taken
 */
public record Generate(Prompt prompt, List<Edit> edits, int maxTokens, Optional<Draws> draws)
    implements Question<Generate.Generated> {
  /**
   * Refuses to say nothing, and two edits of one part at one token, which would have an order.
   *
   * @param prompt {@link #prompt()}
   * @param edits {@link #edits()}
   * @param maxTokens {@link #maxTokens()}
   * @param draws {@link #draws()}
   * @throws IllegalArgumentException if it would, or there are such
   */
  public Generate {
    requireArgument(maxTokens > 0, "max-tokens is %d, it must be 1 or more", maxTokens);
    edits = List.copyOf(edits);
    for (int i = 0; i < edits.size(); i++) {
      for (Edit other : edits.subList(0, i)) {
        Edit edit = edits.get(i);
        requireArgument(
            !edit.part().equals(other.part())
                || edit.tokens().first() >= other.tokens().end()
                || other.tokens().first() >= edit.tokens().end(),
            "%s and %s say two things about the same activation",
            other,
            edit);
      }
    }
  }

  /**
   * How tokens are drawn.
   *
   * @param temperature above 0
   * @param topK among how many of the most probable ones, if not among all
   * @param topP among as few of the most probable as have this probability
   * @param seed of the random numbers
   */
  public record Draws(double temperature, OptionalInt topK, double topP, long seed) {
    /**
     * Refuses what is no way to draw.
     *
     * @param temperature {@link #temperature()}
     * @param topK {@link #topK()}
     * @param topP {@link #topP()}
     * @param seed {@link #seed()}
     * @throws IllegalArgumentException if it is none
     */
    public Draws {
      sampling(temperature, topK, topP, seed);
    }

    private Sampling sampling() {
      return sampling(temperature, topK, topP, seed);
    }

    private static Sampling sampling(double temperature, OptionalInt topK, double topP, long seed) {
      return Sampling.of(temperature, topK.orElse(Integer.MAX_VALUE), topP, seed);
    }
  }

  /** Why a text goes on no further. */
  public enum Ending {
    /** The model ended it. */
    TOKEN,
    /** It is as long as it may be. */
    LENGTH,
    /** The model reads no more. */
    CONTEXT
  }

  /**
   * What followed a prompt.
   *
   * @param text of the tokens
   * @param tokens that followed
   * @param ending why no more did
   */
  public record Continued(String text, List<Word> tokens, Ending ending) {}

  /**
   * A word that may follow right behind the prompt.
   *
   * @param word of the vocabulary
   * @param probability of it
   * @param edited its probability in the edited model
   */
  public record Next(Word word, double probability, OptionalDouble edited) {}

  /**
   * How the model goes on.
   *
   * @param model what it is called
   * @param dtype in which it computes
   * @param tokens of the prompt
   * @param edits that were made
   * @param draws how tokens were drawn
   * @param continuation of the model as it is
   * @param edited the continuation of the edited model, if there are edits
   * @param predictions the most probable next words of both
   */
  public record Generated(
      String model,
      DType dtype,
      List<Word> tokens,
      List<Edit> edits,
      Optional<Draws> draws,
      Continued continuation,
      Optional<Continued> edited,
      List<Next> predictions) {}

  @Override
  public Generated answer(Work work) throws IOException {
    List<Word> words = work.opened().words(prompt);
    int[] tokens = words.stream().mapToInt(Word::id).toArray();
    Transformer model = work.transformer();
    try (Scope scope = Scope.open()) {
      Change[] changes = Edit.changes(model, edits);
      int end = Math.min(model.config().context(), tokens.length + maxTokens);
      for (Edit edit : edits) {
        requireArgument(
            edit.tokens().first() < end && (edit.tokens().isOpen() || edit.tokens().end() <= end),
            "%s: with those that follow the prompt there are %d tokens, counted from 0",
            edit,
            end);
      }
      work.enter(Phase.GENERATION);
      List<double[]> next = new ArrayList<>();
      Continued plain = continued(work, model, tokens, next);
      Optional<Continued> edited =
          edits.isEmpty()
              ? Optional.empty()
              : Optional.of(continued(work, model, tokens, next, changes));
      return new Generated(
          work.opened().called(),
          model.dtype(),
          words,
          edits,
          draws,
          plain,
          edited,
          predictions(work, next));
    }
  }

  private Continued continued(
      Work work, Transformer model, int[] prompt, List<double[]> next, Change... changes) {
    Tokenizer tokenizer = work.opened().tokenizer();
    boolean edited = changes.length > 0;
    try (Scope scope = Scope.open()) {
      Continuation text = Continuation.of(model, prompt, changes);
      next.add(Explanation.probabilities(text.nextLogits()));
      work.begin(edited);
      List<Integer> ids = new ArrayList<>();
      StringBuilder said = new StringBuilder();
      int[] tokens =
          text.generate(
              draws.map(Draws::sampling).orElseGet(Sampling::greedy),
              maxTokens,
              tokenizer.ends(),
              token -> {
                ids.add(token);
                String all =
                    tokenizer.continuation(
                        prompt, ids.stream().mapToInt(Integer::intValue).toArray());
                work.say(edited, all.substring(said.length()));
                said.setLength(0);
                said.append(all);
                return true;
              });
      int last = tokens.length - 1;
      Ending ending =
          last >= 0 && tokenizer.ends().contains(tokens[last])
              ? Ending.TOKEN
              : tokens.length == maxTokens ? Ending.LENGTH : Ending.CONTEXT;
      List<Word> words = Arrays.stream(tokens).mapToObj(work.opened()::word).toList();
      Continued continued = new Continued(tokenizer.continuation(prompt, tokens), words, ending);
      work.say(edited, continued);
      return continued;
    }
  }

  /** The most probable words of each text. */
  private static List<Next> predictions(Work work, List<double[]> next) {
    Set<Integer> ids = new LinkedHashSet<>();
    for (double[] probabilities : next) {
      for (int id : TopK.indices(probabilities, Explanation.PREDICTIONS)) {
        ids.add(id);
      }
    }
    return ids.stream()
        .map(
            id ->
                new Next(
                    work.opened().word(id),
                    next.get(0)[id],
                    next.size() > 1 ? OptionalDouble.of(next.get(1)[id]) : OptionalDouble.empty()))
        .toList();
  }
}
