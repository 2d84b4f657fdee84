package dev.tributary.attribution.dataset.spark;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.dataset.Pair;
import dev.tributary.attribution.dataset.PairReader.BadRow;
import dev.tributary.attribution.dataset.PairSums;
import dev.tributary.attribution.dataset.spark.SparkTotals.ForModel;
import dev.tributary.core.Workers;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.spark.HashPartitioner;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import scala.Tuple2;

/**
 * Sums over the pairs of a data set. A task sums the pairs of one partition, one after the other.
 * What it makes is cut into pieces, and other tasks add up one piece of all partitions each, in the
 * order of partitions: bit by bit what one machine makes of the same partitions, and nobody has to
 * hold what all partitions made.
 */
final class PartitionSums {
  /** Numbers of a piece, few enough that many tasks share the adding up. */
  private static final int PIECE = 1 << 10;

  /** Tasks that add up, at the most. */
  private static final int ADDING = 256;

  private PartitionSums() {}

  /** The sums over all rows that are pairs; starts one job. */
  static PartialSums of(Dataset<Row> rows, ExecutorModel model, ForModel<PairSums> begin) {
    JavaRDD<Row> pairs = PairRows.ordered(rows).toJavaRDD();
    int partitions = pairs.getNumPartitions();
    requireArgument(partitions > 0, "a data set of no partitions");
    List<PartialSums> pieces =
        pairs
            .mapPartitionsToPair(part -> pieces(sums(part, model, begin)))
            .repartitionAndSortWithinPartitions(new ByPiece(Math.min(partitions, ADDING)))
            .mapPartitionsToPair(PartitionSums::added)
            .collect()
            .stream()
            .sorted(Comparator.comparing(Tuple2::_1))
            .map(piece -> PartialSums.of(piece._2))
            .toList();
    return new PartialSums(
        pieces.stream().flatMapToDouble(piece -> Arrays.stream(piece.numbers())).toArray(),
        pieces.stream().flatMap(piece -> piece.badRows().stream()).toList());
  }

  // ---- on executors ------------------------------------------------------------------------

  private static PartialSums sums(
      Iterator<Row> rows, ExecutorModel model, ForModel<PairSums> begin) {
    Transformer transformer = model.get();
    List<BadRow> bad = new ArrayList<>();
    double[] numbers =
        Workers.alone( // executors have a task for each core
            () -> {
              PairSums sums = begin.of(transformer);
              rows.forEachRemaining(row -> add(row, transformer, sums, bad));
              return sums.toArray();
            });
    return new PartialSums(numbers, bad);
  }

  private static void add(Row row, Transformer model, PairSums sums, List<BadRow> bad) {
    Pair pair;
    try {
      pair = PairRows.pair(row);
      PairRows.requireRunnable(pair, model);
    } catch (IllegalArgumentException e) {
      bad.add(PairRows.bad(row, String.valueOf(e.getMessage())));
      return;
    }
    sums.add(pair, PairRows.number(row));
  }

  /** Pieces of what this task made, the rows that were not counted with the first. */
  private static Iterator<Tuple2<Long, byte[]>> pieces(PartialSums sums) {
    int partition = TaskContext.getPartitionId();
    double[] numbers = sums.numbers();
    List<Tuple2<Long, byte[]>> pieces = new ArrayList<>();
    for (int from = 0; from < numbers.length; from += PIECE) {
      PartialSums piece =
          new PartialSums(
              Arrays.copyOfRange(numbers, from, Math.min(numbers.length, from + PIECE)),
              from == 0 ? sums.badRows() : List.of());
      pieces.add(new Tuple2<>(key(from / PIECE, partition), piece.toBytes()));
    }
    return pieces.iterator();
  }

  /** Adds up what comes in the order of keys. */
  private static Iterator<Tuple2<Integer, byte[]>> added(Iterator<Tuple2<Long, byte[]>> pieces) {
    Map<Integer, PartialSums> sums = new TreeMap<>();
    while (pieces.hasNext()) {
      Tuple2<Long, byte[]> next = pieces.next();
      PartialSums later = PartialSums.of(next._2);
      PartialSums sum = sums.putIfAbsent(piece(next._1), later);
      if (sum != null) {
        sum.add(later);
      }
    }
    return sums.entrySet().stream()
        .map(sum -> new Tuple2<>(sum.getKey(), sum.getValue().toBytes()))
        .iterator();
  }

  /** Sorted by piece, then by partition. */
  private static long key(int piece, int partition) {
    return (long) piece << Integer.SIZE | partition;
  }

  private static int piece(long key) {
    return (int) (key >> Integer.SIZE);
  }

  /** One piece of all partitions comes to one task. */
  private static final class ByPiece extends HashPartitioner {
    private static final long serialVersionUID = 1;

    ByPiece(int tasks) {
      super(tasks);
    }

    @Override
    public int getPartition(Object key) {
      return super.getPartition(piece((Long) key));
    }
  }
}
