package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.cli.ModelOptions.Opened;
import dev.tributary.attribution.cli.Subject.Word;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Dictionaries;
import dev.tributary.transformer.file.LocalModel;
import dev.tributary.transformer.file.Tokenizer;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The options that say what model reads what, and how the answer is printed. */
final class PromptOptions {
  private static final String PROMPT =
      "When Mary and John went to the store , John gave a drink to";
  private static final String SHIPPED = "shipped";

  @Mixin private final ModelOptions model = new ModelOptions();

  @Option(
      names = "--prompt",
      paramLabel = "TEXT",
      description =
          "What the model reads. Default: \""
              + PROMPT
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

  @Option(
      names = {"--dictionaries", "--autoencoders"},
      paramLabel = "DIR",
      description =
          "Folder with sparse dictionaries or transcoders as SAELens, dictionary_learning, sparsify,"
              + " Gemma Scope, Llama Scope and others publish them, or with dictionaries.json, which"
              + " lists them; its name in the cache of Hugging Face; or \"shipped\" for those of the"
              + " model that comes with the program.")
  private Optional<String> dictionaries = Optional.empty();

  @Option(names = "--json", description = "Print one JSON object.")
  private boolean json;

  boolean json() {
    return json;
  }

  /** Whether the prompt is that of the example. */
  boolean isExample() {
    return prompt.isEmpty();
  }

  /**
   * A prompt as a model reads it, before the model is loaded.
   *
   * @param opened the model
   * @param text of the prompt, in the chat template if that was asked for
   */
  record Prompt(Opened opened, String text, List<Integer> ids) {
    String model() {
      return opened.called();
    }

    Tokenizer tokenizer() {
      return opened.tokenizer();
    }

    /** Ids of its tokens. */
    int[] tokens() {
      return ids.stream().mapToInt(Integer::intValue).toArray();
    }

    /** A token of the model, which may have more ids than its tokenizer has words. */
    Word word(int id) {
      try {
        return new Word(id, tokenizer().text(id));
      } catch (IllegalArgumentException e) {
        return new Word(id, "<id " + id + ">");
      }
    }

    /** Its tokens. */
    List<Word> words() {
      return ids.stream().map(this::word).toList();
    }
  }

  /** Refuses what can be refused before anything is read. */
  private void requireOptions() {
    prompt.ifPresent(text -> requireArgument(!text.isBlank(), "the prompt is empty"));
    requireArgument(model.isShipped() || prompt.isPresent(), "--model needs a --prompt");
    requireArgument(!chat || !noBos, "--no-bos says what is put around a prompt, as --chat does");
    model.requireOptions();
    requireArgument(
        model.isShipped() || dictionaries.isEmpty() || !dictionaries.get().equals(SHIPPED),
        "the shipped dictionaries belong to the shipped model, not to --model");
  }

  /** The prompt in tokens of its model. */
  Prompt read() throws IOException {
    requireOptions();
    Opened opened = model.open();
    Tokenizer tokenizer = opened.tokenizer();
    String text = chat ? tokenizer.chat(prompt.orElse(PROMPT)) : prompt.orElse(PROMPT);
    int[] ids = tokenizer.encode(text, !noBos && !chat);
    return new Prompt(opened, text, Arrays.stream(ids).boxed().toList());
  }

  /** The model that a prompt was read for. */
  Transformer load(Prompt read, TerminalProgress progress) throws IOException {
    Transformer transformer = model.load(read.opened(), progress);
    if (dictionaries.isEmpty()) {
      return transformer;
    }
    String folder = dictionaries.get();
    return transformer.with(
        folder.equals(SHIPPED)
            ? Dictionaries.textbook(model.dtype())
            : Dictionaries.load(
                LocalModel.find(folder).path(), model.dtype(), transformer.config()));
  }
}
