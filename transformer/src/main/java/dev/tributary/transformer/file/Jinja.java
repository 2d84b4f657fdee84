package dev.tributary.transformer.file;

import dev.tributary.transformer.file.JinjaExpressions.Expression;
import dev.tributary.transformer.file.JinjaTokens.Kind;
import dev.tributary.transformer.file.JinjaTokens.Token;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * The part of Jinja in which templates of chats are written. Nothing outside of its variables can
 * be reached, and steps and text are limited: a template is a program out of anybody's file. What
 * is not understood is refused where it is reached.
 *
 * @see <a href="https://jinja.palletsprojects.com/en/stable/templates/">Jinja's documentation</a>
 */
final class Jinja {
  /** What tags other than these begin is not understood. */
  private static final Set<String> ENDS =
      Set.of("elif", "else", "endif", "endfor", "endset", "endmacro", "endgeneration");

  /** How a tag went on. */
  private enum Flow {
    NEXT,
    BREAK,
    CONTINUE
  }

  @FunctionalInterface
  private interface Statement {
    Flow run(JinjaFrame frame, StringBuilder out);
  }

  private final JinjaExpressions words;

  private Jinja(JinjaExpressions words) {
    this.words = words;
  }

  /**
   * What a template makes of some variables.
   *
   * @param variables texts, numbers, flags, lists and maps by their names
   * @throws JinjaRefusal if it uses what is not known here, breaks a rule, needs too much or says
   *     itself that it has no such text
   */
  static String render(String template, Map<String, Object> variables) {
    try {
      Statement all =
          new Jinja(new JinjaExpressions(JinjaTokens.of(template))).statements(Kind.END);
      StringBuilder out = new StringBuilder();
      all.run(new JinjaFrame(variables), out);
      return out.toString();
    } catch (StackOverflowError e) {
      throw new JinjaRefusal("it nests too deeply");
    }
  }

  // ---- tags ----------------------------------------------------------------------------------

  /** All up to the end of the template or, at the word, to a tag that ends a part of it. */
  private Statement statements(Kind end) {
    List<Statement> parts = new ArrayList<>();
    while (true) {
      Token token = words.next();
      switch (token.kind()) {
        case TEXT -> parts.add(written(frame -> token.text()));
        case BEGIN_OUTPUT -> {
          parts.add(written(words.expression()));
          words.expect(Kind.CLOSE, "}}");
        }
        case BEGIN_BLOCK -> {
          if (end == Kind.NAME && ENDS.contains(words.peek().text())) {
            return all(parts);
          }
          parts.add(statement());
        }
        default -> {
          if (end != token.kind()) {
            throw words.refused("expected the end of a part");
          }
          return all(parts);
        }
      }
    }
  }

  private static Statement written(Expression value) {
    return (frame, out) -> {
      frame.write(out, JinjaValues.text(value.in(frame)));
      return Flow.NEXT;
    };
  }

  private static Statement all(List<Statement> parts) {
    return (frame, out) -> {
      for (Statement part : parts) {
        frame.step();
        Flow flow = part.run(frame, out);
        if (flow != Flow.NEXT) {
          return flow;
        }
      }
      return Flow.NEXT;
    };
  }

  /** A tag behind its first word. */
  private Statement statement() {
    String word = words.expect(Kind.NAME, "a tag");
    return switch (word) {
      case "if" -> condition();
      case "for" -> loop();
      case "set" -> assignment();
      case "macro" -> macro();
      case "generation" -> { // marks what a model says in training
        close();
        Statement body = body();
        end("endgeneration");
        yield body;
      }
      case "break", "continue" -> {
        close();
        Flow flow = word.equals("break") ? Flow.BREAK : Flow.CONTINUE;
        yield (frame, out) -> flow;
      }
      default -> {
        throw new JinjaRefusal("tag %s is not known here".formatted(BadFile.quoted(word)));
      }
    };
  }

  private void close() {
    words.expect(Kind.CLOSE, "the end of a tag");
  }

  private Statement body() {
    return statements(Kind.NAME);
  }

  private void end(String word) {
    if (!words.takesName(word)) {
      throw words.refused("expected " + word);
    }
    close();
  }

