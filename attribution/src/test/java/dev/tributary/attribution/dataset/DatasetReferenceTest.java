package dev.tributary.attribution.dataset;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicContainer.dynamicContainer;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import dev.tributary.attribution.ExpectedTensors;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Oracles;
import dev.tributary.transformer.StreamWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.IntFunction;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.TestFactory;

/**
 * What independent programs computed in 64 bits of edges over pairs of prompts: every case of the
 * oracle {@code reference-datasets}. An expected tensor that is not compared is a failure.
 */
class DatasetReferenceTest {
  /** Of the largest magnitude of a tensor; both sides compute in 64 bits. */
  private static final double TOLERANCE = 1e-9;

  private static final String PAIRS = ".pairs";

  @TestFactory
  Stream<? extends DynamicNode> everyCase() throws IOException {
    return Oracles.tests(
        "reference-datasets",
        folder -> {
          List<Path> cases;
          try (Stream<Path> files = Files.list(folder)) {
            cases = files.filter(Files::isDirectory).sorted().toList();
          }
          assertEquals(7, cases.size());
          return cases.stream()
              .map(path -> dynamicContainer(path.getFileName().toString(), tests(path)));
        });
  }

  private static Stream<DynamicNode> tests(Path path) {
    List<DynamicNode> tests = new ArrayList<>();
    tests.add(dynamicTest("graph", () -> in(path, DatasetReferenceTest::compareGraph)));
    tests.add(dynamicTest("tensors", () -> in(path, DatasetReferenceTest::compareTensors)));
    tests.add(dynamicTest("minimality", () -> in(path, DatasetReferenceTest::compareMinimality)));
    if (path.getFileName().toString().startsWith("tracr")) {
      tests.add(dynamicTest("needed", () -> in(path, DatasetReferenceTest::compareNeeded)));
      tests.add(dynamicTest("truth", () -> in(path, DatasetReferenceTest::compareTruth)));
      if (path.endsWith("tracr-reverse")) {
        tests.add(dynamicTest("missed", () -> in(path, DatasetReferenceTest::compareMissed)));
      }
    } else {
      tests.add(dynamicTest("circuits", () -> in(path, DatasetReferenceTest::compareCircuits)));
      tests.add(dynamicTest("tokens", () -> in(path, DatasetReferenceTest::compareTokens)));
      tests.add(dynamicTest("areas", () -> in(path, DatasetReferenceTest::compareAreas)));
    }
    return tests.stream();
  }

  private interface Comparison {
    void of(ReferenceCase expected) throws IOException;
  }

  private static void in(Path path, Comparison comparison) throws IOException {
    try (Scope scope = Scope.open()) {
      comparison.of(ReferenceCase.read(path));
    }
  }

  private static void compareGraph(ReferenceCase expected) {
    ComponentGraph graph = expected.graph();
    assertNames(expected, "sources", graph.sources());
    assertNames(expected, "readers", graph.readers());
    assertNames(expected, "edges", graph.edges());
  }

  private static void assertNames(ReferenceCase expected, String key, List<?> own) {
    assertEquals(names(expected.expected().get(key)), own.stream().map(Object::toString).toList());
  }

  private static void compareTensors(ReferenceCase expected) throws IOException {
    Tensors tensors = new Tensors(expected);
    ExpectedTensors.compare(
        expected.folder().resolve("expected.safetensors"), tensors::computed, TOLERANCE);
  }

  private static void compareCircuits(ReferenceCase expected) {
    JsonNode circuits = expected.expected().get("circuits");
    Set<String> compared = new HashSet<>();
    for (String metric : List.of("logit_difference", "kl")) {
      double[] scores = scores(expected, metric, "patching", EdgeMethod.eapIgInputs(5));
      JsonNode own = circuits.get(metric);
      compare(
          expected,
          metric,
          "patching",
          own.get("top_absolute"),
          true,
          count -> Importance.ABSOLUTE.top(expected.graph(), scores, count));
      compare(
          expected,
          metric,
          "patching",
          own.get("top_signed"),
          true,
          count -> Importance.SIGNED.top(expected.graph(), scores, count));
      compare(
          expected,
          metric,
          "patching",
          own.get("greedy_absolute"),
          true,
          count -> Importance.ABSOLUTE.greedy(expected.graph(), scores, count));
      compared.add(metric);
    }
    for (String ablation : List.of("zero", "mean", "mean_positional")) {
      String metric = "logit_difference";
      JsonNode own = circuits.get(metric + "/" + ablation);
      if (own != null) {
        double[] scores = scores(expected, metric, ablation, EdgeMethod.EAP);
        double empty =
            evaluator(expected, ablation).evaluate(expected.pairs(metric), List.of(), 0).empty();
        assertNear(own.get("empty_metric").asDouble(), empty);
        for (String pruned : List.of("pruned", "not_pruned")) {
          compare(
              expected,
              metric,
              ablation,
              own.get(pruned),
              pruned.equals("pruned"),
              count -> Importance.ABSOLUTE.top(expected.graph(), scores, count));
        }
        compared.add(metric + "/" + ablation);
      }
    }
    Set<String> all = new HashSet<>();
    circuits.fieldNames().forEachRemaining(all::add);
    assertEquals(all, compared);
  }

