package dev.tributary.attribution.cli;

import static dev.tributary.attribution.cli.Table.INDENT;
import static dev.tributary.attribution.cli.Table.number;
import static dev.tributary.attribution.cli.Table.percent;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.HeadLoadings;
import dev.tributary.attribution.HeadLoadings.LayerSplit;
import dev.tributary.attribution.HeadPair;
import dev.tributary.attribution.Lowercase;
import dev.tributary.attribution.NodeScore;
import dev.tributary.attribution.ScoreAttribution;
import dev.tributary.attribution.ScoreAttribution.Pair;
import dev.tributary.attribution.ScoreAttribution.Share;
import dev.tributary.attribution.Source;
import dev.tributary.attribution.cli.AttentionCommand.Explained;
import dev.tributary.attribution.cli.AttentionCommand.Loaded;
import dev.tributary.attribution.cli.AttentionCommand.Scored;
import dev.tributary.core.TopK;
import dev.tributary.transformer.Run;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.stream.Collectors;

/** What explains attention, as text for a terminal of 80 columns or as JSON. */
final class AttentionReport {
  private static final String BIAS = "bias";

  /** Heads of a layer that are named. */
  private static final int HEADS = 3;

  private final Subject subject;
  private final Explained explained;
  private final StringBuilder text;

  private AttentionReport(Subject subject, Explained explained) {
    this.subject = subject;
    this.explained = explained;
    this.text = new StringBuilder(TextReport.heading(subject));
  }

  static String text(Subject subject, Explained explained) {
    AttentionReport report = new AttentionReport(subject, explained);
    explained.edges().forEach(report::loadings);
    explained.heads().forEach(report::score);
    return report.text.toString().stripTrailing() + System.lineSeparator();
  }

  // ---- head loadings -----------------------------------------------------------------------

  private void loadings(Loaded loaded) {
    HeadLoadings loadings = loaded.loadings();
    wrapped(
        List.of(
            "Edge " + TextReport.described(subject, loaded.edge().source()),
            "-> " + TextReport.described(subject, loaded.edge().target()) + ",",
            "through frozen attention,",
            "norm scales " + Lowercase.of(subject.scaleGradient()) + ":",
            number(loadings.edge())));
    line(INDENT + "past every head " + number(loadings.direct()));
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
    List<NodeScore> pairs = loadings.top(explained.top());
    if (pairs.isEmpty()) {
      line(INDENT + "(there is no head between)");
    } else {
      lines(layers);
      Table table = new Table(2);
      table.row("through", "at", "loading");
      for (NodeScore pair : pairs) {
        table.row(
            pair.node().toString(), TextReport.where(subject, pair.node()), number(pair.score()));
      }
      lines(table);
    }
    wrapped(
        List.of(
            "Certificate: at every layer heads and what passes by sum to the edge,",
            "and the edge pushed is the edge pulled,",
            "within " + percent(loadings.relativeResidual())));
    line("");
  }

  private static String largest(LayerSplit layer) {
    double[] magnitudes = layer.heads().stream().mapToDouble(Math::abs).toArray();
    return Arrays.stream(TopK.indices(magnitudes, HEADS))
        .filter(head -> magnitudes[head] != 0)
        .mapToObj(head -> String.format(Locale.ROOT, "head%d %.3g", head, layer.heads().get(head)))
        .collect(Collectors.joining(", "));
  }

  // ---- scores ------------------------------------------------------------------------------

