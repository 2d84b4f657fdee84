package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.attribution.Bias.BiasPart;
import dev.tributary.attribution.Circuit.Edge;
import dev.tributary.attribution.Circuit.Group;
import dev.tributary.attribution.Circuit.Input;
import dev.tributary.attribution.Circuit.Labels;
import dev.tributary.attribution.Circuit.Member;
import dev.tributary.attribution.Circuit.Output;
import dev.tributary.attribution.Embedding.EmbeddingPart;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.RandomArchitecture;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What holds of the circuits of any run. */
class CircuitTest {
  private static final double ROUNDING = 1e-10;

  private static final int TOKENS = RandomNodes.TOKENS;
  private static final int LAYERS = RandomNodes.LAYERS;

  /** Autoencoders of these sites in the middle layer; the others are as the model is. */
  static NodeAttribution attribution(long seed, Site... encoded) {
    Random random = RandomNodes.random(seed);
    TransformerConfig config =
        TransformerConfig.gpt2(
            LAYERS,
            RandomNodes.WIDTH,
            RandomNodes.HEADS,
            3,
            RandomNodes.NEURONS,
            TOKENS,
            RandomNodes.VOCABULARY,
            1e-5,
            true);
    List<Dictionary> autoencoders = new ArrayList<>();
    for (Site site : encoded) {
      autoencoders.add(RandomNodes.autoencoder(site, 1, random));
    }
    TransformerConfig other =
        RandomArchitecture.of(
            random,
            LAYERS,
            RandomNodes.WIDTH,
            RandomNodes.HEADS,
            RandomNodes.HEAD_WIDTH,
            RandomNodes.NEURONS,
            TOKENS,
            RandomNodes.VOCABULARY);
    Transformer model =
        Transformer.random(seed % 2 == 0 ? config : other, DType.DOUBLE, seed).with(autoencoders);
    Run run = model.run(random.ints(TOKENS, 0, RandomNodes.VOCABULARY).toArray());
    return NodeAttribution.of(run, Metric.logitDifference(TOKENS - 1, 1, 2));
  }

  private static final String METRIC = "logit 1 - logit 2";

  static Labels labels(Run run) {
    List<String> texts = IntStream.range(0, run.length()).mapToObj(i -> "t" + i).toList();
    return new Labels("random", List.of(), String.join(" ", texts), texts);
  }

  /** All nodes that together write the residual stream once. */
  private static List<Source> all(Run run, boolean attentionEncoded, boolean mlpEncoded) {
    List<Source> all = new ArrayList<>();
    for (int token = 0; token < TOKENS; token++) {
      all.add(new Embedding(EmbeddingPart.BOTH, token));
      for (int layer = 0; layer < LAYERS; layer++) {
        if (attentionEncoded && layer == 1) {
          autoencoder(Site.ATTENTION_OUTPUT, token, all);
        } else {
          for (int head = 0; head < RandomNodes.HEADS; head++) {
            for (int key = 0; key <= token; key++) {
              all.add(new HeadPair(layer, head, token, key));
            }
          }
          all.add(new Bias(BiasPart.ATTENTION, layer, token));
        }
        if (mlpEncoded && layer == 1) {
          autoencoder(Site.MLP_OUTPUT, token, all);
        } else {
          for (int neuron = 0; neuron < RandomNodes.NEURONS; neuron++) {
            all.add(new Neuron(layer, token, neuron));
          }
          all.add(new Bias(BiasPart.MLP, layer, token));
        }
      }
    }
    all.removeIf(source -> !RandomNodes.has(run, source));
    return all;
  }

  private static void autoencoder(Site site, int token, List<Source> all) {
    for (int latent = 0; latent < RandomNodes.LATENTS; latent++) {
      all.add(new Latent(RandomNodes.id(site, 1), token, latent));
    }
    all.add(new ReconstructionError(RandomNodes.id(site, 1), token));
    all.add(new PreBias(RandomNodes.id(site, 1), token));
  }

  private static Target target(Circuit circuit, int node, InputPath path) {
    Node target = circuit.nodes().get(node).node();
    return target instanceof HeadPair pair ? pair.through(path) : (Target) target;
  }

  private static double magnitude(EdgeAttribution edges, Target target) {
    return Math.max(edges.certify(target).magnitude(), 1);
  }

