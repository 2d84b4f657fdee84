package dev.tributary.transformer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

/** What autoencoders make of a run: when it is made, how often, and how long it lives. */
class EncodingTest {
  private static final double EXACT = 1e-12;
  private static final int WIDTH = 7;

  /** What was read is recorded, and latents are numbers. */
  private static final int TENSORS = 0;

  static Dictionary autoencoder(int layer, int width) {
    Random random = new Random(layer);
    Tensor directions = gaussian(Shape.of(4, width), random);
    return Dictionary.autoencoder(
        "given weights",
        Place.of(Site.MLP_OUTPUT, layer),
        new LatentActivation.Relu(),
        directions,
        directions,
        gaussian(Shape.of(width), random),
        gaussian(Shape.of(4), random));
  }

  private static Tensor gaussian(Shape shape, Random random) {
    double[] values = random.doubles(shape.length(), -1, 1).toArray();
    return Tensor.of(DType.DOUBLE, shape, values);
  }

  private static Transformer model() {
    return Transformer.random(
        TransformerConfig.gpt2(3, WIDTH, 2, 3, 5, 4, 6, 1e-5, true), DType.DOUBLE, 1);
  }

  private static Dictionary of(Run run, int layer) {
    return run.model().dictionary(new Dictionary.Id(Dictionary.Kind.MLP, "", layer));
  }

  private static Run encodedRun() {
    return model().with(List.of(autoencoder(0, WIDTH), autoencoder(2, WIDTH))).run(1, 5, 0, 2);
  }

  @Test
  void encodings_untilAskedFor_areNotMade() {
    Change change = Intervention.set(Place.of(Site.MLP_ACTIVATION, 1).at(0, 1), 0.5);
    try (Scope scope = Scope.open()) {
      Transformer plain = model();
      long before = Scope.liveTensors();
      plain.run(1, 5, 0, 2).with(change);
      long made = Scope.liveTensors() - before;
      Transformer encoded = plain.with(List.of(autoencoder(0, WIDTH), autoencoder(2, WIDTH)));
      before = Scope.liveTensors();
      encoded.run(1, 5, 0, 2).with(change);
      assertEquals(made, Scope.liveTensors() - before);
    }
  }

  @Test
  void encodings_askedAgain_areTheSame() {
    try (Scope scope = Scope.open()) {
      Run run = encodedRun();
      long before = Scope.liveTensors();
      Encoding first = run.encoding(of(run, 2));
      assertEquals(before + TENSORS, Scope.liveTensors());
      assertSame(first, run.encoding(of(run, 2)));
      assertSame(first, run.encodings().get(1));
      assertEquals(before + 2 * TENSORS, Scope.liveTensors());
    }
  }

  @Test
  void encoding_ofAnAutoencoderThatIsNotLoaded_isRefused() {
    try (Scope scope = Scope.open()) {
      Run run = encodedRun();
      String message =
          String.valueOf(
              assertThrows(IllegalArgumentException.class, () -> of(run, 1)).getMessage());
      assertEquals("the mlp dictionary of layer 1 is not loaded", message);
    }
  }

  @Test
  void encoding_askedForInAnInnerScope_livesAsLongAsTheRun() {
    Encoding encoding;
    try (Scope scope = Scope.open()) {
      Run run = encodedRun();
      Tensor error;
      try (Scope inner = Scope.open();
          Scope innermost = Scope.open()) {
        encoding = run.encoding(of(run, 0));
        error =
            innermost.keepIn(
                scope, run.value(Site.MLP_OUTPUT, 0).minus(encoding.reconstruction(0)));
      }
      assertTrue(encoding.latents().isFinite());
      assertArrayEquals(
          run.value(Site.MLP_OUTPUT, 0).toDoubles(),
          encoding.reconstruction(0).plus(error).toDoubles(),
          EXACT);
    }
    Tensor dead = encoding.input();
    assertThrows(IllegalStateException.class, dead::toDoubles);
  }

  @Test
  void encodings_askedForByManyThreads_areMadeOnceForTheRun() throws Exception {
    try (Scope scope = Scope.open()) {
      Run run = encodedRun();
      long before = Scope.liveTensors();
      ExecutorService threads = Executors.newFixedThreadPool(8);
      try {
        List<Callable<List<Encoding>>> tasks =
            Collections.nCopies(
                32,
                () -> {
                  try (Scope own = Scope.open()) {
                    return run.encodings();
                  }
                });
        for (Future<List<Encoding>> asked : threads.invokeAll(tasks)) {
          assertSame(run.encodings().get(0), asked.get().get(0));
          assertSame(run.encodings().get(1), asked.get().get(1));
        }
      } finally {
        threads.shutdown();
      }
      assertEquals(before + 2 * TENSORS, Scope.liveTensors());
      assertTrue(run.encodings().get(1).latents().isFinite());
    }
  }
}
