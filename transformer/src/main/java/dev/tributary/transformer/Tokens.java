package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

/**
 * Tokens of a text that follow each other, those among them that it will have when it grows.
 *
 * @param first of them, from 0
 * @param end the token after the last; {@link Integer#MAX_VALUE} if there is no last
 */
public record Tokens(int first, int end) {
  /** All that there are and will be. */
  public static final Tokens ALL = from(0);

  /**
   * Checks that there are some.
   *
   * @param first {@link #first()}
   * @param end {@link #end()}
   */
  public Tokens {
    requireArgument(
        first >= 0 && first < end, "tokens from %d up to %d: there is none", first, (long) end - 1);
  }

  /**
   * {@return one token}
   *
   * @param token from 0
   */
  public static Tokens at(int token) {
    return new Tokens(token, token + 1);
  }

  /**
   * {@return some that follow each other}
   *
   * @param first of them, from 0
   * @param last of them
   */
  public static Tokens between(int first, int last) {
    return new Tokens(first, last + 1);
  }

  /**
   * {@return a token and all that come after it, also later}
   *
   * @param first from 0
   */
  public static Tokens from(int first) {
    return new Tokens(first, Integer.MAX_VALUE);
  }

  /**
   * {@return the token after the last of those in a text}
   *
   * @param length how many tokens it has
   */
  public int endIn(int length) {
    return Math.min(end, length);
  }

  /** {@return whether it goes on as long as the text does} */
  public boolean isOpen() {
    return end == Integer.MAX_VALUE;
  }

  @Override
  public String toString() {
    if (isOpen()) {
      return first + "-";
    }
    return end == first + 1 ? String.valueOf(first) : first + "-" + (end - 1);
  }
}
