package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Shape;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;

/**
 * Sizes and kinds of all that a transformer consists of.
 *
 * @param dModel width of the residual stream
 * @param vocabulary number of token ids
 * @param context largest number of tokens in a run
 * @param embedding how tokens become vectors
 * @param layers first to last
 * @param finalNorm before the unembedding, if there is one
 * @param unembedding how vectors become logits
 */
public record TransformerConfig(
    int dModel,
    int vocabulary,
    int context,
    Embedding embedding,
    List<LayerConfig> layers,
    Optional<NormConfig> finalNorm,
    Unembedding unembedding) {
  /** A file is broken that says more layers. */
  public static final int MOST_LAYERS = 1 << 16;

  /**
   * How tokens become vectors.
   *
   * @param multiplier of token embeddings
   * @param positions whether an embedding of the position is added
   */
  public record Embedding(double multiplier, boolean positions) {
    /**
     * Checks the multiplier.
     *
     * @param multiplier {@link #multiplier()}
     * @param positions {@link #positions()}
     * @throws IllegalArgumentException if the multiplier is 0 or no number
     */
    public Embedding {
      requireMultiplier("embeddings are", multiplier);
    }
  }

  /**
   * How vectors become logits.
   *
   * @param tied whether the weights are the token embedding
   * @param biased whether a bias is added
   * @param multiplier of logits
   * @param cap c of logits that become c · tanh(logit / c)
   * @param outputs how many logits there are, if not one for each token id
   */
  public record Unembedding(
      boolean tied, boolean biased, double multiplier, OptionalDouble cap, OptionalInt outputs) {
    /**
     * Checks the numbers.
     *
     * @param tied {@link #tied()}
     * @param biased {@link #biased()}
     * @param multiplier {@link #multiplier()}
     * @param cap {@link #cap()}
     * @param outputs {@link #outputs()}
     * @throws IllegalArgumentException if the multiplier is 0 or no number, the cap or the number
     *     of logits not positive, or that of tied weights is given
     */
    public Unembedding {
      requireMultiplier("logits are", multiplier);
      cap.ifPresent(c -> requireArgument(c > 0, "logits are capped at %s", c));
      outputs.ifPresent(count -> requirePositive("outputs", count));
      requireArgument(
          !tied || outputs.isEmpty(), "%s logits from the embeddings of all tokens", outputs);
    }
  }

  /**
   * Checks the sizes.
   *
   * @param dModel {@link #dModel()}
   * @param vocabulary {@link #vocabulary()}
   * @param context {@link #context()}
   * @param embedding {@link #embedding()}
   * @param layers {@link #layers()}
   * @param finalNorm {@link #finalNorm()}
   * @param unembedding {@link #unembedding()}
   * @throws IllegalArgumentException if one is not positive, or makes a weight larger than a tensor
   *     can be
   */
  public TransformerConfig {
    requirePositive("dModel", dModel);
    requirePositive("context", context);
    requirePositive("vocabulary", vocabulary);
    requirePositive("layers", layers.size());
    layers = List.copyOf(layers);
    requireFits("token embedding", vocabulary, dModel);
    if (embedding.positions()) {
      requireFits("position embedding", context, dModel);
    }
    requireFits("unembedding", unembedding.outputs().orElse(vocabulary), dModel);
    for (LayerConfig layer : layers) {
      AttentionConfig attention = layer.attention();
      long width = (long) attention.heads() * attention.dHead();
      requireFits("attention output", width, dModel);
      requireFits("queries, keys and values", dModel, 3 * width);
      requireFits("MLP", dModel, layer.mlp().neurons());
    }
  }

  /**
   * {@return a config of GPT-2's architecture (Radford et al. 2019), all layers alike}
   *
   * @param layers how many
   * @param dModel {@link #dModel()}
   * @param heads of a layer
   * @param dHead width of a query, key or value of one head
   * @param neurons of a layer
   * @param context {@link #context()}
   * @param vocabulary {@link #vocabulary()}
   * @param epsilon of all norms
   * @param activation function of neurons
   * @param tied whether the unembedding is the token embedding
   * @throws IllegalArgumentException if a size is not positive, or makes a weight larger than a
   *     tensor can be
   */
  public static TransformerConfig gpt2(
      int layers,
      int dModel,
      int heads,
      int dHead,
      int neurons,
      int context,
      int vocabulary,
      double epsilon,
      MlpActivation activation,
      boolean tied) {
    NormConfig norm = new NormConfig(NormConfig.Kind.LAYER_NORM, epsilon, true);
    LayerConfig layer =
        new LayerConfig(
            AttentionConfig.plain(norm, heads, dHead),
            MlpConfig.plain(norm, neurons, activation),
            LayerConfig.Order.SEQUENTIAL);
    requirePositive("layers", layers);
    requireArgument(
        layers <= MOST_LAYERS, "layers is %d, expected no more than %d", layers, MOST_LAYERS);
    return new TransformerConfig(
        dModel,
        vocabulary,
        context,
        new Embedding(1, true),
        Collections.nCopies(layers, layer),
        Optional.of(norm),
        new Unembedding(tied, false, 1, OptionalDouble.empty(), OptionalInt.empty()));
  }

  /**
   * {@return the same with GPT-2's own activation function}
   *
   * @param layers how many
   * @param dModel {@link #dModel()}
   * @param heads of a layer
   * @param dHead width of a query, key or value of one head
   * @param neurons of a layer
   * @param context {@link #context()}
   * @param vocabulary {@link #vocabulary()}
   * @param epsilon of all norms
   * @param tied whether the unembedding is the token embedding
   * @throws IllegalArgumentException as with all of them named
   */
  public static TransformerConfig gpt2(
      int layers,
      int dModel,
      int heads,
      int dHead,
      int neurons,
      int context,
      int vocabulary,
      double epsilon,
      boolean tied) {
    return gpt2(
        layers,
        dModel,
        heads,
        dHead,
        neurons,
        context,
        vocabulary,
        epsilon,
        MlpActivation.TANH_GELU,
        tied);
  }

  /**
   * {@return the same with an unembedding of its own, or with the token embedding for one}
   *
   * @param tied whether the unembedding is the token embedding
   */
  public TransformerConfig tied(boolean tied) {
    return new TransformerConfig(
        dModel,
        vocabulary,
        context,
        embedding,
        layers,
        finalNorm,
        new Unembedding(
            tied,
            unembedding.biased(),
            unembedding.multiplier(),
            unembedding.cap(),
            unembedding.outputs()));
  }

  /** {@return how many logits there are of a token} */
  public int outputs() {
    return unembedding.outputs().orElse(vocabulary);
  }

  /** {@return whether no token sees a later one} */
  public boolean causal() {
    return layers.stream().allMatch(layer -> layer.attention().causal());
  }

  /** How queries and keys of each layer depend on where their tokens stand. */
  List<Positions> positions() {
    return layers.stream().map(layer -> layer.attention().positions()).toList();
  }

  private static void requireMultiplier(String what, double multiplier) {
    requireArgument(
        Double.isFinite(multiplier) && multiplier != 0, "%s multiplied with %s", what, multiplier);
  }

  static void requirePositive(String name, int size) {
    requireArgument(size > 0, "%s is %d, expected a positive number", name, size);
  }

  private static void requireFits(String weight, long rows, long columns) {
    long limit = Shape.LARGEST;
    requireArgument(
        rows <= limit && columns <= limit && rows * columns <= limit,
        "the weight of the %s would be [%d, %d], and a tensor holds at most %d elements",
        weight,
        rows,
        columns,
        limit);
  }

  /** {@return the weights of a transformer of this config, in the order of the forward pass} */
  public List<Slot> slots() {
    Slots slots = new Slots();
    slots.add(Weight.TOKEN_EMBEDDING, vocabulary, dModel);
    if (embedding.positions()) {
      slots.add(Weight.POSITION_EMBEDDING, context, dModel);
    }
    for (; slots.layer < layers.size(); slots.layer++) {
      slots.add(layers.get(slots.layer).attention(), dModel);
      slots.add(layers.get(slots.layer).mlp(), dModel);
    }
    slots.layer = 0;
    slots.norm(finalNorm, Weight.FINAL_NORM_GAIN, Weight.FINAL_NORM_BIAS, dModel);
    if (!unembedding.tied()) {
      slots.add(Weight.UNEMBEDDING, outputs(), dModel);
    }
    slots.bias(unembedding.biased(), Weight.UNEMBEDDING_BIAS, outputs());
    return List.copyOf(slots.all);
  }

  /** What {@link #slots} has so far. */
  private static final class Slots {
    private final List<Slot> all = new ArrayList<>();
    private int layer;

    void add(Weight weight, int... shape) {
      all.add(new Slot(weight, layer, Shape.of(shape)));
    }

    void bias(boolean present, Weight weight, int size) {
      if (present) {
        add(weight, size);
      }
    }

    void norm(Optional<NormConfig> norm, Weight gain, Weight bias, int size) {
      if (norm.isPresent()) {
        add(gain, size);
        bias(norm.get().biased(), bias, size);
      }
    }

    void linear(Weight matrix, Weight bias, boolean biased, int input, int output) {
      add(matrix, input, output);
      bias(biased, bias, output);
    }

    void add(AttentionConfig attention, int dModel) {
      int queries = attention.heads() * attention.dHead();
      int keys = attention.keyHeads() * attention.dHead();
      boolean biased = attention.inputBias();
      norm(attention.entry(), Weight.ATTENTION_NORM_GAIN, Weight.ATTENTION_NORM_BIAS, dModel);
      linear(Weight.QUERY, Weight.QUERY_BIAS, biased, dModel, queries);
      linear(Weight.KEY, Weight.KEY_BIAS, biased, dModel, keys);
      linear(Weight.VALUE, Weight.VALUE_BIAS, biased, dModel, keys);
      attention
          .headNorm()
          .ifPresent(
              heads -> {
                boolean each = heads.extent() == AttentionConfig.HeadNorm.Extent.EACH_HEAD;
                Optional<NormConfig> norm = Optional.of(heads.norm());
                int ofQueries = each ? attention.dHead() : queries;
                norm(norm, Weight.QUERY_NORM_GAIN, Weight.QUERY_NORM_BIAS, ofQueries);
                int ofKeys = each ? attention.dHead() : keys;
                norm(norm, Weight.KEY_NORM_GAIN, Weight.KEY_NORM_BIAS, ofKeys);
              });
      linear(
          Weight.ATTENTION_OUTPUT,
          Weight.ATTENTION_OUTPUT_BIAS,
          attention.outputBias(),
          queries,
          dModel);
      outlet(attention.outlet(), Weight.ATTENTION_OUTLET_GAIN, dModel);
    }

    void add(MlpConfig mlp, int dModel) {
      norm(mlp.entry(), Weight.MLP_NORM_GAIN, Weight.MLP_NORM_BIAS, dModel);
      linear(Weight.MLP_INPUT, Weight.MLP_INPUT_BIAS, mlp.inputBias(), dModel, mlp.neurons());
      if (mlp.kind() == MlpConfig.Kind.GATED) {
        linear(Weight.MLP_UP, Weight.MLP_UP_BIAS, mlp.inputBias(), dModel, mlp.neurons());
      }
      linear(Weight.MLP_OUTPUT, Weight.MLP_OUTPUT_BIAS, mlp.outputBias(), mlp.neurons(), dModel);
      outlet(mlp.outlet(), Weight.MLP_OUTLET_GAIN, dModel);
    }

    private void outlet(OutletConfig outlet, Weight gain, int dModel) {
      if (outlet.norm().isPresent()) {
        add(gain, dModel);
      }
    }
  }
}
