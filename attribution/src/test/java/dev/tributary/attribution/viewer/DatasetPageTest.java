package dev.tributary.attribution.viewer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.dataset.ComponentCircuit;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.EdgeTotals;
import dev.tributary.attribution.dataset.ScoreFile;
import dev.tributary.attribution.dataset.ScoredPairs;
import dev.tributary.attribution.viewer.Chromium.Page;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.MlpShare;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Random;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The page of a data set in a real browser, with a reader's pointer and keys. What it must show is
 * worked out here from what it was given.
 */
class DatasetPageTest {
  private static final int PAIRS = 12;
  private static final int LAYERS = 3;
  private static final int HEADS = 4;

  /** Edges that are drawn until the reader asks for others. */
  private static final int FEW = 40;

  private static final String NO_BROWSER =
      "No Chromium on the PATH: the tests of the page of a data set are skipped.";

  private static final ObjectMapper MAPPER = new ObjectMapper();

  @TempDir private static Path folder;
  private static @Nullable Chromium browser;

  @BeforeAll
  static void start() throws IOException, InterruptedException {
    Optional<Path> program = Chromium.installed();
    if (program.isPresent()) {
      browser = Chromium.start(program.get(), Files.createDirectory(folder.resolve("profile")));
    } else {
      System.err.println(NO_BROWSER);
    }
  }

  @BeforeEach
  void requireBrowser() {
    assumeTrue(browser != null, NO_BROWSER);
  }

  @AfterAll
  static void stop() throws InterruptedException {
    if (browser != null) {
      browser.close();
    }
  }

  // ---- what is shown -------------------------------------------------------------------------

  private static final Dictionary.Id AUTOENCODER = new Dictionary.Id(Dictionary.Kind.MLP, "", 0);

  private static <T> T inGraph(int layers, int heads, Function<ComponentGraph, T> made) {
    return inGraph(layers, heads, List.of(), made);
  }

  private static <T> T inGraph(
      int layers, int heads, List<MlpShare> split, Function<ComponentGraph, T> made) {
    try (Scope scope = Scope.open()) {
      Transformer model =
          Transformer.random(
              TransformerConfig.gpt2(layers, 4 * heads, heads, 4, 3, 4, 5, 1e-5, true),
              DType.DOUBLE,
              1);
      Tensor rows = Tensor.full(DType.DOUBLE, Shape.of(5, 4 * heads), 0.1);
      Dictionary autoencoder =
          Dictionary.autoencoder(
              "drawn",
              Place.of(Site.MLP_OUTPUT, 0),
              new LatentActivation.Relu(),
              rows,
              rows,
              Tensor.zeros(DType.DOUBLE, Shape.of(4 * heads)),
              Tensor.zeros(DType.DOUBLE, Shape.of(5)));
      assertEquals(AUTOENCODER, autoencoder.id());
      return made.apply(
          ComponentGraph.of(
              model.with(List.of(autoencoder)),
              new StreamWriter.Input(Site.TOKEN_EMBEDDING),
              split));
    }
  }

  private static ObjectNode scores(int layers, int heads) {
    return inGraph(layers, heads, DatasetPageTest::scores);
  }

  private static ObjectNode scores(ComponentGraph graph) {
    int edges = graph.edges().size();
    double[] numbers = new double[3 + 3 * edges];
    Random random = new Random(3);
    numbers[0] = PAIRS;
    numbers[1] = 2 * PAIRS;
    numbers[2] = -PAIRS;
    for (int i = 0; i < edges; i++) {
      double score = random.nextGaussian() * Math.exp(2 * random.nextGaussian());
      numbers[3 + i] = score * PAIRS;
      numbers[3 + edges + i] = 1.5 * Math.abs(score) * PAIRS;
      numbers[3 + 2 * edges + i] = 3 * score * score * PAIRS;
    }
    return json(
        ScoreFile.of(
            new ScoredPairs(
                "random",
                List.of(Path.of("pairs.jsonl")),
                "eap",
                "patching",
                "logit_difference",
                new ScoredPairs.Edges(graph),
                EdgeTotals.of(numbers),
                List.of(),
                0,
                Optional.empty())));
  }

