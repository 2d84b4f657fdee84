package dev.tributary.transformer.file;

import com.google.errorprone.annotations.FormatMethod;
import com.google.errorprone.annotations.FormatString;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * What Jinja's operators make of values: texts, whole numbers (Long) and others (Double), flags,
 * lists, maps, functions and nothing. They mean what they mean in Python.
 */
final class JinjaValues {
  /** Longest text and list that an operation may make, before it is counted. */
  private static final int LONGEST = 1 << 22;

  private JinjaValues() {}

  /** No value. */
  enum Nothing {
    NONE,
    UNDEFINED
  }

  /** What can be called. */
  @FunctionalInterface
  interface Function {
    Object of(List<Object> arguments, Map<String, Object> named);
  }

  /** What a template may change. */
  record Namespace(Map<String, Object> attributes) {}

  @FormatMethod
  static JinjaRefusal refused(@FormatString String reason, Object... values) {
    return new JinjaRefusal(reason.formatted(values));
  }

  static Object number(String text) {
    try {
      return text.contains(".") ? (Object) Double.valueOf(text) : (Object) Long.valueOf(text);
    } catch (NumberFormatException e) {
      throw refused("%s is too large", text);
    }
  }

  /** What a value is called in a refusal. */
  static String kind(Object value) {
    return value == Nothing.UNDEFINED
        ? "a value that is not defined"
        : value instanceof String
            ? "a text"
            : value instanceof List
                ? "a list"
                : value instanceof Map
                    ? "a map"
                    : value instanceof Function ? "a function" : String.valueOf(value);
  }

  static boolean isTrue(Object value) {
    return !(value instanceof Nothing
        || Boolean.FALSE.equals(value)
        || (value instanceof Number number && number.doubleValue() == 0)
        || (value instanceof String text && text.isEmpty())
        || (value instanceof List<?> items && items.isEmpty())
        || (value instanceof Map<?, ?> map && map.isEmpty()));
  }

  /** As it is written out. */
  static String text(Object value) {
    if (value instanceof String text) {
      return text;
    } else if (value instanceof Boolean flag) {
      return flag ? "True" : "False";
    } else if (value instanceof Long) {
      return value.toString();
    } else if (value instanceof Nothing nothing) {
      return nothing == Nothing.NONE ? "None" : "";
    }
    throw refused("%s cannot be written as a text", kind(value));
  }

  static List<Object> items(Object value) {
    if (value instanceof List<?> items) {
      return List.copyOf(items);
    } else if (value instanceof Map<?, ?> map) {
      return new ArrayList<>(map.keySet());
    } else if (value instanceof String text) {
      return text.codePoints().mapToObj(Character::toString).collect(Collectors.toList());
    } else if (value == Nothing.UNDEFINED) {
      return List.of();
    }
    throw refused("%s has no items", kind(value));
  }

  /** What a loop knows of itself. */
  static Map<Object, Object> loop(List<Object> items, int index) {
    int size = items.size();
    Map<Object, Object> loop = new LinkedHashMap<>();
    loop.put("index", index + 1L);
    loop.put("index0", (long) index);
    loop.put("revindex", (long) size - index);
    loop.put("revindex0", size - index - 1L);
    loop.put("first", index == 0);
    loop.put("last", index == size - 1);
    loop.put("length", (long) size);
    loop.put("previtem", index == 0 ? Nothing.UNDEFINED : items.get(index - 1));
    loop.put("nextitem", index == size - 1 ? Nothing.UNDEFINED : items.get(index + 1));
    return loop;
  }

  // ---- operators -----------------------------------------------------------------------------

  static Object arithmetic(String operator, Object left, Object right) {
    if (operator.equals("~")) {
      return joined(text(left), text(right));
    } else if (operator.equals("+") && left instanceof String one && right instanceof String two) {
      return joined(one, two);
    } else if (operator.equals("+")
        && left instanceof List<?> one
        && right instanceof List<?> two) {
      List<Object> all = new ArrayList<>(one);
      all.addAll(two);
      return all;
    } else if (operator.equals("*") && left instanceof String text && right instanceof Long times) {
      requireLength(text.length() * Math.max(0.0, times));
      return text.repeat(Math.toIntExact(Math.max(0, times)));
    } else if (left instanceof Long one && right instanceof Long two) {
      return whole(operator, one, two);
    } else if (left instanceof Number one && right instanceof Number two) {
      return real(operator, one.doubleValue(), two.doubleValue());
    }
    throw refused("%s %s %s is not defined", kind(left), operator, kind(right));
  }

  private static String joined(String left, String right) {
    requireLength((double) left.length() + right.length());
    return left + right;
  }

  static void requireLength(double length) {
    if (length > LONGEST) {
      throw refused("it makes a text of more than %d characters", LONGEST);
    }
  }

