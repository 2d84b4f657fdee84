package dev.tributary.attribution.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.tributary.attribution.dataset.PromptTemplate;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Commands whose answers no disk has room for. */
class FullDiskTest {
  /** A device that is a full disk. */
  private static final Path FULL = Path.of("/dev/full");

  private static final String NO_ROOM = ": this file cannot be written: ";

  @TempDir private Path folder;
  @TempDir private Path scratch;

  @BeforeAll
  static void requireDevice() {
    assumeTrue(Files.exists(FULL), "there is no " + FULL + " here");
  }

  private Program run(String before, String... arguments) throws Exception {
    return Program.run(before, List.of(arguments), Map.of(), folder, scratch);
  }

  @ParameterizedTest
  @ValueSource(strings = {"--circuit", "--html", "--neuronpedia", "--dot", "--csv"})
  void circuit_isRefused(String option) {
    Invocation.of("graph", "--nodes", 20, option, FULL).assertRefused(FULL + NO_ROOM);
  }

  @ParameterizedTest
  @ValueSource(strings = {"--out", "--html", "--csv"})
  void dataset_isRefused(String option) throws IOException {
    Path pairs =
        Files.write(
            folder.resolve("pairs.jsonl"),
            PromptTemplate.AGREEMENT.draw(2, 3).stream()
                .map(PromptTemplate.Example::json)
                .toList());
    Invocation.of("dataset", "score", pairs, "--sample", 0, option, FULL)
        .assertRefused(FULL + NO_ROOM);
  }

  /** A limit on the size of files is as good as a disk with so much room. */
  @Test
  void whatWasThere_staysWhole() throws Exception {
    Path page = Files.writeString(folder.resolve("page.html"), "whole");
    Program program = run("ulimit -f 64\n", "graph", "--nodes", "20", "--html", "page.html");
    assertEquals(2, program.exitCode());
    assertEquals(1, program.err().lines().count(), program.err());
    assertTrue(program.err().startsWith("page.html" + NO_ROOM), program.err());
    assertEquals("whole", Files.readString(page));
    try (Stream<Path> files = Files.list(folder)) {
      assertEquals(List.of(page), files.toList());
    }
  }

  @Test
  void standardOutput_isRefused() throws Exception {
    Program program = run("exec >" + FULL + "\n", "attribute", "--json");
    assertEquals(1, program.exitCode());
    assertTrue(program.err().matches("standard output cannot be written: [^\n]*\n"), program.err());
  }
}
