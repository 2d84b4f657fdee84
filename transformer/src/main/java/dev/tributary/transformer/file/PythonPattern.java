package dev.tributary.transformer.file;

import dev.tributary.transformer.Part;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntPredicate;

/**
 * A regular expression of Python's {@code re}, and whether it matches a short text. A pattern out
 * of a file must not take forever, so nothing is tried and taken back: each part says at which
 * positions it can end, of all at which it can begin. Of several matches Python prefers one, which
 * makes no difference to whether there is any.
 *
 * @see <a href="https://docs.python.org/3/library/re.html">Python, re</a>
 */
final class PythonPattern {
  /** Longest text, characters; its positions are the bits of a long. */
  private static final int LONGEST = Long.SIZE - 1;

  /** Deepest nesting of groups. */
  private static final int DEPTH = 50;

  /** Parts asked in one match; one of module names asks some dozen. */
  private static final int STEPS = 1_000_000;

  private static final int ENDLESS = Integer.MAX_VALUE;

  private final Part whole;

  private PythonPattern(Part whole) {
    this.whole = whole;
  }

  /** One match of a text. */
  private static final class Search {
    private final String text;
    private int steps;

    Search(String text) {
      this.text = text;
    }

    long ends(Part part, long begins) {
      if (++steps > STEPS) {
        throw new IllegalArgumentException("it takes too long to match");
      }
      return begins == 0 ? 0 : part.ends(this, begins);
    }
  }

  /** A piece of a pattern. Sets of positions are bits. */
  @FunctionalInterface
  private interface Part {
    long ends(Search search, long begins);
  }

  /**
   * Reads a pattern.
   *
   * @throws IllegalArgumentException if it is none, or has more than characters and sets of them,
   *     groups, alternatives, repetitions, anchors and looking ahead and behind
   */
  static PythonPattern of(String pattern) {
    Parser parser = new Parser(pattern);
    Part whole = parser.choice(0);
    if (!parser.atEnd()) {
      throw new IllegalArgumentException("a ) closes nothing");
    }
    return new PythonPattern(whole);
  }

  /**
   * Whether it matches all of a text, as {@code re.fullmatch}.
   *
   * @throws IllegalArgumentException if that takes too long
   */
  boolean matches(String text) {
    return (ends(text) >>> text.length() & 1) != 0;
  }

  /**
   * Whether it matches a text from its beginning on, as {@code re.match}.
   *
   * @throws IllegalArgumentException if that takes too long
   */
  boolean matchesBeginning(String text) {
    return ends(text) != 0;
  }

  private long ends(String text) {
    if (text.length() > LONGEST) {
      throw new IllegalArgumentException("it is matched with more than " + LONGEST + " characters");
    }
    return new Search(text).ends(whole, 1);
  }

  private static Part character(IntPredicate accepted) {
    return (search, begins) -> {
      long ends = 0;
      for (int at = 0; at < search.text.length(); at++) {
        if ((begins >>> at & 1) != 0 && accepted.test(search.text.charAt(at))) {
          ends |= 1L << (at + 1);
        }
      }
      return ends;
    };
  }

  /** Matches nothing, at some positions. */
  @FunctionalInterface
  private interface Anchor {
    boolean holds(Search search, int at);
  }

  private static Part anchor(Anchor anchor) {
    return (search, begins) -> {
      long ends = 0;
      for (int at = 0; at <= search.text.length(); at++) {
        if ((begins >>> at & 1) != 0 && anchor.holds(search, at)) {
          ends |= 1L << at;
        }
      }
      return ends;
    };
  }

  private static boolean isWordBoundary(Search search, int at) {
    String text = search.text;
    return (at > 0 && isWord(text.charAt(at - 1)))
        != (at < text.length() && isWord(text.charAt(at)));
  }

  private static boolean isWord(int c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || isDigit(c) || c == '_';
  }

  private static boolean isDigit(int c) {
    return c >= '0' && c <= '9';
  }

  private static boolean canEnd(Search search, Part part, int at) {
    for (int begin = 0; begin <= at; begin++) {
      if ((search.ends(part, 1L << begin) >>> at & 1) != 0) {
        return true;
      }
    }
    return false;
  }

  /**
   * A part several times over. After as many times as there are positions, once more changes
   * nothing: what can still go on has been standing still.
   */
  private static Part repeated(Part part, int least, int most) {
    int from = Math.min(least, Long.SIZE);
    int to = Math.min(most, Long.SIZE);
    return (search, begins) -> {
      long now = begins;
      long ends = from == 0 ? begins : 0;
      for (int times = 1; times <= to && now != 0; times++) {
        long next = search.ends(part, now);
        ends |= times >= from ? next : 0;
        if (next == now && times >= from) {
          break;
        }
        now = next;
      }
      return ends;
    };
  }

  /** Reads a pattern from left to right. */
  private static final class Parser {
    private final String pattern;
    private int at;

    Parser(String pattern) {
      this.pattern = pattern;
    }

    boolean atEnd() {
      return at == pattern.length();
    }

    private boolean take(String next) {
      boolean here = pattern.startsWith(next, at);
      at += here ? next.length() : 0;
      return here;
    }

    private char next() {
      if (atEnd()) {
        throw new IllegalArgumentException("it ends too early");
      }
      return pattern.charAt(at++);
    }

