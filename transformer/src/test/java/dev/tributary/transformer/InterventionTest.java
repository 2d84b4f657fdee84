package dev.tributary.transformer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** The laws of running a model again with something changed. */
class InterventionTest {
  /** Rounding of a few layers in 64 bits. */
  private static final double EXACT = 1e-10;

  /** Truncation of central differences of fourth order, relative to 1 or the value. */
  private static final double DIFFERENCE = 1e-6;

  private static final double STEP = 1e-4;
  private static final int LAYERS = 3;
  private static final int WIDTH = 7;
  private static final int TOKENS = 4;
  private static final int VOCABULARY = 7;

  /**
   * Differences fail where a model happens to bend sharply, so their models are always the same.
   */
  private static final String FIXED = "20261123";

  @Provide
  Arbitrary<Long> seeds() {
    return Arbitraries.longs().between(0, 1L << 40);
  }

  private static Run run(long seed, long prompt) {
    return seed % 3 == 0 ? run(mixture(seed), seed, prompt) : plain(seed, prompt);
  }

  private static TransformerConfig mixture(long seed) {
    return RandomArchitecture.of(new Random(seed), LAYERS, WIDTH, 2, 4, 5, TOKENS, VOCABULARY);
  }

  /** Of a GPT-2. */
  private static Run plain(long seed, long prompt) {
    TransformerConfig config =
        TransformerConfig.gpt2(LAYERS, WIDTH, 2, 3, 5, TOKENS, VOCABULARY, 1e-5, seed % 2 == 0);
    return run(config, seed, prompt);
  }

  private static Run run(TransformerConfig config, long seed, long prompt) {
    return Transformer.random(config, DType.DOUBLE, seed)
        .run(new Random(prompt).ints(TOKENS, 0, VOCABULARY).toArray());
  }

  /** A site, or part of it; of all but the scales, which are divided by. */
  private static Place place(Run run, Random random) {
    List<Place> places =
        run.places().stream()
            .filter(place -> place.site().curvature() != Site.Curvature.SCALE)
            .toList();
    Place place = places.get(random.nextInt(places.size()));
    Shape shape = run.value(place).shape();
    for (int axis = 0; axis < shape.rank(); axis++) {
      if (random.nextBoolean()) {
        place = place.at(axis, random.nextInt(shape.size(axis)));
      }
    }
    return place;
  }

  private static Change change(Run run, Random random, Run other) {
    Place place = place(run, random);
    return switch (random.nextInt(5)) {
      case 0 -> Intervention.ablate(place);
      case 1 -> Intervention.set(place, random.nextGaussian());
      case 2 -> Intervention.scale(place, random.nextGaussian());
      case 3 -> Intervention.add(place, Tensor.full(DType.DOUBLE, Shape.of(), 0.3));
      default -> Intervention.patch(place, other);
    };
  }

