package dev.tributary.attribution.dataset.spark;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.Metric;
import dev.tributary.attribution.dataset.AblationValues;
import dev.tributary.attribution.dataset.CircuitEvaluator;
import dev.tributary.attribution.dataset.CircuitTotals;
import dev.tributary.attribution.dataset.ComponentCircuit;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.EdgeScorer;
import dev.tributary.attribution.dataset.EdgeTotals;
import dev.tributary.attribution.dataset.ExactSample;
import dev.tributary.attribution.dataset.Pair;
import dev.tributary.attribution.dataset.PairFiles;
import dev.tributary.attribution.dataset.PairMetric;
import dev.tributary.attribution.dataset.PairReader;
import dev.tributary.attribution.dataset.PairReader.BadRow;
import dev.tributary.attribution.dataset.WriteMeans;
import dev.tributary.core.DType;
import dev.tributary.core.Workers;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.ElementType;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Tokenizers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.api.java.function.MapFunction;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Totals on Spark within this process are those of one machine, whatever happens to tasks. */
class SparkTotalsTest {
  /** Sums in another order: relative to the largest. */
  private static final double ANY_ORDER = 1e-12;

  private static final ExecutorModel MODEL = ExecutorModel.textbook(DType.DOUBLE);

  @TempDir private static Path folder;
  private static SparkSession spark;
  private static List<Pair> pairs;

  @BeforeAll
  static void start() throws Exception {
    spark =
        SparkSession.builder()
            .master("local[2,3]") // a task may fail twice
            .config("spark.ui.enabled", false)
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.sql.warehouse.dir", folder.resolve("warehouse").toString())
            .getOrCreate();
    pairs = SparkPairs.drawn(10);
  }

  @AfterAll
  static void stop() {
    spark.stop();
  }

  private static Dataset<Row> rows(int partitions) {
    return SparkPairs.rows(spark, pairs, partitions);
  }

  @Test
  void edges_anyPartitions_areThoseOfOneMachine() {
    double[] whole = SparkPairs.onOneMachine(MODEL.get(), pairs, 1).toArray();
    for (int partitions : new int[] {3, 13}) {
      Outcome<EdgeTotals> outcome = SparkTotals.edges(rows(partitions), MODEL, SparkPairs::scorer);
      EdgeTotals expected = SparkPairs.onOneMachine(MODEL.get(), pairs, partitions);
      assertArrayEquals(expected.toArray(), outcome.totals().toArray(), 0);
      SparkPairs.assertNear(whole, outcome.totals().toArray(), ANY_ORDER);
      assertEquals(List.of(), outcome.badRows());
      assertEquals(List.of(), outcome.failedTasks());
    }
  }

  @Test
  void edges_aTaskFailsAndIsRetried_areTheSame() {
    Dataset<Row> failing =
        rows(4)
            .map(
                (MapFunction<Row, Row>)
                    row -> {
                      TaskContext task = TaskContext.get();
                      boolean second = row.<Long>getAs("line") % 2 == 0;
                      if (task.partitionId() == 2 && task.attemptNumber() == 0 && second) {
                        throw new IllegalStateException("this try fails within the partition");
                      }
                      return row;
                    },
                PairRows.encoder());
    Outcome<EdgeTotals> outcome = SparkTotals.edges(failing, MODEL, SparkPairs::scorer);
    assertArrayEquals(
        SparkPairs.onOneMachine(MODEL.get(), pairs, 4).toArray(), outcome.totals().toArray(), 0);
    assertEquals(1, outcome.failedTasks().size());
    Outcome.FailedTask failed = outcome.failedTasks().get(0);
    assertEquals(2, failed.partition());
    assertEquals(0, failed.attempt());
    assertTrue(failed.reason().contains("this try fails"), failed.reason());
  }

  @Test
  void edges_aTaskFailsEveryTime_saysSo() {
    Dataset<Row> failing =
        rows(2)
            .map(
                (MapFunction<Row, Row>)
                    row -> {
                      throw new IllegalStateException("this fails always");
                    },
                PairRows.encoder());
    String message =
        String.valueOf(
            assertThrows(
                    IllegalStateException.class,
                    () -> SparkTotals.edges(failing, MODEL, SparkPairs::scorer))
                .getMessage());
    assertTrue(message.contains("try 3") && message.contains("this fails always"), message);
  }

