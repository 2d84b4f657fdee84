package dev.tributary.transformer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ContainerNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;

/**
 * A file that has been tampered with is refused, or gives a tokenizer that works. The native
 * library would end the process: then this test does not fail, it crashes.
 */
class TokenizerFuzzTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final List<String> VALUES =
      List.of(
          "null",
          "-1",
          "3",
          "4294967295",
          "2147483646",
          "\"\"",
          "\"a\"",
          "\"<unk>\"",
          "true",
          "{}",
          "[]",
          "0.5",
          "\"\\u0000\"",
          "\"\\ud83d\\ude00\"");
  private static final List<String> TEXTS =
      List.of("The keys near the cabinet", "ab tab \u00e9", "<bos> <unk>", "\n \0", "\ud83d\ude00");

  private static Path file = Path.of("");

  @BeforeContainer
  static void makeFile() throws IOException {
    file = Files.createTempFile("fuzz", ".json");
  }

  @AfterContainer
  static void removeFile() throws IOException {
    Files.delete(file);
  }

  @Provide
  Arbitrary<Long> seeds() {
    return Arbitraries.longs();
  }

  @Property(tries = 2000, seed = "20240229")
  void load_mutated_worksOrRefuses(@ForAll("seeds") long seed) throws IOException {
    Random random = new Random(seed);
    JsonNode json = random.nextBoolean() ? words() : TokenizerTest.bytes();
    for (int i = random.nextInt(3); i >= 0; i--) {
      mutate(json, random);
    }
    Files.writeString(file, json.toString());
    Tokenizer tokenizer;
    try {
      tokenizer = Tokenizer.load(file);
    } catch (IOException e) {
      assertEquals(IOException.class, e.getClass());
      assertTrue(String.valueOf(e.getMessage()).startsWith(file + ": "), e::toString);
      return;
    }
    for (String text : TEXTS) {
      try {
        for (int id : tokenizer.encode(text)) {
          assertTrue(id < tokenizer.vocabulary() && !tokenizer.text(id).isEmpty());
        }
      } catch (IllegalArgumentException e) {
        String sentence = String.valueOf(e.getMessage());
        assertTrue(sentence.contains("vocabulary") || sentence.contains("empty"), sentence);
      }
    }
  }

  private static JsonNode words() throws IOException {
    return JSON.readTree(Files.readString(Textbook.folder().resolve("tokenizer.json")));
  }

  private static void mutate(JsonNode root, Random random) throws IOException {
    List<JsonNode> nodes = new ArrayList<>();
    collect(root, nodes);
    List<JsonNode> containers =
        nodes.stream().filter(node -> node instanceof ContainerNode && !node.isEmpty()).toList();
    JsonNode value =
        random.nextBoolean()
            ? JSON.readTree(VALUES.get(random.nextInt(VALUES.size())))
            : nodes.get(random.nextInt(nodes.size())).deepCopy();
    JsonNode target = containers.get(random.nextInt(containers.size()));
    int at = random.nextInt(target.size());
    int how = random.nextInt(4);
    if (target instanceof ArrayNode list) {
      switch (how) {
        case 0 -> list.remove(at);
        case 1 -> list.insert(at, list.get(at).deepCopy());
        default -> list.set(at, value);
      }
    } else if (target instanceof ObjectNode object) {
      String key = List.copyOf(object.properties()).get(at).getKey();
      switch (how) {
        case 0 -> object.remove(key);
        case 1 -> object.set("a", object.remove(key));
        default -> object.set(key, value);
      }
    }
  }

  private static void collect(JsonNode node, List<JsonNode> nodes) {
    nodes.add(node);
    node.forEach(child -> collect(child, nodes));
  }
}
