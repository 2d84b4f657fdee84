package dev.tributary.transformer.family;

import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A family of models: what its config says, and how its files spell the weights. A family is one
 * file and its line in {@link Architectures}.
 */
public interface Architecture {
  /** {@return what its checkpoints are called, such as "Hugging Face GPT-2"} */
  String kind();

  /** {@return values of {@code model_type} in its configs; none if these do not have one} */
  default List<String> modelTypes() {
    return List.of();
  }

  /** {@return classes that its configs name as {@code architectures}} */
  default List<String> classes() {
    return List.of();
  }

  /** {@return keys by which a config is known that says neither type nor class} */
  default List<String> keys() {
    return List.of();
  }

  /**
   * Our config of one of its own.
   *
   * @param config as its files have it
   * @param tensors that lie beside it
   * @return sizes and kinds of all parts
   * @throws IOException if a key has the wrong type, contradicts another, or asks for a computation
   *     that this library does not do
   */
  TransformerConfig config(Keys config, Tensors tensors) throws IOException;

  /**
   * {@return its own config of one of ours, by key; none if it cannot say all of it}
   *
   * @param config sizes and kinds of all parts
   */
  default Optional<Map<String, Object>> write(TransformerConfig config) {
    return Optional.empty();
  }

  /**
   * {@return how each weight is spelled; weights of one name lie side by side in this order}
   *
   * @param config whose weights they are; others may be there
   */
  List<Spelling> spellings(TransformerConfig config);

  /** {@return what the tensor of the unembedding is called} */
  default String unembedding() {
    return "lm_head.weight";
  }

  /** {@return what its files may put before a name, except before that of the unembedding} */
  default String prefix() {
    return "";
  }

  /** {@return names of constants beside weights, with {@code *} for the number of a layer} */
  default List<String> constants() {
    return List.of();
  }

  /** {@return how GGUF files have this family, if they do} */
  default Optional<GgufFamily> gguf() {
    return Optional.empty();
  }

  /** {@return the family as whose files such a model is written and adapted} */
  default Architecture written() {
    return this;
  }

  /** {@return the folder in which each weight has a file of its own, if it has} */
  default Optional<String> pieces() {
    return Optional.empty();
  }

  /** {@return the modules that PEFT adapts where a config does not say which} */
  default List<String> adapted() {
    return List.of();
  }
}
