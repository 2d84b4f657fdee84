package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;

/**
 * A decoder-only transformer of GPT-2's architecture (Radford et al. 2019). Immutable; its weights
 * belong to the scope in which it was made, and any thread may run it while that scope is open.
 */
public final class Transformer {
  private final TransformerConfig config;
  private final DType dtype;
  private final Tensor tokenEmbedding;
  private final Tensor positionEmbedding;
  private final List<Block> blocks;
  private final LayerNorm finalNorm;
  private final Tensor unembedding;
  private final List<SparseAutoencoder> autoencoders;
  private final String description;

  private Transformer(
      TransformerConfig config, DType dtype, String description, Weights weights, Progress progress)
      throws IOException {
    this.config = config;
    this.description = description;
    this.dtype = dtype;
    int d = config.dModel();
    Scope.requireRoom(MemoryPlan.of(config, dtype, 1).weights(), "a model of these sizes");
    progress.at(0, config.layers());
    tokenEmbedding = weights.read("wte.weight", Shape.of(config.vocabulary(), d));
    positionEmbedding = weights.read("wpe.weight", Shape.of(config.context(), d));
    List<Block> layers = new ArrayList<>();
    for (int layer = 0; layer < config.layers(); layer++) {
      layers.add(block(weights, "h." + layer + ".", config));
      progress.at(layer + 1, config.layers());
    }
    blocks = List.copyOf(layers);
    finalNorm = norm(weights, "ln_f", config, Site.FINAL_SCALE);
    unembedding =
        config.tied()
            ? tokenEmbedding
            : weights.read("lm_head.weight", Shape.of(config.vocabulary(), d));
    autoencoders = List.of();
  }

  /**
   * {@return a transformer of weights from elsewhere, in the innermost scope}
   *
   * @param config sizes
   * @param dtype in which to compute
   * @param description where the weights are from
   * @param weights that are asked for each weight once
   * @param progress hears of every layer
   * @throws IOException if a weight cannot be had
   */
  public static Transformer of(
      TransformerConfig config, DType dtype, String description, Weights weights, Progress progress)
      throws IOException {
    return new Transformer(config, dtype, description, weights, progress);
  }

  private Transformer(Transformer model, List<SparseAutoencoder> autoencoders) {
    config = model.config;
    dtype = model.dtype;
    description = model.description;
    tokenEmbedding = model.tokenEmbedding;
    positionEmbedding = model.positionEmbedding;
    blocks = model.blocks;
    finalNorm = model.finalNorm;
    unembedding = model.unembedding;
    this.autoencoders = List.copyOf(autoencoders);
  }

  /**
   * {@return the same model, its runs encoded by sparse autoencoders, at most one for each site and
   * layer}
   *
   * @param autoencoders in place of those that it has
   * @throws IllegalArgumentException if one does not fit its site, or two have the same
   */
  public Transformer with(List<SparseAutoencoder> autoencoders) {
    Set<String> seen = new HashSet<>();
    for (SparseAutoencoder autoencoder : autoencoders) {
      Site site = autoencoder.site();
      String place = site + " of layer " + autoencoder.layer();
      block(autoencoder.layer());
      requireArgument(seen.add(place), "two autoencoders of %s", place);
      int width = site == Site.MLP_ACTIVATION ? config.neurons() : config.dModel();
      requireArgument(
          autoencoder.width() == width,
          "the autoencoder of %s encodes vectors of %d, and there they have %d",
          place,
          autoencoder.width(),
          width);
      requireArgument(
          autoencoder.decoder().dtype() == dtype,
          "the autoencoder of %s is %s and the model %s",
          place,
          autoencoder.decoder().dtype(),
          dtype);
    }
    return new Transformer(this, autoencoders);
  }

  /** {@return the autoencoders that encode its runs} */
  public List<SparseAutoencoder> autoencoders() {
    return autoencoders;
  }