  private static ObjectNode json(String text) {
    try {
      return (ObjectNode) MAPPER.readTree(text);
    } catch (JsonProcessingException e) {
      throw new AssertionError(e);
    }
  }

  private static List<JsonNode> strongest(JsonNode scores) {
    return StreamSupport.stream(scores.get("edges").spliterator(), false)
        .sorted(Comparator.comparingDouble(edge -> -Math.abs(edge.get("score").asDouble())))
        .toList();
  }

  private static ObjectNode curve() {
    ObjectNode curve =
        MAPPER
            .createObjectNode()
            .put("format", "tributary circuit curve")
            .put("cpr", 0.875)
            .put("cmd", 0.125);
    ArrayNode circuits = curve.putArray("circuits");
    double[][] rows = {{0, -0.1, 1.1}, {2, 0.3, 0.9}, {20, 0.95, 0.2}, {100, 1, 0}};
    for (double[] row : rows) {
      ObjectNode own = kept(circuits.addObject(), row[1]);
      own.put("chosen_edges", (int) row[0]).put("edge_count", (int) row[0]).put("metric", row[1]);
      own.set("complement", kept(MAPPER.createObjectNode(), row[2]));
    }
    return curve;
  }

  private static ObjectNode kept(ObjectNode json, double faithfulness) {
    return json.put("faithfulness", faithfulness)
        .put("low", faithfulness - 0.05)
        .put("high", faithfulness + 0.05);
  }

  private static Page open(String colours, int width, int height, JsonNode... answers)
      throws IOException {
    Path file = Files.createTempFile(folder, "dataset", ".html");
    Files.writeString(file, DatasetPage.of(Stream.of(answers).map(JsonNode::toString).toList()));
    Page page = Objects.requireNonNull(browser).open(file, width, height, colours);
    page.await("'ready' in document.documentElement.dataset");
    page.settle();
    return page;
  }

  private static Page open(JsonNode... answers) throws IOException {
    return open("light", 1280, 800, answers);
  }

  private static void assertQuiet(Page page) {
    assertEquals(List.of(), page.problems());
    assertEquals(List.of(), page.requests());
    assertEquals("", page.text("#problem"));
  }

  /** Names of edges as they are drawn, the strongest last and so on top. */
  private static List<String> drawn(Page page) {
    return page.texts("#edges .reach", "e.dataset.name");
  }

  private static List<String> names(List<JsonNode> edges) {
    return edges.stream().map(edge -> edge.get("edge").asText()).toList();
  }

  private static String edge(String name) {
    return "#edges [data-name=\"" + name + "\"]";
  }

  private static void hoverEdge(Page page, String name) {
    JsonNode at =
        page.evaluate(
            "(e => { const p = e.getPointAtLength(e.getTotalLength() / 2);"
                + " const b = document.querySelector('#graph').getBoundingClientRect();"
                + " return [b.x + p.x, b.y + p.y]; })(document.querySelector('"
                + edge(name)
                + "'))");
    page.hover(at.get(0).asDouble(), at.get(1).asDouble());
  }

  // ---- the graph -----------------------------------------------------------------------------

