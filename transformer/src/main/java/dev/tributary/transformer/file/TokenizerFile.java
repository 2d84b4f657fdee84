package dev.tributary.transformer.file;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.transformer.file.TokenizerSteps.Value;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * What a {@code tokenizer.json} says, checked before the native library sees it: that library ends
 * the process where one part of the file breaks what another promises, and silently leaves out of a
 * prompt what it does not know.
 */
final class TokenizerFile {
  static final String BYTE_PAIRS = "BPE";
  private static final String UNIGRAM = "Unigram";
  private static final String WORDS = "WordLevel";
  private static final String WORD_PIECES = "WordPiece";

  /** Kinds of models, and the keys of each. */
  private static final Map<String, Map<String, Value>> MODELS =
      Map.of(
          BYTE_PAIRS,
          Map.of(
              "dropout",
              Value.OTHER,
              "unk_token",
              Value.TEXT,
              "continuing_subword_prefix",
              Value.TEXT,
              "end_of_word_suffix",
              Value.TEXT,
              "fuse_unk",
              Value.FLAG,
              "byte_fallback",
              Value.FLAG,
              "ignore_merges",
              Value.FLAG,
              "vocab",
              Value.OTHER,
              "merges",
              Value.OTHER),
          UNIGRAM,
          Map.of("unk_id", Value.COUNT, "vocab", Value.OTHER, "byte_fallback", Value.FLAG),
          WORDS,
          Map.of("vocab", Value.OTHER, "unk_token", Value.TEXT),
          WORD_PIECES,
          Map.of(
              "unk_token",
              Value.TEXT,
              "continuing_subword_prefix",
              Value.TEXT,
              "max_input_chars_per_word",
              Value.COUNT,
              "vocab",
              Value.OTHER));

  /** What the library reads; it refuses a file with anything else. */
  private static final Set<String> KEYS =
      Set.of(
          "version",
          "added_tokens",
          "normalizer",
          "pre_tokenizer",
          "post_processor",
          "decoder",
          "model");

  /** Most tokens that are looked for in a text; the time that they take grows with their square. */
  private static final int ADDED_LIMIT = 8192;

  private final TokenizerFolder folder;
  private final JsonFile json;
  private final ModelVocabulary vocabulary;
  private final Map<String, Integer> ids;
  private final Map<Integer, String> contents = new HashMap<>();
  private final Map<String, Integer> added = new HashMap<>();
  private final TokenizerSteps steps;
  private final @Nullable String missing;
  private final boolean cleansUp;
  private Set<Byte> lost = Set.of();

  /**
   * Checks what a folder says.
   *
   * @param longest text that will be encoded, UTF-16 units
   */
  private TokenizerFile(TokenizerFolder folder, int longest) throws IOException {
    this.folder = folder;
    this.json = folder.description();
    this.vocabulary = folder.vocabulary();
    this.ids = folder.ids();
    this.steps = new TokenizerSteps(json, ids, longest);
    readContents();
    JsonFile model = json.object("model");
    this.missing = checkModel(model, modelType(model));
    this.cleansUp = folder.cleansUp() && !TokenizerSteps.type(model).equals(BYTE_PAIRS);
    readAddedTokens();
    // A prompt is neither cut nor filled up: whoever runs the model says what does not fit.
    json.text("version", "");
    json.root().retain(KEYS);
    requireText(json);
  }

  /** The library would read something else in the place of half of a surrogate pair. */
  static void requireText(JsonFile file) throws IOException {
    if (!StandardCharsets.UTF_8.newEncoder().canEncode(file.root().toString())) {
      throw BadFile.because(file.path(), "a text in this file has half of a surrogate pair");
    }
  }

  /**
   * Reads and checks the tokenizer in a folder, or the one that a file belongs to.
   *
   * @param longest text that will be encoded, UTF-16 units
   * @throws IOException if there is none, a file cannot be read, contradicts itself or another, or
   *     uses what is not known here
   */
  static TokenizerFile read(Path path, int longest) throws IOException {
    return new TokenizerFile(TokenizerFolder.read(path), longest);
  }

