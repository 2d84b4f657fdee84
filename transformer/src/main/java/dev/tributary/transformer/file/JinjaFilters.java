package dev.tributary.transformer.file;

import static dev.tributary.transformer.file.JinjaValues.isTrue;
import static dev.tributary.transformer.file.JinjaValues.kind;
import static dev.tributary.transformer.file.JinjaValues.refused;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.transformer.file.JinjaValues.Function;
import dev.tributary.transformer.file.JinjaValues.Namespace;
import dev.tributary.transformer.file.JinjaValues.Nothing;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.LongStream;

/** The functions, filters, tests and methods that templates of chats use. */
final class JinjaFilters {
  /** Most numbers of a range. */
  private static final long RANGE_LIMIT = 100_000;

  /** How Python's strftime writes a date, in the letters of Java's. */
  private static final Map<String, String> DATES =
      Map.of(
          "%d",
          "dd", "%b", "MMM", "%B", "MMMM", "%Y", "yyyy", "%m", "MM", "%y", "yy", "%H", "HH", "%M",
          "mm", "%S", "ss", "%A", "EEEE");

  /** What every template sees. */
  static final Map<String, Object> FUNCTIONS =
      Map.of(
          "namespace",
          (Function) (arguments, named) -> new Namespace(new HashMap<>(named)),
          "dict",
          (Function) (arguments, named) -> Map.copyOf(named),
          "range",
          (Function) (arguments, named) -> range(arguments),
          "strftime_now",
          (Function) (arguments, named) -> now(text(arguments, 0)),
          "raise_exception",
          (Function)
              (arguments, named) -> {
                throw refused("it refuses such a chat: %s", BadFile.shortened(text(arguments, 0)));
              });

  private static final Set<String> TEXT_METHODS =
      Set.of(
          "strip",
          "lstrip",
          "rstrip",
          "startswith",
          "endswith",
          "split",
          "upper",
          "lower",
          "replace",
          "join",
          "find",
          "count",
          "capitalize",
          "removeprefix",
          "removesuffix");

  private static final Set<String> MAP_METHODS = Set.of("get", "items", "keys", "values");

  private JinjaFilters() {}

  private static List<Object> range(List<Object> arguments) {
    long from = arguments.size() > 1 ? whole(arguments, 0) : 0;
    long to = whole(arguments, arguments.size() > 1 ? 1 : 0);
    long step = arguments.size() > 2 ? whole(arguments, 2) : 1;
    if (step == 0 || Math.abs((double) to - from) / Math.abs((double) step) > RANGE_LIMIT) {
      throw refused("a range from %d to %d by %d is none, or too long", from, to, step);
    }
    return LongStream.iterate(from, at -> step > 0 ? at < to : at > to, at -> at + step)
        .boxed()
        .collect(Collectors.toList());
  }

  private static String now(String format) {
    LocalDateTime now = LocalDateTime.now(ZoneId.systemDefault());
    return Pattern.compile("%.?", Pattern.DOTALL)
        .matcher(format)
        .replaceAll(
            found -> {
              String letters = DATES.get(found.group());
              if (letters == null) {
                throw refused("%s in a date is not known here", BadFile.quoted(found.group()));
              }
              return now.format(DateTimeFormatter.ofPattern(letters, Locale.ENGLISH));
            });
  }

  private static String text(List<Object> arguments, int index) {
    if (index < arguments.size() && arguments.get(index) instanceof String text) {
      return text;
    }
    throw refused(
        "a text is expected, not %s",
        index < arguments.size() ? kind(arguments.get(index)) : "nothing");
  }

  private static long whole(List<Object> arguments, int index) {
    if (index < arguments.size() && arguments.get(index) instanceof Long number) {
      return number;
    }
    throw refused(
        "a whole number is expected, not %s",
        index < arguments.size() ? kind(arguments.get(index)) : "nothing");
  }

  // ---- filters -------------------------------------------------------------------------------

