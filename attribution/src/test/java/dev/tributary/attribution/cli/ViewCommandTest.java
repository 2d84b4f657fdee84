package dev.tributary.attribution.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.transformer.Oracles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ViewCommandTest {
  @TempDir private Path folder;

  @Test
  void view_circuit_isWrittenAsGraphWroteIt() throws IOException {
    Path circuit = folder.resolve("circuit.json");
    Path page = folder.resolve("graph.html");
    Invocation written = Invocation.of("graph", "--nodes", 9, "--circuit", circuit, "--html", page);
    assertEquals(0, written.exitCode(), written.err());
    assertEquals(Files.readString(circuit), Invocation.of("view", circuit, "--json").out());
    assertEquals(Files.readString(page), Invocation.of("view", circuit, "--html", "-").out());
    Invocation summary = Invocation.of("view", circuit);
    List<String> lines = summary.out().lines().toList();
    assertTrue(lines.get(0).startsWith("Circuit: "), summary.out());
    assertTrue(summary.out().contains("read from"), summary.out());
    assertTrue(lines.stream().anyMatch(line -> line.contains("metric")), summary.out());
  }

  @Test
  void view_graphOfCircuitTracer_isShown() throws IOException {
    Path graph = Oracles.folder("reference-graphs/llama-relu/export").resolve("llama-relu.json");
    Path page = folder.resolve("page.html");
    Invocation shown = Invocation.of("view", graph, "--html", page, "--json");
    JsonNode json = new ObjectMapper().readTree(shown.out());
    assertTrue(Files.readString(page).startsWith("<!DOCTYPE html>"));
    assertEquals(25, json.get("nodes").size());
    String summary = Invocation.of("view", graph).out();
    assertTrue(summary.contains("Circuit: 18 nodes and 115 edges;"), summary);
    for (String logit : List.of("50.1%  logit70[7]", "w70", "18.6%  logit89[7]")) {
      assertTrue(summary.contains(logit), summary);
    }
  }

  @Test
  void view_noCircuit_isRefused() throws IOException {
    Path file = Files.writeString(folder.resolve("no.json"), "{}");
    Invocation.of("view", file).assertRefused(file + ": ", "\"format\"");
    Invocation.of("view", folder.resolve("nowhere.json")).assertRefused("nowhere.json");
    Invocation.of("view").assertRefused("FILE");
  }
}
