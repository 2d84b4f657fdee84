package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Tensor;
import java.util.Arrays;
import java.util.Optional;
import java.util.function.UnaryOperator;

/**
 * A norm of the last axis: (x - mean) / scale · gain + bias, with scale = √(variance + epsilon) and
 * the mean over the axis. An RMS norm subtracts no mean: its scale is √(mean of squares + epsilon).
 *
 * @see <a href="https://arxiv.org/abs/1607.06450">Ba et al. 2016</a>
 * @see <a href="https://arxiv.org/abs/1910.07467">Zhang and Sennrich 2019</a>
 */
public final class Norm {
  private final NormConfig config;
  private final Tensor gain;
  private final Optional<Tensor> bias;

  /** The bias, or zeros. */
  private final Tensor shift;

  /**
   * @param gain [n]
   * @param bias [n]
   */
  Norm(NormConfig config, Tensor gain, Optional<Tensor> bias) {
    this.config = config;
    this.gain = gain;
    this.bias = bias;
    this.shift = bias.orElseGet(() -> Tensor.zeros(gain.dtype(), gain.shape()));
  }

  /**
   * The normalised rows.
   *
   * @param x [.., n]
   * @param scaleGradient whether derivatives see the scale move; the mean always does
   * @return [.., n]
   */
  public Variable apply(Variable x, ScaleGradient scaleGradient) {
    return apply(x, scaleGradient::seen);
  }

  /** The same, each scale going on as another function says. */
  Variable apply(Variable x, UnaryOperator<Variable> scale) {
    Variable centred = config.centres() ? x.centred(-1) : x;
    return centred.rescaled(scale.apply(centred.rootMeanSquare(config.epsilon())), gain, shift);
  }

  /** What shares of rows make of a sum without the bias, divided by the scale of the sum. */
  Variable share(Variable shares, Variable scaleOfSum) {
    Variable centred = config.centres() ? shares.centred(-1) : shares;
    return centred.over(scaleOfSum).times(Variable.constant(gain));
  }

  /**
   * What rows are divided by.
   *
   * @param x [.., n]
   * @return [.., 1]
   */
  public Tensor scale(Tensor x) {
    return centred(x).rootMeanSquare(config.epsilon());
  }

  /**
   * Rows over their scale, of mean 0 if the norm subtracts it, without gain and bias.
   *
   * @param x [.., n]
   * @return [.., n]
   */
  public Tensor standardised(Tensor x) {
    return standardise(x).rows();
  }

  /**
   * What {@link #standardised} and {@link #scale} say.
   *
   * @param rows [.., n]
   * @param scale [.., 1]
   */
  public record Standardised(Tensor rows, Tensor scale) {}

  /**
   * {@return rows over their scale, and that}
   *
   * @param x [.., n]
   */
  public Standardised standardise(Tensor x) {
    Tensor centred = centred(x);
    Tensor scale = centred.rootMeanSquare(config.epsilon());
    return new Standardised(centred.over(scale), scale);
  }

  /**
   * The same, with derivatives.
   *
   * @param x [.., n]
   * @param scaleGradient whether derivatives see the scale move; the mean always does
   * @return [.., n]
   */
  public Variable standardised(Variable x, ScaleGradient scaleGradient) {
    return standardised(x, scaleGradient::seen);
  }

  /** The same, each scale going on as another function says. */
  Variable standardised(Variable x, UnaryOperator<Variable> scale) {
    Variable centred = config.centres() ? x.centred(-1) : x;
    return centred.over(scale.apply(centred.rootMeanSquare(config.epsilon())));
  }

  /**
   * Cotangents pulled back through gain and mean, which are the same for every row: with the scale
   * held fixed, what remains is to divide by that of the row.
   *
   * @param cotangents at normalised rows, [.., n]
   * @return [.., n]
   */
  public Tensor directions(Tensor cotangents) {
    return centred(cotangents.times(gain));
  }

  /** The same for the columns of a matrix that normalised rows are multiplied with, [n, ..]. */
  Tensor directionsOfColumns(Tensor weight) {
    int[] ones = new int[weight.shape().rank()];
    Arrays.fill(ones, 1);
    ones[0] = gain.shape().length();
    Tensor gained = weight.times(gain.reshape(ones));
    return config.centres() ? gained.centred(0) : gained;
  }

  /**
   * Cotangents pulled back to what is normalised.
   *
   * @param x rows to which they belong, [.., n], repeated where there are more cotangents
   * @param cotangents at normalised rows, [.., n]
   * @param scaleGradient whether derivatives see the scale move
   * @return [.., n]
   */
  public Tensor pulled(Tensor x, Tensor cotangents, ScaleGradient scaleGradient) {
    if (scaleGradient == ScaleGradient.DETACHED) {
      return centred(cotangents.times(gain.over(scale(x))));
    }
    Standardised own = standardise(x);
    return without(own.rows, centred(cotangents.times(gain.over(own.scale))));
  }

  /** Vectors less what they have of rows whose squares have the mean 1. */
  private static Tensor without(Tensor rows, Tensor vectors) {
    int n = rows.shape().size(-1);
    Tensor one = rows.shape().length() == n ? rows.reshape(n) : rows;
    Tensor overlaps =
        vectors.shape().endsWith(one.shape()) ? one.rowDots(vectors) : rows.times(vectors).sum(-1);
    return vectors.minus(rows.times(overlaps.times(1.0 / n)));
  }

  /** {@return the gain, [n]} */
  Tensor gain() {
    return gain;
  }

  /** Whether it subtracts the mean. */
  boolean centres() {
    return config.centres();
  }

  /**
   * Tangents pushed through mean and gain, the counterpart of {@link #directions}.
   *
   * @param tangents of rows, [.., n]
   * @return [.., n]
   */
  public Tensor moved(Tensor tangents) {
    return centred(tangents).times(gain);
  }

  /** {@return what is added to every row, [n], if there is something} */
  public Optional<Tensor> bias() {
    return bias;
  }

  /**
   * {@return rows less their mean, if it subtracts that; its own adjoint}
   *
   * @param x [.., n]
   */
  public Tensor centred(Tensor x) {
    return config.centres() ? x.centred(-1) : x;
  }
}
