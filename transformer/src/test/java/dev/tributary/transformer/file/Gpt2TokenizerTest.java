package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * GPT-2's own words; README.md in the folder with its files says where the expected ids are from.
 */
class Gpt2TokenizerTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static Tokenizer tokenizer = Tokenizers.textbook();

  @TempDir private Path folder;

  static Path file(String name) {
    try {
      return Path.of(
          Objects.requireNonNull(Gpt2TokenizerTest.class.getResource("gpt2-tokenizer/" + name))
              .toURI());
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }

  @BeforeAll
  static void load() throws IOException {
    tokenizer = Tokenizers.load(file("vocab.json").resolveSibling(""));
  }

  // ---- the ids of others -------------------------------------------------------------------

  @ParameterizedTest
  @ValueSource(strings = {"golden.json", "tricky.json"})
  void encode_goldenTexts_areTheirIds(String name) throws IOException {
    List<String> wrong = new ArrayList<>();
    JsonNode all = JSON.readTree(Files.readString(file(name)));
    assertTrue(all.size() >= 19);
    for (JsonNode golden : all) {
      String text = golden.get("text").textValue();
      List<Integer> expected = new ArrayList<>();
      golden.get("ids").forEach(id -> expected.add(id.intValue()));
      if (text.isEmpty()) {
        assertEquals("the prompt is empty", refusal(() -> tokenizer.encode(text)));
      } else if (!expected.equals(ids(text))) {
        wrong.add(text + " is " + expected + ", got " + ids(text));
      }
    }
    assertEquals(List.of(), wrong);
  }

  private static List<Integer> ids(String text) {
    return Arrays.stream(tokenizer.encode(text)).boxed().toList();
  }

  /** Ids by OpenAI's encoder.py: for JavaScript, U+FEFF is whitespace and U+0085 is not. */
  static Stream<Arguments> whitespace() {
    return Stream.of(
        arguments(" \ufeffa", new int[] {27332, 119, 123, 64}),
        arguments(" \ufeff\ufeff!", new int[] {27332, 119, 123, 171, 119, 123, 0}),
        arguments("\ufeff a", new int[] {171, 119, 123, 257}),
        arguments("a \u0085b", new int[] {64, 220, 126, 227, 65}),
        arguments("a  \u0085 b", new int[] {64, 220, 1587, 227, 275}),
        arguments("\u0085 \u0085b", new int[] {126, 227, 220, 126, 227, 65}),
        arguments("\u001c\u001da", new int[] {216, 217, 64}),
        arguments("a \u001cb", new int[] {64, 220, 216, 65}),
        arguments(" \u180eb", new int[] {28053, 254, 236, 65}));
  }

  @ParameterizedTest
  @MethodSource("whitespace")
  void encode_disputedWhitespace_isOpenAis(String text, int[] expected) {
    assertArrayEquals(expected, tokenizer.encode(text));
  }

  @Test
  void text_everyId_isItsBytes() throws IOException {
    JsonNode vocabulary = JSON.readTree(Files.readString(file("vocab.json")));
    assertEquals(50257, vocabulary.size());
    assertEquals(50257, tokenizer.vocabulary());
    Map<Integer, Integer> bytes = bytesOfCharacters();
    List<String> wrong = new ArrayList<>();
    for (Map.Entry<String, JsonNode> entry : vocabulary.properties()) {
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      entry.getKey().chars().forEach(c -> out.write(Objects.requireNonNull(bytes.get(c))));
      int id = entry.getValue().intValue();
      if (!readable(out.toByteArray()).equals(tokenizer.text(id))) {
        wrong.add(id + ": " + entry.getKey());
      }
    }
    assertEquals(List.of(), wrong);
  }

  /** The table as GPT-2's encoder.py makes it: two lists that grow side by side. */
  private static Map<Integer, Integer> bytesOfCharacters() {
    List<Integer> bytes = new ArrayList<>();
    for (int[] range : new int[][] {{'!', '~'}, {0xa1, 0xac}, {0xae, 0xff}}) {
      for (int b = range[0]; b <= range[1]; b++) {
        bytes.add(b);
      }
    }
    List<Integer> characters = new ArrayList<>(bytes);
    for (int b = 0; b < 256; b++) {
      if (!bytes.contains(b)) {
        bytes.add(b);
        characters.add(256 + bytes.size() - 189);
      }
    }
    Map<Integer, Integer> result = new HashMap<>();
    for (int i = 0; i < 256; i++) {
      result.put(characters.get(i), bytes.get(i));
    }
    assertEquals(256, result.size());
    return result;
  }

  private static String readable(byte[] bytes) {
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
    } catch (CharacterCodingException e) {
      StringBuilder result = new StringBuilder();
      for (byte b : bytes) {
        result.append(b < 0 ? "\\x" + Integer.toHexString(b & 0xff) : String.valueOf((char) b));
      }
      return result.toString();
    }
  }

  /** The tokens of a text, side by side, are its bytes. */
  @Test
  void token_ofItsText_isItself() {
    for (int id = 0; id < tokenizer.vocabulary(); id += 7) {
      String text = tokenizer.text(id);
      if (!text.contains("\\x")) {
        StringBuilder pieces = new StringBuilder();
        for (int piece : tokenizer.encode(text)) {
          pieces.append(tokenizer.text(piece));
        }
        assertEquals(text, pieces.toString());
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"\ud83d", "a\ude00", "\ude00\ud83d", "<|endoftext|>\ud83d"})
  void encode_halfASurrogatePair_isRefused(String text) {
    String sentence = refusal(() -> tokenizer.encode(text));
    assertTrue(sentence.endsWith("has half of a surrogate pair"), sentence);
  }

  /** Long words take the library about as long as many short ones do. */
  @Test
  void encode_longWord_isNotCut() {
    assertEquals(1 << 17, 4 * tokenizer.encode("a".repeat(1 << 17)).length);
  }

  // ---- what is there -----------------------------------------------------------------------

  @Test
  void load_folderOrFile_findsTheSame() throws IOException {
    copy("vocab.json");
    copy("merges.txt");
    int[] expected = tokenizer.encode("Hello<|endoftext|> world");
    for (String name : List.of("", "vocab.json", "merges.txt")) {
      assertArrayEquals(
          expected, Tokenizers.load(folder.resolve(name)).encode("Hello<|endoftext|> world"));
    }
    Files.copy(Textbook.folder().resolve("tokenizer.json"), folder.resolve("tokenizer.json"));
    assertEquals(230, Tokenizers.load(folder).vocabulary());
    assertEquals(50257, Tokenizers.load(folder.resolve("vocab.json")).vocabulary());
  }

  private void copy(String name) throws IOException {
    Files.copy(file(name), folder.resolve(name));
  }

  @Test
  void load_halfOfThePair_saysWhatIsMissing() throws IOException {
    assertEquals(
        ": there is no tokenizer in this folder, expected tokenizer.json, vocab.json with"
            + " merges.txt, tokenizer.model or spiece.model",
        badFile(folder));
    Path nowhere = folder.resolve("nowhere");
    assertEquals("/nowhere: there is no such file", badFile(nowhere));
    copy("vocab.json");
    assertEquals("/merges.txt: there is no such file", badFile(folder));
    assertEquals("/merges.txt: there is no such file", badFile(folder.resolve("vocab.json")));
    Files.delete(folder.resolve("vocab.json"));
    copy("merges.txt");
    assertEquals("/vocab.json: there is no such file", badFile(folder));
  }

  // ---- a small pair, valid and not ---------------------------------------------------------

  /** 256 bytes, then ab, Ġt and Ġtab. */
  static ObjectNode smallVocabulary() throws IOException {
    return (ObjectNode) TokenizerTest.bytes().at("/model/vocab");
  }

  static final String SMALL_MERGES = "#version: 0.2\na b\n\u0120 t\n\u0120t ab\n";

  private Tokenizer load(String vocabulary, String merges) throws IOException {
    Files.writeString(folder.resolve("vocab.json"), vocabulary);
    Files.writeString(folder.resolve("merges.txt"), merges);
    return Tokenizers.load(folder);
  }

  @Test
  void load_smallPair_isWhatItsDescriptionSays() throws IOException {
    Path described = folder.resolve("description.json");
    Files.writeString(described, JSON.writeValueAsString(TokenizerTest.bytes()));
    for (String merges : List.of(SMALL_MERGES, SMALL_MERGES.replace("\n", "\r\n").strip())) {
      Tokenizer pair = load(smallVocabulary().toString(), merges);
      for (String text : List.of("ab tabb", " ", "\u00e9", "tab tab\n tabtab")) {
        assertArrayEquals(Tokenizers.load(described).encode(text), pair.encode(text));
      }
      assertEquals(259, pair.vocabulary());
    }
  }

  /** Without the token, its text is text like any other. */
  @Test
  void load_noEndOfText_hasNoSpecialToken() throws IOException {
    assertEquals(
        13, load(smallVocabulary().toString(), SMALL_MERGES).encode("<|endoftext|>").length);
    ObjectNode vocabulary = smallVocabulary().put("<|endoftext|>", 300);
    assertArrayEquals(
        new int[] {300}, load(vocabulary.toString(), SMALL_MERGES).encode("<|endoftext|>"));
  }

  static Stream<Arguments> badPairs() throws IOException {
    ObjectNode small = smallVocabulary();
    String makesNone = " does not make a token out of two tokens of the vocabulary";
    return Stream.of(
        arguments("[]", SMALL_MERGES, "vocab.json: this file holds [], expected a JSON object"),
        arguments("{}", SMALL_MERGES, "vocab.json: there is no token for 256 of the 256 bytes"),
        arguments(
            small.deepCopy().without("!").toString(),
            SMALL_MERGES,
            "vocab.json: there is no token for 1 of the 256 bytes"),
        arguments(
            small.deepCopy().put("c", 1 + (1L << 32)).toString(),
            SMALL_MERGES,
            "vocab.json: c is 4294967297, expected a token id from 0"),
        arguments(
            small.deepCopy().put("c", Integer.MAX_VALUE).toString(),
            SMALL_MERGES,
            "vocab.json: c is 2147483647, expected a token id from 0"),
        arguments(
            small.deepCopy().put("c", "1").toString(),
            SMALL_MERGES,
            "vocab.json: c is \"1\", expected a token id from 0"),
        arguments(
            small.deepCopy().put("<|endoftext|>", -1).toString(),
            SMALL_MERGES,
            "vocab.json: <|endoftext|> is -1, expected a token id from 0"),
        arguments(
            small.deepCopy().put("new", 7).toString(),
            SMALL_MERGES,
            "vocab.json: tokens \"(\" and \"new\" both have id 7"),
        arguments(
            "{\"!\": 0, \"!\": 1}",
            SMALL_MERGES,
            "vocab.json: this file is not valid JSON: key \"!\" is there twice, at line 1, column 13"),
        arguments(
            small.deepCopy().put("HALF", 400).toString().replace("HALF", "\\ud83d"),
            SMALL_MERGES,
            "vocab.json: this file is not valid JSON: it breaks at line 1, column 1978, near"
                + " \":258,\"\\ud83d\":400}\""),
        arguments(small.toString(), "a b\na b\n", "merges.txt: merge \"a b\" is listed twice"),
        arguments(small.toString(), "a c\n", "merges.txt: merge \"a c\"" + makesNone),
        arguments(small.toString(), "ab x\n", "merges.txt: merge \"ab x\"" + makesNone),
        arguments(small.toString(), "a  b\n", "merges.txt: merge \"a  b\"" + makesNone),
        arguments(small.toString(), "a b \n", "merges.txt: merge \"a b \"" + makesNone),
        arguments(small.toString(), "a b\n\n", "merges.txt: merge \"\"" + makesNone),
        arguments(
            small.toString(), "#version\n#version", "merges.txt: merge \"#version\"" + makesNone),
        arguments(
            small.toString(),
            "a ".repeat(1_000_000),
            "merges.txt: merge \"" + "a ".repeat(50) + "...\"" + makesNone));
  }

  @ParameterizedTest
  @MethodSource("badPairs")
  void load_badPair_isRefusedInOneSentence(String vocabulary, String merges, String sentence) {
    Executable load = () -> load(vocabulary, merges);
    assertEquals(folder.resolve(sentence).toString(), badFile(load));
  }

  @Test
  void load_bytesThatAreNoText_areRefused() throws IOException {
    Files.writeString(folder.resolve("vocab.json"), smallVocabulary().toString());
    Files.write(folder.resolve("merges.txt"), new byte[] {'a', ' ', 'b', '\n', (byte) 0xff});
    assertEquals("/merges.txt: this file is not UTF-8", badFile(folder));
    Files.write(folder.resolve("vocab.json"), new byte[] {'{', '"', (byte) 0xc3, '"', '}'});
    assertEquals("/vocab.json: this file is not valid JSON: it is not UTF-8", badFile(folder));
  }

  private static String refusal(Executable executable) {
    return String.valueOf(assertThrows(IllegalArgumentException.class, executable).getMessage());
  }

  private String badFile(Path path) {
    String sentence = badFile(() -> Tokenizers.load(path));
    assertTrue(sentence.startsWith(folder.toString()), sentence);
    return sentence.substring(folder.toString().length());
  }

  private static String badFile(Executable executable) {
    Exception refusal = assertThrows(Exception.class, executable);
    assertEquals(IOException.class, refusal.getClass(), refusal::toString);
    return String.valueOf(refusal.getMessage());
  }
}
