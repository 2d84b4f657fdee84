package dev.tributary.attribution.cli;

import static dev.tributary.attribution.cli.Table.number;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.DoubleNode;
import com.fasterxml.jackson.databind.node.NullNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.cli.DatasetCircuitCommand.Tested;
import dev.tributary.attribution.cli.DatasetCircuitCommand.Truth;
import dev.tributary.attribution.cli.DatasetEvaluateCommand.Curve;
import dev.tributary.attribution.cli.DatasetNodesCommand.ScoredNodes;
import dev.tributary.attribution.dataset.CircuitTotals;
import dev.tributary.attribution.dataset.CircuitTotals.Interval;
import dev.tributary.attribution.dataset.ComponentCircuit;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.EdgeTotals;
import dev.tributary.attribution.dataset.ExactSample;
import dev.tributary.attribution.dataset.ExactSample.Compared;
import dev.tributary.attribution.dataset.FaithfulnessCurve;
import dev.tributary.attribution.dataset.NodeScores.Node;
import dev.tributary.attribution.dataset.ScoredPairs;
import dev.tributary.core.TopK;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.IntStream;

/** What a data set says, as text for a terminal of 80 columns or as a table. */
final class DatasetReport {
  private static final double CONFIDENCE = 0.95;
  private static final String LEVEL = "95 %";

  /** Edges that are named which a circuit can spare least. */
  private static final int EDGES = 10;

  /** Of what the model adds to the metric: an edge that changes less can be spared. */
  private static final double SPARED = 0.01;

  /** Edges that are named whose scores are most wrong. */
  private static final int MISJUDGED = 5;

  private final StringBuilder text = new StringBuilder();

  private DatasetReport() {}

  /** Scores: the edges of largest magnitude, and how good they are. */
  static String of(ScoredPairs scored, int top) {
    DatasetReport report = new DatasetReport();
    report.scores(scored, top);
    return report.text.toString();
  }

  private void scores(ScoredPairs scored, int top) {
    EdgeTotals totals = scored.totals();
    wrapped(
        List.of(
            String.format(Locale.ROOT, "%,d edges", totals.edges()),
            "of " + scored.model(),
            String.format(Locale.ROOT, "over %,d pairs of prompts", totals.count())));
    metric(scored.measure(), totals);
    wrapped(
        List.of(
            "Scores: " + scored.method() + ",",
            "the metric without an edge (" + scored.ablation() + ")",
            "less that with it"));
    List<String> names =
        scored.graph().edges().stream().map(ComponentGraph.Edge::toString).toList();
    ranked("edge", names, totals, totals.means(), top);
    trust("edges", names, scored.sample());
  }

  /** Nodes: those of largest mean magnitude, and how good that is. */
  static String of(ScoredNodes scored, int top) {
    DatasetReport report = new DatasetReport();
    report.nodes(scored, top);
    return report.text.toString();
  }

  private void nodes(ScoredNodes scored, int top) {
    EdgeTotals totals = scored.totals();
    wrapped(
        List.of(
            String.format(Locale.ROOT, "%,d nodes", totals.edges()),
            "of " + scored.called(),
            String.format(Locale.ROOT, "over %,d pairs of prompts", totals.count())));
    metric(scored.measure(), totals);
    wrapped(
        List.of(
            "Scores: " + scored.method() + ",",
            "the metric with a node as in the corrupted prompt",
            "less that without, added up over tokens"));
    List<String> names = scored.nodes().stream().map(Node::toString).toList();
    ranked("node", names, totals, totals.meanMagnitudes(), top);
    trust("nodes", names, scored.sample());
  }

  private void metric(String measure, EdgeTotals totals) {
    wrapped(
        List.of(
            "Metric: " + measure.replace('_', ' ') + ",",
            number(totals.clean()) + " of clean prompts,",
            number(totals.corrupted()) + " of corrupted ones"));
  }

  /** What is largest, whatever its sign. */
  private void ranked(String what, List<String> names, EdgeTotals totals, double[] by, int top) {
    line("");
    Table table = new Table(1);
    table.row(what, "score", "error", "magnitude");
    for (int i : TopK.indices(Arrays.stream(by).map(Math::abs).toArray(), top)) {
      table.row(
          names.get(i),
          number(totals.mean(i)),
          Double.isNaN(totals.standardError(i)) ? "" : number(totals.standardError(i)),
          number(totals.meanMagnitude(i)));
    }
    table.lines().forEach(this::line);
  }

