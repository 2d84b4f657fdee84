package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.ReplacementGraph.FirstToken;
import dev.tributary.attribution.ReplacementGraph.LeftOut;
import dev.tributary.attribution.ReplacementGraph.Settings;
import dev.tributary.attribution.ReplacementIntervention.Edit;
import dev.tributary.attribution.ReplacementIntervention.Held;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.DecoderRows;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Dictionary.Normalisation;
import dev.tributary.transformer.HeldAttention;
import dev.tributary.transformer.LatentActivation;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.RandomArchitecture;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CancellationException;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.junit.jupiter.api.Test;

class ReplacementGraphTest {
  /** Of sums of some hundred terms in 64 bits. */
  private static final double ROUNDING = 1e-9;

  private static final int LAYERS = 3;
  private static final int TOKENS = 5;
  private static final int WIDTH = 6;
  private static final int LATENTS = 9;
  private static final int VOCABULARY = 11;

  // ---- drawn models ------------------------------------------------------------------------

  static Transformer model(Random random) {
    TransformerConfig config =
        RandomArchitecture.of(random, LAYERS, WIDTH, 2, 4, 5, TOKENS + 1, VOCABULARY);
    return Transformer.random(config, DType.DOUBLE, random.nextLong());
  }

  static int[] tokens(Random random) {
    return random.ints(TOKENS, 0, VOCABULARY).toArray();
  }

  private static Tensor gaussian(Random random, int... dimensions) {
    return RandomNodes.gaussian(Shape.of(dimensions), random, 1);
  }

  /** Transcoders of most layers, or one that writes in several, all reading and writing alike. */
  static Transformer withTranscoders(Transformer model, Random random) {
    boolean beforeOutlet = random.nextBoolean();
    boolean cross = random.nextBoolean();
    int without = random.nextInt(2 * LAYERS);
    List<Dictionary> dictionaries = new ArrayList<>();
    for (int layer = 0; layer < LAYERS; layer++) {
      if (layer == without && !cross) {
        continue;
      }
      List<Dictionary.Decoder> decoders = new ArrayList<>();
      for (int to = layer; to < (cross ? LAYERS : layer + 1); to++) {
        Site site = beforeOutlet ? Site.MLP_RESULT : Site.MLP_OUTPUT;
        decoders.add(
            new Dictionary.Decoder(
                Place.of(site, to),
                DecoderRows.of(gaussian(random, LATENTS, WIDTH)),
                random.nextBoolean() ? Optional.of(gaussian(random, WIDTH)) : Optional.empty()));
      }
      Dictionary made =
          Dictionary.of(
              "random",
              reads(model, layer, random),
              activation(random),
              gaussian(random, LATENTS, WIDTH),
              gaussian(random, LATENTS),
              decoders);
      made = cross ? made.crossLayer() : made;
      made = random.nextBoolean() ? made.withInputBias(gaussian(random, WIDTH)) : made;
      made = made.withNormalisation(normalisation(random));
      dictionaries.add(random.nextBoolean() ? made.withSkip(gaussian(random, WIDTH, WIDTH)) : made);
    }
    return model.with(dictionaries);
  }

  private static Place reads(Transformer model, int layer, Random random) {
    return switch (random.nextInt(3)) {
      case 0 -> Place.of(Site.MLP_INPUT, layer);
      case 1 -> Place.of(Site.MLP_STANDARDISED, layer);
      default -> model.residualAt(model.mlp(layer).reads());
    };
  }

  private static LatentActivation activation(Random random) {
    return switch (random.nextInt(4)) {
      case 0 -> new LatentActivation.Relu();
      case 1 -> new LatentActivation.SignedTopK(3);
      case 2 -> new LatentActivation.JumpRelu(gaussian(random, LATENTS).square());
      default -> new LatentActivation.Gated(gaussian(random, LATENTS), gaussian(random, LATENTS));
    };
  }

  private static Normalisation normalisation(Random random) {
    return random.nextBoolean()
        ? Normalisation.NONE
        : random.nextBoolean() ? Normalisation.LAYER_NORM : Normalisation.CONSTANT_NORM;
  }

  private static ReplacementGraph graph(Run run, Settings settings) {
    return ReplacementGraph.of(
        run, ReplacementOutput.mostProbable(run, 3, 0.9), settings, Progress.NONE);
  }

  private static Settings all(Random random) {
    return random.nextBoolean() ? Settings.standard() : Settings.ofCircuitTracer();
  }

  // ---- laws --------------------------------------------------------------------------------

