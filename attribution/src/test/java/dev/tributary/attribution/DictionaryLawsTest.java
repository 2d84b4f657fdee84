package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.LongRange;
import org.junit.jupiter.api.Test;

/**
 * The laws of the nodes of every kind of dictionary, of whatever it reads and writes, in whatever
 * model.
 */
class DictionaryLawsTest {
  private static final int LAYERS = RandomDictionaries.LAYERS;
  private static final int WIDTH = RandomDictionaries.WIDTH;
  private static final int HEADS = RandomDictionaries.HEADS;
  private static final int TOKENS = RandomDictionaries.TOKENS;

  /** Rounding of both sides in 64 bits, relative to the numbers that are added. */
  private static final double EXACT = 1e-10;

  /** Truncation of central differences. */
  private static final double DIFFERENCE = 1e-5;

  private static final double STEP = 1e-6;

  private static NodeAttribution nodes(RandomDictionaries sets, long seed) {
    Random random = new Random(seed);
    Run run =
        sets.model(random, seed)
            .run(
                NodeAttribution.sites(),
                random.ints(TOKENS, 0, RandomDictionaries.VOCABULARY).toArray());
    return NodeAttribution.of(run, Metric.logitDifference(TOKENS - 1, 1, 2));
  }

  private static EdgeAttribution edges(RandomDictionaries sets, long seed) {
    return EdgeAttribution.of(
        nodes(sets, seed),
        seed % 2 == 0 ? ScaleGradient.LIVE : ScaleGradient.DETACHED,
        seed / 2 % 2 == 0 ? EdgeMeasure.ATTRIBUTION : EdgeMeasure.ACTIVATION);
  }

  private static List<Latent> active(Run run) {
    List<Latent> all = new ArrayList<>();
    for (Dictionary dictionary : run.model().dictionaries()) {
      for (int token = 0; token < run.length(); token++) {
        for (int latent : run.encoding(dictionary).active(token)) {
          all.add(new Latent(dictionary.id(), token, latent));
        }
      }
    }
    return all;
  }

  private static List<Source> sources(Run run, Random random, int count) {
    List<Source> all = new ArrayList<>(active(run));
    for (Dictionary dictionary : run.model().dictionaries()) {
      for (int token = 0; token < run.length(); token++) {
        all.add(new ReconstructionError(dictionary.id(), token));
        all.add(new PreBias(dictionary.id(), token));
      }
    }
    assertFalse(all.isEmpty());
    return random.ints(count, 0, all.size()).mapToObj(all::get).distinct().toList();
  }

  /** Of all dictionaries, or of some that a caller names. */
  private static Basis basis(Transformer model, Random random) {
    if (random.nextInt(4) == 0) {
      return Basis.of(model);
    }
    List<Dictionary.Id> all =
        new ArrayList<>(model.dictionaries().stream().map(Dictionary::id).toList());
    Collections.shuffle(all, random);
    List<Dictionary.Id> named = new ArrayList<>();
    for (Dictionary.Id next : all.subList(0, random.nextInt(all.size() + 1))) {
      named.add(next);
      try {
        Basis.of(model, named);
      } catch (IllegalArgumentException twice) {
        named.remove(next);
      }
    }
    Basis basis = Basis.of(model, named);
    assertTrue(basis.dictionaries().containsAll(named), named::toString);
    return basis;
  }

  private static void assertClose(double expected, double actual, double size, String what) {
    assertEquals(expected, actual, EXACT * Math.max(1, size), what);
  }

  @Property(tries = 60)
  void certificate_anyTarget_isClosedByDictionariesToo(
      @ForAll RandomDictionaries sets, @ForAll @LongRange(min = 0, max = 1 << 20) long seed) {
    try (Scope scope = Scope.open()) {
      EdgeAttribution edges = edges(sets, seed);
      Run run = edges.nodes().run();
      List<Target> targets = new ArrayList<>(active(run).stream().limit(6).toList());
      targets.add(new Explained());
      targets.add(new Neuron(LAYERS - 1, TOKENS - 1, 2));
      targets.add(new HeadPair(1, 0, TOKENS - 1, 1).through(InputPath.KEY));
      Basis basis = basis(run.model(), new Random(seed));
      for (Target target : targets) {
        Certificate certificate = edges.certify(target);
        assertTrue(
            certificate.relativeResidual() < EXACT, () -> target + " " + certificate + " " + seed);
        EdgeScores scores = edges.into(target);
        double sum =
            EdgeScores.sum(
                basis.of(scores.arrays(), edges.gradient(target).point()), value -> value);
        assertClose(certificate.whole(), sum, certificate.magnitude(), target + " by its basis");
      }
    }
  }

