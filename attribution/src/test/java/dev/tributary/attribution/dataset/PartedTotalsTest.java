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
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PartedTotalsTest {
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
    scorer = new EdgeScorer(model, graph, AblationValues.PATCHING, EdgeMethod.EAP);
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

  @ParameterizedTest
  @ValueSource(ints = {1, 16, 17, 33, 38})
  void score_endedAnywhere_goesOnToTheSameBits(int rows) throws IOException {
    double[] expected;
    try (PartedTotals whole = PartedTotals.of(scorer, data)) {
      expected = whole.score(row -> {}, Progress.NONE).toArray();
    }
    try (PartedTotals first = PartedTotals.in(parts(), scorer, data)) {
      assertThrows(CancellationException.class, () -> first.score(row -> {}, endingAt(rows)));
    }
    List<BadRow> bad = new ArrayList<>();
    try (PartedTotals second = PartedTotals.in(parts(), scorer, data)) {
      EdgeTotals totals = second.score(bad::add, Progress.NONE);
      assertEquals(PAIRS, totals.count());
      assertArrayEquals(expected, totals.toArray(), 0);
      assertTrue(Files.exists(parts()));
      second.delete();
    }
    assertFalse(Files.exists(parts()));
    assertEquals(1, bad.size());
    assertEquals(6, bad.get(0).line());
  }

  /**
   * Finished parts are taken and not computed again: one that was forged is found in the totals.
   */
  @Test
  void score_finishedParts_areNotScoredAgain() throws IOException {
    try (PartedTotals first = PartedTotals.in(parts(), scorer, data)) {
      first.score(row -> {}, Progress.NONE);
    }
    int edges = scorer.graph().edges().size();
    try (PartFolder forged = PartFolder.open(parts(), Files.readString(question()))) {
      double[] numbers = new EdgeTotals(edges).toArray();
      numbers[0] = 1000;
      forged.write(1, numbers);
    }
    try (PartedTotals second = PartedTotals.in(parts(), scorer, data)) {
      assertEquals(PAIRS - 16 + 1000, second.score(row -> {}, Progress.NONE).count());
    }
    Files.write(parts().resolve("part-0"), new byte[9]);
    try (PartedTotals third = PartedTotals.in(parts(), scorer, data)) {
      assertThrows(IOException.class, () -> third.score(row -> {}, Progress.NONE));
    }
  }

  private Path question() {
    return parts().resolve("question.txt");
  }

  @Test
  void in_anotherQuestion_isRefused() throws IOException {
    try (PartedTotals first = PartedTotals.in(parts(), scorer, data)) {
      first.score(row -> {}, Progress.NONE);
      assertThrows(
          IllegalArgumentException.class, () -> PartedTotals.in(parts(), scorer, data), "locked");
    }
    for (EdgeMethod method :
        List.of(EdgeMethod.eapIgInputs(2), EdgeMethod.eapIgInputs(3), EdgeMethod.QK_FIX)) {
      EdgeScorer other =
          new EdgeScorer(scorer.model(), scorer.graph(), AblationValues.PATCHING, method);
      assertThrows(IllegalArgumentException.class, () -> PartedTotals.in(parts(), other, data));
    }
    assertFalse(EdgeMethod.eapIgInputs(2).toString().equals(EdgeMethod.eapIgInputs(3).toString()));
    EdgeScorer zero =
        new EdgeScorer(scorer.model(), scorer.graph(), AblationValues.ZERO, EdgeMethod.EAP);
    assertThrows(IllegalArgumentException.class, () -> PartedTotals.in(parts(), zero, data));
    Files.writeString(data.files().get(1), "\n", StandardOpenOption.APPEND);
    assertThrows(IllegalArgumentException.class, () -> PartedTotals.in(parts(), scorer, data));
  }

  @Test
  void of_whatAreNoTotals_isRefused() {
    assertThrows(IllegalArgumentException.class, () -> EdgeTotals.of(new double[4]));
    assertThrows(IllegalArgumentException.class, () -> EdgeTotals.of(new double[2]));
    double[] numbers = {2, 1, 1, 1, 1, 1};
    assertArrayEquals(numbers, EdgeTotals.of(numbers).toArray(), 0);
  }
}
