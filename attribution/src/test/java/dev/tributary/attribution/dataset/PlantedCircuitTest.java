package dev.tributary.attribution.dataset;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.Metric;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.AttentionConfig;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.LayerConfig;
import dev.tributary.transformer.MlpActivation;
import dev.tributary.transformer.MlpConfig;
import dev.tributary.transformer.MlpShare;
import dev.tributary.transformer.OutletConfig;
import dev.tributary.transformer.Positions;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Slot;
import dev.tributary.transformer.StreamReader;
import dev.tributary.transformer.StreamWriter;
import dev.tributary.transformer.Tokens;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.Random;
import java.util.Set;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

/**
 * Models whose weights are made so that only known edges matter: each component writes into
 * dimensions of its own, and a reader has weights for those of the components that it shall hear.
 */
class PlantedCircuitTest {
  private static final int WIDTH = 2;
  private static final int D_HEAD = 3;
  private static final int NEURONS = 5;
  private static final int VOCABULARY = 6;
  private static final int TOKENS = 4;
  private static final int PAIRS = 3;

  /**
   * Small enough that no pattern and no neuron is saturated, which would hide what is before it.
   */
  private static final double DEVIATION = 0.5;

  /** What does not matter is nothing, but for rounding. */
  private static final double NOTHING = 1e-12;

  @Provide
  Arbitrary<Long> seeds() {
    return Arbitraries.longs().between(0, 1L << 40).withoutEdgeCases();
  }

