package dev.tributary.core;

import dev.tributary.core.Rows.Access;
import dev.tributary.core.Rows.Matrix;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.bytedeco.openblas.global.openblas_nolapack;

/**
 * Kernels for CPUs: plain Java over rows copied to the heap, where the compiler vectorises, and
 * direct calls of the BLAS that ND4J brings. Several times faster than chains of ND4J operations,
 * and free of their cost per call.
 */
final class CpuKernels implements Kernels {
  /** Long rows are walked in pieces that stay in the first-level cache. */
  private static final int PIECE = 2048;

  /** Of more entries for each that is gathered, only these are read. */
  private static final int DENSE = 16;

  private static final int[] NONE = {};

  CpuKernels() {
    openblas_nolapack.blas_set_num_threads(1); // workers share its products as well
  }

  static Rows<?> rows(DType dtype) {
    return dtype == DType.FLOAT ? FloatRows.INSTANCE : DoubleRows.INSTANCE;
  }

  private static Rows<?> rows(Tensor x) {
    return rows(x.dtype());
  }

  /** Heap arrays of one thread, reused from call to call; grown where a row is longer. */
  static final class Scratch {
    private static final ThreadLocal<Scratch> FLOATS = ThreadLocal.withInitial(Scratch::new);
    private static final ThreadLocal<Scratch> DOUBLES = ThreadLocal.withInitial(Scratch::new);

    private final List<Object> arrays = new ArrayList<>();

    @SuppressWarnings("unchecked") // each thread-local holds arrays of one type only
    static <A> A array(Rows<A> rows, int slot, int n) {
      Scratch scratch = (rows == (Rows<?>) FloatRows.INSTANCE ? FLOATS : DOUBLES).get();
      while (scratch.arrays.size() <= slot) {
        scratch.arrays.add(rows.array(PIECE));
      }
      A array = (A) scratch.arrays.get(slot);
      if (rows.length(array) < n) {
        array = rows.array(n);
        scratch.arrays.set(slot, array);
      }
      return array;
    }
  }

  private static Access access(Tensor x) {
    return Cpu.access(x.block());
  }

  @Override
  public void write(double[] values, int count, Tensor out, long from) {
    write(rows(out), values, count, out, from);
  }

  private static <A> void write(Rows<A> rows, double[] values, int count, Tensor out, long from) {
    A row = Scratch.array(rows, 0, PIECE);
    Access to = access(out);
    for (int start = 0; start < count; start += PIECE) {
      int n = Math.min(PIECE, count - start);
      for (int i = 0; i < n; i++) {
        rows.set(row, i, values[start + i]);
      }
      rows.write(row, 0, n, to, out.offset() + from + start);
    }
  }

  @Override
  public void read(Tensor x, long from, double[] values, int count) {
    read(rows(x), x, from, values, count);
  }

  private static <A> void read(Rows<A> rows, Tensor x, long from, double[] values, int count) {
    A row = Scratch.array(rows, 0, PIECE);
    Access source = access(x);
    for (int start = 0; start < count; start += PIECE) {
      int n = Math.min(PIECE, count - start);
      rows.read(source, x.offset() + from + start, row, 0, n);
      for (int i = 0; i < n; i++) {
        values[start + i] = rows.get(row, i);
      }
    }
  }

  /** What is done for {@code n} elements from {@code start} on. */
  @FunctionalInterface
  private interface Piece {
    void run(int start, int n);
  }

  private static void inPieces(int length, Piece piece) {
    Workers.run(
        (int) ((length + PIECE - 1L) / PIECE),
        length,
        (from, to) -> {
          for (int i = from; i < to; i++) {
            piece.run(i * PIECE, Math.min(PIECE, length - i * PIECE));
          }
        });
  }

  @Override
  public void fill(Tensor out, double value) {
    fill(rows(out), out, value);
  }

  private static <A> void fill(Rows<A> rows, Tensor out, double value) {
    Access to = access(out);
    inPieces(
        out.shape().length(),
        (start, n) -> {
          A row = Scratch.array(rows, 0, PIECE);
          rows.fill(row, value, n);
          rows.write(row, 0, n, to, out.offset() + start);
        });
  }

  @Override
  public void unary(Unary function, Tensor x, Tensor out) {
    unary(rows(x), function, x, out);
  }

  private static <A> void unary(Rows<A> rows, Unary function, Tensor x, Tensor out) {
    Access from = access(x);
    Access to = access(out);
    inPieces(
        x.shape().length(),
        (start, n) -> {
          A row = Scratch.array(rows, 0, PIECE);
          A result = Scratch.array(rows, 1, PIECE);
          rows.read(from, x.offset() + start, row, 0, n);
          rows.unary(function, row, result, n);
          rows.write(result, 0, n, to, out.offset() + start);
        });
  }