  @Test
  void graph_scores_drawsTheStrongestByWidthAndSign() throws IOException {
    ObjectNode scores = scores(LAYERS, HEADS);
    List<JsonNode> strongest = strongest(scores);
    try (Page page = open(scores)) {
      assertEquals(names(strongest.subList(0, FEW)), reversed(drawn(page)));
      List<String> widths = page.texts("#edges .edge", "e.getAttribute('stroke-width')");
      List<String> colours = page.texts("#edges .edge", "getComputedStyle(e).stroke");
      String falls =
          page.evaluate("getComputedStyle(document.querySelector('.plus')).color").asText();
      String rises =
          page.evaluate("getComputedStyle(document.querySelector('.minus')).color").asText();
      double largest = Math.abs(strongest.get(0).get("score").asDouble());
      for (int i = 0; i < FEW; i++) {
        double score = strongest.get(i).get("score").asDouble();
        double width = Double.parseDouble(widths.get(FEW - 1 - i));
        assertEquals(1 + 8 * Math.abs(score) / largest, width, 0.01);
        assertEquals(score < 0 ? falls : rises, colours.get(FEW - 1 - i));
      }
      page.evaluate("document.querySelector('#count').focus()");
      page.press("End");
      assertEquals(strongest.size(), drawn(page).size());
      page.press("Home");
      assertEquals(List.of(strongest.get(0).get("edge").asText()), drawn(page));
      assertQuiet(page);
    }
  }

  @ParameterizedTest
  @CsvSource({"1280, 800, 3, 4", "700, 900, 3, 4", "1900, 1000, 12, 12", "1000, 600, 6, 20"})
  void graph_anySize_hasComponentsApartAndLayersUpward(int width, int height, int layers, int heads)
      throws IOException {
    try (Page page = open("dark", width, height, scores(layers, heads), curve())) {
      JsonNode boxes =
          page.evaluate(
              "[...document.querySelectorAll('.node')].map(e => {"
                  + " const b = e.getBoundingClientRect();"
                  + " return [e.dataset.name, b.left, b.top, b.right, b.bottom]; })");
      assertEquals(2 + layers * (heads + 1), boxes.size());
      for (JsonNode one : boxes) {
        for (JsonNode other : boxes) {
          boolean apart =
              one.get(1).asDouble() > other.get(3).asDouble()
                  || one.get(3).asDouble() < other.get(1).asDouble()
                  || one.get(2).asDouble() > other.get(4).asDouble()
                  || one.get(4).asDouble() < other.get(2).asDouble();
          assertTrue(one.equals(other) || apart, () -> one + " is on " + other);
        }
      }
      JsonNode upward =
          page.evaluate(
              "((...all) => all.every((name, i) => i === 0 || document.querySelector("
                  + "`[data-name=\"${name}\"].node`).getBoundingClientRect().y"
                  + " < document.querySelector(`[data-name=\"${all[i - 1]}\"].node`)"
                  + ".getBoundingClientRect().y))"
                  + "('input', 'a0.h0', 'm0', 'a1.h1', 'm1', 'a2.h0', 'm2', 'logits')");
      assertTrue(upward.asBoolean());
      assertTrue(page.evaluate("document.documentElement.scrollWidth <= innerWidth").asBoolean());
      assertQuiet(page);
    }
  }

  @Test
  void edge_pointedAt_tellsItsNumbers() throws IOException {
    ObjectNode scores = scores(LAYERS, HEADS);
    JsonNode sampled = strongest(scores).get(2);
    ObjectNode sample =
        scores.putObject("exact_sample").put("pairs", 7).put("rank_correlation", 0.5);
    sample
        .putArray("edges")
        .addObject()
        .put("edge", sampled.get("edge").asText())
        .put("exact", -3)
        .put("estimate", -0.046875)
        .put("ratio", 0.015625);
    try (Page page = open(scores)) {
      String name = sampled.get("edge").asText();
      hoverEdge(page, name);
      String tip = page.text("#tip").replace('−', '-');
      assertTrue(tip.contains(name), tip);
      for (String field : List.of("score", "standard_error", "magnitude")) {
        double value = sampled.get(field).asDouble();
        assertTrue(
            Stream.of(tip.split("\\s+", -1))
                .filter(word -> word.matches("-?[0-9]+(\\.[0-9]+)?"))
                .anyMatch(
                    word -> Math.abs(Double.parseDouble(word) - value) < 1e-3 * Math.abs(value)),
            () -> field + " " + value + " in " + tip);
      }
      assertTrue(tip.contains(String.valueOf(PAIRS)), tip);
      assertTrue(tip.contains("-3"), tip);
      page.hover(3, 3);
      assertFalse(page.evaluate("document.querySelector('#tip').checkVisibility()").asBoolean());
      String panel = page.text("#panel").replace('−', '-');
      assertTrue(panel.contains("Rank correlation 0.500"), panel);
      assertTrue(panel.contains("-0.04688"), panel);
      assertTrue(panel.contains("0.0156"), panel);
      assertQuiet(page);
    }
  }

