package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.AttentionSink;
import dev.tributary.attribution.Metric;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.attribution.Stage;
import dev.tributary.attribution.Trace;
import dev.tributary.attribution.cli.Subject.MetricReading;
import dev.tributary.attribution.cli.Subject.Prediction;
import dev.tributary.attribution.cli.Subject.Word;
import dev.tributary.attribution.cli.TerminalProgress.Phase;
import dev.tributary.core.DType;
import dev.tributary.core.Tensor;
import dev.tributary.core.TopK;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Checkpoint;
import dev.tributary.transformer.file.Dictionaries;
import dev.tributary.transformer.file.LocalModel;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Tokenizer;
import dev.tributary.transformer.file.Tokenizers;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** The options that say what is explained, the same for every command. */
final class SubjectOptions {
  private static final String PROMPT =
      "When Mary and John went to the store , John gave a drink to";
  private static final String TARGET = "Mary";
  private static final String DISTRACTOR = "John";
  private static final String TEXTBOOK = "textbook";
  private static final String SHIPPED = "shipped";
  private static final int PREDICTIONS = 5;

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
      names = "--target",
      arity = "1..*",
      paramLabel = "WORD",
      description =
          "Next word to explain; of several, the mean. Default: \""
              + TARGET
              + "\" against \""
              + DISTRACTOR
              + "\" for the default prompt, the most probable word for another.")
  private List<String> targets = List.of();

  @Option(
      names = "--distractor",
      arity = "1..*",
      paramLabel = "WORD",
      description =
          "Word that the target is compared with by its logit. Without any, the log-probability of"
              + " the target is explained.")
  private List<String> distractors = List.of();

  @Option(
      names = "--position",
      paramLabel = "N",
      description =
          "Token after which the word is predicted; -1 is the last, -2 the one before."
              + " Default: ${DEFAULT-VALUE}.")
  private int position = -1;

  @Option(
      names = "--detach",
      description = "Hold the scales of the norms that an edge passes fixed.")
  private boolean detach;

  @Option(
      names = "--dtype",
      paramLabel = "float|double",
      description = "Precision to compute in. Default: float.")
  private DType dtype = DType.FLOAT;

  @Option(names = "--json", description = "Print one JSON object.")
  private boolean json;

  @Option(
      names = "--autoencoders",
      paramLabel = "DIR",
      description =
          "Folder with autoencoders.json (beside autoencoders.safetensors, or with a list of torch"
              + " files), or with what SAELens saves (cfg.json and sae_weights.safetensors, or"
              + " folders of these), its name in the cache of Hugging Face, or \"shipped\" for those of the model that comes with the"
              + " program.")
  private Optional<String> autoencoders = Optional.empty();

  @Option(
      names = "--trace",
      paramLabel = "NODE",
      converter = NodeConverter.class,
      description =
          "Explain what this neuron, latent or head computes instead of a word. A head is followed"
              + " through its query and key, an input of a node through itself; a value to the"
              + " target.")
  private Optional<Node> trace = Optional.empty();

  @Option(
      names = "--stage",
      paramLabel = "pre|post",
      description = "Explain a traced node before or after its nonlinearity. Default: post.")
  private Side side = Side.POST;

  /** Sides of a nonlinearity, as the user calls them. */
  enum Side {
    PRE(Stage.PRE_ACTIVATION),
    POST(Stage.ACTIVATION);

    private final Stage stage;

    Side(Stage stage) {
      this.stage = stage;
    }
  }

  /** Names of nodes. */
  static final class NodeConverter implements ITypeConverter<Node> {
    @Override
    public Node convert(String name) {
      try {
        return Node.parse(name);
      } catch (IllegalArgumentException e) {
        throw new TypeConversionException(e.getMessage());
      }
    }
  }

  boolean json() {
    return json;
  }

  ScaleGradient scaleGradient() {
    return detach ? ScaleGradient.DETACHED : ScaleGradient.LIVE;
  }

  /** Refuses what can be refused before anything is read. */
  private void requireOptions() {
    prompt.ifPresent(text -> requireArgument(!text.isBlank(), "the prompt is empty"));
    requireArgument(model.isEmpty() || prompt.isPresent(), "--model needs a --prompt");
    requireArgument(!chat || !noBos, "--no-bos says what is put around a prompt, as --chat does");
    requireArgument(
        adapter.isEmpty() || model.isPresent(), "--adapter needs the --model that it adapts");
    requireArgument(
        model.isEmpty() || autoencoders.isEmpty() || !autoencoders.get().equals(SHIPPED),
        "the shipped autoencoders belong to the shipped model, not to --model");
    requireArgument(
        trace.isPresent() || side == Side.POST, "--stage says how to --trace a node: name one");
  }

  /** Runs the model and takes the gradient of what is explained, in the innermost scope. */
  Subject open(TerminalProgress progress) throws IOException {
    requireOptions();
    Optional<Checkpoint> checkpoint =
        model.isEmpty() ? Optional.empty() : Optional.of(open(model.get(), adapter));
    Tokenizer tokenizer =
        checkpoint.isEmpty() ? Tokenizers.textbook() : checkpoint.get().tokenizer();
    String read = chat ? tokenizer.chat(prompt.orElse(PROMPT)) : prompt.orElse(PROMPT);
    int[] tokens = tokenizer.encode(read, !noBos && !chat);
    boolean example = prompt.isEmpty() && targets.isEmpty() && distractors.isEmpty();
    Map<Integer, String> named = new HashMap<>();
    List<Word> wanted = words(tokenizer, example ? List.of(TARGET) : targets, named);
    List<Word> unwanted = words(tokenizer, example ? List.of(DISTRACTOR) : distractors, named);
    int at = position(tokens.length);

    progress.enter(Phase.WEIGHTS);
    Transformer transformer = load(checkpoint, progress);
    progress.enter(Phase.RUN);
    Run run = transformer.run(NodeAttribution.sites(), tokens);
    List<Prediction> predictions = predictions(tokenizer, run, at);
    boolean chosen = wanted.isEmpty();
    List<Word> explained = chosen ? List.of(predictions.get(0).word()) : wanted;
    requireArgument(
        !chosen || !unwanted.containsAll(explained),
        "the most probable word is a --distractor, so a --target is needed");
    Metric.OfLogits ofLogits =
        unwanted.isEmpty()
            ? new Metric.LogProbability(at, ids(explained))
            : new Metric.LogitDifference(at, ids(explained), ids(unwanted));
    trace.ifPresent(node -> node.requireIn(run));
    Metric metric =
        trace.isEmpty()
            ? ofLogits
            : trace.get().traced(new Trace.Side(side.stage, scaleGradient()), ofLogits);

    progress.enter(Phase.GRADIENTS);
    NodeAttribution nodes = NodeAttribution.of(run, metric);
    return new Subject(
        (model.isEmpty() ? TEXTBOOK : name(model.get()))
            + checkpoint
                .flatMap(Checkpoint::adapter)
                .map(merged -> " with adapter " + merged.folder())
                .orElse(""),
        read,
        nodes,
        scaleGradient(),
        Arrays.stream(tokens).mapToObj(id -> word(tokenizer, id)).toList(),
        AttentionSink.of(run),
        predictions,
        new MetricReading(ofLogits, trace, side.stage, explained, unwanted, chosen, nodes.value()),
        id -> word(tokenizer, id),
        changed -> predictions(tokenizer, changed, at));
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

  private Transformer load(Optional<Checkpoint> checkpoint, TerminalProgress progress)
      throws IOException {
    Transformer transformer =
        checkpoint.isEmpty()
            ? Models.textbook(dtype)
            : Models.load(checkpoint.get(), dtype, progress);
    if (autoencoders.isEmpty()) {
      return transformer;
    }
    String folder = autoencoders.get();
    return transformer.with(
        folder.equals(SHIPPED)
            ? Dictionaries.textbook(dtype)
            : Dictionaries.load(LocalModel.find(folder).path(), dtype, transformer.config()));
  }

  private int position(int length) {
    requireArgument(
        position >= -length && position < length,
        "--position is %d, and the prompt has %d tokens: 0 to %d, or -1 to -%d from the end",
        position,
        length,
        length - 1,
        length);
    return position < 0 ? length + position : position;
  }

  private static List<Prediction> predictions(Tokenizer tokenizer, Run run, int position) {
    Tensor logits = run.logits(position);
    requireArgument(
        logits.isFinite(), "the logits of this model are not finite numbers in %s", logits.dtype());
    double[] probabilities = logits.softmax().toDoubles();
    return Arrays.stream(TopK.indices(probabilities, PREDICTIONS))
        .mapToObj(id -> new Prediction(word(tokenizer, id), probabilities[id]))
        .toList();
  }

  /**
   * The tokens that some texts are.
   *
   * @param named what each token was called that has been named; these are added
   */
  private static List<Word> words(
      Tokenizer tokenizer, List<String> texts, Map<Integer, String> named) {
    List<Word> words = new ArrayList<>();
    for (String text : texts) {
      int id = tokenizer.token(text);
      String other = named.putIfAbsent(id, text);
      requireArgument(
          other == null,
          "\"%s\" is named twice by --target and --distractor%s",
          text,
          text.equals(other) ? "" : ": \"" + other + "\" is the same token");
      words.add(word(tokenizer, id));
    }
    return words;
  }

  private static List<Integer> ids(List<Word> words) {
    return words.stream().map(Word::id).toList();
  }

  /** A model may have more ids than its tokenizer has words. */
  private static Word word(Tokenizer tokenizer, int id) {
    try {
      return new Word(id, tokenizer.text(id));
    } catch (IllegalArgumentException e) {
      return new Word(id, "<id " + id + ">");
    }
  }
}
