package dev.tributary.attribution.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Edit;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeChanges;
import dev.tributary.attribution.explain.Ablate;
import dev.tributary.attribution.explain.Attribute;
import dev.tributary.attribution.explain.Attribute.Ranked;
import dev.tributary.attribution.explain.Compare;
import dev.tributary.attribution.explain.Describe;
import dev.tributary.attribution.explain.Edges;
import dev.tributary.attribution.explain.Generate;
import dev.tributary.attribution.explain.Graph;
import dev.tributary.attribution.explain.Listener;
import dev.tributary.attribution.explain.ModelChoice;
import dev.tributary.attribution.explain.Predict;
import dev.tributary.attribution.explain.Prompt;
import dev.tributary.attribution.explain.Question;
import dev.tributary.attribution.explain.Session;
import dev.tributary.attribution.explain.Subject;
import dev.tributary.attribution.viewer.Chromium;
import dev.tributary.attribution.viewer.Chromium.Page;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The page in a real browser that asks a real server. What it must show is what the session answers
 * here without either.
 */
class ExplorePageTest {
  private static final String NO_BROWSER =
      "No Chromium on the PATH: the tests of the page that asks are skipped.";
  private static final String MARY_AND_JOHN =
      "\"prompt\": \"%s\", \"targets\": [\"Mary\"], \"distractors\": [\"John\"]"
          .formatted(Subject.EXAMPLE);
  private static final String OTHER = "When Mary and John went to the store , Mary gave a drink to";
  private static final Node HEAD = Node.parse("L2.head5[14<-7]");
  private static final Node EARLY_HEAD = Node.parse("L0.head1[7<-2]");
  private static final Node NEURON = Node.parse("L0.neuron356[7]");
  private static final int LISTED = 200;
  private static final int EDGES = 8;
  private static final int MORE = 24;

  @TempDir private static Path folder;
  private static @Nullable Chromium browser;
  private static Session session;
  private static Server server;

  @BeforeAll
  static void open() throws IOException, InterruptedException {
    Optional<Path> program = Chromium.installed();
    if (program.isPresent()) {
      browser = Chromium.start(program.get(), Files.createDirectory(folder.resolve("profile")));
    } else {
      System.err.println(NO_BROWSER);
    }
    session = Session.open(ModelChoice.shipped());
    server = Server.open(session, "127.0.0.1", 0);
    server.prepare(Listener.NONE);
  }

  @BeforeEach
  void requireBrowser() {
    assumeTrue(browser != null, NO_BROWSER);
  }

  @AfterAll
  static void close() throws InterruptedException {
    if (browser != null) {
      browser.close();
    }
    server.close();
    session.close();
  }

  // ---- helpers -----------------------------------------------------------------------------

  private static URI address(String query, String hash) {
    String code = URLEncoder.encode(hash, StandardCharsets.UTF_8).replace("+", "%20");
    return URI.create("http://127.0.0.1:%d/%s#%s".formatted(server.port(), query, code));
  }

  private static Page page(URI address, int width, int height, String colours) {
    Page page = Objects.requireNonNull(browser).open(address, width, height, colours);
    page.await("'ready' in document.documentElement.dataset");
    calm(page);
    return page;
  }

  /** A page whose link says the view, without braces. */
  private static Page page(String view) {
    return page(address("?token=" + server.token(), "{" + view + "}"), 1280, 800, "light");
  }

  /** Waits until nothing is asked any more, and the table is whole. */
  private static void calm(Page page) {
    page.await("!('working' in document.documentElement.dataset)");
    page.await("document.getElementById('table').getAttribute('aria-busy') === 'false'");
    page.settle();
  }

  private static void click(Page page, String selector) {
    page.evaluate(
        "document.querySelector(%s).scrollIntoView({ block: 'center', behavior: 'instant' })"
            .formatted(new ObjectMapper().valueToTree(selector)));
    page.click(selector);
    calm(page);
  }

