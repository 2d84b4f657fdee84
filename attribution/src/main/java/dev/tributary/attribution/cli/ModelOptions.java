package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.explain.ModelChoice;
import dev.tributary.core.DType;
import dev.tributary.transformer.file.LocalModel;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Option;

/** The options that say which model computes, and how precisely. */
public final class ModelOptions {
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

  /**
   * {@return the model that is named}
   *
   * @throws IllegalArgumentException if the options contradict each other
   */
  public ModelChoice choice() {
    requireArgument(
        adapter.isEmpty() || model.isPresent(), "--adapter needs the --model that it adapts");
    ModelChoice choice = model.map(ModelChoice::named).orElseGet(ModelChoice::shipped).in(dtype);
    return adapter.map(choice::withAdapter).orElse(choice);
  }
}
