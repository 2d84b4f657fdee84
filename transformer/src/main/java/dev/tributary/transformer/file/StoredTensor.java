package dev.tributary.transformer.file;

import com.google.errorprone.annotations.FormatMethod;
import com.google.errorprone.annotations.FormatString;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Slot;
import dev.tributary.transformer.family.Layout;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Locale;
import java.util.stream.IntStream;

/**
 * One tensor in a file: where its numbers lie. They are read in the order of the file, straight
 * into the memory of the tensor.
 */
final class StoredTensor {
  /** Axes that a file may claim. */
  static final int RANK_LIMIT = 32;

  /** Elements compared at a time. */
  private static final int PIECE = 4096;

  /** Up to this many elements from one to the next, what lies between is read as well. */
  private static final int NEAR = 16;

  private final FileBytes bytes;
  private final String name;
  private final ElementType type;
  private final Shape shape;

  /** Of the first number, bytes. */
  private final long position;

  /**
   * The axes as they lie in the file: those of the shape, the last of which may be two or three
   * here.
   */
  private final int[] sizes;

  /** From one number to the next along each of {@code sizes}, in numbers. */
  private final long[] strides;

  /** What is added to each number that is read. */
  private final double added;

  private StoredTensor(
      FileBytes bytes,
      String name,
      ElementType type,
      Shape shape,
      long position,
      int[] sizes,
      long[] strides,
      double added) {
    this.bytes = bytes;
    this.name = name;
    this.type = type;
    this.shape = shape;
    this.position = position;
    this.sizes = sizes;
    this.strides = strides;
    this.added = added;
  }

  /** Numbers in row-major order; the caller has checked that they lie inside the file. */
  static StoredTensor of(
      FileBytes bytes, String name, ElementType type, Shape shape, long position) {
    long[] strides = new long[shape.rank()];
    long stride = 1;
    for (int axis = strides.length - 1; axis >= 0; axis--) {
      strides[axis] = stride;
      stride *= shape.size(axis);
    }
    return of(bytes, name, type, shape, position, strides);
  }

  /** Numbers in any order; the caller has checked that they lie inside the file. */
  static StoredTensor of(
      FileBytes bytes, String name, ElementType type, Shape shape, long position, long... strides) {
    return new StoredTensor(bytes, name, type, shape, position, shape.dimensions(), strides, 0);
  }

  /**
   * A shape that a file claims.
   *
   * @throws IOException if a tensor cannot have it
   */
  static Shape shape(Path file, String name, long... dimensions) throws IOException {
    int[] sizes = new int[dimensions.length];
    long elements = 1;
    for (int axis = 0; axis < sizes.length; axis++) {
      // An axis of 0 excuses none before or after it: no product on the way may overflow either.
      if (dimensions[axis] < 0
          || dimensions[axis] > Shape.LARGEST
          || elements * dimensions[axis] > Shape.LARGEST) {
        throw because(
            file,
            name,
            "has shape %s, and a tensor holds at most %d elements",
            BadFile.shortened(Arrays.toString(dimensions)),
            Shape.LARGEST);
      }
      sizes[axis] = (int) dimensions[axis];
      elements *= dimensions[axis];
    }
    return Shape.of(sizes);
  }

  /** The refusal of a tensor. */
  @FormatMethod
  static IOException because(
      Path file, String name, @FormatString String reason, Object... values) {
    return BadFile.because(
        file, "tensor %s %s", BadFile.quoted(name), String.format(Locale.ROOT, reason, values));
  }

  /** The file in which it lies. */
  Path path() {
    return bytes.path();
  }

  /** What the file calls it. */
  String name() {
    return name;
  }

  ElementType type() {
    return type;
  }

  Shape shape() {
    return shape;
  }

  /** The same numbers under another name. */
  StoredTensor named(String other) {
    return new StoredTensor(bytes, other, type, shape, position, sizes, strides, added);
  }

  /** A matrix, rows for columns. */
  StoredTensor transposed() {
    return new StoredTensor(
        bytes,
        name,
        type,
        Shape.of(shape.size(1), shape.size(0)),
        position,
        new int[] {shape.size(1), shape.size(0)},
        new long[] {strides[1], strides[0]},
        added);
  }

