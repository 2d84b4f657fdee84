package dev.tributary.transformer.file;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.transformer.AttentionConfig;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.MlpConfig;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The {@code config.json} of a GPT-2: Hugging Face's, or that of transformer-debugger. */
final class Gpt2Config {
  /** Largest config.json, bytes; they have a few thousand. */
  private static final int FILE_LIMIT = 1 << 20;

  private static final String MODEL_TYPE = "model_type";
  private static final String ARCHITECTURES = "architectures";
  private static final String POSITIONS = "max_position_embeddings";

  /** By which a config without a type is that of a GPT-2. */
  private static final List<String> SIZES =
      List.of("n_embd", "n_layer", "n_head", "hidden_size", "num_hidden_layers");

  private static final Map<ElementType, String> TORCH_WORDS =
      Map.of(
          ElementType.F64, "float64",
          ElementType.F32, "float32",
          ElementType.F16, "float16",
          ElementType.BF16, "bfloat16");

  /** By the words of {@code activation_function}; the first of each is the one that is written. */
  private static final Map<String, MlpActivation> ACTIVATIONS = activations();

  private Gpt2Config() {}

  private static Map<String, MlpActivation> activations() {
    Map<String, MlpActivation> result = new LinkedHashMap<>();
    result.put("gelu_new", MlpActivation.TANH_GELU);
    result.put("gelu_pytorch_tanh", MlpActivation.TANH_GELU);
    result.put("gelu", MlpActivation.EXACT_GELU);
    result.put("gelu_python", MlpActivation.EXACT_GELU);
    for (String sameFunction : List.of("gelu_python_tanh", "gelu_accurate", "gelu_fast")) {
      result.put(sameFunction, MlpActivation.TANH_GELU);
    }
    return result;
  }

  /**
   * Reads a Hugging Face {@code config.json} of model type gpt2.
   *
   * @throws IOException if a key has the wrong type, contradicts another, or asks for a computation
   *     that this library does not do
   */
  static TransformerConfig read(Path file) throws IOException {
    return of(json(file));
  }

  /** A {@code config.json} of any kind. */
  static JsonFile json(Path file) throws IOException {
    return JsonFile.read(file, FILE_LIMIT);
  }

  /**
   * The same, of a file that has been read. What is missing is as in transformers' GPT2Config, and
   * so are second names of keys. How many positions a causal mask was made for says {@code n_ctx},
   * unless it is an old name for their number.
   */
  static TransformerConfig of(JsonFile json) throws IOException {
    requireGpt2(json);
    requireSameComputation(json);
    int dModel = size(json, "n_embd", "hidden_size", 768);
    int heads = size(json, "n_head", "num_attention_heads", 12);
    if (!json.has("head_dim") && dModel % heads != 0) {
      throw BadFile.because(
          json.path(), "n_embd is %d, which n_head, %d, does not divide", dModel, heads);
    }
    boolean old = json.has("n_ctx") && !json.has("n_positions") && !json.has(POSITIONS);
    int context = old ? json.positive("n_ctx") : size(json, "n_positions", POSITIONS, 1024);
    int layers = size(json, "n_layer", "num_hidden_layers", 12);
    int dHead = json.positive("head_dim", dModel / heads);
    int neurons = json.positive("n_inner", (int) Math.min(4L * dModel, Integer.MAX_VALUE));
    int vocabulary = size(json, "vocab_size", "vocab_size", 50_257);
    double epsilon = json.positive("layer_norm_epsilon", 1e-5);
    MlpActivation activation = requireKnown(json, "activation_function", "gelu_new", ACTIVATIONS);
    boolean tied = json.flag("tie_word_embeddings", true);
    try {
      return TransformerConfig.gpt2(
          layers, dModel, heads, dHead, neurons, context, vocabulary, epsilon, activation, tied);
    } catch (IllegalArgumentException e) {
      throw BadFile.causedBy(
          e,
          json.path(),
          "%s: see vocab_size, n_positions, n_embd, n_head, head_dim and n_inner",
          String.valueOf(e.getMessage()));
    }
  }

  /**
   * Reads a {@code config.json} of transformer-debugger, whose attention and MLP are sized in
   * multiples of the residual stream.
   *
   * @param vocabulary as many tokens as are embedded
   * @param tied whether the unembedding is the same as the embedding
   * @throws IOException if a key is missing or has the wrong type, or a size is not whole
   */
  static TransformerConfig ofDebugger(JsonFile json, int vocabulary, boolean tied)
      throws IOException {
    int dModel = json.positive("d_model");
    int heads = json.positive("n_heads");
    int width = multiple(json, "m_attn", 1, dModel);
    int neurons = multiple(json, "m_mlp", 4, dModel);
    if (width % heads != 0) {
      throw BadFile.because(
          json.path(), "m_attn d_model is %d, which n_heads, %d, does not divide", width, heads);
    }
    int dHead = width / heads;
    for (String key : List.of("d_head_qk", "d_head_v")) {
      if (json.positive(key, dHead) != dHead) {
        throw json.wrong(key, dHead + ", as d_model, m_attn and n_heads say");
      }
    }
    int layers = json.positive("n_layers");
    int context = json.positive("ctx_window");
    try {
      return TransformerConfig.gpt2(
          layers,
          dModel,
          heads,
          dHead,
          neurons,
          context,
          vocabulary,
          1e-5,
          MlpActivation.TANH_GELU,
          tied);
    } catch (IllegalArgumentException e) {
      throw BadFile.causedBy(
          e,
          json.path(),
          "%s: see ctx_window, d_model, m_attn, m_mlp and n_heads",
          String.valueOf(e.getMessage()));
    }
  }

