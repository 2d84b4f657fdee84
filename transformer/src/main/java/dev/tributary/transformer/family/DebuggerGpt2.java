package dev.tributary.transformer.family;

import static dev.tributary.transformer.family.Spelling.stored;
import static dev.tributary.transformer.family.Spelling.transposed;

import dev.tributary.core.Shape;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.Weight;
import java.io.IOException;
import java.util.List;
import java.util.Optional;

/**
 * GPT-2 as transformer-debugger stores it: attention and MLP are sized in multiples of the residual
 * stream, and the config says neither how many tokens there are nor of a tie.
 *
 * @see <a href="https://github.com/openai/transformer-debugger">transformer-debugger,
 *     neuron_explainer/models/transformer.py</a>
 */
final class DebuggerGpt2 implements Architecture {
  private static final String EMBEDDING = "tok_embed.weight";
  private static final String UNEMBEDDING = "unembed.weight";

  @Override
  public String kind() {
    return "transformer-debugger checkpoint";
  }

  @Override
  public List<String> keys() {
    return List.of("ctx_window", "n_layers", "n_heads", "m_attn", "m_mlp");
  }

  @Override
  public String unembedding() {
    return UNEMBEDDING;
  }

  @Override
  public Optional<String> pieces() {
    return Optional.of("model_pieces");
  }

  @Override
  public Architecture written() {
    return new Gpt2();
  }

  @Override
  public TransformerConfig config(Keys config, Tensors tensors) throws IOException {
    Shape embedding = tensors.shape(EMBEDDING, 2);
    boolean tied = tensors.sameNumbers(EMBEDDING, UNEMBEDDING);
    int dModel = config.positive("d_model");
    int heads = config.positive("n_heads");
    int width = multiple(config, "m_attn", 1, dModel);
    int neurons = multiple(config, "m_mlp", 4, dModel);
    if (width % heads != 0) {
      throw config.because(
          "m_attn d_model is %d, which n_heads, %d, does not divide", width, heads);
    }
    int dHead = width / heads;
    for (String key : List.of("d_head_qk", "d_head_v")) {
      if (config.positive(key, dHead) != dHead) {
        throw config.wrong(key, dHead + ", as d_model, m_attn and n_heads say");
      }
    }
    int layers = config.positive("n_layers");
    int context = config.positive("ctx_window");
    try {
      return TransformerConfig.gpt2(
          layers,
          dModel,
          heads,
          dHead,
          neurons,
          context,
          embedding.size(0),
          1e-5,
          MlpActivation.TANH_GELU,
          tied);
    } catch (IllegalArgumentException e) {
      throw config.impossible(e, "ctx_window, d_model, m_attn, m_mlp and n_heads");
    }
  }

  /** A size that is given as a multiple of another, and rounded down as that system does. */
  private static int multiple(Keys config, String key, double otherwise, int size)
      throws IOException {
    double product = config.positive(key, otherwise) * size;
    if (product < 1 || product > Integer.MAX_VALUE) {
      throw config.wrong(key, "a number that makes d_model, %d, a size".formatted(size));
    }
    return (int) product;
  }

  @Override
  public List<Spelling> spellings(TransformerConfig config) {
    return List.of(
        stored(Weight.TOKEN_EMBEDDING, EMBEDDING, "as many tokens as enc has, d_model"),
        stored(Weight.POSITION_EMBEDDING, "pos_embed.weight", "ctx_window, d_model"),
        stored(Weight.ATTENTION_NORM_GAIN, "xf_layers.*.ln_1.weight", "d_model"),
        stored(Weight.ATTENTION_NORM_BIAS, "xf_layers.*.ln_1.bias", "d_model"),
        transposed(Weight.QUERY, "xf_layers.*.attn.q_proj.weight", "m_attn d_model, d_model"),
        stored(Weight.QUERY_BIAS, "xf_layers.*.attn.q_proj.bias", "m_attn d_model"),
        transposed(Weight.KEY, "xf_layers.*.attn.k_proj.weight", "m_attn d_model, d_model"),
        stored(Weight.KEY_BIAS, "xf_layers.*.attn.k_proj.bias", "m_attn d_model"),
        transposed(Weight.VALUE, "xf_layers.*.attn.v_proj.weight", "m_attn d_model, d_model"),
        stored(Weight.VALUE_BIAS, "xf_layers.*.attn.v_proj.bias", "m_attn d_model"),
        transposed(
            Weight.ATTENTION_OUTPUT, "xf_layers.*.attn.out_proj.weight", "d_model, m_attn d_model"),
        stored(Weight.ATTENTION_OUTPUT_BIAS, "xf_layers.*.attn.out_proj.bias", "d_model"),
        stored(Weight.MLP_NORM_GAIN, "xf_layers.*.ln_2.weight", "d_model"),
        stored(Weight.MLP_NORM_BIAS, "xf_layers.*.ln_2.bias", "d_model"),
        transposed(Weight.MLP_INPUT, "xf_layers.*.mlp.in_layer.weight", "m_mlp d_model, d_model"),
        stored(Weight.MLP_INPUT_BIAS, "xf_layers.*.mlp.in_layer.bias", "m_mlp d_model"),
        transposed(Weight.MLP_OUTPUT, "xf_layers.*.mlp.out_layer.weight", "d_model, m_mlp d_model"),
        stored(Weight.MLP_OUTPUT_BIAS, "xf_layers.*.mlp.out_layer.bias", "d_model"),
        stored(Weight.FINAL_NORM_GAIN, "final_ln.weight", "d_model"),
        stored(Weight.FINAL_NORM_BIAS, "final_ln.bias", "d_model"),
        stored(Weight.UNEMBEDDING, UNEMBEDDING, "as many tokens as enc has, d_model"));
  }
}
