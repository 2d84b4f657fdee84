package dev.tributary.transformer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Models are told apart by their weights. */
class FingerprintTest {
  private static final TransformerConfig CONFIG =
      RandomArchitecture.of(new Random(3), 2, 8, 2, 3, 40, 4, 50);

  /** Random weights, one of which is a little larger. */
  private static Transformer model(Optional<Slot> larger) throws IOException {
    Weights random = Weights.random(DType.FLOAT, 1);
    return Transformer.of(
        CONFIG,
        DType.FLOAT,
        "the same name",
        slot -> {
          Tensor weight = random.read(slot);
          return larger.equals(Optional.of(slot)) ? weight.times(1.0001) : weight;
        },
        Progress.NONE);
  }

  @Test
  void fingerprint_anyWeightMoved_isAnother() throws IOException {
    try (Scope scope = Scope.open()) {
      Transformer plain = model(Optional.empty());
      assertEquals(plain.fingerprint(), model(Optional.empty()).fingerprint());
      for (Slot slot : plain.weights().keySet()) {
        assertNotEquals(
            plain.fingerprint(), model(Optional.of(slot)).fingerprint(), slot::toString);
      }
    }
  }

  @Test
  void fingerprint_otherDictionaries_isAnother() throws IOException {
    try (Scope scope = Scope.open()) {
      Transformer plain = model(Optional.empty());
      Place place = Place.of(Site.MLP_OUTPUT, 1);
      Tensor decoder = Tensor.full(DType.FLOAT, Shape.of(40, CONFIG.dModel()), 1);
      Tensor bias = Tensor.zeros(DType.FLOAT, Shape.of(CONFIG.dModel()));
      Tensor latentBias = Tensor.zeros(DType.FLOAT, Shape.of(40));
      Dictionary one =
          Dictionary.autoencoder(
              "made", place, new LatentActivation.Relu(), decoder, decoder, bias, latentBias);
      Dictionary other =
          Dictionary.autoencoder(
              "made",
              place,
              new LatentActivation.Relu(),
              decoder,
              decoder.times(2),
              bias,
              latentBias);
      assertNotEquals(plain.fingerprint(), plain.with(List.of(one)).fingerprint());
      assertNotEquals(
          plain.with(List.of(other)).fingerprint(), plain.with(List.of(one)).fingerprint());
    }
  }
}
