package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Tensor;

/**
 * Layer norm of the last axis: (x - mean) / scale · gain + bias, with scale = √(variance +
 * epsilon).
 *
 * @see <a href="https://arxiv.org/abs/1607.06450">Ba et al. 2016</a>
 */
public final class LayerNorm {
  private final Tensor gain;
  private final Tensor bias;
  private final double epsilon;
  private final Site scaleSite;

  LayerNorm(Tensor gain, Tensor bias, double epsilon, Site scaleSite) {
    this.gain = gain;
    this.bias = bias;
    this.epsilon = epsilon;
    this.scaleSite = scaleSite;
  }

  void save(Weights.Taker weights, String name) {
    weights.put(name + ".weight", gain);
    weights.put(name + ".bias", bias);
  }

  /**
   * The normalised rows.
   *
   * @param x [.., dModel]
   * @param scaleGradient whether derivatives see the scale move; the mean always does
   * @return [.., dModel]
   */
  public Variable apply(Variable x, ScaleGradient scaleGradient) {
    return apply(x, scaleGradient, Site.Visitor.NONE);
  }

  Variable apply(Variable x, ScaleGradient scaleGradient, Site.Visitor visitor) {
    Variable centred = x.centred(-1);
    Variable scale = visitor.at(scaleSite, centred.rootMeanSquare(epsilon));
    Variable seen = scaleGradient == ScaleGradient.DETACHED ? scale.detach() : scale;
    return centred.rescaled(seen, gain, bias);
  }

  /**
   * What rows are divided by.
   *
   * @param x [.., dModel]
   * @return [.., 1]
   */
  public Tensor scale(Tensor x) {
    return x.centred(-1).rootMeanSquare(epsilon);
  }

  /**
   * Rows of mean 0 over their scale, without gain and bias.
   *
   * @param x [.., dModel]
   * @return [.., dModel]
   */
  public Tensor standardised(Tensor x) {
    Tensor centred = x.centred(-1);
    return centred.over(centred.rootMeanSquare(epsilon));
  }

  /**
   * Cotangents pulled back through gain and mean, which are the same for every row: with the scale
   * held fixed, what remains is to divide by that of the row.
   *
   * @param cotangents at normalised rows, [.., dModel]
   * @return [.., dModel]
   */
  public Tensor directions(Tensor cotangents) {
    return cotangents.times(gain).centred(-1);
  }
}
