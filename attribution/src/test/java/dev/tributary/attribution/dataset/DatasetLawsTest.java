package dev.tributary.attribution.dataset;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.Metric;
import dev.tributary.attribution.RandomDictionaries;
import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Shapes;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Encoding;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.MlpShare;
import dev.tributary.transformer.MlpSplit;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.RandomArchitecture;
import dev.tributary.transformer.ReadIntervention;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.StreamReader;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Tokens;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.WriteIntervention;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Collections;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.stream.IntStream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Assume;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;

/** The laws of edges over pairs, whatever the model and the prompts. */
class DatasetLawsTest {
  /** Rounding of some runs in 64 bits, relative to 1 or the largest number. */
  private static final double EXACT = 1e-9;

  /** Of a small change: its square, and rounding over its size. */
  private static final double SMALL = 1e-6;

  private static final double LINEAR = 1e-3;

  /** Changes bend sharply where a neuron switches, so their models are always the same. */
  private static final String FIXED = "20261127";

  @Provide
  Arbitrary<Drawn> drawn() {
    return Arbitraries.longs().between(0, 1L << 40).map(Drawn::new).withoutEdgeCases();
  }

  /** Runs that are changed by hand are run again for each reader. */
  @Provide
  Arbitrary<Drawn> small() {
    return drawn()
        .filter(
            drawn ->
                drawn.config().layers().stream()
                        .mapToInt(layer -> 3 * layer.attention().heads() + layer.mlp().neurons())
                        .sum()
                    <= 14);
  }

  /** All that is drawn follows from a seed. */
  record Drawn(long seed) {
    TransformerConfig config() {
      Random random = new Random(seed);
      return RandomArchitecture.of(
          random,
          1 + random.nextInt(3),
          4 + random.nextInt(5),
          1 + random.nextInt(4),
          1 + random.nextInt(4),
          1 + random.nextInt(7),
          5,
          3 + random.nextInt(6));
    }

    Transformer model(DType dtype) {
      return RandomDictionaries.ofMlps(
          Transformer.random(config(), dtype, seed), new Random(seed + 2));
    }

    /** One whose MLPs are whole. */
    ComponentGraph whole(Transformer model) {
      Site site = seed % 2 == 0 ? Site.TOKEN_EMBEDDING : Site.EMBEDDING;
      return ComponentGraph.of(model, new StreamWriter.Input(site));
    }

    /** One whose MLPs may be split. */
    ComponentGraph graph(Transformer model) {
      return new Random(seed).nextInt(3) == 0 ? split(model) : whole(model);
    }

    /** One with some neurons, perhaps all of a layer, and latents as components of their own. */
    ComponentGraph split(Transformer model) {
      Random random = new Random(seed + 1);
      List<MlpShare> shares = new ArrayList<>();
      for (int layer = 0; layer < model.layers(); layer++) {
        int oneOf = 1 + random.nextInt(3);
        for (int neuron = 0; neuron < model.mlp(layer).neuronCount(); neuron++) {
          if (random.nextInt(oneOf) == 0) {
            shares.add(MlpShare.neuron(layer, neuron));
          }
        }
      }
      for (Dictionary dictionary : model.dictionaries()) {
        int oneOf = 1 + random.nextInt(3);
        for (int latent = 0; latent < dictionary.latentCount(); latent++) {
          if (random.nextInt(oneOf) == 0) {
            shares.add(MlpShare.latent(dictionary.id(), latent));
          }
        }
      }
      Collections.shuffle(shares, random);
      return ComponentGraph.of(model, whole(model).input(), shares);
    }

    /** A graph with edges of all tokens of a pair, or of each, or of some spans. */
    ComponentGraph graph(Transformer model, Pair pair) {
      Random random = new Random(~seed);
      ComponentGraph graph = graph(model);
      return switch (random.nextInt(4)) {
        case 0 -> graph;
        case 1 -> graph.byToken(pair.length());
        default -> graph.at(spans(random, pair.length()));
      };
    }

    private static List<Tokens> spans(Random random, int length) {
      List<Tokens> spans = new ArrayList<>();
      int first = 0;
      while (length - first > 1 && random.nextInt(4) > 0) {
        int end = first + 1 + random.nextInt(length - first - 1);
        spans.add(new Tokens(first, end));
        first = end;
      }
      spans.add(random.nextBoolean() ? Tokens.from(first) : new Tokens(first, length));
      return spans;
    }

    Pair pair(int number) {
      Random random = new Random(seed + number);
      int vocabulary = config().vocabulary();
      int length = 1 + random.nextInt(5);
      return new Pair(
          random.ints(length, 0, vocabulary).boxed().toList(),
          random.ints(length, 0, vocabulary).boxed().toList(),
          metric(random, length, vocabulary));
    }

    private static PairMetric metric(Random random, int length, int vocabulary) {
      int position = random.nextInt(length);
      int word = random.nextInt(vocabulary);
      return switch (random.nextInt(3)) {
        case 0 ->
            new PairMetric.OfLogits(
                new Metric.LogitDifference(
                    position, List.of(word), List.of((word + 1) % vocabulary)));
        case 1 -> new PairMetric.OfLogits(new Metric.LogProbability(position, List.of(word)));
        default ->
            new PairMetric.Linear(
                List.of(
                    new PairMetric.Linear.Term(position, word, 0.7),
                    new PairMetric.Linear.Term(0, word, -2)));
      };
    }

    /** Whether nothing but sources differs between two prompts: no bias is divided by a scale. */
    boolean constantsAreConstant() {
      return config().layers().stream()
          .allMatch(
              layer ->
                  !layer.attention().outputBias() || layer.attention().outlet().norm().isEmpty());
    }

    /** Whether no norm of what a part writes divides what a component writes by what others do. */
    boolean componentsAreApart() {
      return config().layers().stream()
          .allMatch(
              layer ->
                  layer.attention().outlet().norm().isEmpty()
                      && layer.mlp().outlet().norm().isEmpty());
    }

    ComponentCircuit circuit(ComponentGraph graph) {
      Random random = new Random(seed);
      return ComponentCircuit.of(
          graph,
          IntStream.range(0, graph.edges().size())
              .filter(edge -> random.nextInt(3) > 0)
              .boxed()
              .toList());
    }
  }

