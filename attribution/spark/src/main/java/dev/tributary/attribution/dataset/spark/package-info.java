/**
 * Data sets of pairs on Apache Spark, where one machine is too small.
 *
 * <p>In reading order: {@link dev.tributary.attribution.dataset.spark.PairRows} are pairs as rows
 * of a {@code Dataset}, good ones and bad ones; an {@link
 * dev.tributary.attribution.dataset.spark.ExecutorModel} is a model that every process loads once;
 * {@link dev.tributary.attribution.dataset.spark.SparkTotals} are the totals of all rows, an {@link
 * dev.tributary.attribution.dataset.spark.Outcome} what else there is to say. {@link
 * dev.tributary.attribution.dataset.spark.ScoreEdges} is a program for {@code spark-submit}.
 *
 * <p>How: {@code PartitionSums} sum each partition in one task and add the sums up in the order of
 * partitions, {@code FailedTasks} listens to what Spark says of tasks.
 */
@NullMarked
package dev.tributary.attribution.dataset.spark;

import org.jspecify.annotations.NullMarked;
