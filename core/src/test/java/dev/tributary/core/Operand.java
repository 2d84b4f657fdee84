package dev.tributary.core;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Tuple;

/**
 * A drawn operand: what it looks like and the seed of its numbers.
 *
 * @param view whether it is a window on a larger tensor whose other elements are NaN
 */
record Operand(DType dtype, Shape shape, long seed, boolean view) {
  /** Longer than the pieces in which kernels walk. */
  private static final int LONGEST = 4200;

  /** Two operands of one type. */
  record Pair(Operand left, Operand right) {}

  /** Any operand with at least so many axes, at most 4, some of them of size 0 or 1. */
  static Arbitrary<Operand> any(int minRank) {
    return of(shapes(minRank));
  }

  /** Any operand whose last axis is not of size 0. */
  static Arbitrary<Operand> ofRows(int minRank) {
    return of(shapes(minRank).filter(shape -> shape.size(-1) > 0));
  }

  static Arbitrary<Operand> of(Arbitrary<Shape> shapes) {
    return Combinators.combine(
            Arbitraries.of(DType.class), shapes, Arbitraries.longs(), Arbitraries.of(false, true))
        .as(Operand::new)
        .withoutEdgeCases(); // all of them would be more than the tries
  }

  /** Shapes of up to 4 small axes, and now and then of a long axis among at most 3. */
  static Arbitrary<Shape> shapes(int minRank) {
    Arbitrary<Integer> sizes =
        Arbitraries.frequency(
            Tuple.of(1, 0), Tuple.of(4, 1), Tuple.of(4, 2), Tuple.of(3, 3), Tuple.of(2, 5));
    Arbitrary<Shape> small =
        sizes.array(int[].class).ofMinSize(minRank).ofMaxSize(4).map(Shape::of);
    Arbitrary<Shape> large =
        Combinators.combine(
                Arbitraries.integers()
                    .between(1, 3)
                    .array(int[].class)
                    .ofMinSize(Math.max(1, minRank))
                    .ofMaxSize(3),
                Arbitraries.integers().between(2000, LONGEST),
                Arbitraries.integers().between(0, 2))
            .as((others, size, axis) -> Shape.of(others).with(axis % others.length, size));
    return Arbitraries.frequencyOf(Tuple.of(8, small), Tuple.of(1, large));
  }

  /** Two operands that broadcast: both may repeat axes of the other and lack leading ones. */
  static Arbitrary<Pair> broadcasting() {
    return Combinators.combine(any(0), Arbitraries.integers().between(0, 1 << 20))
        .as(Operand::pair)
        .withoutEdgeCases();
  }

  private static Pair pair(Operand whole, int bits) {
    return new Pair(
        whole.with(part(whole.shape, bits), 1), whole.with(part(whole.shape, bits >> 10), 2));
  }

  /** The shape with some leading axes left out and some others set to 1. */
  private static Shape part(Shape shape, int bits) {
    int dropped = Math.min(shape.rank(), Math.max(0, (bits & 7) - 4));
    int[] dimensions = shape.subShape(dropped, shape.rank()).dimensions();
    for (int axis = 0; axis < dimensions.length; axis++) {
      if ((bits >> (3 + axis) & 1) == 1) {
        dimensions[axis] = 1;
      }
    }
    return Shape.of(dimensions);
  }

  /** Two operands of a matrix product whose batches broadcast. */
  static Arbitrary<Pair> factors() {
    Arbitrary<Shape> batches =
        Arbitraries.of(0, 1, 2, 3).array(int[].class).ofMaxSize(2).map(Shape::of);
    Arbitrary<int[]> sizes =
        Arbitraries.frequencyOf(
            Tuple.of(8, Arbitraries.of(0, 1, 2, 3, 5, 7).array(int[].class).ofSize(3)),
            Tuple.of(1, Arbitraries.integers().between(1, 90).array(int[].class).ofSize(3)));
    return Combinators.combine(of(batches), sizes, Arbitraries.integers().between(0, 1 << 20))
        .as(
            (batch, mkn, bits) -> {
              Pair parts = pair(batch, bits);
              Shape left = Shape.of(mkn[0], mkn[1]).prepend(parts.left.shape.dimensions());
              Shape right = Shape.of(mkn[1], mkn[2]).prepend(parts.right.shape.dimensions());
              return new Pair(parts.left.with(left, 1), parts.right.with(right, 2));
            })
        .withoutEdgeCases();
  }

  private Operand with(Shape other, long offset) {
    return new Operand(dtype, other, seed + offset, view);
  }

  /** Its numbers, normally distributed. */
  Reference reference() {
    return Reference.gaussian(dtype, shape, new Random(seed));
  }

  /** Its numbers as a tensor. */
  Tensor tensor() {
    return tensor(reference());
  }

  /** Other numbers of its shape as a tensor. */
  Tensor tensor(Reference numbers) {
    if (!view) {
      return numbers.tensor(dtype);
    }
    int length = numbers.shape().length();
    List<Tensor> parts = new ArrayList<>();
    parts.add(Tensor.full(dtype, Shape.of(3, length), Double.NaN));
    parts.add(numbers.tensor(dtype).reshape(1, length));
    parts.add(Tensor.full(dtype, Shape.of(1, length), Double.NaN));
    return Tensor.concat(0, parts).slice(0, 3, 4).reshape(numbers.shape());
  }

  /** A source of further draws that belong to this operand. */
  Random random() {
    return new Random(~seed);
  }
}