  @Override
  public void unaryWithDerivative(Unary function, Tensor x, Tensor out, Tensor derivative) {
    unaryWithDerivative(rows(x), function, x, out, derivative);
  }

  private static <A> void unaryWithDerivative(
      Rows<A> rows, Unary function, Tensor x, Tensor out, Tensor derivative) {
    Access from = access(x);
    Access to = access(out);
    Access toDerivative = access(derivative);
    inPieces(
        x.shape().length(),
        (start, n) -> {
          A row = Scratch.array(rows, 0, PIECE);
          A result = Scratch.array(rows, 1, PIECE);
          A slope = Scratch.array(rows, 2, PIECE);
          rows.read(from, x.offset() + start, row, 0, n);
          rows.unaryWithDerivative(function, row, result, slope, n);
          rows.write(result, 0, n, to, out.offset() + start);
          rows.write(slope, 0, n, toDerivative, derivative.offset() + start);
        });
  }

  @Override
  public void gate(Unary function, Tensor gate, Tensor up, Tensor out) {
    gate(rows(gate), function, gate, up, out);
  }

  private static <A> void gate(Rows<A> rows, Unary function, Tensor gate, Tensor up, Tensor out) {
    Access gates = access(gate);
    Access ups = access(up);
    Access to = access(out);
    inPieces(
        gate.shape().length(),
        (start, n) -> {
          A row = Scratch.array(rows, 0, PIECE);
          A factor = Scratch.array(rows, 1, PIECE);
          A result = Scratch.array(rows, 2, PIECE);
          rows.read(gates, gate.offset() + start, row, 0, n);
          rows.read(ups, up.offset() + start, factor, 0, n);
          rows.unary(function, row, result, n);
          rows.binary(Binary.TIMES, result, factor, result, n);
          rows.write(result, 0, n, to, out.offset() + start);
        });
  }

  @Override
  public void gateWithDerivatives(
      Unary function, Tensor gate, Tensor up, Tensor out, Tensor alongGate, Tensor alongUp) {
    gateWithDerivatives(rows(gate), function, gate, up, out, alongGate, alongUp);
  }

  private static <A> void gateWithDerivatives(
      Rows<A> rows,
      Unary function,
      Tensor gate,
      Tensor up,
      Tensor out,
      Tensor alongGate,
      Tensor alongUp) {
    Access gates = access(gate);
    Access ups = access(up);
    Access to = access(out);
    Access toGate = access(alongGate);
    Access toUp = access(alongUp);
    inPieces(
        gate.shape().length(),
        (start, n) -> {
          A row = Scratch.array(rows, 0, PIECE);
          A factor = Scratch.array(rows, 1, PIECE);
          A result = Scratch.array(rows, 2, PIECE);
          A slope = Scratch.array(rows, 3, PIECE);
          rows.read(gates, gate.offset() + start, row, 0, n);
          rows.read(ups, up.offset() + start, factor, 0, n);
          rows.unaryWithDerivative(function, row, result, slope, n);
          rows.write(result, 0, n, toUp, alongUp.offset() + start);
          rows.binary(Binary.TIMES, slope, factor, slope, n);
          rows.write(slope, 0, n, toGate, alongGate.offset() + start);
          rows.binary(Binary.TIMES, result, factor, result, n);
          rows.write(result, 0, n, to, out.offset() + start);
        });
  }

  @Override
  public void centre(Tensor x, Tensor out) {
    centre(rows(x), x, out);
  }

  private static <A> void centre(Rows<A> rows, Tensor x, Tensor out) {
    int n = x.shape().size(-1);
    Access from = access(x);
    Access to = access(out);
    Workers.run(
        rowsOf(x),
        x.shape().length(),
        (first, last) -> {
          A row = Scratch.array(rows, 0, n);
          for (int at = first * n; at < last * n; at += n) {
            rows.read(from, x.offset() + at, row, 0, n);
            rows.subtract(row, rows.sum(row, 0, n) / n, 0, n);
            rows.write(row, 0, n, to, out.offset() + at);
          }
        });
  }

  @Override
  public void rowDots(Tensor x, Tensor y, Tensor out) {
    rowDots(rows(x), x, y, out);
  }