  @Test
  void keys_arrows_walkFromEdgeToEdgeAndHold() throws IOException {
    ObjectNode scores = scores(LAYERS, HEADS);
    List<JsonNode> strongest = strongest(scores);
    try (Page page = open(scores)) {
      page.evaluate("document.querySelector('.reach[tabindex=\"0\"]').focus()");
      assertEquals(strongest.get(0).get("edge").asText(), page.focused());
      page.press("ArrowDown");
      page.press("ArrowDown");
      String name = strongest.get(2).get("edge").asText();
      assertEquals(name, page.focused());
      String label = page.evaluate("document.activeElement.getAttribute('aria-label')").asText();
      assertTrue(label.startsWith(name + ": mean score"), label);
      page.press("Enter");
      assertEquals("true", page.evaluate("document.activeElement.ariaPressed").asText());
      page.hover(3, 3);
      assertTrue(page.text("#about").startsWith(name), page.text("#about"));
      page.press("Escape");
      page.evaluate("document.activeElement.blur()");
      assertTrue(page.text("#about").startsWith("These edges"));
      page.evaluate("document.querySelector('.node[tabindex=\"0\"]').focus()");
      assertEquals("logits", page.focused());
      page.press("ArrowDown");
      assertTrue(page.focused().matches("m2|a2\\.h\\d"), page.focused());
      page.press("Enter");
      String node = page.focused();
      List<String> listed = page.texts("#list button", "e.dataset.name");
      assertEquals(
          strongest.subList(0, FEW).stream()
              .map(edge -> edge.get("edge").asText())
              .filter(
                  edge ->
                      edge.startsWith(node + "->") || edge.matches(".*->\\Q" + node + "\\E(<.>)?"))
              .toList(),
          listed);
      assertEquals(
          List.of(),
          page
              .texts(
                  "[role=button], button, input, svg[role], aside",
                  "e.ariaLabel || e.innerText || e.labels?.[0]?.innerText ? '' : e.outerHTML")
              .stream()
              .filter(element -> !element.isEmpty())
              .toList());
      assertQuiet(page);
    }
  }

  // ---- tokens --------------------------------------------------------------------------------

  @Test
  void shares_ofASplitMlp_standBesideTheRestOfIt() throws IOException {
    List<MlpShare> split =
        List.of(
            MlpShare.neuron(0, 2),
            MlpShare.neuron(0, 1),
            MlpShare.latent(AUTOENCODER, 3),
            MlpShare.neuron(2, 0));
    ObjectNode scores = inGraph(LAYERS, HEADS, split, DatasetPageTest::scores);
    try (Page page = open(scores)) {
      String label = "e.getAttribute('aria-label')";
      assertEquals(
          List.of(
              "latent 3 of the mlp dictionary of layer 0",
              "neuron 0 of layer 2",
              "neuron 1 of layer 0",
              "neuron 2 of layer 0"),
          page.texts(".node.neuron, .node.latent", label).stream().sorted().toList());
      assertEquals(
          List.of(
              "the MLP of layer 1",
              "the rest of the MLP of layer 0",
              "the rest of the MLP of layer 2"),
          page.texts(".node.mlp", label).stream().sorted().toList());
      List<Double> across = new ArrayList<>();
      for (String name : List.of("m0", "m0.n1", "m0.n2", "L0.mlp_latent3")) {
        String rect = "document.querySelector('[data-name=\"" + name + "\"] rect')";
        across.add(page.evaluate(rect + ".getBoundingClientRect().left").asDouble());
      }
      assertEquals(across.stream().distinct().sorted().toList(), across);
      String name =
          names(strongest(scores)).stream()
              .filter(own -> own.contains("m0.n2->"))
              .findFirst()
              .get();
      page.evaluate("document.querySelector('#count').focus()");
      page.press("End");
      hoverEdge(page, name);
      String tip = page.text("#tip");
      assertTrue(tip.contains(name) && tip.contains("hears of neuron 2 of layer 0"), tip);
      assertQuiet(page);
    }
  }

