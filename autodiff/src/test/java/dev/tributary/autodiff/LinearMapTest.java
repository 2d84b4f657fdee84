package dev.tributary.autodiff;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import org.junit.jupiter.api.Test;

class LinearMapTest {
  private static final long SEED = 11;

  /** A few products are summed; in epsilons. */
  private static final double ROUNDINGS = 8;

  private static Tensor weight(DType dtype) {
    return Tensor.of(dtype, Shape.of(2, 3), 1, 2, 3, 4, 5, 6);
  }

  private static void assertAdjoint(LinearMap map, DType dtype, int from, int to) {
    double error = DerivativeCheck.adjoint(map, dtype, Shape.of(4, from), Shape.of(4, to), 3, SEED);
    assertTrue(error <= ROUNDINGS * dtype.epsilon(), "seed " + SEED + ": " + error);
  }

  @Test
  void then_twoMaps_composesBothDirections() {
    for (DType dtype : DType.values()) {
      try (Scope scope = Scope.open()) {
        LinearMap map =
            Variable.rightFactor(weight(dtype))
                .then(LinearMap.of(u -> u.slice(-1, 0, 1), v -> v.pad(-1, 0, 3)));
        assertAdjoint(map, dtype, 2, 1);
        Tensor u = Tensor.of(dtype, Shape.of(1, 1, 2), 10, 1);
        assertArrayEquals(new double[] {14}, map.push(u).toDoubles());
        Tensor v = Tensor.of(dtype, Shape.of(1, 1, 1), 2);
        assertArrayEquals(new double[] {2, 8}, map.pull(v).toDoubles());
      }
    }
  }

  @Test
  void transpose_map_exchangesDirections() {
    for (DType dtype : DType.values()) {
      try (Scope scope = Scope.open()) {
        LinearMap map = Variable.rightFactor(weight(dtype));
        assertAdjoint(map, dtype, 2, 3);
        assertAdjoint(map.transpose(), dtype, 3, 2);
        Tensor u = Tensor.of(dtype, Shape.of(1, 1, 2), 1, 0);
        assertArrayEquals(map.push(u).toDoubles(), map.transpose().pull(u).toDoubles());
        assertArrayEquals(map.push(u).toDoubles(), map.transpose().transpose().push(u).toDoubles());
      }
    }
  }
}
