package dev.tributary.attribution.dataset.spark;

import static dev.tributary.core.Checks.requireArgument;
import static org.apache.spark.sql.types.DataTypes.DoubleType;
import static org.apache.spark.sql.types.DataTypes.IntegerType;
import static org.apache.spark.sql.types.DataTypes.LongType;
import static org.apache.spark.sql.types.DataTypes.StringType;
import static org.apache.spark.sql.types.DataTypes.createArrayType;

import dev.tributary.attribution.Metric;
import dev.tributary.attribution.dataset.Pair;
import dev.tributary.attribution.dataset.PairFiles;
import dev.tributary.attribution.dataset.PairMetric;
import dev.tributary.attribution.dataset.PairMetric.Linear;
import dev.tributary.attribution.dataset.PairReader;
import dev.tributary.attribution.dataset.PairReader.BadRow;
import dev.tributary.transformer.Transformer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoder;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;

/**
 * Pairs of prompts as rows: token ids in {@code clean} and {@code corrupted}, and a {@code metric},
 * of whose fields one is not null. A row that is no pair has a {@code reason}. Where a row comes
 * from stands in {@code file} and {@code line}, which may be null.
 */
public final class PairRows {
  private static final DataType IDS = createArrayType(IntegerType);

  private static final StructType DIFFERENCE =
      new StructType().add("position", IntegerType).add("targets", IDS).add("distractors", IDS);

  private static final StructType PROBABILITY =
      new StructType().add("position", IntegerType).add("targets", IDS);

  private static final StructType TERM =
      new StructType()
          .add("position", IntegerType)
          .add("word", IntegerType)
          .add("weight", DoubleType);

  private static final StructType METRIC =
      new StructType()
          .add("logit_difference", DIFFERENCE)
          .add("log_probability", PROBABILITY)
          .add("divergence", new StructType().add("position", IntegerType))
          .add("linear", createArrayType(TERM));

  /** The columns, by which Spark's own readers read rows that were written. */
  public static final StructType SCHEMA =
      new StructType()
          .add("file", StringType)
          .add("line", LongType)
          .add("clean", IDS)
          .add("corrupted", IDS)
          .add("metric", METRIC)
          .add("reason", StringType);

  private PairRows() {}

  /** {@return how Spark holds the rows} */
  public static Encoder<Row> encoder() {
    return Encoders.row(SCHEMA);
  }

  /**
   * Reads files on the driver, in order; what is no pair is a row with its reason.
   *
   * @param spark whose data set it is
   * @param files with the pairs
   * @param partitions of the data set, each of so many rows as the next or one more or less
   * @return a row for each of the files'
   * @throws IOException as {@link PairReader#read}
   */
  public static Dataset<Row> read(SparkSession spark, PairFiles files, int partitions)
      throws IOException {
    List<Row> rows = new ArrayList<>();
    for (Path file : files.files()) {
      files
          .reader()
          .read(file, row -> rows.add(of(file, row.line(), row.pair())), row -> rows.add(of(row)));
    }
    return of(spark, rows, partitions);
  }

  private static Dataset<Row> of(SparkSession spark, List<Row> rows, int partitions) {
    JavaSparkContext context = JavaSparkContext.fromSparkContext(spark.sparkContext());
    return spark.createDataFrame(context.parallelize(rows, partitions), SCHEMA);
  }

  /** The first pairs in the order of partitions, one in each partition. */
  static Dataset<Row> first(Dataset<Row> rows, int count) {
    List<Row> first = rows.filter(rows.col("reason").isNull()).takeAsList(count);
    return of(rows.sparkSession(), first, Math.max(1, first.size()));
  }

  /** How many tokens the first pair has; none if there is no pair. */
  static int tokens(Dataset<Row> rows) {
    return first(rows, 1).collectAsList().stream().mapToInt(row -> pair(row).length()).sum();
  }

  /**
   * {@return a pair as a row}
   *
   * @param file that it comes from
   * @param line at which it begins there
   * @param pair of prompts
   */
  public static Row of(Path file, long line, Pair pair) {
    return RowFactory.create(
        file.toString(),
        line,
        pair.clean().toArray(),
        pair.corrupted().toArray(),
        metric(pair.metric()),
        null);
  }

  private static Row of(BadRow bad) {
    return RowFactory.create(bad.file().toString(), bad.line(), null, null, null, bad.reason());
  }

  private static Row metric(PairMetric metric) {
    if (metric instanceof PairMetric.Divergence divergence) {
      return RowFactory.create(null, null, RowFactory.create(divergence.position()), null);
    }
    if (metric instanceof Linear linear) {
      Object terms =
          linear.terms().stream()
              .map(term -> RowFactory.create(term.position(), term.word(), term.weight()))
              .toArray();
      return RowFactory.create(null, null, null, terms);
    }
    Metric.OfLogits ofLogits = ((PairMetric.OfLogits) metric).metric();
    if (ofLogits instanceof Metric.LogProbability probability) {
      Row row = RowFactory.create(probability.position(), probability.targets().toArray());
      return RowFactory.create(null, row, null, null);
    }
    Metric.LogitDifference difference = (Metric.LogitDifference) ofLogits;
    Row row =
        RowFactory.create(
            difference.position(),
            difference.targets().toArray(),
            difference.distractors().toArray());
    return RowFactory.create(row, null, null, null);
  }

