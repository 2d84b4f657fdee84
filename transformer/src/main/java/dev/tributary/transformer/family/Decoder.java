package dev.tributary.transformer.family;

import dev.tributary.transformer.AttentionConfig;
import dev.tributary.transformer.LayerConfig;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.MlpConfig;
import dev.tributary.transformer.NormConfig;
import dev.tributary.transformer.OutletConfig;
import dev.tributary.transformer.Positions;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.function.IntPredicate;

/**
 * A decoder of Hugging Face while its config is read: norms before both parts of a layer, one after
 * the other, gated MLPs, no biases, no positions. A family sets what it has otherwise.
 *
 * @see <a href="https://github.com/huggingface/transformers">transformers, models/*,
 *     configuration_*.py and modeling_*.py</a>
 */
final class Decoder {
  /** By the words of transformers; the first of each is the one that is written. */
  static final Map<String, MlpActivation> ACTIVATIONS = activations();

  private static final String LAYER_TYPES = "layer_types";
  private static final String KEY_HEADS = "num_key_value_heads";
  private static final String HEAD_SIZE = "head_dim";

  /** A file is broken that says wider heads. */
  private static final int WIDEST_HEAD = 1 << 16;

  private final Keys keys;
  final int dModel;
  final int layers;
  final int heads;
  final int neurons;
  final int context;
  private final int vocabulary;

  int keyHeads;

  /** 0 as long as nothing says it. */
  private int dHead;

  Optional<NormConfig> entryNorm;
  NormConfig finalNorm;
  Optional<NormConfig> outletNorm = Optional.empty();
  double outletMultiplier = 1;
  Optional<AttentionConfig.HeadNorm> headNorm = Optional.empty();

  /** Of each layer. */
  List<Positions> positions;

  double scoreScale;
  OptionalDouble scoreCap = OptionalDouble.empty();

  /** Of each layer. */
  List<OptionalInt> windows;

  boolean projectionBias;
  boolean attentionOutputBias;
  private MlpConfig.Kind mlp = MlpConfig.Kind.GATED;
  MlpActivation activation = MlpActivation.SILU;
  boolean mlpBias;
  LayerConfig.Order order = LayerConfig.Order.SEQUENTIAL;
  double embeddingMultiplier = 1;
  boolean positionEmbedding;
  boolean tied;
  boolean unembeddingBias;
  double logitMultiplier = 1;
  OptionalDouble logitCap = OptionalDouble.empty();

  /**
   * Sizes that most families have.
   *
   * @param dModel width of the residual stream
   * @param neurons of a layer
   * @param layers how many
   * @param heads of a layer
   * @param context largest number of tokens
   * @param vocabulary number of token ids
   */
  record Sizes(int dModel, int neurons, int layers, int heads, int context, int vocabulary) {
    /** As a config says, under the keys that most have; what it lacks is as here. */
    Sizes read(Keys keys) throws IOException {
      return new Sizes(
          keys.positive("hidden_size", dModel),
          keys.positive(Spellings.NEURONS, neurons),
          keys.positive("num_hidden_layers", layers),
          keys.positive("num_attention_heads", heads),
          keys.positive("max_position_embeddings", context),
          keys.positive("vocab_size", vocabulary));
    }
  }

  /** A decoder whose config has the keys that most have. */
  static Decoder read(Keys keys, Sizes otherwise, NormConfig norm) throws IOException {
    return new Decoder(keys, otherwise.read(keys), norm);
  }

  /**
   * A decoder of these sizes, each head with a key head of its own.
   *
   * @param norm before both parts and before the unembedding
   * @throws IOException if the config asks for what no decoder here does
   */
  Decoder(Keys keys, Sizes sizes, NormConfig norm) throws IOException {
    requireKnown(keys);
    if (sizes.layers > TransformerConfig.MOST_LAYERS) {
      throw keys.because(
          "there are %d layers, expected no more than %d",
          sizes.layers, TransformerConfig.MOST_LAYERS);
    }
    this.keys = keys;
    dModel = sizes.dModel;
    layers = sizes.layers;
    heads = sizes.heads;
    neurons = sizes.neurons;
    context = sizes.context;
    vocabulary = sizes.vocabulary;
    keyHeads = heads;
    entryNorm = Optional.of(norm);
    finalNorm = norm;
    if (keys.has(HEAD_SIZE)) {
      headSize(keys.positive(HEAD_SIZE));
    } else if (dModel % heads == 0) {
      headSize(dModel / heads);
    }
    positions = Collections.nCopies(layers, new Positions.None());
    windows = Collections.nCopies(layers, OptionalInt.empty());
  }