  @Property(tries = 100)
  void heldAttention_pushedStreamAndConstant_isWhatItWrote(@ForAll long seed) {
    try (Scope scope = Scope.open()) {
      Random random = RandomNodes.random(seed);
      Run run = model(random).run(tokens(random));
      for (int layer = 0; layer < LAYERS; layer++) {
        HeldAttention held = HeldAttention.of(run, layer);
        Tensor read = run.residual(held.attention().reads()).value();
        Tensor written =
            held.push(read.reshape(TOKENS, 1, WIDTH)).reshape(TOKENS, WIDTH).plus(held.constant());
        assertClose(run.value(Site.ATTENTION_OUTPUT, layer).toDoubles(), written.toDoubles());
      }
    }
  }

  @Property(tries = 100)
  void heldAttention_pull_isAdjointOfPush(@ForAll long seed) {
    try (Scope scope = Scope.open()) {
      Random random = RandomNodes.random(seed);
      Run run = model(random).run(tokens(random));
      int directions = 1 + random.nextInt(3);
      Tensor u = gaussian(random, TOKENS, directions, WIDTH);
      Tensor v = gaussian(random, TOKENS, directions, WIDTH);
      HeldAttention held = HeldAttention.of(run, random.nextInt(LAYERS));
      double[] forward = dots(held.push(u), v);
      assertClose(forward, dots(u, held.pull(v)));
    }
  }

  @Property(tries = 100)
  void heldAttention_directionsOfOneToken_arePulledAsAmongAll(@ForAll long seed) {
    try (Scope scope = Scope.open()) {
      Random random = RandomNodes.random(seed);
      Run run = model(random).run(tokens(random));
      HeldAttention held = HeldAttention.of(run, random.nextInt(LAYERS));
      int[] at = {random.nextInt(2), 2 + random.nextInt(2)};
      int tokens = at[1] + 1;
      Tensor directions = gaussian(random, 2, WIDTH);
      Tensor spread =
          directions.scatterAdd(0, 2 * tokens, 2 * at[0], 2 * at[1] + 1).reshape(tokens, 2, WIDTH);
      Tensor pulled = held.pull(spread);
      assertClose(pulled.toDoubles(), held.pull(directions, at, tokens).toDoubles());
      Tensor rows = gaussian(random, tokens, WIDTH);
      assertClose(
          pulled.matmul(rows.reshape(tokens, WIDTH, 1)).toDoubles(),
          held.pullAlong(spread, rows).toDoubles());
    }
  }

  private static double[] dots(Tensor one, Tensor other) {
    return one.times(other).sum(-1).sum(0).toDoubles();
  }

  @Property(tries = 200)
  void certificate_everyTarget_isComplete(@ForAll long seed) {
    try (Scope scope = Scope.open()) {
      Random random = RandomNodes.random(seed);
      Transformer model = withTranscoders(model(random), random);
      ReplacementGraph graph = graph(model.run(tokens(random)), all(random));
      for (int target : targets(graph)) {
        Certificate certificate = graph.certificate(target);
        assertTrue(
            certificate.relativeResidual() < ROUNDING,
            () -> graph.nodes().get(target) + ": " + certificate);
      }
    }
  }

  private static int[] targets(ReplacementGraph graph) {
    int nodes = graph.nodes().size();
    return IntStream.concat(
            IntStream.range(0, graph.latentCount()),
            IntStream.range(nodes - graph.outputCount(), nodes))
        .toArray();
  }

  /** With all held, a latent that is set changes all others by its edges, which are linear. */
  @Property(tries = 100)
  void weight_latentIsSet_isWhatItChanges(@ForAll long seed) {
    try (Scope scope = Scope.open()) {
      Random random = RandomNodes.random(seed);
      Transformer model = withTranscoders(model(random), random);
      Run run = model.run(tokens(random));
      ReplacementGraph graph = graph(run, Settings.standard());
      if (graph.latentCount() == 0) {
        return;
      }
      int source = random.nextInt(graph.latentCount());
      Latent latent = (Latent) graph.nodes().get(source);
      double factor = random.nextDouble() * 3 - 1;
      double value = factor * graph.activations()[source];
      ReplacementIntervention before = ReplacementIntervention.of(run, List.of(), Held.ALL);
      ReplacementIntervention after =
          ReplacementIntervention.of(run, List.of(new Edit(latent, value)), Held.ALL);
      double[] expected = new double[graph.latentCount()];
      double[] actual = new double[graph.latentCount()];
      for (int target = 0; target < graph.latentCount(); target++) {
        Latent at = (Latent) graph.nodes().get(target);
        expected[target] = (factor - 1) * graph.weight(target, source);
        actual[target] = preActivation(model, after, at) - preActivation(model, before, at);
      }
      assertClose(expected, actual);
    }
  }

