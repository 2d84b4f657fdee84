package dev.tributary.attribution.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.dataset.AblationValues;
import dev.tributary.attribution.dataset.CircuitEvaluator;
import dev.tributary.attribution.dataset.CircuitTotals;
import dev.tributary.attribution.dataset.ComponentCircuit;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.EdgeMethod;
import dev.tributary.attribution.dataset.EdgeScorer;
import dev.tributary.attribution.dataset.EdgeTotals;
import dev.tributary.attribution.dataset.Importance;
import dev.tributary.attribution.dataset.NodeList;
import dev.tributary.attribution.dataset.NodeMethod;
import dev.tributary.attribution.dataset.NodeScorer;
import dev.tributary.attribution.dataset.Pair;
import dev.tributary.attribution.dataset.PairReader;
import dev.tributary.attribution.dataset.PairReader.Columns;
import dev.tributary.attribution.dataset.PromptTemplate;
import dev.tributary.attribution.dataset.ScoreFile;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.MlpShare;
import dev.tributary.transformer.Oracles;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Dictionaries;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Tokenizers;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** What {@code dataset} and the commands after it print, of the shipped model. */
class DatasetCommandTest {
  private static final int PAIRS = 3;

  @TempDir static Path folder;
  private static Path file;

  private record Output(int exitCode, String out, String err) {
    static Output of(String... args) {
      StringWriter out = new StringWriter();
      StringWriter err = new StringWriter();
      List<String> all = new ArrayList<>(List.of("dataset"));
      all.addAll(List.of(args));
      try (PrintWriter outWriter = new PrintWriter(out);
          PrintWriter errWriter = new PrintWriter(err)) {
        return new Output(
            Main.run(outWriter, errWriter, all.toArray(String[]::new)),
            out.toString(),
            err.toString());
      }
    }

    static Output of(String command, List<String> data, String... args) {
      return of(
          Stream.of(Stream.of(command), data.stream(), Stream.of(args))
              .flatMap(own -> own)
              .toArray(String[]::new));
    }

    JsonNode json() throws IOException {
      assertEquals(0, exitCode, err);
      return new ObjectMapper().readTree(out);
    }
  }

  @BeforeAll
  static void generate() throws IOException {
    Output output = Output.of("generate", "indirect-object", "--pairs", "3", "--seed", "4");
    assertEquals(0, output.exitCode, output.err);
    assertEquals(
        PromptTemplate.INDIRECT_OBJECT.draw(PAIRS, 4).stream()
            .map(PromptTemplate.Example::json)
            .toList(),
        output.out.lines().toList());
    file = Files.writeString(folder.resolve("pairs.jsonl"), output.out + "{\"clean\": 1}\n");
  }

  /** The same by the library. */
  private record Library(Transformer model, ComponentGraph graph, List<Pair> pairs) {
    static Library of() throws IOException {
      Transformer model = Models.textbook(DType.DOUBLE);
      List<Pair> pairs = new ArrayList<>();
      PairReader.of(Columns.standard(), Tokenizers.textbook(), model.config())
          .read(file, row -> pairs.add(row.pair()), row -> {});
      return new Library(
          model, ComponentGraph.of(model, new StreamWriter.Input(Site.TOKEN_EMBEDDING)), pairs);
    }

    EdgeTotals scores(EdgeMethod method, AblationValues ablation) {
      return new EdgeScorer(graph, ablation, method).score(pairs);
    }

    CircuitTotals metrics(ComponentCircuit... circuits) {
      return new CircuitEvaluator(graph, AblationValues.PATCHING)
          .evaluate(pairs, List.of(circuits), 0);
    }
  }

  @Test
  void score_isThatOfTheLibrary_andSaysWhatWasLeftOut() throws IOException {
    Path scores = folder.resolve("scores.json");
    Path csv = folder.resolve("scores.csv");
    Output output =
        Output.of(
            "score",
            file.toString(),
            "--dtype",
            "double",
            "--out",
            scores.toString(),
            "--csv",
            csv.toString(),
            "--html",
            folder.resolve("scores.html").toString(),
            "--json",
            "--method",
            "eap-ig-inputs",
            "--steps",
            "3",
            "--sample",
            "30");
    JsonNode json = output.json();
    assertEquals(json, new ObjectMapper().readTree(scores.toFile()));
    assertFalse(Files.exists(Path.of(scores + ".parts")));
    assertEquals(List.of(json), onPage("scores.html"));
    try (Scope scope = Scope.open()) {
      Library library = Library.of();
      EdgeTotals totals = library.scores(EdgeMethod.eapIgInputs(3), AblationValues.PATCHING);
      assertEquals(PAIRS, json.get("pairs").asInt());
      assertEquals(1, json.get("rows_left_out").asInt());
      assertEquals(PAIRS + 1, json.get("left_out").get(0).get("line").asInt());
      assertTrue(output.err.contains("line " + (PAIRS + 1)), output.err);
      assertEquals(totals.clean(), json.get("clean").asDouble(), 1e-12);
      assertArrayEquals(totals.means(), ScoreFile.scores(scores, library.graph), 1e-12);
      List<String> lines = Files.readAllLines(csv);
      assertEquals(totals.edges() + 1, lines.size());
      for (int i = 0; i < totals.edges(); i++) {
        JsonNode edge = json.get("edges").get(i);
        assertEquals(library.graph.edges().get(i).toString(), edge.get("edge").asText());
        assertEquals(totals.standardError(i), edge.get("standard_error").asDouble(), 1e-12);
        assertEquals(totals.meanMagnitude(i), edge.get("magnitude").asDouble(), 1e-12);
        assertTrue(lines.get(i + 1).contains("," + edge.get("score").asText()), lines.get(i + 1));
      }
      JsonNode sample = json.get("exact_sample");
      assertEquals(30, sample.get("edges").size());
      double[] exact = library.scores(EdgeMethod.EXACT, AblationValues.PATCHING).means();
      for (JsonNode edge : sample.get("edges")) {
        int number = library.graph.number(library.graph.edge(edge.get("edge").asText()));
        assertEquals(exact[number], edge.get("exact").asDouble(), 1e-10);
        assertEquals(totals.mean(number), edge.get("estimate").asDouble(), 1e-10);
        assertEquals(
            totals.mean(number) / exact[number],
            edge.get("ratio").isNull() ? Double.NaN : edge.get("ratio").asDouble(),
            1e-6 * Math.abs(totals.mean(number) / exact[number]));
      }
    }
  }

