package dev.tributary.attribution.cli;

import dev.tributary.attribution.dataset.ComponentCircuit;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.Importance;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Option;

/** The options that say by what edges are chosen. */
final class EdgeChoice {
  @Option(names = "--scores", paramLabel = "FILE", description = "Scores that score --out wrote.")
  private Optional<Path> scores = Optional.empty();

  @Option(
      names = "--importance",
      paramLabel = "absolute|signed",
      description =
          "An edge is important if it moves the metric, or if the metric falls without it."
              + " Default: absolute.")
  private Importance importance = Importance.ABSOLUTE;

  @Option(
      names = "--greedy",
      description =
          "Choose time after time the most important edge of those that lead to what has been"
              + " chosen, beginning at the logits, instead of the most important ones of all.")
  private boolean greedy;

  Optional<Path> scores() {
    return scores;
  }

  Importance importance() {
    return importance;
  }

  boolean isGreedy() {
    return greedy;
  }

  /** So many edges. */
  ComponentCircuit of(ComponentGraph graph, double[] known, int count) {
    return greedy ? importance.greedy(graph, known, count) : importance.top(graph, known, count);
  }
}
