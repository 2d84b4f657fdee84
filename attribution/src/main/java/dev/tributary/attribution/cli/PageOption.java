package dev.tributary.attribution.cli;

import dev.tributary.attribution.viewer.DatasetPage;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Option;

/** Where the page of a data set is written to. */
final class PageOption {
  @Option(
      names = "--html",
      paramLabel = "FILE",
      description = "Write a page that shows it in a browser, without a network.")
  private Optional<Path> file = Optional.empty();

  /** Refuses a file that cannot be written. */
  void requireWritable() {
    file.ifPresent(path -> CircuitOutputs.requireWritable("--html", path.toString()));
  }

  /** Writes the page if that was asked for. */
  void write(List<String> answers, PrintWriter err) throws IOException {
    if (file.isPresent()) {
      DatasetScoreCommand.write(file.get(), DatasetPage.of(answers));
      err.println(CircuitOutputs.told(file.get()));
    }
  }
}