  private static <A> void rowDots(Rows<A> rows, Tensor x, Tensor y, Tensor out) {
    int n = x.shape().size(-1);
    int period = x.shape().length();
    Access fromX = access(x);
    Access fromY = access(y);
    Access to = access(out);
    Workers.run(
        out.shape().length(),
        y.shape().length(),
        (first, last) -> {
          A left = Scratch.array(rows, 0, n);
          A right = Scratch.array(rows, 1, n);
          A dots = Scratch.array(rows, 2, last - first);
          for (int row = first; row < last; row++) {
            rows.read(fromX, n == 0 ? 0 : x.offset() + (long) row * n % period, left, 0, n);
            rows.read(fromY, y.offset() + (long) row * n, right, 0, n);
            rows.set(dots, row - first, rows.dot(left, right, n));
          }
          rows.write(dots, 0, last - first, to, out.offset() + first);
        });
  }

  @Override
  public void rootMeanSquare(Tensor x, double epsilon, Tensor out) {
    rootMeanSquare(rows(x), x, epsilon, out);
  }

  private static <A> void rootMeanSquare(Rows<A> rows, Tensor x, double epsilon, Tensor out) {
    int n = x.shape().size(-1);
    Access from = access(x);
    Access to = access(out);
    Workers.run(
        out.shape().length(),
        x.shape().length(),
        (first, last) -> {
          A row = Scratch.array(rows, 0, n);
          A roots = Scratch.array(rows, 1, last - first);
          for (int i = first; i < last; i++) {
            rows.read(from, x.offset() + (long) i * n, row, 0, n);
            rows.set(roots, i - first, Math.sqrt(rows.dot(row, row, n) / n + epsilon));
          }
          rows.write(roots, 0, last - first, to, out.offset() + first);
        });
  }

  @Override
  public void rescale(Tensor x, Tensor scale, Tensor gain, Tensor bias, Tensor out) {
    rescale(rows(x), x, scale, gain, bias, out);
  }

  private static <A> void rescale(
      Rows<A> rows, Tensor x, Tensor scale, Tensor gain, Tensor bias, Tensor out) {
    int n = x.shape().size(-1);
    int period = scale.shape().length();
    Access from = access(x);
    Access scales = access(scale);
    Access to = access(out);
    Workers.run(
        rowsOf(x),
        x.shape().length(),
        (first, last) -> {
          A row = Scratch.array(rows, 0, n);
          A gains = Scratch.array(rows, 1, n);
          A biases = Scratch.array(rows, 2, n);
          rows.read(access(gain), gain.offset(), gains, 0, n);
          rows.read(access(bias), bias.offset(), biases, 0, n);
          for (int i = first; i < last; i++) {
            rows.read(from, x.offset() + (long) i * n, row, 0, n);
            rows.rescale(row, rows.get(scales, scale.offset() + i % period), gains, biases, n);
            rows.write(row, 0, n, to, out.offset() + (long) i * n);
          }
        });
  }

  @Override
  public void rotate(Tensor x, Tensor cosine, Tensor sine, int distance, Tensor out) {
    rotate(rows(x), x, cosine, sine, distance, out);
  }

  /** Rows that follow each other are turned together: one alone is too short to vectorise. */
  private static <A> void rotate(
      Rows<A> rows, Tensor x, Tensor cosine, Tensor sine, int distance, Tensor out) {
    int n = x.shape().size(-1);
    int perMatrix = cosine.shape().size(0);
    int pairs = cosine.shape().size(1);
    int slab = Math.max(1, PIECE / n);
    Access from = access(x);
    Access cosines = access(cosine);
    Access sines = access(sine);
    Access to = access(out);
    Workers.run(
        rowsOf(x),
        x.shape().length(),
        (first, last) -> {
          A all = Scratch.array(rows, 0, slab * n);
          A one = Scratch.array(rows, 1, slab * pairs);
          A other = Scratch.array(rows, 2, slab * pairs);
          A c = Scratch.array(rows, 3, slab * pairs);
          A s = Scratch.array(rows, 4, slab * pairs);
          A turned = Scratch.array(rows, 5, slab * pairs);
          A otherTurned = Scratch.array(rows, 6, slab * pairs);
          int height;
          for (int row = first; row < last; row += height) {
            int index = row % perMatrix;
            height = Math.min(slab, Math.min(last - row, perMatrix - index));
            int count = height * pairs;
            rows.read(from, x.offset() + (long) row * n, all, 0, height * n);
            rows.read(cosines, cosine.offset() + (long) index * pairs, c, 0, count);
            rows.read(sines, sine.offset() + (long) index * pairs, s, 0, count);
            for (int i = 0; i < height; i++) {
              rows.split(all, i * n, pairs / distance, distance, one, other, i * pairs);
            }
            rows.sumOfProducts(one, c, -1, other, s, turned, count);
            rows.sumOfProducts(other, c, 1, one, s, otherTurned, count);
            for (int i = 0; i < height; i++) {
              rows.join(turned, otherTurned, i * pairs, pairs / distance, distance, all, i * n);
            }
            rows.write(all, 0, height * n, to, out.offset() + (long) row * n);
          }
        });
  }

