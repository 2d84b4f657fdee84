package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Lowercase;
import dev.tributary.attribution.explain.ModelChoice;
import dev.tributary.transformer.AttentionConfig;
import dev.tributary.transformer.LayerConfig;
import dev.tributary.transformer.MlpConfig;
import dev.tributary.transformer.NormConfig;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.file.Adapter;
import dev.tributary.transformer.file.Checkpoint;
import dev.tributary.transformer.file.Dictionaries;
import dev.tributary.transformer.file.Gguf;
import dev.tributary.transformer.file.LocalModel;
import dev.tributary.transformer.file.TensorFile;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import dev.tributary.transformer.file.TorchFile;
import java.io.File;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** Says what is in a file or folder, without reading its numbers. */
@Command(
    name = "inspect",
    header = "Says what is in a file or folder: model, adapter, tokenizer, tensors.",
    description = {
      "",
      "Reads Hugging Face folders (Llama, Qwen, Gemma, GPT-2, ...), transformer-debugger"
          + " checkpoints, safetensors files, files that torch.save wrote (anything but tensors and"
          + " plain values in them is refused by its name, and never run), and tokenizers.",
      ""
    },
    sortOptions = false,
    sortSynopsis = false,
    footer = {"", "Example:", "  inspect gpt2-folder", "  inspect dictionaries/0.pt"})
final class InspectCommand implements Callable<Integer> {
  /** How far below a folder tensors are looked for. */
  private static final int DEPTH = 2;

  /** Longest name or value that is shown whole, characters. */
  private static final int LONGEST = 200;

  private final PrintWriter out;

  @Parameters(
      paramLabel = "PATH",
      description = "File or folder, or a name as --model of other commands takes.")
  private String name = "";

  private Path path = Path.of("");

  @Option(
      names = "--adapter",
      paramLabel = "DIR",
      description =
          "Folder with a LoRA adapter of PEFT that the model at PATH would be read with. One beside"
              + " the weights is shown without being named.")
  private Optional<String> adapter = Optional.empty();

  private final List<String> lines = new ArrayList<>();
  private Optional<IOException> problem = Optional.empty();

  /** Why there are no dictionaries in what may hold some. */
  private Optional<String> unreadable = Optional.empty();

  InspectCommand(PrintWriter out) {
    this.out = out;
  }

  /** One part of what is there. */
  @FunctionalInterface
  private interface Part {
    void describe() throws IOException;
  }

  @Override
  public Integer call() throws IOException {
    path = new File(name).exists() ? Path.of(name) : LocalModel.find(name).path();
    if (Files.isDirectory(path)) {
      folder();
    } else if (Tokenizers.isOne(path)
        || (path.toString().endsWith(".json") && !path.toString().endsWith(".index.json"))) {
      tokenizer();
    } else {
      file(TensorFile.open(path));
    }
    lines.forEach(out::println);
    if (problem.isPresent()) {
      throw problem.get();
    }
    requireArgument(
        lines.stream().noneMatch(PlatformText::isLost),
        "a name above is not that of its file: %s",
        PlatformText.LACK);
    return ExitCode.OK;
  }

  /** A GGUF file has a model and a tokenizer besides its tensors. */
  private void file(TensorFile file) throws IOException {
    if (file instanceof Gguf) {
      attempt(() -> model(new HashSet<>()));
      attempt(this::tokenizer);
    }
    if (lines.isEmpty()) {
      tensors(file);
    }
  }

  private void folder() throws IOException {
    Set<Path> described = new HashSet<>();
    Path config = path.resolve("config.json"); // of a model, or of a dictionary
    boolean model =
        !dictionaries().contains(config) && (adapter.isPresent() || Files.exists(config));
    if (model) {
      attempt(() -> model(described));
    }
    if (!model || problem.isPresent()) { // then the config may be that of a dictionary
      unreadable.ifPresent(lines::add);
    }
    if (!model && Files.exists(path.resolve("adapter_config.json"))) {
      attempt(() -> adapter(Adapter.open(path), described));
    }
    if (Tokenizers.isOne(path)) {
      attempt(this::tokenizer);
    }
    attempt(
        () -> {
          for (Path file : TensorFile.find(path, DEPTH)) {
            if (described.stream().noneMatch(file::startsWith)) {
              attempt(() -> tensors(TensorFile.open(file)));
            }
          }
        });
    requireArgument(
        !lines.isEmpty() || problem.isPresent(),
        "%s: there is no model, tokenizer or file of tensors in this folder",
        path);
  }

  /** What cannot be read does not hide the rest. */
  private void attempt(Part part) {
    try {
      part.describe();
    } catch (IOException e) {
      if (problem.isPresent()) {
        lines.add(e.getMessage());
      } else {
        problem = Optional.of(e);
      }
    }
  }

  private void model(Set<Path> described) throws IOException {
    described.add(path); // whatever is wrong with it is said once
    Checkpoint checkpoint = ModelChoice.checkpoint(path.toString(), adapter);
    described.clear();
    described.addAll(checkpoint.weights().files());
    TransformerConfig config = checkpoint.config();
    lines.add(path + ": " + checkpoint.description());
    lines.add("  " + String.join(", ", sizes(config)));
    lines.add("  " + String.join(", ", kinds(config)));
    table(checkpoint.weights());
    if (checkpoint.adapter().isPresent()) {
      adapter(checkpoint.adapter().get(), described);
    }
  }

