package dev.tributary.attribution;

import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import java.util.List;
import java.util.function.BiFunction;

/**
 * A scalar as a function of the rows of the residual stream that it reads directly: what one node
 * computes, everything else of the run held fixed. Only those rows and the slices of the weights
 * that the scalar needs are computed.
 *
 * @param point at which the residual stream is read
 * @param firstToken of the rows
 * @param endToken after the last row
 * @param function from the rows, [token, dModel], to a tensor of one element
 */
public record Reading(
    Point point,
    int firstToken,
    int endToken,
    BiFunction<Variable, ScaleGradient, Variable> function) {

  /** The scalar as it depends on the rows. */
  Variable of(Variable rows, ScaleGradient scaleGradient) {
    return function.apply(rows, scaleGradient).reshape();
  }

  /** The scalar as it depends on all that the run computed before. */
  Variable of(Run run, ScaleGradient scaleGradient) {
    return of(run.residual(point).slice(0, firstToken, endToken), scaleGradient);
  }

  /** The rows of a run that are read. */
  Tensor rows(Run run) {
    return run.residual(point).value().slice(0, firstToken, endToken);
  }

  /** How the scalar reads the residual stream of a run, in the innermost scope. */
  ResidualGradient gradient(Run run, ScaleGradient scaleGradient) {
    try (Scope scope = Scope.open()) {
      Variable rows = Variable.input(rows(run));
      Tensor gradient = Jacobian.of(of(rows, scaleGradient), rows).gradient().get(0);
      return new ResidualGradient(point, firstToken, scope.keep(gradient));
    }
  }

  /** How the scalar moves along a vector at a token: one push. */
  double push(Run run, int token, Tensor write, ScaleGradient scaleGradient) {
    try (Scope scope = Scope.open()) {
      Tensor rows = rows(run);
      Tensor tangent = rowsOf(token, write).reshape(rows.shape().prepend(1));
      return Jacobian.pushOnce(r -> of(r, scaleGradient), rows, tangent).tangents().item();
    }
  }

  /** A vector in the row of its token, zeros in the others that are read. */
  private Tensor rowsOf(int token, Tensor vector) {
    return vector
        .reshape(1, vector.shape().length())
        .pad(0, token - firstToken, endToken - firstToken);
  }

  /**
   * What the scalar loses if a vector at a token is taken out of the rows; exact, not linearised.
   */
  double lostWithout(Run run, int token, Tensor write) {
    try (Scope scope = Scope.open()) {
      Tensor rows = rows(run);
      Tensor taken = rowsOf(token, write);
      Tensor before = of(Variable.constant(rows), ScaleGradient.LIVE).value();
      Tensor after = of(Variable.constant(rows.minus(taken)), ScaleGradient.LIVE).value();
      return before.item() - after.item();
    }
  }

  /** Those of some writes that are read. */
  List<Write> seen(List<Write> writes) {
    return writes.stream()
        .filter(write -> write.point().reaches(point) && reads(write.token()))
        .toList();
  }

  /** Whether a token is among those that are read. */
  boolean reads(int token) {
    return token >= firstToken && token < endToken;
  }

  /** The scalar times a number that is held fixed. */
  Reading times(double factor) {
    return new Reading(
        point, firstToken, endToken, (r, scale) -> function.apply(r, scale).times(factor));
  }
}
