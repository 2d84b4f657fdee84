package dev.tributary.transformer.file;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Slot;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.Weight;
import dev.tributary.transformer.family.Layout;
import java.io.IOException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
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
  /** Factors of what is added to a matrix. */
  private record Factors(
      StoredTensor a, StoredTensor b, int rank, double scale, Optional<StoredTensor> lengths) {}

  private record Addend(StoredTensor bias, double scale) {}

  private final TransformerConfig model;
  private final Layout layout;
  private final String description;
  private final Map<Layout.Entry, StoredTensor> replaced = new HashMap<>();
  private final Map<Layout.Entry, Factors> factors = new HashMap<>();
  private final Map<Layout.Entry, Addend> addends = new HashMap<>();

  /** Tables that are no longer what the other one is. */
  private final Set<Layout.Entry> untied = new HashSet<>();

  /**
   * Nothing so far.
   *
   * @param layout of the files from which the model was adapted
   */
  AdaptedWeights(TransformerConfig model, Layout layout, String description) {
    this.model = model;
    this.layout = layout;
    this.description = description;
  }

  // ---- being told --------------------------------------------------------------------------

  void add(
      Layout.Entry entry,
      StoredTensor a,
      StoredTensor b,
      int rank,
      double scale,
      Optional<StoredTensor> lengths) {
    factors.put(entry, new Factors(a, b, rank, scale, lengths));
    untie(entry);
  }

  void addBias(Layout.Entry entry, StoredTensor bias, double scale) {
    addends.put(entry, new Addend(bias, scale));
  }

  /**
   * Puts a tensor in place of a weight.
   *
   * @param base whether it is what the model began with, which a tied table shares with the other
   */
  void replace(Layout.Entry entry, StoredTensor tensor, boolean base) throws IOException {
    if (!base || !model.unembedding().tied() || !isTable(entry)) {
      replaced.put(entry, tensor);
      untie(entry);
      return;
    }
    for (Weight table : List.of(Weight.TOKEN_EMBEDDING, Weight.UNEMBEDDING)) {
      StoredTensor other = replaced.putIfAbsent(layout.of(table), tensor);
      if (other != null && table == entry.weight() && !other.sameNumbers(tensor)) {
        throw StoredTensor.because(
            tensor.path(),
            tensor.name(),
            "differs from %s, and the model has one table for both",
            BadFile.quoted(other.name()));
      }
    }
  }

  /** Whether it is one of the two that may be the same. */
  static boolean isTable(Layout.Entry entry) {
    return entry.weight() == Weight.TOKEN_EMBEDDING || entry.weight() == Weight.UNEMBEDDING;
  }

  private void untie(Layout.Entry entry) {
    if (model.unembedding().tied() && isTable(entry)) {
      untied.add(entry);
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
   * @param base the same weight of the model
   * @throws IOException if a tensor of the adapter has another shape than this weight asks for
   */
  Tensor read(Slot slot, StoredTensor base, DType dtype) throws IOException {
    Layout.Entry entry = layout.of(slot);
    @Nullable StoredTensor other = replaced.get(entry);
    StoredTensor begin = base;
    if (other != null) {
      requireShape(other, entry.stored().dimensions());
      begin = other.weight(entry, slot);
    }
    @Nullable Addend addend = addends.get(entry);
    @Nullable Factors product = factors.get(entry);
    StoredTensor last = addend != null ? addend.bias : product != null ? product.b : begin;
    try (Scope scope = Scope.open()) {
      Tensor result =
          addend != null
              ? sum(entry, slot, begin, addend, dtype)
              : product != null ? sum(entry, slot, begin, product, dtype) : begin.read(dtype);
      if (!result.isFinite()) {
        StoredTensor cause = begin.read(dtype).isFinite() ? last : begin;
        throw StoredTensor.because(
            cause.path(), cause.name(), "makes a number of %s infinite or NaN", entry.name());
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
      Layout.Entry entry, Slot slot, StoredTensor begin, Addend addend, DType dtype)
      throws IOException {
    requireShape(addend.bias, entry.stored().dimensions());
    Tensor bias = addend.bias.columns(entry, slot).read(DType.DOUBLE).times(addend.scale);
    double[] sum = begin.read(DType.DOUBLE).plus(bias).toDoubles();
    return Tensor.of(dtype, Shape.of(sum.length), sum);
  }

  private static Tensor sum(
      Layout.Entry entry, Slot slot, StoredTensor begin, Factors product, DType dtype)
      throws IOException {
    Shape ours = entry.ours();
    if (ours.rank() != 2) {
      throw StoredTensor.because(
          product.a.path(), product.a.name(), "is a factor of a weight that is no matrix");
    }
    boolean outputsFirst = entry.weight() == Weight.UNEMBEDDING;
    int outputs = ours.size(outputsFirst ? 0 : 1);
    requireShape(product.a, product.rank, ours.size(outputsFirst ? 1 : 0));
    requireShape(product.b, outputs, product.rank);
    StoredTensor left = outputsFirst ? product.b : product.a.transposed();
    StoredTensor right = outputsFirst ? product.a : product.b.transposed().columns(entry, slot);
    Tensor base = begin.read(begin.type() == ElementType.F64 ? DType.DOUBLE : DType.FLOAT);
    LowRankSum sum =
        new LowRankSum(base, left.read(DType.DOUBLE), right.read(DType.DOUBLE), product.scale);
    if (product.lengths.isEmpty()) {
      return sum.tensor(dtype);
    }
    StoredTensor lengths = product.lengths.get();
    requireShape(lengths, outputs);
    return sum.tensor(
        dtype, outputsFirst ? 0 : 1, lengths.columns(entry, slot).read(DType.DOUBLE).toDoubles());
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
