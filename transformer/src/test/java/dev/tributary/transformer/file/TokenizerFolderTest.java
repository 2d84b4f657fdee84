package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What the files beside a tokenizer change. */
class TokenizerFolderTest {
  private static final String CONFIG = "tokenizer_config.json";
  private static final String SPECIAL_TOKENS = "special_tokens_map.json";
  private static final String ADDED_TOKENS = "added_tokens.json";

  /** Files with everything in them that is read. */
  static final String VALID_CONFIG =
      """
      {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": true, "add_bos_token": true,
       "add_eos_token": false, "split_special_tokens": false, "bos_token": "<bos>",
       "eos_token": {"content": "<eos>", "lstrip": true, "rstrip": true, "single_word": true,
        "normalized": false, "special": true, "__type": "AddedToken"}, "unk_token": null,
       "additional_special_tokens": ["<a>", {"content": "<b>", "rstrip": true}],
       "extra_special_tokens": {"image_token": "<image>"},
       "added_tokens_decoder": {"259": {"content": "<bos>", "normalized": true, "special": true},
        "300": {"content": " ", "lstrip": true, "rstrip": false, "special": false}},
       "model_max_length": 1000000000000000019884624838656}
      """;

  static final String VALID_SPECIAL_TOKENS =
      """
      {"bos_token": "<bos>", "mask_token": {"content": "<mask>", "lstrip": true},
       "additional_special_tokens": ["<x>", {"content": "<y>", "single_word": true}]}
      """;

  static final String VALID_ADDED_TOKENS = "{\"<bos>\": 300, \"tab\": 261, \"<x>\": 262}";

  /** A class that changes nothing, and one that means GPT-2. */
  private static final String ANY = "'tokenizer_class': 'PreTrainedTokenizerFast'";

  private static final String GPT2 = "'tokenizer_class': 'GPT2Tokenizer'";

  @TempDir private Path folder;

  /** A tokenizer of 256 bytes, ab (256), Ġt (257), Ġtab (258) and, if described, the end (259). */
  private void write(boolean described) throws IOException {
    if (described) {
      Files.writeString(folder.resolve("tokenizer.json"), TokenizerTest.bytes().toString());
    } else {
      ObjectNode vocabulary = Gpt2TokenizerTest.smallVocabulary();
      Files.writeString(folder.resolve("vocab.json"), vocabulary.toString());
      Files.writeString(folder.resolve("merges.txt"), Gpt2TokenizerTest.SMALL_MERGES);
    }
  }

  private void beside(String name, String json) throws IOException {
    if (!json.isEmpty()) {
      Files.writeString(folder.resolve(name), json.replace('\'', '"'));
    }
  }

  // ---- ids ---------------------------------------------------------------------------------

  /** Ids that transformers 4.57.6 and 5.24.0 both give for these files. */
  static Stream<Arguments> described() {
    return Stream.of(
        arguments("{" + ANY + "}", "", "", "tab<x>ab", new int[] {83, 256, 27, 87, 29, 256}),
        arguments(
            "{" + ANY + ", 'pad_token': '<x>'}", "", "", "tab<x>ab", new int[] {83, 256, 260, 256}),
        arguments(
            "{" + ANY + "}",
            "{'sep_token': {'content': '<x>', 'lstrip': true}}",
            "",
            "tab <x> ab",
            new int[] {83, 256, 260, 220, 256}),
        arguments(
            "{" + ANY + ", 'additional_special_tokens': ['<y>', '<x>']}",
            "",
            "",
            "tab<x>ab<y>",
            new int[] {83, 256, 261, 256, 260}),
        arguments(
            "{" + ANY + "}",
            "",
            "{'<x>': 270, '<y>': 262}",
            "tab<x>ab<y>",
            new int[] {83, 256, 261, 256, 260}),
        arguments(
            "{"
                + ANY
                + ", 'added_tokens_decoder': {'301': {'content': '<x>'},"
                + " '300': {'content': 'ab', 'single_word': true}}}",
            "{'pad_token': '<y>'}",
            "{'<z>': 260}",
            "ab tab<x>ab<y><z>",
            new int[] {256, 258, 260, 256, 27, 88, 29, 27, 89, 29}),
        arguments(
            "{"
                + ANY
                + ", 'added_tokens_decoder': {'259': {'content': '<|endoftext|>', 'rstrip': true,"
                + " 'special': true}}}",
            "",
            "",
            "ab<|endoftext|> tab",
            new int[] {256, 259, 83, 256}),
        arguments(
            "{" + ANY + ", 'split_special_tokens': true, 'pad_token': '<x>'}",
            "",
            "",
            "b<x><|end",
            new int[] {65, 27, 87, 29, 27, 91, 68, 77, 67}),
        arguments(
            "{" + GPT2 + ", 'add_bos_token': true, 'bos_token': '<|endoftext|>'}",
            "",
            "",
            "tab",
            new int[] {83, 256}),
        arguments(
            "{" + GPT2 + ", 'add_prefix_space': true}",
            "",
            "",
            "tab<|endoftext|>tab",
            new int[] {258, 259, 258}),
        arguments(
            "{" + GPT2 + ", 'bos_token': '<x>'}",
            "",
            "",
            "<|endoftext|>tab<x>",
            new int[] {259, 83, 256, 260}));
  }

