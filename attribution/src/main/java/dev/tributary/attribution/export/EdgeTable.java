package dev.tributary.attribution.export;

import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Edge;
import dev.tributary.attribution.Lowercase;
import dev.tributary.transformer.InputPath;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * The edges of a circuit as comma-separated values: a line with the names of the columns, then one
 * for each edge. A spreadsheet computes a cell that begins with one of {@code = + - @}, so a
 * token's text that does, or would after spaces, line breaks and tabs, has an apostrophe before it,
 * and so has one that begins with an apostrophe: take one away to have the text.
 *
 * @see <a href="https://www.rfc-editor.org/rfc/rfc4180">RFC 4180</a>
 */
public final class EdgeTable {
  private static final String LINE = "\r\n";

  /** What a spreadsheet computes, also in the wide forms of East Asian scripts. */
  private static final Pattern COMPUTED = Pattern.compile("'|[\\t\\r\\n]|\\s*[=+\\-@＝＋－＠]");

  private EdgeTable() {}

  /**
   * {@return the text for a circuit}
   *
   * @param circuit what is written
   */
  public static String of(Circuit circuit) {
    StringBuilder text = new StringBuilder();
    line(
        List.of("source", "source_token", "target", "target_token", "path", "weight", "score"),
        text);
    double[] scores = circuit.edgeScores();
    for (int i = 0; i < scores.length; i++) {
      Edge edge = circuit.edges().get(i);
      line(
          List.of(
              name(circuit, edge.source()),
              token(circuit, edge.source()),
              name(circuit, edge.target()),
              token(circuit, edge.target()),
              edge.path() == InputPath.ALL ? "" : Lowercase.of(edge.path()),
              String.valueOf(edge.weight()),
              String.valueOf(scores[i])),
          text);
    }
    return text.toString();
  }

  private static String name(Circuit circuit, int node) {
    return circuit.nodes().get(node).node().toString();
  }

  private static String token(Circuit circuit, int node) {
    String text = circuit.origin().labels().tokens().get(Cell.of(circuit, node).token());
    return COMPUTED.matcher(text).lookingAt() ? "'" + text : text;
  }

  private static void line(List<String> fields, StringBuilder text) {
    text.append(fields.stream().map(EdgeTable::quoted).collect(Collectors.joining(",")))
        .append(LINE);
  }

  private static String quoted(String field) {
    boolean plain = field.chars().noneMatch(c -> c == '"' || c == ',' || c == '\r' || c == '\n');
    return plain ? field : '"' + field.replace("\"", "\"\"") + '"';
  }
}
