package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Circuit;
import dev.tributary.attribution.Circuit.Labels;
import dev.tributary.attribution.Logit;
import dev.tributary.attribution.ReplacementGraph;
import dev.tributary.attribution.ReplacementGraph.Settings;
import dev.tributary.attribution.ReplacementOutput;
import dev.tributary.attribution.cli.Subject.MetricReading;
import dev.tributary.attribution.cli.Subject.Word;
import dev.tributary.transformer.Progress;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.file.Dictionaries;
import dev.tributary.transformer.file.LocalModel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Option;

/** The options that make the circuit that of a replacement model. */
final class ReplacementOptions {
  private static final int LOGITS = 10;
  private static final double PROBABILITY = 0.95;

  @Option(
      names = "--transcoders",
      paramLabel = "DIR",
      description =
          "Put the outputs of MLPs together from the latents of these transcoders, one for each layer"
              + " or cross-layer ones, and find the circuit among latents, errors, embeddings and"
              + " logits, attention patterns and scales of norms held: a folder as circuit-tracer"
              + " reads it (config.yaml), or as SAELens saves them, or its name in the cache of"
              + " Hugging Face. --nodes is then how many latents there are at most.")
  private Optional<String> transcoders = Optional.empty();

  @Option(
      names = "--logits",
      paramLabel = "N",
      description =
          "With --transcoders and no --target: explain the most probable words, up to "
              + PROBABILITY
              + " of all probability, at most so many. Default: "
              + LOGITS
              + ".")
  private Optional<Integer> logits = Optional.empty();

  @Option(
      names = "--as-circuit-tracer",
      description =
          "With --transcoders: no latents and errors at the first token, and of latents that are left"
              + " out the writes go nowhere, instead of being a part of errors.")
  private boolean asCircuitTracer;

  /** Whether there are transcoders. */
  boolean isReplaced() {
    return transcoders.isPresent();
  }

  /** Refuses what can be refused before anything is read. */
  void requireOptions() {
    requireArgument(
        isReplaced() || (logits.isEmpty() && !asCircuitTracer),
        "--logits and --as-circuit-tracer say how a model is replaced by --transcoders: name some");
    logits.ifPresent(
        count -> requireArgument(count >= 1, "--logits is %d, it must be 1 or more", count));
  }

  /** How many latents there are at most. */
  int mostLatents(Optional<Integer> nodes) {
    return nodes.orElse(settings().mostLatents());
  }

  private Settings settings() {
    return asCircuitTracer ? Settings.ofCircuitTracer() : Settings.standard();
  }

  /**
   * The replacement graph of what is explained, in the innermost scope.
   *
   * @param run of the model with its transcoders
   * @param texts of the outputs
   */
  record Replaced(Run run, ReplacementGraph graph, Labels labels, List<String> texts) {
    Circuit circuit(double nodeShare, double edgeShare) {
      return graph.circuit(run, labels, texts, nodeShare, edgeShare);
    }
  }

  /**
   * The graph behind what is explained, in the innermost scope.
   *
   * @param wholly whether all that the model computes is recorded, as scores of heads need it
   */
  Replaced replaced(Subject subject, Optional<Integer> nodes, boolean wholly, Progress progress)
      throws IOException {
    Run base = subject.nodes().run();
    MetricReading metric = subject.metric();
    int end = metric.ofLogits().position() + 1;
    String folder = transcoders.orElseThrow();
    Transformer model = replaced(base.model(), folder);
    int[] tokens = Arrays.copyOf(base.tokens(), end);
    Run run =
        wholly
            ? model.values(EnumSet.allOf(Site.class), tokens)
            : ReplacementGraph.record(model, tokens);
    List<ReplacementOutput> outputs = outputs(run, metric);
    ReplacementGraph graph =
        ReplacementGraph.of(run, outputs, settings().withMostLatents(mostLatents(nodes)), progress);
    Labels labels =
        new Labels(
            subject.model(),
            called(folder),
            subject.prompt(),
            subject.tokens().subList(0, end).stream().map(Word::text).toList());
    List<String> texts =
        outputs.stream()
            .map(
                output ->
                    output.node() instanceof Logit logit
                        ? subject.word().apply(logit.word()).text()
                        : TextReport.explained(subject))
            .toList();
    return new Replaced(run, graph, labels, texts);
  }

  /** A model with the transcoders of a folder, and no other dictionaries. */
  static Transformer replaced(Transformer model, String folder) throws IOException {
    return model.with(
        Dictionaries.load(LocalModel.find(folder).path(), model.dtype(), model.config()));
  }

  /** What transcoders are called: as feature pages know them, else as their folder. */
  private static List<String> called(String folder) throws IOException {
    Path path = LocalModel.find(folder).path();
    List<String> scan = Dictionaries.scan(path);
    Path last = path.toRealPath().getFileName();
    return !scan.isEmpty()
        ? scan
        : List.of(Files.exists(Path.of(folder)) && last != null ? last.toString() : folder);
  }

  private List<ReplacementOutput> outputs(Run run, MetricReading metric) {
    requireArgument(
        metric.trace().isEmpty(), "--transcoders explain logits, and no node: leave out --trace");
    List<Word> unwanted = metric.distractors();
    if (!unwanted.isEmpty()) {
      requireArgument(
          metric.targets().size() == 1 && unwanted.size() == 1,
          "--transcoders explain the difference of one --target and one --distractor");
      return List.of(
          ReplacementOutput.difference(run, metric.targets().get(0).id(), unwanted.get(0).id()));
    }
    return metric.chosen()
        ? ReplacementOutput.mostProbable(run, logits.orElse(LOGITS), PROBABILITY)
        : ReplacementOutput.words(run, metric.targets().stream().mapToInt(Word::id).toArray());
  }
}
