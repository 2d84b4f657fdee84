package dev.tributary.transformer.family;

import static dev.tributary.transformer.family.Spelling.stored;
import static dev.tributary.transformer.family.Spelling.transposed;

import dev.tributary.transformer.Weight;
import dev.tributary.transformer.family.Spelling.Together;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * How most families of Hugging Face spell their weights; a family changes what it has otherwise.
 */
final class Spellings {
  static final String NEURONS = "intermediate_size";
  private static final String WIDTH = "hidden_size";
  private static final String QUERIES = "num_attention_heads head_dim";
  private static final String KEYS = "num_key_value_heads head_dim";
  private static final String FUSED = "(num_attention_heads + 2 num_key_value_heads) head_dim";
  private static final String WORDS = "vocab_size";
  private static final String CONTEXT = "max_position_embeddings";

  /** Queries before keys and values, a gate before what it multiplies. */
  private final Map<Weight, Spelling> byWeight = new EnumMap<>(Weight.class);

  private Spellings() {}

  /** {@return as Llama's files} */
  static Spellings common() {
    return new Spellings()
        .embedding("embed_tokens")
        .attentionNorm("layers.*.input_layernorm")
        .query("layers.*.self_attn.q_proj")
        .key("layers.*.self_attn.k_proj")
        .value("layers.*.self_attn.v_proj")
        .headNorm("layers.*.self_attn.q_norm", "layers.*.self_attn.k_norm")
        .attentionOutput("layers.*.self_attn.o_proj")
        .mlpNorm("layers.*.post_attention_layernorm")
        .mlpInput("layers.*.mlp.gate_proj", NEURONS)
        .linear(Weight.MLP_UP, Weight.MLP_UP_BIAS, "layers.*.mlp.up_proj", NEURONS, WIDTH)
        .mlpOutput("layers.*.mlp.down_proj", NEURONS)
        .finalNorm("norm")
        .unembedding("lm_head");
  }

  /** {@return as GGUF files, where nothing is fused} */
  static Spellings gguf() {
    return new Spellings()
        .embedding("token_embd")
        .put(stored(Weight.POSITION_EMBEDDING, "position_embd.weight", CONTEXT + ", " + WIDTH))
        .attentionNorm("blk.*.attn_norm")
        .query("blk.*.attn_q")
        .key("blk.*.attn_k")
        .value("blk.*.attn_v")
        .headNorm("blk.*.attn_q_norm", "blk.*.attn_k_norm")
        .attentionOutput("blk.*.attn_output")
        .outletNorms("blk.*.post_attention_norm", "blk.*.post_ffw_norm")
        .mlpNorm("blk.*.ffn_norm")
        .mlpInput("blk.*.ffn_gate", NEURONS)
        .linear(Weight.MLP_UP, Weight.MLP_UP_BIAS, "blk.*.ffn_up", NEURONS, WIDTH)
        .mlpOutput("blk.*.ffn_down", NEURONS)
        .finalNorm("output_norm")
        .unembedding("output");
  }

  Spellings put(Spelling spelling) {
    byWeight.put(spelling.weight(), spelling);
    return this;
  }

  private Spellings linear(Weight matrix, Weight bias, String module, String output, String input) {
    put(transposed(matrix, module + ".weight", output + ", " + input));
    return put(stored(bias, module + ".bias", output));
  }

  private Spellings norm(Weight gain, Weight bias, String module, String size) {
    put(stored(gain, module + ".weight", size));
    return put(stored(bias, module + ".bias", size));
  }

  Spellings embedding(String module) {
    return put(stored(Weight.TOKEN_EMBEDDING, module + ".weight", WORDS + ", " + WIDTH));
  }

  Spellings attentionNorm(String module) {
    return norm(Weight.ATTENTION_NORM_GAIN, Weight.ATTENTION_NORM_BIAS, module, WIDTH);
  }

  private Spellings query(String module) {
    return linear(Weight.QUERY, Weight.QUERY_BIAS, module, QUERIES, WIDTH);
  }

  private Spellings key(String module) {
    return linear(Weight.KEY, Weight.KEY_BIAS, module, KEYS, WIDTH);
  }

  private Spellings value(String module) {
    return linear(Weight.VALUE, Weight.VALUE_BIAS, module, KEYS, WIDTH);
  }

