package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.tributary.core.Scope;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What README.md says to those who paste from it. */
class ReadmeTest {
  /** Tests run in the folder of their module. */
  private static final Path README = Path.of("..", "README.md");

  private static final String PROMPT =
      "When Mary and John went to the store , John gave a drink to";

  @TempDir Path folder;

  @Test
  void dependency_namesThisModule() throws IOException {
    String pom = Files.readString(Path.of("pom.xml"));
    String dependency = block("xml", "<dependency>");
    StringBuilder coordinates = new StringBuilder();
    for (String tag : List.of("groupId", "artifactId", "version")) {
      Pattern element = Pattern.compile("<" + tag + ">(.*)</" + tag + ">");
      MatchResult stated = element.matcher(dependency).results().findFirst().orElseThrow();
      assertTrue(pom.contains(stated.group()), stated.group());
      coordinates.append(coordinates.isEmpty() ? "" : ":").append(stated.group(1));
    }
    assertTrue(Files.readString(README).contains("implementation(\"" + coordinates + "\")"));
  }

  @Test
  void program_asPrinted_printsTheEdges() throws Exception {
    Path program = folder.resolve("Explain.java");
    Files.writeString(program, block("java", "class Explain"));
    try (Scope scope = Scope.open()) {
      EdgeScores edges =
          EdgeAttribution.of(nodes(), ScaleGradient.DETACHED)
              .into((Target) Node.parse("L2.head5.value[14<-7]"));
      assertPrinted(edges.top(10), tool("java"), "-cp", classPath(), program.toString());
    }
  }

  @Test
  void session_asPrinted_printsTheNodes() throws Exception {
    assumeTrue(Files.isExecutable(Path.of(tool("jshell"))), "this Java has no jshell");
    Path session = folder.resolve("session");
    String lines = block("java", "Session session = ");
    assertEquals(4, lines.lines().count());
    Files.writeString(session, lines + "/exit\n");
    try (Scope scope = Scope.open()) {
      assertPrinted(
          nodes().activationTimesGradient().top(10),
          tool("jshell"),
          "-J-Djava.util.prefs.userRoot=" + folder,
          "--class-path",
          classPath(),
          "-s",
          session.toString());
    }
  }

  private static NodeAttribution nodes() {
    Tokenizer words = Tokenizers.textbook();
    Run run = Models.textbook().run(words.encode(PROMPT));
    int last = run.lastToken();
    return NodeAttribution.of(
        run, Metric.logitDifference(last, words.token("Mary"), words.token("John")));
  }

  /** The first of the fenced blocks in a language that holds some text. */
  private static String block(String language, String text) throws IOException {
    Pattern fences = Pattern.compile("(?ms)^```" + language + "\n(.*?)^```$");
    return fences
        .matcher(Files.readString(README))
        .results()
        .map(match -> match.group(1))
        .filter(block -> block.contains(text))
        .findFirst()
        .orElseThrow();
  }

  private static String tool(String name) {
    return Path.of(System.getProperty("java.home"), "bin", name).toString();
  }

  private static String classPath() {
    return System.getProperty("java.class.path");
  }

  private void assertPrinted(List<NodeScore> scores, String... command) throws Exception {
    Path output = folder.resolve("output");
    Path errors = folder.resolve("errors");
    Process process =
        new ProcessBuilder(command)
            .redirectOutput(output.toFile())
            .redirectError(errors.toFile())
            .start();
    try {
      assertTrue(process.waitFor(5, TimeUnit.MINUTES));
    } finally {
      process.destroyForcibly();
    }
    List<String> expected = scores.stream().map(Object::toString).toList();
    assertEquals(expected, Files.readAllLines(output), Files.readString(errors));
    assertEquals(0, process.exitValue());
  }
}
