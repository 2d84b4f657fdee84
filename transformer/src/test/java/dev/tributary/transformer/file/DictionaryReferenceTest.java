package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicContainer.dynamicContainer;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.Oracles;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * Dictionaries as those who publish them put them on disk, and what they compute: every case of the
 * oracle {@code reference-dictionaries}, whose README tells the formulas. An expected tensor that
 * is not compared is a failure.
 */
class DictionaryReferenceTest {
  private static final String ORACLE = "reference-dictionaries";
  private static final ObjectMapper JSON = new ObjectMapper();

  /** Both sides compute in 64 bits; what they differ by is the order of their sums. */
  private static final double DOUBLE_TOLERANCE = 1e-12;

  /** Of the libraries themselves in 32 bits, with room for other orders of summation. */
  private static final double FLOAT_TOLERANCE = 1e-5;

  /** Hook values were computed in 64 bits; centred ones went through 32 bits. */
  private static final double HOOK_TOLERANCE = 1e-12;

  private static final double CENTRED_TOLERANCE = 1e-6;

  /** What layouts leave out: what a list has to say of these cases. */
  private static final Map<String, String> GIVEN =
      Map.of(
          "gemma-scope-attention", "{'hook': 'attn.hook_z'}",
          "gemma-scope-mlp", "{'hook': 'hook_mlp_out'}",
          "gemma-scope-resid", "{'hook': 'hook_resid_post'}",
          "gemma-scope-transcoder", "{'hook': 'ln2.hook_normalized'}",
          "openai-relu", "{'hook': 'mlp_post_act', 'layer': 3}",
          "openai-topk", "{'hook': 'resid_post_mlp', 'layer': 3}",
          "llama-scope-r1-distill", "{'factor': 0.40625}",
          "saelens6-standard-expected-average", "{'factor': 0.28515625}");

  /** Dictionaries of latents that depend on earlier tokens. */
  private static final Set<String> REFUSED = Set.of("temporal-conf-tied", "temporal-saelens6");

  /** SAELens calls it the residual stream; the file says the output of the norm. */
  private static final Map<String, String> READS =
      Map.of(
          "gemma-scope-2-transcoder", "blocks.3.mlp.hook_in",
          "gemma-scope-2-transcoder-affine", "blocks.3.mlp.hook_in");

  /** It writes vectors of another size than any model's there. */
  private static final String NARROW = "saelens6-transcoder";

  @TempDir Path temporary;

  private static Path folder(String name) {
    return Oracles.folder(ORACLE).resolve(name);
  }

  private static JsonNode json(String name) throws IOException {
    return JSON.readTree(folder(name).resolve("case.json").toFile());
  }

  @TestFactory
  Stream<DynamicNode> everyCase() throws IOException {
    List<String> cases = cases();
    assertTrue(!cases.isEmpty(), "no cases");
    return Stream.concat(
        cases.stream()
            .map(
                name ->
                    dynamicContainer(
                        name,
                        Arrays.stream(DType.values())
                            .map(dtype -> dynamicTest(word(dtype), () -> compare(name, dtype))))),
        REFUSED.stream().map(name -> dynamicTest(name, () -> requireRefused(name))));
  }

  private static String word(DType dtype) {
    return dtype.name().toLowerCase(Locale.ROOT);
  }

  // ---- a case ------------------------------------------------------------------------------

  /** The files of a case alone, with a list where they leave something out. */
  private Path files(String name, Optional<String> given) throws IOException {
    Path to = Files.createTempDirectory(temporary, "case");
    JsonNode json = json(name);
    String first = "";
    for (JsonNode file : json.get("files")) {
      Path target = to.resolve(file.textValue());
      Files.createDirectories(Objects.requireNonNull(target.getParent()));
      Files.copy(folder(name).resolve(file.textValue()), target);
      first = first.isEmpty() || file.textValue().endsWith(".pt") ? file.textValue() : first;
    }
    if (given.isPresent()) {
      ObjectNode entry = (ObjectNode) JSON.readTree(given.get().replace('\'', '"'));
      entry.put("path", first);
      ObjectNode list = JSON.createObjectNode();
      list.putArray("files").add(entry);
      Files.writeString(to.resolve("dictionaries.json"), list.toString());
    }
    return to;
  }

