package dev.tributary.attribution.dataset.spark;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.dataset.EdgeTotals;
import dev.tributary.attribution.dataset.Pair;
import dev.tributary.core.DType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.spark.SparkStageInfo;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.api.java.JavaSparkStatusTracker;
import org.apache.spark.launcher.JavaModuleOptions;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A master and two workers of Spark in processes of their own, one of which dies at work. */
class ClusterTest {
  private static final String HOST = "127.0.0.1";
  private static final int PARTITIONS = 12;
  private static final int PAIRS = 48;

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

  @Test
  @Timeout(value = 180, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
  void edges_aWorkerDies_areThoseOfOneMachine() throws Exception {
    int port = freePort();
    String master = "spark://" + HOST + ":" + port;
    start("master", "master.Master", "--host", HOST, "--port", "" + port, "--webui-port", "0");
    await("the master", () -> isOpen(port));
    Process first = startWorker("first", master);
    startWorker("second", master);
    List<Pair> pairs = SparkPairs.drawn(PAIRS);
    ExecutorModel model = ExecutorModel.textbook(DType.DOUBLE);
    double[] expected = SparkPairs.onOneMachine(model.get(), pairs, PARTITIONS).toArray();

    SparkSession spark = session(master);
    try {
      JavaSparkContext context = JavaSparkContext.fromSparkContext(spark.sparkContext());
      await("both executors", () -> context.statusTracker().getExecutorInfos().length == 3);
      CompletableFuture<Outcome<EdgeTotals>> working =
          CompletableFuture.supplyAsync(
              () ->
                  SparkTotals.edges(
                      SparkPairs.rows(spark, pairs, PARTITIONS), model, SparkPairs::scorer));
      await("the first tasks", () -> finished(context.statusTracker()) > 0 || working.isDone());
      assertFalse(working.isDone(), "nothing is left to be done");
      end(first);
      Outcome<EdgeTotals> outcome = working.get(150, TimeUnit.SECONDS);
      assertArrayEquals(expected, outcome.totals().toArray(), 0);
      assertEquals(PAIRS, outcome.totals().count());
      assertEquals(List.of(), outcome.badRows());
      assertFalse(outcome.failedTasks().isEmpty(), "nothing was lost with the worker");
    } finally {
      spark.stop();
    }
  }

  private SparkSession session(String master) {
    return SparkSession.builder()
        .master(master)
        .config("spark.ui.enabled", false)
        .config("spark.driver.host", HOST)
        .config("spark.driver.bindAddress", HOST)
        .config("spark.executor.memory", "512m")
        .config("spark.executor.extraClassPath", System.getProperty("java.class.path"))
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

  private Process startWorker(String name, String master) throws IOException {
    return start(
        name,
        "worker.Worker",
        "--host",
        HOST,
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
    command.addAll(List.of("-Xmx256m", "-cp", System.getProperty("java.class.path")));
    command.add("org.apache.spark.deploy." + main);
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

  private static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return socket.getLocalPort();
    }
  }

  private static boolean isOpen(int port) {
    try (Socket socket = new Socket()) {
      socket.connect(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 1000);
      return true;
    } catch (IOException e) {
      return false;
    }
  }

  /** Waits for something that the processes do, while all of them live. */
  private void await(String what, BooleanSupplier isThere) throws InterruptedException {
    while (!isThere.getAsBoolean()) {
      assertTrue(
          processes.stream().allMatch(Process::isAlive),
          () -> "a process ended before " + what + ": " + logs());
      Thread.sleep(20);
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
