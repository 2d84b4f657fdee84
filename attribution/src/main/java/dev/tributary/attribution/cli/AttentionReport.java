package dev.tributary.attribution.cli;

import static dev.tributary.attribution.cli.Table.INDENT;
import static dev.tributary.attribution.cli.Table.number;
import static dev.tributary.attribution.cli.Table.percent;

import dev.tributary.attribution.HeadLoadings.LayerSplit;
import dev.tributary.attribution.HeadPair;
import dev.tributary.attribution.Lowercase;
import dev.tributary.attribution.NodeScore;
import dev.tributary.attribution.ScoreAttribution.Pair;
import dev.tributary.attribution.ScoreAttribution.Share;
import dev.tributary.attribution.Source;
import dev.tributary.attribution.explain.Attend.Attended;
import dev.tributary.attribution.explain.Attend.Loaded;
import dev.tributary.attribution.explain.Attend.Scored;
import dev.tributary.attribution.explain.Overview;
import dev.tributary.core.TopK;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;

/** What explains attention, as text for a terminal of 80 columns. */
final class AttentionReport {
  private static final String BIAS = "bias";

  /** Heads of a layer that are named. */
  private static final int HEADS = 3;

  private final Overview overview;
  private final Attended attended;
  private final Lines text = new Lines();

  private AttentionReport(Attended attended) {
    this.attended = attended;
    this.overview = attended.overview();
  }

  static String of(Attended attended) {
    AttentionReport report = new AttentionReport(attended);
    attended.edges().forEach(report::loadings);
    attended.heads().forEach(report::score);
    String text = TextReport.heading(attended.overview()) + report.text;
    return text.stripTrailing() + System.lineSeparator();
  }

  // ---- head loadings -----------------------------------------------------------------------

  private void loadings(Loaded loadings) {
    text.wrapped(
        List.of(
            "Edge " + TextReport.described(overview, loadings.edge().source()),
            "-> " + TextReport.described(overview, loadings.edge().target()) + ",",
            "through frozen attention,",
            "norm scales " + Lowercase.of(overview.scaleGradient()) + ":",
            number(loadings.score())));
    text.add(INDENT + "past every head " + number(loadings.direct()));
    Table layers = new Table(2);
    layers.row("layer", "largest loadings", "all heads", "passing by");
    for (LayerSplit layer : loadings.layers()) {
      if (layer.heads().stream().anyMatch(loading -> loading != 0)) {
        layers.row(
            "L" + layer.layer(),
            largest(layer),
            number(layer.heads().stream().reduce(0.0, Double::sum)),
            number(layer.passing()));
      }
    }
    List<NodeScore> pairs = loadings.pairs();
    if (pairs.isEmpty()) {
      text.add(INDENT + "(there is no head between)");
    } else {
      text.add(layers);
      Table table = new Table(2);
      table.row("through", "at", "loading");
      for (NodeScore pair : pairs) {
        table.row(pair.node().toString(), overview.where(pair.node()), number(pair.score()));
      }
      text.add(table);
    }
    text.wrapped(
        List.of(
            "Certificate: at every layer heads and what passes by sum to the edge,",
            "and the edge pushed is the edge pulled,",
            "within " + percent(loadings.relativeResidual())));
    text.add("");
  }

  private static String largest(LayerSplit layer) {
    double[] magnitudes = layer.heads().stream().mapToDouble(Math::abs).toArray();
    return Arrays.stream(TopK.indices(magnitudes, HEADS))
        .filter(head -> magnitudes[head] != 0)
        .mapToObj(head -> String.format(Locale.ROOT, "head%d %.3g", head, layer.heads().get(head)))
        .collect(Collectors.joining(", "));
  }

  // ---- scores ------------------------------------------------------------------------------

  private void score(Scored score) {
    HeadPair head = score.head();
    List<String> pieces = new ArrayList<>();
    pieces.add("Score of " + TextReport.described(overview, head));
    attended.against().ifPresent(key -> pieces.add("less that of key " + key));
    score.cap().ifPresent(c -> pieces.add("before the cap at " + number(c)));
    pieces.add(
        "as a sum over "
            + String.format(Locale.ROOT, "%,d", score.pairCount())
            + " pairs of writes:");
    pieces.add(number(score.score()));
    text.wrapped(pieces);
    text.add(INDENT + "probability " + number(score.probability()) + against(score));
    Table pairs = new Table(2);
    pairs.row("written at the query", "written at the key", "score");
    for (Pair pair : score.pairs()) {
      pairs.row(name(pair.query()), name(pair.key()), number(pair.score()));
    }
    text.add(pairs);
    shares("written at the query, with all at the key", score.queries());
    shares("written at the key, with all at the query", score.keys());
    text.add("Certificate: all pairs sum to the score within " + percent(score.relativeResidual()));
    text.add("");
  }

  private String against(Scored score) {
    return attended.against().isEmpty()
        ? ""
        : ", of key %d %s"
            .formatted(
                attended.against().getAsInt(), number(score.otherProbability().orElseThrow()));
  }

  private void shares(String side, List<Share> shares) {
    Table table = new Table(1);
    table.row(side, "score");
    shares.forEach(share -> table.row(name(share.source()), number(share.score())));
    text.add(table);
  }

  private static String name(Optional<Source> source) {
    return source.map(Source::toString).orElse(BIAS);
  }
}