  /** How good scores are. */
  private void trust(String what, List<String> names, Optional<ExactSample> sample) {
    line("");
    List<String> pieces = new ArrayList<>();
    pieces.add("error: standard error of the mean over pairs;");
    pieces.add("magnitude: mean over pairs of what a score is without its sign.");
    sample.ifPresent(
        own -> {
          pieces.add("Exact patching of " + own.edges().size() + " " + what + " drawn at random");
          pieces.add("over " + own.count() + " pairs:");
          pieces.add("rank correlation " + correlation(own.rankCorrelation()) + ".");
        });
    wrapped(pieces);
    sample
        .map(ExactSample::worstFirst)
        .filter(worst -> !worst.isEmpty())
        .ifPresent(worst -> misjudged(what, names, worst));
  }

  private void misjudged(String what, List<String> names, List<Compared> worst) {
    line("");
    line("Of these " + what + ", where the score is farthest from what really happens");
    Table table = new Table(1);
    table.row("", "score", "really", "score / really");
    for (Compared one : worst.subList(0, Math.min(MISJUDGED, worst.size()))) {
      table.row(
          names.get(one.edge()),
          number(one.estimate()),
          number(one.exact()),
          Double.isFinite(one.ratio()) ? number(one.ratio()) : "");
    }
    table.lines().forEach(this::line);
  }

  static String json(ScoredNodes scored) {
    EdgeTotals totals = scored.totals();
    ObjectNode json =
        JsonReport.object()
            .put("format", "tributary node scores")
            .put("model", scored.called())
            .put("method", scored.method())
            .put("metric", scored.measure())
            .put("pairs", totals.count())
            .put("clean", totals.clean())
            .put("corrupted", totals.corrupted());
    scored
        .sample()
        .ifPresent(
            sample -> {
              ObjectNode exact = json.putObject("exactSample").put("pairs", sample.count());
              put(exact, "rankCorrelation", sample.rankCorrelation());
              ArrayNode nodes = exact.putArray("nodes");
              for (Compared one : sample.worstFirst()) {
                ObjectNode node = nodes.addObject();
                node.put("node", scored.nodes().get(one.edge()).toString());
                node.put("exact", one.exact()).put("estimate", one.estimate());
                put(node, "ratio", one.ratio());
              }
            });
    ArrayNode nodes = json.putArray("nodes");
    for (int i = 0; i < totals.edges(); i++) {
      ObjectNode node = nodes.addObject().put("node", scored.nodes().get(i).toString());
      node.put("score", totals.mean(i));
      put(node, "standardError", totals.standardError(i));
      node.put("magnitude", totals.meanMagnitude(i));
    }
    return JsonReport.text(json);
  }

  private static String correlation(double value) {
    return Double.isNaN(value) ? "undefined" : String.format(Locale.ROOT, "%.3f", value);
  }

  /** All edges, comma-separated. */
  static String table(ScoredPairs scored) {
    StringBuilder table = new StringBuilder("source,reader,score,standard_error,magnitude\r\n");
    EdgeTotals totals = scored.totals();
    for (int i = 0; i < totals.edges(); i++) {
      double error = totals.standardError(i);
      table
          .append(scored.graph().edges().get(i).source())
          .append(',')
          .append(scored.graph().edges().get(i).reader())
          .append(',')
          .append(totals.mean(i))
          .append(',')
          .append(Double.isNaN(error) ? "" : error)
          .append(',')
          .append(totals.meanMagnitude(i))
          .append("\r\n");
    }
    return table.toString();
  }

  // ---- circuits ------------------------------------------------------------------------------

  /** A circuit that was run. */
  static String of(Tested tested) {
    DatasetReport report = new DatasetReport();
    report.tested(tested);
    return report.text.toString();
  }

