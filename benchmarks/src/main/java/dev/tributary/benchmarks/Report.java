package dev.tributary.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/**
 * Runs the benchmarks, each in a JVM of its own, and writes the page with its tables and charts:
 * {@code README.md} and PNG files. What still grows faster while it is measured is measured again
 * after a longer warm-up.
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
      "About an hour on two cores, 15 minutes with --quick; the machine should do nothing else."
    })
public final class Report implements Callable<Integer> {
  /**
   * Some benchmarks that run together: ratios are taken within one of these.
   *
   * @param arguments for JMH: which benchmarks, with which parameters
   */
  record Stage(
      String name, Map<String, String> environment, Timing timing, List<String> arguments) {
    Path json(Path folder) {
      return folder.resolve(name + ".json");
    }

    Stage named(String other) {
      return new Stage(other, environment, timing, arguments);
    }

    Stage with(Map<String, String> variables) {
      return new Stage(name, variables, timing, arguments);
    }

    /** JMH's JVM held to AVX2 as well. */
    Stage onAvx2() {
      List<String> all = new ArrayList<>(arguments);
      all.addAll(List.of("-jvmArgsAppend", "-XX:UseAVX=2"));
      return new Stage(name, environment, timing, all);
    }
  }

  /** How long JMH warms up and measures, in iterations of some milliseconds. */
  record Timing(int warmUps, int warmUp, int iterations, int iteration) {
    List<String> arguments() {
      return List.of(
          "-wi",
          "" + warmUps,
          "-w",
          warmUp + "ms",
          "-i",
          "" + iterations,
          "-r",
          iteration + "ms",
          "-f",
          "1");
    }

    Timing warmingUpTwiceAsLong() {
      return new Timing(2 * warmUps, warmUp, iterations, iteration);
    }
  }

  /** Holds oneDNN and PyTorch to the instructions of older processors. */
  private static final Map<String, String> AVX2 =
      Map.of(
          "DNNL_MAX_CPU_ISA", "AVX2",
          "ATEN_CPU_CAPABILITY", "avx2",
          "MKL_ENABLE_INSTRUCTIONS", "AVX2");

  private static final Map<String, String> PASSIVE = Map.of("OMP_WAIT_POLICY", "passive");

  /** How often what is not stable is measured again, warming up twice as long each time. */
  private static final int REPETITIONS = 2;

  @Option(
      names = "--quick",
      description = "Fewer lengths, short runs. Numbers to look at, not to publish.")
  private boolean quick;

  @Option(
      names = "--output",
      description = "Folder of the page and its charts; the published one is benchmarks.",
      defaultValue = "benchmarks/target/report")
  private Path output = Path.of("benchmarks/target/report");

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
    if (!Files.isDirectory(Path.of("benchmarks"))) {
      System.err.println("No folder benchmarks: run this where Tributary was checked out.");
      return 2;
    }
    Files.createDirectories(output);
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
      for (Stage stage : stages) {
        whole &= !(only.isEmpty() || only.contains(stage.name())) || run(stage);
      }
      if (only.isEmpty() || !Files.exists(results.resolve("machine.json"))) {
        Machine.write(results, quick, LocalDate.now(ZoneOffset.UTC));
      }
    }
    new Page(results, output).write();
    System.out.println("Wrote " + output.resolve("README.md"));
    return whole ? 0 : 1;
  }

  private List<Stage> stages() throws IOException {
    List<Stage> stages = new ArrayList<>();
    String lengths = quick ? "64" : "16,64,256";
    Timing small = new Timing(2, 300, 2, 300);
    Timing large = new Timing(2, 2000, 2, 1000); // Java compiles slowly
    Timing peers = quick ? large : new Timing(2, 2000, 3, 1000);
    stages.addAll(peers("peers", peers, ModelShape.GPT2_SMALL, lengths));
    stages.addAll(peers("peers-smollm2", peers, ModelShape.SMOLLM2_135M, "64"));
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
    Timing once = new Timing(1, 0, 1, 0);
    Timing few = new Timing(1, 0, 3, 0);
    stages.add(stage("dataset", few, "DatasetBenchmark", "steps=0,5"));
    stages.add(
        stage("dataset-passive", few, "DatasetBenchmark.scorePyTorch", "steps=0,5").with(PASSIVE));
    stages.add(
        stage("search", once, "EdgeSearchBenchmark.search$", "tokens=" + Page.SEARCH_TOKENS));
    stages.add(
        stage(
            "search-all",
            once,
            "EdgeSearchBenchmark.searchAll",
            "tokens=" + Page.SEARCH_TOKENS,
            "shape=" + ModelShape.SMOLLM2_135M));
    stages.add(
        stage(
            "replacement",
            quick ? once : few,
            "ReplacementGraphBenchmark",
            "active=" + (quick ? "1391" : "1391,14708")));
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

  /** Beside PyTorch with its threads spinning and passive, and the same held to AVX2. */
  private static List<Stage> peers(String name, Timing timing, ModelShape shape, String lengths)
      throws IOException {
    String ofShape = "shape=" + shape;
    String tokens = "tokens=" + lengths;
    Stage both = stage(name, timing, "PeerBenchmark", ofShape, tokens);
    Stage theirs =
        stage(name + "-passive", timing, "PeerBenchmark.*PyTorch", ofShape, tokens).with(PASSIVE);
    if (!Machine.hasAvx512()) {
      return List.of(both, theirs);
    }
    Map<String, String> passive = new HashMap<>(AVX2);
    passive.putAll(PASSIVE);
    return List.of(
        both,
        theirs,
        both.named(name + "-avx2").with(AVX2).onAvx2(),
        theirs.named(name + "-avx2-passive").with(passive).onAvx2());
  }

  private static Stage stage(String name, Timing timing, String benchmarks, String... parameters) {
    List<String> arguments = new ArrayList<>();
    arguments.add(benchmarks);
    for (String parameter : parameters) {
      arguments.add("-p");
      arguments.add(parameter);
    }
    return new Stage(name, Map.of(), timing, arguments);
  }

  /** Measures a stage, and again what was not stable. Whether all of it could be measured. */
  private boolean run(Stage stage) throws IOException, InterruptedException {
    Instant start = Instant.now();
    System.out.printf("%-20s ", stage.name());
    System.out.flush();
    boolean whole = jmh(stage);
    Timing timing = stage.timing();
    for (int i = 0; i < REPETITIONS && whole; i++) {
      timing = timing.warmingUpTwiceAsLong();
      Measurements all = Measurements.read(stage.json(results));
      for (Measurements.Unstable unstable : all.unstable()) {
        List<String> arguments = new ArrayList<>(stage.arguments());
        arguments.set(0, unstable.pattern());
        unstable
            .parameters()
            .forEach((name, value) -> arguments.addAll(List.of("-p", name + "=" + value)));
        Stage again = new Stage(stage.name() + "-again", stage.environment(), timing, arguments);
        whole &= jmh(again);
        all.replace(Measurements.read(again.json(results)));
      }
      all.write(stage.json(results));
    }
    System.out.printf(
        Locale.ROOT,
        "%4d s%s%n",
        Duration.between(start, Instant.now()).toSeconds(),
        whole ? "" : "  not all of it could be measured, see " + log(stage));
    return whole;
  }

  private Path log(Stage stage) {
    return results.resolve(stage.name() + ".log");
  }

  /** Whether all of it could be measured. */
  private boolean jmh(Stage stage) throws IOException, InterruptedException {
    Path log = log(stage);
    Path json = stage.json(results);
    Files.deleteIfExists(json);
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of("-Djmh.ignoreLock=true", "-cp", System.getProperty("java.class.path")));
    command.add("org.openjdk.jmh.Main");
    command.addAll(stage.arguments());
    command.addAll(stage.timing().arguments());
    command.addAll(List.of("-prof", Measured.class.getName(), "-foe", "false"));
    command.addAll(List.of("-rf", "json", "-rff", json.toString()));
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile());
    builder.environment().put("OPENBLAS_VERBOSE", "2"); // then it says which kernels it chose
    builder.environment().putAll(stage.environment());
    Process process = builder.start();
    Thread destroy = new Thread(process::destroy);
    Runtime.getRuntime().addShutdownHook(destroy);
    boolean ended = process.waitFor(60, TimeUnit.MINUTES);
    process.destroy();
    Runtime.getRuntime().removeShutdownHook(destroy);
    return ended && process.waitFor() == 0 && !Files.readString(log).contains("<failure>");
  }
}