  @ParameterizedTest(name = "{0} {1} {2}")
  @MethodSource("described")
  void encode_besideTokenizerJson_isAsItsReadersSay(
      String config, String specialTokens, String addedTokens, String text, int[] expected)
      throws IOException {
    write(true);
    beside(CONFIG, config);
    beside(SPECIAL_TOKENS, specialTokens);
    beside(ADDED_TOKENS, addedTokens);
    assertArrayEquals(expected, Tokenizers.load(folder).encode(text));
    assertArrayEquals(expected, Tokenizers.load(folder.resolve("tokenizer.json")).encode(text));
  }

  /** The same for a pair, without and with the tokens that are put around a text. */
  static Stream<Arguments> pairs() {
    return Stream.of(
        arguments("{" + GPT2 + "}", "", "", "tab<|endoftext|>", "83 256 259", ""),
        arguments(
            "{" + GPT2 + ", 'add_bos_token': true, 'add_prefix_space': true}",
            "",
            "",
            "tab",
            "258",
            "259 "),
        arguments(
            "{" + GPT2 + ", 'add_bos_token': true, 'bos_token': '<x>'}",
            "",
            "",
            "tab<x>",
            "83 256 259",
            "259 "),
        arguments(
            "{" + GPT2 + "}",
            "{'pad_token': '<y>', 'additional_special_tokens': ['<x>']}",
            "{'<x>': 259, '<y>': 260}",
            "tab<x>ab<y><|endoftext|>",
            "83 256 259 256 260 261",
            ""),
        arguments(
            "{" + GPT2 + ", 'bos_token': '<x>', 'eos_token': null, 'unk_token': null}",
            "",
            "",
            "tab<x><|end",
            "83 256 259 27 91 68 77 67",
            ""));
  }

  @ParameterizedTest(name = "{0} {1} {2}")
  @MethodSource("pairs")
  void encode_besideAPair_isAsItsReadersSay(
      String config,
      String specialTokens,
      String addedTokens,
      String text,
      String tokens,
      String before)
      throws IOException {
    write(false);
    beside(CONFIG, config);
    beside(SPECIAL_TOKENS, specialTokens);
    beside(ADDED_TOKENS, addedTokens);
    for (String name : List.of("", "vocab.json", "merges.txt")) {
      Tokenizer tokenizer = Tokenizers.load(folder.resolve(name));
      assertArrayEquals(ids(tokens), tokenizer.tokens(text));
      assertArrayEquals(ids(before + tokens), tokenizer.encode(text));
    }
  }

  private static int[] ids(String list) {
    return Stream.of(list.split(" ")).mapToInt(Integer::parseInt).toArray();
  }

  /** A family decides if no class is named: opt's files are read as GPT-2's. */
  @ParameterizedTest
  @CsvSource({"gpt2, 260", "opt, 260", "'', 259"})
  void load_familyOfAPair_saysWhetherATextHasAnEnd(String family, int size) throws IOException {
    write(false);
    beside("config.json", family.isEmpty() ? "{}" : "{'model_type': '" + family + "'}");
    assertEquals(size, Tokenizers.load(folder).vocabulary());
  }

  @Test
  void token_isWithoutWhatIsPutAroundAPrompt() throws IOException {
    write(false);
    beside(CONFIG, "{" + GPT2 + ", 'add_bos_token': true, 'add_prefix_space': true}");
    Tokenizer tokenizer = Tokenizers.load(folder);
    assertEquals(258, tokenizer.token("tab"));
    assertEquals(0, tokenizer.tokens("").length);
  }

  @Test
  void files_areThoseThatWereRead() throws IOException {
    write(true);
    beside(CONFIG, "{" + ANY + "}");
    beside("config.json", "{}");
    beside("vocab.json", "not read");
    assertEquals(
        Stream.of("tokenizer.json", CONFIG, "config.json").map(folder::resolve).toList(),
        Tokenizers.load(folder).files());
    Path other = Files.copy(folder.resolve("tokenizer.json"), folder.resolve("other.json"));
    assertEquals(List.of(other), Tokenizers.load(other).files());
  }

