package dev.tributary.attribution.cli;

import dev.tributary.attribution.Metric;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;

/**
 * What a command explains: a prompt, what a model makes of it, and one number of that.
 *
 * @param model its folder, or what it is called
 * @param tokens of the prompt
 * @param predictions most probable first
 * @param predictor what another run of the same prompt predicts
 */
record Subject(
    String model,
    NodeAttribution nodes,
    ScaleGradient scaleGradient,
    List<Word> tokens,
    List<Prediction> predictions,
    MetricReading metric,
    Function<Run, List<Prediction>> predictor) {

  /** A token of the vocabulary. */
  record Word(int id, String text) {}

  /** What may follow the explained position. */
  record Prediction(Word word, double probability) {}

  /**
   * What is explained, and its value.
   *
   * @param ofLogits the metric of logits, which a trace through a value ends in
   * @param trace the node that is explained in its place
   * @param chosen whether the target is the most probable word, since nobody named one
   */
  record MetricReading(
      Metric.OfLogits ofLogits,
      Optional<Node> trace,
      List<Word> targets,
      List<Word> distractors,
      boolean chosen,
      double value) {}
}
