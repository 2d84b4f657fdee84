package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Tensor;
import java.util.Optional;
import java.util.function.UnaryOperator;

/**
 * What stands between what a part computes and the residual stream: nothing, a norm, a number that
 * multiplies, or both. What one of many nodes writes passes through it with the scale of the norm
 * as recorded, so that the writes of all add up to what the part adds.
 */
public final class Outlet {
  private final Optional<Norm> norm;
  private final double multiplier;
  private final Site scale;
  private final int layer;

  /**
   * @param scale the site at which the scale of the norm is recorded
   */
  Outlet(Optional<Norm> norm, double multiplier, Site scale, int layer) {
    this.norm = norm;
    this.multiplier = multiplier;
    this.scale = scale;
    this.layer = layer;
  }

  /** What a part adds to the residual stream, its scale going on as a function says. */
  Variable apply(Variable computed, UnaryOperator<Variable> seen) {
    Variable normalised = norm.map(n -> n.apply(computed, seen)).orElse(computed);
    return multiplier == 1 ? normalised : normalised.times(multiplier);
  }

  /**
   * What vectors, each a share of what the part computes at a token, add to the residual stream.
   *
   * @param run whose scales are held
   * @param firstToken the token of the first vector
   * @param vectors [.., token, dModel]
   * @return of the same shape
   */
  public Tensor push(Run run, int firstToken, Tensor vectors) {
    return perToken(run, firstToken, fixed(vectors));
  }

  /**
   * What shares of what the part computes add to the residual stream.
   *
   * @param shares [.., token, dModel]
   * @param scaleOfAll that of the norm of all that the part computes, [token, 1], if there is one
   */
  Variable share(Variable shares, Optional<Variable> scaleOfAll) {
    Variable normalised = norm.map(n -> n.share(shares, scaleOfAll.orElseThrow())).orElse(shares);
    return multiplier == 1 ? normalised : normalised.times(multiplier);
  }

  /**
   * Gradients in the residual stream as gradients in what the part computes, the adjoint of {@link
   * #push}.
   *
   * @param run whose scales are held
   * @param firstToken the token of the first gradient
   * @param gradients [.., token, dModel]
   * @return of the same shape
   */
  public Tensor pull(Run run, int firstToken, Tensor gradients) {
    return directions(perToken(run, firstToken, gradients));
  }

  /**
   * What is the same at all tokens of {@link #push}: all but to divide by the scale of the token.
   *
   * @param vectors [.., dModel]
   * @return of the same shape
   */
  public Tensor fixed(Tensor vectors) {
    Tensor moved = norm.map(n -> n.moved(vectors)).orElse(vectors);
    return multiplier == 1 ? moved : moved.times(multiplier);
  }

  /**
   * The adjoint of {@link #fixed}.
   *
   * @param gradients [.., dModel]
   * @return of the same shape
   */
  public Tensor directions(Tensor gradients) {
    Tensor scaled = multiplier == 1 ? gradients : gradients.times(multiplier);
    return norm.map(n -> n.directions(scaled)).orElse(scaled);
  }

  /**
   * What differs between the tokens of {@link #push}: to divide by the scale of each.
   *
   * @param run whose scales are held
   * @param firstToken the token of the first entry
   * @param numbers [.., token, n]
   * @return of the same shape
   */
  public Tensor perToken(Run run, int firstToken, Tensor numbers) {
    int end = firstToken + numbers.shape().size(-2);
    return norm.isEmpty()
        ? numbers
        : numbers.over(run.value(scale, layer).slice(0, firstToken, end));
  }

  /** {@return what it adds whatever the part computes, [dModel], if it adds something} */
  public Optional<Tensor> bias() {
    return norm.flatMap(Norm::bias).map(bias -> multiplier == 1 ? bias : bias.times(multiplier));
  }

  /**
   * {@return whether derivatives pass it as {@link #push} says}
   *
   * @param scaleGradient whether they see the scale of its norm move
   */
  public boolean isLinear(ScaleGradient scaleGradient) {
    return norm.isEmpty() || scaleGradient == ScaleGradient.DETACHED;
  }

  /** {@return whether what a part computes is what it adds} */
  public boolean isNone() {
    return norm.isEmpty() && multiplier == 1;
  }
}