  private static Optional<String> given(String name) {
    return name.startsWith("dictionary-learning")
        ? Optional.of("{'hook': 'hook_resid_post'}")
        : Optional.ofNullable(GIVEN.get(name));
  }

  /** Of the sizes that a case says, and as many layers as Goodfire's file needs. */
  private static TransformerConfig config(JsonNode json) {
    JsonNode model = json.get("model");
    boolean embeds = json.get("hook_in").textValue().equals("hook_embed");
    return TransformerConfig.gpt2(
        20,
        embeds ? json.get("d_in").intValue() : model.get("d_model").intValue(),
        model.get("n_heads").intValue(),
        model.get("d_head").intValue(),
        model.get("d_mlp").intValue(),
        8,
        9,
        1e-5,
        MlpActivation.TANH_GELU,
        true);
  }

  /** The one dictionary of a case, in the innermost scope. */
  private Dictionary load(String name, Optional<String> given, DType dtype) throws IOException {
    Path files = files(name, given);
    TransformerConfig config = config(json(name));
    if (name.equals(NARROW)) {
      IOException refusal =
          assertThrows(IOException.class, () -> Dictionaries.load(files, dtype, config));
      assertTrue(
          String.valueOf(refusal.getMessage())
              .endsWith(
                  "this dictionary writes vectors of 24 at L3 MLP_OUTPUT, and there the model has"
                      + " vectors of 32"),
          refusal::getMessage);
      return DictionaryFiles.find(files).get(0).read(dtype, config);
    }
    List<Dictionary> all = Dictionaries.load(files, dtype, config);
    assertEquals(1, all.size());
    return all.get(0);
  }

  private Dictionary load(String name) throws IOException {
    return load(name, given(name), DType.DOUBLE);
  }

  private void requireRefused(String name) throws IOException {
    Path files = files(name, Optional.empty());
    IOException refusal =
        assertThrows(
            IOException.class, () -> Dictionaries.load(files, DType.DOUBLE, config(json(name))));
    assertTrue(String.valueOf(refusal.getMessage()).contains("temporal"), refusal::getMessage);
  }

  private void compare(String name, DType dtype) throws IOException {
    try (Scope scope = Scope.open()) {
      JsonNode json = json(name);
      Dictionary dictionary = load(name, given(name), dtype);
      TransformerConfig config = config(json);
      String reads = READS.getOrDefault(name, json.get("hook_in").textValue());
      assertEquals(place(reads, config), dictionary.reads());
      assertEquals(
          List.of(place(json.get("hook_out").textValue(), config)),
          dictionary.decoders().stream().map(Dictionary.Decoder::place).toList());
      assertEquals(json.get("latents").intValue(), dictionary.latentCount());
      assertEquals(dtype, dictionary.dtype());
      new Values(name, dictionary, dtype).compare();
    }
  }

  private static Place place(String hook, TransformerConfig config) {
    return Hook.Point.of(hook).orElseThrow().place(config);
  }

  /** What a dictionary computes, and what it should. */
  private static final class Values {
    /** What another way of reading the file gives: each in a test of its own. */
    private static final List<String> OTHER_READINGS =
        List.of("unscaled/", "raw_scale/", "decoder_normalised/", "training_latent");

    private final Dictionary dictionary;
    private final DType dtype;
    private final Safetensors expected;
    private final int tokens;
    private final Variable x;

    Values(String name, Dictionary dictionary, DType dtype) throws IOException {
      this.dictionary = dictionary;
      this.dtype = dtype;
      this.expected = Safetensors.open(folder(name).resolve("expected.safetensors"));
      this.tokens = expected.shape("input").size(0);
      this.x = Variable.input(expected("input", dictionary.width()));
    }

    /** [.., token, n], heads one after the other. */
    Tensor expected(String name, int width) throws IOException {
      Tensor stored = expected.tensor(name, dtype);
      int sets = stored.shape().length() / (tokens * width);
      return sets == 1 && !name.contains("_push") && !name.contains("_pull")
          ? stored.reshape(tokens, width)
          : stored.reshape(sets, tokens, width);
    }

    void compare() throws IOException {
      for (String name : expected.names()) {
        if (OTHER_READINGS.stream().noneMatch(name::startsWith)) {
          try (Scope scope = Scope.open()) {
            compare(name, computed(name));
          }
        }
      }
    }

