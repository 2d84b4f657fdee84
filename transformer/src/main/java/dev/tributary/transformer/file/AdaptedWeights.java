package dev.tributary.transformer.file;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What an adapter makes of the weights of a model, one at a time while they are read. With weights
 * W [input, output], factors A [rank, input] and B [output, rank]:
 *
 * <pre>
 * W' = W + scale (B A)ᵀ                             scale = alpha / rank, or alpha / √rank (rsLoRA)
 * W' = m W' / ‖W'‖ over the inputs of each output   DoRA, with magnitudes m [output]
 * b' = b + scale c                                  where B has a bias c
 * </pre>
 *
 * <p>An embedding [row, dModel] is a linear map of one-hot rows. The sum is computed in DOUBLE.
 * Where the unembedding is the token embedding and one of the two is adapted, they are two
 * afterwards, as in the running adapted model.
 *
 * @see <a href="https://arxiv.org/abs/2402.09353">Liu et al. 2024, DoRA</a>
 * @see <a href="https://arxiv.org/abs/2312.03732">Kalajdzievski 2023, rsLoRA</a>
 */
final class AdaptedWeights {
  private static final WeightNames NAMES = WeightNames.HUGGING_FACE;
  private static final String EMBEDDING = NAMES.stored(WeightNames.TOKEN_EMBEDDING);
  private static final String UNEMBEDDING = NAMES.stored(WeightNames.UNEMBEDDING);

  /** Factors of what is added to a matrix. */
  private record Factors(
      StoredTensor a, StoredTensor b, int rank, double scale, Optional<StoredTensor> lengths) {}

  private record Addend(StoredTensor bias, double scale) {}

  private final TransformerConfig model;
  private final String description;

  /** All by the bare names of Hugging Face. */
  private final Map<String, StoredTensor> replaced = new HashMap<>();

  private final Map<String, Factors> factors = new HashMap<>();
  private final Map<String, Addend> addends = new HashMap<>();

  /** Tables that are no longer what the other one is. */
  private final Set<String> untied = new HashSet<>();

  AdaptedWeights(TransformerConfig model, String description) {
    this.model = model;
    this.description = description;
  }

  // ---- being told --------------------------------------------------------------------------

  void add(
      String stored,
      StoredTensor a,
      StoredTensor b,
      int rank,
      double scale,
      Optional<StoredTensor> lengths) {
    factors.put(stored, new Factors(a, b, rank, scale, lengths));
    untie(stored);
  }

  void addBias(String stored, StoredTensor bias, double scale) {
    addends.put(stored, new Addend(bias, scale));
  }

  /**
   * Puts a tensor in place of a weight.
   *
   * @param base whether it is what the model began with, which a tied table shares with the other
   */
  void replace(String stored, StoredTensor tensor, boolean base) throws IOException {
    boolean shared =
        base
            && model.unembedding().tied()
            && (stored.equals(EMBEDDING) || stored.equals(UNEMBEDDING));
    if (!shared) {
      replaced.put(stored, tensor);
      untie(stored);
      return;
    }
    for (String table : new String[] {EMBEDDING, UNEMBEDDING}) {
      StoredTensor other = replaced.putIfAbsent(table, tensor);
      if (other != null && table.equals(stored) && !other.sameNumbers(tensor)) {
        throw StoredTensor.because(
            tensor.path(),
            tensor.name(),
            "differs from %s, and the model has one table for both",
            BadFile.quoted(other.name()));
      }
    }
  }

  private void untie(String stored) {
    if (model.unembedding().tied() && (stored.equals(EMBEDDING) || stored.equals(UNEMBEDDING))) {
      untied.add(stored);
    }
  }

  // ---- being asked -------------------------------------------------------------------------

  /** Whether embedding and unembedding were one and are two. */
  boolean unties() {
    return !untied.isEmpty();
  }

  /** The sizes of the adapted model. */
  TransformerConfig config() {
    return unties() ? model.tied(false) : model;
  }