  // ---- what a config says ------------------------------------------------------------------

  static NormConfig rms(Keys keys, String epsilon, double otherwise) throws IOException {
    return new NormConfig(NormConfig.Kind.RMS, keys.positive(epsilon, otherwise), false);
  }

  static NormConfig layerNorm(Keys keys, String epsilon, double otherwise) throws IOException {
    return new NormConfig(NormConfig.Kind.LAYER_NORM, keys.positive(epsilon, otherwise), true);
  }

  static MlpActivation activation(Keys keys, String key, String otherwise) throws IOException {
    MlpActivation activation = ACTIVATIONS.get(keys.text(key, otherwise));
    if (activation == null) {
      throw keys.wrong(key, String.join(" or ", ACTIVATIONS.keySet()));
    }
    return activation;
  }

  private static Map<String, MlpActivation> activations() {
    Map<String, MlpActivation> result = new LinkedHashMap<>();
    result.put("gelu_new", MlpActivation.TANH_GELU);
    result.put("gelu_pytorch_tanh", MlpActivation.TANH_GELU);
    result.put("gelu", MlpActivation.EXACT_GELU);
    result.put("gelu_python", MlpActivation.EXACT_GELU);
    for (String sameFunction : List.of("gelu_python_tanh", "gelu_accurate", "gelu_fast")) {
      result.put(sameFunction, MlpActivation.TANH_GELU);
    }
    result.put("silu", MlpActivation.SILU);
    result.put("swish", MlpActivation.SILU);
    result.put("relu", MlpActivation.RELU);
    return result;
  }

  /** A number that null switches off. */
  static OptionalDouble cap(Keys keys, String key, OptionalDouble otherwise) throws IOException {
    if (keys.isNull(key)) {
      return OptionalDouble.empty();
    }
    return keys.has(key) ? OptionalDouble.of(keys.positive(key, 1.0)) : otherwise;
  }

  /** A window that null switches off. */
  static OptionalInt window(Keys keys, OptionalInt otherwise) throws IOException {
    String key = "sliding_window";
    if (keys.isNull(key)) {
      return OptionalInt.empty();
    }
    return keys.has(key) ? OptionalInt.of(keys.positive(key)) : otherwise;
  }

  /**
   * A size that may have either of two names.
   *
   * @throws IOException if it is no size, or has another value under each name
   */
  static int size(Keys keys, String name, String alias, int otherwise) throws IOException {
    if (keys.isNull(name)) {
      throw keys.wrong(name, "a whole number");
    }
    int size = keys.positive(keys.has(name) ? name : alias, otherwise);
    if (keys.positive(alias, size) != size) {
      throw keys.wrong(alias, "the same as %s, %d".formatted(name, size));
    }
    return size;
  }

  /** How many neurons a layer has in families that do not say it. */
  static int fourTimes(int dModel) {
    return (int) Math.min(4L * dModel, Integer.MAX_VALUE);
  }

  /** Refuses what would make every family compute something else. */
  static void requireKnown(Keys keys) throws IOException {
    requireFlag(keys, "add_cross_attention", false);
    requireFlag(keys, "is_encoder_decoder", false);
    requireFlag(keys, "is_causal", true);
    if (keys.isNull("is_causal")) {
      throw keys.wrong("is_causal", "true"); // transformers takes it for false
    }
    requireFlag(keys, "use_bidirectional_attention", false);
    if (keys.has("quantization_config")) {
      throw keys.wrong("quantization_config", "none: quantized weights cannot be read");
    }
    if (keys.holdsItems("pruned_heads")) {
      throw keys.wrong("pruned_heads", "none: all heads of a model are of one size");
    }
    if (keys.has("per_layer_config")) {
      throw keys.wrong("per_layer_config", "none: sizes of single layers cannot be followed");
    }
  }

  static void requireFlag(Keys keys, String key, boolean known) throws IOException {
    if (keys.flag(key, known) != known) {
      throw keys.wrong(key, String.valueOf(known));
    }
  }

  // ---- what a family sets ------------------------------------------------------------------

  /** The width of a head, and scores as they are scaled with it. */
  private void headSize(int size) throws IOException {
    if (size > WIDEST_HEAD) {
      throw keys.because("a head has %d numbers, expected no more than %d", size, WIDEST_HEAD);
    }
    dHead = size;
    scoreScale = 1 / Math.sqrt(size);
  }

