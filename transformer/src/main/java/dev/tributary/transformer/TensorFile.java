package dev.tributary.transformer;

import dev.tributary.core.DType;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.Map;
import java.util.Set;

/**
 * Named tensors in a file. All that the file claims is checked when it is opened, so that nothing
 * an untrusted file says is used before it is known to make sense.
 *
 * <p>Immutable; several threads may read at once. There is nothing to close: a small file is held
 * in memory, and the handle of a large one is given back when this object is garbage.
 */
public abstract sealed class TensorFile permits Safetensors, TorchFile {
  private final Path path;
  private final Map<String, StoredTensor> tensors;

  TensorFile(Path path, Map<String, StoredTensor> tensors) {
    this.path = path;
    this.tensors = Collections.unmodifiableMap(tensors);
  }

  /** Where it is. */
  public Path path() {
    return path;
  }

  /** Names of all tensors, in the order of the file. */
  public Set<String> names() {
    return tensors.keySet();
  }

  /** Whether there is a tensor of this name. */
  public boolean contains(String name) {
    return tensors.containsKey(name);
  }

  /**
   * Shape of one tensor.
   *
   * @throws IOException if there is no tensor of this name
   */
  public Shape shape(String name) throws IOException {
    return stored(name).shape();
  }

  /**
   * How the file stores the numbers of one tensor.
   *
   * @throws IOException if there is no tensor of this name
   */
  public ElementType elementType(String name) throws IOException {
    return stored(name).type();
  }

  /**
   * One tensor, in the innermost open scope. F32, F16, BF16 and F64 can be read; numbers are
   * rounded if {@code dtype} is narrower.
   *
   * @throws IOException if there is no tensor of this name, it has another element type, or the
   *     file can no longer be read
   */
  public Tensor tensor(String name, DType dtype) throws IOException {
    return stored(name).read(dtype);
  }

  /** Whether two tensors hold the same numbers in the same shape. */
  boolean sameNumbers(String left, String right) throws IOException {
    return stored(left).sameNumbers(stored(right));
  }

  StoredTensor stored(String name) throws IOException {
    StoredTensor tensor = tensors.get(name);
    if (tensor == null) {
      throw BadFile.because(path, "there is no tensor %s", BadFile.quoted(name));
    }
    return tensor;
  }
}
