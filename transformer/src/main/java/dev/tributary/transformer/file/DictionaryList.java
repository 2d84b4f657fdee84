package dev.tributary.transformer.file;

import java.io.IOException;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * dictionaries.json: where the dictionaries of a model lie, and what their own files leave out; or
 * what the weights beside it are.
 */
final class DictionaryList {
  static final String NAME = "dictionaries.json";

  /** What it was called before. */
  private static final String OLDER_NAME = "autoencoders.json";

  private static final String FILES = "files";

  /** Longest path, characters. */
  private static final int PATH_LIMIT = 1000;

  private DictionaryList() {}

  /** Whether a file is one. */
  static boolean isOne(Path file) {
    return file.endsWith(NAME) || file.endsWith(OLDER_NAME);
  }

  static List<StoredDictionary> read(Path file) throws IOException {
    JsonFile json = JsonFile.read(file, DictionaryFiles.CONFIG_LIMIT);
    if (!json.has(FILES)) {
      return DictionarySites.read(json);
    }
    if (json.has(DictionarySites.SITES)) {
      throw json.wrong(DictionarySites.SITES, "none, since " + FILES + " are listed");
    }
    List<StoredDictionary> result = new ArrayList<>();
    for (JsonFile entry : json.objects(FILES)) {
      Given given = Given.in(entry);
      result.addAll(DictionaryFiles.listed(path(entry), given));
      given.requireAllAsked();
    }
    if (result.isEmpty()) {
      throw json.wrong(FILES, "a list of at least one");
    }
    return result;
  }

  private static Path path(JsonFile entry) throws IOException {
    String text = entry.text(Given.PATH, "");
    Path folder = entry.path().resolveSibling("");
    try {
      Path path = folder.getFileSystem().getPath(text).normalize();
      boolean plausible = !text.isEmpty() && text.length() < PATH_LIMIT;
      if (plausible && !path.isAbsolute() && !path.startsWith("..")) {
        return folder.resolve(path);
      }
    } catch (InvalidPathException e) {
      throw BadFile.causedBy(e, entry.path(), "%s is not the path of a file", BadFile.quoted(text));
    }
    throw entry.wrong(Given.PATH, "the path of a file or folder in this folder");
  }
}
