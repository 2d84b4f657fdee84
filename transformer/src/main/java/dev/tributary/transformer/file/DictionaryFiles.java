package dev.tributary.transformer.file;

import dev.tributary.core.DType;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.TransformerConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;

/** Finds dictionaries in each of their layouts. */
final class DictionaryFiles {
  /** Largest config, bytes; they have some hundreds or thousands. */
  static final int CONFIG_LIMIT = 1 << 20;

  /** How deep below a folder its dictionaries may lie. */
  private static final int DEPTH = 4;

  static final String TEMPORAL = "conf.yaml";

  /** In this order: what a file is by its neighbours comes before what it is by itself. */
  static final List<Layout> LAYOUTS =
      List.of(
          new Layout(SaeLens::isOne, SaeLens::read),
          new Layout(Sparsify::isOne, Sparsify::read),
          new Layout(GemmaScope::isOne, GemmaScope::read),
          new Layout(LlamaScope::isOne, LlamaScope::read),
          new Layout(CircuitTracer::isOne, CircuitTracer::read),
          new Layout(file -> file.endsWith(TEMPORAL), DictionaryFiles::temporal),
          new Layout(DictionaryLearning::isOne, DictionaryLearning::read),
          new Layout(TorchDictionary::isOne, TorchDictionary::read));

  /**
   * How somebody's library lays dictionaries out in files.
   *
   * @param isOne whether a file is that by which one is known, by its name and its neighbours'
   */
  record Layout(Predicate<Path> isOne, Reader reader) {}

  /** Reads what a file of a layout says, not yet the numbers. */
  @FunctionalInterface
  interface Reader {
    List<StoredDictionary> read(Path file, Given given) throws IOException;
  }

  private DictionaryFiles() {}

  /** All dictionaries in the order of the forward pass, in the innermost open scope. */
  static List<Dictionary> read(Path path, DType dtype, TransformerConfig config)
      throws IOException {
    Map<String, StoredDictionary> known = new HashMap<>();
    List<Placed> all = new ArrayList<>();
    for (StoredDictionary one : find(path)) {
      one.requireFits(config);
      all.add(new Placed(one.place(config), one));
      String what = one.reads() + (one.isAutoencoder() ? "" : " to " + one.points());
      StoredDictionary other = known.put(what + "/" + one.label(), one);
      if (other != null) {
        throw BadFile.because(
            one.path(),
            "this is a dictionary of %s, and so is %s: name one of them, or list both in %s with"
                + " labels",
            what,
            other.path(),
            DictionaryList.NAME);
      }
    }
    all.sort(
        Comparator.comparingInt((Placed one) -> one.reads.layer())
            .thenComparing(one -> one.reads.site()));
    List<Dictionary> result = new ArrayList<>();
    for (Placed one : all) {
      result.add(one.dictionary.read(dtype, config));
    }
    return List.copyOf(result);
  }

  /** A dictionary and where it reads in a model. */
  private record Placed(Place reads, StoredDictionary dictionary) {}

  /** The dictionaries at a path, in the order of their files. */
  static List<StoredDictionary> find(Path path) throws IOException {
    if (Files.notExists(path)) {
      throw BadFile.because(path, "there is no such file or folder");
    }
    if (DictionaryList.isOne(path)) {
      return DictionaryList.read(path);
    }
    if (Files.isDirectory(path) || layout(path).isEmpty()) {
      List<Path> lists = FileTree.find(folder(path), 0, DictionaryList::isOne);
      if (!lists.isEmpty()) {
        return DictionaryList.read(lists.get(lists.size() - 1)); // the newer name
      }
    }
    return listed(path, Given.nothing());
  }

  /** The dictionaries at a path of which somebody says more, or nothing. */
  static List<StoredDictionary> listed(Path path, Given given) throws IOException {
    if (Files.notExists(path)) {
      throw BadFile.because(path, "there is no such file or folder");
    }
    Optional<Layout> layout = layout(path);
    if (!Files.isDirectory(path) && layout.isPresent()) {
      return layout.get().reader.read(path, given);
    }
    List<StoredDictionary> result = new ArrayList<>();
    int depth = Files.isDirectory(path) ? DEPTH : 0;
    for (Path file : FileTree.find(folder(path), depth, each -> layout(each).isPresent())) {
      result.addAll(layout(file).orElseThrow().reader.read(file, given));
    }
    if (result.isEmpty()) {
      throw BadFile.because(
          path,
          "there are no dictionaries here, in any layout that is known, and no %s",
          DictionaryList.NAME);
    }
    return result;
  }

  static boolean areIn(Path folder) throws IOException {
    return !FileTree.find(
            folder, DEPTH, file -> DictionaryList.isOne(file) || layout(file).isPresent())
        .isEmpty();
  }

  private static Path folder(Path path) {
    return Files.isDirectory(path) ? path : path.resolveSibling("");
  }

  /** The layout by whose file this one is known. */
  static Optional<Layout> layout(Path file) {
    return LAYOUTS.stream().filter(layout -> layout.isOne.test(file)).findFirst();
  }

  private static List<StoredDictionary> temporal(Path file, Given given) throws IOException {
    throw BadFile.because(
        file, "temporal dictionaries, whose latents depend on earlier tokens, cannot be read");
  }
}
