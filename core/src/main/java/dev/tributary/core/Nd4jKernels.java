package dev.tributary.core;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.transforms.custom.SoftMax;
import org.nd4j.linalg.api.ops.impl.transforms.strict.Erfc;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.ops.transforms.Transforms;

/**
 * Kernels for any device that ND4J runs on: chains of its operations. Slower than {@link
 * CpuKernels} on a CPU, where it exists to be compared with.
 */
final class Nd4jKernels implements Kernels {
  /** Arrays made on the way, closed together: the garbage collector comes too late for them. */
  private static final class Temporaries implements AutoCloseable {
    private final List<INDArray> arrays = new ArrayList<>();

    INDArray add(INDArray array) {
      arrays.add(array);
      return array;
    }

    @Override
    public void close() {
      for (INDArray array : arrays) {
        if (array.closeable()) {
          array.close();
        }
      }
    }
  }

  /** A window on the memory of a tensor; offset and strides in elements. */
  private static INDArray window(Tensor x, long offset, int[] dimensions, int[] strides) {
    if (dimensions.length == 0) {
      return window(x, offset, new int[] {1}, new int[] {1});
    }
    return Nd4j.create(
        ((Nd4jDevice.Memory) x.block()).array().data(),
        Arrays.stream(dimensions).asLongStream().toArray(),
        Arrays.stream(strides).asLongStream().toArray(),
        x.offset() + offset,
        'c');
  }

  private static INDArray window(Tensor x, int... dimensions) {
    return window(x, 0, dimensions, Shape.of(dimensions).strides());
  }

  private static INDArray array(Tensor x) {
    return window(x, x.shape().dimensions());
  }

  /** With leading axes of size 1: ND4J broadcasts only between equal numbers of axes. */
  private static INDArray padded(Tensor x, int rank) {
    return window(x, x.shape().padTo(Math.max(1, rank)).dimensions());
  }

  @Override
  public void write(double[] values, int count, Tensor out, long from) {
    if (count == 0) {
      return;
    }
    try (Temporaries temporaries = new Temporaries()) {
      INDArray source = temporaries.add(Nd4j.createFromArray(Arrays.copyOf(values, count)));
      window(out, from, new int[] {count}, new int[] {1}).assign(source);
    }
  }

  @Override
  public void read(Tensor x, long from, double[] values, int count) {
    if (count > 0) {
      double[] read = window(x, from, new int[] {count}, new int[] {1}).toDoubleVector();
      System.arraycopy(read, 0, values, 0, count);
    }
  }

  @Override
  public void fill(Tensor out, double value) {
    if (out.shape().length() > 0) {
      array(out).assign(value);
    }
  }

  @Override
  public void unary(Unary function, Tensor x, Tensor out) {
    if (out.shape().length() == 0) {
      return;
    }
    try (Temporaries temporaries = new Temporaries()) {
      INDArray from = array(x);
      INDArray z = array(out).assign(from);
      switch (function) {
        case NEGATE -> z.negi();
        case SQUARE -> z.muli(from);
        case SQRT -> Transforms.sqrt(z, false);
        case EXP -> Transforms.exp(z, false);
        case LOG -> Transforms.log(z, false);
        case TANH -> Transforms.tanh(z, false);
        case RELU -> Transforms.relu(z, false);
        case POSITIVE -> z.assign(temporaries.add(from.gt(0)));
        case GELU -> z.muli(geluGate(from, temporaries));
        case GELU_DERIVATIVE -> {
          INDArray s = geluGate(from, temporaries);
          INDArray slope = temporaries.add(from.mul(from));
          slope.muli(3 * 0.044715).addi(1).muli(2 * Math.sqrt(2 / Math.PI));
          z.muli(s).muli(temporaries.add(s.rsub(1))).muli(slope).addi(s);
        }
        case EXACT_GELU -> z.muli(normalDistribution(from, temporaries));
        case EXACT_GELU_DERIVATIVE -> {
          INDArray density = temporaries.add(from.mul(from));
          Transforms.exp(density.muli(-0.5), false).muli(1 / Math.sqrt(2 * Math.PI));
          z.muli(density).addi(normalDistribution(from, temporaries));
        }
        case SILU -> z.muli(sigmoid(from, temporaries));
        case SILU_DERIVATIVE -> {
          INDArray s = sigmoid(from, temporaries);
          z.muli(s).muli(temporaries.add(s.rsub(1))).addi(s);
        }
      }
    }
  }