  private Statement condition() {
    List<Expression> conditions = new ArrayList<>();
    List<Statement> bodies = new ArrayList<>();
    do {
      conditions.add(words.tuple());
      close();
      bodies.add(body());
    } while (words.takesName("elif"));
    Statement otherwise = otherwise();
    end("endif");
    return (frame, out) -> {
      for (int i = 0; i < conditions.size(); i++) {
        if (JinjaValues.isTrue(conditions.get(i).in(frame))) {
          return bodies.get(i).run(frame, out);
        }
      }
      return otherwise.run(frame, out);
    };
  }

  private Statement otherwise() {
    if (!words.takesName("else")) {
      return (frame, out) -> Flow.NEXT;
    }
    close();
    return body();
  }

  private Statement loop() {
    List<String> targets = names();
    if (!words.takesName("in")) {
      throw words.refused("expected in");
    }
    Expression over = words.either(words::or);
    Expression wanted = words.takesName("if") ? words.expression() : frame -> true;
    close();
    Statement body = body();
    Statement otherwise = otherwise();
    end("endfor");
    return (frame, out) -> {
      List<Object> items = new ArrayList<>();
      for (Object item : JinjaValues.items(over.in(frame))) {
        JinjaFrame inner = frame.inner();
        inner.set(targets, item);
        if (JinjaValues.isTrue(wanted.in(inner))) {
          items.add(item);
        }
      }
      for (int i = 0; i < items.size(); i++) {
        JinjaFrame inner = frame.inner();
        inner.set("loop", JinjaValues.loop(items, i));
        inner.set(targets, items.get(i));
        if (body.run(inner, out) == Flow.BREAK) {
          break;
        }
      }
      return items.isEmpty() ? otherwise.run(frame, out) : Flow.NEXT;
    };
  }

  private List<String> names() {
    List<String> names = new ArrayList<>();
    boolean bracket = words.takesOperator("(");
    do {
      names.add(words.expect(Kind.NAME, "a name"));
    } while (words.takesOperator(","));
    if (bracket) {
      words.expectOperator(")");
    }
    return names;
  }

  private Statement assignment() {
    List<String> targets = names();
    Optional<String> attribute =
        words.takesOperator(".")
            ? Optional.of(words.expect(Kind.NAME, "a name"))
            : Optional.empty();
    Expression value;
    if (words.takesOperator("=")) {
      value = words.tuple();
      close();
    } else {
      close();
      Statement body = body();
      end("endset");
      value =
          frame -> {
            StringBuilder text = new StringBuilder();
            body.run(frame.inner(), text);
            return text.toString();
          };
    }
    return (frame, out) -> {
      Object result = value.in(frame);
      if (attribute.isPresent()) {
        JinjaValues.setAttribute(frame.get(targets.get(0)), attribute.get(), result);
      } else {
        frame.set(targets, result);
      }
      return Flow.NEXT;
    };
  }

  private Statement macro() {
    String name = words.expect(Kind.NAME, "a name");
    Map<String, Expression> parameters = new LinkedHashMap<>();
    words.expectOperator("(");
    while (!words.takesOperator(")")) {
      String parameter = words.expect(Kind.NAME, "a name");
      parameters.put(
          parameter,
          words.takesOperator("=") ? words.expression() : frame -> JinjaValues.Nothing.UNDEFINED);
      if (!words.isOperator(")")) {
        words.expectOperator(",");
      }
    }
    close();
    Statement body = body();
    end("endmacro");
    return (frame, out) -> {
      frame.set(
          name,
          (JinjaValues.Function)
              (arguments, named) -> {
                JinjaFrame inner = frame.inner();
                bind(name, parameters, arguments, named, inner);
                StringBuilder text = new StringBuilder();
                body.run(inner, text);
                return text.toString();
              });
      return Flow.NEXT;
    };
  }

  /** Gives each parameter its argument, by place or by name, or what it is otherwise. */
  private static void bind(
      String name,
      Map<String, Expression> parameters,
      List<Object> arguments,
      Map<String, Object> named,
      JinjaFrame inner) {
    List<String> order = List.copyOf(parameters.keySet());
    boolean known =
        arguments.size() <= order.size()
            && order.subList(arguments.size(), order.size()).containsAll(named.keySet());
    if (!known) {
      throw JinjaValues.refused("%s is not called with its parameters, %s", name, order);
    }
    int place = 0;
    for (Map.Entry<String, Expression> parameter : parameters.entrySet()) {
      Object given =
          place < arguments.size() ? arguments.get(place) : named.get(parameter.getKey());
      inner.set(parameter.getKey(), given == null ? parameter.getValue().in(inner) : given);
      place++;
    }
  }
}