  /** What it consists of beside the model. */
  String description() {
    return unties() ? description + ", unembedding no longer tied" : description;
  }

  /**
   * One weight, in the innermost open scope.
   *
   * @param name as {@link WeightNames} has it
   * @param base the same weight of the model
   * @throws IOException if a tensor of the adapter has another shape than this weight asks for
   */
  Tensor read(String name, StoredTensor base, Shape shape, DType dtype) throws IOException {
    String stored = NAMES.stored(name);
    Shape storedShape = NAMES.storedShape(name, shape);
    @Nullable StoredTensor other = replaced.get(stored);
    StoredTensor begin = base;
    if (other != null) {
      requireShape(other, storedShape.dimensions());
      begin = NAMES.view(name, other);
    }
    @Nullable Addend addend = addends.get(stored);
    @Nullable Factors product = factors.get(stored);
    StoredTensor last = addend != null ? addend.bias : product != null ? product.b : begin;
    try (Scope scope = Scope.open()) {
      Tensor result =
          addend != null
              ? sum(name, storedShape, begin, addend, dtype)
              : product != null ? sum(name, storedShape, begin, product, dtype) : begin.read(dtype);
      if (!result.isFinite()) {
        StoredTensor cause = begin.read(dtype).isFinite() ? last : begin;
        throw StoredTensor.because(
            cause.path(), cause.name(), "makes a number of %s infinite or NaN", stored);
      }
      return scope.keep(result);
    } catch (OutOfMemoryError e) {
      throw BadFile.causedBy(
          e,
          last.path(),
          "tensor %s does not fit into memory with its model",
          BadFile.quoted(last.name()));
    }
  }

  private static Tensor sum(
      String name, Shape stored, StoredTensor begin, Addend addend, DType dtype)
      throws IOException {
    requireShape(addend.bias, stored.dimensions());
    Tensor bias = NAMES.view(name, addend.bias).read(DType.DOUBLE).times(addend.scale);
    double[] sum = begin.read(DType.DOUBLE).plus(bias).toDoubles();
    return Tensor.of(dtype, Shape.of(sum.length), sum);
  }

  private static Tensor sum(
      String name, Shape stored, StoredTensor begin, Factors product, DType dtype)
      throws IOException {
    if (stored.rank() != 2) {
      throw StoredTensor.because(
          product.a.path(), product.a.name(), "is a factor of a weight that is no matrix");
    }
    boolean outputsFirst = name.equals(WeightNames.UNEMBEDDING);
    int inputs = stored.size(outputsFirst ? 1 : 0);
    int outputs = stored.size(outputsFirst ? 0 : 1);
    requireShape(product.a, product.rank, inputs);
    requireShape(product.b, outputs, product.rank);
    StoredTensor left = outputsFirst ? product.b : product.a.transposed();
    StoredTensor right = outputsFirst ? product.a : NAMES.view(name, product.b.transposed());
    Tensor base = begin.read(begin.type() == ElementType.F64 ? DType.DOUBLE : DType.FLOAT);
    LowRankSum sum =
        new LowRankSum(base, left.read(DType.DOUBLE), right.read(DType.DOUBLE), product.scale);
    if (product.lengths.isEmpty()) {
      return sum.tensor(dtype);
    }
    StoredTensor lengths = product.lengths.get();
    requireShape(lengths, outputs);
    return sum.tensor(
        dtype, outputsFirst ? 0 : 1, NAMES.view(name, lengths).read(DType.DOUBLE).toDoubles());
  }

  /** The rank may be any number, so the sizes need not be a shape that a tensor can have. */
  private static void requireShape(StoredTensor tensor, int... expected) throws IOException {
    if (!Arrays.equals(tensor.shape().dimensions(), expected)) {
      throw StoredTensor.because(
          tensor.path(),
          tensor.name(),
          "is %s, and the model and the config of the adapter say %s",
          tensor.shape(),
          Arrays.toString(expected));
    }
  }
}
