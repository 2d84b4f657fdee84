package dev.tributary.attribution.viewer;

import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.export.CircuitJson;
import java.util.List;

/** A circuit as one page for a browser, which needs nothing else: no other file and no network. */
public final class CircuitPage {
  private static final Page PAGE =
      new Page(
          "viewer",
          "Circuit",
          List.of("parts.css"),
          List.of("d3-path", "d3-shape", "d3-format", "d3-selection"),
          List.of("circuit.js", "parts.js"),
          Page.NOBODY);

  private CircuitPage() {}

  /**
   * {@return the text of the page, HTML} It carries all that {@link CircuitJson} says of the
   * circuit.
   *
   * @param circuit what is shown
   */
  public static String of(Circuit circuit) {
    return around(CircuitJson.of(circuit));
  }

  static String around(String json) {
    return PAGE.around(json);
  }
}
