package dev.tributary.attribution.server;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.tributary.attribution.cli.Main;
import dev.tributary.attribution.explain.Subject;
import dev.tributary.attribution.viewer.Chromium;
import dev.tributary.attribution.viewer.Chromium.Page;
import java.io.BufferedReader;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.api.io.TempDir;

/**
 * How long a reader waits for the page of {@code serve}, a process of its own: until it shows the
 * tokens with what is expected after them and the table of nodes, counted from where the browser
 * begins to look for the page, and from an input to the frame that shows what it did while the
 * server computes. It promises nothing of time: it prints, and only where {@code
 * -Dtributary.times=MODEL}, which is {@code shipped} or as after {@code --model}.
 */
@EnabledIfSystemProperty(named = "tributary.times", matches = ".+")
class AnswerTimesTest {
  private static final int SERVERS = 3;
  private static final int PAGES = 5;
  private static final int INPUTS = 40;
  private static final String TOKENS = "#chips .chip";
  private static final String TABLE = "#table .open";
  private static final String CALM = "html:not([data-working])";

  @Test
  void page_printsHowLongItTakes(@TempDir Path folder) throws Exception {
    Optional<Path> program = Chromium.installed();
    assumeTrue(program.isPresent(), "no Chromium on the PATH");
    Path profile = Files.createDirectory(folder.resolve("profile"));
    try (Chromium browser = Chromium.start(program.get(), profile)) {
      browser.open(URI.create("about:blank"), 1280, 800, "light").close(); // its own first page
      for (int i = 0; i < SERVERS; i++) {
        long began = System.nanoTime();
        Process server = serve(folder.resolve("errors"));
        try (BufferedReader out = server.inputReader()) {
          String address = Objects.requireNonNull(out.readLine(), "it does not serve");
          System.out.printf(
              Locale.ROOT,
              "server %d: address after %.0f ms%n",
              i,
              1e-6 * (System.nanoTime() - began));
          open(browser, address, "", "fresh server");
          if (i == SERVERS - 1) {
            for (int page = 0; page < PAGES; page++) {
              open(browser, address, "", "same prompt");
            }
            for (int page = 0; page < PAGES; page++) {
              String[] words = Subject.EXAMPLE.split(" ", -1);
              String part = String.join(" ", Arrays.copyOf(words, words.length - 1 - page));
              String prompt = "#{\"prompt\": \"%s\"}".formatted(part);
              open(browser, address, prompt, "other prompt");
            }
            inputs(browser, address);
          }
        } finally {
          server.destroy();
          server.waitFor();
        }
      }
    }
  }

  private static Process serve(Path errors) throws IOException {
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-classpath",
                System.getProperty("java.class.path"),
                Main.class.getName(),
                "serve",
                "--port",
                "0"));
    String model = Objects.requireNonNull(System.getProperty("tributary.times"));
    if (!model.equals("shipped")) {
      command.addAll(List.of("--model", model));
    }
    ProcessBuilder builder = new ProcessBuilder(command).redirectError(errors.toFile());
    builder.environment().remove("MAVEN_CMD_LINE_ARGS"); // of these tests
    return builder.start();
  }

  /** In milliseconds from the beginning of the page. */
  private static double shown(Page page, String selector) {
    return page.evaluate(
            "new Promise(done => (function look() { if (document.querySelector('%s') !== null)"
                    .formatted(selector)
                + " done(performance.now()); else setTimeout(look, 2); })())")
        .asDouble();
  }

  private static void open(Chromium browser, String address, String view, String what) {
    try (Page page =
        browser.open(
            URI.create(
                address
                    + view.replace(" ", "%20")
                        .replace("\"", "%22")
                        .replace("{", "%7B")
                        .replace("}", "%7D")),
            1280,
            800,
            "light")) {
      System.out.printf(
          Locale.ROOT,
          "%s: tokens after %.0f ms, table after %.0f ms, all after %.0f ms%n",
          what,
          shown(page, TOKENS),
          shown(page, TABLE),
          shown(page, CALM));
      assertEquals(List.of(), page.problems());
    }
  }

  /** Sorts, opens and closes while the server computes something long. */
  private static void inputs(Chromium browser, String address) {
    try (Page page = browser.open(URI.create(address), 1280, 800, "light")) {
      shown(page, TABLE);
      shown(page, CALM);
      page.evaluate(
          "(() => { window.inputs_ = []; new PerformanceObserver(list =>"
              + " list.getEntries().forEach(one => one.interactionId > 0 &&"
              + " inputs_.push(one.duration))).observe({ type: 'event', durationThreshold: 16 });"
              + " const subject = View.subject(); Ask.place(() => 0, () => 0, () => 0)({ question:"
              + " 'graph', ...subject, nodes: 2000, loadings: 100000 }); })()");
      for (int i = 0; i < INPUTS; i++) {
        switch (i % 4) {
          case 0 -> page.click("[data-sort=direct_effect]");
          case 1 -> page.click("[data-sort=attribution]");
          case 2 -> page.click("#theme");
          default -> page.click("#table tbody tr:nth-child(3) .open");
        }
      }
      double[] inputs = sorted(page.evaluate("inputs_"));
      System.out.printf(
          Locale.ROOT,
          "while the server computes: from input to frame, of %d: median %.0f ms, all below %.0f"
              + " ms%n",
          inputs.length,
          inputs[inputs.length / 2],
          inputs[inputs.length - 1]);
    }
  }

  private static double[] sorted(JsonNode numbers) {
    double[] all = new double[numbers.size()];
    for (int i = 0; i < all.length; i++) {
      all[i] = numbers.get(i).asDouble();
    }
    Arrays.sort(all);
    return all;
  }
}