  private static double[] scores(
      ReferenceCase expected, String metric, String ablation, EdgeMethod method) {
    return new EdgeScorer(expected.graph(), expected.ablation(ablation), method)
        .score(expected.pairs(metric))
        .means();
  }

  private static CircuitEvaluator evaluator(ReferenceCase expected, String ablation) {
    return new CircuitEvaluator(expected.graph(), expected.ablation(ablation));
  }

  /** Circuits of some numbers of edges. */
  private static void compare(
      ReferenceCase expected,
      String metric,
      String ablation,
      JsonNode circuits,
      boolean pruned,
      IntFunction<ComponentCircuit> chosen) {
    List<ComponentCircuit> own = new ArrayList<>();
    for (JsonNode circuit : circuits) {
      int count = FaithfulnessCurve.count(expected.graph(), circuit.get("fraction").asDouble());
      ComponentCircuit all = chosen.apply(count);
      if (pruned) {
        assertEquals(circuit.get("n").asInt(), count);
        assertEquals(ExpectedTensors.integers(circuit.get("edges")), all.edges());
        assertEquals(
            ExpectedTensors.integers(circuit.get("edges_after_pruning")), all.pruned().edges());
      }
      own.add(pruned ? all.pruned() : all);
    }
    CircuitTotals totals = evaluator(expected, ablation).evaluate(expected.pairs(metric), own, 0);
    for (int i = 0; i < own.size(); i++) {
      assertNear(circuits.get(i).get("metric").asDouble(), totals.metric(i));
      assertNear(circuits.get(i).get("faithfulness").asDouble(), totals.faithfulness(i));
    }
  }

  private static void compareAreas(ReferenceCase expected) {
    Map<String, double[]> scores = new HashMap<>();
    for (Map.Entry<String, JsonNode> area : expected.expected().get("areas").properties()) {
      List<String> names = List.of(area.getKey().split("/", -1));
      double[] own =
          scores.computeIfAbsent(
              names.get(0),
              any ->
                  scores(expected, "logit_difference", "patching", Tensors.method(names.get(0))));
      compareArea(
          expected,
          area.getValue(),
          own,
          Importance.valueOf(names.get(1).toUpperCase(Locale.ROOT)));
    }
  }

  private static void compareArea(
      ReferenceCase expected, JsonNode area, double[] scores, Importance importance) {
    List<ComponentCircuit> circuits = new ArrayList<>();
    for (double fraction : FaithfulnessCurve.FRACTIONS) {
      int count = FaithfulnessCurve.count(expected.graph(), fraction);
      assertEquals(area.get("n").get(circuits.size()).asInt(), count);
      circuits.add(importance.top(expected.graph(), scores, count).pruned());
    }
    FaithfulnessCurve curve =
        FaithfulnessCurve.of(
            FaithfulnessCurve.FRACTIONS,
            evaluator(expected, "patching")
                .evaluate(expected.pairs("logit_difference"), circuits, 0));
    assertEquals(FaithfulnessCurve.FRACTIONS.size(), area.get("fractions").size());
    for (int i = 0; i < circuits.size(); i++) {
      assertEquals(area.get("fractions").get(i).asDouble(), curve.fractions().get(i));
      assertNear(area.get("faithfulness").get(i).asDouble(), curve.faithfulness().get(i));
    }
    assertNear(area.get("cpr").asDouble(), curve.cpr());
    assertNear(area.get("cmd").asDouble(), curve.cmd());
    assertNear(area.get("average").asDouble(), curve.average());
  }

