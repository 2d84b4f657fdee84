package dev.tributary.transformer.file;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
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
 * The tokens of a tokenizer, above all those that are looked for in a text before anything else,
 * which its files list and name together.
 */
final class AddedTokens {
  /** The token that ends a text in GPT-2's vocabulary. */
  private static final String END_OF_TEXT = "<|endoftext|>";

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

  /** A token that is looked for in a text before anything else. */
  private record Token(
      String content,
      boolean singleWord,
      boolean leftStrip,
      boolean rightStrip,
      boolean normalized,
      boolean special) {
    /** The special token of a content that nothing more is said about. */
    static Token special(String content, boolean normalized) {
      return new Token(content, false, false, false, normalized, true);
    }

    /** A token of a list, which says itself whether it is special. */
    static Token listed(JsonFile json) throws IOException {
      boolean special = json.flag("special", false);
      return of(json, !special, special);
    }

    static Token of(JsonFile json, boolean normalized, boolean special) throws IOException {
      String content = json.text("content", "");
      if (content.isEmpty()) {
        throw json.wrong("content", "a text that is not empty");
      }
      return new Token(
          content,
          json.flag("single_word", false),
          json.flag("lstrip", false),
          json.flag("rstrip", false),
          json.flag("normalized", normalized),
          special);
    }

    Token asSpecial(boolean value) {
      return new Token(content, singleWord, leftStrip, rightStrip, normalized, value);
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

  /** A token as a description lists it, which stands for its content alone. */
  static ObjectNode json(int id, String content, boolean special) {
    return new Token(content, false, false, false, false, special).toJson(id);
  }

  private final JsonFile description;
  private final ModelVocabulary vocabulary;

  /** Whether the files are vocab.json and merges.txt. */
  private final boolean pair;

  private final Map<String, Integer> ids = new LinkedHashMap<>();
  private final Map<String, Token> added = new LinkedHashMap<>();
  private final Set<String> everSpecial = new LinkedHashSet<>();

  /**
   * What special_tokens_map.json alone calls an additional special token: one that
   * added_tokens.json lists too is none in transformers 5.x.
   */
  private final Set<String> additional = new LinkedHashSet<>();

  /** What has a name of its own, by that name. */
  private final Map<String, Token> roles = new LinkedHashMap<>();

  /**
   * The tokens of a tokenizer.json or of what stands for one.
   *
   * @param vocabulary the tokens of its model
   */
  AddedTokens(JsonFile description, ModelVocabulary vocabulary, boolean pair) throws IOException {
    this.description = description;
    this.vocabulary = vocabulary;
    this.pair = pair;
    ids.putAll(vocabulary.ids());
    readDescribed();
  }

  /** Ids of all tokens, by their content. */
  Map<String, Integer> ids() {
    return ids;
  }

  private int id(String content) {
    return Objects.requireNonNull(ids.get(content));
  }

  /**
   * Adds what the files beside it say. A list in the config stands for both of the others.
   *
   * @param names what has a name of its own if no file says otherwise
   * @param unnamed whether the end of a text is a special token that no file has to name
   */
  void read(
      JsonFile config,
      JsonFile specialTokens,
      JsonFile addedTokens,
      Map<String, String> names,
      boolean unnamed)
      throws IOException {
    boolean decoder = config.has(DECODER);
    Map<String, Token> special =
        special(decoder ? List.of(config) : List.of(config, specialTokens), names);
    if (unnamed && vocabulary.has(END_OF_TEXT)) {
      special.put(END_OF_TEXT, Token.special(END_OF_TEXT, true));
    }
    add(decoder ? decoder(config) : listed(addedTokens, special), special);
  }

  /** Writes the added tokens into the description. */
  void describe() {
    ArrayNode tokens = description.root().putArray("added_tokens");
    added.forEach((content, token) -> tokens.add(token.toJson(id(content))));
  }

  /** The contents of tokens that have a name, by it. */
  Map<String, String> roles() {
    Map<String, String> contents = new LinkedHashMap<>();
    roles.forEach((role, token) -> contents.put(role, token.content));
    contents.values().removeIf(String::isEmpty);
    return contents;
  }

  /** The token with a name, which something else needs. */
  String named(String role, JsonFile config, String need) throws IOException {
    Token token = roles.get(role);
    if (token == null || token.content.isEmpty()) {
      throw config.wrong(need, "false, for there is no " + role);
    }
    return token.content;
  }

  /** The added tokens that tokenizer.json has itself. */
  private void readDescribed() throws IOException {
    if (!description.has("added_tokens")) {
      return;
    }
    for (JsonFile json : description.objects("added_tokens")) {
      Token token = Token.listed(json);
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
   * @param names what has a name of its own if no file says otherwise
   */
  private Map<String, Token> special(List<JsonFile> files, Map<String, String> names)
      throws IOException {
    for (String role : ROLES) {
      boolean normalized = pair && NORMALIZED_ROLES.contains(role);
      if (names.containsKey(role)) {
        roles.put(role, Token.special(Objects.requireNonNull(names.get(role)), normalized));
      }
      for (JsonFile file : files) {
        if (file.has(role)) {
          roles.put(role, special(file, role, normalized));
        } else if (file.root().has(role)) { // null: there is none
          roles.remove(role);
        }
      }
    }
    Map<String, Token> result = new LinkedHashMap<>();
    roles.values().forEach(token -> result.putIfAbsent(token.content, token));
    for (JsonFile file : files) {
      for (String key : LISTS) {
        if (file.has(key)) {
          JsonFile list = file.root().get(key).isObject() ? file.object(key) : file.list(key);
          for (Map.Entry<String, JsonNode> entry : list.root().properties()) {
            Token token = special(list, entry.getKey(), false);
            if (result.putIfAbsent(token.content, token) == null && file != files.get(0)) {
              additional.add(token.content);
            }
          }
        }
      }
    }
    result.remove(""); // names nothing
    return result;
  }

  /** The token at a key: a text, or an object that has more to say. */
  private static Token special(JsonFile file, String key, boolean normalized) throws IOException {
    JsonNode node = file.root().path(key);
    if (node.isTextual()) {
      return Token.special(node.textValue(), normalized);
    }
    if (!node.isObject()) {
      throw file.wrong(key, "a token: a text, or an object with its content");
    }
    return Token.of(file.object(key), false, true);
  }

  /** The list of the config, by id. */
  private static SortedMap<Integer, Token> decoder(JsonFile config) throws IOException {
    SortedMap<Integer, Token> result = new TreeMap<>();
    JsonFile list = config.object(DECODER);
    for (Map.Entry<String, JsonNode> entry : list.root().properties()) {
      if (!entry.getKey().matches("0|[1-9]\\d{0,8}")) {
        throw list.wrong(entry.getKey(), "a token id as the key");
      }
      result.put(Integer.valueOf(entry.getKey()), Token.listed(list.object(entry.getKey())));
    }
    return result;
  }

  /** The list of added_tokens.json, by id, where tokenizer.json is believed first. */
  private SortedMap<Integer, Token> listed(JsonFile file, Map<String, Token> special)
      throws IOException {
    SortedMap<Integer, Token> result = new TreeMap<>();
    added.values().forEach(token -> result.put(id(token.content), token));
    for (Map.Entry<String, JsonNode> entry : file.root().properties()) {
      String content = entry.getKey();
      int id = file.id(content);
      if (content.isEmpty()) {
        throw file.wrong(content, "a token that is not empty");
      }
      Token token =
          special.getOrDefault(content, new Token(content, false, false, false, true, false));
      Token other = result.putIfAbsent(id, token);
      if (other != null && !other.content.equals(content)) {
        throw file.wrong(content, "an id that " + BadFile.quoted(other.content) + " has not");
      }
    }
    return result;
  }

  /**
   * Adds what is new, or has other flags than before; an id that is claimed for it is not asked.
   */
  private void add(SortedMap<Integer, Token> listed, Map<String, Token> special) {
    int largest = added.keySet().stream().mapToInt(this::id).max().orElse(-1);
    int next = Math.max(vocabulary.size(), largest + 1);
    List<Token> tokens = new ArrayList<>();
    for (Token token : listed.values()) {
      if (!token.equals(added.get(token.content))) {
        tokens.add(
            special.containsKey(token.content)
                ? token.asSpecial(!additional.contains(token.content))
                : token);
      }
    }
    Set<String> known = new HashSet<>(added.keySet());
    tokens.forEach(token -> known.add(token.content));
    for (Token token : special.values()) {
      added.computeIfPresent(token.content, (content, before) -> before.asSpecial(true));
      if (known.add(token.content)) {
        tokens.add(token);
      }
    }
    for (Token token : tokens) {
      if (ids.putIfAbsent(token.content, next) == null) {
        next++;
      }
      Token before = added.put(token.content, token);
      if (token.special || (before != null && before.special)) {
        everSpecial.add(token.content);
      }
    }
  }

  /** Special tokens become tokens like any other, which no text makes, and keep their ids. */
  void split(JsonFile config) throws IOException {
    ObjectNode model = description.object("model").root();
    boolean made = !model.has("merges") || model.path("ignore_merges").asBoolean();
    for (Map.Entry<String, Token> token : added.entrySet()) {
      String content = token.getKey();
      if (token.getValue().special) {
        everSpecial.add(content);
      }
      if (!vocabulary.has(content)) {
        if (made || content.codePointCount(0, content.length()) < 2) {
          throw config.wrong(
              "split_special_tokens",
              "false, for " + BadFile.quoted(content) + " is not in the vocabulary of the model");
        }
        vocabulary.put(content, id(content));
      }
    }
    everSpecial.forEach(added::remove);
  }
}