    Part choice(int depth) {
      if (depth > DEPTH) {
        throw new IllegalArgumentException("its groups are nested too deeply");
      }
      List<Part> ways = new ArrayList<>();
      do {
        ways.add(sequence(depth));
      } while (take("|"));
      if (ways.size() == 1) {
        return ways.get(0);
      }
      return (search, begins) -> {
        long ends = 0;
        for (Part way : ways) {
          ends |= search.ends(way, begins);
        }
        return ends;
      };
    }

    private Part sequence(int depth) {
      List<Part> parts = new ArrayList<>();
      while (!atEnd() && pattern.charAt(at) != '|' && pattern.charAt(at) != ')') {
        parts.add(times(one(depth)));
      }
      return (search, begins) -> {
        long ends = begins;
        for (Part part : parts) {
          ends = search.ends(part, ends);
        }
        return ends;
      };
    }

    private Part times(Part part) {
      int least = 1;
      int most = 1;
      if (take("*")) {
        least = 0;
        most = ENDLESS;
      } else if (take("+")) {
        most = ENDLESS;
      } else if (take("?")) {
        least = 0;
      } else if (take("{")) {
        least = number(0);
        most = take(",") ? number(ENDLESS) : least;
        if (!take("}") || most < least) {
          throw new IllegalArgumentException("a { begins no count");
        }
      } else {
        return part;
      }
      boolean lazy = take("?"); // which of several matches is of no interest
      if (!atEnd() && "*+?{".indexOf(pattern.charAt(at)) >= 0) {
        throw new IllegalArgumentException(
            "it repeats a repetition" + (lazy ? "" : ", or one that gives nothing back"));
      }
      return repeated(part, least, most);
    }

    private int number(int otherwise) {
      int from = at;
      while (!atEnd() && isDigit(pattern.charAt(at))) {
        at++;
      }
      if (at - from > 6) {
        throw new IllegalArgumentException("it counts too far");
      }
      return at == from ? otherwise : Integer.parseInt(pattern.substring(from, at));
    }

    private Part one(int depth) {
      char c = next();
      return switch (c) {
        case '(' -> group(depth);
        case '[' -> character(set());
        case '.' -> character(any -> any != '\n');
        case '^' -> anchor((search, position) -> position == 0);
        case '$' -> anchor((search, position) -> position == search.text.length());
        case '\\' -> escaped();
        case '*', '+', '?', '{' ->
            throw new IllegalArgumentException("a " + c + " repeats nothing");
        default -> character(other -> other == c);
      };
    }

    private Part group(int depth) {
      if (take("?P<")) {
        at = pattern.indexOf('>', at) + 1;
        if (at == 0) {
          throw new IllegalArgumentException("the name of a group does not end");
        }
        return closed(choice(depth + 1));
      }
      if (take("?=") || take("?!")) {
        boolean wanted = pattern.charAt(at - 1) == '=';
        Part part = closed(choice(depth + 1));
        return anchor((search, position) -> search.ends(part, 1L << position) != 0 == wanted);
      }
      if (take("?<=") || take("?<!")) {
        boolean wanted = pattern.charAt(at - 1) == '=';
        Part part = closed(choice(depth + 1));
        return anchor((search, position) -> canEnd(search, part, position) == wanted);
      }
      if (!take("?:") && take("?")) {
        throw new IllegalArgumentException("it has a group of a kind that is not known");
      }
      return closed(choice(depth + 1));
    }

    private Part closed(Part part) {
      if (!take(")")) {
        throw new IllegalArgumentException("a ( is not closed");
      }
      return part;
    }

    private Part escaped() {
      char c = next();
      return switch (c) {
        case 'b' -> anchor(PythonPattern::isWordBoundary);
        case 'B' -> anchor((search, position) -> !isWordBoundary(search, position));
        case 'A' -> anchor((search, position) -> position == 0);
        case 'Z' -> anchor((search, position) -> position == search.text.length());
        default -> character(escape(c));
      };
    }

    /** What may stand after a backslash inside a set as well as outside. */
    private static IntPredicate escape(char c) {
      IntPredicate isSpace = other -> " \t\n\r\f\u000b".indexOf(other) >= 0;
      return switch (c) {
        case 'd' -> PythonPattern::isDigit;
        case 'D' -> other -> !isDigit(other);
        case 'w' -> PythonPattern::isWord;
        case 'W' -> other -> !isWord(other);
        case 's' -> isSpace;
        case 'S' -> isSpace.negate();
        default -> {
          if (c > '~' || (isWord(c) && c != '_')) {
            throw new IllegalArgumentException("\\" + c + " is not known");
          }
          yield other -> other == c;
        }
      };
    }

    private IntPredicate set() {
      boolean wanted = !take("^");
      List<IntPredicate> members = new ArrayList<>();
      do {
        char c = next();
        if (c == '\\') {
          members.add(escape(next()));
          if (pattern.startsWith("-", at) && !pattern.startsWith("-]", at)) {
            throw new IllegalArgumentException("a set has a range of a kind that is not known");
          }
        } else if (pattern.startsWith("-", at) && !pattern.startsWith("-]", at)) {
          at++;
          char last = next();
          if (last == '\\' || last < c) {
            throw new IllegalArgumentException("a set has a range of a kind that is not known");
          }
          members.add(other -> other >= c && other <= last);
        } else {
          members.add(other -> other == c);
        }
      } while (!take("]"));
      return other -> members.stream().anyMatch(member -> member.test(other)) == wanted;
    }
  }
}
