package dev.tributary.attribution.export;

import static dev.tributary.core.Checks.requireArgument;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.Set;
import java.util.function.Function;

/**
 * An object of JSON that others wrote, of which every field is asked for: what is left over is
 * refused, with an {@code IllegalArgumentException} as in {@link Fields}.
 */
final class Form {
  private final JsonNode json;
  private final Set<String> left = new LinkedHashSet<>();

  private Form(JsonNode json) {
    this.json = json;
    json.fieldNames().forEachRemaining(left::add);
  }

  /**
   * What is made of an object.
   *
   * @param what it is, for messages
   * @param read asks for all its fields
   */
  static <T> T read(JsonNode json, String what, Function<Form, T> read) {
    requireArgument(json.isObject(), "%s is no object", what);
    Form form = new Form(json);
    T result = read.apply(form);
    requireArgument(form.left.isEmpty(), "%s has no field %s", what, form.left);
    return result;
  }

  boolean has(String field) {
    return json.hasNonNull(field);
  }

  /** The same object, of which one field is asked for. */
  private JsonNode asked(String field) {
    left.remove(field);
    return json;
  }

  String text(String field) {
    return Fields.string(asked(field), field);
  }

  Optional<String> optionalText(String field) {
    asked(field);
    return has(field) ? Optional.of(text(field)) : Optional.empty();
  }

  List<String> texts(String field) {
    asked(field);
    return has(field) ? Fields.strings(json, field) : List.of();
  }

  Optional<List<String>> optionalTexts(String field) {
    asked(field);
    return has(field) ? Optional.of(Fields.strings(json, field)) : Optional.empty();
  }

  int integer(String field, int otherwise) {
    return optionalInteger(field).orElse(otherwise);
  }

  OptionalInt optionalInteger(String field) {
    return Fields.optionalInteger(asked(field), field);
  }

  double number(String field, double otherwise) {
    return optionalNumber(field).orElse(otherwise);
  }

  OptionalDouble optionalNumber(String field) {
    return Fields.optionalNumber(asked(field), field);
  }

  long longInteger(String field) {
    return Fields.longInteger(asked(field), field);
  }

  boolean flag(String field) {
    JsonNode value = asked(field).path(field);
    requireArgument(
        value.isMissingNode() || value.isBoolean(), "\"%s\" is neither true nor false", field);
    return value.asBoolean(false);
  }

  <E extends Enum<E>> E one(Class<E> type, String field, E otherwise) {
    asked(field);
    return has(field) ? Fields.one(type, json, field) : otherwise;
  }

  /** An object in it. */
  <T> Optional<T> form(String field, Function<Form, T> read) {
    asked(field);
    return has(field)
        ? Optional.of(read(json.get(field), "\"%s\"".formatted(field), read))
        : Optional.empty();
  }

  /** A list of objects in it. */
  <T> List<T> forms(String field, Function<Form, T> read) {
    asked(field);
    return has(field)
        ? Fields.items(json, field, item -> read(item, "\"%s\"".formatted(field), read))
        : List.of();
  }

  /** Something by its name. */
  <T> Optional<T> named(String field, Function<String, T> parse) {
    return optionalText(field).map(parse);
  }
}
