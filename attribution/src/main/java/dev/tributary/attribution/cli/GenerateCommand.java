package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Edit;
import dev.tributary.attribution.explain.Generate;
import dev.tributary.attribution.explain.Generate.Draws;
import dev.tributary.attribution.explain.Session;
import dev.tributary.attribution.explain.Word;
import dev.tributary.attribution.export.AnswerJson;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.function.BiFunction;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** Lets the model go on with a prompt, as it is and with parts of it edited. */
@Command(
    name = "generate",
    header = "Lets the model go on with a prompt, as it is and with parts of it edited.",
    description = {
      "A PART is a neuron, head or latent by its name, L1.neuron77, at all tokens of the prompt and"
          + " at those that follow; at one, L1.neuron77[4], at some, L1.neuron77[4-6], or from one"
          + " on, L1.neuron77[4-]. A head at a token, L2.head5[14], is all that it writes there; at"
          + " a pair, L2.head5[14<-3], its probability. (ablate says what single nodes do to one"
          + " prediction, beside what was to be expected.)"
    },
    sortOptions = false,
    sortSynopsis = false,
    footer = {
      "",
      "Example, what the shipped model says without one head:",
      "  generate --remove L2.head5 --max-tokens 8"
    })
final class GenerateCommand implements Callable<Integer> {
  private final PrintWriter out;

  @Mixin private final PromptOptions options = new PromptOptions();

  @Option(
      names = "--set",
      paramLabel = "PART=A",
      converter = Setting.class,
      description =
          "Give a part this activation, whatever it was. This and the next three may be"
              + " given several times, and are done together.")
  private List<Edit> set = List.of();

  @Option(
      names = "--scale",
      paramLabel = "PART=F",
      converter = Scaling.class,
      description = "Multiply the activation of a part.")
  private List<Edit> scaled = List.of();

  @Option(
      names = "--add",
      paramLabel = "PART=A",
      converter = Addition.class,
      description = "Add to the activation of a part.")
  private List<Edit> added = List.of();

  @Option(
      names = "--remove",
      paramLabel = "PART",
      converter = Removal.class,
      description = "Give a part an activation of 0, so that it writes nothing.")
  private List<Edit> removed = List.of();

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      description = "Most tokens that follow the prompt. Default: ${DEFAULT-VALUE}.")
  private int most = 40;

  @Option(
      names = "--temperature",
      paramLabel = "X",
      description =
          "Draw the next token by its probability at this temperature. Without this and the next"
              + " three the most probable token is taken.")
  private Optional<Double> temperature = Optional.empty();

  @Option(
      names = "--top-k",
      paramLabel = "N",
      description = "Draw among so many of the most probable tokens alone.")
  private Optional<Integer> topK = Optional.empty();

  @Option(
      names = "--top-p",
      paramLabel = "P",
      description = "Draw among as few of the most probable tokens as have this probability.")
  private Optional<Double> topP = Optional.empty();

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "Of the random numbers: the same draws the same. Default: another every time.")
  private Optional<Long> seed = Optional.empty();

  GenerateCommand(PrintWriter out) {
    this.out = out;
  }

  /** Reads a part, and what is done to it. */
  private abstract static class Reader implements ITypeConverter<Edit> {
    @Override
    public Edit convert(String text) {
      try {
        return read(text);
      } catch (IllegalArgumentException e) {
        throw new TypeConversionException(e.getMessage());
      }
    }

    abstract Edit read(String text);

    static Edit read(String text, BiFunction<Edit, Double, Edit> operation) {
      int equals = text.lastIndexOf('=');
      requireArgument(equals >= 0, "\"%s\" is not PART=NUMBER", text);
      Edit part = Edit.parse(text.substring(0, equals));
      String number = text.substring(equals + 1).strip();
      try {
        return operation.apply(part, Double.parseDouble(number));
      } catch (NumberFormatException e) {
        throw new IllegalArgumentException("%s: \"%s\" is not a number".formatted(part, number), e);
      }
    }
  }

  static final class Setting extends Reader {
    @Override
    Edit read(String text) {
      return read(text, Edit::set);
    }
  }

  static final class Scaling extends Reader {
    @Override
    Edit read(String text) {
      return read(text, Edit::scale);
    }
  }

  static final class Addition extends Reader {
    @Override
    Edit read(String text) {
      return read(text, Edit::add);
    }
  }

  static final class Removal extends Reader {
    @Override
    Edit read(String text) {
      return Edit.parse(text).remove();
    }
  }

  @Override
  public Integer call() throws IOException {
    List<Edit> edits = Stream.of(set, scaled, added, removed).flatMap(List::stream).toList();
    Generate question = new Generate(options.prompt(), edits, most, draws());
    try (TerminalProgress progress = TerminalProgress.start();
        Session session = Session.open(options.choice())) {
      if (options.json()) {
        out.print(AnswerJson.of(session.ask(question, progress).answer()));
      } else {
        List<Word> prompt = session.model().words(question.prompt());
        GenerationReport report = new GenerationReport(out, progress, prompt, question);
        report.end(session.ask(question, report).answer());
      }
    }
    return ExitCode.OK;
  }

  private Optional<Draws> draws() {
    if (temperature.isEmpty() && topK.isEmpty() && topP.isEmpty() && seed.isEmpty()) {
      return Optional.empty();
    }
    return Optional.of(
        new Draws(
            temperature.orElse(1.0),
            topK.isEmpty() ? OptionalInt.empty() : OptionalInt.of(topK.get()),
            topP.orElse(1.0),
            seed.orElseGet(() -> (long) new Random().nextInt(Integer.MAX_VALUE))));
  }
}
