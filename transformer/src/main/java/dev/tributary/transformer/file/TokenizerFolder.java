package dev.tributary.transformer.file;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.transformer.family.TokenizerClass;
import dev.tributary.transformer.family.TokenizerClass.OlderFiles;
import dev.tributary.transformer.family.TokenizerClass.Vocabulary;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.ToIntFunction;
import java.util.stream.Stream;

/**
 * The files of a tokenizer, folded into the one {@code tokenizer.json} that says the same. Beside
 * {@code tokenizer.json}, GPT-2's older pair of {@code vocab.json} and {@code merges.txt}, or a
 * model of SentencePiece, lie files that add tokens, and for the older two say how a text is read.
 *
 * <p>Hugging Face's own readers disagree about these. Here the steps are those of tokenizer.json as
 * it is written, its template included, and the tokens those that transformers 4.57 adds: what
 * published weights were trained with. So beside a tokenizer.json
 *
 * <ul>
 *   <li>{@code add_bos_token} and {@code add_eos_token} change nothing (4.57 takes the template of
 *       a LlamaTokenizerFast away), and {@code add_prefix_space} only for a {@link TokenizerClass}
 *       of bytes (4.57 obeys it for every class, 5.x for these);
 *   <li>those classes keep the file's other steps (5.x puts some of its own in their place, as does
 *       its LlamaTokenizer) and name special tokens where no file does, unless the model is of a
 *       {@linkplain TokenizerClass#isDescribed family} that 5.x reads from its tokenizer.json
 *       alone, or the file is one of bytes and the class is not.
 * </ul>
 *
 * <p>Of a pair, {@code add_bos_token} and {@code add_prefix_space} count, and {@code add_eos_token}
 * does not (5.x obeys it). Of a model of SentencePiece they all count, and {@code legacy} does (5.x
 * forgets it). How a text is cut or padded is not read.
 */
final class TokenizerFolder {
  private static final String DESCRIPTION = "tokenizer.json";
  private static final String VOCABULARY = "vocab.json";
  private static final String MERGES = "merges.txt";
  private static final String CONFIG = "tokenizer_config.json";
  private static final String SPECIAL_TOKENS = "special_tokens_map.json";
  private static final String ADDED_TOKENS = "added_tokens.json";
  private static final String CHAT_TEMPLATE = "chat_template.jinja";

  /** How the name of a model of SentencePiece ends. */
  private static final String PIECES_END = ".model";

  /** What says what a tokenizer is: the first of these that is there. */
  private static final List<String> SOURCES =
      List.of(DESCRIPTION, VOCABULARY, MERGES, "tokenizer.model", "spiece.model");

  /** All of them. */
  static final List<String> NAMES =
      Stream.concat(
              SOURCES.stream(), Stream.of(CONFIG, SPECIAL_TOKENS, ADDED_TOKENS, CHAT_TEMPLATE))
          .toList();

  /** The config of the model, which names its family. */
  private static final String MODEL = "config.json";

  /** How the model is to be run, which says where a text ends. */
  private static final String GENERATION = "generation_config.json";

  /** Ids of tokens that end a text, where a file has them. */
  static final String ENDS = "eos_token_id";

  /** First line of a merges.txt, as far as it is always the same. */
  private static final String MERGES_VERSION = "#version";

  /** Largest file, bytes; the largest published have half as many. */
  private static final int FILE_LIMIT = 64 << 20;

  private static final String CLASS = "tokenizer_class";

  /** What puts another program or file in the place of these. */
  private static final List<String> REPLACEMENTS = List.of("auto_map", "fast_tokenizer_files");

  private final Path folder;

  /** The older files that are read, or none if there is a tokenizer.json. */
  private final OlderFiles older;

  /** Whether the file has a name by which it belongs to those beside it. */
  private final boolean named;

  private final List<Path> read = new ArrayList<>();
  private final JsonFile config;
  private final JsonFile model;
  private final JsonFile description;
  private final ModelVocabulary vocabulary;
  private final Path merges;
  private final AddedTokens tokens;
  private final ChatTemplate chat;
  private final Set<Integer> ends;

