package dev.tributary.attribution.export;

import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Edge;
import dev.tributary.transformer.Point;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.IntStream;

/**
 * A circuit in the language of GraphViz: rows upwards by point of the residual stream that is
 * written, columns by token, both only where there are nodes. The edges of the three inputs of a
 * head are one line; its width goes by score, blue adds to its target and orange takes from it.
 *
 * @see <a href="https://graphviz.org/doc/info/lang.html">The DOT language</a>
 */
public final class Dot {
  /** Of the palette of Okabe and Ito, which colour-blind readers can tell apart. */
  private static final String POSITIVE = "#0072B2";

  private static final String NEGATIVE = "#D55E00";

  /** Width of a line in points, and its opacity of 255, by share of the largest score. */
  private static final double THINNEST = 0.5;

  private static final double THICKEST = 6;
  private static final int FAINTEST = 70;
  private static final int FULL = 255;

  /** Points: room for a node and a letter of its name, and between columns and rows. */
  private static final int MARGIN = 32;

  private static final int LETTER = 6;
  private static final int HEIGHT = 42;
  private static final int BETWEEN_COLUMNS = 24;
  private static final int BETWEEN_ROWS = 64;

  /** Nodes of one point and token that stand side by side; more stand in several lines. */
  private static final int SIDE_BY_SIDE = 4;

  /** Marks that turn the direction of the text after them. */
  private static final Set<Integer> DIRECTIONS =
      Set.of(0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069);

  private final Circuit circuit;
  private final int width;
  private final StringBuilder text = new StringBuilder();

  /** Nodes by point and token. */
  private final SortedMap<Point, SortedMap<Integer, List<Integer>>> cells = new TreeMap<>();

  private Dot(Circuit circuit) {
    this.circuit = circuit;
    for (int i = 0; i < circuit.nodes().size(); i++) {
      Cell cell = Cell.of(circuit, i);
      cells
          .computeIfAbsent(cell.point(), point -> new TreeMap<>())
          .computeIfAbsent(cell.token(), token -> new ArrayList<>())
          .add(i);
    }
    this.width =
        MARGIN
            + LETTER
                * IntStream.range(0, circuit.nodes().size())
                    .mapToObj(i -> label(Cell.of(circuit, i)))
                    .flatMap(String::lines)
                    .mapToInt(String::length)
                    .max()
                    .orElse(0);
  }

  /**
   * {@return the text for a circuit}
   *
   * @param circuit what is drawn
   */
  public static String of(Circuit circuit) {
    Dot dot = new Dot(circuit);
    dot.line("digraph circuit {");
    dot.line("  graph [layout=neato, inputscale=72, splines=line, outputorder=edgesfirst,");
    dot.line("    fontname=\"sans-serif\", labelloc=t, label=%s];", quoted(dot.title()));
    dot.line(
        "  node [shape=plaintext, fontname=\"sans-serif\", fontsize=10, margin=\"0.05,0.03\"];");
    dot.line("  edge [arrowsize=0.5];");
    dot.grid();
    dot.edges();
    dot.line("}");
    return dot.text.toString();
  }

  private String title() {
    return circuit.origin().labels().prompt() + "\n" + Cell.explained(circuit);
  }

  private void line(String format, Object... values) {
    text.append(String.format(Locale.ROOT, format, values)).append('\n');
  }

  private void grid() {
    SortedMap<Integer, Integer> columns = new TreeMap<>();
    for (Map<Integer, List<Integer>> row : cells.values()) {
      row.forEach(
          (token, nodes) ->
              columns.merge(token, Math.min(nodes.size(), SIDE_BY_SIDE) * width, Math::max));
    }
    int x = 0;
    for (Map.Entry<Integer, Integer> column : columns.entrySet()) {
      int token = column.getKey();
      int middle = x + column.getValue() / 2;
      String word = token + "\n" + circuit.origin().labels().tokens().get(token);
      line("  t%d [label=%s, pos=\"%d,0!\"];", token, quoted(word), middle);
      x += column.getValue() + BETWEEN_COLUMNS;
      column.setValue(middle);
    }
    int y = 0;
    for (Map.Entry<Point, SortedMap<Integer, List<Integer>>> row : cells.entrySet()) {
      int lines =
          row.getValue().values().stream().mapToInt(cell -> lines(cell.size())).max().orElse(0);
      int bottom = y + BETWEEN_ROWS;
      y = bottom + (lines - 1) * HEIGHT;
      line(
          "  r%d [label=%s, pos=\"%d,%d!\"];",
          row.getKey().index(),
          quoted(rowName(row.getValue().values())),
          -width / 2,
          (bottom + y) / 2);
      row.getValue().forEach((token, nodes) -> cell(nodes, columns.getOrDefault(token, 0), bottom));
    }
  }

