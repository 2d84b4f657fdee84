package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.Optional;

/**
 * What a dictionary reads that reads what an MLP reads, the scale of the norm held as a run has it:
 * an affine map of the residual stream. Lives in the scope in which it was made.
 */
public final class HeldInput {
  private final Place place;
  private final Point point;

  /** Between the stream and what is read, if there is one. */
  private final Optional<Norm> norm;

  /** What the stream is divided by, [token, 1, 1]. */
  private final Optional<Tensor> scale;

  private HeldInput(Place place, Point point, Optional<Norm> norm, Optional<Tensor> scale) {
    this.place = place;
    this.point = point;
    this.norm = norm;
    this.scale = scale;
  }

  /**
   * {@return what a dictionary reads}
   *
   * @param run that recorded the residual stream
   * @param dictionary of the run's model
   * @throws IllegalArgumentException if it reads neither the residual stream nor what enters an MLP
   */
  public static HeldInput of(Run run, Dictionary dictionary) {
    Transformer model = run.model();
    Place place = dictionary.reads();
    boolean entersMlp = place.site() == Site.MLP_STANDARDISED || place.site() == Site.MLP_INPUT;
    Optional<Point> point =
        entersMlp ? Optional.of(model.mlp(place.layer()).reads()) : model.pointAt(place);
    requireArgument(
        point.isPresent(),
        "%s reads %s, which is neither the residual stream nor what enters an MLP",
        dictionary,
        place);
    Optional<Norm> norm = entersMlp ? model.mlp(place.layer()).entry() : Optional.empty();
    Tensor residual = run.residual(point.get()).value();
    Shape perToken = Shape.of(run.length(), 1, 1);
    return new HeldInput(
        place, point.get(), norm, norm.map(own -> own.scale(residual).reshape(perToken)));
  }

  /** {@return the point of the residual stream that is read} */
  public Point point() {
    return point;
  }

  /**
   * How what is read moves with the stream.
   *
   * @param firstToken the token of the first row
   * @param tangents of the stream, [token, direction, dModel]
   * @return [token, direction, n]
   */
  public Tensor push(int firstToken, Tensor tangents) {
    Tensor moved =
        norm.map(own -> hasGain() ? own.moved(tangents) : own.centred(tangents)).orElse(tangents);
    return scaled(firstToken, moved);
  }

  /**
   * Cotangents in what is read as cotangents in the stream: the adjoint of {@link #push}.
   *
   * @param firstToken the token of the first row
   * @param cotangents [token, direction, n]
   * @return [token, direction, dModel]
   */
  public Tensor pull(int firstToken, Tensor cotangents) {
    Tensor pulled =
        norm.map(own -> hasGain() ? own.directions(cotangents) : own.centred(cotangents))
            .orElse(cotangents);
    return scaled(firstToken, pulled);
  }

  private boolean hasGain() {
    return place.site() == Site.MLP_INPUT;
  }

  private Tensor scaled(int firstToken, Tensor rows) {
    int end = firstToken + rows.shape().size(0);
    return scale.map(own -> rows.over(own.slice(0, firstToken, end))).orElse(rows);
  }

  /** {@return what is read of a stream of zeros, [n], if that is something} */
  public Optional<Tensor> constant() {
    return hasGain() ? norm.flatMap(Norm::bias) : Optional.empty();
  }
}
