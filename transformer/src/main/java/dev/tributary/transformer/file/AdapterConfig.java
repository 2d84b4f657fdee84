package dev.tributary.transformer.file;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ContainerNode;
import dev.tributary.transformer.Slot;
import dev.tributary.transformer.Weight;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

/**
 * What an {@code adapter_config.json} of PEFT says: which modules are adapted, and how. Modules are
 * called as in the model that was adapted, {@code transformer.h.0.attn.c_attn}. Every option that
 * can change a number is followed or refused by its name.
 *
 * @see <a href="https://github.com/huggingface/peft">PEFT, check_target_module_exists,
 *     get_pattern_key</a>
 */
final class AdapterConfig {
  /** Largest config, bytes; they have a few thousand. */
  private static final int FILE_LIMIT = 1 << 20;

  /** Most entries of a list or an object; there is at most one for each module. */
  private static final int ENTRIES_LIMIT = 2000;

  /** Longest pattern, characters. */
  private static final int PATTERN_LIMIT = 10_000;

  /** Rank and alpha where the config has none. */
  private static final int DEFAULT = 8;

  private static final String TYPE = "peft_type";
  private static final String RANK = "r";
  private static final String ALPHA = "lora_alpha";
  private static final String RANKS = "rank_pattern";
  private static final String ALPHAS = "alpha_pattern";
  private static final String TARGETS = "target_modules";
  private static final String EXCLUDED = "exclude_modules";
  private static final String SAVED = "modules_to_save";
  private static final String LAYERS = "layers_to_transform";
  private static final String LAYER_LIST = "layers_pattern";
  private static final String BIAS = "bias";
  private static final String BEGINNING = "init_lora_weights";
  private static final String DORA = "use_dora";
  private static final String ROOT = "use_rslora";
  private static final String LORA_BIAS = "lora_bias";
  private static final String TIED = "ensure_weight_tying";
  private static final String BASE = "base_model_name_or_path";

  private static final Set<String> FOLLOWED =
      Set.of(
          TYPE,
          RANK,
          ALPHA,
          RANKS,
          ALPHAS,
          TARGETS,
          EXCLUDED,
          SAVED,
          LAYERS,
          LAYER_LIST,
          BIAS,
          BEGINNING,
          DORA,
          ROOT,
          LORA_BIAS,
          TIED,
          BASE);

  /**
   * What changes no number of a trained adapter. {@code fan_in_fan_out} follows from the kind of a
   * module, and the settings of ways to begin are void unless {@code init_lora_weights} names one.
   */
  private static final Set<String> IGNORED =
      Set.of(
          "auto_mapping",
          "corda_config",
          "eva_config",
          "fan_in_fan_out",
          "inference_mode",
          "loftq_config",
          "lora_dropout",
          "lora_ga_config",
          "megatron_core",
          "merge_weights",
          "peft_version",
          "qalora_group_size",
          "revision",
          "runtime_config",
          "task_type");

  /** Ways to begin that leave the base as it is. */
  private static final Set<String> BEGINNINGS = Set.of("gaussian", "eva", "orthogonal", "mica");

  /** The linear maps of all layers, as a text in place of target modules. */
  private static final String ALL_LINEAR = "all-linear";

  /** Which biases were trained. */
  enum Biases {
    NONE,
    ALL,
    LORA_ONLY
  }

  /** Modules that a config names by their own names, or the ends of these, or by a pattern. */
  private record Names(Set<String> names, Optional<PythonPattern> pattern) {
    boolean contain(String module) {
      if (pattern.isPresent()) {
        return pattern.get().matches(module);
      }
      for (int from = 0; from >= 0; from = module.indexOf('.', from) + 1) {
        if (names.contains(module.substring(from))) {
          return true;
        }
        if (module.indexOf('.', from) < 0) {
          break;
        }
      }
      return false;
    }
  }

  /** A value for the modules whose name, or its end, matches a pattern. */
  private record Choice(String key, PythonPattern pattern, double value) {}

