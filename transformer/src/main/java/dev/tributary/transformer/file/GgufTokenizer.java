package dev.tributary.transformer.file;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/**
 * The tokenizer in the metadata of a GGUF file, as the {@code tokenizer.json} that says the same.
 *
 * @see <a href="https://github.com/ggml-org/ggml/blob/master/docs/gguf.md">GGUF, Tokenizer</a>
 */
final class GgufTokenizer {
  private static final String PREFIX = "tokenizer.ggml.";
  private static final String KIND = PREFIX + "model";
  private static final String SPLIT = PREFIX + "pre";
  private static final String TOKENS = PREFIX + "tokens";
  private static final String TYPES = PREFIX + "token_type";
  private static final String BEGIN = PREFIX + "bos_token_id";
  private static final String END = PREFIX + "eos_token_id";

  /** What ends a turn of a chat, and a message in it. */
  private static final List<String> CHAT_ENDS =
      List.of(PREFIX + "eot_token_id", PREFIX + "eom_token_id");

  private static final String UNKNOWN = PREFIX + "unknown_token_id";
  private static final String CHAT = "tokenizer.chat_template";

  private static final String BYTES = "gpt2";
  private static final String PIECES = "llama";

  /** How the roles of tokens are called in a tokenizer_config.json. */
  private static final Map<String, String> ROLES =
      Map.of(
          "bos_token", BEGIN,
          "eos_token", END,
          "unk_token", UNKNOWN,
          "pad_token", PREFIX + "padding_token_id");

  private final JsonFile metadata;
  private final List<String> tokens;
  private final List<Integer> types;

  /**
   * The tokenizer in a file.
   *
   * @throws IOException if it has none, or metadata of a wrong type
   */
  GgufTokenizer(JsonFile metadata) throws IOException {
    this.metadata = metadata;
    if (!metadata.has(KIND)) {
      throw metadata.because("there is no tokenizer in this file");
    }
    tokens = metadata.texts(TOKENS);
    if (tokens.isEmpty()) {
      throw metadata.wrong(TOKENS, "a list of texts that is not empty");
    }
    types =
        metadata.has(TYPES)
            ? types()
            : tokens.stream().map(token -> SentencePieceModel.NORMAL).toList();
  }

  private List<Integer> types() throws IOException {
    List<Integer> result = new ArrayList<>();
    for (double type : numbers(TYPES)) {
      if (type < SentencePieceModel.NORMAL || type > SentencePieceModel.BYTE) {
        throw metadata.wrong(
            TYPES,
            "a list of numbers from %d to %d"
                .formatted(SentencePieceModel.NORMAL, SentencePieceModel.BYTE));
      }
      result.add((int) type);
    }
    return result;
  }

  /** A list with one number for each token. */
  private List<Double> numbers(String key) throws IOException {
    List<Double> result = metadata.numbers(key);
    if (result.size() != tokens.size()) {
      throw metadata.wrong(
          key, "a list of %d numbers, one for each token".formatted(tokens.size()));
    }
    return result;
  }

  // ---- what it becomes -----------------------------------------------------------------------

  /** As tokenizer.json. */
  ObjectNode describe() throws IOException {
    String kind = metadata.text(KIND, "");
    ObjectNode root =
        switch (kind) {
          case BYTES -> bytes();
          case PIECES -> pieces();
          default -> throw metadata.wrong(KIND, BYTES + " or " + PIECES);
        };
    boolean begins = kind.equals(PIECES) || splitting().begins();
    List<String> begin = around("add_bos_token", begins, BEGIN, 1);
    List<String> end = around("add_eos_token", false, END, 2);
    if (!begin.isEmpty() || !end.isEmpty()) {
      TokenizerFolder.putAround(root, begin, end, tokens::indexOf);
    }
    return root;
  }

  /**
   * As tokenizer_config.json, as far as that is not said by the description. What files call a
   * token of padding, say, may be any word: only one of no text has a role.
   */
  ObjectNode config() throws IOException {
    ObjectNode root = JsonNodeFactory.instance.objectNode();
    for (Map.Entry<String, String> role : ROLES.entrySet()) {
      OptionalInt id = id(role.getValue());
      if (id.isPresent() && types.get(id.getAsInt()) != SentencePieceModel.NORMAL) {
        root.put(role.getKey(), tokens.get(id.getAsInt()));
      }
    }
    ArrayNode ends = root.putArray(TokenizerFolder.ENDS);
    id(END).ifPresent(ends::add);
    for (String end : CHAT_ENDS) {
      id(end).ifPresent(ends::add);
    }
    int unknown = types.indexOf(SentencePieceModel.UNKNOWN);
    if (unknown >= 0) {
      root.put("unk_token", tokens.get(unknown));
    }
    if (metadata.has(CHAT)) {
      root.put("chat_template", metadata.text(CHAT, ""));
    }
    return root;
  }