    void compare(String name, Tensor computed) throws IOException {
      double[] wanted = expected.tensor(name, DType.DOUBLE).toDoubles();
      requireEqual(
          name,
          wanted,
          computed.toDoubles(),
          dtype == DType.DOUBLE ? DOUBLE_TOLERANCE : FLOAT_TOLERANCE);
    }

    Variable latents(ScaleGradient scale) {
      return dictionary.latents(x, scale);
    }

    Variable reconstruction(ScaleGradient scale) {
      return dictionary.reconstruction(latents(scale), x, scale, 0);
    }

    private Tensor computed(String name) throws IOException {
      boolean fixed = name.startsWith("scale_fixed/");
      ScaleGradient scale = fixed ? ScaleGradient.DETACHED : ScaleGradient.LIVE;
      String quantity = fixed ? name.substring("scale_fixed/".length()) : name;
      int width = dictionary.decoders().get(0).width();
      return switch (quantity) {
        case "input" -> x.value();
        case "target" -> expected("target", width);
        case "direction" -> expected("direction", dictionary.width());
        case "latent_cotangent" -> expected(quantity, dictionary.latentCount());
        case "reconstruction_cotangent" -> expected(quantity, width);
        case "pre_activation" -> dictionary.preActivations(x, scale).value();
        case "gate_pre_activation" -> gate();
        case "latent" -> latents(scale).value();
        case "reconstruction" -> reconstruction(scale).value();
        case "error" -> {
          String target = expected.contains("target") ? "target" : "input";
          yield expected(target, width).minus(reconstruction(scale).value());
        }
        case "latent_push" ->
            Jacobian.of(latents(scale), x).push(expected("direction", dictionary.width()));
        case "reconstruction_push" ->
            Jacobian.of(reconstruction(scale), x).push(expected("direction", dictionary.width()));
        case "latent_pull" ->
            Jacobian.of(latents(scale), x)
                .pull(expected("latent_cotangent", dictionary.latentCount()))
                .get(0);
        case "reconstruction_pull" ->
            Jacobian.of(reconstruction(scale), x)
                .pull(expected("reconstruction_cotangent", width))
                .get(0);
        default -> throw new AssertionError(name + " is not compared");
      };
    }

    private Tensor gate() {
      LatentActivation.Gated gated = (LatentActivation.Gated) dictionary.activation();
      Tensor read = x.value();
      Tensor subtracted = dictionary.inputBias().map(read::minus).orElse(read);
      return subtracted.matmulTransposed(dictionary.encoder()).plus(gated.gateBias());
    }
  }

  // ---- surprises ---------------------------------------------------------------------------

  private Values values(String name, Optional<String> given) throws IOException {
    return new Values(name, load(name, given, DType.DOUBLE), DType.DOUBLE);
  }

  private static List<String> cases() throws IOException {
    try (Stream<Path> files = Files.list(folder(""))) {
      return files
          .filter(Files::isDirectory)
          .map(path -> path.getFileName().toString())
          .filter(name -> !name.startsWith("hooks-") && !REFUSED.contains(name))
          .sorted()
          .toList();
    }
  }

  /** What a case is refused with, after the path. */
  private static String refusal(Path files, TransformerConfig config) {
    IOException refusal =
        assertThrows(IOException.class, () -> Dictionaries.load(files, DType.DOUBLE, config));
    return String.valueOf(refusal.getMessage()).replace(files.toString(), "FOLDER");
  }

  @Test
  void load_everyCase_subtractsTheDecoderBiasWhereTheLibraryDoes() throws IOException {
    for (String name : cases()) {
      try (Scope scope = Scope.open()) {
        assertEquals(
            json(name).get("subtracts_decoder_bias").booleanValue(),
            load(name).inputBias().isPresent(),
            name);
      }
    }
  }

