package dev.tributary.attribution.cli;

import dev.tributary.attribution.Metric;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.Node.Source;
import dev.tributary.attribution.Node.Target;
import dev.tributary.core.DType;
import dev.tributary.transformer.ScaleGradient;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * All that the command prints, as plain values.
 *
 * @param model its folder, or what it is called
 * @param tokens of the prompt
 * @param predictions most probable first
 * @param nodes most important first
 */
record Explanation(
    String model,
    DType dtype,
    List<Word> tokens,
    List<Prediction> predictions,
    MetricReading metric,
    List<NodeReading> nodes,
    Edges edges) {

  /** A token of the vocabulary. */
  record Word(int id, String text) {}

  /** What may follow the explained position. */
  record Prediction(Word word, double probability) {}

  /**
   * The metric, its words and its value.
   *
   * @param chosen whether the target is the most probable word, since nobody named one
   */
  record MetricReading(
      Metric.OfLogits metric,
      List<Word> targets,
      List<Word> distractors,
      boolean chosen,
      double value) {}

  /**
   * What was read of a node.
   *
   * @param activation none of an embedding, which is a vector
   * @param attribution activation times gradient
   */
  record NodeReading(
      Node node, OptionalDouble activation, double attribution, double directEffect) {}

  /** How much of the attribution of a target arrived from a source. */
  record Edge(Source from, Target to, double score) {}

  /** The sum of the edges from all sources into a target. */
  record Sum(Target into, double sum) {}

  /**
   * The most important edges, largest first.
   *
   * @param into the node that they lead to, if that was asked
   * @param from the node that they come from, if that was asked
   * @param sums of all edges into each target, if no source was named
   */
  record Edges(
      ScaleGradient scaleGradient,
      Optional<Node> into,
      Optional<Source> from,
      List<Edge> largest,
      List<Sum> sums) {}
}
