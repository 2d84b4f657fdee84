package dev.tributary.attribution.export;

import static dev.tributary.core.Checks.requireArgument;

import com.fasterxml.jackson.databind.JsonNode;
import dev.tributary.attribution.Circuit;
import java.io.IOException;
import java.nio.file.Path;

/** A file with a circuit, of any version. Files are untrusted input. */
public final class CircuitFile {
  private CircuitFile() {}

  /**
   * Reads a circuit.
   *
   * @param file what {@link CircuitJson} or circuit-tracer wrote, in UTF-8
   * @return the circuit; of an attribution graph, what {@link AttributionGraphJson} says of it
   * @throws IOException if it cannot be read, with its path and what was expected
   */
  public static Circuit read(Path file) throws IOException {
    return JsonText.read(file, CircuitFile::parse);
  }

  private static Circuit parse(JsonNode json) {
    requireArgument(json.isObject(), "expected one JSON object");
    return json.has("metadata") && !json.has("format")
        ? AttributionGraphReader.parse(json)
        : CircuitReader.parse(json);
  }
}
