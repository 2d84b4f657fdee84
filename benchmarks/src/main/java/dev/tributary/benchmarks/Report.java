package dev.tributary.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * Runs the benchmarks, each in a JVM of its own, and writes the page with its tables and charts:
 * {@code README.md} and PNG files.
 *
 * <pre>
 * mvn -q -B -Ppeers -DskipTests -DskipChecks package
 * java -cp benchmarks/target/benchmarks.jar dev.tributary.benchmarks.Report
 * </pre>
 */
@Command(
    name = "Report",
    mixinStandardHelpOptions = true,
    showDefaultValues = true,
    description = {
      "Runs the benchmarks, each in a JVM of its own, and writes the page with their results.",
      "About 20 minutes on two cores, 6 with --quick; the machine should do nothing else."
    })
public final class Report implements Callable<Integer> {
  /** Some benchmarks that run together: ratios are taken within one of these. */
  record Stage(String name, List<String> environment, List<String> arguments) {
    Path json(Path folder) {
      return folder.resolve(name + ".json");
    }
  }

  @Option(
      names = "--quick",
      description = "A few minutes: fewer lengths, short runs. Numbers to look at, not to publish.")
  private boolean quick;

  @Option(
      names = "--output",
      description = "Folder of the page and its charts.",
      defaultValue = "benchmarks")
  private Path output = Path.of("benchmarks");

  @Option(
      names = "--results",
      description = "Folder of what JMH writes.",
      defaultValue = "benchmarks/target/report")
  private Path results = Path.of("benchmarks/target/report");

  @Option(
      names = "--only",
      split = ",",
      paramLabel = "<stage>",
      description = "Measure these alone, and keep what was measured of the others.")
  private List<String> only = List.of();

  @Option(names = "--page-only", description = "Measure nothing, write the page again.")
  private boolean pageOnly;

  private Report() {}

  /** Runs them. */
  public static void main(String[] arguments) {
    System.exit(new CommandLine(new Report()).execute(arguments));
  }

  @Override
  public Integer call() throws IOException, InterruptedException {
    if (!Files.isDirectory(output)) {
      System.err.printf("No folder %s: run this where Tributary was checked out.%n", output);
      return 2;
    }
    List<Stage> stages = stages();
    for (String name : only) {
      if (stages.stream().noneMatch(stage -> stage.name().equals(name))) {
        System.err.printf(
            "No stage %s; there are %s.%n", name, stages.stream().map(Stage::name).toList());
        return 2;
      }
    }
    Files.createDirectories(results);
    boolean whole = true;
    if (!pageOnly) {
      Instant start = Instant.now();
      for (Stage stage : stages) {
        whole &= !(only.isEmpty() || only.contains(stage.name())) || run(stage);
      }
      if (only.isEmpty() || !Files.exists(results.resolve("machine.json"))) {
        Machine.write(
            results, Duration.between(start, Instant.now()), quick, LocalDate.now(ZoneOffset.UTC));
      }
    }
    new Page(results, output).write();
    System.out.println("Wrote " + output.resolve("README.md"));
    return whole ? 0 : 1;
  }

  private List<Stage> stages() {
    List<Stage> stages = new ArrayList<>();
    String lengths = quick ? "64" : "16,64,256";
    List<String> small = times("300ms", 2, "300ms", quick ? 1 : 2);
    List<String> large =
        quick ? times("2", 1, "1", 1) : times("2", 2, "1", 2); // Java compiles slowly
    List<String> peers = quick ? times("2", 1, "1", 1) : times("2", 2, "1", 3);
    stages.add(stage("peers", peers, "PeerBenchmark", "tokens=" + lengths));
    stages.add(
        new Stage(
            "peers-passive",
            List.of("OMP_WAIT_POLICY=passive"),
            stage("", peers, "PeerBenchmark.*PyTorch", "tokens=" + lengths).arguments()));
    stages.add(stage("linearize", large, "LinearizeBenchmark", "tokens=" + lengths));
    stages.add(stage("edges", large, "EdgeAttributionBenchmark", "tokens=" + lengths));
    stages.add(
        stage(
            "directions",
            large,
            "DirectionsBenchmark.*Together",
            "tokens=" + Page.DIRECTION_TOKENS));
    stages.add(
        stage(
            "one-by-one",
            large,
            "DirectionsBenchmark.*(OneByOne|Each)",
            "tokens=" + Page.DIRECTION_TOKENS,
            "k=8"));
    stages.add(
        stage(
            "pairs",
            large,
            "DirectionsBenchmark.between",
            "tokens=" + Page.DIRECTION_TOKENS,
            "sources=" + (quick ? "8" : "1,8,64")));
    stages.add(
        stage("search", List.of("-f", "1"), "EdgeSearchBenchmark", "tokens=" + Page.SEARCH_TOKENS));
    if (quick) {
      stages.add(stage("matmul", small, "MatmulBenchmark", "rows=64", "weight=768x3072"));
    } else {
      stages.add(stage("matmul", small, "MatmulBenchmark", "rows=64"));
      stages.add(
          stage(
              "matmul-rows",
              small,
              "MatmulBenchmark.(forward|scores|mixed)(Tributary|Blas)",
              "rows=16,256",
              "weight=768x768,768x3072,3072x768"));
    }
    stages.add(stage("kernels", small, "KernelBenchmark"));
    return stages;
  }

  private static Stage stage(
      String name, List<String> times, String benchmarks, String... parameters) {
    List<String> arguments = new ArrayList<>(times);
    arguments.add(benchmarks);
    for (String parameter : parameters) {
      arguments.add("-p");
      arguments.add(parameter);
    }
    return new Stage(name, List.of(), arguments);
  }

  private static List<String> times(String warmup, int warmups, String measured, int count) {
    return List.of(
        "-w",
        warmup,
        "-wi",
        Integer.toString(warmups),
        "-r",
        measured,
        "-i",
        Integer.toString(count),
        "-f",
        "1");
  }

  /** Whether all of it could be measured. */
  private boolean run(Stage stage) throws IOException, InterruptedException {
    Path log = results.resolve(stage.name() + ".log");
    Path json = stage.json(results);
    Files.deleteIfExists(json);
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-Djmh.ignoreLock=true", "-cp", System.getProperty("java.class.path")));
    command.add("org.openjdk.jmh.Main");
    command.addAll(stage.arguments());
    command.addAll(List.of("-prof", Measured.class.getName(), "-foe", "false"));
    command.addAll(List.of("-rf", "json", "-rff", json.toString()));
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile());
    builder.environment().put("OPENBLAS_VERBOSE", "2"); // then it says which kernels it chose
    for (String variable : stage.environment()) {
      int equals = variable.indexOf('=');
      builder.environment().put(variable.substring(0, equals), variable.substring(equals + 1));
    }
    Instant start = Instant.now();
    System.out.printf("%-14s ", stage.name());
    System.out.flush();
    Process process = builder.start();
    Runtime.getRuntime().addShutdownHook(new Thread(process::destroy));
    boolean ended = process.waitFor(30, TimeUnit.MINUTES);
    process.destroy();
    String text = Files.readString(log);
    boolean whole = ended && process.exitValue() == 0 && !text.contains("<failure>");
    System.out.printf(
        Locale.ROOT,
        "%4d s%s%n",
        Duration.between(start, Instant.now()).toSeconds(),
        whole ? "" : "  not all of it could be measured, see " + log);
    return whole;
  }
}
