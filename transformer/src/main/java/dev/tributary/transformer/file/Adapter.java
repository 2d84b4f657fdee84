package dev.tributary.transformer.file;

import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.file.AdapterConfig.Biases;
import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * A LoRA adapter as PEFT saves it: {@code adapter_config.json}, and {@code
 * adapter_model.safetensors} or {@code adapter_model.bin}. What it does to a model is in {@link
 * AdaptedWeights}; a tensor that does nothing, or one that is missing, is refused.
 *
 * @see <a href="https://arxiv.org/abs/2106.09685">Hu et al. 2021</a>
 */
public final class Adapter {
  private static final String CONFIG = "adapter_config.json";

  /** Where its tensors are, the one that is taken first. */
  private static final List<String> WEIGHTS =
      List.of("adapter_model.safetensors", "adapter_model.bin");

  private static final WeightNames NAMES = WeightNames.HUGGING_FACE;

  /** What PEFT puts before the name that a module has in its model. */
  private static final String PREFIX = "base_model.model.";

  private static final String WTE = "wte";
  private static final String HEAD = "lm_head";

  /** Modules whose factors are called by other names. */
  private static final Set<String> EMBEDDINGS = Set.of(WTE, "wpe");

  /**
   * What a tensor beside the weights of a module is. Adapters have names, which files leave out.
   */
  private static final Pattern PART =
      Pattern.compile(
          "(.+?)\\.(lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)"
              + "(?:\\.([^.]+?))??(?:\\.(weight|bias))?");

  /** What PEFT puts between a module that it wraps and its weights. */
  private static final Pattern WRAPPED =
      Pattern.compile("(.+?)\\.(base_layer|original_module|modules_to_save(?:\\.default)?)(\\..+)");

  /** What a module has of its own in an adapter. */
  private enum Role {
    A("lora_A"),
    B("lora_B"),
    EMBEDDING_A("lora_embedding_A"),
    EMBEDDING_B("lora_embedding_B"),
    B_BIAS("lora_B.bias"),
    LENGTHS("lora_magnitude_vector");

    private final String word;

    Role(String word) {
      this.word = word;
    }
  }

  private final Path folder;
  private final AdapterConfig config;
  private final TensorFile weights;

  /** Parts of modules by their bare names. */
  private final Map<String, Map<Role, StoredTensor>> parts = new LinkedHashMap<>();

  /** Weights in place of those of the model, by their bare names. */
  private final Map<String, StoredTensor> whole = new LinkedHashMap<>();

  /** Weights that a module trained whole had before, by their bare names. */
  private final Map<String, StoredTensor> original = new LinkedHashMap<>();

  /** Whether the adapted model was one with an unembedding, in which names have a prefix. */
  private final boolean hasHead;

  private Adapter(Path folder) throws IOException {
    this.folder = folder;
    this.config = AdapterConfig.read(folder.resolve(CONFIG));
    this.weights = TensorFile.open(weights(folder));
    this.hasHead = sort();
  }

  private static Path weights(Path folder) throws IOException {
    for (String name : WEIGHTS) {
      if (Files.exists(folder.resolve(name))) {
        return folder.resolve(name);
      }
    }
    throw BadFile.because(
        folder, "there is %s and no %s in this folder", CONFIG, String.join(" or ", WEIGHTS));
  }

  /**
   * Opens an adapter and checks what can be checked without its model.
   *
   * @param folder with its config and its weights
   * @return the adapter, its weights not yet read
   * @throws IOException if a file is missing or broken, or asks for what is not done here
   */
  public static Adapter open(Path folder) throws IOException {
    if (!Files.isDirectory(folder)) {
      throw BadFile.because(
          folder,
          Files.exists(folder)
              ? "this is not a folder, expected one with %s"
              : "there is no such folder, expected one with %s",
          CONFIG);
    }
    if (Files.notExists(folder.resolve(CONFIG))) {
      Optional<Path> below = below(folder);
      throw BadFile.because(
          folder,
          "there is no %s in this folder%s",
          CONFIG,
          below.map(other -> ", but in " + other).orElse(""));
    }
    return new Adapter(folder);
  }

  /** Whether there is an adapter in a folder, or a part of one. */
  static boolean isIn(Path folder) {
    return Files.exists(folder.resolve(CONFIG))
        || WEIGHTS.stream().anyMatch(name -> Files.exists(folder.resolve(name)));
  }

  /**
   * The adapter that belongs to a model.
   *
   * @param model its folder, which may hold an adapter
   * @param named where the user says that it is
   * @throws IOException if there is more than one, or it is not clear whether one belongs to it
   */
  static Optional<Adapter> of(Path model, Optional<Path> named) throws IOException {
    boolean inside = isIn(model);
    if (named.isPresent()) {
      if (inside && !(Files.exists(named.get()) && Files.isSameFile(model, named.get()))) {
        throw BadFile.because(
            model, "there is an adapter in this folder as well as in %s", named.get());
      }
      return Optional.of(open(named.get()));
    }
    if (inside) {
      return Optional.of(open(model));
    }
    Optional<Path> below = below(model);
    if (below.isPresent()) {
      throw BadFile.because(
          model,
          "there is an adapter in %s, which may belong to this model or not: name it (--adapter) or"
              + " move it elsewhere",
          below.get());
    }
    return Optional.empty();
  }