  /** One of the weights that lie here, as we have it. */
  StoredTensor weight(Layout.Entry entry, Slot slot) {
    StoredTensor ours = after(entry.spelling().skippedRows());
    return (entry.transposed() ? ours.transposed() : ours)
        .columns(entry, slot)
        .plus(entry.spelling().added());
  }

  private StoredTensor after(int rows) {
    if (rows == 0) {
      return this;
    }
    Shape rest = shape.with(0, shape.size(0) - rows);
    long start = position + rows * strides[0] * type.bytes();
    return new StoredTensor(bytes, name, type, rest, start, rest.dimensions(), strides, added);
  }

  private StoredTensor plus(double number) {
    return new StoredTensor(bytes, name, type, shape, position, sizes, strides, added + number);
  }

  /** The columns of one of the weights that lie together, in an entry or a part of it. */
  StoredTensor columns(Layout.Entry entry, Slot slot) {
    if (entry.inPairs()) {
      return unpaired(entry.dHead());
    }
    if (entry.slots().size() == 1 || entry.isShared()) {
      return this;
    }
    int groups = entry.groups();
    int last = strides.length - 1;
    int columns = slot.shape().size(-1);
    int[] grouped = Arrays.copyOf(sizes, last + 2);
    grouped[last] = groups;
    grouped[last + 1] = columns / groups;
    long[] steps = Arrays.copyOf(strides, last + 2);
    steps[last] = strides[last] * (shape.size(-1) / groups);
    steps[last + 1] = strides[last];
    return new StoredTensor(
        bytes,
        name,
        type,
        shape.with(-1, columns),
        position + entry.column(slot) * strides[last] * type.bytes(),
        grouped,
        steps,
        added);
  }

  /** Columns of heads, those first of which the next one was the other of a pair. */
  private StoredTensor unpaired(int dHead) {
    int last = strides.length - 1;
    int[] byHalf = Arrays.copyOf(sizes, last + 3);
    byHalf[last] = shape.size(-1) / dHead;
    byHalf[last + 1] = 2;
    byHalf[last + 2] = dHead / 2;
    long[] steps = Arrays.copyOf(strides, last + 3);
    steps[last] = dHead * strides[last];
    steps[last + 1] = strides[last];
    steps[last + 2] = 2 * strides[last];
    return new StoredTensor(bytes, name, type, shape, position, byHalf, steps, added);
  }

  /**
   * The tensor, in the innermost open scope; numbers are rounded if {@code dtype} is narrower.
   *
   * @throws IOException if it has another element type than F32, F16, BF16 or F64, or the file can
   *     no longer be read
   */
  Tensor read(DType dtype) throws IOException {
    requireReadable();
    int[] inFile =
        IntStream.range(0, strides.length)
            .boxed()
            .sorted(Comparator.comparingLong(axis -> -strides[axis]))
            .mapToInt(axis -> axis)
            .toArray();
    try (FileBytes.Access access = bytes.access()) {
      if (isSorted(inFile)) {
        return Tensor.generate(dtype, shape, new Numbers(access, inFile));
      }
      try (Scope scope = Scope.open()) {
        int[] dimensions = Arrays.stream(inFile).map(axis -> sizes[axis]).toArray();
        Tensor stored = Tensor.generate(dtype, Shape.of(dimensions), new Numbers(access, inFile));
        return scope.keep(stored.permute(inverse(inFile)).reshape(shape));
      }
    } catch (IOException | UncheckedIOException e) {
      throw BadFile.causedBy(e, path(), "tensor %s can no longer be read", BadFile.quoted(name));
    } catch (OutOfMemoryError e) {
      throw BadFile.causedBy(
          e, path(), "tensor %s %s does not fit into memory", BadFile.quoted(name), shape);
    }
  }

