package dev.tributary.transformer.file;

import dev.tributary.core.DType;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Slot;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.Weight;
import dev.tributary.transformer.family.Architecture;
import dev.tributary.transformer.family.Architectures;
import dev.tributary.transformer.family.GgufFamily;
import dev.tributary.transformer.family.Layout;
import dev.tributary.transformer.family.Spelling;
import dev.tributary.transformer.family.Tensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A model on disk: its sizes, and where its weights lie. All names are checked when it is opened: a
 * weight that nobody reads would be a silently different model.
 */
public final class Checkpoint {
  private static final String CONFIG = "config.json";

  /** Largest config.json, bytes; they have a few thousand. */
  private static final int CONFIG_LIMIT = 1 << 20;

  /** Where a Hugging Face folder has its weights, the one that is taken first. */
  private static final List<String> WEIGHTS =
      List.of(
          "model.safetensors",
          "model.safetensors.index.json",
          "pytorch_model.bin",
          "pytorch_model.bin.index.json");

  private final Path folder;
  private final JsonFile json;
  private final TensorFile weights;

  /** As it is stored, without an adapter. */
  private final TransformerConfig config;

  /** Of the config, and of an unembedding whether or not it is tied. */
  private final Layout layout;

  private final Optional<Adapter> adapter;
  private final Optional<AdaptedWeights> adapted;

  /** By their bare names. */
  private final Map<String, StoredTensor> stored = new HashMap<>();

  private Checkpoint(
      Path folder, JsonFile json, Architecture family, Opened opened, Optional<Adapter> adapter)
      throws IOException {
    this.folder = folder;
    this.json = json;
    this.config = family.config(json, opened);
    this.weights = opened.file();
    requireLayers(family);
    this.layout = Layout.of(family, config.tied(false));
    this.adapter = adapter;
    this.adapted =
        adapter.isEmpty() ? Optional.empty() : Optional.of(adapter.get().on(config, family));
    requireNames();
    requireTie();
  }

  /**
   * Opens a model:
   *
   * <ul>
   *   <li>a Hugging Face folder of a known family, with {@code config.json} and weights in {@code
   *       model.safetensors}, in {@code pytorch_model.bin}, or in several such files and their
   *       {@code .index.json}
   *   <li>a checkpoint of transformer-debugger, with {@code config.json} and {@code model_pieces}
   *   <li>a file with weights in either format, {@code config.json} beside it
   *   <li>a GGUF file of a known architecture; of several into which one was split, any
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
    if (Gguf.isOne(path)) {
      return open(Gguf.open(path), adapter);
    }
    if (Files.notExists(folder.resolve(CONFIG))) {
      throw BadFile.because(
          path,
          isFolder ? "there is no %s in this folder" : "there is no %s beside this file",
          CONFIG);
    }
    JsonFile json = json(folder.resolve(CONFIG));
    Architecture family = Architectures.of(json);
    Opened weights = new Opened(() -> weights(path, folder, family));
    return new Checkpoint(folder, json, family, weights, adapter);
  }

  /** A file that has its config among its metadata. */
  private static Checkpoint open(Gguf file, Optional<Adapter> adapter) throws IOException {
    JsonFile metadata = file.json(key -> !key.startsWith("tokenizer."));
    GgufFamily family = Architectures.ofGguf(metadata);
    JsonFile config = JsonFile.of(file.path(), family.said(metadata, file));
    return new Checkpoint(file.path(), config, family, new Opened(() -> file), adapter);
  }

  /** The weights, once they are asked for: a config is refused before anyone looks for them. */
  private static final class Opened implements Tensors {
    /** Opens them. */
    @FunctionalInterface
    interface Source {
      TensorFile open() throws IOException;
    }

    private final Source source;
    private @Nullable TensorFile file;

    Opened(Source source) {
      this.source = source;
    }

    TensorFile file() throws IOException {
      if (file == null) {
        file = source.open();
      }
      return file;
    }