  /** Whatever it is multiplied or divided by. */
  @Test
  void load_everyCase_isFiniteWhereAllItReadsIsZero() throws IOException {
    for (String name : cases()) {
      for (DType dtype : DType.values()) {
        try (Scope scope = Scope.open()) {
          Dictionary dictionary = load(name, given(name), dtype);
          Variable x = Variable.input(Tensor.zeros(dtype, Shape.of(1, dictionary.width())));
          for (ScaleGradient scale : ScaleGradient.values()) {
            Variable latents = dictionary.latents(x, scale);
            Variable written = dictionary.reconstruction(latents, x, scale, 0);
            Tensor ones = Tensor.full(dtype, written.shape().prepend(1), 1);
            assertTrue(latents.value().isFinite(), name);
            assertTrue(written.value().isFinite(), name);
            assertTrue(Jacobian.of(written, x).pull(ones).get(0).isFinite(), name);
          }
        }
      }
    }
  }

  /** What is subtracted would have the size of what is written. */
  @Test
  void load_saeLensTranscoder_subtractsNothingUnlessItSaysSo() throws IOException {
    String name = "saelens6-jumprelu-transcoder";
    Path files = files(name, Optional.empty());
    Path config = files.resolve("cfg.json");
    ObjectNode json = (ObjectNode) JSON.readTree(config.toFile());
    json.remove("apply_b_dec_to_input");
    Files.writeString(config, json.toString());
    try (Scope scope = Scope.open()) {
      Dictionary read = Dictionaries.load(files, DType.DOUBLE, config(json(name))).get(0);
      new Values(name, read, DType.DOUBLE).compare();
    }
  }

  /** Where they are damaged by chance. */
  @Test
  void load_everyCase_isOfALayoutThatIsTamperedWith() throws IOException {
    Set<String> tampered =
        PublishedDictionaries.all().stream()
            .map(PublishedDictionaries::layout)
            .collect(Collectors.toSet());
    for (String name : cases()) {
      String description = DictionaryFiles.find(files(name, given(name))).get(0).description();
      assertTrue(tampered.contains(description.replaceFirst(",.*", "")), description);
    }
  }

  /** Without its own mean, as the model wrote it that the dictionary was trained on. */
  @Test
  void load_centredWrites_encodesVectorsLessTheirMean() throws IOException {
    for (String name : List.of("saelens6-standard", "saelens6-gated", "saelens6-jumprelu")) {
      try (Scope scope = Scope.open()) {
        Dictionary plain = load(name);
        Dictionary centred = load(name, Optional.of("{'centred': true}"), DType.DOUBLE);
        Tensor x = new Values(name, plain, DType.DOUBLE).x.value();
        Variable raw = Variable.constant(x);
        Variable less = Variable.constant(x.centred(-1));
        Variable latents = plain.latents(less, ScaleGradient.LIVE);
        Variable found = centred.latents(raw, ScaleGradient.LIVE);
        requireEqual(
            name, latents.value().toDoubles(), found.value().toDoubles(), DOUBLE_TOLERANCE);
        requireEqual(
            name,
            plain.reconstruction(latents, less, ScaleGradient.LIVE, 0).value().toDoubles(),
            centred.reconstruction(found, raw, ScaleGradient.LIVE, 0).value().toDoubles(),
            DOUBLE_TOLERANCE);
      }
    }
  }

  @Test
  void load_factorOutsideTheFile_isAskedFor() throws IOException {
    String name = "saelens6-standard-expected-average";
    Path files = files(name, Optional.empty());
    assertEquals(
        "FOLDER/cfg.json: this file does not say what the vectors were multiplied by that it was"
            + " trained on, as 0.25: list it in dictionaries.json with \"factor\"",
        refusal(files, config(json(name))));
    try (Scope scope = Scope.open()) {
      Values unscaled = values(name, Optional.of("{'factor': 1}"));
      unscaled.compare("unscaled/latent", unscaled.latents(ScaleGradient.LIVE).value());
      unscaled.compare(
          "unscaled/reconstruction", unscaled.reconstruction(ScaleGradient.LIVE).value());
      Files.writeString(
          files.resolve("activation_scaler.json"), "{\"scaling_factor\": 0.28515625}");
      Dictionary beside = Dictionaries.load(files, DType.DOUBLE, config(json(name))).get(0);
      new Values(name, beside, DType.DOUBLE).compare();
    }
  }

