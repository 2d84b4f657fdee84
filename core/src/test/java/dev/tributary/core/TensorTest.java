package dev.tributary.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.DoubleUnaryOperator;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Assume;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.lifecycle.AddLifecycleHook;
import org.junit.jupiter.api.function.Executable;

/** Every operation of {@link Tensor} against {@link Reference}. */
@AddLifecycleHook(InScope.class)
class TensorTest {
  private static final int TRIES = 150;

  /** Copies, and functions that IEEE 754 rounds correctly, are the same on any machine. */
  private static final double EXACT = 0;

  /** A few operations on numbers near 1, or one elementary function: each may round by half. */
  private static final double FEW_ROUNDINGS = 8;

  @Provide
  Arbitrary<Operand> operands() {
    return Operand.any(0);
  }

  @Provide
  Arbitrary<Operand> withAxes() {
    return Operand.any(1);
  }

  @Provide
  Arbitrary<Operand> rows() {
    return Operand.ofRows(1);
  }

  @Provide
  Arbitrary<Operand.Pair> pairs() {
    return Operand.broadcasting();
  }

  @Provide
  Arbitrary<Operand.Pair> factors() {
    return Operand.factors();
  }

  /**
   * Compares an operation with its reference, when its result lies in recycled memory full of NaN.
   */
  private static void check(Reference expected, Supplier<Tensor> operation, double roundings) {
    try (Scope dirty = Scope.open()) {
      Tensor first = operation.get();
      for (int i = 0; i < 3; i++) {
        Tensor.full(first.dtype(), first.shape(), Double.NaN);
      }
    }
    expected.assertClose(operation.get(), roundings);
  }

  /** Rounding errors of a sum of so many numbers near 1. */
  private static double roundingsOfSum(int count) {
    return FEW_ROUNDINGS + count;
  }

  // ---- making and reading ------------------------------------------------------------------

  @Property(tries = TRIES)
  void of_anyNumbers_readsThemBack(@ForAll("operands") Operand x) {
    Reference numbers = x.reference();
    Tensor tensor = numbers.tensor(x.dtype());
    assertEquals(x.dtype(), tensor.dtype());
    assertEquals(x.shape(), tensor.shape());
    assertArrayEquals(numbers.values(), tensor.toDoubles());
  }

  @Example
  void of_tooFewNumbers_saysBothCounts() {
    assertRefused(
        "a tensor [2, 3] has 6 elements, not 2",
        () -> Tensor.of(DType.FLOAT, Shape.of(2, 3), 1, 2));
  }

  @Example
  void of_float_roundsToNearest() {
    assertEquals((float) Math.PI, Tensor.of(DType.FLOAT, Shape.of(), Math.PI).item(), EXACT, "pi");
  }

  @Property(tries = TRIES)
  void full_anyShape_repeatsTheNumber(@ForAll("operands") Operand x) {
    check(
        Reference.generate(x.shape(), i -> -1.5),
        () -> Tensor.full(x.dtype(), x.shape(), -1.5),
        EXACT);
  }

  @Property(tries = TRIES)
  void zeros_anyShape_areZero(@ForAll("operands") Operand x) {
    check(Reference.generate(x.shape(), i -> 0), () -> Tensor.zeros(x.dtype(), x.shape()), EXACT);
  }

  @Property(tries = TRIES)
  void generate_anyShape_asksInOrder(@ForAll("operands") Operand x) {
    double[] numbers = x.reference().values();
    check(
        x.reference(),
        () ->
            Tensor.generate(
                x.dtype(),
                x.shape(),
                (from, values, count) -> System.arraycopy(numbers, from, values, 0, count)),
        EXACT);
  }

  /** Also of more than a piece, and of rows that do not follow each other. */
  @Property(tries = TRIES)
  void forEach_anyShape_tellsAllInOrder(
      @ForAll @IntRange(min = 1, max = 90) int rows,
      @ForAll @IntRange(min = 1, max = 90) int columns,
      @ForAll boolean spaced) {
    double[] numbers = IntStream.range(0, rows * columns).mapToDouble(i -> i).toArray();
    try (Scope scope = Scope.open()) {
      Tensor x = Tensor.of(DType.FLOAT, Shape.of(rows, columns), numbers);
      long open = Scope.liveTensors() + (spaced ? 1 : 0);
      List<Double> told = new ArrayList<>();
      (spaced ? x.spacedRows() : x)
          .forEach(
              (from, values, count) -> {
                assertEquals(told.size(), from);
                assertTrue(count > 0);
                Arrays.stream(values, 0, count).forEach(told::add);
              });
      assertTrue(Scope.liveTensors() <= open);
      assertEquals(Arrays.stream(numbers).boxed().toList(), told);
    }
  }

  @Property(tries = TRIES)
  void get_anyElement_isTheOneAtTheIndex(@ForAll("operands") Operand x) {
    Assume.that(x.shape().length() <= 1000);
    Tensor tensor = x.tensor();
    x.reference().assertClose(Reference.generate(x.shape(), tensor::get).tensor(x.dtype()), EXACT);
  }

