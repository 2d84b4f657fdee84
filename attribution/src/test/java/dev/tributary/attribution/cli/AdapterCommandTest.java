package dev.tributary.attribution.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
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
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
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

  private record Output(int exitCode, String out, String err) {}

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
    String words =
        IntStream.range(0, VOCABULARY)
            .mapToObj(id -> "\"w%d\": %d".formatted(id, id))
            .collect(Collectors.joining(", "));
    Files.writeString(
        model.resolve("tokenizer.json"),
        """
        {"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
         "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null,
         "decoder": null,
         "model": {"type": "WordLevel", "vocab": {%s}, "unk_token": "w0"}}
        """
            .formatted(words));
  }

  private static Output run(Object... arguments) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    String[] texts = new String[arguments.length];
    for (int i = 0; i < texts.length; i++) {
      texts[i] = arguments[i].toString();
    }
    try (PrintWriter outWriter = new PrintWriter(out);
        PrintWriter errWriter = new PrintWriter(err)) {
      return new Output(Main.run(outWriter, errWriter, texts), out.toString(), err.toString());
    }
  }

  private static void assertRefused(Output output, String... parts) {
    assertEquals(2, output.exitCode);
    assertEquals(1, output.err.lines().count(), output.err);
    for (String part : parts) {
      assertTrue(output.err.contains(part), output.err);
    }
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
    Output output = run(all);
    assertEquals("", output.err);
    return new ObjectMapper().readTree(output.out);
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
    Output output = run("convert", model, merged, "--adapter", adapter, "--dtype", "F64");
    assertEquals("", output.err);
    assertTrue(output.out.contains("merged with adapter adapter_model.safetensors"), output.out);
    double expected = metric(attribute(model, "--adapter", adapter));
    assertEquals(expected, metric(attribute(merged)), 1e-6); // it was computed in float
    assertRefused(
        run("convert", model, adapter, "--adapter", adapter, "--force"),
        "there is an adapter in this folder");
  }

  @Test
  void inspect_adapter_isShown() {
    for (Output output :
        new Output[] {run("inspect", model, "--adapter", adapter), run("inspect", adapter)}) {
      assertEquals("", output.err);
      assertTrue(
          output.out.contains(
              adapter
                  + ": adapter adapter_model.safetensors, 2 tensors F32: LoRA of rank 1, alpha 2,"
                  + " scale 2, target_modules [\"c_fc\"]\n"),
          output.out);
      assertTrue(output.out.contains(ADAPTED + "lora_A.weight  F32   [1, 4]"), output.out);
      assertEquals(output.out.indexOf("lora_B"), output.out.lastIndexOf("lora_B"));
    }
  }

  @Test
  void adapter_withoutItsModel_isRefused() {
    assertRefused(
        run("attribute", "--model", adapter, "--prompt", "w1"),
        "holds an adapter and not the model that it adapts, \"example/model\"",
        "--model BASE --adapter " + adapter);
    assertRefused(run("attribute", "--adapter", adapter), "--adapter needs the --model");
    assertRefused(
        run("attribute", "--model", model, "--prompt", "w1", "--adapter", model),
        "there is no adapter_config.json in this folder");
  }
}
