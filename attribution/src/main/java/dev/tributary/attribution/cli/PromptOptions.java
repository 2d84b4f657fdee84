package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.cli.Subject.Word;
import dev.tributary.attribution.cli.TerminalProgress.Phase;
import dev.tributary.core.DType;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Checkpoint;
import dev.tributary.transformer.file.Dictionaries;
import dev.tributary.transformer.file.LocalModel;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Option;

/** The options that say what model reads what, and how the answer is printed. */
final class PromptOptions {
  private static final String PROMPT =
      "When Mary and John went to the store , John gave a drink to";
  private static final String TEXTBOOK = "textbook";
  private static final String SHIPPED = "shipped";

  @Option(
      names = "--model",
      paramLabel = "MODEL",
      description =
          "Hugging Face folder (Llama, Qwen, Gemma, GPT-2, ...) or transformer-debugger checkpoint,"
              + " and in it tokenizer.json (or vocab.json and merges.txt, or tokenizer.model), or a"
              + " GGUF file. Or the name of one that is on this machine: ORG/NAME[@REVISION][/FILE]"
              + " in the cache of Hugging Face, ollama:NAME[:TAG] in the store of Ollama. Default:"
              + " the small model that comes with the program.")
  private Optional<String> model = Optional.empty();

  @Option(
      names = "--adapter",
      paramLabel = "DIR",
      description =
          "Folder with a LoRA adapter of PEFT (adapter_config.json, adapter_model.safetensors) to"
              + " merge into the model, or its name in the cache of Hugging Face. One in the model's"
              + " own folder is merged without being named.")
  private Optional<String> adapter = Optional.empty();

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
      names = "--dtype",
      paramLabel = "float|double",
      description = "Precision to compute in. Default: float.")
  private DType dtype = DType.FLOAT;

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
   * @param model what it is called
   * @param text of the prompt, in the chat template if that was asked for
   */
  record Prompt(
      String model,
      Optional<Checkpoint> checkpoint,
      Tokenizer tokenizer,
      String text,
      List<Integer> ids) {
    /** Ids of its tokens. */
    int[] tokens() {
      return ids.stream().mapToInt(Integer::intValue).toArray();
    }

    /** A token of the model, which may have more ids than its tokenizer has words. */
    Word word(int id) {
      try {
        return new Word(id, tokenizer.text(id));
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
    requireArgument(model.isEmpty() || prompt.isPresent(), "--model needs a --prompt");
    requireArgument(!chat || !noBos, "--no-bos says what is put around a prompt, as --chat does");
    requireArgument(
        adapter.isEmpty() || model.isPresent(), "--adapter needs the --model that it adapts");
    requireArgument(
        model.isEmpty() || dictionaries.isEmpty() || !dictionaries.get().equals(SHIPPED),
        "the shipped dictionaries belong to the shipped model, not to --model");
  }

  /** The prompt in tokens of its model. */
  Prompt read() throws IOException {
    requireOptions();
    Optional<Checkpoint> checkpoint =
        model.isEmpty() ? Optional.empty() : Optional.of(open(model.get(), adapter));
    Tokenizer tokenizer =
        checkpoint.isEmpty() ? Tokenizers.textbook() : checkpoint.get().tokenizer();
    String text = chat ? tokenizer.chat(prompt.orElse(PROMPT)) : prompt.orElse(PROMPT);
    String called =
        (model.isEmpty() ? TEXTBOOK : name(model.get()))
            + checkpoint
                .flatMap(Checkpoint::adapter)
                .map(merged -> " with adapter " + merged.folder())
                .orElse("");
    int[] ids = tokenizer.encode(text, !noBos && !chat);
    return new Prompt(called, checkpoint, tokenizer, text, Arrays.stream(ids).boxed().toList());
  }

  /** What a model is called: as it was named, unless that is no name. */
  private static String name(String model) throws IOException {
    Path last = Path.of(model).getFileName();
    return last == null || last.toString().matches("\\.{0,2}")
        ? Path.of(model).toRealPath().toString()
        : model;
  }

  /** A model by its name, with the adapter that {@code --adapter} names if it names one. */
  static Checkpoint open(String model, Optional<String> adapter) throws IOException {
    Path found = LocalModel.find(model).path();
    return adapter.isEmpty()
        ? Checkpoint.open(found)
        : Checkpoint.open(found, LocalModel.find(adapter.get()).path());
  }

  /** The model that a prompt was read for. */
  Transformer load(Prompt read, TerminalProgress progress) throws IOException {
    progress.enter(Phase.WEIGHTS);
    Transformer transformer =
        read.checkpoint.isEmpty()
            ? Models.textbook(dtype)
            : Models.load(read.checkpoint.get(), dtype, progress);
    if (dictionaries.isEmpty()) {
      return transformer;
    }
    String folder = dictionaries.get();
    return transformer.with(
        folder.equals(SHIPPED)
            ? Dictionaries.textbook(dtype)
            : Dictionaries.load(LocalModel.find(folder).path(), dtype, transformer.config()));
  }
}
