package dev.tributary.attribution.export;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.EdgeMeasure;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DotTest {
  private static final Pattern POSITION = Pattern.compile("n\\d+ \\[.* pos=\"(-?\\d+,-?\\d+)!\"");

  @Test
  void of_circuit_givesEveryNodeAPlaceOfItsOwn() throws IOException {
    String text = Dot.of(CircuitJsonTest.circuit(EdgeMeasure.ATTRIBUTION));
    Matcher position = POSITION.matcher(text);
    Set<String> places = new HashSet<>();
    int nodes = 0;
    while (position.find()) {
      places.add(position.group(1));
      nodes++;
    }
    assertEquals(CircuitJsonTest.circuit(EdgeMeasure.ATTRIBUTION).nodes().size(), nodes);
    assertEquals(nodes, places.size());
  }

  @Test
  void of_textsWithQuotes_areEscaped() throws IOException {
    String text = Dot.of(CircuitJsonTest.circuit(EdgeMeasure.ATTRIBUTION));
    assertTrue(text.contains("\\nlogit \\\"Mary\\\" - logit John\""));
    assertTrue(text.contains("a \\\"quoted\\\", \\\\ word"));
    for (String line : text.split("\n", -1)) { // outside of escapes, quotation marks are in pairs
      String plain = line.replace("\\\\", "").replace("\\\"", "");
      assertEquals(0, plain.chars().filter(c -> c == '"').count() % 2, line);
      assertFalse(plain.chars().anyMatch(Character::isISOControl), line);
    }
  }

  @Test
  void of_anyScript_isWrittenAsItIsAndWhatCannotBeDrawnByItsNumber() throws IOException {
    Circuit circuit = CircuitJsonTest.circuit(EdgeMeasure.ATTRIBUTION);
    Circuit.Labels labels = circuit.origin().labels();
    String prompt =
        "\u65e5\u672c \u0645\u0631\u062d\u0628\u0627 \ud83d\ude00 e\u0301 \u001b[31m \u0000 \u202eabc \uffff \ud800!";
    String text =
        Dot.of(
            CircuitJsonTest.called(
                circuit, new Circuit.Labels("", List.of(), prompt, labels.tokens()), "m"));
    String shown =
        "\u65e5\u672c \u0645\u0631\u062d\u0628\u0627 \ud83d\ude00 e\u0301 "
            + "\\\\u001b[31m \\\\u0000 \\\\u202eabc \\\\uffff \\\\ud800!";
    assertTrue(text.contains("label=\"" + shown + "\\n"), text);
  }

  @Test
  void of_circuit_isDrawnByGraphViz(@TempDir Path folder) throws Exception {
    String path = Objects.requireNonNullElse(System.getenv("PATH"), "");
    boolean installed =
        Arrays.stream(path.split(File.pathSeparator, -1))
            .anyMatch(directory -> Files.isExecutable(Path.of(directory, "dot")));
    assumeTrue(installed, "GraphViz is not installed: nothing was drawn");
    Circuit circuit = CircuitJsonTest.circuit(EdgeMeasure.ATTRIBUTION);
    Path file = Files.writeString(folder.resolve("circuit.dot"), Dot.of(circuit));
    Process process =
        new ProcessBuilder("dot", "-Tsvg", file.toString()).redirectErrorStream(true).start();
    String svg = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), svg);
    assertTrue(svg.contains(">a &quot;quoted&quot;, \\ word</text>"), svg);
    long pairs =
        circuit.edges().stream()
            .map(edge -> edge.source() + " " + edge.target())
            .distinct()
            .count();
    assertEquals(pairs, Pattern.compile("class=\"edge\"").matcher(svg).results().count());
  }
}
