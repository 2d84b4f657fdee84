package dev.tributary.transformer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.autodiff.DerivativeCheck;
import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.UnaryOperator;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;

/** The laws that a transformer obeys whatever its weights, and the closed forms of its parts. */
class TransformerTest {
  /** Rounding of a few layers in 64 bits. */
  private static final double DOUBLE_TOLERANCE = 1e-10;

  /** Rounding of a few layers in 32 bits, where narrow layer norms cancel most digits. */
  private static final double FLOAT_TOLERANCE = 1e-3;

  /** Truncation of central differences. */
  private static final double DIFFERENCE_TOLERANCE = 1e-6;

  /** A model, a prompt and a seed for whatever else is drawn. */
  record Drawn(TransformerConfig config, int length, long seed) {
    int[] tokens() {
      return new Random(seed).ints(length, 0, config.vocabulary()).toArray();
    }

    Transformer model(DType dtype) {
      return Transformer.random(config, dtype, seed);
    }
  }

  /**
   * Differences fail where a model happens to bend sharply, so their models are always the same.
   */
  private static final String FIXED = "20261123";

  @Provide
  Arbitrary<Drawn> models() {
    Arbitrary<TransformerConfig> configs =
        Combinators.combine(
                Arbitraries.integers().between(1, 3),
                Arbitraries.integers().between(4, 12),
                Arbitraries.integers().between(1, 3),
                Arbitraries.integers().between(1, 5),
                Arbitraries.integers().between(1, 9),
                Arbitraries.integers().between(2, 15),
                Arbitraries.of(MlpActivation.values()),
                Arbitraries.of(true, false))
            .as(
                (layers, dModel, heads, dHead, neurons, vocabulary, activation, tied) ->
                    TransformerConfig.gpt2(
                        layers,
                        dModel,
                        heads,
                        dHead,
                        neurons,
                        8,
                        vocabulary,
                        1e-5,
                        activation,
                        tied));
    Arbitrary<TransformerConfig> mixtures =
        Combinators.combine(
                Arbitraries.longs().between(0, 1 << 20),
                Arbitraries.integers().between(1, 3),
                Arbitraries.integers().between(4, 12),
                Arbitraries.integers().between(1, 4),
                Arbitraries.integers().between(1, 5),
                Arbitraries.integers().between(1, 9),
                Arbitraries.integers().between(2, 15))
            .as(
                (seed, layers, dModel, heads, dHead, neurons, vocabulary) ->
                    RandomArchitecture.of(
                        new Random(seed), layers, dModel, heads, dHead, neurons, 8, vocabulary));
    return Combinators.combine(
            Arbitraries.oneOf(configs, mixtures),
            Arbitraries.integers().between(1, 7),
            Arbitraries.longs().between(0, 1 << 20))
        .as(Drawn::new)
        .withoutEdgeCases();
  }

  private static Variable logits(Transformer model, Variable embedding) {
    Variable x = embedding;
    for (int layer = 0; layer < model.layers(); layer++) {
      x = new Layer(model.attention(layer), model.mlp(layer)).apply(x, (site, at, seen) -> seen);
    }
    return model.unembed(model.normalised(x, ScaleGradient.LIVE));
  }