    @Override
    public boolean contains(String name) throws IOException {
      return file().contains(name);
    }

    @Override
    public double[] numbers(String name, int size) throws IOException {
      return file().numbers(name, size);
    }

    @Override
    public Shape shape(String name, int rank) throws IOException {
      return file().shape(name, rank);
    }

    @Override
    public boolean sameNumbers(String left, String right) throws IOException {
      return file().sameNumbers(left, right);
    }
  }

  private static TensorFile weights(Path path, Path folder, Architecture family)
      throws IOException {
    if (family.pieces().isPresent()) {
      String pieces = family.pieces().get();
      if (!Files.isDirectory(folder.resolve(pieces))) {
        throw BadFile.because(folder, "there is no folder %s in this folder", pieces);
      }
      return TensorFolder.pieces(folder.resolve(pieces));
    }
    boolean whole = Files.isDirectory(path) || path.endsWith(CONFIG);
    return TensorFile.open(whole ? weights(folder) : path);
  }

  /** A config.json of any family. */
  static JsonFile json(Path file) throws IOException {
    return JsonFile.read(file, CONFIG_LIMIT);
  }

  /** Whether there are weights in a folder, to judge by names. */
  static boolean hasWeights(Path folder) {
    return Stream.concat(
            WEIGHTS.stream(),
            Architectures.all().stream().flatMap(family -> family.pieces().stream()))
        .anyMatch(name -> Files.exists(folder.resolve(name)));
  }