  @Property(tries = 40)
  void edges_pulledPushedAndDifferenced_areTheSame(
      @ForAll RandomDictionaries sets, @ForAll @LongRange(min = 0, max = 1 << 20) long seed) {
    try (Scope scope = Scope.open()) {
      EdgeAttribution edges = edges(sets, seed);
      Run run = edges.nodes().run();
      Random random = new Random(seed);
      List<Latent> latents = active(run);
      for (Source source : sources(run, random, 4)) {
        EdgeScores outOf = edges.outOf(source);
        for (int i = 0; i < 4; i++) {
          Latent target = latents.get(random.nextInt(latents.size()));
          String what = source + " -> " + target + ", seed " + seed;
          double pulled = edges.into(target).of(source);
          double size = edges.certify(target).magnitude();
          assertClose(pulled, outOf.of(target), size, what);
          Reading reading = target.reading(edges);
          double pushed = 0;
          double differenced = 0;
          for (Write write : reading.seen(source.writes(run))) {
            pushed += reading.push(run, write.token(), write.vector(), edges.scaleGradient());
            differenced += difference(reading, run, write);
          }
          assertClose(pulled, pushed, size, what);
          if (edges.scaleGradient() == ScaleGradient.LIVE) {
            assertEquals(pulled, differenced, DIFFERENCE * Math.max(1, size), what);
          }
        }
      }
    }
  }

  @Property(tries = 40)
  void attention_explainedByDictionaries_isWhole(
      @ForAll RandomDictionaries sets, @ForAll @LongRange(min = 0, max = 1 << 20) long seed) {
    try (Scope scope = Scope.open()) {
      EdgeAttribution edges = edges(sets, seed);
      Run run = edges.nodes().run();
      Random random = new Random(seed);
      HeadPair head =
          new HeadPair(
              random.nextInt(LAYERS), random.nextInt(HEADS), TOKENS - 1, random.nextInt(TOKENS));
      Basis basis = basis(run.model(), random);
      ScoreAttribution score = ScoreAttribution.of(run, head, basis);
      assertTrue(score.relativeResidual() < EXACT, () -> head + " " + sets + " " + seed);
      Point read = run.model().attention(head.layer()).reads();
      for (ScoreAttribution.Share share : score.queries(Integer.MAX_VALUE)) {
        assertTrue(share.source().stream().allMatch(one -> basis.has(one, read)));
      }
      for (Source source : sources(run, random, 4)) {
        HeadLoadings loadings = HeadLoadings.of(edges, source, new Explained(), basis);
        assertTrue(loadings.relativeResidual() < EXACT, () -> source + " " + sets + " " + seed);
        assertClose(
            edges.into(new Explained()).of(source), loadings.direct(), 1, source + " " + seed);
      }
    }
  }

  private static double difference(Reading reading, Run run, Write write) {
    Tensor rows = reading.rows(run);
    Tensor step =
        write
            .vector()
            .reshape(1, WIDTH)
            .times(STEP)
            .pad(0, write.token() - reading.firstToken(), rows.shape().size(0));
    Tensor after = reading.of(Variable.constant(rows.plus(step)), ScaleGradient.LIVE).value();
    Tensor before = reading.of(Variable.constant(rows.minus(step)), ScaleGradient.LIVE).value();
    return (after.item() - before.item()) / (2 * STEP);
  }