  @Override
  public void binary(Binary function, Tensor x, double y, Tensor out) {
    binary(rows(x), function, x, y, out);
  }

  private static <A> void binary(Rows<A> rows, Binary function, Tensor x, double y, Tensor out) {
    Access from = access(x);
    Access to = access(out);
    inPieces(
        x.shape().length(),
        (start, n) -> {
          A row = Scratch.array(rows, 0, PIECE);
          rows.read(from, x.offset() + start, row, 0, n);
          rows.binary(function, row, y, row, n);
          rows.write(row, 0, n, to, out.offset() + start);
        });
  }

  @Override
  public void binary(Binary function, Tensor x, Tensor y, Tensor out) {
    binary(rows(x), function, x, y, out);
  }

  private static <A> void binary(Rows<A> rows, Binary function, Tensor x, Tensor y, Tensor out) {
    int rank = out.shape().rank();
    Box box = Box.of(out.shape().dimensions(), x.broadcastStrides(rank), y.broadcastStrides(rank));
    Access fromX = access(x);
    Access fromY = access(y);
    Access to = access(out);
    boolean xRepeats = box.innerStride(0) == 0;
    boolean yRepeats = box.innerStride(1) == 0;
    int inner = box.inner();
    int pieces = (inner + PIECE - 1) / PIECE;
    Workers.run(
        box.outer() * pieces,
        out.shape().length(),
        (first, last) -> {
          A left = Scratch.array(rows, 0, PIECE);
          A right = Scratch.array(rows, 1, PIECE);
          A result = Scratch.array(rows, 2, PIECE);
          for (int unit = first; unit < last; unit++) {
            int outer = unit / pieces;
            int start = unit % pieces * PIECE;
            int n = Math.min(PIECE, inner - start);
            long xOffset = x.offset() + box.offset(0, outer) + (xRepeats ? 0 : start);
            long yOffset = y.offset() + box.offset(1, outer) + (yRepeats ? 0 : start);
            if (yRepeats) {
              rows.read(fromX, xOffset, left, 0, xRepeats ? 1 : n);
              rows.binary(function, left, rows.get(fromY, yOffset), result, n);
            } else if (xRepeats) {
              rows.read(fromY, yOffset, right, 0, n);
              rows.binary(function, rows.get(fromX, xOffset), right, result, n);
            } else {
              rows.read(fromX, xOffset, left, 0, n);
              rows.read(fromY, yOffset, right, 0, n);
              rows.binary(function, left, right, result, n);
            }
            rows.write(result, 0, n, to, out.offset() + (long) outer * inner + start);
          }
        });
  }

  @Override
  public void sum(Tensor x, int outer, int count, int inner, Tensor out) {
    sum(rows(x), x, outer, count, inner, out);
  }

  private static <A> void sum(Rows<A> rows, Tensor x, int outer, int count, int inner, Tensor out) {
    Access from = access(x);
    Access to = access(out);
    int length = x.shape().length();
    if (inner == 1) {
      Workers.run(
          outer,
          length,
          (first, last) -> {
            A row = Scratch.array(rows, 0, PIECE);
            A sum = Scratch.array(rows, 1, PIECE);
            for (int o = first; o < last; o++) {
              double total = 0;
              for (int at = 0; at < count; at += PIECE) {
                int n = Math.min(PIECE, count - at);
                rows.read(from, x.offset() + (long) o * count + at, row, 0, n);
                total += rows.sum(row, 0, n);
              }
              rows.set(sum, 0, total);
              rows.write(sum, 0, 1, to, out.offset() + o);
            }
          });
      return;
    }
    int pieces = (inner + PIECE - 1) / PIECE;
    Workers.run(
        outer * pieces,
        length,
        (first, last) -> {
          A row = Scratch.array(rows, 0, PIECE);
          A sums = Scratch.array(rows, 1, PIECE);
          for (int unit = first; unit < last; unit++) {
            int o = unit / pieces;
            int start = unit % pieces * PIECE;
            int n = Math.min(PIECE, inner - start);
            rows.fill(sums, 0, n);
            for (int i = 0; i < count; i++) {
              rows.read(from, x.offset() + ((long) o * count + i) * inner + start, row, 0, n);
              rows.binary(Binary.PLUS, sums, row, sums, n);
            }
            rows.write(sums, 0, n, to, out.offset() + (long) o * inner + start);
          }
        });
  }

