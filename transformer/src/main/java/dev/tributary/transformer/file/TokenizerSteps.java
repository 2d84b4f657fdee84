package dev.tributary.transformer.file;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * The steps of a {@code tokenizer.json} around its model. The native library ends the process where
 * one asks for what is not there, or where a regular expression turns back for too long, so each is
 * of a kind that is known, says what that kind needs, and is bounded.
 */
final class TokenizerSteps {
  static final String BYTE_LEVEL = "ByteLevel";
  static final String TEMPLATE = "TemplateProcessing";
  private static final String METASPACE = "Metaspace";
  private static final String PRECOMPILED = "Precompiled";
  private static final String PREPEND = "Prepend";
  private static final String REPLACE = "Replace";
  static final String SPLIT = "Split";
  private static final String STRIP = "Strip";
  private static final String BERT = "BertProcessing";
  private static final String ROBERTA = "RobertaProcessing";
  private static final Set<String> FIXED_PROCESSORS = Set.of(BERT, ROBERTA);

  /** What the value of a key has to be, where there is one. */
  enum Value {
    FLAG,
    TEXT,
    CHARACTER,
    COUNT,
    /** What is looked at where it is used. */
    OTHER;

    void check(JsonFile step, String key) throws IOException {
      switch (this) {
        case FLAG -> step.flag(key, false);
        case TEXT -> step.text(key, "");
        case CHARACTER -> {
          if (step.has(key) && characters(step.text(key, "")) != 1) {
            throw step.wrong(key, "one character");
          }
        }
        case COUNT -> {
          if (step.has(key)) {
            step.index(key, Integer.MAX_VALUE);
          }
        }
        case OTHER -> {}
      }
    }
  }

  private static final Map<String, Value> BYTE_LEVEL_KEYS =
      Map.of("add_prefix_space", Value.FLAG, "trim_offsets", Value.FLAG, "use_regex", Value.FLAG);

  private static final Map<String, Value> METASPACE_KEYS =
      Map.of(
          "replacement",
          Value.CHARACTER,
          "str_rep",
          Value.CHARACTER,
          "add_prefix_space",
          Value.FLAG,
          "prepend_scheme",
          Value.TEXT,
          "split",
          Value.FLAG);

  private static final Map<String, Value> REPLACE_KEYS =
      Map.of("pattern", Value.OTHER, "content", Value.TEXT);

  /** Kinds of steps that change the text, and the keys of each. */
  private static final Map<String, Map<String, Value>> NORMALIZERS =
      Map.ofEntries(
          Map.entry(
              "BertNormalizer",
              Map.of(
                  "clean_text",
                  Value.FLAG,
                  "handle_chinese_chars",
                  Value.FLAG,
                  "strip_accents",
                  Value.FLAG,
                  "lowercase",
                  Value.FLAG)),
          Map.entry(BYTE_LEVEL, Map.of()),
          Map.entry("Lowercase", Map.of()),
          Map.entry("NFC", Map.of()),
          Map.entry("NFD", Map.of()),
          Map.entry("NFKC", Map.of()),
          Map.entry("NFKD", Map.of()),
          Map.entry("Nmt", Map.of()),
          Map.entry(PRECOMPILED, Map.of("precompiled_charsmap", Value.TEXT)),
          Map.entry(PREPEND, Map.of("prepend", Value.TEXT)),
          Map.entry(REPLACE, REPLACE_KEYS),
          Map.entry(STRIP, Map.of("strip_left", Value.FLAG, "strip_right", Value.FLAG)),
          Map.entry("StripAccents", Map.of()));

  /** Kinds of steps that split it. */
  private static final Map<String, Map<String, Value>> PRE_TOKENIZERS =
      Map.ofEntries(
          Map.entry("BertPreTokenizer", Map.of()),
          Map.entry(BYTE_LEVEL, BYTE_LEVEL_KEYS),
          Map.entry("CharDelimiterSplit", Map.of("delimiter", Value.CHARACTER)),
          Map.entry("Digits", Map.of("individual_digits", Value.FLAG)),
          Map.entry(METASPACE, METASPACE_KEYS),
          Map.entry("Punctuation", Map.of("behavior", Value.TEXT)),
          Map.entry(
              SPLIT, Map.of("pattern", Value.OTHER, "behavior", Value.TEXT, "invert", Value.FLAG)),
          Map.entry("UnicodeScripts", Map.of()),
          Map.entry("Whitespace", Map.of()),
          Map.entry("WhitespaceSplit", Map.of()));

  /** Kinds of steps that put tokens around its tokens. */
  private static final Map<String, Map<String, Value>> POST_PROCESSORS =
      Map.of(
          BYTE_LEVEL,
          BYTE_LEVEL_KEYS,
          BERT,
          Map.of("sep", Value.OTHER, "cls", Value.OTHER),
          ROBERTA,
          Map.of(
              "sep",
              Value.OTHER,
              "cls",
              Value.OTHER,
              "trim_offsets",
              Value.FLAG,
              "add_prefix_space",
              Value.FLAG),
          TEMPLATE,
          Map.of("single", Value.OTHER, "pair", Value.OTHER, "special_tokens", Value.OTHER));

