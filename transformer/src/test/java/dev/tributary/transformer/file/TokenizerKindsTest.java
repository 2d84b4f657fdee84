package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Tokenizers of each kind, and what is refused of them because the native library would end the
 * process: were it not refused, this test would not fail, but crash.
 */
class TokenizerKindsTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir private Path folder;

  // ---- one of each kind ----------------------------------------------------------------------

  /** Characters, {@code ▁} for the space, and a token for each byte, as Llama has them. */
  static ObjectNode characters() throws IOException {
    ObjectNode json =
        read(
            """
            {'version': '1.0', 'added_tokens': [
              {'id': 0, 'content': '<unk>', 'single_word': false, 'lstrip': false,
               'rstrip': false, 'normalized': true, 'special': true},
              {'id': 1, 'content': '<s>', 'single_word': false, 'lstrip': false,
               'rstrip': false, 'normalized': true, 'special': true}],
             'normalizer': {'type': 'Sequence', 'normalizers': [
              {'type': 'Prepend', 'prepend': '\u2581'},
              {'type': 'Replace', 'pattern': {'String': ' '}, 'content': '\u2581'}]},
             'post_processor': {'type': 'TemplateProcessing',
              'single': [{'SpecialToken': {'id': '<s>', 'type_id': 0}},
               {'Sequence': {'id': 'A', 'type_id': 0}}],
              'pair': [{'Sequence': {'id': 'A', 'type_id': 0}},
               {'Sequence': {'id': 'B', 'type_id': 1}}],
              'special_tokens': {'<s>': {'id': '<s>', 'ids': [1], 'tokens': ['<s>']}}},
             'decoder': {'type': 'Sequence', 'decoders': [
              {'type': 'Replace', 'pattern': {'String': '\u2581'}, 'content': ' '},
              {'type': 'ByteFallback'}, {'type': 'Fuse'},
              {'type': 'Strip', 'content': ' ', 'start': 1, 'stop': 0}]},
             'model': {'type': 'BPE', 'unk_token': '<unk>', 'fuse_unk': true,
              'byte_fallback': true, 'vocab': {'<unk>': 0, '<s>': 1},
              'merges': [['\u2581', 'a'], ['\u2581a', 'b']]}}
            """);
    ObjectNode vocabulary = (ObjectNode) json.at("/model/vocab");
    for (int value = 0; value < 256; value++) {
      vocabulary.put("<0x%02X>".formatted(value), vocabulary.size());
    }
    for (String piece : List.of("\u2581", "a", "b", "\u2581a", "\u2581ab")) {
      vocabulary.put(piece, vocabulary.size()); // from 258
    }
    return json;
  }

  /** Pieces with scores and a table of characters, as T5 has them. */
  static ObjectNode pieces() throws IOException {
    ObjectNode json =
        read(
            """
            {'version': '1.0', 'added_tokens': [
              {'id': 5, 'content': 'mm', 'single_word': false, 'lstrip': true,
               'rstrip': true, 'normalized': true, 'special': false}],
             'normalizer': {'type': 'Sequence', 'normalizers': [
              {'type': 'Precompiled', 'precompiled_charsmap': ''},
              {'type': 'Replace', 'pattern': {'Regex': ' {2,}'}, 'content': ' '}]},
             'pre_tokenizer': {'type': 'Sequence', 'pretokenizers': [
              {'type': 'WhitespaceSplit'},
              {'type': 'Metaspace', 'replacement': '\u2581', 'prepend_scheme': 'always'}]},
             'decoder': {'type': 'Metaspace', 'replacement': '\u2581',
              'prepend_scheme': 'always'},
             'model': {'type': 'Unigram', 'unk_id': 0, 'byte_fallback': false,
              'vocab': [['<unk>', 0], ['\u2581', -3], ['a', -2.5], ['B', -2], ['\u2581a', -1]]}}
            """);
    ((ObjectNode) json.at("/normalizer/normalizers/0"))
        .put("precompiled_charsmap", Base64.getEncoder().encodeToString(charsmap()));
    return json;
  }

  /** Words and how they go on, as BERT has them. */
  static ObjectNode wordPieces() throws IOException {
    return read(
        """
        {'version': '1.0', 'added_tokens': [
          {'id': 0, 'content': '[UNK]', 'single_word': true, 'lstrip': false,
           'rstrip': false, 'normalized': false, 'special': true}],
         'normalizer': {'type': 'BertNormalizer', 'clean_text': true,
          'handle_chinese_chars': true, 'strip_accents': null, 'lowercase': true},
         'pre_tokenizer': {'type': 'BertPreTokenizer'},
         'post_processor': {'type': 'BertProcessing', 'sep': ['[SEP]', 2], 'cls': ['[CLS]', 1]},
         'decoder': {'type': 'WordPiece', 'prefix': '##', 'cleanup': true},
         'model': {'type': 'WordPiece', 'unk_token': '[UNK]', 'continuing_subword_prefix': '##',
          'max_input_chars_per_word': 100,
          'vocab': {'[UNK]': 0, '[CLS]': 1, '[SEP]': 2, 'a': 3, '##b': 4, '##': 5}}}
        """);
  }

  private static ObjectNode read(String json) throws IOException {
    return (ObjectNode) JSON.readTree(json.replace('\'', '"'));
  }

  /** A table that makes B of A. */
  static byte[] charsmap() {
    int units = 768;
    ByteBuffer bytes =
        ByteBuffer.allocate(Integer.BYTES * (1 + units) + 2).order(ByteOrder.LITTLE_ENDIAN);
    bytes.putInt(Integer.BYTES * units);
    bytes.putInt(Integer.BYTES, 256 << 10); // the children of the root are at 256 ^ label
    int a = 256 ^ 'A';
    bytes.putInt(Integer.BYTES * (1 + a), 'A' | 1 << 8 | (a ^ 512) << 10);
    bytes.putInt(Integer.BYTES * (1 + 512), 1 << 31); // the text at 0
    bytes.put(Integer.BYTES * (1 + units), (byte) 'B');
    return bytes.array();
  }

  private Tokenizer load(ObjectNode json) throws IOException {
    Path file = folder.resolve("tokenizer.json");
    Files.writeString(file, json.toString());
    return Tokenizers.load(file);
  }

  @Test
  void characters_areReadAndWritten() throws IOException {
    Tokenizer tokenizer = load(characters());
    int[] ids = {1, 262, 258, 260, 2 + 0xc3, 2 + 0xa9};
    assertArrayEquals(ids, tokenizer.encode("ab b\u00e9"));
    assertArrayEquals(new int[] {262, 258, 260}, tokenizer.encode("ab b", false));
    assertEquals("ab b\u00e9", tokenizer.decode(ids, true));
    assertEquals("<s> ab b\u00e9", tokenizer.decode(ids, false));
    assertEquals("\u2581ab", tokenizer.content(262));
    assertEquals(" ab", tokenizer.text(262));
    assertEquals("\\xc3", tokenizer.text(2 + 0xc3));
    assertEquals("\n", tokenizer.text(2 + '\n'));
    assertEquals(262, tokenizer.token("ab"));
    assertEquals(262, tokenizer.token(" ab")); // as it reads, though it is split into others
    assertEquals(
        List.of(
            new Tokenizer.Token(1, 0, 0),
            new Tokenizer.Token(262, 0, 2),
            new Tokenizer.Token(2 + 0xf0, 2, 4),
            new Tokenizer.Token(2 + 0x9f, 2, 4),
            new Tokenizer.Token(2 + 0x98, 2, 4),
            new Tokenizer.Token(2 + 0x80, 2, 4),
            new Tokenizer.Token(260, 4, 5)),
        tokenizer.split("ab\ud83d\ude00b", true));
  }

  @Test
  void pieces_areReadAndWritten() throws IOException {
    Tokenizer tokenizer = load(pieces());
    assertArrayEquals(new int[] {4, 1, 3, 1, 0}, tokenizer.encode("a   A z"));
    assertArrayEquals(new int[] {4, 5, 4}, tokenizer.encode("a mm a"));
    assertEquals("a B", tokenizer.decode(new int[] {4, 1, 3}, false));
    assertEquals(" a", tokenizer.text(4));
  }

  @Test
  void wordPieces_areReadAndWritten() throws IOException {
    Tokenizer tokenizer = load(wordPieces());
    assertArrayEquals(new int[] {1, 3, 4, 3, 0, 2}, tokenizer.encode("AB a z"));
    assertArrayEquals(new int[] {3, 4}, tokenizer.tokens("\u00e1b"));
    assertEquals("ab a", tokenizer.decode(new int[] {3, 4, 3}, false));
  }

  @ParameterizedTest
  @ValueSource(ints = {-1, 263, Integer.MAX_VALUE})
  void decode_unknownId_isRefused(int id) throws IOException {
    Tokenizer tokenizer = load(characters());
    IllegalArgumentException refusal =
        assertThrows(
            IllegalArgumentException.class, () -> tokenizer.decode(new int[] {1, id}, false));
    assertEquals("no token has id " + id + ", in a vocabulary of 263", refusal.getMessage());
  }

  @Test
  void encode_moreThanAMillionCharacters_isRefused() throws IOException {
    Tokenizer tokenizer = load(characters());
    String text = " ".repeat(1_000_001);
    assertEquals(
        "the text has 1000001 characters, expected at most 1000000",
        assertThrows(IllegalArgumentException.class, () -> tokenizer.encode(text)).getMessage());
  }

  // ---- what would end the process ------------------------------------------------------------

  private static final String PRECOMPILED = "normalizer.normalizers[0].precompiled_charsmap is ";

  static Stream<Arguments> aborts() throws IOException {
    String table = "/normalizer/normalizers/0/precompiled_charsmap";
    String deep = "(?:".repeat(2000) + "a" + ")".repeat(2000);
    String regex = "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"%s\"},\"behavior\":\"Isolated\"}";
    String replace = "{\"type\":\"Replace\",\"pattern\":{\"%s\":\"%s\"},\"content\":\"b\"}";
    return Stream.of(
        arguments(pieces(), table, "null", PRECOMPILED + "null"),
        arguments(pieces(), table, "7", PRECOMPILED + "7"),
        arguments(pieces(), table, "\"\"", PRECOMPILED + "\"\""),
        arguments(pieces(), table, "\"%%%\"", PRECOMPILED + "\"%%%\""),
        arguments(pieces(), table, "\"AAAA\"", "it is too short"),
        arguments(pieces(), table, table(0, 0), "its trie has 0 bytes"),
        arguments(pieces(), table, table(0, -1), "its trie has -1 bytes"),
        arguments(pieces(), table, table(4 * 769, 0xff), "its texts are not UTF-8"),
        arguments(pieces(), table, table(4, 7 << 20), "its trie leads to unit"),
        arguments(pieces(), table, table(4 * 513, 1 << 31 | 2), "its trie leads to no text"),
        arguments(
            characters(),
            "/normalizer/normalizers/0/prepend",
            "\"\"",
            "normalizer.normalizers[0].prepend is \"\", expected a text that is not empty"),
        arguments(
            characters(),
            "/normalizer/normalizers/1",
            replace.formatted("Regex", "(a+)+$"),
            "normalizer.normalizers[1].pattern.Regex is \"(a+)+$\""),
        arguments(
            characters(),
            "/normalizer/normalizers/1",
            replace.formatted("String", ""),
            "normalizer.normalizers[1].pattern.String is \"\""),
        arguments(
            characters(),
            "/decoder/decoders/0",
            replace.formatted("Regex", "a"),
            "decoder.decoders[0].pattern.String is missing"),
        arguments(characters(), "/decoder/decoders/3/stop", "1", "decoder.decoders[3].stop is 1"),
        arguments(
            characters(),
            "/decoder/decoders/3/stop",
            "9223372036854775808",
            "decoder.decoders[3].stop is 9223372036854775808"),
        arguments(
            characters(),
            "/decoder/decoders/3/start",
            "1e999999999",
            "decoder.decoders[3].start is"),
        arguments(characters(), "/pre_tokenizer", regex.formatted(deep), "more than 2000 char"),
        arguments(
            characters(),
            "/pre_tokenizer",
            regex.formatted("(?:".repeat(60) + "a" + ")".repeat(60)),
            "its groups are nested too deeply"),
        arguments(
            characters(),
            "/pre_tokenizer",
            "{\"type\":\"FixedLength\",\"length\":0}",
            "pre_tokenizer.type is \"FixedLength\", expected"),
        arguments(
            characters(),
            "/added_tokens/0/content",
            "\"\\u0001\"",
            "tokens \"<unk>\" and \"?\" both have id 0"),
        arguments(
            wordPieces(),
            "/post_processor/sep",
            "[\"[SEP]\",3]",
            "post_processor.sep is [\"[SEP]\",3]"));
  }

  /** A table with another number at a place, in JSON. */
  private static String table(int place, int value) {
    byte[] bytes = charsmap();
    ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    if (place + Integer.BYTES > bytes.length) {
      bytes[place] = (byte) value;
    } else {
      buffer.putInt(place, value);
    }
    return '"' + Base64.getEncoder().encodeToString(bytes) + '"';
  }

  @ParameterizedTest(name = "{1} {2}")
  @MethodSource("aborts")
  void load_whatEndsTheProcess_isRefused(
      ObjectNode json, String pointer, String value, String message) throws IOException {
    int last = pointer.lastIndexOf('/');
    String key = pointer.substring(last + 1);
    if (json.at(pointer.substring(0, last)) instanceof ArrayNode list) {
      list.set(Integer.parseInt(key), JSON.readTree(value));
    } else {
      ((ObjectNode) json.at(pointer.substring(0, last))).set(key, JSON.readTree(value));
    }
    assertRefused(json, message);
  }

  private void assertRefused(ObjectNode json, String message) {
    Exception refusal = assertThrows(Exception.class, () -> load(json));
    assertEquals(IOException.class, refusal.getClass(), refusal::toString);
    String sentence = String.valueOf(refusal.getMessage());
    assertTrue(sentence.contains(message), sentence);
    assertTrue(sentence.startsWith(folder.toString()), sentence);
  }

  @Test
  void load_tokenOfWhichNothingIsLeft_isRefused() throws IOException {
    for (boolean bert : List.of(true, false)) {
      ObjectNode json = pieces();
      ((ObjectNode) json.at("/added_tokens/0")).put("content", bert ? "\u0001" : "  ");
      ObjectNode normalizer = json.putObject("normalizer");
      if (bert) {
        normalizer.setAll((ObjectNode) wordPieces().get("normalizer"));
      } else {
        normalizer.put("type", "Strip").put("strip_left", true).put("strip_right", true);
      }
      assertRefused(json, "nothing is left of added token \"" + (bert ? "?" : "  ") + "\"");
    }
  }

  /** What is not asked for is not read, even if the library could not. */
  @Test
  void load_whatIsNotAsked_isDropped() throws IOException {
    ObjectNode json = characters();
    json.set("extra", JSON.readTree("{\"a\":1e999999999}"));
    json.set("truncation", JSON.readTree("{\"max_length\":1,\"stride\":9}"));
    json.set("padding", JSON.readTree("1e999999999"));
    for (String pointer : List.of("/model", "/decoder", "/decoder/decoders/1", "/normalizer")) {
      ((ObjectNode) json.at(pointer)).set("extra", JSON.readTree("1e999999999"));
    }
    assertArrayEquals(new int[] {1, 262, 258, 260}, load(json).encode("ab b"));
  }

  /** A table with damaged bits is refused, or leads no text astray. */
  @Test
  void load_damagedTable_isRefusedOrSafe() throws IOException {
    String text = "aAbBzZ \u00e9\ud83d\ude00 AA\u0301\0~";
    int loaded = 0;
    for (int seed = 0; seed < 2000; seed++) {
      Random random = new Random(seed);
      byte[] bytes = charsmap();
      for (int i = random.nextInt(4); i >= 0; i--) {
        // Most bits are of units that no text reaches.
        int at = random.nextBoolean() ? random.nextInt(bytes.length) : 4 * (1 + (256 ^ 'A'));
        bytes[at + (at % 4 == 0 && at + 4 < bytes.length ? random.nextInt(4) : 0)] ^=
            (byte) (1 << random.nextInt(8));
      }
      ObjectNode json = pieces();
      ((ObjectNode) json.at("/normalizer/normalizers/0"))
          .put("precompiled_charsmap", Base64.getEncoder().encodeToString(bytes));
      try {
        Tokenizer tokenizer = load(json);
        loaded++;
        tokenizer.encode(text);
      } catch (IOException e) {
        Tampering.requireSentence(folder, e);
      }
    }
    assertTrue(loaded > 100 && loaded < 1900, loaded + " loaded");
  }

  // ---- regular expressions -------------------------------------------------------------------

  /** Published expressions turn back a few times for each character at most. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
            + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
            + "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}"
            + "\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}"
            + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++"
            + "[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s",
        " ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+",
        "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        "[0-9][0-9][0-9]",
        " {2,}",
        "\\s?\\p{P}+"
      })
  void turns_publishedExpression_areFewForEachCharacter(String pattern) {
    double few = OnigurumaPattern.turns(pattern, 1000);
    assertTrue(few < 6000, pattern + ": " + few);
    assertTrue(OnigurumaPattern.turns(pattern, 1e6) < 6e6, pattern);
  }

  /** What makes a match take long, or what is not read, is refused or counted. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "(a+)+$",
        "(a|a)*b",
        "(?:a*)*",
        "a*a*b",
        "\\s*\\s*\\n",
        "(?=a*a*b)a",
        "(?:a|b+)c+d",
        "a{0,9999}a{0,9999}b",
        "(a)\\1",
        "\\g<0>a",
        "(?<n>a)\\k<n>",
        "(?<=a+)b",
        "(?~a)b",
        "(?#x)a",
        "(?i)a|b",
        "(?x: a )",
        "\\X+a",
        "\\Ra",
        "a{1,3}+",
        "a**",
        "a{,}{2}",
        "[a",
        "(a",
        "a)",
        "a\\",
        "[]a]",
        "\\p{",
        "",
        "a|",
        "a*",
        "(?!a)",
        "^$",
        "x|a?"
      })
  void turns_others_areRefusedOrMany(String pattern) {
    double length = 1e4;
    double turns;
    try {
      turns = OnigurumaPattern.turns(pattern, length);
    } catch (IllegalArgumentException e) {
      return;
    }
    assertTrue(turns > 64 * length, pattern + ": " + turns);
  }
}