  @Override
  public void matmul(
      Tensor x,
      boolean xTransposed,
      Tensor y,
      boolean yTransposed,
      Tensor out,
      boolean accumulate) {
    matmul(rows(x), x, xTransposed, y, yTransposed, out, accumulate);
  }

  private static <A> void matmul(
      Rows<A> rows,
      Tensor x,
      boolean xTransposed,
      Tensor y,
      boolean yTransposed,
      Tensor out,
      boolean accumulate) {
    int m = out.shape().size(-2);
    int n = out.shape().size(-1);
    int k = x.shape().size(xTransposed ? -2 : -1);
    Matrix left = new Matrix(access(x), x.offset(), x.rowStride(), xTransposed);
    Matrix result = new Matrix(access(out), out.offset(), out.rowStride(), false);
    if (y.isEncoded()) {
      EncodedProducts.of(rows, x, xTransposed, y, yTransposed, out, accumulate).run(left, result);
      return;
    }
    Matrix right = new Matrix(access(y), y.offset(), y.rowStride(), yTransposed);
    Box box = Box.ofBatch(x, y, out);
    int inner = box.inner();
    int count = box.outer() * inner;
    long work = (long) m * n * k / PRODUCTS_PER_OPERATION;
    boolean byColumns = n >= m;
    int longer = Math.max(m, n);
    Workers.run(
        count,
        count < Workers.available() ? 0 : count * work,
        (first, last) -> {
          for (int i = first; i < last; i++) {
            Matrix a =
                left.moved(box.offset(0, i / inner) + (long) (i % inner) * box.innerStride(0));
            Matrix b =
                right.moved(box.offset(1, i / inner) + (long) (i % inner) * box.innerStride(1));
            Matrix c = result.moved((long) i * out.matrixStride());
            Workers.run(
                (longer + STRIP - 1) / STRIP,
                work,
                (from, to) -> {
                  int start = from * STRIP;
                  int size = Math.min(longer, to * STRIP) - start;
                  if (byColumns) {
                    rows.gemm(a, b.from(0, start), c.from(0, start), accumulate, m, size, k);
                  } else {
                    rows.gemm(a.from(start, 0), b, c.from(start, 0), accumulate, size, n, k);
                  }
                });
          }
        });
  }

  /** See {@link Device#scratch}. */
  static IntStream scratch(
      Tensor x,
      boolean xTransposed,
      Tensor y,
      boolean yTransposed,
      Tensor out,
      boolean accumulate) {
    Rows<?> rows = rows(x);
    int m = out.shape().size(-2);
    int n = out.shape().size(-1);
    int k = x.shape().size(xTransposed ? -2 : -1);
    if (y.isEncoded()) {
      return EncodedProducts.of(rows, x, xTransposed, y, yTransposed, out, accumulate)
          .scratch(xTransposed);
    }
    int longer = Math.max(m, n);
    int strips = (longer + STRIP - 1) / STRIP;
    long work = (long) m * n * k / PRODUCTS_PER_OPERATION;
    int count = out.shape().subShape(0, out.shape().rank() - 2).length();
    int products = Workers.pieces(count, count < Workers.available() ? 0 : count * work);
    int pieces = Workers.pieces(strips, work);
    IntStream each =
        IntStream.range(0, pieces)
            .map(
                piece -> {
                  int start = Workers.bound(strips, pieces, piece) * STRIP;
                  int end = Workers.bound(strips, pieces, piece + 1) * STRIP;
                  int size = Math.min(longer, end) - start;
                  return n >= m
                      ? rows.scratch(xTransposed, yTransposed, accumulate, m, size, k)
                      : rows.scratch(xTransposed, yTransposed, accumulate, size, n, k);
                })
            .filter(length -> length > 0);
    return products > 1 // each thread then does all pieces of its own, one after the other
        ? each.distinct().flatMap(length -> IntStream.generate(() -> length).limit(products))
        : each;
  }

  /** Multiplications of a matrix product that take as long as a step of an element-wise kernel. */
  static final int PRODUCTS_PER_OPERATION = 8;

  /** Threads share a product by strips of so many columns or rows: a cache line. */
  private static final int STRIP = 16;

