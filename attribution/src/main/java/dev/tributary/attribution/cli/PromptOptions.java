package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.explain.ModelChoice;
import dev.tributary.attribution.explain.Prompt;
import dev.tributary.attribution.explain.Prompt.Wrapping;
import dev.tributary.attribution.explain.Subject;
import java.util.Optional;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The options that say what model reads what, and how the answer is printed. */
final class PromptOptions {
  @Mixin private final ModelOptions model = new ModelOptions();

  @Option(
      names = "--prompt",
      paramLabel = "TEXT",
      description =
          "What the model reads. Default: \""
              + Subject.EXAMPLE
              + "\". A text that begins with a hyphen needs =, here and below: --prompt=-x.")
  private Optional<String> prompt = Optional.empty();

  @Option(
      names = "--no-bos",
      description =
          "Leave out what the model's tokenizer puts around a prompt, such as a token that begins a"
              + " text.")
  private boolean noBos;

  @Option(
      names = "--chat",
      description =
          "Put the prompt into the model's chat template, as what a user says first: the model"
              + " answers it. Without it the prompt is read as it is, and may have the special"
              + " tokens of a chat in its own text.")
  private boolean chat;

  @Mixin private final ExplainedDictionaries dictionaries = new ExplainedDictionaries();

  @Option(names = "--json", description = "Print one JSON object.")
  private boolean json;

  boolean json() {
    return json;
  }

  /** Whether the prompt is that of the example. */
  boolean isExample() {
    return prompt.isEmpty();
  }

  /** What the model reads. */
  Prompt prompt() {
    prompt.ifPresent(text -> requireArgument(!text.isBlank(), "the prompt is empty"));
    requireArgument(!chat || !noBos, "--no-bos says what is put around a prompt, as --chat does");
    return new Prompt(
        prompt.orElse(Subject.EXAMPLE),
        chat ? Wrapping.CHAT : noBos ? Wrapping.NOTHING : Wrapping.TOKENIZER);
  }

  /** The model that reads it. */
  ModelChoice choice() {
    ModelChoice choice = model.choice();
    requireArgument(choice.name().isEmpty() || prompt.isPresent(), "--model needs a --prompt");
    return dictionaries.of(choice);
  }
}
