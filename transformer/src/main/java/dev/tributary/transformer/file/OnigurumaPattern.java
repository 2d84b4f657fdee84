package dev.tributary.transformer.file;

import java.util.ArrayList;
import java.util.List;

/**
 * A regular expression by which a tokenizer splits a text, and how often it turns back while it
 * looks for one match. The native library ends the process at ten million turns, so this is a bound
 * from above: each part says in how many ways it can match, and those of a sequence multiply. What
 * nests repetitions, or refers to what it has matched, is not read at all.
 *
 * @see <a href="https://github.com/kkos/oniguruma/blob/v6.9.8/doc/RE">Oniguruma, RE</a>
 */
final class OnigurumaPattern {
  /** Longest pattern, characters; published ones have some hundred. */
  private static final int LONGEST = 2000;

  /** Deepest nesting of groups and sets. */
  private static final int DEPTH = 50;

  private static final String QUANTIFIERS = "?*+{";

  /** Escapes that match one character. */
  private static final String CHARACTERS = "sSdDwWrntfv";

  /** Escapes that match nothing, at some positions. */
  private static final String ANCHORS = "bBAzZ";

  private final String pattern;

  /** Characters that a text may have. */
  private final double length;

  private int at;

  private OnigurumaPattern(String pattern, double length) {
    this.pattern = pattern;
    this.length = length;
  }

  /**
   * A piece of a pattern.
   *
   * @param ways in which it may match at one position
   * @param turns back into it until the last of them has been tried: one for each place that it
   *     leaves open to come back to
   * @param first turns until it has matched once, or failed, but for one where a repetition ends
   * @param fails whether it may match in no way at all
   * @param empty whether it may match no character
   */
  private record Piece(double ways, double turns, double first, boolean fails, boolean empty) {
    static final Piece CHARACTER = new Piece(1, 0, 0, true, false);
    static final Piece ANCHOR = new Piece(1, 0, 0, true, true);
    static final Piece NOTHING = new Piece(1, 0, 0, false, true);

    static Piece repeated(int least, double most) {
      double ways = Math.max(1, most - least + 1);
      return new Piece(ways, ways - 1, 0, least > 0, least == 0);
    }

    Piece optional() {
      return new Piece(ways + 1, turns + 1, first + 1, false, true);
    }

    /** The same without a way back into it. */
    Piece possessive() {
      return new Piece(1, first, first, fails, empty);
    }
  }

  /**
   * Most turns for one match in a text.
   *
   * @param length characters that the text may have
   * @throws IllegalArgumentException if the pattern matches nothing at all somewhere, or is not
   *     read
   */
  static double turns(String pattern, double length) {
    if (pattern.length() > LONGEST) {
      throw new IllegalArgumentException("it has more than " + LONGEST + " characters");
    }
    OnigurumaPattern parser = new OnigurumaPattern(pattern, length);
    double turns = 0;
    do {
      List<Piece> alternative = parser.sequence(0);
      if (whole(alternative).empty) {
        throw new IllegalArgumentException("it may match no character");
      }
      turns += untilMatched(alternative) + alternative.size() + 1;
    } while (parser.take("|"));
    if (parser.at < pattern.length()) {
      throw new IllegalArgumentException("a ) closes nothing");
    }
    return turns;
  }

  /** Turns of a sequence that nothing follows: behind the last piece that may fail none is back. */
  private static double untilMatched(List<Piece> sequence) {
    int last = sequence.size() - 1;
    while (!sequence.get(last).fails) {
      last--; // one fails, since the sequence does not match nothing
    }
    Piece before = whole(sequence.subList(0, last));
    double turns = before.turns + before.ways * sequence.get(last).first;
    for (Piece piece : sequence.subList(last + 1, sequence.size())) {
      turns += piece.first;
    }
    return turns;
  }

  private static Piece whole(List<Piece> sequence) {
    Piece result = Piece.NOTHING;
    for (Piece next : sequence) {
      double turns = result.turns + result.ways * next.turns;
      result =
          new Piece(
              result.ways * next.ways,
              turns,
              turns,
              result.fails || next.fails,
              result.empty && next.empty);
    }
    return result;
  }

  private Piece choice(int depth) {
    if (depth > DEPTH) {
      throw new IllegalArgumentException("its groups are nested too deeply");
    }
    Piece result = new Piece(0, 0, 0, true, false);
    do {
      Piece way = whole(sequence(depth));
      double turns = result.turns + way.turns + (result.ways > 0 ? 1 : 0);
      result =
          new Piece(
              result.ways + way.ways,
              turns,
              turns,
              result.fails && way.fails,
              result.empty || way.empty);
    } while (take("|"));
    return result;
  }

