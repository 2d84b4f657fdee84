package dev.tributary.attribution.viewer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Group;
import dev.tributary.attribution.Circuit.Labels;
import dev.tributary.attribution.export.CircuitFile;
import dev.tributary.attribution.export.CircuitJson;
import dev.tributary.attribution.viewer.Chromium.Page;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.IntStream;
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
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The page in a real browser, with a reader's pointer and keys. What it must show is worked out
 * here from the circuit's JSON.
 */
class CircuitPageTest {
  private static final int MEGABYTE = 1 << 20;
  private static final int STRONGEST = 8;
  private static final String NO_BROWSER =
      "No Chromium on the PATH: the tests of the viewer's page are skipped.";
  private static final List<String> WORDS =
      List.of("When Mary and John went to the big store , John gave a drink to".split(" "));

  private static final JsonNode SMALL = json(random(1, WORDS, 4, 120, 900));
  private static final JsonNode LARGE =
      json(random(2, IntStream.range(0, 60).mapToObj(i -> " word" + i).toList(), 12, 500, 5000));

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

  // ---- helpers -----------------------------------------------------------------------------

  private static Circuit random(long seed, List<String> tokens, int layers, int nodes, int edges) {
    Labels labels = new Labels("random", List.of(), String.join(" ", tokens), tokens);
    return RandomCircuit.of(seed, labels, "logit of " + tokens.get(0), layers, nodes, edges);
  }

  private static JsonNode json(Circuit circuit) {
    try {
      return new ObjectMapper().readTree(CircuitJson.of(circuit));
    } catch (JsonProcessingException e) {
      throw new AssertionError(e);
    }
  }

  private static Path written(JsonNode circuit) throws IOException {
    Path file = Files.createTempFile(folder, "circuit", ".html");
    return Files.writeString(file, CircuitPage.around(circuit.toString()));
  }

  private static Page open(JsonNode circuit) throws IOException {
    return open(circuit, 1280, 800, "light");
  }

  private static Page open(JsonNode circuit, int width, int height, String colours)
      throws IOException {
    Page page = Objects.requireNonNull(browser).open(written(circuit), width, height, colours);
    page.await("'ready' in document.documentElement.dataset");
    page.settle();
    return page;
  }

  /** What holds of every page at the end of every test. */
  private static void assertQuiet(Page page) {
    assertEquals(List.of(), page.problems());
    assertEquals(List.of(), page.requests());
    assertEquals("", page.text("#problem"));
  }

  private static String name(JsonNode circuit, int node) {
    return circuit.get("nodes").get(node).get("name").asText();
  }

  private static int index(JsonNode circuit, String name) {
    return IntStream.range(0, circuit.get("nodes").size())
        .filter(node -> name(circuit, node).equals(name))
        .findFirst()
        .orElseThrow();
  }

  private static String mark(String name) {
    return "#front [data-name=\"" + name + "\"]";
  }

  private static Stream<JsonNode> edges(JsonNode circuit, Predicate<JsonNode> which) {
    return StreamSupport.stream(circuit.get("edges").spliterator(), false)
        .filter(which)
        .sorted(Comparator.comparingDouble(edge -> -Math.abs(edge.get("weight").asDouble())));
  }

  private static List<String> strongest(JsonNode circuit, int node, String end, String other) {
    return edges(circuit, edge -> edge.get(end).asInt() == node)
        .limit(STRONGEST)
        .map(edge -> name(circuit, edge.get(other).asInt()))
        .toList();
  }

  /** The head with most edges into it. */
  private static int busiestHead(JsonNode circuit) {
    return IntStream.range(0, circuit.get("nodes").size())
        .filter(node -> circuit.get("nodes").get(node).get("kind").asText().equals("head"))
        .boxed()
        .max(
            Comparator.comparingLong(
                node -> edges(circuit, edge -> edge.get("target").asInt() == node).count()))
        .orElseThrow();
  }

  private static List<String> listed(Page page, String list) {
    return page.texts(list + " li button[data-name]", "e.dataset.name");
  }

  /** Colour and width of each line that the page draws from now on, when it begins anew alone. */
  private static void record(Page page) {
    page.evaluate(
        """
        (pen => {
          const {stroke, clearRect} = pen;
          pen.stroke = function () {
            window.lines?.push([this.strokeStyle, this.lineWidth]);
            stroke.call(this);
          };
          pen.clearRect = function (...box) {
            window.lines = [];
            clearRect.apply(this, box);
          };
        })(CanvasRenderingContext2D.prototype)
        """);
  }

  private static double opacity(Page page, String name) {
    page.await("document.getAnimations().length === 0");
    return page.evaluate(
            "Number(getComputedStyle(document.querySelector('" + mark(name) + "')).opacity)")
        .asDouble();
  }

  private static void assertExplains(Page page, JsonNode circuit, int node) {
    assertEquals(name(circuit, node), page.text("#panel .code"));
    JsonNode readings = circuit.get("nodes").get(node);
    String numbers = page.text("#panel dl.numbers");
    for (String reading : List.of("attribution", "direct effect", "influence")) {
      double value = readings.get(reading.replace(' ', '_')).asDouble();
      String shown =
          numbers.replaceAll("(?s).*" + reading + "\\s*(\\S+).*", "$1").replace('−', '-');
      assertEquals(value, Double.parseDouble(shown), 1e-4, numbers);
    }
    assertEquals(strongest(circuit, node, "target", "source"), listed(page, "#panel ul.into"));
    assertEquals(strongest(circuit, node, "source", "target"), listed(page, "#panel ul.outOf"));
  }