  @Override
  public void unaryWithDerivative(Unary function, Tensor x, Tensor out, Tensor derivative) {
    unary(function, x, out);
    Unary slope =
        switch (function) {
          case GELU -> Unary.GELU_DERIVATIVE;
          case SILU -> Unary.SILU_DERIVATIVE;
          case RELU -> Unary.POSITIVE;
          default -> Unary.EXACT_GELU_DERIVATIVE;
        };
    unary(slope, x, derivative);
  }

  @Override
  public void gate(Unary function, Tensor gate, Tensor up, Tensor out) {
    unary(function, gate, out);
    if (out.shape().length() > 0) {
      array(out).muli(array(up));
    }
  }

  @Override
  public void gateWithDerivatives(
      Unary function, Tensor gate, Tensor up, Tensor out, Tensor alongGate, Tensor alongUp) {
    unaryWithDerivative(function, gate, alongUp, alongGate);
    if (out.shape().length() > 0) {
      array(alongGate).muli(array(up));
    }
    binary(Binary.TIMES, alongUp, up, out);
  }

  private static INDArray sigmoid(INDArray x, Temporaries temporaries) {
    INDArray exponent = temporaries.add(x.neg());
    return Transforms.exp(exponent, false).addi(1).rdivi(1);
  }

  private static INDArray normalDistribution(INDArray x, Temporaries temporaries) {
    INDArray result = temporaries.add(x.mul(-Math.sqrt(0.5)));
    return Nd4j.exec(new Erfc(result, result)).muli(0.5);
  }

  private static INDArray geluGate(INDArray x, Temporaries temporaries) {
    INDArray exponent = temporaries.add(x.mul(x));
    exponent.muli(0.044715).addi(1).muli(x).muli(-2 * Math.sqrt(2 / Math.PI));
    return Transforms.exp(exponent, false).addi(1).rdivi(1);
  }

  @Override
  public void binary(Binary function, Tensor x, Tensor y, Tensor out) {
    if (out.shape().length() == 0) {
      return;
    }
    int rank = out.shape().rank();
    INDArray left = padded(x, rank);
    INDArray right = padded(y, rank);
    INDArray z = padded(out, rank);
    z.assign(0).addi(left);
    switch (function) {
      case PLUS -> z.addi(right);
      case MINUS -> z.subi(right);
      case TIMES -> z.muli(right);
      case OVER -> z.divi(right);
    }
  }

  @Override
  public void binary(Binary function, Tensor x, double y, Tensor out) {
    if (out.shape().length() == 0) {
      return;
    }
    INDArray z = array(out).assign(array(x));
    switch (function) {
      case PLUS -> z.addi(y);
      case MINUS -> z.subi(y);
      case TIMES -> z.muli(y);
      case OVER -> z.divi(y);
    }
  }

  @Override
  public void centre(Tensor x, Tensor out) {
    if (x.shape().length() == 0) {
      return;
    }
    int n = x.shape().size(-1);
    int rows = x.shape().length() / n;
    try (Temporaries temporaries = new Temporaries()) {
      INDArray z = window(out, rows, n).assign(window(x, rows, n));
      z.subi(temporaries.add(z.mean(1)).reshape(rows, 1));
    }
  }

  @Override
  public void rowDots(Tensor x, Tensor y, Tensor out) {
    if (y.shape().length() == 0) {
      fill(out, 0);
      return;
    }
    int n = x.shape().size(-1);
    int rows = x.shape().length() / n;
    int outer = y.shape().length() / x.shape().length();
    try (Temporaries temporaries = new Temporaries()) {
      INDArray products = temporaries.add(window(y, outer, rows, n).mul(window(x, 1, rows, n)));
      INDArray sums = temporaries.add(products.sum(2));
      window(out, outer, rows).assign(sums.reshape(outer, rows));
    }
  }

  @Override
  public void rootMeanSquare(Tensor x, double epsilon, Tensor out) {
    rowDots(x, x, out);
    binary(Binary.TIMES, out, 1.0 / x.shape().size(-1), out);
    binary(Binary.PLUS, out, epsilon, out);
    unary(Unary.SQRT, out, out);
  }

  @Override
  public void rescale(Tensor x, Tensor scale, Tensor gain, Tensor bias, Tensor out) {
    if (x.shape().length() == 0) {
      return;
    }
    int n = x.shape().size(-1);
    int rows = scale.shape().length();
    INDArray z = window(out, x.shape().length() / (rows * n), rows, n);
    z.assign(window(x, x.shape().length() / (rows * n), rows, n));
    z.divi(window(scale, 1, rows, 1)).muli(window(gain, 1, 1, n)).addi(window(bias, 1, 1, n));
  }

