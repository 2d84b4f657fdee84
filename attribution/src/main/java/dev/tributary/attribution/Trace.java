package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import java.util.Set;

/** What a node computes, explained in place of the logits: the metric of what is upstream of it. */
public sealed interface Trace extends Metric {
  /**
   * Which side of a node is traced, and how.
   *
   * @param stage on which side of its nonlinearity
   * @param scaleGradient whether the scale of the norm through which it reads is seen to move
   */
  record Side(Stage stage, ScaleGradient scaleGradient) {}

  @Override
  default Variable value(Run explained, Run run) {
    return reading(explained).of(run, scaleGradient());
  }

  @Override
  default ResidualGradient tracedGradient(Run run) {
    return reading(run).gradient(run, scaleGradient());
  }

  /**
   * Of a neuron.
   *
   * @param path which of gate and up is followed, the other held fixed; {@link InputPath#ALL} of
   *     both, and of neurons that are not gated
   */
  record NeuronTrace(Neuron neuron, InputPath path, Stage stage, ScaleGradient scaleGradient)
      implements Trace {
    /**
     * Refuses a side that there is not.
     *
     * @param neuron {@link #neuron()}
     * @param path {@link #path()}
     * @param stage {@link #stage()}
     * @param scaleGradient {@link #scaleGradient()}
     */
    public NeuronTrace {
      requireArgument(
          path != InputPath.UP || stage == Stage.ACTIVATION,
          "the %s of %s has no nonlinearity, so it has no side before one",
          Lowercase.of(path),
          neuron);
    }

    @Override
    public Reading reading(Run run) {
      Target node = path == InputPath.ALL ? neuron : neuron.through(path);
      node.requireIn(run);
      return neuron.reading(run, path, stage);
    }
  }

  /** Of an autoencoder's latent. */
  record LatentTrace(Latent latent, Stage stage, ScaleGradient scaleGradient) implements Trace {
    @Override
    public Reading reading(Run run) {
      latent.requireIn(run);
      return latent.reading(run, stage);
    }
  }

  /**
   * Of the score or the probability of a head at a pair.
   *
   * @param paths which of query and key are followed; the other is held fixed
   */
  record PatternTrace(HeadPair pair, Set<InputPath> paths, Stage stage, ScaleGradient scaleGradient)
      implements Trace {
    @Override
    public Reading reading(Run run) {
      pair.requireIn(run);
      boolean seen = run.model().attention(pair.layer()).sees(pair.query(), pair.key());
      requireArgument(
          stage == Stage.ACTIVATION || seen,
          "%s lies outside the window of its attention, so it has no score to trace",
          pair);
      return pair.pattern(run, paths, stage);
    }
  }

  /**
   * Of what a head at a pair writes, through its values only and with the scale detached, along how
   * another metric reads it.
   *
   * @param downstream whose gradient in the residual stream is held fixed; of a metric of logits
   *     with the scale of the last layer norm detached
   */
  record ValueTrace(HeadPair pair, Metric downstream) implements Trace {
    @Override
    public ScaleGradient scaleGradient() {
      return ScaleGradient.DETACHED;
    }

    @Override
    public Reading reading(Run run) {
      pair.requireIn(run);
      ResidualGradient gradient = downstream.tracedGradient(run);
      Attention attention = run.model().attention(pair.layer());
      requireArgument(
          attention.writes().reaches(gradient.point()),
          "%s writes after what is downstream of it in this trace has read",
          pair);
      Tensor weight = attention.outputWeight(pair.head());
      int dModel = weight.shape().size(1);
      Tensor along =
          gradient.reads(pair.query())
              ? attention.outlet().pull(run, pair.query(), gradient.row(pair.query()))
              : Tensor.zeros(weight.dtype(), Shape.of(1, dModel));
      Tensor inHead = along.matmulTransposed(weight);
      return pair.value(run, inHead);
    }
  }
}