  private OptionalInt id(String key) throws IOException {
    return metadata.has(key)
        ? OptionalInt.of(metadata.index(key, tokens.size()))
        : OptionalInt.empty();
  }

  /** A token if it is put around texts, in a list. */
  private List<String> around(String key, boolean usual, String idKey, int usualId)
      throws IOException {
    if (!metadata.flag(PREFIX + key, usual)) {
      return List.of();
    }
    OptionalInt id = id(idKey);
    if (id.isEmpty() && (metadata.text(KIND, "").equals(BYTES) || usualId >= tokens.size())) {
      throw metadata.wrong(idKey, "the id of a token, which %s puts around a text".formatted(key));
    }
    return List.of(tokens.get(id.orElse(usualId)));
  }

  // ---- SentencePiece -------------------------------------------------------------------------

  private ObjectNode pieces() throws IOException {
    int unknown = id(UNKNOWN).orElse(Math.max(0, types.indexOf(SentencePieceModel.UNKNOWN)));
    return SentencePieceModel.bytePairs(
            metadata.path(), tokens, numbers(PREFIX + "scores"), types, unknown)
        .describe(true, metadata.flag(PREFIX + "add_space_prefix", true));
  }

  // ---- characters that stand for bytes -------------------------------------------------------

  private ObjectNode bytes() throws IOException {
    ObjectNode root = JsonNodeFactory.instance.objectNode().put("version", "1.0");
    ArrayNode added = root.putArray("added_tokens");
    for (int id = 0; id < tokens.size(); id++) {
      SentencePieceModel.add(added, id, tokens.get(id), types.get(id));
    }
    Splitting splitting = splitting();
    ArrayNode steps =
        root.putObject("pre_tokenizer").put("type", "Sequence").putArray("pretokenizers");
    for (String pattern : splitting.patterns) {
      ObjectNode step = steps.addObject().put("type", TokenizerSteps.SPLIT);
      step.putObject("pattern").put("Regex", pattern);
      step.put("behavior", "Isolated").put("invert", false);
    }
    byteLevel(steps.addObject());
    byteLevel(root.putObject("decoder"));
    ObjectNode model = root.putObject("model").put("type", TokenizerFile.BYTE_PAIRS);
    model.put("ignore_merges", splitting.whole);
    ObjectNode vocabulary = model.putObject("vocab");
    for (int id = 0; id < tokens.size(); id++) {
      if (vocabulary.has(tokens.get(id))) {
        throw metadata.because("two tokens are both %s", BadFile.quoted(tokens.get(id)));
      }
      vocabulary.put(tokens.get(id), id);
    }
    ArrayNode merges = model.putArray("merges");
    metadata.texts(PREFIX + "merges").forEach(merges::add);
    return root;
  }

  private static void byteLevel(ObjectNode step) {
    step.put("type", TokenizerSteps.BYTE_LEVEL)
        .put("add_prefix_space", false)
        .put("trim_offsets", true)
        .put("use_regex", false);
  }

  /**
   * How a text is split before the pairs of bytes in each piece are merged.
   *
   * @param patterns by which it is split, one after the other
   * @param whole whether a piece that is a token is taken as it is
   * @param begins whether the first token is put before a text if nothing says so
   */
  private record Splitting(List<String> patterns, boolean whole, boolean begins) {
    static Splitting by(String... patterns) {
      return new Splitting(List.of(patterns), false, false);
    }
  }

  private static final String NUMBER = "\\p{N}";

  private static final String OF_GPT2 =
      "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

  /** Of GPT-4, and others in which so many digits are a piece. */
  private static String ofGpt4(String digits) {
    return "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
        + digits
        + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  }

  /** By the names that llama.cpp gives to the tokenizers of published models. */
  private Splitting splitting() throws IOException {
    return switch (metadata.text(SPLIT, "default")) {
      case "default" ->
          Splitting.by("[\\p{P}\\$\\+<=>\\^~\\|]+", OF_GPT2, "\\p{N}+", "[0-9][0-9][0-9]");
      case "gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "roberta-bpe", "exaone4" ->
          Splitting.by(OF_GPT2);
      case "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b" ->
          Splitting.by(NUMBER, OF_GPT2);
      case "qwen2", "stablelm2", "deepseek-r1-qwen", "hunyuan", "megrez" ->
          Splitting.by(ofGpt4(NUMBER));
      case "dbrx", "smaug-bpe" -> Splitting.by(ofGpt4("\\p{N}{1,3}"));
      case "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "lfm2" ->
          new Splitting(List.of(ofGpt4("\\p{N}{1,3}")), true, true);
      case "deepseek-coder" ->
          Splitting.by(
              "[\\r\\n]",
              "\\s?\\p{L}+",
              "\\s?\\p{P}+",
              "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
              NUMBER);
      default ->
          throw metadata.wrong(SPLIT, "a name by which it is known how this model splits a text");
    };
  }
}
