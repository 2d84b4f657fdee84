package dev.tributary.transformer.file;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * The files of a tokenizer, folded into the one {@code tokenizer.json} that says the same. Beside
 * {@code tokenizer.json}, or GPT-2's older pair of {@code vocab.json} and {@code merges.txt}, lie
 * files that add tokens, and for a pair say how a text is read.
 *
 * <p>Hugging Face's own readers disagree about these. Here the steps are those of tokenizer.json as
 * it is written, its template included, and the tokens those that transformers 4.57 adds: what
 * published weights were trained with. So beside a tokenizer.json
 *
 * <ul>
 *   <li>{@code add_bos_token} and {@code add_eos_token} change nothing (4.57 takes the template of
 *       a LlamaTokenizerFast away), and {@code add_prefix_space} only for one of {@link
 *       #BYTE_LEVEL_CLASSES} (4.57 obeys it for every class, 5.x for these);
 *   <li>those classes keep the file's other steps (5.x puts a ByteLevel of its own in their place)
 *       and name {@code <|endoftext|>} where no file names a token, unless the model is of a
 *       {@linkplain #DESCRIBED_FAMILIES family} that 5.x reads from its tokenizer.json alone.
 * </ul>
 *
 * <p>Of a pair, {@code add_bos_token} and {@code add_prefix_space} count, and {@code add_eos_token}
 * does not (5.x obeys it). How decoded text is tidied up, cut or padded is not read.
 */
final class TokenizerFolder {
  private static final String DESCRIPTION = "tokenizer.json";
  private static final String VOCABULARY = "vocab.json";
  private static final String MERGES = "merges.txt";
  private static final String CONFIG = "tokenizer_config.json";
  private static final String SPECIAL_TOKENS = "special_tokens_map.json";
  private static final String ADDED_TOKENS = "added_tokens.json";

  /** All of them. */
  static final List<String> NAMES =
      List.of(DESCRIPTION, VOCABULARY, MERGES, CONFIG, SPECIAL_TOKENS, ADDED_TOKENS);

  /** The config of the model, which names its family. */
  private static final String MODEL = "config.json";

  /** First line of a merges.txt, as far as it is always the same. */
  private static final String MERGES_VERSION = "#version";

  /** The token that ends a text in GPT-2's vocabulary. */
  private static final String END_OF_TEXT = "<|endoftext|>";

  /** Largest file, bytes; GPT-2's have one or two million. */
  private static final int FILE_LIMIT = 32 << 20;

  /** Classes whose vocabularies are of bytes, and what they call the end of a text unasked. */
  private static final Map<String, List<String>> BYTE_LEVEL_CLASSES =
      Map.of(
          "GPT2Tokenizer", List.of("bos_token", "eos_token", "unk_token"),
          "CodeGenTokenizer", List.of("bos_token", "eos_token", "unk_token"),
          "GPTNeoXTokenizer", List.of("bos_token", "eos_token", "unk_token"),
          "Qwen2Tokenizer", List.of("eos_token", "unk_token", "pad_token"));

  /** Those of them that vocab.json and merges.txt are enough for. */
  private static final Set<String> PAIR_CLASSES = Set.of("GPT2Tokenizer", "CodeGenTokenizer");

  /** The class of a family whose tokenizer_config.json does not say it. */
  private static final Map<String, String> CLASS_OF_FAMILY =
      Map.of(
          "gpt2", "GPT2Tokenizer",
          "gpt_neo", "GPT2Tokenizer",
          "gptj", "GPT2Tokenizer",
          "opt", "GPT2Tokenizer",
          "starcoder2", "GPT2Tokenizer",
          "codegen", "CodeGenTokenizer",
          "phi", "CodeGenTokenizer",
          "gpt_neox", "GPTNeoXTokenizer",
          "qwen2", "Qwen2Tokenizer",
          "qwen3", "Qwen2Tokenizer");

  /** Families of language models for which transformers 5.24 asks no class. */
  private static final Set<String> DESCRIBED_FAMILIES =
      Set.of(
          "flex_olmo",
          "glm",
          "glm4",
          "glm4_moe",
          "gpt_bigcode",
          "granite",
          "granitemoe",
          "granitemoehybrid",
          "granitemoeshared",
          "kimi_linear",
          "ministral",
          "ministral3",
          "mistral",
          "mistral3",
          "olmo2",
          "olmo3",
          "olmo_hybrid",
          "persimmon",
          "stablelm");

  /** Names of special tokens, in the order in which their tokens are added. */
  private static final List<String> ROLES =
      List.of(
          "bos_token",
          "eos_token",
          "unk_token",
          "sep_token",
          "pad_token",
          "cls_token",
          "mask_token");

  /** Roles whose tokens are looked for after the others in the text of a pair, if a name is all. */
  private static final List<String> NORMALIZED_ROLES =
      List.of("bos_token", "eos_token", "unk_token", "pad_token");

  /** Lists of further special tokens. */
  private static final List<String> LISTS =
      List.of("additional_special_tokens", "extra_special_tokens");

  /** The list of added tokens in the config. */
  private static final String DECODER = "added_tokens_decoder";

  /** What puts another program or file in the place of these. */
  private static final List<String> REPLACEMENTS = List.of("auto_map", "fast_tokenizer_files");

  /** A token that is looked for in a text before anything else. */
  private record AddedToken(
      String content,
      boolean singleWord,
      boolean leftStrip,
      boolean rightStrip,
      boolean normalized,
      boolean special) {
    /** The special token of a content that nothing more is said about. */
    static AddedToken special(String content, boolean normalized) {
      return new AddedToken(content, false, false, false, normalized, true);
    }

    /** A token of a list, which says itself whether it is special. */
    static AddedToken listed(JsonFile json) throws IOException {
      boolean special = json.flag("special", false);
      return of(json, !special, special);
    }

    static AddedToken of(JsonFile json, boolean normalized, boolean special) throws IOException {
      String content = json.text("content", "");
      if (content.isEmpty()) {
        throw json.wrong("content", "a text that is not empty");
      }
      return new AddedToken(
          content,
          json.flag("single_word", false),
          json.flag("lstrip", false),
          json.flag("rstrip", false),
          json.flag("normalized", normalized),
          special);
    }

    AddedToken asSpecial() {
      return new AddedToken(content, singleWord, leftStrip, rightStrip, normalized, true);
    }

    ObjectNode toJson(int id) {
      return JsonNodeFactory.instance
          .objectNode()
          .put("id", id)
          .put("content", content)
          .put("single_word", singleWord)
          .put("lstrip", leftStrip)
          .put("rstrip", rightStrip)
          .put("normalized", normalized)
          .put("special", special);
    }
  }

  private final Path folder;

  /** Whether the files are vocab.json and merges.txt. */
  private final boolean pair;

  /** Whether the file has a name by which it belongs to those beside it. */
  private final boolean named;

  private final List<Path> read = new ArrayList<>();
  private final Map<String, Integer> ids = new LinkedHashMap<>();
  private final Map<String, AddedToken> added = new LinkedHashMap<>();
  private final Set<String> everSpecial = new LinkedHashSet<>();
  private final JsonFile description;
  private final JsonFile vocabulary;
  private final Path merges;

  private TokenizerFolder(Path folder, Path file) throws IOException {
    this.folder = folder;
    this.pair = file.endsWith(VOCABULARY);
    read.add(file);
    if (pair) {
      this.merges = folder.resolve(MERGES);
      read.add(merges);
      this.vocabulary = JsonFile.read(file, FILE_LIMIT);
      this.description = JsonFile.of(file, readPair());
    } else {
      this.merges = file;
      this.description = JsonFile.read(file, FILE_LIMIT);
      this.vocabulary = description.object("model").object("vocab");
    }
    this.named = pair || file.endsWith(DESCRIPTION);
    fold();
  }

  /**
   * Reads the tokenizer in a folder, or the one that a file belongs to. A file of another name than
   * these stands for itself.
   *
   * @throws IOException if there is none, or a file cannot be read or says what is not known here
   */
  static TokenizerFolder read(Path path) throws IOException {
    if (!Files.isDirectory(path)) {
      boolean half = path.endsWith(VOCABULARY) || path.endsWith(MERGES);
      Path file = half ? path.resolveSibling(VOCABULARY) : path;
      return new TokenizerFolder(path.resolveSibling(""), file);
    }
    if (exists(path.resolve(DESCRIPTION))) {
      return new TokenizerFolder(path, path.resolve(DESCRIPTION));
    }
    if (!exists(path.resolve(VOCABULARY)) && !exists(path.resolve(MERGES))) {
      throw BadFile.because(
          path,
          "there is no tokenizer in this folder, expected %s, or %s and %s",
          DESCRIPTION,
          VOCABULARY,
          MERGES);
    }
    return new TokenizerFolder(path, path.resolve(VOCABULARY));
  }

  /** A link that leads nowhere is there as well, and is refused when it is read. */
  private static boolean exists(Path file) {
    return Files.exists(file, LinkOption.NOFOLLOW_LINKS);
  }

  /** All files as one tokenizer.json, in which no token or step has been checked yet. */
  JsonFile description() {
    return description;
  }

  /** Ids of all tokens, by their content. */
  Map<String, Integer> ids() {
    return ids;
  }

  /** The tokens of the model, which may come from a file of their own. */
  JsonFile vocabulary() {
    return vocabulary;
  }

  /** The file that has the merges. */
  Path merges() {
    return merges;
  }

  /** The files that were read. */
  List<Path> files() {
    return read;
  }

  // ---- vocab.json and merges.txt -------------------------------------------------------------

  private ObjectNode readPair() throws IOException {
    long missing =
        ByteCharacters.all().stream().filter(byteText -> !vocabulary.has(byteText)).count();
    if (missing > 0) {
      throw BadFile.because(
          vocabulary.path(), "there is no token for %d of the 256 bytes", missing);
    }
    ObjectNode root = JsonNodeFactory.instance.objectNode().put("version", "1.0");
    root.putObject("pre_tokenizer")
        .put("type", TokenizerFile.BYTE_LEVEL)
        .put("add_prefix_space", false)
        .put("trim_offsets", true)
        .put("use_regex", true);
    ObjectNode model = root.putObject("model").put("type", TokenizerFile.BYTE_PAIRS);
    model.set("vocab", vocabulary.root());
    readMerges(merges, model.putArray("merges"));
    return root;
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

  // ---- the files beside them -----------------------------------------------------------------

  private JsonFile beside(String name) throws IOException {
    Path file = folder.resolve(name);
    if (!named || !exists(file)) {
      return JsonFile.of(file, JsonNodeFactory.instance.objectNode());
    }
    read.add(file);
    JsonFile json = JsonFile.read(file, FILE_LIMIT);
    TokenizerFile.requireText(json);
    return json;
  }

  private void fold() throws IOException {
    JsonFile config = beside(CONFIG);
    JsonFile specialTokens = beside(SPECIAL_TOKENS);
    JsonFile addedTokens = beside(ADDED_TOKENS);
    JsonFile model = beside(MODEL);
    for (String key : REPLACEMENTS) {
      JsonNode value = config.root().path(key);
      if (config.has(key) && (value.isValueNode() || !value.isEmpty())) {
        throw config.wrong(key, "none: it names what is read in the place of this tokenizer");
      }
    }
    boolean addPrefixSpace = config.flag("add_prefix_space", false);
    boolean addBosToken = config.flag("add_bos_token", false);
    boolean splitSpecialTokens = config.flag("split_special_tokens", false);

    String family = model.text("model_type", "");
    String tokenizerClass = tokenizerClass(config, model, family);
    if (pair) {
      requirePair(tokenizerClass, config, model);
    }
    JsonNode steps = description.root().path("pre_tokenizer");
    boolean ofBytes =
        BYTE_LEVEL_CLASSES.containsKey(tokenizerClass)
            && (pair || !DESCRIBED_FAMILIES.contains(family))
            && steps.findValuesAsText("type").contains(TokenizerFile.BYTE_LEVEL);
    if (ofBytes
        && steps instanceof ObjectNode step
        && step.path("type").asText().equals(TokenizerFile.BYTE_LEVEL)) {
      step.put("add_prefix_space", addPrefixSpace);
    }

    for (Map.Entry<String, JsonNode> token : vocabulary.root().properties()) {
      ids.put(token.getKey(), vocabulary.id(token.getKey()));
    }
    readDescribed();
    // A list in the config stands for both of the other files.
    boolean decoder = config.has(DECODER);
    Map<String, AddedToken> roles = new LinkedHashMap<>();
    Map<String, AddedToken> special =
        special(
            decoder ? List.of(config) : List.of(config, specialTokens),
            ofBytes ? BYTE_LEVEL_CLASSES.getOrDefault(tokenizerClass, List.of()) : List.of(),
            roles);
    if (tokenizerClass.isEmpty() && pair && vocabulary.has(END_OF_TEXT)) {
      special.put(END_OF_TEXT, AddedToken.special(END_OF_TEXT, true));
    }
    add(decoder ? decoder(config) : listed(addedTokens, special), special);
    if (splitSpecialTokens) {
      split(config);
    }
    ArrayNode tokens = description.root().putArray("added_tokens");
    added.forEach((content, token) -> tokens.add(token.toJson(id(content))));
    if (pair && addBosToken) {
      AddedToken bos = roles.get("bos_token");
      if (bos == null || bos.content.isEmpty()) {
        throw config.wrong("add_bos_token", "false, for there is no bos_token");
      }
      beginWith(bos.content);
    }
  }

  private static String tokenizerClass(JsonFile config, JsonFile model, String family)
      throws IOException {
    String name = config.text("tokenizer_class", model.text("tokenizer_class", ""));
    return name.isEmpty()
        ? CLASS_OF_FAMILY.getOrDefault(family, "")
        : name.replaceFirst("Fast$", "");
  }

  /** Other classes read the same two files by other rules. */
  private static void requirePair(String tokenizerClass, JsonFile config, JsonFile model)
      throws IOException {
    boolean silent = tokenizerClass.isEmpty() && !model.has("model_type");
    if (!silent && !PAIR_CLASSES.contains(tokenizerClass)) {
      JsonFile file = config.has("tokenizer_class") ? config : model;
      String key = file.has("tokenizer_class") ? "tokenizer_class" : "model_type";
      throw file.wrong(
          key,
          "one that reads "
              + VOCABULARY
              + " and "
              + MERGES
              + " as GPT2Tokenizer does, or a "
              + DESCRIPTION);
    }
  }

  private int id(String content) {
    return Objects.requireNonNull(ids.get(content));
  }

  /** The added tokens that tokenizer.json has itself. */
  private void readDescribed() throws IOException {
    if (!description.has("added_tokens")) {
      return;
    }
    for (JsonFile json : description.objects("added_tokens")) {
      AddedToken token = AddedToken.listed(json);
      int id = json.id("id");
      Integer other = ids.put(token.content, id);
      if (other != null && other != id) {
        throw json.wrong(
            "id", other + ", which " + BadFile.quoted(token.content) + " has elsewhere");
      }
      if (added.put(token.content, token) != null) {
        throw json.wrong("content", "a token that is not listed before");
      }
    }
  }

  /**
   * Special tokens, by their content.
   *
   * @param files that name them, each before what adds to it or has the last word
   * @param unasked what is called the end of a text if no file says otherwise
   * @param roles receives what has a name of its own, by that name
   */
  private Map<String, AddedToken> special(
      List<JsonFile> files, List<String> unasked, Map<String, AddedToken> roles)
      throws IOException {
    for (String role : ROLES) {
      boolean normalized = pair && NORMALIZED_ROLES.contains(role);
      if (unasked.contains(role)) {
        roles.put(role, AddedToken.special(END_OF_TEXT, normalized));
      }
      for (JsonFile file : files) {
        if (file.has(role)) {
          roles.put(role, special(file, role, normalized));
        } else if (file.root().has(role)) { // null: there is none
          roles.remove(role);
        }
      }
    }
    Map<String, AddedToken> result = new LinkedHashMap<>();
    roles.values().forEach(token -> result.putIfAbsent(token.content, token));
    for (JsonFile file : files) {
      for (String key : LISTS) {
        if (file.has(key)) {
          JsonFile list = file.root().get(key).isObject() ? file.object(key) : file.list(key);
          for (Map.Entry<String, JsonNode> entry : list.root().properties()) {
            AddedToken token = special(list, entry.getKey(), false);
            result.putIfAbsent(token.content, token);
          }
        }
      }
    }
    result.remove(""); // names nothing
    return result;
  }

  /** The token at a key: a text, or an object that has more to say. */
  private static AddedToken special(JsonFile file, String key, boolean normalized)
      throws IOException {
    JsonNode node = file.root().path(key);
    if (node.isTextual()) {
      return AddedToken.special(node.textValue(), normalized);
    }
    if (!node.isObject()) {
      throw file.wrong(key, "a token: a text, or an object with its content");
    }
    return AddedToken.of(file.object(key), false, true);
  }

  /** The list of the config, by id. */
  private static SortedMap<Integer, AddedToken> decoder(JsonFile config) throws IOException {
    SortedMap<Integer, AddedToken> result = new TreeMap<>();
    JsonFile list = config.object(DECODER);
    for (Map.Entry<String, JsonNode> entry : list.root().properties()) {
      if (!entry.getKey().matches("0|[1-9]\\d{0,8}")) {
        throw list.wrong(entry.getKey(), "a token id as the key");
      }
      result.put(Integer.valueOf(entry.getKey()), AddedToken.listed(list.object(entry.getKey())));
    }
    return result;
  }

  /** The list of added_tokens.json, by id, where tokenizer.json is believed first. */
  private SortedMap<Integer, AddedToken> listed(JsonFile file, Map<String, AddedToken> special)
      throws IOException {
    SortedMap<Integer, AddedToken> result = new TreeMap<>();
    added.values().forEach(token -> result.put(id(token.content), token));
    for (Map.Entry<String, JsonNode> entry : file.root().properties()) {
      String content = entry.getKey();
      int id = file.id(content);
      if (content.isEmpty()) {
        throw file.wrong(content, "a token that is not empty");
      }
      AddedToken token =
          special.getOrDefault(content, new AddedToken(content, false, false, false, true, false));
      AddedToken other = result.putIfAbsent(id, token);
      if (other != null && !other.content.equals(content)) {
        throw file.wrong(content, "an id that " + BadFile.quoted(other.content) + " has not");
      }
    }
    return result;
  }

  /**
   * Adds what is new, or has other flags than before; an id that is claimed for it is not asked.
   */
  private void add(SortedMap<Integer, AddedToken> listed, Map<String, AddedToken> special) {
    int largest = added.keySet().stream().mapToInt(this::id).max().orElse(-1);
    int next = Math.max(vocabulary.root().size(), largest + 1);
    List<AddedToken> tokens = new ArrayList<>();
    for (AddedToken token : listed.values()) {
      if (!token.equals(added.get(token.content))) {
        tokens.add(special.containsKey(token.content) ? token.asSpecial() : token);
      }
    }
    Set<String> known = new HashSet<>(added.keySet());
    tokens.forEach(token -> known.add(token.content));
    for (AddedToken token : special.values()) {
      added.computeIfPresent(token.content, (content, before) -> before.asSpecial());
      if (known.add(token.content)) {
        tokens.add(token);
      }
    }
    for (AddedToken token : tokens) {
      if (ids.putIfAbsent(token.content, next) == null) {
        next++;
      }
      AddedToken before = added.put(token.content, token);
      if (token.special || (before != null && before.special)) {
        everSpecial.add(token.content);
      }
    }
  }

  /** Special tokens become tokens like any other, which no text makes, and keep their ids. */
  private void split(JsonFile config) throws IOException {
    ObjectNode model = description.object("model").root();
    boolean made = !model.has("merges") || model.path("ignore_merges").asBoolean();
    for (Map.Entry<String, AddedToken> token : added.entrySet()) {
      String content = token.getKey();
      if (token.getValue().special) {
        everSpecial.add(content);
      }
      if (!vocabulary.root().has(content)) {
        if (made || content.codePointCount(0, content.length()) < 2) {
          throw config.wrong(
              "split_special_tokens",
              "false, for " + BadFile.quoted(content) + " is not in the vocabulary of the model");
        }
        vocabulary.root().put(content, id(content));
      }
    }
    everSpecial.forEach(added::remove);
  }

  private void beginWith(String content) {
    ObjectNode template =
        description.root().putObject("post_processor").put("type", TokenizerFile.TEMPLATE);
    for (String key : List.of("single", "pair")) {
      ArrayNode pieces = template.putArray(key);
      pieces.addObject().putObject("SpecialToken").put("id", content).put("type_id", 0);
      pieces.addObject().putObject("Sequence").put("id", "A").put("type_id", 0);
    }
    ((ArrayNode) template.get("pair"))
        .addObject()
        .putObject("Sequence")
        .put("id", "B")
        .put("type_id", 1);
    ObjectNode token = template.putObject("special_tokens").putObject(content).put("id", content);
    token.putArray("ids").add(id(content));
    token.putArray("tokens").add(content);
  }
}
