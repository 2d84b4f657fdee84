package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

class DictionarySitesTest {
  /** 2 layers, dModel 4, 6 neurons. */
  private static final TransformerConfig CONFIG =
      TransformerConfig.gpt2(2, 4, 1, 4, 6, 8, 9, 1e-5, true);

  private static final int LATENTS = 5;

  static final String JSON =
      "{'sites': {'mlp_post_act': {'activation': 'JumpReLU', 'tied': true, 'k': null},"
          + " 'resid_delta_attn': {'activation': 'Gated'},"
          + " 'resid_delta_mlp': {'activation': 'TopK', 'k': 3}},"
          + " 'n_latents': 5, 'comment': 'not read'}";

  @TempDir private Path folder;

  private final SafetensorsBuilder weights = weights();

  /** One on MLP activations, one on attention outputs, two on MLP outputs. */
  static SafetensorsBuilder weights() {
    SafetensorsBuilder result = new SafetensorsBuilder();
    putEncoder(result, "mlp_post_act.1.", 6, "threshold");
    putEncoder(result, "resid_delta_attn.1.", 4, "gate_bias", "log_scale");
    putEncoder(result, "resid_delta_mlp.1.", 4);
    putEncoder(result, "resid_delta_mlp.0.", 4);
    put(result, "resid_delta_attn.1.decoder.weight", 4, LATENTS);
    put(result, "resid_delta_mlp.0.decoder.weight", 4, LATENTS);
    put(result, "resid_delta_mlp.1.decoder.weight", 4, LATENTS);
    return result;
  }

  private static void putEncoder(
      SafetensorsBuilder result, String name, int n, String... perLatent) {
    put(result, name + "encoder.weight", LATENTS, n);
    put(result, name + "pre_bias", n);
    put(result, name + "latent_bias", LATENTS);
    for (String part : perLatent) {
      put(result, name + part, LATENTS);
    }
  }

  /** Numbers that differ from name to name. */
  private static void put(SafetensorsBuilder result, String name, int... shape) {
    float[] values = new float[Shape.of(shape).length()];
    for (int i = 0; i < values.length; i++) {
      values[i] = first(name) + i / 16f;
    }
    result.put(name, Shape.of(shape), values);
  }

  private static float first(String name) {
    return name.length() + name.charAt(name.indexOf('.') + 1) - '0';
  }

  private void write(String json) throws IOException {
    Files.writeString(folder.resolve("autoencoders.json"), json.replace('\'', '"'));
    weights.write(folder.resolve("autoencoders.safetensors"));
  }

  private List<Dictionary> load(DType dtype) throws IOException {
    return Dictionaries.load(folder, dtype, CONFIG);
  }

  @Test
  void load_everyKind_isInForwardOrderWithItsNumbers() throws IOException {
    write(JSON);
    for (DType dtype : DType.values()) {
      try (Scope scope = Scope.open()) {
        List<Dictionary> all = load(dtype);
        assertEquals(
            List.of(
                "the mlp dictionary of layer 0",
                "the attention dictionary of layer 1",
                "the activation dictionary of layer 1",
                "the mlp dictionary of layer 1"),
            all.stream().map(Dictionary::toString).toList());
        assertTrue(all.stream().allMatch(one -> one.dtype() == dtype));
        assertTrue(all.stream().allMatch(one -> one.latentCount() == LATENTS));
        assertEquals(List.of(4, 4, 6, 4), all.stream().map(Dictionary::width).toList());

        Dictionary untied = all.get(0);
        float start = first("resid_delta_mlp.0.decoder.weight");
        assertArrayEquals(
            new double[] {start + 2 / 16.0, start + 7 / 16.0, start + 12 / 16.0, start + 17 / 16.0},
            untied.decoders().get(0).rows().of(2).toDoubles());
        assertEquals(new LatentActivation.TopK(3), untied.activation());
        assertEquals(first("resid_delta_mlp.0.pre_bias"), untied.inputBias().orElseThrow().get(0));

        Dictionary tied = all.get(2);
        assertArrayEquals(
            tied.encoder().slice(0, 1, 2).toDoubles(),
            tied.decoders().get(0).rows().of(1).toDoubles());
        LatentActivation.JumpRelu jump = (LatentActivation.JumpRelu) tied.activation();
        assertEquals(first("mlp_post_act.1.threshold"), jump.threshold().get(0));

        LatentActivation.Gated gated = (LatentActivation.Gated) all.get(1).activation();
        assertEquals(first("resid_delta_attn.1.gate_bias"), gated.gateBias().get(0));
        assertEquals(first("resid_delta_attn.1.log_scale"), gated.logScale().get(0));
      }
    }
  }

