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
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class JacobianTest {
  private static final double ROUNDING = 1e-14;

  private final Scope scope = Scope.open();

  @AfterEach
  void close() {
    scope.close();
  }

  /** [values.length], double. */
  private static Tensor vector(double... values) {
    return Tensor.of(DType.DOUBLE, Shape.of(values.length), values);
  }

  /** One direction, [1, values.length]. */
  private static Tensor direction(double... values) {
    return vector(values).reshape(1, values.length);
  }

  private static Tensor identity(int n) {
    double[] values = new double[n * n];
    for (int i = 0; i < n; i++) {
      values[i * n + i] = 1;
    }
    return Tensor.of(DType.DOUBLE, Shape.of(n, n), values);
  }

  private static void assertNumbers(Tensor actual, double... expected) {
    assertArrayEquals(expected, actual.toDoubles(), ROUNDING);
  }

  // ---- closed forms ------------------------------------------------------------------------

  @Test
  void gradient_quadraticForm_isMatrixPlusTransposeTimesX() {
    Tensor a = vector(1, -2, 3, 0.5, 4, -1, 0.25, 2, -3).reshape(3, 3);
    Tensor at = vector(0.5, -1, 2).reshape(3, 1);
    Variable x = Variable.input(at);
    Variable form = x.permute(1, 0).matmul(Variable.constant(a)).matmul(x);
    Tensor expected = a.plus(a.permute(1, 0)).matmul(at);
    List<Tensor> gradient = Jacobian.of(form, x).gradient();
    assertEquals(Shape.of(3, 1), gradient.get(0).shape());
    assertNumbers(gradient.get(0), expected.toDoubles());
  }

  @Test
  void pushAndPull_softmax_isDiagonalMinusOuterProduct() {
    Variable x = Variable.input(vector(0.3, -1, 2));
    Variable y = x.softmax();
    double[] p = y.value().toDoubles();
    double[] expected = new double[9];
    for (int i = 0; i < 3; i++) {
      for (int j = 0; j < 3; j++) {
        expected[3 * i + j] = (i == j ? p[i] : 0) - p[i] * p[j];
      }
    }
    Jacobian jacobian = Jacobian.of(y, x);
    assertNumbers(jacobian.push(identity(3)), expected);
    assertNumbers(jacobian.pull(identity(3)).get(0), expected);
  }

  @Test
  void gradient_logSoftmaxOfOneToken_isOneHotMinusProbability() {
    Variable x = Variable.input(vector(0.3, -1, 2));
    double[] p = x.value().softmax().toDoubles();
    assertNumbers(
        Jacobian.of(x.logSoftmax().slice(0, 1, 2), x).gradient().get(0), -p[0], 1 - p[1], -p[2]);
  }

  // ---- graphs ------------------------------------------------------------------------------

  @Test
  void pushAndPull_diamond_sumsBothSides() {
    Variable x = Variable.input(vector(3));
    Variable y = x.square();
    Variable z = y.times(2).plus(y.times(x)); // 2x² + x³
    Jacobian jacobian = Jacobian.of(z, x);
    assertNumbers(jacobian.push(direction(1)), 4 * 3 + 3 * 9);
    assertNumbers(jacobian.pull(direction(1)).get(0), 4 * 3 + 3 * 9);
  }

  @Test
  void pushAndPull_sameOperandTwice_countsTwice() {
    Variable x = Variable.input(vector(3, -2));
    Jacobian jacobian = Jacobian.of(x.times(x), x);
    assertNumbers(jacobian.push(direction(1, 1)), 6, -4);
    assertNumbers(jacobian.pull(direction(1, 1)).get(0), 6, -4);
  }

  @Test
  void pushAndPull_manyDiamonds_visitEachVariableOnce() {
    Variable x = Variable.input(vector(1));
    Variable y = x;
    for (int i = 0; i < 60; i++) { // 2^60 paths
      y = y.plus(y);
    }
    Jacobian jacobian = Jacobian.of(y, x);
    assertNumbers(jacobian.push(direction(1)), Math.pow(2, 60));
    assertNumbers(jacobian.pull(direction(1)).get(0), Math.pow(2, 60));
  }

  @Test
  void pushAndPull_deepChain_doesNotOverflowTheStack() {
    Variable x = Variable.input(vector(1));
    Variable y = x;
    for (int i = 0; i < 10_000; i++) {
      y = y.plus(1);
    }
    Jacobian jacobian = Jacobian.of(y, x);
    assertNumbers(jacobian.push(direction(2)), 2);
    assertNumbers(jacobian.pull(direction(3)).get(0), 3);
  }

  @Test
  void pushAndPull_twoInputs_sumAndSeparate() {
    Variable x = Variable.input(vector(3));
    Variable y = Variable.input(vector(5));
    Jacobian jacobian = Jacobian.of(x.times(y), x, y);
    assertNumbers(jacobian.push(direction(1), direction(10)), 5 + 30);
    List<Tensor> pulled = jacobian.pull(direction(2));
    assertNumbers(pulled.get(0), 10);
    assertNumbers(pulled.get(1), 6);
  }

  @Test
  void of_sameInputTwice_addsTangentsAndRepeatsCotangents() {
    Variable x = Variable.input(vector(3));
    Jacobian jacobian = Jacobian.of(x.times(4), x, x);
    assertNumbers(jacobian.push(direction(1), direction(10)), 44);
    List<Tensor> pulled = jacobian.pull(direction(1));
    assertNumbers(pulled.get(0), 4);
    assertNumbers(pulled.get(1), 4);
  }

  @Test
  void detach_oneFactor_isHeldFixed() {
    Variable x = Variable.input(vector(3));
    Jacobian jacobian = Jacobian.of(x.times(x.detach()), x);
    assertNumbers(jacobian.push(direction(1)), 3);
    assertNumbers(jacobian.pull(direction(1)).get(0), 3);
  }

  // ---- sites in the middle -----------------------------------------------------------------

  @Test
  void pushAndPull_intermediateSite_startsAndEndsThere() {
    Variable x = Variable.input(vector(3));
    Variable site = x.square();
    Variable y = site.times(5).plus(x); // the path of x beside the site is not walked
    Jacobian jacobian = Jacobian.of(y, site);
    assertNumbers(jacobian.push(direction(1)), 5);
    assertNumbers(jacobian.pull(direction(1)).get(0), 5);
  }

  @Test
  void pushAndPull_pathsThatMissAnInput_areNotWalked() {
    LinearMap trap =
        LinearMap.of(
            "trap",
            Shape.of(1),
            Shape.of(1),
            u -> {
              throw new AssertionError("pushed");
            },
            v -> {
              throw new AssertionError("pulled");
            });
    Variable x = Variable.input(vector(3));
    Variable site = x.through(trap, vector(9));
    Variable beside = x.through(trap, vector(7)).through(trap, vector(2));
    Variable y = site.times(beside);
    site.through(trap, vector(0)); // leads elsewhere
    Jacobian jacobian = Jacobian.of(y, site);
    assertNumbers(jacobian.push(direction(1)), 2);
    assertNumbers(jacobian.pull(direction(1)).get(0), 2);
  }

  @Test
  void push_dependentInputs_addsTheTangentAtItsSite() {
    Variable x = Variable.input(vector(3));
    Variable site = x.square();
    Variable y = site.times(5);
    Jacobian jacobian = Jacobian.of(y, x, site);
    assertNumbers(jacobian.push(direction(1), direction(100)), 5 * (2 * 3 + 100));
    assertNumbers(jacobian.push(direction(0), direction(100)), 500);
  }

  @Test
  void pull_dependentInputs_givesTheTotalCotangentOfEach() {
    Variable x = Variable.input(vector(3));
    Variable site = x.square();
    Variable y = site.times(5).plus(x.times(7));
    for (List<Variable> inputs : List.of(List.of(x, site), List.of(site, x))) {
      List<Tensor> pulled = Jacobian.of(y, inputs).pull(direction(1));
      assertNumbers(pulled.get(inputs.indexOf(site)), 5);
      assertNumbers(pulled.get(inputs.indexOf(x)), 5 * 6 + 7);
    }
  }

  @Test
  void pushAndPull_outputIsAnInput_isIdentityPlusWhatFlowsIn() {
    Variable x = Variable.input(vector(3));
    Variable y = x.square();
    Jacobian jacobian = Jacobian.of(y, x, y);
    assertNumbers(jacobian.push(direction(1), direction(10)), 16);
    List<Tensor> pulled = jacobian.pull(direction(2));
    assertNumbers(pulled.get(0), 12);
    assertNumbers(pulled.get(1), 2);
    assertNumbers(Jacobian.of(x, x).push(direction(4)), 4);
    assertNumbers(Jacobian.of(x, x).gradient().get(0), 1);
  }

  @Test
  void pushAndPull_noPath_givesZerosOfTheRightShape() {
    Variable x = Variable.input(vector(1, 2));
    Variable other = Variable.input(vector(1, 2, 3));
    Variable later = x.square();
    for (Variable unrelated : List.of(other, later, x.times(2))) {
      Jacobian jacobian = Jacobian.of(x, unrelated);
      int n = unrelated.shape().length();
      Tensor u = Tensor.full(DType.DOUBLE, Shape.of(4, n), 1);
      Tensor pushed = jacobian.push(u);
      assertEquals(Shape.of(4, 2), pushed.shape());
      assertNumbers(pushed, new double[8]);
      Tensor pulled = jacobian.pull(Tensor.full(DType.DOUBLE, Shape.of(4, 2), 1)).get(0);
      assertEquals(Shape.of(4, n), pulled.shape());
      assertNumbers(pulled, new double[4 * n]);
    }
  }

  @Test
  void pushAndPull_constantOutput_givesZeros() {
    Variable x = Variable.input(vector(1, 2));
    Jacobian jacobian = Jacobian.of(x.detach().square(), x);
    assertNumbers(jacobian.push(direction(1, 1)), 0, 0);
    assertNumbers(jacobian.pull(direction(1, 1)).get(0), 0, 0);
  }

  @Test
  void pull_noInputs_givesNothing() {
    Variable x = Variable.input(vector(1));
    assertEquals(List.of(), Jacobian.of(x).pull(direction(1)));
  }

  // ---- refusals ----------------------------------------------------------------------------

  @Test
  void of_constantInput_isRefused() {
    Variable x = Variable.input(vector(1, 2));
    assertRefused(
        "Jacobian: the input constant DOUBLE [2] is constant, nothing varies with it",
        () -> Jacobian.of(x, x.detach()));
  }

  @Test
  void pushAndPull_wrongShapes_sayBothSides() {
    Variable x = Variable.input(vector(1, 2));
    Variable y = x.sum(0);
    Jacobian jacobian = Jacobian.of(y, x, x);
    Tensor u = direction(1, 1);
    assertRefused("push: 1 tangents for 2 inputs", () -> jacobian.push(u));
    assertRefused(
        "push: [2] is not [directions, *[2]]", () -> jacobian.push(vector(1, 1), vector(1, 1)));
    assertRefused(
        "push: [1, 3] is not [directions, *[2]]", () -> jacobian.push(u, direction(1, 1, 1)));
    assertRefused(
        "push: the tangents have 1 and 2 directions", () -> jacobian.push(u, identity(2)));
    assertRefused("pull: [1, 2] is not [directions, *[1]]", () -> jacobian.pull(u));
    assertRefused(
        "pushOnce: [1, 2] is not [directions, *[3]]",
        () -> Jacobian.pushOnce(Variable::square, vector(1, 2, 3), u));
    assertRefused("push: there is no input to push from", () -> Jacobian.of(y).push());
  }

  @Test
  void pushAndPull_otherElementType_isRefused() {
    Variable x = Variable.input(vector(1));
    Tensor u = Tensor.zeros(DType.FLOAT, Shape.of(1, 1));
    String message = ": directions are FLOAT and the value is DOUBLE";
    assertRefused("push" + message, () -> Jacobian.of(x, x).push(u));
    assertRefused("pull" + message, () -> Jacobian.of(x, x).pull(u));
    assertRefused("pushOnce" + message, () -> Jacobian.pushOnce(Variable::square, x.value(), u));
  }

  @Test
  void gradient_severalNumbers_isRefused() {
    Variable x = Variable.input(vector(1, 2));
    assertRefused(
        "gradient: the output [2] is not one number", () -> Jacobian.of(x.square(), x).gradient());
  }

  private static void assertRefused(String message, Executable call) {
    assertEquals(message, assertThrows(IllegalArgumentException.class, call).getMessage());
  }

  // ---- lifetimes ---------------------------------------------------------------------------

  @Test
  void gradient_any_leavesOnlyItsResultsOpen() {
    Variable x = Variable.input(vector(1, 2));
    Jacobian jacobian = Jacobian.of(x.square().sum(0), x, x);
    long live = Scope.liveTensors();
    List<Tensor> gradient = jacobian.gradient();
    assertTrue(Scope.liveTensors() - live <= gradient.size());
    assertNumbers(gradient.get(1), 2, 4);
  }

  /** Live tensors while a map is followed, the most at any moment. */
  private static final class Watch {
    private long most;

    Variable at(Variable x) {
      return x.through(LinearMap.selfAdjoint("watch", x.shape(), this::look), x.value());
    }

    private Tensor look(Tensor directions) {
      most = Math.max(most, Scope.liveTensors());
      return directions.times(1);
    }

    long during(Runnable walk) {
      most = 0;
      long before = Scope.liveTensors();
      walk.run();
      return most - before;
    }
  }

  /** Of every kind of step: with residuals, branches that meet again, views and the same tensor. */
  private static Variable chain(Variable x, Watch watch, int length) {
    Variable y = x;
    for (int i = 0; i < length; i++) {
      Variable branch = watch.at(y.tanh()).reshape(1, y.shape().length()).softmax();
      y = watch.at(y.plus(branch.reshape(y.shape())).plus(y).times(y.detach()));
    }
    return y;
  }

  @Test
  void pushAndPull_longerChain_haveNoMoreAliveAtOnce() {
    Watch watch = new Watch();
    Variable x = Variable.input(vector(0.1, -0.4, 0.7));
    Jacobian few = Jacobian.of(chain(x, watch, 3), x);
    Jacobian many = Jacobian.of(chain(x, watch, 40), x);
    Tensor u = direction(1, 2, -1);
    assertEquals(watch.during(() -> few.push(u)), watch.during(() -> many.push(u)));
    assertEquals(watch.during(() -> few.pull(u)), watch.during(() -> many.pull(u)));
    assertTrue(watch.during(() -> many.push(u)) <= 4);
    assertTrue(watch.during(() -> many.pull(u)) <= 4);
  }

  @Test
  void pushAndPull_longerChain_reserveNoMoreMemory() {
    int n = 1000;
    Variable x = Variable.input(Tensor.full(DType.DOUBLE, Shape.of(n), 0.5));
    Jacobian jacobian = Jacobian.of(chain(x, new Watch(), 100), x);
    Tensor u = Tensor.full(DType.DOUBLE, Shape.of(1, n), 1);
    Scope.releaseUnused();
    long before = Scope.reservedBytes();
    jacobian.push(u);
    jacobian.pull(u);
    assertTrue(Scope.reservedBytes() - before <= 10L * n * Double.BYTES);
  }

  @Test
  void pull_inputsOnTheWay_keepTheirTotalsAndNothingElse() {
    Variable x = Variable.input(vector(0.1, -0.4, 0.7));
    Variable site = chain(x, new Watch(), 5);
    Variable y = chain(site, new Watch(), 5);
    Tensor u = direction(1, 2, -1);
    long live = Scope.liveTensors();
    List<Tensor> pulled = Jacobian.of(y, x, site, y).pull(u);
    assertEquals(live + 2, Scope.liveTensors()); // that of y is u itself
    assertNumbers(pulled.get(0), Jacobian.of(y, x).pull(u).get(0).toDoubles());
    assertNumbers(pulled.get(1), Jacobian.of(y, site).pull(u).get(0).toDoubles());
    assertNumbers(pulled.get(2), 1, 2, -1);
    assertNumbers(u, 1, 2, -1);
  }

  @Test
  void pushAndPull_errorInAStep_leaveNothingOpen() {
    Variable x = Variable.input(vector(1, 2));
    LinearMap broken =
        LinearMap.selfAdjoint(
            "broken",
            x.shape(),
            v -> {
              throw new IllegalArgumentException("no");
            });
    Jacobian jacobian = Jacobian.of(x.square().through(broken, x.value()).exp(), x);
    Tensor u = direction(1, 1);
    long live = Scope.liveTensors();
    assertRefused("push of broken: no", () -> jacobian.push(u));
    assertRefused("pull of broken: no", () -> jacobian.pull(u));
    assertEquals(live, Scope.liveTensors());
    assertEquals(scope, Scope.innermost());
  }

  @Test
  void map_oneInput_isItsDerivative() {
    Variable x = Variable.input(vector(3, 2));
    LinearMap map = Jacobian.of(x.square().sum(0), x).map();
    assertEquals("Jacobian from [2] to [1]", map.toString());
    assertNumbers(map.push(direction(1, 10)), 46);
    assertNumbers(map.pull(direction(1)), 6, 4);
    assertRefused("map: there are 2 inputs, not one", () -> Jacobian.of(x, x, x).map());
  }

  @Test
  void push_closedScope_isRefused() {
    Variable x;
    Variable y;
    try (Scope inner = Scope.open()) {
      x = Variable.input(vector(1, 2));
      y = x.tanh();
    }
    assertEquals(
        "push of tanh: tensor [2] was used after its scope closed",
        assertThrows(IllegalStateException.class, () -> Jacobian.of(y, x).push(direction(1, 1)))
            .getMessage());
  }

  // ---- pushing while evaluating ------------------------------------------------------------

  /** With residuals: the derivatives of tanh, gelu and softmax, and both factors. */
  private static Variable layers(Variable x) {
    Variable y = x;
    for (int i = 0; i < 10; i++) {
      y = y.tanh().gelu().softmax().times(y).plus(y);
    }
    return y;
  }

  @Test
  void pushOnce_manyLayers_equalsRecordedAndKeepsNoResiduals() {
    Tensor at = vector(0.1, -0.4, 0.7);
    Tensor u = Tensor.of(DType.DOUBLE, Shape.of(2, 3), 1, 0, 2, 0, -1, 1);
    long live = Scope.liveTensors();
    Jacobian.Pushed once = Jacobian.pushOnce(JacobianTest::layers, at, u);
    assertEquals(live + 2, Scope.liveTensors());
    Variable x = Variable.input(at);
    Variable y = layers(x);
    assertArrayEquals(y.value().toDoubles(), once.value().toDoubles());
    assertArrayEquals(Jacobian.of(y, x).push(u).toDoubles(), once.tangents().toDoubles());
  }

  @Test
  void pushOnce_insideTheFunction_nothingButValuesAndTangentsIsAlive() {
    Tensor at = vector(0.1, -0.4, 0.7);
    long live = Scope.liveTensors();
    Jacobian.pushOnce(
        x -> {
          Variable y = x.tanh().gelu().exp().softmax().square();
          assertTrue(y.edges().isEmpty());
          assertEquals(live + 2 * 5, Scope.liveTensors());
          return y;
        },
        at,
        at.reshape(1, 3));
  }

  @Test
  void pushOnce_constantOrIdentity_givesZerosOrTheTangents() {
    Tensor at = vector(1, 2);
    Tensor u = direction(3, 4);
    assertNumbers(Jacobian.pushOnce(x -> x.detach().square(), at, u).tangents(), 0, 0);
    assertNumbers(Jacobian.pushOnce(x -> x, at, u).tangents(), 3, 4);
  }

  @Test
  void pushOnce_functionThatRecords_isRefused() {
    Variable recorded = Variable.input(vector(1, 2));
    Tensor at = vector(1, 2);
    Tensor u = direction(3, 4);
    long live = Scope.liveTensors();
    assertEquals(
        "a variable that is pushed at once met one that is recorded: DOUBLE [2]",
        assertThrows(IllegalStateException.class, () -> Jacobian.pushOnce(recorded::times, at, u))
            .getMessage());
    assertEquals(
        "pushOnce: the function also recorded variable DOUBLE [2]",
        assertThrows(
                IllegalStateException.class, () -> Jacobian.pushOnce(x -> recorded.square(), at, u))
            .getMessage());
    assertEquals(live, Scope.liveTensors());
  }
}
