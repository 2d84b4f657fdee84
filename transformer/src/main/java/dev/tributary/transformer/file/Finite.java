package dev.tributary.transformer.file;

import dev.tributary.core.DType;
import dev.tributary.core.Tensor;
import java.io.IOException;

/** Tensors out of files that have to consist of finite numbers. */
final class Finite {
  private Finite() {}

  /**
   * A tensor, in the innermost open scope.
   *
   * @throws IOException as {@link StoredTensor#read}, or if a number is infinite or NaN
   */
  static Tensor read(StoredTensor stored, DType dtype) throws IOException {
    return require(stored, stored.read(dtype), "holds");
  }

  /** The same of {@link StoredTensor#keep}. */
  static Tensor keep(StoredTensor stored, DType dtype) throws IOException {
    return require(stored, stored.keep(dtype), "holds");
  }

  /** The same of {@link StoredTensor#rows}. */
  static Tensor rows(StoredTensor stored, DType dtype, int... chosen) throws IOException {
    return require(stored, stored.rows(dtype, chosen), "holds");
  }

  /** What has been made of a tensor, which may have become too large. */
  static Tensor require(StoredTensor stored, Tensor made) throws IOException {
    return require(stored, made, "leads to");
  }

  private static Tensor require(StoredTensor stored, Tensor tensor, String does)
      throws IOException {
    if (!tensor.isFinite()) {
      throw StoredTensor.because(
          stored.path(), stored.name(), "%s a number that is infinite or NaN", does);
    }
    return tensor;
  }
}