  /** The file that says what the tokenizer is. */
  Path path() {
    return json.path();
  }

  /** How the model is talked to. */
  ChatTemplate chat() {
    return folder.chat();
  }

  /** Ids of the tokens that end a text. */
  Set<Integer> ends() {
    return folder.ends();
  }

  /** The files that were read. */
  List<Path> files() {
    return folder.files();
  }

  /** The files as they were understood. */
  String toJson() {
    return json.root().toString();
  }

  /** Text of each token, as the file has it, by id. */
  Map<Integer, String> contents() {
    return contents;
  }

  /** Ids of the tokens that are looked for in a text before anything else. */
  Map<String, Integer> added() {
    return added;
  }

  /** Whether each character of an ordinary token stands for a byte. */
  boolean byteLevel() {
    return steps.byteLevel();
  }

  /** Whether tokens say how they become a text again. */
  boolean decodes() {
    return json.has("decoder");
  }

  /** Whether decoded text has no space before a full stop and the like. */
  boolean cleansUp() {
    return cleansUp;
  }

  /** Longest text that may be encoded, UTF-16 units. */
  int longest() {
    return steps.longest();
  }

  /**
   * Id of the token that is put in the place of a word that is not in the vocabulary, where models
   * do not learn it; null if there is none.
   */
  @Nullable Integer missing() {
    return missing == null ? null : ids.get(missing);
  }

  /** Bytes that the library would leave out of a text, for they have no token. */
  Set<Byte> lost() {
    return lost;
  }

  private void readContents() throws IOException {
    for (Map.Entry<String, Integer> token : ids.entrySet()) {
      String other = contents.put(token.getValue(), token.getKey());
      if (other != null) {
        throw BadFile.because(
            json.path(),
            "tokens %s and %s both have id %d",
            BadFile.quoted(other),
            BadFile.quoted(token.getKey()),
            token.getValue());
      }
    }
  }

  // ---- the model -----------------------------------------------------------------------------

  /** The type of a model, which older files do not say. */
  private static String modelType(JsonFile model) throws IOException {
    if (!model.root().has("type")) {
      String type =
          model.has("merges")
              ? BYTE_PAIRS
              : model.root().path("vocab").isArray()
                  ? UNIGRAM
                  : model.has("max_input_chars_per_word") ? WORD_PIECES : WORDS;
      model.root().put("type", type);
    }
    TokenizerSteps.requireKnown(model, MODELS);
    return TokenizerSteps.type(model);
  }

  /** Checks a model and says what stands for a missing word, if words may be missing. */
  private @Nullable String checkModel(JsonFile model, String type) throws IOException {
    if (type.equals(UNIGRAM)) {
      if (!model.root().path("vocab").isArray()) {
        throw model.wrong("vocab", "a list of pieces and their scores");
      }
      model.index("unk_id", vocabulary.size());
      return null;
    }
    if (!model.root().path("vocab").isObject()) {
      throw model.wrong("vocab", "an object of tokens and their ids");
    }
    if (type.equals(BYTE_PAIRS)) {
      return checkBytePairs(model);
    }
    String unknown = unknownToken(model, "a token of the vocabulary");
    return type.equals(WORDS) ? unknown : null;
  }

  private String unknownToken(JsonFile model, String expected) throws IOException {
    if (!model.has("unk_token")) {
      throw model.wrong("unk_token", expected);
    }
    String token = model.text("unk_token", "");
    if (!vocabulary.has(token)) {
      throw model.wrong("unk_token", "a token of the vocabulary");
    }
    return token;
  }

