package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.attribution.Bias.BiasPart;
import dev.tributary.attribution.Embedding.EmbeddingPart;
import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Frozen;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.RandomArchitecture;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.file.Dictionaries;
import dev.tributary.transformer.file.ElementType;
import dev.tributary.transformer.file.Models;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Random;
import java.util.Set;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/**
 * Which reading each kind of node has, and what it is: written out in loops over the numbers that a
 * run recorded, and measured by running the model again.
 */
class ReadingsTest {
  /** Rounding of a few layers in 64 bits, relative to 1 or the number. */
  private static final double EXACT = 1e-9;

  /** Truncation of central differences of fourth order, relative to 1 or the number. */
  private static final double DIFFERENCE = 1e-6;

  /** Small, as drawn models may bend sharply. */
  private static final double STEP = 1e-5;

  /** Differences fail where a model happens to bend sharply: their models are always the same. */
  private static final String FIXED = "20261126";

  /** Kinds of nodes that have an activation. */
  private static final Set<Class<? extends Node>> ACTIVE =
      Set.of(Neuron.class, HeadPair.class, Latent.class);

  @Provide
  Arbitrary<Long> seeds() {
    return Arbitraries.longs().between(0, 1L << 40);
  }

  /** One source of each kind, part and site, at drawn places. */
  private static List<Source> sources(Random random) {
    return RandomNodes.sourceKinds().values().stream()
        .map(kind -> kind.apply(random, random.nextInt(RandomNodes.LAYERS)))
        .toList();
  }

  /** One of each kind that writes nothing. */
  private static List<Target> readersOnly(Random random) {
    return RandomNodes.targetKinds().values().stream()
        .map(kind -> kind.apply(random, random.nextInt(RandomNodes.LAYERS)))
        .filter(target -> !(target instanceof Source))
        .toList();
  }

  // ---- which there are ---------------------------------------------------------------------

