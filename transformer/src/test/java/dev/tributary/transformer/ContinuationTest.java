package dev.tributary.transformer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;

/** A text that grows token by token is one that was there from the beginning. */
class ContinuationTest {
  /** Rounding of a few layers in 64 bits, where products have other numbers of rows. */
  private static final double EXACT = 1e-10;

  private static final int LAYERS = 3;
  private static final int HEADS = 2;
  private static final int NEURONS = 5;
  private static final int CONTEXT = 9;
  private static final int VOCABULARY = 7;

  @Provide
  Arbitrary<Long> seeds() {
    return Arbitraries.longs().between(0, 1L << 40);
  }

  private static Transformer model(long seed) {
    TransformerConfig config =
        RandomArchitecture.of(new Random(seed), LAYERS, 7, HEADS, 4, NEURONS, CONTEXT, VOCABULARY);
    return Transformer.random(config, DType.DOUBLE, seed);
  }

  private static int[] words(Random random, int count) {
    return random.ints(count, 0, VOCABULARY).toArray();
  }

  private static void assertClose(Tensor expected, Tensor actual) {
    double[] wanted = expected.toDoubles();
    double scale = Math.max(1, Arrays.stream(wanted).map(Math::abs).max().orElseThrow());
    assertArrayEquals(wanted, actual.toDoubles(), EXACT * scale);
  }

