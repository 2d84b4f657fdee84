package dev.tributary.attribution.export;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.networknt.schema.Schema;
import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.SpecificationVersion;
import dev.tributary.attribution.RandomTranscoders;
import dev.tributary.attribution.explain.Session;
import dev.tributary.attribution.explain.Subject;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.TreeSet;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What is asked and answered is as the schemas in docs/ say it is. */
public class SchemaTest {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final SchemaRegistry REGISTRY =
      SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_2020_12);
  private static final String EXAMPLE =
      "\"prompt\": \"%s\", \"targets\": [\"Mary\"], \"distractors\": [\"John\"]"
          .formatted(Subject.EXAMPLE);

  @TempDir private static Path transcoders;
  private static ObjectNode questions;
  private static ObjectNode answers;
  private static Session session;

  @BeforeAll
  static void open() throws IOException {
    questions = (ObjectNode) MAPPER.readTree(Files.readString(docs("question")));
    answers = (ObjectNode) MAPPER.readTree(Files.readString(docs("answer")));
    session = RandomTranscoders.session(transcoders);
  }

  @AfterAll
  static void close() {
    session.close();
  }

  private static Path docs(String name) {
    return Path.of("..", "docs", name + ".schema.json");
  }

  public static List<String> questions() {
    return List.of(
        "{\"question\": \"inspect\"}",
        "{\"question\": \"predict\", \"prompt\": \"The keys\", \"alternatives\": 2}",
        "{\"question\": \"attribute\", %s, \"tokens\": {\"first\": 2, \"last\": 9}, \"top\": 30}",
        "{\"question\": \"attribute\", %s, \"trace\": \"L2.head5[14<-7]\", \"stage\":"
            + " \"pre_activation\"}",
        "{\"question\": \"edges\", %s, \"from\": \"L0.neuron376[14]\", \"basis\": [\"attention\"]}",
        "{\"question\": \"edges\", %s, \"into\": \"L2.head5[14<-7]\", \"scale_gradient\":"
            + " \"detached\"}",
        "{\"question\": \"verify\", %s, \"edge\": \"L0.head1[7<-2]->metric\"}",
        "{\"question\": \"search\", %s, \"into\": {\"kinds\": [\"metric\"]}, \"at_least\": 0.01}",
        "{\"question\": \"ablate\", %s, \"nodes\": [\"L0.head1[7<-2]\", \"L0.neuron376[14]\"]}",
        "{\"question\": \"ablate\", %s, \"nodes\": [\"L0.head1[7<-2]\"], \"action\":"
            + " {\"activation\": 0.5}}",
        "{\"question\": \"attend\", %s, \"heads\": [\"L2.head5[14<-7]\"], \"edges\":"
            + " [\"token_embedding[2]->metric\"], \"against\": 2}",
        "{\"question\": \"describe\", %s, \"node\": \"L1.neuron77[9]\"}",
        "{\"question\": \"describe\", %s, \"node\": \"L2.head5[14<-7]\", \"words\": 0}",
        "{\"question\": \"compare\", %s, \"other\": {\"prompt\": \"When Mary and John went to the"
            + " store , Mary gave a drink to\"}}",
        "{\"question\": \"graph\", %s, \"nodes\": 20, \"loadings\": 2}",
        "{\"question\": \"graph\", %s, \"replaced\": {\"latents\": 20}}",
        "{\"question\": \"intervene\", %s, \"latents\": [\"L0.transcoder_latent5[3]\"], \"action\":"
            + " {\"activation\": 2}, \"top\": 3}",
        "{\"question\": \"generate\", \"prompt\": \"The keys\", \"max_tokens\": 3, \"edits\":"
            + " [{\"part\": \"L2.head5\"}, {\"part\": \"L1.neuron7[1-2]\", \"factor\": 2}],"
            + " \"draws\": {\"seed\": 3, \"temperature\": 0.5}}");
  }

  private static Schema one(ObjectNode schemas, String kind) {
    ObjectNode schema = schemas.deepCopy();
    schema.remove("oneOf");
    schema.put("$ref", "#/$defs/" + kind);
    return REGISTRY.getSchema(schema);
  }

  @ParameterizedTest
  @MethodSource("questions")
  void questionAndAnswer_areAsTheirSchemas(String pattern) throws IOException {
    String text = pattern.formatted(EXAMPLE);
    JsonNode question = MAPPER.readTree(text);
    assertEquals(List.of(), List.copyOf(REGISTRY.getSchema(questions).validate(question)));
    ObjectNode answer = AnswerJson.tree(session.answer(QuestionJson.read(text)));
    Schema schema = one(answers, question.get("question").textValue());
    assertEquals(List.of(), List.copyOf(schema.validate(answer)));
    answer.put("more", 1);
    assertFalse(schema.validate(answer).isEmpty(), "what is not said is not there");
  }

  @Test
  void everyQuestion_hasASchemaAndIsTried() throws IOException {
    TreeSet<String> described = new TreeSet<>();
    questions.get("$defs").fieldNames().forEachRemaining(described::add);
    assertEquals(QuestionJson.kinds(), described);
    TreeSet<String> tried = new TreeSet<>();
    for (String question : questions()) {
      tried.add(MAPPER.readTree(question.formatted(EXAMPLE)).get("question").textValue());
    }
    assertEquals(described, tried);
    assertTrue(described.stream().allMatch(kind -> answers.get("$defs").has(kind)));
  }
}
