package dev.tributary.transformer.family;

import static dev.tributary.transformer.family.Spelling.stored;

import dev.tributary.transformer.AttentionConfig;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.MlpConfig;
import dev.tributary.transformer.NormConfig;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.Weight;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * GPT-2 as Hugging Face stores it. What its config lacks is as in transformers' GPT2Config, and so
 * are second names of keys.
 *
 * @see <a href="https://github.com/huggingface/transformers">transformers,
 *     models/gpt2/configuration_gpt2.py, modeling_gpt2.py</a>
 */
final class Gpt2 implements Architecture {
  private static final String POSITIONS = "max_position_embeddings";

  @Override
  public String kind() {
    return "Hugging Face GPT-2";
  }

  @Override
  public List<String> modelTypes() {
    return List.of("gpt2");
  }

  @Override
  public List<String> classes() {
    return List.of("GPT2LMHeadModel", "GPT2Model", "GPT2DoubleHeadsModel");
  }

  @Override
  public List<String> keys() {
    return List.of("n_embd", "n_layer", "n_head", "hidden_size", "num_hidden_layers");
  }

  // ---- config ------------------------------------------------------------------------------

  @Override
  public TransformerConfig config(Keys config, Tensors tensors) throws IOException {
    requireSameComputation(config);
    int dModel = Decoder.size(config, "n_embd", "hidden_size", 768);
    int heads = Decoder.size(config, "n_head", "num_attention_heads", 12);
    if (!config.has("head_dim") && dModel % heads != 0) {
      throw config.because("n_embd is %d, which n_head, %d, does not divide", dModel, heads);
    }
    // n_ctx says how many positions the causal mask was made for, unless it is an old name.
    boolean old = config.has("n_ctx") && !config.has("n_positions") && !config.has(POSITIONS);
    int context =
        old ? config.positive("n_ctx") : Decoder.size(config, "n_positions", POSITIONS, 1024);
    int layers = Decoder.size(config, "n_layer", "num_hidden_layers", 12);
    int dHead = config.positive("head_dim", dModel / heads);
    int neurons = config.positive("n_inner", Decoder.fourTimes(dModel));
    int vocabulary = Decoder.size(config, "vocab_size", "vocab_size", 50_257);
    double epsilon = config.positive("layer_norm_epsilon", 1e-5);
    MlpActivation activation = Decoder.activation(config, "activation_function", "gelu_new");
    boolean tied = config.flag("tie_word_embeddings", true);
    try {
      return TransformerConfig.gpt2(
          layers, dModel, heads, dHead, neurons, context, vocabulary, epsilon, activation, tied);
    } catch (IllegalArgumentException e) {
      throw config.impossible(e, "vocab_size, n_positions, n_embd, n_head, head_dim and n_inner");
    }
  }

  /** Refuses every option under which GPT-2 would compute something else. */
  private static void requireSameComputation(Keys config) throws IOException {
    Decoder.requireKnown(config);
    Decoder.requireFlag(config, "scale_attn_weights", true);
    Decoder.requireFlag(config, "scale_attn_by_inverse_layer_idx", false);
  }

  @Override
  public Optional<Map<String, Object>> write(TransformerConfig config) {
    AttentionConfig attention = config.layers().get(0).attention();
    MlpConfig mlp = config.layers().get(0).mlp();
    double epsilon = config.finalNorm().map(NormConfig::epsilon).orElse(1.0);
    TransformerConfig said =
        TransformerConfig.gpt2(
            config.layers().size(),
            config.dModel(),
            attention.heads(),
            attention.dHead(),
            mlp.neurons(),
            config.context(),
            config.vocabulary(),
            epsilon,
            mlp.activation(),
            config.unembedding().tied());
    if (!said.equals(config)) {
      return Optional.empty();
    }
    Map<String, Object> json = new LinkedHashMap<>();
    json.put("architectures", classes().subList(0, 1));
    json.put("model_type", "gpt2");
    json.put("n_layer", config.layers().size());
    json.put("n_embd", config.dModel());
    json.put("n_head", attention.heads());
    json.put("n_inner", mlp.neurons());
    json.put("n_positions", config.context());
    json.put("n_ctx", config.context());
    json.put("vocab_size", config.vocabulary());
    json.put("layer_norm_epsilon", epsilon);
    json.put("activation_function", word(mlp.activation()));
    json.put("tie_word_embeddings", config.unembedding().tied());
    if (attention.heads() * attention.dHead() != config.dModel()) {
      json.put("head_dim", attention.dHead());
    }
    return Optional.of(json);
  }