  @Property(tries = 200)
  void append_inAnyPieces_equalsTheWholeTextAtOnce(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Transformer model = model(seed);
      Random random = new Random(seed);
      int[] prompt = words(random, 1 + random.nextInt(3));
      Continuation text = Continuation.of(model, prompt);
      assertClose(model.nextLogits(prompt), text.nextLogits());
      while (text.room() > 0) {
        text.append(words(random, random.nextInt(Math.min(3, text.room()) + 1)));
        assertClose(model.nextLogits(text.tokens()), text.nextLogits());
      }
    }
  }

  /** Numbers that are the same for every token that is meant. */
  private static Change change(Transformer model, Random random) {
    int layer = random.nextInt(LAYERS);
    int head = random.nextInt(model.attention(layer).heads());
    Place place =
        switch (random.nextInt(6)) {
          case 0 ->
              Place.of(Site.MLP_ACTIVATION, layer)
                  .at(1, random.nextInt(model.mlp(layer).neuronCount()));
          case 1 -> Place.of(Site.HEAD_OUTPUT, layer).at(0, head);
          case 2 -> Place.of(Site.KEY, layer).at(0, model.attention(layer).keyHead(head));
          case 3 -> Place.of(Site.PATTERN, layer).at(0, head).at(2, 0);
          case 4 -> Place.of(Site.EMBEDDING);
          default -> Place.of(Site.RESIDUAL_AFTER_MLP, layer);
        };
    Intervention whole =
        switch (random.nextInt(3)) {
          case 0 -> Intervention.set(place, random.nextGaussian());
          case 1 -> Intervention.scale(place, random.nextGaussian());
          default ->
              Intervention.add(place, Tensor.full(DType.DOUBLE, Shape.of(), random.nextGaussian()));
        };
    int first = random.nextInt(CONTEXT);
    return switch (random.nextInt(3)) {
      case 0 -> whole;
      case 1 -> whole.at(Tokens.from(first));
      default -> whole.at(Tokens.between(first, first + random.nextInt(3)));
    };
  }

  @Property(tries = 200)
  void append_changed_equalsTheWholeTextChanged(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Transformer model = model(seed);
      Random random = new Random(seed);
      Change[] changes = {change(model, random), change(model, random)};
      Continuation text = Continuation.of(model, words(random, 1 + random.nextInt(3)), changes);
      while (text.room() > 0) {
        text.append(words(random, 1));
        Run whole = model.run(text.tokens()).with(changes);
        assertClose(whole.logits(whole.lastToken()).reshape(VOCABULARY), text.nextLogits());
      }
    }
  }

  @Property(tries = 60)
  void generate_greedy_isTheLargestOfNextLogitsStepByStep(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Transformer model = model(seed);
      int[] prompt = words(new Random(seed), 2);
      List<Integer> expected = new ArrayList<>();
      for (int[] text = prompt; text.length < CONTEXT; ) {
        double[] logits = model.nextLogits(text).toDoubles();
        int best =
            IntStream.range(0, VOCABULARY)
                .reduce((a, b) -> logits[b] > logits[a] ? b : a)
                .orElseThrow();
        expected.add(best);
        text = IntStream.concat(Arrays.stream(text), IntStream.of(best)).toArray();
      }
      List<Integer> heard = new ArrayList<>();
      Continuation text = Continuation.of(model, prompt);
      int[] generated = text.generate(Sampling.greedy(), 100, Set.of(), heard::add);
      assertEquals(expected, IntStream.of(generated).boxed().toList());
      assertEquals(expected, heard);
      assertEquals(0, text.room());
    }
  }

  @Property(tries = 60)
  void generate_sameSeed_saysTheSame(@ForAll("seeds") long seed) {
    try (Scope scope = Scope.open()) {
      Transformer model = model(seed);
      int[] prompt = words(new Random(seed), 2);
      int[][] said = new int[2][];
      for (int i = 0; i < 2; i++) {
        Continuation text = Continuation.of(model, prompt);
        said[i] = text.generate(Sampling.of(3, 5, 0.9, seed), 100, Set.of(), token -> true);
      }
      assertArrayEquals(said[0], said[1]);
    }
  }

  @Test
  void generate_endsWhereItShould() {
    try (Scope scope = Scope.open()) {
      Transformer model = model(1);
      int[] all =
          Continuation.of(model, new int[] {1})
              .generate(Sampling.greedy(), 100, Set.of(), token -> true);
      assertEquals(CONTEXT - 1, all.length);
      int end = all[0];
      assertArrayEquals(
          new int[] {end},
          Continuation.of(model, new int[] {1})
              .generate(Sampling.greedy(), 100, Set.of(end), token -> true));
      assertArrayEquals(
          new int[] {end},
          Continuation.of(model, new int[] {1})
              .generate(Sampling.greedy(), 100, Set.of(), token -> false));
      Continuation text = Continuation.of(model, new int[] {1});
      assertArrayEquals(
          Arrays.copyOf(all, 2), text.generate(Sampling.greedy(), 2, Set.of(), token -> true));
      assertArrayEquals(
          Arrays.copyOfRange(all, 2, 5),
          text.generate(Sampling.greedy(), 3, Set.of(), token -> true));
      assertEquals(6, text.tokens().length);
    }
  }

  @Test
  void of_whatDoesNotFit_isRefused() {
    try (Scope scope = Scope.open()) {
      Transformer model = model(2);
      Change beyond = Intervention.ablate(Place.of(Site.MLP_OUTPUT, LAYERS));
      assertThrows(
          IllegalArgumentException.class, () -> Continuation.of(model, new int[] {1}, beyond));
      Change frozen = Frozen.as(model.run(1, 2));
      assertThrows(
          IllegalArgumentException.class, () -> Continuation.of(model, new int[] {1, 2}, frozen));
      assertThrows(IllegalArgumentException.class, () -> Continuation.of(model, new int[0]));
      Continuation text = Continuation.of(model, new int[CONTEXT]);
      assertThrows(IllegalArgumentException.class, () -> text.append(0));
      assertThrows(
          IllegalArgumentException.class,
          () -> Continuation.of(model, new int[] {1}).append(VOCABULARY));
    }
  }

  @Test
  void append_manyTokens_keepsNothingButKeysAndValues() {
    try (Scope scope = Scope.open()) {
      TransformerConfig config = TransformerConfig.gpt2(LAYERS, 7, 2, 3, 5, 30, 7, 1e-5, true);
      Transformer model = Transformer.random(config, DType.DOUBLE, 1);
      Continuation text = Continuation.of(model, new int[] {1, 2});
      long before = Scope.liveTensors();
      text.generate(Sampling.greedy(), 20, Set.of(), token -> true);
      assertEquals(20 * 2 * LAYERS, Scope.liveTensors() - before);
    }
  }

  // ---- sampling ------------------------------------------------------------------------------

  @Property(tries = 60)
  void choose_drawsByProbabilityOfWhatIsLeft(@ForAll("seeds") long seed) {
    Random random = new Random(seed);
    double[] logits = random.doubles(6, -1, 1).toArray();
    double temperature = 0.5 + random.nextDouble();
    int topK = 1 + random.nextInt(6);
    double topP = 0.3 + 0.7 * random.nextDouble();
    Integer[] order = IntStream.range(0, 6).boxed().toArray(Integer[]::new);
    Arrays.sort(order, (a, b) -> Double.compare(logits[b], logits[a]));
    double[] expected = new double[6];
    double all = 0;
    for (int i = 0; i < topK; i++) {
      all += Math.exp(logits[order[i]] / temperature);
    }
    double left = 0;
    for (int i = 0; i < topK && left < topP; i++) {
      expected[order[i]] = Math.exp(logits[order[i]] / temperature) / all;
      left += expected[order[i]];
    }
    int draws = 4000;
    double[] drawn = new double[6];
    Sampling sampling = Sampling.of(temperature, topK, topP, seed);
    for (int i = 0; i < draws; i++) {
      drawn[sampling.choose(logits)] += 1.0 / draws;
    }
    for (int i = 0; i < 6; i++) {
      assertEquals(expected[i] / left, drawn[i], 5 * Math.sqrt(0.25 / draws));
      assertTrue(expected[i] > 0 || drawn[i] == 0);
    }
  }

  @Test
  void of_impossibleSampling_isRefused() {
    assertThrows(IllegalArgumentException.class, () -> Sampling.of(0, 1, 1, 0));
    assertThrows(IllegalArgumentException.class, () -> Sampling.of(Double.NaN, 1, 1, 0));
    assertThrows(IllegalArgumentException.class, () -> Sampling.of(1, 0, 1, 0));
    assertThrows(IllegalArgumentException.class, () -> Sampling.of(1, 1, 0, 0));
    assertThrows(IllegalArgumentException.class, () -> Sampling.of(1, 1, 1.5, 0));
    assertThrows(
        IllegalArgumentException.class,
        () -> Sampling.greedy().choose(new double[] {1, Double.NaN}));
  }
}
