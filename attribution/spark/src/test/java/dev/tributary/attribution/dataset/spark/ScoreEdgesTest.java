package dev.tributary.attribution.dataset.spark;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.dataset.AblationValues;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.EdgeMethod;
import dev.tributary.attribution.dataset.EdgeScorer;
import dev.tributary.attribution.dataset.EdgeTotals;
import dev.tributary.attribution.dataset.Pair;
import dev.tributary.attribution.dataset.PairReader;
import dev.tributary.attribution.dataset.PairReader.BadRow;
import dev.tributary.attribution.dataset.PairReader.Columns;
import dev.tributary.attribution.dataset.PairReader.Measure;
import dev.tributary.attribution.dataset.ScoreFile;
import dev.tributary.attribution.dataset.WriteMeans;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Workers;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.MlpShare;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Dictionaries;
import dev.tributary.transformer.file.ElementType;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine.ExitCode;

/** The program, in a session that is set up as spark-submit does it: by properties. */
class ScoreEdgesTest {
  /** Sums in another order: relative to the largest. */
  private static final double ANY_ORDER = 1e-12;

  private static final Transformer MODEL = ExecutorModel.textbook(DType.DOUBLE).get();
  private static final Tokenizer WORDS = Tokenizers.textbook();

  @TempDir private static Path folder;
  private static Map<String, String> properties = Map.of();

  @BeforeAll
  static void setProperties() {
    properties =
        Map.of(
            "spark.master", "local[2]",
            "spark.ui.enabled", "false",
            "spark.driver.host", "127.0.0.1",
            "spark.driver.bindAddress", "127.0.0.1",
            "spark.sql.warehouse.dir", folder.resolve("warehouse").toString());
    properties.forEach(System::setProperty);
  }

  @AfterAll
  static void clearProperties() {
    properties.keySet().forEach(System::clearProperty);
  }

  @Test
  void run_columnsFillerMetricMethodAndMeans_areThoseOfOneMachine() throws Exception {
    Path file = folder.resolve("named.csv");
    Files.writeString(
        file,
        """
        q,w,a
        When Mary and John went to the store,When Mary and Mary went to the store,Mary
        Mary and John,John and,Mary
        Mary,John,no such word
        John and Mary went,John and John went,Mary
        """);
    PairReader reader =
        PairReader.of(new Columns("q", "w", new Measure.LogProbability("a")), WORDS, MODEL.config())
            .filled(WORDS.token("the"));
    List<Pair> pairs = new ArrayList<>();
    List<BadRow> bad = new ArrayList<>();
    reader.read(file, row -> pairs.add(row.pair()), bad::add);
    assertEquals(3, pairs.size());

    Path out = folder.resolve("named.json");
    int code =
        ScoreEdges.run(
            file.toString(),
            "--columns=q,w,a",
            "--metric=log-probability",
            "--fill=the",
            "--method=clean-corrupted",
            "--ablation=mean",
            "--dtype=double",
            "--partitions=2",
            "--sample=3",
            "--out=" + out);
    assertEquals(ExitCode.OK, code);
    ComponentGraph graph = SparkPairs.graph(MODEL);
    WriteMeans means = WriteMeans.overPositions(graph);
    assertScores(out, graph, pairs, means, EdgeMethod.CLEAN_CORRUPTED);
    String json = Files.readString(out);
    assertEquals(1, bad.size());
    for (String said : List.of("\"rows_left_out\" : 1", "\"line\" : 4", "\"exact_sample\" : {")) {
      assertTrue(json.contains(said), said);
    }
  }