  @Override
  public void copy(
      Tensor from,
      long fromOffset,
      int[] fromStrides,
      Tensor to,
      long toOffset,
      int[] toStrides,
      int[] box) {
    copy(
        rows(from),
        access(from),
        from.offset() + fromOffset,
        fromStrides,
        access(to),
        to.offset() + toOffset,
        toStrides,
        box);
  }

  private static <A> void copy(
      Rows<A> rows,
      Access from,
      long fromOffset,
      int[] fromStrides,
      Access to,
      long toOffset,
      int[] toStrides,
      int[] dimensions) {
    Box box = Box.of(dimensions, fromStrides, toStrides);
    int fromStride = box.innerStride(0);
    int toStride = box.innerStride(1);
    int inner = box.inner();
    Workers.run(
        box.outer(),
        (long) box.outer() * inner,
        (first, last) -> {
          A row = Scratch.array(rows, 0, PIECE);
          for (int outer = first; outer < last; outer++) {
            long source = fromOffset + box.offset(0, outer);
            long target = toOffset + box.offset(1, outer);
            if (fromStride == 1 && toStride == 1) {
              rows.copy(from, source, to, target, inner);
            } else if (fromStride == 0 && toStride == 1) {
              int n = Math.min(PIECE, inner);
              rows.fill(row, rows.get(from, source), n);
              for (int start = 0; start < inner; start += n) {
                rows.write(row, 0, Math.min(n, inner - start), to, target + start);
              }
            } else if (toStride == 1) {
              for (int start = 0; start < inner; start += PIECE) {
                int n = Math.min(PIECE, inner - start);
                rows.readStrided(from, source + (long) start * fromStride, fromStride, row, n);
                rows.write(row, 0, n, to, target + start);
              }
            } else {
              for (int i = 0; i < inner; i++) {
                rows.copy(
                    from, source + (long) i * fromStride, to, target + (long) i * toStride, 1);
              }
            }
          }
        });
  }

  @Override
  public void gather(
      Tensor x, int outer, long outerStride, long stride, int inner, int[] indices, Tensor out) {
    gather(rows(x), x, outer, outerStride, stride, inner, indices, out);
  }

  private static <A> void gather(
      Rows<A> rows,
      Tensor x,
      int outer,
      long outerStride,
      long stride,
      int inner,
      int[] indices,
      Tensor out) {
    Access from = access(x);
    Access to = access(out);
    int count = indices.length;
    int span = 1 + Arrays.stream(indices).max().orElse(0);
    boolean dense = inner == 1 && stride == 1 && span <= DENSE * count;
    Workers.run(
        outer * count,
        (long) outer * count * inner,
        (first, last) -> {
          for (int unit = first; unit < last; ) {
            long source = x.offset() + unit / count * outerStride;
            long target = out.offset() + (long) unit * inner;
            int start = unit % count;
            if (inner == 1) {
              int n = Math.min(Math.min(PIECE, count - start), last - unit);
              A row = Scratch.array(rows, 0, PIECE);
              if (dense) {
                A all = Scratch.array(rows, 1, span);
                rows.read(from, source, all, 0, span);
                rows.pick(all, indices, start, row, n);
              } else {
                rows.readEach(from, source, stride, indices, start, row, n);
              }
              rows.write(row, 0, n, to, target);
              unit += n;
            } else {
              rows.copy(from, source + indices[start] * stride, to, target, inner);
              unit++;
            }
          }
        });
  }

  @Override
  public void select(Tensor x, int[] rows, int[] columns, Tensor out, long at) {
    boolean turned = x.encoding().turned();
    EncodedRows.of(x)
        .select(rows(out), turned ? columns : rows, turned ? rows : columns, out, at, turned);
  }

  @Override
  public void scatterAdd(Tensor x, int outer, int size, int inner, int[] indices, Tensor out) {
    scatterAdd(rows(x), x, outer, size, inner, indices, out);
  }

  private static <A> void scatterAdd(
      Rows<A> rows, Tensor x, int outer, int size, int inner, int[] indices, Tensor out) {
    Access from = access(x);
    Access to = access(out);
    A addend = Scratch.array(rows, 0, inner);
    A row = Scratch.array(rows, 1, inner);
    for (int o = 0; o < outer; o++) {
      for (int i = 0; i < indices.length; i++) {
        long target = out.offset() + ((long) o * size + indices[i]) * inner;
        rows.read(from, x.offset() + ((long) o * indices.length + i) * inner, addend, 0, inner);
        rows.read(to, target, row, 0, inner);
        rows.binary(Binary.PLUS, row, addend, row, inner);
        rows.write(row, 0, inner, to, target);
      }
    }
  }