  @Test
  void tokens_chosen_haveTheirEdgesOrTheSums() throws IOException {
    ObjectNode scores = inGraph(LAYERS, HEADS, graph -> scores(graph.byToken(3)));
    List<JsonNode> strongest = strongest(scores);
    try (Page page = open(scores)) {
      assertEquals(names(strongest.subList(0, FEW)), reversed(drawn(page)));
      page.evaluate("document.querySelector('#tokens').focus()");
      page.press("ArrowDown");
      Map<String, Double> sums = new HashMap<>();
      for (JsonNode edge : strongest) {
        String name = edge.get("edge").asText();
        sums.merge(name.substring(0, name.indexOf('@')), edge.get("score").asDouble(), Double::sum);
      }
      List<String> largest =
          sums.entrySet().stream()
              .sorted(Comparator.comparingDouble(sum -> -Math.abs(sum.getValue())))
              .map(Map.Entry::getKey)
              .toList();
      assertEquals(largest.subList(0, FEW), reversed(drawn(page)));
      List<String> widths = page.texts("#edges .edge", "e.getAttribute('stroke-width')");
      assertEquals(
          1 + 8 * Math.abs(sum(sums, largest.get(5)) / sum(sums, largest.get(0))),
          Double.parseDouble(widths.get(FEW - 1 - 5)),
          0.01);
      page.hover("#list button");
      assertTrue(page.text("#about").contains("added up"), page.text("#about"));
      page.click("#list button");
      assertEquals(List.of("0", "1", "2"), page.texts("#about td:first-child", "e.innerText"));
      page.evaluate("document.querySelector('#tokens').focus()");
      page.press("ArrowDown");
      page.press("ArrowDown");
      List<JsonNode> own =
          strongest.stream().filter(edge -> edge.get("tokens").asText().equals("1")).toList();
      assertEquals(names(own.subList(0, FEW)), reversed(drawn(page)));
      page.evaluate("document.querySelector('#list button').focus()");
      String about = page.text("#about");
      assertTrue(about.contains("at token 1"), about);
      hoverEdge(page, own.get(0).get("edge").asText());
      assertEquals(List.of("0", "1", "2"), page.texts("#tip td:first-child", "e.innerText"));
      assertQuiet(page);
    }
    try (Page page = open(scores(LAYERS, HEADS))) {
      assertFalse(page.evaluate("document.querySelector('#tokens').checkVisibility()").asBoolean());
    }
  }

  private static double sum(Map<String, Double> sums, String edge) {
    return sums.getOrDefault(edge, Double.NaN);
  }

  private static List<String> reversed(List<String> names) {
    List<String> reversed = new ArrayList<>(names);
    Collections.reverse(reversed);
    return reversed;
  }

  // ---- circuits ------------------------------------------------------------------------------