  // ---- refusals ----------------------------------------------------------------------------

  static Stream<Arguments> refused() {
    return Stream.of(
        arguments(CONFIG, "{'add_prefix_space': 1}", "add_prefix_space is 1, expected true or"),
        arguments(CONFIG, "{'add_bos_token': 'yes'}", "add_bos_token is \"yes\""),
        arguments(CONFIG, "{'split_special_tokens': 'x'}", "split_special_tokens is \"x\""),
        arguments(CONFIG, "{'tokenizer_class': 7}", "tokenizer_class is 7, expected a text"),
        arguments(CONFIG, "{'auto_map': {'AutoTokenizer': ['a.B', null]}}", "auto_map is {"),
        arguments(CONFIG, "{'auto_map': 'a.B'}", "auto_map is \"a.B\", expected none"),
        arguments(CONFIG, "{'fast_tokenizer_files': ['x.json']}", "fast_tokenizer_files is ["),
        arguments(CONFIG, "{'pad_token': 7}", "pad_token is 7, expected a token: a text, or"),
        arguments(CONFIG, "{'pad_token': {}}", "pad_token.content is missing"),
        arguments(CONFIG, "{'pad_token': {'content': ''}}", "pad_token.content is \"\""),
        arguments(CONFIG, "{'pad_token': {'content': 'x', 'lstrip': 0}}", "pad_token.lstrip is 0"),
        arguments(CONFIG, "{'additional_special_tokens': 'x'}", "additional_special_tokens is"),
        arguments(
            CONFIG, "{'extra_special_tokens': [1]}", "extra_special_tokens[0] is 1, expected a"),
        arguments(
            CONFIG, "{'extra_special_tokens': {'a': 1}}", "extra_special_tokens.a is 1, expected"),
        arguments(CONFIG, "{'added_tokens_decoder': []}", "added_tokens_decoder is [], expected"),
        arguments(
            CONFIG, "{'added_tokens_decoder': {'1': 'x'}}", "added_tokens_decoder.1 is \"x\""),
        arguments(
            CONFIG,
            "{'added_tokens_decoder': {'-1': {'content': 'x'}}}",
            "added_tokens_decoder.-1 is {\"content\":\"x\"}, expected a token id as the key"),
        arguments(
            CONFIG,
            "{'added_tokens_decoder': {'300': {'content': ''}}}",
            "added_tokens_decoder.300.content is \"\", expected a text that is not empty"),
        arguments(
            CONFIG, "{'pad_token': '\\ud800'}", "a text in this file has half of a surrogate pair"),
        arguments(SPECIAL_TOKENS, "{'mask_token': [1]}", "mask_token is [1]"),
        arguments(ADDED_TOKENS, "{'': 300}", " is 300, expected a token that is not empty"),
        arguments(ADDED_TOKENS, "{'x': '300'}", "x is \"300\", expected a token id from 0"),
        arguments(ADDED_TOKENS, "{'x': -1}", "x is -1"),
        arguments(ADDED_TOKENS, "{'x': 4294967556}", "x is 4294967556"),
        arguments(ADDED_TOKENS, "{'x': 300, 'y': 300}", "y is 300, expected an id that \"x\" has"),
        arguments(ADDED_TOKENS, "[]", "this file holds []"),
        arguments(ADDED_TOKENS, "{'x': 1, 'x': 2}", "this file is not valid JSON"),
        arguments("config.json", "{'model_type': 3}", "model_type is 3, expected a text"),
        arguments("config.json", "\ufeff{}", "this file is not valid JSON"));
  }

  @ParameterizedTest(name = "{0} {1}")
  @MethodSource("refused")
  void load_wrong_saysWhere(String name, String json, String message) throws IOException {
    for (boolean described : List.of(true, false)) {
      write(described);
      beside(name, json);
      String sentence = refusal();
      assertTrue(sentence.startsWith(name + ": "), sentence);
      assertTrue(sentence.contains(message), sentence);
    }
  }

  /** What is claimed for a token of tokenizer.json can be contradicted there alone. */
  @Test
  void load_idOfAnother_isRefused() throws IOException {
    write(true);
    beside(ADDED_TOKENS, "{'x': 259}");
    assertTrue(refusal().contains("x is 259, expected an id that \"<|endoftext|>\" has not"));
  }