  @Test
  void sample_isThatOfOneMachine() {
    List<Integer> edges = ExactSample.draw(SparkPairs.graph(MODEL.get()).edges().size(), 5, 1);
    Outcome<ExactSample> outcome =
        SparkTotals.sample(PairRows.first(rows(3), 4), MODEL, SparkPairs::scorer, edges);
    ExactSample expected = new ExactSample(edges);
    Workers.alone(
        () -> {
          EdgeScorer scorer = SparkPairs.scorer(MODEL.get());
          pairs.subList(0, 4).forEach(pair -> expected.add(scorer, pair));
          return expected;
        });
    assertArrayEquals(expected.toArray(), outcome.totals().toArray(), 0);
    assertEquals(4, outcome.totals().count());
    assertEquals(expected.worstFirst(), outcome.totals().worstFirst());
  }

  @Test
  void edges_badRows_comeBackWithFileAndLine() throws Exception {
    Path file = folder.resolve("pairs.jsonl");
    List<String> lines =
        List.of(
            "{\"clean\": \"Mary\", \"corrupted\": \"John\", \"answer\": \"Bob\", \"foil\": \"Tom\"}",
            "this is no JSON",
            "{\"clean\": \"Mary\", \"corrupted\": \"Mary Smith\", \"answer\": \"Bob\", \"foil\": \"Tom\"}",
            "{\"clean\": \"John\", \"corrupted\": \"Mary\", \"answer\": \"Bob\", \"foil\": \"Tom\"}");
    Files.write(file, lines);
    PairReader reader =
        PairReader.of(PairReader.Columns.standard(), Tokenizers.textbook(), MODEL.get().config());
    List<Pair> good = new ArrayList<>();
    List<BadRow> bad = new ArrayList<>();
    reader.read(file, row -> good.add(row.pair()), bad::add);
    Outcome<EdgeTotals> outcome =
        SparkTotals.edges(
            PairRows.read(spark, new PairFiles(List.of(file), reader), 3),
            MODEL,
            SparkPairs::scorer);
    assertEquals(2, bad.size());
    assertEquals(bad, outcome.badRows());
    assertEquals(2, outcome.totals().count());
    SparkPairs.assertNear(
        SparkPairs.onOneMachine(MODEL.get(), good, 1).toArray(),
        outcome.totals().toArray(),
        ANY_ORDER);
  }

  @Test
  void edges_pairsThatTheModelCannotRun_areBadRows() {
    Pair good = pairs.get(0);
    int words = MODEL.get().config().vocabulary();
    List<Pair> all =
        List.of(
            good,
            new Pair(List.of(words), List.of(1), new PairMetric.Divergence(0)),
            new Pair(List.of(1), List.of(2), new PairMetric.Divergence(1)),
            new Pair(
                List.of(1),
                List.of(2),
                new PairMetric.OfLogits(new Metric.LogProbability(0, List.of(words)))),
            new Pair(
                List.of(1),
                List.of(2),
                new PairMetric.Linear(List.of(new PairMetric.Linear.Term(0, -1, 1)))));
    Outcome<EdgeTotals> outcome =
        SparkTotals.edges(SparkPairs.rows(spark, all, 2), MODEL, SparkPairs::scorer);
    assertEquals(1, outcome.totals().count());
    assertEquals(List.of(2L, 3L, 4L, 5L), outcome.badRows().stream().map(BadRow::line).toList());
    assertTrue(outcome.badRows().get(1).reason().contains("position 1"));
  }

