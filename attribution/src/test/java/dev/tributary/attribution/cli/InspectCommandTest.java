package dev.tributary.attribution.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.transformer.Oracles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.TestFactory;

/**
 * What {@code inspect} says of dictionaries as those who publish them put them on disk: every case
 * of the oracle {@code reference-dictionaries}, of which case.json says what it is.
 */
class InspectCommandTest {
  /** Layouts whose files alone do not say everything, or are not read: what is said instead. */
  private static final Map<String, String> LEFT_OUT =
      Map.of(
          "gemma-scope-(attention|mlp|resid|transcoder)", "does not say where it reads",
          "openai-.*", "does not say where it reads",
          "dictionary-learning-.*", "does not say where it reads",
          "llama-scope-r1-distill", "does not say what the vectors were multiplied by",
          "saelens6-standard-expected-average", "does not say what the vectors were multiplied by",
          "temporal-.*", "temporal");

  /** Whom the first line names. */
  private static final Map<String, String> ORIGINS =
      Map.of(
          "saelens.*", "SAELens",
          "gemma-scope.*", "Gemma Scope",
          "llama-scope.*", "Llama Scope",
          "qwen-scope", "Qwen Scope",
          "goodfire", "Goodfire",
          "sparsify.*", "sparsify",
          "attention-kk", "attention autoencoder");

  /** SAELens calls it the residual stream; the file says the output of the norm. */
  private static final Map<String, String> READS =
      Map.of(
          "gemma-scope-2-transcoder", "blocks.3.mlp.hook_in",
          "gemma-scope-2-transcoder-affine", "blocks.3.mlp.hook_in");

  /** What the module computes, before a norm after it, which the case's model does not have. */
  private static final Map<String, String> WRITES =
      Map.of("sparsify-skip-transcoder", "blocks.3.mlp.hook_out");

  private static final Map<String, String> TYPES =
      Map.of("float32", "F32", "bfloat16", "BF16", "float16", "F16");

  @TestFactory
  Stream<? extends DynamicNode> inspect_everyLayout_saysWhatItIs() throws IOException {
    return Oracles.tests(
        "reference-dictionaries",
        folder -> {
          try (Stream<Path> cases = Files.list(folder)) {
            return cases
                .filter(path -> Files.isDirectory(path) && !name(path).startsWith("hooks-"))
                .sorted()
                .toList()
                .stream()
                .map(path -> dynamicTest(name(path), () -> compare(path)));
          }
        });
  }

  private static String name(Path path) {
    return String.valueOf(path.getFileName());
  }

  private static List<String> of(Map<String, String> patterns, String name) {
    return patterns.entrySet().stream()
        .filter(entry -> name.matches(entry.getKey()))
        .map(Map.Entry::getValue)
        .toList();
  }

  private static void compare(Path folder) throws IOException {
    JsonNode json = new ObjectMapper().readTree(folder.resolve("case.json").toFile());
    Invocation shown = Invocation.of("inspect", folder);
    List<String> missing = of(LEFT_OUT, name(folder));
    // It may also be that of a model.
    boolean config = !missing.isEmpty() && Files.exists(folder.resolve("config.json"));
    assertEquals(config ? 2 : 0, shown.exitCode(), shown.err());
    List<String> lines = shown.out().lines().toList();
    String first = lines.get(0);
    if (!missing.isEmpty()) {
      assertTrue(first.startsWith("no dictionaries can be read here: " + folder), first);
      assertTrue(first.contains(missing.get(0)), first);
      return;
    }
    assertTrue(first.startsWith(folder.toString()), first);
    assertTrue(first.contains(": " + of(ORIGINS, name(folder)).get(0) + ", "), first);
    assertTrue(
        first.endsWith(
            ", %d latents of %d, %s"
                .formatted(
                    json.get("latents").intValue(),
                    json.get("d_in").intValue(),
                    TYPES.get(json.get("stored_dtype").textValue()))),
        first);
    String reads = READS.getOrDefault(name(folder), json.get("hook_in").textValue());
    String writes = WRITES.getOrDefault(name(folder), json.get("hook_out").textValue());
    assertEquals(
        "  reads %s, writes %s".formatted(reads, writes.equals(reads) ? "what it reads" : writes),
        lines.get(1));
  }
}
