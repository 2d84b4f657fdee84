package dev.tributary.transformer.file;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.transformer.Slot;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.Weight;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class CheckpointTest {
  private static final int LAYERS = 2;
  private static final int D_MODEL = 4;
  private static final int WIDTH = 6;
  private static final int NEURONS = 5;
  private static final int CONTEXT = 3;
  private static final int VOCABULARY = 7;

  static final String CONFIG =
      "{\"n_layer\": 2, \"n_embd\": 4, \"n_head\": 2, \"head_dim\": 3, \"n_inner\": 5,"
          + "\"n_positions\": 3, \"vocab_size\": 7, \"tie_word_embeddings\": true}";

  @TempDir private Path folder;

  private final SafetensorsBuilder weights = model("transformer.");

  static SafetensorsBuilder model(String prefix) {
    SafetensorsBuilder result = new SafetensorsBuilder();
    put(result, prefix + "wte.weight", VOCABULARY, D_MODEL);
    put(result, prefix + "wpe.weight", CONTEXT, D_MODEL);
    for (int layer = 0; layer < LAYERS; layer++) {
      putLayer(result, prefix + "h." + layer + ".");
    }
    putBoth(result, prefix + "ln_f.", D_MODEL);
    return result;
  }

  private static void putLayer(SafetensorsBuilder result, String name) {
    putBoth(result, name + "ln_1.", D_MODEL);
    putBoth(result, name + "ln_2.", D_MODEL);
    putBoth(result, name + "attn.c_attn.", D_MODEL, 3 * WIDTH);
    putBoth(result, name + "attn.c_proj.", WIDTH, D_MODEL);
    putBoth(result, name + "mlp.c_fc.", D_MODEL, NEURONS);
    putBoth(result, name + "mlp.c_proj.", NEURONS, D_MODEL);
  }

  private static void putBoth(SafetensorsBuilder result, String name, int... shape) {
    put(result, name + "weight", shape);
    put(result, name + "bias", shape[shape.length - 1]);
  }

  /** Numbers that differ from name to name. */
  private static void put(SafetensorsBuilder result, String name, int... shape) {
    float[] values = new float[Shape.of(shape).length()];
    for (int i = 0; i < values.length; i++) {
      values[i] = name.length() + i / 16f;
    }
    result.put(name, Shape.of(shape), values);
  }

  private Checkpoint open(boolean tied) throws IOException {
    Files.writeString(folder.resolve("config.json"), CONFIG.replace("true", String.valueOf(tied)));
    weights.write(folder.resolve("model.safetensors"));
    return Checkpoint.open(folder);
  }

  private String refusal(Executable executable) {
    Exception refusal = assertThrows(Exception.class, executable);
    assertEquals(IOException.class, refusal.getClass(), refusal::toString);
    String sentence = String.valueOf(refusal.getMessage());
    assertTrue(sentence.startsWith(folder.toString()), sentence);
    assertEquals(1, sentence.lines().count(), sentence);
    return sentence.substring(folder.toString().length());
  }

  @Test
  void read_weight_hasItsNumbers() throws IOException {
    Checkpoint checkpoint = open(true);
    assertEquals(TransformerConfig.gpt2(2, 4, 2, 3, 5, 3, 7, 1e-5, true), checkpoint.config());
    try (Scope scope = Scope.open()) {
      double[] values =
          checkpoint
              .read(new Slot(Weight.MLP_INPUT, 1, Shape.of(4, 5)), DType.DOUBLE, Widening.IF_ROOM)
              .toDoubles();
      double[] expected = new double[20];
      for (int i = 0; i < expected.length; i++) {
        expected[i] = "transformer.h.1.mlp.c_fc.weight".length() + i / 16.0;
      }
      assertArrayEquals(expected, values);
    }
  }

  @Test
  void read_fileWithoutPrefix_isRead() throws IOException {
    model("").write(folder.resolve("model.safetensors"));
    open(true);
    model("").write(folder.resolve("model.safetensors"));
    Checkpoint checkpoint = Checkpoint.open(folder);
    try (Scope scope = Scope.open()) {
      double[] values =
          checkpoint
              .read(new Slot(Weight.FINAL_NORM_BIAS, 0, Shape.of(4)), DType.FLOAT, Widening.IF_ROOM)
              .toDoubles();
      assertEquals("ln_f.bias".length(), values[0]);
    }
  }

  @Test
  void read_otherShape_saysBothAndTheKeys() throws IOException {
    put(weights, "transformer.wte.weight", 8, 4);
    put(weights, "transformer.h.0.attn.c_attn.weight", 4, 12);
    Checkpoint checkpoint = open(true);
    try (Scope scope = Scope.open()) {
      assertEquals(
          "/model.safetensors: tensor \"transformer.wte.weight\" is [8, 4], and "
              + folder
              + "/config.json says [7, 4] (vocab_size, n_embd)",
          refusal(
              () ->
                  checkpoint.read(
                      new Slot(Weight.TOKEN_EMBEDDING, 0, Shape.of(7, 4)),
                      DType.FLOAT,
                      Widening.IF_ROOM)));
      String sentence =
          refusal(
              () ->
                  checkpoint.read(
                      new Slot(Weight.KEY, 0, Shape.of(4, 6)), DType.FLOAT, Widening.IF_ROOM));
      assertTrue(sentence.contains("is [4, 12], and"), sentence);
      assertTrue(sentence.endsWith("says [4, 18] (n_embd, 3 n_head head_dim)"), sentence);
    }
  }

  @Test
  void read_noSuchWeight_saysSo() throws IOException {
    Checkpoint checkpoint = open(true);
    try (Scope scope = Scope.open()) {
      assertEquals(
          "/model.safetensors: there is no tensor \"lm_head.weight\"",
          refusal(
              () ->
                  checkpoint.read(
                      new Slot(Weight.UNEMBEDDING, 0, Shape.of(7, 4)),
                      DType.FLOAT,
                      Widening.IF_ROOM)));
    }
  }

  @ParameterizedTest
  @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY})
  void read_notFinite_namesTheTensor(float value) throws IOException {
    weights.put("transformer.ln_f.bias", Shape.of(4), 1, 2, value, 4);
    Checkpoint checkpoint = open(true);
    try (Scope scope = Scope.open()) {
      assertEquals(
          "/model.safetensors: tensor \"transformer.ln_f.bias\" holds a number that is infinite or"
              + " NaN",
          refusal(
              () ->
                  checkpoint.read(
                      new Slot(Weight.FINAL_NORM_BIAS, 0, Shape.of(4)),
                      DType.FLOAT,
                      Widening.IF_ROOM)));
    }
  }

  @Test
  void read_integers_areRefused() throws IOException {
    weights.put("transformer.ln_f.bias", "I32", Shape.of(4), new byte[16]);
    Checkpoint checkpoint = open(true);
    try (Scope scope = Scope.open()) {
      String sentence =
          refusal(
              () ->
                  checkpoint.read(
                      new Slot(Weight.FINAL_NORM_BIAS, 0, Shape.of(4)),
                      DType.FLOAT,
                      Widening.IF_ROOM));
      assertTrue(sentence.contains("\"transformer.ln_f.bias\" is I32"), sentence);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "transformer.wte.weight",
        "transformer.wpe.weight",
        "transformer.ln_f.bias",
        "transformer.h.0.ln_1.weight",
        "transformer.h.1.ln_2.bias",
        "transformer.h.1.attn.c_attn.bias",
        "transformer.h.1.attn.c_proj.weight",
        "transformer.h.0.mlp.c_fc.weight",
        "transformer.h.1.mlp.c_proj.bias"
      })
  void open_missingWeight_namesIt(String name) {
    weights.remove(name);
    String sentence = refusal(() -> open(true));
    String bare = name.substring("transformer.".length());
    assertTrue(
        sentence.startsWith("/model.safetensors: there is no tensor \"" + bare + "\""), sentence);
  }

  @ParameterizedTest
  @CsvSource({
    "score.weight, is unknown",
    "transformer.h.0.crossattention.c_attn.weight, is unknown",
    "transformer.h.1.attn.c_attn.weight_scale, is unknown",
    "transformer.h.00.ln_1.bias, is unknown",
    "transformer.h.99999999999.ln_1.bias, is unknown",
    "transformer.h.-1.ln_1.bias, is unknown",
    "wte, is unknown",
    "transformer.h.2.ln_1.bias, there are 2",
    "transformer.h.2.attn.bias, there are 2",
    "h.0.ln_1.bias, with and without"
  })
  void open_weightThatNobodyReads_isRefused(String name, String reason) {
    put(weights, name, 4);
    String sentence = refusal(() -> open(true));
    assertTrue(sentence.startsWith("/model.safetensors: tensor \""), sentence);
    assertTrue(sentence.contains(name), sentence);
    assertTrue(sentence.contains(reason), sentence);
  }

  @Test
  void open_moreLayersThanThereAre_namesTheFirstThatIsMissing() throws IOException {
    open(true);
    Path config = folder.resolve("config.json");
    String json = Files.readString(config);
    Files.writeString(config, json.replace("\"n_layer\": 2", "\"n_layer\": 60000"));
    assertEquals(
        "/model.safetensors: there is no tensor \"h.2.ln_1.weight\", which a model of 60000 layers"
            + " has",
        refusal(() -> Checkpoint.open(folder)));
  }

  @Test
  void open_causalMasks_areIgnored() throws IOException {
    weights.put("transformer.h.0.attn.bias", "U8", Shape.of(1, 1, 3, 3), new byte[9]);
    put(weights, "transformer.h.1.attn.masked_bias");
    assertEquals(2, open(true).config().layers().size());
  }

  @Test
  void open_untiedWithoutUnembedding_saysSo() {
    assertEquals(
        "/model.safetensors: there is no tensor \"lm_head.weight\", and tie_word_embeddings is"
            + " false",
        refusal(() -> open(false)));
  }

  @Test
  void open_untied_readsTheUnembedding() throws IOException {
    put(weights, "lm_head.weight", 7, 4);
    Checkpoint checkpoint = open(false);
    try (Scope scope = Scope.open()) {
      assertEquals(
          "lm_head.weight".length(),
          checkpoint
              .read(new Slot(Weight.UNEMBEDDING, 0, Shape.of(7, 4)), DType.FLOAT, Widening.IF_ROOM)
              .get(0, 0));
    }
  }

  @Test
  void open_tiedWithTheSameUnembedding_isRead() throws IOException {
    float[] values = new float[28];
    weights.put("transformer.wte.weight", Shape.of(7, 4), values);
    weights.put("lm_head.weight", Shape.of(7, 4), values);
    assertTrue(open(true).config().unembedding().tied());
  }

  @Test
  void open_tiedWithAnotherUnembedding_isRefused() {
    float[] values = new float[28];
    weights.put("transformer.wte.weight", Shape.of(7, 4), values.clone());
    values[27] = 1;
    weights.put("lm_head.weight", Shape.of(7, 4), values);
    assertEquals(
        "/model.safetensors: tensors \"lm_head.weight\" and \"transformer.wte.weight\" differ, and"
            + " tie_word_embeddings in "
            + folder
            + "/config.json is true",
        refusal(() -> open(true)));
  }

  @Test
  void open_noFolder_saysSo() {
    assertEquals(
        "/none: there is no such file or folder",
        refusal(() -> Checkpoint.open(folder.resolve("none"))));
  }

  @Test
  void open_fileForAFolder_saysSo() throws IOException {
    Path file = Files.writeString(folder.resolve("file"), "");
    assertEquals(
        "/file: there is no config.json beside this file", refusal(() -> Checkpoint.open(file)));
  }

  @ParameterizedTest
  @ValueSource(strings = {"config.json", "model.safetensors"})
  void open_missingFile_namesIt(String name) throws IOException {
    open(true);
    Files.delete(folder.resolve(name));
    String sentence = refusal(() -> Checkpoint.open(folder));
    assertTrue(sentence.startsWith(": there is no " + name), sentence);
    assertTrue(sentence.endsWith(" in this folder"), sentence);
  }

  @ParameterizedTest
  @ValueSource(strings = {"config.json", "model.safetensors"})
  void open_folderForAFile_saysSo(String name) throws IOException {
    open(true);
    Files.delete(folder.resolve(name));
    Files.createDirectory(folder.resolve(name));
    assertEquals(
        "/" + name + ": this is a folder, expected a file", refusal(() -> Checkpoint.open(folder)));
  }
}