  private final JsonFile json;
  private final int rank;
  private final double alpha;
  private final boolean root;
  private final boolean dora;
  private final boolean loraBias;
  private final Biases biases;
  private final boolean allLinear;
  private final Names targets;
  private final Names excluded;
  private final Set<String> saved;

  /** Those that are adapted, or all if there are none. */
  private final Set<Integer> layers;

  private final List<PythonPattern> layerLists;
  private final List<Choice> ranks;
  private final List<Choice> alphas;

  private AdapterConfig(JsonFile json) throws IOException {
    this.json = json;
    if (!json.text(TYPE, "").equals("LORA")) {
      throw json.wrong(TYPE, "LORA");
    }
    requireKnown();
    requireBeginning();
    rank = json.positive(RANK, DEFAULT);
    alpha = json.number(ALPHA, DEFAULT);
    root = json.flag(ROOT, false);
    dora = json.flag(DORA, false);
    loraBias = json.flag(LORA_BIAS, false);
    if (loraBias && dora) {
      throw json.wrong(LORA_BIAS, "false where use_dora is true");
    }
    biases = trained();
    allLinear = allLinear();
    targets = allLinear ? new Names(Set.of(), Optional.empty()) : names(TARGETS);
    excluded = names(EXCLUDED);
    saved = Set.copyOf(plain(SAVED));
    layers = layers();
    layerLists = layerLists();
    ranks = choices(RANKS);
    alphas = choices(ALPHAS);
  }

  static AdapterConfig read(Path file) throws IOException {
    return new AdapterConfig(JsonFile.read(file, FILE_LIMIT));
  }

  // ---- reading -----------------------------------------------------------------------------

  /** Options of other versions and variants do no harm while they ask for nothing. */
  private void requireKnown() throws IOException {
    for (Map.Entry<String, JsonNode> entry : json.root().properties()) {
      String key = entry.getKey();
      JsonNode value = entry.getValue();
      boolean empty =
          value.isNull()
              || (value.isBoolean() && !value.booleanValue())
              || (value instanceof ContainerNode && value.isEmpty());
      if (!empty && !FOLLOWED.contains(key) && !IGNORED.contains(key)) {
        throw json.wrong(key, "nothing: this option of an adapter cannot be followed");
      }
    }
  }

  private void requireBeginning() throws IOException {
    JsonNode value = json.root().get(BEGINNING);
    boolean plain =
        value == null
            || value.isNull()
            || value.isBoolean()
            || (value.isTextual()
                && BEGINNINGS.contains(value.textValue().toLowerCase(Locale.ROOT)));
    if (!plain) {
      throw json.wrong(
          BEGINNING,
          "true, false or one of "
              + String.join(", ", new TreeSet<>(BEGINNINGS))
              + ": others change the base model that the adapter belongs to");
    }
  }

  private Biases trained() throws IOException {
    String word = json.text(BIAS, "none");
    for (Biases value : Biases.values()) {
      if (value.name().toLowerCase(Locale.ROOT).equals(word)) {
        return value;
      }
    }
    throw json.wrong(BIAS, "none, all or lora_only");
  }

  private boolean allLinear() throws IOException {
    return json.has(TARGETS)
        && json.root().get(TARGETS).isTextual()
        && json.text(TARGETS, "").toLowerCase(Locale.ROOT).equals(ALL_LINEAR);
  }

  /** A pattern if it is a text, as many names if it is a list. */
  private Names names(String key) throws IOException {
    if (json.has(key) && json.root().get(key).isTextual()) {
      String pattern = json.text(key, "");
      return new Names(
          Set.of(),
          pattern.isEmpty() ? Optional.empty() : Optional.of(pattern(json, key, pattern)));
    }
    return new Names(Set.copyOf(texts(key)), Optional.empty());
  }

  private List<String> texts(String key) throws IOException {
    List<String> result = json.has(key) ? json.texts(key) : List.of();
    if (result.size() > ENTRIES_LIMIT) {
      throw BadFile.because(
          json.path(), "%s has %d entries, expected at most %d", key, result.size(), ENTRIES_LIMIT);
    }
    return result;
  }

