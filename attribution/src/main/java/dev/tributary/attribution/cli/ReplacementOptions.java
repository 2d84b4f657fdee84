package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.ReplacementGraph.Settings;
import dev.tributary.attribution.explain.Graph.Replaced;
import dev.tributary.attribution.explain.ModelChoice;
import java.util.Optional;
import picocli.CommandLine.Option;

/** The options that make the circuit that of a replacement model. */
final class ReplacementOptions {
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
              + Replaced.PROBABILITY
              + " of all probability, at most so many. Default: "
              + Replaced.LOGITS
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

  /** A model with these transcoders. */
  ModelChoice of(ModelChoice choice) {
    return transcoders.map(choice::withTranscoders).orElse(choice);
  }

  /** Refuses what says how a model is replaced that is not. */
  void requireOptions() {
    requireArgument(
        isReplaced() || (logits.isEmpty() && !asCircuitTracer),
        "--logits and --as-circuit-tracer say how a model is replaced by --transcoders: name some");
  }

  /**
   * The graph of a replacement model.
   *
   * @param nodes how many latents there are at most
   */
  Replaced replaced(Optional<Integer> nodes) {
    Settings settings = asCircuitTracer ? Settings.ofCircuitTracer() : Settings.standard();
    return new Replaced(
        nodes.map(settings::withMostLatents).orElse(settings), logits.orElse(Replaced.LOGITS));
  }
}