  private static List<String> sizes(TransformerConfig config) {
    int layers = config.layers().size();
    AttentionConfig attention = config.layers().get(0).attention();
    MlpConfig mlp = config.layers().get(0).mlp();
    List<String> sizes = new ArrayList<>();
    sizes.add(Table.counted(layers, "layer"));
    sizes.add("residual stream of " + config.dModel());
    String heads = "%d heads of %d".formatted(attention.heads(), attention.dHead());
    sizes.add(
        attention.keyHeads() == attention.heads()
            ? heads
            : heads + " on %d key heads".formatted(attention.keyHeads()));
    boolean gated = mlp.kind() == MlpConfig.Kind.GATED;
    sizes.add(mlp.neurons() + (gated ? " gated neurons" : " neurons"));
    sizes.add(config.context() + " positions");
    sizes.add(config.vocabulary() + " tokens");
    return sizes;
  }

  /** What is not as in a plain decoder, if it is so in some layer. */
  private static List<String> kinds(TransformerConfig config) {
    LayerConfig first = config.layers().get(0);
    AttentionConfig attention = first.attention();
    List<String> kinds = new ArrayList<>();
    kinds.add(Lowercase.of(first.mlp().activation()).replace('_', ' '));
    kinds.add(
        config
            .finalNorm()
            .map(
                norm ->
                    (norm.kind() == NormConfig.Kind.RMS ? "RMS norm" : "layer norm")
                        + " epsilon "
                        + norm.epsilon())
            .orElse("no last norm"));
    if (!config.causal()) {
      kinds.add("attention to later tokens");
    }
    if (first.order() == LayerConfig.Order.PARALLEL) {
      kinds.add("parallel parts");
    }
    if (attention.outlet().norm().isPresent()) {
      kinds.add(
          attention.entry().isPresent() ? "norms also after the parts" : "norms after the parts");
    }
    attention.headNorm().ifPresent(norm -> kinds.add("norms of queries and keys"));
    count(config, "rotary positions", layer -> layer.attention().positions().turning() > 0)
        .ifPresent(kinds::add);
    config.layers().stream()
        .flatMapToInt(layer -> layer.attention().window().stream())
        .findFirst()
        .ifPresent(
            window ->
                count(
                        config,
                        "a window of " + window,
                        layer -> layer.attention().window().isPresent())
                    .ifPresent(kinds::add));
    attention.cap().ifPresent(cap -> kinds.add("scores capped at " + cap));
    config.unembedding().cap().ifPresent(cap -> kinds.add("logits capped at " + cap));
    boolean tied = config.unembedding().tied();
    kinds.add("unembedding " + (tied ? "tied to the token embedding" : "of its own"));
    return kinds;
  }

  private static Optional<String> count(
      TransformerConfig config, String what, Predicate<LayerConfig> has) {
    int layers = config.layers().size();
    int those = (int) config.layers().stream().filter(has).count();
    return those == 0
        ? Optional.empty()
        : Optional.of(
            those == layers ? what : "%s in %d of %d layers".formatted(what, those, layers));
  }

  /** What they cannot be read without does not hide the rest; the files that say what they are. */
  private Set<Path> dictionaries() throws IOException {
    Set<Path> files = new HashSet<>();
    if (!Dictionaries.areIn(path)) {
      return files;
    }
    try {
      for (Dictionaries.Found one : Dictionaries.find(path)) {
        boolean same = one.writes().equals(List.of(one.reads()));
        lines.add(one.file() + ": " + shown(one.description()));
        lines.add(
            shown(
                "  reads %s, writes %s"
                    .formatted(
                        one.reads(), same ? "what it reads" : String.join(", ", one.writes()))));
        files.add(one.file());
      }
    } catch (IOException e) {
      unreadable =
          Optional.of(
              "no dictionaries can be read here: " + printable(String.valueOf(e.getMessage())));
    }
    return files;
  }

  private void adapter(Adapter found, Set<Path> described) throws IOException {
    described.addAll(found.weights().files());
    lines.add(found.folder() + ": " + found.description());
    table(found.weights());
  }

  private void tokenizer() throws IOException {
    Tokenizer tokenizer = Tokenizers.load(path);
    lines.add(path + ": tokenizer of " + tokenizer.vocabulary() + " tokens");
    lines.add(
        tokenizer.files().stream()
            .map(file -> String.valueOf(file.getFileName()))
            .collect(Collectors.joining(", ", "  read from ", "")));
  }

  private void tensors(TensorFile file) throws IOException {
    lines.add(file.path() + ": " + file.description());
    table(file);
    if (file instanceof TorchFile torch) {
      torch
          .values()
          .forEach(
              (name, value) -> lines.add("  " + shown(name) + " = " + shown(value.toString())));
    }
  }

  private void table(TensorFile file) throws IOException {
    int width = file.names().stream().mapToInt(name -> shown(name).length()).max().orElse(0);
    for (String name : file.names()) {
      String left = String.format(Locale.ROOT, "  %-" + Math.max(1, width) + "s", shown(name));
      lines.add(
          String.format(
              Locale.ROOT, "%s  %-4s  %s", left, file.elementType(name), file.shape(name)));
    }
  }

  /** Out of a file that may be anybody's: nothing in it moves the cursor or fills the screen. */
  private static String shown(String text) {
    String start = text.length() > LONGEST ? text.substring(0, LONGEST) + "..." : text;
    return start.isEmpty() ? "(nothing)" : printable(start);
  }

  private static String printable(String text) {
    return text.replaceAll("\\p{Cntrl}", "?");
  }
}
