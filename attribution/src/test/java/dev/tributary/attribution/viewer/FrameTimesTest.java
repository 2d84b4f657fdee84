package dev.tributary.attribution.viewer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Labels;
import dev.tributary.attribution.viewer.Chromium.Page;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.api.io.TempDir;

/**
 * How long the page of a large circuit takes from frame to frame while a pointer goes from node to
 * node. It promises nothing of time: it prints, and only where {@code -Dtributary.frames=true}.
 */
@EnabledIfSystemProperty(named = "tributary.frames", matches = "true")
class FrameTimesTest {
  private static final int HOVERS = 200;

  @Test
  void hover_largeCircuit_printsFrameTimes(@TempDir Path folder) throws Exception {
    Optional<Path> program = Chromium.installed();
    assumeTrue(program.isPresent(), "no Chromium on the PATH");
    List<String> tokens = IntStream.range(0, 20).mapToObj(i -> " word" + i).toList();
    Labels labels = new Labels("random", List.of(), String.join("", tokens), tokens);
    Circuit circuit = RandomCircuit.of(5, labels, "logit", 26, 2_000, 20_000);
    Path html = Files.writeString(folder.resolve("large.html"), CircuitPage.of(circuit));
    Path profile = Files.createDirectory(folder.resolve("profile"));
    try (Chromium browser = Chromium.start(program.get(), profile);
        Page page = browser.open(html, 1280, 800, "light")) {
      page.await("'ready' in document.documentElement.dataset");
      for (String edges : List.of("as it opens", "all drawn")) {
        if (edges.equals("all drawn")) {
          page.evaluate("document.querySelector('#threshold').focus()");
          page.press("End");
        }
        print(page, edges);
      }
      assertEquals(List.of(), page.problems());
    }
  }

  private static void print(Page page, String edges) {
    page.evaluate(
        "(record => { window.frames_ = []; let last = performance.now(); (function tick(now) {"
            + " window.frames_.push(now - last); last = now; requestAnimationFrame(tick);"
            + " })(last); })()");
    JsonNode nodes =
        page.evaluate(
            "(s => [...document.querySelectorAll('#front .node')].map(e => {"
                + " const b = e.getBoundingClientRect();"
                + " return [b.x + b.width / 2, b.y + b.height / 2]; }).filter(([x, y]) =>"
                + " x > s.left + 90 && x < s.right - 20 && y > s.top + 10 && y < s.bottom - 80))"
                + "(document.querySelector('#scroller').getBoundingClientRect())");
    assertFalse(nodes.isEmpty());
    double[] longest = new double[HOVERS];
    for (int i = 0; i < HOVERS; i++) {
      JsonNode at = nodes.get(i * 37 % nodes.size());
      page.evaluate("window.frames_.length = 0");
      page.hover(at.get(0).asDouble(), at.get(1).asDouble());
      longest[i] = page.evaluate("Math.max(0, ...window.frames_)").asDouble();
    }
    Arrays.sort(longest);
    System.out.printf(
        Locale.ROOT,
        "2,000 nodes, 20,000 edges, %s: longest frame after a move of the pointer, of %d moves:"
            + " median %.1f ms, 95 %% below %.1f ms, all below %.1f ms%n",
        edges,
        HOVERS,
        longest[HOVERS / 2],
        longest[HOVERS * 95 / 100],
        longest[HOVERS - 1]);
  }
}
