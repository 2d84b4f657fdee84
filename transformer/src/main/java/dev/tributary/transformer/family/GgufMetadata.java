package dev.tributary.transformer.family;

import java.io.IOException;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Set;

/**
 * What the metadata of a GGUF file say of an architecture. Keys are without its name. What nobody
 * has asked for in the end is refused: it might change what is computed.
 */
final class GgufMetadata {
  private static final String HEADS = "attention.head_count";
  private static final String KEY_HEADS = "attention.head_count_kv";
  private static final String HEAD_SIZE = "attention.key_length";
  private static final String CONTEXT = "context_length";

  /** Says how a file came about, or what this library does not do. */
  private static final List<String> IDLE =
      List.of("tensor_data_layout", "rope.scaling.finetuned", "pooling_type");

  private final Keys keys;
  private final Tensors tensors;
  private final String architecture;
  private final Set<String> asked = new HashSet<>();

  GgufMetadata(Keys keys, Tensors tensors, String architecture) {
    this.keys = keys;
    this.tensors = tensors;
    this.architecture = architecture;
  }

  /** The tensors in the file. */
  Tensors tensors() {
    return tensors;
  }

  private String full(String key) {
    asked.add(architecture + "." + key);
    return architecture + "." + key;
  }

  // ---- values ------------------------------------------------------------------------------

  boolean has(String key) {
    return keys.has(full(key));
  }

  OptionalDouble number(String key) throws IOException {
    return has(key) ? OptionalDouble.of(required(key)) : OptionalDouble.empty();
  }

  double number(String key, double otherwise) throws IOException {
    return keys.positive(full(key), otherwise);
  }

  double required(String key) throws IOException {
    if (!has(key)) {
      throw wrong(key, "a positive number");
    }
    return number(key, 1);
  }

  int count(String key, int otherwise) throws IOException {
    return keys.count(full(key), otherwise);
  }

  boolean flag(String key, boolean otherwise) throws IOException {
    return keys.flag(full(key), otherwise);
  }

  String text(String key, String otherwise) throws IOException {
    return keys.text(full(key), otherwise);
  }

  IOException wrong(String key, String expected) {
    return keys.wrong(full(key), expected);
  }

  // ---- sizes -------------------------------------------------------------------------------

  int size(String key) throws IOException {
    return keys.positive(full(key));
  }

  int size(String key, int otherwise) throws IOException {
    return keys.positive(full(key), otherwise);
  }

  /** Sizes by the keys of a config; those of heads need not be there. */
  Map<String, Integer> sizes(Map<String, String> names) throws IOException {
    Map<String, Integer> result = new LinkedHashMap<>();
    for (Map.Entry<String, String> size : names.entrySet()) {
      int value =
          switch (size.getKey()) {
            case KEY_HEADS -> size(KEY_HEADS, size(HEADS));
            case HEAD_SIZE -> headSize();
            default -> size(size.getKey());
          };
      result.put(size.getValue(), value);
    }
    return result;
  }

  /** The width of a head. */
  int headSize() throws IOException {
    return has(HEAD_SIZE) ? size(HEAD_SIZE) : share();
  }

  /** The share of a head in the residual stream. */
  int share() throws IOException {
    int width = size("embedding_length");
    if (width % size(HEADS) != 0) {
      throw wrong(HEADS, "a divisor of %s.embedding_length, %d".formatted(architecture, width));
    }
    return width / size(HEADS);
  }

  /** The largest number of tokens. */
  int context() throws IOException {
    return size(CONTEXT);
  }

  /** As many token ids as the embedding has rows. */
  int vocabulary() throws IOException {
    int rows = tensors.shape("token_embd.weight", 2).size(0);
    requireSame("vocab_size", rows);
    return rows;
  }

  private void requireSame(String key, int expected) throws IOException {
    if (has(key) && size(key) != expected) {
      throw wrong(key, String.valueOf(expected));
    }
  }

  /** Refuses what is not followed. */
  void requireAllKnown() throws IOException {
    for (String key :
        List.of(
            "attention.value_length", "attention.key_length_swa", "attention.value_length_swa")) {
      requireSame(key, headSize());
    }
    if (!flag("attention.causal", true)) {
      throw wrong("attention.causal", "true");
    }
    for (String key : List.of("expert_count", "expert_used_count")) {
      if (count(key, 0) != 0) {
        throw wrong(key, "0: a layer has one MLP");
      }
    }
    IDLE.forEach(this::full);
    for (String key : keys.names()) {
      if (key.startsWith(architecture + ".") && !asked.contains(key)) {
        throw keys.wrong(key, "none: it is not known what it changes");
      }
    }
  }
}
