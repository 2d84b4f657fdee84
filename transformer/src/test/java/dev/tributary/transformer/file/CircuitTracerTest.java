package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.DecoderRows;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.Oracles;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Folders of transcoders as circuit-tracer reads them, and what it computed with them: the oracle
 * {@code reference-graphs}.
 */
class CircuitTracerTest {
  private static final double DOUBLE_TOLERANCE = 1e-12;
  private static final double FLOAT_TOLERANCE = 1e-4;

  /** 2 layers, dModel 2. */
  private static final TransformerConfig CONFIG =
      TransformerConfig.gpt2(2, 2, 1, 2, 3, 8, 9, 1e-5, MlpActivation.TANH_GELU, true);

  private static final String YAML =
      """
      model_name: a/model
      model_kind: cross_layer_transcoder
      feature_input_hook: hook_resid_mid
      feature_output_hook: hook_mlp_out
      scan: a/model
      """;

  @TempDir private Path folder;

  @TestFactory
  Stream<DynamicNode> everyCase() throws IOException {
    List<Path> cases;
    try (Stream<Path> files = Files.list(Oracles.folder("reference-graphs"))) {
      cases = files.filter(path -> Files.exists(path.resolve("transcoders"))).sorted().toList();
    }
    assertTrue(!cases.isEmpty(), "no cases");
    return cases.stream()
        .flatMap(
            path ->
                Arrays.stream(DType.values())
                    .map(
                        dtype ->
                            dynamicTest(
                                path.getFileName() + ", " + dtype, () -> compare(path, dtype))));
  }

  /** At all tokens but the first, where circuit-tracer sets everything to 0. */
  private static void compare(Path path, DType dtype) throws IOException {
    double tolerance = dtype == DType.DOUBLE ? DOUBLE_TOLERANCE : FLOAT_TOLERANCE;
    try (Scope scope = Scope.open()) {
      JsonNode json = new ObjectMapper().readTree(path.resolve("case.json").toFile());
      Transformer model = Models.load(path, dtype, Progress.NONE);
      List<Dictionary> all = Dictionaries.load(path.resolve("transcoders"), dtype, model.config());
      int layers = model.config().layers().size();
      assertEquals(layers, all.size());
      Run run = model.with(all).run(tokens(json));
      Safetensors expected = Safetensors.open(path.resolve("expected.safetensors"));
      Map<Place, Tensor> written = new TreeMap<>(Comparator.comparing(Place::layer));
      for (int layer = 0; layer < layers; layer++) {
        Dictionary dictionary = all.get(layer);
        Tensor x = run.vectors(dictionary.reads());
        requireEqual(expected, "feature_input", layer, x, tolerance);
        Variable read = Variable.constant(x);
        Variable latents = dictionary.latents(read, ScaleGradient.DETACHED);
        requireEqual(expected, "activations", layer, latents.value(), tolerance);
        Tensor z = dictionary.preActivations(read, ScaleGradient.DETACHED).value();
        requireEqual(expected, "pre_activations", layer, z, tolerance);
        for (int decoder = 0; decoder < dictionary.decoders().size(); decoder++) {
          Tensor one = run.encoding(dictionary).reconstruction(decoder);
          written.merge(dictionary.decoders().get(decoder).place(), one, Tensor::plus);
        }
      }
      for (Map.Entry<Place, Tensor> each : written.entrySet()) {
        Tensor y = run.vectors(each.getKey());
        int layer = each.getKey().layer();
        requireEqual(expected, "feature_output", layer, y, tolerance);
        requireEqual(expected, "error_vectors", layer, y.minus(each.getValue()), tolerance);
      }
    }
  }

  private static int[] tokens(JsonNode json) {
    return StreamSupport.stream(json.get("token_ids").spliterator(), false)
        .mapToInt(JsonNode::intValue)
        .toArray();
  }

  private static void requireEqual(
      Safetensors expected, String name, int layer, Tensor computed, double tolerance)
      throws IOException {
    Tensor all = expected.tensor(name, DType.DOUBLE);
    int count = all.shape().size(1);
    double largest = Arrays.stream(all.toDoubles()).map(Math::abs).max().orElseThrow();
    assertArrayEquals(
        all.slice(0, layer, layer + 1).slice(1, 1, count).toDoubles(),
        computed.slice(0, 1, count).toDoubles(),
        tolerance * largest,
        name + " of layer " + layer);
  }

  // ---- files by hand -----------------------------------------------------------------------

  private static SafetensorsBuilder encoder(int layer) {
    return new SafetensorsBuilder()
        .put("W_enc_" + layer, Shape.of(3, 2), 1, 2, 3, 4, 5, 6)
        .put("b_enc_" + layer, Shape.of(3), 1, 2, 3)
        .put("b_dec_" + layer, Shape.of(2), 7, 8);
  }

  static Map<String, byte[]> crossLayer() {
    return Map.of(
        "config.yaml", YAML.getBytes(StandardCharsets.UTF_8),
        "W_enc_0.safetensors", encoder(0).build(),
        "W_enc_1.safetensors", encoder(1).build(),
        "W_dec_0.safetensors",
            new SafetensorsBuilder()
                .put("W_dec_0", Shape.of(3, 2, 2), 1, 2, 3, 4, 5, 6, 7, 8, Float.NaN, 10, 11, 12)
                .build(),
        "W_dec_1.safetensors",
            new SafetensorsBuilder().put("W_dec_1", Shape.of(3, 1, 2), 1, 2, 3, 4, 5, 6).build());
  }

