package dev.tributary.autodiff;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class LinearMapTest {
  private static final long SEED = 11;

  /** A few products are summed; in epsilons. */
  private static final double ROUNDINGS = 8;

  private static Tensor weight(DType dtype) {
    return Tensor.of(dtype, Shape.of(2, 3), 1, 2, 3, 4, 5, 6);
  }

  private static LinearMap product(DType dtype, int rows) {
    return Variable.rightFactor(Shape.of(rows, 2), weight(dtype));
  }

  private static LinearMap first(int rows) {
    return LinearMap.of(
        "first",
        Shape.of(rows, 3),
        Shape.of(rows, 1),
        u -> u.slice(-1, 0, 1),
        v -> v.pad(-1, 0, 3));
  }

  private static void assertAdjoint(LinearMap map, DType dtype) {
    double error = DerivativeCheck.adjoint(map, dtype, 3, SEED);
    assertTrue(error <= ROUNDINGS * dtype.epsilon(), "seed " + SEED + ": " + error);
  }

  @Test
  void then_twoMaps_composesBothDirections() {
    for (DType dtype : DType.values()) {
      try (Scope scope = Scope.open()) {
        assertAdjoint(product(dtype, 4).then(first(4)), dtype);
        LinearMap map = product(dtype, 1).then(first(1));
        assertEquals("matmul then first from [1, 2] to [1, 1]", map.toString());
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
        LinearMap map = product(dtype, 1);
        assertAdjoint(map, dtype);
        assertAdjoint(map.transpose(), dtype);
        assertEquals("transpose of matmul from [1, 3] to [1, 2]", map.transpose().toString());
        Tensor u = Tensor.of(dtype, Shape.of(1, 1, 2), 1, 0);
        assertArrayEquals(map.push(u).toDoubles(), map.transpose().pull(u).toDoubles());
        assertArrayEquals(map.push(u).toDoubles(), map.transpose().transpose().push(u).toDoubles());
      }
    }
  }

  @Test
  void selfAdjoint_map_isTheSameInBothDirections() {
    try (Scope scope = Scope.open()) {
      Tensor factors = Tensor.of(DType.DOUBLE, Shape.of(2), 3, -4);
      LinearMap map = LinearMap.selfAdjoint("scale", Shape.of(2), factors::times);
      assertAdjoint(map, DType.DOUBLE);
      Tensor u = Tensor.of(DType.DOUBLE, Shape.of(1, 2), 1, 2);
      assertArrayEquals(new double[] {3, -8}, map.push(u).toDoubles());
      assertArrayEquals(new double[] {3, -8}, map.pull(u).toDoubles());
      assertEquals("scale", map.name());
      assertEquals(Shape.of(2), map.domain());
      assertEquals(Shape.of(2), map.codomain());
    }
  }

  // ---- refusals ----------------------------------------------------------------------------

  @Test
  void rightFactor_otherRows_isRefused() {
    try (Scope scope = Scope.open()) {
      Tensor right = weight(DType.FLOAT);
      assertRefused(
          "rightFactor: rows of [5, 3] and [2, 3] do not share an inner axis (3 and 2)",
          () -> Variable.rightFactor(Shape.of(5, 3), right));
    }
  }

  @Test
  void then_mapsThatDoNotMeet_saysBothShapes() {
    try (Scope scope = Scope.open()) {
      LinearMap map = product(DType.FLOAT, 1);
      assertRefused("then: first gives [1, 1] and matmul takes [1, 2]", () -> first(1).then(map));
      assertRefused(
          "then: matmul gives [1, 3] and transpose of first takes [1, 1]",
          () -> map.then(first(1).transpose()));
    }
  }

  @Test
  void pushAndPull_otherShapes_areRefused() {
    try (Scope scope = Scope.open()) {
      LinearMap map = product(DType.FLOAT, 1);
      for (Shape shape : List.of(Shape.of(1, 2), Shape.of(5, 2, 2), Shape.of(5, 1, 1, 2))) {
        assertRefused(
            "push of matmul: " + shape + " is not [directions, *[1, 2]]",
            () -> map.push(Tensor.zeros(DType.FLOAT, shape)));
      }
      assertRefused(
          "pull of matmul: [5, 1, 2] is not [directions, *[1, 3]]",
          () -> map.pull(Tensor.zeros(DType.FLOAT, Shape.of(5, 1, 2))));
    }
  }

  @Test
  void pushAndPull_ruleThatGivesAnotherShape_isRefused() {
    try (Scope scope = Scope.open()) {
      Shape one = Shape.of(2);
      Tensor u = Tensor.zeros(DType.FLOAT, Shape.of(3, 2));
      LinearMap sum = LinearMap.of("sum", one, one, v -> v.sum(-1), v -> v.sum(0));
      assertRefused("push of sum: gave [3, 1], not [3, 2]", () -> sum.push(u));
      assertRefused("pull of sum: gave [1, 2], not [3, 2]", () -> sum.pull(u));
    }
  }

  @Test
  void pushAndPull_errorInsideARule_namesPrimitiveAndDirection() {
    try (Scope scope = Scope.open()) {
      Variable x = Variable.input(Tensor.zeros(DType.FLOAT, Shape.of(2)));
      LinearMap map = x.softmax().edges().get(0).map();
      Tensor doubles = Tensor.zeros(DType.DOUBLE, Shape.of(1, 2));
      String reason = "softmaxDerivative: left is FLOAT and right is DOUBLE";
      assertRefused("push of softmax: " + reason, () -> map.push(doubles));
      assertRefused("pull of softmax: " + reason, () -> map.pull(doubles));
    }
  }

  @Test
  void through_mapBetweenOtherShapes_isRefused() {
    try (Scope scope = Scope.open()) {
      Tensor at = Tensor.zeros(DType.FLOAT, Shape.of(1, 3));
      Variable x = Variable.input(at);
      assertRefused(
          "through: the map first from [1, 3] to [1, 1] does not go from [1, 3] to [1, 3]",
          () -> x.through(first(1), at));
      assertRefused(
          "through: the map first from [2, 3] to [2, 1] does not go from [1, 3] to [2, 1]",
          () -> x.through(first(2), Tensor.zeros(DType.FLOAT, Shape.of(2, 1))));
    }
  }

  private static void assertRefused(String message, Executable call) {
    assertEquals(message, assertThrows(IllegalArgumentException.class, call).getMessage());
  }
}