  @Test
  void score_otherAblationsAndMetrics_areThoseOfTheLibrary() throws IOException {
    JsonNode zero =
        Output.of(
                "score",
                file.toString(),
                "--dtype",
                "double",
                "--json",
                "--ablation",
                "zero",
                "--sample",
                "0")
            .json();
    assertFalse(zero.has("exact_sample"));
    try (Scope scope = Scope.open()) {
      double[] means = Library.of().scores(EdgeMethod.EAP, AblationValues.ZERO).means();
      for (int i = 0; i < means.length; i++) {
        assertEquals(means[i], zero.get("edges").get(i).get("score").asDouble(), 1e-12);
      }
    }
    for (String ablation : List.of("mean", "mean-positional")) {
      JsonNode mean =
          Output.of(
                  "score",
                  file.toString(),
                  "--json",
                  "--ablation",
                  ablation,
                  "--sample",
                  "0",
                  "--metric",
                  "kl")
              .json();
      assertEquals(0, mean.get("clean").asDouble(), 1e-6);
    }
    Output text = Output.of("score", file.toString(), "--top", "3", "--sample", "5");
    assertTrue(text.out.contains("rank correlation"), text.out);
    assertTrue(text.out.contains("a0.h0->m0"), text.out);
    List<String> lines = text.out.lines().toList();
    int wrong =
        lines.indexOf("Of these edges, where the score is farthest from what really happens");
    double last = Double.POSITIVE_INFINITY;
    for (String line : lines.subList(wrong + 2, wrong + 7)) {
      List<String> cells = List.of(line.strip().split("\\s+", -1));
      double score = Double.parseDouble(cells.get(1));
      double really = Double.parseDouble(cells.get(2));
      assertTrue(Math.abs(really - score) <= 1.001 * last, text.out);
      last = Math.abs(really - score);
      assertEquals(
          score / really, Double.parseDouble(cells.get(3)), 2e-3 * Math.abs(score / really));
    }
  }

  @Test
  void nodes_areThoseOfTheLibrary() throws IOException {
    JsonNode json =
        Output.of(
                "nodes",
                file.toString(),
                "--dtype",
                "double",
                "--method",
                "atp-star",
                "--sample",
                "4",
                "--out",
                folder.resolve("nodes.json").toString(),
                "--csv",
                folder.resolve("nodes.csv").toString(),
                "--html",
                folder.resolve("nodes.html").toString(),
                "--json")
            .json();
    assertEquals(json, tree(folder.resolve("nodes.json")));
    assertEquals(List.of(json), onPage("nodes.html"));
    List<String> rows = Files.readAllLines(folder.resolve("nodes.csv"));
    assertEquals(1 + json.get("nodes").size(), rows.size());
    assertTrue(
        rows.get(1).startsWith("a0.h0<q>," + json.get("nodes").get(0).get("score").asText()));
    try (Scope scope = Scope.open()) {
      Library library = Library.of();
      NodeList nodes = NodeList.of(library.model);
      NodeScorer scorer = new NodeScorer(nodes, NodeMethod.ATP_STAR);
      List<String> names = names(nodes);
      EdgeTotals totals = new EdgeTotals(names.size());
      library.pairs.forEach(pair -> totals.add(scorer.sums(pair)));
      assertEquals(PAIRS, json.get("pairs").asInt());
      assertEquals(totals.clean(), json.get("clean").asDouble(), 1e-12);
      for (int i = 0; i < names.size(); i++) {
        JsonNode node = json.get("nodes").get(i);
        assertEquals(names.get(i), node.get("node").asText());
        assertEquals(totals.mean(i), node.get("score").asDouble(), 1e-12);
        assertEquals(totals.standardError(i), node.get("standard_error").asDouble(), 1e-12);
      }
      assertEquals(4, json.get("exact_sample").get("nodes").size());
      for (JsonNode node : json.get("exact_sample").get("nodes")) {
        int number = names.indexOf(node.get("node").asText());
        double exact = 0;
        for (Pair pair : library.pairs) {
          exact += scorer.exact(pair, List.of(number)).get(0) / PAIRS;
        }
        assertEquals(exact, node.get("exact").asDouble(), 1e-12);
        assertEquals(totals.mean(number), node.get("estimate").asDouble(), 1e-12);
      }
    }
    Output text =
        Output.of("nodes", file.toString(), "--method", "atp", "--sample", "3", "--top", "2");
    assertTrue(text.out.contains("Exact patching of 3 nodes"), text.out);
    Path one = folder.resolve("one.jsonl");
    Files.writeString(one, Files.readAllLines(file).get(0));
    text = Output.of("nodes", one.toString(), "--method", "atp", "--sample", "1");
    assertTrue(text.out.contains("over 1 pair of prompts"), text.out);
    assertTrue(
        text.out.contains("Exact patching of 1 node drawn at random over 1 pair:"), text.out);
    JsonNode all =
        Output.of("nodes", file.toString(), "--neurons", "--sample", "0", "--json").json();
    try (Scope scope = Scope.open()) {
      Transformer model = Library.of().model;
      NodeList nodes = NodeList.of(model).withNeurons();
      assertEquals(names(nodes), all.get("nodes").findValuesAsText("node"));
      int last = nodes.size() - 1;
      assertEquals(nodes.get(last).index(), all.get("nodes").get(last).get("neuron").asInt());
    }
  }

