package dev.tributary.transformer.file;

import dev.tributary.core.DType;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A model on disk: its sizes, and where its weights lie. All names are checked when it is opened: a
 * weight that nobody reads would be a silently different model.
 */
public final class Checkpoint {
  private static final String CONFIG = "config.json";
  private static final String PIECES = "model_pieces";

  /** Where a Hugging Face folder has its weights, the one that is taken first. */
  private static final List<String> WEIGHTS =
      List.of(
          "model.safetensors",
          "model.safetensors.index.json",
          "pytorch_model.bin",
          "pytorch_model.bin.index.json");

  private final Path folder;
  private final Path configFile;
  private final String kind;
  private final TensorFile weights;
  private final WeightNames names;

  /** As it is stored, without an adapter. */
  private final TransformerConfig config;

  private final Optional<Adapter> adapter;
  private final Optional<AdaptedWeights> adapted;

  /** By their bare names. */
  private final Map<String, StoredTensor> stored = new HashMap<>();

  private Checkpoint(
      Path folder,
      Path configFile,
      TransformerConfig config,
      TensorFile weights,
      Optional<Adapter> adapter)
      throws IOException {
    this.folder = folder;
    this.configFile = configFile;
    this.weights = weights;
    this.kind = "Hugging Face GPT-2";
    this.names = WeightNames.HUGGING_FACE;
    this.config = config;
    this.adapter = adapter;
    this.adapted = adapted();
    requireNames();
    requireTie();
  }

  /** Of transformer-debugger, whose config says neither how many tokens there are nor of a tie. */
  private Checkpoint(Path folder, JsonFile json, Optional<Adapter> adapter) throws IOException {
    this.folder = folder;
    this.configFile = json.path();
    this.weights = TensorFolder.pieces(folder.resolve(PIECES));
    this.kind = "transformer-debugger checkpoint";
    this.names = WeightNames.DEBUGGER;
    String embedding = names.stored(WeightNames.TOKEN_EMBEDDING);
    String unembedding = names.stored(WeightNames.UNEMBEDDING);
    Shape shape = weights.shape(embedding);
    if (shape.rank() != 2) {
      throw StoredTensor.because(
          weights.path(), embedding, "is %s, expected [tokens, d_model]", shape);
    }
    boolean tied = weights.sameNumbers(embedding, unembedding);
    this.config = Gpt2Config.ofDebugger(json, shape.size(0), tied);
    this.adapter = adapter;
    this.adapted = adapted();
    requireNames();
  }

  private Optional<AdaptedWeights> adapted() throws IOException {
    return adapter.isEmpty() ? Optional.empty() : Optional.of(adapter.get().on(config));
  }

  /**
   * Opens a model:
   *
   * <ul>
   *   <li>a Hugging Face folder of the GPT-2 family, with {@code config.json} and weights in {@code
   *       model.safetensors}, in {@code pytorch_model.bin}, or in several such files and their
   *       {@code .index.json}
   *   <li>a checkpoint of transformer-debugger, with {@code config.json} and {@code model_pieces}
   *   <li>a file with weights in either format, {@code config.json} beside it
   * </ul>
   *
   * and the {@link Adapter} that lies beside the weights, if there is one: it is merged into every
   * weight that is read.
   *
   * @param path a folder or a file
   * @return the model, its weights not yet read
   * @throws IOException if there is nothing there, a file is missing or broken, the weights are not
   *     those that the config describes, or an adapter cannot be merged exactly
   */
  public static Checkpoint open(Path path) throws IOException {
    return open(path, Optional.empty());
  }

  /**
   * The same with an adapter that lies elsewhere.
   *
   * @param path a folder or a file with the model
   * @param adapter its folder
   * @return the model, its weights not yet read
   * @throws IOException as {@link #open(Path)}, or if there is an adapter beside the weights too
   */
  public static Checkpoint open(Path path, Path adapter) throws IOException {
    return open(path, Optional.of(adapter));
  }

  private static Checkpoint open(Path path, Optional<Path> named) throws IOException {
    if (Files.notExists(path)) {
      throw BadFile.because(path, "there is no such file or folder");
    }
    boolean isFolder = Files.isDirectory(path);
    Path folder =
        isFolder ? path : Objects.requireNonNullElse(path.toAbsolutePath().getParent(), path);
    if (isFolder && Adapter.isIn(folder) && !hasWeights(folder)) {
      throw Adapter.open(folder).withoutModel();
    }
    Optional<Adapter> adapter = Adapter.of(folder, named);
    if (Files.notExists(folder.resolve(CONFIG))) {
      throw BadFile.because(
          path,
          isFolder ? "there is no %s in this folder" : "there is no %s beside this file",
          CONFIG);
    }
    JsonFile json = Gpt2Config.json(folder.resolve(CONFIG));
    boolean pieces = Files.isDirectory(folder.resolve(PIECES));
    if (Gpt2Config.isDebugger(json, pieces)) {
      if (!pieces) {
        throw BadFile.because(folder, "there is no folder %s in this folder", PIECES);
      }
      return new Checkpoint(folder, json, adapter);
    }
    TransformerConfig config = Gpt2Config.of(json);
    Path weights = isFolder || path.endsWith(CONFIG) ? weights(folder) : path;
    return new Checkpoint(folder, json.path(), config, TensorFile.open(weights), adapter);
  }