  private static double preActivation(
      Transformer model, ReplacementIntervention intervention, Latent at) {
    int dictionary = model.dictionaries().indexOf(model.dictionary(at.dictionary()));
    return intervention.preActivations().get(dictionary).get(at.token(), at.latent());
  }

  /** At each layer an edge is what passes the heads and what passes by, skip maps among it. */
  @Property(tries = 60)
  void weight_anyEdge_isSplitOverHeadsOfEveryLayer(@ForAll long seed) {
    try (Scope scope = Scope.open()) {
      Random random = RandomNodes.random(seed);
      Transformer model = withTranscoders(model(random), random);
      Run run = model.run(tokens(random));
      ReplacementGraph graph = graph(run, Settings.standard());
      EdgeAttribution edges =
          EdgeAttribution.of(
              NodeAttribution.of(run, Metric.logitDifference(TOKENS - 1, 1, 2)),
              ScaleGradient.DETACHED,
              EdgeMeasure.ACTIVATION);
      int[] sources =
          IntStream.range(0, graph.nodes().size() - graph.outputCount())
              .filter(node -> isOf(model, graph.nodes().get(node)))
              .toArray();
      for (int i = 0; i < 20 && graph.latentCount() > 0; i++) {
        int from = sources[random.nextInt(sources.length)];
        int to = random.nextInt(graph.latentCount());
        List<Write> writes = ((Source) graph.nodes().get(from)).writes(run);
        HeadLoadings loadings =
            HeadLoadings.of(run, writes, edges.gradient((Target) graph.nodes().get(to)));
        double size = Math.max(1, graph.certificate(to).magnitude());
        assertEquals(graph.weight(to, from), loadings.edge(), ROUNDING * size);
        assertTrue(loadings.relativeResidual() < ROUNDING, loadings::toString);
        for (HeadLoadings.LayerSplit layer : loadings.layers()) {
          assertEquals(graph.weight(to, from), layer.sum(), ROUNDING * size, layer::toString);
        }
      }
    }
  }

  /** Not the output of an MLP that no dictionary replaces. */
  private static boolean isOf(Transformer model, Node node) {
    return !(node instanceof ReconstructionError error)
        || model.dictionaries().stream().anyMatch(one -> one.id().equals(error.dictionary()));
  }

  /** Nothing that is set changes nothing, whatever is held. */
  @Property(tries = 50)
  void intervention_valueAsItWas_changesNothing(@ForAll long seed) {
    try (Scope scope = Scope.open()) {
      Random random = RandomNodes.random(seed);
      Transformer model = withTranscoders(model(random), random);
      Run run = model.run(tokens(random));
      ReplacementGraph graph = graph(run, Settings.standard());
      List<Edit> edits =
          IntStream.range(0, graph.latentCount())
              .mapToObj(i -> new Edit((Latent) graph.nodes().get(i), graph.activations()[i]))
              .toList();
      for (Held held : Held.values()) {
        ReplacementIntervention changed = ReplacementIntervention.of(run, edits, held);
        assertClose(run.value(Site.LOGITS).toDoubles(), changed.logits().toDoubles());
      }
    }
  }

  // ---- what is left out --------------------------------------------------------------------

  @Property(tries = 50)
  void leftOut_inErrors_keepsEverySum(@ForAll long seed) {
    try (Scope scope = Scope.open()) {
      Random random = RandomNodes.random(seed);
      Transformer model = withTranscoders(model(random), random);
      Run run = model.run(tokens(random));
      ReplacementGraph whole = graph(run, Settings.standard());
      if (whole.latentCount() < 2) {
        return;
      }
      int most = 1 + random.nextInt(whole.latentCount() - 1);
      for (LeftOut where : LeftOut.values()) {
        ReplacementGraph part = graph(run, new Settings(most, 3, FirstToken.REPLACED, where));
        assertEquals(most, part.latentCount());
        for (int target : targets(part)) {
          int same = whole.nodes().indexOf(part.nodes().get(target));
          double sum = Arrays.stream(part.into(target)).sum() + part.leftOut(target);
          assertEquals(
              Arrays.stream(whole.into(same)).sum(),
              sum,
              ROUNDING * part.certificate(target).magnitude());
          assertTrue(where == LeftOut.NOWHERE || part.leftOut(target) == 0);
          for (int source = 0; source < part.latentCount(); source++) {
            assertEquals(
                whole.weight(same, whole.nodes().indexOf(part.nodes().get(source))),
                part.weight(target, source),
                ROUNDING * part.certificate(target).magnitude());
          }
        }
      }
    }
  }

  // ---- outputs -----------------------------------------------------------------------------