  @Override
  public void rotate(Tensor x, Tensor cosine, Tensor sine, int distance, Tensor out) {
    if (x.shape().length() == 0) {
      return;
    }
    int n = x.shape().size(-1);
    int tokens = cosine.shape().size(0);
    int pairs = cosine.shape().size(1);
    int outer = x.shape().length() / (tokens * n);
    int[] box = {outer, tokens, pairs / distance, distance};
    int[] strides = {tokens * n, n, 2 * distance, 1};
    int[] angles = {1, tokens, pairs / distance, distance};
    array(out).assign(array(x));
    try (Temporaries temporaries = new Temporaries()) {
      INDArray a = window(x, 0, box, strides);
      INDArray b = window(x, distance, box, strides);
      INDArray c = window(cosine, angles);
      INDArray s = window(sine, angles);
      INDArray one = temporaries.add(a.mul(c)).subi(temporaries.add(b.mul(s)));
      INDArray other = temporaries.add(b.mul(c)).addi(temporaries.add(a.mul(s)));
      window(out, 0, box, strides).assign(one);
      window(out, distance, box, strides).assign(other);
    }
  }

  @Override
  public void sum(Tensor x, int outer, int count, int inner, Tensor out) {
    if (x.shape().length() == 0) {
      fill(out, 0);
      return;
    }
    try (Temporaries temporaries = new Temporaries()) {
      INDArray sums = temporaries.add(window(x, outer, count, inner).sum(1));
      window(out, outer, inner).assign(sums.reshape(outer, inner));
    }
  }

  @Override
  public void matmul(
      Tensor x,
      boolean xTransposed,
      Tensor y,
      boolean yTransposed,
      Tensor out,
      boolean accumulate) {
    int[] dimensions = out.shape().dimensions();
    int rank = dimensions.length;
    int[] xStrides = x.broadcastStrides(rank);
    int[] yStrides = y.broadcastStrides(rank);
    int m = dimensions[rank - 2];
    int n = dimensions[rank - 1];
    Shape batch = out.shape().subShape(0, rank - 2);
    int[] index = new int[rank - 2];
    try (Temporaries temporaries = new Temporaries()) {
      for (int at = 0; at < batch.length(); at++) {
        long xOffset = 0;
        long yOffset = 0;
        int rest = at;
        for (int axis = rank - 3; axis >= 0; axis--) {
          index[axis] = rest % dimensions[axis];
          rest /= dimensions[axis];
          xOffset += (long) index[axis] * xStrides[axis];
          yOffset += (long) index[axis] * yStrides[axis];
        }
        INDArray left = matrix(x, xOffset);
        INDArray right = matrix(y, yOffset);
        INDArray z = matrix(out, (long) at * out.matrixStride());
        if (accumulate) {
          INDArray product = temporaries.add(Nd4j.create(z.dataType(), m, n));
          z.addi(Nd4j.matmul(left, right, product, xTransposed, yTransposed, false));
        } else {
          Nd4j.matmul(left, right, z, xTransposed, yTransposed, false);
        }
      }
    }
  }

  private static INDArray matrix(Tensor x, long offset) {
    int rows = x.shape().size(-2);
    int columns = x.shape().size(-1);
    return window(x, offset, new int[] {rows, columns}, new int[] {x.rowStride(), 1});
  }

  @Override
  public void copy(
      Tensor from,
      long fromOffset,
      int[] fromStrides,
      Tensor to,
      long toOffset,
      int[] toStrides,
      int[] box) {
    int[] sourceBox = box.clone();
    int[] sourceStrides = fromStrides.clone();
    for (int axis = 0; axis < box.length; axis++) {
      if (box[axis] == 0) {
        return;
      }
      if (fromStrides[axis] == 0) {
        sourceBox[axis] = 1;
        sourceStrides[axis] = 1;
      }
    }
    INDArray source = window(from, fromOffset, sourceBox, sourceStrides);
    INDArray target = window(to, toOffset, box, toStrides);
    if (Arrays.equals(sourceBox, box)) {
      target.assign(source);
    } else {
      target.assign(0).addi(source);
    }
  }

  @Override
  public void gather(
      Tensor x, int outer, long outerStride, long stride, int inner, int[] indices, Tensor out) {
    for (int o = 0; o < outer && inner > 0; o++) {
      for (int i = 0; i < indices.length; i++) {
        long from = o * outerStride + indices[i] * stride;
        row(out, ((long) o * indices.length + i) * inner, inner).assign(row(x, from, inner));
      }
    }
  }

  @Override
  public void select(Tensor x, int[] rows, int[] columns, Tensor out, long at) {
    throw new AssertionError("an encoded matrix on a device that has none");
  }