  @Test
  void nodes_ofDictionaries_areThoseOfTheLibrary() throws IOException {
    JsonNode json =
        Output.of(
                "nodes",
                file.toString(),
                "--dtype",
                "double",
                "--dictionaries",
                "shipped",
                "--method",
                "atp",
                "--sample",
                "6",
                "--csv",
                folder.resolve("latents.csv").toString(),
                "--html",
                folder.resolve("latents.html").toString(),
                "--json")
            .json();
    assertEquals(List.of(json), onPage("latents.html"));
    JsonNode listed = json.get("nodes");
    List<String> rows = Files.readAllLines(folder.resolve("latents.csv"));
    assertEquals(
        listed.findValuesAsText("node"),
        rows.stream().skip(1).map(row -> row.substring(0, row.indexOf(','))).toList());
    try (Scope scope = Scope.open()) {
      Library library = Library.of();
      Transformer model = library.model.with(Dictionaries.textbook(DType.DOUBLE));
      NodeList nodes = NodeList.of(model).withDictionaries();
      NodeScorer scorer = new NodeScorer(nodes, NodeMethod.ATP);
      EdgeTotals totals = new EdgeTotals(nodes.size());
      library.pairs.forEach(pair -> totals.add(scorer.sums(pair)));
      int at = 0;
      for (int i = 0; i < nodes.size(); i++) {
        NodeList.Node node = nodes.get(i);
        if (node.group().kind() != NodeList.Kind.LATENT || totals.meanMagnitude(i) > 0) {
          JsonNode own = listed.get(at++);
          assertEquals(node.toString(), own.get("node").asText());
          assertEquals(totals.mean(i), own.get("score").asDouble(), 1e-12);
          if (node.group() instanceof NodeList.OfDictionary of) {
            assertEquals(of.dictionary().word(), own.get("dictionary").asText());
            assertEquals(of.layer(), own.get("layer").asInt());
          }
        }
      }
      assertEquals(listed.size(), at);
      assertEquals(nodes.size() - at, json.get("latents_that_score_zero").asInt());
      List<String> names = names(nodes);
      for (JsonNode node : json.get("exact_sample").get("nodes")) {
        int number = names.indexOf(node.get("node").asText());
        double exact = 0;
        for (Pair pair : library.pairs) {
          exact += scorer.exact(pair, List.of(number)).get(0) / PAIRS;
        }
        assertEquals(exact, node.get("exact").asDouble(), 1e-12);
      }
    }
    Output text = Output.of("nodes", file.toString(), "--dictionaries", "shipped", "--sample", "0");
    assertTrue(text.out.contains("latents that score 0 in every pair"), text.out);
  }

  @Test
  void nodes_byToken_addUpToThoseOfAllTokens() throws IOException {
    List<String> options =
        List.of(file.toString(), "--dtype", "double", "--method", "atp", "--sample", "3", "--json");
    JsonNode whole = Output.of("nodes", options).json().get("nodes");
    Path csv = folder.resolve("nodes-by-token.csv");
    JsonNode json = Output.of("nodes", options, "--by-token", "--csv", csv.toString()).json();
    JsonNode nodes = json.get("nodes");
    int tokens = nodes.size() / whole.size();
    assertEquals(tokens * whole.size(), nodes.size());
    List<String> rows = Files.readAllLines(csv);
    assertEquals("node,tokens,score,standard_error,magnitude", rows.get(0));
    for (int i = 0; i < whole.size(); i++) {
      String name = whole.get(i).get("node").asText();
      double sum = 0;
      for (int token = 0; token < tokens; token++) {
        JsonNode node = nodes.get(i * tokens + token);
        assertEquals(name + "@" + token, node.get("node").asText());
        assertEquals(Integer.toString(token), node.get("tokens").asText());
        String row = rows.get(1 + i * tokens + token);
        assertTrue(row.startsWith(name + "," + token + "," + node.get("score").asText()), row);
        sum += node.get("score").asDouble();
      }
      assertEquals(whole.get(i).get("score").asDouble(), sum, 1e-9);
    }
    assertEquals(3, json.get("exact_sample").get("nodes").size());
  }

