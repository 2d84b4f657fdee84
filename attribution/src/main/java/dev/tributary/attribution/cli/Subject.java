package dev.tributary.attribution.cli;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.AttentionSink;
import dev.tributary.attribution.Basis;
import dev.tributary.attribution.EdgeAttribution;
import dev.tributary.attribution.Explained;
import dev.tributary.attribution.Metric;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.attribution.Stage;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.IntFunction;

/**
 * What a command explains: a prompt, what a model makes of it, and one number of that.
 *
 * @param model its folder, or what it is called
 * @param prompt its text
 * @param tokens of the prompt
 * @param sinks those at which the model keeps long residual streams
 * @param predictions most probable first
 * @param word what a token of the vocabulary is called
 * @param predictor what another run of the same prompt predicts
 * @param basis of whose nodes alone is told, if one is named
 */
record Subject(
    String model,
    String prompt,
    NodeAttribution nodes,
    ScaleGradient scaleGradient,
    List<Word> tokens,
    List<AttentionSink> sinks,
    List<Prediction> predictions,
    MetricReading metric,
    IntFunction<Word> word,
    Function<Run, List<Prediction>> predictor,
    Optional<Basis> basis) {

  /** The same, of whose dictionaries some are named, or none. */
  Subject in(Optional<Basis> named) {
    return new Subject(
        model,
        prompt,
        nodes,
        scaleGradient,
        tokens,
        sinks,
        predictions,
        metric,
        word,
        predictor,
        named);
  }

  /** The basis that is named, or that of all dictionaries as far as they go together. */
  Basis nodesOnce() {
    return basis.orElseGet(() -> Basis.of(nodes.run().model()));
  }

  /** Whether dictionaries say once more what other nodes say that are shown too. */
  boolean saysTwice() {
    return basis.isEmpty() && !nodes.run().model().dictionaries().isEmpty();
  }

  /**
   * Refuses a node that a trace cannot depend on.
   *
   * @throws IllegalArgumentException if the run has no such node, or it comes after what is
   *     explained
   */
  void requireUpstream(Node node) {
    Run run = nodes.run();
    node.requireIn(run);
    if (metric.trace().isEmpty() || node.equals(new Explained())) {
      return;
    }
    Point explained = nodes.residualGradient().point();
    EdgeAttribution edges = EdgeAttribution.of(nodes, scaleGradient);
    boolean upstream =
        node.targets().isEmpty()
            ? node.asSource()
                .filter(source -> source.writes(run).get(0).point().reaches(explained))
                .isPresent()
            : edges.gradient(node.targets().get(0)).point().compareTo(explained) < 0;
    requireArgument(
        upstream, "%s is not upstream of %s, which is explained", node, metric.trace().get());
  }

  /** Number of layers of the model. */
  int layers() {
    return nodes.run().model().layers();
  }

  /** A token of the vocabulary. */
  record Word(int id, String text) {}

  /** What may follow the explained position. */
  record Prediction(Word word, double probability) {}

  /**
   * What is explained, and its value.
   *
   * @param ofLogits the metric of logits, which a trace through a value ends in
   * @param trace the node that is explained in its place
   * @param stage on which side of its nonlinearity a traced node is explained
   * @param chosen whether the target is the most probable word, since nobody named one
   */
  record MetricReading(
      Metric.OfLogits ofLogits,
      Optional<Node> trace,
      Stage stage,
      List<Word> targets,
      List<Word> distractors,
      boolean chosen,
      double value) {}
}