  @Property(tries = 30)
  void search_latentsToLatents_findsTheLargestOfAll(
      @ForAll RandomDictionaries sets, @ForAll @LongRange(min = 0, max = 1 << 20) long seed) {
    try (Scope scope = Scope.open()) {
      EdgeAttribution edges = edges(sets, seed);
      List<Latent> latents = active(edges.nodes().run());
      NodeFilter only = NodeFilter.ALL.kinds(List.of(Latent.class));
      List<Double> expected = new ArrayList<>();
      for (Latent target : latents) {
        EdgeScores into = edges.into(target);
        latents.forEach(source -> expected.add(Math.abs(into.of(source))));
      }
      assertFindsLargest(expected, EdgeSearch.of(edges).from(only).into(only), seed);
    }
  }

  private static void assertFindsLargest(List<Double> all, EdgeSearch search, long seed) {
    List<Double> largest =
        all.stream().filter(edge -> edge > 0).sorted(Comparator.reverseOrder()).limit(15).toList();
    List<EdgeSearch.EdgeScore> found = search.top(15, Progress.NONE).edges();
    assertEquals(largest.size(), found.size(), "seed " + seed);
    for (int i = 0; i < largest.size(); i++) {
      assertClose(largest.get(i), Math.abs(found.get(i).score()), largest.get(0), "seed " + seed);
    }
  }

  /** Every edge of a basis, found without computing all of them. */
  @Property(tries = 20)
  void search_inABasis_findsTheLargestOfWhatReadersSee(
      @ForAll RandomDictionaries sets, @ForAll @LongRange(min = 0, max = 1 << 20) long seed) {
    try (Scope scope = Scope.open()) {
      EdgeAttribution edges = edges(sets, seed);
      Run run = edges.nodes().run();
      Basis basis = basis(run.model(), new Random(seed));
      List<Target> targets = new ArrayList<>(active(run).stream().filter(basis::has).toList());
      targets.add(new Explained());
      List<Double> expected = new ArrayList<>();
      for (Target target : targets) {
        Point read = edges.gradient(target).point();
        EdgeScores into = edges.into(target);
        for (NodeScore score : into.top(Integer.MAX_VALUE)) {
          Source source = score.node().asSource().orElseThrow();
          if (basis.has(source, read)) {
            expected.add(Math.abs(score.score()));
          }
        }
      }
      NodeFilter only = NodeFilter.ALL.kinds(List.of(Latent.class, Explained.class));
      assertFindsLargest(expected, EdgeSearch.of(edges).into(only).in(basis), seed);
    }
  }

  @Test
  void basis_ofWhatSplitsTheSame_isRefused() {
    try (Scope scope = Scope.open()) {
      Transformer model = nodes(RandomDictionaries.MORE_THAN_GO_TOGETHER, 3).run().model();
      Dictionary.Id cross = new Dictionary.Id(Dictionary.Kind.CROSS_LAYER, "", 0);
      Dictionary.Id transcoder = new Dictionary.Id(Dictionary.Kind.TRANSCODER, "", 1);
      Dictionary.Id other = new Dictionary.Id(Dictionary.Kind.TRANSCODER, "other", 1);
      Dictionary.Id residual = new Dictionary.Id(Dictionary.Kind.RESIDUAL, "", 1);
      Dictionary.Id heads = new Dictionary.Id(Dictionary.Kind.HEADS, "", 2);
      Dictionary.Id attention = new Dictionary.Id(Dictionary.Kind.ATTENTION, "", 2);
      assertEquals(LAYERS, Basis.of(model, List.of(cross)).dictionaries().size());
      assertEquals(List.of(other), Basis.of(model, List.of(other)).dictionaries());
      assertRefused("L1 MLP_OUTPUT", model, transcoder, other);
      assertRefused("L1 MLP_OUTPUT", model, cross, other);
      assertRefused("before and after", model, residual, cross);
      assertRefused("L2 ATTENTION_OUTPUT", model, heads, attention);
      assertRefused("not loaded", model, new Dictionary.Id(Dictionary.Kind.MLP, "no", 1));
      Source neuron = new Neuron(1, 2, 3);
      Source latent = new Latent(transcoder, 2, 3);
      Source named = new Latent(other, 2, 3);
      Basis basis = Basis.of(model, List.of(other));
      assertTrue(basis.has(named) && !basis.has(latent) && !basis.has(neuron));
      Basis own = Basis.of(model, List.of());
      assertTrue(!own.has(named) && !own.has(latent) && own.has(neuron));
      Basis split = Basis.of(model, List.of(residual));
      Point read = model.attention(2).reads();
      assertTrue(split.has(neuron) && !split.has(neuron, read));
      assertTrue(split.has(new Latent(residual, 2, 3), read));
      Circuit.Labels labels =
          new Circuit.Labels("m", List.of(), "p", Collections.nCopies(TOKENS, "w"));
      EdgeAttribution edges = edges(RandomDictionaries.MORE_THAN_GO_TOGETHER, 3);
      CircuitBuilder builder = CircuitBuilder.of(edges, labels, "metric", Progress.NONE).in(basis);
      for (Source wrong : List.of(neuron, latent)) {
        assertThrows(
            IllegalArgumentException.class, () -> builder.among(List.of(wrong)), wrong::toString);
      }
      Transformer plain = model.with(List.of());
      assertThrows(IllegalArgumentException.class, () -> basis.requireOf(plain));
    }
  }

