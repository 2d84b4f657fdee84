package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.Circuit.Edge;
import dev.tributary.attribution.CircuitAttention.Loadings;
import dev.tributary.attribution.CircuitAttention.Passed;
import dev.tributary.attribution.CircuitAttention.Score;
import dev.tributary.attribution.HeadLoadings.LayerSplit;
import dev.tributary.attribution.ReplacementGraph.Settings;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Transformer;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;

/** What holds of what explains the attention behind any circuit. */
class CircuitAttentionTest {
  private static final double ROUNDING = 1e-9;

  /** More than any of these circuits has. */
  private static final int ALL = 10_000;

  private static void assertClose(double expected, double actual, Object what) {
    assertEquals(
        expected, actual, ROUNDING * Math.max(1, Math.abs(expected)), () -> what.toString());
  }

  private static Edge edge(Circuit circuit, Loadings of) {
    return circuit.edges().stream()
        .filter(edge -> List.of(edge.source(), edge.target(), edge.path()).equals(of.key()))
        .findFirst()
        .orElseThrow();
  }

  private static void assertSums(CircuitAttention attention) {
    for (Loadings of : attention.loadings()) {
      assertFalse(of.layers().isEmpty());
      for (LayerSplit layer : of.layers()) {
        assertClose(of.edge(), layer.sum(), layer);
      }
    }
    for (Score score : attention.scores()) {
      assertClose(score.score(), score.sum(), score);
      assertTrue(score.count() >= score.pairs().size());
    }
  }

  private static ReplacementGraph graph(Run run, Settings settings) {
    return ReplacementGraph.of(
        run, ReplacementOutput.mostProbable(run, 3, 0.9), settings, Progress.NONE);
  }

  /** Whatever is left out of the graph, and wherever that goes. */
  @Property(tries = 100)
  void of_replacementGraph_splitsTheWeightsOfItsEdges(@ForAll long seed) {
    try (Scope scope = Scope.open()) {
      Random random = RandomNodes.random(seed);
      Transformer model =
          ReplacementGraphTest.withTranscoders(ReplacementGraphTest.model(random), random);
      Run run = model.run(ReplacementGraphTest.tokens(random));
      Settings settings = random.nextBoolean() ? Settings.standard() : Settings.ofCircuitTracer();
      ReplacementGraph graph =
          graph(run, random.nextBoolean() ? settings : settings.withMostLatents(7).withRound(3));
      Circuit circuit =
          graph.circuit(
              run,
              CircuitTest.labels(run),
              IntStream.range(0, graph.outputCount()).mapToObj(i -> "o" + i).toList(),
              1,
              1);
      CircuitAttention attention = CircuitAttention.of(run, graph, circuit, ALL, Progress.NONE);
      assertFalse(attention.loadings().isEmpty());
      assertSums(attention);
      Set<HeadPair> passed = new HashSet<>();
      for (Loadings of : attention.loadings()) {
        assertClose(edge(circuit, of).weight(), of.edge(), of);
        of.passed().forEach(one -> passed.add(one.head()));
      }
      assertEquals(passed, new HashSet<>(attention.scores().stream().map(Score::head).toList()));
    }
  }

  /** There heads are nodes, and an edge is what passes none. */
  @Property(tries = 60)
  void of_circuit_hasItsEdgesPassNoHead(@ForAll long seed) {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = CircuitTest.attribution(seed);
      ScaleGradient scale = seed % 3 == 0 ? ScaleGradient.LIVE : ScaleGradient.DETACHED;
      EdgeAttribution edges = EdgeAttribution.of(nodes, scale);
      Circuit circuit =
          CircuitBuilder.of(edges, CircuitTest.labels(nodes.run()), "m", Progress.NONE).grown(30);
      CircuitAttention attention =
          CircuitAttention.of(edges, Basis.of(nodes.run().model()), circuit, ALL, Progress.NONE);
      assertFalse(attention.loadings().isEmpty());
      assertSums(attention);
      for (Loadings of : attention.loadings()) {
        assertClose(edge(circuit, of).weight(), of.direct(), of);
      }
      Circuit explained = circuit.with(attention);
      for (Circuit left : List.of(explained.top(9), explained.prune(0.8, 0.8))) {
        assertEquals(
            of(left),
            of(
                left.with(
                    CircuitAttention.of(
                        edges, Basis.of(nodes.run().model()), left, ALL, Progress.NONE))));
      }
    }
  }

  /** What is split of a circuit. */
  private static Set<Loadings> of(Circuit circuit) {
    return new HashSet<>(circuit.attention().loadings());
  }

  /** Those of largest score, and of the heads those of largest influence. */
  @Property(tries = 20)
  void of_count_takesTheLargest(@ForAll long seed) {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = CircuitTest.attribution(seed);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.DETACHED);
      Circuit circuit =
          CircuitBuilder.of(edges, CircuitTest.labels(nodes.run()), "m", Progress.NONE).grown(30);
      CircuitAttention all =
          CircuitAttention.of(edges, Basis.of(nodes.run().model()), circuit, ALL, Progress.NONE);
      CircuitAttention two =
          CircuitAttention.of(edges, Basis.of(nodes.run().model()), circuit, 2, Progress.NONE);
      double[] scores = circuit.edgeScores();
      Comparator<Loadings> byScore =
          Comparator.comparingDouble(of -> -scores[circuit.edges().indexOf(edge(circuit, of))]);
      assertEquals(
          Set.copyOf(all.loadings().stream().sorted(byScore).limit(2).toList()),
          Set.copyOf(two.loadings()));
      assertEquals(all.scores().subList(0, Math.min(2, all.scores().size())), two.scores());
      for (Loadings of : two.loadings()) {
        double largest = Math.abs(of.passed().get(0).loading());
        assertTrue(of.passed().stream().map(Passed::loading).allMatch(x -> Math.abs(x) <= largest));
      }
    }
  }
}