  /** All edges out of a head, or an MLP, at a token are its node there. */
  private static void compareTokens(ReferenceCase expected) {
    List<Pair> pairs = expected.pairs("logit_difference");
    int tokens = pairs.get(0).length();
    if (pairs.stream().anyMatch(pair -> pair.length() != tokens)) {
      return; // and then it has no nodes
    }
    Map<String, EdgeMethod> methods = Map.of("atp", EdgeMethod.EAP, "exact", EdgeMethod.EXACT);
    methods.forEach(
        (name, method) -> {
          EdgeScorer scorer =
              new EdgeScorer(expected.graph().byToken(tokens), AblationValues.PATCHING, method);
          List<Double> heads = new ArrayList<>();
          List<Double> mlps = new ArrayList<>();
          for (Pair pair : pairs) {
            PairScores writes = scorer.scoreSources(pair);
            for (int i = 0; i < writes.size(); i++) {
              StreamWriter source = expected.graph().sources().get(i / tokens);
              if (source instanceof StreamWriter.Head) {
                heads.add(writes.score(i));
              } else if (source instanceof StreamWriter.OfMlp) {
                mlps.add(writes.score(i));
              }
            }
          }
          assertNear(expected.tensor("nodes/" + name + "/head"), heads);
          assertNear(expected.tensor("nodes/" + name + "/mlp"), mlps);
        });
  }

  private static void assertNear(double[] expected, List<Double> actual) {
    assertEquals(expected.length, actual.size());
    for (int i = 0; i < expected.length; i++) {
      assertNear(expected[i], actual.get(i));
    }
  }

  /** In the whole model, without one edge the metric changes by what the oracle says. */
  private static void compareMinimality(ReferenceCase expected) {
    String metric = expected.expected().has("truth") ? "linear" : "logit_difference";
    double[] exact = expected.tensor(metric + "/patching/exact");
    double adds =
        Arrays.stream(expected.tensor(metric + "/clean")).average().orElseThrow()
            - Arrays.stream(expected.tensor(metric + "/corrupted")).average().orElseThrow();
    List<Pair> pairs = expected.pairs(metric);
    CircuitTests tests = ofAllEdges(expected);
    CircuitTotals totals = evaluator(expected, "patching").evaluate(pairs, tests.runs(), 9);
    for (CircuitTests.Minimality edge : tests.minimality(totals, 0, 0.9)) {
      double fall = edge.value() * (totals.full() - totals.empty());
      assertNear(adds, totals.full() - totals.empty());
      assertNear(-exact[edge.edge()], fall);
    }
  }

  private static CircuitTests ofAllEdges(ReferenceCase expected) {
    ComponentCircuit all = ComponentCircuit.empty(expected.graph()).complement();
    return CircuitTests.drawn(List.of(all), all.size(), 1);
  }

  /** An edge that the program does not need has no minimality, any other one has. */
  private static void compareNeeded(ReferenceCase expected) {
    JsonNode truth = expected.expected().get("truth");
    CircuitTests tests = ofAllEdges(expected);
    for (String ablation : List.of("patching", "zero")) {
      Set<String> effective = Set.copyOf(names(truth.get("effective_" + ablation)));
      CircuitTotals totals =
          evaluator(expected, ablation).evaluate(expected.pairs("outputs"), tests.runs(), 99);
      Set<String> needed = new HashSet<>();
      for (CircuitTests.Minimality edge : tests.minimality(totals, 0, 0.95)) {
        String name = expected.graph().edges().get(edge.edge()).toString();
        if (edge.value() > 1e-6) {
          needed.add(name);
        } else {
          assertEquals(0, edge.value(), TOLERANCE, name);
          assertEquals(0, edge.interval().high(), TOLERANCE, name);
        }
      }
      assertEquals(effective, needed, ablation);
    }
  }

