package dev.tributary.transformer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * What a {@code tokenizer.json} says, checked before the native library sees it: that library ends
 * the process where one part of the file breaks what another promises, and silently leaves out of a
 * prompt what it does not know. GPT-2's older pair of {@code vocab.json} and {@code merges.txt} is
 * read as the tokenizer.json that says the same.
 */
final class TokenizerFile {
  private static final String DESCRIPTION = "tokenizer.json";
  private static final String VOCABULARY = "vocab.json";
  private static final String MERGES = "merges.txt";

  /** First line of a merges.txt, as far as it is always the same. */
  private static final String MERGES_VERSION = "#version";

  /** The token that ends a text in GPT-2's vocabulary. */
  private static final String END_OF_TEXT = "<|endoftext|>";

  /** Largest file, bytes; GPT-2's have one or two million. */
  private static final int FILE_LIMIT = 32 << 20;

  private static final String BYTE_PAIRS = "BPE";
  private static final String BYTE_LEVEL = "ByteLevel";
  private static final String TEMPLATE = "TemplateProcessing";
  private static final Set<String> MODELS = Set.of(BYTE_PAIRS, "WordLevel");
  private static final Set<String> NORMALIZERS = Set.of("Lowercase", "NFC", "NFD", "NFKC", "NFKD");
  private static final Set<String> PRE_TOKENIZERS =
      Set.of(BYTE_LEVEL, "BertPreTokenizer", "Whitespace", "WhitespaceSplit");
  private static final Set<String> POST_PROCESSORS = Set.of(BYTE_LEVEL, TEMPLATE);

  private final JsonFile json;
  private final Map<String, Integer> ids = new HashMap<>();
  private final Map<Integer, String> contents = new HashMap<>();
  private final Map<String, Integer> added = new HashMap<>();
  private final boolean byteLevel;
  private final @Nullable String unknown;

  /**
   * Checks a description.
   *
   * @param vocabulary its tokens, which may come from a file of their own
   * @param merges the file that has its merges
   */
  private TokenizerFile(JsonFile json, JsonFile vocabulary, Path merges) throws IOException {
    this.json = json;
    steps(json, "normalizer", "normalizers", NORMALIZERS);
    boolean bytes = false;
    for (JsonFile step : steps(json, "pre_tokenizer", "pretokenizers", PRE_TOKENIZERS)) {
      bytes |= type(step).equals(BYTE_LEVEL);
    }
    this.byteLevel = bytes;
    readVocabulary(vocabulary);
    JsonFile model = json.object("model");
    this.unknown = checkModel(model);
    if (type(model).equals(BYTE_PAIRS)) {
      checkMerges(model, merges);
    }
    readAddedTokens();
    checkPostProcessor();
    // A prompt is neither cut nor filled up: whoever runs the model says what does not fit.
    json.root().putNull("truncation").putNull("padding");
    json.root().putNull("decoder"); // one token at a time needs none
    if (!StandardCharsets.UTF_8.newEncoder().canEncode(toJson())) {
      throw BadFile.because(json.path(), "a text in this file has half of a surrogate pair");
    }
  }

  /**
   * Reads and checks the tokenizer in a folder, or the one that a file belongs to.
   *
   * @throws IOException if there is none, a file cannot be read, contradicts itself or another, or
   *     uses what is not known here
   */
  static TokenizerFile read(Path path) throws IOException {
    if (!Files.isDirectory(path)) {
      boolean half = path.endsWith(VOCABULARY) || path.endsWith(MERGES);
      return half
          ? pair(path.resolveSibling(VOCABULARY), path.resolveSibling(MERGES))
          : described(path);
    }
    Path description = path.resolve(DESCRIPTION);
    Path vocabulary = path.resolve(VOCABULARY);
    Path merges = path.resolve(MERGES);
    if (Files.exists(description)) {
      return described(description);
    }
    if (Files.notExists(vocabulary) && Files.notExists(merges)) {
      throw BadFile.because(
          path,
          "there is no tokenizer in this folder, expected %s, or %s and %s",
          DESCRIPTION,
          VOCABULARY,
          MERGES);
    }
    return pair(vocabulary, merges);
  }