  @Test
  void difference_ofTwoLogits_isTheDifferenceOfTheirRows() {
    try (Scope scope = Scope.open()) {
      Random random = new Random(3);
      Transformer model = withTranscoders(model(random), random);
      Run run = model.run(tokens(random));
      List<ReplacementOutput> outputs = new ArrayList<>(ReplacementOutput.words(run, 2, 5));
      outputs.add(ReplacementOutput.difference(run, 2, 5));
      ReplacementGraph graph =
          ReplacementGraph.of(run, outputs, Settings.standard(), Progress.NONE);
      int last = graph.nodes().size() - 1;
      double[] one = graph.into(last - 2);
      double[] other = graph.into(last - 1);
      double[] difference =
          IntStream.range(0, one.length).mapToDouble(i -> one[i] - other[i]).toArray();
      assertClose(difference, graph.into(last));
      ReplacementGraph alone =
          ReplacementGraph.of(run, outputs.subList(2, 3), Settings.standard(), Progress.NONE);
      assertClose(
          Arrays.copyOf(difference, last - 2),
          Arrays.copyOf(alone.into(alone.nodes().size() - 1), last - 2));
    }
  }

  @Test
  void record_queriesAndKeysInPlaceOfPatterns_giveTheSame() {
    try (Scope scope = Scope.open()) {
      Random random = new Random(5);
      Transformer model = withTranscoders(model(random), random);
      int[] tokens = tokens(random);
      Run brief = ReplacementGraph.record(model, tokens);
      Run lasting = model.values(EnumSet.complementOf(EnumSet.of(Site.PATTERN)), tokens);
      ReplacementGraph one = graph(brief, Settings.standard());
      ReplacementGraph other = graph(lasting, Settings.standard());
      for (int target : targets(one)) {
        assertClose(one.into(target), other.into(target));
      }
    }
  }

  @Property(tries = 50)
  void circuit_wholeGraph_hasItsEdges(@ForAll long seed) {
    try (Scope scope = Scope.open()) {
      Random random = RandomNodes.random(seed);
      Transformer model = withTranscoders(model(random), random);
      Run run = model.run(tokens(random));
      ReplacementGraph graph = graph(run, all(random));
      List<String> words = IntStream.range(0, TOKENS).mapToObj(i -> "w" + i).toList();
      Circuit circuit =
          graph.circuit(
              run,
              new Circuit.Labels("random", List.of(), "prompt", words),
              IntStream.range(0, graph.outputCount()).mapToObj(i -> "o" + i).toList(),
              1,
              1);
      for (Circuit.Edge edge : circuit.edges()) {
        int source = graph.nodes().indexOf(circuit.nodes().get(edge.source()).node());
        int target = graph.nodes().indexOf(circuit.nodes().get(edge.target()).node());
        assertEquals(graph.weight(target, source), edge.weight());
      }
      double[] influence = graph.influence();
      double[] inCircuit = circuit.influence();
      for (int node = 0; node < inCircuit.length; node++) {
        int same = graph.nodes().indexOf(circuit.nodes().get(node).node());
        assertEquals(influence[same], inCircuit[node], ROUNDING);
        influence[same] = 0;
      }
      assertEquals(0, Arrays.stream(influence).sum(), ROUNDING);
    }
  }

  // ---- refusals ----------------------------------------------------------------------------

  @Test
  void of_modelWithoutTranscoders_isRefused() {
    try (Scope scope = Scope.open()) {
      Random random = new Random(7);
      Run run = model(random).run(tokens(random));
      IllegalArgumentException refused =
          assertThrows(IllegalArgumentException.class, () -> graph(run, Settings.standard()));
      assertTrue(String.valueOf(refused.getMessage()).contains("transcoders"), refused::toString);
    }
  }

  @Test
  void of_interruptedThread_isCancelled() {
    try (Scope scope = Scope.open()) {
      Random random = new Random(7);
      Transformer model = withTranscoders(model(random), random);
      Run run = model.run(tokens(random));
      Thread.currentThread().interrupt();
      assertThrows(CancellationException.class, () -> graph(run, Settings.standard()));
      assertTrue(Thread.interrupted());
    }
  }

  @Test
  void certificate_embedding_isRefused() {
    try (Scope scope = Scope.open()) {
      Random random = new Random(7);
      Transformer model = withTranscoders(model(random), random);
      ReplacementGraph graph = graph(model.run(tokens(random)), Settings.standard());
      int embedding = graph.nodes().size() - graph.outputCount() - 1;
      assertThrows(IllegalArgumentException.class, () -> graph.certificate(embedding));
    }
  }

  private static void assertClose(double[] expected, double[] actual) {
    double scale = Arrays.stream(expected).map(Math::abs).max().orElse(0);
    assertArrayEquals(expected, actual, ROUNDING * Math.max(1, scale));
  }
}
