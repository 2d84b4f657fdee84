package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MappingIterator;
import com.fasterxml.jackson.databind.json.JsonMapper;
import dev.tributary.attribution.Latent;
import dev.tributary.attribution.Node;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Transformer;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What others say that latents stand for: texts of a file, as Neuronpedia exports them. JSON, an
 * array of objects or objects one after the other; of each {@code index} and {@code description}
 * are read, and which dictionary is meant: {@code dictionary}, as {@code L3.mlp}, or {@code layer},
 * a number or a text that begins with one, where the model has one dictionary in that layer.
 * Several texts of a latent follow one another.
 */
record Explanations(Map<Dictionary.Id, Map<Integer, String>> texts) {
  /** Of nothing. */
  static final Explanations NONE = new Explanations(Map.of());

  /** Longest text that is kept, in characters. */
  private static final int LONGEST = 2000;

  private static final Pattern LAYER = Pattern.compile("(\\d{1,9})(?:\\D.*)?");

  /**
   * Reads a file.
   *
   * @param file of explanations
   * @param model with the dictionaries whose latents they are
   * @throws IOException if it cannot be read
   * @throws IllegalArgumentException if it names what the model does not have
   */
  static Explanations load(Path file, Transformer model) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw new IOException(
          file + (Files.exists(file) ? ": this is not a file" : ": there is no such file"));
    }
    Map<Dictionary.Id, Map<Integer, String>> texts = new HashMap<>();
    try (BufferedReader reader = Files.newBufferedReader(file);
        MappingIterator<JsonNode> all =
            new JsonMapper().readerFor(JsonNode.class).readValues(reader)) {
      while (all.hasNextValue()) {
        int line = all.getCurrentLocation().getLineNr();
        try {
          add(texts, all.nextValue(), model);
        } catch (IllegalArgumentException e) {
          throw new IllegalArgumentException(
              "%s, line %d: %s".formatted(file, line, e.getMessage()), e);
        }
      }
    } catch (CharacterCodingException e) {
      throw new IOException(file + ": this is no text in UTF-8", e);
    } catch (JsonProcessingException e) {
      JsonLocation where = e.getLocation();
      throw new IOException(
          "%s, line %d: this is not JSON".formatted(file, where == null ? 1 : where.getLineNr()),
          e);
    }
    return new Explanations(texts);
  }

  private static void add(
      Map<Dictionary.Id, Map<Integer, String>> texts, JsonNode entry, Transformer model) {
    requireArgument(entry.isObject(), "this is no object with an index and a description");
    Dictionary dictionary = model.dictionary(dictionary(entry, model));
    String index = entry.path("index").asText();
    requireArgument(
        index.matches("\\d{1,9}"), "index is \"%s\", it must be the number of a latent", index);
    int latent = Integer.parseInt(index);
    requireArgument(
        latent < dictionary.latentCount(),
        "latent %d of %s, which has %d",
        latent,
        dictionary.id(),
        dictionary.latentCount());
    String text =
        entry.path("description").asText().replaceAll("[\\p{Cntrl}\\p{Zl}\\p{Zp}]+", " ").strip();
    if (!text.isEmpty()) {
      texts
          .computeIfAbsent(dictionary.id(), any -> new HashMap<>())
          .merge(
              latent,
              text.substring(0, Math.min(LONGEST, text.length())),
              (one, more) ->
                  one.equals(more) || one.length() + more.length() > LONGEST
                      ? one
                      : one + "; " + more);
    }
  }

  private static Dictionary.Id dictionary(JsonNode entry, Transformer model) {
    List<Dictionary.Id> found;
    String named;
    if (entry.has("dictionary")) {
      named = entry.get("dictionary").asText();
      found = Explanation.dictionaries(model, named);
    } else {
      named = entry.path("layer").asText();
      Matcher layer = LAYER.matcher(named);
      requireArgument(
          layer.matches(), "layer is \"%s\", it must begin with a number of a layer", named);
      int number = Integer.parseInt(layer.group(1));
      found =
          model.dictionaries().stream()
              .map(Dictionary::id)
              .filter(id -> id.layer() == number)
              .toList();
    }
    requireArgument(
        found.size() == 1,
        "\"%s\" is one of %s: say which by \"dictionary\": \"L0.mlp\"",
        named,
        found.isEmpty() ? "no dictionaries" : found);
    return found.get(0);
  }

  /** What is said of a node, if it is a latent and something is. */
  Optional<String> of(Node node) {
    return node instanceof Latent latent
        ? Optional.ofNullable(
            texts.getOrDefault(latent.dictionary(), Map.of()).get(latent.latent()))
        : Optional.empty();
  }
}