  /**
   * A model with a planted circuit.
   *
   * @param wired every edge that has weights
   * @param neurons how many of each MLP have weights, the first ones
   */
  private record Planted(
      TransformerConfig config,
      ComponentGraph graph,
      Set<ComponentGraph.Edge> wired,
      int neurons,
      Random random) {
    static Planted draw(long seed, int neurons) {
      Random random = new Random(seed);
      int layers = 1 + random.nextInt(3);
      int heads = 1 + random.nextInt(3);
      TransformerConfig config = config(layers, heads);
      ComponentGraph graph = graph(Transformer.random(config, DType.DOUBLE, 1));
      Set<ComponentGraph.Edge> wired = new HashSet<>();
      for (StreamReader reader : graph.readers()) {
        for (int i = inputs(reader, random); i > 0; i--) {
          List<ComponentGraph.Edge> into =
              graph.edges().stream().filter(edge -> edge.reader().equals(reader)).toList();
          wired.add(into.get(random.nextInt(into.size())));
        }
      }
      return new Planted(config, graph, wired, neurons, random);
    }

    /** How many components a reader hears. */
    private static int inputs(StreamReader reader, Random random) {
      boolean isOfPattern =
          reader instanceof StreamReader.Head head && head.path() != InputPath.VALUE;
      return isOfPattern ? 1 : 1 + random.nextInt(2);
    }

    private static TransformerConfig config(int layers, int heads) {
      AttentionConfig attention =
          new AttentionConfig(
              Optional.empty(),
              heads,
              heads,
              D_HEAD,
              Optional.empty(),
              new Positions.None(),
              1,
              OptionalDouble.empty(),
              true,
              OptionalInt.empty(),
              true,
              true,
              OutletConfig.NONE);
      MlpConfig mlp =
          new MlpConfig(
              Optional.empty(),
              NEURONS,
              MlpConfig.Kind.PLAIN,
              MlpActivation.TANH_GELU,
              true,
              true,
              OutletConfig.NONE);
      return new TransformerConfig(
          WIDTH * (1 + layers * (heads + 1)),
          VOCABULARY,
          TOKENS,
          new TransformerConfig.Embedding(1, false),
          Collections.nCopies(
              layers, new LayerConfig(attention, mlp, LayerConfig.Order.SEQUENTIAL)),
          Optional.empty(),
          new TransformerConfig.Unembedding(
              false, false, 1, OptionalDouble.empty(), OptionalInt.empty()));
    }

    private static ComponentGraph graph(Transformer model) {
      return ComponentGraph.of(model, new StreamWriter.Input(Site.TOKEN_EMBEDDING));
    }

    Transformer model() {
      try {
        return Transformer.of(config, DType.DOUBLE, "planted", this::weight, Progress.NONE);
      } catch (IOException e) {
        throw new AssertionError(e);
      }
    }

    private Tensor weight(Slot slot) {
      double[] numbers = new double[slot.shape().length()];
      int columns = slot.shape().size(slot.shape().rank() - 1);
      for (int i = 0; i < numbers.length; i++) {
        numbers[i] = has(slot, i / columns, i % columns) ? DEVIATION * random.nextGaussian() : 0;
      }
      return Tensor.of(DType.DOUBLE, slot.shape(), numbers);
    }

    private boolean has(Slot slot, int row, int column) {
      int layer = slot.layer();
      return switch (slot.weight()) {
        case TOKEN_EMBEDDING -> writes(column, graph.input());
        case QUERY -> hears(row, head(layer, column, InputPath.QUERY));
        case KEY -> hears(row, head(layer, column, InputPath.KEY));
        case VALUE -> hears(row, head(layer, column, InputPath.VALUE));
        case ATTENTION_OUTPUT -> writes(column, new StreamWriter.Head(layer, row / D_HEAD));
        case MLP_INPUT -> column < neurons && hears(row, new StreamReader.OfMlp(layer));
        case MLP_OUTPUT -> row < neurons && writes(column, new StreamWriter.OfMlp(layer));
        case UNEMBEDDING -> hears(column, new StreamReader.Logits());
        default -> true; // biases
      };
    }

    private static StreamReader head(int layer, int column, InputPath path) {
      return new StreamReader.Head(layer, column / D_HEAD, path);
    }

    private boolean writes(int dimension, StreamWriter source) {
      return graph.sources().get(dimension / WIDTH).equals(source);
    }

    private boolean hears(int dimension, StreamReader reader) {
      return wired.contains(
          new ComponentGraph.Edge(graph.sources().get(dimension / WIDTH), reader, Tokens.ALL));
    }

    /** All that has weights and leads to the logits: every component hears the input in the end. */
    ComponentCircuit truth() {
      Set<StreamWriter> heard = new HashSet<>();
      List<Integer> edges = new ArrayList<>();
      for (int i = graph.edges().size() - 1; i >= 0; i--) { // readers come in their order
        ComponentGraph.Edge edge = graph.edges().get(i);
        if (wired.contains(edge) && edge.reader().writer().map(heard::contains).orElse(true)) {
          edges.add(i);
          heard.add(edge.source());
        }
      }
      return ComponentCircuit.of(graph, edges);
    }

    List<Pair> pairs() {
      List<Pair> pairs = new ArrayList<>();
      for (int pair = 0; pair < PAIRS; pair++) {
        List<Integer> clean = random.ints(TOKENS, 0, VOCABULARY).boxed().toList();
        List<Integer> corrupted =
            clean.stream()
                .map(word -> (word + 1 + random.nextInt(VOCABULARY - 1)) % VOCABULARY)
                .toList();
        pairs.add(
            new Pair(
                clean,
                corrupted,
                new PairMetric.OfLogits(
                    new Metric.LogitDifference(TOKENS - 1, List.of(0), List.of(1)))));
      }
      return pairs;
    }
  }

