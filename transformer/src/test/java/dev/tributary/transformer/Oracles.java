package dev.tributary.transformer;

import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.DynamicNode;

/**
 * Folders of answers that independent systems computed, kept beside the repository: those below the
 * one that the system property {@code tributary.oracles} names, by default {@code ../shared}, seen
 * from the root of the repository.
 */
public final class Oracles {
  /** Tests run in the folder of their module. */
  private static final Path ROOT = Path.of("..").toAbsolutePath().normalize();

  private Oracles() {}

  /** The oracle of this name, if it is there. */
  public static Optional<Path> find(String name) {
    Path oracles = Path.of(System.getProperty("tributary.oracles", "../shared"));
    return Optional.of(ROOT.resolve(oracles).resolve(name).normalize()).filter(Files::isDirectory);
  }

  /** The oracle of this name; where it is missing the test is skipped. */
  public static Path folder(String name) {
    return find(name).orElseGet(() -> Assumptions.abort(missing(name)));
  }

  private static String missing(String name) {
    return "no folder " + name + " where tributary.oracles points";
  }

  /** The file that the system property {@code tributary.NAME} names, seen from there too. */
  public static Optional<Path> file(String name) {
    return Optional.ofNullable(System.getProperty("tributary." + name))
        .map(file -> ROOT.resolve(file).normalize());
  }

  /** Tests of an oracle; where it is missing one that is skipped and says so. */
  public static Stream<? extends DynamicNode> tests(String name, Tests tests) throws IOException {
    Optional<Path> folder = find(name);
    if (folder.isPresent()) {
      return tests.of(folder.get());
    }
    return Stream.of(dynamicTest(name, () -> Assumptions.abort(missing(name))));
  }

  /** The tests of one oracle's folder. */
  public interface Tests {
    Stream<? extends DynamicNode> of(Path folder) throws IOException;
  }
}
