package dev.tributary.benchmarks;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.openjdk.jmh.util.Version;

/** On what and when it was measured. */
final class Machine {
  private static final Path CPU = Path.of("/proc/cpuinfo");
  private static final Path MEMORY = Path.of("/proc/meminfo");

  /** Printed by OpenBLAS where OPENBLAS_VERBOSE=2. */
  private static final Pattern CORE = Pattern.compile("Core: (\\w+)");

  private Machine() {}

  /** Whether the processor knows more than AVX2. */
  static boolean hasAvx512() throws IOException {
    return (" " + field(CPU, "flags", "") + " ").contains(" avx512f ");
  }

  /** Notes it beside the measurements. */
  static void write(Path results, boolean quick, LocalDate date) throws IOException {
    Map<String, String> machine = new LinkedHashMap<>();
    machine.put("Processor", field(CPU, "model name", System.getProperty("os.arch")));
    machine.put(
        "Instructions", hasAvx512() ? "AVX-512, and the same held to AVX2" : "AVX2 or less");
    machine.put("Cores", Integer.toString(Runtime.getRuntime().availableProcessors()));
    machine.put("Memory", memory());
    machine.put("System", System.getProperty("os.name") + " " + System.getProperty("os.version"));
    machine.put(
        "Java", System.getProperty("java.vm.name") + " " + System.getProperty("java.vm.version"));
    machine.put("OpenBLAS", openBlas(results));
    machine.put("JMH", Version.getPlainVersion());
    machine.put("Date", date + (quick ? ", with --quick" : ""));
    new ObjectMapper()
        .writerWithDefaultPrettyPrinter()
        .writeValue(results.resolve("machine.json").toFile(), machine);
  }

  /** What was noted. */
  static JsonNode read(Path results) throws IOException {
    return new ObjectMapper().readTree(results.resolve("machine.json").toFile());
  }

  /** Which of its kernels OpenBLAS chose, as it said in the log of a benchmark. */
  private static String openBlas(Path results) throws IOException {
    try (Stream<Path> files = Files.list(results)) {
      for (Path log : files.filter(file -> file.toString().endsWith(".log")).toList()) {
        Matcher core = CORE.matcher(Files.readString(log));
        if (core.find()) {
          return "kernels for " + core.group(1);
        }
      }
    }
    return "?";
  }

  private static String memory() throws IOException {
    String kilobytes = field(MEMORY, "MemTotal", "").replaceAll("\\D", "");
    return kilobytes.isEmpty() ? "?" : Math.round(Long.parseLong(kilobytes) / 1e6) + " GB";
  }

  private static String field(Path file, String name, String otherwise) throws IOException {
    if (Files.isReadable(file)) {
      for (String line : Files.readAllLines(file)) {
        if (line.startsWith(name)) {
          return line.substring(line.indexOf(':') + 1).strip();
        }
      }
    }
    return otherwise;
  }
}