  // ---- what is drawn -----------------------------------------------------------------------

  @Test
  void page_smallCircuit_showsEveryNodeByTokenAndLayer() throws IOException {
    try (Page page = open(SMALL)) {
      assertEquals(120, page.evaluate("document.querySelectorAll('#front .node').length").asInt());
      assertEquals(WORDS, page.texts("#tokens bdi", "e.textContent"));
      List<String> labels =
          page.texts("#front .node", "e.getAttribute('role') + e.getAttribute('aria-label')");
      for (int node = 0; node < 120; node++) {
        String begin = "button" + name(SMALL, node) + ":";
        assertTrue(labels.stream().anyMatch(label -> label.startsWith(begin)), begin);
      }
      assertPlaced(page, SMALL);
      assertQuiet(page);
    }
  }

  /** Nodes apart, within their token's column, blocks above each other in order. */
  private static void assertPlaced(Page page, JsonNode circuit) {
    JsonNode places =
        page.evaluate(
            "[...document.querySelectorAll('#front .node')].map(e => {"
                + " const b = e.querySelector('.reach').getBoundingClientRect();"
                + " return [e.dataset.name, b.x + b.width / 2, b.y + b.height / 2]; })");
    JsonNode columns =
        page.evaluate(
            "[...document.querySelectorAll('#tokens > div')].map(e => {"
                + " const b = e.getBoundingClientRect(); return [b.left, b.right]; })");
    for (JsonNode one : places) {
      JsonNode node = circuit.get("nodes").get(index(circuit, one.get(0).asText()));
      int token = node.path("token").asInt(columns.size() - 1);
      double x = one.get(1).asDouble();
      assertTrue(
          x > columns.get(token).get(0).asDouble() && x < columns.get(token).get(1).asDouble());
      for (JsonNode other : places) {
        JsonNode above = circuit.get("nodes").get(index(circuit, other.get(0).asText()));
        double dx = x - other.get(1).asDouble();
        double dy = one.get(2).asDouble() - other.get(2).asDouble();
        assertTrue(one.equals(other) || Math.hypot(dx, dy) > 19, () -> one + " is on " + other);
        assertTrue(node.get("point").asInt() >= above.get("point").asInt() || dy > 0);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"800, 600", "500, 800", "1920, 1080"})
  void page_windowResized_isLaidOutAgain(int width, int height) throws IOException {
    try (Page page = open(SMALL)) {
      page.resize(width, height);
      assertPlaced(page, SMALL);
      JsonNode fits =
          page.evaluate(
              "[document.documentElement.scrollWidth <= innerWidth,"
                  + " document.documentElement.scrollHeight <= innerHeight]");
      assertEquals("[true,true]", fits.toString());
      assertQuiet(page);
    }
  }

  @Test
  void page_largeCircuit_isSmallAndScrolls() throws IOException {
    assertTrue(Files.size(written(LARGE)) < 2 * MEGABYTE);
    try (Page page = open(LARGE)) {
      assertEquals(500, page.evaluate("document.querySelectorAll('#front .node').length").asInt());
      assertTrue(
          page.evaluate("(s => s.scrollWidth > s.clientWidth)(document.querySelector('#scroller'))")
              .asBoolean());
      page.evaluate("document.querySelector('#scroller').scrollTo(0, 0)");
      page.settle();
      JsonNode stuck =
          page.evaluate(
              "(s => { const b = s.getBoundingClientRect();"
                  + " const t = document.querySelector('#tokens').getBoundingClientRect();"
                  + " const l = document.querySelector('#layers').getBoundingClientRect();"
                  + " return [t.bottom <= b.bottom, l.left === b.left]; })"
                  + "(document.querySelector('#scroller'))");
      assertEquals("[true,true]", stuck.toString());
      assertQuiet(page);
    }
  }

  @Test
  void page_printed_isOnePictureAndItsDetailsInLightColours() throws IOException {
    try (Page page = open(LARGE, 1280, 800, "dark")) {
      String places =
          "[...document.querySelectorAll('#front .node')].map(e => e.getAttribute('transform'))";
      JsonNode before = page.evaluate(places);
      page.evaluate(
          "addEventListener('beforeprint', () => window.printed = document.documentElement.dataset.theme)");
      String pdf = new String(page.print(), StandardCharsets.ISO_8859_1);
      assertEquals(2, pdf.split("/Type /Page\\b(?!s)", -1).length - 1);
      assertEquals("light", page.evaluate("window.printed").asText());
      assertEquals("dark", page.evaluate("document.documentElement.dataset.theme").asText());
      assertEquals(before, page.evaluate(places));
      assertQuiet(page);
    }
  }

  @Test
  void page_readerPrefersLessMotion_hasNone() throws IOException {
    String duration = "getComputedStyle(document.querySelector('.node')).transitionDuration";
    try (Page page = open(SMALL)) {
      assertNotEquals("0s", page.evaluate(duration).asText());
      page.prefer("prefers-reduced-motion", "reduce");
      assertEquals("0s", page.evaluate(duration).asText());
    }
  }

  // ---- pointer -----------------------------------------------------------------------------

  @Test
  void hover_head_showsReadingsAndStrongestEdges() throws IOException {
    try (Page page = open(SMALL)) {
      int head = busiestHead(SMALL);
      page.hover(mark(name(SMALL, head)));
      assertExplains(page, SMALL, head);
      assertEquals(name(SMALL, head), page.text("#tip .code"));
      page.hover(5, 5);
      assertEquals("This circuit", page.text("#panel h2"));
      assertFalse(page.evaluate("document.querySelector('#tip').checkVisibility()").asBoolean());
      assertQuiet(page);
    }
  }

  @Test
  void focus_everyKindOfNode_showsReadingsAndStrongestEdges() throws IOException {
    try (Page page = open(SMALL)) {
      Set<String> kinds = new HashSet<>();
      for (int node = 0; node < SMALL.get("nodes").size(); node++) {
        String kind = SMALL.get("nodes").get(node).get("kind").asText();
        if (!kind.equals("metric") && kinds.add(kind)) {
          page.evaluate("document.querySelector('" + mark(name(SMALL, node)) + "').focus()");
          assertExplains(page, SMALL, node);
        }
      }
      assertEquals(7, kinds.size());
      assertQuiet(page);
    }
  }

  @Test
  void click_node_pinsItAndDimsTheRest() throws IOException {
    try (Page page = open(SMALL)) {
      int head = busiestHead(SMALL);
      page.click(mark(name(SMALL, head)));
      page.hover(5, 5);
      assertExplains(page, SMALL, head);
      Set<String> near = new HashSet<>(strongest(SMALL, head, "target", "source"));
      near.addAll(strongest(SMALL, head, "source", "target"));
      near.forEach(name -> assertEquals(1, opacity(page, name), name));
      Set<String> joined = new HashSet<>();
      edges(SMALL, edge -> edge.get("target").asInt() == head || edge.get("source").asInt() == head)
          .forEach(
              edge -> {
                joined.add(name(SMALL, edge.get("source").asInt()));
                joined.add(name(SMALL, edge.get("target").asInt()));
              });
      for (int node = 0; node < 120; node++) {
        if (!joined.contains(name(SMALL, node))) {
          assertTrue(opacity(page, name(SMALL, node)) < 0.5, name(SMALL, node));
        }
      }
      String pressed = "document.querySelector('" + mark(name(SMALL, head)) + "').ariaPressed";
      assertEquals("true", page.evaluate(pressed).asText());
      page.click(mark(name(SMALL, head)));
      assertEquals("false", page.evaluate(pressed).asText());
      assertQuiet(page);
    }
  }

  @Test
  void click_edgeInPanel_pinsItsOtherEnd() throws IOException {
    try (Page page = open(LARGE)) {
      int head = busiestHead(LARGE);
      page.evaluate("document.querySelector('" + mark(name(LARGE, head)) + "').focus()");
      page.press("Enter");
      String source = strongest(LARGE, head, "target", "source").get(0);
      page.click("#panel ul.into li button");
      assertEquals(source, page.text("#panel .code"));
      page.await(
          "(b => b.left > 0 && b.top > 0 && b.right < innerWidth && b.bottom < innerHeight)"
              + "(document.querySelector('"
              + mark(source)
              + "').getBoundingClientRect())");
      assertQuiet(page);
    }
  }

  // ---- slider ------------------------------------------------------------------------------

  @Test
  void slider_moved_drawsAsManyOfTheStrongestEdgesAsItSays() throws IOException {
    try (Page page = open(SMALL)) {
      String counted = page.text("#count").replaceAll("showing (\\d+) of.*", "$1");
      int atFirst = Integer.parseInt(counted);
      assertTrue(atFirst > 50 && atFirst < 900);
      record(page);
      page.resize(1281, 800);
      page.await("window.lines !== undefined");
      assertCounts(page, atFirst);
      page.evaluate("document.querySelector('#threshold').focus()");
      page.press("ArrowLeft");
      int fewer = page.evaluate("window.lines.length").asInt();
      assertTrue(fewer < atFirst);
      assertCounts(page, fewer);
      page.press("End");
      assertCounts(page, 900);
      page.press("Home");
      assertCounts(page, 0);
      assertQuiet(page);
    }
  }

  private static void assertCounts(Page page, int count) {
    assertEquals("showing " + count + " of 900 edges", page.text("#count"));
    List<Double> weights = edges(SMALL, edge -> true).map(e -> e.get("weight").asDouble()).toList();
    String minus =
        page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--minus')")
            .asText();
    JsonNode shown = page.evaluate("window.lines.toReversed()");
    assertEquals(count, shown.size());
    double wider = Double.POSITIVE_INFINITY;
    for (int i = 0; i < count; i++) {
      assertEquals(weights.get(i) < 0, shown.get(i).get(0).asText().equals(minus));
      double width = shown.get(i).get(1).asDouble();
      assertTrue(width <= wider && width > 0.5);
      assertTrue(width < wider || i > 10, "the strongest can be told apart");
      wider = width;
    }
  }

  // ---- groups and kinds --------------------------------------------------------------------

  private static void select(Page page, String name) {
    page.evaluate(
        "document.querySelector('"
            + mark(name)
            + "').dispatchEvent(new MouseEvent('click', {bubbles: true, shiftKey: true}))");
  }

  private static List<Integer> ofKind(JsonNode circuit, String kind) {
    return IntStream.range(0, circuit.get("nodes").size())
        .filter(node -> circuit.get("nodes").get(node).get("kind").asText().equals(kind))
        .boxed()
        .toList();
  }

  /** What is saved is the circuit with its groups, and opens as it was left. */
  @Test
  void group_selectedNodes_standAsOneAndAreSaved() throws IOException {
    List<Integer> latents = ofKind(SMALL, "latent").subList(2, 5);
    Path saved = folder.resolve("saved.json");
    try (Page page = open(SMALL)) {
      latents.forEach(latent -> select(page, name(SMALL, latent)));
      assertEquals("3 selected", page.text("#gathered"));
      page.press("g");
      page.type("say <Mary>");
      page.press("Enter");
      assertEquals("[true,118]", groups(page).toString());
      double into = 0;
      for (JsonNode edge : SMALL.get("edges")) {
        boolean inside = latents.contains(edge.get("source").asInt());
        into +=
            inside || !latents.contains(edge.get("target").asInt())
                ? 0
                : edge.get("weight").asDouble();
      }
      JsonNode sums =
          page.evaluate(
              "(c => c.view(c.parse(%s), [{name: 'g', nodes: %s}], new Set()).nodes.find(n => n.members).into.map(e => e.weight))(Circuit)"
                  .formatted(new ObjectMapper().writeValueAsString(SMALL.toString()), latents));
      double sum = 0;
      for (JsonNode one : sums) {
        sum += one.asDouble();
      }
      assertEquals(into, sum, 1e-9);
      page.evaluate(
          "(make => { URL.createObjectURL = b => { window.saved = b.text(); return make(b); }; })"
              + "(URL.createObjectURL.bind(URL))");
      page.click("#save");
      Files.writeString(saved, page.evaluate("window.saved").asText());
      assertQuiet(page);
    }
    Circuit read = CircuitFile.read(saved);
    assertEquals(List.of(new Group("say <Mary>", latents)), read.groups());
    assertEquals(SMALL.get("edges"), json(read).get("edges"));
    assertEquals(SMALL.get("nodes"), json(read).get("nodes"));
    try (Page page = open(json(read))) {
      assertEquals("[true,118]", groups(page).toString());
      page.click("#front .kind-group");
      assertEquals("3 nodes", page.text("#panel .note").replaceAll("\\|.*", ""));
      page.evaluate("document.querySelector('#panel button.more').click()");
      page.settle();
      assertEquals("[false,120]", groups(page).toString());
      assertQuiet(page);
    }
  }

  private static JsonNode groups(Page page) {
    return page.evaluate(
        "[document.querySelector('#front .kind-group')?.dataset.name === 'say <Mary>',"
            + " document.querySelectorAll('#front .node').length]");
  }

  @Test
  void legend_clickedKind_isHiddenAndShownAgain() throws IOException {
    try (Page page = open(SMALL)) {
      int heads = ofKind(SMALL, "head").size();
      page.click("#legend [data-kind=head]");
      assertEquals(0, page.texts("#front .kind-head", "e.dataset.name").size());
      assertEquals(120 - heads, page.texts("#front .node", "e.dataset.name").size());
      long left =
          edges(
                  SMALL,
                  edge ->
                      Stream.of("source", "target")
                          .noneMatch(
                              end ->
                                  SMALL
                                      .get("nodes")
                                      .get(edge.get(end).asInt())
                                      .get("kind")
                                      .asText()
                                      .equals("head")))
              .count();
      assertTrue(page.text("#count").endsWith(" of " + left + " edges"), page.text("#count"));
      page.click("#legend [data-kind=head]");
      assertEquals(120, page.texts("#front .node", "e.dataset.name").size());
      assertPlaced(page, SMALL);
      assertQuiet(page);
    }
  }

  @Test
  void outputs_several_standAboveAllWithTheirWeights() throws IOException {
    ObjectNode several = SMALL.deepCopy();
    ArrayNode nodes = (ArrayNode) several.get("nodes");
    ObjectNode metric = (ObjectNode) nodes.remove(119);
    for (int word : new int[] {5, 3}) {
      ObjectNode logit =
          metric.deepCopy().put("name", "logit" + word + "[14]").put("kind", "logit");
      logit.put("index", word).put("token", 14);
      ((ObjectNode) logit.get("output")).put("text", " w" + word).put("weight", word / 10.0);
      nodes.add(logit);
    }
    try (Page page = open(several)) {
      assertEquals("w5 = 0.5, w3 = 0.3 \u00b7 random", page.text("#metric"));
      List<String> labels = page.texts("#over .label", "e.textContent");
      assertTrue(labels.containsAll(List.of("w5 50%", "w3 30%")), labels.toString());
      assertPlaced(page, several);
      assertQuiet(page);
    }
  }

  // ---- keys and search ---------------------------------------------------------------------

  @Test
  void keys_tabAndArrows_moveBetweenNodes() throws IOException {
    try (Page page = open(SMALL)) {
      page.evaluate("document.querySelector('.skip').focus()");
      page.press("Tab");
      if (page.focused().isEmpty()) { // where the browser stops at what scrolls
        page.press("Tab");
      }
      assertEquals("metric", page.focused());
      page.press("Tab");
      assertNotEquals("metric", page.focused());
      page.press("ArrowUp");
      Set<String> visited = new HashSet<>();
      for (String down = "metric"; visited.add(down); down = page.focused()) {
        page.press("ArrowDown");
      }
      assertEquals(2 * 4 + 2, visited.size(), "one node in every row");
      assertTrue(page.focused().startsWith("embedding["), page.focused());
      visited.clear();
      for (int i = 0; i < 20; i++) {
        page.press("ArrowLeft");
      }
      for (String right = page.focused(); visited.add(right); right = page.focused()) {
        page.press("ArrowRight");
      }
      assertEquals(15, visited.size());
      page.press("ArrowUp");
      assertTrue(page.focused().startsWith("L0."), page.focused());
      assertQuiet(page);
    }
  }

  @Test
  void keys_enterPinsAndEscapeClears() throws IOException {
    try (Page page = open(SMALL)) {
      int head = busiestHead(SMALL);
      page.evaluate("document.querySelector('" + mark(name(SMALL, head)) + "').focus()");
      page.press("Enter");
      page.press("ArrowUp");
      assertNotEquals(name(SMALL, head), page.focused());
      assertExplains(page, SMALL, head);
      page.press("d");
      assertEquals("panel", page.evaluate("document.activeElement.id").asText());
      page.press("Escape");
      assertEquals(name(SMALL, head), page.focused());
      assertEquals(
          0, page.evaluate("document.querySelectorAll('.node[aria-pressed=true]').length").asInt());
      page.press("?");
      assertTrue(page.evaluate("document.querySelector('#manual').open").asBoolean());
      page.press("Escape");
      assertFalse(page.evaluate("document.querySelector('#manual').open").asBoolean());
      assertQuiet(page);
    }
  }

  @Test
  void search_slashAndWords_findsByNameKindAndToken() throws IOException {
    try (Page page = open(SMALL)) {
      page.press("/");
      page.type("LATENT");
      Set<String> latents = new HashSet<>();
      for (JsonNode node : SMALL.get("nodes")) {
        if (node.get("kind").asText().equals("latent")) {
          latents.add(node.get("name").asText());
        }
      }
      assertEquals(latents, new HashSet<>(page.texts("#front .match", "e.dataset.name")));
      assertEquals(latents.size() + " matches", page.text("#matches"));
      page.press("Enter");
      String first = page.text("#panel .code");
      assertTrue(latents.contains(first));
      page.press("Enter");
      assertTrue(latents.contains(page.text("#panel .code")));
      assertNotEquals(first, page.text("#panel .code"));
      page.press("Escape");
      assertEquals(List.of(), page.texts("#front .match", "e.dataset.name"));
      assertEquals("This circuit", page.text("#panel h2"));
      page.press("/");
      page.type("store");
      Set<String> atStore = new HashSet<>();
      for (JsonNode node : SMALL.get("nodes")) {
        if (node.path("token").asInt(14) == 8 || node.path("key").asInt(14) == 8) {
          atStore.add(node.get("name").asText());
        }
      }
      assertEquals(atStore, new HashSet<>(page.texts("#front .match", "e.dataset.name")));
      page.type("zzz");
      assertEquals("none", page.text("#matches"));
      assertQuiet(page);
    }
  }

  // ---- on demand ---------------------------------------------------------------------------

  @Test
  void pattern_ofHead_isDrawnAndReadOut() throws IOException {
    try (Page page = open(SMALL)) {
      int head = busiestHead(SMALL);
      JsonNode node = SMALL.get("nodes").get(head);
      page.click(mark(name(SMALL, head)));
      assertEquals(0, page.evaluate("document.querySelectorAll('#panel canvas').length").asInt());
      page.click("#panel details summary");
      page.settle();
      JsonNode values = null;
      for (JsonNode pattern : SMALL.get("patterns")) {
        String begin = "L" + pattern.get("layer") + ".head" + pattern.get("head") + "[";
        if (name(SMALL, head).startsWith(begin)) {
          values = pattern.get("values");
        }
      }
      JsonNode rows = Objects.requireNonNull(values);
      int query = node.get("token").asInt();
      int key = node.get("key").asInt();
      String read = page.text("#panel .read");
      double told = Double.parseDouble(read.replaceAll(".*: ", ""));
      assertEquals(rows.get(query).get(key).asDouble(), told, 1e-4, read);

      // Cells are darker the more attention they stand for.
      JsonNode light =
          page.evaluate(
              "(c => { const n = c.width, s = n / 15;"
                  + " const dots = c.getContext('2d').getImageData(0, 0, n, n).data;"
                  + " return [...Array(15).keys()].map(q => [...Array(15).keys()].map(k =>"
                  + " dots[4 * (Math.floor((q + 0.5) * s) * n + Math.floor((k + 0.5) * s)) + 1])); })"
                  + "(document.querySelector('#panel canvas'))");
      double base = light.get(0).get(14).asDouble();
      double full = light.get(0).get(0).asDouble();
      assertEquals(1, rows.get(0).get(0).asDouble());
      assertTrue(full < base - 50);
      for (int q = 0; q < 15; q++) {
        for (int k = 0; k < 15; k++) {
          double value = k <= q ? rows.get(q).get(k).asDouble() : 0;
          assertEquals(base + value * (full - base), light.get(q).get(k).asDouble(), 3);
        }
      }
      assertQuiet(page);
    }
  }

  @Test
  void certificate_ofTarget_isShownOnDemand() throws IOException {
    try (Page page = open(SMALL)) {
      int head = busiestHead(SMALL);
      page.click(mark(name(SMALL, head)));
      page.click("#panel details:nth-of-type(2) summary");
      page.settle();
      String shown = page.text("#panel details:nth-of-type(2)");
      int inputs = 0;
      for (JsonNode certificate : SMALL.get("certificates")) {
        if (certificate.get("target").asInt() == head) {
          inputs++;
          assertTrue(shown.contains("through its " + certificate.get("path").asText()), shown);
        }
      }
      assertEquals(3, inputs);
      assertEquals(3, page.texts("#panel .certificate .verdict:not(.bad)", "e.textContent").size());
      assertQuiet(page);
    }
  }

  // ---- what passes heads -------------------------------------------------------------------

  /** Few edges, so that one is alone at a node. */
  private static final JsonNode EXPLAINED =
      json(RandomCircuit.explained(6, random(6, WORDS, 4, 40, 30), 30));

  /** The number that a text ends with. */
  private static double value(String shown) {
    String last = shown.strip().replaceAll("(?s).*[\\s\u00a0]", "");
    return Double.parseDouble(last.replace('\u2212', '-'));
  }

  /** That the panel shows an edge and how it passes heads, which sums to it at every layer. */
  private static void assertSplit(Page page, JsonNode split) {
    assertEquals("Edge", page.text("#panel h2 span"));
    assertEquals(
        List.of(
            name(EXPLAINED, split.get("target").asInt()),
            name(EXPLAINED, split.get("source").asInt())),
        page.texts("#panel .ends button", "e.dataset.name"));
    List<String> layers = page.texts("#panel .layers .place", "e.textContent");
    List<String> heads = page.texts("#panel .layers .size", "e.textContent");
    List<String> words = page.texts("#panel .layers .note", "e.textContent");
    List<String> bars = page.texts("#panel .layers .heads", "e.childElementCount");
    double edge = split.get("edge").asDouble();
    for (int i = 0; i < split.get("layers").size(); i++) {
      JsonNode layer = split.get("layers").get(split.get("layers").size() - 1 - i);
      assertEquals("L" + layer.get("layer"), layers.get(i));
      assertEquals(layer.get("heads").size() + 1 + "", bars.get(i));
      assertEquals(edge, value(heads.get(i)) + value(words.get(i)), 1e-3, words.get(i));
      double largest =
          StreamSupport.stream(layer.get("heads").spliterator(), false)
              .mapToDouble(JsonNode::asDouble)
              .reduce(0, (a, b) -> Math.abs(b) > Math.abs(a) ? b : a);
      assertEquals(largest, value(words.get(i).replaceAll("(?s) · .*", "")), 1e-4, words.get(i));
    }
    assertEquals(1, page.texts("#panel .verdict:not(.bad)", "e.textContent").size());
  }

  /** That pairs and the rest are told to sum to the score. */
  private static void assertPairs(Page page, String where, JsonNode score) {
    List<String> sizes = page.texts(where + " .pairs .size", "e.textContent");
    assertEquals(score.get("pairs").size(), sizes.size());
    double sum = 0;
    for (int i = 0; i < sizes.size(); i++) {
      assertEquals(score.get("pairs").get(i).get("score").asDouble(), value(sizes.get(i)), 1e-4);
      sum += value(sizes.get(i));
    }
    List<String> numbers = page.texts(where + " dl dd", "e.textContent");
    assertEquals(score.get("score").asDouble(), value(numbers.get(1)), 1e-3);
    assertEquals(score.get("score").asDouble(), sum + value(numbers.get(0)), 1e-2);
    for (String side : List.of("query", "key")) {
      boolean biased =
          StreamSupport.stream(score.get("pairs").spliterator(), false)
              .anyMatch(pair -> !pair.has(side));
      String column = where + " .pairs .what:nth-child(" + (side.equals("query") ? 1 : 2) + ")";
      assertEquals(
          biased,
          page.texts(column, "e.textContent").stream()
              .anyMatch(text -> text.replace("× ", "").equals("bias")));
    }
  }

  private static JsonNode score(JsonNode head) {
    return StreamSupport.stream(EXPLAINED.get("head_scores").spliterator(), false)
        .filter(score -> score.get("name").equals(head.get("name")))
        .findFirst()
        .orElseThrow();
  }

  /** Edges that have a node to themselves, so that only they are drawn when it is pinned. */
  private static Stream<JsonNode> alone() {
    return StreamSupport.stream(EXPLAINED.get("loadings").spliterator(), false)
        .filter(
            split -> {
              int source = split.get("source").asInt();
              return edges(
                          EXPLAINED,
                          edge ->
                              edge.get("source").asInt() == source
                                  || edge.get("target").asInt() == source)
                      .count()
                  == 1;
            });
  }

  @Test
  void click_edgeInTheGraph_showsTheHeadsThatItPasses() throws IOException {
    JsonNode split = alone().findFirst().orElseThrow();
    try (Page page = open(EXPLAINED)) {
      page.click(mark(name(EXPLAINED, split.get("source").asInt())));
      JsonNode places =
          page.evaluate(
              "(path => [...Array(19).keys()].map(i => { const m = path.getScreenCTM(),"
                  + " p = path.getPointAtLength((i + 1) * path.getTotalLength() / 20)"
                  + ".matrixTransform(m); return [p.x, p.y]; }).filter(([x, y]) =>"
                  + " document.elementFromPoint(x, y).id === 'front'))"
                  + "(document.querySelector('#under path'))");
      page.click(places.get(0).get(0).asDouble(), places.get(0).get(1).asDouble());
      page.hover(5, 5);
      assertSplit(page, split);
      assertEquals(1, page.evaluate("document.querySelectorAll('#under path').length").asInt());
      JsonNode passed = split.get("passed").get(0);
      assertEquals(
          passed.get("loading").asDouble(),
          value(page.text("#panel .passed:first-of-type .size")),
          1e-4);
      page.click("#panel details.passed summary");
      page.settle();
      assertPairs(page, "#panel details.passed[open]", score(passed));
      page.press("Escape");
      assertEquals(name(EXPLAINED, split.get("target").asInt()), page.focused());
      assertEquals(List.of(), page.texts("#panel .layers", "e.textContent"));
      assertQuiet(page);
    }
  }

  @Test
  void click_forkBesideAnEdge_showsTheHeadsThatItPasses() throws IOException {
    JsonNode split = alone().skip(1).findFirst().orElseThrow();
    try (Page page = open(EXPLAINED)) {
      page.evaluate(
          "document.querySelector('"
              + mark(name(EXPLAINED, split.get("source").asInt()))
              + "').focus()");
      page.press("Enter");
      page.click("#panel ul.outOf .fork");
      assertSplit(page, split);
      assertEquals("panel", page.evaluate("document.activeElement.id").asText());
      page.click("#panel .ends button");
      assertEquals(name(EXPLAINED, split.get("target").asInt()), page.text("#panel .code"));
      assertQuiet(page);
    }
  }

  @Test
  void head_explained_tellsWhyItLooksThere() throws IOException {
    int head = busiestHead(EXPLAINED);
    try (Page page = open(EXPLAINED)) {
      page.click(mark(name(EXPLAINED, head)));
      assertTrue(page.text("#panel details:first-of-type summary").startsWith("Why it looks"));
      page.click("#panel details:first-of-type summary");
      page.settle();
      assertPairs(page, "#panel details[open]", score(EXPLAINED.get("nodes").get(head)));
      assertQuiet(page);
    }
  }

  /** Of a file without them, or of a bad one, the page says so. */
  @Test
  void open_withoutOrBadLoadings_saysSo() throws IOException {
    try (Page page = open(SMALL)) {
      ObjectNode bad = EXPLAINED.deepCopy();
      ((ArrayNode) bad.get("loadings").get(0).get("layers").get(0).get("heads")).add("x");
      assertRefused(page, bad.toString(), "what passes heads is no numbers");
      ObjectNode late = EXPLAINED.deepCopy();
      ((ObjectNode) late.get("head_scores").get(0)).put("token", 15);
      assertRefused(page, late.toString(), "is at token 15, and there are 15");
      assertEquals(List.of(), page.problems());
    }
  }

  // ---- colours -----------------------------------------------------------------------------

  @ParameterizedTest
  @ValueSource(strings = {"light", "dark"})
  void colours_bothSchemes_areFollowedAndLegible(String scheme) throws IOException {
    try (Page page = open(SMALL, 1280, 800, scheme)) {
      double ground = luminance(page, "#graph", "backgroundColor");
      assertEquals(scheme.equals("dark"), ground < 0.1);
      for (String text :
          List.of("body", "#metric", "#count", "#limit", "#legend", "#panel .note")) {
        assertTrue(contrast(ground, luminance(page, text, "color")) >= 4.5, text);
      }
      for (String edge : List.of(".edge.plus", ".edge.minus")) {
        assertTrue(contrast(ground, luminance(page, edge, "stroke")) >= 3, edge);
      }
      for (String kind : page.texts("#legend .node", "e.getAttribute('class')")) {
        String mark = "#legend [class=\"" + kind + "\"] .mark";
        String paint = kind.contains("hollow") ? "stroke" : "fill";
        assertTrue(contrast(ground, luminance(page, mark, paint)) >= 3, kind);
      }
      page.click("#theme");
      assertNotEquals(ground < 0.1, luminance(page, "#graph", "backgroundColor") < 0.1);
      assertQuiet(page);
    }
  }

  /** Relative luminance, as the Web Content Accessibility Guidelines define it. */
  private static double luminance(Page page, String selector, String property) {
    JsonNode rgb =
        page.evaluate(
            "getComputedStyle(document.querySelector('"
                + selector.replace("'", "\\'")
                + "'))."
                + property
                + ".match(/[\\d.]+/g).slice(0, 3).map(Number)");
    double[] linear =
        StreamSupport.stream(rgb.spliterator(), false)
            .mapToDouble(channel -> channel.asDouble() / 255)
            .map(c -> c <= 0.04045 ? c / 12.92 : Math.pow((c + 0.055) / 1.055, 2.4))
            .toArray();
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  }

  private static double contrast(double one, double other) {
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  }

  // ---- strangers ---------------------------------------------------------------------------

  @Test
  void texts_hostile_areShownAsText() throws IOException {
    List<String> hostile =
        List.of(
            "</script><script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "<!--<script>",
            "{{viewer}}",
            "שלום עולם",
            "\u202egnp.exe",
            "👩‍👩‍👧‍👦🇩🇪",
            "x".repeat(5000),
            "a\nb\tc",
            "\u2028\u2029\u0000",
            "",
            "\"'`&amp;");
    Labels labels = new Labels(hostile.get(0), hostile, String.join("", hostile), hostile);
    Circuit random = RandomCircuit.of(3, labels, hostile.get(1), 3, 60, 200);
    ObjectNode circuit = json(random).deepCopy();
    ((ObjectNode) circuit.get("nodes").get(0)).put("name", hostile.get(0)).put("kind", "__proto__");
    try (Page page = open(circuit)) {
      List<String> shown = page.texts("#tokens bdi", "e.textContent");
      assertEquals(hostile.get(0), shown.get(0));
      assertEquals("<img·src=x·onerror=alert(1)>", shown.get(1));
      assertEquals("{{viewer}}", shown.get(3));
      assertEquals("שלום·עולם", shown.get(4));
      assertEquals("\\u202egnp.exe", shown.get(5));
      assertEquals(hostile.get(6), shown.get(6));
      assertEquals("x".repeat(40) + "…", shown.get(7));
      assertEquals("a↵b⇥c", shown.get(8));
      assertEquals("\\u2028\\u2029\\u0000", shown.get(9));
      assertEquals("∅", shown.get(10));
      assertEquals(hostile.get(11), shown.get(11));
      for (int node = 0; node < 60; node++) {
        page.evaluate("document.querySelectorAll('#front .node')[" + node + "].focus()");
      }
      assertEquals(6, page.evaluate("document.scripts.length").asInt());
      assertEquals(0, page.evaluate("document.images.length").asInt());
      assertPlacedApart(page);
      assertQuiet(page);
    }
  }

  private static void assertPlacedApart(Page page) {
    JsonNode widths =
        page.evaluate(
            "[...document.querySelectorAll('#tokens > div')].map(e =>"
                + " e.getBoundingClientRect().width)");
    widths.forEach(width -> assertTrue(width.asDouble() > 15 && width.asDouble() < 500));
  }

  @Test
  void policy_foreignScriptsAndAddresses_areRefused() throws IOException {
    try (Page page = open(SMALL)) {
      String fetched = "fetch('http://127.0.0.1:9/').then(() => 'sent', e => e.constructor.name)";
      assertEquals("TypeError", page.evaluate(fetched).asText());
      page.evaluate(
          "(s => { s.textContent = 'window.ran = true'; document.body.append(s); })"
              + "(document.createElement('script'))");
      assertTrue(page.evaluate("window.ran === undefined").asBoolean());
      page.settle();
      for (String refused : List.of("connect-src", "script-src")) {
        assertTrue(page.problems().stream().anyMatch(problem -> problem.contains(refused)));
      }
    }
  }

  @Test
  void open_otherFile_isShownAndBadOneRefused() throws IOException {
    Path other = Files.writeString(folder.resolve("other.json"), LARGE.toString());
    try (Page page = open(SMALL)) {
      page.choose("#file", other);
      page.await("document.querySelectorAll('#front .node').length === 500");
      assertEquals(60, page.texts("#tokens bdi", "e.textContent").size());
      Path again = Files.writeString(folder.resolve("again.json"), SMALL.toString());
      page.drop(again);
      page.await("document.querySelectorAll('#front .node').length === 120");
      assertQuiet(page);
      assertRefused(page, "{", "not JSON");
      assertRefused(page, "[]", "not a circuit");
      assertRefused(page, SMALL.<ObjectNode>deepCopy().put("version", 3).toString(), "version 3");
      assertRefused(page, SMALL.<ObjectNode>deepCopy().put("version", 1).toString(), "view FILE");
      ObjectNode stray = SMALL.deepCopy();
      ((ObjectNode) stray.get("edges").get(7)).put("source", 120);
      assertRefused(page, stray.toString(), "edge 7 joins nodes that are not there");
      ObjectNode late = SMALL.deepCopy();
      ((ObjectNode) late.get("nodes").get(3)).put("token", 15);
      assertRefused(page, late.toString(), "node 3 is at token 15, and there are 15");
      ObjectNode wide = SMALL.deepCopy();
      ((ArrayNode) wide.get("patterns").get(0).get("values").get(0)).add("x");
      assertRefused(page, wide.toString(), "lower triangle");
      assertEquals(120, page.evaluate("document.querySelectorAll('#front .node').length").asInt());
      assertEquals(List.of(), page.problems());
    }
  }

  private static void assertRefused(Page page, String json, String sentence) throws IOException {
    page.evaluate("document.querySelector('#problem').click()");
    Path file = Files.writeString(folder.resolve("bad.json"), json);
    page.choose("#file", file);
    page.await("document.querySelector('#problem').textContent !== ''");
    String said = page.text("#problem");
    assertTrue(said.startsWith("bad.json: ") && said.contains(sentence), said);
  }

  @Test
  void page_noEdges_saysSo() throws IOException {
    JsonNode bare = json(random(4, List.of("one"), 1, 2, 0));
    try (Page page = open(bare)) {
      assertEquals("showing 0 of 0 edges", page.text("#count"));
      page.click(mark("metric"));
      assertEquals("metric", page.text("#panel .code"));
      assertQuiet(page);
    }
  }

  @Test
  void page_keepsTheLicenceOfD3() throws IOException {
    String html = Files.readString(written(SMALL));
    assertTrue(html.contains("Mike Bostock"));
    assertTrue(html.contains("Permission to use, copy, modify, and/or distribute this software"));
  }
}