  /** The file with the weights in a Hugging Face folder, or the index of several. */
  static Path weights(Path folder) throws IOException {
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

  /**
   * {@return the tokenizer that lies with it}
   *
   * @throws IOException as {@link Tokenizers#load(Path)}
   */
  public Tokenizer tokenizer() throws IOException {
    return Tokenizers.load(folder);
  }

  /** {@return its sizes, with its adapter} */
  public TransformerConfig config() {
    return adapted.map(AdaptedWeights::config).orElse(config);
  }

  /** Whose files they are. */
  Architecture family() {
    return layout.family();
  }

  /** Its config.json, where only the tie of embedding and unembedding may be another. */
  Map<String, Object> config(TransformerConfig adapted) {
    Map<String, Object> said = new LinkedHashMap<>();
    json.root().properties().forEach(entry -> said.put(entry.getKey(), entry.getValue()));
    said.put("tie_word_embeddings", adapted.unembedding().tied());
    return said;
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
    return layout.family().kind()
        + ", "
        + weights.path().getFileName()
        + ", "
        + weights.summary()
        + adapted.map(with -> ", merged with " + with.description()).orElse("");
  }

  /**
   * One weight, in the innermost open scope.
   *
   * @throws IOException if its shape is another one, or a number is infinite or NaN
   */
  Tensor read(Slot slot, DType dtype, Widening widening) throws IOException {
    Layout.Entry entry = layout.of(slot);
    StoredTensor tensor = stored(entry);
    if (!tensor.shape().equals(entry.stored())) {
      throw StoredTensor.because(
          tensor.path(),
          tensor.name(),
          "is %s, and %s says %s (%s)",
          tensor.shape(),
          json.path(),
          entry.stored(),
          entry.keys());
    }
    StoredTensor weight = tensor.weight(entry, slot);
    if (adapted.isPresent()) {
      return adapted.get().read(slot, weight, dtype); // looks at its numbers itself
    }
    Tensor result = keeps(slot, weight.type(), widening) ? weight.keep(dtype) : weight.read(dtype);
    if (!result.isFinite()) {
      throw StoredTensor.because(
          tensor.path(), tensor.name(), "holds a number that is infinite or NaN");
    }
    return result;
  }

  /**
   * Whether a weight stays in memory as it is stored. BF16 does always: it is widened on the way to
   * the processor for next to nothing.
   */
  private static boolean keeps(Slot slot, ElementType type, Widening widening) {
    boolean isMatrix =
        slot.weight().role() == Weight.Role.MATRIX || slot.weight().role() == Weight.Role.TABLE;
    return isMatrix && (type == ElementType.BF16 || widening == Widening.NEVER);
  }

  /** What all weights take in a type of numbers, bytes. */
  long bytes(DType dtype) {
    return config().slots().stream().mapToLong(slot -> slot.shape().length()).sum() * dtype.bytes();
  }

  /** An unembedding that an adapter untied begins as the token embedding. */
  private StoredTensor stored(Layout.Entry entry) throws IOException {
    boolean shared =
        entry.weight() == Weight.UNEMBEDDING
            && config.unembedding().tied()
            && !config().unembedding().tied();
    Layout.Entry own = shared ? layout.of(Weight.TOKEN_EMBEDDING) : entry;
    StoredTensor tensor = stored.get(own.name());
    if (tensor == null) {
      throw BadFile.because(weights.path(), "there is no tensor %s", BadFile.quoted(own.name()));
    }
    return tensor;
  }

  /** The type that holds all weights of a tensor as they are stored. */
  ElementType type(Layout.Entry written) throws IOException {
    Set<ElementType> types = EnumSet.noneOf(ElementType.class);
    for (Slot slot : written.slots()) {
      types.add(stored(layout.of(slot)).type());
    }
    return ElementType.holding(types);
  }

  /** A config of many layers is not believed before the first missing one has been looked for. */
  private void requireLayers(Architecture family) throws IOException {
    Weight weight =
        config.slots().stream()
            .filter(one -> one.weight().perLayer())
            .findFirst()
            .orElseThrow()
            .weight();
    Spelling first =
        family.spellings(config).stream()
            .filter(one -> one.weight() == weight)
            .findFirst()
            .orElseThrow();
    for (int layer = 0; layer < config.layers().size(); layer++) {
      String name = first.name(layer);
      if (!weights.contains(name) && !weights.contains(family.prefix() + name)) {
        throw missing(name);
      }
    }
  }

  /** All that is there has to be known, and all that is needed there. */
  private void requireNames() throws IOException {
    for (String name : weights.names()) {
      StoredTensor tensor = weights.stored(name);
      String bare = layout.bare(name);
      if (!layout.has(bare)) {
        throw StoredTensor.because(
            tensor.path(),
            name,
            "is unknown: %s has no weight of that name, and by %s there are %d layers",
            layout.family().kind(),
            json.path(),
            config.layers().size());
      }
      if (stored.put(bare, tensor) != null) {
        throw StoredTensor.because(
            tensor.path(), bare, "is there with and without %s", layout.family().prefix());
      }
    }
    for (Layout.Entry entry : layout.entries()) {
      if (entry.weight() != Weight.UNEMBEDDING && !stored.containsKey(entry.name())) {
        throw missing(entry.name());
      }
    }
  }

  private IOException missing(String name) {
    return BadFile.because(
        weights.path(),
        "there is no tensor %s, which a model of %d layers has",
        BadFile.quoted(name),
        config.layers().size());
  }

  private void requireTie() throws IOException {
    StoredTensor embedding = stored(layout.of(Weight.TOKEN_EMBEDDING));
    String name = layout.of(Weight.UNEMBEDDING).name();
    StoredTensor unembedding = stored.get(name);
    if (unembedding == null) {
      if (!config.unembedding().tied()) {
        throw BadFile.because(
            weights.path(),
            "there is no tensor %s, and tie_word_embeddings is false",
            BadFile.quoted(name));
      }
    } else if (config.unembedding().tied() && !unembedding.sameNumbers(embedding)) {
      throw BadFile.because(
          weights.path(),
          "tensors %s and %s differ, and tie_word_embeddings in %s is true",
          BadFile.quoted(unembedding.name()),
          BadFile.quoted(embedding.name()),
          json.path());
    }
  }
}
