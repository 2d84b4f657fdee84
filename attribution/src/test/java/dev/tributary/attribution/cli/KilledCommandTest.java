package dev.tributary.attribution.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.dataset.PromptTemplate;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Commands on a data set as processes of their own, which are killed as the system kills them, at
 * moments that are drawn, and then asked again.
 */
class KilledCommandTest {
  private static final int PAIRS = 144;

  /** How often the process is killed before it may end. */
  private static final int KILLS = 2;

  @TempDir private static Path folder;
  private static Path pairs;
  private static Path scores;

  @BeforeAll
  static void generate() throws IOException {
    List<String> rows =
        PromptTemplate.AGREEMENT.draw(PAIRS, 3).stream().map(PromptTemplate.Example::json).toList();
    pairs = Files.write(folder.resolve("pairs.jsonl"), rows);
    Path few = Files.write(folder.resolve("few.jsonl"), rows.subList(0, 3));
    scores = folder.resolve("few.json");
    assertEquals(
        0, Invocation.of("dataset", "score", few, "--out", scores, "--sample", 0).exitCode());
  }

  @Test
  void score_killedAtAnyTime_goesOnToTheSameBits() throws Exception {
    assertSameBits(1, "score", "--ablation", "mean", "--sample", "5");
  }

  @Test
  void nodes_killedAtAnyTime_goOnToTheSameBits() throws Exception {
    assertSameBits(
        2, "nodes", "--method", "atp-qk-fix", "--sample", "3", "--dictionaries", "shipped");
  }

  @Test
  void evaluate_killedAtAnyTime_goesOnToTheSameBits() throws Exception {
    assertSameBits(
        3,
        "evaluate",
        "--scores",
        scores.toString(),
        "--fractions",
        "0.01",
        "--minimality",
        "2",
        "--ablation",
        "mean");
  }

  private static void assertSameBits(long seed, String... options) throws Exception {
    Path whole = folder.resolve(options[0] + "-whole.json");
    Path csv = folder.resolve(options[0] + "-whole.csv");
    Invocation expected = Invocation.of(command(options, whole, csv).toArray());
    assertEquals(0, expected.exitCode(), expected.err());
    Path out = folder.resolve(options[0] + ".json");
    Path table = folder.resolve(options[0] + ".csv");
    Path parts = Path.of(out + ".parts");
    Random random = new Random(seed);
    int killed = 0;
    for (int i = 0; i < KILLS; i++) {
      Process process = start(command(options, out, table));
      while (process.isAlive() && !hasSums(parts)) {
        Thread.sleep(2);
      }
      if (!process.waitFor(random.nextInt(150), TimeUnit.MILLISECONDS)) {
        process.destroyForcibly().waitFor();
        assertFalse(Files.exists(out));
        killed++;
      } else {
        Files.deleteIfExists(out); // it ended first
      }
    }
    assertTrue(killed > 0, "it was never killed");
    Process last = start(command(options, out, table));
    assertEquals(0, last.waitFor());
    assertEquals(Files.readString(whole), Files.readString(out));
    assertArrayEquals(Files.readAllBytes(csv), Files.readAllBytes(table));
    assertFalse(Files.exists(parts));
  }

  private static boolean hasSums(Path parts) throws IOException {
    if (!Files.isDirectory(parts)) {
      return false;
    }
    try (Stream<Path> files = Files.list(parts)) {
      return files.anyMatch(file -> file.toString().endsWith(".sums"));
    }
  }

  private static List<String> command(String[] options, Path out, Path csv) {
    List<String> command = new ArrayList<>(List.of("dataset", options[0], pairs.toString()));
    command.addAll(List.of(options).subList(1, options.length));
    command.addAll(List.of("--out", out.toString(), "--csv", csv.toString()));
    return command;
  }

  private static Process start(List<String> arguments) throws IOException {
    List<String> words =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1",
                "-classpath",
                System.getProperty("java.class.path"),
                Main.class.getName()));
    words.addAll(arguments);
    ProcessBuilder builder =
        new ProcessBuilder(words)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .redirectError(ProcessBuilder.Redirect.DISCARD);
    builder.environment().remove("MAVEN_CMD_LINE_ARGS"); // of these tests
    return builder.start();
  }
}