  // ---- edges -------------------------------------------------------------------------------

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void among_allNodes_leavesNoRemainder(boolean encoded) {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes =
          encoded ? attribution(5, Site.MLP_OUTPUT, Site.ATTENTION_OUTPUT) : attribution(5);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.DETACHED);
      Circuit circuit =
          CircuitBuilder.of(edges, labels(nodes.run()), METRIC, Progress.NONE)
              .among(all(edges.nodes().run(), encoded, encoded));
      double[] remainders = circuit.remainders();
      for (int i = 0; i < remainders.length; i++) {
        Certificate certificate = circuit.inputs().get(i).certificate();
        double tolerance = ROUNDING * Math.max(1, certificate.magnitude());
        assertEquals(0, remainders[i], tolerance);
        assertEquals(certificate.whole(), sum(circuit, circuit.inputs().get(i)), tolerance);
      }
      assertTrue(remainders.length > 100);
    }
  }

  private static double sum(Circuit circuit, Input input) {
    return circuit.edges().stream()
        .filter(edge -> edge.target() == input.target() && edge.path() == input.path())
        .mapToDouble(Edge::weight)
        .sum();
  }

  @ParameterizedTest
  @EnumSource(EdgeMeasure.class)
  void among_someNodes_hasExactlyTheEdgesBetweenThem(EdgeMeasure measure) {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = attribution(6, Site.MLP_ACTIVATION);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.LIVE, measure);
      List<Source> some = new ArrayList<>(all(edges.nodes().run(), false, false));
      some.removeIf(node -> node instanceof Neuron n && n.layer() == 1);
      autoencoder(Site.MLP_ACTIVATION, TOKENS - 1, some);
      Collections.shuffle(some, RandomNodes.random(1));
      Circuit circuit =
          CircuitBuilder.of(edges, labels(nodes.run()), METRIC, Progress.NONE)
              .among(some.subList(0, 40));
      assertEquals(41, circuit.nodes().size());
      int found = 0;
      for (Input input : circuit.inputs()) {
        Target target = target(circuit, input.target(), input.path());
        EdgeScores into = edges.into(target);
        double tolerance = ROUNDING * magnitude(edges, target);
        for (int source = 0; source < circuit.nodes().size() - 1; source++) {
          Source node = (Source) circuit.nodes().get(source).node();
          double weight = weight(circuit, source, input);
          assertEquals(into.of(node), weight, tolerance);
          if (weight != 0) {
            assertEquals(edges.between(node, target), weight, tolerance);
            found++;
          }
        }
        assertEquals(edges.certify(target), input.certificate());
        double remainder = circuit.remainders()[circuit.inputs().indexOf(input)];
        assertEquals(input.certificate().sources(), sum(circuit, input) + remainder, tolerance);
      }
      assertEquals(circuit.edges().size(), found);
      assertTrue(found > 40);
    }
  }

  private static double weight(Circuit circuit, int source, Input input) {
    return circuit.edges().stream()
        .filter(edge -> edge.source() == source && edge.target() == input.target())
        .filter(edge -> edge.path() == input.path())
        .mapToDouble(Edge::weight)
        .sum();
  }

  @Test
  void among_anyOrderAndRepetition_isTheSameCircuit() {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = attribution(7);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.LIVE);
      List<Node> some = new ArrayList<>(all(edges.nodes().run(), false, false).subList(0, 20));
      Circuit circuit =
          CircuitBuilder.of(edges, labels(nodes.run()), METRIC, Progress.NONE).among(some);
      some.add(new Explained());
      some.addAll(all(edges.nodes().run(), false, false).subList(10, 20));
      Collections.shuffle(some, RandomNodes.random(2));
      assertEquals(
          circuit,
          CircuitBuilder.of(edges, labels(nodes.run()), METRIC, Progress.NONE).among(some));
    }
  }

  @Test
  void among_nodesThatWriteToOnePlace_areInAnOrderOfTheirOwn() {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = attribution(18, Site.MLP_OUTPUT, Site.ATTENTION_OUTPUT);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.LIVE);
      List<Source> some = new ArrayList<>(all(edges.nodes().run(), true, true));
      some.removeIf(node -> node instanceof Embedding || node.token() != 1);
      some.add(new Embedding(EmbeddingPart.TOKEN, 1));
      some.add(new Embedding(EmbeddingPart.POSITION, 1));
      Circuit circuit =
          CircuitBuilder.of(edges, labels(nodes.run()), METRIC, Progress.NONE).among(some);
      for (int seed = 0; seed < 4; seed++) {
        Collections.shuffle(some, RandomNodes.random(seed));
        assertEquals(
            circuit,
            CircuitBuilder.of(edges, labels(nodes.run()), METRIC, Progress.NONE).among(some));
      }
      for (int i = 1; i < circuit.edges().size(); i++) {
        Edge one = circuit.edges().get(i - 1);
        Edge next = circuit.edges().get(i);
        int order = Integer.compare(one.target(), next.target());
        order = order != 0 ? order : Integer.compare(one.source(), next.source());
        assertTrue(order != 0 ? order < 0 : one.path().compareTo(next.path()) < 0);
      }
    }
  }

  @Test
  void among_someNodes_countsThemAndTheMetric() {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = attribution(19);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.LIVE);
      List<Integer> heard = new ArrayList<>();
      Progress progress =
          (done, total) -> {
            heard.add(done);
            assertEquals(5, total);
          };
      CircuitBuilder.of(edges, labels(nodes.run()), METRIC, progress)
          .among(all(edges.nodes().run(), false, false).subList(0, 4));
      assertEquals(List.of(1, 2, 3, 4, 5), heard);
    }
  }

  // ---- patterns ----------------------------------------------------------------------------

  @Test
  void patterns_headsOfACircuit_areThoseOfTheRun() {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = attribution(20);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.LIVE);
      List<Node> some =
          List.of(
              new HeadPair(2, 0, 3, 0),
              new HeadPair(0, 1, 2, 2),
              new HeadPair(0, 0, 3, 1),
              new HeadPair(0, 1, 3, 1),
              new Neuron(1, 3, 0));
      Circuit circuit =
          CircuitBuilder.of(edges, labels(nodes.run()), METRIC, Progress.NONE).among(some);
      assertEquals(
          List.of(List.of(0, 0), List.of(0, 1), List.of(2, 0)),
          circuit.patterns().stream().map(one -> List.of(one.layer(), one.head())).toList());
      for (Circuit.Pattern pattern : circuit.patterns()) {
        Tensor recorded = nodes.run().value(Site.PATTERN, pattern.layer());
        assertEquals(TOKENS, pattern.probabilities().size());
        for (int query = 0; query < TOKENS; query++) {
          List<Double> row = pattern.probabilities().get(query);
          assertEquals(query + 1, row.size());
          for (int key = 0; key <= query; key++) {
            assertEquals(recorded.get(pattern.head(), query, key), row.get(key), 0.5001e-5);
            assertEquals(Math.rint(row.get(key) * 1e5), row.get(key) * 1e5, 1e-6);
          }
        }
      }
      Circuit pruned = circuit.above(Double.MAX_VALUE);
      assertEquals(List.of(), pruned.patterns());
    }
  }

  /** 250 tokens have 31,375 probabilities in each head: half a million hold those of 15. */
  @Test
  void patterns_moreThanHalfAMillionProbabilities_areOfTheLargestHeads() {
    int tokens = 250;
    int heads = 16;
    TransformerConfig config = TransformerConfig.gpt2(1, 4, heads, 1, 1, tokens, 5, 1e-5, true);
    try (Scope scope = Scope.open()) {
      Run run =
          Transformer.random(config, DType.DOUBLE, 3)
              .run(RandomNodes.random(4).ints(tokens, 0, 5).toArray());
      NodeAttribution nodes =
          NodeAttribution.of(run, Metric.logitDifference(run.lastToken(), 1, 2));
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.LIVE);
      List<Node> pairs = new ArrayList<>();
      int least = 0;
      for (int head = 0; head < heads; head++) {
        pairs.add(new HeadPair(0, head, tokens - 1, 7));
        double magnitude =
            Math.abs(nodes.activationTimesGradient().of(pairs.get(head)).orElseThrow());
        double lowest =
            Math.abs(nodes.activationTimesGradient().of(pairs.get(least)).orElseThrow());
        least = magnitude < lowest ? head : least;
      }
      int leftOut = least;
      Circuit circuit = CircuitBuilder.of(edges, labels(run), METRIC, Progress.NONE).among(pairs);
      assertEquals(
          IntStream.range(0, heads).filter(head -> head != leftOut).boxed().toList(),
          circuit.patterns().stream().map(Circuit.Pattern::head).toList());
    }
  }

  @Test
  void among_trace_endsInWhatIsTraced() {
    try (Scope scope = Scope.open()) {
      Run run = attribution(8).run();
      Neuron traced = new Neuron(2, TOKENS - 1, 1);
      Metric metric =
          new Trace.NeuronTrace(traced, InputPath.ALL, Stage.ACTIVATION, ScaleGradient.LIVE);
      NodeAttribution nodes = NodeAttribution.of(run, metric);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.LIVE);
      Circuit circuit = CircuitBuilder.of(edges, labels(run), METRIC, Progress.NONE).grown(1000);
      EdgeScores into = edges.into(new Explained());
      int last = circuit.nodes().size() - 1;
      for (Edge edge : circuit.edges()) {
        if (edge.target() == last) {
          assertEquals(into.of(circuit.nodes().get(edge.source()).node()), edge.weight(), ROUNDING);
        }
      }
      assertEquals(TOKENS - 1, circuit.outputs().get(0).position());
      assertFalse(circuit.nodes().stream().anyMatch(one -> one.node().equals(traced)));
      assertRefused(
          () -> CircuitBuilder.of(edges, labels(run), METRIC, Progress.NONE).among(List.of(traced)),
          traced + " is not upstream of what is explained");
    }
  }

  // ---- which nodes -------------------------------------------------------------------------

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void grown_withoutLimit_isAllThatLeadsToTheMetric(boolean encoded) {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes =
          encoded ? attribution(9, Site.MLP_OUTPUT, Site.ATTENTION_OUTPUT) : attribution(9);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.LIVE);
      Labels labels = labels(nodes.run());
      Circuit grown = CircuitBuilder.of(edges, labels, METRIC, Progress.NONE).grown(10_000);
      Circuit full =
          CircuitBuilder.of(edges, labels, METRIC, Progress.NONE)
              .among(all(edges.nodes().run(), encoded, encoded));
      assertEquals(full.prune(1, 1).nodes(), grown.prune(1, 1).nodes());
      Set<Node> expected = new HashSet<>();
      double[] influence = full.influence();
      for (int i = 0; i < influence.length; i++) {
        if (influence[i] > 0 || i == influence.length - 1) {
          expected.add(full.nodes().get(i).node());
        }
      }
      Set<Node> found = new HashSet<>();
      grown.nodes().forEach(one -> found.add(one.node()));
      assertEquals(expected, found);
      assertEquals(
          full.edges().stream()
              .filter(edge -> influence[edge.target()] > 0 || isLast(full, edge))
              .count(),
          grown.edges().size());
    }
  }

  private static boolean isLast(Circuit circuit, Edge edge) {
    return edge.target() == circuit.nodes().size() - 1;
  }

  /** Each next node is the one of largest influence, by the full graph of those before it. */
  @Test
  void grown_eachStep_takesTheMostInfluential() {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = attribution(10);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.DETACHED);
      Labels labels = labels(nodes.run());
      Circuit full =
          CircuitBuilder.of(edges, labels, METRIC, Progress.NONE)
              .among(all(edges.nodes().run(), false, false));
      Set<Node> before = new HashSet<>(Set.of(new Explained()));
      for (int count = 1; count <= 25; count++) {
        Set<Node> now = new HashSet<>();
        CircuitBuilder.of(edges, labels, METRIC, Progress.NONE)
            .grown(count)
            .nodes()
            .forEach(one -> now.add(one.node()));
        assertEquals(count + 1, now.size());
        assertTrue(now.containsAll(before));
        now.removeAll(before);
        assertEquals(next(full, before), now.iterator().next());
        before.addAll(now);
      }
    }
  }

  /** What a walk backwards from the metric most often meets first outside of the nodes found. */
  private static Node next(Circuit full, Set<Node> found) {
    List<Edge> expanded =
        full.edges().stream()
            .filter(edge -> found.contains(full.nodes().get(edge.target()).node()))
            .toList();
    double[] outputs = new double[full.nodes().size()];
    outputs[outputs.length - 1] = 1;
    double[] influence =
        new WeightedGraph(
                outputs.length,
                expanded.stream().mapToInt(Edge::source).toArray(),
                expanded.stream().mapToInt(Edge::target).toArray(),
                expanded.stream().mapToDouble(Edge::weight).toArray())
            .influence(outputs);
    int best = 0;
    for (int i = 0; i < influence.length; i++) {
      boolean open = !found.contains(full.nodes().get(i).node());
      boolean better =
          found.contains(full.nodes().get(best).node()) || influence[i] > influence[best];
      best = open && better ? i : best;
    }
    return full.nodes().get(best).node();
  }

  @Test
  void largest_isByAttribution() {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = attribution(11, Site.MLP_OUTPUT);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.LIVE);
      Circuit circuit =
          CircuitBuilder.of(edges, labels(nodes.run()), METRIC, Progress.NONE).largest(30);
      assertEquals(31, circuit.nodes().size());
      Readings attribution = nodes.activationTimesGradient();
      double least = Double.POSITIVE_INFINITY;
      Set<Node> chosen = new HashSet<>();
      for (Member reading : circuit.nodes().subList(0, 30)) {
        chosen.add(reading.node());
        double value = reading.attribution().orElseThrow();
        assertEquals(attribution.of(reading.node()).orElseThrow(), value, 0);
        least = Math.min(least, Math.abs(value));
      }
      for (Source other : all(edges.nodes().run(), false, true)) {
        if (!chosen.contains(other)) {
          assertTrue(Math.abs(attribution.of(other).orElseThrow()) <= least, other.toString());
        }
      }
    }
  }

  @Test
  void of_nodesOfTwoAutoencoders_countNothingTwice() {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = attribution(12, Site.MLP_ACTIVATION, Site.MLP_OUTPUT);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.DETACHED);
      Circuit circuit =
          CircuitBuilder.of(edges, labels(nodes.run()), METRIC, Progress.NONE).grown(10_000);
      for (Member reading : circuit.nodes()) {
        assertFalse(reading.node() instanceof Neuron n && n.layer() == 1);
        assertFalse(
            reading.node() instanceof Latent l
                && l.dictionary().kind() == Dictionary.Kind.ACTIVATION);
      }
      for (double remainder : circuit.remainders()) {
        assertEquals(0, remainder, ROUNDING * 100);
      }
      assertRefused(
          () ->
              CircuitBuilder.of(edges, labels(nodes.run()), METRIC, Progress.NONE)
                  .among(List.of(new Neuron(1, 0, 0))),
          "L1.neuron0[0] is spoken for by the mlp dictionary of layer 1");
    }
  }

  @Test
  void among_noNodeOfACircuit_isRefused() {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = attribution(13);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.LIVE);
      Consumer<List<Node>> among =
          list -> CircuitBuilder.of(edges, labels(nodes.run()), METRIC, Progress.NONE).among(list);
      assertRefused(
          () -> among.accept(List.of(Node.parse("L1.head0.key[2<-1]"))),
          "L1.head0.key[2<-1] is one input of L1.head0[2<-1], which is the node of a circuit");
      assertRefused(
          () -> among.accept(List.of(Node.parse("logit3[2]"))),
          "logit3[2] is no node of a circuit");
      assertRefused(
          () -> among.accept(List.of(Node.parse("L9.neuron0[2]"))), "layer 9 is out of range");
      assertRefused(
          () -> among.accept(List.of(Node.parse("embedding[2]"), Node.parse("token_embedding[2]"))),
          "token_embedding[2] is a part of the embedding of that token");
      assertRefused(
          () -> CircuitBuilder.of(edges, labels(nodes.run()), METRIC, Progress.NONE).grown(-1),
          "of -1 nodes");
      assertRefused(
          () -> CircuitBuilder.of(edges, labels(nodes.run()), METRIC, Progress.NONE).largest(-1),
          "of -1 nodes");
      Circuit nothing =
          CircuitBuilder.of(edges, labels(nodes.run()), METRIC, Progress.NONE).grown(0);
      assertEquals(1, nothing.nodes().size());
      assertEquals(
          nothing, CircuitBuilder.of(edges, labels(nodes.run()), METRIC, Progress.NONE).largest(0));
      Labels other = new Labels("m", List.of(), "p", List.of("one"));
      assertRefused(
          () -> CircuitBuilder.of(edges, other, METRIC, Progress.NONE).grown(1),
          "texts of 1 tokens for a run of 4");
    }
  }

  private static void assertRefused(Runnable call, String part) {
    String message = assertThrows(IllegalArgumentException.class, call::run).toString();
    assertTrue(message.contains(part), message);
  }

  @Test
  void grown_interrupted_stopsAndLeavesNothing() {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = attribution(14);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.LIVE);
      RandomNodes.askForGradients(nodes);
      long tensors = Scope.liveTensors();
      Progress interrupting =
          (done, total) -> {
            if (done == 3) {
              Thread.currentThread().interrupt();
            }
          };
      assertThrows(
          CancellationException.class,
          () -> CircuitBuilder.of(edges, labels(nodes.run()), METRIC, interrupting).grown(20));
      assertTrue(Thread.interrupted());
      assertEquals(tensors, Scope.liveTensors());
      CircuitBuilder.of(edges, labels(nodes.run()), METRIC, Progress.NONE).grown(20);
      assertEquals(tensors, Scope.liveTensors());
    }
  }

  // ---- what matters ------------------------------------------------------------------------

  @Test
  void influence_directInputsAlone_isTheirShareOfTheMetric() {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = attribution(14);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.LIVE);
      List<Source> last =
          IntStream.range(0, RandomNodes.NEURONS)
              .<Source>mapToObj(i -> new Neuron(LAYERS - 1, TOKENS - 1, i))
              .toList(); // no edges among them
      Circuit circuit =
          CircuitBuilder.of(edges, labels(nodes.run()), METRIC, Progress.NONE).among(last);
      EdgeScores direct = nodes.directEffect();
      double sum = last.stream().mapToDouble(node -> Math.abs(direct.of(node))).sum();
      double[] influence = circuit.influence();
      for (int i = 0; i < last.size(); i++) {
        assertEquals(Math.abs(direct.of(last.get(i))) / sum, influence[i], ROUNDING);
        assertEquals(influence[i], circuit.edgeScores()[i], ROUNDING);
      }
      // all else is left out: of the metric's two inputs, the circuit and the remainder
      double remainder = Math.abs(circuit.remainders()[circuit.inputs().size() - 1]);
      Circuit.Scores scores = circuit.scores().orElseThrow();
      assertEquals(0, scores.replacement(), 0);
      assertTrue(scores.completeness() < 1 && remainder > 0);
    }
  }

  @Test
  void circuit_nodeOutsideItsRunOrNoNumber_isRefused() {
    Circuit.Origin origin =
        new Circuit.Origin(
            new Labels("m", List.of(), "a b", List.of("a", "b")),
            List.of(1, 2),
            3,
            ScaleGradient.LIVE,
            EdgeMeasure.ATTRIBUTION);
    OptionalDouble none = OptionalDouble.empty();
    Member metric = unread("metric");
    for (String name :
        List.of("embedding[2]", "L3.neuron0[1]", "L3.attention_bias[0]", "L0.head0[1<-2]")) {
      Member outside = unread(name);
      assertRefused(
          () ->
              new Circuit(
                  origin,
                  List.of(outside, metric),
                  List.of(),
                  List.of(),
                  List.of(),
                  List.of(),
                  CircuitAttention.NONE),
          name + " is not in a run of 2 tokens through 3 layers");
    }
    for (String name :
        List.of("embedding[1]", "L2.neuron0[1]", "L2.mlp_bias[0]", "L0.head0[1<-1]")) {
      Member inside = unread(name);
      assertEquals(
          2,
          new Circuit(
                  origin,
                  List.of(inside, metric),
                  List.of(),
                  List.of(),
                  List.of(),
                  List.of(),
                  CircuitAttention.NONE)
              .nodes()
              .size());
    }
    assertRefused(
        () ->
            new Member(
                Node.parse("embedding[1]"),
                Point.EMBEDDING,
                none,
                OptionalDouble.of(Double.NaN),
                none,
                Optional.empty()),
        "the attribution of embedding[1] is NaN");
  }

  /** By hand: two embeddings and an error into the metric, half of it left out. */
  @Test
  void scores_smallGraph_areThoseOfTheDefinition() {
    Circuit circuit =
        circuit(
            List.of(
                "embedding[0]", "embedding[1]", "L0.mlp_error[1]", "L0.mlp_latent3[1]", "metric"),
            List.of(
                new Edge(1, 3, ALL, -3), // of the latent: 3/4 embedding, 1/4 left out
                new Edge(1, 4, ALL, 2), // of the metric: 2/8 embedding,
                new Edge(2, 4, ALL, -1), // 1/8 error,
                new Edge(3, 4, ALL, 4)), // 4/8 latent, 1/8 left out
            input(3, -4),
            input(4, 6));
    double embeddings = 2.0 / 8 + 3.0 / 4 * 4 / 8;
    double errors = 1.0 / 8 + 1.0 / 8 + 1.0 / 4 * 4 / 8;
    assertEquals(
        embeddings / (embeddings + errors), circuit.scores().orElseThrow().replacement(), ROUNDING);
    double metric = 1;
    double latent = 4.0 / 8;
    double complete = 6.0 / 8 * metric + 3.0 / 4 * latent + embeddings + errors;
    assertEquals(
        complete / (metric + latent + embeddings + errors),
        circuit.scores().orElseThrow().completeness(),
        ROUNDING);
  }

  static Member unread(String name) {
    OptionalDouble none = OptionalDouble.empty();
    Node node = Node.parse(name);
    Optional<Output> output =
        node.asSource().isPresent()
            ? Optional.empty()
            : Optional.of(new Output(name, 1, OptionalDouble.of(0.5), 1));
    return new Member(node, Point.EMBEDDING, none, none, none, output);
  }

  private static final InputPath ALL = InputPath.ALL;

  /** Of nodes with these names; inputs have what their edges sum to. */
  private static Circuit circuit(List<String> names, List<Edge> edges, Input... inputs) {
    return new Circuit(
        origin(),
        names.stream().map(CircuitTest::unread).toList(),
        edges,
        List.of(inputs),
        List.of(),
        List.of(),
        CircuitAttention.NONE);
  }

  private static Circuit.Origin origin() {
    Labels labels = new Labels("m", List.of(), "a b", List.of("a", "b"));
    return new Circuit.Origin(
        labels, List.of(1, 2), 1, ScaleGradient.LIVE, EdgeMeasure.ATTRIBUTION);
  }

  private static Input input(int target, double sum) {
    return new Input(target, ALL, new Certificate(sum, sum, 9, 0, Optional.empty()));
  }

  /**
   * By hand: an embedding and an error into two logits, of which one weighs three times as much.
   */
  @Test
  void influence_severalOutputs_goesByTheirWeights() {
    OptionalDouble none = OptionalDouble.empty();
    List<Member> nodes =
        new ArrayList<>(List.of(unread("embedding[0]"), unread("L0.mlp_error[1]")));
    for (int word : new int[] {7, 5}) {
      Output output = new Output("logit " + word, 1, none, word == 7 ? 0.6 : 0.2);
      nodes.add(
          new Member(new Logit(1, word), Point.EMBEDDING, none, none, none, Optional.of(output)));
    }
    Circuit circuit =
        new Circuit(
            origin(),
            nodes,
            List.of(
                new Edge(0, 2, ALL, 1),
                new Edge(1, 2, ALL, -1),
                new Edge(0, 3, ALL, 3),
                new Edge(1, 3, ALL, 1)),
            List.of(input(2, 0), input(3, 4)),
            List.of(),
            List.of(),
            CircuitAttention.NONE);
    double embedding = 0.6 / 2 + 0.2 * 3 / 4;
    double error = 0.6 / 2 + 0.2 / 4;
    assertArrayEquals(new double[] {embedding, error, 0, 0}, circuit.influence(), ROUNDING);
    assertArrayEquals(new double[] {0.3, 0.3, 0.15, 0.05}, circuit.edgeScores(), ROUNDING);
    Circuit.Scores scores = circuit.scores().orElseThrow();
    assertEquals(embedding / (embedding + error), scores.replacement(), ROUNDING);
    double complete = 0.6 / 2 + 0.2 * 3 / 4 + embedding + error;
    assertEquals(complete / (0.8 + embedding + error), scores.completeness(), ROUNDING);
    assertEquals(2, circuit.prune(0, 0).outputs().size());
    assertEquals(circuit.outputs(), circuit.top(1).outputs());
  }

  @Test
  void scores_withoutCertificates_areNotKnown() {
    Circuit circuit = circuit(List.of("embedding[0]", "metric"), List.of(new Edge(0, 1, ALL, 1)));
    assertEquals(Optional.empty(), circuit.scores());
    assertEquals(0, circuit.remainders().length);
  }

  @Test
  void groups_prunedCircuit_keepWhatIsLeft() {
    List<String> names = List.of("embedding[0]", "embedding[1]", "L0.mlp_bias[1]", "metric");
    List<Edge> edges =
        List.of(new Edge(0, 3, ALL, 9), new Edge(1, 3, ALL, 1), new Edge(2, 3, ALL, 8));
    Circuit circuit =
        grouped(
            circuit(names, edges, input(3, 18)),
            new Group("two", List.of(2, 1)),
            new Group("last", List.of(3)));
    assertEquals(List.of(1, 2), circuit.groups().get(0).nodes());
    Circuit above = circuit.above(2);
    assertEquals(
        List.of(new Group("two", List.of(1)), new Group("last", List.of(2))), above.groups());
    assertEquals(List.of(new Group("last", List.of(1))), circuit.above(8.5).groups());
    assertRefused(() -> grouped(circuit, new Group("none", List.of())), "\"none\" has no nodes");
    assertRefused(() -> grouped(circuit, new Group("far", List.of(4))), "node 4 of 4");
    assertRefused(
        () -> grouped(circuit, new Group("a", List.of(1)), new Group("b", List.of(1))),
        "node 1 is grouped twice");
  }

  private static Circuit grouped(Circuit of, Group... groups) {
    return new Circuit(
        of.origin(),
        of.nodes(),
        of.edges(),
        of.inputs(),
        of.patterns(),
        List.of(groups),
        of.attention());
  }

  /** A bias is neither an embedding nor an error: it counts in completeness alone. */
  @Test
  void scores_bias_isNoErrorAndNoEmbedding() {
    Circuit circuit =
        circuit(
            List.of("embedding[0]", "L0.mlp_error[1]", "L0.mlp_bias[1]", "metric"),
            List.of(new Edge(0, 3, ALL, 1), new Edge(1, 3, ALL, 1), new Edge(2, 3, ALL, -6)),
            input(3, -4));
    assertEquals(1.0 / 2, circuit.scores().orElseThrow().replacement(), ROUNDING);
    // complete are the metric by 7/8 and the three that read nothing, of influence 1 together
    assertEquals((7.0 / 8 + 1) / 2, circuit.scores().orElseThrow().completeness(), ROUNDING);
  }

  @Test
  void prune_weakEmbedding_staysWithItsPath() {
    Circuit circuit =
        circuit(
            List.of("embedding[0]", "L0.mlp_bias[1]", "L0.neuron1[1]", "metric"),
            List.of(new Edge(0, 3, ALL, 1), new Edge(1, 3, ALL, 2), new Edge(2, 3, ALL, 7)),
            input(2, 0),
            input(3, 10));
    List<Member> left = circuit.prune(0, 1).nodes();
    assertEquals(List.of(unread("embedding[0]"), unread("metric")), left);
  }

  @Test
  void prune_neuronThatNothingFeeds_goes() {
    Circuit circuit =
        circuit(
            List.of("embedding[0]", "L0.mlp_bias[1]", "L0.neuron1[1]", "metric"),
            List.of(new Edge(1, 3, ALL, 5), new Edge(2, 3, ALL, 5)),
            input(2, 0),
            input(3, 10));
    Circuit pruned = circuit.prune(1, 1);
    assertEquals(List.of(unread("L0.mlp_bias[1]"), unread("metric")), pruned.nodes());
    assertEquals(List.of(new Edge(0, 1, ALL, 5)), pruned.edges());
    assertEquals(List.of(input(1, 10)), pruned.inputs());
  }

  @Test
  void prune_neuronThatOthersFeed_staysWithItsRemainder() {
    Circuit circuit =
        circuit(
            List.of("embedding[0]", "L0.neuron1[1]", "L0.neuron2[1]", "metric"),
            List.of(new Edge(1, 3, ALL, 1), new Edge(2, 3, ALL, 9)),
            input(1, 3),
            input(2, 4),
            input(3, 10));
    Circuit pruned = circuit.prune(0.8, 1);
    assertEquals(List.of(unread("L0.neuron2[1]"), unread("metric")), pruned.nodes());
    assertEquals(List.of(new Edge(0, 1, ALL, 9)), pruned.edges());
    assertArrayEquals(new double[] {4, 1}, pruned.remainders(), ROUNDING);
  }

  @Test
  void new_whatIsNoCircuit_isRefused() {
    List<String> names = List.of("embedding[0]", "L0.neuron1[1]", "L0.head0[1<-0]", "metric");
    Input[] inputs = {input(3, 1)};
    assertRefused(() -> circuit(List.of(), List.of()), "a circuit that explains nothing");
    assertRefused(
        () -> circuit(List.of("embedding[0]"), List.of()), "a circuit that explains nothing");
    assertRefused(() -> circuit(List.of("metric", "metric"), List.of()), "metric is there twice");
    assertRefused(
        () -> circuit(List.of("embedding[0]", "embedding[0]", "metric"), List.of()),
        "embedding[0] is there twice");
    assertRefused(
        () -> circuit(names, List.of(), input(3, 1), input(3, 1)),
        "two certificates of node 3 through ALL");
    assertRefused(() -> circuit(names, List.of(), input(4, 1)), "node 4 of 4");
    assertRefused(() -> circuit(names, List.of(), input(-1, 1)), "node -1 of 4");
    assertRefused(
        () -> circuit(names, List.of(), input(0, 1)), "embedding[0], which reads nothing");
    assertRefused(() -> circuit(names, List.of(), input(2, 1)), "L0.head0[1<-0] through ALL");
    assertRefused(
        () ->
            circuit(
                names,
                List.of(),
                new Input(1, InputPath.KEY, new Certificate(1, 1, 1, 0, Optional.empty()))),
        "L0.neuron1[1] through KEY");
    assertRefused(() -> circuit(names, List.of(new Edge(0, 4, ALL, 1)), inputs), "node 4 of 4");
    assertRefused(
        () -> circuit(names, List.of(new Edge(3, 3, ALL, 1)), inputs),
        "an edge into node 3 from node 3, expected one before it");
    assertRefused(
        () -> circuit(names, List.of(new Edge(-1, 3, ALL, 1)), inputs),
        "an edge into node 3 from node -1, expected one before it");
    assertRefused(
        () -> circuit(names, List.of(new Edge(0, 3, ALL, Double.NaN)), inputs),
        "an edge of weight NaN into node 3");
    assertRefused(
        () -> circuit(names, List.of(new Edge(0, 3, ALL, 1), new Edge(0, 3, ALL, 2)), inputs),
        "two edges from node 0 to node 3 through ALL");
    assertRefused(
        () -> circuit(names, List.of(new Edge(0, 1, ALL, 1)), inputs),
        "an edge into node 1 through ALL, of which there is no certificate");
    assertRefused(
        () ->
            circuit(
                List.of("L0.neuron1[1]", "metric", "metric1"),
                List.of(new Edge(1, 2, ALL, 1)),
                input(2, 1)),
        "an edge from metric");
    assertRefused(
        () -> circuit(List.of("metric", "L0.neuron1[1]", "metric1"), List.of()),
        "L0.neuron1[1] comes after an output");
    assertRefused(() -> new Output("a", 0, OptionalDouble.empty(), 0), "the weight of a is 0.0");
    assertRefused(
        () -> new Output("a", 0, OptionalDouble.of(Double.NaN), 1), "the value of a is NaN");
    assertRefused(() -> output("metric", 2), "metric reads token 2 of 2");
    assertRefused(() -> output("logit3[0]", 1), "logit3[0] is said to read token 1");
    assertRefused(() -> output("embedding[1]", 1), "embedding[1] is no output of a circuit");
    assertRefused(() -> circuit(names, List.of()).prune(-0.1, 1), "node share is -0.1");
    assertRefused(() -> circuit(names, List.of()).above(-0.1), "threshold is -0.1");
  }

  private static Circuit output(String name, int position) {
    OptionalDouble none = OptionalDouble.empty();
    Output output = new Output("", position, none, 1);
    Member member =
        new Member(Node.parse(name), Point.EMBEDDING, none, none, none, Optional.of(output));
    return new Circuit(
        origin(),
        List.of(member),
        List.of(),
        List.of(),
        List.of(),
        List.of(),
        CircuitAttention.NONE);
  }

  @Test
  void prune_circuit_isACircuitOfTheNodesThatAreLeft() {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = attribution(16);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.LIVE);
      Labels labels = labels(nodes.run());
      Circuit full = CircuitBuilder.of(edges, labels, METRIC, Progress.NONE).grown(60);
      Circuit pruned = full.prune(0.7, 1);
      List<Node> left = pruned.nodes().stream().map(Member::node).toList();
      Circuit again = CircuitBuilder.of(edges, labels, METRIC, Progress.NONE).among(left);
      assertTrue(pruned.nodes().size() < full.nodes().size());
      assertEquals(again.nodes(), pruned.nodes());
      assertEquals(again.inputs(), pruned.inputs());
      assertEquals(again.patterns(), pruned.patterns());
      assertEquals(again.edges().size(), pruned.edges().size());
      Circuit fewer = full.prune(0.7, 0.5);
      assertTrue(fewer.edges().size() < pruned.edges().size());
      assertTrue(
          fewer.scores().orElseThrow().completeness() < full.scores().orElseThrow().completeness());
    }
  }

  private static List<Integer> ends(Edge edge) {
    return List.of(edge.source(), edge.target());
  }

  private static Map<List<Integer>, Double> entries(List<Edge> edges) {
    Map<List<Integer>, Double> sums = new HashMap<>();
    edges.forEach(edge -> sums.merge(ends(edge), Math.abs(edge.weight()), Double::sum));
    return sums;
  }

  @Test
  void aboveAndTop_keepWholeEntries() {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = attribution(17);
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.LIVE);
      Circuit full = CircuitBuilder.of(edges, labels(nodes.run()), METRIC, Progress.NONE).grown(60);
      for (int count : new int[] {0, 1, 10, 40}) {
        List<Edge> top = full.top(count).edges();
        assertTrue(entries(top).size() <= count); // fewer where the largest lead nowhere
      }
      assertEquals(full, full.top(entries(full.edges()).size()));
      assertEquals(full, full.above(0)); // all of a grown circuit leads to the metric
      assertEquals(1, full.above(Double.MAX_VALUE).nodes().size());
      double middle = Math.abs(full.edges().get(full.edges().size() / 2).weight());
      for (Edge edge : full.above(middle).edges()) {
        assertTrue(entries(full.above(middle).edges()).getOrDefault(ends(edge), 0.0) >= middle);
      }
      assertRefused(() -> full.above(Double.NaN), "threshold is NaN");
      assertRefused(() -> full.prune(1.5, 1), "node share is 1.5");
      assertRefused(() -> full.prune(1, -1), "edge share is -1.0");
    }
  }
}
