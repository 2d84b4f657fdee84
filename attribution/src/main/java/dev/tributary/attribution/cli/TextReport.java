package dev.tributary.attribution.cli;

import static dev.tributary.attribution.cli.Table.INDENT;
import static dev.tributary.attribution.cli.Table.number;
import static dev.tributary.attribution.cli.Table.percent;

import dev.tributary.attribution.AttentionSink;
import dev.tributary.attribution.Certificate;
import dev.tributary.attribution.EdgeSearch.EdgeScore;
import dev.tributary.attribution.Explained;
import dev.tributary.attribution.Lowercase;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.explain.Ablate;
import dev.tributary.attribution.explain.Ablate.Ablated;
import dev.tributary.attribution.explain.Ablate.Action;
import dev.tributary.attribution.explain.Ablate.Outcome;
import dev.tributary.attribution.explain.Ablate.Put;
import dev.tributary.attribution.explain.Ablate.Scale;
import dev.tributary.attribution.explain.Attribute.Attributed;
import dev.tributary.attribution.explain.Attribute.Ranked;
import dev.tributary.attribution.explain.Edges.Connected;
import dev.tributary.attribution.explain.Edges.Edge;
import dev.tributary.attribution.explain.Edges.Found;
import dev.tributary.attribution.explain.Edges.Sum;
import dev.tributary.attribution.explain.Graph.Graphed;
import dev.tributary.attribution.explain.Overview;
import dev.tributary.attribution.explain.Overview.Prediction;
import dev.tributary.attribution.explain.Overview.Reading;
import dev.tributary.attribution.explain.Search.Searched;
import dev.tributary.attribution.explain.Verify.Verified;
import dev.tributary.attribution.explain.Word;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.ScaleGradient;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/** Answers as text, for a terminal of 80 columns. */
final class TextReport {

  private static final String ALL_ZERO = "all are exactly 0";
  private static final String AUTOENCODERS =
      "(latents, errors and pre-biases say once more what their site writes)";

  /** Marks an edge that is no good prediction. */
  private static final String FAR_OFF = "!";

  private final Overview overview;
  private final Lines text = new Lines();

  private TextReport(Overview overview) {
    this.overview = overview;
    prompt();
    sinks();
    predictions();
    metric();
  }

  /** The most important nodes, and edges. */
  static String of(Attributed attributed, Connected connected) {
    TextReport report = new TextReport(attributed.overview());
    report.nodes(attributed.nodes());
    report.edges(connected.edges());
    return report.text.toString();
  }

  /** What changes of nodes did. */
  static String of(Ablated ablated) {
    TextReport report = new TextReport(ablated.overview());
    report.ablated(ablated);
    return report.text.toString();
  }

  /** One edge. */
  static String of(Verified verified) {
    TextReport report = new TextReport(verified.overview());
    report.verified(verified);
    return report.text.toString();
  }

  /** The largest edges of all. */
  static String of(Searched searched) {
    TextReport report = new TextReport(searched.overview());
    report.searched(searched);
    return report.text.toString();
  }

  /**
   * A circuit, from the metric backwards.
   *
   * @param steps how it was found, in words
   */
  static String of(Graphed graphed, List<String> steps) {
    return heading(graphed.overview()) + CircuitReport.of(graphed.circuit(), steps);
  }

  /** What every report begins with. */
  static String heading(Overview overview) {
    return new TextReport(overview).text.toString();
  }

  /** A node and the words at its tokens. */
  static String described(Overview overview, Node node) {
    String where = overview.where(node);
    return where.isEmpty() ? node.toString() : node + " (" + where + ")";
  }

  private void prompt() {
    prompt(overview.tokens()).forEach(text::add);
    text.add("");
  }

  /** The tokens of a prompt with their numbers. */
  static List<String> prompt(List<Word> tokens) {
    List<String> lines = new ArrayList<>(List.of("Prompt, " + tokens.size() + " tokens"));
    int indexWidth = String.valueOf(tokens.size() - 1).length();
    List<String> cells = new ArrayList<>();
    for (int i = 0; i < tokens.size(); i++) {
      cells.add(Table.right(String.valueOf(i), indexWidth) + " " + tokens.get(i).quoted());
    }
    int width = cells.stream().mapToInt(String::length).max().orElse(0);
    int columns =
        Math.max(
            1, (Table.WIDTH - INDENT.length() + Table.GAP.length()) / (width + Table.GAP.length()));
    for (int i = 0; i < cells.size(); i += columns) {
      lines.add(
          cells.subList(i, Math.min(i + columns, cells.size())).stream()
              .map(cell -> Table.left(cell, width))
              .collect(Collectors.joining(Table.GAP, INDENT, "")));
    }
    return lines;
  }

  /** What to do about tokens that are of large attribution in any prompt. */
  private void sinks() {
    for (AttentionSink sink : overview.attentionSinks()) {
      text.wrapped(
          List.of(
              "Token "
                  + sink.token()
                  + " "
                  + overview.word(sink.token())
                  + " is an attention sink:",
              "its residual stream is %.0f times as long".formatted(sink.times()),
              "as the median token's.",
              "Nodes there are of large attribution in any prompt;",
              "a range of tokens (--tokens, in a search --from-tokens and --into-tokens)",
              "leaves them out"));
    }
    if (!overview.attentionSinks().isEmpty()) {
      text.add("");
    }
  }

