package dev.tributary.attribution.dataset.spark;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.tributary.attribution.Metric;
import dev.tributary.attribution.dataset.AblationValues;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.EdgeMethod;
import dev.tributary.attribution.dataset.EdgeScorer;
import dev.tributary.attribution.dataset.EdgeTotals;
import dev.tributary.attribution.dataset.Pair;
import dev.tributary.attribution.dataset.PairMetric;
import dev.tributary.attribution.dataset.PromptTemplate;
import dev.tributary.core.Workers;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/** Pairs for the shipped model, and what one machine makes of them. */
final class SparkPairs {
  /** Where the pairs are said to come from. */
  static final Path FILE = Path.of("drawn.jsonl");

  private SparkPairs() {}

  static List<Pair> drawn(int count) {
    Tokenizer words = Tokenizers.textbook();
    return PromptTemplate.INDIRECT_OBJECT.draw(count, 1).stream()
        .map(
            example -> {
              List<Integer> clean = ids(words, example.clean());
              return new Pair(
                  clean,
                  ids(words, example.corrupted()),
                  new PairMetric.OfLogits(
                      new Metric.LogitDifference(
                          clean.size() - 1,
                          List.of(words.token(example.answers().get(0))),
                          List.of(words.token(example.foils().get(0))))));
            })
        .toList();
  }

  private static List<Integer> ids(Tokenizer words, String text) {
    return Arrays.stream(words.encode(text)).boxed().toList();
  }

  static Dataset<Row> rows(SparkSession spark, List<Pair> pairs, int partitions) {
    List<Row> rows =
        IntStream.range(0, pairs.size())
            .mapToObj(i -> PairRows.of(FILE, i + 1, pairs.get(i)))
            .toList();
    JavaSparkContext context = JavaSparkContext.fromSparkContext(spark.sparkContext());
    return spark.createDataFrame(context.parallelize(rows, partitions), PairRows.SCHEMA);
  }

  static EdgeScorer scorer(Transformer model) {
    return new EdgeScorer(graph(model), AblationValues.PATCHING, EdgeMethod.EAP);
  }

  static ComponentGraph graph(Transformer model) {
    return ComponentGraph.of(model, new StreamWriter.Input(Site.TOKEN_EMBEDDING));
  }

  /** The pairs of a partition: as many as of any other or one more or less. */
  static List<Pair> part(List<Pair> pairs, int partitions, int partition) {
    long count = pairs.size();
    return pairs.subList(
        (int) (count * partition / partitions), (int) (count * (partition + 1) / partitions));
  }

  /** Parts one after the other, without Spark. */
  static EdgeTotals onOneMachine(Transformer model, List<Pair> pairs, int partitions) {
    return Workers.alone(
        () -> {
          EdgeScorer scorer = scorer(model);
          EdgeTotals totals = new EdgeTotals(scorer.graph().edges().size());
          for (int i = 0; i < partitions; i++) {
            totals.add(scorer.score(part(pairs, partitions, i)));
          }
          return totals;
        });
  }

  static void assertNear(double[] expected, double[] actual, double tolerance) {
    double largest = Arrays.stream(expected).map(Math::abs).max().orElse(0);
    assertEquals(expected.length, actual.length);
    for (int i = 0; i < expected.length; i++) {
      assertEquals(expected[i], actual[i], tolerance * largest, "number " + i);
    }
  }
}