  /**
   * The width of a head.
   *
   * @throws IOException if neither the config nor the family says it, and it is no share of the
   *     residual stream
   */
  int dHead() throws IOException {
    if (dHead == 0) {
      throw keys.because(
          "the width of the residual stream, %d, is no multiple of the number of heads, %d",
          dModel, heads);
    }
    return dHead;
  }

  /** The width of a head, where a config that does not say it means no share of the stream. */
  void headSizeOr(int otherwise) throws IOException {
    headSize(keys.positive(HEAD_SIZE, otherwise));
  }

  /** As many key heads as the config says; as there are heads if it says null. */
  void readKeyHeads(int otherwise) throws IOException {
    keyHeads = keys.isNull(KEY_HEADS) ? heads : keys.positive(KEY_HEADS, otherwise);
  }

  /** A bias of queries, keys, values and what attention writes, if the config says so. */
  void readAttentionBias(String key, boolean otherwise) throws IOException {
    projectionBias = keys.flag(key, otherwise);
    attentionOutputBias = projectionBias;
  }

  /** Neurons without gates. */
  void plainMlp(boolean biased, String activationKey, String otherwise) throws IOException {
    mlp = MlpConfig.Kind.PLAIN;
    mlpBias = biased;
    activation = activation(keys, activationKey, otherwise);
  }

  /** The same positions in every layer. */
  void positions(Positions all) {
    positions = Collections.nCopies(layers, all);
  }

  /** The same window, or none, in every layer. */
  void window(OptionalInt window) {
    windows = Collections.nCopies(layers, window);
  }

  /**
   * A window in the layers that the config says, if it does.
   *
   * @param otherwise the layers that have it if the config says none
   */
  void slidingLayers(OptionalInt window, IntPredicate otherwise) throws IOException {
    List<Boolean> sliding = slidingLayers(otherwise);
    if (sliding.contains(true) && window.isEmpty()) {
      throw keys.because(
          "layer %d has a window by its type, and the config says none", sliding.indexOf(true));
    }
    windows = sliding.stream().map(slides -> slides ? window : OptionalInt.empty()).toList();
  }

  /** Whether each layer has a window. */
  List<Boolean> slidingLayers(IntPredicate otherwise) throws IOException {
    List<Boolean> sliding = new ArrayList<>();
    if (!keys.has(LAYER_TYPES)) {
      for (int layer = 0; layer < layers; layer++) {
        sliding.add(otherwise.test(layer));
      }
      return sliding;
    }
    for (String type : keys.textsIn(LAYER_TYPES)) {
      switch (type) {
        case "full_attention", "attention" -> sliding.add(false);
        case "sliding_attention" -> sliding.add(true);
        default -> throw keys.wrong(LAYER_TYPES, "full_attention or sliding_attention");
      }
    }
    if (sliding.size() != layers) {
      throw keys.wrong(LAYER_TYPES, "one for each of %d layers".formatted(layers));
    }
    return sliding;
  }

  /** A norm of queries and of keys. */
  void headNorm(NormConfig norm, AttentionConfig.HeadNorm.Extent extent) {
    headNorm = Optional.of(new AttentionConfig.HeadNorm(norm, extent));
  }

  // ---- the config --------------------------------------------------------------------------

  /**
   * {@return all of it}
   *
   * @throws IOException if sizes contradict each other
   */
  TransformerConfig config() throws IOException {
    try {
      List<LayerConfig> all = new ArrayList<>();
      for (int layer = 0; layer < layers; layer++) {
        all.add(new LayerConfig(attention(layer), mlp(), order));
      }
      return new TransformerConfig(
          dModel,
          vocabulary,
          context,
          new TransformerConfig.Embedding(embeddingMultiplier, positionEmbedding),
          all,
          Optional.of(finalNorm),
          new TransformerConfig.Unembedding(
              tied, unembeddingBias, logitMultiplier, logitCap, OptionalInt.empty()));
    } catch (IllegalArgumentException e) {
      throw keys.impossible(e, "the sizes of vocabulary, context, residual stream, heads and MLP");
    }
  }

  private AttentionConfig attention(int layer) throws IOException {
    return new AttentionConfig(
        entryNorm,
        heads,
        keyHeads,
        dHead(),
        headNorm,
        positions.get(layer),
        scoreScale,
        scoreCap,
        true,
        windows.get(layer),
        projectionBias,
        attentionOutputBias,
        outlet());
  }

  private MlpConfig mlp() {
    return new MlpConfig(entryNorm, neurons, mlp, activation, mlpBias, mlpBias, outlet());
  }

  private OutletConfig outlet() {
    return new OutletConfig(outletNorm, outletMultiplier);
  }
}
