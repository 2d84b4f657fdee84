package dev.tributary.transformer.file;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The words of a Jinja template, with white space around its tags taken away as {@code trim_blocks}
 * and {@code lstrip_blocks} do, which transformers switches on.
 */
final class JinjaTokens {
  /** What a word is. */
  enum Kind {
    TEXT,
    BEGIN_OUTPUT,
    BEGIN_BLOCK,
    /** Of an output or a block. */
    CLOSE,
    NAME,
    STRING,
    NUMBER,
    OPERATOR,
    END
  }

  /** A word, and the line where it is. */
  record Token(Kind kind, String text, int line) {}

  private static final Pattern BEGIN = Pattern.compile("\\{(?<what>[%{#])(?<sign>[-+]?)");

  private static final Pattern RAW =
      Pattern.compile(
          "\\{%[-+]?\\s*raw\\s*(?:-%}\\s*|%})(.*?)\\{%([-+]?)\\s*endraw\\s*(?:-%}\\s*|%}\\n?)",
          Pattern.DOTALL);

  private static final Pattern COMMENT_END = Pattern.compile("-#}\\s*|\\+#}|#}\\n?");
  private static final Pattern BLOCK_END = Pattern.compile("-%}\\s*|\\+%}|%}\\n?");
  private static final Pattern OUTPUT_END = Pattern.compile("-}}\\s*|}}");

  private static final Pattern WORD =
      Pattern.compile(
          "(?<space>\\s+)|(?<name>[A-Za-z_]\\w*)|(?<number>\\d+(?:_\\d+)*(?:\\.\\d+)?)"
              + "|(?<string>'[^'\\\\]*+(?:\\\\.[^'\\\\]*+)*+'|\"[^\"\\\\]*+(?:\\\\.[^\"\\\\]*+)*+\")"
              + "|(?<operator>//|\\*\\*|==|!=|>=|<=|[-+/*%~\\[\\](){}<>=.:|,])",
          Pattern.DOTALL);

  private static final Pattern ESCAPE =
      Pattern.compile("\\\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", Pattern.DOTALL);

  private static final String ESCAPED = "ntrabfv\\'\"\n";
  private static final String MEANT = "\n\t\r\u0007\b\f\u000b\\'\"";

  private final String source;
  private final List<Token> tokens = new ArrayList<>();
  private int at;

  /** Lines begun before {@code counted}. */
  private int lines = 1;

  private int counted;

  /** Whether what comes next is at the beginning of a line. */
  private boolean lineBegins = true;

  private JinjaTokens(String template) {
    String lines = template.replace("\r\n", "\n").replace('\r', '\n');
    this.source = lines.endsWith("\n") ? lines.substring(0, lines.length() - 1) : lines;
  }

  /** The words of a template, the last one END. */
  static List<Token> of(String template) {
    JinjaTokens words = new JinjaTokens(template);
    words.read();
    return words.tokens;
  }

  private void read() {
    Matcher begin = BEGIN.matcher(source);
    while (begin.find(at)) {
      boolean output = begin.group("what").equals("{");
      Matcher raw = RAW.matcher(source).region(begin.start(), source.length());
      text(source.substring(at, begin.start()), begin.group("sign"), !output);
      if (raw.lookingAt()) {
        boolean strip = raw.group(2).equals("-");
        add(Kind.TEXT, strip ? raw.group(1).stripTrailing() : raw.group(1));
        end(raw.end());
      } else if (begin.group("what").equals("#")) {
        Matcher close = COMMENT_END.matcher(source);
        if (!close.find(begin.end())) {
          throw refused("a comment has no end");
        }
        end(close.end());
      } else {
        add(output ? Kind.BEGIN_OUTPUT : Kind.BEGIN_BLOCK, "");
        at = begin.end();
        words(output ? OUTPUT_END : BLOCK_END);
      }
    }
    add(Kind.TEXT, source.substring(at));
    add(Kind.END, "");
  }

  private void text(String text, String sign, boolean block) {
    int line = text.lastIndexOf('\n') + 1;
    boolean indents = (line > 0 || lineBegins) && text.substring(line).isBlank();
    if (sign.equals("-")) {
      add(Kind.TEXT, text.stripTrailing());
    } else if (sign.isEmpty() && block && indents) {
      add(Kind.TEXT, text.substring(0, line));
    } else {
      add(Kind.TEXT, text);
    }
  }

  private void end(int end) {
    at = end;
    lineBegins = source.charAt(end - 1) == '\n';
  }

  private void words(Pattern close) {
    Deque<Character> open = new ArrayDeque<>();
    while (true) {
      Matcher end = close.matcher(source).region(at, source.length());
      if (open.isEmpty() && end.lookingAt()) {
        add(Kind.CLOSE, "");
        end(end.end());
        return;
      }
      Matcher word = WORD.matcher(source).region(at, source.length());
      if (!word.lookingAt()) {
        throw refused(at == source.length() ? "it ends within a tag" : "a tag is not understood");
      }
      at = word.end();
      if (word.group("name") != null) {
        add(Kind.NAME, word.group());
      } else if (word.group("number") != null) {
        add(Kind.NUMBER, word.group().replace("_", ""));
      } else if (word.group("string") != null) {
        add(Kind.STRING, unescaped(word.group().substring(1, word.group().length() - 1)));
      } else if (word.group("operator") != null) {
        add(Kind.OPERATOR, word.group());
        balance(open, word.group());
      }
    }
  }

  private void balance(Deque<Character> open, String operator) {
    int opening = "([{".indexOf(operator);
    int closing = ")]}".indexOf(operator);
    if (opening >= 0) {
      open.push(")]}".charAt(opening));
    } else if (closing >= 0 && (open.isEmpty() || open.pop() != operator.charAt(0))) {
      throw refused("a bracket is not closed by the one it was opened with");
    }
  }

  private String unescaped(String text) {
    return ESCAPE
        .matcher(text)
        .replaceAll(
            found -> {
              String escape = found.group().substring(1);
              if (escape.length() > 1) {
                int code = Integer.parseUnsignedInt(escape.substring(1), 16);
                if (!Character.isValidCodePoint(code)) {
                  throw refused("a text has a character that there is not");
                }
                return Matcher.quoteReplacement(Character.toString(code));
              }
              int index = ESCAPED.indexOf(escape);
              if ("xuUN01234567".contains(escape)) {
                throw refused("a text has an escape that is not understood");
              }
              return Matcher.quoteReplacement(
                  index < 0
                      ? found.group()
                      : index < MEANT.length() ? MEANT.substring(index, index + 1) : "");
            });
  }

  private void add(Kind kind, String text) {
    if (kind != Kind.TEXT || !text.isEmpty()) {
      tokens.add(new Token(kind, text, line()));
    }
  }

  private int line() {
    for (; counted < at; counted++) {
      lines += source.charAt(counted) == '\n' ? 1 : 0;
    }
    return lines;
  }

  private JinjaRefusal refused(String reason) {
    return new JinjaRefusal("line %d: %s".formatted(line(), reason));
  }
}