  private void predictions() {
    text.add("Most probable next words after " + position());
    Table table = new Table(1);
    for (Prediction prediction : overview.predictions()) {
      table.row(prediction.word().quoted(), number(prediction.probability()));
    }
    text.add(table);
    text.add("");
  }

  private String position() {
    int position = overview.metric().position();
    return "token " + position + " " + overview.word(position);
  }

  private void metric() {
    Reading metric = overview.metric();
    List<String> pieces =
        new ArrayList<>(List.of(metric.trace().isPresent() ? "Explained:" : "Metric:"));
    pieces.addAll(overview.explained());
    if (metric.trace().isEmpty()) {
      pieces.add("at " + position());
    }
    pieces.add("= " + number(metric.value()));
    text.wrapped(pieces);
    if (metric.chosen() && metric.trace().isEmpty()) {
      text.add(INDENT + "(the target is the most probable word, since none was named)");
    }
    text.add("");
  }

  private void nodes(List<Ranked> readings) {
    text.add("Nodes of largest attribution (activation x gradient), and their direct effect");
    Table table = new Table(2);
    table.row("node", "at", "activation", "attribution", "direct");
    for (Ranked reading : readings) {
      table.row(
          reading.node().toString(),
          overview.where(reading.node()),
          reading.activation().isPresent() ? number(reading.activation().getAsDouble()) : "",
          number(reading.attribution()),
          number(reading.directEffect()));
    }
    if (readings.isEmpty()) {
      text.add(INDENT + ALL_ZERO);
    } else {
      text.add(table);
    }
    for (Ranked reading : readings) {
      reading
          .explanation()
          .ifPresent(said -> text.wrapped(List.of(reading.node() + " is said to be:", said)));
    }
    text.add("");
  }

  private void edges(Found edges) {
    List<String> pieces = new ArrayList<>(List.of("Edges"));
    edges.from().ifPresent(node -> pieces.add("from " + described(overview, node) + ","));
    edges.into().ifPresent(node -> pieces.add("into " + described(overview, node) + ","));
    pieces.add("norm scales " + Lowercase.of(overview.scaleGradient()));
    text.wrapped(pieces);
    if (edges.largest().isEmpty()) {
      text.add(INDENT + ALL_ZERO);
    } else if (edges.from().isEmpty()) {
      edgesFromSources(edges.largest());
    } else {
      edgesIntoTargets(edges.largest());
    }
    if (edges.largest().stream().anyMatch(Edge::isFarOff)) {
      text.add(
          INDENT + FAR_OFF + " far from what the target really loses without the write (patched)");
    }
    if (!edges.sums().isEmpty()) {
      text.add(INDENT + "Sum over all sources: " + sums(edges.sums()));
      if (isNearZero(edges)) {
        text.add(INDENT + "(near 0: a norm whose scale is live ignores the length of its input)");
      }
      certificate(edges);
    }
    if (overview.saysTwice()) {
      text.add(INDENT + AUTOENCODERS);
    }
  }

  /** A live layer norm stands between the target and the residual stream. */
  private boolean isNearZero(Found edges) {
    if (edges.into().filter(node -> node.equals(new Explained())).isEmpty()) {
      return overview.scaleGradient() == ScaleGradient.LIVE;
    }
    return overview.metric().scaleGradient() == ScaleGradient.LIVE;
  }

  private static double median(double[] sorted) {
    int half = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }

  private void certificate(Found edges) {
    double residual =
        edges.sums().stream()
            .mapToDouble(sum -> sum.certificate().relativeResidual())
            .max()
            .orElse(0);
    double[] errors =
        edges.largest().stream()
            .mapToDouble(edge -> edge.patch().linearisationError())
            .sorted()
            .toArray();
    List<String> pieces =
        new ArrayList<>(List.of("Certificate: sources sum to gradient x residual"));
    for (Sum sum : edges.sums()) {
      String of = edges.sums().size() == 1 ? "and" : "of " + input(sum.target()) + " also";
      recorded(sum.certificate(), of, pieces);
    }
    pieces.add("within " + percent(residual) + (errors.length > 0 ? ";" : ""));
    if (errors.length > 0) {
      pieces.add("edges shown are off by " + percent(median(errors)) + " (median),");
      pieces.add(percent(errors[errors.length - 1]) + " at most");
    }
    text.wrapped(pieces);
  }

  private void edgesFromSources(List<Edge> edges) {
    boolean merged = !input(edges.get(0).target()).isEmpty();
    Table table = new Table(2);
    table.row("from", "at", merged ? "through" : "", "edge", "patched", "");
    for (Edge edge : edges) {
      String through = merged ? input(edge.target()) : "";
      row(table, edge, edge.source(), through);
    }
    text.add(table);
  }

  private void edgesIntoTargets(List<Edge> edges) {
    Table table = new Table(2);
    table.row("into", "at", "", "edge", "patched", "");
    for (Edge edge : edges) {
      row(table, edge, edge.target(), "");
    }
    text.add(table);
  }