  /** The first of the folders in a folder that holds an adapter. */
  private static Optional<Path> below(Path folder) throws IOException {
    List<Path> found = new ArrayList<>();
    try (DirectoryStream<Path> stream =
        Files.newDirectoryStream(folder, path -> Files.isDirectory(path) && isIn(path))) {
      stream.forEach(found::add);
    } catch (IOException | DirectoryIteratorException e) {
      throw BadFile.causedBy(e, folder, "this folder cannot be read");
    }
    return found.stream().min(Comparator.naturalOrder());
  }

  /** The refusal of an adapter in place of a model. */
  IOException withoutModel() throws IOException {
    String base = config.base();
    return BadFile.because(
        folder,
        "this folder holds an adapter and not the model that it adapts%s: name the folder of that"
            + " model, and this one as its adapter (--model BASE --adapter %s)",
        base.isEmpty() ? "" : ", " + BadFile.quoted(base),
        folder);
  }

  /** {@return where it is} */
  public Path folder() {
    return folder;
  }

  /** {@return what is stored, by the names that the file uses} */
  public TensorFile weights() {
    return weights;
  }

  /** {@return what it is, such as "LoRA of rank 2, alpha 4, scale 2, target_modules ["c_attn"]"} */
  public String description() {
    return "adapter "
        + weights.path().getFileName()
        + ", "
        + weights.summary()
        + ": "
        + config.summary();
  }

  // ---- tensors -----------------------------------------------------------------------------

  /** Finds out what each tensor is, and whether module names have the prefix of a whole model. */
  private boolean sort() throws IOException {
    Set<Boolean> prefixed = new LinkedHashSet<>();
    Set<String> adapters = new LinkedHashSet<>();
    for (String name : weights.names()) {
      StoredTensor tensor = weights.stored(name);
      String inModel = name.startsWith(PREFIX) ? name.substring(PREFIX.length()) : name;
      prefixed.add(inModel.startsWith(NAMES.prefix()) || inModel.startsWith(HEAD + "."));
      if (prefixed.size() > 1) {
        throw because(tensor, "has a name of another model than those before it");
      }
      String bare = NAMES.bare(inModel);
      Matcher part = PART.matcher(bare);
      Matcher wrapped = WRAPPED.matcher(bare);
      if (part.matches()) {
        if (adapters.add(part.group(3) == null ? "" : part.group(3)) && adapters.size() > 1) {
          throw because(tensor, "is of another adapter than those before it");
        }
        Map<Role, StoredTensor> ofModule =
            parts.computeIfAbsent(part.group(1), module -> new EnumMap<>(Role.class));
        if (ofModule.put(role(tensor, part), tensor) != null) {
          throw because(tensor, "is there under another name as well");
        }
      } else if (wrapped.matches()) {
        boolean old = wrapped.group(2).equals("original_module");
        put(old ? original : whole, wrapped.group(1) + wrapped.group(3), tensor);
      } else {
        put(whole, bare, tensor);
      }
    }
    return !prefixed.contains(false);
  }

  private static Role role(StoredTensor tensor, Matcher part) throws IOException {
    String word = part.group(2);
    @Nullable String kind = part.group(4);
    for (Role role : Role.values()) {
      boolean own = role.word.equals(kind == null || kind.equals("weight") ? word : word + ".bias");
      boolean complete = kind != null || (role != Role.A && role != Role.B);
      if (own && complete) {
        return role;
      }
    }
    throw because(tensor, "is unknown: no adapter has a tensor of that name");
  }

  private static void put(Map<String, StoredTensor> tensors, String name, StoredTensor tensor)
      throws IOException {
    StoredTensor other = tensors.putIfAbsent(name, tensor);
    if (other != null && !other.sameNumbers(tensor)) {
      throw because(tensor, "differs from " + BadFile.quoted(other.name()) + " in its place");
    }
  }

  private static IOException because(StoredTensor tensor, String reason) {
    return StoredTensor.because(tensor.path(), tensor.name(), "%s", reason);
  }

  // ---- what they do to a model -------------------------------------------------------------

