package dev.tributary.transformer.file;

import dev.tributary.transformer.file.JinjaTokens.Kind;
import dev.tributary.transformer.file.JinjaTokens.Token;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Supplier;

/**
 * Reads the words of a template one after the other, and what stands in its tags as expressions.
 */
final class JinjaExpressions {
  private static final Set<String> COMPARISONS = Set.of("==", "!=", "<", "<=", ">", ">=", "in");

  /** What may come behind a test without being its argument. */
  private static final Set<String> AFTER_TEST = Set.of("else", "or", "and");

  /** What has a value in each frame. */
  @FunctionalInterface
  interface Expression {
    Object in(JinjaFrame frame);
  }

  private final List<Token> tokens;
  private int at;

  JinjaExpressions(List<Token> tokens) {
    this.tokens = tokens;
  }

  // ---- words ---------------------------------------------------------------------------------

  /** The word that comes next. */
  Token peek() {
    return tokens.get(at);
  }

  Token next() {
    return tokens.get(at++);
  }

  boolean is(Kind kind, String text) {
    return tokens.get(at).kind() == kind && tokens.get(at).text().equals(text);
  }

  boolean isOperator(String text) {
    return is(Kind.OPERATOR, text);
  }

  boolean isName(String text) {
    return is(Kind.NAME, text);
  }

  /** Goes past a word if it is there. */
  boolean takes(Kind kind, String text) {
    boolean there = is(kind, text);
    at += there ? 1 : 0;
    return there;
  }

  boolean takesOperator(String text) {
    return takes(Kind.OPERATOR, text);
  }

  boolean takesName(String text) {
    return takes(Kind.NAME, text);
  }

  String expect(Kind kind, String what) {
    Token token = tokens.get(at);
    if (token.kind() != kind) {
      throw refused("expected " + what);
    }
    at++;
    return token.text();
  }

  void expectOperator(String text) {
    if (!takesOperator(text)) {
      throw refused("expected " + text);
    }
  }

  JinjaRefusal refused(String reason) {
    Token token = tokens.get(Math.min(at, tokens.size() - 1));
    return new JinjaRefusal(
        "line %d: %s, not %s"
            .formatted(
                token.line(),
                reason,
                token.text().isEmpty() ? "the end of a tag" : BadFile.quoted(token.text())));
  }

  // ---- expressions ---------------------------------------------------------------------------

  /** One expression, or several with commas between them. */
  Expression tuple() {
    return either(this::expression);
  }

  Expression either(Supplier<Expression> one) {
    Expression first = one.get();
    if (!isOperator(",")) {
      return first;
    }
    List<Expression> items = new ArrayList<>(List.of(first));
    while (takesOperator(",")) {
      items.add(one.get());
    }
    return list(items);
  }

  private static Expression list(List<Expression> items) {
    return frame -> {
      List<Object> values = new ArrayList<>();
      for (Expression item : items) {
        values.add(item.in(frame));
      }
      return values;
    };
  }

  Expression expression() {
    Expression value = or();
    while (takesName("if")) {
      Expression then = value;
      Expression condition = or();
      Expression otherwise =
          takesName("else") ? expression() : frame -> JinjaValues.Nothing.UNDEFINED;
      value =
          frame -> JinjaValues.isTrue(condition.in(frame)) ? then.in(frame) : otherwise.in(frame);
    }
    return value;
  }

  Expression or() {
    Expression value = and();
    while (takesName("or")) {
      Expression left = value;
      Expression right = and();
      value =
          frame -> {
            Object first = left.in(frame);
            return JinjaValues.isTrue(first) ? first : right.in(frame);
          };
    }
    return value;
  }

  private Expression and() {
    Expression value = not();
    while (takesName("and")) {
      Expression left = value;
      Expression right = not();
      value =
          frame -> {
            Object first = left.in(frame);
            return JinjaValues.isTrue(first) ? right.in(frame) : first;
          };
    }
    return value;
  }

  private Expression not() {
    if (takesName("not")) {
      Expression value = not();
      return frame -> !JinjaValues.isTrue(value.in(frame));
    }
    return comparison();
  }