  /** Latents of the authors' library are those of SAELens over the factor. */
  @Test
  void load_llamaScope_hasLatentsOfScaledVectors() throws IOException {
    for (String name : List.of("llama-scope", "llama-scope-transcoder")) {
      try (Scope scope = Scope.open()) {
        JsonNode json = json(name);
        Values values = values(name, given(name));
        JsonNode factor = json.path("factor_in");
        double in = (factor.isNumber() ? factor : json.get("norm_scaling_factor")).doubleValue();
        values.compare(
            "raw_scale/latent", values.latents(ScaleGradient.LIVE).value().times(1 / in));
        LatentActivation.JumpRelu jump = (LatentActivation.JumpRelu) values.dictionary.activation();
        double applied = json.get("threshold_applied").doubleValue();
        assertEquals(applied, jump.threshold().get(0), DOUBLE_TOLERANCE);
      }
    }
  }

  /** A latent above a negative threshold is positive all the same. */
  @Test
  void load_thresholdOfMinusOne_isZero() throws IOException {
    try (Scope scope = Scope.open()) {
      Dictionary unset = load("dictionary-learning-batchtopk-unset-threshold");
      LatentActivation.JumpRelu jump = (LatentActivation.JumpRelu) unset.activation();
      assertEquals(0, Arrays.stream(jump.threshold().toDoubles()).max().orElseThrow());
      LatentActivation.JumpRelu one =
          (LatentActivation.JumpRelu) load("saelens6-jumprelu").activation();
      assertEquals(0, Arrays.stream(one.threshold().toDoubles()).min().orElseThrow());
    }
  }

  @Test
  void load_activationThatArchitectureHides_isFollowed() throws IOException {
    try (Scope scope = Scope.open()) {
      LatentActivation top = new LatentActivation.TopK(7);
      assertEquals(top, load("saelens3-topk-layer-norm").activation());
      assertEquals(top, load("qwen-scope").activation());
      assertEquals(new LatentActivation.TanhRelu(), load("saelens5-tanh-relu").activation());
      Dictionary checkpoint = load("saelens6-batchtopk-checkpoint");
      assertTrue(checkpoint.activation() instanceof LatentActivation.JumpRelu);
    }
  }

  /** The library's own loader divides the decoder by the norms of its rows. */
  @Test
  void load_decoderNorms_stayAsTheyAreStored() throws IOException {
    try (Scope scope = Scope.open()) {
      String name = "dictionary-learning-april-update";
      Values values = values(name, given(name));
      int[] all = IntStream.range(0, values.dictionary.latentCount()).toArray();
      Tensor norms = values.dictionary.decoders().get(0).rows().of(all).norm(-1);
      values.compare(
          "decoder_normalised/latent",
          values.latents(ScaleGradient.LIVE).value().times(norms.reshape(all.length)));
    }
  }

  @Test
  void load_transformerDebuggersTopK_isOfNormalisedVectors() throws IOException {
    try (Scope scope = Scope.open()) {
      assertEquals(Dictionary.Normalisation.LAYER_NORM, load("openai-topk").normalisation());
      assertEquals(Dictionary.Normalisation.NONE, load("openai-relu").normalisation());
      Dictionary told =
          load(
              "openai-topk",
              Optional.of("{'hook': 'resid_post_mlp', 'layer': 3, 'normalize': false}"),
              DType.DOUBLE);
      assertEquals(Dictionary.Normalisation.NONE, told.normalisation());
    }
  }

  /** The type in a config is not the tensors'. */
  @Test
  void load_typeOfConfig_isNotFollowed() throws IOException {
    try (Scope scope = Scope.open()) {
      String name = "saelens6-standard";
      Path files = files(name, Optional.empty());
      Path config = files.resolve("cfg.json");
      Files.writeString(config, Files.readString(config).replace("\"float32\"", "\"bfloat16\""));
      Dictionary read = Dictionaries.load(files, DType.DOUBLE, config(json(name))).get(0);
      new Values(name, read, DType.DOUBLE).compare();
    }
  }

