package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.cli.TerminalProgress.Phase;
import dev.tributary.core.DType;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Checkpoint;
import dev.tributary.transformer.file.LocalModel;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Option;

/** The options that say which model computes, and how precisely. */
public final class ModelOptions {
  private static final String TEXTBOOK = "textbook";

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
      names = "--dtype",
      paramLabel = "float|double",
      description = "Precision to compute in. Default: float.")
  private DType dtype = DType.FLOAT;

  /** Which device computes, see {@link Main}. */
  static final String DEVICE = "--device";

  @SuppressWarnings("UnusedVariable") // Main reads it of what was parsed
  @Option(
      names = DEVICE,
      paramLabel = "cpu|cuda|cuda:N",
      description =
          "What computes: the processor, an NVIDIA GPU, or the one after N others. A GPU needs CUDA"
              + " 13 and its driver. Default: cpu.")
  private Optional<String> device = Optional.empty();

  ModelOptions() {}

  /**
   * A model by its files, before it is loaded.
   *
   * @param called what it is called
   * @param checkpoint none of the shipped one
   * @param tokenizer that lies with it
   */
  public record Opened(String called, Optional<Checkpoint> checkpoint, Tokenizer tokenizer) {}

  /** Whether it is the model that comes with the program. */
  boolean isShipped() {
    return model.isEmpty();
  }

  /** {@return the precision to compute in} */
  public DType dtype() {
    return dtype;
  }

  /**
   * {@return where the model lies, unless it is the one that comes with the program}
   *
   * @throws IOException if it cannot be found
   */
  public Optional<Path> path() throws IOException {
    return found(model);
  }

  /**
   * {@return where the adapter lies, if one is named}
   *
   * @throws IOException if it cannot be found
   */
  public Optional<Path> adapter() throws IOException {
    return found(adapter);
  }

  private static Optional<Path> found(Optional<String> name) throws IOException {
    return name.isEmpty() ? Optional.empty() : Optional.of(LocalModel.find(name.get()).path());
  }

  /** Refuses what can be refused before anything is read. */
  void requireOptions() {
    requireArgument(
        adapter.isEmpty() || model.isPresent(), "--adapter needs the --model that it adapts");
  }

  /**
   * {@return the model that is named, its tokenizer read}
   *
   * @throws IOException if it cannot be found or opened
   */
  public Opened open() throws IOException {
    Optional<Checkpoint> checkpoint =
        model.isEmpty() ? Optional.empty() : Optional.of(open(model.get(), adapter));
    Tokenizer tokenizer =
        checkpoint.isEmpty() ? Tokenizers.textbook() : checkpoint.get().tokenizer();
    String called =
        (model.isEmpty() ? TEXTBOOK : name(model.get()))
            + checkpoint
                .flatMap(Checkpoint::adapter)
                .map(merged -> " with adapter " + merged.folder())
                .orElse("");
    return new Opened(called, checkpoint, tokenizer);
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

  /** Loads the model, in the innermost scope. */
  Transformer load(Opened opened, TerminalProgress progress) throws IOException {
    progress.enter(Phase.WEIGHTS);
    return opened.checkpoint.isEmpty()
        ? Models.textbook(dtype)
        : Models.load(opened.checkpoint.get(), dtype, progress);
  }
}
