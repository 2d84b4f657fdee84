package dev.tributary.autodiff;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.Activation;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Each primitive is a row of {@link #rows}; every check runs on every row. */
class VariableTest {
  /** Directions in a batch: enough to tell them from any axis of the operands by its effect. */
  private static final int DIRECTIONS = 3;

  /** Sums of a few dozen products, each rounded; in epsilons of the type. */
  private static final double ADJOINT_ROUNDINGS = 8;

  /** The error of the difference itself: h² from curvature, epsilon / h from rounding. */
  private static final double DIFFERENCES = 1e-6;

  /** One direction may take another route through BLAS than three; in epsilons of the type. */
  private static final double BATCH_ROUNDINGS = 16;

  /** Seed of every draw here. */
  private static final long SEED = 20240229;

  private long liveBefore;

  @BeforeEach
  void countLive() {
    liveBefore = Scope.liveTensors();
  }

  @AfterEach
  void nothingIsLeftOpen() {
    assertEquals(liveBefore, Scope.liveTensors());
  }

  // ---- the table ---------------------------------------------------------------------------

  /** Where operands are drawn from: anywhere, or away from 0 where a function is not smooth. */
  private enum Domain {
    ANY,
    POSITIVE
  }

  /** A primitive applied to operands of certain shapes. */
  private record Row(
      String method,
      Domain domain,
      Function<List<Variable>, Variable> function,
      List<Shape> shapes) {
    @Override
    public String toString() {
      return method + " of " + shapes;
    }
  }

  private static Row unary(String method, UnaryOperator<Variable> function, int... dimensions) {
    return new Row(
        method,
        Domain.ANY,
        operands -> function.apply(operands.get(0)),
        List.of(Shape.of(dimensions)));
  }

  private static Row positive(String method, UnaryOperator<Variable> function, int... dimensions) {
    return new Row(
        method,
        Domain.POSITIVE,
        operands -> function.apply(operands.get(0)),
        List.of(Shape.of(dimensions)));
  }

  private static Shape s(int... dimensions) {
    return Shape.of(dimensions);
  }

  /** What element-wise primitives of two operands must broadcast. */
  private static final List<List<Shape>> BROADCASTS =
      List.of(
          List.of(s(2, 4), s(2, 4)),
          List.of(s(2, 4), s(4)),
          List.of(s(4), s(2, 4)),
          List.of(s(2, 1), s(2, 4)),
          List.of(s(2, 4), s(1, 4)),
          List.of(s(2, 1, 4), s(5, 1)),
          List.of(s(3, 1), s(1, 3)),
          List.of(s(), s(2, 3)),
          List.of(s(1, 1, 2), s()),
          List.of(s(), s()),
          List.of(s(0, 3), s(1, 3)));

  private static final List<List<Shape>> PRODUCTS =
      List.of(
          List.of(s(4, 2), s(2, 3)),
          List.of(s(1, 2), s(2, 3)),
          List.of(s(4, 2), s(2, 1)),
          List.of(s(2, 4, 2), s(2, 3)),
          List.of(s(4, 2), s(5, 2, 3)),
          List.of(s(5, 4, 2), s(5, 2, 3)),
          List.of(s(5, 1, 4, 2), s(2, 2, 3)),
          List.of(s(1, 4, 2), s(2, 1, 2, 3)),
          List.of(s(2, 6, 7), s(7, 5)),
          List.of(s(2, 0), s(0, 3)),
          List.of(s(2, 3), s(3, 0)));

  private static Tensor gain(Variable x, int n) {
    return draw(x.value().dtype(), Domain.ANY, s(n), new Random(SEED + 1));
  }

  private static Variable rotated(Variable x, int pairs, int distance) {
    Random random = new Random(SEED + 2);
    Shape angles = s(x.shape().size(-2), pairs);
    Tensor cosine = draw(x.value().dtype(), Domain.ANY, angles, random);
    Tensor sine = draw(x.value().dtype(), Domain.ANY, angles, random);
    return x.rotated(cosine, sine, distance);
  }

  private static Stream<Row> rows() {
    List<Row> rows = new ArrayList<>();
    for (List<Shape> pair : BROADCASTS) {
      rows.add(new Row("plus(Variable)", Domain.ANY, x -> x.get(0).plus(x.get(1)), pair));
      rows.add(new Row("minus(Variable)", Domain.ANY, x -> x.get(0).minus(x.get(1)), pair));
      rows.add(new Row("times(Variable)", Domain.ANY, x -> x.get(0).times(x.get(1)), pair));
      rows.add(new Row("over(Variable)", Domain.POSITIVE, x -> x.get(0).over(x.get(1)), pair));
    }
    for (Activation function : Activation.values()) {
      rows.add(
          new Row(
              "gated(Activation, Variable)",
              Domain.ANY,
              x -> x.get(0).gated(function, x.get(1)),
              List.of(s(4, 5), s(4, 5))));
    }
    for (List<Shape> pair : PRODUCTS) {
      Shape left = pair.get(0);
      Shape right = pair.get(1);
      Shape turned = right.with(-2, right.size(-1)).with(-1, right.size(-2));
      rows.add(new Row("matmul(Variable)", Domain.ANY, x -> x.get(0).matmul(x.get(1)), pair));
      rows.add(
          new Row(
              "matmulTransposed(Variable)",
              Domain.ANY,
              x -> x.get(0).matmulTransposed(x.get(1)),
              List.of(left, turned)));
    }
    for (Shape input : List.of(s(2), s(4, 2), s(5, 4, 2), s(0, 2))) {
      rows.add(
          new Row(
              "affine(Variable, Variable)",
              Domain.ANY,
              x -> x.get(0).affine(x.get(1), x.get(2)),
              List.of(input, s(2, 3), s(3))));
    }
    rows.add(
        new Row(
            "affine(Variable, Variable)",
            Domain.ANY,
            x -> x.get(0).affine(x.get(1), x.get(2)),
            List.of(s(4, 0), s(0, 3), s(3))));
    for (Shape input : List.of(s(3), s(4, 3), s(2, 4, 3), s(4, 1))) {
      int n = input.size(-1);
      rows.add(
          new Row(
              "rescaled(Variable, Tensor, Tensor)",
              Domain.POSITIVE,
              x -> x.get(0).rescaled(x.get(1), gain(x.get(0), n), gain(x.get(0), n).times(2)),
              List.of(input, input.with(-1, 1))));
    }
    rows.add(
        new Row(
            "concat(int, List)",
            Domain.ANY,
            x -> Variable.concat(-1, x),
            List.of(s(2, 3), s(2, 1), s(2, 0))));
    rows.add(
        new Row(
            "concat(int, List)",
            Domain.ANY,
            x -> Variable.concat(0, x),
            List.of(s(2, 3), s(1, 3))));
    rows.add(
        new Row(
            "concat(int, List)",
            Domain.ANY,
            x -> Variable.concat(0, List.of(x.get(0), x.get(0))),
            List.of(s(2))));
    return Stream.concat(
        rows.stream(),
        Stream.of(
            unary("plus(double)", x -> x.plus(0.7), 2, 3),
            unary("times(double)", x -> x.times(-0.7), 2, 3),
            unary("square()", Variable::square, 2, 3),
            positive("sqrt()", Variable::sqrt, 2, 3),
            unary("exp()", Variable::exp, 2, 3),
            unary("exp()", Variable::exp),
            positive("log()", Variable::log, 2, 3),
            unary("tanh()", Variable::tanh, 2, 3),
            unary("relu()", Variable::relu, 4, 5),
            unary("gelu()", Variable::gelu, 4, 5),
            unary("exactGelu()", Variable::exactGelu, 4, 5),
            unary("silu()", Variable::silu, 4, 5),
            unary("sum(int)", x -> x.sum(-1), 2, 3),
            unary("sum(int)", x -> x.sum(0), 2, 3, 4),
            unary("sum(int)", x -> x.sum(1), 2, 0, 4),
            unary("centred(int)", x -> x.centred(-1), 2, 3),
            unary("centred(int)", x -> x.centred(1), 2, 3, 4),
            unary("rootMeanSquare(double)", x -> x.rootMeanSquare(0.1), 3),
            unary("rootMeanSquare(double)", x -> x.rootMeanSquare(0.1), 2, 4, 3),
            unary("rotated(Tensor, Tensor, int)", x -> rotated(x, 2, 2), 3, 5),
            unary("rotated(Tensor, Tensor, int)", x -> rotated(x, 2, 1), 2, 3, 4),
            unary("rotated(Tensor, Tensor, int)", x -> rotated(x, 4, 2), 3, 8),
            unary("mean(int)", x -> x.mean(-1), 2, 3),
            unary("mean(int)", x -> x.mean(1), 2, 3, 4),
            unary("softmax()", Variable::softmax, 5),
            unary("softmax()", Variable::softmax, 2, 3, 5),
            unary("causalSoftmax(int)", x -> x.causalSoftmax(1), 2, 4, 4),
            unary("causalSoftmax(int)", x -> x.causalSoftmax(3), 2, 5),
            unary("logSoftmax()", Variable::logSoftmax, 5),
            unary("logSoftmax()", Variable::logSoftmax, 2, 3, 5),
            // Finite differences of minus infinity are none: the mask is seen through a softmax.
            unary("causalMask(int)", x -> x.causalMask(1).softmax(), 4, 4),
            unary("causalMask(int)", x -> x.causalMask(2).softmax(), 2, 3, 5),
            unary("topK(int)", x -> x.topK(2), 3, 6),
            unary("topK(int)", x -> x.topK(0), 6),
            unary("reshape(Shape)", x -> x.reshape(Shape.of(3, 2)), 2, 3),
            unary("reshape(int[])", x -> x.reshape(6), 2, 3),
            unary("reshape(int[])", x -> x.reshape(), 1, 1),
            unary("permute(int[])", x -> x.permute(2, 0, 1), 2, 3, 4),
            unary("permute(int[])", x -> x.permute(), new int[0]),
            unary("slice(int, int, int)", x -> x.slice(0, 1, 3), 4, 2),
            unary("slice(int, int, int)", x -> x.slice(-1, 1, 3), 2, 4),
            unary("slice(int, int, int)", x -> x.slice(1, 2, 2), 2, 4),
            unary("gather(int, int[])", x -> x.gather(0, 2, 0, 2), 3, 2),
            unary("gather(int, int[])", x -> x.gather(-1, 1), 2, 4),
            unary("gather(int, int[])", x -> x.gather(1), 2, 4)));
  }

  /** Public methods that give a variable but are no primitive, and why. */
  private static final Map<String, String> EXEMPT =
      Map.of(
          "input(Tensor)", "a leaf",
          "constant(Tensor)", "a leaf",
          "detach()", "a constant, see detach_live_isAConstantOfTheSameValue",
          "through(LinearMap, Tensor)", "its map is the caller's, see through_ownMap_isFollowed",
          "resultOf(Supplier)", "steps of other primitives, see resultOf_steps_keepsTheirResult");

  @Test
  void everyPublicPrimitive_hasARow() {
    Set<String> primitives = new TreeSet<>();
    for (Method method : Variable.class.getDeclaredMethods()) {
      if (Modifier.isPublic(method.getModifiers()) && method.getReturnType() == Variable.class) {
        primitives.add(
            Arrays.stream(method.getParameterTypes())
                .map(Class::getSimpleName)
                .collect(Collectors.joining(", ", method.getName() + "(", ")")));
      }
    }
    Set<String> checked = rows().map(Row::method).collect(Collectors.toCollection(TreeSet::new));
    checked.addAll(EXEMPT.keySet());
    assertEquals(primitives, checked);
  }

  // ---- a row with some operands live -------------------------------------------------------

  private static Tensor draw(DType dtype, Domain domain, Shape shape, Random random) {
    double[] values = new double[shape.length()];
    for (int i = 0; i < values.length; i++) {
      double gaussian = random.nextGaussian();
      values[i] = domain == Domain.POSITIVE ? 0.5 + Math.abs(gaussian) : gaussian;
    }
    return Tensor.of(dtype, shape, values);
  }

  /**
   * A row as a function of one variable: all live operands flattened and joined; the others are
   * constants.
   *
   * @param name which operands are live
   */
  private record Joined(String name, UnaryOperator<Variable> function, Tensor at) {}

  /** The row with each operand live alone, and with all live. */
  private static List<Joined> joined(Row row, DType dtype) {
    Random random = new Random(SEED);
    List<Tensor> values = new ArrayList<>();
    for (Shape shape : row.shapes) {
      values.add(draw(dtype, row.domain, shape, random));
    }
    List<Joined> result = new ArrayList<>();
    for (int i = 0; i < values.size(); i++) {
      int live = i;
      result.add(
          new Joined(
              row + ", operand " + i + " live, seed " + SEED,
              x -> {
                List<Variable> operands =
                    values.stream().map(Variable::constant).collect(Collectors.toList());
                operands.set(live, x);
                return row.function.apply(operands);
              },
              values.get(i)));
    }
    if (values.size() > 1) {
      Tensor flat =
          Tensor.concat(0, values.stream().map(x -> x.reshape(x.shape().length())).toList());
      result.add(
          new Joined(
              row + ", all live, seed " + SEED,
              x -> {
                List<Variable> operands = new ArrayList<>();
                int from = 0;
                for (Shape shape : row.shapes) {
                  operands.add(x.slice(0, from, from + shape.length()).reshape(shape));
                  from += shape.length();
                }
                return row.function.apply(operands);
              },
              flat));
    }
    return result;
  }

  private interface Check {
    void run(Joined joined, DType dtype);
  }

  private static void each(Row row, Check check) {
    for (DType dtype : DType.values()) {
      try (Scope scope = Scope.open()) {
        for (Joined joined : joined(row, dtype)) {
          check.run(joined, dtype);
        }
      }
    }
  }

  // ---- what must hold for every row --------------------------------------------------------

  @ParameterizedTest
  @MethodSource("rows")
  void pushAndPull_eachPrimitive_areAdjoint(Row row) {
    each(
        row,
        (joined, dtype) -> {
          Variable input = Variable.input(joined.at);
          Variable output = joined.function.apply(input);
          double error =
              DerivativeCheck.adjoint(Jacobian.of(output, input).map(), dtype, DIRECTIONS, SEED);
          assertTrue(error <= ADJOINT_ROUNDINGS * dtype.epsilon(), joined.name + ": " + error);
        });
  }

  @ParameterizedTest
  @MethodSource("rows")
  void push_eachPrimitive_equalsCentralDifferences(Row row) {
    try (Scope scope = Scope.open()) {
      for (Joined joined : joined(row, DType.DOUBLE)) {
        double error = DerivativeCheck.centralDifferences(joined.function, joined.at, SEED);
        assertTrue(error <= DIFFERENCES, joined.name + ": " + error);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("rows")
  void pushAndPull_batch_equalsOneByOne(Row row) {
    each(
        row,
        (joined, dtype) -> {
          Random random = new Random(SEED + 1);
          Variable input = Variable.input(joined.at);
          Variable output = joined.function.apply(input);
          LinearMap map = Jacobian.of(output, input).map();
          Tensor u = draw(dtype, Domain.ANY, input.shape().prepend(DIRECTIONS), random);
          Tensor v = draw(dtype, Domain.ANY, output.shape().prepend(DIRECTIONS), random);
          assertOneByOne(joined.name + " pushed", map::push, u);
          assertOneByOne(joined.name + " pulled", map::pull, v);
        });
  }

  private static void assertOneByOne(String name, UnaryOperator<Tensor> map, Tensor batch) {
    Tensor together = map.apply(batch);
    for (int i = 0; i < DIRECTIONS; i++) {
      assertArrayEquals(
          map.apply(batch.slice(0, i, i + 1)).toDoubles(),
          together.slice(0, i, i + 1).toDoubles(),
          BATCH_ROUNDINGS * batch.dtype().epsilon(),
          name);
    }
  }

  @ParameterizedTest
  @MethodSource("rows")
  void pushOnce_eachPrimitive_equalsRecordedPush(Row row) {
    each(
        row,
        (joined, dtype) -> {
          Tensor u =
              draw(dtype, Domain.ANY, joined.at.shape().prepend(DIRECTIONS), new Random(SEED + 2));
          Variable input = Variable.input(joined.at);
          Variable output = joined.function.apply(input);
          Tensor recorded = Jacobian.of(output, input).push(u);
          Jacobian.Pushed once = Jacobian.pushOnce(joined.function, joined.at, u);
          assertSameNumbers(joined.name + ", value", output.value(), once.value());
          assertSameNumbers(joined.name + ", tangents", recorded, once.tangents());
        });
  }

  private static void assertSameNumbers(String name, Tensor expected, Tensor actual) {
    assertEquals(expected.shape(), actual.shape(), name);
    assertArrayEquals(expected.toDoubles(), actual.toDoubles(), name);
  }

  @ParameterizedTest
  @MethodSource("rows")
  void derivative_eachPrimitive_leavesOnlyResultsOpen(Row row) {
    each(
        row,
        (joined, dtype) -> {
          try (Scope scope = Scope.open()) {
            Variable input = Variable.input(joined.at);
            Variable output = joined.function.apply(input);
            Jacobian jacobian = Jacobian.of(output, input);
            Tensor u = Tensor.zeros(dtype, input.shape().prepend(2));
            Tensor v = Tensor.zeros(dtype, output.shape().prepend(2));
            long live = Scope.liveTensors();
            jacobian.push(u);
            jacobian.pull(v);
            assertTrue(Scope.liveTensors() - live <= 2, joined.name);
            live = Scope.liveTensors();
            Jacobian.pushOnce(joined.function, joined.at, u);
            assertTrue(Scope.liveTensors() - live <= 2, joined.name + " once");
          }
        });
  }

  @ParameterizedTest
  @MethodSource("rows")
  void constants_eachPrimitive_recordNothing(Row row) {
    each(
        row,
        (joined, dtype) -> {
          for (Variable constant :
              List.of(Variable.constant(joined.at), Variable.input(joined.at).detach())) {
            Variable output = joined.function.apply(constant);
            assertTrue(output.isConstant(), joined.name);
            assertTrue(output.edges().isEmpty(), joined.name);
          }
        });
  }

  @ParameterizedTest
  @MethodSource("rows")
  void edges_eachPrimitive_onlyFromLiveOperands(Row row) {
    each(
        row,
        (joined, dtype) -> {
          Variable output = joined.function.apply(Variable.input(joined.at));
          assertTrue(!output.isConstant(), joined.name);
          for (Variable.Edge edge : output.edges()) {
            assertTrue(!edge.from().isConstant(), joined.name);
          }
        });
  }

  // ---- drawn shapes ------------------------------------------------------------------------

  /** Shapes of two operands that broadcast. */
  @Provide
  Arbitrary<List<Shape>> broadcasting() {
    Arbitrary<int[]> sizes = Arbitraries.of(0, 1, 2, 3).array(int[].class).ofMaxSize(4);
    Arbitrary<Integer> bits = Arbitraries.integers().between(0, 127);
    return Combinators.combine(sizes, bits, bits)
        .as((whole, left, right) -> List.of(part(whole, left), part(whole, right)));
  }

  /** The shape without some of its leading axes and with others set to 1. */
  private static Shape part(int[] whole, int bits) {
    int[] dimensions = Arrays.copyOfRange(whole, Math.min(whole.length, bits >> 5), whole.length);
    for (int axis = 0; axis < dimensions.length; axis++) {
      if ((bits >> axis & 1) == 1) {
        dimensions[axis] = 1;
      }
    }
    return Shape.of(dimensions);
  }

  @Property(tries = 200)
  void pushAndPull_drawnShapes_areAdjoint(@ForAll("broadcasting") List<Shape> pair) {
    Shape left = Shape.of(4, 2);
    Shape right = Shape.of(2, 3);
    List<Shape> factors =
        List.of(left.prepend(pair.get(0).dimensions()), right.prepend(pair.get(1).dimensions()));
    for (Row row :
        List.of(
            new Row("plus(Variable)", Domain.ANY, x -> x.get(0).plus(x.get(1)), pair),
            new Row("minus(Variable)", Domain.ANY, x -> x.get(0).minus(x.get(1)), pair),
            new Row("times(Variable)", Domain.ANY, x -> x.get(0).times(x.get(1)), pair),
            new Row("over(Variable)", Domain.POSITIVE, x -> x.get(0).over(x.get(1)), pair),
            new Row("matmul(Variable)", Domain.ANY, x -> x.get(0).matmul(x.get(1)), factors))) {
      pushAndPull_eachPrimitive_areAdjoint(row);
      push_eachPrimitive_equalsCentralDifferences(row);
    }
  }

  // ---- values ------------------------------------------------------------------------------

  @Test
  void mean_anyAxis_dividesTheSum() {
    try (Scope scope = Scope.open()) {
      Variable x = Variable.input(Tensor.of(DType.DOUBLE, s(2, 2), 1, 2, 3, 4));
      assertArrayEquals(new double[] {2, 3}, x.mean(0).value().toDoubles());
      assertArrayEquals(new double[] {1.5, 3.5}, x.mean(-1).value().toDoubles());
    }
  }

  @Test
  void causalMask_hiddenEntries_areMinusInfinityAndPassNothing() {
    try (Scope scope = Scope.open()) {
      Variable x = Variable.input(Tensor.of(DType.FLOAT, s(2, 3), 1, 2, 3, 4, 5, 6));
      Variable masked = x.causalMask(1);
      double hidden = Double.NEGATIVE_INFINITY;
      assertArrayEquals(new double[] {1, hidden, hidden, 4, 5, hidden}, masked.value().toDoubles());
      Tensor ones = Tensor.full(DType.FLOAT, s(1, 2, 3), 1);
      double[] seen = {1, 0, 0, 1, 1, 0};
      Jacobian jacobian = Jacobian.of(masked, x);
      assertArrayEquals(seen, jacobian.push(ones).toDoubles());
      assertArrayEquals(seen, jacobian.pull(ones).get(0).toDoubles());
    }
  }

  @Test
  void causalMask_badArguments_saysBothSides() {
    try (Scope scope = Scope.open()) {
      Variable x = Variable.input(Tensor.zeros(DType.FLOAT, s(3)));
      assertEquals(
          "causalMask: 1 visible entries in the first row of [3]",
          assertThrows(IllegalArgumentException.class, () -> x.causalMask(1)).getMessage());
    }
  }

  @Test
  void relu_atZero_hasDerivativeZero() {
    try (Scope scope = Scope.open()) {
      Variable x = Variable.input(Tensor.of(DType.FLOAT, s(3), -1, 0, 2));
      Tensor ones = Tensor.full(DType.FLOAT, s(1, 3), 1);
      assertArrayEquals(new double[] {0, 0, 1}, Jacobian.of(x.relu(), x).push(ones).toDoubles());
    }
  }

  @Test
  void topK_tiedEntries_keepsTheFirstAndItsDerivative() {
    try (Scope scope = Scope.open()) {
      Variable x = Variable.input(Tensor.of(DType.FLOAT, s(4), 5, 7, 5, 5));
      Variable kept = x.topK(2);
      Tensor ones = Tensor.full(DType.FLOAT, s(1, 4), 1);
      assertArrayEquals(new double[] {5, 7, 0, 0}, kept.value().toDoubles());
      assertArrayEquals(
          new double[] {1, 1, 0, 0}, Jacobian.of(kept, x).pull(ones).get(0).toDoubles());
    }
  }

  @Test
  void concat_nothing_isRefused() {
    assertEquals(
        "concat: there is nothing to join",
        assertThrows(IllegalArgumentException.class, () -> Variable.concat(0, List.of()))
            .getMessage());
  }

  @Test
  void gather_indicesChangedLater_keepsItsOwn() {
    try (Scope scope = Scope.open()) {
      Variable x = Variable.input(Tensor.of(DType.FLOAT, s(3), 1, 2, 3));
      int[] indices = {2, 0};
      Variable y = x.gather(0, indices);
      indices[0] = 1;
      assertArrayEquals(
          new double[] {9, 7},
          Jacobian.of(y, x).push(Tensor.of(DType.FLOAT, s(1, 3), 7, 8, 9)).toDoubles());
    }
  }

  // ---- leaves ------------------------------------------------------------------------------

  @Test
  void detach_live_isAConstantOfTheSameValue() {
    try (Scope scope = Scope.open()) {
      Variable x = Variable.input(Tensor.of(DType.FLOAT, s(2), 1, 2));
      Variable detached = x.square().detach();
      assertTrue(detached.isConstant());
      assertArrayEquals(new double[] {1, 4}, detached.value().toDoubles());
      assertSame(detached, detached.detach());
      assertSame(x.value(), x.detach().value());
    }
  }

  @Test
  void through_ownMap_isFollowed() {
    try (Scope scope = Scope.open()) {
      Tensor weight = Tensor.of(DType.DOUBLE, s(3, 2), 1, 2, 3, 4, 5, 6);
      Variable x = Variable.input(Tensor.of(DType.DOUBLE, s(1, 3), 1, 0, -1));
      Variable y = x.through(Variable.rightFactor(x.shape(), weight), x.value().matmul(weight));
      Tensor u = Tensor.of(DType.DOUBLE, s(1, 1, 3), 0, 1, 0);
      assertArrayEquals(new double[] {3, 4}, Jacobian.of(y, x).push(u).toDoubles());
      assertTrue(
          x.detach().through(Variable.rightFactor(x.shape(), weight), y.value()).isConstant());
    }
  }

  @Test
  void resultOf_steps_keepsTheirResult() {
    try (Scope scope = Scope.open()) {
      Tensor at = Tensor.of(DType.DOUBLE, s(2, 3), 1, 2, 3, 4, 5, 6);
      Tensor u = Tensor.of(DType.DOUBLE, s(1, 2, 3), 1, -1, 2, 0, 3, 1);
      Variable weight = Variable.constant(Tensor.of(DType.DOUBLE, s(3, 2), 1, 0, -1, 2, 0.5, 3));
      UnaryOperator<Variable> steps = x -> x.matmul(weight).permute(1, 0).times(3).causalMask(1);
      UnaryOperator<Variable> result = x -> Variable.resultOf(() -> steps.apply(x));
      Variable x = Variable.input(at);
      Variable expected = steps.apply(x);
      long live = Scope.liveTensors();
      Variable actual = result.apply(x);
      assertEquals(live + 1, Scope.liveTensors());
      assertSameNumbers("value", expected.value(), actual.value());
      assertSameNumbers("pushed", Jacobian.of(expected, x).push(u), Jacobian.of(actual, x).push(u));
      Tensor v = Tensor.of(DType.DOUBLE, s(1, 2, 2), 1, 2, 3, 4);
      assertSameNumbers(
          "pulled", Jacobian.of(expected, x).pull(v).get(0), Jacobian.of(actual, x).pull(v).get(0));
      assertSameNumbers(
          "pushed at once",
          Jacobian.of(expected, x).push(u),
          Jacobian.pushOnce(result, at, u).tangents());
    }
  }

  @Test
  void resultOf_stepThatHoldsAValueOnTheWay_saysSo() {
    try (Scope scope = Scope.open()) {
      Variable x = Variable.input(Tensor.of(DType.DOUBLE, s(2), 1, 2));
      Variable y = Variable.resultOf(() -> x.exp().times(2));
      Tensor u = Tensor.of(DType.DOUBLE, s(1, 2), 1, 1);
      assertEquals(
          "pull of exp: tensor [2] was used after its scope closed",
          assertThrows(IllegalStateException.class, () -> Jacobian.of(y, x).pull(u)).getMessage());
    }
  }

  @Test
  void toString_saysWhetherItVaries() {
    try (Scope scope = Scope.open()) {
      Tensor x = Tensor.zeros(DType.FLOAT, s(2, 3));
      assertEquals("variable FLOAT [2, 3]", Variable.input(x).toString());
      assertEquals("constant FLOAT [2, 3]", Variable.constant(x).toString());
    }
  }
}