  private static List<String> names(NodeList nodes) {
    return IntStream.range(0, nodes.size()).mapToObj(i -> nodes.get(i).toString()).toList();
  }

  /** Compiled programs of the oracle, whose edges are known; the last token stands for all. */
  @TestFactory
  Stream<? extends DynamicNode> compiledPrograms_truth_isFoundByExactPatching() throws IOException {
    return Oracles.tests(
        "reference-datasets",
        cases ->
            Stream.of("tracr-reverse", "tracr-sort")
                .flatMap(
                    name ->
                        Stream.of("zero", "patching")
                            .map(
                                ablation ->
                                    DynamicTest.dynamicTest(
                                        name + " " + ablation,
                                        () -> assertFound(cases.resolve(name), ablation)))));
  }

  private static void assertFound(Path oracle, String ablation) throws IOException {
    Path model = Files.createTempDirectory(folder, "program");
    for (String name : List.of("config.json", "model.safetensors")) {
      Files.copy(oracle.resolve(name), model.resolve(name));
    }
    JsonNode program = tree(oracle.resolve("case.json"));
    ObjectNode words = new ObjectMapper().createObjectNode();
    program.get("tokens").forEach(word -> words.put(word.asText(), words.size()));
    ObjectNode tokenizer = new ObjectMapper().createObjectNode();
    tokenizer.putObject("pre_tokenizer").put("type", "WhitespaceSplit");
    ObjectNode spelled = tokenizer.putObject("model").put("type", "WordLevel");
    spelled.put("unk_token", "compiler_pad").set("vocab", words);
    Files.writeString(model.resolve("tokenizer.json"), tokenizer.toString());
    StringBuilder rows = new StringBuilder();
    for (JsonNode pair : program.get("pairs")) {
      JsonNode linear = pair.get("linear");
      int answer = linear.get(linear.size() - 1).get(1).asInt();
      ObjectNode row = new ObjectMapper().createObjectNode();
      row.set("clean", pair.get("clean"));
      row.set("corrupted", pair.get("corrupted"));
      row.putArray("answer").add(answer);
      row.putArray("foil").add((answer + 1) % program.get("outputs").size());
      rows.append(row).append('\n');
    }
    Path pairs = Files.writeString(model.resolve("pairs.jsonl"), rows);
    JsonNode known =
        tree(oracle.resolve("expected.json")).get("truth").get("effective_" + ablation);
    Path truth = Files.writeString(model.resolve("truth.json"), known.toString());
    String scores = model.resolve("scores.json").toString();
    List<String> data =
        List.of(
            pairs.toString(),
            "--model",
            model.toString(),
            "--dtype",
            "double",
            "--positions",
            "--ablation",
            ablation);
    Output.of("score", data, "--method", "exact", "--out", scores, "--json").json();
    JsonNode found =
        Output.of(
                "circuit",
                data,
                "--scores",
                scores,
                "--threshold",
                "1e-4",
                "--truth",
                truth.toString(),
                "--json")
            .json()
            .get("truth");
    assertEquals(known.size(), found.get("edge_count").asInt());
    for (String measure : List.of("precision", "recall", "auroc_by_score", "auroc_by_magnitude")) {
      assertEquals(1, found.get(measure).asDouble(), measure);
    }
    if (oracle.endsWith("tracr-reverse") && ablation.equals("zero")) {
      JsonNode sample =
          Output.of("score", data, "--method", "eap", "--sample", "77", "--json")
              .json()
              .get("exact_sample")
              .get("edges");
      List<JsonNode> missed = new ArrayList<>();
      sample.forEach(missed::add);
      missed.removeIf(edge -> !edge.get("edge").asText().equals("m2->a3.h0<q>"));
      assertTrue(Math.abs(missed.get(0).get("ratio").asDouble()) < 1e-3, missed.toString());
      assertEquals(-1, missed.get(0).get("exact").asDouble(), 1e-3); // as at the last of 3 tokens
      assertTrue(Math.abs(sample.get(0).get("ratio").asDouble()) < 1e-3, sample.toString());
    }
  }

  /** What the page in a file shows. */
  private static List<JsonNode> onPage(String name) throws IOException {
    String html = Files.readString(folder.resolve(name));
    String data = html.replaceFirst("(?s)^.* id=\"data\">", "").replaceFirst("(?s)</script>.*", "");
    byte[] packed = Base64.getDecoder().decode(data);
    try (InputStream in = new GZIPInputStream(new ByteArrayInputStream(packed))) {
      List<JsonNode> answers = new ArrayList<>();
      new ObjectMapper().readTree(in).forEach(answers::add);
      return answers;
    }
  }