  @Property(tries = 200)
  void with_anyChange_equalsRunningAllLayersAgain(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Run run = run(seed, seed);
      Random random = new Random(seed);
      Run other = run.model().run(random.ints(TOKENS, 0, VOCABULARY).toArray());
      Change change = change(run, random, other);
      Run changed = run.with(change);
      Run fromTheStart = run.with(change, Intervention.scale(Place.of(Site.EMBEDDING), 1));
      for (Place place : run.places()) {
        assertClose(fromTheStart.value(place), changed.value(place));
      }
    }
  }

  /** In value and in derivative. */
  @Property(tries = 100)
  void with_atSomeTokens_equalsEachAlone(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Run run = run(seed, seed);
      Random random = new Random(seed);
      Place place = place(run, random);
      int axis = run.value(place).shape().rank() - 2;
      Place whole = place.without(axis);
      int first = random.nextInt(TOKENS);
      int last = first + random.nextInt(TOKENS - first);
      double factor = random.nextGaussian();
      Run together = run.with(Intervention.scale(whole, factor).at(Tokens.between(first, last)));
      Run oneByOne =
          run.with(
              IntStream.rangeClosed(first, last)
                  .mapToObj(token -> Intervention.scale(whole.at(axis, token), factor))
                  .toArray(Change[]::new));
      for (Place each : run.places()) {
        assertClose(oneByOne.value(each), together.value(each));
      }
      Tensor weights = run.value(Site.LOGITS).reshape(1, TOKENS, VOCABULARY);
      assertClose(pulled(oneByOne, weights), pulled(together, weights));
    }
  }

  private static Tensor pulled(Run run, Tensor gradient) {
    return Jacobian.of(run.variable(Site.LOGITS), run.variable(Site.TOKEN_EMBEDDING))
        .pull(gradient)
        .get(0);
  }

  /** Also when what an earlier change changed is not to be recorded. */
  @Property(tries = 200)
  void valuesWith_anyChange_equalsWithAndHoldsNoMore(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Run run = run(seed, seed);
      Random random = new Random(seed);
      Run other = run.model().run(random.ints(TOKENS, 0, VOCABULARY).toArray());
      Run base = run.with(change(run, random, other));
      Change change = change(run, random, other);
      Run changed = base.with(change);
      Set<Site> sites = EnumSet.of(Site.FINAL_NORMALISED);
      base.sites().stream().sorted().filter(site -> random.nextInt(4) == 0).forEach(sites::add);
      long before = Scope.liveTensors();
      Run values = base.valuesWith(sites, change);
      assertTrue(Scope.liveTensors() - before <= values.places().size() + OUTSIDE_LAYERS);
      assertEquals(
          places(changed).filter(place -> sites.contains(place.site())).toList(),
          places(values).toList());
      for (Place place : values.places()) {
        assertTrue(values.variable(place).isConstant(), place::toString);
        assertClose(changed.value(place), values.value(place));
      }
    }
  }

  /** But for what comes by only where it is wanted or changed. */
  private static Stream<Place> places(Run run) {
    return run.places().stream().filter(place -> place.site() != Site.MLP_RESULT);
  }

  /** Tensors that the embedding, the last norm and the unembedding make on their way. */
  private static final int OUTSIDE_LAYERS = 16;

  @Property(tries = 100)
  void with_oneLayerChanged_sharesTheEarlierOnes(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Run run = plain(seed, seed);
      int layer = (int) (seed % LAYERS);
      Run changed = run.with(Intervention.ablate(Place.of(Site.MLP_ACTIVATION, layer)));
      for (int earlier = 0; earlier < layer; earlier++) {
        assertSame(
            run.variable(Site.MLP_OUTPUT, earlier), changed.variable(Site.MLP_OUTPUT, earlier));
      }
      double[] bias = run.model().mlp(layer).bias().orElseThrow().toDoubles();
      double[] output = changed.value(Site.MLP_OUTPUT, layer).toDoubles();
      for (int i = 0; i < output.length; i++) {
        assertEquals(bias[i % WIDTH], output[i], EXACT);
      }
    }
  }

  @Property(tries = 100)
  void with_oneAfterTheOther_equalsBothAtOnce(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Run run = run(seed, seed);
      Random random = new Random(seed);
      Run other = run(seed, seed + 1);
      Change first = change(run, random, other);
      Change second = change(run, random, other);
      Tensor expected = run.with(first, second).value(Site.LOGITS);
      assertClose(expected, run.with(first).with(second).value(Site.LOGITS));
      assertClose(expected, run.with(first, second).with().value(Site.LOGITS));
    }
  }

  @Property(tries = 100)
  void patch_wholeResidualOfAnotherRun_givesItsLogits(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Run run = run(seed, seed);
      Run other = run(seed, seed + 1);
      int layer = (int) (seed % LAYERS);
      Place place = Place.of(Site.RESIDUAL_AFTER_MLP, layer);
      Run patched = run.with(Intervention.patch(place, other));
      assertClose(other.value(Site.LOGITS), patched.value(Site.LOGITS));
    }
  }

  @Property(tries = 100, seed = FIXED)
  void derivative_ofAChangedRun_equalsCentralDifferences(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Run run = run(seed, seed);
      Random random = new Random(seed);
      Place place = place(run, random);
      Change change = // that leaves no row of the residual stream so flat that a norm bends sharply
          random.nextBoolean()
              ? Intervention.scale(place, 0.5 + random.nextDouble())
              : Intervention.patch(place, run(seed, seed + 1));
      Tensor direction = gaussian(Shape.of(TOKENS, WIDTH), random);
      Run changed = run.with(change);
      Variable input = changed.variable(Site.TOKEN_EMBEDDING);
      Tensor logits = changed.value(Site.LOGITS);
      Tensor pushed =
          Jacobian.of(changed.variable(Site.LOGITS), input)
              .push(direction.reshape(1, TOKENS, WIDTH))
              .reshape(logits.shape());
      Tensor near = difference(run, change, direction, STEP);
      Tensor far = difference(run, change, direction, 2 * STEP);
      double[] difference = near.times(4).minus(far).times(1.0 / 3).toDoubles();
      double[] derivative = pushed.toDoubles();
      if (change.firstLayer(run.model()) > 0) { // or the input itself was changed
        for (int i = 0; i < difference.length; i++) {
          assertEquals(
              difference[i], derivative[i], DIFFERENCE * Math.max(1, Math.abs(derivative[i])));
        }
      }
    }
  }

  /** How the logits move when the embeddings do. */
  private static Tensor difference(Run run, Change change, Tensor direction, double step) {
    Place embedding = Place.of(Site.TOKEN_EMBEDDING);
    Tensor ahead = run.with(add(embedding, direction, step), change).value(Site.LOGITS);
    Tensor behind = run.with(add(embedding, direction, -step), change).value(Site.LOGITS);
    return ahead.minus(behind).times(1 / (2 * step));
  }

  private static Intervention add(Place place, Tensor direction, double factor) {
    return Intervention.add(place, direction.times(factor));
  }

  @Property(tries = 100)
  void frozen_unchanged_isTheSame(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Run run = run(seed, seed);
      Run frozen = run.with(Frozen.as(run));
      for (Place place : run.places()) {
        assertClose(run.value(place), frozen.value(place));
      }
    }
  }

  /** Straight along any line, however far, and along its own derivative. */
  @Property(tries = 100)
  void frozen_secondDerivative_isZero(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Run run = run(seed, seed);
      Tensor direction = gaussian(Shape.of(TOKENS, WIDTH), new Random(seed));
      Place place = Place.of(Site.EMBEDDING);
      Run frozen = run.with(Frozen.as(run));
      Tensor base = frozen.value(Site.LOGITS);
      for (double step : new double[] {1e-3, 1, 30}) {
        Tensor ahead = run.with(Frozen.as(run), add(place, direction, step)).value(Site.LOGITS);
        Tensor behind = run.with(Frozen.as(run), add(place, direction, -step)).value(Site.LOGITS);
        Tensor curvature = ahead.plus(behind).minus(base.times(2)).times(1 / step);
        for (double entry : curvature.toDoubles()) {
          assertEquals(0, entry, 1e-9 / Math.min(1, step));
        }
        Tensor derivative =
            Jacobian.of(frozen.variable(Site.LOGITS), frozen.variable(Site.EMBEDDING))
                .push(direction.reshape(1, TOKENS, WIDTH))
                .reshape(base.shape());
        assertClose(ahead.minus(base), derivative.times(step));
      }
    }
  }

  @Test
  void ablate_scores_keepsCausality() {
    try (Scope scope = Scope.open()) {
      Run run = run(1, 1);
      Run changed = run.with(Intervention.ablate(Place.of(Site.SCORES, 1)));
      Tensor pattern = changed.value(Site.PATTERN, 1);
      assertEquals(1.0 / 3, pattern.get(0, 2, 1), EXACT);
      assertEquals(0, pattern.get(0, 2, 3));
      assertEquals(Double.NEGATIVE_INFINITY, changed.value(Site.SCORES, 1).get(0, 2, 3));
    }
  }

  @Test
  void with_whatDoesNotFit_saysWhy() {
    try (Scope scope = Scope.open()) {
      Run run = run(1, 1);
      Run shorter = run.model().run(1, 2);
      assertRefused(
          "site LOGITS belongs to the whole model, not to a layer", () -> Place.of(Site.LOGITS, 0));
      assertRefused(
          "site PATTERN needs a layer: every layer has one", () -> Place.of(Site.PATTERN));
      assertRefused(
          "layer 3 of a model that has 3, counted from 0",
          () -> run.with(Intervention.ablate(Place.of(Site.PATTERN, 3))));
      assertRefused(
          "site PATTERN of shape [2, 4, 4] has no index 2 along axis 0",
          () -> run.with(Intervention.ablate(Place.of(Site.PATTERN, 0).at(0, 2))));
      assertRefused(
          "site PATTERN of shape [2, 4, 4] has no index 0 along axis 3",
          () -> run.with(Intervention.ablate(Place.of(Site.PATTERN, 0).at(3, 0))));
      assertRefused(
          "L0 MLP_OUTPUT: the run to patch from has [2, 7] there and this one [4, 7]",
          () -> run.with(Intervention.patch(Place.of(Site.MLP_OUTPUT, 0), shorter)));
      for (Shape misfit : List.of(Shape.of(5), Shape.of(2, 7), Shape.of(3, 1, 7))) {
        Tensor direction = Tensor.zeros(DType.DOUBLE, misfit);
        assertRefused(
            "L0 MLP_OUTPUT: a direction of shape " + misfit + " does not fit the site's [4, 7]",
            () -> run.with(Intervention.add(Place.of(Site.MLP_OUTPUT, 0), direction)));
      }
      assertRefused(
          "frozen: the run that is held has tokens [1, 2] and the one that is changed "
              + Arrays.toString(run.tokens()),
          () -> run.with(Frozen.as(shorter)));
    }
  }

  private static void assertRefusedSaying(String part, Executable call) {
    String message =
        String.valueOf(assertThrows(IllegalArgumentException.class, call).getMessage());
    assertTrue(message.contains(part), message);
  }

  /** The same weights in another model are another model: nothing compares weights. */
  @Test
  void frozen_asRunOfAnotherModel_isRefused() {
    try (Scope scope = Scope.open()) {
      Run run = run(1, 1);
      Run other = run(1, 1);
      assertRefusedSaying(
          "frozen: the run that is held is of another model, random weights",
          () -> run.with(Frozen.as(other)));
      Transformer encoded = run.model().with(List.of(EncodingTest.autoencoder(1, WIDTH)));
      Run same = encoded.run(run.tokens());
      assertClose(run.value(Site.LOGITS), same.with(Frozen.as(run)).value(Site.LOGITS));
      assertClose(run.value(Site.LOGITS), run.with(Frozen.as(same)).value(Site.LOGITS));
    }
  }

  @Test
  void with_numbersThatAreNotFinite_isRefused() {
    try (Scope scope = Scope.open()) {
      Run run = run(1, 1);
      Place neuron = Place.of(Site.MLP_ACTIVATION, 1).at(0, 2).at(1, 3);
      for (double wrong :
          new double[] {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY}) {
        assertRefusedSaying(
            "L1 MLP_ACTIVATION {0=2, 1=3}: a number becomes " + wrong + ", which is no finite",
            () -> run.with(Intervention.set(neuron, wrong)));
        assertRefusedSaying("a number becomes", () -> run.with(Intervention.scale(neuron, wrong)));
        Tensor direction = Tensor.full(DType.DOUBLE, Shape.of(5), wrong);
        assertRefusedSaying(
            "a number becomes", () -> run.with(Intervention.add(neuron, direction)));
      }
      assertRefusedSaying(
          "a number becomes -Infinity",
          () -> run.with(Intervention.set(Place.of(Site.SCORES, 0), Double.NEGATIVE_INFINITY)));
      Run single = Transformer.random(run.model().config(), DType.FLOAT, 1).run(run.tokens());
      assertRefusedSaying("no finite FLOAT", () -> single.with(Intervention.set(neuron, 1e39)));
      assertRefusedSaying("times 1.0E39", () -> single.with(Intervention.scale(neuron, 1e39)));
      assertTrue(run.with(Intervention.set(neuron, 1e39)).value(Site.LOGITS).isFinite());
    }
  }

  @Test
  void with_scaleOfALayerNormThatIsZero_isRefused() {
    try (Scope scope = Scope.open()) {
      Run run = run(1, 1);
      for (Site site : List.of(Site.ATTENTION_SCALE, Site.MLP_SCALE)) {
        assertRefusedSaying(
            "what rows are divided by becomes 0",
            () -> run.with(Intervention.ablate(Place.of(site, 2).at(0, 1))));
      }
      assertRefusedSaying(
          "FINAL_SCALE: what rows are divided by becomes 0",
          () -> run.with(Intervention.set(Place.of(Site.FINAL_SCALE), 0)));
    }
  }

  @Test
  void place_layerOfASiteOfTheWholeModel_isRefused() {
    assertRefusedSaying(
        "site EMBEDDING belongs to the whole model, not to layer 5",
        () -> new Place(Site.EMBEDDING, 5, Map.of()));
  }

  private static void assertRefused(String message, Executable mistake) {
    assertEquals(message, assertThrows(IllegalArgumentException.class, mistake).getMessage());
  }

  private static Tensor gaussian(Shape shape, Random random) {
    return Tensor.generate(
        DType.DOUBLE,
        shape,
        (from, values, count) -> {
          for (int i = 0; i < count; i++) {
            values[i] = random.nextGaussian();
          }
        });
  }

  private static void assertClose(Tensor expected, Tensor actual) {
    double[] values = expected.toDoubles();
    double scale = 1;
    for (double value : values) {
      scale = Double.isFinite(value) ? Math.max(scale, Math.abs(value)) : scale;
    }
    assertArrayEquals(values, actual.toDoubles(), EXACT * scale);
  }
}