  @Override
  public void causalMask(Tensor x, int visible, double hidden, Tensor out) {
    causalMask(rows(x), x, visible, hidden, out);
  }

  private static <A> void causalMask(
      Rows<A> rows, Tensor x, int visible, double hidden, Tensor out) {
    int n = x.shape().size(-1);
    int perMatrix = x.shape().size(-2);
    Access from = access(x);
    Access to = access(out);
    Workers.run(
        rowsOf(x),
        x.shape().length(),
        (first, last) -> {
          A unseen = Scratch.array(rows, 0, n);
          rows.fill(unseen, hidden, n);
          for (int row = first; row < last; row++) {
            int at = row * n;
            int seen = visibleIn(row % perMatrix, visible, n);
            rows.copy(from, x.offset() + at, to, out.offset() + at, seen);
            rows.write(unseen, 0, n - seen, to, out.offset() + at + seen);
          }
        });
  }

  /** How many rows the last axis makes. */
  private static int rowsOf(Tensor x) {
    int n = x.shape().size(-1);
    return n == 0 ? 0 : x.shape().length() / n;
  }

  @Override
  public void softmax(Tensor x, int visible, Tensor out) {
    softmax(rows(x), x, visible, out);
  }

  /** What many short rows see is packed, so that the exponential runs over all of it at once. */
  private static <A> void softmax(Rows<A> rows, Tensor x, int visible, Tensor out) {
    int n = x.shape().size(-1);
    int perMatrix = x.shape().rank() > 1 ? x.shape().size(-2) : 1;
    int count = rowsOf(x);
    int slab = Math.max(1, PIECE / Math.max(1, n));
    Access from = access(x);
    Access to = access(out);
    Workers.run(
        (count + slab - 1) / slab,
        x.shape().length() * EXPENSIVE,
        (firstSlab, lastSlab) -> {
          A values = Scratch.array(rows, 0, slab * n);
          A exponentials = Scratch.array(rows, 1, slab * n);
          A zeros = Scratch.array(rows, 2, n);
          rows.fill(zeros, 0, n);
          int[] ends = new int[slab + 1];
          for (int first = firstSlab * slab; first < lastSlab * slab; first += slab) {
            int height = Math.min(slab, count - first);
            for (int i = 0; i < height; i++) {
              int seen = visibleIn((first + i) % perMatrix, visible, n);
              ends[i + 1] = ends[i] + seen;
              rows.read(from, x.offset() + (long) (first + i) * n, values, ends[i], seen);
              double max = rows.max(values, ends[i], ends[i + 1]);
              rows.subtract(values, max, ends[i], ends[i + 1]);
            }
            rows.expOfNonPositive(values, exponentials, ends[height]);
            for (int i = 0; i < height; i++) {
              int seen = ends[i + 1] - ends[i];
              double sum = rows.sum(exponentials, ends[i], ends[i + 1]);
              rows.scale(exponentials, 1 / sum, ends[i], ends[i + 1]);
              long target = out.offset() + (long) (first + i) * n;
              rows.write(exponentials, ends[i], seen, to, target);
              rows.write(zeros, 0, n - seen, to, target + seen);
            }
          }
        });
  }

  /** Steps of an exponential, as work for {@link Workers}. */
  private static final long EXPENSIVE = 4;

  private static int visibleIn(int row, int visible, int n) {
    return (int) Math.min(n, (long) row + visible);
  }

  @Override
  public void softmaxDerivative(Tensor p, Tensor u, int visible, Tensor out) {
    softmaxDerivative(rows(p), p, u, visible, out);
  }

  private static <A> void softmaxDerivative(
      Rows<A> rows, Tensor p, Tensor u, int visible, Tensor out) {
    int n = u.shape().size(-1);
    int perMatrix = p.shape().rank() > 1 ? p.shape().size(-2) : 1;
    int period = p.shape().length();
    Access fromP = access(p);
    Access fromU = access(u);
    Access to = access(out);
    Workers.run(
        rowsOf(u),
        u.shape().length(),
        (first, last) -> {
          A weights = Scratch.array(rows, 0, n);
          A values = Scratch.array(rows, 1, n);
          A zeros = Scratch.array(rows, 2, n);
          rows.fill(zeros, 0, n);
          for (int row = first; row < last; row++) {
            int at = row * n;
            int seen = visibleIn(row % perMatrix, visible, n);
            rows.read(fromP, p.offset() + at % period, weights, 0, seen);
            rows.read(fromU, u.offset() + at, values, 0, seen);
            double mean = rows.dot(weights, values, seen);
            rows.binary(Binary.MINUS, values, mean, values, seen);
            rows.binary(Binary.TIMES, values, weights, values, seen);
            rows.write(values, 0, seen, to, out.offset() + at);
            rows.write(zeros, 0, n - seen, to, out.offset() + at + seen);
          }
        });
  }