  /** Kinds of steps that make a text of tokens. */
  private static final Map<String, Map<String, Value>> DECODERS =
      Map.of(
          "ByteFallback",
          Map.of(),
          BYTE_LEVEL,
          BYTE_LEVEL_KEYS,
          "Fuse",
          Map.of(),
          METASPACE,
          METASPACE_KEYS,
          REPLACE,
          REPLACE_KEYS,
          STRIP,
          Map.of("content", Value.CHARACTER, "start", Value.COUNT, "stop", Value.COUNT),
          "WordPiece",
          Map.of("prefix", Value.TEXT, "cleanup", Value.FLAG));

  /** Turns of a regular expression for one match; the library ends the process at ten million. */
  private static final double TURNS = 9.9e6;

  /** Most turns for each character; more than these grow faster than the text. */
  private static final double STEEPEST = 64;

  private final JsonFile json;
  private final Map<String, Integer> ids;
  private boolean bytes;

  /** Most characters that one of a text may have become. */
  private double growth = 1;

  /** Longest text, characters, in which no regular expression turns back too often. */
  private double longest;

  /**
   * Checks the steps.
   *
   * @param ids of all tokens
   * @param longest text that will be encoded, UTF-16 units
   * @throws IOException if one is not known, asks for what is not there, or may take too long
   */
  TokenizerSteps(JsonFile json, Map<String, Integer> ids, int longest) throws IOException {
    this.json = json;
    this.ids = ids;
    this.longest = longest;
    for (JsonFile step : steps("normalizer", "normalizers", NORMALIZERS)) {
      checkNormalizer(step, type(step));
    }
    for (JsonFile step : steps("pre_tokenizer", "pretokenizers", PRE_TOKENIZERS)) {
      checkPreTokenizer(step, type(step));
    }
    checkPostProcessor();
    for (JsonFile step : steps("decoder", "decoders", DECODERS)) {
      checkDecoder(step, type(step));
    }
  }

  /** Whether each character of an ordinary token stands for a byte. */
  boolean byteLevel() {
    return bytes;
  }

  /** Longest text that may be encoded, UTF-16 units. */
  int longest() {
    return (int) longest;
  }

  static String type(JsonFile step) throws IOException {
    return step.text("type", "");
  }

  /**
   * Refuses a kind that is not known and values that it cannot have, and drops other keys: the
   * library ends the process at numbers that it cannot hold, even where it does not ask for any.
   *
   * @param kinds the keys of each
   */
  static void requireKnown(JsonFile part, Map<String, Map<String, Value>> kinds)
      throws IOException {
    Map<String, Value> keys = kinds.get(type(part));
    if (keys == null) {
      throw part.wrong("type", String.join(" or ", new TreeSet<>(kinds.keySet())));
    }
    for (Map.Entry<String, Value> key : keys.entrySet()) {
      key.getValue().check(part, key.getKey());
    }
    List<String> kept = new ArrayList<>(keys.keySet());
    kept.add("type");
    part.root().retain(kept);
  }

  /** The step at a key, or the steps of the sequence that is there; none if there is null. */
  private List<JsonFile> steps(
      String key, String sequenceKey, Map<String, Map<String, Value>> kinds) throws IOException {
    List<JsonFile> result = new ArrayList<>();
    if (json.has(key)) {
      addSteps(json.object(key), sequenceKey, kinds, result);
    }
    return result;
  }

  private static void addSteps(
      JsonFile step,
      String sequenceKey,
      Map<String, Map<String, Value>> kinds,
      List<JsonFile> result)
      throws IOException {
    if (type(step).equals("Sequence")) {
      step.root().retain("type", sequenceKey);
      for (JsonFile part : step.objects(sequenceKey)) {
        addSteps(part, sequenceKey, kinds, result);
      }
    } else {
      requireKnown(step, kinds);
      result.add(step);
    }
  }

  private void checkNormalizer(JsonFile step, String type) throws IOException {
    switch (type) {
      case "Lowercase", "NFC" -> growth *= 3;
      case "NFD" -> growth *= 4;
      case "NFKC", "NFKD" -> growth *= 18;
      case "BertNormalizer" -> growth *= 12; // as NFD, with a space on each side
      case BYTE_LEVEL -> {
        bytes = true;
        growth *= 4;
      }
      case PREPEND -> growth += characters(filled(step, "prepend"));
      case REPLACE -> {
        checkPattern(step);
        growth *= Math.max(1, characters(step.text("content", "")));
      }
      case PRECOMPILED -> {
        try {
          growth *= Math.max(1, Charsmap.longest(step.text("precompiled_charsmap", "")));
        } catch (IllegalArgumentException e) {
          throw step.wrong("precompiled_charsmap", "a table of SentencePiece: " + e.getMessage());
        }
      }
      default -> {} // takes away
    }
  }