  private static TokenizerFile described(Path file) throws IOException {
    JsonFile json = JsonFile.read(file, FILE_LIMIT);
    return new TokenizerFile(json, json.object("model").object("vocab"), file);
  }

  private static TokenizerFile pair(Path vocabularyFile, Path mergesFile) throws IOException {
    JsonFile vocabulary = JsonFile.read(vocabularyFile, FILE_LIMIT);
    long missing =
        ByteCharacters.all().stream().filter(byteText -> !vocabulary.has(byteText)).count();
    if (missing > 0) {
      throw BadFile.because(vocabularyFile, "there is no token for %d of the 256 bytes", missing);
    }
    ObjectNode root = JsonNodeFactory.instance.objectNode().put("version", "1.0");
    root.putObject("pre_tokenizer")
        .put("type", BYTE_LEVEL)
        .put("add_prefix_space", false)
        .put("trim_offsets", true)
        .put("use_regex", true);
    ObjectNode model = root.putObject("model").put("type", BYTE_PAIRS);
    model.set("vocab", vocabulary.root());
    readMerges(mergesFile, model.putArray("merges"));
    if (vocabulary.has(END_OF_TEXT)) {
      root.putArray("added_tokens")
          .addObject()
          .put("id", vocabulary.id(END_OF_TEXT))
          .put("content", END_OF_TEXT)
          .put("single_word", false)
          .put("lstrip", false)
          .put("rstrip", false)
          .put("normalized", false)
          .put("special", true);
    }
    return new TokenizerFile(JsonFile.of(vocabularyFile, root), vocabulary, mergesFile);
  }

  private static void readMerges(Path file, ArrayNode merges) throws IOException {
    byte[] bytes = BadFile.bytes(file, FILE_LIMIT);
    Set<String> seen = new HashSet<>();
    try (BufferedReader reader = new BufferedReader(JsonFile.reader(bytes))) {
      String line = reader.readLine();
      if (line != null && line.startsWith(MERGES_VERSION)) {
        line = reader.readLine();
      }
      for (; line != null; line = reader.readLine()) {
        if (!seen.add(line)) {
          throw BadFile.because(file, "merge %s is listed twice", BadFile.quoted(line));
        }
        merges.add(line);
      }
    } catch (CharacterCodingException e) {
      throw BadFile.causedBy(e, file, "this file is not UTF-8");
    }
  }

  /** The file that says what the tokenizer is. */
  Path path() {
    return json.path();
  }

  /** The file as it was understood. */
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

  private void readVocabulary(JsonFile vocabulary) throws IOException {
    for (Map.Entry<String, JsonNode> entry : vocabulary.root().properties()) {
      put(vocabulary, entry.getKey(), vocabulary.id(entry.getKey()));
    }
  }

  private void put(JsonFile part, String content, int id) throws IOException {
    ids.put(content, id);
    String other = contents.put(id, content);
    if (other != null && !other.equals(content)) {
      throw BadFile.because(
          part.path(),
          "tokens %s and %s both have id %d",
          BadFile.quoted(other),
          BadFile.quoted(content),
          id);
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
    if (!model.text("continuing_subword_prefix", "").isEmpty()) {
      throw model.wrong("continuing_subword_prefix", "none");
    }
    boolean complete = !words && byteLevel && ids.keySet().containsAll(ByteCharacters.all());
    if (complete) {
      return null;
    }
    if (!model.has("unk_token")) {
      throw model.wrong(
          "unk_token", "a token of the vocabulary, unless there is one for each byte");
    }
    String token = model.text("unk_token", "");
    if (!ids.containsKey(token)) {
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
          || !ids.keySet().containsAll(parts)
          || !ids.containsKey(String.join("", parts))) {
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
    for (JsonFile token : json.objects("added_tokens")) {
      String content = token.text("content", "");
      int id = token.id("id");
      if (content.isEmpty()) {
        throw token.wrong("content", "a text that is not empty");
      }
      Integer other = ids.get(content);
      if (other != null && other != id) {
        throw token.wrong("id", other + ", which " + BadFile.quoted(content) + " has elsewhere");
      }
      put(token, content, id);
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
