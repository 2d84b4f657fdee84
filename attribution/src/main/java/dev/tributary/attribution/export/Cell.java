package dev.tributary.attribution.export;

import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Member;
import dev.tributary.attribution.Circuit.Output;
import dev.tributary.attribution.Coordinates;
import dev.tributary.attribution.Node;
import dev.tributary.transformer.Point;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Collectors;

/**
 * Where a node of a circuit stands in a picture.
 *
 * @param node its coordinates
 * @param point that it writes, an output after all
 * @param token that it writes to or, of an output, the last that it reads
 * @param output what it is, if it is explained
 * @param isInput whether it is an embedding
 * @param isError whether it stands for what is not explained
 */
record Cell(
    Coordinates node,
    Point point,
    int token,
    Optional<Output> output,
    boolean isInput,
    boolean isError) {

  static Cell of(Circuit circuit, int index) {
    Member member = circuit.nodes().get(index);
    Node node = member.node();
    Optional<Output> output = member.output();
    OptionalInt token = node.coordinates().token();
    return new Cell(
        node.coordinates(),
        member.point(),
        token.orElseGet(() -> output.orElseThrow().position()),
        output,
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
    if (cell.output.isPresent()) {
      return cell.output.get().text();
    }
    String token = quoted(circuit, cell.token);
    String tokens =
        cell.key().isPresent() ? token + " <- " + quoted(circuit, cell.key().getAsInt()) : token;
    return cell.node + " " + tokens;
  }

  /** What is explained, in words. */
  static String explained(Circuit circuit) {
    return circuit.outputs().stream().map(Output::text).collect(Collectors.joining(", "));
  }

  static String quoted(Circuit circuit, int token) {
    return '"' + circuit.origin().labels().tokens().get(token) + '"';
  }
}
