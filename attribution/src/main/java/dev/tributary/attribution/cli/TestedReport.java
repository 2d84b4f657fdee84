package dev.tributary.attribution.cli;

import static dev.tributary.attribution.cli.CircuitOptions.CONFIDENCE;
import static dev.tributary.attribution.cli.DatasetReport.LINE;
import static dev.tributary.attribution.cli.DatasetReport.cells;
import static dev.tributary.attribution.cli.DatasetReport.header;
import static dev.tributary.attribution.cli.DatasetReport.row;
import static dev.tributary.attribution.cli.DatasetReport.share;
import static dev.tributary.attribution.cli.Table.counted;
import static dev.tributary.attribution.cli.Table.number;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.DoubleNode;
import com.fasterxml.jackson.databind.node.NullNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.attribution.cli.CircuitOptions.Tested;
import dev.tributary.attribution.cli.DatasetCircuitCommand.Truth;
import dev.tributary.attribution.cli.DatasetEvaluateCommand.Curve;
import dev.tributary.attribution.dataset.CircuitTests.Minimality;
import dev.tributary.attribution.dataset.CircuitTotals;
import dev.tributary.attribution.dataset.CircuitTotals.Interval;
import dev.tributary.attribution.dataset.ComponentCircuit;
import dev.tributary.attribution.dataset.FaithfulnessCurve;
import dev.tributary.core.TopK;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Circuits that were run over a data set, as text, as JSON or as a table. */
final class TestedReport {
  private static final String LEVEL = "95 %";

  /** Edges that are named which a circuit can spare least. */
  private static final int EDGES = 10;

  /** Of what the model adds to the metric: an edge that changes less can be spared. */
  private static final double SPARED = 0.01;

  /** Of what the model adds to the metric: a circuit that keeps as much is looked into. */
  private static final double KEPT = 0.9;

  private final Lines lines = new Lines();

  private TestedReport() {}

  // ---- one circuit ---------------------------------------------------------------------------

  /** A circuit that was run. */
  static String of(Tested tested, Optional<Truth> truth) {
    TestedReport report = new TestedReport();
    report.tested(tested);
    truth.ifPresent(report::truth);
    report.minimality(tested, 0);
    return report.lines.toString();
  }

  private void tested(Tested tested) {
    CircuitTotals totals = tested.totals();
    ComponentCircuit circuit = tested.circuit(0);
    lines.wrapped(
        List.of(
            "A circuit of " + counted(circuit.size(), "edge"),
            String.format(Locale.ROOT, "of the %,d", circuit.graph().edges().size()),
            "of " + tested.called() + ",",
            String.format(
                Locale.ROOT,
                "%,d chosen of which lie on no path",
                tested.chosen().get(0) - circuit.size()),
            "from the input to the logits;"));
    lines.wrapped(
        List.of(
            "over " + counted(totals.count(), "pair") + " of prompts",
            "the metric (" + tested.measure().replace('_', ' ') + ") is"));
    Table table = new Table(1);
    table.row("", "metric", "share", LEVEL + " from", "to");
    table.row("of the model", number(totals.full()), "1", "", "");
    tableRow(table, "of the circuit (faithful)", totals, 0);
    tableRow(table, "of the rest (complete)", totals, tested.tests().complement(0));
    table.row("of no edges", number(totals.empty()), "0", "", "");
    lines.add(table);
    undefined(totals);
  }

  /** Says why shares are, if they are. */
  private void undefined(CircuitTotals totals) {
    if (totals.full() == totals.empty()) {
      lines.add("The metric is the same without any edge: there is nothing to keep a share of.");
    }
  }

  /** How much a circuit needs its edges, if that was asked for. */
  private void minimality(Tested tested, int number) {
    List<Minimality> all = tested.minimality(number);
    if (all.isEmpty()) {
      return;
    }
    ComponentCircuit circuit = tested.circuit(number);
    lines.add("");
    lines.add(
        String.format(
            Locale.ROOT,
            "What the circuit of %,d edges keeps less without one of them (minimality)",
            circuit.size()));
    Table table = new Table(1);
    table.row("edge", "share", LEVEL + " from", "to");
    double[] sizes = all.stream().mapToDouble(own -> Math.abs(own.value())).toArray();
    for (int i : TopK.indices(sizes, EDGES)) {
      Minimality own = all.get(i);
      table.row(
          circuit.graph().edges().get(own.edge()).toString(),
          share(own.value()),
          share(own.interval().low()),
          share(own.interval().high()));
    }
    lines.add(table);
    lines.wrapped(
        List.of(
            String.format(Locale.ROOT, "%,d of ", spared(all)) + counted(all.size(), "edge"),
            all.size() < circuit.size() ? "that were drawn can be spared:" : "can be spared:",
            "without one of them it keeps as much but for less than " + Table.percent(SPARED)));
  }

