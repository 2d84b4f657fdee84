package dev.tributary.attribution.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.attribution.Ablation;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Latent;
import dev.tributary.attribution.RandomTranscoders;
import dev.tributary.attribution.ReplacementGraph;
import dev.tributary.attribution.ReplacementGraph.Settings;
import dev.tributary.attribution.ReplacementOutput;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Dictionaries;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What {@code graph --transcoders} prints, of random transcoders for the shipped model. */
class TranscodersTest {
  private static final String PROMPT = "The keys near the cabinet";

  @TempDir static Path folder;

  @BeforeAll
  static void write() throws IOException {
    RandomTranscoders.write(folder);
  }

  private record Output(int exitCode, String out, String err) {
    static Output of(String... args) {
      StringWriter out = new StringWriter();
      StringWriter err = new StringWriter();
      try (PrintWriter outWriter = new PrintWriter(out);
          PrintWriter errWriter = new PrintWriter(err)) {
        return new Output(Main.run(outWriter, errWriter, args), out.toString(), err.toString());
      }
    }
  }

  private static Output graph(String... options) {
    List<String> all = new ArrayList<>(List.of("graph", "--transcoders", folder.toString()));
    all.addAll(List.of("--prompt", PROMPT, "--dtype", "double"));
    all.addAll(List.of(options));
    return Output.of(all.toArray(String[]::new));
  }

  @Test
  void graph_transcoders_isTheCircuitOfTheLibrary() throws IOException {
    Output output = graph("--json", "--nodes", "200");
    assertEquals(0, output.exitCode, output.err);
    JsonNode json = new ObjectMapper().readTree(output.out);
    try (Scope scope = Scope.open()) {
      Tokenizer words = Tokenizers.textbook();
      Transformer plain = Models.textbook(DType.DOUBLE);
      Transformer model = plain.with(Dictionaries.load(folder, DType.DOUBLE, plain.config()));
      int[] tokens = words.encode(PROMPT);
      Run run = ReplacementGraph.record(model, tokens);
      ReplacementGraph graph =
          ReplacementGraph.of(
              run,
              ReplacementOutput.mostProbable(run, 10, 0.95),
              Settings.standard().withMostLatents(200),
              Progress.NONE);
      assertEquals(200, graph.latentCount());
      Circuit circuit =
          graph.circuit(
              run,
              new Circuit.Labels(
                  "textbook",
                  List.of(),
                  PROMPT,
                  IntStream.of(tokens).mapToObj(words::text).toList()),
              IntStream.range(0, graph.outputCount()).mapToObj(i -> "o" + i).toList(),
              0.8,
              0.98);
      assertEquals(circuit.nodes().size(), json.get("nodes").size());
      assertEquals(circuit.edges().size(), json.get("edges").size());
      assertEquals(30, json.get("loadings").size());
      for (JsonNode split : json.get("loadings")) {
        double weight = 0;
        for (JsonNode edge : json.get("edges")) {
          boolean same = edge.get("source").equals(split.get("source"));
          weight +=
              same && edge.get("target").equals(split.get("target"))
                  ? edge.get("weight").asDouble()
                  : 0;
        }
        assertEquals(weight, split.get("edge").asDouble(), 1e-9);
      }
      assertTrue(json.get("head_scores").size() > 0);
    }
  }

  @Test
  void graph_neuronpedia_hasTheScanOfTheConfig(@TempDir Path other) throws IOException {
    Path file = other.resolve("graph.json");
    assertEquals("random", scan(folder, file));
    Path unnamed = Files.createDirectory(other.resolve("unnamed"));
    try (Stream<Path> files = Files.list(folder)) {
      for (Path one : files.toList()) {
        Files.copy(one, unnamed.resolve(one.getFileName()));
      }
    }
    Path config = unnamed.resolve("config.yaml");
    Files.writeString(config, Files.readString(config).replace("scan: random", ""));
    assertEquals("unnamed", scan(unnamed, file));
  }

  private static String scan(Path transcoders, Path file) throws IOException {
    Output output =
        Output.of(
            "graph",
            "--transcoders",
            transcoders.toString(),
            "--prompt",
            PROMPT,
            "--nodes",
            "20",
            "--neuronpedia",
            file.toString());
    assertEquals(0, output.exitCode, output.err);
    return new ObjectMapper().readTree(file.toFile()).get("metadata").get("scan").textValue();
  }

  @Test
  void graph_targetAndDistractor_explainTheirDifference(@TempDir Path other) throws IOException {
    Output whole = graph("--target", "are", "--distractor", "is", "--json");
    Output output = graph("--target", "are", "--distractor", "is");
    assertEquals(0, output.exitCode, output.err);
    assertTrue(output.out.contains("logit(\"are\") - logit(\"is\")"), output.out);
    String file = Files.writeString(other.resolve("difference.json"), whole.out).toString();
    assertTrue(Output.of("view", file).out.startsWith("Circuit: "));
  }