  /**
   * What it does to a model.
   *
   * @throws IOException if it is an adapter of another model
   */
  AdaptedWeights on(TransformerConfig model) throws IOException {
    Set<String> stored = new LinkedHashSet<>(NAMES.requiredOutside());
    if (hasHead) {
      stored.add(NAMES.stored(WeightNames.UNEMBEDDING));
    }
    for (int layer = 0; layer < model.layers().size(); layer++) {
      stored.addAll(NAMES.required(layer));
    }
    Set<String> modules = new LinkedHashSet<>();
    stored.forEach(name -> modules.add(module(name)));

    AdaptedWeights result = new AdaptedWeights(model, description());
    for (String module : modules) {
      addFactors(module, result);
    }
    for (Map.Entry<String, Map<Role, StoredTensor>> entry : parts.entrySet()) {
      if (!modules.contains(entry.getKey())) {
        throw because(
            entry.getValue().values().iterator().next(),
            "is of a module that the model does not have");
      }
    }
    for (String name : stored) {
      StoredTensor tensor = whole.get(name);
      boolean expected = isExpected(name);
      if (tensor == null && expected) {
        throw BadFile.because(
            weights.path(),
            "there is no tensor for %s, which %s says was trained",
            BadFile.quoted(name),
            config.path());
      }
      if (tensor != null) {
        if (!expected && !isTable(name)) {
          throw because(tensor, "is of a weight that " + config.path() + " does not name");
        }
        result.replace(name, tensor, !config.saves(key(module(name))));
      }
    }
    requireNothingElse(stored, model);
    if (result.unties() && config.tied()) {
      throw BadFile.because(
          config.path(),
          "ensure_weight_tying is true, expected false where the token embedding or the unembedding"
              + " is adapted");
    }
    return result;
  }

  private static String module(String stored) {
    return stored.substring(0, stored.lastIndexOf('.'));
  }

  private static boolean isBias(String stored) {
    return stored.endsWith(".bias");
  }

  /** PEFT keeps them if it was told to, which no config says. */
  private static boolean isTable(String stored) {
    return List.of(WTE, HEAD).contains(module(stored));
  }

  /** What a module is called in the model that was adapted. */
  private String key(String module) {
    return hasHead && !module.equals(HEAD) ? NAMES.prefix() + module : module;
  }

  private boolean isTarget(String module) throws IOException {
    return config.targets(key(module), NAMES.layer(module + ".weight"));
  }

  /** Whether a weight, by its bare name, was trained as it is. */
  private boolean isExpected(String stored) throws IOException {
    String module = module(stored);
    if (config.saves(key(module))) {
      return true;
    }
    return isBias(stored)
        && (config.biases() == Biases.ALL
            || (config.biases() == Biases.LORA_ONLY && isTarget(module)));
  }

  private void addFactors(String module, AdaptedWeights result) throws IOException {
    Map<Role, StoredTensor> found = parts.getOrDefault(module, Map.of());
    if (!isTarget(module)) {
      if (!found.isEmpty()) {
        throw because(
            found.values().iterator().next(),
            "is of a module that " + config.path() + " does not name");
      }
      return;
    }
    boolean embedding = EMBEDDINGS.contains(module);
    Role first = embedding ? Role.EMBEDDING_A : Role.A;
    Role second = embedding ? Role.EMBEDDING_B : Role.B;
    Set<Role> expected = EnumSet.of(first, second);
    if (config.dora()) {
      expected.add(Role.LENGTHS);
    }
    if (config.loraBias()) {
      expected.add(Role.B_BIAS);
    }
    for (Role role : Role.values()) {
      if (expected.contains(role) && !found.containsKey(role)) {
        throw BadFile.because(
            weights.path(),
            "there is no tensor %s of module %s, which %s names",
            role.word,
            BadFile.quoted(key(module)),
            config.path());
      }
      if (found.containsKey(role) && !expected.contains(role)) {
        throw because(
            found.get(role), "is not what " + config.path() + " says that this module has");
      }
    }
    int rank = config.rank(key(module));
    double scale = config.scale(key(module));
    result.add(
        module + ".weight",
        Objects.requireNonNull(found.get(first)),
        Objects.requireNonNull(found.get(second)),
        rank,
        scale,
        Optional.ofNullable(found.get(Role.LENGTHS)));
    if (config.loraBias()) {
      StoredTensor bias = Objects.requireNonNull(found.get(Role.B_BIAS));
      if (module.equals(HEAD) || embedding) {
        throw because(bias, "is a bias of a module that has none");
      }
      result.addBias(module + ".bias", bias, scale);
    }
  }

  private void requireNothingElse(Set<String> stored, TransformerConfig model) throws IOException {
    for (Map.Entry<String, StoredTensor> entry : whole.entrySet()) {
      String name = entry.getKey();
      boolean mask =
          config.biases() == Biases.ALL
              && NAMES.isKnown(name)
              && NAMES.layer(name) < model.layers().size();
      if (!stored.contains(name) && !mask) {
        throw because(entry.getValue(), "is unknown: the model has no weight of that name");
      }
    }
    for (Map.Entry<String, StoredTensor> entry : original.entrySet()) {
      if (!stored.contains(entry.getKey()) || !config.saves(key(module(entry.getKey())))) {
        throw because(entry.getValue(), "is of a module that was not trained whole");
      }
    }
  }
}