  /** A size that is given as a multiple of another, and rounded down as that system does. */
  private static int multiple(JsonFile json, String key, double otherwise, int size)
      throws IOException {
    double product = json.positive(key, otherwise) * size;
    if (product < 1 || product > Integer.MAX_VALUE) {
      throw json.wrong(key, "a number that makes d_model, %d, a size".formatted(size));
    }
    return (int) product;
  }

  /** The content of a Hugging Face {@code config.json}. */
  static String toJson(TransformerConfig config, ElementType stored) {
    AttentionConfig attention = config.layers().get(0).attention();
    MlpConfig mlp = config.layers().get(0).mlp();
    ObjectNode json = new ObjectMapper().createObjectNode();
    json.putArray("architectures").add("GPT2LMHeadModel");
    json.put("model_type", "gpt2")
        .put("n_layer", config.layers().size())
        .put("n_embd", config.dModel())
        .put("n_head", attention.heads())
        .put("n_inner", mlp.neurons())
        .put("n_positions", config.context())
        .put("n_ctx", config.context())
        .put("vocab_size", config.vocabulary())
        .put("layer_norm_epsilon", config.finalNorm().epsilon())
        .put("activation_function", word(mlp.activation()))
        .put("tie_word_embeddings", config.unembedding().tied())
        .put("torch_dtype", TORCH_WORDS.get(stored));
    if (attention.heads() * attention.dHead() != config.dModel()) {
      json.put("head_dim", attention.dHead());
    }
    return json.toPrettyString() + "\n";
  }

  private static String word(MlpActivation activation) {
    return ACTIVATIONS.entrySet().stream()
        .filter(entry -> entry.getValue() == activation)
        .findFirst()
        .orElseThrow()
        .getKey();
  }

  /**
   * A size that may have either of two names.
   *
   * @throws IOException if it is no size, or has another value under each name
   */
  private static int size(JsonFile json, String name, String alias, int otherwise)
      throws IOException {
    if (json.root().has(name) && !json.has(name)) {
      throw json.wrong(name, "a whole number");
    }
    int size = json.positive(json.has(name) ? name : alias, otherwise);
    if (json.positive(alias, size) != size) {
      throw json.wrong(alias, "the same as %s, %d".formatted(name, size));
    }
    return size;
  }

  /**
   * Whether a config is that of transformer-debugger, which has no model type.
   *
   * @param pieces whether its folder of weights lies beside it
   */
  static boolean isDebugger(JsonFile json, boolean pieces) {
    boolean typed = json.has(MODEL_TYPE) || json.has(ARCHITECTURES);
    return !typed && (pieces || json.has("ctx_window"));
  }

  /** Refuses other models; where the type is missing, the architecture or a size has its name. */
  private static void requireGpt2(JsonFile json) throws IOException {
    if (json.has(MODEL_TYPE)) {
      requireKnown(json, MODEL_TYPE, "", Map.of("gpt2", true));
    } else if (json.has(ARCHITECTURES)) {
      boolean known = false;
      for (JsonNode architecture : json.root().get(ARCHITECTURES)) {
        known |= architecture.asText().startsWith("GPT2");
      }
      if (!known) {
        throw json.wrong(ARCHITECTURES, "GPT2LMHeadModel");
      }
    } else if (SIZES.stream().noneMatch(json::has)) {
      throw json.wrong(MODEL_TYPE, "gpt2");
    }
  }

  /** Refuses every option under which GPT-2 would compute something else. */
  private static void requireSameComputation(JsonFile json) throws IOException {
    requireFlag(json, "scale_attn_weights", true);
    requireFlag(json, "scale_attn_by_inverse_layer_idx", false);
    requireFlag(json, "add_cross_attention", false);
    if (json.has("quantization_config")) {
      throw json.wrong("quantization_config", "none: quantized weights cannot be read");
    }
    if (json.has("pruned_heads") && !json.root().get("pruned_heads").isEmpty()) {
      throw json.wrong("pruned_heads", "none: all heads of a model are of one size");
    }
  }

  private static <T> T requireKnown(
      JsonFile json, String key, String otherwise, Map<String, T> known) throws IOException {
    T value = known.get(json.text(key, otherwise));
    if (value == null) {
      throw json.wrong(key, String.join(" or ", known.keySet()));
    }
    return value;
  }

  private static void requireFlag(JsonFile json, String key, boolean known) throws IOException {
    if (json.flag(key, known) != known) {
      throw json.wrong(key, String.valueOf(known));
    }
  }
}