  private void tested(Tested tested) {
    CircuitTotals totals = tested.totals();
    ComponentCircuit circuit = tested.circuit();
    wrapped(
        List.of(
            String.format(Locale.ROOT, "A circuit of %,d edges", circuit.size()),
            String.format(Locale.ROOT, "of the %,d", circuit.graph().edges().size()),
            "of " + tested.called() + ",",
            String.format(
                Locale.ROOT,
                "%,d chosen of which lie on no path",
                tested.chosen() - circuit.size()),
            String.format(Locale.ROOT, "from the input to the logits;")));
    wrapped(
        List.of(
            String.format(Locale.ROOT, "over %,d pairs of prompts", totals.count()),
            "the metric (" + tested.measure().replace('_', ' ') + ") is"));
    Table table = new Table(1);
    table.row("", "metric", "share", LEVEL + " from", "to");
    table.row("of the model", number(totals.full()), "1", "", "");
    row(table, "of the circuit (faithful)", totals, 0);
    row(table, "of the rest (complete)", totals, 1);
    table.row("of no edges", number(totals.empty()), "0", "", "");
    table.lines().forEach(this::line);
    tested.truth().ifPresent(this::truth);
    if (circuit.size() > 0 && tested.circuits().size() > 2) {
      line("");
      line("The circuit without one of its edges, those that it can spare least");
      Table lacking = new Table(1);
      lacking.row("edge", "change");
      double[] changes = changes(tested);
      double[] magnitudes = Arrays.stream(changes).map(Math::abs).toArray();
      for (int i : TopK.indices(magnitudes, EDGES)) {
        int edge = circuit.edges().get(i);
        lacking.row(circuit.graph().edges().get(edge).toString(), number(changes[i]));
      }
      lacking.lines().forEach(this::line);
      double least = SPARED * Math.abs(totals.full() - totals.empty());
      line(
          String.format(
              Locale.ROOT,
              "%,d of %,d edges change the metric by less than %s of what the model adds",
              Arrays.stream(magnitudes).filter(change -> change < least).count(),
              circuit.size(),
              Table.percent(SPARED)));
    }
  }

  private void truth(Truth truth) {
    List<String> pieces = new ArrayList<>();
    pieces.add(
        String.format(Locale.ROOT, "Of the %,d edges that are known to matter", truth.edges()));
    pieces.add("it has " + Table.percent(truth.recall()) + " (recall);");
    pieces.add("of its own edges " + Table.percent(truth.precision()) + " are among them");
    pieces.add("(precision)" + (truth.ranked().isPresent() ? ";" : ""));
    truth
        .ranked()
        .ifPresent(
            ranked -> {
              pieces.add("AUROC of all edges");
              pieces.add(share(ranked.byScore()) + " by mean score,");
              pieces.add(share(ranked.byMagnitude()) + " by mean magnitude");
            });
    wrapped(pieces);
  }

  /** What the metric of a circuit changes by without each of its edges. */
  private static double[] changes(Tested tested) {
    CircuitTotals totals = tested.totals();
    return IntStream.range(2, tested.circuits().size())
        .mapToDouble(i -> totals.metric(i) - totals.metric(0))
        .toArray();
  }

  private static void row(Table table, String name, CircuitTotals totals, int circuit) {
    Interval interval = totals.interval(circuit, CONFIDENCE);
    table.row(
        name,
        number(totals.metric(circuit)),
        share(totals.faithfulness(circuit)),
        share(interval.low()),
        share(interval.high()));
  }

  private static String share(double value) {
    return String.format(Locale.ROOT, "%.3f", value);
  }

  static String json(Tested tested) {
    CircuitTotals totals = tested.totals();
    ComponentCircuit circuit = tested.circuit();
    ObjectNode json = begun("tributary circuit test", tested.called(), tested.measure(), totals);
    json.put("chosenEdges", tested.chosen());
    tested
        .truth()
        .ifPresent(
            truth -> {
              ObjectNode known = json.putObject("truth").put("edgeCount", truth.edges());
              put(known, "precision", truth.precision());
              put(known, "recall", truth.recall());
              truth
                  .ranked()
                  .ifPresent(
                      ranked -> {
                        put(known, "aurocByScore", ranked.byScore());
                        put(known, "aurocByMagnitude", ranked.byMagnitude());
                      });
            });
    json.set("circuit", json(tested.circuits().get(0), totals, 0));
    json.set("complement", json(tested.circuits().get(1), totals, 1));
    double[] changes = changes(tested);
    ArrayNode edges = json.putArray("edges");
    for (int i = 0; i < circuit.size(); i++) {
      int edge = circuit.edges().get(i);
      ObjectNode one = edges.addObject();
      one.put("edge", circuit.graph().edges().get(edge).toString());
      if (i < changes.length) {
        one.put("changeWithout", changes[i]);
      }
    }
    return JsonReport.text(json);
  }

