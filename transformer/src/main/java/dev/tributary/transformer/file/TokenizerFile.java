package dev.tributary.transformer.file;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * What a {@code tokenizer.json} says, checked before the native library sees it: that library ends
 * the process where one part of the file breaks what another promises, and silently leaves out of a
 * prompt what it does not know.
 */
final class TokenizerFile {
  static final String BYTE_PAIRS = "BPE";
  static final String BYTE_LEVEL = "ByteLevel";
  static final String TEMPLATE = "TemplateProcessing";
  private static final String SPLIT = "Split";
  private static final Set<String> MODELS = Set.of(BYTE_PAIRS, "WordLevel");
  private static final Set<String> NORMALIZERS = Set.of("Lowercase", "NFC", "NFD", "NFKC", "NFKD");
  private static final Set<String> PRE_TOKENIZERS =
      Set.of(
          BYTE_LEVEL,
          "BertPreTokenizer",
          "Digits",
          "Punctuation",
          SPLIT,
          "Whitespace",
          "WhitespaceSplit");
  private static final Set<String> POST_PROCESSORS = Set.of(BYTE_LEVEL, TEMPLATE);

  /** Most tokens that are looked for in a text; the time that they take grows with their square. */
  private static final int ADDED_LIMIT = 8192;

  private final TokenizerFolder folder;
  private final JsonFile json;
  private final JsonFile vocabulary;
  private final Map<String, Integer> ids;
  private final Map<Integer, String> contents = new HashMap<>();
  private final Map<String, Integer> added = new HashMap<>();
  private final boolean byteLevel;
  private final @Nullable String unknown;

  private TokenizerFile(TokenizerFolder folder) throws IOException {
    this.folder = folder;
    this.json = folder.description();
    this.vocabulary = folder.vocabulary();
    this.ids = folder.ids();
    steps(json, "normalizer", "normalizers", NORMALIZERS);
    boolean bytes = false;
    for (JsonFile step : steps(json, "pre_tokenizer", "pretokenizers", PRE_TOKENIZERS)) {
      bytes |= type(step).equals(BYTE_LEVEL);
      if (type(step).equals(SPLIT)) {
        checkPattern(step);
      }
    }
    this.byteLevel = bytes;
    readContents();
    JsonFile model = json.object("model");
    this.unknown = checkModel(model);
    if (type(model).equals(BYTE_PAIRS)) {
      checkMerges(model, folder.merges());
    }
    readAddedTokens();
    checkPostProcessor();
    // A prompt is neither cut nor filled up: whoever runs the model says what does not fit.
    json.root().putNull("truncation").putNull("padding");
    json.root().putNull("decoder"); // one token at a time needs none
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
   * @throws IOException if there is none, a file cannot be read, contradicts itself or another, or
   *     uses what is not known here
   */
  static TokenizerFile read(Path path) throws IOException {
    return new TokenizerFile(TokenizerFolder.read(path));
  }

  /** The file that says what the tokenizer is. */
  Path path() {
    return json.path();
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
    return byteLevel;
  }

  /** Id of the token that stands for everything unknown; null if nothing is unknown. */
  @Nullable Integer unknown() {
    return unknown == null ? null : ids.get(unknown);
  }

  private static String type(JsonFile step) throws IOException {
    return step.text("type", "");
  }

  /** The step at a key, or the steps of the sequence that is there; none if there is null. */
  private static List<JsonFile> steps(
      JsonFile parent, String key, String sequenceKey, Set<String> known) throws IOException {
    List<JsonFile> result = new ArrayList<>();
    if (parent.has(key)) {
      addSteps(parent.object(key), sequenceKey, known, result);
    }
    return result;
  }

  private static void addSteps(
      JsonFile step, String sequenceKey, Set<String> known, List<JsonFile> result)
      throws IOException {
    if (type(step).equals("Sequence")) {
      for (JsonFile part : step.objects(sequenceKey)) {
        addSteps(part, sequenceKey, known, result);
      }
    } else {
      requireKnown(step, known);
      result.add(step);
    }
  }

  private static void requireKnown(JsonFile part, Set<String> known) throws IOException {
    if (!known.contains(type(part))) {
      throw part.wrong("type", String.join(" or ", new TreeSet<>(known)));
    }
  }

  private static void checkPattern(JsonFile step) throws IOException {
    JsonFile pattern = step.object("pattern");
    boolean known =
        pattern.has("Regex")
            ? SplitPatterns.KNOWN.contains(pattern.text("Regex", ""))
            : !pattern.text("String", "").isEmpty();
    if (!known || pattern.root().size() != 1) {
      throw step.wrong("pattern", "a text, or a regular expression of a published tokenizer");
    }
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

  /** Checks a model and says what its unknown token is; null if nothing can be unknown. */
  private @Nullable String checkModel(JsonFile model) throws IOException {
    if (!model.has("type") && model.has("merges")) {
      model.root().put("type", BYTE_PAIRS); // older files do not say so
    }
    requireKnown(model, MODELS);
    boolean words = type(model).equals("WordLevel");
    if (!words && model.has("dropout") && model.root().get("dropout").doubleValue() != 0) {
      throw model.wrong("dropout", "none: the tokens of a text would be random");
    }
    for (String affix : List.of("continuing_subword_prefix", "end_of_word_suffix")) {
      if (!model.text(affix, "").isEmpty()) {
        throw model.wrong(affix, "none");
      }
    }
    boolean complete =
        !words && byteLevel && ByteCharacters.ofTexts().stream().allMatch(vocabulary::has);
    if (complete) {
      return null;
    }
    if (!model.has("unk_token")) {
      throw model.wrong(
          "unk_token", "a token of the vocabulary, unless there is one for each byte");
    }
    String token = model.text("unk_token", "");
    if (!vocabulary.has(token)) {
      throw model.wrong("unk_token", "a token of the vocabulary");
    }
    return token;
  }

  /** Each merge makes a token of two others. */
  private void checkMerges(JsonFile model, Path file) throws IOException {
    if (!(model.root().get("merges") instanceof ArrayNode merges)) {
      throw model.wrong("merges", "a list");
    }
    for (JsonNode merge : merges) {
      List<String> parts = new ArrayList<>();
      if (merge.isTextual()) {
        parts.addAll(List.of(merge.textValue().split(" ", 3)));
      } else {
        merge.forEach(part -> parts.add(part.textValue()));
      }
      if (parts.size() != 2
          || !parts.stream().allMatch(vocabulary::has)
          || !vocabulary.has(String.join("", parts))) {
        throw BadFile.because(
            file,
            "merge %s does not make a token out of two tokens of the vocabulary",
            merge.isTextual()
                ? BadFile.quoted(merge.textValue())
                : BadFile.shortened(merge.toString()));
      }
    }
  }

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
    int next = vocabulary.root().size();
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

  private void checkPostProcessor() throws IOException {
    int templates = 0;
    for (JsonFile step : steps(json, "post_processor", "processors", POST_PROCESSORS)) {
      if (type(step).equals(TEMPLATE)) {
        checkTemplate(step);
        templates++;
      }
    }
    if (templates > 1) {
      throw json.wrong("post_processor", "at most one " + TEMPLATE);
    }
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
    if (!texts.isArray() || texts.isEmpty() || texts.size() != tokenIds.size()) {
      throw token.wrong("tokens", "a list as long as ids");
    }
    for (int i = 0; i < texts.size(); i++) {
      Integer id = ids.get(texts.get(i).asText());
      if (id == null || !tokenIds.path(i).isInt() || tokenIds.get(i).intValue() != id) {
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
      } else {
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
}