  /** As many latents as numbers in a vector: only the layout says which axis is which. */
  @Test
  void load_squareMatrices_areReadAsTheirLayoutSays() throws IOException {
    TransformerConfig config =
        TransformerConfig.gpt2(1, 2, 1, 2, 2, 4, 4, 1e-5, MlpActivation.TANH_GELU, true);
    Path scope2 = temporary.resolve("resid_post/layer_0_width_2");
    Files.createDirectories(scope2);
    new SafetensorsBuilder()
        .put("w_enc", Shape.of(2, 2), 1, 2, 3, 4)
        .put("w_dec", Shape.of(2, 2), 5, 6, 7, 8)
        .put("b_enc", Shape.of(2), 0, 0)
        .put("b_dec", Shape.of(2), 0, 0)
        .put("threshold", Shape.of(2), 0, 0)
        .write(scope2.resolve("params.safetensors"));
    Path sparsify = Files.createDirectories(temporary.resolve("layers.0"));
    Files.writeString(sparsify.resolve("cfg.json"), "{\"k\": 1}");
    new SafetensorsBuilder()
        .put("encoder.weight", Shape.of(2, 2), 1, 2, 3, 4)
        .put("W_dec", Shape.of(2, 2), 5, 6, 7, 8)
        .put("encoder.bias", Shape.of(2), 0, 0)
        .put("b_dec", Shape.of(2), 0, 0)
        .write(sparsify.resolve("sae.safetensors"));
    try (Scope scope = Scope.open()) {
      Dictionary columns = Dictionaries.load(scope2, DType.DOUBLE, config).get(0);
      assertArrayEquals(new double[] {1, 3, 2, 4}, columns.encoder().toDoubles());
      Dictionary rows = Dictionaries.load(sparsify, DType.DOUBLE, config).get(0);
      assertArrayEquals(new double[] {1, 2, 3, 4}, rows.encoder().toDoubles());
      for (Dictionary each : List.of(columns, rows)) {
        assertArrayEquals(new double[] {7, 8}, each.decoders().get(0).rows().of(1).toDoubles());
      }
    }
  }

  // ---- names of folders --------------------------------------------------------------------

  /** Files of a case in folders as they are published. */
  private Path named(String name, String from, String to) throws IOException {
    Path files = files(name, Optional.empty());
    Path target = files.resolve(to);
    Files.createDirectories(Objects.requireNonNull(target.getParent()));
    Files.move(files.resolve(from), target);
    return files;
  }

  @Test
  void load_namesOfFolders_tellWhatFilesLeaveOut() throws IOException {
    String npz = "layer_3/width_16k/average_l0_";
    Map<String, Path> published =
        Map.of(
            "gemma-scope-resid",
            named("gemma-scope-resid", "layer_3", "gemma-scope-2b-pt-res/layer_3"),
            "gemma-scope-attention",
            named(
                "gemma-scope-attention",
                npz + "104",
                "models--google--gemma-scope-2b-pt-att/snapshots/0/" + npz + "104"),
            "gemma-scope-transcoder",
            named("gemma-scope-transcoder", "layer_3", "gemma-scope-2b-pt-transcoders/layer_3"),
            "openai-topk",
            named("openai-topk", "3.pt", "resid_post_mlp_v5_32k/autoencoders/3.pt"),
            "openai-relu",
            named("openai-relu", "3.pt", "mlp_post_act/autoencoders/3.pt"));
    for (Map.Entry<String, Path> each : published.entrySet()) {
      try (Scope scope = Scope.open()) {
        JsonNode json = json(each.getKey());
        Path folder = each.getValue();
        for (int level = 0; level < 2; level++) { // as deep as its layout has it
          try (Stream<Path> inside = Files.list(folder)) {
            folder = inside.filter(Files::isDirectory).findFirst().orElse(folder);
          }
        }
        Dictionary found = Dictionaries.load(folder, DType.DOUBLE, config(json)).get(0);
        assertEquals(place(json.get("hook_in").textValue(), config(json)), found.reads());
        new Values(each.getKey(), found, DType.DOUBLE).compare();
      }
    }
    Path learned = files("dictionary-learning-topk", Optional.empty());
    Path trainer = Files.createDirectories(temporary.resolve("resid_post_layer_3/trainer_0"));
    for (String file : List.of("ae.pt", "config.json")) {
      Files.move(learned.resolve(file), trainer.resolve(file));
    }
    try (Scope scope = Scope.open()) {
      TransformerConfig config = config(json("dictionary-learning-topk"));
      Dictionary found = Dictionaries.load(trainer, DType.DOUBLE, config).get(0);
      assertEquals(place("blocks.3.hook_resid_post", config), found.reads());
    }
  }

