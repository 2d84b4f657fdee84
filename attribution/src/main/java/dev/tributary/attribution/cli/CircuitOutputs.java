package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.export.AttributionGraphJson;
import dev.tributary.attribution.export.CircuitJson;
import dev.tributary.attribution.export.Dot;
import dev.tributary.attribution.export.EdgeTable;
import dev.tributary.attribution.viewer.CircuitPage;
import dev.tributary.transformer.file.AtomicFile;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Stream;
import picocli.CommandLine.Option;

/** Where a circuit is written to, and in which formats. A new format is an option and a line. */
public final class CircuitOutputs {
  private static final String STANDARD_OUTPUT = "-";

  @Option(
      names = "--circuit",
      paramLabel = "FILE",
      description =
          "Write the circuit as --json prints it; - is standard output, here and below. Without any"
              + " of these and --json, a summary is printed.")
  private Optional<String> circuit = Optional.empty();

  @Option(
      names = "--html",
      paramLabel = "FILE",
      description = "Write a page that shows the circuit in a browser, without a network.")
  private Optional<String> html = Optional.empty();

  @Option(
      names = "--neuronpedia",
      paramLabel = "FILE",
      description =
          "Write an attribution graph as Neuronpedia and circuit-tracer's front end read it.")
  private Optional<String> neuronpedia = Optional.empty();

  @Option(
      names = "--dot",
      paramLabel = "FILE",
      description = "Write a drawing for GraphViz: dot -Tsvg -O FILE.")
  private Optional<String> dot = Optional.empty();

  @Option(
      names = "--csv",
      paramLabel = "FILE",
      description =
          "Write the edges as comma-separated values; a token that a spreadsheet would compute has an"
              + " apostrophe before it.")
  private Optional<String> csv = Optional.empty();

  CircuitOutputs() {}

  /**
   * A format and where it goes.
   *
   * @param isWhole whether nothing of a circuit is lost
   */
  private record Output(
      String option, Optional<String> file, boolean isWhole, Function<Circuit, String> format) {
    boolean isPrinted() {
      return file.equals(Optional.of(STANDARD_OUTPUT));
    }
  }

  /** Those that were asked for. */
  private List<Output> wanted(boolean json) {
    Optional<String> printed = json ? Optional.of(STANDARD_OUTPUT) : Optional.empty();
    return Stream.of(
            new Output("--json", printed, true, CircuitJson::of),
            new Output("--circuit", circuit, true, CircuitJson::of),
            new Output("--html", html, true, CircuitPage::of),
            new Output("--neuronpedia", neuronpedia, false, AttributionGraphJson::of),
            new Output("--dot", dot, false, Dot::of),
            new Output("--csv", csv, false, EdgeTable::of))
        .filter(output -> output.file.isPresent())
        .toList();
  }

  /** Whether something is written that holds all of a circuit, what explains its attention too. */
  boolean isWhole(boolean json) {
    return wanted(json).stream().anyMatch(Output::isWhole);
  }

  /** Refuses what cannot be written, before the work is done. */
  void requireWritable(boolean json) {
    Map<String, String> options = new HashMap<>();
    for (Output output : wanted(json)) {
      String file = output.file.orElseThrow();
      String other = options.putIfAbsent(file, output.option);
      requireArgument(
          other == null,
          "%s and %s both write to %s",
          other,
          output.option,
          output.isPrinted() ? "standard output" : file);
      if (!output.isPrinted()) {
        requireWritable(output.option, file);
      }
    }
  }

  /**
   * Refuses a file that cannot be written.
   *
   * @param option that names it
   * @param file as it is named
   * @throws IllegalArgumentException if it is a folder, or there is none that it would lie in
   */
  public static void requireWritable(String option, String file) {
    Path path = Path.of(file).toAbsolutePath();
    Path folder = Objects.requireNonNullElse(path.getParent(), path);
    requireArgument(
        Files.isDirectory(folder), "%s %s: there is no folder %s", option, file, folder);
    requireArgument(!Files.isDirectory(path), "%s %s: this is a folder", option, file);
  }

  /** Writes what was asked for, or prints a summary. */
  void write(Circuit found, boolean json, String summary, PrintWriter out, PrintWriter err)
      throws IOException {
    List<Output> wanted = wanted(json);
    for (Output output : wanted) {
      String text = output.format.apply(found);
      if (output.isPrinted()) {
        out.print(text);
      } else {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        AtomicFile.write(Path.of(output.file.orElseThrow()), stream -> stream.write(bytes));
      }
    }
    if (wanted.isEmpty()) {
      out.print(summary);
    }
    html.filter(file -> !file.equals(STANDARD_OUTPUT))
        .ifPresent(file -> err.println(told(Path.of(file))));
  }

  /** Where a page is. */
  static String told(Path page) {
    return "The page is " + page.toAbsolutePath().normalize().toUri();
  }
}