  @Override
  public void logSoftmax(Tensor x, Tensor out) {
    logSoftmax(rows(x), x, out);
  }

  private static <A> void logSoftmax(Rows<A> rows, Tensor x, Tensor out) {
    int n = x.shape().size(-1);
    Access from = access(x);
    Access to = access(out);
    Workers.run(
        rowsOf(x),
        x.shape().length() * EXPENSIVE,
        (first, last) -> {
          A values = Scratch.array(rows, 0, n);
          A exponentials = Scratch.array(rows, 1, n);
          for (int row = first; row < last; row++) {
            int at = row * n;
            rows.read(from, x.offset() + at, values, 0, n);
            rows.binary(Binary.MINUS, values, rows.max(values, 0, n), values, n);
            rows.unary(Unary.EXP, values, exponentials, n);
            double sum = rows.sum(exponentials, 0, n);
            rows.binary(Binary.MINUS, values, Math.log(sum), values, n);
            rows.write(values, 0, n, to, out.offset() + at);
          }
        });
  }

  @Override
  public void topKMask(Tensor x, int count, Tensor out) {
    topKMask(rows(x), x, count, out);
  }

  private static <A> void topKMask(Rows<A> rows, Tensor x, int count, Tensor out) {
    int n = x.shape().size(-1);
    A values = Scratch.array(rows, 0, n);
    A mask = Scratch.array(rows, 1, n);
    double[] row = new double[n];
    Access from = access(x);
    Access to = access(out);
    for (int at = 0; at < x.shape().length(); at += n) {
      rows.read(from, x.offset() + at, values, 0, n);
      for (int i = 0; i < n; i++) {
        row[i] = rows.get(values, i);
      }
      rows.fill(mask, 0, n);
      for (int index : TopK.indices(row, count)) {
        rows.set(mask, index, 1);
      }
      rows.write(mask, 0, n, to, out.offset() + at);
    }
  }

  @Override
  public boolean isFinite(Tensor x) {
    return x.isEncoded() ? EncodedRows.of(x).isFinite(x) : isFinite(rows(x), x);
  }

  private static <A> boolean isFinite(Rows<A> rows, Tensor x) {
    Access from = access(x);
    AtomicBoolean finite = new AtomicBoolean(true);
    inPieces(
        x.shape().length(),
        (start, n) -> {
          A row = Scratch.array(rows, 0, PIECE);
          rows.read(from, x.offset() + start, row, 0, n);
          if (!isFinite(rows, row, n)) {
            finite.set(false);
          }
        });
    return finite.get();
  }

  /** Whether so many numbers, which are lost, are finite. */
  static <A> boolean isFinite(Rows<A> rows, A x, int n) {
    rows.binary(Binary.TIMES, x, 0, x, n); // 0 where finite, else NaN
    return !Double.isNaN(rows.sum(x, 0, n));
  }

  @Override
  public int[] reaching(Tensor x, double[] rows, double[] columns, double bound) {
    return reaching(rows(x), x, rows, columns, bound);
  }

  private static <A> int[] reaching(
      Rows<A> arrays, Tensor x, double[] rows, double[] columns, double bound) {
    int n = columns.length;
    A factors = arrays.array(n);
    for (int j = 0; j < n; j++) {
      arrays.set(factors, j, columns[j]);
    }
    int[][] found = new int[rows.length][];
    Access from = access(x);
    Workers.run(
        rows.length,
        x.shape().length(),
        (first, last) -> {
          A row = Scratch.array(arrays, 0, n);
          for (int i = first; i < last; i++) {
            arrays.read(from, x.offset() + (long) i * n, row, 0, n);
            arrays.magnitudesPlus(row, rows[i], factors, row, n);
            found[i] =
                n > 0 && arrays.max(row, 0, n) >= bound ? reaching(arrays, row, n, i, bound) : NONE;
          }
        });
    return Stream.of(found).flatMapToInt(IntStream::of).toArray();
  }

  private static <A> int[] reaching(Rows<A> arrays, A row, int n, int index, double bound) {
    return IntStream.range(0, n)
        .filter(j -> arrays.get(row, j) >= bound)
        .map(j -> index * n + j)
        .toArray();
  }
}
