package dev.tributary.attribution.export;

import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Coordinates;
import dev.tributary.attribution.Node;
import dev.tributary.transformer.Point;
import java.util.OptionalInt;

/**
 * Where a node of a circuit stands in a picture.
 *
 * @param node its coordinates
 * @param point that it writes, the metric after all
 * @param token that it writes to or, of the metric, the last that it reads
 * @param isMetric whether it is what is explained
 * @param isInput whether it is an embedding
 * @param isError whether it stands for what is not explained
 */
record Cell(
    Coordinates node, Point point, int token, boolean isMetric, boolean isInput, boolean isError) {

  static Cell of(Circuit circuit, int index) {
    Node node = circuit.nodes().get(index).node();
    boolean isMetric = index == circuit.nodes().size() - 1;
    int token = node.coordinates().token().orElse(circuit.origin().position());
    return new Cell(
        node.coordinates(),
        circuit.nodes().get(index).point(),
        token,
        isMetric,
        node.isInput(),
        node.isError());
  }

  String kind() {
    return node.kind();
  }

  OptionalInt layer() {
    return node.layer();
  }

  OptionalInt key() {
    return node.key();
  }

  boolean isOf(Coordinates.Component component) {
    return node.component() == component;
  }

  /** What stands there, in words: its name, and the texts of its tokens. */
  static String described(Circuit circuit, int index) {
    Cell cell = of(circuit, index);
    if (cell.isMetric) {
      return circuit.origin().labels().metric();
    }
    String token = quoted(circuit, cell.token);
    String tokens =
        cell.key().isPresent() ? token + " <- " + quoted(circuit, cell.key().getAsInt()) : token;
    return cell.node + " " + tokens;
  }

  static String quoted(Circuit circuit, int token) {
    return '"' + circuit.origin().labels().tokens().get(token) + '"';
  }
}