  private @Nullable String checkBytePairs(JsonFile model) throws IOException {
    if (model.has("dropout") && model.root().get("dropout").doubleValue() != 0) {
      throw model.wrong("dropout", "none: the tokens of a text would be random");
    }
    model.root().remove("dropout");
    for (String affix : List.of("continuing_subword_prefix", "end_of_word_suffix")) {
      if (!model.text(affix, "").isEmpty()) {
        throw model.wrong(affix, "none");
      }
    }
    checkMerges(model, folder.merges());
    if (byteLevel()) {
      lost = ByteCharacters.lacking(vocabulary);
      // Where a text is changed first, only the library knows which bytes it has.
      return lost.isEmpty() || !json.has("normalizer")
          ? null
          : unknownToken(model, "a token of the vocabulary, unless there is one for each byte");
    }
    boolean complete =
        model.flag("byte_fallback", false) && IntStream.range(0, 256).allMatch(this::hasByte);
    if (!complete) {
      unknownToken(model, "a token of the vocabulary, unless there is one for each byte");
    }
    return null;
  }

  /** Whether a byte has a token, or is a character that has one. */
  private boolean hasByte(int value) {
    return vocabulary.has("<0x%02X>".formatted(value))
        || (value < 0x80 && vocabulary.has(String.valueOf((char) value)));
  }

  /** Each merge makes a token of two others. */
  private void checkMerges(JsonFile model, Path file) throws IOException {
    if (!(model.root().get("merges") instanceof ArrayNode merges)) {
      throw model.wrong("merges", "a list");
    }
    Set<List<String>> seen = new HashSet<>();
    for (JsonNode merge : merges) {
      List<String> parts = new ArrayList<>();
      if (merge.isTextual()) {
        parts.addAll(List.of(merge.textValue().split(" ", 3)));
      } else {
        merge.forEach(part -> parts.add(part.textValue()));
      }
      boolean makes =
          parts.size() == 2
              && parts.stream().allMatch(vocabulary::has)
              && vocabulary.has(String.join("", parts));
      if (!makes || !seen.add(parts)) {
        throw BadFile.because(
            file,
            makes
                ? "merge %s is listed twice"
                : "merge %s does not make a token out of two tokens of the vocabulary",
            merge.isTextual()
                ? BadFile.quoted(merge.textValue())
                : BadFile.shortened(merge.toString()));
      }
    }
  }

  // ---- added tokens --------------------------------------------------------------------------

  private void readAddedTokens() throws IOException {
    if (!json.has("added_tokens")) {
      return;
    }
    List<JsonFile> tokens = json.objects("added_tokens");
    if (tokens.size() > ADDED_LIMIT) {
      throw BadFile.because(
          json.path(),
          "there are %d added tokens, with those of the files beside this one, expected at most %d",
          tokens.size(),
          ADDED_LIMIT);
    }
    int next = vocabulary.size();
    for (JsonFile token : tokens) {
      String content = token.text("content", "");
      int id = token.id("id");
      // The library counts on from the size of the vocabulary and does not ask for the id.
      if (!vocabulary.has(content) && id != next++) {
        throw BadFile.because(
            json.path(),
            "added token %s has id %d, expected %d, which is the next",
            BadFile.quoted(content),
            id,
            next - 1);
      }
      added.put(content, id);
    }
  }

  /**
   * Added tokens that are looked for in a normalized text. The library ends the process where
   * nothing is left of one.
   */
  List<String> normalized() {
    List<String> result = new ArrayList<>();
    if (json.has("normalizer")) {
      for (JsonNode token : json.root().path("added_tokens")) {
        if (token.path("normalized").asBoolean()) {
          result.add(token.path("content").asText());
        }
      }
    }
    return result;
  }

  /** A tokenizer that does nothing but normalize: a text of which anything is left is one token. */
  String normalizer() {
    ObjectNode root = JsonNodeFactory.instance.objectNode().put("version", "1.0");
    root.set("normalizer", json.root().get("normalizer"));
    ObjectNode model = root.putObject("model").put("type", WORDS).put("unk_token", "?");
    model.putObject("vocab").put("?", 0);
    return root.toString();
  }
}