  @Test
  void load_whatNothingTells_isAskedFor() throws IOException {
    for (String name :
        List.of("gemma-scope-mlp", "dictionary-learning-gated", "openai-relu", "openai-topk")) {
      assertTrue(
          refusal(files(name, Optional.empty()), config(json(name)))
              .endsWith(
                  ": this file does not say where it reads, as \"hook_resid_post\": list it in"
                      + " dictionaries.json with \"hook\""),
          name);
    }
    String name = "openai-relu";
    assertTrue(
        refusal(files(name, Optional.of("{'hook': 'mlp_post_act'}")), config(json(name)))
            .endsWith(
                "3.pt: this file does not say of which layer it is, as 5: list it in"
                    + " dictionaries.json with \"layer\""));
    assertEquals(
        "FOLDER/dictionaries.json: files[0].k is 5, expected none: a dictionary of this kind has no"
            + " such thing",
        refusal(
            files(name, Optional.of("{'hook': 'mlp_post_act', 'layer': 3, 'k': 5}")),
            config(json(name))));
    String qwen = "qwen-scope";
    assertEquals(
        "FOLDER/dictionaries.json: files[0].k is 5, expected 7, as"
            + " FOLDER/SAE-Res-Qwen3-1.7B-Base-W32K-L0_7/layer3.sae.pt says",
        refusal(files(qwen, Optional.of("{'k': 5}")), config(json(qwen))));
    assertEquals(
        "FOLDER/dictionaries.json: files[0].hook is \"hook_resid_mid\", expected hook_resid_post,"
            + " as FOLDER/SAE-Res-Qwen3-1.7B-Base-W32K-L0_7/layer3.sae.pt says",
        refusal(files(qwen, Optional.of("{'hook': 'hook_resid_mid'}")), config(json(qwen))));
  }

  // ---- hooks -------------------------------------------------------------------------------

  @TestFactory
  Stream<DynamicNode> everyHook() {
    return Stream.of("hooks-gpt2", "hooks-llama", "hooks-gemma2", "hooks-neox")
        .map(name -> dynamicTest(name, () -> compareHooks(name)));
  }

  private static void compareHooks(String name) throws IOException {
    try (Scope scope = Scope.open()) {
      Transformer model = Models.load(folder(name), DType.DOUBLE, Progress.NONE);
      int[] tokens =
          StreamSupport.stream(json(name).get("tokens").spliterator(), false)
              .mapToInt(JsonNode::intValue)
              .toArray();
      Run run = model.run(tokens);
      Safetensors expected = Safetensors.open(folder(name).resolve("expected.safetensors"));
      int compared = 0;
      for (String key : expected.names()) {
        boolean centred = key.startsWith("centred/");
        Optional<Hook.Point> point = Hook.Point.of(centred ? key.substring(8) : key);
        if (point.isPresent()) {
          compared++;
          Tensor found = run.vectors(point.get().place(model.config()));
          requireEqual(
              key,
              expected.tensor(key, DType.DOUBLE).toDoubles(),
              (centred ? found.centred(-1) : found).toDoubles(),
              centred ? CENTRED_TOLERANCE : HOOK_TOLERANCE);
        }
      }
      assertTrue(compared > 10 * (model.config().layers().size() - 1), () -> name);
    }
  }

  @Test
  void hook_betweenParallelParts_isRefused() throws IOException {
    try (Scope scope = Scope.open()) {
      TransformerConfig config =
          Models.load(folder("hooks-neox"), DType.DOUBLE, Progress.NONE).config();
      assertEquals(
          "\"blocks.0.hook_resid_mid\" lies between attention and MLP, which are parallel in this"
              + " model",
          assertThrows(
                  IllegalArgumentException.class, () -> place("blocks.0.hook_resid_mid", config))
              .getMessage());
    }
  }

  private static void requireEqual(
      String name, double[] expected, double[] computed, double tolerance) {
    assertEquals(expected.length, computed.length, name);
    double largest = Arrays.stream(expected).map(Math::abs).max().orElse(0);
    for (int i = 0; i < expected.length; i++) {
      double difference = Math.abs(expected[i] - computed[i]);
      if (!(difference <= tolerance * largest)) {
        throw new AssertionError(
            "%s[%d] is %s, expected %s, of magnitudes up to %s"
                .formatted(name, i, computed[i], expected[i], largest));
      }
    }
  }
}