  private static long spared(List<Minimality> all) {
    return all.stream().filter(own -> Math.abs(own.value()) < SPARED).count();
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
    lines.wrapped(pieces);
  }

  private static void tableRow(Table table, String name, CircuitTotals totals, int circuit) {
    Interval interval = totals.interval(circuit, CONFIDENCE);
    table.row(
        name,
        number(totals.metric(circuit)),
        share(totals.faithfulness(circuit)),
        share(interval.low()),
        share(interval.high()));
  }

  static String json(Tested tested, Optional<Truth> compared) {
    ComponentCircuit circuit = tested.circuit(0);
    ObjectNode json = begun("tributary circuit test", tested);
    json.put("chosen_edges", tested.chosen().get(0));
    compared.ifPresent(
        truth -> {
          ObjectNode known = json.putObject("truth").put("edge_count", truth.edges());
          put(known, "precision", truth.precision());
          put(known, "recall", truth.recall());
          truth
              .ranked()
              .ifPresent(
                  ranked -> {
                    put(known, "auroc_by_score", ranked.byScore());
                    put(known, "auroc_by_magnitude", ranked.byMagnitude());
                  });
        });
    json.set("circuit", json(circuit, tested.totals(), 0));
    json.set("complement", json(circuit.complement(), tested.totals(), 1));
    minimality(json.putArray("edges"), tested, 0, circuit.edges());
    return JsonReport.text(json);
  }

  /** Some edges of a circuit, each with its minimality if it is known. */
  private static void minimality(ArrayNode json, Tested tested, int circuit, List<Integer> edges) {
    Map<Integer, Minimality> known =
        tested.minimality(circuit).stream()
            .collect(Collectors.toMap(Minimality::edge, Function.identity()));
    for (int edge : edges) {
      ObjectNode one = json.addObject();
      one.put("edge", tested.circuit(circuit).graph().edges().get(edge).toString());
      Minimality own = known.get(edge);
      if (own != null) {
        put(one, "minimality", own.value());
        put(one, "low", own.interval().low());
        put(one, "high", own.interval().high());
      }
    }
  }

  /** All edges of a circuit, comma-separated. */
  static String table(Tested tested) {
    ComponentCircuit circuit = tested.circuit(0);
    Map<Integer, Minimality> known =
        tested.minimality(0).stream()
            .collect(Collectors.toMap(Minimality::edge, Function.identity()));
    return header(circuit.graph())
        + ",minimality,low,high"
        + LINE
        + circuit.edges().stream()
            .map(
                edge -> {
                  String cells = cells(circuit.graph().edges().get(edge));
                  Minimality own = known.get(edge);
                  return own == null
                      ? row(cells, Double.NaN, Double.NaN, Double.NaN)
                      : row(cells, own.value(), own.interval().low(), own.interval().high());
                })
            .collect(Collectors.joining());
  }

  /** A number, or nothing where there is none. */
  private static void put(ObjectNode json, String name, double number) {
    json.set(name, !Double.isFinite(number) ? NullNode.getInstance() : DoubleNode.valueOf(number));
  }

  private static ObjectNode begun(String format, Tested tested) {
    CircuitTotals totals = tested.totals();
    return JsonReport.object()
        .put("format", format)
        .put("model", tested.called())
        .put("metric", tested.measure())
        .put("pairs", totals.count())
        .put("full", totals.full())
        .put("empty", totals.empty());
  }

  private static ObjectNode json(ComponentCircuit own, CircuitTotals totals, int circuit) {
    Interval interval = totals.interval(circuit, CONFIDENCE);
    ObjectNode json = JsonReport.object().put("edge_count", own.size());
    json.put("metric", totals.metric(circuit));
    put(json, "faithfulness", totals.faithfulness(circuit));
    put(json, "low", interval.low());
    put(json, "high", interval.high());
    return json.put("confidence", CONFIDENCE);
  }

  // ---- curves --------------------------------------------------------------------------------