  @Test
  void circuitAndEvaluate_areThoseOfTheLibrary() throws IOException {
    Path scores = folder.resolve("eap.json");
    Output.of(
            "score",
            file.toString(),
            "--dtype",
            "double",
            "--out",
            scores.toString(),
            "--sample",
            "0",
            "--json")
        .json();
    Path saved = folder.resolve("circuit.json");
    Path truth =
        Files.writeString(
            folder.resolve("truth.csv"), "reader,x,source\nm0,,a0.h0\nlogits,,input\nlogits,,m2\n");
    JsonNode json =
        Output.of(
                "circuit",
                file.toString(),
                "--dtype",
                "double",
                "--scores",
                scores.toString(),
                "--top",
                "40",
                "--minimality",
                "all",
                "--truth",
                truth.toString(),
                "--html",
                folder.resolve("circuit.html").toString(),
                "--out",
                saved.toString(),
                "--json")
            .json();
    assertEquals(List.of(tree(scores), tree(saved), json), onPage("circuit.html"));
    try (Scope scope = Scope.open()) {
      Library library = Library.of();
      double[] means = library.scores(EdgeMethod.EAP, AblationValues.PATCHING).means();
      ComponentCircuit circuit = Importance.ABSOLUTE.top(library.graph, means, 40).pruned();
      assertEquals(circuit, ScoreFile.circuit(saved, library.graph));
      int lacking = circuit.edges().get(3);
      CircuitTotals totals =
          library.metrics(circuit, circuit.complement(), circuit.without(lacking));
      assertEquals(totals.full(), json.get("full").asDouble(), 1e-12);
      JsonNode own = json.get("circuit");
      assertEquals(totals.faithfulness(0), own.get("faithfulness").asDouble(), 1e-12);
      assertTrue(own.get("low").asDouble() <= totals.faithfulness(0));
      assertTrue(own.get("high").asDouble() >= totals.faithfulness(0));
      assertEquals(totals.metric(1), json.get("complement").get("metric").asDouble(), 1e-12);
      JsonNode third = json.get("edges").get(3);
      assertEquals(
          (totals.metric(0) - totals.metric(2)) / (totals.full() - totals.empty()),
          third.get("minimality").asDouble(),
          1e-12);
      assertTrue(third.get("low").asDouble() <= third.get("minimality").asDouble());
      assertTrue(third.get("high").asDouble() >= third.get("minimality").asDouble());
      List<Integer> known =
          Stream.of("a0.h0->m0", "input->logits", "m2->logits")
              .map(name -> library.graph.number(library.graph.edge(name)))
              .toList();
      long hits = known.stream().filter(circuit::contains).count();
      JsonNode agreement = json.get("truth");
      assertEquals(3, agreement.get("edge_count").asInt());
      assertEquals(hits / 3.0, agreement.get("recall").asDouble(), 1e-12);
      assertEquals(hits / (double) circuit.size(), agreement.get("precision").asDouble(), 1e-12);
      assertEquals(
          share(known, magnitudes(means)), agreement.get("auroc_by_score").asDouble(), 1e-12);
      JsonNode again =
          Output.of("circuit", file.toString(), "--circuit", saved.toString(), "--json").json();
      assertEquals(
          totals.faithfulness(0), again.get("circuit").get("faithfulness").asDouble(), 1e-4);

      JsonNode curve =
          Output.of(
                  "evaluate",
                  file.toString(),
                  "--dtype",
                  "double",
                  "--scores",
                  scores.toString(),
                  "--fractions",
                  "0.01,0.1,1",
                  "--minimality",
                  "2",
                  "--csv",
                  folder.resolve("curve.csv").toString(),
                  "--html",
                  folder.resolve("curve.html").toString(),
                  "--json")
              .json();
      int tenth = library.graph.edges().size() / 10;
      ComponentCircuit ten = Importance.ABSOLUTE.top(library.graph, means, tenth).pruned();
      double expected = library.metrics(ten).faithfulness(0);
      JsonNode middle = curve.get("circuits").get(1);
      assertEquals(
          library.metrics(ten.complement()).faithfulness(0),
          middle.get("complement").get("faithfulness").asDouble(),
          1e-12);
      assertEquals(List.of(tree(scores), curve), onPage("curve.html"));
      assertEquals(4, Files.readAllLines(folder.resolve("curve.csv")).size());
      assertEquals(2, middle.get("edges").size());
      for (JsonNode edge : middle.get("edges")) {
        int number = library.graph.number(library.graph.edge(edge.get("edge").asText()));
        CircuitTotals without = library.metrics(ten, ten.without(number));
        assertEquals(
            without.faithfulness(0) - without.faithfulness(1),
            edge.get("minimality").asDouble(),
            1e-12);
        assertTrue(edge.get("low").asDouble() <= edge.get("high").asDouble());
      }
      assertEquals(tenth, middle.get("chosen_edges").asInt());
      assertEquals(ten.size(), middle.get("edge_count").asInt());
      assertEquals(expected, middle.get("faithfulness").asDouble(), 1e-12);
      assertEquals(1, curve.get("circuits").get(2).get("faithfulness").asDouble(), 1e-12);
      double first = curve.get("circuits").get(0).get("faithfulness").asDouble();
      double area = 0.09 * (first + expected) / 2 + 0.9 * (expected + 1) / 2;
      assertEquals(area, curve.get("cpr").asDouble(), 1e-12);
    }
    Output text = Output.of("evaluate", file.toString(), "--scores", scores.toString());
    assertTrue(text.out.contains("CPR"), text.out);
    Output named =
        Output.of(
            "circuit", file.toString(), "--scores", scores.toString(), "--top", "9", "--greedy");
    assertTrue(named.out.contains("of the rest (complete)"), named.out);
  }

