package dev.tributary.attribution.export;

import static dev.tributary.core.Checks.requireArgument;

import com.fasterxml.jackson.databind.JsonNode;
import dev.tributary.attribution.Lowercase;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.function.Function;
import java.util.function.Predicate;

/**
 * Fields of JSON that others wrote: each has the type it must have, or is refused with an {@code
 * IllegalArgumentException}.
 */
final class Fields {
  private Fields() {}

  /** What is made of each item of a list; what is wrong with one is said with its number. */
  static <T> List<T> items(JsonNode json, String field, Function<JsonNode, T> read) {
    List<T> result = new ArrayList<>();
    for (JsonNode item : list(json, field)) {
      try {
        result.add(read.apply(item));
      } catch (IllegalArgumentException e) {
        throw new IllegalArgumentException(
            "\"%s\", item %d: %s".formatted(field, result.size(), e.getMessage()), e);
      }
    }
    return result;
  }

  static JsonNode list(JsonNode json, String field) {
    return field(json, field, "a list", JsonNode::isArray);
  }

  static JsonNode object(JsonNode json, String field) {
    return field(json, field, "an object", JsonNode::isObject);
  }

  static List<String> strings(JsonNode json, String field) {
    List<String> result = new ArrayList<>();
    for (JsonNode item : list(json, field)) {
      requireArgument(item.isTextual(), "\"%s\" holds what is no text", field);
      result.add(item.textValue());
    }
    return result;
  }

  static String string(JsonNode json, String field) {
    return field(json, field, "a text", JsonNode::isTextual).textValue();
  }

  static List<Integer> integers(JsonNode json, String field) {
    List<Integer> result = new ArrayList<>();
    for (JsonNode item : list(json, field)) {
      requireArgument(isInteger(item), "\"%s\" holds what is no whole number", field);
      result.add(item.intValue());
    }
    return result;
  }

  static int integer(JsonNode json, String field) {
    return field(json, field, "a whole number", Fields::isInteger).intValue();
  }

  static OptionalInt optionalInteger(JsonNode json, String field) {
    return json.hasNonNull(field) ? OptionalInt.of(integer(json, field)) : OptionalInt.empty();
  }

  static long longInteger(JsonNode json, String field) {
    return field(json, field, "a whole number", Fields::isLong).longValue();
  }

  private static boolean isLong(JsonNode value) {
    return value.canConvertToLong() && value.isIntegralNumber();
  }

  private static boolean isInteger(JsonNode value) {
    return value.canConvertToInt() && value.isIntegralNumber();
  }

  static double number(JsonNode json, String field) {
    return field(json, field, "a number", Fields::isNumber).doubleValue();
  }

  static OptionalDouble optionalNumber(JsonNode json, String field) {
    return json.hasNonNull(field) ? OptionalDouble.of(number(json, field)) : OptionalDouble.empty();
  }

  /** The items of a list of numbers, which is called something. */
  static List<Double> numbers(JsonNode list, String what) {
    List<Double> result = new ArrayList<>();
    for (JsonNode item : list) {
      requireArgument(isNumber(item), "\"%s\" holds what is no number", what);
      result.add(item.doubleValue());
    }
    return result;
  }

  private static boolean isNumber(JsonNode value) {
    return value.isNumber() && Double.isFinite(value.doubleValue());
  }

  private static JsonNode field(
      JsonNode json, String field, String expected, Predicate<JsonNode> is) {
    JsonNode value = json.path(field);
    requireArgument(is.test(value), "\"%s\" is not %s", field, expected);
    return value;
  }

  /** The constant whose name in lower case a field has. */
  static <E extends Enum<E>> E one(Class<E> type, JsonNode json, String field) {
    String word = string(json, field);
    for (E value : type.getEnumConstants()) {
      if (Lowercase.of(value).equals(word)) {
        return value;
      }
    }
    throw new IllegalArgumentException("\"%s\" is \"%s\"".formatted(field, word));
  }
}
