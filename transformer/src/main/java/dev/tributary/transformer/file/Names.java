package dev.tributary.transformer.file;

import java.nio.file.Path;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What the names of folders tell that files leave out. */
final class Names {
  private Names() {}

  /** The nearest folder above a file whose whole name matches. */
  static Optional<Matcher> above(Path file, Pattern pattern) {
    for (Path folder = file.toAbsolutePath().getParent();
        folder != null;
        folder = folder.getParent()) {
      Path name = folder.getFileName();
      if (name != null) {
        Matcher matcher = pattern.matcher(name.toString());
        if (matcher.matches()) {
          return Optional.of(matcher);
        }
      }
    }
    return Optional.empty();
  }

  /** The name of a file, if all of it matches. */
  static Optional<Matcher> of(Path file, Pattern pattern) {
    Matcher matcher = pattern.matcher(String.valueOf(file.getFileName()));
    return matcher.matches() ? Optional.of(matcher) : Optional.empty();
  }
}
