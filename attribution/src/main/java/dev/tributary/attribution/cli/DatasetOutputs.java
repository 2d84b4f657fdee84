package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.cli.DatasetOptions.Data;
import dev.tributary.attribution.cli.DatasetOptions.LeftOut;
import dev.tributary.attribution.dataset.PartedSums;
import dev.tributary.core.Scope;
import dev.tributary.transformer.file.AtomicFile;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.stream.Stream;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Option;

/** Where the answer of a command on a data set goes, and what is kept until it is there. */
final class DatasetOutputs {
  @Option(
      names = "--out",
      paramLabel = "FILE",
      description =
          "Write it as JSON, from which other commands go on. Until it is written, FILE.parts has"
              + " what is finished, and the same command goes on behind that.")
  private Optional<Path> file = Optional.empty();

  @Option(names = "--csv", paramLabel = "FILE", description = "Write it as a table.")
  private Optional<Path> csv = Optional.empty();

  @Option(
      names = "--html",
      paramLabel = "FILE",
      description = "Write a page that shows it in a browser, without a network.")
  private Optional<Path> html = Optional.empty();

  @Option(names = "--json", description = "Print one JSON object.")
  private boolean json;

  /**
   * An answer in its formats.
   *
   * @param text that is printed
   * @param json that is printed in its place
   * @param kept what --out writes
   * @param table comma-separated
   * @param page made if that is asked for
   */
  record Answer(String text, String json, String kept, String table, Supplier<String> page) {}

  /**
   * What is asked of a data set.
   *
   * @param data of which it is asked
   * @param words all of it on which sums over pairs depend, but for the data
   * @param answer that is made of such sums
   */
  record Question(Data data, List<String> words, Answering answer) {}

  /** Makes an answer. */
  @FunctionalInterface
  interface Answering {
    Answer of(PartedSums parts) throws IOException;
  }

  /** Loads a model and prepares what is asked of it, in the innermost scope. */
  @FunctionalInterface
  interface Asking {
    Question with(TerminalProgress progress, LeftOut leftOut) throws IOException;
  }

  /** A file that was asked for. */
  private record Output(String option, Path file) {}

  /** Answers a question, writes the files and prints the answer. */
  int answer(Asking asking, PrintWriter out, PrintWriter err) throws IOException {
    requireWritable(); // before the work is done
    Answer answer;
    LeftOut leftOut = new LeftOut();
    try (TerminalProgress progress = TerminalProgress.start();
        Scope scope = Scope.open()) {
      Question question = asking.with(progress, leftOut);
      try (PartedSums parts = parts(question)) {
        answer = question.answer.of(parts);
        write(answer);
        parts.delete();
      }
    }
    out.print(json ? answer.json : answer.text);
    html.ifPresent(page -> err.println(CircuitOutputs.told(page)));
    leftOut.lines().forEach(err::println);
    return ExitCode.OK;
  }

  private void requireWritable() {
    Map<Path, String> options = new HashMap<>();
    Stream.of(output("--out", file), output("--csv", csv), output("--html", html))
        .flatMap(Optional::stream)
        .forEach(
            output -> {
              CircuitOutputs.requireWritable(output.option, output.file.toString());
              String other = options.putIfAbsent(output.file, output.option);
              requireArgument(
                  other == null, "%s and %s both write to %s", other, output.option, output.file);
            });
  }

  private static Optional<Output> output(String option, Optional<Path> file) {
    return file.map(path -> new Output(option, path));
  }

  /** Sums over a data set, of which finished parts are kept if the answer is written, beside it. */
  private PartedSums parts(Question question) throws IOException {
    boolean isFile =
        file.filter(own -> Files.notExists(own) || Files.isRegularFile(own)).isPresent();
    return isFile
        ? PartedSums.in(
            Path.of(file.orElseThrow() + ".parts"),
            question.data.files(),
            Stream.concat(question.data.identity().stream(), question.words.stream()).toList())
        : PartedSums.of(question.data.files());
  }

  private void write(Answer answer) throws IOException {
    if (file.isPresent()) {
      write(file.get(), answer.kept);
    }
    if (csv.isPresent()) {
      write(csv.get(), answer.table);
    }
    if (html.isPresent()) {
      write(html.get(), answer.page.get());
    }
  }

  private static void write(Path file, String text) throws IOException {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    AtomicFile.write(file, stream -> stream.write(bytes));
  }
}
