package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.TestFactory;

/**
 * Every folder of tokenizer files gives the ids that Hugging Face's own readers give, with and
 * without special tokens, or is refused in one sentence.
 *
 * <p>There are two, transformers 5.24 and 4.57, and where they disagree that one is followed which
 * keeps the steps of tokenizer.json as they are written: the newer where it reads the file by its
 * class for all of them, the older where the newer has a class that builds steps of its own. So
 * {@code add_prefix_space} and {@code add_bos_token} beside a tokenizer.json of no such class
 * change nothing, and GPT2Tokenizer keeps the Split and Digits of its file.
 */
class TokenizerReferenceTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  /** Folders of these kinds are never refused. */
  private static final List<String> READ = List.of("side-", "gpt2", "opt");

  /** The newer reader's class for any tokenizer.json. */
  private static final String AS_WRITTEN = "TokenizersBackend";

  /** What decoding gives for bytes that are no text without their neighbours. */
  private static final String REPLACEMENT = "\ufffd";

  @TestFactory
  Stream<? extends DynamicNode> folders_areEncodedAsByTheirReaders() throws IOException {
    return Oracles.tests(
        "reference-tokenizers",
        root -> {
          try (Stream<Path> folders = Files.list(root)) {
            return folders
                .filter(folder -> Files.exists(folder.resolve("golden.json")))
                .sorted()
                .map(
                    folder ->
                        dynamicTest(String.valueOf(folder.getFileName()), () -> check(folder)))
                .toList() // before the folder is closed
                .stream();
          }
        });
  }

  private static void check(Path folder) throws IOException {
    String name = String.valueOf(folder.getFileName());
    Tokenizer tokenizer;
    try {
      tokenizer = Tokenizers.load(folder);
    } catch (IOException e) {
      String sentence = String.valueOf(e.getMessage());
      assertEquals(IOException.class, e.getClass(), sentence);
      assertTrue(sentence.startsWith(folder.toString()), sentence);
      assertEquals(1, sentence.lines().count(), sentence);
      assertTrue(READ.stream().noneMatch(name::startsWith), sentence);
      return;
    }
    JsonNode golden = JSON.readTree(Files.readString(folder.resolve("golden.json")));
    List<String> wrong = new ArrayList<>();
    for (JsonNode row : golden.get("strings")) {
      String text = row.get("text").textValue();
      List<Integer> plain = expected(golden, row, "plain");
      compare(wrong, row, plain, ids(tokenizer.tokens(text)));
      if (plain.isEmpty()) { // a prompt has at least one token of its own
        assertThrows(IllegalArgumentException.class, () -> tokenizer.encode(text));
      } else {
        compare(wrong, row, expected(golden, row, "special"), ids(tokenizer.encode(text)));
      }
    }
    for (Map.Entry<String, JsonNode> piece : golden.get("piece").properties()) {
      String text = piece.getValue().textValue();
      if (!text.contains(REPLACEMENT) && !text.equals(text(tokenizer, piece.getKey()))) {
        wrong.add(piece + " is " + text(tokenizer, piece.getKey()));
      }
    }
    assertEquals(List.of(), wrong);
  }

  private static String text(Tokenizer tokenizer, String id) {
    int number = Integer.parseInt(id);
    return number < tokenizer.vocabulary() ? tokenizer.text(number) : "none";
  }

  private static void compare(
      List<String> wrong, JsonNode row, List<Integer> expected, List<Integer> actual) {
    if (!expected.equals(actual)) {
      wrong.add(row.get("name").asText() + ": expected " + expected + ", got " + actual);
    }
  }

  /** The ids of the reader that is followed; what the older one does not say is as the newer's. */
  private static List<Integer> expected(JsonNode golden, JsonNode row, String kind) {
    JsonNode newer = row.get(kind).get("ids");
    return ids(
        golden.get("class").textValue().equals(AS_WRITTEN)
            ? newer
            : row.at("/other/v4").path(kind).isArray() ? row.at("/other/v4").get(kind) : newer);
  }

  private static List<Integer> ids(JsonNode list) {
    return IntStream.range(0, list.size()).mapToObj(i -> list.get(i).intValue()).toList();
  }

  private static List<Integer> ids(int[] list) {
    return Arrays.stream(list).boxed().toList();
  }
}