  @Test
  void byToken_scoreCircuitAndEvaluate_areThoseOfTheLibrary() throws IOException {
    Path scores = folder.resolve("tokens.json");
    Path csv = folder.resolve("tokens.csv");
    List<String> lengths = new ArrayList<>(Files.readAllLines(file));
    lengths.add(1, PromptTemplate.AGREEMENT.draw(1, 1).get(0).json());
    List<String> data =
        List.of(
            Files.write(folder.resolve("lengths.jsonl"), lengths).toString(),
            "--by-token",
            "--dtype",
            "double",
            "--json");
    Output output =
        Output.of(
            "score", data, "--out", scores.toString(), "--csv", csv.toString(), "--sample", "9");
    JsonNode json = output.json();
    try (Scope scope = Scope.open()) {
      Library whole = Library.of();
      int tokens = whole.pairs.get(0).length();
      Library library = new Library(whole.model, whole.graph.byToken(tokens), whole.pairs);
      String reason = "line 2: a pair of prompts of 6 tokens among those of " + tokens;
      assertTrue(output.err.contains(reason), output.err);
      assertEquals(PAIRS, json.get("pairs").asInt());
      assertEquals(tokens, json.get("tokens").size());
      EdgeTotals totals = library.scores(EdgeMethod.EAP, AblationValues.PATCHING);
      double[] means = totals.means();
      assertArrayEquals(means, ScoreFile.scores(scores, library.graph), 1e-12);
      List<String> lines = Files.readAllLines(csv);
      assertEquals("source,reader,tokens,score,standard_error,magnitude", lines.get(0));
      for (int i = 0; i < means.length; i++) {
        ComponentGraph.Edge edge = library.graph.edges().get(i);
        assertEquals(edge.toString(), json.get("edges").get(i).get("edge").asText());
        assertEquals(i % tokens, json.get("edges").get(i).get("tokens").asInt());
        String line = edge.source() + "," + edge.reader() + "," + i % tokens + ",";
        assertTrue(lines.get(i + 1).startsWith(line), lines.get(i + 1));
      }
      EdgeScorer exact = new EdgeScorer(library.graph, AblationValues.PATCHING, EdgeMethod.EXACT);
      assertEquals(9, json.get("exact_sample").get("edges").size());
      for (JsonNode edge : json.get("exact_sample").get("edges")) {
        int number = library.graph.number(library.graph.edge(edge.get("edge").asText()));
        double mean =
            library.pairs.stream()
                .mapToDouble(pair -> exact.exact(pair, List.of(number)).get(0))
                .average()
                .orElseThrow();
        assertEquals(mean, edge.get("exact").asDouble(), 1e-10);
      }

      Path saved = folder.resolve("tokens-circuit.json");
      Path truth =
          Files.writeString(
              folder.resolve("tokens-truth.csv"), "source,reader,tokens\nm2,logits,3\n");
      JsonNode chosen =
          Output.of(
                  "circuit",
                  data,
                  "--scores",
                  scores.toString(),
                  "--top",
                  "60",
                  "--greedy",
                  "--truth",
                  truth.toString(),
                  "--out",
                  saved.toString())
              .json();
      ComponentCircuit circuit = Importance.ABSOLUTE.greedy(library.graph, means, 60).pruned();
      assertEquals(circuit, ScoreFile.circuit(saved, library.graph));
      assertEquals(circuit.size(), chosen.get("circuit").get("edge_count").asInt());
      assertEquals(
          library.metrics(circuit).faithfulness(0),
          chosen.get("circuit").get("faithfulness").asDouble(),
          1e-12);
      assertEquals(1, chosen.get("truth").get("edge_count").asInt());
      JsonNode curve =
          Output.of("evaluate", data, "--scores", scores.toString(), "--fractions", "0.1,1").json();
      assertEquals(1, curve.get("circuits").get(1).get("faithfulness").asDouble(), 1e-12);
      assertEquals(
          library.graph.edges().size() / 10,
          curve.get("circuits").get(0).get("chosen_edges").asInt());
    }
    String refusal = "its edges are of each of the tokens [0, 1";
    assertRefused(refusal, "circuit", file.toString(), "--scores", scores.toString(), "--top", "3");
  }

