package dev.tributary.attribution.cli;

import static dev.tributary.attribution.cli.Table.INDENT;
import static dev.tributary.attribution.cli.Table.number;

import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Member;
import dev.tributary.attribution.Circuit.Output;
import dev.tributary.attribution.Circuit.Scores;
import dev.tributary.attribution.Coordinates;
import dev.tributary.attribution.Lowercase;
import dev.tributary.attribution.explain.Word;
import dev.tributary.core.TopK;
import dev.tributary.transformer.InputPath;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** A circuit on one screen, from its outputs backwards. */
final class CircuitReport {
  /** Nodes that are listed, the outputs with them. */
  private static final int LISTED = 23;

  private final Circuit circuit;
  private final Lines text = new Lines();

  private CircuitReport(Circuit circuit) {
    this.circuit = circuit;
  }

  /**
   * The text.
   *
   * @param steps how it was found, in words
   */
  static String of(Circuit circuit, List<String> steps) {
    CircuitReport report = new CircuitReport(circuit);
    report.heading(steps);
    report.text.add("");
    report.nodes();
    return report.text.toString();
  }

  private void heading(List<String> steps) {
    int count = circuit.nodes().size() - circuit.outputs().size();
    List<String> pieces = new ArrayList<>();
    pieces.add("Circuit: " + count + " nodes and " + circuit.edges().size() + " edges;");
    steps.forEach(step -> pieces.add(step + ","));
    pieces.add("norm scales " + Lowercase.of(circuit.origin().scaleGradient()));
    text.wrapped(pieces);
    Optional<Scores> scores = circuit.scores();
    if (scores.isPresent()) {
      text.add(
          INDENT
              + "Replacement "
              + number(scores.get().replacement())
              + ": begins at embeddings, not at errors or nodes left out");
      text.add(
          INDENT
              + "Completeness "
              + number(scores.get().completeness())
              + ": of what enters its nodes, what it holds");
    }
  }

  private void nodes() {
    double[] influence = circuit.influence();
    int[] strongest = strongest();
    double[] rank = influence.clone();
    Arrays.fill(
        rank,
        rank.length - circuit.outputs().size(),
        rank.length,
        Double.POSITIVE_INFINITY); // always listed
    int[] listed = TopK.indices(rank, LISTED);
    Arrays.sort(listed);
    Table table = new Table(4);
    table.row("infl.", "node", "at", "strongest edge into it");
    for (int i = listed.length - 1; i >= 0; i--) {
      int node = listed[i];
      Member member = circuit.nodes().get(node);
      table.row(
          share(member, influence[node]),
          member.node().toString(),
          where(member),
          strongest[node] < 0 ? "" : edge(circuit.edges().get(strongest[node])));
    }
    text.add(table);
    int more = circuit.nodes().size() - listed.length;
    if (more > 0) {
      text.add(INDENT + "and " + more + " more; --json, --dot and --csv have all");
    }
  }

  /** Of what several outputs weigh together each has a share. */
  private String share(Member member, double influence) {
    if (member.output().isEmpty()) {
      return percent(influence);
    }
    return circuit.outputs().size() == 1 ? "" : percent(member.output().get().weight());
  }

  private static String percent(double share) {
    return String.format(Locale.ROOT, "%4.1f%%", 100 * share);
  }

  /** The token of a node, or the two of a head; of one of several outputs what it is. */
  private String where(Member member) {
    Coordinates at = member.node().coordinates();
    Optional<Output> output = member.output();
    if (output.isPresent()) {
      return circuit.outputs().size() == 1 ? "" : output.get().text();
    }
    String keys = at.key().isPresent() ? " <- " + word(at.key().getAsInt()) : "";
    return word(at.token().orElseThrow()) + keys;
  }

  private String word(int token) {
    return Word.quoted(circuit.origin().labels().tokens().get(token));
  }

  private String edge(Circuit.Edge edge) {
    String path = edge.path() == InputPath.ALL ? "" : " " + Lowercase.of(edge.path());
    return String.format(Locale.ROOT, "%.3g", edge.weight())
        + " "
        + circuit.nodes().get(edge.source()).node()
        + path;
  }

  /** Of each node, the edge of largest score into it, or -1. */
  private int[] strongest() {
    double[] scores = circuit.edgeScores();
    int[] result = new int[circuit.nodes().size()];
    Arrays.fill(result, -1);
    for (int i = 0; i < scores.length; i++) {
      int target = circuit.edges().get(i).target();
      if (result[target] < 0 || scores[i] > scores[result[target]]) {
        result[target] = i;
      }
    }
    return result;
  }
}