  @Property(tries = 50)
  void readings_everyKindOfNode_existAsDefined(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = RandomNodes.attribution(seed);
      Random random = RandomNodes.random(seed);
      Set<Class<? extends Node>> seen = new HashSet<>();
      for (Source source : sources(random)) {
        seen.add(source.getClass());
        boolean active = ACTIVE.contains(source.getClass());
        assertEquals(active, nodes.activation().of(source).isPresent(), source::toString);
        assertTrue(nodes.activationTimesGradient().of(source).isPresent(), source::toString);
        assertTrue(nodes.writeNorm().of(source).isPresent(), source::toString);
        assertTrue(Double.isFinite(nodes.directEffect().of(source)), source::toString);
      }
      for (Target target : readersOnly(random)) {
        seen.add(target.getClass());
        if (!RandomNodes.has(nodes.run(), target)) {
          assertRefused("are not gated", () -> nodes.activation().of(target));
          continue;
        }
        for (Readings readings :
            List.of(nodes.activation(), nodes.activationTimesGradient(), nodes.writeNorm())) {
          assertEquals(OptionalDouble.empty(), readings.of(target), target::toString);
        }
        assertRefused(
            target + " is not the source of an edge: it writes nothing",
            () -> nodes.directEffect().of(target));
      }
      assertEquals(everyKind(), seen);
    }
  }

  /** A new kind has to appear in the tests here. */
  private static Set<Class<? extends Node>> everyKind() {
    Set<Class<? extends Node>> kinds = new HashSet<>();
    Kind.all().forEach(kind -> kinds.add(kind.type()));
    assertEquals(12, kinds.size());
    return kinds;
  }

  // ---- what they are -----------------------------------------------------------------------

  @Property(tries = 100)
  void readings_everySource_equalPlainLoops(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = RandomNodes.attribution(seed);
      Plain plain = new Plain(nodes.run());
      double[] last = nodes.gradient(Site.RESIDUAL_AFTER_MLP, RandomNodes.LAYERS - 1).toDoubles();
      for (Source source : sources(RandomNodes.random(seed))) {
        double[] write = plain.write(source);
        double direct = plain.dot(write, last, source.token());
        double attribution = plain.dot(write, gradientAt(nodes, source), source.token());
        assertClose(direct, nodes.directEffect().of(source), source);
        assertClose(attribution, read(nodes.activationTimesGradient(), source), source);
        if (ACTIVE.contains(source.getClass())) {
          double activation = plain.activation(source);
          assertClose(activation, read(nodes.activation(), source), source);
          assertClose(
              Math.copySign(plain.norm(write), activation),
              read(nodes.writeNorm(), source),
              source);
        } else {
          assertClose(plain.norm(write), read(nodes.writeNorm(), source), source);
        }
      }
    }
  }

  /** Gradient at what the write is added to the residual stream as. */
  private static double[] gradientAt(NodeAttribution nodes, Source source) {
    if (source instanceof Embedding) {
      return nodes.gradient(Site.EMBEDDING).toDoubles();
    }
    Coordinates at = source.coordinates();
    boolean attention = at.component() == Coordinates.Component.ATTENTION;
    Site site = attention ? Site.ATTENTION_OUTPUT : Site.MLP_OUTPUT;
    return nodes.gradient(site, at.layer().orElseThrow()).toDoubles();
  }

  /** How fast the metric grows with a factor on what a node writes, by running the model again. */
  @Property(tries = 60, seed = FIXED)
  void activationTimesGradient_everySource_equalsCentralDifferences(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = RandomNodes.drawn(seed);
      for (Source source : sources(RandomNodes.random(seed))) {
        if (!RandomNodes.has(nodes.run(), source)) {
          continue;
        }
        double near = difference(nodes, source, STEP);
        double far = difference(nodes, source, 2 * STEP);
        double expected = (4 * near - far) / 3;
        assertEquals(
            expected,
            read(nodes.activationTimesGradient(), source),
            DIFFERENCE * Math.max(1, Math.abs(expected)),
            source::toString);
      }
    }
  }

  private static double difference(NodeAttribution nodes, Source source, double step) {
    try (Scope scope = Scope.open()) {
      Run run = nodes.run();
      double more =
          Effect.of(run, nodes.metric(), Ablation.scale(run, source, 1 + step)).metricAfter();
      double less =
          Effect.of(run, nodes.metric(), Ablation.scale(run, source, 1 - step)).metricAfter();
      return (more - less) / (2 * step);
    }
  }

  /** What comes after a trace has a reading, and it is exactly 0: there is no path. */
  @Test
  void attributionAndDirectEffect_afterATrace_areExactlyZero() {
    try (Scope scope = Scope.open()) {
      Run run = RandomNodes.attribution(5).run();
      Neuron traced = new Neuron(1, RandomNodes.TOKENS - 1, 2);
      NodeAttribution nodes =
          NodeAttribution.of(
              run,
              new Trace.NeuronTrace(traced, InputPath.ALL, Stage.ACTIVATION, ScaleGradient.LIVE));
      Random random = RandomNodes.random(5);
      for (RandomNodes.Kind<Source> kind : RandomNodes.sourceKinds().values()) {
        Source source = kind.apply(random, 2);
        if (!source.isInput()) {
          assertTrue(read(nodes.activationTimesGradient(), source) == 0, source::toString);
          assertTrue(nodes.directEffect().of(source) == 0, source::toString);
          assertTrue(read(nodes.writeNorm(), source) >= 0 || ACTIVE.contains(source.getClass()));
        }
      }
    }
  }

  /**
   * The model that comes with the library, against norms that Python's math.fsum gives in 64 bits
   * of what its files hold, of token 3 (id 204) and layer 1: wte[204], wpe[3] and their sum;
   * h.1.mlp.c_proj.bias and h.1.attn.c_proj.bias; pre_bias of resid_delta_mlp.1 and
   * resid_delta_attn.1, and that of mlp_post_act.1 times h.1.mlp.c_proj.weight.
   */
  @Test
  void writeNorm_textbook_equalsPython() {
    Map<String, Double> expected =
        Map.of(
            "token_embedding[3]", 1.156901111109093,
            "position_embedding[3]", 0.7686490727503681,
            "embedding[3]", 1.256047261026014,
            "L1.mlp_bias[3]", 0.33279004920439537,
            "L1.attention_bias[3]", 0.3038932730863101,
            "L1.mlp_pre_bias[3]", 2.7327881081903977,
            "L1.attention_pre_bias[3]", 3.130108422187852,
            "L1.activation_pre_bias[3]", 2.5255043190212225);
    try (Scope scope = Scope.open()) {
      Transformer model = Models.textbook(DType.DOUBLE).with(Dictionaries.textbook(DType.DOUBLE));
      Run run = model.run(0, 201, 2, 204, 3);
      Readings norms = NodeAttribution.of(run, Metric.logit(run.lastToken(), 2)).writeNorm();
      expected.forEach(
          (name, norm) -> assertEquals(norm, read(norms, Node.parse(name)), EXACT, name));
    }
  }

  // ---- from what was recorded --------------------------------------------------------------

  private static Run ofAnyModel(long seed) {
    TransformerConfig config =
        RandomArchitecture.of(new Random(seed), 2, RandomNodes.WIDTH, 2, 4, 5, 4, 9);
    return Transformer.random(config, DType.DOUBLE, seed).run(1, 2, 0, 8);
  }

  /** Those that are made when they are asked for, and the others. */
  @Property(tries = 60)
  void gradient_anySite_isThatOfOnePull(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Run run = ofAnyModel(seed);
      Random random = RandomNodes.random(seed);
      Site changed =
          List.of(Site.SCORES, Site.PATTERN, Site.HEAD_OUTPUT, Site.MLP_ACTIVATION)
              .get(random.nextInt(4));
      if (random.nextBoolean()) {
        run = run.with(Intervention.scale(Place.of(changed, 1).at(0, 1), 0.5));
      }
      Metric metric = Metric.logProbability(run.lastToken(), 2);
      NodeAttribution nodes = NodeAttribution.of(run, metric);
      Variable explained = metric.value(run);
      for (Place place : run.places()) {
        if (place.site() == Site.LOGITS) {
          continue;
        }
        double[] expected =
            Jacobian.of(explained, run.variable(place)).gradient().get(0).toDoubles();
        assertArrayEquals(expected, nodes.gradient(place).toDoubles(), EXACT, place::toString);
      }
    }
  }

  @Property(tries = 25)
  void answers_ofWhatIsNeededAlone_areThoseOfEverything(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Run all = ofAnyModel(seed);
      Run some = all.model().run(NodeAttribution.sites(), all.tokens());
      Metric metric = Metric.logProbability(all.lastToken(), 2);
      NodeAttribution expected = NodeAttribution.of(all, metric);
      NodeAttribution nodes = NodeAttribution.of(some, metric);
      assertClose(
          expected.activationTimesGradient().top(20), nodes.activationTimesGradient().top(20));
      Random random = RandomNodes.random(seed);
      for (ScaleGradient scale : ScaleGradient.values()) {
        EdgeAttribution edges = EdgeAttribution.of(nodes, scale);
        EdgeAttribution edgesOfAll = EdgeAttribution.of(expected, scale);
        for (RandomNodes.Kind<Target> kind : RandomNodes.targetKinds().values()) {
          Target target = kind.apply(random, 1);
          if (target instanceof Latent || !RandomNodes.has(all, target)) {
            continue;
          }
          assertClose(edgesOfAll.into(target).top(9), edges.into(target).top(9));
          Source source = new Embedding(EmbeddingPart.TOKEN, all.lastToken());
          EdgePatch patch = edgesOfAll.patch(source, target);
          assertClose(patch.patched(), edges.patch(source, target).patched(), source);
          assertClose(patch.metricChange(), edges.patch(source, target).metricChange(), source);
        }
        Source source = new Embedding(EmbeddingPart.TOKEN, random.nextInt(4));
        assertClose(edgesOfAll.outOf(source).top(9), edges.outOf(source).top(9));
        assertEquals(
            EdgeSearch.of(edgesOfAll).top(9, Progress.NONE).edges().get(0).score(),
            EdgeSearch.of(edges).top(9, Progress.NONE).edges().get(0).score(),
            EXACT);
      }
      assertRefused("this run has no such site", () -> some.value(Site.LOGITS));
      assertArrayEquals(
          all.value(Site.LOGITS).slice(0, 2, 3).toDoubles(), some.logits(2).toDoubles(), EXACT);
    }
  }

  @Property(tries = 60)
  void top_anyCount_isTheStableSortOfAll(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = RandomNodes.attribution(seed);
      EdgeScores direct = nodes.directEffect();
      Readings readings = nodes.activation();
      int count = RandomNodes.random(seed).nextInt(60);
      assertEquals(sorted(readings.arrays(), count), readings.top(count));
      assertEquals(sorted(direct.arrays(), count), direct.top(count));
    }
  }

  private static List<NodeScore> sorted(List<NodeArray> arrays, int count) {
    List<NodeScore> all = new ArrayList<>();
    for (NodeArray array : arrays) {
      double[] values = array.values().toDoubles();
      for (int i = 0; i < values.length; i++) {
        all.add(new NodeScore(array.node(i), values[i]));
      }
    }
    return all.stream()
        .filter(one -> one.score() != 0)
        .sorted(Comparator.comparingDouble(one -> -Math.abs(one.score())))
        .limit(count)
        .toList();
  }

  private static void assertClose(List<NodeScore> expected, List<NodeScore> actual) {
    assertEquals(expected.size(), actual.size());
    for (int i = 0; i < expected.size(); i++) {
      assertClose(expected.get(i).score(), actual.get(i).score(), expected.get(i).node());
    }
  }

  // ---- scores ------------------------------------------------------------------------------

  @Test
  void edgeScores_nodeThatIsAtNoOtherEnd_isRefused() {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = RandomNodes.attribution(7);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.DETACHED);
      Random random = RandomNodes.random(7);
      EdgeScores into = edges.into(new Neuron(2, 3, 1));
      for (Target target : readersOnly(random)) {
        if (!RandomNodes.has(nodes.run(), target)) {
          continue;
        }
        assertRefused(
            target + " is not the source of an edge: it writes nothing", () -> into.of(target));
      }
      EdgeScores outOf = edges.outOf(new Neuron(0, 3, 1));
      HeadPair pair = new HeadPair(1, 0, 3, 2);
      List<Node> others =
          List.of(
              pair,
              new Logit(3, 2),
              new Direction(
                  new Point(4), 3, Tensor.zeros(DType.DOUBLE, Shape.of(RandomNodes.WIDTH))),
              new Embedding(EmbeddingPart.BOTH, 3),
              new Bias(BiasPart.MLP, 2, 3));
      for (Node other : others) {
        assertRefused(
            other + " is not among the targets whose edges these are", () -> outOf.of(other));
      }
      assertTrue(outOf.of(pair.through(InputPath.QUERY)) != 0);
      assertEquals(0, outOf.of(new HeadPair(0, 0, 3, 2).through(InputPath.QUERY)));
      assertEquals(0, into.of(new Neuron(2, 3, 0)));
      assertEquals(0, into.of(new Neuron(0, 2, 0)));
      assertThrows(IllegalArgumentException.class, () -> into.of(new Neuron(3, 3, 0)));
      assertThrows(
          IllegalArgumentException.class, () -> nodes.activation().of(new Neuron(0, 4, 0)));
    }
  }

  @Test
  void bothPartsOfAnEmbedding_linearReadingsAdd_normsDoNot() {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = RandomNodes.attribution(8);
      Embedding both = new Embedding(EmbeddingPart.BOTH, 3);
      Embedding token = new Embedding(EmbeddingPart.TOKEN, 3);
      Embedding position = new Embedding(EmbeddingPart.POSITION, 3);
      EdgeScores scores = nodes.directEffect();
      assertEquals(scores.of(token) + scores.of(position), scores.of(both), EXACT);
      Readings attribution = nodes.activationTimesGradient();
      assertEquals(
          read(attribution, token) + read(attribution, position), read(attribution, both), EXACT);
      Readings norms = nodes.writeNorm();
      assertTrue(read(norms, both) < read(norms, token) + read(norms, position) - 1e-3);
      for (Readings readings : List.of(attribution, norms)) {
        assertFalse(readings.top(10_000).stream().anyMatch(one -> one.node().equals(both)));
      }
    }
  }

  // ---- what is refused ---------------------------------------------------------------------

  /** There the writes of nodes do not make up the residual stream, nor do they read it as usual. */
  @Test
  void changedRun_nodesAndEdges_areRefusedUnlessOnlyItsInputChanged() {
    try (Scope scope = Scope.open()) {
      NodeAttribution plain = RandomNodes.attribution(9);
      Run run = plain.run();
      List<Place> computed =
          List.of(
              Place.of(Site.MLP_OUTPUT, 1).at(0, 3),
              Place.of(Site.EMBEDDING),
              Place.of(Site.PATTERN, 0),
              Place.of(Site.LOGITS));
      for (Place place : computed) {
        Run changed = run.with(Intervention.scale(place, 0.5));
        NodeAttribution nodes = NodeAttribution.of(changed, plain.metric());
        assertTrue(nodes.gradient(Site.EMBEDDING).isFinite());
        String message = "this run was changed (" + place + ")";
        assertRefused(message, () -> EdgeAttribution.of(nodes, ScaleGradient.LIVE));
        assertRefused(message, nodes::writeNorm);
        assertRefused(message, nodes::activationTimesGradient);
        assertRefused(message, nodes::directEffect);
      }
      Run moved = run.with(Intervention.scale(Place.of(Site.TOKEN_EMBEDDING).at(0, 2), 0.5));
      EdgeAttribution edges =
          EdgeAttribution.of(NodeAttribution.of(moved, plain.metric()), ScaleGradient.DETACHED);
      for (RandomNodes.Kind<Target> kind : RandomNodes.targetKinds().values()) {
        Target target = kind.apply(RandomNodes.random(9), 2);
        if (!RandomNodes.has(run, target)) {
          continue;
        }
        assertEquals(0, edges.certify(target).relativeResidual(), EXACT, target::toString);
      }
      Run frozen = run.with(Frozen.as(run));
      assertRefused(
          "a frozen run holds fixed what gradients are taken of",
          () -> NodeAttribution.of(frozen, plain.metric()));
    }
  }

  @Test
  void gradients_thatOverflow_areRefused() {
    try (Scope scope = Scope.open()) {
      Transformer model =
          Transformer.random(
              TransformerConfig.gpt2(1, 4, 1, 4, 4, 3, 5, 1e-5, true), DType.FLOAT, 1);
      Run run = model.run(1, 2);
      Run large = // over a small scale of the last layer norm
          run.with(
              Intervention.scale(Place.of(Site.RESIDUAL_AFTER_MLP, 0), 1e-12),
              Intervention.scale(Place.of(Site.FINAL_NORMALISED), 1e38));
      assertRefused(
          "the gradients of this metric are not finite numbers in FLOAT",
          () -> NodeAttribution.of(large, Metric.logit(1, 0)));
    }
  }

  /** A logit that the metric reads, and alone does not see a write. */
  @Test
  void patch_logitOfTheMetric_changesTheMetric() {
    try (Scope scope = Scope.open()) {
      Run run = RandomNodes.attribution(10).run();
      int last = RandomNodes.TOKENS - 1;
      NodeAttribution difference = NodeAttribution.of(run, Metric.logitDifference(last, 1, 2));
      EdgeAttribution edges = EdgeAttribution.of(difference, ScaleGradient.LIVE);
      Neuron source = new Neuron(1, last, 0);
      for (int word = 0; word < 4; word++) {
        EdgePatch patch = edges.patch(source, new Logit(last, word));
        double weight = word == 1 ? 1 : word == 2 ? -1 : 0;
        assertEquals(-weight * patch.patched(), patch.metricChange(), EXACT);
        assertTrue(patch.patched() != 0);
      }
      NodeAttribution probability = NodeAttribution.of(run, Metric.logProbability(last, 1));
      double[] logits = run.value(Site.LOGITS).slice(0, last, last + 1).toDoubles();
      EdgePatch patch =
          EdgeAttribution.of(probability, ScaleGradient.LIVE).patch(source, new Logit(last, 3));
      double before = logits[1] - logSumOfExponentials(logits);
      logits[3] -= patch.patched();
      double after = logits[1] - logSumOfExponentials(logits);
      assertEquals(after - before, patch.metricChange(), EXACT);
      assertTrue(patch.metricChange() != 0);
      assertEquals(
          0, edges.patch(new Neuron(1, 0, 0), new Logit(0, 1)).metricChange(), "another token");
    }
  }

  private static double logSumOfExponentials(double[] logits) {
    double sum = 0;
    for (double logit : logits) {
      sum += Math.exp(logit);
    }
    return Math.log(sum);
  }

  /** A pruned head has no direction in which it writes: its edges are 0 and not NaN. */
  @Test
  void activationEdges_headThatWritesNothing_areZero(@TempDir Path folder) throws IOException {
    try (Scope scope = Scope.open()) {
      Run run = withoutFirstHead(folder).run(1, 2, 0);
      NodeAttribution nodes = NodeAttribution.of(run, Metric.logit(2, 1));
      EdgeAttribution edges =
          EdgeAttribution.of(nodes, ScaleGradient.DETACHED, EdgeMeasure.ACTIVATION);
      Embedding source = new Embedding(EmbeddingPart.TOKEN, 1);
      Target pruned = new HeadPair(0, 0, 2, 1).through(InputPath.VALUE);
      Target other = new HeadPair(0, 1, 2, 1).through(InputPath.VALUE);
      assertEquals(0, edges.between(source, pruned));
      assertEquals(0, edges.outOf(source).of(pruned));
      assertEquals(edges.between(source, other), edges.outOf(source).of(other), EXACT);
      assertTrue(edges.between(source, other) != 0);
    }
  }

  /** A model that was saved, the rows of its first head in the first output matrix made zeros. */
  private static Transformer withoutFirstHead(Path folder) throws IOException {
    TransformerConfig config = TransformerConfig.gpt2(1, 4, 2, 2, 4, 3, 5, 1e-5, true);
    Models.save(Transformer.random(config, DType.DOUBLE, 3), folder, ElementType.F64);
    Path file = folder.resolve("model.safetensors");
    ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    int header = Math.toIntExact(bytes.getLong(0));
    int from =
        new ObjectMapper()
            .readTree(bytes.array(), Long.BYTES, header)
            .at("/transformer.h.0.attn.c_proj.weight/data_offsets/0")
            .intValue();
    int start = Long.BYTES + header + from;
    int rows = config.layers().get(0).attention().dHead() * config.dModel() * Double.BYTES;
    Arrays.fill(bytes.array(), start, start + rows, (byte) 0);
    Files.write(file, bytes.array());
    return Models.load(folder, DType.DOUBLE, Progress.NONE);
  }

  private static double read(Readings readings, Node node) {
    return readings.of(node).orElseThrow(() -> new AssertionError(node + " has no reading"));
  }

  private static void assertClose(double expected, double actual, Node node) {
    assertEquals(expected, actual, EXACT * Math.max(1, Math.abs(expected)), node::toString);
  }

  private static void assertRefused(String part, Executable call) {
    String message =
        String.valueOf(assertThrows(IllegalArgumentException.class, call).getMessage());
    assertTrue(message.contains(part), message);
  }

  /** Writes as their definitions say, in loops over plain numbers. */
  private record Plain(Run run) {
    double[] write(Source source) {
      if (source instanceof Embedding e) {
        Site site =
            switch (e.part()) {
              case TOKEN -> Site.TOKEN_EMBEDDING;
              case POSITION -> Site.POSITION_EMBEDDING;
              case BOTH -> Site.EMBEDDING;
            };
        return row(run.value(site), e.token());
      } else if (source instanceof Neuron n) {
        return times(activation(n), row(outputWeight(n.layer()), n.neuron()));
      } else if (source instanceof HeadPair p) {
        double[] value = run.value(Site.VALUE, p.layer()).toDoubles();
        double[] weight = run.model().attention(p.layer()).outputWeight().toDoubles();
        int dHead = run.model().attention(p.layer()).dHead();
        double[] result = new double[RandomNodes.WIDTH];
        for (int e = 0; e < dHead; e++) {
          double read = value[(p.head() * RandomNodes.TOKENS + p.key()) * dHead + e];
          for (int d = 0; d < result.length; d++) {
            result[d] += read * weight[(p.head() * dHead + e) * result.length + d];
          }
        }
        return times(activation(p), result);
      } else if (source instanceof Bias b) {
        return b.part() == BiasPart.ATTENTION
            ? run.model().attention(b.layer()).bias().orElseThrow().toDoubles()
            : run.model().mlp(b.layer()).bias().orElseThrow().toDoubles();
      } else if (source instanceof Latent l) {
        double[] direction = decoderRow(l.dictionary(), l.latent());
        return intoResidual(
            site(l.dictionary()), l.dictionary().layer(), times(activation(l), direction));
      } else if (source instanceof ReconstructionError e) {
        double[] error = row(run.value(site(e.dictionary()), e.dictionary().layer()), e.token());
        add(error, -1, bias(e.dictionary()));
        for (int i = 0; i < RandomNodes.LATENTS; i++) {
          double latent = activation(new Latent(e.dictionary(), e.token(), i));
          add(error, -latent, decoderRow(e.dictionary(), i));
        }
        return intoResidual(site(e.dictionary()), e.dictionary().layer(), error);
      } else if (source instanceof PreBias b) {
        double[] preBias = bias(b.dictionary());
        return intoResidual(site(b.dictionary()), b.dictionary().layer(), preBias);
      }
      throw new AssertionError(source);
    }

    double activation(Source source) {
      if (source instanceof Neuron n) {
        return row(run.value(Site.MLP_ACTIVATION, n.layer()), n.token())[n.neuron()];
      } else if (source instanceof HeadPair p) {
        double[] pattern = run.value(Site.PATTERN, p.layer()).toDoubles();
        return pattern[(p.head() * RandomNodes.TOKENS + p.query()) * RandomNodes.TOKENS + p.key()];
      } else if (source instanceof Latent l) {
        return row(run.encoding(run.model().dictionary(l.dictionary())).latents(), l.token())[
            l.latent()];
      }
      throw new AssertionError(source);
    }

    double dot(double[] write, double[] rows, int token) {
      double sum = 0;
      for (int d = 0; d < write.length; d++) {
        sum += write[d] * rows[token * write.length + d];
      }
      return sum;
    }

    double norm(double[] write) {
      return Math.sqrt(dot(write, write, 0));
    }

    private double[] decoderRow(Dictionary.Id id, int latent) {
      return run.model().dictionary(id).decoders().get(0).rows().of(latent).toDoubles();
    }

    private double[] bias(Dictionary.Id id) {
      return run.model().dictionary(id).decoders().get(0).bias().orElseThrow().toDoubles();
    }

    private Site site(Dictionary.Id id) {
      return run.model().dictionary(id).reads().site();
    }

    private Tensor outputWeight(int layer) {
      return run.model().mlp(layer).rows();
    }

    private double[] intoResidual(Site site, int layer, double[] vector) {
      if (site != Site.MLP_ACTIVATION) {
        return vector;
      }
      double[] result = new double[RandomNodes.WIDTH];
      for (int neuron = 0; neuron < vector.length; neuron++) {
        add(result, vector[neuron], row(outputWeight(layer), neuron));
      }
      return result;
    }

    private static double[] row(Tensor rows, int index) {
      int width = rows.shape().size(1);
      double[] all = rows.toDoubles();
      double[] result = new double[width];
      System.arraycopy(all, index * width, result, 0, width);
      return result;
    }

    private static double[] times(double factor, double[] vector) {
      double[] result = new double[vector.length];
      add(result, factor, vector);
      return result;
    }

    private static void add(double[] to, double factor, double[] vector) {
      for (int i = 0; i < to.length; i++) {
        to[i] += factor * vector[i];
      }
    }
  }
}