  @Test
  void curve_circuits_areWhereTheirNumbersAre() throws IOException {
    ObjectNode scores = scores(LAYERS, HEADS);
    try (Page page = open(scores, curve())) {
      List<Double> heights = numbers(page.texts("#curve circle", "e.getAttribute('cy')"));
      double unit = (heights.get(0) - heights.get(3)) / 1.1;
      assertEquals(heights.get(3) + 0.7 * unit, heights.get(1), 0.1);
      assertEquals(heights.get(3) + 0.05 * unit, heights.get(2), 0.1);
      List<Double> rest =
          numbers(page.texts("#curve .mark.minus", "Number(e.getAttribute('y')) + 3"));
      assertEquals(heights.get(3) - 0.1 * unit, rest.get(0), 0.1);
      assertEquals(heights.get(3) + unit, rest.get(3), 0.1);
      JsonNode band =
          page.evaluate(
              "(b => [b.y, b.y + b.height])(document.querySelectorAll('.interval')[1].getBBox())");
      assertEquals(heights.get(3) - 0.05 * unit, band.get(0).asDouble(), 0.1);
      assertEquals(heights.get(0) + 0.05 * unit, band.get(1).asDouble(), 0.1);
      String words = page.text("#words");
      assertTrue(words.contains("CPR 0.875") && words.contains("CMD 0.125"), words);
      assertTrue(words.contains("20 edges are enough here for 90 %"), words);
      page.evaluate("document.querySelector('.point').focus()");
      page.press("ArrowRight");
      page.press("ArrowRight");
      assertTrue(page.text("#tip").contains("0.950 (0.900 to 1.000)"), page.text("#tip"));
      page.press("Enter");
      assertEquals(20, drawn(page).size());
      assertQuiet(page);
    }
  }

  private static List<Double> numbers(List<String> texts) {
    return texts.stream().map(Double::valueOf).toList();
  }

  @Test
  void circuit_withAndWithoutScores_isDrawnAlone() throws IOException {
    ObjectNode scores = scores(LAYERS, HEADS);
    ObjectNode circuit =
        inGraph(
            LAYERS,
            HEADS,
            graph -> json(ScoreFile.of("random", ComponentCircuit.of(graph, List.of(0, 5, 9)))));
    List<String> chosen =
        names(StreamSupport.stream(circuit.get("edges").spliterator(), false).toList());
    ObjectNode test =
        MAPPER
            .createObjectNode()
            .put("format", "tributary circuit test")
            .put("metric", "kl")
            .put("pairs", PAIRS)
            .put("full", 2)
            .put("empty", -1);
    test.set("circuit", kept(MAPPER.createObjectNode(), 0.75).put("edge_count", 3));
    test.set("complement", kept(MAPPER.createObjectNode(), 0.125));
    test.putObject("truth").put("edge_count", 4).put("precision", 0.25).put("recall", 0.625);
    ArrayNode without = test.putArray("edges");
    for (int i = 0; i < 3; i++) {
      without.addObject().put("edge", chosen.get(i)).put("minimality", 1.5 - i);
    }
    try (Page page = open(scores, circuit, test)) {
      assertEquals(List.copyOf(new TreeSet<>(chosen)), drawn(page).stream().sorted().toList());
      String panel = page.text("#panel");
      for (String number : List.of("0.750", "0.700 to 0.800", "0.125", "0.250", "0.625")) {
        assertTrue(panel.contains(number), panel);
      }
      page.click("#only");
      assertEquals(FEW, drawn(page).size());
      assertQuiet(page);
    }
    try (Page page = open(circuit, test)) {
      assertEquals(List.of(chosen.get(2), chosen.get(1), chosen.get(0)), drawn(page));
      assertEquals(
          List.of("edge minus", "edge plus", "edge plus"),
          page.texts("#edges .edge", "e.getAttribute('class')"));
      assertQuiet(page);
    }
  }

  // ---- nodes ---------------------------------------------------------------------------------