  private void checkPreTokenizer(JsonFile step, String type) throws IOException {
    switch (type) {
      case BYTE_LEVEL -> {
        bytes = true;
        growth = growth * 4 + 2;
      }
      case METASPACE -> growth += 1;
      case SPLIT -> checkPattern(step);
      default -> {} // needs nothing
    }
  }

  private static String filled(JsonFile step, String key) throws IOException {
    String text = step.text(key, "");
    if (text.isEmpty()) {
      throw step.wrong(key, "a text that is not empty");
    }
    return text;
  }

  private static int characters(String text) {
    return text.codePointCount(0, text.length());
  }

  private void checkPattern(JsonFile step) throws IOException {
    JsonFile pattern = step.object("pattern");
    if (pattern.root().size() != 1) {
      throw step.wrong("pattern", "a String or a Regex");
    }
    if (!pattern.has("Regex")) {
      filled(pattern, "String");
      return;
    }
    try {
      double length = longest * growth;
      double turns = OnigurumaPattern.turns(pattern.text("Regex", ""), length);
      if (turns > length * STEEPEST) {
        throw new IllegalArgumentException("it may turn back too often");
      }
      longest = Math.min(longest, longest * TURNS / turns);
    } catch (IllegalArgumentException e) {
      throw pattern.wrong("Regex", "a regular expression that is known to end: " + e.getMessage());
    }
  }

  private static void checkDecoder(JsonFile step, String type) throws IOException {
    if (type.equals(REPLACE)) {
      filled(step.object("pattern"), "String");
    }
    if (type.equals(STRIP) && step.number("stop", 0) != 0) {
      throw step.wrong("stop", "0");
    }
  }

  // ---- what is put around a text -------------------------------------------------------------

  private void checkPostProcessor() throws IOException {
    int around = 0;
    for (JsonFile step : steps("post_processor", "processors", POST_PROCESSORS)) {
      if (type(step).equals(TEMPLATE)) {
        checkTemplate(step);
        around++;
      } else if (FIXED_PROCESSORS.contains(type(step))) {
        checkFixed(step, "sep");
        checkFixed(step, "cls");
        around++;
      }
    }
    if (around > 1) {
      throw json.wrong("post_processor", "at most one step that puts tokens around a text");
    }
  }

  private void checkFixed(JsonFile step, String key) throws IOException {
    JsonNode token = step.root().path(key);
    if (token.size() != 2 || !isId(token.path(0), token.path(1))) {
      throw step.wrong(key, "a token and the id that it has elsewhere");
    }
  }

  private boolean isId(JsonNode content, JsonNode id) {
    return id.isInt() && Integer.valueOf(id.intValue()).equals(ids.get(content.asText()));
  }

  /** The native library looks up what a template names without asking whether it is there. */
  private void checkTemplate(JsonFile template) throws IOException {
    JsonFile special = template.object("special_tokens");
    for (Map.Entry<String, JsonNode> entry : special.root().properties()) {
      checkSpecialToken(special.object(entry.getKey()));
    }
    checkPieces(template, "single", List.of("A"), special);
    checkPieces(template, "pair", List.of("A", "B"), special);
  }

  private void checkSpecialToken(JsonFile token) throws IOException {
    JsonNode tokenIds = token.root().path("ids");
    JsonNode texts = token.root().path("tokens");
    token.text("id", "");
    token.root().retain("id", "ids", "tokens");
    if (!texts.isArray() || texts.isEmpty() || texts.size() != tokenIds.size()) {
      throw token.wrong("tokens", "a list as long as ids");
    }
    for (int i = 0; i < texts.size(); i++) {
      if (!isId(texts.get(i), tokenIds.path(i))) {
        throw token.wrong("ids", "the ids that the tokens have elsewhere");
      }
    }
  }

  private static void checkPieces(
      JsonFile template, String key, List<String> sequences, JsonFile special) throws IOException {
    List<String> found = new ArrayList<>();
    for (JsonFile piece : template.objects(key)) {
      if (piece.has("Sequence")) {
        found.add(piece.object("Sequence").text("id", ""));
        requirePiece(piece, "Sequence");
      } else {
        requirePiece(piece, "SpecialToken");
        JsonFile token = piece.object("SpecialToken");
        if (!special.has(token.text("id", ""))) {
          throw token.wrong("id", "one of the special_tokens");
        }
      }
    }
    if (!found.equals(sequences)) {
      throw template.wrong(key, "the text once, as " + String.join(" and ", sequences));
    }
  }

  private static void requirePiece(JsonFile piece, String kind) throws IOException {
    piece.root().retain(kind);
    JsonFile one = piece.object(kind);
    Value.COUNT.check(one, "type_id");
    one.root().retain("id", "type_id");
  }
}
