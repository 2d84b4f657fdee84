package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/**
 * Sizes of a transformer of GPT-2's architecture. {@code heads} times {@code dHead} need not be
 * {@code dModel}.
 *
 * @param layers number of blocks
 * @param dModel width of the residual stream
 * @param heads attention heads of a layer
 * @param dHead width of a query, key or value of one head
 * @param neurons MLP neurons of a layer
 * @param context largest number of tokens in a run
 * @param vocabulary number of token ids
 * @param layerNormEpsilon added to the variance before the square root
 * @param tied whether the unembedding is the token embedding
 */
public record TransformerConfig(
    int layers,
    int dModel,
    int heads,
    int dHead,
    int neurons,
    int context,
    int vocabulary,
    double layerNormEpsilon,
    boolean tied) {
  /** Largest config.json, bytes; they have a few thousand. */
  private static final int FILE_LIMIT = 1 << 20;

  private static final List<String> GELU = List.of("gelu_new", "gelu_pytorch_tanh");

  /**
   * Checks the sizes.
   *
   * @throws IllegalArgumentException if one is not positive, or makes a weight larger than a tensor
   *     can be
   */
  public TransformerConfig {
    requirePositive("layers", layers);
    requirePositive("dModel", dModel);
    requirePositive("heads", heads);
    requirePositive("dHead", dHead);
    requirePositive("neurons", neurons);
    requirePositive("context", context);
    requirePositive("vocabulary", vocabulary);
    requireArgument(
        layerNormEpsilon > 0 && Double.isFinite(layerNormEpsilon),
        "layerNormEpsilon is %s, expected a positive number",
        layerNormEpsilon);
    requireFits("token embedding", vocabulary, dModel);
    requireFits("position embedding", context, dModel);
    requireFits("attention output", (long) heads * dHead, dModel);
    requireFits("queries, keys and values", dModel, 3L * heads * dHead);
    requireFits("MLP", dModel, neurons);
  }

  private static void requirePositive(String name, int size) {
    requireArgument(size > 0, "%s is %d, expected a positive number", name, size);
  }

  private static void requireFits(String weight, long rows, long columns) {
    long limit = Integer.MAX_VALUE / Double.BYTES;
    requireArgument(
        rows <= limit && columns <= limit && rows * columns <= limit,
        "the weight of the %s would be [%d, %d], and a tensor holds at most %d elements",
        weight,
        rows,
        columns,
        limit);
  }

  /**
   * Reads a Hugging Face {@code config.json} of model type gpt2.
   *
   * @throws IOException if a key is missing, has the wrong type, or asks for a computation that
   *     this library does not do
   */
  static TransformerConfig read(Path file) throws IOException {
    return of(JsonFile.read(file, FILE_LIMIT));
  }

  /** The same, of a file that has been read. */
  static TransformerConfig of(JsonFile json) throws IOException {
    requireSameComputation(json);
    int dModel = json.positive("n_embd");
    int heads = json.positive("n_head");
    if (!json.has("head_dim") && dModel % heads != 0) {
      throw BadFile.because(
          json.path(), "n_embd is %d, which n_head, %d, does not divide", dModel, heads);
    }
    boolean old = json.has("n_ctx") && !json.has("n_positions");
    int context = json.positive(old ? "n_ctx" : "n_positions");
    if (json.positive("n_ctx", context) != context) {
      throw json.wrong("n_ctx", "the same as n_positions, " + context);
    }
    int layers = json.positive("n_layer");
    int dHead = json.positive("head_dim", dModel / heads);
    int neurons = json.positive("n_inner", (int) Math.min(4L * dModel, Integer.MAX_VALUE));
    int vocabulary = json.positive("vocab_size");
    double epsilon = json.positive("layer_norm_epsilon", 1e-5);
    boolean tied = json.flag("tie_word_embeddings", true);
    try {
      return new TransformerConfig(
          layers, dModel, heads, dHead, neurons, context, vocabulary, epsilon, tied);
    } catch (IllegalArgumentException e) {
      throw BadFile.causedBy(
          e,
          json.path(),
          "%s: see vocab_size, n_positions, n_embd, n_head, head_dim and n_inner",
          String.valueOf(e.getMessage()));
    }
  }

  /** Refuses every option under which GPT-2 would compute something else. */
  private static void requireSameComputation(JsonFile json) throws IOException {
    requireText(json, "model_type", List.of("gpt2"));
    requireText(json, "activation_function", GELU);
    requireFlag(json, "scale_attn_weights", true);
    requireFlag(json, "scale_attn_by_inverse_layer_idx", false);
    requireFlag(json, "add_cross_attention", false);
    if (json.has("quantization_config")) {
      throw json.wrong("quantization_config", "none: quantized weights cannot be read");
    }
  }

  private static void requireText(JsonFile json, String key, List<String> known)
      throws IOException {
    String text = json.text(key, known.get(0));
    if (!known.contains(text)) {
      throw json.wrong(key, String.join(" or ", known));
    }
  }

  private static void requireFlag(JsonFile json, String key, boolean known) throws IOException {
    if (json.flag(key, known) != known) {
      throw json.wrong(key, String.valueOf(known));
    }
  }
}
