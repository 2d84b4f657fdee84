package dev.tributary.transformer.file;

import com.fasterxml.jackson.databind.JsonNode;
import dev.tributary.transformer.family.Architectures;
import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/** Named tensors in several files that belong together. */
final class TensorFolder extends TensorFile {
  /** Most files that belong together. */
  private static final int FILES_LIMIT = 10_000;

  /** Largest index, bytes; it has about a hundred for each tensor. */
  private static final int INDEX_LIMIT = 16 << 20;

  /** Longest name of a file, characters. */
  private static final int NAME_LIMIT = 255;

  private static final String PIECE = ".pt";

  private TensorFolder(Path path, Map<String, StoredTensor> tensors) {
    super(path, tensors);
  }

  @Override
  String kind() {
    return "several files";
  }

  /**
   * Opens the files that an index of Hugging Face names, such as {@code
   * model.safetensors.index.json}: its {@code weight_map} says in which file beside it each tensor
   * is. It may name an unembedding that is nowhere, since it is tied to the embedding.
   *
   * @throws IOException if the index or one of its files is missing or broken, or they contradict
   *     each other
   */
  static TensorFolder shards(Path index) throws IOException {
    JsonFile map = JsonFile.read(index, INDEX_LIMIT).object("weight_map");
    Map<String, TensorFile> files = new HashMap<>();
    Map<String, StoredTensor> tensors = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> entry : map.root().properties()) {
      String name = entry.getKey();
      String fileName = map.text(name, "");
      TensorFile shard = files.get(fileName);
      if (shard == null) {
        if (files.size() == FILES_LIMIT) {
          throw BadFile.because(index, "there are more than %d files in weight_map", FILES_LIMIT);
        }
        Path file = beside(index, map, name, fileName);
        if (Files.notExists(file)) {
          throw BadFile.because(file, "there is no such file, which %s names", index);
        }
        shard = TensorFile.open(file, 0);
        files.put(fileName, shard);
      }
      if (shard.contains(name)) {
        tensors.put(name, shard.stored(name));
      } else if (!Architectures.isUnembedding(name)) {
        throw BadFile.because(
            shard.path(),
            "there is no tensor %s, which %s says is here",
            BadFile.quoted(name),
            index);
      }
    }
    for (TensorFile shard : files.values()) {
      for (String name : shard.names()) {
        if (!tensors.containsKey(name)) {
          throw BadFile.because(
              shard.path(), "tensor %s is not in weight_map of %s", BadFile.quoted(name), index);
        }
      }
    }
    return new TensorFolder(index, tensors);
  }

  /** The files that an index names, none of which need be there. */
  static Set<Path> files(Path index) throws IOException {
    JsonFile map = JsonFile.read(index, INDEX_LIMIT).object("weight_map");
    Set<Path> files = new LinkedHashSet<>();
    for (String name : map.root().propertyStream().map(Map.Entry::getKey).toList()) {
      files.add(beside(index, map, name, map.text(name, "")));
    }
    return files;
  }

  /** The file of a name, which must not lead out of the folder. */
  private static Path beside(Path index, JsonFile map, String name, String fileName)
      throws IOException {
    boolean plain =
        !fileName.isEmpty()
            && fileName.length() <= NAME_LIMIT
            && fileName.chars().noneMatch(c -> c < ' ' || c == '/' || c == '\\' || c == ':')
            && !fileName.equals(".")
            && !fileName.equals("..");
    if (!plain) {
      throw map.wrong(name, "the name of a file in the same folder");
    }
    try {
      return index.resolveSibling(fileName);
    } catch (InvalidPathException e) {
      throw BadFile.causedBy(e, index, "%s is no name of a file", BadFile.quoted(fileName));
    }
  }

  /**
   * Opens a folder of files that torch.save wrote, each with one tensor that has the name of the
   * file without {@code .pt}.
   *
   * @throws IOException if a file is broken, or holds anything else
   */
  static TensorFolder pieces(Path folder) throws IOException {
    Map<String, Path> files = new TreeMap<>();
    try (DirectoryStream<Path> stream = Files.newDirectoryStream(folder, "*" + PIECE)) {
      for (Path file : stream) {
        String name = String.valueOf(file.getFileName());
        files.put(name.substring(0, name.length() - PIECE.length()), file);
        if (files.size() > FILES_LIMIT) {
          break;
        }
      }
    } catch (IOException | DirectoryIteratorException e) {
      throw BadFile.causedBy(e, folder, "this folder cannot be read");
    }
    if (files.size() > FILES_LIMIT) {
      throw BadFile.because(folder, "there are more than %d files in this folder", FILES_LIMIT);
    }
    Map<String, StoredTensor> tensors = new LinkedHashMap<>();
    for (Map.Entry<String, Path> entry : files.entrySet()) {
      TorchFile file = TorchFile.open(entry.getValue(), 0);
      if (file.names().size() != 1 || !file.contains("") || !file.values().isEmpty()) {
        throw BadFile.because(file.path(), "this file does not hold one tensor and nothing else");
      }
      tensors.put(entry.getKey(), file.stored("").named(entry.getKey()));
    }
    return new TensorFolder(folder, tensors);
  }
}
