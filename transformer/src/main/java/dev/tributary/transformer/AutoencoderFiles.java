package dev.tributary.transformer;

import dev.tributary.core.DType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;

/** Recognises autoencoders by the config that lies beside their weights. */
final class AutoencoderFiles {
  /** How deep below a folder its autoencoders may lie. */
  private static final int DEPTH = 3;

  private AutoencoderFiles() {}

  /** All autoencoders in the order of the forward pass, in the innermost open scope. */
  static List<SparseAutoencoder> read(Path path, DType dtype, TransformerConfig config)
      throws IOException {
    Path folder = folder(path);
    if (Files.exists(folder.resolve(AutoencoderFolder.CONFIG))) {
      return new AutoencoderFolder(folder, config).read(dtype);
    }
    List<Path> folders = saeLensFolders(folder);
    if (folders.isEmpty()) {
      throw BadFile.because(
          path,
          "there are no autoencoders in this folder, expected %s with %s, or %s with %s",
          AutoencoderFolder.CONFIG,
          AutoencoderFolder.WEIGHTS,
          SaeLensFolder.CONFIG,
          SaeLensFolder.WEIGHTS);
    }
    List<SaeLensFolder> all = new ArrayList<>();
    Map<String, Path> places = new HashMap<>();
    for (Path one : folders) { // all configs before the first weights
      SaeLensFolder opened = new SaeLensFolder(one, config);
      Path other = places.put(opened.place(), one);
      if (other != null) {
        throw BadFile.because(
            one, "this is an autoencoder of %s, and so is %s", opened.place(), other);
      }
      all.add(opened);
    }
    List<SparseAutoencoder> result = new ArrayList<>();
    for (SaeLensFolder one : all) {
      result.add(one.read(dtype));
    }
    return inForwardOrder(result);
  }

  static List<SparseAutoencoder> inForwardOrder(List<SparseAutoencoder> autoencoders) {
    return autoencoders.stream()
        .sorted(
            Comparator.comparingInt(SparseAutoencoder::layer)
                .thenComparing(SparseAutoencoder::site))
        .toList();
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
          "this is not a folder, expected one with %s or %s",
          AutoencoderFolder.CONFIG,
          SaeLensFolder.CONFIG);
    }
    return path.resolveSibling("");
  }

  private static List<Path> saeLensFolders(Path folder) throws IOException {
    if (Files.exists(folder.resolve(SaeLensFolder.CONFIG))) {
      return List.of(folder);
    }
    try (Stream<Path> files =
        Files.find(folder, DEPTH + 1, (path, attributes) -> path.endsWith(SaeLensFolder.CONFIG))) {
      return files.map(file -> file.resolveSibling("")).sorted().toList();
    } catch (IOException | UncheckedIOException e) {
      throw BadFile.causedBy(e, folder, "this folder cannot be read");
    }
  }
}
