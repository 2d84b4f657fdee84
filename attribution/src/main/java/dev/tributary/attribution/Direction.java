package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import java.util.List;
import java.util.stream.Stream;

/**
 * How far the residual stream goes in a direction at a token. It has a name to be printed, but none
 * that could be parsed.
 *
 * @param point at which the residual stream is read
 * @param token from 0
 * @param vector [dModel]
 */
public record Direction(Point point, int token, Tensor vector) implements Target {
  static final Kind KIND =
      new Kind(Direction.class, "direction") {
        @Override
        boolean isListed() {
          return false;
        }

        @Override
        Stream<Direction> candidates(Coordinates.Name name) {
          return Stream.of();
        }
      };

  /** Of one direction at all tokens. */
  private record Directions(Point point, Tensor vector) implements Family {
    @Override
    public List<String> axes() {
      return List.of("token");
    }

    @Override
    public Direction node(int... index) {
      return new Direction(point, index[0], vector);
    }
  }

  @Override
  public Coordinates coordinates() {
    return Coordinates.outside(KIND.word(), Coordinates.Component.OUTPUT).at(token);
  }

  @Override
  public Family family() {
    return new Directions(point, vector);
  }

  @Override
  public int[] index() {
    return new int[] {token};
  }

  @Override
  public void requireIn(Run run) {
    run.residual(point);
    Kind.requireIndex(this, "token", token, run.length());
    Shape shape = Shape.of(run.model().config().dModel());
    requireArgument(
        vector.shape().equals(shape),
        "%s: the vector has shape %s and the residual stream %s",
        this,
        vector.shape(),
        shape);
  }

  @Override
  public Reading reading(EdgeAttribution edges) {
    Variable along = Variable.constant(vector);
    return new Reading(point, token, token + 1, (r, scaleGradient) -> r.times(along).sum(-1));
  }

  @Override
  public String toString() {
    return "direction at " + point + "[" + token + "]";
  }
}
