package dev.tributary.transformer.file;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.transformer.family.TokenizerClass;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

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
 *       a LlamaTokenizerFast away), and {@code add_prefix_space} only for a {@link TokenizerClass}
 *       (4.57 obeys it for every class, 5.x for these);
 *   <li>those classes keep the file's other steps (5.x puts a ByteLevel of its own in their place)
 *       and name {@code <|endoftext|>} where no file names a token, unless the model is of a
 *       {@linkplain TokenizerClass#isDescribed family} that 5.x reads from its tokenizer.json
 *       alone.
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

  /** Largest file, bytes; GPT-2's have one or two million. */
  private static final int FILE_LIMIT = 32 << 20;

  private static final String CLASS = "tokenizer_class";

  /** What puts another program or file in the place of these. */
  private static final List<String> REPLACEMENTS = List.of("auto_map", "fast_tokenizer_files");

  private final Path folder;

  /** Whether the files are vocab.json and merges.txt. */
  private final boolean pair;

  /** Whether the file has a name by which it belongs to those beside it. */
  private final boolean named;

  private final List<Path> read = new ArrayList<>();
  private final JsonFile description;
  private final JsonFile vocabulary;
  private final Path merges;
  private final AddedTokens tokens;

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
    this.tokens = fold();
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
    return tokens.ids();
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

  private AddedTokens fold() throws IOException {
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
    String name = config.text(CLASS, model.text(CLASS, ""));
    Optional<TokenizerClass> known = TokenizerClass.of(name, family);
    boolean silent = name.isEmpty() && !model.has("model_type");
    if (pair && !silent && !known.map(TokenizerClass::readsPair).orElse(false)) {
      throw otherPair(config.has(CLASS) ? config : model);
    }
    JsonNode steps = description.root().path("pre_tokenizer");
    Optional<TokenizerClass> ofBytes =
        known.filter(
            one ->
                (pair || !TokenizerClass.isDescribed(family))
                    && steps.findValuesAsText("type").contains(TokenizerFile.BYTE_LEVEL));
    if (ofBytes.isPresent()
        && steps instanceof ObjectNode step
        && step.path("type").asText().equals(TokenizerFile.BYTE_LEVEL)) {
      step.put("add_prefix_space", addPrefixSpace);
    }
    AddedTokens result = new AddedTokens(description, vocabulary, pair);
    result.read(
        config,
        specialTokens,
        addedTokens,
        ofBytes.map(TokenizerClass::endsOfText).orElse(List.of()),
        pair && known.isEmpty());
    if (splitSpecialTokens) {
      result.split(config);
    }
    result.describe();
    if (pair && addBosToken) {
      beginWith(result.beginning(config), result.ids());
    }
    return result;
  }

  /** Other classes read the same two files by other rules. */
  private static IOException otherPair(JsonFile file) {
    return file.wrong(
        file.has(CLASS) ? CLASS : "model_type",
        "one that reads "
            + VOCABULARY
            + " and "
            + MERGES
            + " as GPT2Tokenizer does, or a "
            + DESCRIPTION);
  }

  private void beginWith(String content, Map<String, Integer> ids) {
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
    token.putArray("ids").add(ids.get(content));
    token.putArray("tokens").add(content);
  }
}
