package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.cli.DatasetOptions.Data;
import dev.tributary.attribution.cli.DatasetOptions.LeftOut;
import dev.tributary.attribution.dataset.CircuitEvaluator;
import dev.tributary.attribution.dataset.CircuitTests;
import dev.tributary.attribution.dataset.CircuitTests.Minimality;
import dev.tributary.attribution.dataset.CircuitTotals;
import dev.tributary.attribution.dataset.ComponentCircuit;
import dev.tributary.attribution.dataset.ComponentGraph;
import dev.tributary.attribution.dataset.Importance;
import dev.tributary.attribution.dataset.PairSums;
import dev.tributary.attribution.dataset.PartedSums;
import dev.tributary.attribution.explain.Phase;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** The options that say by what edges are chosen for circuits, and how these are tested. */
final class CircuitOptions {
  /** How many of resampled data sets are within an interval. */
  static final double CONFIDENCE = 0.95;

  /** Data sets that are resampled for intervals of confidence. */
  private static final int RESAMPLED = 1000;

  private static final int ALL = Integer.MAX_VALUE;

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

  @Option(
      names = "--minimality",
      paramLabel = "N|all",
      converter = CountConverter.class,
      description =
          "Also run a circuit without each of so many of its edges, drawn at random: how much less"
              + " it keeps. A run for each edge and pair.")
  private int minimality;

  /** A number, or all. */
  static final class CountConverter implements ITypeConverter<Integer> {
    @Override
    public Integer convert(String text) {
      if (text.equalsIgnoreCase("all")) {
        return ALL;
      }
      try {
        return Integer.valueOf(text);
      } catch (NumberFormatException e) {
        throw new TypeConversionException("\"" + text + "\" is neither a number nor all");
      }
    }
  }

  /**
   * Circuits that were run.
   *
   * @param chosen how many edges were chosen for each, before those went that nothing hears
   */
  record Tested(
      String called,
      String measure,
      CircuitTests tests,
      List<Integer> chosen,
      CircuitTotals totals) {
    ComponentCircuit circuit(int number) {
      return tests.circuits().get(number);
    }

    List<Minimality> minimality(int circuit) {
      return tests.minimality(totals, circuit, CONFIDENCE);
    }
  }

  void requireOptions() {
    requireArgument(minimality >= 0, "--minimality is %d, it must be 0 or more", minimality);
  }

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
  ComponentCircuit choose(ComponentGraph graph, double[] known, int count) {
    return greedy ? importance.greedy(graph, known, count) : importance.top(graph, known, count);
  }

  /** How circuits are tested, of which nothing is left that nothing hears. */
  CircuitTests tests(List<ComponentCircuit> chosen) {
    return CircuitTests.drawn(
        chosen.stream().map(ComponentCircuit::pruned).toList(), minimality, ScoringOptions.SEED);
  }

  /** All that is asked of the data, in words. */
  static List<String> question(CircuitTests tests) {
    List<String> question = new ArrayList<>(List.of("circuits, resampled " + RESAMPLED));
    for (int i = 0; i < tests.circuits().size(); i++) {
      question.add(tests.circuits().get(i).edges() + " without each of " + tests.edges().get(i));
    }
    return question;
  }

  /** Runs circuits over all pairs. */
  static CircuitTotals totals(
      Data data, PartedSums parts, CircuitTests tests, LeftOut leftOut, TerminalProgress progress)
      throws IOException {
    CircuitEvaluator evaluator =
        new CircuitEvaluator(data.graph(), data.missing(parts, progress.within(Phase.MEANS)));
    List<ComponentCircuit> runs = tests.runs();
    double[] sums =
        parts.over(
            "circuits",
            () -> PairSums.circuits(evaluator, runs, RESAMPLED),
            leftOut::add,
            progress.within(Phase.PAIRS));
    CircuitTotals totals = CircuitTotals.of(runs.size(), sums);
    leftOut.requirePairs(totals.count(), data.files().files());
    return totals;
  }
}