  @Example
  void get_outside_saysShapeAndIndex() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(2, 3));
    assertRefused("tensor [2, 3] has no element [0, 3]", () -> x.get(0, 3));
    assertRefused("tensor [2, 3] has no element [-1, 0]", () -> x.get(-1, 0));
    assertRefused("tensor [2, 3] has no element [0]", () -> x.get(0));
  }

  @Example
  void item_onlyElement_isIt() {
    assertEquals(7, Tensor.full(DType.FLOAT, Shape.of(1, 1), 7).item());
    assertRefused(
        "item: tensor [2] has 2 elements", () -> Tensor.zeros(DType.FLOAT, Shape.of(2)).item());
  }

  @Property(tries = TRIES)
  void isFinite_oneOddElement_isFalse(
      @ForAll("operands") Operand x, @ForAll @IntRange(max = 3) int odd) {
    assertTrue(x.tensor().isFinite());
    Assume.that(x.shape().length() > 0);
    double[] values = x.reference().values();
    double[] odds = {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, 1e300};
    values[x.random().nextInt(values.length)] = odds[odd];
    Tensor tensor = Tensor.of(x.dtype(), x.shape(), values);
    assertEquals(odd == 3 && x.dtype() == DType.DOUBLE, tensor.isFinite());
  }

  @Example
  void reaching_matrix_saysWhereItMayBeLarge() {
    Tensor x = Tensor.of(DType.FLOAT, Shape.of(2, 3), -3, 1, 2, 0, 2.5, -1);
    assertArrayEquals(new int[] {0, 4}, x.reaching(new double[2], new double[3], 2.5));
    assertArrayEquals(
        new int[] {0, 2, 4}, x.reaching(new double[] {1, 0}, new double[] {0, 0, 0.5}, 2.5));
    assertRefused(
        "reaching: 2 rows and 2 columns for [2, 3]",
        () -> x.reaching(new double[2], new double[2], 1));
  }

  @Example
  void toString_aTensor_saysTypeAndShape() {
    assertEquals("FLOAT [2, 3]", Tensor.zeros(DType.FLOAT, Shape.of(2, 3)).toString());
  }

  // ---- element-wise ------------------------------------------------------------------------

  @Property(tries = TRIES)
  void plus_broadcasting_equalsReference(@ForAll("pairs") Operand.Pair pair) {
    Tensor left = pair.left().tensor();
    Tensor right = pair.right().tensor();
    check(
        pair.left().reference().zip(pair.right().reference(), Double::sum),
        () -> left.plus(right),
        FEW_ROUNDINGS);
  }

  @Property(tries = TRIES)
  void minus_broadcasting_equalsReference(@ForAll("pairs") Operand.Pair pair) {
    Tensor left = pair.left().tensor();
    Tensor right = pair.right().tensor();
    check(
        pair.left().reference().zip(pair.right().reference(), (x, y) -> x - y),
        () -> left.minus(right),
        FEW_ROUNDINGS);
  }

  @Property(tries = TRIES)
  void times_broadcasting_equalsReference(@ForAll("pairs") Operand.Pair pair) {
    Tensor left = pair.left().tensor();
    Tensor right = pair.right().tensor();
    check(
        pair.left().reference().zip(pair.right().reference(), (x, y) -> x * y),
        () -> left.times(right),
        FEW_ROUNDINGS);
  }

  @Property(tries = TRIES)
  void over_broadcasting_equalsReference(@ForAll("pairs") Operand.Pair pair) {
    Tensor left = pair.left().tensor();
    Tensor right = pair.right().tensor();
    check(
        pair.left().reference().zip(pair.right().reference(), (x, y) -> x / y),
        () -> left.over(right),
        FEW_ROUNDINGS);
  }

  @Property(tries = TRIES)
  void plus_number_equalsReference(@ForAll("operands") Operand x) {
    Tensor tensor = x.tensor();
    check(x.reference().map(v -> v + 0.7), () -> tensor.plus(0.7), FEW_ROUNDINGS);
  }

  @Property(tries = TRIES)
  void times_number_equalsReference(@ForAll("operands") Operand x) {
    Tensor tensor = x.tensor();
    check(x.reference().map(v -> v * -0.7), () -> tensor.times(-0.7), FEW_ROUNDINGS);
  }

  @Example
  void plus_sameOperandTwice_doubles() {
    Tensor x = Tensor.of(DType.FLOAT, Shape.of(2), 1, 2);
    assertArrayEquals(new double[] {2, 4}, x.plus(x).toDoubles());
  }

  @Example
  void plus_misfits_saysBothSides() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(2, 3));
    assertRefused(
        "shapes [2, 3] and [2] do not broadcast (3 and 2)",
        () -> x.plus(Tensor.zeros(DType.FLOAT, Shape.of(2))));
    assertRefused(
        "plus: left is FLOAT and right is DOUBLE",
        () -> x.plus(Tensor.zeros(DType.DOUBLE, Shape.of(2, 3))));
  }

  private static void checkEach(
      Operand x, UnaryOperator<Tensor> operation, DoubleUnaryOperator expected, double roundings) {
    Tensor tensor = x.tensor();
    check(x.reference().map(expected), () -> operation.apply(tensor), roundings);
  }

  @Property(tries = TRIES)
  void negate_anyNumbers_equalsReference(@ForAll("operands") Operand x) {
    checkEach(x, Tensor::negate, v -> -v, EXACT);
  }

  @Property(tries = TRIES)
  void square_anyNumbers_equalsReference(@ForAll("operands") Operand x) {
    checkEach(x, Tensor::square, v -> v * v, FEW_ROUNDINGS);
  }

  @Property(tries = TRIES)
  void sqrt_anyNumbers_equalsReference(@ForAll("operands") Operand x) {
    checkEach(x, Tensor::sqrt, Math::sqrt, FEW_ROUNDINGS);
  }

  @Property(tries = TRIES)
  void exp_anyNumbers_equalsReference(@ForAll("operands") Operand x) {
    checkEach(x, Tensor::exp, Math::exp, FEW_ROUNDINGS);
  }

  @Property(tries = TRIES)
  void log_anyNumbers_equalsReference(@ForAll("operands") Operand x) {
    checkEach(x, Tensor::log, Math::log, FEW_ROUNDINGS);
  }

  @Property(tries = TRIES)
  void tanh_anyNumbers_equalsReference(@ForAll("operands") Operand x) {
    checkEach(x, Tensor::tanh, Math::tanh, FEW_ROUNDINGS);
  }

  @Property(tries = TRIES)
  void relu_anyNumbers_equalsReference(@ForAll("operands") Operand x) {
    checkEach(x, Tensor::relu, v -> Math.max(v, 0), EXACT);
  }

  @Property(tries = TRIES)
  void positive_anyNumbers_equalsReference(@ForAll("operands") Operand x) {
    checkEach(x, Tensor::positive, v -> v > 0 ? 1 : 0, EXACT);
  }

  @Example
  void positive_zero_isZero() {
    Tensor x = Tensor.of(DType.FLOAT, Shape.of(3), -0.0, 0, Float.MIN_VALUE);
    assertArrayEquals(new double[] {0, 0, 1}, x.positive().toDoubles());
  }

  private static double gelu(double x) {
    double cubic = Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x);
    return x / 2 * (1 + Math.tanh(cubic));
  }

  private static double geluDerivative(double x) {
    double cubic = Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x);
    double slope = Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x);
    double tanh = Math.tanh(cubic);
    return (1 + tanh) / 2 + x / 2 * (1 - tanh * tanh) * slope;
  }

  @Property(tries = TRIES)
  void gelu_anyNumbers_equalsReference(@ForAll("operands") Operand x) {
    checkEach(x, Tensor::gelu, TensorTest::gelu, FEW_ROUNDINGS);
  }

  @Property(tries = TRIES)
  void geluDerivative_anyNumbers_equalsReference(@ForAll("operands") Operand x) {
    checkEach(x, Tensor::geluDerivative, TensorTest::geluDerivative, FEW_ROUNDINGS);
  }

  // ---- functions over the whole range of floats --------------------------------------------

  /** A prime, so that the sweep meets every pattern of low bits. */
  private static final int SWEEP_STEP = 1009;

  private interface Sweep {
    void check(double x, double y);
  }

  /** Applies a function to floats of every magnitude and both signs, NaN excluded. */
  private static void sweep(UnaryOperator<Tensor> function, Sweep sweep) {
    double[] x = new double[1 << 16];
    int filled = 0;
    for (long bits = Integer.MIN_VALUE; bits <= Integer.MAX_VALUE; bits += SWEEP_STEP) {
      float number = Float.intBitsToFloat((int) bits);
      x[filled] = Float.isNaN(number) ? 0 : number;
      if (++filled == x.length) {
        try (Scope scope = Scope.open()) {
          double[] y = function.apply(Tensor.of(DType.FLOAT, Shape.of(x.length), x)).toDoubles();
          for (int i = 0; i < x.length; i++) {
            sweep.check(x[i], y[i]);
          }
        }
        filled = 0;
      }
    }
  }

  private static void assertNear(double expected, double actual, double allowed, double x) {
    if (!(Math.abs(actual - expected) <= allowed)) {
      assertEquals(expected, actual, allowed, () -> "at " + x);
    }
  }

  /** The error that {@link Tensor#exp} may have on floats, relative. */
  private static final double EXP_ERROR = 2e-7;

  @Example
  void exp_everyFloat_isWithinTwoRoundings() {
    sweep(
        Tensor::exp,
        (x, y) -> {
          double expected = Math.exp(x);
          if (expected > Float.MAX_VALUE * (1 + EXP_ERROR)) {
            assertEquals(Double.POSITIVE_INFINITY, y, () -> "at " + x);
          } else if (y != (float) expected) {
            assertNear(expected, y, EXP_ERROR * expected + Float.MIN_VALUE / 2.0, x);
          }
        });
  }

  @Example
  void exp_endsOfTheRange_areRight() {
    double[] x = {
      Float.NEGATIVE_INFINITY,
      -200,
      -103.97,
      -103.5,
      -100,
      -87.4,
      0,
      88.4,
      88.72,
      88.73,
      1e30,
      Float.POSITIVE_INFINITY,
      Float.NaN
    };
    double[] y = Tensor.of(DType.FLOAT, Shape.of(x.length), x).exp().toDoubles();
    for (int i = 0; i < x.length; i++) {
      double expected = (float) Math.exp((float) x[i]);
      assertEquals(expected, y[i], expected > 0 ? EXP_ERROR * expected : 0, "exp of " + x[i]);
    }
  }

  /** Between the value of gelu and what an error of its argument does to it. */
  @Example
  void gelu_everyFloat_isWithinRoundings() {
    sweep(
        Tensor::gelu,
        (x, y) -> {
          double gate =
              1 / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
          double expected = gate == 0 ? 0 : x * gate;
          double exponent = Math.abs(x) < 15 ? Math.abs(x) * (1.6 + 0.0714 * x * x) : 0;
          double relative = DType.FLOAT.epsilon() * (2 + 2 * exponent * (1 - gate));
          if (y != expected) {
            assertNear(expected, y, relative * Math.abs(expected) + 4 * Float.MIN_NORMAL, x);
          }
        });
  }

  @Example
  void geluDerivative_everyFloat_isWithinRoundings() {
    sweep(
        Tensor::geluDerivative,
        (x, y) -> {
          if (Double.isInfinite(x)) {
            return;
          }
          double expected = Math.abs(x) > 1000 ? (x > 0 ? 1 : 0) : geluDerivative(x);
          assertNear(expected, y, FEW_ROUNDINGS * DType.FLOAT.epsilon(), x);
        });
  }

  @Property(tries = TRIES)
  void geluWithDerivative_anyNumbers_isBoth(@ForAll("operands") Operand x) {
    Tensor.WithDerivative both = x.tensor().geluWithDerivative();
    assertArrayEquals(x.tensor().gelu().toDoubles(), both.value().toDoubles());
    assertArrayEquals(x.tensor().geluDerivative().toDoubles(), both.derivative().toDoubles());
  }

  @Property(tries = TRIES)
  void exactGeluWithDerivative_anyNumbers_isBoth(@ForAll("operands") Operand x) {
    Tensor.WithDerivative both = x.tensor().exactGeluWithDerivative();
    assertArrayEquals(x.tensor().exactGelu().toDoubles(), both.value().toDoubles());
    assertArrayEquals(x.tensor().exactGeluDerivative().toDoubles(), both.derivative().toDoubles());
  }

  @Property(tries = TRIES)
  void siluWithDerivative_anyNumbers_isBoth(@ForAll("operands") Operand x) {
    Tensor.WithDerivative both = x.tensor().siluWithDerivative();
    assertArrayEquals(x.tensor().silu().toDoubles(), both.value().toDoubles());
    assertArrayEquals(x.tensor().siluDerivative().toDoubles(), both.derivative().toDoubles());
  }

  private static double silu(double x) {
    return x / (1 + Math.exp(-x));
  }

  private static double siluDerivative(double x) {
    double s = 1 / (1 + Math.exp(-x));
    double rest = 1 / (1 + Math.exp(x));
    return s + x * s * rest;
  }

  @Property(tries = TRIES)
  void silu_anyNumbers_equalsReference(@ForAll("operands") Operand x) {
    checkEach(x, Tensor::silu, TensorTest::silu, FEW_ROUNDINGS);
  }

  @Property(tries = TRIES)
  void siluDerivative_anyNumbers_equalsReference(@ForAll("operands") Operand x) {
    checkEach(x, Tensor::siluDerivative, TensorTest::siluDerivative, FEW_ROUNDINGS);
  }

  @Example
  void silu_everyFloat_isWithinRoundings() {
    sweep(
        Tensor::silu,
        (x, y) -> {
          double expected = x < -1000 ? 0 : silu(x);
          if (y != expected) {
            double allowed = FEW_ROUNDINGS * DType.FLOAT.epsilon() * Math.abs(expected);
            assertNear(expected, y, allowed + 200 * Float.MIN_NORMAL, x);
          }
        });
  }

  @Example
  void siluDerivative_everyFloat_isWithinRoundings() {
    sweep(
        Tensor::siluDerivative,
        (x, y) -> {
          if (Double.isInfinite(x)) {
            return;
          }
          double expected = Math.abs(x) > 1000 ? (x > 0 ? 1 : 0) : siluDerivative(x);
          assertNear(expected, y, FEW_ROUNDINGS * DType.FLOAT.epsilon(), x);
        });
  }

  @Example
  void geluDerivative_hugeNumbers_isStep() {
    double[] x = {-1e200, -50, 50, 1e200};
    assertArrayEquals(
        new double[] {0, 0, 1, 1},
        Tensor.of(DType.DOUBLE, Shape.of(4), x).geluDerivative().toDoubles(),
        Double.MIN_NORMAL);
  }

  /**
   * x, x Φ(x) and Φ(x) + x φ(x) with φ(x) = e^(-x²/2) / √(2π), Φ(x) = erfc(-x/√2) / 2, computed by
   * mpmath 1.2 with 50 digits.
   */
  private static final double[][] EXACT_GELU = {
    {0.0, 0.0, 0.5},
    {1e-300, 5e-301, 0.5},
    {1e-09, 5.000000003989423e-10, 0.5000000007978845},
    {-1e-09, -4.999999996010577e-10, 0.49999999920211546},
    {0.001, 0.000500398942213911, 0.5007978842948414},
    {-0.001, -0.000499601057786089, 0.4992021157051586},
    {0.1, 0.053982783727702904, 0.5795230920247302},
    {-0.1, -0.0460172162722971, 0.4204769079752698},
    {0.25, 0.14967658142073093, 0.695373354883636},
    {-0.25, -0.10032341857926907, 0.30462664511636395},
    {0.5, 0.34573123063700656, 0.8674951246561629},
    {-0.5, -0.15426876936299344, 0.13250487534383715},
    {-0.75, -0.16997051428265114, 0.0007742782607648957},
    {0.75, 0.5800294857173488, 0.9992257217392351},
    {-0.7517915246935645, -0.16997120747990366, -6.453751729367753e-18},
    {1.0, 0.8413447460685429, 1.0833154705876864},
    {-1.0, -0.15865525393145705, -0.0833154705876863},
    {1.5, 1.399789198096713, 1.1274691922299795},
    {-1.5, -0.1002108019032871, -0.12746919222997952},
    {2.0, 1.9544997361036416, 1.085231801078197},
    {-2.0, -0.04550026389635842, -0.0852318010781969},
    {3.0, 2.99595030590511, 1.011945647204184},
    {-3.0, -0.0040496940948902835, -0.011945647204183927},
    {4.5, 4.4999847104709385, 1.0000685291618563},
    {-4.5, -1.5289529061285272e-05, -6.852916185634458e-05},
    {6.0, 5.999999994080474, 1.0000000354687095},
    {-6.0, -5.9195258702261885e-09, -3.5468709453902015e-08},
    {8.0, 7.999999999999995, 1.0000000000000397},
    {-8.0, -4.976768459417427e-15, -3.979607261086796e-14},
    {12.25, 12.25, 1.0},
    {-12.25, -1.0289750177950936e-33, -1.2603860032218894e-32},
    {20.0, 20.0, 1.0},
    {-20.0, -5.507248237212468e-88, -1.1014360483133464e-86},
    {30.1, 30.1, 1.0},
    {-30.1, -7.292228326137134e-198, -2.194955407450478e-196},
    {37.0, 37.0, 1.0},
    {-37.0, -2.1184613523340935e-298, -7.838298669418516e-297},
    {-50.0, -0.0, -0.0},
    {50.0, 50.0, 1.0},
  };

  @Example
  void exactGelu_doubles_areWithinRoundings() {
    double[] x = Arrays.stream(EXACT_GELU).mapToDouble(row -> row[0]).toArray();
    Tensor tensor = Tensor.of(DType.DOUBLE, Shape.of(x.length), x);
    double[] y = tensor.exactGelu().toDoubles();
    double[] derivative = tensor.exactGeluDerivative().toDoubles();
    double allowed = FEW_ROUNDINGS * DType.DOUBLE.epsilon();
    for (int i = 0; i < x.length; i++) {
      assertNear(EXACT_GELU[i][1], y[i], allowed * Math.abs(EXACT_GELU[i][1]), x[i]);
      // Two terms of about 0.2 cancel near -0.75.
      double size = Math.max(Math.abs(EXACT_GELU[i][2]), Math.abs(x[i]) < 2 ? 0.2 : 0);
      assertNear(EXACT_GELU[i][2], derivative[i], allowed * size, x[i]);
    }
  }

  /** 1 - Φ(a) of a normal distribution, a ≥ 0: a series near 0, else a continued fraction. */
  private static double normalTail(double a) {
    double density = Math.exp(-a * a / 2) / Math.sqrt(2 * Math.PI);
    if (a < 2) {
      double term = a;
      double sum = a;
      for (int k = 3; k < 80; k += 2) {
        term *= a * a / k;
        sum += term;
      }
      return 0.5 - density * sum;
    }
    double fraction = a;
    for (int k = 300; k > 0; k--) {
      fraction = a + k / fraction;
    }
    return density / fraction;
  }

  private static double exactGelu(double x) {
    return Math.max(x, 0) - (x == 0 ? 0 : Math.abs(x) * normalTail(Math.abs(x)));
  }

  private static double exactGeluDerivative(double x) {
    double a = Math.abs(x);
    double s = normalTail(a) - a * Math.exp(-a * a / 2) / Math.sqrt(2 * Math.PI);
    return x > 0 ? 1 - s : s;
  }

  @Property(tries = TRIES)
  void exactGelu_anyNumbers_equalsReference(@ForAll("operands") Operand x) {
    checkEach(x, Tensor::exactGelu, TensorTest::exactGelu, FEW_ROUNDINGS);
  }

  @Property(tries = TRIES)
  void exactGeluDerivative_anyNumbers_equalsReference(@ForAll("operands") Operand x) {
    checkEach(x, Tensor::exactGeluDerivative, TensorTest::exactGeluDerivative, FEW_ROUNDINGS);
  }

  @Example
  void exactGelu_everyFloat_isWithinRoundings() {
    sweep(
        Tensor::exactGelu,
        (x, y) -> {
          double expected = Math.abs(x) > 40 ? Math.max(x, 0) : exactGelu(x);
          double allowed = FEW_ROUNDINGS * DType.FLOAT.epsilon() * Math.abs(expected);
          if (y != expected) {
            assertNear(expected, y, allowed + 40 * Float.MIN_NORMAL, x);
          }
        });
  }

  @Example
  void exactGeluDerivative_everyFloat_isWithinRoundings() {
    sweep(
        Tensor::exactGeluDerivative,
        (x, y) -> {
          double expected = Math.abs(x) > 40 ? (x > 0 ? 1 : 0) : exactGeluDerivative(x);
          double size = Math.max(Math.abs(expected), Math.abs(x) < 2 ? 0.2 : 0);
          double allowed = FEW_ROUNDINGS * DType.FLOAT.epsilon() * size;
          assertNear(expected, y, allowed + 40 * Float.MIN_NORMAL, x);
        });
  }

  @Example
  void elementwise_NaN_staysNaN() {
    for (DType dtype : DType.values()) {
      Tensor x = Tensor.of(dtype, Shape.of(1), Double.NaN);
      for (Tensor y :
          List.of(
              x.negate(),
              x.square(),
              x.sqrt(),
              x.exp(),
              x.log(),
              x.tanh(),
              x.relu(),
              x.gelu(),
              x.geluDerivative(),
              x.exactGelu(),
              x.exactGeluDerivative(),
              x.silu(),
              x.siluDerivative(),
              x.plus(1),
              x.times(0),
              x.plus(x),
              x.sum(0),
              x.softmax(),
              x.logSoftmax())) {
        assertTrue(Double.isNaN(y.item()), y + " of " + dtype);
      }
    }
  }

  // ---- reductions --------------------------------------------------------------------------

  @Property(tries = TRIES)
  void sum_anyAxis_equalsReference(@ForAll("withAxes") Operand x) {
    Tensor tensor = x.tensor();
    for (int axis = 0; axis < x.shape().rank(); axis++) {
      int at = axis;
      double roundings = roundingsOfSum(x.shape().size(axis));
      check(x.reference().sum(axis), () -> tensor.sum(at), roundings);
      check(x.reference().sum(axis), () -> tensor.sum(at - x.shape().rank()), roundings);
    }
  }

  @Property(tries = TRIES)
  void centred_anyAxis_equalsReference(@ForAll("withAxes") Operand x) {
    Tensor tensor = x.tensor();
    for (int axis = 0; axis < x.shape().rank(); axis++) {
      int at = axis;
      Reference mean = x.reference().sum(axis).map(v -> v / x.shape().size(at));
      check(
          x.reference().zip(mean, (value, m) -> value - m),
          () -> tensor.centred(at),
          FEW_ROUNDINGS);
    }
  }

  @Property(tries = TRIES)
  void mean_anyAxis_equalsReference(@ForAll("withAxes") Operand x) {
    Tensor tensor = x.tensor();
    for (int axis = 0; axis < x.shape().rank(); axis++) {
      int at = axis;
      int count = x.shape().size(axis);
      check(
          x.reference().sum(axis).map(v -> count == 0 ? Double.NaN : v / count),
          () -> tensor.mean(at),
          FEW_ROUNDINGS);
    }
  }

  @Property(tries = TRIES)
  void norm_anyAxis_equalsReference(@ForAll("withAxes") Operand x) {
    Tensor tensor = x.tensor();
    for (int axis = 0; axis < x.shape().rank(); axis++) {
      int at = axis;
      check(
          x.reference().map(v -> v * v).sum(axis).map(Math::sqrt),
          () -> tensor.norm(at),
          roundingsOfSum(x.shape().size(axis)));
    }
  }

  @Property(tries = TRIES)
  void rowDots_repeatedRows_equalsReference(
      @ForAll("withAxes") Operand x, @ForAll @IntRange(max = 3) int directions) {
    Reference other = Reference.gaussian(x.dtype(), x.shape().prepend(directions), x.random());
    Tensor left = x.tensor();
    Tensor right = x.tensor(other);
    check(
        other.zip(x.reference(), (a, b) -> a * b).sum(x.shape().rank()),
        () -> left.rowDots(right),
        4 * roundingsOfSum(x.shape().size(-1)));
  }

  @Example
  void rowDots_misfit_saysBothShapes() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(2, 3));
    assertRefused(
        "rowDots: [4, 3] does not end in [2, 3]",
        () -> x.rowDots(Tensor.zeros(DType.FLOAT, Shape.of(4, 3))));
  }

  @Property(tries = TRIES)
  void rootMeanSquare_anyRows_equalsReference(@ForAll("rows") Operand x) {
    Tensor tensor = x.tensor();
    int count = x.shape().size(-1);
    check(
        x.reference()
            .map(v -> v * v)
            .sum(x.shape().rank() - 1)
            .map(sum -> Math.sqrt(sum / count + 0.3)),
        () -> tensor.rootMeanSquare(0.3),
        roundingsOfSum(count));
  }

  @Property(tries = TRIES)
  void rescaled_anyRows_equalsReference(
      @ForAll("rows") Operand x, @ForAll @IntRange(max = 3) int directions) {
    Random random = x.random();
    DType dtype = x.dtype();
    Reference rows = Reference.gaussian(dtype, x.shape().prepend(directions), random);
    Reference scale =
        Reference.gaussian(dtype, x.shape().with(-1, 1), random)
            .map(v -> Reference.rounded(dtype, 0.5 + Math.abs(v)));
    Reference gain = Reference.gaussian(dtype, Shape.of(x.shape().size(-1)), random);
    Reference bias = Reference.gaussian(dtype, Shape.of(x.shape().size(-1)), random);
    check(
        rows.zip(scale, (a, b) -> a / b).zip(gain, (a, b) -> a * b).zip(bias, Double::sum),
        () -> x.tensor(rows).rescaled(x.tensor(scale), x.tensor(gain), x.tensor(bias)),
        4 * FEW_ROUNDINGS);
  }

  @Example
  void rescaled_misfit_saysAllShapes() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(2, 3));
    Tensor three = Tensor.zeros(DType.FLOAT, Shape.of(3));
    assertRefused(
        "rescaled: rows [2, 3], scale [2, 3], gain [3] and bias [3] do not fit",
        () -> x.rescaled(x, three, three));
    assertRefused(
        "rescaled: rows [2, 3], scale [2, 1], gain [2, 3] and bias [3] do not fit",
        () -> x.rescaled(Tensor.zeros(DType.FLOAT, Shape.of(2, 1)), x, three));
    assertRefused(
        "rescaled: [2, 1] does not end in [4, 1]",
        () -> x.rescaled(Tensor.zeros(DType.FLOAT, Shape.of(4, 1)), three, three));
  }

  private static Reference of(UnaryOperator<Tensor> function, Operand x) {
    return Reference.of(function.apply(x.tensor()));
  }

  private static Reference value(Activation function, Operand x) {
    return switch (function) {
      case GELU -> of(Tensor::gelu, x);
      case EXACT_GELU -> of(Tensor::exactGelu, x);
      case SILU -> of(Tensor::silu, x);
      case RELU -> of(Tensor::relu, x);
    };
  }

  private static Reference derivative(Activation function, Operand x) {
    return switch (function) {
      case GELU -> of(Tensor::geluDerivative, x);
      case EXACT_GELU -> of(Tensor::exactGeluDerivative, x);
      case SILU -> of(Tensor::siluDerivative, x);
      case RELU -> of(Tensor::positive, x);
    };
  }

  @Property(tries = TRIES)
  void gated_anyNumbers_isFunctionTimesUp(
      @ForAll("operands") Operand x, @ForAll Activation function) {
    Reference up = Reference.gaussian(x.dtype(), x.shape(), x.random());
    check(
        value(function, x).zip(up, (a, b) -> a * b),
        () -> x.tensor().gated(function, x.tensor(up)),
        FEW_ROUNDINGS);
  }

  @Property(tries = TRIES)
  void gatedWithDerivatives_anyNumbers_isAllThree(
      @ForAll("operands") Operand x, @ForAll Activation function) {
    Reference up = Reference.gaussian(x.dtype(), x.shape(), x.random());
    Reference value = value(function, x);
    Tensor.Gated all = x.tensor().gatedWithDerivatives(function, x.tensor(up));
    value.zip(up, (a, b) -> a * b).assertClose(all.value(), FEW_ROUNDINGS);
    derivative(function, x).zip(up, (a, b) -> a * b).assertClose(all.alongGate(), FEW_ROUNDINGS);
    value.assertClose(all.alongUp(), FEW_ROUNDINGS);
  }

  @Example
  void gated_anotherShape_saysBoth() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(2, 3));
    Tensor row = Tensor.zeros(DType.FLOAT, Shape.of(3));
    String message = "gated: the gate is [2, 3] and the other [3]";
    assertRefused(message, () -> x.gated(Activation.RELU, row));
    assertRefused(message, () -> x.gatedWithDerivatives(Activation.RELU, row));
  }

  @Property(tries = TRIES)
  void rotated_anyRows_turnsEachPair(
      @ForAll("rows") Operand x,
      @ForAll @IntRange(min = 1, max = 3) int blocks,
      @ForAll @IntRange(min = 1, max = 4) int distance) {
    int pairs = blocks * distance;
    Shape shape = x.shape().prepend(1).with(-1, x.shape().size(-1) + 2 * pairs);
    Random random = x.random();
    Reference rows = Reference.gaussian(x.dtype(), shape, random);
    Shape angles = Shape.of(shape.size(-2), pairs);
    Reference cosine = Reference.gaussian(x.dtype(), angles, random);
    Reference sine = Reference.gaussian(x.dtype(), angles, random);
    int last = shape.rank() - 1;
    check(
        Reference.generate(
            shape,
            index -> {
              int i = index[last];
              if (i >= 2 * pairs) {
                return rows.at(index);
              }
              boolean isFirst = i / distance % 2 == 0;
              int pair = i / (2 * distance) * distance + i % distance;
              int partner = isFirst ? i + distance : i - distance;
              double turned = rows.at(Reference.with(index, last, partner));
              return rows.at(index) * cosine.at(index[last - 1], pair)
                  + (isFirst ? -turned : turned) * sine.at(index[last - 1], pair);
            }),
        () -> x.tensor(rows).rotated(x.tensor(cosine), x.tensor(sine), distance),
        FEW_ROUNDINGS);
  }

  @Example
  void rotated_misfit_saysWhatDoesNotFit() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(2, 6));
    Tensor angles = Tensor.zeros(DType.FLOAT, Shape.of(2, 3));
    Tensor four = Tensor.zeros(DType.FLOAT, Shape.of(2, 4));
    Tensor column = Tensor.zeros(DType.FLOAT, Shape.of(3, 2));
    assertRefused(
        "rotated: rows [2, 6], cosine [2, 4] and sine [2, 4] do not fit",
        () -> x.rotated(four, four, 1));
    assertRefused(
        "rotated: rows [2, 6], cosine [3, 2] and sine [3, 2] do not fit",
        () -> x.rotated(column, column, 1));
    assertRefused(
        "rotated: rows [2, 6], cosine [2, 3] and sine [2, 4] do not fit",
        () -> x.rotated(angles, four, 1));
    assertRefused(
        "rotated: 3 pairs of numbers that are 2 apart", () -> x.rotated(angles, angles, 2));
    assertRefused(
        "rotated: 3 pairs of numbers that are 0 apart", () -> x.rotated(angles, angles, 0));
  }

  @Example
  void sum_noSuchAxis_saysShapeAndAxis() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(2, 3));
    assertRefused("shape [2, 3] has no axis 2", () -> x.sum(2));
    assertRefused("shape [2, 3] has no axis -3", () -> x.sum(-3));
  }

  @Property(tries = TRIES)
  void sumTo_whatBroadcasts_isItsAdjoint(@ForAll("pairs") Operand.Pair pair) {
    Operand small = pair.left();
    Shape whole = small.shape().broadcast(pair.right().shape());
    Reference numbers = Reference.gaussian(small.dtype(), whole, small.random());
    Tensor tensor = small.tensor(numbers);
    Reference expected = numbers;
    Shape padded = small.shape().padTo(whole.rank());
    for (int axis = 0; axis < whole.rank(); axis++) {
      expected = padded.size(axis) == 1 ? expected.sum(axis) : expected;
    }
    check(
        expected.reshape(small.shape()),
        () -> tensor.sumTo(small.shape()),
        roundingsOfSum(whole.length() / Math.max(1, small.shape().length())));
  }

  @Example
  void sumTo_misfit_saysBothShapes() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(3));
    assertRefused("sumTo: [2, 3] does not broadcast to [3]", () -> x.sumTo(Shape.of(2, 3)));
  }

  // ---- matrix products ---------------------------------------------------------------------

  @Property(tries = TRIES)
  void matmul_broadcastBatches_equalsReference(@ForAll("factors") Operand.Pair pair) {
    Tensor left = pair.left().tensor();
    Tensor right = pair.right().tensor();
    check(
        pair.left().reference().matmul(pair.right().reference()),
        () -> left.matmul(right),
        roundingsOfSum(left.shape().size(-1)));
  }

  @Property(tries = TRIES)
  void matmulTransposed_broadcastBatches_equalsReference(@ForAll("factors") Operand.Pair pair) {
    Tensor left = pair.left().tensor();
    Tensor right = pair.right().tensor(pair.right().reference().transpose());
    check(
        pair.left().reference().matmul(pair.right().reference()),
        () -> left.matmulTransposed(right),
        roundingsOfSum(left.shape().size(-1)));
  }

  @Property(tries = TRIES)
  void transposedMatmul_broadcastBatches_equalsReference(@ForAll("factors") Operand.Pair pair) {
    Tensor left = pair.left().tensor(pair.left().reference().transpose());
    Tensor right = pair.right().tensor();
    check(
        pair.left().reference().matmul(pair.right().reference()),
        () -> left.transposedMatmul(right),
        roundingsOfSum(left.shape().size(-2)));
  }

  @Example
  void matmul_misfits_saysBothSides() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(64, 768));
    Tensor y = Tensor.zeros(DType.FLOAT, Shape.of(512, 3072));
    assertRefused(
        "matmul: left [64, 768] and right [512, 3072] do not share an inner axis (768 and 512)",
        () -> x.matmul(y));
    assertRefused(
        "matmul: left [64, 768] and right [512, 3072] transposed do not share an inner axis (768"
            + " and 3072)",
        () -> x.matmulTransposed(y));
    assertRefused(
        "matmul: left [64, 768] transposed and right [512, 3072] do not share an inner axis (64"
            + " and 512)",
        () -> x.transposedMatmul(y));
    assertRefused(
        "matmul: left [64, 768] and right [768] must have two axes or more",
        () -> x.matmul(Tensor.zeros(DType.FLOAT, Shape.of(768))));
    assertRefused(
        "matmul: left is FLOAT and right is DOUBLE",
        () -> x.matmul(Tensor.zeros(DType.DOUBLE, Shape.of(768, 2))));
    assertRefused(
        "shapes [2] and [3] do not broadcast (2 and 3)",
        () ->
            Tensor.zeros(DType.FLOAT, Shape.of(2, 1, 1))
                .matmul(Tensor.zeros(DType.FLOAT, Shape.of(3, 1, 1))));
  }

  @Property(tries = TRIES)
  void affine_anyLeadingAxes_equalsReference(
      @ForAll("withAxes") Operand x, @ForAll @IntRange(max = 6) int columns) {
    int inner = x.shape().size(-1);
    Random random = x.random();
    Reference weight = Reference.gaussian(x.dtype(), Shape.of(inner, columns), random);
    Reference bias = Reference.gaussian(x.dtype(), Shape.of(columns), random);
    Tensor tensor = x.tensor();
    Tensor weightTensor = x.tensor(weight);
    Tensor biasTensor = x.tensor(bias);
    Reference rows = x.reference().reshape(x.shape().prepend(1));
    check(
        rows.matmul(weight).zip(bias, Double::sum).reshape(x.shape().with(-1, columns)),
        () -> tensor.affine(weightTensor, biasTensor),
        roundingsOfSum(inner));
  }

  @Example
  void affine_misfit_saysAllShapes() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(5, 2));
    Tensor weight = Tensor.zeros(DType.FLOAT, Shape.of(3, 4));
    Tensor bias = Tensor.zeros(DType.FLOAT, Shape.of(4));
    assertRefused(
        "affine: input [5, 2], weight [3, 4] and bias [4] do not fit",
        () -> x.affine(weight, bias));
  }

  // ---- rows --------------------------------------------------------------------------------

  @Property(tries = TRIES)
  void causalMask_anyRows_equalsReference(
      @ForAll("withAxes") Operand x, @ForAll @IntRange(min = 1, max = 6) int visible) {
    Assume.that(x.shape().rank() > 1);
    Tensor tensor = x.tensor();
    check(x.reference().causalMask(visible, -0.5), () -> tensor.causalMask(visible, -0.5), 0);
  }

  @Example
  void causalMask_badArguments_saysWhatIsWrong() {
    assertRefused(
        "causalMask: 0 visible entries in the first row of [2, 3]",
        () -> Tensor.zeros(DType.FLOAT, Shape.of(2, 3)).causalMask(0, 1));
    assertRefused(
        "causalMask: 1 visible entries in the first row of [3]",
        () -> Tensor.zeros(DType.FLOAT, Shape.of(3)).causalMask(1, 1));
  }

  @Property(tries = TRIES)
  void softmax_anyRows_equalsReference(@ForAll("rows") Operand x) {
    Tensor tensor = x.tensor();
    check(x.reference().causalSoftmax(Integer.MAX_VALUE), tensor::softmax, FEW_ROUNDINGS);
  }

  @Property(tries = TRIES)
  void causalSoftmax_anyRows_equalsReference(
      @ForAll("rows") Operand x, @ForAll @IntRange(min = 1, max = 6) int visible) {
    Tensor tensor = x.tensor();
    check(x.reference().causalSoftmax(visible), () -> tensor.causalSoftmax(visible), FEW_ROUNDINGS);
  }

  @Example
  void causalSoftmax_oddHiddenEntries_areNotRead() {
    for (DType dtype : DType.values()) {
      Tensor x =
          Tensor.of(dtype, Shape.of(2, 3), 4, Double.NaN, 1e30, 0, 0, Double.POSITIVE_INFINITY);
      assertArrayEquals(new double[] {1, 0, 0, .5, .5, 0}, x.causalSoftmax(1).toDoubles());
    }
  }

  @Example
  void softmax_minusInfinity_isZeroThere() {
    for (DType dtype : DType.values()) {
      double hidden = Double.NEGATIVE_INFINITY;
      Tensor x = Tensor.of(dtype, Shape.of(2, 3), hidden, 1, 1, 2, hidden, hidden);
      assertArrayEquals(new double[] {0, .5, .5, 1, 0, 0}, x.softmax().toDoubles());
    }
  }

  @Example
  void softmax_nothingToSee_isNaNInThatRowOnly() {
    for (DType dtype : DType.values()) {
      double hidden = Double.NEGATIVE_INFINITY;
      Tensor x = Tensor.of(dtype, Shape.of(3, 2), hidden, hidden, 3, 3, Double.NaN, 1);
      double[] nan = {Double.NaN, Double.NaN, .5, .5, Double.NaN, Double.NaN};
      assertArrayEquals(nan, x.softmax().toDoubles());
    }
  }

  @Example
  void softmax_largeNumbers_doesNotOverflow() {
    for (DType dtype : DType.values()) {
      Tensor x = Tensor.of(dtype, Shape.of(2, 2), 1e30, 1e30, -1e30, 1e30);
      assertArrayEquals(new double[] {.5, .5, 0, 1}, x.softmax().toDoubles());
    }
  }

  @Example
  void softmax_noEntries_isRefused() {
    assertRefused(
        "softmax: [2, 0] has no entries to normalise",
        () -> Tensor.zeros(DType.FLOAT, Shape.of(2, 0)).softmax());
    assertRefused(
        "softmax: [] has no entries to normalise",
        () -> Tensor.zeros(DType.FLOAT, Shape.of()).softmax());
    assertRefused(
        "causalSoftmax: 0 visible entries in the first row",
        () -> Tensor.zeros(DType.FLOAT, Shape.of(2, 2)).causalSoftmax(0));
    assertRefused(
        "logSoftmax: [0] has no entries to normalise",
        () -> Tensor.zeros(DType.FLOAT, Shape.of(0)).logSoftmax());
  }

  @Property(tries = TRIES)
  void softmaxDerivative_anyDirections_equalsReference(
      @ForAll("withAxes") Operand x,
      @ForAll @IntRange(max = 3) int directions,
      @ForAll @IntRange(min = 1, max = 4) int seen) {
    int last = x.shape().rank();
    int visible = seen == 4 ? Integer.MAX_VALUE : seen;
    Reference p = x.reference().causalMask(visible, 0);
    Reference u = Reference.gaussian(x.dtype(), x.shape().prepend(directions), x.random());
    Reference means = u.zip(p, (a, b) -> a * b).sum(last);
    Tensor weights = x.tensor();
    Tensor tangents = x.tensor(u);
    check(
        u.zip(means, (a, b) -> a - b).zip(p, (a, b) -> a * b),
        () -> weights.softmaxDerivative(tangents, visible),
        10 * roundingsOfSum(x.shape().size(-1)));
  }

  @Example
  void softmaxDerivative_misfit_saysBothShapes() {
    Tensor p = Tensor.zeros(DType.FLOAT, Shape.of(2, 3));
    assertRefused(
        "softmaxDerivative: 0 visible entries in the first row", () -> p.softmaxDerivative(p, 0));
    assertRefused(
        "softmaxDerivative: [4, 3] does not end in [2, 3]",
        () -> p.softmaxDerivative(Tensor.zeros(DType.FLOAT, Shape.of(4, 3)), 1));
    assertRefused(
        "softmaxDerivative: [] has no rows",
        () ->
            Tensor.zeros(DType.FLOAT, Shape.of())
                .softmaxDerivative(Tensor.zeros(DType.FLOAT, Shape.of(5)), 1));
  }

  @Property(tries = TRIES)
  void logSoftmax_anyRows_equalsReference(@ForAll("rows") Operand x) {
    Tensor tensor = x.tensor();
    check(
        x.reference().causalSoftmax(Integer.MAX_VALUE).map(Math::log),
        tensor::logSoftmax,
        FEW_ROUNDINGS);
  }

  @Example
  void logSoftmax_farBelow_doesNotRoundToMinusInfinity() {
    for (DType dtype : DType.values()) {
      Tensor x = Tensor.of(dtype, Shape.of(3), 0, -1000, Double.NEGATIVE_INFINITY);
      assertArrayEquals(
          new double[] {0, -1000, Double.NEGATIVE_INFINITY}, x.logSoftmax().toDoubles());
    }
  }

  @Property(tries = TRIES)
  void topKMask_tiedEntries_keepsTheFirst(
      @ForAll("rows") Operand x, @ForAll @IntRange(max = 5) int wanted) {
    int count = Math.min(wanted, x.shape().size(-1));
    Reference numbers = x.reference().map(Math::rint); // many ties
    Tensor tensor = x.tensor(numbers);
    check(numbers.topKMask(count), () -> tensor.topKMask(count), EXACT);
  }

  @Example
  void topKMask_tooMany_saysBothSides() {
    assertRefused(
        "topKMask: 4 of a last axis in [2, 3]",
        () -> Tensor.zeros(DType.FLOAT, Shape.of(2, 3)).topKMask(4));
  }

  // ---- layout ------------------------------------------------------------------------------

  @Property(tries = TRIES)
  void reshape_anyShape_keepsTheOrder(@ForAll("operands") Operand x) {
    Tensor tensor = x.tensor();
    Shape flat = Shape.of(1, x.shape().length());
    x.reference().reshape(flat).assertClose(tensor.reshape(flat), EXACT);
    x.reference()
        .reshape(flat)
        .assertClose(tensor.reshape(x.shape().length()).reshape(flat.dimensions()), EXACT);
  }

  @Example
  void reshape_sameShape_isItself() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(2, 3));
    assertSame(x, x.reshape(2, 3));
    assertRefused("reshape: [2, 3] has 6 elements and [4] has 4", () -> x.reshape(4));
  }

  @Property(tries = TRIES)
  void permute_anyOrder_equalsReference(@ForAll("operands") Operand x) {
    List<Integer> order = IntStream.range(0, x.shape().rank()).boxed().collect(Collectors.toList());
    Collections.shuffle(order, x.random());
    int[] axes = order.stream().mapToInt(axis -> axis).toArray();
    Tensor tensor = x.tensor();
    check(x.reference().permute(axes), () -> tensor.permute(axes), EXACT);
  }

  @Example
  void permute_notAnOrder_saysBothSides() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(2, 3));
    assertRefused("permute: [0, 0] is not an order of the axes of [2, 3]", () -> x.permute(0, 0));
    assertRefused("permute: [0] is not an order of the axes of [2, 3]", () -> x.permute(0));
    assertRefused("permute: [0, -1] is not an order of the axes of [2, 3]", () -> x.permute(0, -1));
  }

  @Property(tries = TRIES)
  void slice_anyRange_equalsReference(@ForAll("withAxes") Operand x) {
    Tensor tensor = x.tensor();
    for (int axis = 0; axis < x.shape().rank(); axis++) {
      int at = axis;
      int size = x.shape().size(axis);
      int from = x.random().nextInt(size + 1);
      int to = from + x.random().nextInt(size - from + 1);
      Reference numbers = x.reference();
      check(
          Reference.generate(
              x.shape().with(axis, to - from),
              i -> numbers.at(Reference.with(i, at, size == 1 ? 0 : from + i[at]))),
          () -> tensor.slice(at - x.shape().rank(), from, to),
          EXACT);
    }
  }

  @Example
  void slice_firstAxis_isAViewOfWhatItWasCutFrom() {
    long live = Scope.liveTensors();
    Tensor x = Tensor.of(DType.FLOAT, Shape.of(3, 2), 1, 2, 3, 4, 5, 6);
    Tensor last = x.slice(0, 1, 3).slice(0, 1, 2);
    assertArrayEquals(new double[] {5, 6}, last.toDoubles());
    assertEquals(live + 1, Scope.liveTensors());
  }

  @Example
  void layout_nothingToCompute_makesNoTensor() {
    Tensor x = Tensor.full(DType.FLOAT, Shape.of(1, 2, 3), 1);
    long live = Scope.liveTensors();
    assertSame(x, x.pad(1, 0, 2));
    assertSame(x, x.broadcastTo(Shape.of(1, 2, 3)));
    assertSame(x, x.sumTo(Shape.of(1, 2, 3)));
    for (Tensor view : List.of(x.sumTo(Shape.of(2, 3)), x.reshape(6), x.slice(1, 0, 1))) {
      assertEquals(1, view.toDoubles()[0]);
    }
    assertEquals(live, Scope.liveTensors());
    assertEquals(Shape.of(1, 2, 1), x.slice(2, 0, 1).shape());
    assertEquals(live + 1, Scope.liveTensors());
  }

  @Example
  void slice_outside_saysBothSides() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(2, 3));
    assertRefused("slice: 1 to 4 is not inside axis -1 of [2, 3]", () -> x.slice(-1, 1, 4));
    assertRefused("slice: 2 to 1 is not inside axis 0 of [2, 3]", () -> x.slice(0, 2, 1));
    assertRefused("slice: -1 to 1 is not inside axis 0 of [2, 3]", () -> x.slice(0, -1, 1));
  }

  @Property(tries = TRIES)
  void pad_anyAxis_equalsReference(
      @ForAll("withAxes") Operand x,
      @ForAll @IntRange(max = 3) int before,
      @ForAll @IntRange(max = 3) int after) {
    Tensor tensor = x.tensor();
    for (int axis = 0; axis < x.shape().rank(); axis++) {
      int at = axis;
      int size = x.shape().size(axis);
      Reference numbers = x.reference();
      check(
          Reference.generate(
              x.shape().with(axis, before + size + after),
              i -> {
                int source = i[at] - before;
                return source < 0 || source >= size ? 0 : numbers.at(Reference.with(i, at, source));
              }),
          () -> tensor.pad(at, before, before + size + after),
          EXACT);
    }
  }

  @Example
  void pad_doesNotFit_saysBothSides() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(2, 3));
    assertRefused("pad: [2, 3] does not fit at 2 of an axis of 4", () -> x.pad(1, 2, 4));
    assertRefused(
        "pad: [2, 3] does not fit at 2147483647 of an axis of 4",
        () -> x.pad(1, Integer.MAX_VALUE, 4));
  }

  @Property(tries = TRIES)
  void concat_anyAxis_equalsReference(
      @ForAll("withAxes") Operand x, @ForAll @IntRange(max = 4) int other) {
    for (int axis = 0; axis < x.shape().rank(); axis++) {
      int at = axis;
      int size = x.shape().size(axis);
      Reference first = x.reference();
      Reference second = Reference.gaussian(x.dtype(), x.shape().with(axis, other), x.random());
      List<Tensor> parts = List.of(x.tensor(), x.tensor(second), x.tensor());
      check(
          Reference.generate(
              x.shape().with(axis, 2 * size + other),
              i -> {
                int source = i[at];
                return source < size
                    ? first.at(i)
                    : source < size + other
                        ? second.at(Reference.with(i, at, source - size))
                        : first.at(Reference.with(i, at, source - size - other));
              }),
          () -> Tensor.concat(at - x.shape().rank(), parts),
          EXACT);
    }
  }

  @Example
  void concat_misfits_saysBothSides() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(2, 3));
    assertRefused("concat: there is nothing to join", () -> Tensor.concat(0, List.of()));
    assertRefused(
        "concat: [2, 3] and [2, 4] differ in another axis than 0",
        () -> Tensor.concat(0, List.of(x, Tensor.zeros(DType.FLOAT, Shape.of(2, 4)))));
    assertRefused(
        "concat: left is FLOAT and right is DOUBLE",
        () -> Tensor.concat(0, List.of(x, Tensor.zeros(DType.DOUBLE, Shape.of(2, 3)))));
  }

  private static int[] indices(Random random, int count, int size) {
    return random.ints(size == 0 ? 0 : count, 0, Math.max(1, size)).toArray();
  }

  @Property(tries = TRIES)
  void gather_repeatedIndices_equalsReference(
      @ForAll("withAxes") Operand x, @ForAll @IntRange(max = 6) int count) {
    Tensor tensor = x.tensor();
    for (int axis = 0; axis < x.shape().rank(); axis++) {
      int at = axis;
      int[] indices = indices(x.random(), count, x.shape().size(axis));
      Reference numbers = x.reference();
      check(
          Reference.generate(
              x.shape().with(axis, indices.length),
              i -> numbers.at(Reference.with(i, at, indices[i[at]]))),
          () -> tensor.gather(at - x.shape().rank(), indices),
          EXACT);
    }
  }

  @Property(tries = TRIES)
  void scatterAdd_repeatedIndices_addsUp(
      @ForAll("withAxes") Operand x, @ForAll @IntRange(min = 1, max = 6) int size) {
    Tensor tensor = x.tensor();
    for (int axis = 0; axis < x.shape().rank(); axis++) {
      int at = axis;
      int[] indices = indices(x.random(), x.shape().size(axis), size);
      Reference numbers = x.reference();
      check(
          Reference.generate(
              x.shape().with(axis, size),
              i -> {
                double sum = 0;
                for (int j = 0; j < indices.length; j++) {
                  sum += indices[j] == i[at] ? numbers.at(Reference.with(i, at, j)) : 0;
                }
                return sum;
              }),
          () -> tensor.scatterAdd(at, size, indices),
          roundingsOfSum(indices.length));
    }
  }

  @Example
  void gather_outside_saysBothSides() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(2, 3));
    assertRefused("gather: index 3 of an axis of 3", () -> x.gather(1, 0, 3));
    assertRefused("gather: index -1 of an axis of 2", () -> x.gather(0, -1));
    assertRefused("scatterAdd: index 2 of an axis of 2", () -> x.scatterAdd(0, 2, 0, 2));
    assertRefused("scatterAdd: 1 indices for axis 0 of [2, 3]", () -> x.scatterAdd(0, 2, 0));
  }

  @Property(tries = TRIES)
  void broadcastTo_anyShape_repeats(@ForAll("pairs") Operand.Pair pair) {
    Shape whole = pair.left().shape().broadcast(pair.right().shape());
    Tensor tensor = pair.left().tensor();
    check(pair.left().reference().broadcastTo(whole), () -> tensor.broadcastTo(whole), EXACT);
  }

  @Example
  void broadcastTo_misfit_saysBothShapes() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(2, 3));
    assertRefused(
        "broadcastTo: [2, 3] does not broadcast to [3]", () -> x.broadcastTo(Shape.of(3)));
  }

  // ---- spaced rows -------------------------------------------------------------------------

  /** Operations on a matrix [3, 1024], whose rows are spaced on some machines. */
  private static Map<String, UnaryOperator<Tensor>> ofMatrix() {
    Tensor other =
        Reference.gaussian(DType.FLOAT, Shape.of(3, 1024), new Random(5)).tensor(DType.FLOAT);
    Tensor square =
        Reference.gaussian(DType.FLOAT, Shape.of(3, 3), new Random(6)).tensor(DType.FLOAT);
    Tensor row = other.slice(0, 0, 1).reshape(1024);
    Map<String, UnaryOperator<Tensor>> operations = new HashMap<>();
    operations.put("spacedRows", Tensor::spacedRows);
    operations.put("plus", x -> x.plus(other).plus(other.plus(x)).plus(1));
    operations.put("minus", x -> x.minus(other).plus(other.minus(x).times(2)));
    operations.put("times", x -> x.times(row).plus(row.times(x)).times(2));
    operations.put("over", x -> x.over(other).plus(other.over(x)));
    operations.put("negate", Tensor::negate);
    operations.put("square", Tensor::square);
    operations.put("sqrt", x -> x.square().plus(x).sqrt());
    operations.put("exp", Tensor::exp);
    operations.put("log", x -> x.plus(9).log().plus(x.log()));
    operations.put("tanh", Tensor::tanh);
    operations.put("relu", Tensor::relu);
    operations.put("positive", Tensor::positive);
    operations.put("gelu", Tensor::gelu);
    operations.put("geluDerivative", Tensor::geluDerivative);
    operations.put("exactGelu", Tensor::exactGelu);
    operations.put("exactGeluDerivative", Tensor::exactGeluDerivative);
    operations.put("silu", Tensor::silu);
    operations.put("siluDerivative", Tensor::siluDerivative);
    operations.put("sum", x -> x.sum(0).plus(x.sum(1)));
    operations.put("mean", x -> x.mean(0).plus(x.mean(1)));
    operations.put("centred", x -> x.centred(0).plus(x.centred(1)));
    operations.put("norm", x -> x.norm(0).plus(x.norm(1)));
    operations.put("rowDots", x -> x.rowDots(other).plus(other.rowDots(x)));
    operations.put("rootMeanSquare", x -> x.rootMeanSquare(0.1));
    operations.put("rescaled", x -> x.rescaled(x.rootMeanSquare(0.1), row, row));
    operations.put("rotated", x -> x.rotated(x.slice(1, 0, 512), other.slice(1, 0, 512), 512));
    operations.put(
        "gated", x -> x.gated(Activation.SILU, other).plus(other.gated(Activation.RELU, x)));
    operations.put("to", x -> x.to(Device.cpu()));
    operations.put("sumTo", x -> x.sumTo(Shape.of(1024)));
    operations.put("matmul", square::matmul);
    operations.put(
        "matmulTransposed", x -> x.matmulTransposed(other).plus(other.matmulTransposed(x)));
    operations.put("transposedMatmul", x -> square.transposedMatmul(x).reshape(3, 1024));
    operations.put("affine", x -> square.affine(x, row));
    operations.put(
        "byRow",
        x ->
            Tensor.byRow(
                List.of(
                    Products.of(x.reshape(1, 3, 1024)),
                    Products.of(square.reshape(1, 3, 3), x.reshape(1, 3, 1024)))));
    operations.put("leadingRows", x -> x.leadingRows(2).plus(x.leadingRows(2)));
    operations.put("softmax", Tensor::softmax);
    operations.put("causalSoftmax", x -> x.causalSoftmax(1000));
    operations.put("causalMask", x -> x.causalMask(5, -1));
    operations.put(
        "softmaxDerivative",
        x -> x.softmaxDerivative(other, 7).plus(other.softmaxDerivative(x, 7)));
    operations.put("logSoftmax", Tensor::logSoftmax);
    operations.put("topKMask", x -> x.topKMask(5));
    operations.put("reshape", x -> x.reshape(1024, 3).plus(x.reshape(3, 1, 1024).reshape(1024, 3)));
    operations.put("permute", x -> x.permute(1, 0));
    operations.put(
        "slice", x -> x.slice(0, 1, 3).slice(1, 3, 9).plus(x.slice(1, 3, 9).slice(0, 1, 3)));
    operations.put("pad", x -> x.pad(0, 1, 5).pad(1, 2, 1030));
    operations.put("concat", x -> Tensor.concat(1, List.of(x, other, x)));
    operations.put(
        "gather",
        x -> x.gather(0, 2, 0).gather(1, 1023, 5, 5).plus(x.gather(1, 1023, 5, 5).gather(0, 2, 0)));
    operations.put("scatterAdd", x -> x.scatterAdd(0, 4, 3, 1, 3));
    operations.put("broadcastTo", x -> x.broadcastTo(Shape.of(2, 3, 1024)));
    return operations;
  }

  @Example
  void spacedRows_anyOperation_isAsBefore() {
    Tensor dense =
        Reference.gaussian(DType.FLOAT, Shape.of(3, 1024), new Random(4)).tensor(DType.FLOAT);
    Tensor spaced = dense.spacedRows();
    Assume.that(spaced.rowStride() != 1024);
    assertArrayEquals(dense.toDoubles(), spaced.toDoubles());
    assertArrayEquals(dense.toDoubles(), Reference.generate(spaced.shape(), spaced::get).values());
    assertTrue(spaced.isFinite());
    ofMatrix()
        .forEach(
            (name, operation) -> {
              Tensor expected = operation.apply(dense);
              Reference.generate(expected.shape(), expected::get)
                  .assertClose(operation.apply(spaced), ROUNDINGS_OF_PRODUCTS);
            });
  }

  /** Products whose rows are further apart may be summed in another order. */
  private static final double ROUNDINGS_OF_PRODUCTS = 200;

  @Example
  void spacedRows_everyOperation_isTried() {
    Set<String> methods = new TreeSet<>();
    for (Method method : Tensor.class.getDeclaredMethods()) {
      if (Modifier.isPublic(method.getModifiers()) && method.getReturnType() == Tensor.class) {
        methods.add(method.getName());
      }
    }
    methods.removeAll(Set.of("of", "full", "zeros", "generate", "encoded", "decoded"));
    assertEquals(methods, new TreeSet<>(ofMatrix().keySet()));
  }

  @Example
  void spacedRows_noMatrix_isRefused() {
    assertRefused(
        "spacedRows: [2, 3, 4] is not a matrix",
        () -> Tensor.zeros(DType.FLOAT, Shape.of(2, 3, 4)).spacedRows());
  }

  @Example
  void to_sameDevice_isItself() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(2, 3));
    assertSame(x, x.to(Device.current())); // between devices: DeviceTest
  }

  // ---- matrices among others ---------------------------------------------------------------

  @Property(tries = TRIES)
  void byRow_productsAndMatrices_areThoseJoined(@ForAll DType dtype, @ForAll long seed) {
    Random random = new Random(seed);
    int rows = 1 + random.nextInt(20);
    int n = random.nextInt(20);
    List<Products> parts = new ArrayList<>();
    List<Tensor> made = new ArrayList<>();
    for (int i = random.nextInt(4); i >= 0; i--) {
      int count = random.nextInt(4);
      int k = random.nextInt(20);
      Tensor left = gaussian(dtype, random, count, rows, k);
      Tensor right = gaussian(dtype, random, count, k, n);
      switch (random.nextInt(3)) {
        case 0 -> parts.add(Products.of(left, right));
        case 1 -> parts.add(Products.transposed(left, right.permute(0, 2, 1)));
        default -> parts.add(Products.of(left.matmul(right)));
      }
      made.add(left.matmul(right).permute(1, 0, 2));
    }
    Tensor expected = Tensor.concat(1, made);
    Reference.generate(expected.shape(), expected::get)
        .assertClose(Tensor.byRow(parts), ROUNDINGS_OF_PRODUCTS);
  }

  private static Tensor gaussian(DType dtype, Random random, int... dimensions) {
    return Reference.gaussian(dtype, Shape.of(dimensions), random).tensor(dtype);
  }

  @Example
  void byRow_misfit_saysBothShapes() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(2, 3, 4));
    Tensor y = Tensor.zeros(DType.FLOAT, Shape.of(2, 3, 5));
    Tensor doubles = Tensor.zeros(DType.DOUBLE, Shape.of(2, 3, 4));
    assertRefused("byRow: there is nothing to put together", () -> Tensor.byRow(List.of()));
    assertRefused(
        "byRow: matrices [2, 3, 4] and [2, 3, 5] differ in rows or columns",
        () -> Tensor.byRow(List.of(Products.of(x), Products.of(y))));
    assertRefused(
        "byRow: left is FLOAT and right is DOUBLE",
        () -> Tensor.byRow(List.of(Products.of(x), Products.of(doubles))));
    assertRefused(
        "Products: [12] are no matrices", () -> Products.of(x.slice(0, 0, 1).reshape(12)));
    assertRefused(
        "Products: left FLOAT [2, 3, 4] and right FLOAT [2, 3, 5] do not fit",
        () -> Products.of(x, y));
    assertRefused(
        "Products: left FLOAT [2, 3, 4] and right FLOAT [2, 3, 5] transposed do not fit",
        () -> Products.transposed(x, y));
  }

  /** Operations on matrices [2, 3, 4] that lie among other ones. */
  private static Map<String, UnaryOperator<Tensor>> ofMatrices() {
    Tensor other = gaussian(DType.DOUBLE, new Random(7), 2, 3, 4);
    Map<String, UnaryOperator<Tensor>> operations = new HashMap<>();
    operations.put("itself", x -> x);
    operations.put("its numbers", x -> Tensor.of(DType.DOUBLE, x.shape(), x.toDoubles()));
    operations.put("its elements", x -> Tensor.full(DType.DOUBLE, Shape.of(1), x.get(1, 2, 3)));
    operations.put("plus", x -> x.plus(other).plus(other.plus(x)));
    operations.put("exp", Tensor::exp);
    operations.put("sum", x -> x.sum(1));
    operations.put("softmax", Tensor::softmax);
    operations.put("matmulTransposed", x -> x.matmulTransposed(other));
    operations.put("onTheRight", other::matmulTransposed);
    operations.put("transposedMatmul", x -> x.transposedMatmul(other));
    operations.put("ofOneMatrix", x -> x.matmul(other.slice(0, 0, 1).reshape(3, 4).permute(1, 0)));
    operations.put("broadcast", x -> x.matmulTransposed(other.slice(0, 1, 2)));
    operations.put("reshape", x -> x.reshape(4, 6));
    operations.put("reshapeOfRows", x -> x.reshape(3, 2, 4));
    operations.put("permute", x -> x.permute(2, 0, 1));
    operations.put("slice", x -> x.slice(0, 1, 2));
    operations.put("sliceOfRows", x -> x.slice(1, 1, 3));
    operations.put("sliceOfColumns", x -> x.slice(2, 1, 3));
    operations.put("slices", x -> x.slice(0, 1, 2).slice(1, 1, 3).slice(2, 1, 3));
    operations.put("sliceAmongOne", x -> x.reshape(1, 2, 3, 4).leadingRows(2).slice(1, 1, 2));
    operations.put("leadingRows", x -> x.leadingRows(2));
    operations.put("noRows", x -> x.leadingRows(0));
    operations.put("pad", x -> x.pad(0, 1, 4));
    operations.put("concat", x -> Tensor.concat(1, List.of(x, other, x)));
    operations.put("gather", x -> x.gather(0, 1, 0));
    operations.put("gatherOfRows", x -> x.gather(1, 2, 0));
    operations.put("gatherOfColumns", x -> x.gather(2, 2, 0));
    operations.put("broadcastTo", x -> x.broadcastTo(Shape.of(2, 2, 3, 4)));
    operations.put("byRow", x -> Tensor.byRow(List.of(Products.of(x), Products.of(other))));
    operations.put("isFinite", x -> Tensor.full(DType.DOUBLE, Shape.of(), x.isFinite() ? 1 : 0));
    return operations;
  }

  @Example
  void leadingRows_anyOperation_isThatOfTheRowsAlone() {
    Tensor x = gaussian(DType.DOUBLE, new Random(8), 2, 5, 4);
    Tensor alone = x.slice(1, 0, 3);
    Tensor leading = x.leadingRows(3);
    ofMatrices()
        .forEach(
            (name, operation) -> {
              Tensor expected = operation.apply(alone);
              Tensor actual = operation.apply(leading);
              assertEquals(expected.shape(), actual.shape(), name);
              assertArrayEquals(expected.toDoubles(), actual.toDoubles(), 1e-12, name);
            });
  }

  @Example
  void leadingRows_tooMany_saysHowManyThereAre() {
    Tensor x = Tensor.zeros(DType.FLOAT, Shape.of(2, 3, 4));
    assertRefused(
        "leadingRows: 4 of the axis before the last of [2, 3, 4]", () -> x.leadingRows(4));
    assertRefused(
        "leadingRows: 1 of the axis before the last of [4]",
        () -> Tensor.zeros(DType.FLOAT, Shape.of(4)).leadingRows(1));
  }

  // ---- encoded -----------------------------------------------------------------------------

  @Property(tries = 20)
  void encoded_anyOperation_isThatOfItsNumbers(
      @ForAll BlockFormat format, @ForAll boolean turned, @ForAll long seed) {
    Assume.that(1024 % format.elements() == 0 && (!turned || format.elements() == 1));
    EncodedTest.Stored stored =
        EncodedTest.Stored.random(format, turned, turned ? 1024 : 3, turned ? 3 : 1024, seed);
    Tensor plain = stored.plain(DType.FLOAT);
    ofMatrix()
        .forEach(
            (name, operation) -> {
              Tensor expected = operation.apply(plain);
              Reference.generate(expected.shape(), expected::get)
                  .assertClose(operation.apply(stored.encoded(DType.FLOAT)), ROUNDINGS_OF_PRODUCTS);
            });
  }

  @Property(tries = 20)
  void decoded_isTheNumbers(@ForAll BlockFormat format, @ForAll boolean turned, @ForAll long seed) {
    EncodedTest.Stored stored = EncodedTest.Stored.random(format, turned, 70, 1536, seed);
    Tensor plain = stored.plain(DType.FLOAT);
    assertArrayEquals(plain.toDoubles(), stored.decoded(DType.FLOAT).toDoubles());
  }

  // ---- completeness ------------------------------------------------------------------------

  /** What {@link #of_anyNumbers_readsThemBack} reads. */
  private static final Set<String> ACCESSORS = Set.of("dtype", "shape", "toDoubles");

  @Example
  void everyPublicMethod_hasATest() {
    List<String> tests =
        Arrays.stream(TensorTest.class.getDeclaredMethods()).map(Method::getName).toList();
    Set<String> untested = new TreeSet<>();
    for (Method method : Tensor.class.getDeclaredMethods()) {
      String name = method.getName();
      if (Modifier.isPublic(method.getModifiers())
          && !ACCESSORS.contains(name)
          && tests.stream().noneMatch(test -> test.startsWith(name + "_"))) {
        untested.add(name);
      }
    }
    assertEquals(Set.of(), untested);
    assertFalse(tests.isEmpty());
  }

  private static void assertRefused(String message, Executable call) {
    assertEquals(message, assertThrows(IllegalArgumentException.class, call).getMessage());
  }
}
