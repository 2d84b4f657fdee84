package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shapes;
import dev.tributary.core.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A decoder-only transformer: embeddings, layers that read the residual stream and add to it, and
 * an unembedding. Immutable; its weights belong to the scope in which it was made, and any thread
 * may run it while that scope is open.
 */
public final class Transformer {
  private final TransformerConfig config;
  private final DType dtype;
  private final Map<Slot, Tensor> weights;
  private final Tensor tokenEmbedding;
  private final Optional<Tensor> positionEmbedding;
  private final List<Layer> layers;
  private final List<Part> parts;

  /** Where the residual stream of each point is recorded. */
  private final List<Place> residuals;

  private final Optional<Norm> finalNorm;
  private final Unembedding unembedding;
  private final List<Dictionary> dictionaries;
  private final String description;

  /** The same model in texts of one length, by its positions there. */
  private final Map<List<Positions>, Transformer> byPositions = new ConcurrentHashMap<>();

  /** What a run takes. */
  private record Recorded(Set<Site> sites, int prompts, int tokens, List<MlpShare> shares) {}

  /** As far as they were asked for. */
  private final Map<Recorded, Long> runBytes = new ConcurrentHashMap<>();

  private Transformer(
      TransformerConfig config, DType dtype, String description, Map<Slot, Tensor> weights) {
    this.config = config;
    this.dtype = dtype;
    this.description = description;
    this.weights = weights;
    List<Loaded> loaded = Loaded.of(weights, config.layers().size());
    Loaded outside = loaded.get(config.layers().size());
    tokenEmbedding = outside.tensor(Weight.TOKEN_EMBEDDING);
    positionEmbedding = outside.find(Weight.POSITION_EMBEDDING);
    layers = Layer.all(config, loaded);
    parts = layers.stream().flatMap(layer -> layer.parts().stream()).toList();
    residuals = Layer.residuals(layers);
    finalNorm = outside.norm(config.finalNorm(), Weight.FINAL_NORM_GAIN, Weight.FINAL_NORM_BIAS);
    unembedding =
        new Unembedding(
            config.unembedding(),
            outside.find(Weight.UNEMBEDDING).orElse(tokenEmbedding),
            outside.find(Weight.UNEMBEDDING_BIAS));
    dictionaries = List.of();
  }

  private Transformer(Transformer model, List<Layer> layers, List<Dictionary> dictionaries) {
    config = model.config;
    dtype = model.dtype;
    description = model.description;
    weights = model.weights;
    tokenEmbedding = model.tokenEmbedding;
    positionEmbedding = model.positionEmbedding;
    this.layers = List.copyOf(layers);
    parts = layers.stream().flatMap(layer -> layer.parts().stream()).toList();
    residuals = model.residuals;
    finalNorm = model.finalNorm;
    unembedding = model.unembedding;
    this.dictionaries = List.copyOf(dictionaries);
  }

  /**
   * {@return a transformer of these weights, which are read in the order of the config's slots, in
   * the innermost scope}
   *
   * @param config sizes and kinds of its parts
   * @param dtype in which to compute
   * @param description where it came from, for people
   * @param weights of every slot of the config
   * @param progress hears of every layer
   * @throws IOException if a weight cannot be read
   */
  public static Transformer of(
      TransformerConfig config, DType dtype, String description, Weights weights, Progress progress)
      throws IOException {
    requireRoom(config, dtype, weights);
    int layers = config.layers().size();
    progress.at(0, layers);
    Map<Slot, Tensor> read = new LinkedHashMap<>();
    int layer = 0;
    for (Slot slot : config.slots()) {
      if (slot.weight().perLayer() ? slot.layer() > layer : read.size() > 2 && layer < layers) {
        progress.at(++layer, layers);
      }
      read.put(slot, read(slot, weights, dtype));
    }
    return new Transformer(config, dtype, description, read);
  }