  @Test
  void pair_everyMetricThroughJsonOfSpark_isTheSame() {
    List<Integer> ids = List.of(5, 6, 7);
    List<Pair> all =
        Stream.of(
                new PairMetric.OfLogits(new Metric.LogitDifference(2, List.of(1, 2), List.of(3))),
                new PairMetric.OfLogits(new Metric.LogProbability(1, List.of(4, 5))),
                new PairMetric.Divergence(2),
                new PairMetric.Linear(
                    List.of(
                        new PairMetric.Linear.Term(0, 9, 0.1),
                        new PairMetric.Linear.Term(2, 8, -2.5))))
            .map(metric -> new Pair(ids, List.of(7, 6, 5), metric))
            .toList();
    String file = folder.resolve("rows").toString();
    SparkPairs.rows(spark, all, 1).write().json(file);
    List<Pair> read =
        PairRows.ordered(spark.read().schema(PairRows.SCHEMA).json(file)).collectAsList().stream()
            .map(PairRows::pair)
            .toList();
    assertEquals(all, read);
  }

  @Test
  void edges_otherColumns_areRefused() {
    Dataset<Row> others = rows(1).withColumn("clean", org.apache.spark.sql.functions.lit("Mary"));
    String message =
        String.valueOf(
            assertThrows(
                    IllegalArgumentException.class,
                    () -> SparkTotals.edges(others, MODEL, SparkPairs::scorer))
                .getMessage());
    assertTrue(message.contains("clean:string") && message.contains("clean:array<int>"), message);
  }

  @Test
  void circuitsAndMeans_areThoseOfOneMachine() {
    Transformer model = MODEL.get();
    ComponentGraph graph = SparkPairs.graph(model);
    List<ComponentCircuit> circuits =
        List.of(
            ComponentCircuit.of(graph, IntStream.range(0, 300).boxed().toList()),
            ComponentCircuit.empty(graph).complement());
    Outcome<WriteMeans> means =
        SparkTotals.means(rows(3), MODEL, own -> WriteMeans.overPositions(SparkPairs.graph(own)));
    double[] numbers = means.totals().toArray();
    Outcome<CircuitTotals> outcome =
        SparkTotals.circuits(
            rows(3),
            MODEL,
            own -> {
              WriteMeans sent = WriteMeans.overPositions(SparkPairs.graph(own));
              sent.add(numbers);
              return new CircuitEvaluator(SparkPairs.graph(own), AblationValues.of(sent));
            },
            circuits,
            20);
    Workers.alone(
        () -> {
          WriteMeans expected = WriteMeans.overPositions(graph);
          for (int i = 0; i < 3; i++) {
            WriteMeans part = WriteMeans.overPositions(graph);
            SparkPairs.part(pairs, 3, i).forEach(pair -> part.add(pair.clean()));
            expected.add(part);
          }
          assertArrayEquals(expected.toArray(), numbers, 0);
          CircuitEvaluator evaluator = new CircuitEvaluator(graph, AblationValues.of(expected));
          CircuitTotals totals = new CircuitTotals(circuits.size(), 20);
          int line = 0;
          for (int i = 0; i < 3; i++) {
            CircuitTotals part = new CircuitTotals(circuits.size(), 20);
            for (Pair pair : SparkPairs.part(pairs, 3, i)) {
              long number = ((long) SparkPairs.FILE.toString().hashCode() << 32) + ++line;
              part.add(number, evaluator.evaluate(pair, circuits));
            }
            totals.add(part);
          }
          assertArrayEquals(totals.toArray(), outcome.totals().toArray(), 0);
          return totals;
        });
    assertEquals(pairs.size(), means.totals().count());
  }

  @Test
  void model_sentToAll_isThatOfTheFolder() throws Exception {
    Path files = folder.resolve("model");
    Models.save(MODEL.get(), files, ElementType.F64);
    ExecutorModel sent =
        ExecutorModel.broadcast(
            JavaSparkContext.fromSparkContext(spark.sparkContext()), files, DType.DOUBLE);
    Outcome<EdgeTotals> there = SparkTotals.edges(rows(2), sent, SparkPairs::scorer);
    Outcome<EdgeTotals> here =
        SparkTotals.edges(rows(2), ExecutorModel.at(files, DType.DOUBLE), SparkPairs::scorer);
    assertArrayEquals(here.totals().toArray(), there.totals().toArray(), 0);
    assertSame(sent.get(), sent.get());
  }
}
