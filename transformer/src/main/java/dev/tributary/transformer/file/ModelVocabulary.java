package dev.tributary.transformer.file;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The tokens that the model of a tokenizer makes out of a text, without those that are looked for
 * before: an object of their ids, or a list of pieces and their scores.
 */
final class ModelVocabulary {
  private final JsonNode json;
  private final Map<String, Integer> ids = new LinkedHashMap<>();

  private ModelVocabulary(JsonNode json) {
    this.json = json;
  }

  /** Of an object whose keys are the tokens. */
  static ModelVocabulary ofIds(JsonFile file) throws IOException {
    ModelVocabulary result = new ModelVocabulary(file.root());
    for (Map.Entry<String, JsonNode> token : file.root().properties()) {
      result.ids.put(token.getKey(), file.id(token.getKey()));
    }
    return result;
  }

  /** Of a model, as a tokenizer.json describes it. */
  static ModelVocabulary of(JsonFile model) throws IOException {
    if (!(model.root().get("vocab") instanceof ArrayNode list)) {
      return ofIds(model.object("vocab"));
    }
    ModelVocabulary result = new ModelVocabulary(list);
    for (JsonNode piece : list) {
      int id = result.ids.size();
      // A score is read as a double, and was a float when the pieces were trained.
      if (piece.size() != 2
          || !piece.path(0).isTextual()
          || piece.path(0).textValue().isEmpty()
          || !piece.path(1).isNumber()
          || !Float.isFinite(piece.path(1).floatValue())) {
        throw model.list("vocab").wrong("[" + id + "]", "a text and its score");
      }
      if (result.ids.put(piece.path(0).textValue(), id) != null) {
        throw model.list("vocab").wrong("[" + id + "]", "a piece that is not listed before");
      }
    }
    return result;
  }

  /** Ids of the tokens, by their content. */
  Map<String, Integer> ids() {
    return Collections.unmodifiableMap(ids);
  }

  boolean has(String content) {
    return ids.containsKey(content);
  }

  int size() {
    return ids.size();
  }

  /** Adds a token to a model that has ids; a list of pieces gives none but the next. */
  void put(String content, int id) {
    ids.put(content, id);
    ((ObjectNode) json).put(content, id);
  }
}