  /** Rows with these columns in this order. */
  static Dataset<Row> ordered(Dataset<Row> rows) {
    try {
      return rows.to(SCHEMA);
    } catch (Exception e) { // Spark's own are checked, and not declared
      throw new IllegalArgumentException(
          "columns %s, expected %s".formatted(rows.schema().simpleString(), SCHEMA.simpleString()),
          e);
    }
  }

  // ---- rows that are read ------------------------------------------------------------------

  /** Where a row comes from, and why it is none that can be counted. */
  static BadRow bad(Row row, String reason) {
    return new BadRow(Path.of(file(row)), line(row), reason);
  }

  /** By which a row is told from others, however they are split into partitions. */
  static long number(Row row) {
    return ((long) file(row).hashCode() << Integer.SIZE) + line(row);
  }

  private static String file(Row row) {
    String file = row.<@Nullable String>getAs("file");
    return file == null ? "" : file;
  }

  private static long line(Row row) {
    Long line = row.<@Nullable Long>getAs("line");
    return line == null ? 0 : line;
  }

  /** The pair that a row is. */
  static Pair pair(Row row) {
    String reason = row.<@Nullable String>getAs("reason");
    requireArgument(reason == null, "%s", reason);
    Row metric = struct(row, "metric").orElseThrow(() -> lacking("metric"));
    return new Pair(ids(row, "clean"), ids(row, "corrupted"), pairMetric(metric));
  }

  /** Refuses a pair that a model cannot run, whatever memory there is. */
  static void requireRunnable(Pair pair, Transformer model) {
    requireArgument(
        pair.length() <= model.config().context(),
        "a prompt of %d tokens, and the model reads %d",
        pair.length(),
        model.config().context());
    pair.clean().forEach(model::requireToken);
    pair.corrupted().forEach(model::requireToken);
    if (pair.metric() instanceof PairMetric.OfLogits ofLogits) {
      requirePosition(ofLogits.metric().position(), pair);
      ofLogits.metric().words().forEach(model::requireToken);
    } else if (pair.metric() instanceof PairMetric.Divergence divergence) {
      requirePosition(divergence.position(), pair);
    } else if (pair.metric() instanceof Linear linear) {
      for (Linear.Term term : linear.terms()) {
        requirePosition(term.position(), pair);
        model.requireToken(term.word());
      }
    }
  }

  private static void requirePosition(int position, Pair pair) {
    requireArgument(
        position >= 0 && position < pair.length(),
        "position %d of a prompt of %d tokens, counted from 0",
        position,
        pair.length());
  }

  private static PairMetric pairMetric(Row metric) {
    List<PairMetric> said = new ArrayList<>();
    struct(metric, "logit_difference")
        .ifPresent(
            row ->
                said.add(
                    new PairMetric.OfLogits(
                        new Metric.LogitDifference(
                            position(row), ids(row, "targets"), ids(row, "distractors")))));
    struct(metric, "log_probability")
        .ifPresent(
            row ->
                said.add(
                    new PairMetric.OfLogits(
                        new Metric.LogProbability(position(row), ids(row, "targets")))));
    struct(metric, "divergence")
        .ifPresent(row -> said.add(new PairMetric.Divergence(position(row))));
    int linear = metric.fieldIndex("linear");
    if (!metric.isNullAt(linear)) {
      said.add(new Linear(metric.<Row>getList(linear).stream().map(PairRows::term).toList()));
    }
    requireArgument(said.size() == 1, "%d metrics, expected one", said.size());
    return said.get(0);
  }

  private static Linear.Term term(@Nullable Row term) {
    if (term == null) {
      throw lacking("term");
    }
    return new Linear.Term(
        position(term), term.getInt(field(term, "word")), term.getDouble(field(term, "weight")));
  }

  private static int position(Row row) {
    return row.getInt(field(row, "position"));
  }

  private static Optional<Row> struct(Row row, String name) {
    int field = row.fieldIndex(name);
    return row.isNullAt(field) ? Optional.empty() : Optional.of(row.getStruct(field));
  }

  private static List<Integer> ids(Row row, String name) {
    int field = field(row, name);
    List<@Nullable Integer> ids = row.getList(field);
    for (Integer id : ids) {
      requireArgument(id != null, "%s has a null", name);
    }
    return row.getList(field);
  }

  /** The number of a column in which there is something. */
  private static int field(Row row, String name) {
    int field = row.fieldIndex(name);
    if (row.isNullAt(field)) {
      throw lacking(name);
    }
    return field;
  }

  private static IllegalArgumentException lacking(String name) {
    return new IllegalArgumentException("there is no " + name);
  }
}
