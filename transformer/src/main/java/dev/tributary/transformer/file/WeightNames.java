package dev.tributary.transformer.file;

import dev.tributary.core.Shape;
import dev.tributary.transformer.Slot;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * What a kind of checkpoint calls the weights of a transformer, and how it lays them out. Our names
 * are those of Hugging Face's GPT-2, but for the three parts of {@code attn.c_attn}.
 */
final class WeightNames {
  static final String TOKEN_EMBEDDING = "wte.weight";
  static final String UNEMBEDDING = "lm_head.weight";

  /**
   * What is stored of one weight.
   *
   * @param stored what the file calls it, within its layer
   * @param keys of the config that say how large it is as stored
   * @param transposed whether its rows are our columns
   * @param part which third of the stored columns it is, or -1 if it is all of them
   */
  private record Weight(String stored, String keys, boolean transposed, int part) {
    static Weight as(String stored, String keys) {
      return new Weight(stored, keys, false, -1);
    }
  }

  private static final Pattern OUR_LAYER = Pattern.compile("h\\.(\\d+)\\.(.+)");

  /** Hugging Face GPT-2; in some files most names begin with {@code transformer.}. */
  static final WeightNames HUGGING_FACE = huggingFace();

  /** The transformer of transformer-debugger, its matrices stored [output, input]. */
  static final WeightNames DEBUGGER = debugger();

  private final String prefix;
  private final String layers;
  private final Pattern layerName;
  private final Map<String, Weight> outside = new LinkedHashMap<>();
  private final Map<String, Weight> ofLayer = new LinkedHashMap<>();

  /** What files hold in layers beside weights. */
  private final List<String> ignored;

  private WeightNames(String prefix, String layers, List<String> ignored) {
    this.prefix = prefix;
    this.layers = layers;
    this.layerName = Pattern.compile(Pattern.quote(layers) + "\\.(0|[1-9]\\d{0,8})\\.(.+)");
    this.ignored = ignored;
  }

  private static WeightNames huggingFace() {
    // Constants of the causal mask, which old files hold.
    WeightNames names =
        new WeightNames("transformer.", "h", List.of("attn.bias", "attn.masked_bias"));
    names.putOutside(
        "wte.weight",
        "wpe.weight",
        "ln_f",
        "lm_head.weight",
        List.of("vocab_size", "n_positions", "n_embd"));
    for (String norm : List.of("ln_1", "ln_2")) {
      names.putNorm(names.ofLayer, norm, norm, "n_embd");
    }
    List<String> parts = List.of("attn.query", "attn.key", "attn.value");
    for (int part = 0; part < parts.size(); part++) {
      String ours = parts.get(part);
      names.ofLayer.put(
          ours + ".weight",
          new Weight("attn.c_attn.weight", "n_embd, 3 n_head head_dim", false, part));
      names.ofLayer.put(
          ours + ".bias", new Weight("attn.c_attn.bias", "3 n_head head_dim", false, part));
    }
    names.putLinear("attn.c_proj", "attn.c_proj", "n_head head_dim", "n_embd", false);
    names.putLinear("mlp.c_fc", "mlp.c_fc", "n_embd", "n_inner", false);
    names.putLinear("mlp.c_proj", "mlp.c_proj", "n_inner", "n_embd", false);
    return names;
  }

  private static WeightNames debugger() {
    WeightNames names = new WeightNames("", "xf_layers", List.of());
    names.putOutside(
        "tok_embed.weight",
        "pos_embed.weight",
        "final_ln",
        "unembed.weight",
        List.of("as many tokens as enc has", "ctx_window", "d_model"));
    for (String norm : List.of("ln_1", "ln_2")) {
      names.putNorm(names.ofLayer, norm, norm, "d_model");
    }
    names.putLinear("attn.query", "attn.q_proj", "d_model", "m_attn d_model", true);
    names.putLinear("attn.key", "attn.k_proj", "d_model", "m_attn d_model", true);
    names.putLinear("attn.value", "attn.v_proj", "d_model", "m_attn d_model", true);
    names.putLinear("attn.c_proj", "attn.out_proj", "m_attn d_model", "d_model", true);
    names.putLinear("mlp.c_fc", "mlp.in_layer", "d_model", "m_mlp d_model", true);
    names.putLinear("mlp.c_proj", "mlp.out_layer", "m_mlp d_model", "d_model", true);
    return names;
  }

  private void putOutside(
      String tokens, String positions, String norm, String unembedding, List<String> keys) {
    outside.put(TOKEN_EMBEDDING, Weight.as(tokens, keys.get(0) + ", " + keys.get(2)));
    outside.put("wpe.weight", Weight.as(positions, keys.get(1) + ", " + keys.get(2)));
    putNorm(outside, "ln_f", norm, keys.get(2));
    outside.put(UNEMBEDDING, Weight.as(unembedding, keys.get(0) + ", " + keys.get(2)));
  }

  private void putNorm(Map<String, Weight> weights, String ours, String stored, String key) {
    weights.put(ours + ".weight", Weight.as(stored + ".weight", key));
    weights.put(ours + ".bias", Weight.as(stored + ".bias", key));
  }

  private void putLinear(
      String ours, String stored, String input, String output, boolean transposed) {
    String keys = transposed ? output + ", " + input : input + ", " + output;
    ofLayer.put(ours + ".weight", new Weight(stored + ".weight", keys, transposed, -1));
    ofLayer.put(ours + ".bias", Weight.as(stored + ".bias", output));
  }