  private void row(Table table, Edge edge, Node shown, String through) {
    table.row(
        shown.toString(),
        overview.where(shown),
        through,
        number(edge.score()),
        number(edge.patch().patched()),
        edge.isFarOff() ? FAR_OFF : "");
  }

  private void ablated(Ablated ablated) {
    text.add("Run again with these " + done(ablated.action()));
    Table table = new Table(1);
    table.row("node", "metric", "change", "first-order", "most probable next word");
    for (Outcome outcome : ablated.outcomes()) {
      Prediction best = outcome.predictions().get(0);
      table.row(
          outcome.nodes().size() == 1 ? outcome.nodes().get(0).toString() : "all together",
          number(outcome.metric()),
          number(outcome.change()),
          outcome.firstOrderChange().isPresent()
              ? number(outcome.firstOrderChange().getAsDouble())
              : "",
          best.word().quoted() + " " + number(best.probability()));
    }
    text.add(table);
    others(ablated);
  }

  private void others(Ablated ablated) {
    if (ablated.others().isEmpty()) {
      return;
    }
    text.add("");
    text.add(
        "Other nodes, whose attributions change most"
            + (ablated.outcomes().size() == 1 ? "" : " without all of these"));
    Table table = new Table(2);
    table.row("node", "at", "attribution", "after", "direct", "after");
    for (Ablate.Other other : ablated.others()) {
      table.row(
          other.node().toString(),
          overview.where(other.node()),
          number(other.before().attribution()),
          number(other.after().attribution()),
          number(other.before().directEffect()),
          number(other.after().directEffect()));
    }
    text.add(table);
  }

  private static String done(Action action) {
    if (action instanceof Put put) {
      return "set to " + number(put.activation());
    }
    return action.equals(Action.REMOVE)
        ? "taken out"
        : "times " + number(((Scale) action).factor());
  }

  private void searched(Searched found) {
    text.wrapped(
        List.of(
            "The largest of " + String.format(Locale.ROOT, "%,d", found.searched()) + " edges,",
            "norm scales " + Lowercase.of(overview.scaleGradient())));
    if (found.edges().isEmpty()) {
      text.add(INDENT + "(there is none of that magnitude that is not exactly 0)");
      return;
    }
    Table table = new Table(3);
    table.row("from", "into", "at", "edge");
    for (EdgeScore edge : found.edges()) {
      String into = overview.where(edge.target());
      table.row(
          edge.source().toString(),
          edge.target().toString(),
          overview.where(edge.source()) + (into.isEmpty() ? "" : ", " + into),
          number(edge.score()));
    }
    text.add(table);
    if (overview.saysTwice()) {
      text.add(INDENT + AUTOENCODERS);
    }
  }

  private void verified(Verified verified) {
    text.wrapped(
        List.of(
            "Edge " + described(overview, verified.edge().source()),
            "-> " + described(overview, verified.edge().target())));
    boolean live = overview.scaleGradient() == ScaleGradient.LIVE;
    Table table = new Table(1);
    table.row(
        "pulled from the target, scale " + (live ? "live" : "detached"), number(verified.pulled()));
    table.row("pushed from the source", number(verified.pushed()));
    table.row("with the scale " + (live ? "detached" : "live"), number(verified.otherScale()));
    table.row(
        "patched: what the target loses without the write", number(verified.patch().patched()));
    table.row(
        "change of the metric then, all after it answering",
        number(verified.patch().metricChange()));
    text.add(table);
    text.add("");
    double scale = Math.max(Math.abs(verified.pushed()), Math.abs(verified.pulled()));
    double difference = Math.abs(verified.pushed() - verified.pulled());
    text.add("Both directions agree within " + percent(scale == 0 ? 0 : difference / scale) + ".");
    List<String> pieces = new ArrayList<>();
    pieces.add("Linearisation is off by " + percent(verified.patch().linearisationError()) + ".");
    pieces.add("Certificate: sources sum to gradient x residual");
    recorded(verified.certificate(), "and", pieces);
    pieces.add("within " + percent(verified.certificate().relativeResidual()) + ".");
    text.wrapped(pieces);
  }

  /** What sources sum to besides, where the target is affine in what it reads. */
  private static void recorded(Certificate certificate, String of, List<String> pieces) {
    certificate
        .affine()
        .ifPresent(
            affine -> {
              boolean biased = affine.constant() != 0;
              pieces.add("(" + of + (biased ? "," : ""));
              if (biased) {
                pieces.add("with " + number(affine.constant()) + " that biases give it,");
              }
              pieces.add("to the " + number(affine.recorded()) + " recorded)");
            });
  }

  private static String sums(List<Sum> sums) {
    return sums.size() == 1
        ? number(sums.get(0).certificate().sources())
        : sums.stream()
            .map(sum -> input(sum.target()) + " " + number(sum.certificate().sources()))
            .collect(Collectors.joining(", "));
  }

  private static String input(Node node) {
    InputPath path = node.coordinates().path();
    return path == InputPath.ALL ? "" : Lowercase.of(path);
  }
}