  /** One or several in a row, all of which have to hold. */
  private Expression comparison() {
    Expression first = sum();
    List<String> operators = new ArrayList<>();
    List<Expression> others = new ArrayList<>();
    while (true) {
      boolean negated = isName("not") && tokens.get(at + 1).text().equals("in");
      at += negated ? 1 : 0;
      if (!COMPARISONS.contains(tokens.get(at).text()) || tokens.get(at).kind() == Kind.STRING) {
        break;
      }
      operators.add((negated ? "not " : "") + next().text());
      others.add(sum());
    }
    if (operators.isEmpty()) {
      return first;
    }
    return frame -> {
      Object left = first.in(frame);
      for (int i = 0; i < operators.size(); i++) {
        Object right = others.get(i).in(frame);
        if (!JinjaValues.compare(operators.get(i), left, right)) {
          return false;
        }
        left = right;
      }
      return true;
    };
  }

  private Expression sum() {
    return chain(this::concatenation, Set.of("+", "-"));
  }

  private Expression concatenation() {
    return chain(this::product, Set.of("~"));
  }

  private Expression product() {
    return chain(this::sign, Set.of("*", "/", "//", "%"));
  }

  private Expression chain(Supplier<Expression> part, Set<String> operators) {
    Expression value = part.get();
    while (tokens.get(at).kind() == Kind.OPERATOR && operators.contains(tokens.get(at).text())) {
      String operator = next().text();
      Expression left = value;
      Expression right = part.get();
      value =
          frame -> frame.counted(JinjaValues.arithmetic(operator, left.in(frame), right.in(frame)));
    }
    return value;
  }

  /** Filters come last: they also change what has a sign. */
  private Expression sign() {
    return filtered(unfiltered());
  }

  private Expression unfiltered() {
    if (takesOperator("-")) {
      Expression value = unfiltered();
      return after(frame -> JinjaValues.arithmetic("-", 0L, value.in(frame)));
    }
    return after(primary());
  }

  private Expression primary() {
    Token token = next();
    switch (token.kind()) {
      case STRING -> {
        StringBuilder text = new StringBuilder(token.text());
        while (tokens.get(at).kind() == Kind.STRING) {
          text.append(next().text());
        }
        String whole = text.toString();
        return frame -> whole;
      }
      case NUMBER -> {
        Object number = JinjaValues.number(token.text());
        return frame -> number;
      }
      case NAME -> {
        return switch (token.text()) {
          case "true", "True" -> frame -> true;
          case "false", "False" -> frame -> false;
          case "none", "None" -> frame -> JinjaValues.Nothing.NONE;
          default -> frame -> frame.get(token.text());
        };
      }
      default -> {
        if (token.text().equals("(")) {
          return bracket();
        } else if (token.text().equals("[")) {
          return list(items("]"));
        } else if (token.text().equals("{")) {
          return map();
        }
        at--;
        throw refused("expected a value");
      }
    }
  }

  private Expression bracket() {
    if (takesOperator(")")) {
      return list(List.of());
    }
    Expression first = expression();
    if (takesOperator(")")) {
      return first;
    }
    expectOperator(",");
    List<Expression> all = new ArrayList<>(List.of(first));
    all.addAll(items(")"));
    return list(all);
  }

  private List<Expression> items(String end) {
    List<Expression> items = new ArrayList<>();
    while (!takesOperator(end)) {
      items.add(expression());
      if (!isOperator(end)) {
        expectOperator(",");
      }
    }
    return items;
  }

  private Expression map() {
    List<Expression> keys = new ArrayList<>();
    List<Expression> values = new ArrayList<>();
    while (!takesOperator("}")) {
      keys.add(expression());
      expectOperator(":");
      values.add(expression());
      if (!isOperator("}")) {
        expectOperator(",");
      }
    }
    return frame -> {
      Map<Object, Object> result = new LinkedHashMap<>();
      for (int i = 0; i < keys.size(); i++) {
        result.put(keys.get(i).in(frame), values.get(i).in(frame));
      }
      return result;
    };
  }