  private static <A extends Record> A answer(Question<A> question) {
    try {
      return session.answer(question);
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  private static void assertQuiet(Page page) {
    assertEquals(List.of(), page.problems());
    assertEquals(
        List.of(),
        page.texts(".refused", "e.hidden ? '' : e.innerText").stream()
            .filter(text -> !text.isEmpty())
            .toList());
    page.close();
  }

  private static double number(String shown) {
    return Double.parseDouble(shown.replace('\u2212', '-').replace("%", ""));
  }

  private static void assertShown(double expected, String shown) {
    assertEquals(expected, number(shown), 0.06 * Math.abs(expected) + 5e-5, shown);
  }

  /** A number beside a word, in the card or the part about a changed run. */
  private static String reading(Page page, String section, String word) {
    List<String> words = page.texts(section + " dl.numbers dt", "e.innerText");
    List<String> values = page.texts(section + " dl.numbers dd", "e.innerText");
    assertTrue(words.contains(word), words.toString());
    return values.get(words.indexOf(word));
  }

  private static List<String> names(Page page) {
    return page.texts("#table .open", "e.dataset.name");
  }

  // ---- the page ----------------------------------------------------------------------------

  @Test
  void shell_holdsNoToken_andRunsOnlyItsOwnScripts() throws Exception {
    HttpResponse<String> response =
        HttpClient.newHttpClient()
            .send(
                HttpRequest.newBuilder(URI.create("http://127.0.0.1:%d/".formatted(server.port())))
                    .build(),
                BodyHandlers.ofString());
    assertEquals(200, response.statusCode());
    assertFalse(response.body().contains(server.token()));
    assertEquals(
        "frame-ancestors 'none'",
        response.headers().firstValue("Content-Security-Policy").orElseThrow());
    Page page = page(MARY_AND_JOHN);
    page.evaluate(
        "(() => { const own = document.createElement('script'); own.textContent = 'window.ran = 1';"
            + " document.body.append(own); })()");
    assertTrue(page.evaluate("window.ran === undefined").asBoolean());
    assertTrue(
        page.evaluate("fetch('http://127.0.0.1:1/').then(() => false, () => true)").asBoolean());
    assertTrue(page.problems().stream().allMatch(told -> told.contains("Content Security Policy")));
    page.close();
  }

  @Test
  void opened_showsWhatTheModelExpects() {
    Page page = page(address("?token=" + server.token(), ""), 1280, 800, "light");
    Predict.Predicted predicted = answer(new Predict(Prompt.of(Subject.EXAMPLE), 8));
    assertEquals(
        Subject.EXAMPLE, page.evaluate("document.getElementById('prompt').value").asText());
    assertEquals(
        predicted.tokens().stream().map(token -> token.word().text()).toList(),
        page.texts("#chips bdi", "e.textContent"));
    assertEquals(
        predicted.tokens().stream().map(token -> "#" + token.word().id()).toList(),
        page.texts("#chips span small", "e.innerText.trim()"));
    List<String> told = page.texts("#chips .chip > small", "e.innerText");
    assertEquals("first", told.get(0));
    for (int t = 1; t < told.size(); t++) {
      double bits = predicted.tokens().get(t).surprise().orElseThrow();
      String[] parts = told.get(t).split(" ", -1);
      assertEquals(bits, number(parts[2]), 0.006, told.get(t));
      assertEquals(100 * Math.pow(2, -bits), number(parts[0]), 0.06, told.get(t));
    }
    List<Predict.Alternative> next = predicted.tokens().get(predicted.tokens().size() - 1).next();
    assertEquals(
        next.stream().map(one -> one.word().text()).toList(),
        page.texts("#next bdi", "e.textContent"));
    List<String> logits = page.texts("#next tbody td:nth-child(4)", "e.innerText");
    List<String> logs = page.texts("#next tbody td:nth-child(3)", "e.innerText");
    for (int i = 0; i < next.size(); i++) {
      assertEquals(next.get(i).logit(), number(logits.get(i)), 0.006);
      assertEquals(next.get(i).logProbability(), number(logs.get(i)), 0.006);
    }
    assertEquals("", page.evaluate("location.search").asText(), "the token is in the address bar");
    assertQuiet(page);
  }

  @Test
  void withoutToken_isToldSo() {
    Page page = page(address("?token=wrong", "{" + MARY_AND_JOHN + "}"), 1280, 800, "light");
    assertTrue(page.text("#chips-problem").contains("token of this server"), page.text("body"));
    page.close();
  }

  @Test
  void chip_choosesThePosition_byPointerAndKeys() {
    Page page = page(MARY_AND_JOHN);
    click(page, "#chips [data-act='2']");
    Predict.Predicted predicted = answer(new Predict(Prompt.of(Subject.EXAMPLE), 8));
    assertEquals(
        predicted.tokens().get(2).next().get(0).word().text(),
        page.texts("#next bdi", "e.textContent").get(0));
    assertTrue(page.text("#explained").contains("after \u201cMary\u201d"), page.text("#explained"));
    page.press("ArrowRight");
    page.press("Enter");
    calm(page);
    assertEquals(List.of("3"), page.texts("#chips [aria-pressed='true']", "e.dataset.act"));
    assertEquals("3", page.evaluate("document.activeElement.dataset.act").asText());
    assertQuiet(page);
  }

  @Test
  void words_areClickedAndTyped() {
    Page page = page("\"prompt\": \"%s\"".formatted(Subject.EXAMPLE));
    assertTrue(page.text("#explained").contains("the most probable word"));
    click(page, "#next tbody tr:nth-child(2) .pick.targets");
    String second = page.texts("#next bdi", "e.textContent").get(1);
    assertEquals(List.of(second), page.texts("#targets-picked bdi", "e.textContent"));
    page.click("#distractors");
    page.type("jo");
    page.await("document.querySelectorAll('#distractors-list [role=option]').length > 0");
    page.press("ArrowDown");
    page.press("Enter");
    calm(page);
    String typed = page.text("#distractors-picked bdi");
    assertTrue(typed.toLowerCase(Locale.ROOT).startsWith("jo"), typed);
    double value =
        answer(new Attribute(Subject.of(Subject.EXAMPLE).target(second).distractor(typed), 1))
            .overview()
            .metric()
            .value();
    assertShown(value, page.text("#explained b"));
    assertQuiet(page);
  }

  @Test
  void table_isThatOfTheSession_sortedAndFiltered() {
    Page page = page(MARY_AND_JOHN);
    List<Ranked> nodes = answer(new Attribute(Subject.example(), LISTED)).nodes();
    assertEquals(nodes.stream().map(one -> one.node().toString()).toList(), names(page));
    List<String> norms = page.texts("#table tbody td:nth-child(6)", "e.textContent");
    List<String> direct = page.texts("#table tbody td:nth-child(5)", "e.textContent");
    List<String> attribution = page.texts("#table tbody td:nth-child(4)", "e.textContent");
    for (int i = 0; i < nodes.size(); i++) {
      assertShown(nodes.get(i).writeNorm(), norms.get(i));
      assertShown(nodes.get(i).directEffect(), direct.get(i));
      assertShown(nodes.get(i).attribution(), attribution.get(i));
    }
    click(page, "#table [data-sort='write_norm']");
    assertEquals(
        nodes.stream()
            .sorted(Comparator.comparingDouble(Ranked::writeNorm).reversed())
            .map(one -> one.node().toString())
            .toList(),
        names(page));
    page.evaluate(
        "(() => { const kind = document.getElementById('filter-kind'); kind.value = 'head';"
            + " kind.dispatchEvent(new Event('change')); })()");
    page.evaluate(
        "(() => { const layer = document.getElementById('filter-layer'); layer.value = '2';"
            + " layer.dispatchEvent(new Event('change')); })()");
    calm(page);
    List<String> heads =
        nodes.stream()
            .filter(one -> one.node().coordinates().kind().equals("head"))
            .filter(one -> one.node().coordinates().layer().orElse(-1) == 2)
            .sorted(Comparator.comparingDouble(Ranked::writeNorm).reversed())
            .map(one -> one.node().toString())
            .toList();
    assertFalse(heads.isEmpty());
    assertEquals(heads, names(page));
    assertQuiet(page);
  }

  @Test
  void card_saysWhatTheSessionSays() {
    Page page = page(MARY_AND_JOHN + ", \"node\": \"" + NEURON + "\"");
    Describe.Described told = answer(new Describe(Subject.example(), NEURON, 5));
    assertShown(told.activation().orElseThrow(), reading(page, "#card", "activation"));
    assertShown(told.attribution().orElseThrow(), reading(page, "#card", "attribution"));
    List<String> bars = page.texts("#card .strip .unseen", "e.textContent");
    assertEquals(told.activations().size(), bars.size());
    IntStream.range(0, bars.size())
        .forEach(t -> assertShown(told.activations().get(t), bars.get(t)));
    assertEquals(
        told.promoted().stream().map(one -> one.word().text()).toList(),
        page.texts("#card .promoted bdi", "e.textContent"));
    assertEquals(
        told.suppressed().stream().map(one -> one.word().text()).toList(),
        page.texts("#card .suppressed bdi", "e.textContent"));
    List<Edges.Edge> into = answer(Edges.into(Subject.example(), NEURON, EDGES)).edges().largest();
    assertEquals(
        into.stream().map(edge -> edge.source().toString()).toList(),
        page.texts("#card .into .edge-to", "e.dataset.name"));
    List<Edges.Edge> outOf =
        answer(Edges.outOf(Subject.example(), NEURON, EDGES)).edges().largest();
    List<String> scores = page.texts("#card .from .size", "e.innerText");
    for (int i = 0; i < outOf.size(); i++) {
      assertShown(outOf.get(i).score(), scores.get(i));
    }
    List<String> paths =
        outOf.stream()
            .map(edge -> edge.target().coordinates().path().name().substring(0, 1))
            .filter("QKV"::contains)
            .toList();
    assertFalse(paths.isEmpty());
    assertEquals(paths, page.texts("#card .from .path", "e.textContent"));
    click(page, "#card .from .edge-to:not(:disabled)");
    String name = page.text("#card .code");
    assertEquals(name, Node.parse(name).toString());
    assertTrue(outOf.get(0).target().toString().startsWith(name.substring(0, name.indexOf('['))));
    assertQuiet(page);
  }

  @Test
  void head_showsItsPattern() {
    Page page = page(MARY_AND_JOHN);
    page.evaluate("View.change({ node: '" + HEAD + "' })");
    calm(page);
    List<List<Double>> pattern = answer(new Describe(Subject.example(), HEAD, 5)).pattern();
    assertShown(pattern.get(14).get(7), page.text("#card .read").replaceAll(".*: ", ""));
    assertTrue(
        page.evaluate("document.querySelector('#card .heat canvas').width > 100").asBoolean());
    assertQuiet(page);
  }

  @Test
  void trace_explainsTheNode() {
    Page page = page(MARY_AND_JOHN + ", \"node\": \"" + NEURON + "\"");
    click(page, "[data-act='trace']");
    Subject traced = Subject.example().tracing(NEURON);
    Attribute.Attributed expected = answer(new Attribute(traced, LISTED));
    assertEquals(expected.nodes().stream().map(one -> one.node().toString()).toList(), names(page));
    assertShown(expected.overview().metric().value(), page.text("#explained b"));
    click(page, "#untrace");
    assertShown(
        answer(new Attribute(Subject.example(), 1)).overview().metric().value(),
        page.text("#explained b"));
    assertQuiet(page);
  }

  @Test
  void switchedOffOrSet_isShownBesideTheOriginal() {
    Page page = page(MARY_AND_JOHN + ", \"node\": \"" + HEAD + "\"");
    click(page, "[data-act='off']");
    Ablate.Ablated off =
        answer(new Ablate(Subject.example(), List.of(HEAD), Ablate.Action.REMOVE, LISTED));
    Ablate.Outcome outcome = off.outcomes().get(0);
    assertShown(off.overview().metric().value(), reading(page, "#changed", "original"));
    assertShown(outcome.metric(), reading(page, "#changed", "changed"));
    assertShown(outcome.change(), reading(page, "#changed", "difference"));
    List<String> words = page.texts(".beside bdi", "e.textContent");
    List<String> after = page.texts(".beside td:nth-child(3)", "e.innerText");
    String first = outcome.predictions().get(0).word().text();
    assertEquals(
        100 * outcome.predictions().get(0).probability(),
        number(after.get(words.indexOf(first)).strip()),
        0.06);

    List<Ablate.Other> others = off.others();
    assertEquals(others.stream().map(one -> one.node().toString()).toList(), names(page));
    List<String> cells = page.texts("#table tbody tr:first-child td", "e.innerText");
    NodeChanges.Numbers then = others.get(0).before();
    NodeChanges.Numbers now = others.get(0).after();
    assertShown(then.attribution(), cells.get(2));
    assertShown(now.attribution(), cells.get(3));
    assertShown(now.attribution() - then.attribution(), cells.get(4));
    assertShown(now.directEffect(), cells.get(6));
    click(page, "#beside");
    List<String> plain =
        answer(new Attribute(Subject.example(), LISTED)).nodes().stream()
            .map(one -> one.node().toString())
            .toList();
    assertEquals(plain, names(page));
    click(page, "#beside");

    page.evaluate("document.querySelector('.set input').value = '0.25'");
    click(page, "[data-act='set']");
    Ablate.Outcome set =
        answer(new Ablate(Subject.example(), List.of(HEAD), new Ablate.Put(0.25), 0))
            .outcomes()
            .get(0);
    assertShown(set.metric(), reading(page, "#changed", "changed"));
    click(page, "#changed h2 button");
    assertTrue(page.evaluate("document.getElementById('changed').hidden").asBoolean());
    assertEquals(plain, names(page));
    assertQuiet(page);
  }

  @Test
  void text_goesOn_asTheModelIsAndWithoutANode() {
    Page page = page(MARY_AND_JOHN);
    click(page, "#go-on");
    Prompt prompt = Prompt.of(Subject.EXAMPLE);
    assertEquals(
        answer(new Generate(prompt, List.of(), MORE, Optional.empty()))
            .continuation()
            .text()
            .strip(),
        page.text("#text-said"));
    page.evaluate("View.change({ off: ['%s'] })".formatted(HEAD));
    calm(page);
    Generate.Generated edited =
        answer(
            new Generate(
                prompt, List.of(Edit.parse(HEAD.toString()).scale(0)), MORE, Optional.empty()));
    assertEquals(edited.continuation().text().strip(), page.text("#text-said"));
    assertEquals(edited.edited().orElseThrow().text().strip(), page.text("#text-edited"));
    click(page, "#go-on");
    assertTrue(page.evaluate("document.getElementById('goes-on').hidden").asBoolean());
    assertQuiet(page);
  }

  @Test
  void card_showsEdgesThroughOneInputAlone() {
    Page page = page(MARY_AND_JOHN + ", \"node\": \"" + HEAD + "\"");
    click(page, "[data-act='input value']");
    Node value = Node.parse("L2.head5.value[14<-7]");
    assertEquals(
        answer(Edges.into(Subject.example(), value, EDGES)).edges().largest().stream()
            .map(edge -> edge.source().toString())
            .toList(),
        page.texts(".edges.into .edge-to", "e.dataset.name"));
    assertEquals(Collections.nCopies(EDGES, "V"), page.texts(".edges.into .path", "e.textContent"));
    click(page, "[data-act='input ']");
    assertEquals(
        answer(Edges.into(Subject.example(), HEAD, EDGES)).edges().largest().stream()
            .map(edge -> edge.source().toString())
            .toList(),
        page.texts(".edges.into .edge-to", "e.dataset.name"));
    assertQuiet(page);
  }

  @Test
  void graph_growsAndKeepsTheEdgesBetween() throws IOException {
    Page page = page(MARY_AND_JOHN + ", \"node\": \"" + HEAD + "\"");
    click(page, "[data-act='graph']");
    assertEquals(List.of("metric", HEAD.toString()), page.texts("#plot .node", "e.dataset.name"));
    click(page, "#table tbody tr:first-child .add");
    click(page, "#graph-strongest");
    Circuit expected =
        answer(
                new Graph(
                    Subject.example(),
                    new Graph.Among(
                        Stream.concat(
                                Stream.of(HEAD),
                                answer(new Attribute(Subject.example(), 10)).nodes().stream()
                                    .map(Ranked::node))
                            .toList()),
                    Graph.Pruning.NONE,
                    0))
            .circuit();
    assertEquals(expected.nodes().size(), page.texts("#plot .node", "e.dataset.name").size());
    assertEquals(expected.edges().size(), page.texts("#plot .edge", "1").size());
    // layers upward, tokens from left to right
    assertTrue(
        page.evaluate(
                "(() => { const at = name => document.querySelector('#plot [data-name=\"' + name +"
                    + " '\"]').getBoundingClientRect(); const low = at('"
                    + EARLY_HEAD
                    + "'), high = at('"
                    + HEAD
                    + "'); return low.y > high.y && low.x < high.x; })()")
            .asBoolean());
    page.evaluate("document.querySelector('#plot [data-name=\"metric\"]').focus()");
    page.press("ArrowDown");
    page.press("Enter");
    calm(page);
    assertEquals(page.evaluate("View.now.node").asText(), page.text("#card .code"));
    assertEquals(1, page.texts("#plot .node.on", "1").size());
    assertQuiet(page);
  }

  @Test
  void twoPrompts_areCompared() {
    Page page = page(MARY_AND_JOHN);
    click(page, "#compare-open");
    page.evaluate("document.getElementById('other').select()");
    page.type(OTHER);
    page.press("Enter");
    calm(page);
    Compare.Compared compared = answer(new Compare(Subject.example(), Prompt.of(OTHER), LISTED));
    assertEquals(compared.nodes().stream().map(one -> one.node().toString()).toList(), names(page));
    List<String> others = page.texts("#table tbody td:nth-child(5)", "e.textContent");
    for (int i = 0; i < others.size(); i++) {
      assertShown(compared.nodes().get(i).otherAttribution(), others.get(i));
    }
    assertShown(
        compared.other().metric().value(), page.texts("#explained b", "e.innerText").get(1));
    click(page, "#compare-close");
    assertEquals(
        4,
        page.texts("#table thead th[scope]", "e.innerText").stream()
            .filter(head -> head.matches("(attribution|direct effect|write norm|activation).*"))
            .count());
    assertQuiet(page);
  }

  @Test
  void undoRedoAndLink_restoreTheView() {
    Page page = page(MARY_AND_JOHN);
    click(page, "#table tbody tr:nth-child(3) .open");
    String name = page.text("#card .code");
    click(page, "[data-act='off']");
    click(page, "[data-act='graph']");
    String view = page.evaluate("JSON.stringify(View.now)").asText();
    String link = page.evaluate("Ask.address(location.hash)").asText();
    page.evaluate("document.activeElement.blur()");
    for (int i = 0; i < 3; i++) {
      click(page, "#undo");
    }
    assertEquals("", page.evaluate("View.now.node").asText());
    assertTrue(page.evaluate("document.getElementById('undo').disabled").asBoolean());
    for (int i = 0; i < 3; i++) {
      click(page, "#redo");
    }
    assertEquals(view, page.evaluate("JSON.stringify(View.now)").asText());
    Page again = page(URI.create(link), 1280, 800, "light");
    assertEquals(view, again.evaluate("JSON.stringify(View.now)").asText());
    assertEquals(name, again.text("#card .code"));
    assertEquals(
        page.texts("#plot .node, #changed dd", "e.textContent"),
        again.texts("#plot .node, #changed dd", "e.textContent"));
    assertQuiet(page);
    assertQuiet(again);
  }

  @Test
  void whatIsShown_isSaved() throws IOException {
    Page page =
        page(
            MARY_AND_JOHN
                + ", \"node\": \"%s\", \"graph\": [\"%s\", \"%s\"]"
                    .formatted(HEAD, HEAD, EARLY_HEAD));
    page.evaluate(
        "(make => { URL.createObjectURL = blob => { window.saved = blob; return make(blob); }; })"
            + "(URL.createObjectURL.bind(URL))");
    ObjectMapper mapper = new ObjectMapper();
    JsonNode all = mapper.readTree(saved(page, "answers"));
    assertEquals(HEAD.toString(), all.at("/view/node").asText());
    assertEquals(
        answer(new Attribute(Subject.example(), LISTED)).nodes().size(),
        all.at("/nodes/nodes").size());
    List<String> lines = saved(page, "nodes").lines().toList();
    assertEquals(
        "node,kind,layer,token,key,attribution,direct_effect,write_norm,activation", lines.get(0));
    Ranked first = answer(new Attribute(Subject.example(), LISTED)).nodes().get(0);
    assertTrue(lines.get(1).startsWith("\"" + first.node() + "\",\"head\","), lines.get(1));
    assertEquals(first.attribution(), Double.parseDouble(lines.get(1).split(",", -1)[5]), 1e-6);
    JsonNode circuit = mapper.readTree(saved(page, "circuit"));
    assertEquals("tributary-circuit", circuit.get("format").asText());
    assertEquals(3, circuit.get("nodes").size());
    byte[] png =
        Base64.getDecoder()
            .decode(
                save(
                    page,
                    "picture",
                    "new Promise(done => { const reader = new FileReader(); reader.onload = () =>"
                        + " done(reader.result.split(',')[1]); reader.readAsDataURL(saved); })"));
    BufferedImage image = ImageIO.read(new ByteArrayInputStream(png));
    int[] seen = image.getRGB(0, 0, image.getWidth(), image.getHeight(), null, 0, image.getWidth());
    for (String colour : List.of("--head", "--surface", "--band", "--metric")) {
      String code =
          page.evaluate(
                  "getComputedStyle(document.documentElement).getPropertyValue('" + colour + "')")
              .asText();
      int rgb = Integer.parseInt(code.strip().substring(1), 16);
      assertTrue(IntStream.of(seen).anyMatch(one -> (one & 0xffffff) == rgb), colour);
    }
    assertQuiet(page);
  }

  private static String saved(Page page, String what) {
    return save(page, what, "saved.text()");
  }

  private static String save(Page page, String what, String read) {
    page.evaluate("window.saved = undefined");
    click(page, "#keep summary");
    page.settle();
    page.click("#keep-" + what);
    page.await("window.saved !== undefined");
    return page.evaluate(read).asText();
  }

  @Test
  void refusals_areSentences_andTheNextQuestionIsAnswered() {
    Page page = page(MARY_AND_JOHN);
    page.click("#prompt");
    page.evaluate("document.getElementById('prompt').select()");
    page.type("The unicorn");
    page.press("Enter");
    calm(page);
    assertTrue(page.text("#chips-problem").contains("not in the vocabulary"));
    assertEquals(0, page.texts("#chips .chip", "1").size());
    page.evaluate("document.getElementById('prompt').select()");
    page.type(Subject.EXAMPLE);
    page.press("Enter");
    calm(page);
    assertEquals(15, page.texts("#chips .chip", "1").size());
    assertQuiet(page);
  }

  @Test
  void staleQuestions_areAborted() {
    Page page = page(MARY_AND_JOHN);
    page.evaluate(
        "(ask => { window.signals = []; window.fetch = (path, options) => {"
            + " signals.push(options.signal); return ask(path, options); }; })(window.fetch)");
    page.evaluate(
        "View.change({ node: 'L1.neuron3[4]' }); View.change({ node: 'L1.neuron77[9]' });");
    calm(page);
    assertEquals(4, page.evaluate("signals.length").asInt());
    assertEquals(
        List.of(true, false, false, false),
        List.of(
            new ObjectMapper()
                .convertValue(
                    page.evaluate("signals.map(signal => signal.aborted)"), Boolean[].class)));
    assertEquals("L1.neuron77[9]", page.text("#card .code"));
    assertTrue(page.text("#card h2").contains("neuron 77"), page.text("#card h2"));
    assertQuiet(page);
  }

  @Test
  void markupInLinks_staysText() {
    String markup = "<img src=x onerror=alert(1)>";
    Page page =
        page(
            "\"prompt\": \"%s\", \"node\": \"%s\", \"off\": [\"%s\"], \"targets\": [\"%s\"]"
                .formatted(markup, markup, markup, markup));
    assertEquals(0, page.texts("img", "1").size());
    assertTrue(page.text("#targets-picked").contains("<img"));
    assertTrue(
        page.problems().stream().allMatch(told -> told.contains("status of 400")),
        page.problems().toString());
    page.close();
  }

  @Test
  void keys_reachEverything() {
    Page page = page(MARY_AND_JOHN);
    page.press("/");
    assertEquals("prompt", page.evaluate("document.activeElement.id").asText());
    page.press("Escape");
    page.press("?");
    assertTrue(page.evaluate("document.getElementById('manual').open").asBoolean());
    page.press("Escape");
    page.evaluate("document.querySelector('#table .open').focus()");
    page.press("Enter");
    calm(page);
    assertFalse(page.text("#card .code").isEmpty());
    page.press("d");
    assertEquals("panel", page.evaluate("document.activeElement.id").asText());
    page.press("Escape");
    assertEquals("", page.evaluate("View.now.node").asText());
    assertEquals(
        List.of(),
        page
            .texts(
                "button, input, select, textarea, canvas, svg[role]",
                "(e.ariaLabel ?? '') + (e.labels?.[0]?.innerText ?? '') + (e.textContent ?? '')")
            .stream()
            .filter(String::isBlank)
            .toList());
    assertQuiet(page);
  }

  @ParameterizedTest
  @CsvSource({"1280, 800, light", "1280, 800, dark", "420, 900, light"})
  void everySize_scrollsNotSideways(int width, int height, String colours) {
    Page page =
        page(
            address(
                "?token=" + server.token(),
                "{%s, \"node\": \"%s\", \"graph\": [\"%s\", \"%s\"], \"off\": [\"%s\"]}"
                    .formatted(MARY_AND_JOHN, HEAD, HEAD, EARLY_HEAD, HEAD)),
            width,
            height,
            colours);
    assertEquals(colours, page.evaluate("document.documentElement.dataset.theme").asText());
    assertTrue(page.evaluate("document.documentElement.scrollWidth <= innerWidth").asBoolean());
    assertEquals(3, page.texts("#plot .node", "1").size());
    assertQuiet(page);
  }
}
