package dev.tributary.transformer.file;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.family.Tensors;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Named tensors in a file, or in several that belong together. All that the file claims is checked
 * when it is opened, so that nothing an untrusted file says is used before it is known to make
 * sense.
 *
 * <p>Immutable; several threads may read at once. There is nothing to close: a small file is held
 * in memory, and a large one is opened for as long as one tensor is read.
 */
public abstract sealed class TensorFile implements Tensors
    permits Safetensors, TorchFile, Npz, Gguf, TensorFolder {
  /** How the name of an index of several files ends. */
  private static final String INDEX = ".index.json";

  private static final List<String> ENDS = List.of(".safetensors", ".pt", ".pth", ".bin", ".npz");

  private final Path path;
  private final Map<String, StoredTensor> tensors;

  TensorFile(Path path, Map<String, StoredTensor> tensors) {
    this.path = path;
    this.tensors = Collections.unmodifiableMap(tensors);
  }

  /**
   * Opens a file that is recognised by what is in it: safetensors, GGUF, what torch.save or
   * numpy.savez wrote, or (by the end of its name, {@code .index.json}) Hugging Face's index of
   * several such files.
   *
   * @param file where it is
   * @return the file, its tensors not yet read
   * @throws IOException if there is no such file, it cannot be read, or it breaks a rule of its
   *     format
   */
  public static TensorFile open(Path file) throws IOException {
    return isIndex(file) ? TensorFolder.shards(file) : open(file, FileBytes.MEMORY_LIMIT);
  }

  /** Whether this is an index of several files, by its name. */
  static boolean isIndex(Path file) {
    return file.toString().endsWith(INDEX);
  }

  /**
   * {@return the files in a folder that may hold tensors, to judge by the ends of their names:
   * those in it and those in folders below it, of which links to folders are some}
   *
   * @param folder where to look
   * @param depth how far below
   * @throws IOException if a folder cannot be read, or a link leads nowhere
   */
  public static List<Path> find(Path folder, int depth) throws IOException {
    return FileTree.find(folder, depth, file -> ENDS.stream().anyMatch(file.toString()::endsWith));
  }

  /** Opens one file, and holds it in memory if it is no larger than that. */
  static TensorFile open(Path file, long memoryLimit) throws IOException {
    FileBytes bytes = FileBytes.open(file, memoryLimit);
    if (Gguf.isOne(bytes)) {
      return Gguf.open(bytes);
    }
    if (Npz.isOne(bytes)) {
      return Npz.open(bytes);
    }
    return TorchFile.isOne(bytes) ? TorchFile.open(bytes) : Safetensors.open(bytes);
  }

  /** {@return where it is} */
  public Path path() {
    return path;
  }

  /** {@return the names of all tensors, in the order of the file} */
  public Set<String> names() {
    return tensors.keySet();
  }

  /**
   * {@return whether there is a tensor of this name}
   *
   * @param name of a tensor in the file
   */
  @Override
  public boolean contains(String name) {
    return tensors.containsKey(name);
  }

  /**
   * {@return the shape of one tensor}
   *
   * @param name of a tensor in the file
   * @throws IOException if there is no tensor of this name
   */
  public Shape shape(String name) throws IOException {
    return stored(name).shape();
  }

  /**
   * {@return how the file stores the numbers of one tensor}
   *
   * @param name of a tensor in the file
   * @throws IOException if there is no tensor of this name
   */
  public ElementType elementType(String name) throws IOException {
    return stored(name).type();
  }

  /**
   * {@return one tensor, in the innermost open scope} F32, F16, BF16, F64 and blocks can be read;
   * numbers are rounded if {@code dtype} is narrower.
   *
   * @param name of a tensor in the file
   * @param dtype in which its numbers are wanted
   * @throws IOException if there is no tensor of this name, it has another element type, or the
   *     file can no longer be read
   */
  public Tensor tensor(String name, DType dtype) throws IOException {
    return stored(name).read(dtype);
  }

  /** {@return the files that it consists of} */
  public Set<Path> files() {
    return tensors.values().stream()
        .map(StoredTensor::path)
        .collect(Collectors.toCollection(LinkedHashSet::new));
  }

  /** {@return what it is, such as "safetensors, 148 tensors F32"} */
  public String description() {
    return kind() + ", " + summary();
  }

  /** The name of the format. */
  abstract String kind();

  /** Number of tensors and how they store their numbers, such as "148 tensors F32". */
  String summary() {
    String types =
        tensors.values().stream()
            .map(tensor -> tensor.type().name())
            .distinct()
            .collect(Collectors.joining(", "));
    return tensors.size() + (tensors.size() == 1 ? " tensor " : " tensors ") + types;
  }

  @Override
  public Shape shape(String name, int rank) throws IOException {
    StoredTensor tensor = stored(name);
    if (tensor.shape().rank() != rank) {
      throw StoredTensor.because(
          tensor.path(), name, "is %s, expected %d axes", tensor.shape(), rank);
    }
    return tensor.shape();
  }

  @Override
  public boolean sameNumbers(String left, String right) throws IOException {
    return stored(left).sameNumbers(stored(right));
  }

  @Override
  public double[] numbers(String name, int size) throws IOException {
    StoredTensor tensor = stored(name);
    if (!tensor.shape().equals(Shape.of(size))) {
      throw StoredTensor.because(
          tensor.path(), name, "is %s, expected %s", tensor.shape(), Shape.of(size));
    }
    try (Scope scope = Scope.open()) {
      return tensor.read(DType.DOUBLE).toDoubles();
    }
  }

  StoredTensor stored(String name) throws IOException {
    StoredTensor tensor = tensors.get(name);
    if (tensor == null) {
      throw BadFile.because(path, "there is no tensor %s", BadFile.quoted(name));
    }
    return tensor;
  }
}