  /** Names that PEFT puts into patterns of its own, and so must mean themselves there. */
  private List<String> plain(String key) throws IOException {
    List<String> result = texts(key);
    for (String name : result) {
      if (!name.matches("[A-Za-z0-9_.]+")) {
        throw json.wrong(key, "a list of names of modules");
      }
    }
    return result;
  }

  private Set<Integer> layers() throws IOException {
    if (!json.has(LAYERS)) {
      return Set.of();
    }
    if (json.root().get(TARGETS) != null && json.root().get(TARGETS).isTextual()) {
      throw json.wrong(LAYERS, "nothing where target_modules is a text");
    }
    JsonNode value = json.root().get(LAYERS);
    Set<Integer> result = new TreeSet<>();
    for (JsonNode layer : value.isArray() ? value : List.of(value)) {
      if (!layer.isInt() || layer.intValue() < 0 || result.size() > ENTRIES_LIMIT) {
        throw json.wrong(LAYERS, "a layer or a list of layers, counted from 0");
      }
      result.add(layer.intValue());
    }
    return result;
  }

  private List<PythonPattern> layerLists() throws IOException {
    JsonNode value = json.root().get(LAYER_LIST);
    boolean one = value != null && value.isTextual() && !value.textValue().isEmpty();
    boolean none = value != null && value.isTextual() && value.textValue().isEmpty();
    List<String> names = one ? List.of(value.textValue()) : none ? List.of() : plain(LAYER_LIST);
    if (!names.isEmpty() && layers.isEmpty()) {
      throw json.wrong(LAYER_LIST, "nothing where layers_to_transform names none");
    }
    List<PythonPattern> result = new ArrayList<>();
    if (names.isEmpty()) {
      result.add(pattern(json, LAYER_LIST, ".*?\\.[^.]*\\.\\d+\\."));
    }
    for (String name : names) {
      if (!name.matches("[A-Za-z0-9_.]+")) {
        throw json.wrong(LAYER_LIST, "the name of a list of layers");
      }
      result.add(pattern(json, LAYER_LIST, "(?:^|.*?\\.)" + name + "\\.\\d+\\."));
    }
    return result;
  }

  private List<Choice> choices(String key) throws IOException {
    List<Choice> result = new ArrayList<>();
    if (!json.has(key)) {
      return result;
    }
    JsonFile object = json.object(key);
    for (Map.Entry<String, JsonNode> entry : object.root().properties()) {
      if (result.size() == ENTRIES_LIMIT) {
        throw BadFile.because(json.path(), "%s has more than %d entries", key, ENTRIES_LIMIT);
      }
      String name = entry.getKey();
      double value = key.equals(RANKS) ? object.positive(name) : object.number(name, Double.NaN);
      if (Double.isNaN(value)) {
        throw object.wrong(name, "a number");
      }
      result.add(new Choice(name, pattern(object, name, "(.*\\.)?(" + name + ")$"), value));
    }
    return result;
  }

  private static PythonPattern pattern(JsonFile json, String key, String pattern)
      throws IOException {
    try {
      if (pattern.length() > PATTERN_LIMIT) {
        throw new IllegalArgumentException("it is longer than " + PATTERN_LIMIT + " characters");
      }
      return PythonPattern.of(pattern);
    } catch (IllegalArgumentException e) {
      throw BadFile.causedBy(
          e,
          json.path(),
          "a pattern in %s cannot be followed: %s",
          BadFile.shortened(key),
          String.valueOf(e.getMessage()));
    }
  }

  // ---- asking ------------------------------------------------------------------------------

  Path path() {
    return json.path();
  }

  /** The model that was adapted, as the config calls it; empty if it does not. */
  String base() throws IOException {
    return json.text(BASE, "");
  }

  boolean dora() {
    return dora;
  }

  /** Whether the second factor has a bias. */
  boolean loraBias() {
    return loraBias;
  }

  Biases biases() {
    return biases;
  }