  @Test
  void split_scoreCircuitAndEvaluate_areThoseOfTheLibrary() throws IOException {
    Path scores = folder.resolve("split.json");
    Path csv = folder.resolve("split.csv");
    List<String> data =
        List.of(
            file.toString(),
            "--split",
            "m2.n7,L2.mlp_latent470,m0.n255",
            "--dictionaries",
            "shipped",
            "--dtype",
            "double",
            "--json");
    String[] args = {"--out", scores.toString(), "--csv", csv.toString(), "--sample", "6"};
    JsonNode json = Output.of("score", data, args).json();
    try (Scope scope = Scope.open()) {
      Library whole = Library.of();
      Transformer model = whole.model.with(Dictionaries.textbook(DType.DOUBLE));
      Dictionary.Id mlp = new Dictionary.Id(Dictionary.Kind.MLP, "", 2);
      Library library =
          new Library(
              model,
              ComponentGraph.of(
                  model,
                  whole.graph.input(),
                  List.of(
                      MlpShare.neuron(2, 7), MlpShare.neuron(0, 255), MlpShare.latent(mlp, 470))),
              whole.pairs);
      assertEquals("[\"m0.n255\",\"m2.n7\",\"L2.mlp_latent470\"]", json.get("split").toString());
      int written = library.graph.number(library.graph.edge("L2.mlp_latent470->logits"));
      assertEquals(
          "{\"component\":\"latent\",\"dictionary\":\"mlp\",\"layer\":2,\"latent\":470}",
          json.get("edges").get(written).get("from").toString());
      double[] means = library.scores(EdgeMethod.EAP, AblationValues.PATCHING).means();
      assertArrayEquals(means, ScoreFile.scores(scores, library.graph), 1e-12);
      int edge = library.graph.number(library.graph.edge("m0.n255->m2.n7"));
      assertEquals(
          "{\"component\":\"neuron\",\"layer\":2,\"neuron\":7}",
          json.get("edges").get(edge).get("to").toString());
      String line = Files.readAllLines(csv).get(edge + 1);
      assertTrue(line.startsWith("m0.n255,m2.n7,"), line);

      Path saved = folder.resolve("split-circuit.json");
      String[] chosen = {"--scores", scores.toString(), "--top", "60", "--out", saved.toString()};
      JsonNode tested = Output.of("circuit", data, chosen).json();
      ComponentCircuit circuit = Importance.ABSOLUTE.top(library.graph, means, 60).pruned();
      assertEquals(circuit, ScoreFile.circuit(saved, library.graph));
      assertEquals(
          library.metrics(circuit).faithfulness(0),
          tested.get("circuit").get("faithfulness").asDouble(),
          1e-12);
      JsonNode curve =
          Output.of("evaluate", data, "--scores", scores.toString(), "--fractions", "0,1").json();
      assertEquals(0, curve.get("circuits").get(0).get("faithfulness").asDouble(), 1e-12);
      assertEquals(1, curve.get("circuits").get(1).get("faithfulness").asDouble(), 1e-12);
    }
    assertRefused(
        "MLPs are split at [m0.n255, m2.n7, L2.mlp_latent470], and in the graph no MLP is split",
        "evaluate",
        file.toString(),
        "--scores",
        scores.toString());
  }

  @Test
  void splitBy_nodes_takesTheNeuronsAndLatentsOfTheLargestMagnitudes() throws IOException {
    Path nodes = folder.resolve("shares.json");
    String[] args = {"--split-by", nodes.toString(), "--split-top", "3"};
    List<String> data = List.of(file.toString(), "--dictionaries", "shipped", "--sample", "0");
    for (List<String> tokens : List.of(List.of("--neurons"), List.of("--neurons", "--by-token"))) {
      List<String> of = new ArrayList<>(data);
      of.addAll(tokens);
      JsonNode all =
          Output.of("nodes", of, "--method", "atp", "--json", "--out", nodes.toString()).json();
      Map<String, Double> magnitudes = new TreeMap<>();
      for (JsonNode node : all.get("nodes")) {
        String name = node.get("node").asText().replaceAll("@.*", "");
        if (name.matches("m\\d\\.n\\d+|L\\d\\.(mlp|activation)_latent\\d+")) {
          magnitudes.merge(name, node.get("magnitude").asDouble(), Double::sum);
        }
      }
      Set<String> expected = new TreeSet<>();
      magnitudes.entrySet().stream()
          .sorted(Comparator.comparingDouble(own -> -own.getValue()))
          .limit(3)
          .forEach(own -> expected.add(own.getKey()));
      Set<String> split = new TreeSet<>();
      JsonNode scored = Output.of("score", data, args[0], args[1], args[2], "3", "--json").json();
      scored.get("split").forEach(own -> split.add(own.asText()));
      assertEquals(expected, split);
      String[] named = {
        "--split", expected.iterator().next(), args[0], args[1], args[2], "3", "--json"
      };
      assertEquals(3, Output.of("score", data, named).json().get("split").size());
    }

    String pairs = file.toString();
    assertRefused(
        "neurons and latents of MLPs of this model, and 1000000 are asked for",
        "score",
        pairs,
        args[0],
        args[1],
        args[2],
        "1000000");
    assertRefused("--split-top is 0", "score", pairs, args[0], args[1], args[2], "0");
    assertRefused("this is no JSON", "score", pairs, args[0], pairs);
    for (Map.Entry<String, String> wrong :
        Map.of(
                "m4.n0", "neurons of layer 4 of a model of 4 layers",
                "m0.n512", "m0.n512, and there are 512, counted from 0",
                "m1.n3,m1.n3", "m1.n3 is named twice",
                "m1", "\"m1\" is no neuron such as m2.n376",
                "L2.neuron7", "\"L2.neuron7\" is no neuron such as m2.n376 and no latent such as",
                "L2.mlp_latent3", "the mlp dictionary of layer 2 is not loaded")
            .entrySet()) {
      assertRefused(wrong.getValue(), "score", pairs, "--split", wrong.getKey());
    }
    assertRefused("--neurons and --dictionaries score", "nodes", pairs, "--split", "m1.n3");
    String[] shipped = {"--dictionaries", "shipped", "--split", "L2.attention_latent3"};
    assertRefused(
        "the attention dictionary of layer 2 are no shares of one MLP: it reads",
        "score",
        pairs,
        shipped[0],
        shipped[1],
        shipped[2],
        shipped[3]);
    assertRefused("says which of their latents", "score", pairs, shipped[0], shipped[1]);
  }

