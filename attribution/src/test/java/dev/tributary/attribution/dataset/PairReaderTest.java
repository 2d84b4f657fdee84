package dev.tributary.attribution.dataset;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.Metric;
import dev.tributary.attribution.dataset.PairReader.BadRow;
import dev.tributary.attribution.dataset.PairReader.Columns;
import dev.tributary.attribution.dataset.PairReader.Measure;
import dev.tributary.attribution.dataset.PairReader.Row;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class PairReaderTest {
  private static final String CLEAN = "Mary and John walked";
  private static final String CORRUPTED = "John and Mary walked";

  private static Tokenizer words;
  private static TransformerConfig config;

  @TempDir Path folder;

  @BeforeAll
  static void load() {
    words = Tokenizers.textbook();
    try (Scope scope = Scope.open()) {
      config = Models.textbook(DType.FLOAT).config();
    }
  }

  private static PairReader reader() {
    return PairReader.of(Columns.standard(), words, config);
  }

  private Path file(String name, String content) throws IOException {
    return Files.writeString(folder.resolve(name), content);
  }

  /** All that a reader tells. */
  private record Told(List<Row> rows, List<BadRow> bad) {
    static Told of(PairReader reader, Path file) throws IOException {
      Told told = new Told(new ArrayList<>(), new ArrayList<>());
      reader.read(file, told.rows::add, told.bad::add);
      return told;
    }

    Pair pair(int row) {
      return rows.get(row).pair();
    }

    Metric.LogitDifference difference(int row) {
      PairMetric.OfLogits metric = (PairMetric.OfLogits) pair(row).metric();
      return (Metric.LogitDifference) metric.metric();
    }
  }

  private static List<Integer> ids(String text) {
    return Arrays.stream(words.encode(text)).boxed().toList();
  }

  @Test
  void read_csv_everyWayToWriteACell() throws IOException {
    Path file =
        file(
            "pairs.CSV",
            "\uFEFFnote,answer,clean,foil,corrupted\r\n"
                + "\"a \"\"note\"\", and more\",Mary,"
                + CLEAN
                + ",John,"
                + CORRUPTED
                + "\r\n"
                + "\r\n"
                + "\"two\nlines\",\"[\"\"Mary\"\", \"\"Anna\"\"]\",\""
                + CLEAN
                + "\",[4],"
                + CORRUPTED
                + "\r\n"
                + "x,Tom,"
                + CLEAN
                + ",John,"
                + CORRUPTED);
    Told told = Told.of(reader(), file);
    assertEquals(List.of(), told.bad);
    assertEquals(List.of(2L, 4L, 6L), told.rows.stream().map(Row::line).toList());
    assertEquals(ids(CLEAN), told.pair(0).clean());
    assertEquals(ids(CORRUPTED), told.pair(0).corrupted());
    int last = ids(CLEAN).size() - 1;
    assertEquals(
        new Metric.LogitDifference(
            last, List.of(words.token("Mary")), List.of(words.token("John"))),
        told.difference(0));
    assertEquals(List.of(words.token("Mary"), words.token("Anna")), told.difference(1).targets());
    assertEquals(List.of(4), told.difference(1).distractors());
  }

  @Test
  void read_tabs_jsonLinesAndIds_areTheSamePairs() throws IOException {
    String clean = ids(CLEAN).toString();
    String corrupted = ids(CORRUPTED).toString();
    Path json =
        file(
            "pairs.jsonl",
            """
            {"clean": "%s", "corrupted": "%s", "answer": "Mary", "foil": "John"}

            {"clean": %s, "corrupted": %s, "answer": [2], "foil": 3, "more": {"x": [1]}}
            """
                .formatted(CLEAN, CORRUPTED, clean, corrupted));
    Told expected = Told.of(reader(), json);
    assertEquals(List.of(), expected.bad);
    assertEquals(2, expected.rows.size());
    assertEquals(List.of(1L, 3L), expected.rows.stream().map(Row::line).toList());
    assertEquals(words.token("Mary"), 2);
    assertEquals(expected.pair(0), expected.pair(1));
    Path tabs =
        file(
            "pairs.tsv",
            "clean\tcorrupted\tanswer\tfoil\n%s\t%s\tMary\tJohn\n".formatted(CLEAN, CORRUPTED));
    assertEquals(expected.pair(0), Told.of(reader(), tabs).pair(0));
    Path idCells =
        file(
            "ids.csv",
            "clean,corrupted,answer,foil\n\"%s\",\"%s\",2,[3]\n".formatted(clean, corrupted));
    assertEquals(expected.pair(0), Told.of(reader().ofIds(), idCells).pair(0));
  }

  @Test
  void read_otherColumnsAndMeasures() throws IOException {
    Path file = file("p.csv", "a,b,c\n" + CLEAN + "," + CORRUPTED + ",Mary\n");
    int last = ids(CLEAN).size() - 1;
    Columns divergence = new Columns("a", "b", new Measure.Divergence());
    assertEquals(
        new PairMetric.Divergence(last),
        Told.of(PairReader.of(divergence, words, config), file).pair(0).metric());
    Columns probability = new Columns("a", "b", new Measure.LogProbability("c"));
    assertEquals(
        new PairMetric.OfLogits(new Metric.LogProbability(last, List.of(words.token("Mary")))),
        Told.of(PairReader.of(probability, words, config), file).pair(0).metric());
  }

  @Test
  void filled_shorterPrompt_isFilledBehindTheTokenThatBothBeginWith() throws IOException {
    Path file =
        file(
            "p.jsonl",
            """
            {"clean": "old Mary walked", "corrupted": "John walked", "answer": "to", "foil": "at"}
            {"clean": [5], "corrupted": [6, 7, 8], "answer": "to", "foil": "at"}
            """);
    Told refused = Told.of(reader(), file);
    assertEquals(2, refused.bad.size());
    assertTrue(refused.bad.get(0).reason().contains("has 4 tokens and the corrupted one 3"));
    Told told = Told.of(reader().filled(42), file);
    List<Integer> short1 = ids("John walked");
    assertEquals(
        List.of(short1.get(0), 42, short1.get(1), short1.get(2)), told.pair(0).corrupted());
    assertEquals(ids("old Mary walked"), told.pair(0).clean());
    assertEquals(List.of(42, 42, 5), told.pair(1).clean());
    assertEquals(3, told.difference(0).position());
  }

  @Test
  void read_badRows_areToldOfWithTheirLineAndNeverDropped() throws IOException {
    String good = "{\"clean\": \"to\", \"corrupted\": \"at\", \"answer\": \"a\", \"foil\": \"to\"}";
    Path json =
        file(
            "p.jsonl",
            String.join(
                "\n",
                good,
                "{\"clean\": \"to\"",
                "[1]",
                "{\"clean\": \"to\", \"corrupted\": \"at\", \"answer\": \"a\"}",
                "{\"clean\": \"to\", \"corrupted\": null, \"answer\": \"a\", \"foil\": \"to\"}",
                good.replace("\"to\"", "\"unheard\""),
                good.replace("\"a\"", "\"to at\""),
                good.replace("\"a\"", "\"to\""),
                good.replace("\"at\"", "[1, 99999]"),
                good.replace("\"at\"", "[1, 2.5]"),
                good.replace("\"at\"", "[]"),
                good.replace("\"at\"", "{}"),
                good.replace("\"a\"", "[\"a\", \"a\"]"),
                good.replace("\"to\"", "\"" + "to ".repeat(60) + "\""),
                good + good,
                good));
    Told told = Told.of(reader(), json);
    assertEquals(List.of(1L, 16L), told.rows.stream().map(Row::line).toList());
    assertEquals(14, told.bad.size(), () -> told.bad.toString());
    for (int i = 0; i < 14; i++) {
      assertEquals(i + 2, told.bad.get(i).line());
      assertTrue(told.bad.get(i).toString().startsWith(json + ", line " + (i + 2) + ": "));
    }
    Path csv =
        file(
            "p.csv",
            "clean,corrupted,answer,foil\nto,at,a\nto,at,a,to,at\nto,at,a,to\nto,at,\"[a\",to\n,,,\n");
    Told cells = Told.of(reader(), csv);
    assertEquals(List.of(4L), cells.rows.stream().map(Row::line).toList());
    assertEquals(List.of(2L, 3L, 5L, 6L), cells.bad.stream().map(BadRow::line).toList());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "p.txt|x",
        "p.csv|",
        "p.csv|clean,corrupted,answer\n",
        "p.csv|clean,corrupted,answer,foil,foil\n",
        "p.csv|clean,corrupted,answer,foil\nto,\"at,a,to\n",
      })
  void read_whatIsNoFileOfPairs_isRefused(String nameAndContent) throws IOException {
    int bar = nameAndContent.indexOf('|');
    Path file = file(nameAndContent.substring(0, bar), nameAndContent.substring(bar + 1));
    IOException e = assertThrows(IOException.class, () -> Told.of(reader(), file));
    assertTrue(String.valueOf(e.getMessage()).startsWith(file.toString()), e::toString);
  }

  @Test
  void read_noTextOrNoFile_isRefused() throws IOException {
    for (String name : List.of("p.csv", "p.jsonl")) {
      Path file = folder.resolve(name);
      Files.write(file, new byte[] {'{', (byte) 0xC3, '(', '\n'});
      assertThrows(IOException.class, () -> Told.of(reader(), file));
    }
    assertThrows(IOException.class, () -> Told.of(reader(), folder.resolve("none.csv")));
    Path directory = Files.createDirectory(folder.resolve("d.csv"));
    assertThrows(IOException.class, () -> Told.of(reader(), directory));
  }

  @Test
  void of_twoColumnsOfOneName_isRefused() {
    Columns columns = new Columns("a", "a", new Measure.Divergence());
    assertThrows(IllegalArgumentException.class, () -> PairReader.of(columns, words, config));
    assertThrows(IllegalArgumentException.class, () -> reader().filled(config.vocabulary()));
  }

  /** Bytes changed at random give pairs, bad rows or a sentence about the file. */
  @Test
  void read_changedFiles_neverFailOtherwise() throws IOException {
    String json =
        PromptTemplate.INDIRECT_OBJECT.draw(5, 1).stream()
            .map(example -> example.json() + "\n")
            .collect(Collectors.joining());
    String csv = "clean,corrupted,answer,foil\n\"Mary and\",John and,[2],\"[\"\"John\"\"]\"\n";
    Random random = new Random(1);
    for (int i = 0; i < 4000; i++) {
      boolean lines = random.nextBoolean();
      byte[] bytes = (lines ? json : csv).getBytes(StandardCharsets.UTF_8);
      for (int change = random.nextInt(4); change >= 0; change--) {
        bytes[random.nextInt(bytes.length)] =
            random.nextBoolean()
                ? (byte) random.nextInt(256)
                : (byte) "\"[]{},:\n\r0\\".charAt(random.nextInt(11));
      }
      Path file = folder.resolve(lines ? "p.jsonl" : "p.csv");
      Files.write(file, bytes);
      try {
        Told.of(reader(), file);
      } catch (IOException e) {
        assertTrue(String.valueOf(e.getMessage()).startsWith(file.toString()), e::toString);
      }
    }
  }

  /** The shipped model answers rightly, and less so when the prompt is the corrupted one. */
  @ParameterizedTest
  @EnumSource
  void templates_shippedModel_knowsTheAnswers(PromptTemplate template) throws IOException {
    Path file =
        Files.write(
            folder.resolve("p.jsonl"),
            template.draw(40, 7).stream().map(PromptTemplate.Example::json).toList());
    Told told = Told.of(reader(), file);
    assertEquals(List.of(), told.bad);
    assertEquals(40, told.rows.size());
    try (Scope scope = Scope.open()) {
      Transformer model = Models.textbook(DType.FLOAT);
      double clean = 0;
      double corrupted = 0;
      for (int i = 0; i < told.rows.size(); i++) {
        try (Scope own = Scope.open()) {
          Metric.LogitDifference metric = told.difference(i);
          clean += probability(model, told.pair(i).clean(), metric) / told.rows.size();
          corrupted += probability(model, told.pair(i).corrupted(), metric) / told.rows.size();
        }
      }
      assertTrue(clean > 0.8, template + ": " + clean);
      assertTrue(corrupted < 0.5, template + ": " + corrupted);
    }
    assertEquals(template.draw(40, 7), template.draw(40, 7));
  }

  /** Of the answers, less that of the foils. */
  private static double probability(
      Transformer model, List<Integer> tokens, Metric.LogitDifference metric) {
    Run run = model.run(Pair.ids(tokens));
    double[] words = run.logits(metric.position()).softmax().toDoubles();
    return metric.targets().stream().mapToDouble(id -> words[id]).sum()
        - metric.distractors().stream().mapToDouble(id -> words[id]).sum();
  }
}