  /** This model in texts of one length. */
  Transformer in(int tokens) {
    List<Positions> there = config.positions().stream().map(own -> own.in(tokens)).toList();
    return there.equals(config.positions())
        ? this
        : byPositions.computeIfAbsent(
            there, own -> new Transformer(this, Layer.with(layers, own), dictionaries));
  }

  /** For its weights, also while they are read. */
  private static void requireRoom(TransformerConfig config, DType dtype, Weights weights)
      throws IOException {
    try {
      Scope.requireRoom(
          () ->
              Shapes.measure(
                  () -> {
                    for (Slot slot : config.slots()) {
                      try {
                        read(slot, weights, dtype);
                      } catch (IOException e) {
                        throw new UncheckedIOException(e);
                      }
                    }
                    return Scope.reservedBytes();
                  }),
          "a model of these sizes");
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
  }

  private static Tensor read(Slot slot, Weights weights, DType dtype) throws IOException {
    try (Scope scope = Scope.open()) { // a matrix as it was read dies here
      Tensor tensor = weights.read(slot);
      requireArgument(
          tensor.shape().equals(slot.shape()) && tensor.dtype() == dtype,
          "%s was read as %s %s in a model of %s",
          slot,
          tensor.dtype(),
          tensor.shape(),
          dtype);
      boolean matrix = slot.weight().role() == Weight.Role.MATRIX;
      return scope.keep(matrix ? tensor.spacedRows() : tensor);
    }
  }

  /**
   * {@return the same model, its runs encoded by dictionaries}
   *
   * @param dictionaries in place of those that it has
   * @throws IllegalArgumentException if one does not fit where it reads or writes, two have the
   *     same id, or a cross-layer transcoder lacks a layer for which others write
   */
  public Transformer with(List<Dictionary> dictionaries) {
    Set<Dictionary.Id> seen = new HashSet<>();
    for (Dictionary dictionary : dictionaries) {
      dictionary.requireFits(this);
      requireArgument(
          seen.add(dictionary.id()),
          "there is %s twice: a label tells one from the other",
          dictionary.id());
    }
    for (Dictionary dictionary : dictionaries) {
      Dictionary.Id id = dictionary.id();
      for (Dictionary.Decoder decoder : dictionary.decoders()) {
        int layer = decoder.place().layer();
        requireArgument(
            id.kind() != Dictionary.Kind.CROSS_LAYER
                || seen.contains(new Dictionary.Id(id.kind(), id.label(), layer)),
            "%s also writes for layer %d, of which there is none",
            id,
            layer);
      }
    }
    return new Transformer(this, layers, dictionaries);
  }

  /** {@return the dictionaries that encode its runs} */
  public List<Dictionary> dictionaries() {
    return dictionaries;
  }

  /**
   * {@return one of the dictionaries that encode its runs}
   *
   * @param id which
   * @throws IllegalArgumentException if it is not loaded
   */
  public Dictionary dictionary(Dictionary.Id id) {
    return dictionaries.stream()
        .filter(one -> one.id().equals(id))
        .findFirst()
        .orElseThrow(() -> new IllegalArgumentException(id + " is not loaded"));
  }

  /**
   * {@return the size of the vectors of a token where a dictionary may read or write}
   *
   * @param place all of a site
   * @throws IllegalArgumentException if the model has no such place, or no dictionary is of it
   */
  public int width(Place place) {
    if (place.site().perLayer()) {
      requireLayer(place.layer());
    }
    return switch (place.site()) {
      case MLP_ACTIVATION -> mlp(place.layer()).neuronCount();
      case HEAD_OUTPUT -> {
        Attention attention = attention(place.layer());
        yield attention.heads() * attention.dHead();
      }
      case RESIDUAL_AFTER_ATTENTION -> {
        requireArgument(
            residuals.contains(place),
            "%s: attention and MLP of this layer read the same residual stream",
            place);
        yield config.dModel();
      }
      case EMBEDDING,
          TOKEN_EMBEDDING,
          RESIDUAL_AFTER_MLP,
          ATTENTION_OUTPUT,
          MLP_STANDARDISED,
          MLP_INPUT,
          MLP_RESULT,
          MLP_OUTPUT ->
          config.dModel();
      default -> throw new IllegalArgumentException(place + ": no dictionary reads or writes that");
    };
  }

  /** See {@link Run#vectors}. */
  Tensor vectors(Run run, Place place) {
    int width = width(place);
    if (run.has(place) && place.site() != Site.HEAD_OUTPUT) {
      return run.value(place);
    }
    return switch (place.site()) {
      case HEAD_OUTPUT -> run.value(place).permute(1, 0, 2).reshape(run.rows(), width);
      case MLP_STANDARDISED -> {
        Mlp mlp = mlp(place.layer());
        Tensor read = run.residual(mlp.reads()).value();
        yield mlp.entry().map(norm -> norm.standardised(read)).orElse(read);
      }
      case MLP_INPUT -> {
        Mlp mlp = mlp(place.layer());
        yield mlp.normalised(run.residual(mlp.reads()), ScaleGradient.DETACHED).value();
      }
      case MLP_RESULT -> {
        Mlp mlp = mlp(place.layer());
        yield mlp.outlet().isNone()
            ? run.value(Site.MLP_OUTPUT, place.layer())
            : mlp.result(run.variable(Site.MLP_ACTIVATION, place.layer()).detach()).value();
      }
      default -> run.value(place);
    };
  }

  /** Whether another is this one, perhaps with other dictionaries, which change no run. */
  boolean hasWeightsOf(Transformer other) {
    return weights == other.weights;
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
    try {
      return of(config, dtype, "random weights", Weights.random(dtype, seed), Progress.NONE);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * {@return where it came from, such as "Hugging Face GPT-2, model.safetensors, 148 tensors F32"}
   */
  public String description() {
    return description;
  }

  /**
   * {@return a digest of some rows of each of its weights and of its dictionaries: another where
   * these were trained further, merged or replaced, whatever their files are called}
   */
  public String fingerprint() {
    Fingerprint all = new Fingerprint();
    weights.forEach(
        (slot, weight) -> {
          all.add(slot.toString());
          all.add(weight);
        });
    dictionaries.forEach(dictionary -> dictionary.addTo(all));
    return all.hex();
  }

  /** {@return its sizes} */
  public TransformerConfig config() {
    return config;
  }

  /** {@return the element type in which it computes} */
  public DType dtype() {
    return dtype;
  }

  /** {@return its weights, in the order of the forward pass; to be read only} */
  public Map<Slot, Tensor> weights() {
    return Collections.unmodifiableMap(weights);
  }

  /**
   * {@return one of its weights}
   *
   * @param weight which
   * @param layer from 0, and 0 of weights of the whole model
   * @throws IllegalArgumentException if it has no such weight
   */
  public Tensor weight(Weight weight, int layer) {
    return weights.entrySet().stream()
        .filter(entry -> entry.getKey().weight() == weight && entry.getKey().layer() == layer)
        .map(Map.Entry::getValue)
        .findFirst()
        .orElseThrow(
            () ->
                new IllegalArgumentException("this model has no " + weight + " of layer " + layer));
  }

  /** {@return how many layers there are} */
  public int layers() {
    return layers.size();
  }

  /**
   * {@return the attention of a layer}
   *
   * @param layer from 0
   * @throws IllegalArgumentException if there is no such layer
   */
  public Attention attention(int layer) {
    requireLayer(layer);
    return layers.get(layer).attention();
  }

  /**
   * {@return the MLP of a layer}
   *
   * @param layer from 0
   * @throws IllegalArgumentException if there is no such layer
   */
  public Mlp mlp(int layer) {
    requireLayer(layer);
    return layers.get(layer).mlp();
  }

  /** {@return what reads the residual stream and writes to it, in the order of writing} */
  public List<Part> parts() {
    return parts;
  }

  /** {@return where the residual stream is read last, before the unembedding} */
  public Point end() {
    return layers.get(layers.size() - 1).mlp().writes();
  }

  /**
   * {@return where the residual stream of a point is recorded}
   *
   * @param point from {@link Point#EMBEDDING} to {@link #end}
   * @throws IllegalArgumentException if there is no such point
   */
  public Place residualAt(Point point) {
    requireArgument(
        point.index() <= end().index(),
        "%s of a model that has points 0 to %d",
        point,
        end().index());
    return residuals.get(point.index());
  }

  /**
   * {@return the point at which the residual stream is recorded at a place, if it is}
   *
   * @param place all of a site
   */
  public Optional<Point> pointAt(Place place) {
    int index = residuals.indexOf(place);
    return index < 0 ? Optional.empty() : Optional.of(new Point(index));
  }

  void requireLayer(int layer) {
    requireArgument(
        layer >= 0 && layer < layers.size(),
        "layer %d of a model that has %d, counted from 0",
        layer,
        layers.size());
  }

  Unembedding unembedding() {
    return unembedding;
  }

  /** {@return the norm before the unembedding, if there is one} */
  public Optional<Norm> finalNorm() {
    return finalNorm;
  }

  /**
   * What the unembedding reads: rows of the last residual stream through the last norm.
   *
   * @param residual [.., dModel]
   * @param scaleGradient whether derivatives see the scale of the norm move
   * @return [.., dModel]
   */
  public Variable normalised(Variable residual, ScaleGradient scaleGradient) {
    return finalNorm.map(norm -> norm.apply(residual, scaleGradient)).orElse(residual);
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
    return run(EnumSet.allOf(Site.class), tokens);
  }

  /**
   * Runs the model and records some sites, for gradients at these alone.
   *
   * @param sites what to record, where the model has it
   * @param tokens as for {@link #run(int...)}
   * @return what was recorded
   * @throws IllegalArgumentException as {@link #run(int...)}
   */
  public Run run(Set<Site> sites, int... tokens) {
    requireTokens(tokens);
    return recorded(sites, 1, tokens, MlpSplit.NONE);
  }

  /**
   * Runs the model on several prompts at once, for gradients at some sites: rows of one prompt
   * follow those of the one before wherever a site has tokens, and no token sees another prompt.
   *
   * @param sites what to record, where the model has it; neither scores nor patterns
   * @param prompts ids, all of one length
   * @param split which shares of MLPs are components of their own
   * @return what was recorded
   * @throws IllegalArgumentException as {@link #run(int...)}, or if there is no prompt, or they are
   *     not of one length
   */
  public Run run(Set<Site> sites, List<List<Integer>> prompts, MlpSplit split) {
    return recorded(sites, prompts.size(), joined(sites, prompts), split);
  }

  private Run recorded(Set<Site> sites, int prompts, int[] tokens, MlpSplit split) {
    int length = tokens.length / prompts;
    Recorded recorded = new Recorded(Set.copyOf(sites), prompts, length, split.shares());
    Scope.requireRoom(
        () -> runBytes.computeIfAbsent(recorded, any -> runBytes(any, split)),
        what(prompts, length));
    return run(sites, Run.Recorder.Derivatives.KEPT, prompts, tokens, split);
  }

  private static String what(int prompts, int length) {
    return "a run of " + (prompts == 1 ? "" : prompts + " prompts of ") + length + " tokens";
  }

  /** All tokens of some prompts. */
  private int[] joined(Set<Site> sites, List<List<Integer>> prompts) {
    requireArgument(!prompts.isEmpty(), "there is no prompt to run");
    for (List<Integer> prompt : prompts) {
      requireTokens(ids(prompt));
      requireArgument(
          prompt.size() == prompts.get(0).size(),
          "prompts of %d and %d tokens cannot run at once",
          prompts.get(0).size(),
          prompt.size());
    }
    for (Site site : List.of(Site.SCORES, Site.PATTERN)) {
      requireArgument(
          prompts.size() == 1 || !sites.contains(site),
          "%s of several prompts is not recorded",
          site);
    }
    return prompts.stream().flatMap(List::stream).mapToInt(Integer::intValue).toArray();
  }

  private static int[] ids(List<Integer> tokens) {
    return tokens.stream().mapToInt(Integer::intValue).toArray();
  }

  /**
   * Runs the model and records some sites without derivatives: beyond these, nothing outlives its
   * layer.
   *
   * @param sites what to record, where the model has it
   * @param tokens as for {@link #run(int...)}
   * @return what was recorded, in which everything is constant
   * @throws IllegalArgumentException as {@link #run(int...)}
   */
  public Run values(Set<Site> sites, int... tokens) {
    requireTokens(tokens);
    return values(sites, 1, tokens, MlpSplit.NONE);
  }

  /**
   * Runs the model on several prompts at once without derivatives, as {@link #values(Set, int...)}
   * and {@link #run(Set, List, MlpSplit)} say.
   *
   * @param sites what to record, where the model has it; neither scores nor patterns
   * @param prompts ids, all of one length
   * @param split which shares of MLPs are components of their own
   * @return what was recorded, in which everything is constant
   * @throws IllegalArgumentException as {@link #run(Set, List, MlpSplit)}
   */
  public Run values(Set<Site> sites, List<List<Integer>> prompts, MlpSplit split) {
    return values(sites, prompts.size(), joined(sites, prompts), split);
  }

  private Run values(Set<Site> sites, int prompts, int[] tokens, MlpSplit split) {
    Scope.requireRoom(
        () ->
            Shapes.measure(
                () -> {
                  run(sites, Run.Recorder.Derivatives.NONE, prompts, new int[tokens.length], split);
                  return Scope.reservedBytes();
                }),
        what(prompts, tokens.length / prompts));
    return run(sites, Run.Recorder.Derivatives.NONE, prompts, tokens, split);
  }

  private Run run(
      Set<Site> sites,
      Run.Recorder.Derivatives derivatives,
      int prompts,
      int[] tokens,
      MlpSplit split) {
    Transformer own = in(tokens.length / prompts);
    return own.rerun(
        new Run.Recorder(own, prompts, tokens, sites, derivatives, split.changes()), tokens, 0);
  }

  /** Of all that a run records, and of what its dictionaries make of it. */
  private long runBytes(Recorded recorded, MlpSplit split) {
    return Shapes.measure(
        () -> {
          Run run =
              run(
                  recorded.sites,
                  Run.Recorder.Derivatives.KEPT,
                  recorded.prompts,
                  new int[recorded.prompts * recorded.tokens],
                  split);
          dictionaries.stream()
              .filter(dictionary -> recorded.sites.contains(dictionary.reads().site()))
              .forEach(run::encoding);
          return Scope.reservedBytes();
        });
  }

  /** Runs the layers from one on again, the others as they were in a run. */
  Run rerun(Run base, Run.Recorder run, int firstLayer) {
    boolean resumes = firstLayer > 0 && base.has(residualBefore(firstLayer));
    if (resumes) {
      run.resume(base, firstLayer);
    }
    return rerun(run, base.tokens(), resumes ? firstLayer : 0);
  }

  private Run rerun(Run.Recorder run, int[] tokens, int firstLayer) {
    Variable x =
        firstLayer == 0
            ? embedding(tokens, run)
            : run.recorded(residualBefore(firstLayer).site(), firstLayer - 1);
    for (Layer layer : layers.subList(firstLayer, layers.size())) {
      x = run.layer(layer, x);
    }
    Variable last = x;
    Variable read =
        run.differences(Site.FINAL_NORMALISED, 0).map(own -> own.ofOne(last)).orElse(last);
    Variable normalised =
        run.at(
            Site.FINAL_NORMALISED,
            0,
            finalNorm
                .map(norm -> norm.apply(read, scale -> run.at(Site.FINAL_SCALE, 0, scale)))
                .orElse(read));
    if (run.wants(Site.LOGITS)) {
      run.at(Site.LOGITS, 0, unembed(normalised));
    }
    return run.finish();
  }

  /** What follows a text, from keys and values of its tokens; adds those of the new ones. */
  Run after(KeyValueCache earlier, int[] tokens, List<Change> changes) {
    Set<Site> last = Set.of(Site.FINAL_NORMALISED);
    return rerun(new Run.Recorder(this, tokens, last, changes, earlier), tokens, 0);
  }

  private Place residualBefore(int layer) {
    return Place.of(Site.RESIDUAL_AFTER_MLP, layer - 1);
  }

  private Variable embedding(int[] tokens, Site.Visitor visitor) {
    Tensor rows = tokenEmbedding.gather(0, tokens);
    double multiplier = config.embedding().multiplier();
    Variable token =
        visitor.at(
            Site.TOKEN_EMBEDDING,
            0,
            Variable.input(multiplier == 1 ? rows : rows.times(multiplier)));
    if (positionEmbedding.isEmpty()) {
      return visitor.at(Site.EMBEDDING, 0, token);
    }
    int first = visitor.firstToken();
    int prompts = visitor.prompts();
    Tensor one = positionEmbedding.get().slice(0, first, first + tokens.length / prompts);
    Tensor positions = prompts == 1 ? one : Tensor.concat(0, Collections.nCopies(prompts, one));
    Variable position = visitor.at(Site.POSITION_EMBEDDING, 0, Variable.input(positions));
    return visitor.at(Site.EMBEDDING, 0, token.plus(position));
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
      return scope.keep(unembed(normalised(tokens)).value());
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
      return scope.keep(unembed(last).value()).reshape(config.outputs());
    }
  }

  private Variable normalised(int[] tokens) {
    Set<Site> last = Set.of(Site.FINAL_NORMALISED);
    return run(last, Run.Recorder.Derivatives.NONE, 1, tokens, MlpSplit.NONE)
        .variable(Site.FINAL_NORMALISED);
  }

  /**
   * {@return the logits of every word, from normalised final residuals [token, dModel] to [token,
   * vocabulary]}
   *
   * @param normalised [token, dModel]
   */
  public Variable unembed(Variable normalised) {
    return unembedding.logits(normalised);
  }

  /**
   * {@return the logits of a few words, from normalised final residuals [token, dModel] to [token,
   * word]}
   *
   * @param normalised [token, dModel]
   * @param words ids of the words
   */
  public Variable unembed(Variable normalised, int... words) {
    for (int word : words) {
      requireWord(word);
    }
    return unembedding.of(words).logits(normalised);
  }

  /**
   * {@return the logits of every word as {@link #unembed(Variable)} says, but before any cap}
   *
   * @param normalised [token, dModel]
   */
  public Variable unembedUncapped(Variable normalised) {
    return unembedding.uncapped(normalised);
  }

  /**
   * {@return along what normalised final residuals make logits of some words exceed the mean of all
   * logits, before any cap, [word, dModel]}
   *
   * @param words ids of the words
   * @throws IllegalArgumentException if one is outside the vocabulary
   */
  public Tensor logitDirections(int... words) {
    Arrays.stream(words).forEach(this::requireWord);
    return unembedding.directions(words);
  }

  /**
   * {@return what biases add to the logits of some words less the mean of all, [word]}
   *
   * @param words ids of the words
   * @throws IllegalArgumentException if one is outside the vocabulary
   */
  public double[] logitBiases(int... words) {
    Arrays.stream(words).forEach(this::requireWord);
    return unembedding.biases(words);
  }

  void requireTokens(int[] tokens) {
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

  /**
   * Refuses what has no logit in this model.
   *
   * @param word an id
   * @throws IllegalArgumentException if the id is outside the vocabulary of its outputs
   */
  public void requireWord(int word) {
    requireArgument(
        word >= 0 && word < config.outputs(),
        "token id %d is outside the vocabulary of %d",
        word,
        config.outputs());
  }
}