  /**
   * {@return the autoencoder of a site and layer}
   *
   * @param site what it encodes
   * @param layer from 0
   * @throws IllegalArgumentException if none is loaded there
   */
  public SparseAutoencoder autoencoder(Site site, int layer) {
    return autoencoders.stream()
        .filter(one -> one.site() == site && one.layer() == layer)
        .findFirst()
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "no autoencoder of " + site + " of layer " + layer + " is loaded"));
  }

  /** Whether another is this one, perhaps with other autoencoders, which change no run. */
  boolean hasWeightsOf(Transformer other) {
    return blocks == other.blocks;
  }

  private static Block block(Weights weights, String name, TransformerConfig config)
      throws IOException {
    return new Block(
        norm(weights, name + "ln_1", config, Site.ATTENTION_SCALE),
        attention(weights, name + "attn.", config),
        norm(weights, name + "ln_2", config, Site.MLP_SCALE),
        new Mlp(
            linear(weights, name + "mlp.c_fc", config.dModel(), config.neurons()),
            config.activation(),
            linear(weights, name + "mlp.c_proj", config.neurons(), config.dModel())));
  }

  private static Attention attention(Weights weights, String name, TransformerConfig config)
      throws IOException {
    int width = config.heads() * config.dHead();
    return new Attention(
        config.heads(),
        linear(weights, name + "query", config.dModel(), width),
        linear(weights, name + "key", config.dModel(), width),
        linear(weights, name + "value", config.dModel(), width),
        linear(weights, name + "c_proj", width, config.dModel()));
  }

  private static Linear linear(Weights weights, String name, int input, int output)
      throws IOException {
    try (Scope scope = Scope.open()) { // the weight as it was read dies here
      Tensor weight = weights.read(name + ".weight", Shape.of(input, output));
      Tensor bias = weights.read(name + ".bias", Shape.of(output));
      return new Linear(scope.keep(weight.spacedRows()), scope.keep(bias));
    }
  }

  private static LayerNorm norm(Weights weights, String name, TransformerConfig config, Site scale)
      throws IOException {
    Shape shape = Shape.of(config.dModel());
    return new LayerNorm(
        weights.read(name + ".weight", shape),
        weights.read(name + ".bias", shape),
        config.layerNormEpsilon(),
        scale);
  }

  /**
   * {@return a transformer of random weights, for tests and measurements: normal with deviation
   * 1/√input for matrices, so that every layer says something, 1 ± 0.1 for gains and ± 0.1 for
   * biases}
   *
   * @param config sizes
   * @param dtype in which to compute
   * @param seed of the random numbers
   */
  public static Transformer random(TransformerConfig config, DType dtype, long seed) {
    RandomGenerator random = RandomGeneratorFactory.of("L64X128MixRandom").create(seed);
    try {
      return new Transformer(
          config,
          dtype,
          "random weights",
          (name, shape) -> {
            boolean gain = name.contains("ln_") && name.endsWith("weight");
            double deviation = shape.rank() == 1 ? 0.1 : 1 / Math.sqrt(shape.size(0));
            boolean table = Set.of("wte.weight", "wpe.weight", "lm_head.weight").contains(name);
            double scale = table ? 0.5 : deviation;
            return Tensor.generate(
                dtype,
                shape,
                (from, values, count) -> {
                  for (int i = 0; i < count; i++) {
                    values[i] = (gain ? 1 : 0) + scale * random.nextGaussian();
                  }
                });
          },
          Progress.NONE);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * Hands out its weights by the names of Hugging Face's GPT-2.
   *
   * @param weights takes them
   */
  public void save(Weights.Taker weights) {
    weights.put("transformer.wte.weight", tokenEmbedding);
    weights.put("transformer.wpe.weight", positionEmbedding);
    for (int layer = 0; layer < blocks.size(); layer++) {
      String name = "transformer.h." + layer + ".";
      Block block = blocks.get(layer);
      block.attentionNorm().save(weights, name + "ln_1");
      block.attention().save(weights, name + "attn.");
      block.mlpNorm().save(weights, name + "ln_2");
      block.mlp().input().save(weights, name + "mlp.c_fc");
      block.mlp().output().save(weights, name + "mlp.c_proj");
    }
    finalNorm.save(weights, "transformer.ln_f");
    if (!config.tied()) {
      weights.put("lm_head.weight", unembedding);
    }
  }

  /**
   * {@return where it came from, such as "Hugging Face GPT-2, model.safetensors, 148 tensors F32"}
   */
  public String description() {
    return description;
  }

  /**
   * How much memory it needs, and a run of it.
   *
   * @param tokens of a prompt
   * @return bytes for weights, a run and its gradients
   * @throws IllegalArgumentException if there are none, or more than the context holds
   */
  public MemoryPlan memoryPlan(int tokens) {
    return MemoryPlan.of(config, autoencoders, dtype, tokens);
  }

  /** {@return its sizes} */
  public TransformerConfig config() {
    return config;
  }

  /** {@return the element type in which it computes} */
  public DType dtype() {
    return dtype;
  }

  /** {@return its layers, first to last} */
  public List<Block> blocks() {
    return blocks;
  }

  /**
   * {@return one layer}
   *
   * @param layer from 0
   */
  public Block block(int layer) {
    requireArgument(
        layer >= 0 && layer < blocks.size(),
        "layer %d of a model that has %d, counted from 0",
        layer,
        blocks.size());
    return blocks.get(layer);
  }

  /** {@return the layer norm before the unembedding} */
  public LayerNorm finalNorm() {
    return finalNorm;
  }

  /**
   * Runs the model and records every {@link Site} with its derivative, in the innermost scope.
   *
   * @param tokens ids, at least one and at most as many as the context holds
   * @return what was recorded
   * @throws IllegalArgumentException if there are too few or too many, an id is outside the
   *     vocabulary, or there is no memory for what a run records
   */
  public Run run(int... tokens) {
    requireTokens(tokens);
    Scope.requireRoom(
        memoryPlan(tokens.length).recording(), "a run of " + tokens.length + " tokens");
    return rerun(tokens, new Run.Recorder(this, tokens, List.of()), 0);
  }

  /** Runs the layers from one on again, the others as they were in a run. */
  Run rerun(Run base, List<Change> changes, int layer) {
    Run.Recorder run = new Run.Recorder(this, base.tokens(), changes);
    if (layer > 0) {
      run.resume(base, layer);
    }
    return rerun(base.tokens(), run, layer);
  }

  private Run rerun(int[] tokens, Run.Recorder run, int firstLayer) {
    Variable x;
    if (firstLayer == 0) {
      Variable token = run.at(Site.TOKEN_EMBEDDING, Variable.input(tokenEmbedding(tokens)));
      Variable position =
          run.at(Site.POSITION_EMBEDDING, Variable.input(positionEmbedding(tokens.length)));
      x = run.at(Site.EMBEDDING, token.plus(position));
    } else {
      x = run.recorded(Site.RESIDUAL_AFTER_MLP, firstLayer - 1);
    }
    for (Block block : blocks.subList(firstLayer, blocks.size())) {
      x = block.apply(x, run);
    }
    Variable normalised =
        run.at(Site.FINAL_NORMALISED, finalNorm.apply(x, ScaleGradient.LIVE, run));
    run.at(Site.LOGITS, logits(normalised));
    return run.finish();
  }

  /**
   * Plain inference: runs the model and records nothing.
   *
   * @param tokens ids, as for {@link #run}
   * @return logits, [token, vocabulary]
   * @throws IllegalArgumentException as {@link #run}
   */
  public Tensor logits(int... tokens) {
    requireTokens(tokens);
    try (Scope scope = Scope.open()) {
      return scope.keep(logits(normalised(tokens)).value());
    }
  }

  /**
   * Plain inference of what follows the last token.
   *
   * @param tokens ids, as for {@link #run}
   * @return logits, [vocabulary]
   * @throws IllegalArgumentException as {@link #run}
   */
  public Tensor nextLogits(int... tokens) {
    requireTokens(tokens);
    try (Scope scope = Scope.open()) {
      Variable last = normalised(tokens).slice(0, tokens.length - 1, tokens.length);
      return scope.keep(logits(last).value()).reshape(config.vocabulary());
    }
  }

  private Variable normalised(int[] tokens) {
    Tensor x = tokenEmbedding(tokens).plus(positionEmbedding(tokens.length));
    for (Block block : blocks) {
      try (Scope layer = Scope.open()) {
        x = layer.keep(block.apply(Variable.constant(x), Site.Visitor.NONE).value());
      }
    }
    return finalNorm.apply(Variable.constant(x), ScaleGradient.LIVE);
  }

  /**
   * {@return the logits of every word, from normalised final residuals [token, dModel] to [token,
   * vocabulary]}
   *
   * @param normalised [token, dModel]
   */
  public Variable logits(Variable normalised) {
    return normalised.matmulTransposed(Variable.constant(unembedding));
  }

  /**
   * {@return the logits of a few words, from normalised final residuals [token, dModel] to [token,
   * word]}
   *
   * @param normalised [token, dModel]
   * @param words ids of the words
   */
  public Variable logits(Variable normalised, int... words) {
    for (int word : words) {
      requireToken(word);
    }
    return normalised.matmulTransposed(Variable.constant(unembedding.gather(0, words)));
  }

  private Tensor tokenEmbedding(int[] tokens) {
    return tokenEmbedding.gather(0, tokens);
  }

  private Tensor positionEmbedding(int tokens) {
    return positionEmbedding.slice(0, 0, tokens);
  }

  private void requireTokens(int[] tokens) {
    requireArgument(tokens.length > 0, "the prompt is empty: a run needs at least one token");
    requireArgument(
        tokens.length <= config.context(),
        "the prompt has %d tokens and the context of this model holds %d",
        tokens.length,
        config.context());
    Arrays.stream(tokens).forEach(this::requireToken);
  }

  /**
   * Refuses what is no token of this model.
   *
   * @param token an id
   * @throws IllegalArgumentException if the id is outside the vocabulary
   */
  public void requireToken(int token) {
    requireArgument(
        token >= 0 && token < config.vocabulary(),
        "token id %d is outside the vocabulary of %d",
        token,
        config.vocabulary());
  }
}
