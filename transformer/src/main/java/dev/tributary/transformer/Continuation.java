package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.function.IntPredicate;

/**
 * A text that grows token by token, and what a model says comes next, perhaps with something
 * changed. Keys and values of its tokens are kept, so that a further token costs one row of every
 * product. It lives in the innermost scope; one thread at a time may use it.
 */
public final class Continuation {
  private final Transformer model;
  private final List<Change> changes;
  private int[] tokens = new int[0];

  /** The model for texts of this length, and the keys and values that it made. */
  private Transformer own;

  private KeyValueCache cache = new KeyValueCache();

  /** Of what comes next, on the heap. */
  private double[] next = new double[0];

  private Continuation(Transformer model, List<Change> changes) {
    this.model = model;
    this.own = model;
    this.changes = List.copyOf(changes);
  }

  /**
   * {@return a text that begins with a prompt}
   *
   * @param model that reads it
   * @param prompt ids, at least one
   * @param changes what is different in the model, made together; of whatever tokens there will be
   * @throws IllegalArgumentException if the prompt is none of the model's, a change is of a text
   *     that does not grow, or does not fit, or the model says nothing of what follows
   */
  public static Continuation of(Transformer model, int[] prompt, Change... changes) {
    requireArgument(
        model.config().causal() && model.config().unembedding().outputs().isEmpty(),
        "this model says something of the tokens that it sees, not which one follows");
    for (Change change : changes) {
      change.requireFitsAnyText(model);
    }
    Continuation text = new Continuation(model, List.of(changes));
    text.append(prompt);
    return text;
  }

  /**
   * Goes on with tokens.
   *
   * @param more ids
   * @throws IllegalArgumentException if an id is outside the vocabulary, or the context does not
   *     hold so many
   */
  public void append(int... more) {
    int[] all = Arrays.copyOf(tokens, tokens.length + more.length);
    System.arraycopy(more, 0, all, tokens.length, more.length);
    model.requireTokens(all);
    if (more.length == 0) {
      return;
    }
    Transformer there = model.in(all.length);
    if (there != own) {
      own = there; // where positions depend on the length, so do all keys
      cache = new KeyValueCache();
    }
    try (Scope scope = Scope.open()) {
      int[] rows = Arrays.copyOfRange(all, cache.length(), all.length);
      Run run = own.after(cache, rows, changes);
      next = run.logits(rows.length - 1).toDoubles();
    }
    cache.advance(all.length - cache.length());
    tokens = all;
  }

  /** {@return its tokens so far, a copy} */
  public int[] tokens() {
    return tokens.clone();
  }

  /** {@return how many further tokens the context holds} */
  public int room() {
    return model.config().context() - tokens.length;
  }

  /** {@return logits of what follows the last token, [vocabulary]} */
  public Tensor nextLogits() {
    return Tensor.of(model.dtype(), Shape.of(next.length), next);
  }

  /**
   * Goes on as the model does, until a token ends the text, there are enough, the context is full,
   * or the caller has heard enough. A token that ends the text is part of it.
   *
   * @param sampling how a token is chosen
   * @param most tokens
   * @param ends tokens that end a text
   * @param heard hears of each token and says whether to go on
   * @return the new tokens
   * @throws IllegalArgumentException if logits are not finite numbers
   */
  public int[] generate(Sampling sampling, int most, Set<Integer> ends, IntPredicate heard) {
    requireArgument(most >= 0, "%d further tokens, it must be 0 or more", most);
    int before = tokens.length;
    boolean goesOn = true;
    while (goesOn && tokens.length < before + most && room() > 0) {
      int token = sampling.choose(next);
      boolean enough = !heard.test(token);
      goesOn = !enough && !ends.contains(token);
      append(token);
    }
    return Arrays.copyOfRange(tokens, before, tokens.length);
  }
}
