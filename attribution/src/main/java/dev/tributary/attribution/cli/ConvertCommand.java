package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.explain.ModelChoice;
import dev.tributary.attribution.explain.Phase;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.AtomicFile;
import dev.tributary.transformer.file.Checkpoint;
import dev.tributary.transformer.file.ElementType;
import dev.tributary.transformer.file.Gguf;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.TensorFile;
import dev.tributary.transformer.file.Tokenizers;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Writes a model as a Hugging Face folder. */
@Command(
    name = "convert",
    header = "Writes a model that can be read as a Hugging Face folder with model.safetensors.",
    sortOptions = false,
    sortSynopsis = false,
    footer = {"", "Example:", "  convert transformer-debugger-checkpoint gpt2-folder --dtype F16"})
final class ConvertCommand implements Callable<Integer> {
  private static final List<String> WRITTEN = List.of("config.json", "model.safetensors");

  private static final Set<ElementType> TYPES =
      EnumSet.of(ElementType.F64, ElementType.F32, ElementType.F16, ElementType.BF16);

  private final PrintWriter out;

  @Parameters(
      paramLabel = "FROM",
      description =
          "Hugging Face folder (Llama, Qwen, Gemma, GPT-2, ...), transformer-debugger checkpoint,"
              + " a file of weights beside its config.json, a GGUF file, or a name as --model of"
              + " other commands takes.")
  private String from = "";

  @Parameters(paramLabel = "TO", description = "Folder to write; made if it is not there.")
  private Path to = Path.of("");

  @Option(
      names = "--adapter",
      paramLabel = "DIR",
      description =
          "Folder with a LoRA adapter of PEFT to merge into what is written. One beside the weights"
              + " is merged without being named.")
  private Optional<String> adapter = Optional.empty();

  @Option(
      names = "--dtype",
      paramLabel = "F64|F32|F16|BF16",
      description = "How to store the weights. Default: as they are.")
  private Optional<ElementType> type = Optional.empty();

  @Option(names = "--force", description = "Replace what is there.")
  private boolean force;

  ConvertCommand(PrintWriter out) {
    this.out = out;
  }

  @Override
  public Integer call() throws IOException {
    requireArgument(
        type.isEmpty() || TYPES.contains(type.get()),
        "--dtype is %s, expected F64, F32, F16 or BF16",
        type.map(Enum::name).orElse(""));
    String found;
    List<Path> copied = new ArrayList<>();
    List<Path> written = new ArrayList<>();
    try (TerminalProgress progress = TerminalProgress.start();
        Scope scope = Scope.open()) {
      progress.enter(Phase.WEIGHTS);
      Checkpoint checkpoint = ModelChoice.checkpoint(from, adapter);
      for (String name : Tokenizers.FILE_NAMES) {
        if (Files.exists(checkpoint.folder().resolve(name))) {
          copied.add(checkpoint.folder().resolve(name));
        }
      }
      boolean tokens = checkpoint.weights() instanceof Gguf;
      requireFree(tokens ? Tokenizers.SAVED_NAMES.stream().map(Path::of).toList() : copied);
      boolean wide = holdsDoubles(checkpoint.weights());
      Transformer model = Models.load(checkpoint, wide ? DType.DOUBLE : DType.FLOAT, progress);
      progress.enter(Phase.SAVE);
      Models.save(model, to, checkpoint, type);
      if (tokens) {
        written.addAll(Tokenizers.save(checkpoint.folder(), to));
      }
      for (Path file : copied) {
        Path copy = to.resolve(String.valueOf(file.getFileName()));
        if (!(Files.exists(copy) && Files.isSameFile(file, copy))) {
          AtomicFile.copy(file, copy);
        }
        written.add(copy);
      }
      found = model.description();
    }
    out.println(from + ": " + found);
    out.println(to + ": " + Checkpoint.open(to).description());
    written.forEach(out::println);
    return ExitCode.OK;
  }

  private void requireFree(List<Path> copied) {
    List<String> names = new ArrayList<>(WRITTEN);
    copied.forEach(file -> names.add(String.valueOf(file.getFileName())));
    for (String name : names) {
      requireArgument(
          force || Files.notExists(to.resolve(name)),
          "%s is there already: choose another folder, or replace it with --force",
          to.resolve(name));
    }
  }

  private static boolean holdsDoubles(TensorFile weights) throws IOException {
    for (String name : weights.names()) {
      if (weights.elementType(name) == ElementType.F64) {
        return true;
      }
    }
    return false;
  }
}
