package dev.tributary.attribution.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.file.ElementType;
import dev.tributary.transformer.file.SafetensorsWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Gate and up of the neurons of a small Llama, on the command line. */
class GatedModelTest {
  private static final int VOCABULARY = 9;
  private static final int WIDTH = 6;
  private static final int NEURONS = 5;

  /** Rounding in 64 bits. */
  private static final double EXACT = 1e-12;

  @TempDir private Path folder;

  @BeforeEach
  void save() throws IOException {
    Files.writeString(
        folder.resolve("config.json"),
        """
        {"model_type": "llama", "hidden_size": 6, "intermediate_size": 5, "num_hidden_layers": 2,
         "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "vocab_size": 9,
         "max_position_embeddings": 8, "rms_norm_eps": 1e-5, "tie_word_embeddings": true}
        """);
    Random random = new Random(1);
    SafetensorsWriter writer = new SafetensorsWriter();
    try (Scope scope = Scope.open()) {
      put(writer, random, "embed_tokens", VOCABULARY, WIDTH);
      put(writer, random, "norm", WIDTH);
      for (int layer = 0; layer < 2; layer++) {
        String part = "layers." + layer + ".";
        put(writer, random, part + "input_layernorm", WIDTH);
        put(writer, random, part + "post_attention_layernorm", WIDTH);
        put(writer, random, part + "self_attn.q_proj", 8, WIDTH);
        put(writer, random, part + "self_attn.k_proj", 4, WIDTH);
        put(writer, random, part + "self_attn.v_proj", 4, WIDTH);
        put(writer, random, part + "self_attn.o_proj", WIDTH, 8);
        put(writer, random, part + "mlp.gate_proj", NEURONS, WIDTH);
        put(writer, random, part + "mlp.up_proj", NEURONS, WIDTH);
        put(writer, random, part + "mlp.down_proj", WIDTH, NEURONS);
      }
      writer.write(folder.resolve("model.safetensors"));
    }
    Invocation.saveWords(folder, VOCABULARY);
  }

  private static void put(
      SafetensorsWriter writer, Random random, String module, int... dimensions) {
    Shape shape = Shape.of(dimensions);
    double[] numbers =
        IntStream.range(0, shape.length()).mapToDouble(i -> random.nextGaussian()).toArray();
    Tensor tensor = Tensor.of(DType.DOUBLE, shape, numbers);
    writer.put("model." + module + ".weight", ElementType.F64, tensor);
  }

  private Invocation run(String command, String... more) {
    Object[] subject = {command, "--model", folder, "--prompt", "w1 w2 w3", "--dtype", "double"};
    return Invocation.of(Stream.of(subject, more).flatMap(Stream::of).toArray());
  }

  private JsonNode json(String command, String... more) throws IOException {
    return run(command, Stream.concat(Stream.of(more), Stream.of("--json")).toArray(String[]::new))
        .json();
  }

  /** Edges into a node, by their source. */
  private Map<String, Double> edges(String into) throws IOException {
    Map<String, Double> edges = new HashMap<>();
    JsonNode json = json("attribute", "--into", into, "--top", "1000");
    assertEquals(into, json.at("/edges/into/name").textValue());
    for (JsonNode edge : json.at("/edges/largest")) {
      assertEquals(into, edge.at("/target/name").textValue());
      edges.put(edge.at("/source/name").textValue(), edge.get("score").doubleValue());
    }
    return edges;
  }

  @Test
  void into_gateAndUp_addUpToTheNeuron() throws IOException {
    Map<String, Double> whole = edges("L1.neuron3[2]");
    Map<String, Double> gate = edges("L1.neuron3.gate[2]");
    Map<String, Double> up = edges("L1.neuron3.up[2]");
    assertTrue(whole.size() > NEURONS);
    whole.forEach(
        (source, edge) ->
            assertEquals(
                edge,
                gate.getOrDefault(source, 0.0) + up.getOrDefault(source, 0.0),
                EXACT,
                source));
    String text = run("attribute", "--into", "L1.neuron3.gate[2]").out();
    assertTrue(text.lines().anyMatch(line -> line.matches(".* gate +-?\\d.*")), text);
  }

  @Test
  void verify_gateAndUp_agreeAndCertify() throws IOException {
    for (String path : List.of("gate", "up")) {
      String name = "L0.neuron1[2]->L1.neuron3.%s[2]".formatted(path);
      JsonNode edge = json("verify", name, "--detach");
      double pulled = edge.get("pulled").doubleValue();
      assertTrue(pulled != 0);
      assertEquals(pulled, edge.get("pushed").doubleValue(), EXACT);
      assertEquals(path.equals("up"), edge.get("certificate").has("recorded"), path);
      assertTrue(edge.get("certificate").get("relative_residual").doubleValue() < EXACT);
    }
  }

  @Test
  void trace_gateOrUp_isTheActivation() throws IOException {
    double whole = json("attribute", "--trace", "L1.neuron3[2]").at("/metric/value").doubleValue();
    for (String path : List.of("gate", "up")) {
      String name = "L1.neuron3.%s[2]".formatted(path);
      JsonNode metric = json("attribute", "--trace", name).get("metric");
      assertEquals(name, metric.at("/trace/name").textValue());
      assertEquals(whole, metric.get("value").doubleValue(), EXACT);
    }
    JsonNode pre = json("attribute", "--trace", "L1.neuron3.gate[2]", "--stage", "pre");
    assertTrue(whole != pre.at("/metric/value").doubleValue());
    run("attribute", "--trace", "L1.neuron3.up[2]", "--stage", "pre")
        .assertRefused("the up of L1.neuron3[2] has no nonlinearity, so it has no side before one");
  }

  @Test
  void graph_ofGatedModel_hasNeuronsWhole() throws IOException {
    JsonNode circuit = json("graph", "--nodes", "20", "--trace", "L1.neuron3.gate[2]");
    for (JsonNode edge : circuit.get("edges")) {
      String target = circuit.get("nodes").get(edge.get("target").intValue()).get("name").asText();
      assertFalse(target.contains("neuron") && edge.has("path"), target);
    }
    run("graph", "--include", "L0.neuron3.gate[2]")
        .assertRefused(
            "L0.neuron3.gate[2] is one input of L0.neuron3[2], which is the node of a circuit");
  }
}