  private TokenizerFolder(Path folder, Path file) throws IOException {
    this.folder = folder;
    this.older =
        file.endsWith(VOCABULARY)
            ? OlderFiles.PAIR
            : file.toString().endsWith(PIECES_END) ? OlderFiles.SENTENCE_PIECES : OlderFiles.NONE;
    this.named = NAMES.contains(String.valueOf(file.getFileName()));
    read.add(file);
    this.merges = older == OlderFiles.PAIR ? folder.resolve(MERGES) : file;
    switch (older) {
      case PAIR -> {
        read.add(merges);
        JsonFile ids = JsonFile.read(file, FILE_LIMIT);
        this.description = JsonFile.of(file, readPair(ids));
        this.config = beside(CONFIG);
        this.vocabulary = ModelVocabulary.ofIds(ids);
      }
      case SENTENCE_PIECES -> {
        SentencePieceModel pieces = SentencePieceModel.read(file, FILE_LIMIT);
        this.config = beside(CONFIG);
        this.description =
            JsonFile.of(
                file,
                pieces.describe(
                    config.flag("legacy", true), config.flag("add_prefix_space", true)));
        this.vocabulary = ModelVocabulary.of(description.object("model"));
      }
      default -> {
        if (Gguf.isOne(file)) {
          JsonFile metadata = Gguf.open(file).json(key -> key.startsWith("tokenizer."));
          GgufTokenizer tokenizer = new GgufTokenizer(metadata);
          this.description = JsonFile.of(file, tokenizer.describe());
          this.config = JsonFile.of(file, tokenizer.config());
        } else {
          this.description = JsonFile.read(file, FILE_LIMIT);
          this.config = beside(CONFIG);
        }
        this.vocabulary = ModelVocabulary.of(description.object("model"));
      }
    }
    JsonFile specialTokens = beside(SPECIAL_TOKENS);
    JsonFile addedTokens = beside(ADDED_TOKENS);
    this.model = beside(MODEL);
    this.tokens = fold(specialTokens, addedTokens);
    this.chat = readChat();
    this.ends = readEnds();
  }

  /**
   * Reads the tokenizer in a folder, or the one that a file belongs to. A file of another name than
   * these stands for itself.
   *
   * @throws IOException if there is none, or a file cannot be read or says what is not known here
   */
  static TokenizerFolder read(Path path) throws IOException {
    if (!Files.isDirectory(path)) {
      Path file = path.endsWith(MERGES) ? path.resolveSibling(VOCABULARY) : path;
      return new TokenizerFolder(path.resolveSibling(""), file);
    }
    Path file =
        find(path)
            .orElseThrow(
                () ->
                    BadFile.because(
                        path,
                        "there is no tokenizer in this folder, expected %s, %s with %s, %s or %s",
                        SOURCES.toArray()));
    return new TokenizerFolder(path, file.endsWith(MERGES) ? path.resolve(VOCABULARY) : file);
  }

  /** The file in a folder that says what its tokenizer is; of several the first of these names. */
  private static Optional<Path> find(Path folder) {
    return SOURCES.stream().map(folder::resolve).filter(TokenizerFolder::exists).findFirst();
  }

  /** Whether this is a folder with such a file that says more than merges, or the file. */
  static boolean isOne(Path path) {
    return Files.isDirectory(path)
        ? find(path).filter(file -> !file.endsWith(MERGES)).isPresent()
        : SOURCES.stream().anyMatch(path::endsWith) || path.toString().endsWith(PIECES_END);
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
    return tokens.ids();
  }