  @Test
  void nodes_scores_areWhereTheirNumbersAre() throws IOException {
    ObjectNode scores = MAPPER.createObjectNode().put("format", "tributary node scores");
    scores.put("model", "random").put("metric", "kl").put("method", "atp").put("pairs", PAIRS);
    ArrayNode nodes = scores.putArray("nodes");
    double[] values = {-1, 3, 2};
    for (int i = 0; i < values.length; i++) {
      ObjectNode node = nodes.addObject().put("node", "a0.h" + i).put("component", "head");
      node.put("layer", 0).put("head", i).put("score", values[i]);
      node.put("standard_error", 0.5).put("magnitude", Math.abs(values[i]));
    }
    ((ObjectNode) nodes.get(0)).put("input", "query").put("node", "a0.h0<q>");
    ObjectNode sample =
        scores.putObject("exact_sample").put("pairs", 7).put("rank_correlation", 0.5);
    sample.putArray("nodes").addObject().put("node", "a0.h1").put("exact", 1).put("estimate", 3);
    for (String colours : List.of("light", "dark")) {
      Path file = Files.createTempFile(folder, "nodes", ".html");
      Files.writeString(file, DatasetPage.ofNodes(scores.toString()));
      try (Page page = Objects.requireNonNull(browser).open(file, 500, 700, colours)) {
        page.await("'ready' in document.documentElement.dataset");
        page.settle();
        assertEquals(List.of("a0.h1", "a0.h2", "a0.h0<q>"), page.texts(".node", "e.dataset.name"));
        List<Double> at = numbers(page.texts("#chart .dot", "e.getAttribute('cx')"));
        double unit = at.get(0) - at.get(1);
        assertEquals(at.get(1) - 3 * unit, at.get(2), 0.1);
        List<Double> ends =
            numbers(page.texts("#chart .error", "e.getAttribute('x2') - e.getAttribute('x1')"));
        assertEquals(3, ends.size());
        assertEquals(unit, ends.get(0), 0.1);
        String really = page.texts("#chart .really", "e.getAttribute('d')").get(0);
        assertEquals(
            at.get(0) - 2 * unit, Double.parseDouble(really.substring(1).split(" ", -1)[0]), 0.1);
        page.evaluate("document.querySelector('.node').focus()");
        assertTrue(page.text("#tip").contains("over 7 pairs"), page.text("#tip"));
        page.press("ArrowDown");
        assertEquals("a0.h2", page.focused());
        page.evaluate(
            "(k => { k.value = 'query'; k.dispatchEvent(new Event('change')); })"
                + "(document.querySelector('#kind'))");
        assertEquals(List.of("a0.h0<q>"), page.texts(".node", "e.dataset.name"));
        assertTrue(page.evaluate("document.documentElement.scrollWidth <= innerWidth").asBoolean());
        assertTrue(page.text("#panel").contains("Rank correlation 0.500"), page.text("#panel"));
        assertQuiet(page);
      }
    }
  }

  @Test
  void nodes_ofDictionaries_areSaidInWords() throws IOException {
    ObjectNode scores = MAPPER.createObjectNode().put("format", "tributary node scores");
    scores.put("model", "random").put("metric", "kl").put("method", "atp").put("pairs", PAIRS);
    scores.put("latents_that_score_zero", 1234);
    ArrayNode nodes = scores.putArray("nodes");
    ObjectNode latent = nodes.addObject().put("node", "L1.mlp_wide_latent12");
    latent.put("component", "latent").put("dictionary", "mlp_wide").put("layer", 1);
    latent.put("latent", 12).put("score", -3).put("magnitude", 3);
    ObjectNode error = nodes.addObject().put("node", "L1.mlp_wide_error");
    error.put("component", "error").put("dictionary", "mlp_wide").put("layer", 1);
    error.put("score", 2).put("magnitude", 2);
    ObjectNode neuron = nodes.addObject().put("node", "m0.n7").put("component", "neuron");
    neuron.put("layer", 0).put("neuron", 7).put("score", 1).put("magnitude", 1);
    Path file = Files.createTempFile(folder, "latents", ".html");
    Files.writeString(file, DatasetPage.ofNodes(scores.toString()));
    try (Page page = Objects.requireNonNull(browser).open(file, 500, 700, "light")) {
      page.await("'ready' in document.documentElement.dataset");
      page.settle();
      assertEquals(
          List.of(
              "latent 12 of the mlp wide dictionary of layer 1",
              "what latents of the mlp wide dictionary of layer 1 do not account for",
              "neuron 7 of layer 0"),
          page.texts(
              ".node", "e.getAttribute('aria-label').split(', ').slice(1).join().split(':')[0]"));
      assertEquals(
          List.of("", "neuron", "latent", "error"),
          page.texts("#kind option:not([hidden])", "e.value"));
      assertTrue(
          page.evaluate(
                  "[...document.querySelectorAll('#chart .name')].every(e => e.getBBox().x >= 0)")
              .asBoolean());
      assertTrue(page.text("#panel").contains("1,234 latents"), page.text("#panel"));
      assertQuiet(page);
    }
  }