  private static int lines(int nodes) {
    return (nodes + SIDE_BY_SIDE - 1) / SIDE_BY_SIDE;
  }

  private void cell(List<Integer> nodes, int middle, int bottom) {
    for (int at = 0; at < nodes.size(); at++) {
      int first = at / SIDE_BY_SIDE * SIDE_BY_SIDE;
      int beside = Math.min(SIDE_BY_SIDE, nodes.size() - first);
      int x = middle + (2 * (at - first) - beside + 1) * width / 2;
      int y = bottom + at / SIDE_BY_SIDE * HEIGHT;
      Cell cell = Cell.of(circuit, nodes.get(at));
      line(
          "  n%d [label=%s, pos=\"%d,%d!\", style=filled, fillcolor=white, shape=%s];",
          nodes.get(at),
          quoted(label(cell)),
          x,
          y,
          switch (cell.kind()) {
            case "neuron", "latent" -> "ellipse";
            case "error" -> "hexagon";
            default -> "box";
          });
    }
  }

  /** What the nodes of a row have in common. */
  private String rowName(Collection<List<Integer>> row) {
    Set<String> names = new TreeSet<>();
    row.forEach(
        nodes ->
            nodes.forEach(
                node -> {
                  Cell cell = Cell.of(circuit, node);
                  names.add(
                      switch (cell.node().component()) {
                        case EMBEDDING -> "embeddings";
                        case ATTENTION -> "layer " + cell.layer().orElse(0) + "\nattention";
                        case MLP -> "layer " + cell.layer().orElse(0) + "\nMLP";
                        case OUTPUT -> "";
                      });
                }));
    return String.join("\n", names);
  }

  /** The name without its token, which the column tells, but with the one that a head looks at. */
  private String label(Cell cell) {
    String label = cell.node().withoutTokens();
    return cell.key().isPresent()
        ? label + "\n<- " + Cell.quoted(circuit, cell.key().getAsInt())
        : label;
  }

  private void edges() {
    double[] scores = circuit.edgeScores();
    Map<Map.Entry<Integer, Integer>, Line> lines = new LinkedHashMap<>();
    double largest = Double.MIN_VALUE;
    for (int i = 0; i < scores.length; i++) {
      Edge edge = circuit.edges().get(i);
      Line line = new Line(edge.weight(), scores[i]);
      line = lines.merge(Map.entry(edge.source(), edge.target()), line, Line::plus);
      largest = Math.max(largest, line.score);
    }
    for (Map.Entry<Map.Entry<Integer, Integer>, Line> entry : lines.entrySet()) {
      double share = entry.getValue().score / largest;
      double weight = entry.getValue().weight;
      line(
          "  n%d -> n%d [penwidth=%.2f, color=\"%s%02x\", tooltip=\"%.4g\"];",
          entry.getKey().getKey(),
          entry.getKey().getValue(),
          THINNEST + (THICKEST - THINNEST) * share,
          weight < 0 ? NEGATIVE : POSITIVE,
          FAINTEST + Math.round((FULL - FAINTEST) * share),
          weight);
    }
  }

  private record Line(double weight, double score) {
    Line plus(Line other) {
      return new Line(weight + other.weight, score + other.score);
    }
  }

  /**
   * A quoted string: line breaks as its own escape, nothing else that it would take for one, and
   * what cannot be drawn by its number.
   */
  private static String quoted(String text) {
    StringBuilder quoted = new StringBuilder("\"");
    text.codePoints()
        .forEach(
            c -> {
              switch (c) {
                case '"' -> quoted.append("\\\"");
                case '\\' -> quoted.append("\\\\");
                case '\n' -> quoted.append("\\n");
                case '&' -> quoted.append("&amp;");
                default -> quoted.append(isShown(c) ? Character.toString(c) : escaped(c));
              }
            });
    return quoted.append('"').toString();
  }

  /** No control, no change of direction, nothing that a drawing in XML cannot have. */
  private static boolean isShown(int c) {
    return !Character.isISOControl(c)
        && !(c >= Character.MIN_SURROGATE && c <= Character.MAX_SURROGATE)
        && (c & 0xfffe) != 0xfffe
        && !DIRECTIONS.contains(c);
  }

  private static String escaped(int c) {
    return String.format(Locale.ROOT, "\\\\u%04x", c);
  }
}
