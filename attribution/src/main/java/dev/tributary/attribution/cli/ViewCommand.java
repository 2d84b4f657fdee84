package dev.tributary.attribution.cli;

import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.export.CircuitFile;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Shows a circuit that was written to a file, and writes it for other programs. */
@Command(
    name = "view",
    header = "Shows a circuit of a file: ours, or a graph of circuit-tracer or Neuronpedia.",
    sortOptions = false,
    sortSynopsis = false,
    footer = {
      "",
      "Examples:",
      "  view circuit.json --html circuit.html",
      "  view graph-of-circuit-tracer.json --html graph.html --circuit circuit.json"
    })
final class ViewCommand implements Callable<Integer> {
  private final PrintWriter out;
  private final PrintWriter err;

  @Parameters(
      paramLabel = "FILE",
      description =
          "What graph --json or --neuronpedia wrote, what the page of a circuit saved, or what"
              + " circuit-tracer wrote.")
  private Path file = Path.of("");

  @Option(names = "--json", description = "Print the circuit as JSON.")
  private boolean json;

  @Mixin private final CircuitOutputs outputs = new CircuitOutputs();

  ViewCommand(PrintWriter out, PrintWriter err) {
    this.out = out;
    this.err = err;
  }

  @Override
  public Integer call() throws IOException {
    outputs.requireWritable(json);
    Circuit circuit = CircuitFile.read(file);
    outputs.write(circuit, json, CircuitReport.of(circuit, List.of("read from " + file)), out, err);
    return ExitCode.OK;
  }
}