  private static void compareTruth(ReferenceCase expected) {
    Tensors tensors = new Tensors(expected);
    JsonNode truth = expected.expected().get("truth");
    for (String ablation : List.of("patching", "zero")) {
      Set<String> effective = new HashSet<>();
      for (double[] pair : tensors.ofPairs("linear", ablation, "exact_l2")) {
        for (int i = 0; i < pair.length; i++) {
          if (pair[i] > 1e-6) {
            effective.add(expected.graph().edges().get(i).toString());
          }
        }
      }
      assertEquals(Set.copyOf(names(truth.get("effective_" + ablation))), effective);
    }
    Map<String, ComponentCircuit> truths = new HashMap<>();
    for (Map.Entry<String, JsonNode> own : truth.properties()) {
      truths.put(
          own.getKey(),
          ComponentCircuit.of(
              expected.graph(),
              names(own.getValue()).stream()
                  .map(expected.graph()::edge)
                  .map(expected.graph()::number)
                  .toList()));
    }
    for (Map.Entry<String, JsonNode> auroc : expected.expected().get("auroc").properties()) {
      List<String> names = List.of(auroc.getKey().split("/", -1));
      List<double[]> pairs = tensors.ofPairs(names.get(0), names.get(1), names.get(2));
      double[] scores =
          names.get(3).equals("mean")
              ? magnitudes(Tensors.mean(pairs))
              : Tensors.mean(pairs.stream().map(DatasetReferenceTest::magnitudes).toList());
      for (int i = 0; i < scores.length; i++) {
        scores[i] = scores[i] < 1e-9 ? 0 : scores[i];
      }
      assertFalse(auroc.getValue().isEmpty());
      for (Map.Entry<String, JsonNode> own : auroc.getValue().properties()) {
        assertNear(
            own.getValue().asDouble(),
            Agreement.auroc(scores, Objects.requireNonNull(truths.get(own.getKey()))));
      }
    }
  }

  /**
   * An edge that the linear method misses is a largest one of the exact one, and said to be missed.
   */
  private static void compareMissed(ReferenceCase expected) {
    ComponentGraph graph = expected.graph();
    int missed = graph.number(graph.edge("m2->a3.h0<q>"));
    List<Pair> pairs = expected.pairs("linear");
    for (EdgeMethod method : List.of(EdgeMethod.EXACT, EdgeMethod.QK_FIX)) {
      double[] means = scores(expected, "linear", "zero", method);
      assertEquals(-3, means[missed], 1e-3);
    }
    double[] exact = scores(expected, "linear", "zero", EdgeMethod.EXACT);
    double largest = Arrays.stream(magnitudes(exact)).max().orElseThrow();
    assertEquals(largest, Math.abs(exact[missed]), 1e-5); // as all on its path
    EdgeScorer scorer = new EdgeScorer(graph, AblationValues.ZERO, EdgeMethod.EAP);
    ExactSample sample =
        new ExactSample(ExactSample.draw(graph.edges().size(), graph.edges().size(), 1));
    pairs.forEach(pair -> sample.add(scorer.score(pair), scorer.exact(pair, sample.edges())));
    List<ExactSample.Compared> worst = sample.worstFirst().subList(0, 6); // the whole path
    assertTrue(worst.stream().anyMatch(own -> own.edge() == missed));
    for (ExactSample.Compared own : worst) {
      assertEquals(-3, own.exact(), 1e-3);
      assertEquals(0, own.estimate(), 1e-4);
    }
  }

  private static double[] magnitudes(double[] numbers) {
    return Arrays.stream(numbers).map(Math::abs).toArray();
  }

  private static List<String> names(JsonNode array) {
    List<String> names = new ArrayList<>();
    array.forEach(name -> names.add(name.asText()));
    return names;
  }

  private static void assertNear(double expected, double actual) {
    assertEquals(expected, actual, TOLERANCE * Math.max(1, Math.abs(expected)));
  }

