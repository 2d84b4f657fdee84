package dev.tributary.attribution.dataset.spark;

import dev.tributary.attribution.dataset.spark.Outcome.FailedTask;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.apache.spark.SparkContext;
import org.apache.spark.TaskFailedReason;
import org.apache.spark.TaskKilled;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerJobEnd;
import org.apache.spark.scheduler.SparkListenerJobStart;
import org.apache.spark.scheduler.SparkListenerTaskEnd;
import org.jspecify.annotations.Nullable;

/** Hears of the tries of tasks of one job that came to nothing. */
final class FailedTasks extends SparkListener {
  private static final String PROPERTY = "dev.tributary.job";

  /** Spark tells of events a little later; if it never does, some are not heard of. */
  private static final long SECONDS = 10;

  private final String id = UUID.randomUUID().toString();
  private final CountDownLatch end = new CountDownLatch(1);
  private final List<FailedTask> heard = new ArrayList<>();
  private final Set<Integer> stages = new HashSet<>();
  private int job = -1;

  /**
   * Does what starts one job on this thread.
   *
   * @throws IllegalStateException if a task failed so often that it was given up
   */
  <T> T during(SparkContext context, Supplier<T> action) {
    String before = context.getLocalProperty(PROPERTY);
    context.addSparkListener(this);
    context.setLocalProperty(PROPERTY, id);
    try {
      T result = action.get();
      await();
      return result;
    } catch (Exception e) { // Spark's own is checked, and not declared
      if (e instanceof RuntimeException other) {
        throw other;
      }
      await();
      throw new IllegalStateException(
          "tries of tasks failed %d times, and no more are made; %s"
              .formatted(heard.size(), heard.isEmpty() ? e : heard.get(heard.size() - 1)),
          e);
    } finally {
      context.setLocalProperty(PROPERTY, before);
      context.removeSparkListener(this);
    }
  }

  private void await() {
    try {
      if (!end.await(SECONDS, TimeUnit.SECONDS)) {
        return;
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** {@return those heard of} */
  synchronized List<FailedTask> heard() {
    return List.copyOf(heard);
  }

  @Override
  public synchronized void onJobStart(SparkListenerJobStart start) {
    @Nullable Properties properties = start.properties();
    if (properties != null && id.equals(properties.getProperty(PROPERTY))) {
      job = start.jobId();
      scala.jdk.javaapi.CollectionConverters.asJava(start.stageInfos())
          .forEach(stage -> stages.add(stage.stageId()));
    }
  }

  @Override
  public synchronized void onTaskEnd(SparkListenerTaskEnd task) {
    if (stages.contains(task.stageId())
        && task.reason() instanceof TaskFailedReason failure
        && !(failure instanceof TaskKilled)) {
      heard.add(
          new FailedTask(
              task.stageId(),
              task.taskInfo().partitionId(),
              task.taskInfo().attemptNumber(),
              failure.toErrorString()));
    }
  }

  @Override
  public synchronized void onJobEnd(SparkListenerJobEnd ended) {
    if (ended.jobId() == job) {
      end.countDown();
    }
  }
}