  @Test
  void nodes_ofTokens_areChosenByToken() throws IOException {
    ObjectNode scores = MAPPER.createObjectNode().put("format", "tributary node scores");
    scores.put("model", "random").put("metric", "kl").put("method", "atp").put("pairs", PAIRS);
    ArrayNode nodes = scores.putArray("nodes");
    List<String> tokens = List.of("10", "2", "10", "0");
    for (int i = 0; i < tokens.size(); i++) {
      ObjectNode node = nodes.addObject().put("node", "m%d@%s".formatted(i, tokens.get(i)));
      node.put("component", "mlp").put("layer", i).put("tokens", tokens.get(i));
      node.put("score", -i).put("magnitude", i);
    }
    Path file = Files.createTempFile(folder, "tokens", ".html");
    Files.writeString(file, DatasetPage.ofNodes(scores.toString()));
    try (Page page = Objects.requireNonNull(browser).open(file, 500, 700, "light")) {
      page.await("'ready' in document.documentElement.dataset");
      page.settle();
      assertEquals(List.of("", "0", "2", "10"), page.texts("#token option", "e.value"));
      page.evaluate(
          "(t => { t.value = '10'; t.dispatchEvent(new Event('change')); })"
              + "(document.querySelector('#token'))");
      assertEquals(List.of("m2@10", "m0@10"), page.texts(".node", "e.dataset.name"));
      assertTrue(page.evaluate("document.documentElement.scrollWidth <= innerWidth").asBoolean());
      assertQuiet(page);
    }
  }

  // ---- files ---------------------------------------------------------------------------------

  @Test
  void names_thatLookLikeMarkup_areText() throws IOException {
    String bad = "</script><img src=x onerror=alert(1)>";
    ObjectNode scores = scores(LAYERS, HEADS);
    scores.put("model", bad).put("metric", bad).put("method", bad).put("rows_left_out", 1);
    scores.putArray("left_out").addObject().put("file", bad).put("line", bad).put("reason", bad);
    ((ObjectNode) scores.get("edges").get(0)).put("edge", bad).put("score", 1e9);
    try (Page page = open(scores)) {
      page.hover("#list button");
      assertEquals(0, page.evaluate("document.querySelectorAll('img').length").asInt());
      assertTrue(page.text("#list").contains(bad), page.text("#list"));
      assertTrue(page.text("#subject").contains(bad), page.text("#subject"));
      assertQuiet(page);
    }
  }

  @Test
  void files_thatAreNone_areRefusedInASentence() throws IOException {
    ObjectNode strange = scores(LAYERS, HEADS);
    ((ObjectNode) strange.get("edges").get(1).get("to")).put("component", "feature");
    for (JsonNode answer :
        List.of(strange, curve(), MAPPER.createObjectNode().put("format", "other"))) {
      try (Page page = open(answer)) {
        String problem = page.text("#problem").toLowerCase(Locale.ROOT);
        assertTrue(problem.matches("(?s)(edge 1 is|the file has) .*"), problem);
        assertEquals(List.of(), page.problems());
      }
    }
  }
}