  /** The tokens of the model, which may come from a file of their own. */
  ModelVocabulary vocabulary() {
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

  /** Whether decoded text has no space before a full stop and the like. */
  boolean cleansUp() throws IOException {
    return config.flag("clean_up_tokenization_spaces", false);
  }

  /** How the model is talked to. */
  ChatTemplate chat() {
    return chat;
  }

  /** Ids of the tokens that end a text. */
  Set<Integer> ends() {
    return ends;
  }

  // ---- vocab.json and merges.txt -------------------------------------------------------------

  private ObjectNode readPair(JsonFile ids) throws IOException {
    long missing = ByteCharacters.all().stream().filter(byteText -> !ids.has(byteText)).count();
    if (missing > 0) {
      throw BadFile.because(ids.path(), "there is no token for %d of the 256 bytes", missing);
    }
    ObjectNode root = JsonNodeFactory.instance.objectNode().put("version", "1.0");
    for (String key : List.of("pre_tokenizer", "decoder")) {
      root.putObject(key)
          .put("type", TokenizerSteps.BYTE_LEVEL)
          .put("add_prefix_space", false)
          .put("trim_offsets", true)
          .put("use_regex", true);
    }
    ObjectNode model = root.putObject("model").put("type", TokenizerFile.BYTE_PAIRS);
    model.set("vocab", ids.root());
    readMerges(merges, model.putArray("merges"));
    return root;
  }

  private static void readMerges(Path file, ArrayNode merges) throws IOException {
    byte[] bytes = BadFile.bytes(file, FILE_LIMIT);
    try (BufferedReader reader = new BufferedReader(JsonFile.reader(bytes))) {
      String line = reader.readLine();
      if (line != null && line.startsWith(MERGES_VERSION)) {
        line = reader.readLine();
      }
      for (; line != null; line = reader.readLine()) {
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

  /** A file of its own counts for more than the config. */
  private ChatTemplate readChat() throws IOException {
    Path file = folder.resolve(CHAT_TEMPLATE);
    if (named && exists(file)) {
      read.add(file);
      byte[] bytes = BadFile.bytes(file, FILE_LIMIT);
      return new ChatTemplate(
          file, Optional.of(new String(bytes, StandardCharsets.UTF_8)), tokens.roles());
    }
    String key = "chat_template";
    String template = "";
    if (config.root().path(key).isArray()) {
      for (JsonFile each : config.objects(key)) {
        template = each.text("name", "").equals("default") ? each.text("template", "") : template;
      }
    } else {
      template = config.text(key, "");
    }
    return new ChatTemplate(
        config.path(), Optional.of(template).filter(text -> !text.isEmpty()), tokens.roles());
  }

  /** What any of the files says: chats end by other tokens than texts. */
  private Set<Integer> readEnds() throws IOException {
    Set<Integer> result = new TreeSet<>();
    String named = tokens.roles().get("eos_token");
    if (named != null) {
      result.add(ids().get(named));
    }
    for (JsonFile file : List.of(config, model, beside(GENERATION))) {
      if (file.root().path(ENDS).isArray()) {
        JsonFile several = file.list(ENDS);
        for (String key : several.root().properties().stream().map(Map.Entry::getKey).toList()) {
          result.add(several.id(key));
        }
      } else if (file.has(ENDS)) {
        result.add(file.id(ENDS));
      }
    }
    return Collections.unmodifiableSet(result);
  }

  private AddedTokens fold(JsonFile specialTokens, JsonFile addedTokens) throws IOException {
    for (String key : REPLACEMENTS) {
      JsonNode value = config.root().path(key);
      if (config.has(key) && (value.isValueNode() || !value.isEmpty())) {
        throw config.wrong(key, "none: it names what is read in the place of this tokenizer");
      }
    }
    Optional<TokenizerClass> known = tokenizerClass();
    boolean addPrefixSpace = config.flag("add_prefix_space", false);
    boolean bytes =
        description
            .root()
            .path("pre_tokenizer")
            .findValuesAsText("type")
            .contains(TokenizerSteps.BYTE_LEVEL);
    boolean described =
        older == OlderFiles.NONE && TokenizerClass.isDescribed(model.text("model_type", ""));
    Optional<TokenizerClass> asked =
        known.filter(one -> !described && bytes == (one.vocabulary() == Vocabulary.BYTES));
    if (asked.isPresent()
        && description.root().path("pre_tokenizer") instanceof ObjectNode step
        && step.path("type").asText().equals(TokenizerSteps.BYTE_LEVEL)) {
      step.put("add_prefix_space", addPrefixSpace);
    }
    boolean pair = older == OlderFiles.PAIR;
    AddedTokens result = new AddedTokens(description, vocabulary, pair);
    result.read(
        config,
        specialTokens,
        addedTokens,
        asked.map(TokenizerClass::tokens).orElse(Map.of()),
        pair && known.isEmpty());
    if (config.flag("split_special_tokens", false)) {
      result.split(config);
    }
    result.describe();
    List<String> begin = around("add_bos_token", "bos_token", known, result);
    List<String> end = around("add_eos_token", "eos_token", known, result);
    if (older == OlderFiles.SENTENCE_PIECES || (pair && !begin.isEmpty())) {
      putAround(description.root(), begin, pair ? List.of() : end, result.ids()::get);
    }
    return result;
  }

  /** The class that the files name; for older files it has to be one that reads them. */
  private Optional<TokenizerClass> tokenizerClass() throws IOException {
    String name = config.text(CLASS, model.text(CLASS, ""));
    Optional<TokenizerClass> known = TokenizerClass.of(name, model.text("model_type", ""));
    boolean silent = older == OlderFiles.PAIR && name.isEmpty() && !model.has("model_type");
    boolean reads = known.map(one -> one.olderFiles() == older).orElse(false);
    if (older != OlderFiles.NONE && !silent && !reads) {
      boolean family = model.has(CLASS) || model.has("model_type");
      JsonFile file = config.has(CLASS) || !family ? config : model;
      throw file.wrong(
          file.has("model_type") && !file.has(CLASS) ? "model_type" : CLASS,
          older == OlderFiles.PAIR
              ? "one that reads vocab.json and merges.txt as GPT2Tokenizer does, or a "
                  + DESCRIPTION
              : "one that reads a model of SentencePiece as LlamaTokenizer, GemmaTokenizer or"
                  + " T5Tokenizer does, or a "
                  + DESCRIPTION);
    }
    return known;
  }

  /** The token with a name if an older tokenizer puts it around a text, in a list. */
  private List<String> around(
      String key, String role, Optional<TokenizerClass> known, AddedTokens added)
      throws IOException {
    boolean usual = known.map(one -> one.around().contains(role)).orElse(false);
    boolean wanted = config.flag(key, usual);
    return wanted && older != OlderFiles.NONE ? List.of(added.named(role, config, key)) : List.of();
  }

  /**
   * Adds the step that puts tokens around a text.
   *
   * @param ids of tokens, by their content
   */
  static void putAround(
      ObjectNode description, List<String> begin, List<String> end, ToIntFunction<String> ids) {
    ObjectNode template =
        description.putObject("post_processor").put("type", TokenizerSteps.TEMPLATE);
    ObjectNode special = template.putObject("special_tokens");
    Stream.concat(begin.stream(), end.stream())
        .distinct()
        .forEach(
            content -> {
              ObjectNode token = special.putObject(content).put("id", content);
              token.putArray("ids").add(ids.applyAsInt(content));
              token.putArray("tokens").add(content);
            });
    for (List<String> texts : List.of(List.of("A"), List.of("A", "B"))) {
      ArrayNode pieces = template.putArray(texts.size() == 1 ? "single" : "pair");
      for (String text : texts) {
        begin.forEach(content -> putPiece(pieces, "SpecialToken", content));
        putPiece(pieces, "Sequence", text);
        end.forEach(content -> putPiece(pieces, "SpecialToken", content));
      }
    }
  }

  private static void putPiece(ArrayNode pieces, String kind, String id) {
    pieces.addObject().putObject(kind).put("id", id).put("type_id", 0);
  }
}
