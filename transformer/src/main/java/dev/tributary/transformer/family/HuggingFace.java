package dev.tributary.transformer.family;

import dev.tributary.transformer.TransformerConfig;
import java.util.List;

/** A family whose files are as Hugging Face's transformers writes them. */
interface HuggingFace extends Architecture {
  /** Its name, with which the names of its classes begin. */
  String name();

  /** The {@code model_type} of its configs. */
  String modelType();

  @Override
  default String kind() {
    return "Hugging Face " + name();
  }

  @Override
  default List<String> modelTypes() {
    return List.of(modelType());
  }

  @Override
  default List<String> classes() {
    return List.of(name() + "ForCausalLM", name() + "Model");
  }

  @Override
  default List<Spelling> spellings(TransformerConfig config) {
    return Spellings.common().all();
  }

  @Override
  default String prefix() {
    return "model.";
  }

  /** Angles of rotary positions, which old files hold. */
  @Override
  default List<String> constants() {
    return List.of("layers.*.self_attn.rotary_emb.inv_freq");
  }

  @Override
  default List<String> adapted() {
    return List.of("q_proj", "v_proj");
  }
}