  static Stream<Arguments> badFiles() {
    return Stream.of(
        json("[]", ".json: this file holds [], expected a JSON object"),
        json("{}", ".json: sites is missing, expected an object"),
        json(
            "{'sites': {}}",
            ".json: sites is {}, expected at least one of resid_delta_attn, resid_post_attn,"
                + " mlp_post_act, resid_delta_mlp, resid_post_mlp"),
        json(
            "{'sites': {'resid': {'activation': 'ReLU'}}}",
            ".json: sites has the key \"resid\", expected resid_delta_attn, resid_post_attn,"
                + " mlp_post_act, resid_delta_mlp, resid_post_mlp"),
        json(
            "{'sites': {'mlp_post_act': 'ReLU'}}",
            ".json: sites.mlp_post_act is \"ReLU\", expected an object"),
        json(
            JSON.replace("'JumpReLU'", "'Softmax'"),
            ".json: sites.mlp_post_act.activation is \"Softmax\", expected ReLU, TopK, JumpReLU or"
                + " Gated"),
        json(
            "{'sites': {'mlp_post_act': {}}}",
            ".json: sites.mlp_post_act.activation is missing, expected ReLU, TopK, JumpReLU or"
                + " Gated"),
        json(
            JSON.replace("'Gated'", "'Gated', 'k': 3"),
            ".json: sites.resid_delta_attn.k is 3, expected none: Gated has only the keys"
                + " activation, tied"),
        json(
            JSON.replace("'k': 3", "'k': 3, 'postact_fn': 'Tanh'"),
            ".json: sites.resid_delta_mlp.postact_fn is \"Tanh\", expected none: TopK has only the"
                + " keys activation, tied, k"),
        json(
            JSON.replace(", 'k': 3", ""),
            ".json: sites.resid_delta_mlp.k is missing, expected a whole number from 1 to"
                + " 2147483647"),
        json(
            JSON.replace("'k': 3", "'k': 0"),
            ".json: sites.resid_delta_mlp.k is 0, expected a whole number from 1 to 2147483647"),
        json(
            JSON.replace("'k': 3", "'k': 6"),
            ".json: sites.resid_delta_mlp.k is 6, expected at most 5, as tensor"
                + " \"resid_delta_mlp.0.encoder.weight\" says"),
        json(
            JSON.replace("true", "1"),
            ".json: sites.mlp_post_act.tied is 1, expected true or false"),
        json(
            JSON.replace("'n_latents': 5", "'n_latents': 6"),
            ".json: n_latents is 6, expected 5, as tensor \"mlp_post_act.1.encoder.weight\" in"
                + " FOLDER/autoencoders.safetensors"),
        json(
            JSON.replace("'tied': true", "'tied': false"),
            ".safetensors: there is no tensor \"mlp_post_act.1.decoder.weight\", and there are"
                + " others of its layer"),
        json(
            JSON.replace("'Gated'", "'Gated', 'tied': true"),
            ".safetensors: tensor \"resid_delta_attn.1.decoder.weight\" is unknown: its site has"
                + " encoder.weight, pre_bias, latent_bias, gate_bias, log_scale"),
        json(
            "{'sites': {'mlp_post_act': {'activation': 'JumpReLU', 'tied': true}}}",
            ".safetensors: tensor \"resid_delta_attn.1.encoder.weight\" is of a site that"
                + " FOLDER/autoencoders.json does not have"),
        tensors(
            weights -> put(weights, "resid_delta_mlp.2.pre_bias", 4),
            "there is no tensor \"resid_delta_mlp.2.encoder.weight\", and there are others of its"
                + " layer"),
        tensors(
            weights -> put(weights, "resid_delta_mlp.01.pre_bias", 4),
            "tensor \"resid_delta_mlp.01.pre_bias\" is unknown: names are <site>.<layer>.<part>"
                + " with a site of resid_delta_attn, resid_post_attn, mlp_post_act,"
                + " resid_delta_mlp, resid_post_mlp"),
        tensors(
            weights -> put(weights, "resid.0.pre_bias", 4),
            "tensor \"resid.0.pre_bias\" is unknown: names are <site>.<layer>.<part> with a site of"
                + " resid_delta_attn, resid_post_attn, mlp_post_act, resid_delta_mlp,"
                + " resid_post_mlp"),
        tensors(
            weights -> put(weights, "resid_delta_mlp.0.threshold", LATENTS),
            "tensor \"resid_delta_mlp.0.threshold\" is unknown: its site has encoder.weight,"
                + " pre_bias, latent_bias, decoder.weight"),
        tensors(
            weights -> weights.remove("resid_delta_mlp.0.latent_bias"),
            "there is no tensor \"resid_delta_mlp.0.latent_bias\", and there are others of its"
                + " layer"),
        tensors(
            weights ->
                List.of("encoder.weight", "decoder.weight", "pre_bias", "latent_bias")
                    .forEach(
                        part -> {
                          weights.remove("resid_delta_mlp.0." + part);
                          weights.remove("resid_delta_mlp.1." + part);
                        }),
            "there is no tensor of site resid_delta_mlp, which FOLDER/autoencoders.json has"),
        tensors(
            weights -> put(weights, "mlp_post_act.1.encoder.weight", LATENTS, 4),
            "tensor \"mlp_post_act.1.pre_bias\" is [6], expected [4]"),
        tensors(
            weights -> put(weights, "mlp_post_act.1.encoder.weight", 0, 6),
            "tensor \"mlp_post_act.1.encoder.weight\" is [0, 6], and there have to be latents"),
        tensors(
            weights -> put(weights, "resid_delta_mlp.1.decoder.weight", LATENTS, 4),
            "tensor \"resid_delta_mlp.1.decoder.weight\" has rows of 4 latents, and tensor"
                + " \"resid_delta_mlp.1.encoder.weight\" of 5"),
        tensors(
            weights -> put(weights, "mlp_post_act.1.threshold", 1),
            "tensor \"mlp_post_act.1.threshold\" is [1], expected [5]"),
        tensors(
            weights -> weights.put("resid_delta_mlp.1.pre_bias", Shape.of(4), 1, 2, 3, Float.NaN),
            "tensor \"resid_delta_mlp.1.pre_bias\" holds a number that is infinite or NaN"),
        tensors(
            weights -> weights.put("resid_delta_mlp.1.pre_bias", "I8", Shape.of(4), new byte[4]),
            "tensor \"resid_delta_mlp.1.pre_bias\" is I8, expected F32, F16, BF16 or F64"));
  }

