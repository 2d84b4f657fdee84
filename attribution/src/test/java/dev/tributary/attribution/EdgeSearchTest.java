package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.EdgeSearch.EdgeScore;
import dev.tributary.attribution.EdgeSearch.Found;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Encoding;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The search finds what computing every edge by itself finds. */
class EdgeSearchTest {
  private static final int ALL = 1_000_000;

  /** Rounding in 64 bits, relative to the edge or 1. */
  private static final double EXACT = 1e-10;

  private static EdgeAttribution edges(long seed) {
    ScaleGradient scale = seed % 2 == 0 ? ScaleGradient.LIVE : ScaleGradient.DETACHED;
    EdgeMeasure measure = seed / 2 % 2 == 0 ? EdgeMeasure.ATTRIBUTION : EdgeMeasure.ACTIVATION;
    return EdgeAttribution.of(RandomNodes.attribution(seed), scale, measure);
  }

  /** Every edge of a run that is not exactly 0, one target at a time. */
  private static Map<String, Double> oneByOne(EdgeAttribution edges) {
    return oneByOne(edges, targets(edges.nodes().run()));
  }

  private static Map<String, Double> oneByOne(EdgeAttribution edges, List<Target> targets) {
    Map<String, Double> result = new LinkedHashMap<>();
    for (Target target : targets) {
      try (Scope scope = Scope.open()) {
        for (NodeScore score : edges.into(target).top(ALL)) {
          result.put(score.node() + "->" + target, score.score());
        }
      }
    }
    return result;
  }

  private static List<Target> targets(Run run) {
    List<Target> targets = new ArrayList<>(List.of(new Explained()));
    for (int layer = 0; layer < RandomNodes.LAYERS; layer++) {
      for (int token = 0; token < RandomNodes.TOKENS; token++) {
        for (int neuron = 0; neuron < RandomNodes.NEURONS; neuron++) {
          targets.add(new Neuron(layer, token, neuron));
        }
        for (int head = 0; head < RandomNodes.HEADS; head++) {
          for (int key = 0; key <= token; key++) {
            HeadPair pair = new HeadPair(layer, head, token, key);
            targets.add(pair.through(InputPath.QUERY));
            targets.add(pair.through(InputPath.KEY));
            targets.add(pair.through(InputPath.VALUE));
          }
        }
        for (Encoding encoding : run.encodings()) {
          if (encoding.dictionary().id().layer() == layer) {
            for (int latent = 0; latent < RandomNodes.LATENTS; latent++) {
              targets.add(new Latent(encoding.dictionary().id(), token, latent));
            }
          }
        }
      }
    }
    return targets;
  }

  /** Those of gated neurons. */
  private static Stream<Target> neuronInputs(Run run) {
    return IntStream.range(1, RandomNodes.LAYERS)
        .boxed()
        .flatMap(
            layer ->
                run.model().mlp(layer).paths().stream()
                    .filter(path -> path != InputPath.ALL)
                    .flatMap(path -> inputs(layer, path)));
  }

  private static Stream<Target> inputs(int layer, InputPath path) {
    return IntStream.range(0, RandomNodes.TOKENS * RandomNodes.NEURONS)
        .mapToObj(i -> new Neuron(layer, i / RandomNodes.NEURONS, i % RandomNodes.NEURONS))
        .map(neuron -> neuron.through(path));
  }

  private static Map<String, Double> named(Found found) {
    Map<String, Double> result = new LinkedHashMap<>();
    found.edges().forEach(edge -> result.put(edge.source() + "->" + edge.target(), edge.score()));
    return result;
  }

