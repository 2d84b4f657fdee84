package dev.tributary.attribution.export;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonSerializer;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.SerializerProvider;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.module.SimpleModule;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.datatype.jdk8.Jdk8Module;
import dev.tributary.attribution.Certificate;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.EdgePatch;
import dev.tributary.attribution.Edit;
import dev.tributary.attribution.Lowercase;
import dev.tributary.attribution.Node;
import java.io.IOException;
import java.util.function.BiConsumer;

/**
 * Answers of a session as JSON: fields are the components of their records, in lower case with
 * underscores; nodes are as in a circuit. See docs/answer-json.md.
 */
public final class AnswerJson {
  private static final String FORMAT = "tributary-answer";
  private static final int VERSION = 2;
  private static final String OVERVIEW = "overview";

  private static final ObjectMapper MAPPER =
      JsonMapper.builder()
          .addModule(new Jdk8Module())
          .addModule(domain())
          .propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
          .defaultPropertyInclusion(
              JsonInclude.Value.construct(
                  JsonInclude.Include.NON_ABSENT, JsonInclude.Include.NON_ABSENT))
          .disable(MapperFeature.AUTO_DETECT_IS_GETTERS)
          .enable(SerializationFeature.INDENT_OUTPUT)
          .build();

  private AnswerJson() {}

  /**
   * {@return answers of one subject as one object: the fields of all}
   *
   * @param answers of a session
   */
  public static ObjectNode tree(Record... answers) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("format", FORMAT).put("version", VERSION);
    for (Record answer : answers) {
      ObjectNode fields = MAPPER.valueToTree(answer);
      if (fields.remove(OVERVIEW) instanceof ObjectNode overview) {
        json.setAll(overview); // the same in every answer
      }
      json.setAll(fields);
    }
    return json;
  }

  /**
   * {@return answers of one subject as the text of one object}
   *
   * @param answers of a session
   */
  public static String of(Record... answers) {
    try {
      return MAPPER.writeValueAsString(tree(answers)) + "\n";
    } catch (JsonProcessingException e) {
      throw new AssertionError(e); // there is nothing in it but texts and numbers
    }
  }

  /** What is not written as its components are. */
  private static SimpleModule domain() {
    SimpleModule module = new SimpleModule();
    module.addSerializer(Node.class, object((node, json) -> CircuitJson.node(node, json)));
    module.addSerializer(
        Certificate.class,
        object(
            (certificate, json) -> {
              json.put("sources", certificate.sources()).put("whole", certificate.whole());
              certificate
                  .affine()
                  .ifPresent(
                      affine ->
                          json.put("constant", affine.constant())
                              .put("recorded", affine.recorded()));
              json.put("relative_residual", certificate.relativeResidual());
            }));
    module.addSerializer(
        EdgePatch.class,
        object(
            (patch, json) ->
                json.put("edge", patch.edge())
                    .put("patched", patch.patched())
                    .put("metric_change", patch.metricChange())
                    .put("linearisation_error", patch.linearisationError())));
    module.addSerializer(
        Edit.class,
        object(
            (edit, json) -> {
              json.put("part", edit.part().toString());
              if (edit.part() instanceof Edit.OfHeadPair pair) {
                json.put("key", pair.key());
              }
              json.put("first_token", edit.tokens().first());
              if (!edit.tokens().isOpen()) {
                json.put("last_token", edit.tokens().end() - 1);
              }
              json.put("factor", edit.factor()).put("addend", edit.addend());
            }));
    module.addSerializer(
        Circuit.class, object((circuit, json) -> json.setAll(CircuitJson.json(circuit))));
    module.addSerializer(enums());
    return module;
  }

  private static JsonSerializer<Enum<?>> enums() {
    return new JsonSerializer<>() {
      @Override
      public void serialize(Enum<?> value, JsonGenerator json, SerializerProvider provider)
          throws IOException {
        json.writeString(Lowercase.of(value));
      }

      @Override
      @SuppressWarnings("unchecked") // there is no literal of the class of all enums
      public Class<Enum<?>> handledType() {
        return (Class<Enum<?>>) (Class<?>) Enum.class;
      }
    };
  }

  private interface Writer<T> {
    void write(T value, JsonGenerator json) throws IOException;
  }

  private static <T> JsonSerializer<T> serializer(Writer<T> writer) {
    return new JsonSerializer<>() {
      @Override
      public void serialize(T value, JsonGenerator json, SerializerProvider provider)
          throws IOException {
        writer.write(value, json);
      }
    };
  }

  private static <T> JsonSerializer<T> object(BiConsumer<T, ObjectNode> fields) {
    return serializer(
        (value, json) -> {
          ObjectNode object = JsonNodeFactory.instance.objectNode();
          fields.accept(value, object);
          json.writeTree(object);
        });
  }
}