  /** A number, or nothing where there is none. */
  private static void put(ObjectNode json, String name, double number) {
    json.set(name, !Double.isFinite(number) ? NullNode.getInstance() : DoubleNode.valueOf(number));
  }

  private static ObjectNode begun(
      String format, String model, String measure, CircuitTotals totals) {
    return JsonReport.object()
        .put("format", format)
        .put("model", model)
        .put("metric", measure)
        .put("pairs", totals.count())
        .put("full", totals.full())
        .put("empty", totals.empty());
  }

  private static ObjectNode json(ComponentCircuit own, CircuitTotals totals, int circuit) {
    Interval interval = totals.interval(circuit, CONFIDENCE);
    return JsonReport.object()
        .put("edgeCount", own.size())
        .put("metric", totals.metric(circuit))
        .put("faithfulness", totals.faithfulness(circuit))
        .put("low", interval.low())
        .put("high", interval.high())
        .put("confidence", CONFIDENCE);
  }

  // ---- curves --------------------------------------------------------------------------------

  /** How much circuits of more and more edges keep. */
  static String of(Curve curve) {
    DatasetReport report = new DatasetReport();
    report.curve(curve);
    return report.text.toString();
  }

  private void curve(Curve curve) {
    CircuitTotals totals = curve.totals();
    wrapped(
        List.of(
            "Circuits of " + curve.called(),
            String.format(Locale.ROOT, "over %,d pairs of prompts;", totals.count()),
            "metric: " + curve.measure().replace('_', ' ') + ",",
            number(totals.full()) + " of the model,",
            number(totals.empty()) + " of no edges"));
    Table table = new Table(1);
    table.row(
        "share", "edges", "on paths", "metric", "faithful", LEVEL + " from", "to", "complete");
    for (int i = 0; i < curve.fractions().size(); i++) {
      Interval interval = totals.interval(i, CONFIDENCE);
      table.row(
          String.valueOf(curve.fractions().get(i)),
          String.valueOf(curve.chosen().get(i)),
          String.valueOf(curve.circuits().get(i).size()),
          number(totals.metric(i)),
          share(totals.faithfulness(i)),
          share(interval.low()),
          share(interval.high()),
          share(totals.faithfulness(curve.circuits().size() + i)));
    }
    table.lines().forEach(this::line);
    FaithfulnessCurve faithfulness = curve.faithfulness();
    line(
        "CPR %s, CMD %s, average %s"
            .formatted(
                share(faithfulness.cpr()),
                share(faithfulness.cmd()),
                share(faithfulness.average())));
  }

  static String json(Curve curve) {
    CircuitTotals totals = curve.totals();
    ObjectNode json = begun("tributary circuit curve", curve.called(), curve.measure(), totals);
    FaithfulnessCurve faithfulness = curve.faithfulness();
    json.put("cpr", faithfulness.cpr()).put("cmd", faithfulness.cmd());
    json.put("average", faithfulness.average());
    ArrayNode circuits = json.putArray("circuits");
    for (int i = 0; i < curve.fractions().size(); i++) {
      ObjectNode one = circuits.addObject().put("fraction", curve.fractions().get(i));
      ComponentCircuit circuit = curve.circuits().get(i);
      one.put("chosenEdges", curve.chosen().get(i)).setAll(json(circuit, totals, i));
      one.set("complement", json(circuit.complement(), totals, curve.circuits().size() + i));
    }
    return JsonReport.text(json);
  }

  private void wrapped(List<String> pieces) {
    Table.wrapped(pieces).forEach(this::line);
  }

  private void line(String line) {
    text.append(line.stripTrailing()).append(System.lineSeparator());
  }
}
