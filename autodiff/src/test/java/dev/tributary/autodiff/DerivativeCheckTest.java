package dev.tributary.autodiff;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** A check that cannot fail checks nothing: right maps pass and slightly wrong ones do not. */
class DerivativeCheckTest {
  private static final long SEED = 7;

  private static final Shape VECTOR = Shape.of(5);

  /** What a right map stays below, in epsilons: a dozen products are summed. */
  private static final double ROUNDINGS = 8;

  /** What the smallest mistake below must exceed. */
  private static final double SEEN = 1e-5;

  private final Scope scope = Scope.open();

  @AfterEach
  void close() {
    scope.close();
  }

  private static double adjoint(
      DType dtype, UnaryOperator<Tensor> push, UnaryOperator<Tensor> pull) {
    return DerivativeCheck.adjoint(LinearMap.of("map", VECTOR, VECTOR, push, pull), dtype, 3, SEED);
  }

  @Test
  void adjoint_rightMap_isBelowRounding() {
    for (DType dtype : DType.values()) {
      Tensor factors = Tensor.of(dtype, VECTOR, 1, -2, 3, -4, 5);
      double error = adjoint(dtype, u -> u.times(factors), v -> v.times(factors));
      assertTrue(error <= ROUNDINGS * dtype.epsilon(), "seed " + SEED + ": " + error);
    }
  }

  @Test
  void adjoint_wrongMaps_areSeen() {
    for (DType dtype : DType.values()) {
      Tensor factors = Tensor.of(dtype, VECTOR, 1, -2, 3, -4, 5);
      Tensor oneOff = Tensor.of(dtype, VECTOR, 1, -2, 3, -4, 5.01);
      assertSeen("one factor", adjoint(dtype, u -> u.times(factors), v -> v.times(oneOff)));
      assertSeen("sign", adjoint(dtype, u -> u.times(factors), v -> v.times(factors).negate()));
      assertSeen("order", adjoint(dtype, u -> u.gather(1, 1, 2, 3, 4, 0), v -> v));
      assertSeen(
          "a permutation for its inverse",
          adjoint(dtype, u -> u.gather(1, 1, 2, 3, 4, 0), v -> v.gather(1, 1, 2, 3, 4, 0)));
      assertSeen("nothing pulled", adjoint(dtype, u -> u, v -> v.times(0)));
      assertSeen(
          "directions mixed", adjoint(dtype, u -> u.gather(0, 1, 2, 0), v -> v.gather(0, 1, 2, 0)));
    }
  }

  @Test
  void adjoint_wrongShape_saysBothShapes() {
    assertRefused(
        "push of map: gave [3, 1], not [3, 5]", () -> adjoint(DType.FLOAT, u -> u.sum(1), v -> v));
    assertRefused(
        "pull of map: gave [3, 1], not [3, 5]", () -> adjoint(DType.FLOAT, u -> u, v -> v.sum(1)));
  }

  @Test
  void adjoint_NaN_isNoPass() {
    Tensor nan = Tensor.full(DType.DOUBLE, VECTOR, Double.NaN);
    double error = adjoint(DType.DOUBLE, u -> u.times(nan), v -> v);
    assertTrue(Double.isNaN(error), () -> "" + error);
  }

  private static Variable wronglyDerived(Variable x, UnaryOperator<Tensor> map) {
    return x.through(LinearMap.selfAdjoint("square", x.shape(), map), x.value().square());
  }

  @Test
  void centralDifferences_rightDerivative_isSmall() {
    Tensor at = Tensor.of(DType.DOUBLE, VECTOR, 1, -2, 3, -4, 5);
    double error =
        DerivativeCheck.centralDifferences(
            x -> wronglyDerived(x, u -> u.times(at).times(2)), at, SEED);
    assertTrue(error <= 1e-9, "seed " + SEED + ": " + error);
  }

  @Test
  void centralDifferences_wrongDerivatives_areSeen() {
    Tensor at = Tensor.of(DType.DOUBLE, VECTOR, 1, -2, 3, -4, 5);
    Tensor oneOff = Tensor.of(DType.DOUBLE, VECTOR, 1.01, -2, 3, -4, 5);
    assertSeen(
        "factor",
        DerivativeCheck.centralDifferences(
            x -> wronglyDerived(x, u -> u.times(at).times(2.001)), at, SEED));
    assertSeen(
        "one entry",
        DerivativeCheck.centralDifferences(
            x -> wronglyDerived(x, u -> u.times(oneOff).times(2)), at, SEED));
    assertSeen(
        "a path left out", DerivativeCheck.centralDifferences(x -> x.detach().times(x), at, SEED));
  }

  @Test
  void centralDifferences_float_isRefused() {
    assertRefused(
        "central differences need DOUBLE, not FLOAT",
        () ->
            DerivativeCheck.centralDifferences(
                Variable::square, Tensor.zeros(DType.FLOAT, VECTOR), SEED));
  }

  @Test
  void checks_anyOutcome_leaveNothingOpen() {
    long live = Scope.liveTensors();
    assertEquals(0, adjoint(DType.FLOAT, u -> u, v -> v));
    Tensor at = Tensor.full(DType.DOUBLE, VECTOR, 1);
    DerivativeCheck.centralDifferences(Variable::square, at, SEED);
    assertRefused(
        "push of map: gave [3, 1], not [3, 5]", () -> adjoint(DType.FLOAT, u -> u.sum(1), v -> v));
    assertEquals(live + 1, Scope.liveTensors());
  }

  private static void assertSeen(String mistake, double error) {
    assertTrue(error > SEEN, mistake + ", seed " + SEED + ": " + error);
  }

  private static void assertRefused(String message, Executable call) {
    assertEquals(message, assertThrows(IllegalArgumentException.class, call).getMessage());
  }
}