  /** Attributes, items and calls behind a value. */
  private Expression after(Expression first) {
    Expression value = first;
    while (true) {
      Expression of = value;
      if (takesOperator(".")) {
        String name = expect(Kind.NAME, "a name");
        value = frame -> JinjaValues.attribute(of.in(frame), name);
      } else if (takesOperator("[")) {
        value = item(of);
      } else if (isOperator("(")) {
        Arguments arguments = arguments();
        value =
            frame -> {
              frame.step();
              return frame.counted(
                  JinjaValues.call(of.in(frame), arguments.in(frame), arguments.named(frame)));
            };
      } else {
        return value;
      }
    }
  }

  private Expression item(Expression of) {
    List<Optional<Expression>> parts = new ArrayList<>();
    boolean slice = false;
    do {
      boolean empty = isOperator(":") || isOperator("]");
      parts.add(empty ? Optional.empty() : Optional.of(expression()));
      slice |= isOperator(":");
    } while (takesOperator(":"));
    expectOperator("]");
    if (!slice) {
      Expression key = parts.get(0).orElseThrow(() -> refused("expected a key"));
      return frame -> JinjaValues.item(of.in(frame), key.in(frame));
    }
    return frame -> {
      List<Object> bounds = new ArrayList<>();
      for (Optional<Expression> part : parts) {
        bounds.add(part.isEmpty() ? JinjaValues.Nothing.NONE : part.get().in(frame));
      }
      return frame.counted(JinjaValues.slice(of.in(frame), bounds));
    };
  }

  /** What a call is given. */
  private record Arguments(List<Expression> inOrder, Map<String, Expression> byName) {
    List<Object> in(JinjaFrame frame) {
      List<Object> values = new ArrayList<>();
      inOrder.forEach(each -> values.add(each.in(frame)));
      return values;
    }

    Map<String, Object> named(JinjaFrame frame) {
      Map<String, Object> values = new LinkedHashMap<>();
      byName.forEach((name, each) -> values.put(name, each.in(frame)));
      return values;
    }
  }

  private Arguments arguments() {
    Arguments result = new Arguments(new ArrayList<>(), new LinkedHashMap<>());
    expectOperator("(");
    while (!takesOperator(")")) {
      if (tokens.get(at).kind() == Kind.NAME && tokens.get(at + 1).text().equals("=")) {
        String name = next().text();
        at++;
        result.byName.put(name, expression());
      } else {
        result.inOrder.add(expression());
      }
      if (!isOperator(")")) {
        expectOperator(",");
      }
    }
    return result;
  }

  /** Filters and tests behind a value. */
  private Expression filtered(Expression first) {
    Expression value = first;
    while (true) {
      Expression of = value;
      if (takesOperator("|")) {
        String name = expect(Kind.NAME, "a filter");
        Arguments arguments = isOperator("(") ? arguments() : new Arguments(List.of(), Map.of());
        value =
            frame -> {
              frame.step();
              return frame.counted(
                  JinjaFilters.apply(
                      name, of.in(frame), arguments.in(frame), arguments.named(frame)));
            };
      } else if (takesName("is")) {
        boolean negated = takesName("not");
        String name = expect(Kind.NAME, "a test");
        List<Expression> arguments = testArguments();
        value =
            frame -> {
              List<Object> values = new ArrayList<>();
              arguments.forEach(each -> values.add(each.in(frame)));
              return negated != JinjaFilters.test(name, of.in(frame), values);
            };
      } else {
        return value;
      }
    }
  }

  private List<Expression> testArguments() {
    Token token = tokens.get(at);
    if (isOperator("(")) {
      return arguments().inOrder;
    }
    boolean argument =
        switch (token.kind()) {
          case NAME -> !AFTER_TEST.contains(token.text());
          case STRING, NUMBER -> true;
          default -> isOperator("[") || isOperator("{");
        };
    return argument ? List.of(after(primary())) : List.of();
  }
}