  private static void assertRefused(String part, Transformer model, Dictionary.Id... named) {
    String message =
        assertThrows(IllegalArgumentException.class, () -> Basis.of(model, List.of(named)))
            .toString();
    assertTrue(message.contains(part), message);
  }

  @Property(tries = 40)
  void scaled_latent_takesItsRowsOutOfWhereItWrites(
      @ForAll RandomDictionaries sets, @ForAll @LongRange(min = 0, max = 1 << 20) long seed) {
    try (Scope scope = Scope.open()) {
      Run run = nodes(sets, seed).run();
      List<Latent> latents = active(run);
      Latent latent = latents.get(new Random(seed).nextInt(latents.size()));
      Dictionary dictionary = run.model().dictionary(latent.dictionary());
      Run without = run.with(latent.scaled(run, 0));
      Dictionary.Decoder first = dictionary.decoders().get(0);
      double[] lost =
          run.vectors(first.place())
              .minus(without.vectors(first.place()))
              .slice(0, latent.token(), latent.token() + 1)
              .toDoubles();
      double[] row =
          run.encoding(dictionary)
              .rows(0, latent.token(), latent.latent())
              .times(latent.activation(run).orElseThrow())
              .toDoubles();
      for (int i = 0; i < row.length; i++) {
        assertClose(row[i], lost[i], 10, latent + " seed " + seed);
      }
    }
  }

  @Test
  void with_aCrossLayerTranscoderThatLacksALayer_isRefused() {
    try (Scope scope = Scope.open()) {
      Transformer whole = RandomDictionaries.CROSS_LAYER.model(new Random(1), 1);
      List<Dictionary> some = whole.dictionaries().subList(0, 2);
      String message =
          assertThrows(IllegalArgumentException.class, () -> whole.with(some)).toString();
      assertTrue(
          message.contains(
              "the cross layer dictionary of layer 0 also writes for layer 2, of which there is"
                  + " none"),
          message);
    }
  }

  @Property(tries = 30)
  void circuit_ofAllThatABasisHas_hasNoRemainder(
      @ForAll RandomDictionaries sets, @ForAll @LongRange(min = 0, max = 1 << 20) long seed) {
    try (Scope scope = Scope.open()) {
      NodeAttribution nodes = nodes(sets, seed);
      Run run = nodes.run();
      EdgeAttribution edges = EdgeAttribution.of(nodes, ScaleGradient.DETACHED);
      Basis basis = basis(run.model(), new Random(seed));
      List<String> words = Arrays.stream(run.tokens()).mapToObj(Integer::toString).toList();
      Circuit circuit =
          CircuitBuilder.of(
                  edges,
                  new Circuit.Labels("model", List.of(), "prompt", words),
                  "metric",
                  Progress.NONE)
              .in(basis)
              .grown(10_000);
      assertEquals(
          basis.dictionaries().isEmpty(),
          circuit.nodes().stream().noneMatch(member -> member.node() instanceof Latent),
          "seed " + seed);
      double size =
          circuit.inputs().stream()
              .mapToDouble(input -> input.certificate().magnitude())
              .max()
              .orElse(1);
      for (double remainder : circuit.remainders()) {
        assertClose(0, remainder, size, "seed " + seed);
      }
    }
  }
}
