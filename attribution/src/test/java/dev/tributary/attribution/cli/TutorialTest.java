package dev.tributary.attribution.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.tributary.attribution.explain.ModelChoice;
import dev.tributary.attribution.explain.Session;
import dev.tributary.attribution.server.Server;
import dev.tributary.attribution.viewer.Chromium;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * What docs/tutorial.md says: its commands are run, and print the lines that stand below them, in
 * their order; numbers of its sentences stand in what commands print; its pictures are of views of
 * the page that show what they should. With {@code -Dtributary.pictures=DIR} they are taken anew.
 */
class TutorialTest {
  /** Tests run in the folder of their module. */
  private static final Path TUTORIAL = Path.of("..", "docs", "tutorial.md");

  private static final Pattern CONSOLE = Pattern.compile("(?ms)^```console\n(.*?)^```$");

  /** A picture, and before it the view that it is of, as the end of a link has it. */
  private static final Pattern PICTURE =
      Pattern.compile("(?m)^<!-- view (?<view>\\{.*}) -->\n!\\[.+]\\((?<file>\\S+\\.png)\\)$");

  private static final Pattern NUMBER =
      Pattern.compile("(?<![\\w.])[-−]?\\d+(?:\\.\\d+)?(?:e-?\\d+)?");

  /** Processors round differently, and what is printed has four digits. */
  private static final double ROUNDED = 5e-3;

  @TempDir private Path folder;

  private static String text() throws IOException {
    return Files.readString(TUTORIAL);
  }

  @Test
  void commands_printWhatStandsBelowThem() throws IOException {
    int commands = 0;
    for (MatchResult block : (Iterable<MatchResult>) CONSOLE.matcher(text()).results()::iterator) {
      Iterator<String> lines = List.of(block.group(1).split("\n")).iterator();
      Iterator<String> printed = List.<String>of().iterator();
      while (lines.hasNext()) {
        String line = lines.next();
        if (line.startsWith("$ ")) {
          printed = run(line.substring(2)).lines().iterator();
          commands++;
        } else if (!line.isBlank() && !line.equals("...")) {
          assertTrue(finds(printed, line), () -> "not printed, or not in this order: " + line);
        }
      }
    }
    assertTrue(commands >= 8, "commands: " + commands);
  }

  private static boolean finds(Iterator<String> printed, String line) {
    while (printed.hasNext()) {
      if (isSame(line.strip(), printed.next().strip())) {
        return true;
      }
    }
    return false;
  }

  /** Whether two lines have the same words, and numbers that are nearly the same. */
  private static boolean isSame(String expected, String actual) {
    List<String> words = List.of(expected.split("\\s+"));
    List<String> others = List.of(actual.split("\\s+"));
    if (words.size() != others.size()) {
      return false;
    }
    for (int i = 0; i < words.size(); i++) {
      String word = words.get(i);
      String other = others.get(i);
      if (!word.equals(other)) {
        if (!NUMBER.matcher(word).matches() || !NUMBER.matcher(other).matches()) {
          return false;
        }
        double number = Double.parseDouble(word);
        if (Math.abs(number - Double.parseDouble(other)) > ROUNDED * Math.abs(number) + 1e-3) {
          return false;
        }
      }
    }
    return true;
  }

  /** Runs a line of a shell: {@code tributary}, words in quotes, {@code > FILE}. */
  private String run(String line) throws IOException {
    List<String> words = new ArrayList<>();
    Matcher word = Pattern.compile("\"([^\"]*)\"|(\\S+)").matcher(line);
    while (word.find()) {
      String said = word.group(1) == null ? word.group(2) : word.group(1);
      boolean isFile = said.matches("\\w+\\.(?:jsonl?|html)");
      words.add(isFile ? folder.resolve(said).toString() : said);
    }
    assertEquals("tributary", words.remove(0), line);
    Optional<Path> into = Optional.empty();
    int sign = words.indexOf(">");
    if (sign >= 0) {
      into = Optional.of(Path.of(words.get(sign + 1)));
      words = words.subList(0, sign);
    }
    Invocation run = Invocation.of(words.toArray());
    assertEquals(0, run.exitCode(), run.err());
    if (into.isPresent()) {
      Files.writeString(into.get(), run.out());
      return "";
    }
    return run.out();
  }

  @Test
  void numbersOfSentences_areThoseOfCommands() throws IOException {
    String text = text();
    Set<String> printed = new HashSet<>();
    for (MatchResult block : (Iterable<MatchResult>) CONSOLE.matcher(text).results()::iterator) {
      NUMBER.matcher(block.group(1)).results().forEach(number -> printed.add(number.group()));
    }
    String sentences =
        PICTURE
            .matcher(CONSOLE.matcher(text).replaceAll(""))
            .replaceAll("")
            .replaceAll("`[^`]*`", "");
    List<String> decimals =
        NUMBER
            .matcher(sentences)
            .results()
            .map(number -> number.group().replace('−', '-'))
            .filter(number -> number.contains("."))
            .toList();
    assertFalse(decimals.isEmpty());
    decimals.forEach(number -> assertTrue(printed.contains(number), number));
  }

  @Test
  void pictures_areOfThePage() throws IOException, InterruptedException {
    Optional<Path> program = Chromium.installed();
    assumeTrue(
        program.isPresent(), "No Chromium on the PATH: pictures of the tutorial are skipped.");
    List<MatchResult> pictures = PICTURE.matcher(text()).results().toList();
    assertEquals(text().split("\\.png\\)").length - 1, pictures.size(), "pictures without a view");
    assertFalse(pictures.isEmpty());
    try (Session session = Session.open(ModelChoice.shipped());
        Server server = Server.open(session, "127.0.0.1", 0);
        Chromium browser =
            Chromium.start(program.get(), Files.createDirectory(folder.resolve("profile")))) {
      for (MatchResult picture : pictures) {
        String view =
            URLEncoder.encode(picture.group(1), StandardCharsets.UTF_8).replace("+", "%20");
        URI address = URI.create(server.address() + "#" + view);
        try (Chromium.Page page = browser.open(address, 1280, 800, "light")) {
          page.await("'ready' in document.documentElement.dataset");
          page.await("!('working' in document.documentElement.dataset)");
          assertEquals(List.of(), page.problems());
          assertEquals(List.of(), page.texts(".refused:not([hidden])", "e.innerText"), view);
          String taken = System.getProperty("tributary.pictures", "");
          if (!taken.isEmpty()) {
            Path file = Path.of(taken).resolve(picture.group(2));
            Files.createDirectories(file.getParent());
            Files.write(file, page.picture());
          }
          assertTrue(Files.exists(TUTORIAL.resolveSibling(picture.group(2))), picture.group(2));
        }
      }
    }
  }
}
