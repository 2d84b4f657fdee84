package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Slot;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.Weight;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Adapters of PEFT, and what PEFT computes with them ({@code adapters/generate.py}). */
class AdapterTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final int[] TOKENS = {3, 7, 1, 10, 5};
  private static final double TOLERANCE = 1e-12;
  private static final String MODEL = "base_model.model.transformer.";

  @TempDir private Path folder;

  static Path resources() {
    try {
      return Path.of(
              Objects.requireNonNull(AdapterTest.class.getResource("/adapters/base")).toURI())
          .resolveSibling("");
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }

  private static Path resource(String name) {
    return resources().resolve(name);
  }

  /** What PEFT computes, by the names of model and adapter. */
  static Stream<String> cases() throws IOException {
    return Safetensors.open(resource("expected.safetensors")).names().stream();
  }

  private static double[] expected(String name) throws IOException {
    return Safetensors.open(resource("expected.safetensors"))
        .tensor(name, DType.DOUBLE)
        .toDoubles();
  }

  /** A model with an adapter, by the names of both. */
  private static Checkpoint adapted(String name) throws IOException {
    int slash = name.indexOf('/');
    return Checkpoint.open(resource(name.substring(0, slash)), resource(name.substring(slash + 1)));
  }

  private static double[] logits(Checkpoint checkpoint) throws IOException {
    return Models.load(checkpoint, DType.DOUBLE, Progress.NONE).logits(TOKENS).toDoubles();
  }

  private static double largestError(double[] expected, double[] actual) {
    assertEquals(expected.length, actual.length);
    double largest = 0;
    for (int i = 0; i < expected.length; i++) {
      largest = Math.max(largest, Math.abs(expected[i] - actual[i]));
    }
    return largest;
  }

  // ---- numbers -----------------------------------------------------------------------------

  @ParameterizedTest
  @MethodSource("cases")
  void load_adapter_computesWhatPeftDoes(String name) throws IOException {
    try (Scope scope = Scope.open()) {
      Checkpoint checkpoint = adapted(name);
      double error = largestError(expected(name), logits(checkpoint));
      assertTrue(error < TOLERANCE, () -> "off by " + error);
      double[] base = logits(Checkpoint.open(resource(name.substring(0, name.indexOf('/')))));
      assertTrue(largestError(expected(name), base) > 0.1, "the adapter does next to nothing");
    }
  }

  /** The model's weights are F32, so an exact sum is one that was rounded once. */
  @ParameterizedTest
  @ValueSource(strings = {"base/rslora", "base/dora", "untied/dora-tables", "base/lora-bias"})
  void load_asFloat_roundsOnce(String name) throws IOException {
    Checkpoint checkpoint = adapted(name);
    try (Scope scope = Scope.open()) {
      TransformerConfig config = checkpoint.config();
      Set<Weight> chosen = Set.of(Weight.TOKEN_EMBEDDING, Weight.MLP_INPUT, Weight.MLP_INPUT_BIAS);
      List<Slot> slots =
          config.slots().stream().filter(slot -> chosen.contains(slot.weight())).toList();
      assertEquals(1 + 2 * config.layers().size(), slots.size());
      for (Slot slot : slots) {
        double[] exact = checkpoint.read(slot, DType.DOUBLE, Widening.IF_ROOM).toDoubles();
        double[] rounded = checkpoint.read(slot, DType.FLOAT, Widening.IF_ROOM).toDoubles();
        assertArrayEquals(Arrays.stream(exact).map(x -> (float) x).toArray(), rounded);
      }
    }
  }

  /** Strips of several rows, and rows of several strips. */
  @ParameterizedTest
  @CsvSource({"300, 500", "3, 150000", "1, 65537", "70000, 2"})
  void sum_largeMatrix_isThatOfAllItsStrips(int rows, int columns) {
    try (Scope scope = Scope.open()) {
      Tensor base = random(DType.FLOAT, 1, rows, columns);
      Tensor left = random(DType.DOUBLE, 2, rows, 3);
      Tensor right = random(DType.DOUBLE, 3, 3, columns);
      double[] w = base.toDoubles();
      double[] product = left.matmul(right).toDoubles();
      double[] squares = new double[rows];
      for (int i = 0; i < w.length; i++) {
        w[i] += 0.5 * product[i];
        squares[i / columns] += w[i] * w[i];
      }
      double[] sum = new LowRankSum(base, left, right, 0.5).tensor(DType.DOUBLE).toDoubles();
      assertTrue(largestError(w, sum) < TOLERANCE);
      double[] lengths = random(DType.DOUBLE, 4, rows, 1).toDoubles();
      double[] scaled =
          new LowRankSum(base, left, right, 0.5).tensor(DType.DOUBLE, 0, lengths).toDoubles();
      for (int i = 0; i < w.length; i++) {
        w[i] *= lengths[i / columns] / Math.sqrt(squares[i / columns]);
      }
      assertTrue(largestError(w, scaled) < TOLERANCE);
    }
  }

  private static Tensor random(DType dtype, long seed, int... shape) {
    Random random = new Random(seed);
    return Tensor.generate(
        dtype,
        Shape.of(shape),
        (from, values, count) -> {
          for (int i = 0; i < count; i++) {
            values[i] = random.nextGaussian();
          }
        });
  }

  @Test
  void save_adapted_isTheMergedModel() throws IOException {
    for (String name :
        new String[] {"base/rslora", "base/embeddings-base", "untied/saved-untied"}) {
      Path merged = folder.resolve(name);
      try (Scope scope = Scope.open()) {
        Models.save(
            Models.load(adapted(name), DType.DOUBLE, Progress.NONE), merged, ElementType.F64);
        assertTrue(largestError(expected(name), logits(Checkpoint.open(merged))) < TOLERANCE);
      }
    }
  }

  @Test
  void save_besideAnAdapter_isRefused() throws IOException {
    copy("base", "plain");
    try (Scope scope = Scope.open()) {
      Transformer model = Models.load(folder);
      String sentence = refusal(() -> Models.save(model, folder, ElementType.F32));
      assertTrue(sentence.contains("there is an adapter in this folder"), sentence);
    }
  }

  // ---- where it lies -----------------------------------------------------------------------

  /** Copies the files of some of the folders. */
  private void copy(String... names) throws IOException {
    copy(folder, names);
  }

  private static void copy(Path to, String... names) throws IOException {
    Files.createDirectories(to);
    for (String name : names) {
      try (Stream<Path> files = Files.list(resource(name))) {
        for (Path file : files.toList()) {
          Files.write(to.resolve(String.valueOf(file.getFileName())), Files.readAllBytes(file));
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "model.safetensors", "config.json"})
  void open_adapterBesideTheWeights_isMerged(String name) throws IOException {
    copy("base", "plain");
    try (Scope scope = Scope.open()) {
      Checkpoint checkpoint = Checkpoint.open(folder.resolve(name));
      assertTrue(largestError(expected("base/plain"), logits(checkpoint)) < TOLERANCE);
      String said = checkpoint.description();
      assertTrue(
          said.contains(
              "merged with adapter adapter_model.safetensors, 4 tensors F32: LoRA of rank"
                  + " 2, alpha 4, scale 2, target_modules [\"c_attn\"]"),
          said);
    }
  }

  @Test
  void open_sameAdapterNamedAndBeside_isMergedOnce() throws IOException {
    copy("base", "plain");
    try (Scope scope = Scope.open()) {
      double[] actual = logits(Checkpoint.open(folder, folder));
      assertTrue(largestError(expected("base/plain"), actual) < TOLERANCE);
    }
  }

  @Test
  void open_twoAdapters_isRefused() throws IOException {
    copy("base", "plain");
    String sentence = refusal(() -> Checkpoint.open(folder, resource("rslora")));
    assertTrue(sentence.contains("as well as in " + resource("rslora")), sentence);
  }

  @Test
  void open_adapterInAFolderBelow_isRefusedUnlessItIsNamed() throws IOException {
    copy("base");
    copy(folder.resolve("below"), "plain");
    String sentence = refusal(() -> Checkpoint.open(folder));
    assertTrue(sentence.contains("there is an adapter in " + folder.resolve("below")), sentence);
    try (Scope scope = Scope.open()) {
      double[] actual = logits(Checkpoint.open(folder, folder.resolve("below")));
      assertTrue(largestError(expected("base/plain"), actual) < TOLERANCE);
    }
    String other = refusal(() -> Adapter.open(folder));
    assertTrue(other.contains("but in " + folder.resolve("below")), other);
  }

  @ParameterizedTest
  @ValueSource(strings = {"config.json", "model.safetensors"})
  void open_adapterAlone_namesTheModelAndSaysHow(String missing) throws IOException {
    copy("base", "plain");
    Files.delete(folder.resolve("model.safetensors"));
    Files.deleteIfExists(folder.resolve(missing));
    String sentence = refusal(() -> Checkpoint.open(folder));
    assertTrue(sentence.contains("holds an adapter and not the model"), sentence);
    assertTrue(sentence.contains("\"example/base\""), sentence);
    assertTrue(sentence.contains("--model BASE --adapter " + folder), sentence);
  }

  @ParameterizedTest
  @ValueSource(strings = {"adapter_config.json", "adapter_model.safetensors"})
  void open_halfOfAnAdapter_isRefused(String missing) throws IOException {
    copy("base", "plain");
    Files.delete(folder.resolve(missing));
    String sentence = refusal(() -> Checkpoint.open(folder));
    assertTrue(sentence.contains("no " + missing), sentence);
  }

  @Test
  void open_noFolder_isRefused() throws IOException {
    copy("base");
    refusal(() -> Checkpoint.open(folder, folder.resolve("none")));
    refusal(() -> Checkpoint.open(folder, folder.resolve("config.json")));
  }

  // ---- names of tensors --------------------------------------------------------------------

  /** Reads an adapter whose tensors have other names. */
  private double[] renamed(String adapter, UnaryOperator<String> change) throws IOException {
    copy(adapter);
    TensorFile from = TensorFile.open(resource(adapter).resolve("adapter_model.safetensors"));
    SafetensorsWriter writer = new SafetensorsWriter();
    for (String name : from.names()) {
      writer.put(change.apply(name), ElementType.F32, from.tensor(name, DType.FLOAT));
    }
    writer.write(folder.resolve("adapter_model.safetensors"));
    return logits(Checkpoint.open(resource("base"), folder));
  }

  @ParameterizedTest
  @CsvSource({
    "plain, (lora_.), $1.default",
    "plain, (lora_.), $1.my_adapter",
    "plain, ^base_model.model., ''",
    "plain, ^base_model.model.transformer., ''",
    "embeddings-base, (lora_embedding_.), $1.default",
    "dora, (lora_magnitude_vector|lora_.), $1.default",
    "dora, lora_magnitude_vector, lora_magnitude_vector.weight",
    "bias-all, base_layer., ''",
    "saved-base, (ln_f|wte)[.], $1.modules_to_save.default.",
    "lora-bias, (lora_.), $1.default"
  })
  void open_otherSpellings_areRead(String adapter, String pattern, String replacement)
      throws IOException {
    try (Scope scope = Scope.open()) {
      double[] actual = renamed(adapter, name -> name.replaceFirst(pattern, replacement));
      assertTrue(largestError(expected("base/" + adapter), actual) < TOLERANCE);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "plain, 0.attn.c_attn.lora_A, 0.attn.c_attn.lora_C, no tensor lora_A",
    "plain, 0.attn.c_attn.lora_A, 0.attn.c_proj.lora_A, no tensor lora_A",
    "plain, h.1.attn.c_attn, h.2.attn.c_attn, no tensor lora_A",
    "plain, 1.attn.c_attn.lora_A.weight, 1.attn.c_attn.lora_A, is unknown",
    "plain, 1.attn.c_attn.lora_A, 1.attn.c_attn.lora_embedding_A, no tensor lora_A",
    "plain, 1.attn.c_attn.lora_A, 1.attn.c_attn.lora_A.other, of another adapter",
    "plain, transformer.h.1, h.1, of another model",
    "plain, base_model.model.transformer.h.0, score.h.0, of another model",
    "bias-all, ln_f.bias, ln_g.bias, no tensor for \"ln_f.bias\"",
    "bias-all, ln_f.bias, ln_f.weight, does not name",
    "bias-lora-only, c_fc.base_layer.bias, c_fc.base_layer.weight, does not name",
    "saved-base, ln_f.weight, ln_1.weight, no tensor for \"ln_f.weight\"",
    "dora, 0.mlp.c_fc.lora_magnitude_vector, 0.mlp.c_fc.lora_embedding_A, is not what"
  })
  void open_tensorThatNobodyReadsOrOneTooFew_isRefused(
      String adapter, String from, String to, String reason) {
    String sentence = refusal(() -> renamed(adapter, name -> name.replace(from, to)));
    assertTrue(sentence.contains(reason.replace("\\", "")), sentence);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "base_model.model.transformer.h.0.attn.c_attn.weight",
        "base_model.model.transformer.h.0.attn.c_attn.base_layer.weight",
        "base_model.model.transformer.h.0.attn.c_attn.bias",
        "base_model.model.transformer.h.0.attn.c_attn.lora_B.bias",
        "base_model.model.transformer.h.0.attn.c_attn.lora_magnitude_vector",
        "base_model.model.transformer.h.0.attn.bias",
        "base_model.model.transformer.h.5.ln_1.bias",
        "base_model.model.transformer.ln_f.original_module.bias",
        "base_model.model.transformer.ln_f.modules_to_save.bias",
        "base_model.model.transformer.score.weight",
        "base_model.model.lm_head.lora_A.weight",
        "base_model.model.score.weight",
        "prompt_embeddings",
        "wpe.weight"
      })
  void open_oneMoreTensor_isRefusedByItsName(String name) throws IOException {
    copy("plain");
    TensorFile from = TensorFile.open(resource("plain").resolve("adapter_model.safetensors"));
    try (Scope scope = Scope.open()) {
      SafetensorsWriter writer = new SafetensorsWriter();
      for (String other : from.names()) {
        writer.put(other, ElementType.F32, from.tensor(other, DType.FLOAT));
      }
      writer.put(name, ElementType.F32, Tensor.zeros(DType.FLOAT, Shape.of(2)));
      writer.write(folder.resolve("adapter_model.safetensors"));
    }
    String sentence = refusal(() -> Checkpoint.open(resource("base"), folder));
    assertTrue(sentence.contains("\"" + name + "\""), sentence);
  }

  @ParameterizedTest
  @CsvSource({
    "plain, lora_A.weight, '1, 8'",
    "plain, lora_A.weight, '2, 9'",
    "plain, lora_B.weight, '24, 1'",
    "plain, lora_B.weight, '23, 2'",
    "plain, lora_B.weight, '48'",
    "dora, c_fc.lora_magnitude_vector, '11'",
    "bias-all, ln_f.bias, '9'",
    "saved-base, wte.weight, '12, 8'",
    "lora-bias, c_fc.lora_B.bias, '1, 12'"
  })
  void load_otherShape_isRefusedByItsName(String adapter, String end, String shape)
      throws IOException {
    copy(adapter);
    TensorFile from = TensorFile.open(resource(adapter).resolve("adapter_model.safetensors"));
    int[] sizes = Arrays.stream(shape.split(", ")).mapToInt(Integer::parseInt).toArray();
    String changed = "";
    try (Scope scope = Scope.open()) {
      SafetensorsWriter writer = new SafetensorsWriter();
      for (String name : from.names()) {
        boolean other = changed.isEmpty() && name.endsWith(end);
        changed = other ? name : changed;
        writer.put(
            name,
            ElementType.F32,
            other ? Tensor.zeros(DType.FLOAT, Shape.of(sizes)) : from.tensor(name, DType.FLOAT));
      }
      writer.write(folder.resolve("adapter_model.safetensors"));
      String sentence = refusal(() -> logits(Checkpoint.open(resource("base"), folder)));
      assertTrue(sentence.contains("\"" + changed + "\" is [" + shape), sentence);
    }
  }

  // ---- config ------------------------------------------------------------------------------

  private Checkpoint withConfig(String adapter, Consumer<ObjectNode> change) throws IOException {
    copy(adapter);
    Path file = folder.resolve("adapter_config.json");
    ObjectNode json = (ObjectNode) JSON.readTree(Files.readString(file));
    change.accept(json);
    Files.writeString(file, json.toString());
    return Checkpoint.open(resource("base"), folder);
  }

  private static JsonNode value(String text) {
    try {
      return JSON.readTree(text.replace('\'', '"'));
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      value = {
        "peft_type | 'IA3'",
        "peft_type | null",
        "r | 0",
        "r | -2",
        "r | 2.5",
        "r | '2'",
        "lora_alpha | '4'",
        "use_rslora | 1",
        "use_dora | 'yes'",
        "bias | 'some'",
        "init_lora_weights | 'pissa'",
        "init_lora_weights | 'pissa_niter_4'",
        "init_lora_weights | 'olora'",
        "init_lora_weights | 'corda'",
        "init_lora_weights | 'loftq'",
        "init_lora_weights | 'lora_ga'",
        "init_lora_weights | 3",
        "trainable_token_indices | [1]",
        "trainable_token_indices | {'wte': [1]}",
        "alora_invocation_tokens | [1]",
        "megatron_config | {'a': 1}",
        "layer_replication | [[0, 2]]",
        "use_qalora | true",
        "target_parameters | ['wte.weight']",
        "use_bdlora | {'nblocks': 2}",
        "arrow_config | {'top_k': 2}",
        "kasa_config | {'beta': 1}",
        "monteclora_config | {'num_samples': 1}",
        "velora_config | {'num_groups': 1}",
        "enable_lora | [true, false, true]",
        "an_option_of_tomorrow | 1",
        "an_option_of_tomorrow | 'x'",
        "an_option_of_tomorrow | true",
        "target_modules | 3",
        "target_modules | ['c_attn', 3]",
        "modules_to_save | 'ln_f'",
        "modules_to_save | ['.*']",
        "layers_to_transform | 'all'",
        "layers_to_transform | [-1]",
        "layers_pattern | 'h'",
        "rank_pattern | [1]",
        "alpha_pattern | {'c_attn': 'x'}",
        "alpha_pattern | {'c_attn': null}",
        "rank_pattern | {'c_attn': 0}"
      })
  void open_optionThatCannotBeFollowed_isRefusedByItsName(String key, String value) {
    String sentence = refusal(() -> withConfig("plain", json -> json.set(key, value(value))));
    assertTrue(
        sentence.startsWith(
            "/adapter_config.json: " + key + (value.contains("c_attn") ? "" : " is ")),
        sentence);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      value = {
        "target_modules | '(a' | a ( is not closed",
        "target_modules | 'a)' | a ) closes nothing",
        "target_modules | '(a)\\\\1' | \\1 is not known",
        "target_modules | '*' | repeats nothing",
        "target_modules | 'a**' | repeats a repetition",
        "target_modules | 'a++' | gives nothing back",
        "target_modules | '(?i)a' | a kind that is not known",
        "target_modules | 'a{2' | begins no count",
        "exclude_modules | '[a' | ends too early",
        "alpha_pattern | {'(': 1} | cannot be followed"
      })
  void open_patternThatCannotBeFollowed_isRefused(String key, String value, String reason) {
    String sentence = refusal(() -> withConfig("plain", json -> json.set(key, value(value))));
    assertTrue(sentence.startsWith("/adapter_config.json: a pattern in "), sentence);
    assertTrue(sentence.contains(reason), sentence);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      value = {
        "fan_in_fan_out | false",
        "init_lora_weights | false",
        "init_lora_weights | 'gaussian'",
        "init_lora_weights | 'eva'",
        "init_lora_weights | 'orthogonal'",
        "lora_dropout | 0.5",
        "task_type | 'CAUSAL_LM'",
        "base_model_name_or_path | null",
        "loftq_config | {'loftq_bits': 4}",
        "eva_config | {'rho': 2.0}",
        "runtime_config | {'ephemeral_gpu_offload': false}",
        "enable_lora | null",
        "merge_weights | false",
        "an_option_of_tomorrow | false",
        "an_option_of_tomorrow | {}",
        "target_modules | null",
        "target_modules | 'transformer.h.[01].attn.c_attn'",
        "target_modules | ['transformer.h.1.attn.c_attn', 'transformer.h.0.attn.c_attn']",
        "target_modules | ['c_attn', 'q_proj']",
        "layers_to_transform | []",
        "layers_to_transform | [0, 1]",
        "exclude_modules | []",
        "exclude_modules | '.*mlp.*'",
        "alpha_pattern | {'attn': 9, 'attn.c_attn': 4, 'c_attn': 9}",
        "modules_to_save | []",
        "ensure_weight_tying | true"
      })
  void open_optionThatChangesNothing_isFollowed(String key, String value) throws IOException {
    try (Scope scope = Scope.open()) {
      double[] actual = logits(withConfig("plain", json -> json.set(key, value(value))));
      assertTrue(largestError(expected("base/plain"), actual) < TOLERANCE);
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      value = {
        "target_modules | ['c_proj'] | does not name",
        "target_modules | ['attn'] | does not name",
        "target_modules | ['_attn'] | does not name",
        "target_modules | ['c_attn', 'c_fc'] | no tensor lora_A of module \"transformer.h.0.mlp.c_fc\"",
        "target_modules | ['c_attn', 'ln_f'] | no tensor lora_A of module \"transformer.ln_f\"",
        "target_modules | 'c_attn' | does not name",
        "target_modules | 'h.0.attn.c_attn' | does not name",
        "target_modules | 'all-linear' | no tensor lora_A of module",
        "layers_to_transform | 0 | does not name",
        "exclude_modules | ['c_attn'] | does not name",
        "modules_to_save | ['attn'] | does not name",
        "modules_to_save | ['ln_f'] | no tensor for \"ln_f.weight\"",
        "bias | 'all' | no tensor for \"wpe\"",
        "use_dora | true | no tensor lora_magnitude_vector",
        "lora_bias | true | no tensor lora_B.bias"
      })
  void open_configAndTensorsDisagree_isRefused(String key, String value, String reason) {
    String sentence = refusal(() -> withConfig("plain", json -> json.set(key, value(value))));
    String wanted = key.equals("bias") ? "there is no tensor for" : reason;
    assertTrue(sentence.contains(wanted), sentence);
  }

  @Test
  void open_tiedTablesAdaptedAsOne_isRefused() {
    String sentence =
        refusal(() -> withConfig("embeddings-base", json -> json.put("ensure_weight_tying", true)));
    assertTrue(sentence.contains("ensure_weight_tying is true"), sentence);
  }

  @Test
  void load_otherRanks_isRefused() {
    String sentence =
        refusal(
            () ->
                logits(
                    withConfig("plain", json -> json.set("rank_pattern", value("{'h.1.*': 3}")))));
    assertTrue(
        sentence.contains("\"" + MODEL + "h.1.attn.c_attn.lora_A.weight\" is [2, 8]"), sentence);
  }

  @Test
  void load_infiniteFactor_isRefused() throws IOException {
    copy("plain");
    TensorFile from = TensorFile.open(resource("plain").resolve("adapter_model.safetensors"));
    try (Scope scope = Scope.open()) {
      SafetensorsWriter writer = new SafetensorsWriter();
      for (String name : from.names()) {
        Tensor tensor = from.tensor(name, DType.FLOAT);
        writer.put(name, ElementType.F32, tensor.times(1e30));
      }
      writer.write(folder.resolve("adapter_model.safetensors"));
      String sentence = refusal(() -> load(folder));
      assertTrue(sentence.contains("lora_B.weight\" makes a number of h.0.attn.c_attn"), sentence);
    }
  }

  // ---- patterns ----------------------------------------------------------------------------

  @Test
  void pattern_names_matchAsInPython() throws IOException {
    JsonNode rows = JSON.readTree(Files.readString(resource("patterns.json"))).get("patterns");
    assertTrue(rows.size() > 400, () -> "only " + rows.size());
    for (JsonNode row : rows) {
      PythonPattern pattern = PythonPattern.of(row.get(0).textValue());
      String name = row.get(1).textValue();
      assertEquals(row.get(2).booleanValue(), pattern.matches(name), row::toString);
      assertEquals(row.get(3).booleanValue(), pattern.matchesBeginning(name), row::toString);
    }
  }

  /** On which a matcher that tries and takes back does not end. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "(a*)*b",
        "(.*)*.*(.*)*x",
        "((((.?){300}){300}){300}){300}c",
        "(|){1000}(|a){1000}((|){1000}){1000}b",
        "(?=(?=(?=(?=.*x).*)*.*)*.*)*x",
        "(?<=(?<=(?<=(?<=.*x).*).*).*)x"
      })
  void pattern_thatTakesForever_doesNot(String pattern) {
    String name = "a".repeat(60);
    try {
      assertTrue(!PythonPattern.of(pattern).matches(name));
    } catch (IllegalArgumentException e) {
      assertEquals("it takes too long to match", e.getMessage());
    }
  }

  // ---- refusals ----------------------------------------------------------------------------

  private String refusal(Action action) {
    IOException refusal;
    try (Scope scope = Scope.open()) {
      refusal = assertThrows(IOException.class, action::run);
    }
    assertEquals(IOException.class, refusal.getClass());
    String sentence = String.valueOf(refusal.getMessage());
    assertEquals(1, sentence.lines().count(), sentence);
    assertTrue(sentence.startsWith(folder.toString()), sentence);
    return sentence.substring(folder.toString().length());
  }

  /** Something that is to be refused. */
  @FunctionalInterface
  private interface Action {
    void run() throws IOException;
  }

  /** Reads the small model with an adapter. */
  static void load(Path adapter) throws IOException {
    Checkpoint checkpoint = Checkpoint.open(resource("base"), adapter);
    Models.load(checkpoint, DType.FLOAT, Progress.NONE).logits(TOKENS);
  }

  /** The files of some folders, by their names. */
  static Map<String, byte[]> files(String... names) throws IOException {
    Map<String, byte[]> result = new LinkedHashMap<>();
    for (String name : names) {
      try (Stream<Path> files = Files.list(resource(name))) {
        for (Path file : files.sorted().toList()) {
          result.put(String.valueOf(file.getFileName()), Files.readAllBytes(file));
        }
      }
    }
    return result;
  }
}