  @Override
  public void scatterAdd(Tensor x, int outer, int size, int inner, int[] indices, Tensor out) {
    for (int o = 0; o < outer && inner > 0; o++) {
      for (int i = 0; i < indices.length; i++) {
        row(out, ((long) o * size + indices[i]) * inner, inner)
            .addi(row(x, ((long) o * indices.length + i) * inner, inner));
      }
    }
  }

  /** {@code length} elements in a row: a slice of a slice loses its place in M2.1. */
  private static INDArray row(Tensor x, long from, int length) {
    return window(x, from, new int[] {length}, new int[] {1});
  }

  @Override
  public void causalMask(Tensor x, int visible, double hidden, Tensor out) {
    if (x.shape().length() == 0) {
      return;
    }
    int n = x.shape().size(-1);
    int rows = x.shape().rank() > 1 ? x.shape().size(-2) : 1;
    int outer = x.shape().length() / (rows * n);
    array(out).assign(array(x));
    for (int row = 0; row < rows; row++) {
      int seen = (int) Math.min(n, (long) row + visible);
      if (seen < n) {
        window(out, (long) row * n + seen, new int[] {outer, n - seen}, new int[] {rows * n, 1})
            .assign(hidden);
      }
    }
  }

  @Override
  public void softmax(Tensor x, int visible, Tensor out) {
    if (x.shape().length() == 0) {
      return;
    }
    int n = x.shape().size(-1);
    int rows = x.shape().rank() > 1 ? x.shape().size(-2) : 1;
    causalMask(x, visible, Double.NEGATIVE_INFINITY, out);
    try (Temporaries temporaries = new Temporaries()) {
      INDArray z = window(out, x.shape().length() / (rows * n), rows, n);
      Nd4j.exec(new SoftMax(temporaries.add(z.dup()), z, -1));
    }
  }

  @Override
  public void softmaxDerivative(Tensor p, Tensor u, int visible, Tensor out) {
    if (out.shape().length() == 0) {
      return;
    }
    int n = p.shape().size(-1);
    int rows = p.shape().length() / n;
    int outer = u.shape().length() / p.shape().length();
    try (Temporaries temporaries = new Temporaries()) {
      INDArray weights = window(p, 1, rows, n);
      INDArray values = window(u, outer, rows, n);
      INDArray means =
          temporaries.add(temporaries.add(values.mul(weights)).sum(2)).reshape(outer, rows, 1);
      window(out, outer, rows, n).assign(values).subi(means).muli(weights);
    }
  }

  @Override
  public void logSoftmax(Tensor x, Tensor out) {
    if (out.shape().length() == 0) {
      return;
    }
    int n = x.shape().size(-1);
    int rows = x.shape().length() / n;
    try (Temporaries temporaries = new Temporaries()) {
      INDArray z = window(out, rows, n).assign(window(x, rows, n));
      z.subi(temporaries.add(z.max(1)).reshape(rows, 1));
      INDArray sums = temporaries.add(temporaries.add(Transforms.exp(z, true)).sum(1));
      z.subi(temporaries.add(Transforms.log(sums, true)).reshape(rows, 1));
    }
  }

  @Override
  public void topKMask(Tensor x, int count, Tensor out) {
    int n = x.shape().size(-1);
    double[] row = new double[n];
    for (int at = 0; at < x.shape().length(); at += n) {
      read(x, at, row, n);
      double[] mask = new double[n];
      for (int index : TopK.indices(row, count)) {
        mask[index] = 1;
      }
      write(mask, n, out, at);
    }
  }

  @Override
  public boolean isFinite(Tensor x) {
    if (x.shape().length() == 0) {
      return true;
    }
    try (Temporaries temporaries = new Temporaries()) {
      return !Double.isNaN(temporaries.add(array(x).mul(0)).sumNumber().doubleValue());
    }
  }

  @Override
  public int[] reaching(Tensor x, double[] rows, double[] columns, double bound) {
    if (x.shape().length() == 0) {
      return new int[0];
    }
    try (Temporaries temporaries = new Temporaries()) {
      INDArray left = temporaries.add(Nd4j.createFromArray(rows).castTo(array(x).dataType()));
      INDArray right = temporaries.add(Nd4j.createFromArray(columns).castTo(left.dataType()));
      INDArray sums = temporaries.add(Transforms.abs(array(x), true));
      sums.addi(
          temporaries.add(left.reshape(rows.length, 1).mmul(right.reshape(1, columns.length))));
      double[] values = sums.reshape(sums.length()).toDoubleVector();
      return IntStream.range(0, values.length).filter(i -> values[i] >= bound).toArray();
    }
  }
}
