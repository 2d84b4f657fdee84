package dev.tributary.attribution.explain;

import java.util.Locale;
import java.util.stream.Collectors;

/**
 * A token of a vocabulary.
 *
 * @param id in the vocabulary
 * @param text as its tokenizer spells it
 */
public record Word(int id, String text) {
  /** Longest word that is shown whole, in characters. */
  private static final int LIMIT = 20;

  private static final String ELLIPSIS = "...";

  /**
   * {@return the text in quotation marks, for leading spaces and line breaks are parts of words;
   * shortened if it is long}
   */
  public String quoted() {
    return quoted(text);
  }

  /**
   * {@return a text as {@link #quoted()} writes that of a word}
   *
   * @param text of any kind
   */
  public static String quoted(String text) {
    String visible =
        text.codePoints()
            .mapToObj(
                c ->
                    switch (c) {
                      case '\n' -> "\\n";
                      case '\r' -> "\\r";
                      case '\t' -> "\\t";
                      default -> printed(c);
                    })
            .collect(Collectors.joining());
    return '"' + shortened(visible, LIMIT) + '"';
  }

  /**
   * {@return a character that a terminal may be shown as it is, or its number}
   *
   * @param c a code point
   */
  public static String printed(int c) {
    return Character.isISOControl(c)
        ? String.format(Locale.ROOT, "\\u%04x", c)
        : Character.toString(c);
  }

  /**
   * {@return a text, its end left out if it is longer than may be}
   *
   * @param text of any kind
   * @param limit in characters
   */
  public static String shortened(String text, int limit) {
    return text.codePointCount(0, text.length()) <= limit
        ? text
        : text.substring(0, text.offsetByCodePoints(0, limit - ELLIPSIS.length())) + ELLIPSIS;
  }
}
