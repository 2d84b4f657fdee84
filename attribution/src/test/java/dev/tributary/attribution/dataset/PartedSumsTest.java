package dev.tributary.attribution.dataset;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.dataset.PairReader.BadRow;
import dev.tributary.attribution.dataset.PairReader.Columns;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Tokenizers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PartedSumsTest {
  private static final int PAIRS = 37;

  @TempDir Path folder;
  private Scope scope;
  private EdgeScorer scorer;
  private PairFiles data;

  @BeforeEach
  void open() throws IOException {
    scope = Scope.open();
    Transformer model = Models.textbook(DType.DOUBLE);
    ComponentGraph graph = ComponentGraph.of(model, new StreamWriter.Input(Site.TOKEN_EMBEDDING));
    scorer = new EdgeScorer(graph, AblationValues.PATCHING, EdgeMethod.EAP);
    List<String> rows = new ArrayList<>();
    PromptTemplate.AGREEMENT.draw(PAIRS, 3).forEach(example -> rows.add(example.json()));
    rows.add(5, "{}");
    PairReader reader = PairReader.of(Columns.standard(), Tokenizers.textbook(), model.config());
    data =
        new PairFiles(
            List.of(
                Files.write(folder.resolve("a.jsonl"), rows.subList(0, 11)),
                Files.write(folder.resolve("b.jsonl"), rows.subList(11, rows.size()))),
            reader);
  }

  @AfterEach
  void close() {
    scope.close();
  }

  private Path parts() {
    return folder.resolve("parts");
  }

  /** Ends as a process might, when so many rows have been read. */
  private static Progress endingAt(int rows) {
    return (done, total) -> {
      assertEquals(PAIRS + 1, total);
      if (done == rows) {
        throw new CancellationException();
      }
    };
  }

  private PartedSums kept() throws IOException {
    return PartedSums.in(parts(), data, List.of("edges"));
  }

  private double[] over(PartedSums sums, List<BadRow> bad, Progress progress) throws IOException {
    return sums.over("scores", () -> PairSums.edges(scorer), bad::add, progress);
  }

  private double[] over(PartedSums sums) throws IOException {
    return over(sums, new ArrayList<>(), Progress.NONE);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 16, 17, 33, 38})
  void over_endedAnywhere_goesOnToTheSameBits(int rows) throws IOException {
    double[] expected;
    try (PartedSums whole = PartedSums.of(data)) {
      expected = over(whole);
    }
    try (PartedSums first = kept()) {
      assertThrows(
          CancellationException.class, () -> over(first, new ArrayList<>(), endingAt(rows)));
    }
    List<BadRow> bad = new ArrayList<>();
    try (PartedSums second = kept()) {
      double[] sums = over(second, bad, Progress.NONE);
      assertEquals(PAIRS, EdgeTotals.of(sums).count());
      assertArrayEquals(expected, sums, 0);
      assertTrue(Files.exists(parts()));
      second.delete();
    }
    assertFalse(Files.exists(parts()));
    assertEquals(1, bad.size());
    assertEquals(6, bad.get(0).line());
  }

  /** Finished parts are taken and not counted again: sums that were forged are found again. */
  @Test
  void over_finishedParts_areNotCountedAgain() throws IOException {
    int numbers;
    try (PartedSums first = kept()) {
      numbers = over(first).length;
    }
    try (PartFolder forged = PartFolder.open(parts(), Files.readString(question()))) {
      double[] sums = new double[1 + numbers];
      sums[0] = 16;
      sums[1] = 1000;
      forged.write("scores", sums);
    }
    try (PartedSums second = kept()) {
      assertEquals(PAIRS - 16 + 1000, EdgeTotals.of(over(second)).count());
      assertEquals(3, second.overFirst(3, "few", this::counted, Progress.NONE)[0]);
      assertEquals(PAIRS, second.overFirst(99, "many", this::counted, Progress.NONE)[0]);
    }
    Files.write(parts().resolve("scores.sums"), new byte[9]);
    try (PartedSums third = kept()) {
      assertThrows(IOException.class, () -> over(third));
    }
  }

  private PairSums counted() {
    return PairSums.edges(scorer);
  }

  /** What else lies in the folder stays there. */
  @Test
  void delete_otherFiles_stay() throws IOException {
    Path other = Files.createDirectories(parts()).resolve("notes");
    Files.writeString(other, "mine");
    try (PartedSums sums = kept()) {
      over(sums);
      sums.delete();
    }
    try (Stream<Path> left = Files.list(parts())) {
      assertEquals(List.of(other), left.toList());
    }
  }

  /** The bootstrap draws by the number of a pair, whatever part it is in. */
  @Test
  void over_circuits_areTheTotalsOfOneGo() throws IOException {
    CircuitEvaluator evaluator = new CircuitEvaluator(scorer.graph(), AblationValues.PATCHING);
    List<ComponentCircuit> circuits =
        List.of(ComponentCircuit.of(scorer.graph(), List.of(0, 1, 2)));
    List<Pair> pairs = new ArrayList<>();
    data.read(pairs::add, row -> {});
    double[] expected = evaluator.evaluate(pairs, circuits, 5).toArray();
    try (PartedSums sums = PartedSums.of(data)) {
      double[] own =
          sums.over(
              "circuits",
              () -> PairSums.circuits(evaluator, circuits, 5),
              row -> {},
              Progress.NONE);
      assertArrayEquals(expected, own, 1e-9);
    }
  }

  private Path question() {
    return parts().resolve("question.txt");
  }

  @Test
  void in_anotherQuestion_isRefused() throws IOException {
    try (PartedSums first = kept()) {
      over(first);
      assertThrows(IllegalArgumentException.class, this::kept, "locked");
    }
    assertThrows(
        IllegalArgumentException.class, () -> PartedSums.in(parts(), data, List.of("nodes")));
    kept().close();
    Files.writeString(data.files().get(1), "\n", StandardOpenOption.APPEND);
    assertThrows(IllegalArgumentException.class, this::kept);
  }

  @Test
  void of_whatAreNoTotals_isRefused() {
    assertThrows(IllegalArgumentException.class, () -> EdgeTotals.of(new double[4]));
    assertThrows(IllegalArgumentException.class, () -> EdgeTotals.of(new double[2]));
    double[] numbers = {2, 1, 1, 1, 1, 1};
    assertArrayEquals(numbers, EdgeTotals.of(numbers).toArray(), 0);
  }
}
