package dev.tributary.transformer.file;

import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;

/**
 * The files in a folder and those below it. Links to folders are followed, and a folder to which
 * several ways lead is visited once, by the shortest.
 */
final class FileTree {
  /** Most folders that are visited; links may lead anywhere. */
  private static final int FOLDERS_LIMIT = 10_000;

  /** Longest path in the place of a link, bytes. */
  private static final int LINK_LIMIT = 1000;

  private final Set<Path> visited = new HashSet<>();
  private final List<Path> found = new ArrayList<>();
  private final Predicate<Path> wanted;

  private FileTree(Predicate<Path> wanted) {
    this.wanted = wanted;
  }

  /**
   * Finds files.
   *
   * @param depth how far below the folder files are looked for; 0 is the folder itself
   * @return sorted
   * @throws IOException if a folder cannot be read, there are too many, or a link leads nowhere
   */
  static List<Path> find(Path folder, int depth, Predicate<Path> wanted) throws IOException {
    FileTree tree = new FileTree(wanted);
    Collection<Path> folders = List.of(folder);
    for (int level = 0; level <= depth; level++) {
      Set<Path> below = new TreeSet<>();
      for (Path one : folders) {
        tree.visit(one, below);
      }
      folders = below;
    }
    tree.found.sort(null);
    return tree.found;
  }

  private void visit(Path folder, Set<Path> below) throws IOException {
    List<Path> content = new ArrayList<>();
    try {
      if (!visited.add(folder.toRealPath())) {
        return;
      }
      try (DirectoryStream<Path> stream = Files.newDirectoryStream(folder)) {
        stream.forEach(content::add);
      }
    } catch (IOException | DirectoryIteratorException e) {
      throw BadFile.causedBy(e, folder, "this folder cannot be read");
    }
    if (visited.size() > FOLDERS_LIMIT) {
      throw BadFile.because(folder, "there are more than %d folders to look into", FOLDERS_LIMIT);
    }
    for (Path path : content) {
      Path target = followed(path);
      if (Files.isDirectory(target)) {
        below.add(target);
      } else if (wanted.test(path)) {
        found.add(path);
      } else if (Files.isSymbolicLink(path) && !Files.exists(path)) {
        throw BadFile.because(path, "this link leads nowhere");
      }
    }
  }

  /**
   * Git writes the target of a link into a file where it cannot, or may not, make links. One that
   * begins at the root is followed only where it is a link: no text should lead everywhere.
   */
  private static Path followed(Path path) {
    try {
      if (!Files.isRegularFile(path) || Files.size(path) > LINK_LIMIT || Files.size(path) == 0) {
        return path;
      }
      Path said = path.getFileSystem().getPath(Files.readString(path));
      Path target = path.resolveSibling(said);
      return !said.isAbsolute() && Files.isDirectory(target) ? target.normalize() : path;
    } catch (IOException | InvalidPathException e) {
      return path; // not a path, so not a link
    }
  }
}
