package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.Embedding.EmbeddingPart;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** What is so of a gated neuron's gate and up, beside the laws that hold for every target. */
class NeuronInputTest {
  /** Rounding in 64 bits, relative to the number or 1. */
  private static final double EXACT = 1e-10;

  /** Truncation of central differences of fourth order. */
  private static final double DIFFERENCE = 1e-6;

  /** Small, as drawn models may bend sharply. */
  private static final double STEP = 1e-5;

  /** Differences fail where a model happens to bend sharply: their models are always the same. */
  private static final String FIXED = "20261127";

  private static final List<InputPath> PATHS = List.of(InputPath.GATE, InputPath.UP);

  @Provide
  Arbitrary<Long> seeds() {
    return Arbitraries.longs().between(0, 1L << 40);
  }

  /** The first mixture from a seed on whose last layer is gated. */
  private static NodeAttribution gated(long seed) {
    for (long at = seed; ; at++) {
      NodeAttribution nodes = RandomNodes.mixture(at);
      if (last(nodes.run().model())) {
        return nodes;
      }
    }
  }

  private static boolean last(Transformer model) {
    return model.mlp(model.layers() - 1).paths().equals(PATHS);
  }

  private static Neuron neuron(Random random) {
    return RandomNodes.neuron(random, RandomNodes.LAYERS - 1);
  }

