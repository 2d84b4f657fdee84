package dev.tributary.attribution.dataset.spark;

import dev.tributary.attribution.dataset.PairReader.BadRow;
import java.util.List;

/**
 * What came of a data set.
 *
 * @param totals of all pairs
 * @param badRows those that are no pairs, or none that the model can run, in the order of
 *     partitions; none of them is in the totals
 * @param failedTasks tries that came to nothing, whose work was done again: the totals are as
 *     without them
 * @param <T> type of the totals
 */
public record Outcome<T>(T totals, List<BadRow> badRows, List<FailedTask> failedTasks) {
  /**
   * Keeps copies.
   *
   * @param totals {@link #totals()}
   * @param badRows {@link #badRows()}
   * @param failedTasks {@link #failedTasks()}
   */
  public Outcome {
    badRows = List.copyOf(badRows);
    failedTasks = List.copyOf(failedTasks);
  }

  /**
   * A try of a task that came to nothing.
   *
   * @param stage of Spark
   * @param partition of the stage
   * @param attempt from 0
   * @param reason as Spark says it
   */
  public record FailedTask(int stage, int partition, int attempt, String reason) {
    @Override
    public String toString() {
      return "stage %d, partition %d, try %d: %s"
          .formatted(stage, partition, attempt + 1, reason.lines().findFirst().orElse(""));
    }
  }
}