  private static Arguments json(String json, String sentence) {
    Consumer<SafetensorsBuilder> unchanged = weights -> {};
    return arguments(json, unchanged, sentence);
  }

  private static Arguments tensors(Consumer<SafetensorsBuilder> change, String sentence) {
    return arguments(JSON, change, ".safetensors: " + sentence);
  }

  @ParameterizedTest
  @MethodSource("badFiles")
  void load_badFile_isRefusedInOneSentence(
      String json, Consumer<SafetensorsBuilder> change, String sentence) throws IOException {
    change.accept(weights);
    write(json);
    assertEquals("/autoencoders" + sentence.replace("FOLDER", folder.toString()), refusal());
  }

  @Test
  void load_missingFolderOrFile_isRefusedInOneSentence() throws IOException {
    write(JSON);
    Files.delete(folder.resolve("autoencoders.safetensors"));
    assertEquals("/autoencoders.safetensors: there is no such file", refusal());
    Path nowhere = folder.resolve("nowhere");
    assertEquals(
        "/nowhere: there is no such file or folder",
        refusal(() -> Dictionaries.load(nowhere, DType.FLOAT, CONFIG)));
    Files.delete(folder.resolve("autoencoders.json"));
    Path file = Files.writeString(folder.resolve("weights.txt"), "");
    assertEquals(
        "/weights.txt: there are no dictionaries here, in any layout that is known, and no"
            + " dictionaries.json",
        refusal(() -> Dictionaries.load(file, DType.FLOAT, CONFIG)));
  }

  @Test
  void load_oneOfItsFiles_isItsFolder() throws IOException {
    write(JSON);
    try (Scope scope = Scope.open()) {
      for (String name : List.of("autoencoders.json", "autoencoders.safetensors")) {
        Path file = folder.resolve(name);
        assertEquals(4, Dictionaries.load(file, DType.FLOAT, CONFIG).size());
      }
    }
  }

  private String refusal() {
    return refusal(() -> load(DType.FLOAT));
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
    return sentence.substring(folder.toString().length());
  }
}
