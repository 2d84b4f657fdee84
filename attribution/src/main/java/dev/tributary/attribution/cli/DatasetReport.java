package dev.tributary.attribution.cli;

import static dev.tributary.attribution.cli.Table.counted;
import static dev.tributary.attribution.cli.Table.number;

import dev.tributary.attribution.cli.DatasetOutputs.Answer;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.EdgeTotals;
import dev.tributary.attribution.dataset.ExactSample.Compared;
import dev.tributary.attribution.dataset.NodeList;
import dev.tributary.attribution.dataset.ScoreFile;
import dev.tributary.attribution.dataset.ScoredPairs;
import dev.tributary.attribution.viewer.DatasetPage;
import dev.tributary.core.TopK;
import dev.tributary.transformer.Tokens;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.IntFunction;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Scores over a data set, as text or as a table. */
final class DatasetReport {
  /** What is named whose scores are most wrong. */
  private static final int MISJUDGED = 5;

  static final String LINE = "\r\n";

  private final Lines lines = new Lines();

  private DatasetReport() {}

  /** Scores of edges or nodes, the largest of them in the text. */
  static Answer answer(ScoredPairs scored, int top) {
    DatasetReport report = new DatasetReport();
    report.scores(scored, top);
    String json = ScoreFile.of(scored);
    boolean isOfEdges = scored.of() instanceof ScoredPairs.Edges;
    return new Answer(
        report.lines.toString(),
        json,
        json,
        table(scored),
        () -> isOfEdges ? DatasetPage.of(List.of(json)) : DatasetPage.ofNodes(json));
  }

  private void scores(ScoredPairs scored, int top) {
    EdgeTotals totals = scored.totals();
    boolean isOfEdges = scored.of() instanceof ScoredPairs.Edges;
    lines.wrapped(
        List.of(
            counted(totals.edges(), scored.of().word()),
            "of " + scored.model(),
            "over " + counted(totals.count(), "pair") + " of prompts"));
    lines.wrapped(
        List.of(
            "Metric: " + scored.measure().replace('_', ' ') + ",",
            number(totals.clean()) + " of clean prompts,",
            number(totals.corrupted()) + " of corrupted ones"));
    lines.wrapped(
        isOfEdges
            ? List.of(
                "Scores: " + scored.method() + ",",
                "the metric without an edge (" + scored.ablation() + ")",
                "less that with it")
            : List.of(
                "Scores: " + scored.method() + ",",
                "the metric with a node as in the corrupted prompt",
                "less that without, " + (isByToken(scored) ? "by token" : "added up over tokens")));
    int[] listed = scored.listed();
    if (listed.length < totals.edges()) {
      lines.wrapped(
          List.of(
              String.format(
                  Locale.ROOT, "%,d of the nodes are latents", totals.edges() - listed.length),
              "that score 0 in every pair;",
              "files leave them out"));
    }
    lines.add("");
    Table table = new Table(1);
    table.row(scored.of().word(), "score", "error", "magnitude");
    double[] by =
        IntStream.of(listed)
            .mapToDouble(i -> isOfEdges ? Math.abs(totals.mean(i)) : totals.meanMagnitude(i))
            .toArray();
    for (int at : TopK.indices(by, top)) {
      int i = listed[at];
      table.row(
          scored.of().name(i),
          number(totals.mean(i)),
          Double.isNaN(totals.standardError(i)) ? "" : number(totals.standardError(i)),
          number(totals.meanMagnitude(i)));
    }
    lines.add(table);
    lines.add("");
    trust(scored);
  }

  private static boolean isByToken(ScoredPairs scored) {
    return scored.of() instanceof ScoredPairs.Nodes own && own.nodes().isByToken();
  }

  /** How good scores are. */
  private void trust(ScoredPairs scored) {
    String what = scored.of().word() + "s";
    List<String> pieces = new ArrayList<>();
    pieces.add("error: standard error of the mean over pairs;");
    pieces.add("magnitude: mean over pairs of what a score is without its sign.");
    scored
        .sample()
        .ifPresent(
            own -> {
              pieces.add("Exact patching of " + counted(own.edges().size(), scored.of().word()));
              pieces.add("drawn at random over " + counted(own.count(), "pair") + ":");
              pieces.add("rank correlation " + share(own.rankCorrelation()) + ".");
            });
    lines.wrapped(pieces);
    List<Compared> worst = scored.sample().map(own -> own.worstFirst()).orElse(List.of());
    if (worst.isEmpty()) {
      return;
    }
    lines.add("");
    lines.add("Of these " + what + ", where the score is farthest from what really happens");
    Table table = new Table(1);
    table.row("", "score", "really", "score / really");
    for (Compared one : worst.subList(0, Math.min(MISJUDGED, worst.size()))) {
      table.row(
          scored.of().name(one.edge()),
          number(one.estimate()),
          number(one.exact()),
          Double.isFinite(one.ratio()) ? number(one.ratio()) : "");
    }
    lines.add(table);
  }

  /** All edges or nodes, comma-separated. */
  private static String table(ScoredPairs scored) {
    EdgeTotals totals = scored.totals();
    String header;
    IntFunction<String> first;
    if (scored.of() instanceof ScoredPairs.Edges edges) {
      header = header(edges.graph());
      first = i -> cells(edges.graph().edges().get(i));
    } else {
      NodeList nodes = ((ScoredPairs.Nodes) scored.of()).nodes();
      header = nodes.isByToken() ? "node,tokens" : "node";
      first = i -> cells(nodes.get(i));
    }
    return header
        + ",score,standard_error,magnitude"
        + LINE
        + IntStream.of(scored.listed())
            .mapToObj(
                i ->
                    row(
                        first.apply(i),
                        totals.mean(i),
                        totals.standardError(i),
                        totals.meanMagnitude(i)))
            .collect(Collectors.joining());
  }

  /** What {@link #cells} are. */
  static String header(ComponentGraph graph) {
    return "source,reader" + (graph.isByToken() ? ",tokens" : "");
  }

  /** Source and reader, which have no commas, and tokens if an edge is not of all. */
  static String cells(ComponentGraph.Edge edge) {
    String at = edge.tokens().equals(Tokens.ALL) ? "" : "," + edge.tokens();
    return edge.source() + "," + edge.reader() + at;
  }

  /** Name, which has no commas, and tokens if a node is not at all. */
  private static String cells(NodeList.Node node) {
    String at = node.tokens().equals(Tokens.ALL) ? "" : "," + node.tokens();
    return node.group().name(node.index()) + at;
  }

  /** A line of a table, in which a number that is none is empty. */
  static String row(String first, double... numbers) {
    return first
        + Arrays.stream(numbers)
            .mapToObj(number -> Double.isFinite(number) ? "," + number : ",")
            .collect(Collectors.joining())
        + LINE;
  }

  static String share(double value) {
    return Double.isNaN(value) ? "undefined" : String.format(Locale.ROOT, "%.3f", value);
  }
}
