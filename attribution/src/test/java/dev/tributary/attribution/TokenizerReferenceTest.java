package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.transformer.Oracles;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.TestFactory;

/**
 * Every folder of tokenizer files gives what Hugging Face's own readers give, with and without
 * special tokens: ids, tokens, the pieces of the text that they are for, and the text that they
 * become again.
 *
 * <p>There are two, transformers 5.24 and 4.57, and where they disagree that one is followed which
 * keeps the steps of tokenizer.json as they are written: the newer where it reads the file by its
 * class for all of them, the older where the newer has a class that builds steps of its own. So
 * {@code add_prefix_space} and {@code add_bos_token} beside a tokenizer.json of no such class
 * change nothing, GPT2Tokenizer keeps the Split and Digits of its file, and LlamaTokenizer its
 * Prepend. What the older does not say of such a file is as tokenizers gives it for the file alone.
 * Decoded text is tidied up where both do it.
 */
class TokenizerReferenceTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  /** The newer reader's class for any tokenizer.json. */
  private static final String AS_WRITTEN = "TokenizersBackend";

  /** The class that takes spaces out of decoded text. */
  private static final String TIDY = "BertTokenizer";

  /** The class that, without a tokenizer.json, splits words before it looks at their spaces. */
  private static final String SPLIT_BEFORE = "T5Tokenizer";

  /** What decoding gives for bytes that are no text without their neighbours. */
  private static final String REPLACEMENT = "\ufffd";

  @TestFactory
  Stream<? extends DynamicNode> folders_areReadAsByTheirReaders() throws IOException {
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
    JsonNode golden = JSON.readTree(Files.readString(folder.resolve("golden.json")));
    Path file = folder.resolve("tokenizer.json");
    boolean described = Files.exists(file);
    boolean alone =
        described && tokens(JSON.readTree(Files.readString(file))) == golden.get("size").intValue();
    new Comparison(Tokenizers.load(folder), golden, described, alone, new ArrayList<>()).run();
  }

  private static int tokens(JsonNode json) {
    JsonNode vocabulary = json.at("/model/vocab");
    Set<String> added = new HashSet<>();
    json.get("added_tokens").forEach(token -> added.add(token.get("content").textValue()));
    vocabulary.properties().forEach(token -> added.remove(token.getKey()));
    return vocabulary.size() + added.size();
  }

  /**
   * One folder.
   *
   * @param described whether it has a tokenizer.json
   * @param alone whether that has every token
   */
  private record Comparison(
      Tokenizer tokenizer, JsonNode golden, boolean described, boolean alone, List<String> wrong) {

    void run() {
      for (JsonNode row : golden.get("strings")) {
        encodings(row);
      }
      for (Map.Entry<String, JsonNode> piece : golden.get("piece").properties()) {
        int id = Integer.parseInt(piece.getKey());
        if (id < tokenizer.vocabulary()) { // not one that a reader that is not followed adds
          piece(id, piece.getValue().textValue());
        }
      }
      assertEquals(List.of(), wrong);
    }

    private void encodings(JsonNode row) {
      String text = row.get("text").textValue();
      for (String kind : List.of("plain", "special")) {
        compare(row, kind, text);
      }
      if (row.at("/plain/ids").isEmpty()) { // a prompt has at least one token of its own
        assertThrows(IllegalArgumentException.class, () -> tokenizer.encode(text));
        assertThrows(IllegalArgumentException.class, () -> tokenizer.encode(text, false));
        return;
      }
      same(row, "prompt", ids(followed(row, "special", "")), ids(tokenizer.encode(text)));
      same(row, "plain", ids(followed(row, "plain", "")), ids(tokenizer.encode(text, false)));
      same(row, "tokens", ids(followed(row, "plain", "")), ids(tokenizer.tokens(text)));
    }

    private void compare(JsonNode row, String kind, String text) {
      List<Tokenizer.Token> tokens = tokenizer.split(text, kind.equals("special"));
      int[] ids = tokens.stream().mapToInt(Tokenizer.Token::id).toArray();
      List<Integer> expected = ids(followed(row, kind, ""));
      same(row, kind, expected, ids(ids));
      if (!expected.equals(ids(ids)) || !expected.equals(ids(row.get(kind).get("ids")))) {
        return; // of the older reader nothing more is said
      }
      same(
          row,
          kind + " tokens",
          texts(row.get(kind).get("tokens")),
          Arrays.stream(ids).mapToObj(tokenizer::content).toList());
      List<List<Integer>> spans = pairs(followed(row, kind, "offsets"));
      same(
          row,
          kind + " spans",
          spans,
          IntStream.range(0, ids.length)
              .mapToObj(i -> span(text, tokens.get(i), spans.get(i)))
              .toList());
      String decoded = row.get(kind).get("decoded").textValue();
      same(row, kind + " decoded", decoded, tokenizer.decode(ids, false));
      if (row.get(kind).has("decoded_skip")) {
        String skipped = row.get(kind).get("decoded_skip").textValue();
        same(row, kind + " decoded, skipped", skipped, tokenizer.decode(ids, true));
      }
      reads(row, ids);
    }

    /** What a token is for, in characters. */
    private List<Integer> span(String text, Tokenizer.Token token, List<Integer> newer) {
      int start = text.codePointCount(0, token.start());
      int end = text.codePointCount(0, token.end());
      // The spans of the older are not said; a space before a word belongs to it there.
      boolean space =
          !described
              && golden.get("class").textValue().equals(SPLIT_BEFORE)
              && (tokenizer.content(token.id()).equals("\u2581")
                  || (start < newer.get(0) && end == newer.get(1)));
      return space ? newer : List.of(start, end);
    }

    /** Side by side, the readable tokens are the decoded text, but for a space at its beginning. */
    private void reads(JsonNode row, int[] ids) {
      String decoded = tokenizer.decode(ids, false);
      String joined = Arrays.stream(ids).mapToObj(tokenizer::text).reduce("", String::concat);
      if (golden.get("class").textValue().equals(TIDY)) {
        decoded = decoded.replace(" ", "");
        joined = joined.replace(" ", "");
      }
      boolean bytes = joined.contains("\\x") || decoded.contains(REPLACEMENT);
      if (!bytes && !joined.equals(" " + decoded)) {
        same(row, "readable", decoded, joined);
      }
    }

    private void piece(int id, String expected) {
      String decoded = tokenizer.decode(new int[] {id}, false);
      if (!expected.equals(decoded)) {
        wrong.add("id " + id + ": expected \"" + expected + "\", got \"" + decoded + "\"");
      }
    }

    /**
     * What the reader that is followed gives, which is written where it differs from the newer.
     *
     * @param what is asked, or nothing for ids
     */
    private JsonNode followed(JsonNode row, String kind, String what) {
      String key = what.isEmpty() ? kind : kind + "_" + what;
      JsonNode newer = row.get(kind).get(what.isEmpty() ? "ids" : what);
      JsonNode older = row.at("/other/v4").path(key);
      JsonNode file = row.at("/other/file").path(key);
      if (golden.get("class").textValue().equals(AS_WRITTEN)) {
        return newer;
      }
      return older.isArray() ? older : alone && file.isArray() ? file : newer;
    }

    private void same(JsonNode row, String what, Object expected, Object actual) {
      if (!expected.equals(actual)) {
        wrong.add(
            "%s, %s: expected %s, got %s"
                .formatted(row.get("name").asText(), what, expected, actual));
      }
    }
  }

  private static List<Integer> ids(JsonNode list) {
    return IntStream.range(0, list.size()).mapToObj(i -> list.get(i).intValue()).toList();
  }

  private static List<Integer> ids(int[] list) {
    return Arrays.stream(list).boxed().toList();
  }

  private static List<String> texts(JsonNode list) {
    return IntStream.range(0, list.size()).mapToObj(i -> list.get(i).textValue()).toList();
  }

  private static List<List<Integer>> pairs(JsonNode list) {
    return IntStream.range(0, list.size()).mapToObj(i -> ids(list.get(i))).toList();
  }
}