  @Test
  void graph_whatDoesNotGoTogether_isRefused() {
    assertEquals(2, graph("--largest").exitCode);
    assertEquals(2, graph("--logits", "0").exitCode);
    assertEquals(2, graph("--trace", "L1.neuron1[2]").exitCode);
    assertEquals(2, graph("--target", "are", "is", "--distractor", "was").exitCode);
    Output alone = Output.of("graph", "--as-circuit-tracer");
    assertEquals(2, alone.exitCode);
    assertTrue(alone.err.contains("--transcoders"), alone.err);
  }

  private static Output ablate(String... options) {
    List<String> all = new ArrayList<>(List.of("ablate"));
    all.addAll(List.of(options));
    all.addAll(List.of("--transcoders", folder.toString()));
    all.addAll(List.of("--prompt", PROMPT, "--dtype", "double"));
    return Output.of(all.toArray(String[]::new));
  }

  /** All held is linear, nothing held is another run of the model. */
  @Test
  void ablate_latents_showsWhatIsHeldBesideTheOpenRun() throws IOException {
    try (Scope scope = Scope.open()) {
      Tokenizer words = Tokenizers.textbook();
      Transformer plain = Models.textbook(DType.DOUBLE);
      Transformer model = plain.with(Dictionaries.load(folder, DType.DOUBLE, plain.config()));
      Run run = model.run(words.encode(PROMPT));
      Dictionary first = model.dictionaries().get(0);
      double[] row = run.encoding(first).latents().slice(0, 2, 3).toDoubles();
      int strongest =
          IntStream.range(0, RandomTranscoders.LATENTS)
              .boxed()
              .max(Comparator.comparing(i -> row[i]))
              .orElseThrow();
      Latent latent = new Latent(first.id(), 2, strongest);
      JsonNode removed = interventions(ablate(latent.toString(), "--json")).get(0);
      JsonNode doubled = interventions(ablate(latent.toString(), "--json", "--scale", "2")).get(0);
      assertEquals(row[strongest], removed.get("edits").get(0).get("before").asDouble(), 1e-12);
      assertEquals(0, removed.get("edits").get(0).get("value").asDouble());
      int logits = 0;
      Tensor open = run.with(Ablation.set(run, latent, 0)).logits(run.length() - 1);
      Tensor before = run.logits(run.length() - 1);
      for (JsonNode change : removed.get("changes")) {
        double all = change.get("held").asDouble();
        double nothing = change.get("open").asDouble();
        String name = change.get("of").asText();
        for (JsonNode other : doubled.get("changes")) {
          if (other.get("of").asText().equals(name) && !name.equals("metric")) {
            assertEquals(-all, other.get("held").asDouble(), 1e-9, name);
          }
        }
        if (name.startsWith("logit of ")) {
          int id = words.token(name.substring(10, name.length() - 1));
          assertEquals(before.toDoubles()[id], change.get("before").asDouble(), 1e-9);
          assertEquals(open.toDoubles()[id] - before.toDoubles()[id], nothing, 1e-9, name);
          logits++;
        }
      }
      assertEquals(5, logits);
      assertEquals(1 + logits + 10, removed.get("changes").size());

      String second = new Latent(model.dictionaries().get(1).id(), 3, 7).toString();
      assertEquals(
          3, interventions(ablate(latent.toString(), second, "--json", "--set", "1")).size());
      Output text = ablate(latent.toString(), "--top", "1");
      assertEquals(0, text.exitCode, text.err);
      assertTrue(text.out.contains("Open: nothing"), text.out);
    }
  }

  private static JsonNode interventions(Output output) throws IOException {
    assertEquals(0, output.exitCode, output.err);
    return new ObjectMapper().readTree(output.out).get("effects");
  }

  @Test
  void ablate_whatIsNoLatentOfTheTranscoders_isRefused() {
    assertRefused("L0.neuron3[1] is no latent of --transcoders", ablate("L0.neuron3[1]"));
    assertRefused("50", ablate("L0.transcoder_latent50[1]"));
    assertRefused("top is 0", ablate("L0.transcoder_latent5[1]", "--top", "0"));
    assertRefused(
        "leave out the trace", ablate("L0.transcoder_latent5[1]", "--trace", "L2.neuron1[2]"));
    assertRefused("top is -1", Output.of("ablate", "L0.neuron3[1]", "--top", "-1"));
  }

  private static void assertRefused(String sentence, Output output) {
    assertEquals(2, output.exitCode, output.out);
    assertTrue(output.err.contains(sentence), output.err);
  }
}