  private static String word(MlpActivation activation) {
    return Decoder.ACTIVATIONS.entrySet().stream()
        .filter(entry -> entry.getValue() == activation)
        .findFirst()
        .orElseThrow()
        .getKey();
  }

  // ---- weights -----------------------------------------------------------------------------

  @Override
  public List<Spelling> spellings(TransformerConfig config) {
    return List.of(
        stored(Weight.TOKEN_EMBEDDING, "wte.weight", "vocab_size, n_embd"),
        stored(Weight.POSITION_EMBEDDING, "wpe.weight", "n_positions, n_embd"),
        stored(Weight.ATTENTION_NORM_GAIN, "h.*.ln_1.weight", "n_embd"),
        stored(Weight.ATTENTION_NORM_BIAS, "h.*.ln_1.bias", "n_embd"),
        stored(Weight.QUERY, "h.*.attn.c_attn.weight", "n_embd, 3 n_head head_dim"),
        stored(Weight.KEY, "h.*.attn.c_attn.weight", "n_embd, 3 n_head head_dim"),
        stored(Weight.VALUE, "h.*.attn.c_attn.weight", "n_embd, 3 n_head head_dim"),
        stored(Weight.QUERY_BIAS, "h.*.attn.c_attn.bias", "3 n_head head_dim"),
        stored(Weight.KEY_BIAS, "h.*.attn.c_attn.bias", "3 n_head head_dim"),
        stored(Weight.VALUE_BIAS, "h.*.attn.c_attn.bias", "3 n_head head_dim"),
        stored(Weight.ATTENTION_OUTPUT, "h.*.attn.c_proj.weight", "n_head head_dim, n_embd"),
        stored(Weight.ATTENTION_OUTPUT_BIAS, "h.*.attn.c_proj.bias", "n_embd"),
        stored(Weight.MLP_NORM_GAIN, "h.*.ln_2.weight", "n_embd"),
        stored(Weight.MLP_NORM_BIAS, "h.*.ln_2.bias", "n_embd"),
        stored(Weight.MLP_INPUT, "h.*.mlp.c_fc.weight", "n_embd, n_inner"),
        stored(Weight.MLP_INPUT_BIAS, "h.*.mlp.c_fc.bias", "n_inner"),
        stored(Weight.MLP_OUTPUT, "h.*.mlp.c_proj.weight", "n_inner, n_embd"),
        stored(Weight.MLP_OUTPUT_BIAS, "h.*.mlp.c_proj.bias", "n_embd"),
        stored(Weight.FINAL_NORM_GAIN, "ln_f.weight", "n_embd"),
        stored(Weight.FINAL_NORM_BIAS, "ln_f.bias", "n_embd"),
        stored(Weight.UNEMBEDDING, unembedding(), "vocab_size, n_embd"));
  }

  @Override
  public String prefix() {
    return "transformer.";
  }

  /** Of the causal mask, which old files hold. */
  @Override
  public List<String> constants() {
    return List.of("h.*.attn.bias", "h.*.attn.masked_bias");
  }

  @Override
  public List<String> adapted() {
    return List.of("c_attn");
  }

  @Override
  public Optional<GgufFamily> gguf() {
    return Optional.of(
        new GgufFamily("gpt2", this)
            .epsilon("attention.layer_norm_epsilon", "layer_norm_epsilon")
            .says((metadata, config) -> config.put("n_inner", metadata.size("feed_forward_length")))
            .spelled(GgufFamily::fused));
  }
}