  private void write() throws IOException {
    for (Map.Entry<String, byte[]> file : crossLayer().entrySet()) {
      Files.write(folder.resolve(file.getKey()), file.getValue());
    }
  }

  @Test
  void load_crossLayer_readsTheRowsThatAreAskedFor() throws IOException {
    write();
    try (Scope scope = Scope.open()) {
      List<Dictionary> all = Dictionaries.load(folder, DType.FLOAT, CONFIG);
      Dictionary first = all.get(0);
      assertEquals(Dictionary.Kind.CROSS_LAYER, first.id().kind());
      assertEquals(Dictionary.Kind.CROSS_LAYER, all.get(1).id().kind());
      assertEquals(
          List.of(Place.of(Site.MLP_OUTPUT, 0), Place.of(Site.MLP_OUTPUT, 1)),
          first.decoders().stream().map(Dictionary.Decoder::place).toList());
      DecoderRows own = first.decoders().get(0).rows();
      DecoderRows next = first.decoders().get(1).rows();
      assertArrayEquals(new double[] {5, 6, 1, 2}, own.of(1, 0).toDoubles());
      assertArrayEquals(new double[] {7, 8, 11, 12, 3, 4}, next.of(1, 2, 0).toDoubles());
      assertEquals(Shape.of(0, 2), next.of().shape());
      assertTrue(first.decoders().get(0).bias().isPresent());
      assertTrue(first.decoders().get(1).bias().isEmpty());
      long live = Scope.liveTensors();
      UncheckedIOException refusal = assertThrows(UncheckedIOException.class, () -> own.of(0, 2));
      assertEquals(live, Scope.liveTensors());
      assertEquals(
          folder.resolve("W_dec_0.safetensors")
              + ": tensor \"W_dec_0\" holds a number that is infinite or NaN",
          Objects.requireNonNull(refusal.getCause()).getMessage());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"W_enc_0", "W_dec_0", "W_enc_1", "W_dec_1"})
  void load_halfOfALayer_isRefused(String name) throws IOException {
    write();
    Path missing = folder.resolve(name + ".safetensors");
    Files.delete(missing);
    IOException refusal =
        assertThrows(IOException.class, () -> Dictionaries.load(folder, DType.FLOAT, CONFIG));
    assertEquals(missing + ": there is no such file", refusal.getMessage());
  }

  @Test
  void scan_ofConfig_isOneNameSeveralOrNone() throws IOException {
    assertEquals(List.of(), Dictionaries.scan(folder));
    write();
    assertEquals(List.of("a/model"), Dictionaries.scan(folder));
    assertEquals(List.of("a/model"), Dictionaries.scan(folder.resolve("config.yaml")));
    assertEquals(List.of("a", "b"), scan("scan: [a, b]"));
    assertEquals(List.of(), scan(""));
    assertEquals(List.of(), scan("scan: ''"));
    IOException refusal = assertThrows(IOException.class, () -> scan("scan: {a: b}"));
    assertEquals(
        folder.resolve("config.yaml") + ": scan is {\"a\":\"b\"}, expected a text",
        refusal.getMessage());
  }

  private List<String> scan(String line) throws IOException {
    Files.writeString(folder.resolve("config.yaml"), YAML.replace("scan: a/model", line));
    return Dictionaries.scan(folder);
  }

  /** Circuit-tracer lets latents between such a threshold and 0 through. */
  @Test
  void load_negativeThreshold_isRefused() throws IOException {
    write();
    Path file = folder.resolve("W_enc_1.safetensors");
    encoder(1).put("threshold_1", Shape.of(3), 0, -0.5f, 1).write(file);
    IOException refusal =
        assertThrows(IOException.class, () -> Dictionaries.load(folder, DType.FLOAT, CONFIG));
    assertEquals(
        file + ": tensor \"threshold_1\" holds -0.5, and thresholds here are not negative",
        refusal.getMessage());
  }

  static Stream<Arguments> badConfigs() {
    return Stream.of(
        arguments("scan: a/model", "scan: [", "this file is not valid YAML, or nests too deeply"),
        arguments(
            "scan: a/model",
            "scan: a\nscan: b",
            "this file is not valid YAML, or nests too deeply"),
        arguments(
            "cross_layer_transcoder",
            "crosscoder",
            "model_kind is \"crosscoder\", expected transcoder_set or cross_layer_transcoder"),
        arguments(
            "cross_layer_transcoder",
            "transcoder_set",
            "there are no files named layer_<layer>.safetensors beside this one"),
        arguments(
            "scan: a/model",
            "transcoders: [a/b]",
            "transcoders is [\"a/b\"], expected none: their files have to lie beside this one"),
        arguments(
            "scan: a/model",
            "activation: gelu",
            "activation is \"gelu\", expected relu, jump_relu or topk"),
        arguments(
            "scan: a/model",
            "activation: topk",
            "k is missing, expected a whole number from 1 to 2147483647"));
  }

  @ParameterizedTest
  @MethodSource("badConfigs")
  void load_badConfig_isRefusedInOneSentence(String from, String to, String sentence)
      throws IOException {
    write();
    Files.writeString(folder.resolve("config.yaml"), YAML.replace(from, to));
    IOException refusal =
        assertThrows(IOException.class, () -> Dictionaries.load(folder, DType.FLOAT, CONFIG));
    assertEquals(folder.resolve("config.yaml") + ": " + sentence, refusal.getMessage());
  }
}
