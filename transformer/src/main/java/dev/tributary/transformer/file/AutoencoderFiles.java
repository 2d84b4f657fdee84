package dev.tributary.transformer.file;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Recognises autoencoders by the config that lies beside their weights. */
final class AutoencoderFiles {
  /** How deep below a folder its autoencoders may lie. */
  private static final int DEPTH = 3;

  /** Largest config, bytes; they have some hundreds or thousands. */
  private static final int CONFIG_LIMIT = 1 << 20;

  private AutoencoderFiles() {}

  /**
   * One autoencoder whose names and shapes have been checked.
   *
   * @param path the file that says what it is
   */
  record Found(Path path, Site site, int layer, Reader reader) {}

  /** Reads an autoencoder, in the innermost open scope. */
  @FunctionalInterface
  interface Reader {
    Dictionary read(DType dtype) throws IOException;
  }

  /** All autoencoders in the order of the forward pass, in the innermost open scope. */
  static List<Dictionary> read(Path path, DType dtype, TransformerConfig config)
      throws IOException {
    List<Found> all = find(path, config);
    Map<String, Found> places = new HashMap<>();
    for (Found one : all) {
      String place = one.site() + " of layer " + one.layer();
      Found other = places.put(place, one);
      if (other != null) {
        throw BadFile.because(
            one.path(), "this is an autoencoder of %s, and so is %s", place, other.path());
      }
    }
    List<Dictionary> result = new ArrayList<>();
    for (Found one :
        all.stream()
            .sorted(Comparator.comparingInt(Found::layer).thenComparing(Found::site))
            .toList()) {
      result.add(one.reader().read(dtype));
    }
    return List.copyOf(result);
  }

  private static List<Found> find(Path path, TransformerConfig config) throws IOException {
    Path folder = folder(path);
    if (Files.exists(folder.resolve(AutoencoderFolder.CONFIG))) {
      JsonFile json = JsonFile.read(folder.resolve(AutoencoderFolder.CONFIG), CONFIG_LIMIT);
      return json.has(TorchAutoencoder.FILES)
          ? TorchAutoencoder.listed(folder, json, config)
          : new AutoencoderFolder(folder, json, config).found();
    }
    List<Found> result = new ArrayList<>();
    for (Path one : saeLensFolders(folder)) {
      JsonFile json = JsonFile.read(one.resolve(SaeLensFolder.CONFIG), CONFIG_LIMIT);
      result.add(new SaeLensFolder(one, json, config).found());
    }
    if (result.isEmpty()) {
      throw BadFile.because(
          path,
          "there are no autoencoders in this folder, expected %s, or %s with %s",
          AutoencoderFolder.CONFIG,
          SaeLensFolder.CONFIG,
          SaeLensFolder.WEIGHTS);
    }
    return result;
  }

  /** Size of the vectors at a site. */
  static int width(Site site, int layer, TransformerConfig config) {
    return site == Site.MLP_ACTIVATION
        ? config.layers().get(layer).mlp().neurons()
        : config.dModel();
  }

  /**
   * How many latents the encoder of a file has.
   *
   * @param name of the encoder, [latent, n]
   * @throws IOException if it does not encode vectors of {@code n}
   */
  static int latents(TensorFile weights, String name, int n) throws IOException {
    Shape shape = weights.shape(name);
    if (shape.rank() != 2 || shape.length() == 0 || shape.size(1) != n) {
      throw StoredTensor.because(
          weights.path(), name, "is %s, and the model needs [latents, %d] at this site", shape, n);
    }
    return shape.size(0);
  }

  /** Reads a tensor of finite numbers, in the innermost open scope. */
  static Tensor tensor(TensorFile weights, String name, DType dtype, int... expected)
      throws IOException {
    requireShape(weights, name, expected);
    Tensor tensor = weights.tensor(name, dtype);
    if (!tensor.isFinite()) {
      throw StoredTensor.because(weights.path(), name, "holds a number that is infinite or NaN");
    }
    return tensor;
  }

  /** The same with rows for columns. */
  static Tensor transposed(TensorFile weights, String name, DType dtype, int... expected)
      throws IOException {
    try (Scope scope = Scope.open()) {
      return scope.keep(tensor(weights, name, dtype, expected).permute(1, 0));
    }
  }

  static void requireShape(TensorFile weights, String name, int... expected) throws IOException {
    Shape shape = weights.shape(name);
    if (!shape.equals(Shape.of(expected))) {
      throw StoredTensor.because(
          weights.path(), name, "is %s, expected %s", shape, Shape.of(expected));
    }
  }

  private static Path folder(Path path) throws IOException {
    if (Files.notExists(path)) {
      throw BadFile.because(path, "there is no such file or folder");
    }
    if (Files.isDirectory(path)) {
      return path;
    }
    Set<String> known =
        Set.of(
            AutoencoderFolder.CONFIG,
            AutoencoderFolder.WEIGHTS,
            SaeLensFolder.CONFIG,
            SaeLensFolder.WEIGHTS);
    if (known.stream().noneMatch(path::endsWith)) {
      throw BadFile.because(
          path,
          "this is not a folder, expected one with %s, which says where torch files belong, or %s",
          AutoencoderFolder.CONFIG,
          SaeLensFolder.CONFIG);
    }
    return path.resolveSibling("");
  }

  private static List<Path> saeLensFolders(Path folder) throws IOException {
    if (Files.exists(folder.resolve(SaeLensFolder.CONFIG))) {
      return List.of(folder);
    }
    return FileTree.find(folder, DEPTH, file -> file.endsWith(SaeLensFolder.CONFIG)).stream()
        .map(file -> file.resolveSibling(""))
        .toList();
  }
}
