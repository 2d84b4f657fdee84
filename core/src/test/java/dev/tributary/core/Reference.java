package dev.tributary.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import java.util.Arrays;
import java.util.Random;
import java.util.function.DoubleBinaryOperator;
import java.util.function.DoubleUnaryOperator;

/** A row-major array of doubles computed the slow, obvious way: what tensors are compared with. */
final class Reference {
  private final Shape shape;
  private final double[] values;

  /** One element of an array as a function of its index. */
  interface Element {
    double at(int... index);
  }

  private Reference(Shape shape, double[] values) {
    this.shape = shape;
    this.values = values;
  }

  /** The array with these elements. */
  static Reference generate(Shape shape, Element element) {
    double[] values = new double[shape.length()];
    int[] index = new int[shape.rank()];
    for (int position = 0; position < values.length; position++) {
      int rest = position;
      for (int axis = shape.rank() - 1; axis >= 0; axis--) {
        index[axis] = rest % shape.size(axis);
        rest /= shape.size(axis);
      }
      values[position] = element.at(index);
    }
    return new Reference(shape, values);
  }

  /** What a tensor holds. */
  static Reference of(Tensor tensor) {
    return new Reference(tensor.shape(), tensor.toDoubles());
  }

  /** Normally distributed numbers that {@code dtype} holds exactly. */
  static Reference gaussian(DType dtype, Shape shape, Random random) {
    return generate(shape, index -> rounded(dtype, random.nextGaussian()));
  }

  static double rounded(DType dtype, double value) {
    return dtype == DType.FLOAT ? (float) value : value;
  }

  Shape shape() {
    return shape;
  }

  double[] values() {
    return values;
  }

  /** A tensor of these numbers. */
  Tensor tensor(DType dtype) {
    return Tensor.of(dtype, shape, values);
  }

  /**
   * One element; as in broadcasting, axes are matched from the last, extra leading ones do not
   * matter and axes of size 1 repeat.
   */
  double at(int... index) {
    int position = 0;
    for (int axis = 0; axis < shape.rank(); axis++) {
      int i = index[index.length - shape.rank() + axis];
      position = position * shape.size(axis) + (shape.size(axis) == 1 ? 0 : i);
    }
    return values[position];
  }

  Reference map(DoubleUnaryOperator function) {
    return new Reference(shape, Arrays.stream(values).map(function).toArray());
  }

  Reference zip(Reference other, DoubleBinaryOperator function) {
    return generate(shape.broadcast(other.shape), i -> function.applyAsDouble(at(i), other.at(i)));
  }

  Reference broadcastTo(Shape target) {
    return generate(target, this::at);
  }

  Reference reshape(Shape target) {
    return new Reference(target, values);
  }

  Reference sum(int axis) {
    return reduce(axis, Double::sum);
  }

  private Reference reduce(int axis, DoubleBinaryOperator function) {
    return generate(
        shape.with(axis, 1),
        i -> {
          double result = shape.size(axis) == 0 ? 0 : at(i);
          for (int j = 1; j < shape.size(axis); j++) {
            result = function.applyAsDouble(result, at(with(i, axis, j)));
          }
          return result;
        });
  }

  Reference permute(int... axes) {
    int[] dimensions = new int[axes.length];
    for (int i = 0; i < axes.length; i++) {
      dimensions[i] = shape.size(axes[i]);
    }
    return generate(
        Shape.of(dimensions),
        i -> {
          int[] source = new int[axes.length];
          for (int axis = 0; axis < axes.length; axis++) {
            source[axes[axis]] = i[axis];
          }
          return at(source);
        });
  }

  /** The last two axes exchanged. */
  Reference transpose() {
    int rank = shape.rank();
    int[] axes = new int[rank];
    Arrays.setAll(axes, axis -> axis);
    axes[rank - 1] = rank - 2;
    axes[rank - 2] = rank - 1;
    return permute(axes);
  }

  Reference matmul(Reference right) {
    int rank = shape.rank();
    int rightRank = right.shape.rank();
    Shape batch = shape.subShape(0, rank - 2).broadcast(right.shape.subShape(0, rightRank - 2));
    int last = batch.rank() + 1;
    return generate(
        Shape.of(shape.size(-2), right.shape.size(-1)).prepend(batch.dimensions()),
        i -> {
          double sum = 0;
          for (int j = 0; j < shape.size(-1); j++) {
            sum += at(with(i, last, j)) * right.at(with(i, last - 1, j));
          }
          return sum;
        });
  }

  /** The first {@code visible + row} entries of each row, the rest {@code hidden}. */
  Reference causalMask(int visible, double hidden) {
    int last = shape.rank() - 1;
    return generate(
        shape,
        i -> {
          long end = (last > 0 ? i[last - 1] : 0) + (long) visible;
          return i[last] < end ? at(i) : hidden;
        });
  }

  /** Softmax over the first {@code visible + row} entries of each row, the rest 0. */
  Reference causalSoftmax(int visible) {
    int last = shape.rank() - 1;
    Reference seen = causalMask(visible, Double.NEGATIVE_INFINITY);
    Reference exponentials = seen.zip(seen.reduce(last, Math::max), (x, max) -> Math.exp(x - max));
    return exponentials.zip(exponentials.sum(last), (x, sum) -> x / sum);
  }

  /** 1 at the largest entries of each row (the first of equals), else 0. */
  Reference topKMask(int count) {
    int last = shape.rank() - 1;
    double[] mask = new double[values.length];
    for (int row = 0; row < values.length; row += shape.size(last)) {
      for (int chosen = 0; chosen < count; chosen++) {
        int best = -1;
        for (int i = row; i < row + shape.size(last); i++) {
          if (mask[i] == 0 && (best < 0 || values[i] > values[best])) {
            best = i;
          }
        }
        mask[best] = 1;
      }
    }
    return new Reference(shape, mask);
  }

  /** The index with one axis replaced. */
  static int[] with(int[] index, int axis, int i) {
    int[] result = index.clone();
    result[axis] = i;
    return result;
  }

  /**
   * Fails unless the tensor has this shape and these numbers.
   *
   * @param roundings allowed difference in epsilons of the tensor's type, relative to the number or
   *     to 1 if that is larger; 0 for equal
   */
  void assertClose(Tensor actual, double roundings) {
    assertEquals(shape, actual.shape());
    double[] found = actual.toDoubles();
    for (int i = 0; i < values.length; i++) {
      double allowed = roundings * actual.dtype().epsilon() * Math.max(1, Math.abs(values[i]));
      boolean close =
          values[i] == found[i]
              || (Double.isNaN(values[i]) && Double.isNaN(found[i]))
              || Math.abs(values[i] - found[i]) <= (Double.isInfinite(values[i]) ? 0 : allowed);
      if (!close) {
        fail(
            String.format(
                "element %d of %s is %s, expected %s within %s",
                i, actual, found[i], values[i], allowed));
      }
    }
  }
}