  static Object apply(
      String name, Object value, List<Object> arguments, Map<String, Object> named) {
    switch (name) {
      case "length", "count" -> {
        return (long) JinjaValues.items(value).size();
      }
      case "string" -> {
        return JinjaValues.text(value);
      }
      case "safe" -> {
        return value;
      }
      case "trim" -> {
        return method(JinjaValues.text(value), "strip", arguments, named);
      }
      case "upper", "lower", "capitalize", "replace" -> {
        return method(JinjaValues.text(value), name, arguments, named);
      }
      case "items", "keys", "values" -> {
        return method(value, name, arguments, named);
      }
      case "list" -> {
        return JinjaValues.items(value);
      }
      case "first", "last" -> {
        List<Object> items = JinjaValues.items(value);
        return items.isEmpty()
            ? Nothing.UNDEFINED
            : items.get(name.equals("first") ? 0 : items.size() - 1);
      }
      case "reverse" -> {
        List<Object> items = new ArrayList<>(JinjaValues.items(value));
        Collections.reverse(items);
        return value instanceof String
            ? items.stream().map(String::valueOf).collect(Collectors.joining())
            : items;
      }
      case "join" -> {
        return joined(JinjaValues.items(value), arguments.isEmpty() ? "" : text(arguments, 0));
      }
      case "default", "d" -> {
        boolean empty =
            arguments.size() > 1
                ? isTrue(arguments.get(1))
                : isTrue(named.getOrDefault("boolean", false));
        Object otherwise = arguments.isEmpty() ? "" : arguments.get(0);
        return value == Nothing.UNDEFINED || (empty && !isTrue(value)) ? otherwise : value;
      }
      case "int" -> {
        if (value instanceof Long) {
          return value;
        }
        if (value instanceof String text && text.matches("\\s*[-+]?\\d{1,18}\\s*")) {
          return Long.valueOf(text.strip());
        }
      }
      case "map" -> {
        if (named.keySet().equals(Set.of("attribute"))
            && named.get("attribute") instanceof String key) {
          return itemsOrNone(value).stream()
              .map(item -> JinjaValues.item(item, key))
              .collect(Collectors.toList());
        }
      }
      case "selectattr", "rejectattr" -> {
        return selected(name.equals("selectattr"), itemsOrNone(value), arguments);
      }
      case "tojson" -> {
        if (arguments.isEmpty() && named.isEmpty()) {
          return json(value);
        }
      }
      default -> {}
    }
    throw refused("filter %s of %s is not known here", name, kind(value));
  }

  private static List<Object> itemsOrNone(Object value) {
    return isTrue(value) ? JinjaValues.items(value) : List.of();
  }

  private static List<Object> selected(boolean wanted, List<Object> items, List<Object> arguments) {
    String key = text(arguments, 0);
    return items.stream()
        .filter(
            item -> {
              Object value = JinjaValues.item(item, key);
              return wanted
                  == (arguments.size() == 1
                      ? isTrue(value)
                      : test(text(arguments, 1), value, arguments.subList(2, arguments.size())));
            })
        .collect(Collectors.toList());
  }

  /** Python puts a space behind a comma and a colon, which only matters in lists and maps. */
  private static String json(Object value) {
    if (value instanceof String || value instanceof Long || value instanceof Boolean) {
      try {
        return new ObjectMapper().writeValueAsString(value);
      } catch (JsonProcessingException e) {
        throw refused("%s cannot be written as JSON", kind(value));
      }
    } else if (value == Nothing.NONE) {
      return "null";
    }
    throw refused("%s cannot be written as JSON here", kind(value));
  }

  private static String joined(List<Object> items, String between) {
    JinjaValues.requireLength((double) items.size() * between.length());
    return items.stream().map(JinjaValues::text).collect(Collectors.joining(between));
  }

  // ---- tests ---------------------------------------------------------------------------------

  static boolean test(String name, Object value, List<Object> arguments) {
    return switch (name) {
      case "defined" -> value != Nothing.UNDEFINED;
      case "undefined" -> value == Nothing.UNDEFINED;
      case "none" -> value == Nothing.NONE;
      case "string" -> value instanceof String;
      case "mapping" -> value instanceof Map;
      case "boolean" -> value instanceof Boolean;
      case "true" -> Boolean.TRUE.equals(value);
      case "false" -> Boolean.FALSE.equals(value);
      case "integer" -> value instanceof Long;
      case "float" -> value instanceof Double;
      case "number" -> value instanceof Number || value instanceof Boolean;
      case "callable" -> value instanceof Function;
      case "iterable", "sequence" ->
          value instanceof String
              || value instanceof List
              || value instanceof Map
              || value == Nothing.UNDEFINED;
      case "odd" -> Math.floorMod(whole(List.of(value), 0), 2L) == 1;
      case "even" -> Math.floorMod(whole(List.of(value), 0), 2L) == 0;
      case "divisibleby" -> Math.floorMod(whole(List.of(value), 0), whole(arguments, 0)) == 0;
      case "eq", "equalto", "sameas" ->
          !arguments.isEmpty() && JinjaValues.equal(value, arguments.get(0));
      case "ne" -> !arguments.isEmpty() && !JinjaValues.equal(value, arguments.get(0));
      case "in" -> !arguments.isEmpty() && JinjaValues.compare("in", value, arguments.get(0));
      default -> throw refused("test %s is not known here", name);
    };
  }

