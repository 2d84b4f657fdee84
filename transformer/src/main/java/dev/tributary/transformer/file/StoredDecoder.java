package dev.tributary.transformer.file;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.DecoderRows;
import java.io.IOException;
import java.io.UncheckedIOException;

/**
 * Rows of a decoder that lie in a file, and are read when they are asked for.
 *
 * @param stored [latent, n]
 * @param dtype in which they are read
 */
record StoredDecoder(StoredTensor stored, DType dtype) implements DecoderRows {
  @Override
  public int latents() {
    return stored.shape().size(0);
  }

  @Override
  public int width() {
    return stored.shape().size(1);
  }

  @Override
  public Tensor of(int... latents) {
    try (Scope scope = Scope.open()) {
      return scope.keep(Finite.rows(stored, dtype, latents));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
