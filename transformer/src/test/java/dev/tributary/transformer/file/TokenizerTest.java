package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class TokenizerTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir private Path folder;

  private Path path() {
    return folder.resolve("tokenizer.json");
  }

  private static ObjectNode words() throws IOException {
    return (ObjectNode)
        JSON.readTree(Files.readString(Textbook.folder().resolve("tokenizer.json")));
  }

  private Tokenizer load(ObjectNode json) throws IOException {
    String ascii = JSON.writer().with(JsonWriteFeature.ESCAPE_NON_ASCII).writeValueAsString(json);
    return Tokenizers.load(Files.writeString(path(), ascii));
  }

  private static String refusal(Executable executable) {
    return String.valueOf(assertThrows(IllegalArgumentException.class, executable).getMessage());
  }

  private String badFile(Executable executable) {
    Exception refusal = assertThrows(Exception.class, executable);
    assertEquals(IOException.class, refusal.getClass(), refusal::toString);
    String sentence = String.valueOf(refusal.getMessage());
    assertTrue(sentence.startsWith(path() + ": "), sentence);
    assertEquals(1, sentence.lines().count(), sentence);
    return sentence.substring(path().toString().length() + 2);
  }

  // ---- whole words -------------------------------------------------------------------------

  /** Ids read off the vocabulary by hand, after the 0 of {@code <bos>}. */
  static Stream<Arguments> prompts() {
    return Stream.of(
        arguments(
            "When Mary and John went to the store , John gave a drink to",
            new int[] {0, 201, 2, 204, 3, 205, 206, 207, 42, 211, 3, 213, 216, 52, 206}),
        arguments(
            "Alice Smith met Bob Jones at the park . Later Bob Jones left . Later Alice",
            new int[] {0, 4, 22, 208, 5, 23, 209, 207, 43, 212, 217, 5, 23, 218, 212, 217, 4}),
        arguments(
            "Emma Wood Peter Cole Kate Mills . Emma Wood Peter",
            new int[] {0, 6, 39, 13, 40, 20, 37, 212, 6, 39, 13}),
        arguments(
            "The war lasted from the year 17 32 to the year 17",
            new int[] {0, 221, 91, 222, 223, 207, 224, 118, 133, 206, 207, 224, 118}),
        arguments("The keys near the cabinet", new int[] {0, 221, 62, 225, 207, 63}),
        arguments("  The\nkeys,the  cabinet.", new int[] {0, 221, 62, 211, 207, 63, 212}));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("prompts")
  void encode_textbookPrompt_isItsWords(String prompt, int[] expected) {
    assertArrayEquals(expected, Tokenizers.textbook().encode(prompt));
  }

  @Test
  void token_andText_areInverse() {
    Tokenizer tokenizer = Tokenizers.textbook();
    assertEquals(230, tokenizer.vocabulary());
    assertEquals(2, tokenizer.token("Mary"));
    assertEquals("Mary", tokenizer.text(2));
    assertEquals("<bos>", tokenizer.text(0));
    for (int id = 2; id < tokenizer.vocabulary(); id++) {
      assertEquals(id, tokenizer.token(tokenizer.text(id)));
    }
  }

  @Test
  void encode_unknownWord_namesIt() {
    Tokenizer tokenizer = Tokenizers.textbook();
    assertEquals(
        "\"Zebedee\" is not in the vocabulary of this model",
        refusal(() -> tokenizer.encode("Mary met Zebedee at the park")));
    assertEquals(
        "\"\ud83d\ude00\", \"Zebedee\" are not in the vocabulary of this model",
        refusal(() -> tokenizer.encode("\ud83d\ude00 Zebedee Mary Zebedee")));
    assertEquals(
        "\"b\", \"c\", \"d\", \"e\", \"f\" and 2 more are not in the vocabulary of this model",
        refusal(() -> tokenizer.encode("a b c d e f g h")));
    assertEquals(
        "\"<unk>\" is not in the vocabulary of this model",
        refusal(() -> tokenizer.encode("Mary <unk>")));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", " ", "\n\t "})
  void encode_emptyPrompt_isRefused(String prompt) {
    assertEquals("the prompt is empty", refusal(() -> Tokenizers.textbook().encode(prompt)));
  }

  @Test
  void encode_halfASurrogatePair_isRefused() {
    String sentence = refusal(() -> Tokenizers.textbook().encode("Mary \ud83d"));
    assertTrue(sentence.endsWith("has half of a surrogate pair"), sentence);
  }

  @Test
  void encode_nulCharacter_isAnUnknownWord() {
    String sentence = refusal(() -> Tokenizers.textbook().encode("Mary \0"));
    assertEquals("\"?\" is not in the vocabulary of this model", sentence);
  }

  /** Longer than any context: the model refuses it, the tokenizer does not cut it. */
  @Test
  void encode_longPrompt_isNotCut() throws IOException {
    ObjectNode json = words();
    json.set(
        "truncation",
        JSON.readTree(
            "{\"direction\":\"Right\",\"max_length\":3,\"strategy\":\"LongestFirst\",\"stride\":9}"));
    json.set("padding", JSON.readTree("{\"strategy\":{\"Fixed\":4000}}"));
    assertEquals(2001, load(json).encode("Mary ".repeat(2000)).length);
  }

  @Test
  void token_notOne_saysWhichTheyAre() {
    Tokenizer tokenizer = Tokenizers.textbook();
    assertEquals(
        "\"Mary John\" is 2 tokens (\"Mary\", \"John\"), expected one",
        refusal(() -> tokenizer.token("Mary John")));
    assertEquals("\"\" is 0 tokens, expected one", refusal(() -> tokenizer.token("")));
    assertEquals(
        "\"Ann\" is not in the vocabulary of this model", refusal(() -> tokenizer.token("Ann")));
  }

  @ParameterizedTest
  @ValueSource(ints = {-1, 230, Integer.MAX_VALUE})
  void text_unknownId_isRefused(int id) {
    assertEquals(
        "no token has id " + id + ", in a vocabulary of 230",
        refusal(() -> Tokenizers.textbook().text(id)));
  }

  @Test
  void encode_manyThreads_agree() throws Exception {
    Tokenizer tokenizer = Tokenizers.textbook();
    int[] expected = tokenizer.encode("The keys near the cabinet");
    ExecutorService threads = Executors.newFixedThreadPool(4);
    try {
      List<Future<?>> results = new ArrayList<>();
      for (int i = 0; i < 4; i++) {
        results.add(
            threads.submit(
                () -> {
                  for (int j = 0; j < 500; j++) {
                    assertArrayEquals(expected, tokenizer.encode("The keys near the cabinet"));
                  }
                }));
      }
      for (Future<?> result : results) {
        result.get();
      }
    } finally {
      threads.shutdown();
    }
  }

  // ---- bytes -------------------------------------------------------------------------------

  /** 256 bytes, three merges and a special token. */
  static ObjectNode bytes() throws IOException {
    ObjectNode json =
        (ObjectNode)
            JSON.readTree(
                """
                {"version": "1.0", "added_tokens": [
                  {"id": 259, "content": "<|endoftext|>", "single_word": false, "lstrip": false,
                   "rstrip": false, "normalized": true, "special": true}],
                 "pre_tokenizer":
                  {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true},
                 "post_processor":
                  {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false},
                 "decoder":
                  {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true},
                 "model": {"dropout": null, "unk_token": null, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": false, "vocab": {},
                  "merges": ["a b", "\u0120 t", "\u0120t ab"]}}
                """);
    ObjectNode vocabulary = (ObjectNode) json.at("/model/vocab");
    // The table of OpenAI's encoder.py: printable Latin-1 first, then the other bytes from U+0100.
    for (int c = '!'; c <= 0xff; c++) {
      if (c <= '~' || (c >= 0xa1 && c != 0xad)) {
        vocabulary.put(String.valueOf((char) c), vocabulary.size());
      }
    }
    for (int c = 0x100; vocabulary.size() < 256; c++) {
      vocabulary.put(String.valueOf((char) c), vocabulary.size());
    }
    vocabulary.put("ab", 256).put("\u0120t", 257).put("\u0120tab", 258);
    return json;
  }

  @Test
  void encode_bytePairs_followsTheMerges() throws IOException {
    Tokenizer tokenizer = load(bytes());
    int b = 'b' - '!';
    int space = 188 + 32;
    assertArrayEquals(new int[] {256, 258, b}, tokenizer.encode("ab tabb"));
    assertArrayEquals(new int[] {space}, tokenizer.encode(" "));
    assertArrayEquals(new int[] {257, 259}, tokenizer.encode(" t<|endoftext|>"));
    assertArrayEquals(
        new int[] {94 + 0xc3 - 0xa1 - 1, 94 + 0xa9 - 0xa1}, tokenizer.encode("\u00e9"));
    assertEquals("the prompt is empty", refusal(() -> tokenizer.encode("")));
    assertEquals(260, tokenizer.vocabulary());
  }

  @Test
  void text_bytePairs_isReadable() throws IOException {
    Tokenizer tokenizer = load(bytes());
    assertEquals(" tab", tokenizer.text(258));
    assertEquals("<|endoftext|>", tokenizer.text(259));
    assertEquals("\n", tokenizer.text(tokenizer.token("\n")));
    assertEquals(
        "\"\u00e9\" is 2 tokens (\"\\xc3\", \"\\xa9\"), expected one",
        refusal(() -> tokenizer.token("\u00e9")));
  }

  @Test
  void decode_byteCharacters_areThoseOfGpt2() {
    assertEquals(256, ByteCharacters.all().size());
    assertEquals(" \n\0", ByteCharacters.decode("\u0120\u010a\u0100"));
    assertEquals("\u00ad\u00e9", ByteCharacters.decode("\u00c2\u0143\u00c3\u00a9"));
    assertEquals(" a\\xe2\\x82", ByteCharacters.decode("\u0120a\u00e2\u0124"));
    assertEquals("\u4e2d", ByteCharacters.decode("\u4e2d"));
  }

  /** Without a token for each byte the library would leave characters out of the prompt. */
  @Test
  void byteWithoutToken_isInNoText() throws IOException {
    ObjectNode json = bytes();
    ((ObjectNode) json.at("/model/vocab")).remove("!");
    ((ObjectNode) json.at("/model/vocab")).remove("\u00c3"); // the first byte of many letters
    ((ObjectNode) json.at("/model/vocab")).put("<|endoftext|>", 259);
    String sentence = "\"!\", \"\u00e9\" are not in the vocabulary of this model";
    assertEquals(sentence, refusal(() -> load(json).encode("ab!!\u00e9")));
    ((ObjectNode) json.at("/model")).put("unk_token", "<|endoftext|>");
    assertEquals(sentence, refusal(() -> load(json).encode("ab!!\u00e9")));
    assertArrayEquals(new int[] {256, 259}, load(json).encode("ab<|endoftext|>"));
  }

  @Test
  void byteWithoutToken_inTextsThatChange_needsAnUnknownToken() throws IOException {
    ObjectNode json = bytes();
    ((ObjectNode) json.at("/model/vocab")).remove("!");
    json.putObject("normalizer").put("type", "NFC");
    assertTrue(badFile(() -> load(json)).startsWith("model.unk_token is null"));
    ((ObjectNode) json.at("/model")).put("unk_token", "<|endoftext|>");
    ((ObjectNode) json.at("/model/vocab")).put("<|endoftext|>", 259);
    assertEquals(
        "\"!\" is not in the vocabulary of this model", refusal(() -> load(json).encode("ab!")));
  }

  @ParameterizedTest
  @CsvSource({
    "dropout, 0.1",
    "continuing_subword_prefix, '\"##\"'",
    "end_of_word_suffix, '\"</w>\"'",
    "merges, '[\"a b\",\"a b\"]'"
  })
  void load_bytePairsThatAreNotFollowed_areRefused(String key, String value) throws IOException {
    ObjectNode json = bytes();
    ((ObjectNode) json.at("/model")).set(key, JSON.readTree(value));
    String sentence = badFile(() -> load(json));
    assertTrue(
        sentence.startsWith(key.equals("merges") ? "merge \"a b\" is" : "model." + key + " is"),
        sentence);
  }

  // ---- files -------------------------------------------------------------------------------

  static Stream<Arguments> wrong() {
    String special = "/post_processor/special_tokens/<bos>";
    String template =
        "{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],"
            + "\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
            + "{\"Sequence\":{\"id\":\"B\",\"type_id\":0}}],\"special_tokens\":{}}";
    return Stream.of(
        arguments("", "model", "null", "model is null"),
        arguments("", "version", "\"9\"", "this file does not describe a tokenizer"),
        arguments("/model", "type", "\"Char\"", "model.type is \"Char\", expected BPE or"),
        arguments("/model", "type", "\"Unigram\"", "expected a list of pieces and their scores"),
        arguments("/model", "type", "7", "model.type is 7"),
        arguments("/model", "vocab", "[]", "model.vocab is []"),
        arguments("/model", "vocab", "{}", "model.unk_token is \"<unk>\", expected a token of the"),
        arguments("/model", "unk_token", "\"nobody\"", "model.unk_token is \"nobody\""),
        arguments("/model", "unk_token", "null", "model.unk_token is null"),
        arguments("/model/vocab", "Mary", "-1", "model.vocab.Mary is -1"),
        arguments("/model/vocab", "Mary", "2.0", "model.vocab.Mary is 2.0"),
        arguments("/model/vocab", "Mary", "2147483647", "model.vocab.Mary is 2147483647"),
        arguments("/model/vocab", "Mary", "4294967298", "model.vocab.Mary is 4294967298"),
        arguments("/model/vocab", "Mary", "3", "tokens \"Mary\" and \"John\" both have id 3"),
        arguments(
            "",
            "added_tokens",
            "[{\"id\":230,\"content\":\"\\ud800\"}]",
            "a text in this file has half of a surrogate pair"),
        arguments(
            "", "normalizer", "{\"type\":\"Unheard\"}", "normalizer.type is \"Unheard\", exp"),
        arguments(
            "", "normalizer", "{\"type\":\"Precompiled\"}", "precompiled_charsmap is missing"),
        arguments("", "pre_tokenizer", "{\"type\":\"Split\"}", "pre_tokenizer.pattern is missing"),
        arguments(
            "",
            "pre_tokenizer",
            "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a+)+$\"}}",
            "pre_tokenizer.pattern.Regex is \"(a+)+$\", expected a regular expression that is"),
        arguments(
            "",
            "pre_tokenizer",
            "{\"type\":\"Split\",\"pattern\":{\"String\":\"\"}}",
            "pre_tokenizer.pattern.String is \"\", expected a text that is not empty"),
        arguments(
            "", "pre_tokenizer", "{\"type\":\"FixedLength\"}", "pre_tokenizer.type is \"FixedLen"),
        arguments("", "pre_tokenizer", "{}", "pre_tokenizer.type is missing"),
        arguments(
            "",
            "pre_tokenizer",
            "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Whitespace\"},{\"type\":\"X\"}]}",
            "pre_tokenizer.pretokenizers[1].type is \"X\""),
        arguments(
            "", "post_processor", "{\"type\":\"BertProcessing\"}", "post_processor.sep is mis"),
        arguments("/post_processor", "single", "[]", "post_processor.single is []"),
        arguments(
            "/post_processor",
            "single",
            "[{\"Sequence\":{\"id\":\"B\",\"type_id\":0}}]",
            "post_processor.single is"),
        arguments(
            "/post_processor",
            "single",
            "[{\"SpecialToken\":{\"id\":\"<eos>\",\"type_id\":0}}]",
            "post_processor.single[0].SpecialToken.id is \"<eos>\""),
        arguments("/post_processor", "special_tokens", "{}", ".SpecialToken.id is \"<bos>\""),
        arguments(special, "ids", "[2]", "post_processor.special_tokens.<bos>.ids is [2]"),
        arguments(special, "ids", "[0,0]", "<bos>.tokens is [\"<bos>\"], expected a list as long"),
        arguments(special, "tokens", "[\"nobody\"]", "<bos>.ids is [0]"),
        arguments(
            "",
            "post_processor",
            "{\"type\":\"Sequence\",\"processors\":[" + template + "," + template + "]}",
            "expected at most one step that puts tokens around a text"),
        arguments("", "added_tokens", "{}", "added_tokens is {}"),
        arguments("", "added_tokens", "[1]", "added_tokens is [1]"),
        arguments("", "added_tokens", "[{\"id\":0}]", "added_tokens[0].content is missing"),
        arguments(
            "",
            "added_tokens",
            "[{\"id\":0,\"content\":\"\"}]",
            "added_tokens[0].content is \"\", expected a text that is not empty"),
        arguments(
            "",
            "added_tokens",
            "[{\"id\":5,\"content\":\"<bos>\"}]",
            "added_tokens[0].id is 5, expected 0"),
        arguments(
            "",
            "added_tokens",
            "[{\"id\":5,\"content\":\"Zebedee\"}]",
            "tokens \"Bob\" and \"Zebedee\" both have id 5"),
        arguments(
            "",
            "added_tokens",
            "[{\"id\":777,\"content\":\"Zebedee\",\"single_word\":false,\"lstrip\":false,"
                + "\"rstrip\":false,\"normalized\":false,\"special\":true}]",
            "added token \"Zebedee\" has id 777, expected 230, which is the next"));
  }

  @ParameterizedTest(name = "{0} {1} {2}")
  @MethodSource("wrong")
  void load_wrong_saysWhere(String pointer, String key, String value, String message)
      throws IOException {
    ObjectNode json = words();
    ((ObjectNode) json.at(pointer)).set(key, JSON.readTree(value));
    String sentence = badFile(() -> load(json));
    assertTrue(sentence.contains(message), sentence);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "[]", "{", "{}{}", "{\"a\":1,\"a\":1}", "nonsense", "\ufeff{}"})
  void load_noJsonObject_isRefused(String content) throws IOException {
    Files.writeString(path(), content);
    String sentence = badFile(() -> Tokenizers.load(path()));
    assertTrue(sentence.startsWith("this file"), sentence);
  }

  @Test
  void load_missing_saysSo() {
    assertEquals("there is no such file", badFile(() -> Tokenizers.load(path())));
  }

  // ---- text that grows ---------------------------------------------------------------------

  /** Two bytes of a character each, in whatever pieces they come. */
  @Test
  void continuation_pieceByPiece_isTheText() throws IOException {
    Tokenizer tokenizer = load(bytes());
    int[] ids = tokenizer.tokens("ab \u00e9t\u00e9 tab");
    for (int prompt = 1; prompt < ids.length; prompt++) {
      int[] before = Arrays.copyOf(ids, prompt);
      String said = "";
      for (int end = prompt; end <= ids.length; end++) {
        String more = tokenizer.continuation(before, Arrays.copyOfRange(ids, prompt, end));
        assertTrue(more.startsWith(said) && more.indexOf(0xfffd) < 0, more);
        said = more;
      }
      assertTrue("ab \u00e9t\u00e9 tab".endsWith(said), said);
      assertEquals(
          "ab \u00e9t\u00e9 tab", tokenizer.continuation(new int[0], before) + said, "" + prompt);
    }
  }

  @Test
  void continuation_textbook_hasTheSpaceBetweenWords() {
    Tokenizer words = Tokenizers.textbook();
    int[] before = words.encode("Mary gave");
    assertEquals(" a drink", words.continuation(before, words.tokens("a drink")));
    assertEquals(" a", words.continuation(before, new int[] {words.token("a"), 1 << 20}));
    assertEquals("", words.continuation(before, new int[0]));
  }
}
