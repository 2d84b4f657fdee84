package dev.tributary.attribution.cli;

import static dev.tributary.attribution.cli.Table.INDENT;
import static dev.tributary.attribution.cli.Table.number;
import static dev.tributary.attribution.cli.Table.percent;

import dev.tributary.attribution.AttentionSink;
import dev.tributary.attribution.Certificate;
import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Coordinates;
import dev.tributary.attribution.EdgeSearch.EdgeScore;
import dev.tributary.attribution.EdgeSearch.Found;
import dev.tributary.attribution.Explained;
import dev.tributary.attribution.Lowercase;
import dev.tributary.attribution.Metric;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.Stage;
import dev.tributary.attribution.Trace;
import dev.tributary.attribution.cli.AblateCommand.Outcome;
import dev.tributary.attribution.cli.Explanation.Edges;
import dev.tributary.attribution.cli.Explanation.RankedEdge;
import dev.tributary.attribution.cli.Explanation.RankedNode;
import dev.tributary.attribution.cli.Explanation.Sum;
import dev.tributary.attribution.cli.Subject.MetricReading;
import dev.tributary.attribution.cli.Subject.Prediction;
import dev.tributary.attribution.cli.Subject.Word;
import dev.tributary.attribution.cli.VerifyCommand.Verified;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.ScaleGradient;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/** An explanation as text, for a terminal of 80 columns. */
final class TextReport {

  private static final String ALL_ZERO = "all are exactly 0";
  private static final String AUTOENCODERS =
      "(latents, errors and pre-biases say once more what their site writes)";

  /** Marks an edge that is no good prediction. */
  private static final String FAR_OFF = "!";

  /** Words of a metric that are all named. */
  private static final int NAMED = 4;

  private final Subject subject;
  private final StringBuilder text = new StringBuilder();

  private TextReport(Subject subject) {
    this.subject = subject;
  }

  static String of(Explanation explanation) {
    TextReport report = new TextReport(explanation.subject());
    report.heading();
    report.nodes(explanation.nodes());
    report.edges(explanation.edges());
    return report.text.toString();
  }

  /** What changes of nodes did. */
  static String of(Subject subject, List<Outcome> outcomes, String what) {
    TextReport report = new TextReport(subject);
    report.heading();
    report.outcomes(outcomes, what);
    return report.text.toString();
  }

  /** One edge. */
  static String of(Subject subject, Verified verified) {
    TextReport report = new TextReport(subject);
    report.heading();
    report.verified(verified);
    return report.text.toString();
  }

  /** The largest edges of all. */
  static String of(Subject subject, Found found) {
    TextReport report = new TextReport(subject);
    report.heading();
    report.found(found);
    return report.text.toString();
  }

  /** What every report begins with. */
  static String heading(Subject subject) {
    TextReport report = new TextReport(subject);
    report.heading();
    return report.text.toString();
  }

  /** A node and the words at its tokens. */
  static String described(Subject subject, Node node) {
    return new TextReport(subject).described(node).replaceAll(",$", "");
  }

  /** The word at the token of a node, or the two of a head. */
  static String where(Subject subject, Node node) {
    return new TextReport(subject).where(node);
  }

  /** A circuit, from the metric backwards. */
  static String of(Subject subject, Circuit circuit, List<String> steps) {
    TextReport report = new TextReport(subject);
    report.heading();
    report.text.append(CircuitReport.of(circuit, steps));
    return report.text.toString();
  }

  private void heading() {
    prompt();
    sinks();
    predictions();
    metric();
  }

  private void prompt() {
    prompt(subject.tokens()).forEach(this::line);
    line("");
  }