  /** Whether two tensors hold the same numbers in the same shape. */
  boolean sameNumbers(StoredTensor other) throws IOException {
    requireReadable();
    other.requireReadable();
    if (!shape.equals(other.shape)) {
      return false;
    }
    if (bytes == other.bytes
        && position == other.position
        && type == other.type
        && added == other.added
        && Arrays.equals(sizes, other.sizes)
        && Arrays.equals(strides, other.strides)) {
      return true;
    }
    int[] rowMajor = IntStream.range(0, strides.length).toArray();
    double[] x = new double[PIECE];
    double[] y = new double[PIECE];
    try (FileBytes.Access access = bytes.access();
        FileBytes.Access otherAccess = other.bytes.access()) {
      Numbers mine = new Numbers(access, rowMajor);
      Numbers theirs = other.new Numbers(otherAccess, rowMajor);
      for (int from = 0; from < shape.length(); from += PIECE) {
        int count = Math.min(PIECE, shape.length() - from);
        mine.read(from, x, count);
        theirs.read(from, y, count);
        if (!Arrays.equals(x, 0, count, y, 0, count)) {
          return false;
        }
      }
      return true;
    } catch (IOException | UncheckedIOException e) {
      throw BadFile.causedBy(e, path(), "tensor %s can no longer be read", BadFile.quoted(name));
    }
  }

  private void requireReadable() throws IOException {
    if (!type.isReadable()) {
      throw because(path(), name, "is %s, expected F32, F16, BF16 or F64", type);
    }
  }

  private static boolean isSorted(int... order) {
    return IntStream.range(0, order.length).allMatch(i -> order[i] == i);
  }

  private static int[] inverse(int... order) {
    int[] result = new int[order.length];
    for (int i = 0; i < order.length; i++) {
      result[order[i]] = i;
    }
    return result;
  }

  /** The numbers piece by piece, the axes in a given order; for one thread. */
  private final class Numbers implements Tensor.Source {
    /** Axes that follow each other without a gap are one here, so that runs are long. */
    private final int[] runs;

    private final long[] steps;
    private final FileBytes.Access access;
    private ByteBuffer raw = ByteBuffer.allocate(0);

    Numbers(FileBytes.Access access, int... order) {
      this.access = access;
      int[] merged = new int[order.length + 1];
      long[] mergedSteps = new long[order.length + 1];
      int count = 0;
      merged[0] = 1;
      for (int axis : order) {
        int size = sizes[axis];
        if (size == 1) {
          continue;
        }
        if (merged[count] == 1 || mergedSteps[count] != strides[axis] * size) {
          count += merged[count] == 1 ? 0 : 1;
          merged[count] = 1;
        }
        merged[count] *= size;
        mergedSteps[count] = strides[axis];
      }
      runs = Arrays.copyOf(merged, count + 1);
      steps = Arrays.copyOf(mergedSteps, count + 1);
    }

    @Override
    public void read(int from, double[] values, int count) {
      int inner = runs[runs.length - 1];
      int done = 0;
      while (done < count) {
        int rest = from + done;
        int column = rest % inner;
        long at = 0;
        for (int axis = runs.length - 1; axis >= 0; axis--) {
          at += rest % runs[axis] * steps[axis];
          rest /= runs[axis];
        }
        int run = Math.min(count - done, inner - column);
        readRun(at, steps[steps.length - 1], values, done, run);
        done += run;
      }
      for (int i = 0; i < count && added != 0; i++) {
        values[i] += added;
      }
    }

    private void readRun(long at, long step, double[] values, int to, int count) {
      if (step == 1 || count == 1) {
        fill(at, count);
        type.decode(raw, values, to, count);
      } else if (step <= NEAR) {
        fill(at, Math.toIntExact((count - 1) * step + 1));
        for (int i = 0; i < count; i++) {
          raw.position(Math.toIntExact(i * step * type.bytes()));
          type.decode(raw, values, to + i, 1);
        }
      } else {
        for (int i = 0; i < count; i++) {
          fill(at + i * step, 1);
          type.decode(raw, values, to + i, 1);
        }
      }
    }

    private void fill(long at, int count) {
      int length = count * type.bytes();
      if (raw.capacity() < length) {
        raw = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
      }
      raw.clear().limit(length);
      try {
        access.fill(position + at * type.bytes(), raw);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      raw.flip();
    }
  }
}
