package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

/**
 * What a model reads.
 *
 * @param text not empty
 * @param wrapping what is put around it
 */
public record Prompt(String text, Wrapping wrapping) {
  /** What is put around a text before a model reads it. */
  public enum Wrapping {
    /** What the tokenizer of the model puts there, such as a token that begins a text. */
    TOKENIZER,
    /** Nothing. */
    NOTHING,
    /** The chat template of the model, with the text as what a user says first. */
    CHAT
  }

  /**
   * Refuses a text that is blank.
   *
   * @param text {@link #text()}
   * @param wrapping {@link #wrapping()}
   * @throws IllegalArgumentException if it is
   */
  public Prompt {
    requireArgument(!text.isBlank(), "the prompt is empty");
  }

  /**
   * {@return a text with what the tokenizer puts around it}
   *
   * @param text not empty
   */
  public static Prompt of(String text) {
    return new Prompt(text, Wrapping.TOKENIZER);
  }
}