  /** The tokens of a prompt with their numbers. */
  static List<String> prompt(List<Word> tokens) {
    List<String> lines = new ArrayList<>(List.of("Prompt, " + tokens.size() + " tokens"));
    int indexWidth = String.valueOf(tokens.size() - 1).length();
    List<String> cells = new ArrayList<>();
    for (int i = 0; i < tokens.size(); i++) {
      cells.add(Table.right(String.valueOf(i), indexWidth) + " " + Table.quoted(tokens.get(i)));
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
    for (AttentionSink sink : subject.sinks()) {
      wrapped(
          List.of(
              "Token " + sink.token() + " " + word(sink.token()) + " is an attention sink:",
              "its residual stream is %.0f times as long".formatted(sink.times()),
              "as the median token's.",
              "Nodes there are of large attribution in any prompt;",
              "a range of tokens (--tokens, in a search --from-tokens and --into-tokens)",
              "leaves them out"));
    }
    if (!subject.sinks().isEmpty()) {
      line("");
    }
  }

  private void predictions() {
    line("Most probable next words after " + position());
    Table table = new Table(1);
    for (Prediction prediction : subject.predictions()) {
      table.row(Table.quoted(prediction.word()), number(prediction.probability()));
    }
    lines(table);
    line("");
  }

  private String position() {
    int position = subject.metric().ofLogits().position();
    return "token " + position + " " + word(position);
  }

  private void metric() {
    MetricReading metric = subject.metric();
    List<String> pieces =
        new ArrayList<>(List.of(metric.trace().isPresent() ? "Explained:" : "Metric:"));
    pieces.addAll(explained());
    if (metric.trace().isEmpty()) {
      pieces.add("at " + position());
    }
    pieces.add("= " + number(metric.value()));
    wrapped(pieces);
    if (metric.chosen() && metric.trace().isEmpty()) {
      line(INDENT + "(the target is the most probable word, since none was named)");
    }
    line("");
  }

  /** What is explained, in words. */
  static String explained(Subject subject) {
    return String.join(" ", new TextReport(subject).explained());
  }

  private List<String> explained() {
    MetricReading metric = subject.metric();
    List<String> pieces = new ArrayList<>();
    if (metric.trace().isPresent()) {
      traced(metric.trace().get(), pieces);
    } else if (metric.ofLogits() instanceof Metric.LogProbability) {
      pieces.add(named("log-probability", metric.targets()));
    } else {
      pieces.add(named("logit", metric.targets()));
      pieces.add("- " + named("logit", metric.distractors()));
    }
    return pieces;
  }

  private void traced(Node node, List<String> pieces) {
    Metric metric = subject.nodes().metric();
    if (metric instanceof Trace.ValueTrace) {
      pieces.add("what " + node + " writes");
      pieces.add("(" + where(node) + "), along the gradient of");
      pieces.add(named("logit", subject.metric().targets()) + ",");
    } else if (metric instanceof Trace.PatternTrace pattern) {
      pieces.add(pattern.stage() == Stage.ACTIVATION ? "attention of" : "score of");
      pieces.add(node + " (" + where(node) + ")");
    } else {
      pieces.add("activation of " + node + " (" + where(node) + ")");
      if (subject.metric().stage() == Stage.PRE_ACTIVATION) {
        pieces.set(pieces.size() - 1, "pre-" + pieces.get(pieces.size() - 1));
      }
    }
  }

  private static String named(String function, List<Word> words) {
    List<String> names = words.stream().map(Table::quoted).toList();
    if (names.size() == 1) {
      return function + "(" + names.get(0) + ")";
    }
    String shown =
        names.size() <= NAMED
            ? String.join(", ", names)
            : String.join(", ", names.subList(0, NAMED - 1))
                + ", ... "
                + names.get(names.size() - 1)
                + "; "
                + names.size()
                + " words";
    return "mean " + function + "(" + shown + ")";
  }

  private void nodes(List<RankedNode> readings) {
    line("Nodes of largest attribution (activation x gradient), and their direct effect");
    Table table = new Table(2);
    table.row("node", "at", "activation", "attribution", "direct");
    for (RankedNode reading : readings) {
      table.row(
          reading.node().toString(),
          where(reading.node()),
          reading.activation().isPresent() ? number(reading.activation().getAsDouble()) : "",
          number(reading.attribution()),
          number(reading.directEffect()));
    }
    if (readings.isEmpty()) {
      line(INDENT + ALL_ZERO);
    } else {
      lines(table);
    }
    line("");
  }

  private void edges(Edges edges) {
    List<String> pieces = new ArrayList<>(List.of("Edges"));
    edges.from().ifPresent(node -> pieces.add("from " + described(node)));
    edges.into().ifPresent(node -> pieces.add("into " + described(node)));
    pieces.add("norm scales " + Lowercase.of(subject.scaleGradient()));
    wrapped(pieces);
    if (edges.largest().isEmpty()) {
      line(INDENT + ALL_ZERO);
    } else if (edges.from().isEmpty()) {
      edgesFromSources(edges.largest());
    } else {
      edgesIntoTargets(edges.largest());
    }
    if (edges.largest().stream().anyMatch(RankedEdge::isFarOff)) {
      line(INDENT + FAR_OFF + " far from what the target really loses without the write (patched)");
    }
    if (!edges.sums().isEmpty()) {
      line(INDENT + "Sum over all sources: " + sums(edges.sums()));
      if (isNearZero(edges)) {
        line(INDENT + "(near 0: a norm whose scale is live ignores the length of its input)");
      }
      certificate(edges);
    }
    if (subject.saysTwice()) {
      line(INDENT + AUTOENCODERS);
    }
  }

  /** A live layer norm stands between the target and the residual stream. */
  private boolean isNearZero(Edges edges) {
    if (edges.into().filter(node -> node.equals(new Explained())).isEmpty()) {
      return subject.scaleGradient() == ScaleGradient.LIVE;
    }
    return subject.nodes().metric().scaleGradient() == ScaleGradient.LIVE;
  }

  private static double median(double[] sorted) {
    int half = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }

  private void certificate(Edges edges) {
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
      String of = edges.sums().size() == 1 ? "and" : "of " + input(sum.into()) + " also";
      recorded(sum.certificate(), of, pieces);
    }
    pieces.add("within " + percent(residual) + (errors.length > 0 ? ";" : ""));
    if (errors.length > 0) {
      pieces.add("edges shown are off by " + percent(median(errors)) + " (median),");
      pieces.add(percent(errors[errors.length - 1]) + " at most");
    }
    wrapped(pieces);
  }