  private static void assertSame(Map<String, Double> expected, Map<String, Double> actual) {
    // What cancels to 0 in one order of summing leaves a rounding error in another.
    Map<String, Double> all = new LinkedHashMap<>(expected);
    actual.keySet().forEach(edge -> all.putIfAbsent(edge, 0.0));
    all.forEach(
        (edge, score) ->
            assertEquals(
                score, actual.getOrDefault(edge, 0.0), EXACT * Math.max(1, Math.abs(score)), edge));
  }

  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11})
  void top_everyKindOfNode_findsEveryEdge(long seed) {
    try (Scope scope = Scope.open()) {
      EdgeAttribution edges = edges(seed);
      Map<String, Double> expected = oneByOne(edges);
      Found found = EdgeSearch.of(edges).top(ALL, Progress.NONE);
      assertTrue(expected.size() > 1000, "only " + expected.size() + " edges");
      assertSame(expected, named(found));
      assertTrue(found.searched() >= found.edges().size(), "searched " + found.searched());
    }
  }

  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {20, 21, 22, 23})
  void top_few_areTheLargestInOrder(long seed) {
    try (Scope scope = Scope.open()) {
      EdgeAttribution edges = edges(seed);
      List<EdgeScore> all = EdgeSearch.of(edges).top(ALL, Progress.NONE).edges();
      for (int count : List.of(1, 7, 100, 1000)) {
        assertEquals(all.subList(0, count), EdgeSearch.of(edges).top(count, Progress.NONE).edges());
      }
      assertEquals(
          all.stream()
              .sorted(Comparator.comparingDouble((EdgeScore e) -> -Math.abs(e.score())))
              .map(EdgeScore::score)
              .toList(),
          all.stream().map(EdgeScore::score).toList());
    }
  }

  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {30, 31, 32, 33})
  void top_otherTiles_findsTheSame(long seed) {
    try (Scope scope = Scope.open()) {
      EdgeAttribution edges = edges(seed);
      List<EdgeScore> expected = EdgeSearch.of(edges).top(200, Progress.NONE).edges();
      for (int[] steps : new int[][] {{1, 1}, {7, 100}, {40, 2000}, {1000, 1000}}) {
        assertEquals(
            expected,
            EdgeSearch.of(edges).inStepsOf(steps[0], steps[1]).top(200, Progress.NONE).edges());
      }
    }
  }

  /**
   * An edge as large as what is asked for has nothing to spare: a bound that is too low by a
   * rounding error loses it.
   */
  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {24, 25, 26, 27})
  void atLeast_magnitudeOfAnEdge_findsItAndAllThatAreLarger(long seed) {
    try (Scope scope = Scope.open()) {
      EdgeAttribution edges = edges(seed);
      EdgeSearch all = EdgeSearch.of(edges);
      EdgeSearch heads = all.into(NodeFilter.ALL.kinds(Set.of(HeadInput.class)));
      for (EdgeSearch search : List.of(all, heads)) {
        List<EdgeScore> expected = search.atLeast(0).top(ALL, Progress.NONE).edges();
        for (int i = 0; i < expected.size(); i += 1 + expected.size() / 10) {
          double magnitude = Math.abs(expected.get(i).score());
          List<EdgeScore> larger =
              expected.stream().filter(edge -> Math.abs(edge.score()) >= magnitude).toList();
          List<EdgeScore> found = search.atLeast(magnitude).top(ALL, Progress.NONE).edges();
          assertEquals(Set.of(), difference(larger, found), "not found from " + magnitude + " on");
          assertEquals(larger, found);
        }
      }
    }
  }

  private static Set<EdgeScore> difference(List<EdgeScore> all, List<EdgeScore> some) {
    Set<EdgeScore> rest = new LinkedHashSet<>(all);
    rest.removeAll(new HashSet<>(some));
    return rest;
  }

  @Test
  void edgeScore_toString_namesBothEnds() {
    assertEquals(
        "L0.neuron3[1]->L1.head0.key[2<-1] -0.1235",
        new EdgeScore(
                new Neuron(0, 1, 3), new HeadPair(1, 0, 2, 1).through(InputPath.KEY), -0.123456)
            .toString());
  }

  @Test
  void top_textbookInFloat_findsWhatIntoFinds() {
    try (Scope scope = Scope.open()) {
      Tokenizer words = Tokenizers.textbook();
      Run run =
          Models.textbook(DType.FLOAT)
              .run(words.encode("When Mary and John went to the store , John gave a drink to"));
      Metric metric =
          Metric.logitDifference(run.lastToken(), words.token("Mary"), words.token("John"));
      EdgeAttribution edges =
          EdgeAttribution.of(NodeAttribution.of(run, metric), ScaleGradient.LIVE);
      Found found = EdgeSearch.of(edges).top(2000, Progress.NONE);
      assertEquals(2000, found.edges().size());
      double last = Math.abs(found.edges().get(1999).score());
      for (EdgeScore edge : found.edges()) {
        double pulled = edges.between(edge.source(), edge.target());
        assertEquals(pulled, edge.score(), 1e-3 * Math.abs(pulled) + 1e-4, edge.toString());
      }
      // Of a few targets, nothing larger was left out.
      List<EdgeScore> asked = found.edges().subList(0, 40);
      for (EdgeScore edge : asked) {
        try (Scope inner = Scope.open()) {
          long expected =
              edges.into(edge.target()).top(ALL).stream()
                  .filter(score -> Math.abs(score.score()) > last * 1.01)
                  .count();
          long held =
              found.edges().stream()
                  .filter(other -> other.target().equals(edge.target()))
                  .filter(other -> Math.abs(other.score()) > last * 1.01)
                  .count();
          assertEquals(expected, held, edge.target().toString());
        }
      }
    }
  }

  @ParameterizedTest(name = "seed {0}")
  @ValueSource(longs = {40, 41, 42, 43})
  void filters_letThroughWhatTheySay(long seed) {
    try (Scope scope = Scope.open()) {
      EdgeAttribution edges = edges(seed);
      List<EdgeScore> all = EdgeSearch.of(edges).top(ALL, Progress.NONE).edges();
      NodeFilter from = NodeFilter.ALL.kinds(Set.of(Neuron.class, HeadPair.class)).layers(0, 1);
      NodeFilter into = NodeFilter.ALL.kinds(Set.of(HeadInput.class, Latent.class)).tokens(2, 3);
      assertEquals(
          kept(
              all,
              edge ->
                  (edge.source() instanceof Neuron n && n.layer() <= 1)
                      || (edge.source() instanceof HeadPair p && p.layer() <= 1),
              edge ->
                  (edge.target() instanceof HeadInput i && i.pair().query() >= 2)
                      || (edge.target() instanceof Latent l && l.token() >= 2)),
          EdgeSearch.of(edges).from(from).into(into).top(ALL, Progress.NONE).edges());
      NodeFilter early = NodeFilter.ALL.kinds(Set.of(Embedding.class, Bias.class)).tokens(0, 1);
      NodeFilter late = NodeFilter.ALL.kinds(Set.of(Neuron.class)).layers(1, 1);
      assertEquals(
          kept(
              all,
              edge ->
                  (edge.source() instanceof Embedding || edge.source() instanceof Bias)
                      && edge.source().token() <= 1,
              edge -> edge.target() instanceof Neuron n && n.layer() == 1),
          EdgeSearch.of(edges).from(early).into(late).top(ALL, Progress.NONE).edges());
      double magnitude = Math.abs(all.get(300).score());
      assertEquals(
          kept(all, edge -> Math.abs(edge.score()) >= magnitude, edge -> true),
          EdgeSearch.of(edges).atLeast(magnitude).top(ALL, Progress.NONE).edges());
    }
  }

  private static List<EdgeScore> kept(
      List<EdgeScore> all, Predicate<EdgeScore> first, Predicate<EdgeScore> second) {
    List<EdgeScore> kept = all.stream().filter(first.and(second)).toList();
    assertTrue(!kept.isEmpty());
    return kept;
  }

  /** Counted from the definition: a source writes before its target reads, at a token it reads. */
  @Test
  void searched_isTheNumberOfEdges() {
    try (Scope scope = Scope.open()) {
      EdgeAttribution edges = edges(50);
      NodeFilter nodes = NodeFilter.ALL.kinds(Set.of(Neuron.class, HeadPair.class));
      NodeFilter inputs = NodeFilter.ALL.kinds(Set.of(Neuron.class, HeadInput.class));
      long expected = 0;
      for (Target target : targets(edges.nodes().run())) {
        if (target instanceof Neuron || target instanceof HeadInput) {
          ResidualGradient gradient = edges.gradient(target);
          for (int layer = 0; layer < RandomNodes.LAYERS; layer++) {
            for (int token = gradient.firstToken(); token < gradient.endToken(); token++) {
              expected += 2 * layer + 2 <= gradient.point().index() ? RandomNodes.NEURONS : 0;
              expected +=
                  2 * layer + 1 <= gradient.point().index() ? RandomNodes.HEADS * (token + 1) : 0;
            }
          }
        }
      }
      assertEquals(
          expected, EdgeSearch.of(edges).from(nodes).into(inputs).top(1, Progress.NONE).searched());
    }
  }

  @Test
  void wrongArguments_areRefusedInWords() {
    try (Scope scope = Scope.open()) {
      EdgeSearch search = EdgeSearch.of(edges(60));
      assertEquals(
          "the 0 largest edges: it must be 1 or more",
          assertThrows(IllegalArgumentException.class, () -> search.top(0, Progress.NONE))
              .getMessage());
      assertThrows(IllegalArgumentException.class, () -> search.atLeast(-1));
      assertThrows(IllegalArgumentException.class, () -> search.atLeast(Double.NaN));
      assertThrows(IllegalArgumentException.class, () -> NodeFilter.ALL.layers(2, 1));
      assertThrows(IllegalArgumentException.class, () -> NodeFilter.ALL.tokens(-1, 1));
    }
  }

  private static Stream<Class<?>> kinds(Class<?> node) {
    return node.isInterface()
        ? Arrays.stream(node.getPermittedSubclasses()).flatMap(EdgeSearchTest::kinds).distinct()
        : Stream.of(node);
  }

  /** A kind is one of which there are edges, or refused. */
  @Test
  void kinds_ofNoEdge_areRefused() {
    try (Scope scope = Scope.open()) {
      EdgeSearch search = EdgeSearch.of(edges(63));
      Found all = search.top(ALL, Progress.NONE);
      assertEquals(12, kinds(Node.class).distinct().count());
      for (Class<?> found : kinds(Node.class).distinct().toList()) {
        Class<? extends Node> kind = found.asSubclass(Node.class);
        NodeFilter filter = NodeFilter.ALL.kinds(Set.of(kind));
        long from = all.edges().stream().filter(edge -> kind.isInstance(edge.source())).count();
        long into = all.edges().stream().filter(edge -> kind.isInstance(edge.target())).count();
        assertEquals(from, found(() -> search.from(filter)), kind + " as a source");
        assertEquals(into, found(() -> search.into(filter)), kind + " as a target");
      }
      String sentence =
          assertThrows(
                  IllegalArgumentException.class,
                  () -> search.into(NodeFilter.ALL.kinds(Set.of(HeadPair.class))))
              .getMessage();
      assertEquals(
          "HeadPair is no kind of target in a search of edges, name Neuron, Latent, NeuronInput,"
              + " HeadInput, Explained",
          sentence);
      assertThrows(
          IllegalArgumentException.class,
          () -> search.into(NodeFilter.ALL.kinds(Set.of(Target.class, Neuron.class))));
    }
  }

  private static long found(Supplier<EdgeSearch> search) {
    try {
      return search.get().top(ALL, Progress.NONE).edges().size();
    } catch (IllegalArgumentException e) {
      return 0;
    }
  }

  @Test
  void filters_betweenWhichThereIsNoEdge_areRefused() {
    try (Scope scope = Scope.open()) {
      EdgeSearch search = EdgeSearch.of(edges(64));
      NodeFilter neurons = NodeFilter.ALL.kinds(Set.of(Neuron.class));
      for (EdgeSearch empty :
          List.of(
              search.from(neurons.layers(1, 1)).into(neurons.layers(0, 0)),
              search.from(neurons.tokens(99, 99)),
              search.into(neurons.layers(99, 99)))) {
        assertEquals(
            "there is no edge from the nodes asked for into the targets asked for; latents, errors"
                + " and pre-biases are nodes only where there are dictionaries",
            assertThrows(IllegalArgumentException.class, () -> empty.top(10, Progress.NONE))
                .getMessage());
      }
    }
  }

  @Test
  void top_interrupted_stops() {
    try (Scope scope = Scope.open()) {
      EdgeAttribution edges = edges(61);
      EdgeSearch search = EdgeSearch.of(edges);
      assertTrue(!edges.nodes().run().encodings().isEmpty()); // made once, for as long as the run
      RandomNodes.askForGradients(edges.nodes());
      long alive = Scope.liveTensors();
      Thread.currentThread().interrupt();
      assertThrows(CancellationException.class, () -> search.top(10, Progress.NONE));
      assertTrue(Thread.interrupted());
      assertEquals(alive, Scope.liveTensors());
    }
  }

  @Test
  void progress_goesFromNothingToTheEnd() {
    try (Scope scope = Scope.open()) {
      List<Integer> heard = new ArrayList<>();
      int[] last = {-1};
      EdgeSearch.of(edges(62))
          .top(
              10,
              (done, total) -> {
                heard.add(done);
                last[0] = total;
              });
      assertEquals(0, heard.get(0));
      assertEquals(last[0], heard.get(heard.size() - 1));
      assertEquals(heard.stream().sorted().toList(), heard);
    }
  }

  /**
   * Of models that mix what transformers can be, every edge is found, and of few that are asked for
   * the largest.
   */
  @ParameterizedTest(name = "seeds from {0}")
  @ValueSource(longs = {0, 10, 20, 30, 40, 50})
  void top_mixtures_findsEveryEdge(long first) {
    for (long seed = first; seed < first + 10; seed++) {
      try (Scope scope = Scope.open()) {
        ScaleGradient scale = seed % 2 == 0 ? ScaleGradient.LIVE : ScaleGradient.DETACHED;
        EdgeMeasure measure = seed % 3 > 0 ? EdgeMeasure.ATTRIBUTION : EdgeMeasure.ACTIVATION;
        EdgeAttribution edges = EdgeAttribution.of(RandomNodes.mixture(seed), scale, measure);
        EdgeSearch search = EdgeSearch.of(edges);
        Found found = search.top(ALL, Progress.NONE);
        assertSame(oneByOne(edges), named(found));
        assertEquals(
            found.edges().subList(0, 300), search.top(300, Progress.NONE).edges(), "seed " + seed);
        List<Target> inputs = neuronInputs(edges.nodes().run()).toList();
        if (!inputs.isEmpty()) {
          EdgeSearch intoInputs =
              search.into(NodeFilter.ALL.kinds(Set.of(NeuronInput.class)).layers(1, 9));
          assertSame(oneByOne(edges, inputs), named(intoInputs.top(ALL, Progress.NONE)));
        }
      }
    }
  }

  /** Rounding in 64 bits of a norm that is known as the root of a sum. */
  private static final double OF_NORMS = 1e-6;

  /** No write and no direction is longer than is said; where scales are held, none is shorter. */
  @ParameterizedTest(name = "seeds from {0}")
  @ValueSource(longs = {100, 110, 120})
  void lists_mixtures_areAsLongAsTheySay(long first) {
    for (long seed = first; seed < first + 10; seed++) {
      try (Scope scope = Scope.open()) {
        ScaleGradient scale = seed % 2 == 0 ? ScaleGradient.LIVE : ScaleGradient.DETACHED;
        EdgeMeasure measure = seed % 3 > 0 ? EdgeMeasure.ATTRIBUTION : EdgeMeasure.ACTIVATION;
        EdgeAttribution edges = EdgeAttribution.of(RandomNodes.mixture(seed), scale, measure);
        Run run = edges.nodes().run();
        for (int token = 0; token < run.length(); token++) {
          for (SourceFamily family : Kind.sourcesOf(run.model())) {
            for (SearchSources list : family.lists(run)) {
              double[] norms =
                  list.length(token) == 0 ? new double[0] : list.norms(token).toDoubles();
              if (norms.length > 0) {
                assertLongEnough(norms, list.writes(token, all(norms)), false, family + " " + seed);
              }
            }
          }
          for (TargetFamily family : Kind.targetsOf(run.model())) {
            SearchTargets list = family.lists(edges, NodeFilter.ALL);
            double[] norms = list.count(token) == 0 ? new double[0] : list.norms(token).toDoubles();
            if (norms.length > 0) {
              boolean shorter = scale == ScaleGradient.LIVE || hasNormOfAllHeads(run, family);
              Tensor directions = list.directions(token, all(norms));
              assertLongEnough(norms, directions, shorter, family + " " + seed);
            }
          }
        }
      }
    }
  }

  private static int[] all(double... norms) {
    return IntStream.range(0, norms.length).toArray();
  }

  /** Then norms are sums of those of two parts of a direction. */
  private static boolean hasNormOfAllHeads(Run run, TargetFamily family) {
    return family.axes().contains("head")
        && family.node(0, 0, 0) instanceof HeadInput input
        && run.model()
            .config()
            .layers()
            .get(input.pair().layer())
            .attention()
            .headNorm()
            .isPresent();
  }

  private static void assertLongEnough(
      double[] norms, Tensor vectors, boolean shorter, String message) {
    double[] exact = vectors.norm(-1).toDoubles();
    assertEquals(exact.length, norms.length, message);
    for (int i = 0; i < norms.length; i++) {
      String place = message + " " + i;
      assertTrue(norms[i] >= exact[i] * (1 - EXACT), place + ": " + norms[i] + " < " + exact[i]);
      assertTrue(
          shorter || norms[i] <= exact[i] + OF_NORMS, place + ": " + norms[i] + " > " + exact[i]);
    }
  }
}
