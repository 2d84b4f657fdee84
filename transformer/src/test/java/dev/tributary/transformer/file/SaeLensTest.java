package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** The expected numbers are SAELens' formulas in PyTorch: recipe.py beside cases.json. */
class SaeLensTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  /** 2 layers, dModel 4, 6 neurons. */
  private static final TransformerConfig CONFIG =
      TransformerConfig.gpt2(2, 4, 1, 4, 6, 8, 9, 1e-5, true);

  private static final int LATENTS = 9;

  @TempDir private Path folder;

  private static final JsonNode CASES = cases();

  private static JsonNode cases() {
    try (InputStream stream =
        Objects.requireNonNull(SaeLensTest.class.getResourceAsStream("saelens/cases.json"))) {
      return JSON.readTree(stream);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  static ObjectNode config(String name) {
    return CASES.get(name).get("cfg").deepCopy();
  }

  static SafetensorsBuilder weights(String name) {
    SafetensorsBuilder result = new SafetensorsBuilder();
    for (var tensor : CASES.get(name).get("tensors").properties()) {
      List<Integer> shape = new ArrayList<>();
      tensor.getValue().get("shape").forEach(size -> shape.add(size.intValue()));
      double[] values = doubles(tensor.getValue().get("values"));
      float[] floats = new float[values.length];
      for (int i = 0; i < floats.length; i++) {
        floats[i] = (float) values[i];
      }
      result.put(
          tensor.getKey(), Shape.of(shape.stream().mapToInt(Integer::intValue).toArray()), floats);
    }
    return result;
  }

  /** The numbers of lists in lists. */
  static double[] doubles(JsonNode node) {
    List<Double> result = new ArrayList<>();
    collect(node, result);
    return result.stream().mapToDouble(Double::doubleValue).toArray();
  }

  private static void collect(JsonNode node, List<Double> values) {
    if (node.isNumber()) {
      values.add(node.doubleValue());
    }
    node.forEach(child -> collect(child, values));
  }

  private static void write(Path folder, JsonNode config, SafetensorsBuilder weights)
      throws IOException {
    Files.createDirectories(folder);
    Files.writeString(folder.resolve("cfg.json"), config.toString());
    weights.write(folder.resolve("sae_weights.safetensors"));
  }

  static Stream<Arguments> everyCase() {
    return CASES.properties().stream().map(entry -> arguments(entry.getKey(), entry.getValue()));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("everyCase")
  void load_everyArchitecture_computesWhatSaeLensDoes(String name, JsonNode expected)
      throws IOException {
    write(folder, config(name), weights(name));
    for (DType dtype : DType.values()) {
      // Sums of nine products of numbers of about 1, some scaled by exp(r_mag) or a norm.
      double tolerance = 200 * dtype.epsilon();
      try (Scope scope = Scope.open()) {
        Dictionary autoencoder = Dictionaries.load(folder, dtype, CONFIG).get(0);
        assertEquals(expected.get("site").textValue(), autoencoder.reads().site().name());
        assertEquals(expected.get("layer").intValue(), autoencoder.id().layer());
        assertEquals(dtype, autoencoder.dtype());
        int n = autoencoder.width();
        double[] y = doubles(expected.get("y"));
        Variable input = Variable.constant(Tensor.of(dtype, Shape.of(y.length / n, n), y));
        Variable latents = autoencoder.latents(input, ScaleGradient.LIVE);
        assertArrayEquals(doubles(expected.get("latents")), latents.value().toDoubles(), tolerance);
        assertArrayEquals(
            doubles(expected.get("reconstruction")),
            autoencoder.reconstruction(latents, input, ScaleGradient.LIVE, 0).value().toDoubles(),
            tolerance);
        for (int latent = 0; latent < LATENTS; latent++) {
          assertArrayEquals(
              latents.value().slice(-1, latent, latent + 1).toDoubles(),
              autoencoder.latents(input, ScaleGradient.LIVE, latent).value().toDoubles(),
              tolerance);
        }
      }
    }
  }

  private void requireAllThree() throws IOException {
    assertEquals(
        List.of(
            "the mlp dictionary of layer 0",
            "the attention dictionary of layer 1",
            "the mlp dictionary of layer 1"),
        Dictionaries.load(folder, DType.FLOAT, CONFIG).stream().map(Dictionary::toString).toList());
  }

  @Test
  void load_foldersOfLayers_areAllThereInForwardOrder() throws IOException {
    write(folder.resolve("b/deep/one"), config("jumprelu"), weights("jumprelu"));
    write(folder.resolve("a"), config("topk"), weights("topk"));
    write(folder.resolve("c"), config("oldest"), weights("oldest"));
    Files.createDirectories(folder.resolve("empty"));
    try (Scope scope = Scope.open()) {
      requireAllThree();
      for (String file : List.of("a", "a/cfg.json", "a/sae_weights.safetensors")) {
        List<Dictionary> one = Dictionaries.load(folder.resolve(file), DType.FLOAT, CONFIG);
        assertEquals("[the mlp dictionary of layer 1]", one.toString());
      }
    }
    write(folder.resolve("d"), config("topk_old"), weights("topk_old"));
    assertEquals(
        "/d/cfg.json: this is a dictionary of blocks.1.hook_mlp_out, and so is FOLDER/a/cfg.json:"
            + " name one of them, or list both in dictionaries.json with labels",
        refusal());
  }

  /**
   * Links to folders are followed, each folder is read once, and no circle is endless. A text that
   * begins at the root is none.
   */
  @Test
  void load_linkedFolders_areThereOnce(@TempDir Path elsewhere) throws IOException {
    write(folder.resolve("a"), config("topk"), weights("topk"));
    write(elsewhere.resolve("b/deep"), config("jumprelu"), weights("jumprelu"));
    write(elsewhere.resolve("c"), config("oldest"), weights("oldest"));
    Files.createSymbolicLink(folder.resolve("0-again"), Path.of("a"));
    Files.createSymbolicLink(folder.resolve("a/up"), folder);
    Files.createSymbolicLink(folder.resolve("b"), elsewhere.resolve("b"));
    Files.createSymbolicLink(elsewhere.resolve("b/deep/round"), elsewhere.resolve("b"));
    // So Git writes a link where it makes none.
    Files.writeString(folder.resolve("c"), folder.relativize(elsewhere.resolve("c")).toString());
    Files.writeString(folder.resolve("notes"), "a\n");
    write(elsewhere.resolve("e"), config("topk"), weights("topk"));
    Files.writeString(folder.resolve("e"), elsewhere.resolve("e").toString());
    try (Scope scope = Scope.open()) {
      requireAllThree();
    }
    Files.createSymbolicLink(folder.resolve("d"), Path.of("nowhere"));
    assertEquals("/d: this link leads nowhere", refusal());
    Files.delete(folder.resolve("d"));
    Files.createSymbolicLink(folder.resolve("d"), Path.of("d"));
    assertEquals("/d: this link leads nowhere", refusal());
  }

  /** A factor of ones is what SAELens saves where nothing was tuned. */
  @Test
  void load_factorOfOnes_isNone() throws IOException {
    float[] ones = new float[LATENTS];
    Arrays.fill(ones, 1);
    write(
        folder, config("oldest"), weights("oldest").put("scaling_factor", Shape.of(LATENTS), ones));
    try (Scope scope = Scope.open()) {
      assertEquals(1, Dictionaries.load(folder, DType.FLOAT, CONFIG).size());
    }
  }

  static Stream<Arguments> badFiles() {
    String hooks = ", expected blocks.<layer>.<hook> with a hook of " + Hook.known();
    return Stream.of(
        config("hook_name", "null", "hook_name is null" + hooks),
        config("hook_name", "7", "hook_name is 7, expected a text"),
        config(
            "hook_name",
            "\"blocks.00.hook_mlp_out\"",
            "hook_name is \"blocks.00.hook_mlp_out\"" + hooks),
        config("hook_name", "\"hook_z\"", "hook_name is \"hook_z\"" + hooks),
        config(
            "hook_name",
            "\"blocks.0.ln1.hook_normalized\"",
            "hook_name is \"blocks.0.ln1.hook_normalized\"" + hooks),
        config(
            "hook_name",
            "\"blocks.2.hook_mlp_out\"",
            "\"blocks.2.hook_mlp_out\" is of a layer that the model does not have: it has 2"),
        config(
            "hook_head_index",
            "3",
            "hook_head_index is 3, expected none: a dictionary of one head has no place here"),
        config(
            "hook_name_out",
            "\"blocks.1.hook_mlp_out\"",
            "hook_name_out is \"blocks.1.hook_mlp_out\", expected none: the architecture is no"
                + " transcoder"),
        config(
            "normalize_activations",
            "\"batch_norm\"",
            "normalize_activations is \"batch_norm\", expected none, expected_average_only_in,"
                + " layer_norm or constant_norm_rescale"),
        config(
            "normalize_activations",
            "true",
            "this file does not say what the vectors were multiplied by that it was trained on, as"
                + " 0.25: list it in dictionaries.json with \"factor\""),
        config(
            "reshape_activations",
            "\"hook_z\"",
            "reshape_activations is \"hook_z\", expected none, or hook_z at a hook of that name"),
        config(
            "architecture",
            "\"matching_pursuit\"",
            "architecture is \"matching_pursuit\", expected standard, topk, jumprelu, gated,"
                + " abstopk, batchtopk, matryoshka_batchtopk, transcoder, skip_transcoder,"
                + " jumprelu_transcoder, jumprelu_skip_transcoder"),
        config(
            "activation_fn_str",
            "\"tanh\"",
            "activation_fn_str is \"tanh\", expected relu, topk or tanh-relu"),
        config(
            "activation_fn_str", "\"topk\"", "activation_fn_kwargs is missing, expected an object"),
        config(
            "architecture",
            "\"topk\"",
            "k is missing, expected a whole number from 1 to 2147483647"),
        config("d_in", "6", "d_in is 6, expected 4, as in tensor \"W_enc\""),
        config("d_in", "null", "d_in is null, expected a whole number from 1 to 2147483647"),
        config("d_sae", "1e3", "d_sae is 1000.0, expected a whole number from 1 to 2147483647"),
        config("d_sae", "8", "d_sae is 8, expected 9, as in tensor \"W_enc\""),
        config("d_sae", "2147483647", "d_sae is 2147483647, expected 9, as in tensor \"W_enc\""),
        tensors(
            weights -> weights.put("W_enc", Shape.of(4, 0)),
            "tensor \"W_enc\" is [4, 0], and there have to be latents"),
        tensors(
            weights -> weights.put("W_dec", Shape.of(4, 9), new float[36]),
            "tensor \"W_dec\" has rows of 4 latents, and tensor \"W_enc\" of 9"),
        config("apply_b_dec_to_input", "1", "apply_b_dec_to_input is 1, expected true or false"),
        config(
            "model_from_pretrained_kwargs",
            "{\"center_writing_weights\": \"yes\"}",
            "model_from_pretrained_kwargs.center_writing_weights is \"yes\", expected true or"
                + " false"),
        config("metadata", "[]", "metadata is [], expected an object"),
        tensors(weights -> weights.remove("b_enc"), "there is no tensor \"b_enc\""),
        tensors(
            weights -> weights.put("log_threshold", Shape.of(1), 1),
            "tensor \"log_threshold\" is unknown: a dictionary of this kind has W_dec, W_enc, b_dec,"
                + " b_enc"),
        tensors(
            weights -> weights.put("b_dec", Shape.of(4), 1, 2, 3, Float.NaN),
            "tensor \"b_dec\" holds a number that is infinite or NaN"),
        tensors(
            weights -> weights.put("b_dec", "I64", Shape.of(4), new byte[32]),
            "tensor \"b_dec\" is I64, expected F32, F16, BF16 or F64"),
        arguments(
            "finetuning_scaling_factor",
            "false",
            (Consumer<SafetensorsBuilder>)
                weights -> weights.put("scaling_factor", Shape.of(9), new float[9]),
            "/sae_weights.safetensors: tensor \"scaling_factor\" is not all ones, and"
                + " finetuning_scaling_factor is not true in FOLDER/cfg.json"));
  }

  private static Arguments config(String key, String value, String sentence) {
    Consumer<SafetensorsBuilder> unchanged = weights -> {};
    return arguments(key, value, unchanged, "/cfg.json: " + sentence);
  }

  private static Arguments tensors(Consumer<SafetensorsBuilder> change, String sentence) {
    return arguments("comment", "{}", change, "/sae_weights.safetensors: " + sentence);
  }

  @ParameterizedTest
  @MethodSource("badFiles")
  void load_badFile_isRefusedInOneSentence(
      String key, String value, Consumer<SafetensorsBuilder> change, String sentence)
      throws IOException {
    ObjectNode config = config("oldest");
    config.put("hook_name", config.remove("hook_point").textValue());
    config.put("activation_fn_str", config.remove("activation_fn").textValue());
    config.set(key, JSON.readTree(value));
    SafetensorsBuilder weights = weights("oldest");
    change.accept(weights);
    write(folder, config, weights);
    assertEquals(sentence, refusal());
  }

  @Test
  void load_tooManyKept_isRefused() throws IOException {
    write(folder, config("topk").put("k", 10), weights("topk"));
    assertEquals("/cfg.json: k is 10, expected at most 9, the d_sae", refusal());
    ObjectNode config = config("topk_old");
    ((ObjectNode) config.get("activation_fn_kwargs")).put("postact_fn", "Tanh");
    write(folder, config, weights("topk_old"));
    assertEquals(
        "/cfg.json: activation_fn_kwargs.postact_fn is \"Tanh\", expected none: the k largest go"
            + " through relu",
        refusal());
  }

  /** A direction of length 0 cannot be scaled to length 1. */
  @Test
  void load_rescaledByZero_isRefused() throws IOException {
    write(
        folder,
        config("topk_rescaled"),
        weights("topk_rescaled").put("W_dec", Shape.of(LATENTS, 6), new float[LATENTS * 6]));
    assertEquals(
        "/sae_weights.safetensors: tensor \"W_dec\" leads to a number that is infinite or NaN",
        refusal());
  }

  @Test
  void load_nothingThere_saysWhatIsExpected() throws IOException {
    assertEquals(
        ": there are no dictionaries here, in any layout that is known, and no dictionaries.json",
        refusal());
    Files.writeString(folder.resolve("cfg.json"), config("topk").toString());
    assertEquals("/sae_weights.safetensors: there is no such file", refusal());
  }

  private String refusal() {
    return refusal(() -> Dictionaries.load(folder, DType.FLOAT, CONFIG));
  }

  private String refusal(Executable executable) {
    long live = Scope.liveTensors();
    String sentence;
    try (Scope scope = Scope.open()) {
      Exception refusal = assertThrows(Exception.class, executable);
      assertEquals(IOException.class, refusal.getClass(), refusal::toString);
      sentence = String.valueOf(refusal.getMessage());
    }
    assertEquals(live, Scope.liveTensors());
    assertTrue(sentence.startsWith(folder.toString()), sentence);
    assertEquals(1, sentence.lines().count(), sentence);
    return sentence.substring(folder.toString().length()).replace(folder.toString(), "FOLDER");
  }
}