  @Property(tries = 60)
  void logits_plainInference_equalsRecordedRun(@ForAll("models") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      double[] recorded = model.run(drawn.tokens()).value(Site.LOGITS).toDoubles();
      assertArrayEquals(recorded, model.logits(drawn.tokens()).toDoubles(), DOUBLE_TOLERANCE);
      int vocabulary = drawn.config.vocabulary();
      assertArrayEquals(
          Arrays.copyOfRange(recorded, recorded.length - vocabulary, recorded.length),
          model.nextLogits(drawn.tokens()).toDoubles(),
          DOUBLE_TOLERANCE);
    }
  }

  @Property(tries = 60)
  void run_laterToken_changesNothingEarlier(@ForAll("models") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      int[] tokens = drawn.tokens();
      double[] before = model.logits(tokens).toDoubles();
      tokens[tokens.length - 1] = (tokens[tokens.length - 1] + 1) % drawn.config.vocabulary();
      double[] after = model.logits(tokens).toDoubles();
      int earlier = (tokens.length - 1) * drawn.config.vocabulary();
      assertArrayEquals(
          Arrays.copyOf(before, earlier), Arrays.copyOf(after, earlier), DOUBLE_TOLERANCE);
      assertFalse(Arrays.equals(before, after), "the changed token changed nothing");
    }
  }

  @Property(tries = 40, seed = FIXED)
  void run_embeddingToLogits_isAdjointAndDifferentiable(@ForAll("models") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      for (DType dtype : DType.values()) {
        Transformer model = drawn.model(dtype);
        Run run = model.run(drawn.tokens());
        Variable input = run.variable(Site.EMBEDDING);
        Variable output = run.variable(Site.LOGITS);
        Jacobian jacobian = Jacobian.of(output, input);
        double error = DerivativeCheck.adjoint(jacobian.map(), dtype, 3, drawn.seed);
        assertEquals(0, error, dtype == DType.DOUBLE ? DOUBLE_TOLERANCE : FLOAT_TOLERANCE);
      }
      Run run = drawn.model(DType.DOUBLE).run(drawn.tokens());
      Transformer model = run.model();
      Tensor at = run.value(Site.EMBEDDING);
      Variable input = Variable.input(at);
      Variable output = logits(model, input);
      assertClose(output.value(), run.value(Site.LOGITS));
      Tensor direction = gaussian(at.shape().prepend(1), drawn.seed);
      assertClose(
          Jacobian.of(output, input).push(direction),
          Jacobian.of(run.variable(Site.LOGITS), run.variable(Site.EMBEDDING)).push(direction));
      double error = DerivativeCheck.centralDifferences(x -> logits(model, x), at, drawn.seed);
      assertEquals(0, error, DIFFERENCE_TOLERANCE);
    }
  }

  @Property(tries = 40)
  void jacobian_batchOfDirections_equalsOneByOne(@ForAll("models") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Run run = drawn.model(DType.DOUBLE).run(drawn.tokens());
      Variable input = run.variable(Site.EMBEDDING);
      Variable output = run.variable(Site.LOGITS);
      Jacobian jacobian = Jacobian.of(output, input);
      Tensor directions = gaussian(input.shape().prepend(3), drawn.seed);
      Tensor codirections = gaussian(output.shape().prepend(3), drawn.seed + 1);
      Tensor pushed = jacobian.push(directions);
      Tensor pulled = jacobian.pull(codirections).get(0);
      for (int i = 0; i < 3; i++) {
        assertClose(pushed.slice(0, i, i + 1), jacobian.push(directions.slice(0, i, i + 1)));
        assertClose(
            pulled.slice(0, i, i + 1), jacobian.pull(codirections.slice(0, i, i + 1)).get(0));
      }
    }
  }

  /** Also in a run of another length by the model of a run. */
  @Test
  void run_positionsByLength_areThoseOfItsLength() {
    Positions inShort = new Positions.Rotary(List.of(0.7, 0.3), Positions.Pairs.HALVES, 1.2);
    Positions inLong = new Positions.Rotary(List.of(0.2, 0.1), Positions.Pairs.HALVES, 1.2);
    try (Scope scope = Scope.open()) {
      Transformer both = rotary(new Positions.ByLength(3, inShort, inLong));
      Run run = both.run(1, 2, 3, 4);
      double[] four = rotary(inLong).logits(1, 2, 3, 4).toDoubles();
      double[] three = rotary(inShort).logits(1, 2, 3).toDoubles();
      assertArrayEquals(four, run.value(Site.LOGITS).toDoubles());
      assertArrayEquals(four, both.logits(1, 2, 3, 4).toDoubles());
      assertArrayEquals(three, both.logits(1, 2, 3).toDoubles());
      assertArrayEquals(three, run.model().run(1, 2, 3).value(Site.LOGITS).toDoubles());
    }
  }

  private static Transformer rotary(Positions positions) {
    NormConfig norm = new NormConfig(NormConfig.Kind.RMS, 1e-5, false);
    AttentionConfig attention =
        new AttentionConfig(
            Optional.of(norm),
            2,
            2,
            4,
            Optional.empty(),
            positions,
            0.5,
            OptionalDouble.empty(),
            true,
            OptionalInt.empty(),
            false,
            false,
            OutletConfig.NONE);
    LayerConfig layer =
        new LayerConfig(
            attention, MlpConfig.plain(norm, 5, MlpActivation.RELU), LayerConfig.Order.SEQUENTIAL);
    return Transformer.random(
        new TransformerConfig(
            8,
            6,
            4,
            new TransformerConfig.Embedding(1, false),
            List.of(layer),
            Optional.of(norm),
            new TransformerConfig.Unembedding(
                true, false, 1, OptionalDouble.empty(), OptionalInt.empty())),
        DType.DOUBLE,
        7);
  }

  @Property(tries = 60)
  void attention_queryPlusKeyPlusValue_isAll(@ForAll("models") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Attention attention = drawn.model(DType.DOUBLE).run(drawn.tokens()).model().attention(0);
      Shape shape = Shape.of(drawn.length, drawn.config.dModel());
      Tensor at = gaussian(shape, drawn.seed);
      Tensor cotangent = gaussian(shape.prepend(1), drawn.seed + 1);
      Tensor sum = Tensor.zeros(DType.DOUBLE, shape.prepend(1));
      for (InputPath path : List.of(InputPath.QUERY, InputPath.KEY, InputPath.VALUE)) {
        sum = sum.plus(pull(x -> attend(attention, x, path), at, cotangent));
      }
      assertClose(pull(x -> attend(attention, x, InputPath.ALL), at, cotangent), sum);
    }
  }

  /** Attention of normalised rows, derivatives passing through one of its inputs. */
  private static Variable attend(Attention attention, Variable x, InputPath path) {
    Variable fixed = x.detach();
    Variable q = attention.query(path.includes(InputPath.QUERY) ? x : fixed, 0, ScaleGradient.LIVE);
    Variable k = attention.key(path.includes(InputPath.KEY) ? x : fixed, 0, ScaleGradient.LIVE);
    Variable v = attention.value(path.includes(InputPath.VALUE) ? x : fixed);
    Variable pattern = attention.pattern(attention.scores(q, k, 0), 0);
    return attention.output(attention.headOutput(pattern, v), ScaleGradient.LIVE);
  }

  @Property(tries = 60)
  void layerNorm_liveAndDetached_matchTheirClosedForms(@ForAll("models") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      int d = drawn.config.dModel();
      Tensor gain = gaussian(Shape.of(d), drawn.seed);
      Tensor bias = gaussian(Shape.of(d), drawn.seed + 1);
      Norm norm =
          new Norm(new NormConfig(NormConfig.Kind.LAYER_NORM, 1e-5, true), gain, Optional.of(bias));
      Tensor at = gaussian(Shape.of(1, d), drawn.seed + 2);
      double[] x = at.toDoubles();
      double[] u = gaussian(Shape.of(d), drawn.seed + 3).toDoubles();
      double mean = Arrays.stream(x).average().orElseThrow();
      double meanTangent = Arrays.stream(u).average().orElseThrow();
      double variance = Arrays.stream(x).map(v -> (v - mean) * (v - mean)).average().orElseThrow();
      double scale = Math.sqrt(variance + 1e-5);
      double scaleTangent = 0;
      for (int i = 0; i < d; i++) {
        scaleTangent += (x[i] - mean) * (u[i] - meanTangent) / (d * scale);
      }
      Tensor tangents = Tensor.of(DType.DOUBLE, Shape.of(1, 1, d), u);
      for (ScaleGradient scaleGradient : ScaleGradient.values()) {
        Variable input = Variable.input(at);
        Variable output = norm.apply(input, scaleGradient);
        double[] pushed = Jacobian.of(output, input).push(tangents).toDoubles();
        double moving = scaleGradient == ScaleGradient.LIVE ? scaleTangent : 0;
        for (int i = 0; i < d; i++) {
          assertEquals(
              (x[i] - mean) / scale * gain.get(i) + bias.get(i),
              output.value().get(0, i),
              DOUBLE_TOLERANCE);
          assertEquals(
              gain.get(i) * ((u[i] - meanTangent) / scale - (x[i] - mean) * moving / scale / scale),
              pushed[i],
              DOUBLE_TOLERANCE * (1 + Math.abs(pushed[i])) / Math.min(1, scale * scale));
        }
      }
    }
  }

  @Property(tries = 30)
  void run_everyTensor_diesWithItsScope(@ForAll("models") Drawn drawn) {
    long before = Scope.liveTensors();
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.FLOAT);
      long loaded = Scope.liveTensors();
      try (Scope inner = Scope.open()) {
        model.logits(drawn.tokens());
        assertEquals(loaded + 1, Scope.liveTensors());
        Run run = model.run(drawn.tokens());
        Jacobian.of(run.variable(Site.LOGITS), run.variable(Site.EMBEDDING));
      }
      assertEquals(loaded, Scope.liveTensors());
    }
    assertEquals(before, Scope.liveTensors());
  }

  @Test
  void run_badPrompt_saysWhatIsWrong() {
    try (Scope scope = Scope.open()) {
      Transformer model =
          Transformer.random(
              TransformerConfig.gpt2(1, 4, 1, 4, 4, 3, 5, 1e-5, true), DType.FLOAT, 1);
      assertMessage("the prompt is empty", model::run);
      assertMessage("the prompt has 4 tokens", () -> model.run(1, 2, 3, 4));
      assertMessage("token id 5 is outside the vocabulary of 5", () -> model.logits(5));
      assertMessage("token id -1 is outside", () -> model.nextLogits(0, -1));
      assertMessage("layer 1 of a model that has 1", () -> model.mlp(1));
      Run run = model.run(1, 2);
      assertMessage("site PATTERN needs a layer", () -> run.value(Site.PATTERN));
      assertMessage("belongs to the whole model", () -> run.value(Site.LOGITS, 0));
    }
  }

  /** What is recorded does not change what is computed, nor what can be changed. */
  @Property(tries = 40)
  void run_someSites_recordsTheseAlone(@ForAll("models") Drawn drawn) {
    try (Scope scope = Scope.open()) {
      Transformer model = drawn.model(DType.DOUBLE);
      Run all = model.run(drawn.tokens());
      Set<Site> asked = EnumSet.of(Site.EMBEDDING, Site.PATTERN, Site.LOGITS);
      Run some = model.run(asked, drawn.tokens());
      assertEquals(
          all.places().stream().filter(place -> asked.contains(place.site())).toList(),
          some.places());
      assertClose(all.value(Site.LOGITS), some.value(Site.LOGITS));
      int last = model.layers() - 1;
      Change change = Intervention.scale(Place.of(Site.PATTERN, last), 0.5);
      Run changed = some.with(change);
      assertEquals(some.places(), changed.places());
      assertClose(all.with(change).value(Site.LOGITS), changed.value(Site.LOGITS));
      assertMessage("MLP_OUTPUT: this run has no such site", () -> some.value(Site.MLP_OUTPUT, 0));
    }
  }

  @Property(tries = 60)
  void run_severalPrompts_isEachAlone(@ForAll long seed) {
    Random random = new Random(seed);
    TransformerConfig config =
        RandomArchitecture.of(random, 1 + random.nextInt(3), 6, 2, 3, 5, 7, 6);
    try (Scope scope = Scope.open()) {
      Transformer model = Transformer.random(config, DType.DOUBLE, seed);
      int length = 1 + random.nextInt(5);
      List<List<Integer>> prompts = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        prompts.add(random.ints(length, 0, config.vocabulary()).boxed().toList());
      }
      Set<Site> sites = EnumSet.complementOf(EnumSet.of(Site.SCORES, Site.PATTERN));
      for (Run together :
          List.of(
              model.run(sites, prompts, MlpSplit.NONE),
              model.values(sites, prompts, MlpSplit.NONE))) {
        assertEquals(3, together.prompts());
        assertEquals(length, together.length());
        for (int i = 0; i < 3; i++) {
          Run alone = model.values(sites, ids(prompts.get(i)));
          assertArrayEquals(alone.tokens(), together.prompt(i).tokens());
          assertEquals(alone.places(), together.places());
          for (Place place : alone.places()) {
            Tensor expected = alone.value(place);
            int tokens = expected.shape().rank() - 2;
            Tensor all = together.value(place);
            assertClose(expected, all.slice(tokens, i * length, (i + 1) * length));
          }
          assertClose(alone.value(Site.LOGITS), together.prompt(i).value(Site.LOGITS));
        }
      }
    }
  }

  private static int[] ids(List<Integer> prompt) {
    return prompt.stream().mapToInt(Integer::intValue).toArray();
  }

  @Test
  void run_severalPrompts_refusesWhatIsOfOne() {
    try (Scope scope = Scope.open()) {
      Transformer model =
          Transformer.random(
              TransformerConfig.gpt2(1, 4, 1, 4, 4, 3, 5, 1e-5, true), DType.FLOAT, 1);
      Set<Site> sites = EnumSet.of(Site.RESIDUAL_AFTER_MLP, Site.FINAL_NORMALISED);
      List<List<Integer>> prompts = List.of(List.of(1, 2), List.of(3, 4));
      assertMessage("there is no prompt", () -> model.run(sites, List.of(), MlpSplit.NONE));
      assertMessage(
          "prompts of 2 and 1 tokens",
          () -> model.values(sites, List.of(List.of(1, 2), List.of(3)), MlpSplit.NONE));
      assertMessage(
          "token id 5 is outside",
          () -> model.run(sites, List.of(List.of(1), List.of(5)), MlpSplit.NONE));
      assertMessage(
          "PATTERN of several prompts",
          () -> model.run(EnumSet.of(Site.PATTERN), prompts, MlpSplit.NONE));
      Run run = model.run(sites, prompts, MlpSplit.NONE);
      assertMessage("nodes at tokens are of one prompt", run::requireComputed);
      assertMessage("a token of one prompt, not of 2", () -> run.logits(0));
      assertMessage("prompt 2 of 2", () -> run.prompt(2));
      Change change = Intervention.scale(Place.of(Site.RESIDUAL_AFTER_MLP, 0), 0.5);
      assertMessage("is no change of several prompts", () -> run.with(change));
    }
  }

  @Test
  void run_manyThreads_giveTheSameAsOne() throws Exception {
    try (Scope scope = Scope.open()) {
      Transformer model =
          Transformer.random(
              TransformerConfig.gpt2(2, 16, 2, 8, 32, 16, 50, 1e-5, false), DType.FLOAT, 5);
      int[] tokens = new Random(6).ints(16, 0, 50).toArray();
      double[] expected = model.logits(tokens).toDoubles();
      ExecutorService threads = Executors.newFixedThreadPool(8);
      List<Future<double[]>> results = new ArrayList<>();
      for (int i = 0; i < 200; i++) {
        results.add(
            threads.submit(
                () -> {
                  try (Scope own = Scope.open()) {
                    return model.run(tokens).value(Site.LOGITS).toDoubles();
                  }
                }));
      }
      for (Future<double[]> result : results) {
        assertArrayEquals(expected, result.get());
      }
      threads.shutdown();
    }
  }

  @Test
  void run_again_asksForNoNewMemory() {
    try (Scope scope = Scope.open()) {
      Transformer model =
          Transformer.random(
              TransformerConfig.gpt2(2, 16, 2, 8, 32, 16, 50, 1e-5, false), DType.FLOAT, 5);
      int[] tokens = new Random(6).ints(16, 0, 50).toArray();
      for (int i = 0; i < 2; i++) {
        try (Scope run = Scope.open()) {
          model.run(tokens);
          model.logits(tokens);
        }
      }
      long reserved = Scope.reservedBytes();
      for (int i = 0; i < 100; i++) {
        try (Scope run = Scope.open()) {
          model.run(tokens);
          model.logits(tokens);
        }
      }
      assertEquals(reserved, Scope.reservedBytes());
    }
  }

  @Test
  void load_textbook_knowsTheIndirectObject() throws Exception {
    try (Scope scope = Scope.open()) {
      Transformer model = Models.textbook();
      Tokenizer tokenizer = Tokenizers.textbook();
      int[] tokens =
          tokenizer.encode("When Mary and John went to the store , John gave a drink to");
      double[] logits = model.nextLogits(tokens).toDoubles();
      int best = 0;
      for (int i = 0; i < logits.length; i++) {
        best = logits[i] > logits[best] ? i : best;
      }
      assertEquals("Mary", tokenizer.text(best));
      assertTrue(logits[best] - logits[tokenizer.token("John")] > 5);
    }
  }

  private static Tensor pull(UnaryOperator<Variable> function, Tensor at, Tensor cotangent) {
    Variable input = Variable.input(at);
    return Jacobian.of(function.apply(input), input).pull(cotangent).get(0);
  }

  private static Tensor gaussian(Shape shape, long seed) {
    Random random = new Random(seed);
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
    double scale = Math.max(1, Arrays.stream(values).map(Math::abs).max().orElse(0));
    assertArrayEquals(values, actual.toDoubles(), DOUBLE_TOLERANCE * scale);
  }

  private static void assertMessage(String start, org.junit.jupiter.api.function.Executable call) {
    String message =
        String.valueOf(assertThrows(IllegalArgumentException.class, call).getMessage());
    assertTrue(message.contains(start), message);
  }
}
