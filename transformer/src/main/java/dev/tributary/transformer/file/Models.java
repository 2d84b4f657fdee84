package dev.tributary.transformer.file;

import com.fasterxml.jackson.databind.ObjectMapper;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Slot;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.family.Architecture;
import dev.tributary.transformer.family.Architectures;
import dev.tributary.transformer.family.Layout;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Models out of files, and into them. */
public final class Models {
  /** What Hugging Face calls the types that can be written. */
  private static final Map<ElementType, String> TORCH_WORDS =
      Map.of(
          ElementType.F64, "float64",
          ElementType.F32, "float32",
          ElementType.F16, "float16",
          ElementType.BF16, "bfloat16");

  private Models() {}

  /**
   * Reads a model as FLOAT: whatever {@link Checkpoint#open} recognises.
   *
   * @param path a folder or a file
   * @return the model
   * @throws IOException as {@link #load(Path, DType, Progress)}
   */
  public static Transformer load(Path path) throws IOException {
    return load(path, DType.FLOAT, Progress.NONE);
  }

  /**
   * Reads a model: whatever {@link Checkpoint#open} recognises.
   *
   * @param path a folder or a file
   * @param dtype in which to compute, whatever the file holds
   * @param progress hears of every layer
   * @return the model
   * @throws IOException if there is nothing there, a file is missing or broken, or the weights are
   *     not those that the config describes
   */
  public static Transformer load(Path path, DType dtype, Progress progress) throws IOException {
    return load(Checkpoint.open(path), dtype, progress);
  }

  /**
   * Reads a model, such as one with an adapter that lies elsewhere.
   *
   * @param checkpoint what was opened
   * @param dtype in which to compute, whatever the file holds
   * @param progress hears of every layer
   * @return the model
   * @throws IOException if a weight is broken, or not what the config describes
   */
  public static Transformer load(Checkpoint checkpoint, DType dtype, Progress progress)
      throws IOException {
    return load(checkpoint, dtype, Widening.IF_ROOM, progress);
  }

  /**
   * Reads a model, and says how its matrices lie in memory.
   *
   * @param checkpoint what was opened
   * @param dtype in which to compute, whatever the file holds
   * @param widening whether matrices of fewer bits are widened
   * @param progress hears of every layer
   * @return the model
   * @throws IOException if a weight is broken, or not what the config describes
   */
  public static Transformer load(
      Checkpoint checkpoint, DType dtype, Widening widening, Progress progress) throws IOException {
    boolean fits = checkpoint.bytes(dtype) <= Scope.roomBytes() / 2;
    Widening chosen = fits ? widening : Widening.NEVER;
    return Transformer.of(
        checkpoint.config(),
        dtype,
        checkpoint.description(),
        slot -> checkpoint.read(slot, dtype, chosen),
        progress);
  }

  /** {@return the small trained model that comes with the library, as FLOAT} */
  public static Transformer textbook() {
    return textbook(DType.FLOAT);
  }

  /**
   * {@return the small trained model that comes with the library}
   *
   * @param dtype in which to compute
   */
  public static Transformer textbook(DType dtype) {
    try {
      return load(Textbook.folder(), dtype, Progress.NONE);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * Writes a model as a Hugging Face folder, {@code config.json} and {@code model.safetensors};
   * files of these names are replaced.
   *
   * @param model what is written
   * @param folder made if it is not there
   * @param type to which weights are rounded: F64, F32, F16 or BF16
   * @throws IllegalArgumentException if a weight is too large for this type, or no known family has
   *     such a config
   * @throws IOException if the folder cannot be written to, or holds an adapter, which whoever
   *     reads the model there would merge into it
   */
  public static void save(Transformer model, Path folder, ElementType type) throws IOException {
    Architecture family =
        Architectures.writing(model.config())
            .orElseThrow(
                () ->
                    new IllegalArgumentException(
                        "no family of models that is known has such a config: " + model.config()));
    save(model, folder, family, family.write(model.config()).orElseThrow(), entry -> type);
  }

  /**
   * The same of a model that was read, each weight rounded to the type in which it was stored, or
   * to one type.
   *
   * @param model what is written
   * @param folder made if it is not there
   * @param checkpoint from which it was read
   * @param type to which weights are rounded, if it is one
   * @throws IllegalArgumentException if a weight is too large for its type
   * @throws IOException as {@link #save(Transformer, Path, ElementType)}
   */
  public static void save(
      Transformer model, Path folder, Checkpoint checkpoint, Optional<ElementType> type)
      throws IOException {
    Types types = type.isPresent() ? entry -> type.get() : checkpoint::type;
    Architecture family = checkpoint.family().written();
    Map<String, Object> said =
        family.write(model.config()).orElseGet(() -> checkpoint.config(model.config()));
    save(model, folder, family, said, types);
  }

  /** Says to which type a tensor is rounded. */
  @FunctionalInterface
  interface Types {
    ElementType of(Layout.Entry entry) throws IOException;
  }

  /** The same with a config of a family that describes the model. */
  static void save(
      Transformer model, Path folder, Architecture family, Map<String, Object> said, Types types)
      throws IOException {
    if (Adapter.isIn(folder)) {
      throw BadFile.because(
          folder,
          "there is an adapter in this folder, which would be merged into the model written here");
    }
    Layout layout = Layout.of(family, model.config());
    SafetensorsWriter writer = new SafetensorsWriter();
    for (Layout.Entry entry : layout.entries()) {
      writer.put(layout.whole(entry), types.of(entry), entry.stored(), () -> stored(model, entry));
    }
    Map<String, Object> config = new LinkedHashMap<>(said);
    config.put(
        config.containsKey("dtype") ? "dtype" : "torch_dtype",
        Objects.requireNonNull(TORCH_WORDS.get(writer.widest())));
    String json = new ObjectMapper().valueToTree(config).toPrettyString() + "\n";
    try {
      Files.createDirectories(folder);
    } catch (IOException e) {
      throw BadFile.causedBy(e, folder, "a model cannot be written into this folder");
    }
    writer.write(folder.resolve("model.safetensors"));
    AtomicFile.write(
        folder.resolve("config.json"), out -> out.write(json.getBytes(StandardCharsets.UTF_8)));
  }

  private static Tensor stored(Transformer model, Layout.Entry entry) {
    List<Slot> slots = entry.isShared() ? entry.slots().subList(0, 1) : entry.slots();
    List<Tensor> weights =
        slots.stream().map(slot -> grouped(model.weights().get(slot), entry.groups())).toList();
    Tensor ours = Tensor.concat(-1, weights).reshape(entry.ours());
    Tensor turned = entry.transposed() ? ours.permute(1, 0) : ours;
    double added = entry.spelling().added();
    Tensor less = added == 0 ? turned : turned.minus(Tensor.of(turned.dtype(), Shape.of(), added));
    int skipped = entry.spelling().skippedRows();
    return skipped == 0
        ? less
        : Tensor.concat(
            0, List.of(Tensor.zeros(less.dtype(), less.shape().with(0, skipped)), less));
  }

  /** Columns as [.., group, column]. */
  private static Tensor grouped(@Nullable Tensor weight, int groups) {
    Shape shape = Objects.requireNonNull(weight).shape();
    int columns = shape.size(-1) / groups;
    return weight.reshape(
        shape.rank() == 1 ? Shape.of(groups, columns) : Shape.of(shape.size(0), groups, columns));
  }
}