  // ---- methods -------------------------------------------------------------------------------

  static boolean isMethod(Object value, String name) {
    return value instanceof String
        ? TEXT_METHODS.contains(name)
        : value instanceof Map && MAP_METHODS.contains(name);
  }

  static Object method(
      Object value, String name, List<Object> arguments, Map<String, Object> named) {
    if (!named.isEmpty()) {
      throw refused("%s is called with names, which is not known here", name);
    }
    if (value instanceof String text) {
      return ofText(text, name, arguments);
    } else if (value instanceof Map<?, ?> map) {
      return ofMap(map, name, arguments);
    }
    throw refused("%s has no %s", kind(value), name);
  }

  private static Object ofMap(Map<?, ?> map, String name, List<Object> arguments) {
    switch (name) {
      case "get" -> {
        Object item = arguments.isEmpty() ? null : map.get(arguments.get(0));
        return item != null ? item : arguments.size() > 1 ? arguments.get(1) : Nothing.NONE;
      }
      case "keys" -> {
        return new ArrayList<Object>(map.keySet());
      }
      case "values" -> {
        return new ArrayList<Object>(map.values());
      }
      default -> {
        List<Object> pairs = new ArrayList<>();
        map.forEach((key, item) -> pairs.add(List.of(key, item)));
        return pairs;
      }
    }
  }

  private static Object ofText(String text, String name, List<Object> arguments) {
    return switch (name) {
      case "strip" -> stripped(text, arguments, true, true);
      case "lstrip" -> stripped(text, arguments, true, false);
      case "rstrip" -> stripped(text, arguments, false, true);
      case "startswith" -> text.startsWith(text(arguments, 0));
      case "endswith" -> text.endsWith(text(arguments, 0));
      case "upper" -> text.toUpperCase(Locale.ROOT);
      case "lower" -> text.toLowerCase(Locale.ROOT);
      case "capitalize" ->
          text.isEmpty()
              ? text
              : text.substring(0, 1).toUpperCase(Locale.ROOT)
                  + text.substring(1).toLowerCase(Locale.ROOT);
      case "split" -> split(text, arguments);
      case "replace" -> replaced(text, text(arguments, 0), text(arguments, 1), arguments.size());
      case "join" -> joined(JinjaValues.items(arguments.isEmpty() ? "" : arguments.get(0)), text);
      case "find" -> (long) text.indexOf(text(arguments, 0));
      case "count" -> (long) text.split(Pattern.quote(text(arguments, 0)), -1).length - 1;
      case "removeprefix" ->
          text.startsWith(text(arguments, 0)) ? text.substring(text(arguments, 0).length()) : text;
      case "removesuffix" ->
          text.endsWith(text(arguments, 0))
              ? text.substring(0, text.length() - text(arguments, 0).length())
              : text;
      default -> throw refused("method %s of a text is not known here", name);
    };
  }

  private static String replaced(String text, String what, String by, int arguments) {
    if (arguments > 2 || what.isEmpty()) {
      throw refused("replace is called in a way that is not known here");
    }
    JinjaValues.requireLength((double) text.length() / what.length() * (1 + by.length()));
    return text.replace(what, by);
  }

  private static List<Object> split(String text, List<Object> arguments) {
    boolean limited = arguments.size() > 1;
    if (arguments.isEmpty()) {
      throw refused("split without a text to split at is not known here");
    }
    int limit = limited && whole(arguments, 1) >= 0 ? Math.toIntExact(whole(arguments, 1)) + 1 : -1;
    return List.of((Object[]) text.split(Pattern.quote(text(arguments, 0)), limit));
  }

  private static String stripped(String text, List<Object> arguments, boolean left, boolean right) {
    String wanted =
        arguments.isEmpty() || arguments.get(0) == Nothing.NONE ? "" : text(arguments, 0);
    int from = 0;
    int to = text.length();
    while (left && from < to && isTaken(text.charAt(from), wanted)) {
      from++;
    }
    while (right && to > from && isTaken(text.charAt(to - 1), wanted)) {
      to--;
    }
    return text.substring(from, to);
  }

  /** Python's white space, or one of some characters. */
  private static boolean isTaken(char c, String wanted) {
    return wanted.isEmpty()
        ? Character.isWhitespace(c) || Character.isSpaceChar(c) || c == '\u0085'
        : wanted.indexOf(c) >= 0;
  }
}