  private static Object whole(String operator, long left, long right) {
    try {
      return switch (operator) {
        case "+" -> Math.addExact(left, right);
        case "-" -> Math.subtractExact(left, right);
        case "*" -> Math.multiplyExact(left, right);
        case "//" -> Math.floorDiv(left, right);
        case "%" -> Math.floorMod(left, right);
        default -> real(operator, (double) left, (double) right);
      };
    } catch (ArithmeticException e) {
      throw refused("%d %s %d is not defined", left, operator, right);
    }
  }

  private static Object real(String operator, double left, double right) {
    return switch (operator) {
      case "+" -> left + right;
      case "-" -> left - right;
      case "*" -> left * right;
      case "/" -> left / right;
      default -> throw refused("%s %s %s is not known here", left, operator, right);
    };
  }

  static boolean compare(String operator, Object left, Object right) {
    return switch (operator) {
      case "==" -> equal(left, right);
      case "!=" -> !equal(left, right);
      case "in" -> contains(right, left);
      case "not in" -> !contains(right, left);
      case "<" -> order(left, right) < 0;
      case "<=" -> order(left, right) <= 0;
      case ">" -> order(left, right) > 0;
      default -> order(left, right) >= 0;
    };
  }

  static boolean equal(Object left, Object right) {
    boolean numbers = isNumber(left) && isNumber(right);
    return numbers ? toDouble(left) == toDouble(right) : left.equals(right);
  }

  private static boolean isNumber(Object value) {
    return value instanceof Number || value instanceof Boolean;
  }

  private static double toDouble(Object value) {
    return value instanceof Number number
        ? number.doubleValue()
        : Boolean.TRUE.equals(value) ? 1 : 0;
  }

  private static int order(Object left, Object right) {
    if (isNumber(left) && isNumber(right)) {
      return Double.compare(toDouble(left), toDouble(right));
    } else if (left instanceof String one && right instanceof String two) {
      return one.compareTo(two);
    }
    throw refused("%s and %s have no order", kind(left), kind(right));
  }

  private static boolean contains(Object all, Object part) {
    if (all instanceof String text) {
      if (part instanceof String inner) {
        return text.contains(inner);
      }
      throw refused("%s is not in a text", kind(part));
    }
    return items(all).stream().anyMatch(item -> equal(item, part));
  }

  // ---- what a value has ----------------------------------------------------------------------

  /** {@code value.name}: a method of its kind or, of a map, what it has at a key. */
  static Object attribute(Object value, String name) {
    if (value instanceof Namespace namespace) {
      return namespace.attributes.getOrDefault(name, Nothing.UNDEFINED);
    }
    if (value == Nothing.UNDEFINED) {
      throw refused("a value that is not defined has no %s", name);
    }
    if (JinjaFilters.isMethod(value, name)) {
      return (Function) (arguments, named) -> JinjaFilters.method(value, name, arguments, named);
    }
    Object item = value instanceof Map<?, ?> map ? map.get(name) : null;
    return item == null ? Nothing.UNDEFINED : item;
  }

  /** {@code value[key]}. */
  static Object item(Object value, Object key) {
    if (value instanceof Map<?, ?> map) {
      Object item = map.get(key);
      return item == null ? attribute(value, String.valueOf(key)) : item;
    } else if (key instanceof Long index && (value instanceof List || value instanceof String)) {
      List<Object> items = items(value);
      long at = index < 0 ? items.size() + index : index;
      return at < 0 || at >= items.size() ? Nothing.UNDEFINED : items.get((int) at);
    } else if (key instanceof String name) {
      return attribute(value, name);
    }
    throw refused("%s has no item %s", kind(value), kind(key));
  }

  /** Items from, to and by a step, each a number or nothing. */
  static Object slice(Object value, List<Object> bounds) {
    List<Object> items = items(value);
    int step = bounds.size() > 2 && bounds.get(2) instanceof Long by ? Math.toIntExact(by) : 1;
    if (step == 0 || bounds.size() > 3 || value instanceof Map) {
      throw refused("%s cannot be cut so", kind(value));
    }
    int size = items.size();
    int from = bound(bounds.get(0), size, step, step > 0 ? 0 : size - 1);
    int to = bound(bounds.get(1), size, step, step > 0 ? size : -1);
    List<Object> cut = new ArrayList<>();
    for (long i = from; step > 0 ? i < to : i > to; i += step) {
      cut.add(items.get((int) i));
    }
    return value instanceof String
        ? cut.stream().map(String::valueOf).collect(Collectors.joining())
        : cut;
  }

  private static int bound(Object given, int size, int step, int otherwise) {
    if (!(given instanceof Long bound)) {
      return otherwise;
    }
    long at = bound < 0 ? size + bound : bound;
    return (int) Math.max(step > 0 ? 0 : -1, Math.min(step > 0 ? size : size - 1, at));
  }

  static void setAttribute(Object value, String name, Object to) {
    if (!(value instanceof Namespace namespace)) {
      throw refused("%s cannot be changed", kind(value));
    }
    namespace.attributes.put(name, to);
  }

  static Object call(Object function, List<Object> arguments, Map<String, Object> named) {
    if (function instanceof Function callable) {
      return callable.of(arguments, named);
    }
    throw refused("%s cannot be called", kind(function));
  }
}
