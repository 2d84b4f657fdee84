package dev.tributary.attribution.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Oracles;
import dev.tributary.transformer.file.Checkpoint;
import dev.tributary.transformer.file.ElementType;
import dev.tributary.transformer.file.TensorFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * Inputs on which other tools went wrong, each run by the program as a process of its own, and what
 * independent systems say must come out.
 */
class CasesTest {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final String OR_REFUSED = " or refused";

  /** Largest error of rounding to nearest, relative, and the smallest number that is normal. */
  private static final Map<ElementType, double[]> ROUNDING =
      Map.of(
          ElementType.F64, new double[] {0, 0},
          ElementType.F32, new double[] {0x1p-24, 0x1p-126},
          ElementType.F16, new double[] {0x1p-11, 0x1p-14},
          ElementType.BF16, new double[] {0x1p-8, 0x1p-126});

  private static JsonNode json(Program program) throws IOException {
    assertEquals(0, program.exitCode(), program.err());
    return MAPPER.readTree(program.out());
  }

  private static void assertRefused(Program program, List<String> says) {
    assertNotEquals(0, program.exitCode(), program.out());
    assertEquals("", program.out());
    String err = program.err();
    assertEquals(1, err.lines().count(), err);
    assertFalse(err.contains("Exception") || err.contains("\tat "), err);
    String told = err.toLowerCase(Locale.ROOT);
    assertTrue(
        says.stream().anyMatch(word -> told.contains(word.toLowerCase(Locale.ROOT))),
        err + " says none of " + says);
  }

  @TestFactory
  Stream<? extends DynamicNode> cases(@TempDir Path temporary) throws IOException {
    return Oracles.tests(
        "cases",
        folder ->
            items(MAPPER.readTree(Files.readString(folder.resolve("cases.json"))))
                .map(
                    one ->
                        dynamicTest(
                            one.get("name").textValue(),
                            () -> run(one, folder, Files.createTempDirectory(temporary, "case")))));
  }

  private static Stream<JsonNode> items(JsonNode list) {
    return StreamSupport.stream(list.spliterator(), false);
  }

  private static List<String> texts(JsonNode list) {
    return items(list).map(JsonNode::textValue).toList();
  }

  private static void run(JsonNode one, Path folder, Path ours) throws Exception {
    Path empty = Files.createDirectory(ours.resolve("tmp"));
    JsonNode expected = one.get("expect");
    String kind = expected.get("kind").textValue();
    List<String> arguments = arguments(one.get("args"), empty);
    Program output = program(arguments, one.path("env"), folder, ours);
    if (kind.endsWith(OR_REFUSED)) {
      if (output.exitCode() != 0) {
        assertRefused(output, texts(expected.get("says")));
        return;
      }
      kind = kind.substring(0, kind.length() - OR_REFUSED.length());
    }
    switch (kind) {
      case "metric" ->
          assertEquals(
              expected.get("value").doubleValue(),
              json(output).at("/metric/value").doubleValue(),
              expected.get("tolerance").doubleValue());
      case "tokens" -> assertEquals(items(expected.get("ids")).toList(), ids(output, "/tokens"));
      case "target" ->
          assertEquals(List.of(expected.get("id")), ids(output, "/metric/targets"), output.out());
      case "refused" -> assertRefused(output, texts(expected.get("says")));
      case "convert" -> {
        assertEquals(0, output.exitCode(), output.err());
        Path from = folder.resolve(expected.get("from").textValue());
        String type = expected.get("dtype").textValue();
        Path to =
            arguments.stream().map(Path::of).filter(path -> path.startsWith(empty)).findAny().get();
        assertConverted(from, to, type, output);
      }
      case "slugs" -> {
        List<String> others = arguments(one.get("then"), empty);
        String slug = slug(arguments, output);
        String other = slug(others, program(others, one.path("env"), folder, ours));
        assertNotEquals(slug, other);
      }
      default -> fail("there is no kind " + kind);
    }
  }

  private static List<String> arguments(JsonNode arguments, Path empty) {
    return texts(arguments).stream().map(text -> text.replace("{tmp}", empty.toString())).toList();
  }

  private static Program program(
      List<String> arguments, JsonNode environment, Path folder, Path ours)
      throws IOException, InterruptedException {
    Map<String, String> variables = new HashMap<>();
    environment
        .properties()
        .forEach(variable -> variables.put(variable.getKey(), variable.getValue().asText("")));
    return Program.run(arguments, variables, folder, ours);
  }

  private static List<JsonNode> ids(Program output, String list) throws IOException {
    return items(json(output).at(list)).map(word -> word.get("id")).toList();
  }

  private static String slug(List<String> arguments, Program output) throws IOException {
    assertEquals(0, output.exitCode(), output.err());
    Path file = Path.of(arguments.get(arguments.indexOf("--neuronpedia") + 1));
    String slug = MAPPER.readTree(Files.readString(file)).at("/metadata/slug").textValue();
    assertTrue(slug.matches("[a-zA-Z0-9-]+"), slug);
    return slug;
  }

  /** Every tensor as it was, or a sentence that says from which to which type it was changed. */
  private static void assertConverted(Path from, Path to, String type, Program output)
      throws IOException {
    TensorFile read = Checkpoint.open(from).weights();
    TensorFile written = Checkpoint.open(to).weights();
    assertFalse(written.names().isEmpty());
    String told =
        output.out().lines().skip(2).collect(Collectors.joining(" ")) // the first two describe both
            + output.err();
    try (Scope scope = Scope.open()) {
      for (String name : written.names()) {
        String original = read.contains(name) ? name : name.replaceFirst("^transformer\\.", "");
        ElementType stored = read.elementType(original);
        ElementType wanted = type.equals("as they are") ? stored : ElementType.valueOf(type);
        ElementType actual = written.elementType(name);
        assertTrue(
            actual == wanted || (told.contains(stored.name()) && told.contains(actual.name())),
            name + " was " + stored + " and is " + actual + ": " + output.out());
        assertRounded(
            read.tensor(original, DType.DOUBLE), written.tensor(name, DType.DOUBLE), actual);
      }
    }
  }

  private static void assertRounded(Tensor read, Tensor written, ElementType type) {
    Shape shape = read.shape();
    assertEquals(shape, written.shape());
    double[] expected = read.toDoubles();
    double[] actual = written.toDoubles();
    double[] rounding = Objects.requireNonNull(ROUNDING.get(type));
    for (int i = 0; i < expected.length; i++) {
      double error = rounding[0] * Math.max(rounding[1], Math.abs(expected[i]));
      assertEquals(expected[i], actual[i], error);
    }
  }
}