  @ParameterizedTest
  @CsvSource({
    "tokenizer_config.json, tokenizer_class, RobertaTokenizer",
    "tokenizer_config.json, tokenizer_class, Qwen2TokenizerFast",
    "tokenizer_config.json, tokenizer_class, PreTrainedTokenizerFast",
    "config.json, tokenizer_class, CLIPTokenizer",
    "config.json, model_type, roberta",
    "config.json, model_type, qwen2"
  })
  void load_pairOfAnotherKind_isRefusedByName(String name, String key, String value)
      throws IOException {
    write(false);
    beside(name, "{'" + key + "': '" + value + "'}");
    String sentence = refusal();
    assertTrue(sentence.contains(key + " is \"" + value + "\", expected"), sentence);
    write(true);
    assertArrayEquals(new int[] {83, 256}, Tokenizers.load(folder).encode("tab"));
  }

  @Test
  void load_beginWithoutAToken_isRefused() throws IOException {
    write(false);
    beside(CONFIG, "{" + GPT2 + ", 'add_bos_token': true, 'bos_token': null}");
    assertTrue(refusal().contains("add_bos_token is true, expected false, for there is no bos_"));
  }

  /** Where a text could make one of these tokens, it cannot be split. */
  @Test
  void load_splitTokensThatATextMakes_areRefused() throws IOException {
    ObjectNode json = TokenizerTest.bytes();
    ((ObjectNode) json.get("model")).put("ignore_merges", true);
    Files.writeString(folder.resolve("tokenizer.json"), json.toString());
    beside(CONFIG, "{" + ANY + ", 'split_special_tokens': true}");
    assertTrue(refusal().contains("split_special_tokens is true, expected false"), refusal());
  }

  // ---- limits ------------------------------------------------------------------------------

  @Test
  void load_moreTokensThanTheLibraryBears_areRefused() throws IOException {
    write(true);
    StringBuilder tokens = new StringBuilder();
    for (int i = 0; i < 8191; i++) {
      tokens.append(i == 0 ? "" : ",").append("'<").append(i).append(">':").append(260 + i);
    }
    beside(ADDED_TOKENS, "{" + tokens + "}");
    assertEquals(260 + 8191, Tokenizers.load(folder).vocabulary());
    beside(ADDED_TOKENS, "{" + tokens + ",'<more>':90000}");
    assertTrue(refusal().contains("there are 8193 added tokens, with those of the files beside"));
  }

  @ParameterizedTest
  @ValueSource(strings = {" ", "ab"})
  void encode_longerThanTheLibraryBears_isRefused(String piece) throws IOException {
    write(true);
    Tokenizer tokenizer = Tokenizers.load(folder);
    String longest = piece.repeat(1_000_000 / piece.length());
    assertTrue(tokenizer.encode(longest).length >= 500_000);
    for (boolean prompt : List.of(true, false)) {
      Exception refusal =
          assertThrows(
              IllegalArgumentException.class,
              () -> {
                int[] tokens = prompt ? tokenizer.encode(longest + "a") : ids(tokenizer, longest);
                assertEquals(0, tokens.length);
              });
      assertEquals(
          "the text has 1000001 characters, expected at most 1000000", refusal.getMessage());
    }
  }

  private static int[] ids(Tokenizer tokenizer, String longest) {
    return new int[] {tokenizer.token(longest + "a")};
  }

  private String refusal() {
    Exception refusal = assertThrows(Exception.class, () -> Tokenizers.load(folder));
    assertEquals(IOException.class, refusal.getClass(), refusal::toString);
    Tampering.requireSentence(folder, (IOException) refusal);
    return String.valueOf(refusal.getMessage()).substring(folder.toString().length() + 1);
  }

  // ---- where a text ends -------------------------------------------------------------------

  @Test
  void ends_areWhatAnyFileSays() throws IOException {
    write(true);
    assertEquals(Set.of(), Tokenizers.load(folder).ends());
    beside("config.json", "{'eos_token_id': 7}");
    assertEquals(Set.of(7), Tokenizers.load(folder).ends());
    beside("generation_config.json", "{'eos_token_id': [8, 9]}");
    beside("config.json", "{'eos_token_id': null}");
    assertEquals(Set.of(8, 9), Tokenizers.load(folder).ends());
    beside(CONFIG, "{" + ANY + ", 'eos_token': 'ab'}");
    assertEquals(Set.of(8, 9, 256), Tokenizers.load(folder).ends());
    for (String wrong : List.of("-1", "1.5", "'</s>'", "[[1]]", "[null]", "{}")) {
      beside("generation_config.json", "{'eos_token_id': " + wrong + "}");
      IOException refused = assertThrows(IOException.class, () -> Tokenizers.load(folder));
      assertTrue(String.valueOf(refused.getMessage()).contains("eos_token_id"), wrong);
    }
  }
}
