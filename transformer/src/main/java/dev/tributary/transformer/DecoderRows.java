package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.DType;
import dev.tributary.core.Tensor;

/**
 * What latents of size 1 write, one row for each. Rows may lie on disk until they are asked for: of
 * hundreds of thousands of latents, few are active in a run.
 */
public interface DecoderRows {
  /** {@return how many latents there are} */
  int latents();

  /** {@return the size of a row} */
  int width();

  /** {@return the element type of the rows that are returned} */
  DType dtype();

  /**
   * {@return the rows of some latents, [chosen, width], in the innermost scope}
   *
   * @param latents from 0, in any order
   * @throws java.io.UncheckedIOException if they cannot be read
   */
  Tensor of(int... latents);

  /**
   * {@return rows that lie in memory}
   *
   * @param rows [latent, width]
   * @throws IllegalArgumentException if they are no matrix
   */
  static DecoderRows of(Tensor rows) {
    requireArgument(rows.shape().rank() == 2, "decoder is %s, expected [latent, n]", rows.shape());
    return new DecoderRows() {
      @Override
      public int latents() {
        return rows.shape().size(0);
      }

      @Override
      public int width() {
        return rows.shape().size(1);
      }

      @Override
      public DType dtype() {
        return rows.dtype();
      }

      @Override
      public Tensor of(int... latents) {
        return rows.gather(0, latents);
      }
    };
  }
}