  private static JsonNode tree(Path json) throws IOException {
    return new ObjectMapper().readTree(json.toFile());
  }

  private static double[] magnitudes(double[] scores) {
    return DoubleStream.of(scores).map(Math::abs).toArray();
  }

  /** The share of pairs of a known and another edge in which the known one is larger. */
  private static double share(List<Integer> known, double[] scores) {
    double won = 0;
    for (int one : known) {
      for (int other = 0; other < scores.length; other++) {
        if (!known.contains(other)) {
          won += scores[one] > scores[other] ? 1 : scores[one] == scores[other] ? 0.5 : 0;
        }
      }
    }
    return won / known.size() / (scores.length - known.size());
  }

  private static void assertRefused(String sentence, String... args) {
    Output output = Output.of(args);
    assertEquals(2, output.exitCode, output.out);
    assertTrue(output.err.contains(sentence), output.err);
  }

  private static void assertRefusedTruth(String text, String name, String sentence)
      throws IOException {
    Path list = Files.writeString(folder.resolve(name), text);
    assertRefused(sentence, "circuit", file.toString(), "--circuit", list.toString());
  }

  @Test
  void wrongArgumentsAndFiles_areRefused() throws IOException {
    String pairs = file.toString();
    assertRefused("is followed by generate");
    assertRefused("\"foo\" is no command of tributary dataset, which are generate, score,", "foo");
    assertRefused("FILE", "score");
    assertRefused("there is no such file", "score", "none.csv");
    assertRefused("is none of indirect-object", "generate", "x");
    assertRefused("is none of eap", "score", pairs, "--method", "x");
    assertRefused("--steps are those", "score", pairs, "--steps", "3");
    assertRefused("--steps is 0", "score", pairs, "--method", "eap-ig-inputs", "--steps", "0");
    assertRefused("--top is 0", "score", pairs, "--top", "0");
    assertRefused("needs 4", "score", pairs, "--columns", "a,b,c");
    assertRefused("no rows", "score", Files.createFile(folder.resolve("e.jsonl")).toString());
    assertRefused("is 2 tokens", "score", pairs, "--fill", "Mary John");
    String nowhere = folder.resolve("none").resolve("x").toString();
    assertRefused("there is no folder", "score", pairs, "--out", nowhere);
    assertRefused("there is no folder", "score", pairs, "--csv", nowhere);
    assertRefused("this is a folder", "score", pairs, "--csv", folder.toString());
    assertRefused(
        "there is no folder", "circuit", pairs, "--scores", pairs, "--top", "3", "--out", nowhere);
    Path taken = folder.resolve("taken.json");
    Files.writeString(Path.of(taken + ".parts"), "");
    assertRefused("this is a file", "score", pairs, "--out", taken.toString());
    assertRefused("both write to", "nodes", pairs, "--out", "x", "--csv", "x");
    assertRefused("must ascend", "evaluate", pairs, "--scores", pairs, "--fractions", "1,.5");
    assertRefused("neither a number", "evaluate", pairs, "--minimality", "some");
    assertRefused("--minimality is -1", "evaluate", pairs, "--minimality=-1");
    assertRefused("as in the corrupted prompt", "nodes", pairs, "--ablation", "zero");
    assertRefused("--sample is -1", "nodes", pairs, "--sample=-1");
    assertRefused("one of the two", "circuit", pairs);
    assertRefused("one of --top", "circuit", pairs, "--scores", pairs);
    assertRefused("--greedy goes with", "circuit", pairs, "--circuit", pairs, "--greedy");
    assertRefused("by --scores FILE", "evaluate", pairs);
    assertRefused("there is no folder", "score", pairs, "--html", nowhere);
    assertRefused("there is no folder", "nodes", pairs, "--html", nowhere);
    assertRefused("there is no folder", "evaluate", pairs, "--scores", pairs, "--html", nowhere);
    assertRefused(
        "there is no folder", "circuit", pairs, "--scores", pairs, "--top", "3", "--html", nowhere);
    assertRefusedTruth("[\"a0.h0->m9\"]", "t.json", "there is no edge a0.h0->m9");
    assertRefusedTruth("[3]", "t.json", "3 is no name of an edge");
    assertRefusedTruth("source,to\n", "t.csv", "there is no column \"reader\"");
    assertRefusedTruth("source,reader\nm0\n", "t.csv", "line 2: 1 cells");
    assertRefusedTruth("{\"source\": \"m0\"}", "t.jsonl", "line 1: it has no source");
    assertRefused("this is no JSON", "circuit", pairs, "--scores", pairs, "--top", "3");
    Path wrong = Files.writeString(folder.resolve("w.json"), "{\"format\": \"x\"}");
    assertRefused("format", "evaluate", pairs, "--scores", wrong.toString());
    assertRefused("between 0 and 1", "evaluate", pairs, "--scores", pairs, "--fractions", "2");
  }
}