  private static boolean hasWeights(Path folder) {
    return Files.exists(folder.resolve(PIECES))
        || WEIGHTS.stream().anyMatch(name -> Files.exists(folder.resolve(name)));
  }

  private static Path weights(Path folder) throws IOException {
    for (String name : WEIGHTS) {
      if (Files.exists(folder.resolve(name))) {
        return folder.resolve(name);
      }
    }
    throw BadFile.because(folder, "there is no %s in this folder", String.join(" or ", WEIGHTS));
  }

  /** {@return where it is} */
  public Path folder() {
    return folder;
  }

  /** {@return its sizes, with its adapter} */
  public TransformerConfig config() {
    return adapted.map(AdaptedWeights::config).orElse(config);
  }

  /** {@return the adapter that is merged into its weights} */
  public Optional<Adapter> adapter() {
    return adapter;
  }

  /** {@return what is stored, by the names that the files use} */
  public TensorFile weights() {
    return weights;
  }

  /** {@return what was found, such as "Hugging Face GPT-2, model.safetensors, 148 tensors F32"} */
  public String description() {
    return kind
        + ", "
        + weights.path().getFileName()
        + ", "
        + weights.summary()
        + adapted.map(with -> ", merged with " + with.description()).orElse("");
  }

  /**
   * One weight, in the innermost open scope.
   *
   * @param name as {@link WeightNames} has it
   * @throws IOException if its shape is another one, or a number is infinite or NaN
   */
  Tensor read(String name, Shape expected, DType dtype) throws IOException {
    StoredTensor tensor = stored(name);
    if (tensor == null) {
      throw BadFile.because(
          weights.path(), "there is no tensor %s", BadFile.quoted(names.stored(name)));
    }
    Shape storedShape = names.storedShape(name, expected);
    if (!tensor.shape().equals(storedShape)) {
      throw StoredTensor.because(
          tensor.path(),
          tensor.name(),
          "is %s, and %s says %s (%s)",
          tensor.shape(),
          configFile,
          storedShape,
          names.keys(name));
    }
    StoredTensor view = names.view(name, tensor);
    if (adapted.isPresent()) {
      return adapted.get().read(name, view, expected, dtype); // looks at its numbers itself
    }
    Tensor result = view.read(dtype);
    if (!result.isFinite()) {
      throw StoredTensor.because(
          tensor.path(), tensor.name(), "holds a number that is infinite or NaN");
    }
    return result;
  }

  /** By our name. An unembedding that an adapter untied begins as the token embedding. */
  private @Nullable StoredTensor stored(String name) {
    boolean shared =
        name.equals(WeightNames.UNEMBEDDING)
            && config.unembedding().tied()
            && !config().unembedding().tied();
    return stored.get(names.stored(shared ? WeightNames.TOKEN_EMBEDDING : name));
  }

  /** The type in which a weight is stored that Hugging Face's files have under this name. */
  ElementType writtenType(String name) {
    WeightNames written = WeightNames.HUGGING_FACE;
    Set<ElementType> types = EnumSet.noneOf(ElementType.class);
    for (String ours : written.ours(written.bare(name))) {
      types.add(Objects.requireNonNull(stored(ours), ours).type());
    }
    return ElementType.holding(types);
  }

  /** All that is there has to be known, and all that is needed there. */
  private void requireNames() throws IOException {
    for (String name : weights.names()) {
      StoredTensor tensor = weights.stored(name);
      String bare = names.bare(name);
      if (!names.isKnown(bare)) {
        throw StoredTensor.because(
            tensor.path(), name, "is unknown: %s has no weight of that name", kind);
      }
      if (names.layer(bare) >= config.layers().size()) {
        throw StoredTensor.because(
            tensor.path(),
            name,
            "is of a layer that %s does not have: there are %d",
            configFile,
            config.layers().size());
      }
      if (stored.put(bare, tensor) != null) {
        throw StoredTensor.because(
            tensor.path(), bare, "is there with and without %s", names.prefix());
      }
    }
    requireStored(names.requiredOutside());
    for (int layer = 0;
        layer < config.layers().size();
        layer++) { // ends at the first that is missing
      requireStored(names.required(layer));
    }
  }

  private void requireStored(Set<String> required) throws IOException {
    for (String name : required) {
      if (!stored.containsKey(name)) {
        throw BadFile.because(
            weights.path(),
            "there is no tensor %s, which a model of %d layers has",
            BadFile.quoted(name),
            config.layers().size());
      }
    }
  }

  private void requireTie() throws IOException {
    StoredTensor embedding = stored.get(names.stored(WeightNames.TOKEN_EMBEDDING));
    StoredTensor unembedding = stored.get(names.stored(WeightNames.UNEMBEDDING));
    if (unembedding == null) {
      if (!config.unembedding().tied()) {
        throw BadFile.because(
            weights.path(),
            "there is no tensor %s, and tie_word_embeddings is false",
            BadFile.quoted(names.stored(WeightNames.UNEMBEDDING)));
      }
    } else if (config.unembedding().tied()
        && embedding != null
        && !unembedding.sameNumbers(embedding)) {
      throw BadFile.because(
          weights.path(),
          "tensors %s and %s differ, and tie_word_embeddings in %s is true",
          BadFile.quoted(unembedding.name()),
          BadFile.quoted(embedding.name()),
          configFile);
    }
  }
}
