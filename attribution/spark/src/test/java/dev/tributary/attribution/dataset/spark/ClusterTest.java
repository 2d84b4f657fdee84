package dev.tributary.attribution.dataset.spark;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.dataset.EdgeTotals;
import dev.tributary.attribution.dataset.Pair;
import dev.tributary.core.DType;
import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.BooleanSupplier;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkStageInfo;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.api.java.JavaSparkStatusTracker;
import org.apache.spark.api.java.function.MapFunction;
import org.apache.spark.deploy.master.Master;
import org.apache.spark.launcher.JavaModuleOptions;
import org.apache.spark.rpc.RpcEnv;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A master and two workers of Spark in processes of their own, one of which dies at work. */
class ClusterTest {
  private static final String HOST = "127.0.0.1";

  /** The same under another name: a second copy of a task runs on another host than the first. */
  private static final String OTHER_HOST = "localhost";

  private static final int PARTITIONS = 12;
  private static final int PAIRS = 24;
  private static final long POLL_MILLIS = 20;

  @TempDir private Path folder;

  private final List<Process> processes = new ArrayList<>();

  @AfterEach
  void end() {
    processes.forEach(ClusterTest::end);
  }

  private static void end(Process process) {
    List<ProcessHandle> all = new ArrayList<>(process.descendants().toList());
    all.add(process.toHandle());
    all.forEach(ProcessHandle::destroyForcibly);
  }

  /** Spark's master at a port that is free, which it writes to a file. */
  static final class MasterProcess {
    private MasterProcess() {}

    public static void main(String[] files) throws IOException {
      RpcEnv master = Master.startRpcEnvAndEndpoint(HOST, 0, 0, new SparkConf())._1();
      Path unfinished = Path.of(files[0] + ".unfinished");
      Files.writeString(unfinished, master.address().toSparkURL());
      Files.move(unfinished, Path.of(files[0]), StandardCopyOption.ATOMIC_MOVE);
      master.awaitTermination();
    }
  }

  @Test
  @Timeout(value = 900, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
  void edges_tasksRunTwiceAndAWorkerDies_areThoseOfOneMachine() throws Exception {
    Path address = folder.resolve("address");
    start("master", MasterProcess.class.getName(), address.toString());
    await("the master", () -> Files.exists(address));
    String master = Files.readString(address);
    Process first = startWorker("first", HOST, master);
    startWorker("second", OTHER_HOST, master);
    List<Pair> pairs = SparkPairs.drawn(PAIRS);
    ExecutorModel model = ExecutorModel.textbook(DType.DOUBLE);
    double[] expected = SparkPairs.onOneMachine(model.get(), pairs, PARTITIONS).toArray();

    SparkSession spark = session(master);
    try {
      JavaSparkContext context = JavaSparkContext.fromSparkContext(spark.sparkContext());
      await("both executors", () -> context.statusTracker().getExecutorInfos().length == 3);
      Dataset<Row> rows = SparkPairs.rows(spark, pairs, PARTITIONS);

      // the first copy of a task ends when the second one has, which Spark starts because it is
      // slow
      String never = folder.resolve("never").toString();
      Outcome<EdgeTotals> twice =
          SparkTotals.edges(
              waiting(rows, never, task -> task.partitionId() == 2 && task.attemptNumber() == 0),
              model,
              SparkPairs::scorer);
      assertArrayEquals(expected, twice.totals().toArray(), 0);
      assertEquals(List.of(), twice.failedTasks());

      // some partitions are done and each worker has one that waits when the first worker dies
      int free = PARTITIONS / 3;
      Path go = folder.resolve("go");
      Dataset<Row> held = waiting(rows, go.toString(), task -> task.partitionId() >= free);
      CompletableFuture<Outcome<EdgeTotals>> working =
          CompletableFuture.supplyAsync(() -> SparkTotals.edges(held, model, SparkPairs::scorer));
      await("the first tasks", () -> finished(context.statusTracker()) == free);
      end(first);
      Files.createFile(go);
      Outcome<EdgeTotals> outcome = working.get();
      assertArrayEquals(expected, outcome.totals().toArray(), 0);
      assertEquals(PAIRS, outcome.totals().count());
      assertEquals(List.of(), outcome.badRows());
      assertFalse(outcome.failedTasks().isEmpty(), "nothing was lost with the worker");
    } finally {
      spark.stop();
    }
  }

  /** Which tasks are meant. */
  private interface Tasks extends Serializable {
    boolean contain(TaskContext task);
  }

  /** Rows that some tasks have only when there is a file, or when they are no longer needed. */
  private static Dataset<Row> waiting(Dataset<Row> rows, String file, Tasks tasks) {
    return rows.map(
        (MapFunction<Row, Row>)
            row -> {
              TaskContext task = TaskContext.get();
              while (tasks.contain(task)
                  && !task.isInterrupted()
                  && Files.notExists(Path.of(file))) {
                Thread.sleep(POLL_MILLIS);
              }
              return row;
            },
        PairRows.encoder());
  }

  private SparkSession session(String master) {
    return SparkSession.builder()
        .master(master)
        .config("spark.ui.enabled", false)
        .config("spark.driver.host", HOST)
        .config("spark.driver.bindAddress", HOST)
        .config("spark.executor.memory", "512m")
        .config("spark.speculation", true)
        .config("spark.speculation.interval", "100ms")
        .config("spark.speculation.multiplier", 1.1)
        .config("spark.executor.extraClassPath", System.getProperty("java.class.path"))
        .config("spark.executor.extraJavaOptions", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1")
        .config("spark.local.dir", folder.toString())
        .config("spark.sql.warehouse.dir", folder.resolve("warehouse").toString())
        .getOrCreate();
  }

  private static int finished(JavaSparkStatusTracker tracker) {
    int finished = 0;
    for (int stage : tracker.getActiveStageIds()) {
      SparkStageInfo info = tracker.getStageInfo(stage);
      finished += info == null ? 0 : info.numCompletedTasks();
    }
    return finished;
  }

  private Process startWorker(String name, String host, String master) throws IOException {
    return start(
        name,
        "org.apache.spark.deploy.worker.Worker",
        "--host",
        host,
        "--webui-port",
        "0",
        "--cores",
        "1",
        "--memory",
        "512m",
        "--work-dir",
        folder.resolve(name).toString(),
        master);
  }

  private Process start(String name, String main, String... arguments) throws IOException {
    Files.createDirectories(folder.resolve("jars")); // a home of Spark has one
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(Arrays.asList(JavaModuleOptions.defaultModuleOptionArray()));
    command.addAll(List.of("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"));
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), main));
    command.addAll(List.of(arguments));
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve(name + ".log").toFile());
    builder.environment().put("SPARK_HOME", folder.toString());
    builder.environment().put("SPARK_SCALA_VERSION", "2.13");
    builder.environment().put("SPARK_LOCAL_IP", HOST);
    Process process = builder.start();
    processes.add(process);
    return process;
  }

  /** Waits for something that the processes do, while all of them live. */
  private void await(String what, BooleanSupplier isThere) throws InterruptedException {
    while (!isThere.getAsBoolean()) {
      assertTrue(
          processes.stream().allMatch(Process::isAlive),
          () -> "a process ended before " + what + ": " + logs());
      Thread.sleep(POLL_MILLIS);
    }
  }

  private String logs() {
    try (var files = Files.list(folder)) {
      StringBuilder logs = new StringBuilder();
      for (Path file : files.filter(path -> path.toString().endsWith(".log")).toList()) {
        logs.append(file.getFileName()).append(": ").append(Files.readString(file));
      }
      return logs.toString();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