  @Test
  void run_meansPerPositionOfSplitMlps_areThoseOfOneMachine() throws Exception {
    Path file = folder.resolve("ids.tsv");
    Files.writeString(
        file,
        """
        clean\tcorrupted\tanswer\tfoil
        [0, 5, 9]\t[0, 6, 9]\t7\t8
        [0, 4, 3]\t[0, 4, 2]\t7\t[8, 1]
        """);
    PairReader reader = PairReader.of(Columns.standard(), WORDS, MODEL.config()).ofIds();
    List<Pair> pairs = new ArrayList<>();
    reader.read(file, row -> pairs.add(row.pair()), row -> {});
    assertEquals(2, pairs.size());

    Path out = folder.resolve("ids.json");
    int code =
        ScoreEdges.run(
            file.toString(),
            "--ids",
            "--ablation=mean-positional",
            "--split=m1.n20,L3.mlp_latent2,m0.n3",
            "--dictionaries=shipped",
            "--dtype=double",
            "--sample=0",
            "--out=" + out);
    assertEquals(ExitCode.OK, code);
    try (Scope scope = Scope.open()) {
      Transformer model = MODEL.with(Dictionaries.textbook(DType.DOUBLE));
      Dictionary.Id mlp = new Dictionary.Id(Dictionary.Kind.MLP, "", 3);
      ComponentGraph graph =
          ComponentGraph.of(
              model,
              SparkPairs.graph(model).input(),
              List.of(MlpShare.neuron(0, 3), MlpShare.neuron(1, 20), MlpShare.latent(mlp, 2)));
      WriteMeans means = WriteMeans.perPosition(graph, 3);
      assertScores(out, graph, pairs, means, EdgeMethod.EAP);
    }
  }

  /** By {@code main} itself, with the files of a model that executors are sent. */
  @Test
  void main_modelThatIsBroadcast_isThatOfOneMachine() throws Exception {
    Path model = folder.resolve("model");
    Models.save(MODEL, model, ElementType.F64);
    Files.writeString(
        model.resolve("tokenizer.json"),
        """
        {"pre_tokenizer": {"type": "WhitespaceSplit"},
         "model": {"type": "WordLevel", "vocab": {"none": 0}, "unk_token": "none"}}
        """);
    Path file = folder.resolve("sent.jsonl");
    Files.writeString(
        file,
        """
        {"clean": [0, 5, 9], "corrupted": [0, 6, 9], "answer": 7, "foil": 8}
        {"clean": [0, 4, 3, 2], "corrupted": [0, 4, 2, 2], "answer": 7, "foil": 9}
        """);
    List<Pair> pairs = new ArrayList<>();
    PairReader.of(Columns.standard(), WORDS, MODEL.config())
        .read(file, row -> pairs.add(row.pair()), row -> {});
    assertEquals(2, pairs.size());
    Path out = folder.resolve("sent.json");
    ScoreEdges.main(
        new String[] {
          file.toString(),
          "--model=" + model,
          "--broadcast",
          "--dtype=double",
          "--sample=0",
          "--ablation=mean",
          "--out=" + out
        });
    ComponentGraph graph = SparkPairs.graph(MODEL);
    assertScores(out, graph, pairs, WriteMeans.overPositions(graph), EdgeMethod.EAP);
  }

  private static void assertScores(
      Path out, ComponentGraph graph, List<Pair> pairs, WriteMeans means, EdgeMethod method)
      throws Exception {
    EdgeTotals expected =
        Workers.alone(
            () -> {
              pairs.forEach(pair -> means.add(pair.clean()));
              return new EdgeScorer(graph, AblationValues.of(means), method).score(pairs);
            });
    SparkPairs.assertNear(expected.means(), ScoreFile.scores(out, graph), ANY_ORDER);
  }

  @Test
  void run_whatIsContradictory_isRefusedBeforeSparkBegins() {
    Path out = folder.resolve("none.json");
    for (List<String> refused :
        List.of(
            List.of("--steps=3"),
            List.of("--metric=logit-difference", "--columns=a,b"),
            List.of("--partitions=0"),
            List.of("--adapter=a"))) {
      List<String> all = new ArrayList<>(List.of("pairs.jsonl", "--out=" + out));
      all.addAll(refused);
      assertEquals(ExitCode.USAGE, ScoreEdges.run(all.toArray(String[]::new)), refused.toString());
    }
    assertFalse(Files.exists(out));
  }
}