  /** The parent of three modules, of queries, keys and values. */
  Spellings projections(String parent) {
    return query(parent + ".q_proj").key(parent + ".k_proj").value(parent + ".v_proj");
  }

  /** One module for queries, keys and values. */
  Spellings fusedProjections(String module, Together together) {
    return query(module).key(module).value(module).every(module, FUSED, together);
  }

  /** One module for gates and what they multiply. */
  Spellings fusedGate(String module) {
    mlpInput(module, NEURONS);
    linear(Weight.MLP_UP, Weight.MLP_UP_BIAS, module, NEURONS, WIDTH);
    return every(module, "2 " + NEURONS, Together.SIDE_BY_SIDE);
  }

  /** All that is of a module lies so, and is of that size together. */
  private Spellings every(String module, String size, Together together) {
    byWeight.replaceAll(
        (weight, one) -> {
          if (!one.name().startsWith(module + ".")) {
            return one;
          }
          Spelling renamed =
              one.transposed()
                  ? transposed(weight, one.name(), size + ", " + WIDTH)
                  : stored(weight, one.name(), size);
          return renamed.together(together);
        });
    return this;
  }

  Spellings headNorm(String queries, String keys) {
    norm(Weight.QUERY_NORM_GAIN, Weight.QUERY_NORM_BIAS, queries, "head_dim or " + QUERIES);
    return norm(Weight.KEY_NORM_GAIN, Weight.KEY_NORM_BIAS, keys, "head_dim or " + KEYS);
  }

  Spellings attentionOutput(String module) {
    return linear(Weight.ATTENTION_OUTPUT, Weight.ATTENTION_OUTPUT_BIAS, module, WIDTH, QUERIES);
  }

  Spellings mlpNorm(String module) {
    return norm(Weight.MLP_NORM_GAIN, Weight.MLP_NORM_BIAS, module, WIDTH);
  }

  /** The norm through which attention reads is that of the MLP too. */
  Spellings sharedNorm() {
    Spelling gain = spelling(Weight.ATTENTION_NORM_GAIN).together(Together.SHARED);
    Spelling bias = spelling(Weight.ATTENTION_NORM_BIAS).together(Together.SHARED);
    put(gain).put(gain.of(Weight.MLP_NORM_GAIN));
    return put(bias).put(bias.of(Weight.MLP_NORM_BIAS));
  }

  /** Norms of what the parts write. */
  Spellings outletNorms(String attention, String mlp) {
    put(stored(Weight.ATTENTION_OUTLET_GAIN, attention + ".weight", WIDTH));
    return put(stored(Weight.MLP_OUTLET_GAIN, mlp + ".weight", WIDTH));
  }

  Spellings mlpInput(String module, String neurons) {
    return linear(Weight.MLP_INPUT, Weight.MLP_INPUT_BIAS, module, neurons, WIDTH);
  }

  Spellings mlpOutput(String module, String neurons) {
    return linear(Weight.MLP_OUTPUT, Weight.MLP_OUTPUT_BIAS, module, WIDTH, neurons);
  }

  Spellings finalNorm(String module) {
    return norm(Weight.FINAL_NORM_GAIN, Weight.FINAL_NORM_BIAS, module, WIDTH);
  }

  Spellings unembedding(String module) {
    put(stored(Weight.UNEMBEDDING, module + ".weight", WORDS + ", " + WIDTH));
    return put(stored(Weight.UNEMBEDDING_BIAS, module + ".bias", WORDS));
  }

  /** Gains are stored less one. */
  Spellings gainsLessOne() {
    byWeight.replaceAll((weight, one) -> weight.role() == Weight.Role.GAIN ? one.less(1) : one);
    return this;
  }

  /** What turns together in a head lies side by side. */
  Spellings queriesAndKeysInPairs() {
    for (Weight weight : List.of(Weight.QUERY, Weight.QUERY_BIAS, Weight.KEY, Weight.KEY_BIAS)) {
      put(spelling(weight).paired());
    }
    return this;
  }

  private Spelling spelling(Weight weight) {
    return all().stream().filter(one -> one.weight() == weight).findFirst().orElseThrow();
  }

  List<Spelling> all() {
    return List.copyOf(byWeight.values());
  }
}