  @Property(tries = 40)
  void gatePlusUp_isTheNeuron_inEveryDirection(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = gated(seed);
      Random random = RandomNodes.random(seed);
      for (ScaleGradient scale : ScaleGradient.values()) {
        for (EdgeMeasure measure : EdgeMeasure.values()) {
          EdgeAttribution edges = EdgeAttribution.of(nodes, scale, measure);
          Neuron neuron = neuron(random);
          Tensor sum = Tensor.zeros(nodes.run().model().dtype(), Shape.of(1, RandomNodes.WIDTH));
          for (InputPath path : PATHS) {
            sum = sum.plus(edges.gradient(neuron.through(path)).rows());
          }
          assertClose(edges.gradient(neuron).rows().toDoubles(), sum.toDoubles());
          Source source = new Embedding(EmbeddingPart.BOTH, neuron.token());
          EdgeScores outOf = edges.outOf(source);
          double pushed = 0;
          double pulled = 0;
          for (InputPath path : PATHS) {
            pushed += outOf.of(neuron.through(path));
            pulled += edges.between(source, neuron.through(path));
          }
          assertClose(new double[] {outOf.of(neuron)}, new double[] {pushed});
          assertClose(new double[] {edges.between(source, neuron)}, new double[] {pulled});
        }
      }
    }
  }

  private static void assertClose(double[] expected, double[] actual) {
    for (int i = 0; i < expected.length; i++) {
      assertEquals(expected[i], actual[i], EXACT * Math.max(1, Math.abs(expected[i])));
    }
  }

  /** By pulls of several at once, and by a push to hundreds. */
  @Property(tries = 20)
  void between_manyInputs_equalsOneByOne(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      EdgeAttribution edges = EdgeAttribution.of(gated(seed), ScaleGradient.DETACHED);
      int token = RandomNodes.TOKENS - 1;
      List<Source> source = List.of(new Embedding(EmbeddingPart.BOTH, token));
      List<Target> targets = new ArrayList<>();
      for (int neuron = 0; neuron < RandomNodes.NEURONS; neuron++) {
        Neuron whole = new Neuron(RandomNodes.LAYERS - 1, token, neuron);
        targets.addAll(List.of(whole.through(InputPath.UP), whole, whole.through(InputPath.GATE)));
      }
      List<Target> hundreds = new ArrayList<>();
      while (hundreds.size() < 300) {
        hundreds.addAll(targets);
      }
      for (List<Target> some : List.of(targets, hundreds)) {
        double[] all = edges.between(source, some).toDoubles();
        double[] each =
            some.stream().mapToDouble(target -> edges.between(source.get(0), target)).toArray();
        assertClose(each, all);
      }
    }
  }

  /** What is listed is the neuron, so that nothing is there twice. */
  @Test
  void outOf_ranksAndSums_haveNeuronsWhole() {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = gated(1);
      EdgeScores outOf =
          EdgeAttribution.of(nodes, ScaleGradient.LIVE).outOf(new Embedding(EmbeddingPart.BOTH, 0));
      assertTrue(outOf.all().count() > outOf.arrays().size());
      List<NodeScore> all = outOf.top(Integer.MAX_VALUE);
      assertTrue(all.stream().anyMatch(score -> score.node() instanceof Neuron));
      assertFalse(all.stream().anyMatch(score -> score.node() instanceof NeuronInput));
      assertEquals(all.size(), all.stream().map(NodeScore::node).distinct().count());
    }
  }

  /** The whole model with one of the two at what they are without the write. */
  @Property(tries = 40)
  void patch_gateOrUp_isWhatTheWholeModelLoses(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = gated(seed);
      Run run = nodes.run();
      Neuron neuron = neuron(RandomNodes.random(seed));
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.LIVE);
      Source source = new Embedding(EmbeddingPart.BOTH, neuron.token());
      Place read = run.model().residualAt(run.model().mlp(neuron.layer()).reads());
      Change without =
          Intervention.add(read.at(0, neuron.token()), RandomNodes.write(run, source).negate());
      for (InputPath path : PATHS) {
        Site other = path == InputPath.GATE ? Site.MLP_UP : Site.MLP_PRE_ACTIVATION;
        Place held = Place.of(other, neuron.layer());
        Run changed = run.with(without, Intervention.patch(held, run));
        double lost = RandomNodes.activation(run, neuron) - RandomNodes.activation(changed, neuron);
        double gradient = nodes.gradient(Site.MLP_ACTIVATION, neuron.layer()).get(neuron.index());
        EdgePatch patch = edges.patch(source, neuron.through(path));
        assertClose(new double[] {lost * gradient}, new double[] {patch.patched()});
        double change =
            Effect.of(
                    run,
                    nodes.metric(),
                    neuron.withActivation(run, RandomNodes.activation(changed, neuron)))
                .metricChange();
        assertClose(new double[] {change}, new double[] {patch.metricChange()});
      }
    }
  }

  /** A trace of one input, with the other as it was, against moved embeddings. */
  @Property(tries = 40, seed = FIXED)
  void trace_gateOrUp_gradientEqualsCentralDifferences(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      NodeAttribution logits = gated(seed);
      Run run = logits.run();
      Random random = RandomNodes.random(seed);
      Neuron neuron = neuron(random);
      Tensor direction =
          RandomNodes.gaussian(Shape.of(RandomNodes.TOKENS, RandomNodes.WIDTH), random, 1);
      for (InputPath path : PATHS) {
        Trace trace =
            neuron
                .through(path)
                .traced(
                    new Trace.Side(Stage.ACTIVATION, ScaleGradient.LIVE),
                    (Metric.OfLogits) logits.metric());
        NodeAttribution nodes = NodeAttribution.of(run, trace);
        assertEquals(RandomNodes.activation(run, neuron), nodes.value(), EXACT);
        double derivative =
            nodes.gradient(Site.EMBEDDING).times(direction).sumTo(Shape.of()).item();
        double near = difference(run, neuron, path, direction, STEP);
        double far = difference(run, neuron, path, direction, 2 * STEP);
        assertEquals(
            (4 * near - far) / 3, derivative, DIFFERENCE * Math.max(1, Math.abs(derivative)));
      }
    }
  }

  private static double difference(
      Run run, Neuron neuron, InputPath path, Tensor direction, double step) {
    return (moved(run, neuron, path, direction.times(step))
            - moved(run, neuron, path, direction.times(-step)))
        / (2 * step);
  }

  private static double moved(Run run, Neuron neuron, InputPath path, Tensor embeddings) {
    Site other = path == InputPath.GATE ? Site.MLP_UP : Site.MLP_PRE_ACTIVATION;
    Run changed =
        run.with(
            Intervention.add(Place.of(Site.EMBEDDING), embeddings),
            Intervention.patch(Place.of(other, neuron.layer()), run));
    return RandomNodes.activation(changed, neuron);
  }

  @Test
  void whatHasNoGate_orNoSuchInput_isRefusedInOneSentence() {
    try (Scope scope = Scope.open()) {
      NodeAttribution plain = RandomNodes.attribution(1);
      Target gate = (Target) Node.parse("L2.neuron3.gate[1]");
      String sentence =
          "L2.neuron3.gate[1]: the neurons of layer 2 are not gated, they have no gate";
      EdgeAttribution edges = EdgeAttribution.of(plain, ScaleGradient.LIVE);
      Source source = new Neuron(0, 1, 2);
      List<Executable> questions =
          List.of(
              () -> edges.into(gate),
              () -> edges.between(source, gate),
              () -> edges.pushed(source, gate),
              () -> edges.patch(source, gate),
              () -> edges.certify(gate),
              () -> edges.outOf(source).of(gate),
              () ->
                  NodeAttribution.of(
                      plain.run(),
                      new Trace.NeuronTrace(
                          new Neuron(2, 1, 3),
                          InputPath.GATE,
                          Stage.PRE_ACTIVATION,
                          ScaleGradient.LIVE)));
      questions.forEach(question -> assertRefused(sentence, question));
      assertRefused(
          "L2.neuron3[1]: a gated neuron is entered through gate or up, not through query",
          () -> new Neuron(2, 1, 3).through(InputPath.QUERY));
      assertRefused(
          "L2.head0[1<-0]: a head is entered through query, key or value, not through up",
          () -> new HeadPair(2, 0, 1, 0).through(InputPath.UP));
      assertRefused(
          "the up of L2.neuron3[1] has no nonlinearity, so it has no side before one",
          () ->
              new Trace.NeuronTrace(
                  new Neuron(2, 1, 3), InputPath.UP, Stage.PRE_ACTIVATION, ScaleGradient.LIVE));
      assertRefused(
          "L2.neuron3.up[1] is one input of L2.neuron3[1], which is the node of a circuit",
          () ->
              CircuitBuilder.of(
                      EdgeAttribution.of(gated(1), ScaleGradient.LIVE),
                      new Circuit.Labels("", List.of(), "", List.of("", "", "", "")),
                      "",
                      Progress.NONE)
                  .among(List.of(Node.parse("L2.neuron3.up[1]"))));
      assertThrows(IllegalArgumentException.class, () -> Node.parse("L2.neuron3.value[1]"));
      assertThrows(IllegalArgumentException.class, () -> Node.parse("L2.head0.gate[1<-0]"));
    }
  }

  private static void assertRefused(String sentence, Executable call) {
    assertEquals(sentence, assertThrows(IllegalArgumentException.class, call).getMessage());
  }
}
