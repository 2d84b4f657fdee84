package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Edit;
import dev.tributary.attribution.cli.GenerationReport.Continued;
import dev.tributary.attribution.cli.GenerationReport.Ending;
import dev.tributary.attribution.cli.PromptOptions.Prompt;
import dev.tributary.attribution.cli.Subject.Word;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Continuation;
import dev.tributary.transformer.Sampling;
import dev.tributary.transformer.Transformer;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Arrays;
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

  /**
   * How tokens are drawn.
   *
   * @param topK none if all tokens may be drawn
   */
  record Draws(double temperature, OptionalInt topK, double topP, long seed) {
    Sampling begin() {
      return Sampling.of(temperature, topK.orElse(Integer.MAX_VALUE), topP, seed);
    }
  }

  @Override
  public Integer call() throws IOException {
    List<Edit> edits = Stream.of(set, scaled, added, removed).flatMap(List::stream).toList();
    Optional<Draws> draws = draws();
    draws.ifPresent(Draws::begin);
    requireArgument(most > 0, "--max-tokens is %d, it must be 1 or more", most);
    requireApart(edits);
    try (Scope scope = Scope.open()) {
      Prompt prompt;
      Transformer model;
      try (TerminalProgress progress = TerminalProgress.start()) {
        prompt = options.read();
        model = options.load(prompt, progress);
      }
      Change[] changes = Edit.changes(model, edits);
      int end = Math.min(model.config().context(), prompt.tokens().length + most);
      for (Edit edit : edits) {
        requireArgument(
            edit.tokens().first() < end && (edit.tokens().isOpen() || edit.tokens().end() <= end),
            "%s: with those that follow the prompt there are %d tokens, counted from 0",
            edit,
            end);
      }
      GenerationReport report =
          new GenerationReport(out, options.json(), prompt, model.dtype(), edits, draws);
      report.begin();
      report.add(continued(model, prompt, draws, report));
      if (!edits.isEmpty()) {
        report.add(continued(model, prompt, draws, report, changes));
      }
      report.end();
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

  /** Two edits of a part at one token would have an order, which options do not have. */
  private static void requireApart(List<Edit> edits) {
    for (int i = 0; i < edits.size(); i++) {
      for (Edit other : edits.subList(0, i)) {
        Edit edit = edits.get(i);
        requireArgument(
            !edit.part().equals(other.part())
                || edit.tokens().first() >= other.tokens().end()
                || other.tokens().first() >= edit.tokens().end(),
            "%s and %s say two things about the same activation",
            other,
            edit);
      }
    }
  }

  private Continued continued(
      Transformer model,
      Prompt prompt,
      Optional<Draws> draws,
      GenerationReport report,
      Change... changes) {
    try (Scope scope = Scope.open()) {
      Continuation text = Continuation.of(model, prompt.tokens(), changes);
      report.beginText(SubjectOptions.probabilities(text.nextLogits()));
      List<Integer> said = new ArrayList<>();
      int[] tokens =
          text.generate(
              draws.map(Draws::begin).orElseGet(Sampling::greedy),
              most,
              prompt.tokenizer().ends(),
              token -> {
                said.add(token);
                report.text(said);
                return true;
              });
      int last = tokens.length - 1;
      Ending ending =
          last >= 0 && prompt.tokenizer().ends().contains(tokens[last])
              ? Ending.TOKEN
              : tokens.length == most ? Ending.LENGTH : Ending.CONTEXT;
      List<Word> words = Arrays.stream(tokens).mapToObj(prompt::word).toList();
      return new Continued(prompt.tokenizer().continuation(prompt.tokens(), tokens), words, ending);
    }
  }
}