  /** How much circuits of more and more edges keep. */
  static String of(Curve curve) {
    TestedReport report = new TestedReport();
    report.curve(curve);
    looked(curve).ifPresent(circuit -> report.minimality(curve.tested(), circuit));
    return report.lines.toString();
  }

  /** The smallest circuit that keeps enough. */
  private static OptionalInt looked(Curve curve) {
    return IntStream.range(0, curve.fractions().size())
        .filter(i -> curve.tested().totals().faithfulness(i) >= KEPT)
        .findFirst();
  }

  private void curve(Curve curve) {
    Tested tested = curve.tested();
    CircuitTotals totals = tested.totals();
    lines.wrapped(
        List.of(
            "Circuits of " + tested.called(),
            "over " + counted(totals.count(), "pair") + " of prompts;",
            "metric: " + tested.measure().replace('_', ' ') + ",",
            number(totals.full()) + " of the model,",
            number(totals.empty()) + " of no edges"));
    boolean isMinimality = tested.tests().edges().stream().anyMatch(edges -> !edges.isEmpty());
    Table table = new Table(1);
    table.row(
        "share",
        "edges",
        "on paths",
        "metric",
        "faithful",
        LEVEL + " from",
        "to",
        "complete",
        isMinimality ? "spared" : "");
    for (int i = 0; i < curve.fractions().size(); i++) {
      Interval interval = totals.interval(i, CONFIDENCE);
      List<Minimality> all = tested.minimality(i);
      table.row(
          String.valueOf(curve.fractions().get(i)),
          String.valueOf(tested.chosen().get(i)),
          String.valueOf(tested.circuit(i).size()),
          number(totals.metric(i)),
          share(totals.faithfulness(i)),
          share(interval.low()),
          share(interval.high()),
          share(totals.faithfulness(tested.tests().complement(i))),
          all.isEmpty() ? "" : spared(all) + "/" + all.size());
    }
    lines.add(table);
    undefined(totals);
    FaithfulnessCurve faithfulness = curve.faithfulness();
    lines.add(
        "CPR %s, CMD %s, average %s"
            .formatted(
                share(faithfulness.cpr()),
                share(faithfulness.cmd()),
                share(faithfulness.average())));
  }

  static String json(Curve curve) {
    Tested tested = curve.tested();
    CircuitTotals totals = tested.totals();
    ObjectNode json = begun("tributary circuit curve", tested);
    FaithfulnessCurve faithfulness = curve.faithfulness();
    put(json, "cpr", faithfulness.cpr());
    put(json, "cmd", faithfulness.cmd());
    put(json, "average", faithfulness.average());
    ArrayNode circuits = json.putArray("circuits");
    for (int i = 0; i < curve.fractions().size(); i++) {
      ObjectNode one = circuits.addObject().put("fraction", curve.fractions().get(i));
      ComponentCircuit circuit = tested.circuit(i);
      one.put("chosen_edges", tested.chosen().get(i)).setAll(json(circuit, totals, i));
      int complement = tested.tests().complement(i);
      one.set("complement", json(circuit.complement(), totals, complement));
      minimality(one.putArray("edges"), tested, i, tested.tests().edges().get(i));
    }
    return JsonReport.text(json);
  }

  /** All circuits, comma-separated. */
  static String table(Curve curve) {
    Tested tested = curve.tested();
    CircuitTotals totals = tested.totals();
    return "share,chosen_edges,edges,metric,faithfulness,low,high,complement_faithfulness,"
        + "complement_low,complement_high,edges_tested,edges_spared"
        + LINE
        + IntStream.range(0, curve.fractions().size())
            .mapToObj(
                i -> {
                  int rest = tested.tests().complement(i);
                  Interval own = totals.interval(i, CONFIDENCE);
                  Interval ofRest = totals.interval(rest, CONFIDENCE);
                  List<Minimality> all = tested.minimality(i);
                  return row(
                              curve.fractions().get(i)
                                  + ","
                                  + tested.chosen().get(i)
                                  + ","
                                  + tested.circuit(i).size(),
                              totals.metric(i),
                              totals.faithfulness(i),
                              own.low(),
                              own.high(),
                              totals.faithfulness(rest),
                              ofRest.low(),
                              ofRest.high())
                          .stripTrailing()
                      + ","
                      + all.size()
                      + ","
                      + spared(all)
                      + LINE;
                })
            .collect(Collectors.joining());
  }
}