  /** What a case computes, by the names of the oracle. */
  private record Tensors(
      ReferenceCase of,
      Map<String, List<double[]>> byPair,
      Map<NodeMethod, List<NodeScores>> nodes) {
    Tensors(ReferenceCase of) {
      this(of, new HashMap<>(), new EnumMap<>(NodeMethod.class));
    }

    @Nullable Supplier<double[]> computed(String name) {
      if (name.equals("outputs/clean")) {
        return () ->
            flat(
                of.pairs("linear").stream()
                    .map(pair -> of.model().logits(Pair.ids(pair.clean())).toDoubles())
                    .toList());
      }
      List<String> parts = List.of(name.replace(PAIRS, "").split("/", -1));
      if (name.startsWith("nodes/")) {
        NodeMethod method = NodeMethod.valueOf(parts.get(1).toUpperCase(Locale.ROOT));
        return () -> ofNodes(method, parts.get(2));
      }
      if (parts.size() == 2) {
        return () ->
            flat(
                scores(parts.get(0), "patching", EdgeMethod.EAP, false).stream()
                    .map(
                        own ->
                            new double[] {
                              parts.get(1).equals("clean") ? own.clean() : own.corrupted()
                            })
                    .toList());
      }
      if (parts.get(2).equals("means")) {
        return () -> of.means(parts.get(1)).toDoubles();
      }
      return () -> {
        List<double[]> pairs =
            byPair.computeIfAbsent(
                name.replace(PAIRS, ""), any -> ofPairs(parts.get(0), parts.get(1), parts.get(2)));
        return name.endsWith(PAIRS) ? flat(pairs) : mean(pairs);
      };
    }

    /** What an edge scores in each pair, but where the rounding of the oracle decides it. */
    private List<double[]> ofPairs(String metric, String ablation, String method) {
      if (method.equals("exact_l2")) {
        return ofPairs("outputs", ablation, "exact");
      }
      List<double[]> pairs = computed(metric, ablation, method);
      String name = metric + "/" + ablation + "/" + method;
      JsonNode rounded = of.expected().path("rounding_decides").path(name);
      if (!rounded.isEmpty()) {
        double[] expected = of.tensor(name + PAIRS);
        for (JsonNode edge : rounded) {
          int number = of.graph().number(of.graph().edge(edge.asText()));
          for (int pair = 0; pair < pairs.size(); pair++) {
            pairs.get(pair)[number] = expected[pair * of.graph().edges().size() + number];
          }
        }
      }
      return pairs;
    }

    private List<double[]> computed(String metric, String ablation, String method) {
      boolean nodes = method.startsWith("node_");
      return scores(metric, ablation, method(method.replace("node_", "")), nodes).stream()
          .map(PairScores::toArray)
          .toList();
    }

    private List<PairScores> scores(
        String metric, String ablation, EdgeMethod method, boolean nodes) {
      EdgeScorer scorer = new EdgeScorer(of.graph(), of.ablation(ablation), method);
      return of.pairs(metric).stream()
          .map(pair -> nodes ? scorer.scoreSources(pair) : scorer.score(pair))
          .toList();
    }

    private static EdgeMethod method(String name) {
      return switch (name) {
        case "eap" -> EdgeMethod.EAP;
        case "eap_ig_inputs" -> EdgeMethod.eapIgInputs(5);
        case "eap_ig_inputs_50" -> EdgeMethod.eapIgInputs(50);
        case "eap_ig_activations" -> EdgeMethod.eapIgActivations(5);
        case "eap_ig_activations_pooled" -> EdgeMethod.eapIgPooledActivations(5);
        case "clean_corrupted" -> EdgeMethod.CLEAN_CORRUPTED;
        case "eap_qk_fix" -> EdgeMethod.QK_FIX;
        case "exact" -> EdgeMethod.EXACT;
        default -> throw new AssertionError(name);
      };
    }

    private double[] ofNodes(NodeMethod method, String name) {
      NodeList.Kind kind =
          switch (name) {
            case "q" -> NodeList.Kind.QUERY;
            case "k" -> NodeList.Kind.KEY;
            case "v" -> NodeList.Kind.VALUE;
            case "head" -> NodeList.Kind.HEAD;
            case "mlp" -> NodeList.Kind.MLP;
            default -> throw new AssertionError(name);
          };
      List<NodeScores> pairs =
          nodes.computeIfAbsent(
              method,
              any -> {
                NodeScorer scorer = new NodeScorer(NodeList.of(of.model()), method);
                return of.pairs("logit_difference").stream().map(scorer::score).toList();
              });
      return pairs.stream()
          .flatMapToDouble(
              pair ->
                  Arrays.stream(
                      ExpectedTensors.stack(
                          of.model().layers(),
                          layer -> pair.of(new NodeList.OfLayer(kind, layer)))))
          .toArray();
    }

    private static double[] flat(List<double[]> pairs) {
      return pairs.stream().flatMapToDouble(Arrays::stream).toArray();
    }

    private static double[] mean(List<double[]> pairs) {
      double[] mean = new double[pairs.get(0).length];
      for (double[] pair : pairs) {
        for (int i = 0; i < mean.length; i++) {
          mean[i] += pair[i] / pairs.size();
        }
      }
      return mean;
    }
  }
}