  private void score(Scored scored) {
    ScoreAttribution score = scored.score();
    HeadPair head = scored.head();
    OptionalDouble cap =
        subject.nodes().run().model().config().layers().get(head.layer()).attention().cap();
    List<String> pieces = new ArrayList<>();
    pieces.add("Score of " + TextReport.described(subject, head));
    explained.against().ifPresent(key -> pieces.add("less that of key " + key));
    cap.ifPresent(c -> pieces.add("before the cap at " + number(c)));
    pieces.add(
        "as a sum over " + String.format(Locale.ROOT, "%,d", score.pairs()) + " pairs of writes:");
    pieces.add(number(score.score()));
    wrapped(pieces);
    line(INDENT + "probability " + number(probability(head, head.key())) + against(head));
    Table pairs = new Table(2);
    pairs.row("written at the query", "written at the key", "score");
    for (Pair pair : score.top(explained.top())) {
      pairs.row(name(pair.query()), name(pair.key()), number(pair.score()));
    }
    lines(pairs);
    shares("written at the query, with all at the key", score.queries(explained.top()));
    shares("written at the key, with all at the query", score.keys(explained.top()));
    line("Certificate: all pairs sum to the score within " + percent(score.relativeResidual()));
    line("");
  }

  private String against(HeadPair head) {
    return explained
        .against()
        .map(key -> ", of key " + key + " " + number(probability(head, key)))
        .orElse("");
  }

  private double probability(HeadPair head, int key) {
    Run run = subject.nodes().run();
    HeadPair pair = new HeadPair(head.layer(), head.head(), head.query(), key);
    return pair.activation(run).orElseThrow();
  }

  private void shares(String side, List<Share> shares) {
    Table table = new Table(1);
    table.row(side, "score");
    shares.forEach(share -> table.row(name(share.source()), number(share.score())));
    lines(table);
  }

  private static String name(Optional<Source> source) {
    return source.map(Source::toString).orElse(BIAS);
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

  // ---- JSON --------------------------------------------------------------------------------

  static String json(Subject subject, Explained explained) {
    ObjectNode json = JsonReport.json(subject);
    json.put("layerNormScale", Lowercase.of(subject.scaleGradient()));
    json.set(
        "loadings", JsonReport.list(explained.edges(), loaded -> json(loaded, explained.top())));
    AttentionReport report = new AttentionReport(subject, explained);
    json.set("scores", JsonReport.list(explained.heads(), report::json));
    return JsonReport.text(json);
  }

  private static ObjectNode json(Loaded loaded, int top) {
    HeadLoadings loadings = loaded.loadings();
    ObjectNode json = JsonReport.object();
    json.put("from", loaded.edge().source().toString());
    json.put("to", loaded.edge().target().toString());
    json.put("edge", loadings.edge()).put("pushed", loadings.pushed());
    json.put("direct", loadings.direct());
    json.put("relativeResidual", loadings.relativeResidual());
    json.set(
        "layers",
        JsonReport.list(
            loadings.layers(),
            layer -> {
              ObjectNode split = JsonReport.object().put("layer", layer.layer());
              ArrayNode heads = split.putArray("heads");
              layer.heads().forEach(heads::add);
              return split.put("passing", layer.passing());
            }));
    json.set(
        "pairs",
        JsonReport.list(
            loadings.top(top),
            pair ->
                JsonReport.object()
                    .put("head", pair.node().toString())
                    .put("loading", pair.score())));
    return json;
  }

  private ObjectNode json(Scored scored) {
    ScoreAttribution score = scored.score();
    HeadPair head = scored.head();
    ObjectNode json = JsonReport.object().put("head", head.toString());
    explained.against().ifPresent(key -> json.put("against", key));
    json.put("score", score.score()).put("sum", score.sum());
    json.put("relativeResidual", score.relativeResidual());
    json.put("probability", probability(head, head.key()));
    json.put("pairCount", score.pairs());
    json.set(
        "pairs",
        JsonReport.list(
            score.top(explained.top()),
            pair -> {
              ObjectNode one = JsonReport.object();
              pair.query().ifPresent(source -> one.put("query", source.toString()));
              pair.key().ifPresent(source -> one.put("key", source.toString()));
              return one.put("score", pair.score());
            }));
    json.set("queries", shares(score.queries(explained.top())));
    json.set("keys", shares(score.keys(explained.top())));
    return json;
  }

  private static ArrayNode shares(List<Share> shares) {
    return JsonReport.list(
        shares,
        share -> {
          ObjectNode one = JsonReport.object();
          share.source().ifPresent(source -> one.put("source", source.toString()));
          return one.put("score", share.score());
        });
  }
}