  private void edgesFromSources(List<RankedEdge> edges) {
    boolean merged = !input(edges.get(0).to()).isEmpty();
    Table table = new Table(2);
    table.row("from", "at", merged ? "through" : "", "edge", "patched", "");
    for (RankedEdge edge : edges) {
      String through = merged ? input(edge.to()) : "";
      row(table, edge, edge.from(), through);
    }
    lines(table);
  }

  private void edgesIntoTargets(List<RankedEdge> edges) {
    Table table = new Table(2);
    table.row("into", "at", "", "edge", "patched", "");
    for (RankedEdge edge : edges) {
      row(table, edge, edge.to(), "");
    }
    lines(table);
  }

  private void row(Table table, RankedEdge edge, Node shown, String through) {
    table.row(
        shown.toString(),
        where(shown),
        through,
        number(edge.score()),
        number(edge.patch().patched()),
        edge.isFarOff() ? FAR_OFF : "");
  }

  private void outcomes(List<Outcome> outcomes, String what) {
    line("Run again with these " + what);
    Table table = new Table(1);
    table.row("node", "metric", "change", "first-order", "most probable next word");
    double before = subject.metric().value();
    for (Outcome outcome : outcomes) {
      Prediction best = outcome.predictions().get(0);
      table.row(
          outcome.nodes(),
          number(outcome.after()),
          number(outcome.after() - before),
          outcome.predicted().isPresent() ? number(outcome.predicted().getAsDouble()) : "",
          Table.quoted(best.word()) + " " + number(best.probability()));
    }
    lines(table);
  }

  private void found(Found found) {
    wrapped(
        List.of(
            "The largest of " + String.format(Locale.ROOT, "%,d", found.searched()) + " edges,",
            "norm scales " + Lowercase.of(subject.scaleGradient())));
    if (found.edges().isEmpty()) {
      line(INDENT + "(there is none of that magnitude that is not exactly 0)");
      return;
    }
    Table table = new Table(3);
    table.row("from", "into", "at", "edge");
    for (EdgeScore edge : found.edges()) {
      String into = where(edge.target());
      table.row(
          edge.source().toString(),
          edge.target().toString(),
          where(edge.source()) + (into.isEmpty() ? "" : ", " + into),
          number(edge.score()));
    }
    lines(table);
    if (subject.saysTwice()) {
      line(INDENT + AUTOENCODERS);
    }
  }

  private void verified(Verified verified) {
    wrapped(
        List.of(
            "Edge " + described(verified.source()).replaceAll(",$", ""),
            "-> " + described(verified.target()).replaceAll(",$", "")));
    boolean live = subject.scaleGradient() == ScaleGradient.LIVE;
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
    lines(table);
    line("");
    double scale = Math.max(Math.abs(verified.pushed()), Math.abs(verified.pulled()));
    double difference = Math.abs(verified.pushed() - verified.pulled());
    line("Both directions agree within " + percent(scale == 0 ? 0 : difference / scale) + ".");
    List<String> pieces = new ArrayList<>();
    pieces.add("Linearisation is off by " + percent(verified.patch().linearisationError()) + ".");
    pieces.add("Certificate: sources sum to gradient x residual");
    recorded(verified.certificate(), "and", pieces);
    pieces.add("within " + percent(verified.certificate().relativeResidual()) + ".");
    wrapped(pieces);
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
        ? number(sums.get(0).sum())
        : sums.stream()
            .map(sum -> input(sum.into()) + " " + number(sum.sum()))
            .collect(Collectors.joining(", "));
  }

  private static String input(Node node) {
    InputPath path = node.coordinates().path();
    return path == InputPath.ALL ? "" : Lowercase.of(path);
  }

  private String described(Node node) {
    String where = where(node);
    return where.isEmpty() ? node + "," : node + " (" + where + "),";
  }

  /** The token of a node, or the two of a head. */
  private String where(Node node) {
    Coordinates at = node.coordinates();
    String keys = at.key().isPresent() ? " <- " + word(at.key().getAsInt()) : "";
    return at.token().isPresent() ? word(at.token().getAsInt()) + keys : "";
  }

  private String word(int token) {
    return Table.quoted(subject.tokens().get(token));
  }

  private void wrapped(List<String> pieces) {
    Table.wrapped(pieces).forEach(this::line);
  }

  private void lines(Table table) {
    table.lines().forEach(this::line);
  }

  private void line(String line) {
    text.append(line.stripTrailing()).append(System.lineSeparator());
  }
}
