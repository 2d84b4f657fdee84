package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
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
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Files and expected numbers are PyTorch's: recipe.py beside them. */
class TorchDictionaryTest {
  /** 2 layers, dModel 4, 6 neurons. */
  private static final TransformerConfig CONFIG =
      TransformerConfig.gpt2(2, 4, 1, 4, 6, 8, 9, 1e-5, true);

  static final String JSON =
      "{'files': [{'path': 'relu.pt', 'site': 'mlp_post_act', 'layer': 1},"
          + " {'path': 'inside/topk.pt', 'site': 'resid_delta_mlp', 'layer': 0, 'normalize': false},"
          + " {'path': 'tied.pt', 'site': 'resid_delta_attn', 'layer': 0}]}";

  /** Where the files of the recipe are to lie. */
  static final Map<String, String> PATHS =
      Map.of("relu", "relu.pt", "topk", "inside/topk.pt", "tied", "tied.pt", "identity", "id.pt");

  @TempDir private Path folder;

  private static InputStream open(String name) {
    return Objects.requireNonNull(
        TorchDictionaryTest.class.getResourceAsStream("debugger/" + name));
  }

  static byte[] content(String name) throws IOException {
    try (InputStream stream = open(name + ".pt")) {
      return stream.readAllBytes();
    }
  }

  @BeforeEach
  void copy() throws IOException {
    Files.createDirectory(folder.resolve("inside"));
    for (Map.Entry<String, String> file : PATHS.entrySet()) {
      Files.write(folder.resolve(file.getValue()), content(file.getKey()));
    }
  }

  private void write(String json) throws IOException {
    Files.writeString(folder.resolve("autoencoders.json"), json.replace('\'', '"'));
  }

  @Test
  void load_listedFiles_computeWhatPyTorchDoes() throws IOException {
    write(JSON);
    JsonNode cases;
    try (InputStream stream = open("cases.json")) {
      cases = new ObjectMapper().readTree(stream);
    }
    List<String> names = List.of("tied", "topk", "relu");
    for (DType dtype : DType.values()) {
      try (Scope scope = Scope.open()) {
        List<Dictionary> all = Dictionaries.load(folder, dtype, CONFIG);
        assertEquals(
            List.of(
                "the attention dictionary of layer 0",
                "the mlp dictionary of layer 0",
                "the activation dictionary of layer 1"),
            all.stream().map(Dictionary::toString).toList());
        assertEquals(
            List.of(
                "torch file, Relu, 9 latents of 4",
                "torch file, TopK of 3, 9 latents of 4",
                "torch file, Relu, 9 latents of 6"),
            all.stream().map(Dictionary::description).toList());
        for (int i = 0; i < names.size(); i++) {
          requireNumbers(all.get(i), cases.get(names.get(i)));
        }
      }
    }
  }

  private static void requireNumbers(Dictionary autoencoder, JsonNode expected) {
    DType dtype = autoencoder.dtype();
    // Sums of up to nine products of numbers of about 1.
    double tolerance = 50 * dtype.epsilon();
    double[] y = SaeLensTest.doubles(expected.get("y"));
    Shape shape = Shape.of(y.length / autoencoder.width(), autoencoder.width());
    Variable read = Variable.constant(Tensor.of(dtype, shape, y));
    Variable latents = autoencoder.latents(read, ScaleGradient.LIVE);
    assertArrayEquals(
        SaeLensTest.doubles(expected.get("latents")), latents.value().toDoubles(), tolerance);
    assertArrayEquals(
        SaeLensTest.doubles(expected.get("reconstruction")),
        autoencoder.reconstruction(latents, read, ScaleGradient.LIVE, 0).value().toDoubles(),
        tolerance);
  }

  static Stream<Arguments> badFiles() {
    String outside = ", expected the path of a file or folder in this folder";
    return Stream.of(
        arguments(
            "'files': [",
            "'sites': {}, 'files': [",
            "sites is {}, expected none, since files are listed"),
        arguments("[{'path'", "[7, {'path'", "files is [7,"),
        arguments(
            "'site': 'mlp_post_act'",
            "'site': 'resid'",
            "files[0].site is \"resid\", expected blocks.<layer>.<hook> or a hook of "
                + Hook.known()),
        arguments(
            "'layer': 1",
            "'layer': 1, 'k': 3",
            "files[0].k is 3, expected none: a dictionary of this kind has no such thing"),
        arguments(
            "'site': 'mlp_post_act', 'layer': 1",
            "'hook': 'blocks.1.mlp.hook_post', 'layer': 0",
            "files[0].layer is 0, expected 1"),
        arguments(
            "'layer': 1",
            "'layer': 1, 'label': 'x2'",
            "files[0].label is \"x2\", expected letters from a to z and _"),
        arguments(
            "'layer': 1",
            "'layer': -1",
            "files[0].layer is -1, expected a whole number from 0 to 65535"),
        arguments(
            "'layer': 1",
            "'layer': 1.0",
            "files[0].layer is 1.0, expected a whole number from 0 to 65535"),
        arguments("'relu.pt'", "'/etc/passwd'", "files[0].path is \"/etc/passwd\"" + outside),
        arguments("'relu.pt'", "'../relu.pt'", "files[0].path is \"../relu.pt\"" + outside),
        arguments(
            "'relu.pt'",
            "'inside/../../relu.pt'",
            "files[0].path is \"inside/../../relu.pt\"" + outside),
        arguments("'relu.pt'", "''", "files[0].path is \"\"" + outside),
        arguments("'relu.pt'", "'a\\u0000b'", "\"a?b\" is not the path of a file"));
  }