  @Property(tries = 40)
  void scores_plantedCircuit_findIt(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Planted planted = Planted.draw(seed, NEURONS);
      Transformer model = planted.model();
      ComponentGraph graph = ComponentGraph.of(model, planted.graph.input());
      ComponentCircuit truth = ComponentCircuit.of(graph, planted.truth().edges());
      assertTrue(truth.size() < graph.edges().size());
      List<Pair> pairs = planted.pairs();
      for (EdgeMethod method :
          List.of(EdgeMethod.EXACT, EdgeMethod.eapIgInputs(5), EdgeMethod.EAP)) {
        double[] scores =
            new EdgeScorer(graph, AblationValues.PATCHING, method).score(pairs).meanMagnitudes();
        ComponentCircuit found = Importance.ABSOLUTE.top(graph, scores, truth.size());
        assertEquals(1, Agreement.precision(found, truth), method.toString());
        assertEquals(1, Agreement.recall(found, truth), method.toString());
        assertEquals(1, Agreement.auroc(scores, truth), method.toString());
        for (int edge : truth.complement().edges()) {
          assertEquals(0, scores[edge], NOTHING, () -> method + " " + edge);
        }
      }
      assertMinimality(truth, pairs);
      CircuitTotals totals =
          new CircuitEvaluator(graph, AblationValues.PATCHING)
              .evaluate(pairs.subList(0, 1), List.of(truth, truth.complement()), 0);
      assertEquals(1, totals.faithfulness(0), 1e-6);
      assertEquals(0, totals.faithfulness(1), 1e-6);
    }
  }

  /** One neuron of each MLP has weights: its edges are those of the MLP, and the rest has none. */
  @Property(tries = 20)
  void scores_plantedNeurons_findThem(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Planted planted = Planted.draw(seed, 1);
      Transformer model = planted.model();
      List<MlpShare> neurons = new ArrayList<>();
      for (int layer = 0; layer < model.layers(); layer++) {
        neurons.add(MlpShare.neuron(layer, 0));
        neurons.add(MlpShare.neuron(layer, 1 + planted.random.nextInt(NEURONS - 1)));
      }
      ComponentGraph graph = ComponentGraph.of(model, planted.graph.input(), neurons);
      ComponentCircuit truth =
          ComponentCircuit.of(
              graph,
              planted.truth().edges().stream()
                  .map(edge -> planted.graph.edges().get(edge).toString())
                  .map(name -> graph.edge(name.replaceAll("m(\\d)", "m$1.n0")))
                  .map(graph::number)
                  .toList());
      List<Pair> pairs = planted.pairs();
      for (EdgeMethod method :
          List.of(EdgeMethod.EXACT, EdgeMethod.eapIgActivations(3), EdgeMethod.EAP)) {
        double[] scores =
            new EdgeScorer(graph, AblationValues.PATCHING, method).score(pairs).meanMagnitudes();
        assertEquals(truth, Importance.ABSOLUTE.top(graph, scores, truth.size()));
        for (int edge : truth.complement().edges()) {
          assertEquals(0, scores[edge], NOTHING, () -> method + " " + edge);
        }
      }
      CircuitTotals totals =
          new CircuitEvaluator(graph, AblationValues.PATCHING)
              .evaluate(pairs.subList(0, 1), List.of(truth, truth.complement()), 0);
      assertEquals(1, totals.faithfulness(0), 1e-6);
      assertEquals(0, totals.faithfulness(1), 1e-6);
    }
  }

  /** Planted edges are needed in some pair, alone and among all others, and no other one is. */
  private static void assertMinimality(ComponentCircuit truth, List<Pair> pairs) {
    ComponentCircuit full = ComponentCircuit.empty(truth.graph()).complement();
    CircuitTests tests = CircuitTests.drawn(List.of(truth, full), full.size(), 1);
    List<CircuitTotals> each =
        pairs.stream()
            .map(
                pair ->
                    new CircuitEvaluator(truth.graph(), AblationValues.PATCHING)
                        .evaluate(List.of(pair), tests.runs(), 20))
            .toList();
    for (int circuit = 0; circuit < 2; circuit++) {
      ComponentCircuit tested = tests.circuits().get(circuit);
      for (int i = 0; i < tested.size(); i++) {
        double fall = 0;
        for (CircuitTotals totals : each) {
          CircuitTests.Minimality own = tests.minimality(totals, circuit, 0.95).get(i);
          assertEquals(tested.edges().get(i), own.edge());
          fall = Math.max(fall, Math.abs(own.value() * (totals.full() - totals.empty())));
        }
        assertEquals(truth.contains(tested.edges().get(i)), fall > NOTHING, tested + " " + i);
      }
    }
  }
}
