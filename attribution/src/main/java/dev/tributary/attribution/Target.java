package dev.tributary.attribution;

import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import java.util.List;
import java.util.Optional;

/** A node, or a part of one, that reads the residual stream. */
public sealed interface Target extends Node
    permits Neuron, NeuronInput, HeadInput, Latent, Logit, Direction, Explained {
  @Override
  default List<Target> targets() {
    return List.of(this);
  }

  /**
   * {@return what it computes from the residual stream, times what its gradient is held at}
   *
   * @param edges which hold the gradient
   */
  Reading reading(EdgeAttribution edges);

  /**
   * {@return how it reads the residual stream: the gradient of its attribution there}
   *
   * @param edges which hold the gradient
   */
  default ResidualGradient gradient(EdgeAttribution edges) {
    return reading(edges).gradient(edges.nodes().run(), edges.scaleGradient());
  }

  /** {@return what it shares with targets that are pulled from together with it} */
  default List<Object> pulledWith() {
    return List.of(this);
  }

  /**
   * {@return the gradients of targets that share {@link #pulledWith}, of which this is one}
   *
   * @param edges which hold gradients
   * @param together all of them
   */
  default List<ResidualGradient> gradients(EdgeAttribution edges, List<? extends Target> together) {
    return together.stream().map(target -> target.gradient(edges)).toList();
  }

  /**
   * {@return whether the scale of the norm through which it reads is seen to move}
   *
   * @param edges as which it was asked for
   */
  default ScaleGradient scaleGradient(EdgeAttribution edges) {
    return edges.scaleGradient();
  }

  /**
   * {@return what it is as recorded and what of that no source adds; nothing if it is not affine in
   * what it reads, as {@link #scaleGradient} says}
   *
   * @param edges which hold the gradient
   */
  default Optional<Certificate.Affine> affine(EdgeAttribution edges) {
    return Optional.empty();
  }

  /**
   * {@return what happens to the run when this target alone does not see a write; nothing if no
   * part of the model computes from it}
   *
   * @param run that has it
   * @param token of the write
   * @param write [dModel]
   */
  default Optional<Change> without(Run run, int token, Tensor write) {
    return Optional.empty();
  }

  /**
   * {@return how much the metric grows when this target alone does not see a write}
   *
   * @param edges of the run
   * @param token of the write
   * @param write [dModel]
   */
  default double metricChange(EdgeAttribution edges, int token, Tensor write) {
    Run run = edges.nodes().run();
    return without(run, token, write)
        .map(change -> Effect.metricChange(run, edges.nodes().metric(), change))
        .orElse(0.0);
  }
}
