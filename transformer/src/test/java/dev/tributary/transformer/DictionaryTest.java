package dev.tributary.transformer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.tributary.autodiff.DerivativeCheck;
import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.file.Dictionaries;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Safetensors;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Random;
import java.util.function.DoubleSupplier;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Assume;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class DictionaryTest {
  /** Relative to the largest entry: rounding of one product of short vectors. */
  private static final double DOUBLE_TOLERANCE = 1e-13;

  /** The same in 32 bits. */
  private static final double FLOAT_TOLERANCE = 1e-5;

  /** Of reference values, relative to the largest entry: rounding of a model of three layers. */
  private static final double DOUBLE_REFERENCE_TOLERANCE = 1e-10;

  /** The same in 32 bits. */
  private static final double FLOAT_REFERENCE_TOLERANCE = 2e-4;

  /** Truncation of central differences. */
  private static final double DIFFERENCE_TOLERANCE = 1e-6;

  /** How far pre-activations stay from a kink, much more than a step of central differences. */
  private static final double MARGIN = 2e-3;

  /** Few prompts stand for thousands of sentences. */
  private static final double SAMPLING_FACTOR = 2;

  private enum Kind {
    RELU,
    TOP_K,
    JUMP_RELU,
    GATED
  }

  /** Sizes of an autoencoder and of what it encodes, and a seed for their numbers. */
  record Drawn(Kind kind, boolean tied, int latents, int width, int tokens, int count, long seed) {}

  @Provide
  Arbitrary<Drawn> autoencoders() {
    return Combinators.combine(
            Arbitraries.of(Kind.class),
            Arbitraries.of(true, false),
            Arbitraries.integers().between(1, 9),
            Arbitraries.integers().between(1, 7),
            Arbitraries.integers().between(1, 5),
            Arbitraries.integers().between(1, 9),
            Arbitraries.longs().between(0, 1 << 20))
        .as(
            (kind, tied, latents, width, tokens, count, seed) ->
                new Drawn(kind, tied, latents, width, tokens, Math.min(count, latents), seed))
        .withoutEdgeCases(); // their combinations alone would outnumber the tries
  }

  /** The numbers of an autoencoder and of the vectors it encodes, without tensors. */
  private static final class Plain {
    private final Drawn drawn;
    private final double[] encoder;
    private final double[] decoder;
    private final double[] preBias;
    private final double[] latentBias;

    /** Threshold or gate bias. */
    private final double[] bound;

    private final double[] logScale;
    private final double[] y;

    private Plain(Drawn drawn, DoubleSupplier number) {
      this.drawn = drawn;
      int weights = drawn.latents * drawn.width;
      encoder = draw(weights, number);
      decoder = drawn.tied ? transposed(encoder, drawn.latents) : draw(weights, number);
      preBias = draw(drawn.width, number);
      latentBias = draw(drawn.latents, number);
      bound = draw(drawn.latents, number);
      logScale = draw(drawn.latents, number);
      y = draw(drawn.tokens * drawn.width, number);
    }

    /** Normal numbers. */
    static Plain smooth(Drawn drawn) {
      Random random = new Random(drawn.seed);
      return new Plain(drawn, random::nextGaussian);
    }

    /**
     * Small multiples of 1/4: products are exact in 32 bits too, and pre-activations are often
     * equal, 0, or equal to a threshold.
     */
    static Plain coarse(Drawn drawn) {
      Random random = new Random(drawn.seed);
      return new Plain(drawn, () -> (random.nextInt(9) - 4) / 4.0);
    }

    private static double[] draw(int count, DoubleSupplier number) {
      return IntStream.range(0, count).mapToDouble(i -> number.getAsDouble()).toArray();
    }

    private static double[] transposed(double[] rows, int count) {
      int width = rows.length / count;
      double[] result = new double[rows.length];
      for (int i = 0; i < rows.length; i++) {
        result[i % width * count + i / width] = rows[i];
      }
      return result;
    }

    Dictionary autoencoder(DType dtype) {
      Shape latent = Shape.of(drawn.latents);
      LatentActivation activation =
          switch (drawn.kind) {
            case RELU -> new LatentActivation.Relu();
            case TOP_K -> new LatentActivation.TopK(drawn.count);
            case JUMP_RELU -> new LatentActivation.JumpRelu(Tensor.of(dtype, latent, bound));
            case GATED ->
                new LatentActivation.Gated(
                    Tensor.of(dtype, latent, bound), Tensor.of(dtype, latent, logScale));
          };
      Tensor rows = Tensor.of(dtype, Shape.of(drawn.latents, drawn.width), encoder);
      Tensor before = Tensor.of(dtype, Shape.of(drawn.width), preBias);
      Tensor bias = Tensor.of(dtype, latent, latentBias);
      Tensor columns = Tensor.of(dtype, Shape.of(drawn.width, drawn.latents), decoder);
      Tensor directions = drawn.tied ? rows : columns.permute(1, 0);
      return Dictionary.autoencoder(
          "given weights",
          Place.of(Site.MLP_OUTPUT, 2),
          activation,
          rows,
          directions,
          before,
          bias);
    }

    Tensor y(DType dtype) {
      return Tensor.of(dtype, Shape.of(drawn.tokens, drawn.width), y);
    }

    double z0(int token, int latent) {
      double sum = 0;
      for (int i = 0; i < drawn.width; i++) {
        sum += encoder[latent * drawn.width + i] * (y[token * drawn.width + i] - preBias[i]);
      }
      return sum;
    }

    double slope(int latent) {
      return drawn.kind == Kind.GATED ? Math.exp(logScale[latent]) : 1;
    }

    double z(int token, int latent) {
      return slope(latent) * z0(token, latent) + latentBias[latent];
    }

    /**
     * How many latents of the token have a larger pre-activation, or as large a one and come first.
     */
    int rank(int token, int latent) {
      double z = z(token, latent);
      int rank = 0;
      for (int other = 0; other < drawn.latents; other++) {
        double competitor = z(token, other);
        if (competitor > z || (competitor == z && other < latent)) {
          rank++;
        }
      }
      return rank;
    }

    boolean active(int token, int latent) {
      double z = z(token, latent);
      return switch (drawn.kind) {
        case RELU -> z > 0;
        case TOP_K -> z > 0 && rank(token, latent) < drawn.count;
        case JUMP_RELU -> z > bound[latent] && z > 0;
        case GATED -> z > 0 && z0(token, latent) + bound[latent] > 0;
      };
    }

    /** [token, latent] */
    double[] perLatent(CellFunction function) {
      double[] result = new double[drawn.tokens * drawn.latents];
      for (int i = 0; i < result.length; i++) {
        result[i] = function.at(i / drawn.latents, i % drawn.latents);
      }
      return result;
    }

    double[] latents() {
      return perLatent((token, latent) -> active(token, latent) ? z(token, latent) : 0);
    }

    double[] slopes() {
      return perLatent((token, latent) -> active(token, latent) ? slope(latent) : 0);
    }

    double[] reconstruction(double[] latents) {
      double[] result = new double[y.length];
      for (int i = 0; i < y.length; i++) {
        int token = i / drawn.width;
        result[i] = preBias[i % drawn.width];
        for (int latent = 0; latent < drawn.latents; latent++) {
          result[i] +=
              decoder[i % drawn.width * drawn.latents + latent]
                  * latents[token * drawn.latents + latent];
        }
      }
      return result;
    }

    boolean isNearKink() {
      double nearest = Double.POSITIVE_INFINITY;
      for (int token = 0; token < drawn.tokens; token++) {
        double[] sorted = new double[drawn.latents];
        for (int latent = 0; latent < drawn.latents; latent++) {
          double z = z(token, latent);
          sorted[latent] = z;
          double kink =
              switch (drawn.kind) {
                case RELU, TOP_K -> z;
                case JUMP_RELU -> Math.min(Math.abs(z), Math.abs(z - bound[latent]));
                case GATED -> Math.min(Math.abs(z), Math.abs(z0(token, latent) + bound[latent]));
              };
          nearest = Math.min(nearest, Math.abs(kink));
        }
        Arrays.sort(sorted);
        int last = drawn.latents - drawn.count;
        if (drawn.kind == Kind.TOP_K && last > 0) {
          nearest = Math.min(nearest, sorted[last] - sorted[last - 1]);
        }
      }
      return nearest < MARGIN;
    }
  }

  /** A number for each token and latent. */
  @FunctionalInterface
  private interface CellFunction {
    double at(int token, int latent);
  }

  static Variable latents(Dictionary dictionary, Variable x) {
    return dictionary.latents(x, ScaleGradient.LIVE);
  }

  /** Where nothing of what is read goes round the latents. */
  static Tensor reconstruction(Dictionary dictionary, Variable latents) {
    Shape read = latents.shape().with(latents.shape().rank() - 1, dictionary.width());
    Variable x = Variable.constant(Tensor.zeros(dictionary.dtype(), read));
    return dictionary.reconstruction(latents, x, ScaleGradient.LIVE, 0).value();
  }

  private static double tolerance(DType dtype) {
    return dtype == DType.DOUBLE ? DOUBLE_TOLERANCE : FLOAT_TOLERANCE;
  }

  private static void assertClose(double[] expected, double[] actual, double tolerance) {
    double scale = Arrays.stream(expected).map(Math::abs).reduce(1e-3, Math::max);
    assertArrayEquals(expected, actual, tolerance * scale);
  }

  private static double[] without(double[] values, double[] where) {
    return IntStream.range(0, values.length)
        .mapToDouble(i -> where[i] == 0 ? values[i] : 0)
        .toArray();
  }

  private static Tensor gaussian(DType dtype, Shape shape, long seed) {
    Random random = new Random(seed);
    return Tensor.of(
        dtype,
        shape,
        IntStream.range(0, shape.length()).mapToDouble(i -> random.nextGaussian()).toArray());
  }

  // ---- values and derivatives --------------------------------------------------------------

  @Property(tries = 400)
  void latentsAndReconstruction_everyKind_equalPlainLoops(@ForAll("autoencoders") Drawn drawn) {
    Plain plain = Plain.coarse(drawn);
    double[] expected = plain.latents();
    for (DType dtype : DType.values()) {
      long live = Scope.liveTensors();
      try (Scope scope = Scope.open()) {
        Dictionary autoencoder = plain.autoencoder(dtype);
        Tensor y = plain.y(dtype);
        Variable latents = latents(autoencoder, Variable.constant(y));
        assertTrue(latents.isConstant());
        double tolerance = tolerance(dtype);
        double[] values = latents.value().toDoubles();
        assertClose(expected, values, tolerance);
        for (int i = 0; i < values.length; i++) {
          if (expected[i] == 0) {
            assertEquals(0.0, values[i], "an inactive latent is 0, and not -0");
          }
        }
        assertClose(plain.slopes(), autoencoder.slopes(y).toDoubles(), tolerance);
        for (int token = 0; token < drawn.tokens; token++) {
          int first = token * drawn.latents;
          int[] active =
              IntStream.range(0, drawn.latents).filter(i -> values[first + i] != 0).toArray();
          double[] own = IntStream.of(active).mapToDouble(i -> plain.slopes()[first + i]).toArray();
          Encoding.Active there = Encoding.of(autoencoder, y).active(token, token + 1, 1).get(0);
          assertArrayEquals(active, there.latents());
          assertClose(own, there.slopes().toDoubles(), tolerance);
        }
        assertClose(
            plain.reconstruction(expected),
            reconstruction(autoencoder, latents).toDoubles(),
            tolerance);
        Tensor batch = y.reshape(1, drawn.tokens, drawn.width);
        assertArrayEquals(
            values, latents(autoencoder, Variable.constant(batch)).value().toDoubles());
      }
      assertEquals(live, Scope.liveTensors());
    }
  }

  @Property(tries = 200)
  void latents_derivative_isSlopeTimesEncoder(@ForAll("autoencoders") Drawn drawn) {
    Plain plain = Plain.coarse(drawn);
    double[] slopes = plain.slopes();
    for (DType dtype : DType.values()) {
      try (Scope scope = Scope.open()) {
        Dictionary autoencoder = plain.autoencoder(dtype);
        Variable y = Variable.input(plain.y(dtype));
        Jacobian jacobian = Jacobian.of(latents(autoencoder, y), y);
        double tolerance = tolerance(dtype);
        Shape domain = y.shape();
        Shape codomain = Shape.of(drawn.tokens, drawn.latents);
        double adjoint = DerivativeCheck.adjoint(jacobian.map(), dtype, 3, drawn.seed);
        assertTrue(adjoint < tolerance, () -> "not adjoint: " + adjoint);

        Tensor u = gaussian(dtype, domain.prepend(1), drawn.seed);
        double[] pushed = jacobian.push(u).toDoubles();
        Tensor expected =
            u.matmulTransposed(autoencoder.encoder()).times(Tensor.of(dtype, codomain, slopes));
        assertClose(expected.toDoubles(), pushed, tolerance);
        assertClose(
            pushed,
            Jacobian.pushOnce(x -> latents(autoencoder, x), y.value(), u).tangents().toDoubles(),
            tolerance);
        assertArrayEquals(new double[pushed.length], without(pushed, slopes), 0);

        double[] cotangents = gaussian(dtype, codomain, drawn.seed).toDoubles();
        Tensor v = Tensor.of(dtype, codomain.prepend(1), without(cotangents, slopes));
        double[] pulled = jacobian.pull(v).get(0).toDoubles();
        assertArrayEquals(new double[pulled.length], pulled, 0);
      }
    }
  }

  @Property(tries = 200)
  void derivatives_awayFromKinks_equalCentralDifferences(@ForAll("autoencoders") Drawn drawn) {
    Plain plain = Plain.smooth(drawn);
    Assume.that(!plain.isNearKink());
    try (Scope scope = Scope.open()) {
      Dictionary autoencoder = plain.autoencoder(DType.DOUBLE);
      Tensor y = plain.y(DType.DOUBLE);
      int last = drawn.latents - 1;
      assertDifferentiable(x -> latents(autoencoder, x), y, drawn.seed);
      assertDifferentiable(x -> autoencoder.latents(x, ScaleGradient.LIVE, last), y, drawn.seed);
      assertDifferentiable(
          x -> autoencoder.reconstruction(latents(autoencoder, x), x, ScaleGradient.LIVE, 0),
          y,
          drawn.seed);
    }
  }

  private static void assertDifferentiable(
      Function<Variable, Variable> function, Tensor at, long seed) {
    double error = DerivativeCheck.centralDifferences(function::apply, at, seed);
    assertTrue(error < DIFFERENCE_TOLERANCE, () -> "seed " + seed + ": " + error);
  }

  @Property(tries = 200)
  void latents_some_areThoseOfAll(@ForAll("autoencoders") Drawn drawn) {
    Plain plain = Plain.coarse(drawn);
    int index = (int) (drawn.seed % drawn.latents);
    for (DType dtype : DType.values()) {
      try (Scope scope = Scope.open()) {
        Dictionary autoencoder = plain.autoencoder(dtype);
        Variable y = Variable.input(plain.y(dtype));
        Variable one = autoencoder.latents(y, ScaleGradient.LIVE, index, 0);
        Variable ofAll = latents(autoencoder, y).gather(-1, index, 0);
        double tolerance = tolerance(dtype);
        assertEquals(Shape.of(drawn.tokens, 2), one.shape());
        assertClose(
            IntStream.range(0, drawn.tokens).mapToDouble(token -> plain.z(token, index)).toArray(),
            autoencoder.preActivation(y, ScaleGradient.LIVE, index).value().toDoubles(),
            tolerance);
        assertClose(ofAll.value().toDoubles(), one.value().toDoubles(), tolerance);
        Tensor u = gaussian(dtype, y.shape().prepend(2), drawn.seed);
        assertClose(
            Jacobian.of(ofAll, y).push(u).toDoubles(),
            Jacobian.of(one, y).push(u).toDoubles(),
            tolerance);
        Tensor v = gaussian(dtype, one.shape().prepend(2), drawn.seed);
        assertClose(
            Jacobian.of(ofAll, y).pull(v).get(0).toDoubles(),
            Jacobian.of(one, y).pull(v).get(0).toDoubles(),
            tolerance);
        assertTrue(autoencoder.latents(y.detach(), ScaleGradient.LIVE, index).isConstant());
      }
    }
  }

  @Property(tries = 50)
  void direction_everyLatent_isItsColumnOfTheDecoder(@ForAll("autoencoders") Drawn drawn) {
    Plain plain = Plain.smooth(drawn);
    try (Scope scope = Scope.open()) {
      Dictionary autoencoder = plain.autoencoder(DType.DOUBLE);
      DecoderRows rows = autoencoder.decoders().get(0).rows();
      assertEquals(drawn.latents, rows.latents());
      assertEquals(drawn.width, rows.width());
      for (int latent = 0; latent < drawn.latents; latent++) {
        double[] direction = rows.of(latent).toDoubles();
        assertEquals(drawn.width, direction.length);
        for (int i = 0; i < drawn.width; i++) {
          assertEquals(plain.decoder[i * drawn.latents + latent], direction[i]);
        }
      }
    }
  }

  @Test
  void topK_equalPreActivations_keepsTheFirst() {
    try (Scope scope = Scope.open()) {
      Dictionary autoencoder =
          Dictionary.autoencoder(
              "given weights",
              Place.of(Site.MLP_OUTPUT, 0),
              new LatentActivation.TopK(2),
              Tensor.full(DType.DOUBLE, Shape.of(4, 1), 1),
              Tensor.full(DType.DOUBLE, Shape.of(4, 1), 1),
              Tensor.zeros(DType.DOUBLE, Shape.of(1)),
              Tensor.zeros(DType.DOUBLE, Shape.of(4)));
      Variable y = Variable.constant(Tensor.of(DType.DOUBLE, Shape.of(2, 1), 3, -3));
      assertArrayEquals(
          new double[] {3, 3, 0, 0, 0, 0, 0, 0}, latents(autoencoder, y).value().toDoubles());
    }
  }

  /** Which an MLP of rectified neurons often is. */
  @ParameterizedTest
  @EnumSource
  void normalisation_ofZeros_isFiniteWithItsDerivatives(Dictionary.Normalisation normalisation) {
    for (DType dtype : DType.values()) {
      for (ScaleGradient scaleGradient : ScaleGradient.values()) {
        try (Scope scope = Scope.open()) {
          Place place = Place.of(Site.MLP_OUTPUT, 0);
          Dictionary dictionary =
              Dictionary.autoencoder(
                      "random",
                      place,
                      new LatentActivation.Relu(),
                      gaussian(dtype, Shape.of(5, 3), 1),
                      gaussian(dtype, Shape.of(5, 3), 2),
                      Tensor.zeros(dtype, Shape.of(3)),
                      Tensor.of(dtype, Shape.of(5), 1, -1, 2, -2, 3))
                  .withNormalisation(normalisation);
          Variable zeros = Variable.input(Tensor.zeros(dtype, Shape.of(1, 3)));
          Variable latents = dictionary.latents(zeros, scaleGradient);
          assertArrayEquals(new double[] {1, 0, 2, 0, 3}, latents.value().toDoubles(), 0);
          Variable result = dictionary.reconstruction(latents, zeros, scaleGradient, 0);
          if (normalisation != Dictionary.Normalisation.NONE) {
            assertArrayEquals(new double[3], result.value().toDoubles(), 1e-17);
          }
          Jacobian map = Jacobian.of(result, zeros);
          Tensor ones = Tensor.zeros(dtype, Shape.of(1, 1, 3)).plus(1);
          for (Tensor derivative : List.of(map.pull(ones).get(0), map.push(ones))) {
            assertTrue(
                Arrays.stream(derivative.toDoubles()).allMatch(Double::isFinite),
                () -> dtype + " " + scaleGradient + ": " + derivative);
          }
        }
      }
    }
  }

  // ---- round the latents -------------------------------------------------------------------

  /** A dictionary of 5 latents that reads vectors of 3 and writes for two layers. */
  private static Dictionary skipping(Dictionary.Normalisation normalisation) {
    return Dictionary.of(
            "random",
            Place.of(Site.MLP_INPUT, 0),
            new LatentActivation.Relu(),
            gaussian(DType.DOUBLE, Shape.of(5, 3), 1),
            gaussian(DType.DOUBLE, Shape.of(5), 2),
            List.of(decoder(0), decoder(1)))
        .withNormalisation(normalisation)
        .withInputBias(gaussian(DType.DOUBLE, Shape.of(3), 3))
        .withSkip(gaussian(DType.DOUBLE, Shape.of(3, 3), 4));
  }

  private static Dictionary.Decoder decoder(int layer) {
    return new Dictionary.Decoder(
        Place.of(Site.MLP_OUTPUT, layer),
        DecoderRows.of(gaussian(DType.DOUBLE, Shape.of(5, 3), 5 + layer)),
        Optional.of(gaussian(DType.DOUBLE, Shape.of(3), 7 + layer)));
  }

  @Test
  void reconstruction_severalDecoders_skipsIntoTheFirst() {
    try (Scope scope = Scope.open()) {
      Dictionary dictionary = skipping(Dictionary.Normalisation.NONE);
      Tensor x = gaussian(DType.DOUBLE, Shape.of(2, 3), 9);
      Tensor latents = gaussian(DType.DOUBLE, Shape.of(2, 5), 10);
      Tensor skipped = x.matmulTransposed(dictionary.skip().orElseThrow());
      for (int i = 0; i < 2; i++) {
        Dictionary.Decoder decoder = dictionary.decoders().get(i);
        Tensor decoded =
            latents.matmul(decoder.rows().of(0, 1, 2, 3, 4)).plus(decoder.bias().orElseThrow());
        assertClose(
            (i == 0 ? decoded.plus(skipped) : decoded).toDoubles(),
            dictionary
                .reconstruction(
                    Variable.constant(latents), Variable.constant(x), ScaleGradient.LIVE, i)
                .value()
                .toDoubles(),
            DOUBLE_TOLERANCE);
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void passing_everyNormalisation_isDerivativeWithLatentsHeld(
      Dictionary.Normalisation normalisation) {
    try (Scope scope = Scope.open()) {
      Dictionary dictionary = skipping(normalisation);
      Variable x = Variable.input(gaussian(DType.DOUBLE, Shape.of(2, 3), 9));
      Variable held = Variable.constant(gaussian(DType.DOUBLE, Shape.of(2, 5), 10));
      Variable nothing = Variable.constant(Tensor.zeros(DType.DOUBLE, Shape.of(2, 5)));
      Tensor u = gaussian(DType.DOUBLE, Shape.of(4, 2, 3), 11);
      for (int i = 0; i < 2; i++) {
        Jacobian map =
            Jacobian.of(dictionary.reconstruction(held, x, ScaleGradient.DETACHED, i), x);
        double[] pushed = map.push(u).toDoubles();
        assertClose(pushed, dictionary.passing(u, i).toDoubles(), DOUBLE_TOLERANCE);
        assertClose(
            map.pull(u).get(0).toDoubles(),
            dictionary.passingPulled(u, i).toDoubles(),
            DOUBLE_TOLERANCE);
        assertEquals(Arrays.stream(pushed).anyMatch(y -> y != 0), dictionary.passes(i));
        assertClose(
            dictionary.reconstruction(nothing, x, ScaleGradient.LIVE, i).value().toDoubles(),
            dictionary.withoutLatents(x.value(), i).toDoubles(),
            DOUBLE_TOLERANCE);
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void pushedAndPulled_everyNormalisation_areDerivativesOfWhatIsEncoded(
      Dictionary.Normalisation normalisation) {
    try (Scope scope = Scope.open()) {
      Dictionary dictionary = skipping(normalisation);
      Variable x = Variable.input(gaussian(DType.DOUBLE, Shape.of(1, 3), 9));
      Tensor u = gaussian(DType.DOUBLE, Shape.of(1, 3), 10);
      Tensor v = gaussian(DType.DOUBLE, Shape.of(4, 5), 11);
      for (ScaleGradient scale : ScaleGradient.values()) {
        Jacobian map = Jacobian.of(dictionary.preActivations(x, scale), x);
        assertClose(
            map.push(u.reshape(1, 1, 3)).toDoubles(),
            dictionary
                .pushed(x.value(), u, scale)
                .matmulTransposed(dictionary.encoder())
                .toDoubles(),
            DOUBLE_TOLERANCE);
        assertClose(
            map.pull(v.reshape(4, 1, 5)).get(0).toDoubles(),
            dictionary.pulled(x.value(), v.matmul(dictionary.encoder()), scale).toDoubles(),
            DOUBLE_TOLERANCE);
      }
    }
  }

  // ---- refusals ----------------------------------------------------------------------------

  private static Tensor zeros(int... shape) {
    return Tensor.zeros(DType.FLOAT, Shape.of(shape));
  }

  private static Dictionary zeros(Site site, int layer, LatentActivation activation) {
    return Dictionary.autoencoder(
        "given weights",
        Place.of(site, layer),
        activation,
        zeros(5, 3),
        zeros(5, 3),
        zeros(3),
        zeros(5));
  }

  private static Dictionary tied(
      LatentActivation activation, Tensor rows, Tensor preBias, Tensor latentBias) {
    return Dictionary.autoencoder(
        "given weights", Place.of(Site.MLP_OUTPUT, 0), activation, rows, rows, preBias, latentBias);
  }

  private static void assertRefused(String sentence, Executable executable) {
    Exception refusal = assertThrows(IllegalArgumentException.class, executable);
    assertEquals(sentence, refusal.getMessage());
  }

  @Test
  void of_whatDoesNotFit_isRefusedWithBothSides() {
    try (Scope scope = Scope.open()) {
      LatentActivation relu = new LatentActivation.Relu();
      Site site = Site.MLP_OUTPUT;
      assertRefused(
          "an autoencoder of site PATTERN: its vectors are no part of the model",
          () -> zeros(Site.PATTERN, 0, relu));
      assertRefused("a dictionary of layer -1: layers count from 0", () -> zeros(site, -1, relu));
      assertRefused(
          "decoder is [5], expected [latent, n]", () -> tied(relu, zeros(5), zeros(3), zeros(5)));
      assertRefused(
          "encoder is [0, 3], expected [latent, n]",
          () -> tied(relu, zeros(0, 3), zeros(3), zeros(0)));
      assertRefused(
          "bias is [4], and encoder [5, 3] needs [3]",
          () -> tied(relu, zeros(5, 3), zeros(4), zeros(5)));
      assertRefused(
          "latentBias is [4], and encoder [5, 3] needs [5]",
          () -> tied(relu, zeros(5, 3), zeros(3), zeros(4)));
      assertRefused(
          "decoder has rows of 3 latents in FLOAT, and encoder [5, 3] is FLOAT",
          () ->
              Dictionary.autoencoder(
                  "given weights",
                  Place.of(site, 0),
                  relu,
                  zeros(5, 3),
                  zeros(3, 5),
                  zeros(3),
                  zeros(5)));
      Tensor wide = Tensor.zeros(DType.DOUBLE, Shape.of(5));
      assertRefused(
          "latentBias is DOUBLE and encoder is FLOAT",
          () -> tied(relu, zeros(5, 3), zeros(3), wide));
      assertRefused(
          "TopK: count is 6, and encoder [5, 3] has 5 latents",
          () -> zeros(site, 0, new LatentActivation.TopK(6)));
      assertRefused(
          "TopK: count is 0, expected a positive number", () -> new LatentActivation.TopK(0));
      assertRefused(
          "threshold is [3], and encoder [5, 3] needs [5]",
          () -> zeros(site, 0, new LatentActivation.JumpRelu(zeros(3))));
      assertRefused(
          "gateBias is [3], and encoder [5, 3] needs [5]",
          () -> zeros(site, 0, new LatentActivation.Gated(zeros(3), zeros(5))));
      assertRefused(
          "logScale is [1], and encoder [5, 3] needs [5]",
          () -> zeros(site, 0, new LatentActivation.Gated(zeros(5), zeros(1))));
    }
  }

  @Test
  void computing_whatDoesNotFit_isRefusedWithBothSides() {
    try (Scope scope = Scope.open()) {
      Dictionary autoencoder = zeros(Site.ATTENTION_OUTPUT, 1, new LatentActivation.Relu());
      String name = "the attention dictionary of layer 1";
      Variable narrow = Variable.constant(zeros(2, 5));
      Variable vector = Variable.constant(zeros(3));
      Variable fitting = Variable.constant(zeros(2, 3));
      assertRefused(
          name + " encodes [.., token, 3], not [2, 5]", () -> latents(autoencoder, narrow));
      assertRefused(name + " encodes [.., token, 3], not [3]", () -> latents(autoencoder, vector));
      assertRefused(
          name + " encodes [.., token, 3], not [2, 5]",
          () -> autoencoder.latents(narrow, ScaleGradient.LIVE, 0));
      assertRefused(
          name + " encodes [.., token, 3], not [2, 5]", () -> autoencoder.slopes(narrow.value()));
      assertRefused(
          name + " decodes [.., 5], not [2, 3]", () -> reconstruction(autoencoder, fitting));
      assertRefused(
          "latent 5 of " + name + ", which has 5, counted from 0",
          () -> autoencoder.latents(fitting, ScaleGradient.LIVE, 5));
      assertRefused(
          "latent -1 of " + name + ", which has 5, counted from 0",
          () -> autoencoder.latents(fitting, ScaleGradient.LIVE, -1));
    }
  }

  // ---- reference values --------------------------------------------------------------------

  private static final String REFERENCE = "../attribution/src/test/resources/reference";

  /** What the reference system calls the sites, and the errors at them. */
  private enum Words {
    MLP_ACTIVATION("mlp_post_act", "online_mlp_autoencoder_error"),
    MLP_OUTPUT("resid_delta_mlp", "online_residual_mlp_autoencoder_error"),
    ATTENTION_OUTPUT("resid_delta_attn", "online_residual_attention_autoencoder_error");

    private final String site;
    private final String error;

    Words(String site, String error) {
      this.site = site;
      this.error = error;
    }

    static Words of(String site) {
      return Stream.of(values()).filter(words -> words.site.equals(site)).findFirst().orElseThrow();
    }
  }

  @TempDir private Path temporary;

  @TestFactory
  List<DynamicTest> latentsAndErrors_referenceModels_haveReferenceValues() throws IOException {
    Path folder = Path.of(REFERENCE).toAbsolutePath();
    try (Stream<Path> files = Files.list(folder)) {
      return files
          .filter(path -> Files.exists(path.resolve("sae_layer0.safetensors")))
          .sorted()
          .flatMap(
              path ->
                  Stream.of(DType.values())
                      .map(
                          dtype ->
                              dynamicTest(
                                  path.getFileName() + " " + dtype, () -> compare(path, dtype))))
          .toList();
    }
  }

  private void compare(Path path, DType dtype) throws IOException {
    JsonNode config = new ObjectMapper().readTree(path.resolve("config.json").toFile());
    Safetensors expected = Safetensors.open(path.resolve("expected.safetensors"));
    JsonNode kind = config.get("sae");
    Words words = Words.of(kind.get("site").asText());
    Site site = Site.valueOf(words.name());
    LatentActivation activation =
        kind.get("activation").asText().equals("TopK")
            ? new LatentActivation.TopK(kind.get("k").asInt())
            : new LatentActivation.Relu();
    int[] tokens =
        IntStream.range(0, config.get("prompt_token_ids").size())
            .map(i -> config.get("prompt_token_ids").get(i).asInt())
            .toArray();
    try (Scope scope = Scope.open()) {
      Run run = model(path, config, dtype).run(tokens);
      Tensor[] latents = new Tensor[run.model().layers()];
      Tensor[] errors = new Tensor[latents.length];
      for (int layer = 0; layer < latents.length; layer++) {
        Safetensors weights = Safetensors.open(path.resolve("sae_layer" + layer + ".safetensors"));
        Dictionary autoencoder =
            Dictionary.autoencoder(
                "given weights",
                Place.of(site, layer),
                activation,
                weights.tensor("encoder.weight", dtype),
                weights.tensor("decoder.weight", dtype).permute(1, 0),
                weights.tensor("pre_bias", dtype),
                weights.tensor("latent_bias", dtype));
        Variable y = Variable.constant(run.value(site, layer));
        Variable encoded = latents(autoencoder, y);
        latents[layer] = encoded.value();
        errors[layer] = y.value().minus(reconstruction(autoencoder, encoded));
      }
      assertReference(expected, "online_autoencoder_latent/forward", latents);
      assertReference(expected, words.error + "/forward", errors);
    }
  }

  /** The case's model as the folder that users have. */
  private Transformer model(Path path, JsonNode config, DType dtype) throws IOException {
    Path folder = Files.createTempDirectory(temporary, "model");
    ObjectNode model = config.get("model").deepCopy();
    model.put("model_type", "gpt2");
    Files.writeString(folder.resolve("config.json"), model.toString());
    Files.copy(path.resolve("weights.safetensors"), folder.resolve("model.safetensors"));
    return Models.load(folder, dtype, Progress.NONE);
  }

  private static void assertReference(Safetensors expected, String name, Tensor... layers)
      throws IOException {
    double[] values = expected.tensor(name, DType.DOUBLE).toDoubles();
    double[] actual =
        Arrays.stream(layers).flatMapToDouble(x -> Arrays.stream(x.toDoubles())).toArray();
    double scale = Arrays.stream(values).map(Math::abs).reduce(1e-3, Math::max);
    double tolerance =
        layers[0].dtype() == DType.DOUBLE ? DOUBLE_REFERENCE_TOLERANCE : FLOAT_REFERENCE_TOLERANCE;
    assertArrayEquals(values, actual, tolerance * scale, () -> name);
  }

  // ---- the shipped autoencoders ------------------------------------------------------------

  private static final List<String> PROMPTS =
      List.of(
          "When Mary and John went to the store , John gave a drink to Mary",
          "Alice Smith met Bob Jones at the park . Later Bob Jones left . Later Alice Smith",
          "Emma Wood Peter Cole Kate Mills . Emma Wood Peter Cole Kate Mills",
          "The war lasted from the year 17 32 to the year 17 40",
          "The keys near the cabinet are");

  @Test
  void textbook_prompts_areExplainedAsWellAsInTraining() throws IOException {
    JsonNode stated;
    try (InputStream json = Dictionaries.class.getResourceAsStream("textbook/autoencoders.json")) {
      stated =
          new ObjectMapper()
              .readTree(json)
              .get("fraction_of_variance_unexplained_and_mean_active_latents");
    }
    Tokenizer tokenizer = Tokenizers.textbook();
    try (Scope scope = Scope.open()) {
      Transformer model = Models.textbook();
      List<Run> runs = PROMPTS.stream().map(text -> model.run(tokenizer.encode(text))).toList();
      long live = Scope.liveTensors();
      List<Dictionary> autoencoders = Dictionaries.textbook(DType.FLOAT);
      assertEquals(4L * autoencoders.size(), Scope.liveTensors() - live, "and no more tensors");
      assertEquals(3 * model.layers(), autoencoders.size());
      for (Dictionary autoencoder : autoencoders) {
        Site site = autoencoder.reads().site();
        int layer = autoencoder.id().layer();
        String word = Words.valueOf(site.name()).site;
        JsonNode numbers = stated.get(word + "." + layer);
        Tensor y = Tensor.concat(0, runs.stream().map(run -> run.value(site, layer)).toList());
        Variable latents = latents(autoencoder, Variable.constant(y));
        Tensor error = y.minus(reconstruction(autoencoder, latents));
        double active =
            Arrays.stream(latents.value().toDoubles()).filter(x -> x != 0).count()
                / (double) y.shape().size(0);
        double unexplained = squares(error) / squares(y.minus(y.mean(0)));
        assertNear(numbers.get(0).asDouble(), unexplained, word + "." + layer + " unexplained");
        assertNear(numbers.get(1).asDouble(), active, word + "." + layer + " active");
      }
    }
  }

  private static double squares(Tensor tensor) {
    return Arrays.stream(tensor.toDoubles()).map(x -> x * x).sum();
  }

  private static void assertNear(double stated, double found, String what) {
    assertTrue(
        found < stated * SAMPLING_FACTOR && found > stated / SAMPLING_FACTOR,
        () -> String.format(Locale.ROOT, "%s: %.4f, stated is %.4f", what, found, stated));
  }
}