  /** Whether embeddings and unembedding, if they were the same, were adapted as the same. */
  boolean tied() throws IOException {
    return json.flag(TIED, false);
  }

  /**
   * Whether a module has factors.
   *
   * @param weight that the module has
   * @param otherwise the modules that have if the config does not say which
   */
  boolean targets(String module, Slot weight, List<String> otherwise) throws IOException {
    try {
      if (excluded.contain(module) || isInsideSaved(module)) {
        return false;
      }
      if (allLinear) {
        return weight.weight().role() == Weight.Role.MATRIX;
      }
      Names named =
          json.has(TARGETS) ? targets : new Names(Set.copyOf(otherwise), Optional.empty());
      boolean whole = named.pattern.isPresent() || named.names.contains(module);
      boolean layer = weight.weight().perLayer() && layers.contains(weight.layer());
      return named.contain(module)
          && (whole
              || layers.isEmpty()
              || (layer && layerLists.stream().anyMatch(list -> list.matchesBeginning(module))));
    } catch (IllegalArgumentException e) {
      throw tooLong(e, module);
    }
  }

  private boolean isInsideSaved(String module) {
    String dotted = "." + module + ".";
    return saved.stream().anyMatch(name -> dotted.contains("." + name + "."));
  }

  /** Whether a module, or one that it lies in, was trained whole. */
  boolean saves(String module) {
    for (int end = 0; end >= 0 && end <= module.length(); end = next(module, end)) {
      String part = module.substring(0, end);
      if (!part.isEmpty() && saved.stream().anyMatch(part::endsWith)) {
        return true;
      }
    }
    return false;
  }

  private static int next(String module, int end) {
    if (end == module.length()) {
      return -1;
    }
    int dot = module.indexOf('.', end + 1);
    return dot < 0 ? module.length() : dot;
  }

  /** How many columns the factors of a module have in between. */
  int rank(String module) throws IOException {
    return (int) chosen(ranks, module, rank);
  }

  /** What the product of a module's factors is multiplied by. */
  double scale(String module) throws IOException {
    return scale(chosen(alphas, module, alpha), rank(module));
  }

  private double scale(double numerator, int size) {
    return numerator / (root ? Math.sqrt(size) : size);
  }

  private double chosen(List<Choice> choices, String module, double otherwise) throws IOException {
    try {
      for (Choice choice : choices) {
        if (choice.pattern.matchesBeginning(module)) {
          return choice.value;
        }
      }
    } catch (IllegalArgumentException e) {
      throw tooLong(e, module);
    }
    return choices.stream()
        .filter(choice -> choice.key.equals(module))
        .mapToDouble(Choice::value)
        .findFirst()
        .orElse(otherwise);
  }

  private IOException tooLong(IllegalArgumentException e, String module) {
    return BadFile.causedBy(
        e,
        json.path(),
        "a pattern cannot be followed at module %s: %s",
        BadFile.quoted(module),
        String.valueOf(e.getMessage()));
  }

  /** Such as "LoRA of rank 2, alpha 4, scale 2, target_modules [c_attn]". */
  String summary() {
    StringBuilder result = new StringBuilder();
    result.append(
        String.format(
            Locale.ROOT,
            "%s of rank %d, alpha %s, scale %s",
            dora ? "DoRA" : "LoRA",
            rank,
            number(alpha),
            number(scale(alpha, rank))));
    for (String key :
        List.of(RANKS, ALPHAS, TARGETS, EXCLUDED, LAYERS, LAYER_LIST, SAVED, LORA_BIAS, BIAS)) {
      JsonNode value = json.root().get(key);
      boolean said =
          json.has(key)
              && !(value.isContainerNode() && value.isEmpty())
              && !value.asText().equals("none")
              && !(value.isBoolean() && !value.booleanValue());
      if (said) {
        result.append(", ").append(key).append(' ').append(BadFile.shortened(value.toString()));
      }
    }
    return result.toString();
  }

  private static String number(double value) {
    return value == Math.rint(value) && Math.abs(value) < 1e9
        ? Long.toString((long) value)
        : Double.toString(value);
  }
}