  @ParameterizedTest
  @MethodSource("badFiles")
  void load_badList_isRefused(String from, String to, String sentence) throws IOException {
    assertTrue(JSON.contains(from));
    write(JSON.replace(from, to));
    String refusal = refusal();
    assertTrue(refusal.startsWith("/autoencoders.json: " + sentence), refusal);
  }

  static Stream<Arguments> badWeights() {
    return Stream.of(
        arguments("relu.pt", "no.pt", "/no.pt: there is no such file or folder"),
        arguments(
            "'site': 'mlp_post_act', ",
            "",
            "/relu.pt: this file does not say where it reads, as \"hook_resid_post\": list it in"
                + " dictionaries.json with \"hook\""),
        arguments(
            "'layer': 1",
            "'layer': 2",
            "/relu.pt: \"blocks.2.mlp.hook_post\" is of a layer that the model does not have: it"
                + " has 2"),
        arguments(
            "relu.pt",
            "inside",
            "/inside/topk.pt: this dictionary reads vectors of 4 at L1 MLP_ACTIVATION, and there"
                + " the model has vectors of 6"),
        arguments(
            "relu.pt",
            "tied.pt",
            "/tied.pt: this dictionary reads vectors of 4 at L1 MLP_ACTIVATION, and there the model"
                + " has vectors of 6"),
        arguments(
            "tied.pt",
            "relu.pt",
            "/relu.pt: this dictionary reads vectors of 6 at L0 ATTENTION_OUTPUT, and there the model"
                + " has vectors of 4"),
        arguments(
            "inside/topk.pt",
            "id.pt",
            "/id.pt: activation_state_dict.postact_fn is Identity, expected ReLU"),
        arguments(
            "'site': 'resid_delta_attn'",
            "'site': 'resid_delta_mlp'",
            "/tied.pt: this is a dictionary of blocks.0.hook_mlp_out, and so is FOLDER/inside/topk.pt:"
                + " name one of them, or list both in dictionaries.json with labels"));
  }

  @ParameterizedTest
  @MethodSource("badWeights")
  void load_badWeights_areRefused(String from, String to, String sentence) throws IOException {
    write(JSON.replace(from, to));
    assertEquals(sentence, refusal());
  }

  @Test
  void load_labels_tellDictionariesOfOnePlaceApart() throws IOException {
    write(
        "{'files': [{'path': 'tied.pt', 'hook': 'hook_mlp_out', 'layer': 1},"
            + " {'path': 'inside/topk.pt', 'hook': 'blocks.1.hook_mlp_out', 'label': 'k_three'}]}");
    try (Scope scope = Scope.open()) {
      assertEquals(
          List.of("the mlp dictionary of layer 1", "the mlp k three dictionary of layer 1"),
          Dictionaries.load(folder, DType.FLOAT, CONFIG).stream()
              .map(Dictionary::toString)
              .toList());
    }
  }

  @Test
  void load_fileWithoutList_saysThatItIsNeeded() {
    Exception refusal =
        assertThrows(
            IOException.class,
            () -> Dictionaries.load(folder.resolve("relu.pt"), DType.FLOAT, CONFIG));
    assertEquals(
        folder.resolve("relu.pt")
            + ": this file does not say where it reads, as \"hook_resid_post\": list it in"
            + " dictionaries.json with \"hook\"",
        refusal.getMessage());
  }

  private String refusal() {
    long live = Scope.liveTensors();
    String sentence;
    try (Scope scope = Scope.open()) {
      Exception refusal =
          assertThrows(Exception.class, () -> Dictionaries.load(folder, DType.FLOAT, CONFIG));
      assertEquals(IOException.class, refusal.getClass(), refusal::toString);
      sentence = String.valueOf(refusal.getMessage());
    }
    assertEquals(live, Scope.liveTensors());
    assertTrue(sentence.startsWith(folder.toString()), sentence);
    assertEquals(1, sentence.lines().count(), sentence);
    return sentence.substring(folder.toString().length()).replace(folder.toString(), "FOLDER");
  }
}
