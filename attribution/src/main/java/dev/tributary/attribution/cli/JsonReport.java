package dev.tributary.attribution.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Collection;
import java.util.function.Function;

/** JSON that is printed. */
final class JsonReport {
  private static final ObjectMapper MAPPER =
      new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);

  private JsonReport() {}

  static String text(ObjectNode json) {
    try {
      return MAPPER.writeValueAsString(json) + System.lineSeparator();
    } catch (JsonProcessingException e) {
      throw new AssertionError(e); // there is nothing in it but texts and numbers
    }
  }

  static <T> ArrayNode list(Collection<T> items, Function<T, ObjectNode> json) {
    return JsonNodeFactory.instance.arrayNode().addAll(items.stream().map(json).toList());
  }

  static ObjectNode object() {
    return JsonNodeFactory.instance.objectNode();
  }
}