  @Property(tries = 60)
  void written_allBeforeAReader_addUpToTheStream(@ForAll("drawn") Drawn drawn) {
    Assume.that(drawn.constantsAreConstant());
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      ComponentGraph graph = drawn.graph(model);
      Pair pair = drawn.pair(0);
      Run clean = run(graph, model, pair.clean());
      Run corrupted = run(graph, model, pair.corrupted());
      Tensor moved =
          StreamWriter.written(corrupted, graph.sources())
              .minus(StreamWriter.written(clean, graph.sources()));
      for (int reader = 0; reader < graph.readers().size(); reader++) {
        Tensor sum = moved.slice(0, 0, graph.before(reader)).sum(0);
        var point = graph.readers().get(reader).reads(model);
        assertNear(
            corrupted.residual(point).value().minus(clean.residual(point).value()).toDoubles(),
            sum.toDoubles(),
            EXACT);
      }
    }
  }

  @Property(tries = 40)
  void exact_everyEdge_isTheCircuitWithoutIt(@ForAll("drawn") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      Pair pair = drawn.pair(0);
      ComponentGraph graph = drawn.graph(model, pair);
      for (AblationValues ablation : List.of(AblationValues.PATCHING, AblationValues.ZERO)) {
        EdgeScorer scorer = new EdgeScorer(graph, ablation, EdgeMethod.EXACT);
        ComponentCircuit full = ComponentCircuit.empty(graph).complement();
        List<ComponentCircuit> circuits = new ArrayList<>();
        for (int edge : full.edges()) {
          circuits.add(full.without(edge));
        }
        for (StreamWriter source : graph.sources()) {
          for (Tokens tokens : graph.spans()) {
            Predicate<ComponentGraph.Edge> out =
                edge -> edge.source().equals(source) && edge.tokens().equals(tokens);
            circuits.add(
                ComponentCircuit.of(
                    graph,
                    full.edges().stream()
                        .filter(edge -> !out.test(graph.edges().get(edge)))
                        .toList()));
          }
        }
        CircuitEvaluator.Metrics metrics =
            new CircuitEvaluator(graph, ablation).evaluate(pair, circuits);
        PairScores edges = scorer.score(pair);
        PairScores sources = scorer.scoreSources(pair);
        assertEquals(edges.clean(), metrics.full());
        double[] expected =
            metrics.circuits().stream().mapToDouble(own -> own - metrics.full()).toArray();
        assertNear(
            expected,
            IntStream.range(0, expected.length)
                .mapToDouble(
                    i -> i < edges.size() ? edges.score(i) : sources.score(i - edges.size()))
                .toArray(),
            EXACT);
      }
    }
  }

  @Property(tries = 60)
  void evaluate_patching_emptyIsCorruptedAndPruningChangesNothing(@ForAll("drawn") Drawn drawn) {
    Assume.that(drawn.componentsAreApart());
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      Pair pair = drawn.pair(0);
      ComponentGraph graph = drawn.graph(model, pair);
      ComponentCircuit circuit = drawn.circuit(graph);
      CircuitEvaluator.Metrics metrics =
          new CircuitEvaluator(graph, AblationValues.PATCHING)
              .evaluate(
                  pair,
                  List.of(circuit, circuit.pruned(), ComponentCircuit.empty(graph).complement()));
      PairScores plain = new EdgeScorer(graph, AblationValues.PATCHING, EdgeMethod.EAP).score(pair);
      assertNear(
          new double[] {plain.clean(), plain.corrupted(), metrics.circuits().get(0)},
          new double[] {metrics.circuits().get(2), metrics.empty(), metrics.circuits().get(1)},
          EXACT);
    }
  }

  private static Run run(ComponentGraph graph, Transformer model, List<Integer> prompt) {
    return model.run(EnumSet.allOf(Site.class), List.of(prompt), graph.split());
  }

  /**
   * The metric of a circuit from changes that are made by hand, reader by reader: each reads, on
   * top of what it would, what is heard of its missing sources less what these write by then.
   */
  private static double byHand(
      Run clean, ComponentCircuit circuit, Tensor missing, Function<Run, Variable> metric) {
    ComponentGraph graph = circuit.graph();
    List<Change> changes = new ArrayList<>();
    Run changed = clean;
    for (StreamReader reader : graph.readers()) {
      Tensor written = StreamWriter.written(changed, graph.sources());
      Tensor added = Tensor.zeros(written.dtype(), PairRuns.of(written, 0).shape());
      for (int edge = 0; edge < graph.edges().size(); edge++) {
        if (graph.edges().get(edge).reader().equals(reader) && !circuit.contains(edge)) {
          int source = graph.sources().indexOf(graph.edges().get(edge).source());
          added = added.plus(PairRuns.of(missing, source).minus(PairRuns.of(written, source)));
        }
      }
      changes.add(ReadIntervention.add(reader, added));
      changed = clean.with(Change.together(changes));
    }
    return metric.apply(changed).value().item();
  }

  @Property(tries = 12)
  void minimality_someEdges_isThatOfRunsMadeByHand(@ForAll("small") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      ComponentGraph graph = drawn.graph(model);
      ComponentCircuit full = ComponentCircuit.empty(graph).complement();
      ComponentCircuit own = drawn.circuit(graph);
      ComponentCircuit none = ComponentCircuit.empty(graph);
      CircuitTests tests = CircuitTests.drawn(List.of(full, own, none), 3, drawn.seed());
      List<Pair> pairs = List.of(drawn.pair(0), drawn.pair(1));
      CircuitTotals totals =
          new CircuitEvaluator(graph, AblationValues.PATCHING).evaluate(pairs, tests.runs(), 20);
      assertEquals(List.of(), tests.minimality(totals, 2, 0.9));
      for (int circuit = 0; circuit < 2; circuit++) {
        List<CircuitTests.Minimality> found = tests.minimality(totals, circuit, 0.9);
        ComponentCircuit tested = tests.circuits().get(circuit);
        assertEquals(Math.min(3, tested.size()), found.size());
        for (CircuitTests.Minimality edge : found) {
          assertTrue(tested.contains(edge.edge()));
          double fall = 0;
          double adds = 0;
          for (Pair pair : pairs) {
            Run clean = run(graph, model, pair.clean());
            Run corrupted = run(graph, model, pair.corrupted());
            Tensor missing = StreamWriter.written(corrupted, graph.sources());
            Function<Run, Variable> metric = pair.metric().against(clean);
            fall +=
                byHand(clean, tested, missing, metric)
                    - byHand(clean, tested.without(edge.edge()), missing, metric);
            adds += metric.apply(clean).value().item() - byHand(clean, none, missing, metric);
          }
          if (adds == 0) {
            assertTrue(Double.isNaN(edge.value()) && Double.isNaN(edge.interval().low()));
          } else {
            assertEquals(fall, edge.value() * adds, EXACT * Math.max(1, Math.abs(fall)));
          }
        }
      }
    }
  }

  /** Of a difference: two circuits that rise and fall together are told apart by few pairs. */
  @Test
  void minimalityInterval_pairsThatRiseTogether_isThatOfTheDifference() {
    int pairs = 400;
    Random random = new Random(5);
    CircuitTotals totals = new CircuitTotals(2, 2000);
    double sum = 0;
    double squares = 0;
    for (int pair = 0; pair < pairs; pair++) {
      double kept = 0.6 + 3 * random.nextGaussian();
      double fall = 0.2 + 0.05 * random.nextGaussian();
      sum += fall;
      squares += fall * fall;
      totals.add(
          pair, new CircuitEvaluator.Metrics(-1, 1, List.of(1 - 2 * kept, 1 - 2 * (kept - fall))));
    }
    double mean = sum / pairs;
    double error = Math.sqrt((squares / pairs - mean * mean) / pairs);
    assertEquals(mean, totals.minimality(0, 1), EXACT);
    assertEquals(-mean, totals.minimality(1, 0), EXACT);
    CircuitTotals.Interval interval = totals.minimalityInterval(0, 1, 0.95);
    assertEquals(mean - 1.96 * error, interval.low(), 0.15 * error);
    assertEquals(mean + 1.96 * error, interval.high(), 0.15 * error);
  }

  /** What is heard of a missing source is nearly what it writes. */
  private static AblationValues near(long seed) {
    return new AblationValues("near") {
      @Override
      Tensor heard(ComponentGraph graph, Tensor written, Run corrupted) {
        Random random = new Random(seed);
        double[] noise = random.doubles(written.shape().length(), -SMALL, SMALL).toArray();
        return written.plus(Tensor.of(written.dtype(), written.shape(), noise));
      }
    };
  }

  @Property(tries = 60, seed = FIXED)
  void score_smallAblation_everyMethodAgrees(@ForAll("drawn") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      Pair drawnPair = drawn.pair(0);
      ComponentGraph graph = drawn.graph(model, drawnPair);
      Pair pair = new Pair(drawnPair.clean(), drawnPair.clean(), drawnPair.metric());
      double[] eap = scaled(graph, pair, drawn.seed, EdgeMethod.EAP);
      for (EdgeMethod method :
          List.of(
              EdgeMethod.EXACT,
              EdgeMethod.QK_FIX,
              EdgeMethod.CLEAN_CORRUPTED,
              EdgeMethod.eapIgInputs(2),
              EdgeMethod.eapIgActivations(2))) {
        assertNear(eap, scaled(graph, pair, drawn.seed, method), LINEAR);
      }
    }
  }

  private static double[] scaled(ComponentGraph graph, Pair pair, long seed, EdgeMethod method) {
    double[] scores = new EdgeScorer(graph, near(seed), method).score(pair).toArray();
    return Arrays.stream(scores).map(score -> score / SMALL).toArray();
  }

  /** The last step of all is the clean run, in which only what is upstream gets no gradient. */
  @Property(tries = 40)
  void score_oneStepOfActivations_isEap(@ForAll("drawn") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      Pair pair = drawn.pair(0);
      ComponentGraph graph = drawn.graph(model, pair);
      assertNear(
          score(graph, pair, EdgeMethod.EAP),
          score(graph, pair, EdgeMethod.eapIgActivations(1)),
          EXACT);
    }
  }

  @Property(tries = 40)
  void put_aWriter_letsNoGradientPass(@ForAll("drawn") Drawn drawn) {
    Assume.that(drawn.componentsAreApart());
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      ComponentGraph graph = drawn.graph(model);
      PairRuns runs =
          PairRuns.withDerivatives(graph, AblationValues.PATCHING, List.of(drawn.pair(0)));
      for (int source = 0; source < graph.sources().size(); source++) {
        StreamWriter writer = graph.sources().get(source);
        Run changed =
            runs.clean()
                .with(WriteIntervention.put(Map.of(writer, PairRuns.of(runs.missing(), source))));
        double[][] products =
            ReaderGradients.of(changed, graph, runs::metric)
                .products(runs.written().permute(1, 0, 2), 0)
                .get(0);
        for (double[] ofSource : products) {
          for (int reader = 0; reader < ofSource.length; reader++) {
            if (graph.readers().get(reader).writer().filter(writer::equals).isPresent()) {
              assertEquals(0, ofSource[reader], EXACT);
            }
          }
        }
      }
    }
  }

  @Property(tries = 40)
  void score_pairsThatRunTogether_addUpToEachAlone(@ForAll("drawn") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      ComponentGraph graph = drawn.graph(model);
      List<Pair> pairs =
          IntStream.range(0, 8)
              .mapToObj(drawn::pair)
              .sorted(Comparator.comparingInt(Pair::length))
              .toList();
      WriteMeans means = WriteMeans.overPositions(graph);
      pairs.forEach(pair -> means.add(pair.clean()));
      for (EdgeMethod method :
          List.of(
              EdgeMethod.EAP,
              EdgeMethod.CLEAN_CORRUPTED,
              EdgeMethod.QK_FIX,
              EdgeMethod.eapIgInputs(2),
              EdgeMethod.eapIgPooledActivations(1))) {
        for (AblationValues ablation :
            List.of(AblationValues.PATCHING, AblationValues.ZERO, AblationValues.of(means))) {
          assertTogetherIsAlone(new EdgeScorer(graph, ablation, method), pairs);
          int length = pairs.get(4).length();
          assertTogetherIsAlone(
              new EdgeScorer(graph.byToken(length), ablation, method),
              pairs.stream().filter(pair -> pair.length() == length).toList());
        }
      }
    }
  }

  private static void assertTogetherIsAlone(EdgeScorer scorer, List<Pair> pairs) {
    EdgeTotals alone = new EdgeTotals(scorer.graph().edges().size());
    pairs.forEach(pair -> alone.add(scorer.score(pair)));
    assertNear(alone.toArray(), scorer.score(pairs).toArray(), EXACT);
  }

  @Test
  void score_twiceAsManyPairs_takesTheSameMemory() {
    try (Scope scope = Scope.open()) {
      Transformer model =
          Transformer.random(
              TransformerConfig.gpt2(2, 8, 2, 4, 16, 64, 9, 1e-5, true), DType.FLOAT, 1);
      ComponentGraph graph = ComponentGraph.of(model, new StreamWriter.Input(Site.EMBEDDING));
      ComponentGraph byToken = graph.byToken(64);
      for (EdgeMethod method : List.of(EdgeMethod.EAP, EdgeMethod.eapIgInputs(2))) {
        assertEquals(
            peak(new EdgeScorer(byToken, AblationValues.PATCHING, method), 20),
            peak(new EdgeScorer(byToken, AblationValues.PATCHING, method), 40));
        EdgeScorer scorer = new EdgeScorer(graph, AblationValues.PATCHING, method);
        long once = peak(scorer, 20);
        assertTrue(once > 0);
        assertEquals(once, peak(scorer, 40), method.toString());
      }
    }
  }

  /** Bytes that scores of some pairs take at most, beside the model. */
  private static long peak(EdgeScorer scorer, int pairs) {
    PairMetric metric =
        new PairMetric.OfLogits(new Metric.LogitDifference(63, List.of(1), List.of(2)));
    List<Integer> prompt = Collections.nCopies(64, 3);
    return Shapes.measure(
        () -> {
          scorer.score(Collections.nCopies(pairs, new Pair(prompt, prompt, metric)));
          return Scope.reservedBytes();
        });
  }

  @Test
  void score_meansPerPosition_pairsThatRunTogetherAddUpToEachAlone() {
    try (Scope scope = Scope.open()) {
      Transformer model =
          Transformer.random(
              TransformerConfig.gpt2(2, 6, 2, 3, 7, 5, 9, 1e-5, true), DType.DOUBLE, 1);
      ComponentGraph graph = ComponentGraph.of(model, new StreamWriter.Input(Site.EMBEDDING));
      PairMetric metric = new PairMetric.Divergence(2);
      List<Pair> pairs =
          List.of(
              new Pair(List.of(1, 2, 3), List.of(1, 5, 3), metric),
              new Pair(List.of(4, 0, 8), List.of(7, 0, 6), metric));
      WriteMeans means = WriteMeans.perPosition(graph, 3);
      pairs.forEach(pair -> means.add(pair.clean()));
      EdgeScorer scorer =
          new EdgeScorer(graph, AblationValues.of(means), EdgeMethod.eapIgInputs(3));
      assertTogetherIsAlone(scorer, pairs);
    }
  }

  @Test
  void means_ofOtherSources_areRefused() {
    try (Scope scope = Scope.open()) {
      Transformer model =
          Transformer.random(
              TransformerConfig.gpt2(1, 4, 1, 2, 3, 4, 5, 1e-5, true), DType.DOUBLE, 1);
      StreamWriter.Input input = new StreamWriter.Input(Site.EMBEDDING);
      ComponentGraph split = ComponentGraph.of(model, input, List.of(MlpShare.neuron(0, 1)));
      WriteMeans means = WriteMeans.overPositions(ComponentGraph.of(model, input));
      means.add(List.of(1, 2));
      Pair pair = new Pair(List.of(1, 2), List.of(1, 3), new PairMetric.Divergence(1));
      EdgeScorer scorer = new EdgeScorer(split, AblationValues.of(means), EdgeMethod.EAP);
      IllegalArgumentException refusal =
          assertThrows(IllegalArgumentException.class, () -> scorer.score(pair));
      assertEquals("means of 3 sources of width 4 do not fit [4, 2, 4]", refusal.getMessage());
    }
  }

  private static double[] score(ComponentGraph graph, Pair pair, EdgeMethod method) {
    return new EdgeScorer(graph, AblationValues.PATCHING, method).score(pair).toArray();
  }

  @Property(tries = 40)
  void nodes_writesAtEachToken_areTheEdgesOutOfASourceThere(@ForAll("drawn") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      Pair pair = drawn.pair(0);
      ComponentGraph graph = drawn.whole(model).byToken(pair.length());
      Map<NodeMethod, EdgeMethod> methods =
          Map.of(NodeMethod.ATP, EdgeMethod.EAP, NodeMethod.EXACT, EdgeMethod.EXACT);
      methods.forEach(
          (ofNodes, ofEdges) -> {
            NodeScores nodes = new NodeScorer(NodeList.of(model), ofNodes).score(pair);
            double[] sources =
                new EdgeScorer(graph, AblationValues.PATCHING, ofEdges)
                    .scoreSources(pair)
                    .toArray();
            double[] expected = sources.clone(); // the input is no node
            for (int i = 1; i < graph.sources().size(); i++) {
              StreamWriter source = graph.sources().get(i);
              NodeList.Kind kind =
                  source instanceof StreamWriter.Head ? NodeList.Kind.HEAD : NodeList.Kind.MLP;
              System.arraycopy(
                  nodes.of(new NodeList.OfLayer(kind, source.layer())),
                  source.number() * pair.length(),
                  expected,
                  i * pair.length(),
                  pair.length());
            }
            assertNear(expected, sources, EXACT);
          });
    }
  }

  /** Whatever is linear: of what sources write, and of what readers hear. */
  @Property(tries = 25)
  void score_splitMlps_addUpToTheWhole(@ForAll("drawn") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      Pair pair = drawn.pair(0);
      ComponentGraph whole = drawn.whole(model);
      ComponentGraph split = drawn.split(model);
      for (EdgeMethod method :
          List.of(
              EdgeMethod.EAP,
              EdgeMethod.CLEAN_CORRUPTED,
              EdgeMethod.eapIgInputs(2),
              EdgeMethod.eapIgPooledActivations(2))) {
        double[] scores = score(split, pair, method);
        double[] sums = new double[whole.edges().size()];
        for (int i = 0; i < scores.length; i++) {
          ComponentGraph.Edge edge = split.edges().get(i);
          String name = whole(edge.source()) + "->" + whole(edge.reader());
          sums[whole.number(whole.edge(name))] += scores[i];
        }
        assertNear(score(whole, pair, method), sums, EXACT);
      }
    }
  }

  private static String whole(Object end) {
    return end.toString()
        .replaceAll("\\.n\\d+$", "")
        .replaceAll("^L(\\d+)\\..*_latent\\d+$", "m$1");
  }

  /** An autoencoder of neurons that gives back what it reads. */
  private static Dictionary identity(Transformer model, int layer) {
    int neurons = model.mlp(layer).neuronCount();
    double[] ones = new double[neurons * neurons];
    for (int i = 0; i < neurons; i++) {
      ones[i * neurons + i] = 1;
    }
    Tensor rows = Tensor.of(model.dtype(), Shape.of(neurons, neurons), ones);
    Tensor zeros = Tensor.zeros(model.dtype(), Shape.of(neurons));
    return Dictionary.autoencoder(
        "identity",
        Place.of(Site.MLP_ACTIVATION, layer),
        new LatentActivation.AbsTopK(neurons),
        rows,
        rows,
        zeros,
        zeros);
  }

  @Property(tries = 20)
  void score_latentsThatAreNeurons_isTheirs(@ForAll("drawn") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer plain = Transformer.random(drawn.config(), DType.DOUBLE, drawn.seed);
      Transformer model =
          plain.with(
              IntStream.range(0, plain.layers()).mapToObj(own -> identity(plain, own)).toList());
      Pair pair = drawn.pair(0);
      ComponentGraph neurons = drawn.split(plain);
      ComponentGraph latents =
          ComponentGraph.of(
              model,
              neurons.input(),
              neurons.split().shares().stream()
                  .map(
                      own ->
                          MlpShare.latent(model.dictionaries().get(own.layer()).id(), own.number()))
                  .toList());
      for (EdgeMethod method :
          List.of(
              EdgeMethod.EXACT,
              EdgeMethod.EAP,
              EdgeMethod.QK_FIX,
              EdgeMethod.eapIgActivations(2))) {
        assertNear(score(neurons, pair, method), score(latents, pair, method), EXACT);
      }
    }
  }

  @Property(tries = 25, seed = FIXED)
  void eap_intoSplitMlps_isTheSlopeOfWhatTheyRead(@ForAll("drawn") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      Pair pair = drawn.pair(0);
      ComponentGraph graph = drawn.split(model);
      PairRuns runs = PairRuns.values(graph, AblationValues.PATCHING, pair);
      double[] scores = score(graph, pair, EdgeMethod.EAP);
      for (int i : ExactSample.draw(scores.length, 20, drawn.seed)) {
        ComponentGraph.Edge edge = graph.edges().get(i);
        Tensor step = runs.moved(graph.sources().indexOf(edge.source())).times(SMALL);
        double slope =
            (runs.metricWith(ReadIntervention.add(edge.reader(), step))
                    - runs.metricWith(ReadIntervention.add(edge.reader(), step.negate())))
                / (2 * SMALL);
        assertEquals(slope, scores[i], SMALL * Math.max(1, Math.abs(slope)), edge::toString);
      }
    }
  }

  @Property(tries = 40)
  void score_bySpan_addsUpToTheSum(@ForAll("drawn") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      Pair pair = drawn.pair(0);
      ComponentGraph whole = drawn.graph(model);
      ComponentGraph graph = drawn.graph(model, pair);
      int spans = graph.spans().size();
      for (EdgeMethod method :
          List.of(
              EdgeMethod.EAP,
              EdgeMethod.CLEAN_CORRUPTED,
              EdgeMethod.QK_FIX,
              EdgeMethod.eapIgInputs(2),
              EdgeMethod.eapIgActivations(2),
              EdgeMethod.eapIgPooledActivations(2))) {
        double[] expected = score(whole, pair, method);
        double[] scores = score(graph, pair, method);
        double[] sums = new double[expected.length];
        for (int i = 0; i < scores.length; i++) {
          sums[i / spans] += scores[i];
        }
        for (int i = 0; i < sums.length; i++) {
          // one key after the other moves a pattern otherwise than all at once
          boolean keys =
              method == EdgeMethod.QK_FIX
                  && whole.edges().get(i).reader() instanceof StreamReader.Head head
                  && head.path() == InputPath.KEY;
          expected[i] = keys ? sums[i] : expected[i];
        }
        assertNear(expected, sums, 1e-12);
      }
    }
  }

  /**
   * The same by hand: of a run whose whole stream is moved at one token, what one reader makes of
   * it there is put into the clean run.
   */
  @Property(tries = 40)
  void score_byToken_isThatOfARunChangedByHand(@ForAll("drawn") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      Pair pair = drawn.pair(0);
      ComponentGraph graph = drawn.graph(model).byToken(pair.length());
      Run clean = model.run(EnumSet.allOf(Site.class), Pair.ids(pair.clean()));
      Tensor moved =
          StreamWriter.written(run(graph, model, pair.corrupted()), graph.sources())
              .minus(StreamWriter.written(run(graph, model, pair.clean()), graph.sources()));
      double[] exact = score(graph, pair, EdgeMethod.EXACT);
      double[] fixed = score(graph, pair, EdgeMethod.QK_FIX);
      Function<Run, Variable> metric = pair.metric().against(clean);
      double plain = metric.apply(clean).value().item();
      for (int number : ExactSample.draw(exact.length, 12, drawn.seed)) {
        ComponentGraph.Edge edge = graph.edges().get(number);
        StreamReader reader = edge.reader();
        int token = edge.tokens().first();
        int source = graph.sources().indexOf(edge.source());
        Tensor write = PairRuns.of(moved, source).slice(0, token, token + 1);
        Run other = movedAt(clean, model, reader, write.pad(0, token, pair.length()));
        List<Change> changes = put(model, reader, token, other, clean);
        if (changes.isEmpty()) {
          continue;
        }
        Run patched = clean.with(changes.toArray(Change[]::new));
        assertEquals(
            metric.apply(patched).value().item() - plain,
            exact[number],
            EXACT * Math.max(1, Math.abs(plain)));
        if (reader.site() == Site.QUERY || reader.site() == Site.KEY) {
          Place pattern = Place.of(Site.PATTERN, reader.layer());
          Tensor gradient =
              Jacobian.of(metric.apply(clean), List.of(clean.variable(pattern))).gradient().get(0);
          double expected =
              patched
                  .value(pattern)
                  .minus(clean.value(pattern))
                  .times(gradient)
                  .reshape(1, gradient.shape().length())
                  .sum(-1)
                  .item();
          assertEquals(expected, fixed[number], EXACT * Math.max(1, Math.abs(expected)));
        }
      }
    }
  }

  /**
   * What one reader alone makes of the stream of another run at a token, in place of what it makes
   * of its own; nothing where others have part in it.
   */
  private static List<Change> put(
      Transformer model, StreamReader reader, int token, Run other, Run own) {
    if (reader instanceof StreamReader.Logits) {
      return List.of(Intervention.patch(Place.of(Site.FINAL_NORMALISED).at(0, token), other));
    }
    if (reader instanceof StreamReader.OfShare share) {
      return List.of(put(share.share(), token, other, own));
    }
    if (reader instanceof StreamReader.OfMlp rest) {
      Place all = Place.of(Site.MLP_ACTIVATION, rest.layer()).at(0, token);
      List<Change> changes = new ArrayList<>(List.of(Intervention.patch(all, other)));
      rest.without().forEach(one -> changes.add(put(one, token, own, other)));
      return changes;
    }
    boolean shared =
        reader.site() != Site.QUERY
            && model.attention(reader.layer()).heads() > model.attention(reader.layer()).keyHeads();
    Place all = Place.of(reader.site(), reader.layer());
    return shared
        ? List.of()
        : List.of(Intervention.patch(all.at(0, reader.number()).at(1, token), other));
  }

  /** A share of an MLP as it is in one run, where it was as in another one. */
  private static Change put(MlpShare share, int token, Run as, Run was) {
    if (!(share.of() instanceof MlpShare.Latents latents)) {
      Place all = Place.of(Site.MLP_ACTIVATION, share.layer()).at(0, token);
      return Intervention.patch(all.at(1, share.number()), as);
    }
    Dictionary dictionary = as.model().dictionary(latents.dictionary());
    Tensor moved =
        written(as.encoding(dictionary), token, share.number())
            .minus(written(was.encoding(dictionary), token, share.number()));
    return Intervention.add(dictionary.decoders().get(0).place(), moved.pad(0, token, as.length()));
  }

  private static Tensor written(Encoding encoding, int token, int latent) {
    return encoding.rows(0, token, latent).times(encoding.value(token, latent));
  }

  /** The clean run with something on top of the stream that a reader reads, for all that do. */
  private static Run movedAt(Run clean, Transformer model, StreamReader reader, Tensor rows) {
    return clean.with(Intervention.add(model.residualAt(reader.reads(model)), rows));
  }

  @Property(tries = 20)
  void nodes_sumsAndExactOfSome_areThoseOfAllTokens(@ForAll("drawn") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      Pair pair = drawn.pair(0);
      NodeList list = NodeList.of(model);
      List<NodeList.Node> nodes = IntStream.range(0, list.size()).mapToObj(list::get).toList();
      assertEquals(nodes.size(), nodes.stream().map(NodeList.Node::toString).distinct().count());
      NodeScores exact = new NodeScorer(list, NodeMethod.EXACT).score(pair);
      int some = (int) (drawn.seed % nodes.size());
      PairScores edges =
          new EdgeScorer(drawn.graph(model), AblationValues.PATCHING, EdgeMethod.EAP).score(pair);
      for (NodeMethod method : NodeMethod.values()) {
        boolean magnitudes = method == NodeMethod.GRAD_DROP || method == NodeMethod.ATP_STAR;
        if (magnitudes && model.layers() == 1) {
          continue;
        }
        NodeScorer scorer = new NodeScorer(list, method);
        NodeScores scores = scorer.score(pair);
        PairScores sums = scorer.sums(pair);
        assertNear(
            nodes.stream().mapToDouble(node -> overTokens(scores, node, pair, false)).toArray(),
            sums.toArray(),
            1e-12);
        assertEquals(edges.clean(), sums.clean(), EXACT);
        assertEquals(edges.corrupted(), sums.corrupted(), EXACT);
        List<Double> really = scorer.exact(pair, List.of(some, nodes.size() - 1));
        assertNear(
            new double[] {
              overTokens(exact, nodes.get(some), pair, magnitudes),
              overTokens(exact, nodes.get(nodes.size() - 1), pair, magnitudes)
            },
            really.stream().mapToDouble(Double::doubleValue).toArray(),
            1e-12);
      }
    }
  }

  /** Each is put where the corrupted run has it, and moved a little, by hand. */
  @Property(tries = 20)
  void nodes_neurons_areInterventionsAndSlopes(@ForAll("drawn") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      Pair pair = drawn.pair(0);
      Random random = new Random(drawn.seed);
      int layer = random.nextInt(model.layers());
      int neuron = random.nextInt(model.config().layers().get(layer).mlp().neurons());
      int token = random.nextInt(pair.length());
      Place place = Place.of(Site.MLP_ACTIVATION, layer).at(0, token).at(1, neuron);
      Run clean = model.run(Pair.ids(pair.clean()));
      Run corrupted = model.run(Pair.ids(pair.corrupted()));
      double from = clean.value(Site.MLP_ACTIVATION, layer).get(token, neuron);
      double to = corrupted.value(Site.MLP_ACTIVATION, layer).get(token, neuron);
      Function<Run, Variable> metric = pair.metric().against(clean);
      NodeList nodes = NodeList.of(model).withNeurons();
      NodeList.Group group = new NodeList.OfLayer(NodeList.Kind.NEURON, layer);
      NodeScorer exact = new NodeScorer(nodes, NodeMethod.EXACT);
      double moved = 0;
      for (int t = 0; t < pair.length(); t++) {
        Place there = Place.of(Site.MLP_ACTIVATION, layer).at(0, t).at(1, neuron);
        double put = corrupted.value(Site.MLP_ACTIVATION, layer).get(t, neuron);
        moved +=
            PairRuns.value(metric, clean.with(Intervention.set(there, put)))
                - PairRuns.value(metric, clean);
      }
      assertNear(
          new double[] {moved},
          exact.exact(pair, List.of(nodes.numbers(group).of(neuron, 0))).stream()
              .mapToDouble(Double::doubleValue)
              .toArray(),
          1e-12);

      NodeScores estimated = new NodeScorer(nodes, NodeMethod.ATP).score(pair);
      double step = 1e-5;
      double slope =
          (PairRuns.value(metric, clean.with(Intervention.set(place, from + step)))
                  - PairRuns.value(metric, clean.with(Intervention.set(place, from - step))))
              / (2 * step);
      assertEquals(
          slope * (to - from),
          estimated.of(new NodeList.Node(group, neuron), token),
          1e-6 * Math.max(1, Math.abs(slope)));
    }
  }

  private static double overTokens(
      NodeScores scores, NodeList.Node node, Pair pair, boolean magnitudes) {
    return IntStream.range(0, pair.length())
        .mapToDouble(token -> scores.of(node, token))
        .map(own -> magnitudes ? Math.abs(own) : own)
        .sum();
  }

  @Property(tries = 20)
  void totals_anySplit_areThoseOfTheWhole(@ForAll("drawn") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      ComponentGraph graph = drawn.graph(model);
      EdgeScorer scorer = new EdgeScorer(graph, AblationValues.PATCHING, EdgeMethod.EAP);
      List<Pair> pairs = IntStream.range(0, 4).mapToObj(drawn::pair).toList();
      EdgeTotals whole = scorer.score(pairs);
      int cut = (int) (drawn.seed % 5);
      EdgeTotals parts = EdgeTotals.of(scorer.score(pairs.subList(cut, 4)).toArray());
      parts.add(scorer.score(pairs.subList(0, cut)));
      assertEquals(4, parts.count());
      assertEquals(whole.clean(), parts.clean(), EXACT);
      assertEquals(whole.corrupted(), parts.corrupted(), EXACT);
      assertNear(whole.means(), parts.means(), 1e-12);
      assertNear(whole.meanMagnitudes(), parts.meanMagnitudes(), 1e-12);
      List<double[]> each = pairs.stream().map(pair -> scorer.score(pair).toArray()).toList();
      for (int edge = 0; edge < whole.edges(); edge++) {
        double mean = 0;
        for (double[] one : each) {
          mean += one[edge] / 4;
        }
        double variance = 0;
        for (double[] one : each) {
          variance += (one[edge] - mean) * (one[edge] - mean) / 3;
        }
        assertEquals(mean, whole.mean(edge), EXACT);
        int number = edge;
        double magnitude = each.stream().mapToDouble(one -> Math.abs(one[number])).sum() / 4;
        assertEquals(magnitude, parts.meanMagnitude(edge), EXACT);
        assertEquals(
            Math.sqrt(variance / 4),
            parts.standardError(edge),
            1e-6 * Math.max(1, Math.abs(mean))); // of squares that cancel
      }
    }
  }

  @Property(tries = 20)
  void score_float_isNearDouble(@ForAll("drawn") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      Transformer single = drawn.model(DType.FLOAT);
      Pair pair = drawn.pair(0);
      assertNear(
          score(drawn.graph(model), pair, EdgeMethod.EAP),
          score(drawn.graph(single), pair, EdgeMethod.EAP),
          1e-2);
    }
  }

  @Property(tries = 20)
  void score_manyPairs_leaveNoTensorOpen(@ForAll("drawn") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      ComponentGraph graph = drawn.graph(model);
      long before = Scope.liveTensors();
      for (EdgeMethod method :
          List.of(
              EdgeMethod.EAP,
              EdgeMethod.CLEAN_CORRUPTED,
              EdgeMethod.QK_FIX,
              EdgeMethod.EXACT,
              EdgeMethod.eapIgInputs(2),
              EdgeMethod.eapIgPooledActivations(1))) {
        score(graph, drawn.pair(1), method);
        assertEquals(before, Scope.liveTensors(), method::toString);
      }
    }
  }

  @Test
  void interval_manyPairs_isThatOfNormalTheory() {
    int pairs = 400;
    Random random = new Random(7);
    CircuitTotals whole = new CircuitTotals(2, 2000);
    CircuitTotals even = new CircuitTotals(2, 2000);
    CircuitTotals odd = new CircuitTotals(2, 2000);
    double sum = 0;
    double squares = 0;
    for (int pair = 0; pair < pairs; pair++) {
      double kept = 0.4 + 0.3 * random.nextGaussian();
      sum += kept;
      squares += kept * kept;
      CircuitEvaluator.Metrics metrics =
          new CircuitEvaluator.Metrics(3, 1, List.of(1 + 2 * kept, 2.0));
      whole.add(pair, metrics);
      (pair % 2 == 0 ? even : odd).add(pair, metrics);
    }
    double mean = sum / pairs;
    double error = Math.sqrt((squares / pairs - mean * mean) / pairs);
    assertEquals(mean, whole.faithfulness(0), EXACT);
    CircuitTotals.Interval interval = whole.interval(0, 0.95);
    assertEquals(mean - 1.96 * error, interval.low(), 0.15 * error);
    assertEquals(mean + 1.96 * error, interval.high(), 0.15 * error);
    assertEquals(0.5, whole.interval(1, 0.95).low(), EXACT);
    assertEquals(0.5, whole.interval(1, 0.95).high(), EXACT);
    odd.add(CircuitTotals.of(2, even.toArray()));
    assertEquals(pairs, odd.count());
    assertEquals(interval.low(), odd.interval(0, 0.95).low(), EXACT);
    assertEquals(interval.high(), odd.interval(0, 0.95).high(), EXACT);
  }

  @Property(tries = 10)
  void exact_someEdges_areThoseOfAll(@ForAll("drawn") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      ComponentGraph graph = drawn.graph(model);
      List<Integer> edges = ExactSample.draw(graph.edges().size(), 5, drawn.seed);
      assertEquals(Math.min(5, graph.edges().size()), edges.stream().distinct().count());
      EdgeScorer scorer = new EdgeScorer(graph, AblationValues.ZERO, EdgeMethod.EXACT);
      ExactSample whole = new ExactSample(edges);
      ExactSample part = new ExactSample(edges);
      for (int i = 0; i < 2; i++) {
        PairScores all = scorer.score(drawn.pair(i));
        List<Double> some = scorer.exact(drawn.pair(i), edges);
        assertEquals(edges.stream().map(all::score).toList(), some);
        whole.add(all, some);
        part.add(all, some);
      }
      part.add(whole);
      assertEquals(4, part.count());
      assertEquals(whole.worstFirst(), part.worstFirst());
      assertEquals(0, whole.worstFirst().get(0).estimate() - whole.worstFirst().get(0).exact());
    }
  }

  @Test
  void byToken_namesAndNumbers_areThoseOfItsEdges() {
    try (Scope scope = Scope.open()) {
      Transformer model =
          Transformer.random(
              TransformerConfig.gpt2(2, 4, 1, 2, 3, 4, 5, 1e-5, true), DType.DOUBLE, 1);
      ComponentGraph whole = ComponentGraph.of(model, new StreamWriter.Input(Site.TOKEN_EMBEDDING));
      ComponentGraph graph = whole.byToken(12);
      assertEquals(12 * whole.edges().size(), graph.edges().size());
      assertEquals("input->m0@11", graph.edge("input->m0@11").toString());
      for (int i = 0; i < graph.edges().size(); i++) {
        ComponentGraph.Edge edge = graph.edges().get(i);
        assertEquals(whole.edges().get(i / 12) + "@" + i % 12, edge.toString());
        assertEquals(i, graph.number(edge));
        assertEquals(edge, graph.edge(edge.toString()));
      }
      for (String none : List.of("input->m0", "input->m0@12", "input->m3@1", "m0->m0@0")) {
        assertThrows(IllegalArgumentException.class, () -> graph.edge(none), none);
      }
      assertThrows(IllegalArgumentException.class, () -> graph.number(whole.edge("input->m0")));
      assertThrows(IllegalArgumentException.class, () -> whole.number(graph.edge("input->m0@0")));
      Pair pair = new Pair(List.of(1, 2), List.of(1, 3), new PairMetric.Divergence(1));
      IllegalArgumentException refusal =
          assertThrows(
              IllegalArgumentException.class,
              () ->
                  new EdgeScorer(whole.byToken(3), AblationValues.ZERO, EdgeMethod.EAP)
                      .score(pair));
      assertEquals("prompts of 2 tokens, and edges of tokens [0, 1, 2]", refusal.getMessage());
    }
  }

  @Property(tries = 20)
  void greedy_bySpan_isGrownEdgeByEdge(@ForAll("drawn") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.FLOAT);
      ComponentGraph graph = drawn.graph(model, drawn.pair(0));
      double[] scores = new Random(drawn.seed).doubles(graph.edges().size()).toArray();
      int count = 1 + (int) (drawn.seed % graph.edges().size());
      BitSet reached = new BitSet();
      List<Integer> taken = new ArrayList<>();
      while (taken.size() < count) {
        Optional<Integer> next =
            IntStream.range(0, scores.length)
                .boxed()
                .filter(i -> !taken.contains(i))
                .filter(
                    i ->
                        graph.edges().get(i).reader() instanceof StreamReader.Logits
                            || Arrays.stream(graph.reached(i)).anyMatch(reached::get))
                .max(Comparator.comparingDouble(i -> scores[i]));
        if (next.isEmpty()) {
          break;
        }
        taken.add(next.get());
        reached.set(graph.write(next.get()));
      }
      assertEquals(
          ComponentCircuit.of(graph, taken), Importance.ABSOLUTE.greedy(graph, scores, count));
    }
  }

  @Test
  void reached_byToken_keysByAllThatSeeThem() {
    try (Scope scope = Scope.open()) {
      Transformer model =
          Transformer.random(
              TransformerConfig.gpt2(2, 4, 1, 2, 3, 4, 5, 1e-5, true), DType.DOUBLE, 1);
      ComponentGraph graph =
          ComponentGraph.of(model, new StreamWriter.Input(Site.EMBEDDING)).byToken(4);
      Map<String, List<String>> expected =
          Map.of(
              "m0->a1.h0<q>@2", List.of("a1.h0@2"),
              "m0->a1.h0<k>@2", List.of("a1.h0@2", "a1.h0@3"),
              "input->a0.h0<v>@1", List.of("a0.h0@1", "a0.h0@2", "a0.h0@3"),
              "input->m1@3", List.of("m1@3"),
              "m1->logits@0", List.of());
      expected.forEach(
          (edge, writes) ->
              assertEquals(
                  writes,
                  Arrays.stream(graph.reached(graph.number(graph.edge(edge))))
                      .mapToObj(write -> graph.sources().get(write / 4) + "@" + write % 4)
                      .toList(),
                  edge));
    }
  }

  @Test
  void at_spansThatAreNotOneAfterTheOther_areRefused() {
    try (Scope scope = Scope.open()) {
      Transformer model =
          Transformer.random(
              TransformerConfig.gpt2(1, 4, 1, 2, 3, 4, 5, 1e-5, true), DType.DOUBLE, 1);
      ComponentGraph graph = ComponentGraph.of(model, new StreamWriter.Input(Site.EMBEDDING));
      for (List<Tokens> spans :
          List.<List<Tokens>>of(
              List.of(),
              List.of(Tokens.at(1)),
              List.of(Tokens.at(0), Tokens.at(2)),
              List.of(Tokens.ALL, Tokens.at(1)),
              List.of(Tokens.between(0, 1), Tokens.at(1)))) {
        assertThrows(IllegalArgumentException.class, () -> graph.at(spans), spans::toString);
      }
    }
  }

  @Test
  void read_twiceOrBesideAChangedScale_isRefused() {
    try (Scope scope = Scope.open()) {
      Transformer model =
          Transformer.random(
              TransformerConfig.gpt2(1, 4, 1, 2, 3, 4, 5, 1e-5, true), DType.DOUBLE, 1);
      Tensor rows = Tensor.zeros(DType.DOUBLE, Shape.of(2, 4));
      MlpShare one = MlpShare.neuron(0, 1);
      Run run =
          model.run(
              EnumSet.allOf(Site.class), List.of(List.of(1, 2)), MlpSplit.of(model, List.of(one)));
      Change own = ReadIntervention.add(new StreamReader.OfShare(one), rows);
      Change rest = ReadIntervention.add(new StreamReader.OfMlp(0, List.of(one)), rows);
      Change all = ReadIntervention.add(new StreamReader.OfMlp(0), rows);
      assertEquals(
          run.value(Site.MLP_OUTPUT, 0).get(1, 2),
          run.with(own, rest).value(Site.MLP_OUTPUT, 0).get(1, 2),
          EXACT);
      Change none = ReadIntervention.add(new StreamReader.OfShare(MlpShare.neuron(0, 2)), rows);
      Map<String, List<Change>> refused =
          Map.of(
              "two changes of what m0.n1 reads", List.of(own, own),
              "two changes of what m0 reads", List.of(rest, rest),
              "of the MLP of layer 0, [m0.n1] are apart, not []", List.of(own, all),
              "MLP_SCALE is changed, and shares of m0 ",
                  List.of(Intervention.scale(Place.of(Site.MLP_SCALE, 0), 2)),
              "m0.n2 is not apart; apart are [m0.n1]", List.of(none));
      refused.forEach(
          (sentence, changes) -> {
            IllegalArgumentException refusal =
                assertThrows(
                    IllegalArgumentException.class, () -> run.with(changes.toArray(Change[]::new)));
            assertTrue(refusal.toString().contains(": " + sentence), refusal::toString);
          });
    }
  }

  @Test
  void pair_differentLengths_isRefused() {
    PairMetric metric = new PairMetric.Divergence(0);
    IllegalArgumentException refusal =
        assertThrows(
            IllegalArgumentException.class,
            () -> new Pair(List.of(1, 2), List.of(1, 2, 3), metric));
    assertEquals("the clean prompt has 2 tokens and the corrupted one 3", refusal.getMessage());
  }

  @Test
  void auroc_handMade_countsTiesHalf() {
    try (Scope scope = Scope.open()) {
      Transformer model =
          Transformer.random(
              TransformerConfig.gpt2(1, 4, 1, 2, 3, 4, 5, 1e-5, true), DType.DOUBLE, 1);
      ComponentGraph graph = ComponentGraph.of(model, new StreamWriter.Input(Site.TOKEN_EMBEDDING));
      assertEquals(8, graph.edges().size());
      double[] scores = {3, 0, 1, 1, 0, 2, 0, 0};
      // True 3 beats all six others; true 1 beats four zeros, ties with one, loses to 2.
      ComponentCircuit truth = ComponentCircuit.of(graph, List.of(0, 2));
      assertEquals((6 + 4.5) / 12, Agreement.auroc(scores, truth), EXACT);
      ComponentCircuit top = Importance.ABSOLUTE.top(graph, scores, 3);
      assertEquals(List.of(0, 2, 5), top.edges());
      assertEquals(2.0 / 3, Agreement.precision(top, truth), EXACT);
      assertEquals(1, Agreement.recall(top, truth), EXACT);
      assertEquals(List.of(0, 2, 3, 5), Importance.ABSOLUTE.above(graph, scores, 1).edges());
    }
  }

  private static void assertNear(double[] expected, double[] actual, double tolerance) {
    assertEquals(expected.length, actual.length);
    double scale = Math.max(1, Arrays.stream(expected).map(Math::abs).max().orElse(0));
    for (int i = 0; i < expected.length; i++) {
      assertEquals(expected[i], actual[i], tolerance * scale, "entry " + i);
    }
  }
}
