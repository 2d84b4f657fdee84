package dev.tributary.transformer.file;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.LatentActivation;
import java.io.IOException;
import java.util.Optional;

/**
 * How latents of a dictionary in a file follow from pre-activations.
 *
 * @param name for people
 * @param reader of its parameters
 */
record StoredActivation(String name, Reader reader) {
  private static final String JUMP = "JumpReLU";

  /**
   * What parameters are read with.
   *
   * @param scope in which they stay
   * @param shift what products with the encoder lack where vectors are centred, [latent]
   */
  record Reading(DType dtype, Scope scope, Optional<Tensor> shift) {}

  /** Reads parameters. */
  @FunctionalInterface
  interface Reader {
    LatentActivation read(Reading reading) throws IOException;
  }

  /** Reads thresholds, one for each latent or one for all, in the innermost scope. */
  @FunctionalInterface
  interface Thresholds {
    Tensor read(DType dtype) throws IOException;
  }

  /** One whose parameters are known. */
  static StoredActivation of(LatentActivation activation) {
    return new StoredActivation(activation.description(), reading -> activation);
  }

  /** Latents are positive and above their thresholds. */
  static StoredActivation jumpRelu(int latents, Thresholds thresholds) {
    return new StoredActivation(
        JUMP,
        reading -> {
          Tensor own = thresholds.read(reading.dtype).relu();
          Tensor all = own.reshape(own.shape().length()).broadcastTo(Shape.of(latents));
          return new LatentActivation.JumpRelu(reading.scope.keep(all.plus(0)));
        });
  }

  /** Latents where a gate is open. */
  static StoredActivation gated(StoredTensor bias, StoredTensor logScale) {
    return new StoredActivation(
        "Gated",
        reading -> {
          Tensor own = Finite.read(bias, reading.dtype);
          Tensor gate = reading.shift.map(own::plus).orElse(own);
          return new LatentActivation.Gated(
              reading.scope.keep(Finite.require(bias, gate)),
              reading.scope.keep(Finite.read(logScale, reading.dtype)));
        });
  }
}
