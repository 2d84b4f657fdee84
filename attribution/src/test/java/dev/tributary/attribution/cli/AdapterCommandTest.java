package dev.tributary.attribution.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.file.ElementType;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.SafetensorsWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A model and an adapter on the command line; what adapters compute is tested where they are. */
class AdapterCommandTest {
  private static final int VOCABULARY = 9;
  private static final int D_MODEL = 4;
  private static final String ADAPTED = "base_model.model.transformer.h.0.mlp.c_fc.";

  @TempDir private Path folder;
  private Path model = Path.of("");
  private Path adapter = Path.of("");

  @BeforeEach
  void save() throws IOException {
    model = folder.resolve("model");
    adapter = folder.resolve("adapter");
    Files.createDirectories(adapter);
    TransformerConfig config =
        TransformerConfig.gpt2(1, D_MODEL, 2, 2, 6, 8, VOCABULARY, 1e-5, true);
    try (Scope scope = Scope.open()) {
      Models.save(Transformer.random(config, DType.FLOAT, 1), model, ElementType.F32);
      new SafetensorsWriter()
          .put(
              ADAPTED + "lora_A.weight",
              ElementType.F32,
              Tensor.of(DType.FLOAT, Shape.of(1, D_MODEL), 1, -2, 3, 1))
          .put(
              ADAPTED + "lora_B.weight",
              ElementType.F32,
              Tensor.of(DType.FLOAT, Shape.of(6, 1), 2, -1, 1, 1, 1, -3))
          .write(adapter.resolve("adapter_model.safetensors"));
    }
    Files.writeString(
        adapter.resolve("adapter_config.json"),
        """
        {"peft_type": "LORA", "r": 1, "lora_alpha": 2, "target_modules": ["c_fc"],
         "base_model_name_or_path": "example/model"}
        """);
    Invocation.saveWords(model, VOCABULARY);
  }

  private static JsonNode attribute(Path model, Object... more) throws IOException {
    Object[] arguments = {
      "attribute",
      "--model",
      model,
      "--prompt",
      "w1 w2 w3",
      "--target",
      "w4",
      "--distractor",
      "w5",
      "--dtype",
      "double",
      "--json"
    };
    Object[] all = new Object[arguments.length + more.length];
    System.arraycopy(arguments, 0, all, 0, arguments.length);
    System.arraycopy(more, 0, all, arguments.length, more.length);
    return Invocation.of(all).json();
  }

  private static double metric(JsonNode json) {
    return json.get("metric").get("value").doubleValue();
  }

  @Test
  void attribute_adapter_isMergedNamedOrBeside() throws IOException {
    JsonNode named = attribute(model, "--adapter", adapter);
    assertEquals(model + " with adapter " + adapter, named.get("model").textValue());
    assertNotEquals(metric(attribute(model)), metric(named), 1e-3);
    for (String name : new String[] {"adapter_config.json", "adapter_model.safetensors"}) {
      Files.copy(adapter.resolve(name), model.resolve(name));
    }
    assertEquals(metric(named), metric(attribute(model)));
  }

  @Test
  void convert_adapter_writesTheMergedModelAndSaysSo() throws IOException {
    Path merged = folder.resolve("merged");
    Invocation output =
        Invocation.of("convert", model, merged, "--adapter", adapter, "--dtype", "F64");
    assertEquals("", output.err());
    assertTrue(
        output.out().contains("merged with adapter adapter_model.safetensors"), output.out());
    double expected = metric(attribute(model, "--adapter", adapter));
    assertEquals(expected, metric(attribute(merged)), 1e-6); // it was computed in float
    Invocation.of("convert", model, adapter, "--adapter", adapter, "--force")
        .assertRefused("there is an adapter in this folder");
  }

  @Test
  void inspect_adapter_isShown() {
    for (Invocation output :
        new Invocation[] {
          Invocation.of("inspect", model, "--adapter", adapter), Invocation.of("inspect", adapter)
        }) {
      assertEquals("", output.err());
      assertTrue(
          output
              .out()
              .contains(
                  adapter
                      + ": adapter adapter_model.safetensors, 2 tensors F32: LoRA of rank 1, alpha 2,"
                      + " scale 2, target_modules [\"c_fc\"]\n"),
          output.out());
      assertTrue(output.out().contains(ADAPTED + "lora_A.weight  F32   [1, 4]"), output.out());
      assertEquals(output.out().indexOf("lora_B"), output.out().lastIndexOf("lora_B"));
    }
  }

  @Test
  void adapter_withoutItsModel_isRefused() {
    Invocation.of("attribute", "--model", adapter, "--prompt", "w1")
        .assertRefused(
            "holds an adapter and not the model that it adapts, \"example/model\"",
            "--model BASE --adapter " + adapter);
    Invocation.of("attribute", "--adapter", adapter).assertRefused("--adapter needs the --model");
    Invocation.of("attribute", "--model", model, "--prompt", "w1", "--adapter", model)
        .assertRefused("there is no adapter_config.json in this folder");
  }
}