  private List<Piece> sequence(int depth) {
    List<Piece> pieces = new ArrayList<>();
    while (at < pattern.length() && pattern.charAt(at) != '|' && pattern.charAt(at) != ')') {
      int from = at;
      Piece piece = one(depth);
      boolean group = pattern.charAt(from) == '(';
      pieces.add(times(piece, group || piece.empty));
    }
    return pieces;
  }

  private boolean take(String next) {
    boolean here = pattern.startsWith(next, at);
    at += here ? next.length() : 0;
    return here;
  }

  private char next() {
    if (at == pattern.length()) {
      throw new IllegalArgumentException("it ends too early");
    }
    return pattern.charAt(at++);
  }

  /**
   * A piece as often as what follows says.
   *
   * @param once whether it may not be repeated
   */
  private Piece times(Piece piece, boolean once) {
    if (at == pattern.length() || QUANTIFIERS.indexOf(pattern.charAt(at)) < 0) {
      return piece;
    }
    char quantifier = next();
    if (once && quantifier != '?') {
      throw new IllegalArgumentException("it repeats a group or what matches no character");
    }
    Piece result =
        switch (quantifier) {
          case '?' -> piece.optional();
          case '*' -> Piece.repeated(0, length);
          case '+' -> Piece.repeated(1, length);
          default -> counted();
        };
    if (quantifier != '{') {
      if (take("+")) {
        result = result.possessive();
      } else {
        take("?"); // the same ways in another order
      }
    }
    if (at < pattern.length() && QUANTIFIERS.indexOf(pattern.charAt(at)) >= 0) {
      throw new IllegalArgumentException("it repeats a repetition");
    }
    return result;
  }

  private Piece counted() {
    int least = number(0);
    double most = take(",") ? number(Integer.MAX_VALUE) : least;
    if (!take("}") || most < Math.max(least, 1)) {
      throw new IllegalArgumentException("a { begins no count");
    }
    return Piece.repeated(least, Math.min(most, length));
  }

  private int number(int otherwise) {
    int from = at;
    while (at < pattern.length() && pattern.charAt(at) >= '0' && pattern.charAt(at) <= '9') {
      at++;
    }
    if (at - from > 4) {
      throw new IllegalArgumentException("it counts too far");
    }
    return at == from ? otherwise : Integer.parseInt(pattern.substring(from, at));
  }

  private Piece one(int depth) {
    char c = next();
    return switch (c) {
      case '(' -> group(depth);
      case '[' -> {
        set(depth);
        yield Piece.CHARACTER;
      }
      case '\\' -> escaped();
      case '^', '$' -> Piece.ANCHOR;
      case '*', '+', '?', '{', '}', ']' ->
          throw new IllegalArgumentException("a " + c + " repeats or closes nothing");
      default -> {
        skipLowSurrogate(c);
        yield Piece.CHARACTER;
      }
    };
  }

  private void skipLowSurrogate(char c) {
    if (Character.isHighSurrogate(c)) {
      next();
    }
  }

  private Piece group(int depth) {
    if (take("?=") || take("?!")) {
      double turns = closed(choice(depth + 1)).turns + 1;
      return new Piece(1, turns, turns, true, true);
    }
    if (!take("?:") && !take("?i:") && (take("?") || take("*"))) {
      throw new IllegalArgumentException("it has a group of a kind that is not known");
    }
    return closed(choice(depth + 1));
  }

  private Piece closed(Piece piece) {
    if (!take(")")) {
      throw new IllegalArgumentException("a ( is not closed");
    }
    return piece;
  }

  private Piece escaped() {
    char c = next();
    if (ANCHORS.indexOf(c) >= 0) {
      return Piece.ANCHOR;
    }
    requireCharacter(c);
    return Piece.CHARACTER;
  }

  /** What may stand after a backslash inside a set as well as outside. */
  private void requireCharacter(char c) {
    if (c == 'p' || c == 'P') {
      int end = pattern.indexOf('}', at);
      if (end < 0 || !pattern.substring(at, end).matches("\\{\\^?\\w+")) {
        throw new IllegalArgumentException("\\" + c + " names no property");
      }
      at = end + 1;
    } else if (Character.isLetterOrDigit(c) && CHARACTERS.indexOf(c) < 0) {
      throw new IllegalArgumentException("\\" + c + " is not known");
    }
    skipLowSurrogate(c);
  }

  /** A set, which may have others inside; which characters it has is of no interest. */
  private void set(int depth) {
    if (depth > DEPTH) {
      throw new IllegalArgumentException("its sets are nested too deeply");
    }
    take("^");
    if (pattern.startsWith("]", at) || pattern.startsWith(":", at)) {
      throw new IllegalArgumentException("a set begins as it should not");
    }
    for (char c = next(); c != ']'; c = next()) {
      if (c == '[') {
        set(depth + 1);
      } else if (c == '\\') {
        requireCharacter(next());
      }
    }
  }
}