  /** Our name of a slot. */
  static String ours(Slot slot) {
    String inLayer = "h." + slot.layer() + ".";
    return switch (slot.weight()) {
      case TOKEN_EMBEDDING -> "wte.weight";
      case POSITION_EMBEDDING -> "wpe.weight";
      case ATTENTION_NORM_GAIN -> inLayer + "ln_1.weight";
      case ATTENTION_NORM_BIAS -> inLayer + "ln_1.bias";
      case QUERY -> inLayer + "attn.query.weight";
      case QUERY_BIAS -> inLayer + "attn.query.bias";
      case KEY -> inLayer + "attn.key.weight";
      case KEY_BIAS -> inLayer + "attn.key.bias";
      case VALUE -> inLayer + "attn.value.weight";
      case VALUE_BIAS -> inLayer + "attn.value.bias";
      case ATTENTION_OUTPUT -> inLayer + "attn.c_proj.weight";
      case ATTENTION_OUTPUT_BIAS -> inLayer + "attn.c_proj.bias";
      case MLP_NORM_GAIN -> inLayer + "ln_2.weight";
      case MLP_NORM_BIAS -> inLayer + "ln_2.bias";
      case MLP_INPUT -> inLayer + "mlp.c_fc.weight";
      case MLP_INPUT_BIAS -> inLayer + "mlp.c_fc.bias";
      case MLP_OUTPUT -> inLayer + "mlp.c_proj.weight";
      case MLP_OUTPUT_BIAS -> inLayer + "mlp.c_proj.bias";
      case FINAL_NORM_GAIN -> "ln_f.weight";
      case FINAL_NORM_BIAS -> "ln_f.bias";
      case UNEMBEDDING -> "lm_head.weight";
      default -> throw new IllegalArgumentException("GPT-2 has no " + slot);
    };
  }

  /** Without what some files put before a name. */
  String bare(String stored) {
    return stored.startsWith(prefix) ? stored.substring(prefix.length()) : stored;
  }

  /** Whether what has this name in a file need not be stored, if the config says so. */
  boolean mayBeTied(String stored) {
    return bare(stored).equals(weight(UNEMBEDDING).stored);
  }

  /** What {@link #bare} leaves out. */
  String prefix() {
    return prefix;
  }

  /** The layer in a bare name, or -1 if it is outside the layers. */
  int layer(String bare) {
    Matcher matcher = layerName.matcher(bare);
    return matcher.matches() ? Integer.parseInt(matcher.group(1)) : -1;
  }

  /** Whether a file may hold something of this bare name. */
  boolean isKnown(String bare) {
    Matcher matcher = layerName.matcher(bare);
    if (!matcher.matches()) {
      return outside.values().stream().anyMatch(weight -> weight.stored.equals(bare));
    }
    String within = matcher.group(2);
    return ignored.contains(within)
        || ofLayer.values().stream().anyMatch(weight -> weight.stored.equals(within));
  }

  /** Bare names of what must be stored outside the layers, but for the unembedding. */
  Set<String> requiredOutside() {
    Set<String> result = new LinkedHashSet<>();
    outside.forEach(
        (ours, weight) -> {
          if (!ours.equals(UNEMBEDDING)) {
            result.add(weight.stored);
          }
        });
    return result;
  }

  /** Bare names of what must be stored of one layer. */
  Set<String> required(int layer) {
    Set<String> result = new LinkedHashSet<>();
    ofLayer.values().forEach(weight -> result.add(layers + "." + layer + "." + weight.stored));
    return result;
  }

  /** The bare name of what is stored of one of our weights. */
  String stored(String ours) {
    Matcher matcher = OUR_LAYER.matcher(ours);
    String stored = weight(ours).stored;
    return matcher.matches() ? layers + "." + matcher.group(1) + "." + stored : stored;
  }

  /** Our weights of which what is stored under this bare name consists. */
  List<String> ours(String bare) {
    Matcher matcher = layerName.matcher(bare);
    boolean inside = matcher.matches();
    String stored = inside ? matcher.group(2) : bare;
    String before = inside ? "h." + matcher.group(1) + "." : "";
    return (inside ? ofLayer : outside)
        .entrySet().stream()
            .filter(weight -> weight.getValue().stored.equals(stored))
            .map(weight -> before + weight.getKey())
            .toList();
  }

  /** The keys of the config that say how large it is as stored. */
  String keys(String ours) {
    return weight(ours).keys;
  }

  /** Our weight, of what is stored. */
  StoredTensor view(String ours, StoredTensor stored) {
    Weight weight = weight(ours);
    StoredTensor result = weight.transposed ? stored.transposed() : stored;
    if (weight.part < 0) {
      return result;
    }
    int width = stored.shape().size(-1) / 3;
    return result.columns(weight.part * width, (weight.part + 1) * width);
  }

  /** The shape in which one of our weights has to be stored. */
  Shape storedShape(String ours, Shape shape) {
    Weight weight = weight(ours);
    if (weight.transposed) {
      return Shape.of(shape.size(1), shape.size(0));
    }
    return weight.part < 0 ? shape : shape.with(-1, 3 * shape.size(-1));
  }

  private Weight weight(String ours) {
    Matcher matcher = OUR_LAYER.matcher(ours);
    @Nullable Weight weight = matcher.matches() ? ofLayer.get(matcher.group(2)) : outside.get(ours);
    if (weight == null) {
      throw new IllegalArgumentException("there is no weight " + ours);
    }
    return weight;
  }
}
