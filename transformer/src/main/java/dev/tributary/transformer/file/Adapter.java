package dev.tributary.transformer.file;

import dev.tributary.transformer.Slot;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.Weight;
import dev.tributary.transformer.family.Architecture;
import dev.tributary.transformer.family.Layout;
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
import java.util.HashSet;
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

  /** What PEFT puts before the name that a module has in its model. */
  private static final String PREFIX = "base_model.model.";

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

  /** Parts of modules, by what these are called in the model that was adapted. */
  private final Map<String, Map<Role, StoredTensor>> parts = new LinkedHashMap<>();

  /** Weights in place of those of the model, by what these are called in it. */
  private final Map<String, StoredTensor> whole = new LinkedHashMap<>();

  /** The same that a module trained whole had before. */
  private final Map<String, StoredTensor> original = new LinkedHashMap<>();

  private Adapter(Path folder) throws IOException {
    this.folder = folder;
    this.config = AdapterConfig.read(folder.resolve(CONFIG));
    this.weights = TensorFile.open(weights(folder));
    sort();
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

  /** Finds out what each tensor is. */
  private void sort() throws IOException {
    Set<String> adapters = new LinkedHashSet<>();
    for (String name : weights.names()) {
      StoredTensor tensor = weights.stored(name);
      String called = called(name);
      Matcher part = PART.matcher(called);
      Matcher wrapped = WRAPPED.matcher(called);
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
        put(whole, called, tensor);
      }
    }
  }

  private static String called(String name) {
    return name.startsWith(PREFIX) ? name.substring(PREFIX.length()) : name;
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
   * @param family whose files the model was read from
   * @throws IOException if it is an adapter of another model
   */
  AdaptedWeights on(TransformerConfig model, Architecture family) throws IOException {
    Layout layout = Layout.of(family.written(), model.tied(false));
    AdaptedWeights result = new AdaptedWeights(model, layout, description());
    new Adapted(layout, result).find();
    if (result.unties() && config.tied()) {
      throw BadFile.because(
          config.path(),
          "ensure_weight_tying is true, expected false where the token embedding or the unembedding"
              + " is adapted");
    }
    return result;
  }

  /** What it does to the tensors of a model that is laid out like the one that was adapted. */
  private final class Adapted {
    private final Layout layout;
    private final AdaptedWeights result;

    /** Of the adapted model, by what they are called in it. */
    private final Map<String, Layout.Entry> entries = new LinkedHashMap<>();

    /** Modules by what they are called, each with its weight and perhaps its bias. */
    private final Map<String, List<Layout.Entry>> modules = new LinkedHashMap<>();

    private final Set<String> constants = new HashSet<>();

    Adapted(Layout layout, AdaptedWeights result) throws IOException {
      this.layout = layout;
      this.result = result;
      boolean hasHead = hasHead();
      for (Layout.Entry entry : layout.entries()) {
        if (hasHead || !entry.isOfHead()) {
          String name = hasHead ? layout.whole(entry) : entry.name();
          entries.put(name, entry);
          modules.computeIfAbsent(module(name), module -> new ArrayList<>()).add(entry);
        }
      }
      for (String constant : layout.constants()) {
        constants.add(hasHead ? layout.family().prefix() + constant : constant);
      }
    }

    /** Whether the adapted model was one with an unembedding, in which names have a prefix. */
    private boolean hasHead() throws IOException {
      String prefix = layout.family().prefix();
      String head = module(layout.of(Weight.UNEMBEDDING).name()) + ".";
      Set<Boolean> found = new HashSet<>();
      for (String name : weights.names()) {
        found.add(called(name).startsWith(prefix) || called(name).startsWith(head));
        if (found.size() > 1) {
          throw because(weights.stored(name), "has a name of another model than those before it");
        }
      }
      return !found.contains(false);
    }

    void find() throws IOException {
      for (String module : modules.keySet()) {
        addFactors(module);
      }
      for (Map.Entry<String, Map<Role, StoredTensor>> entry : parts.entrySet()) {
        if (!modules.containsKey(entry.getKey())) {
          throw because(
              entry.getValue().values().iterator().next(),
              "is of a module that the model does not have");
        }
      }
      for (Map.Entry<String, Layout.Entry> entry : entries.entrySet()) {
        replace(entry.getKey(), entry.getValue());
      }
      requireNothingElse();
    }

    private void replace(String name, Layout.Entry entry) throws IOException {
      StoredTensor tensor = whole.get(name);
      boolean expected = isExpected(name, entry);
      if (tensor == null && expected) {
        throw BadFile.because(
            weights.path(),
            "there is no tensor for %s, which %s says was trained",
            BadFile.quoted(entry.name()),
            config.path());
      }
      if (tensor != null) {
        // PEFT keeps tables if it was told to, which no config says.
        if (!expected && !AdaptedWeights.isTable(entry)) {
          throw because(tensor, "is of a weight that " + config.path() + " does not name");
        }
        result.replace(entry, tensor, !config.saves(module(name)));
      }
    }

    private static String module(String name) {
      return name.substring(0, name.lastIndexOf('.'));
    }

    private Layout.Entry weight(String module) {
      return Objects.requireNonNull(modules.get(module)).get(0);
    }

    private boolean isTarget(String module) throws IOException {
      Slot slot = weight(module).slots().get(0);
      return config.targets(module, slot, layout.family().adapted());
    }

    /** Whether a weight was trained as it is. */
    private boolean isExpected(String name, Layout.Entry entry) throws IOException {
      String module = module(name);
      if (config.saves(module)) {
        return true;
      }
      return entry.weight().role() == Weight.Role.BIAS
          && (config.biases() == Biases.ALL
              || (config.biases() == Biases.LORA_ONLY && isTarget(module)));
    }

    private void addFactors(String module) throws IOException {
      Map<Role, StoredTensor> found = parts.getOrDefault(module, Map.of());
      if (!isTarget(module)) {
        if (!found.isEmpty()) {
          throw because(
              found.values().iterator().next(),
              "is of a module that " + config.path() + " does not name");
        }
        return;
      }
      Layout.Entry weight = weight(module);
      boolean embedding =
          weight.weight().role() == Weight.Role.TABLE && weight.weight() != Weight.UNEMBEDDING;
      Role first = embedding ? Role.EMBEDDING_A : Role.A;
      Role second = embedding ? Role.EMBEDDING_B : Role.B;
      requireParts(module, found, first, second);
      double scale = config.scale(module);
      result.add(
          weight,
          Objects.requireNonNull(found.get(first)),
          Objects.requireNonNull(found.get(second)),
          config.rank(module),
          scale,
          Optional.ofNullable(found.get(Role.LENGTHS)));
      if (config.loraBias()) {
        StoredTensor bias = Objects.requireNonNull(found.get(Role.B_BIAS));
        List<Layout.Entry> both = Objects.requireNonNull(modules.get(module));
        if (both.size() < 2) {
          throw because(bias, "is a bias of a module that has none");
        }
        result.addBias(both.get(1), bias, scale);
      }
    }

    private void requireParts(String module, Map<Role, StoredTensor> found, Role first, Role second)
        throws IOException {
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
              BadFile.quoted(module),
              config.path());
        }
        if (found.containsKey(role) && !expected.contains(role)) {
          throw because(
              found.get(role), "is not what " + config.path() + " says that this module has");
        }
      }
    }

    private void requireNothingElse() throws IOException {
      for (Map.Entry<String, StoredTensor> entry : whole.entrySet()) {
        boolean mask = config.biases() == Biases.ALL && constants.contains(entry.getKey());
        if (!entries.containsKey(entry.getKey()) && !mask) {
          throw because(entry.getValue(), "is unknown: the model has no weight of that name");
        }
      }
      for (Map.Entry<String, StoredTensor> entry : original.entrySet()) {
        String name = entry.getKey();
        if (!entries.containsKey(name) || !config.saves(module(name))) {
          throw because(entry.getValue(), "is of a module that was not trained whole");
        }
      }
    }
  }
}
