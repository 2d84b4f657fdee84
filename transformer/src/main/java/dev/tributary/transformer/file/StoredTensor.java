package dev.tributary.transformer.file;

import com.google.errorprone.annotations.FormatMethod;
import com.google.errorprone.annotations.FormatString;
import dev.tributary.core.BlockFormat;
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
import java.util.Optional;
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

  private final Storage storage;
  private final String name;
  private final Shape shape;

  /** The first number, counted from where the storage begins. */
  private final long first;

  /** The axes as they lie in the file: those of the shape, the last of which may be two here. */
  private final int[] sizes;

  /** From one number to the next along each of {@code sizes}, in numbers. */
  private final long[] strides;

  /** What is added to each number that is read. */
  private final double added;

  /**
   * Numbers one after the other in a file, from a position on, bytes.
   *
   * @param order of the bytes of what has several
   */
  record Storage(FileBytes bytes, ElementType type, ByteOrder order, long position) {}

  private StoredTensor(
      Storage storage,
      String name,
      Shape shape,
      long first,
      int[] sizes,
      long[] strides,
      double added) {
    this.storage = storage;
    this.name = name;
    this.shape = shape;
    this.first = first;
    this.sizes = sizes;
    this.strides = strides;
    this.added = added;
  }

  /** Little-endian numbers in row-major order; the caller has checked that they lie in the file. */
  static StoredTensor of(
      FileBytes bytes, String name, ElementType type, Shape shape, long position) {
    return of(new Storage(bytes, type, ByteOrder.LITTLE_ENDIAN, position), name, shape);
  }

  /** Numbers in row-major order; the caller has checked that they lie in the file. */
  static StoredTensor of(Storage storage, String name, Shape shape) {
    long[] strides = new long[shape.rank()];
    long stride = 1;
    for (int axis = strides.length - 1; axis >= 0; axis--) {
      strides[axis] = stride;
      stride *= shape.size(axis);
    }
    return new StoredTensor(storage, name, shape, 0, shape.dimensions(), strides, 0);
  }

  /** Little-endian numbers in any order; the caller has checked that they lie in the file. */
  static StoredTensor of(
      FileBytes bytes, String name, ElementType type, Shape shape, long position, long... strides) {
    Storage storage = new Storage(bytes, type, ByteOrder.LITTLE_ENDIAN, position);
    return new StoredTensor(storage, name, shape, 0, shape.dimensions(), strides, 0);
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
    return storage.bytes.path();
  }

  /** What the file calls it. */
  String name() {
    return name;
  }

  ElementType type() {
    return storage.type;
  }

  Shape shape() {
    return shape;
  }

  /** The same numbers under another name. */
  StoredTensor named(String other) {
    return new StoredTensor(storage, other, shape, first, sizes, strides, added);
  }

  /** A matrix, rows for columns. */
  StoredTensor transposed() {
    int[] turned = {shape.size(1), shape.size(0)};
    return view(Shape.of(turned), first, turned, strides[1], strides[0]);
  }

  /** The same numbers in another order, or some of them. */
  private StoredTensor view(Shape seen, long from, int[] axes, long... steps) {
    return new StoredTensor(storage, name, seen, from, axes, steps, added);
  }

  /** What has one index along an axis, without that axis. */
  StoredTensor along(int axis, int index) {
    int[] rest = IntStream.range(0, strides.length).filter(i -> i != axis).toArray();
    int[] axes = Arrays.stream(rest).map(i -> sizes[i]).toArray();
    long[] steps = Arrays.stream(rest).mapToLong(i -> strides[i]).toArray();
    return view(Shape.of(axes), first + index * strides[axis], axes, steps);
  }

  /** One of the weights that lie here, as we have it. */
  StoredTensor weight(Layout.Entry entry, Slot slot) {
    StoredTensor ours = after(entry.spelling().skippedRows());
    return (entry.transposed() ? ours.transposed() : ours)
        .columns(entry, slot)
        .plus(entry.spelling().added());
  }

  /** Without its first rows. */
  StoredTensor after(int rows) {
    if (rows == 0) {
      return this;
    }
    Shape rest = shape.with(0, shape.size(0) - rows);
    long start = first + rows * strides[0];
    return view(rest, start, rest.dimensions(), strides);
  }

  private StoredTensor plus(double number) {
    return new StoredTensor(storage, name, shape, first, sizes, strides, added + number);
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
    long from = first + entry.column(slot) * strides[last];
    return view(shape.with(-1, columns), from, grouped, steps);
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
    return view(shape, first, byHalf, steps);
  }

  /**
   * The tensor, in the innermost open scope; numbers are rounded if {@code dtype} is narrower.
   *
   * @throws IOException if its element type cannot be read, or the file can no longer be
   */
  Tensor read(DType dtype) throws IOException {
    requireReadable();
    Optional<StoredRows> rows = rows();
    return inFile(
        access -> rows.isPresent() ? rows.get().decoded(dtype, access) : read(dtype, access));
  }

  /**
   * The tensor as it is stored, where it is a matrix whose rows can be kept in memory as they are,
   * and as {@link #read} gives it otherwise.
   *
   * @throws IOException as {@link #read}
   */
  Tensor keep(DType dtype) throws IOException {
    requireReadable();
    Optional<StoredRows> rows = rows();
    return inFile(
        access -> rows.isPresent() ? rows.get().encoded(dtype, access) : read(dtype, access));
  }

  /**
   * Some rows of a matrix, [chosen, n], in the innermost open scope; no others are read.
   *
   * @param chosen from 0, in any order
   * @throws IOException as {@link #read}
   */
  Tensor rows(DType dtype, int... chosen) throws IOException {
    requireReadable();
    Shape wanted = shape.with(0, chosen.length);
    BlockFormat format = type().format();
    if (format == null || format.elements() > 1 || strides[1] != 1 || wanted.length() == 0) {
      return read(dtype).gather(0, chosen); // no such file is large
    }
    long[] starts = Arrays.stream(chosen).mapToLong(row -> first + row * strides[0]).toArray();
    StoredRows rows = new StoredRows(storage, format, wanted, false, starts);
    return inFile(access -> rows.decoded(dtype, access));
  }

  /** What is made of an open file. */
  @FunctionalInterface
  private interface Reading {
    Tensor of(FileBytes.Access access) throws IOException;
  }

  private Tensor inFile(Reading reading) throws IOException {
    try (FileBytes.Access access = storage.bytes.access()) {
      return reading.of(access);
    } catch (IOException | UncheckedIOException e) {
      throw BadFile.causedBy(e, path(), "tensor %s can no longer be read", BadFile.quoted(name));
    } catch (OutOfMemoryError e) {
      throw BadFile.causedBy(
          e, path(), "tensor %s %s does not fit into memory", BadFile.quoted(name), shape);
    }
  }

  /** Its rows or columns, if either each lie without a gap. */
  private Optional<StoredRows> rows() {
    BlockFormat format = type().format();
    boolean isOfRows = shape.rank() == 2 && sizes.length == 2 && strides[1] == 1;
    boolean isOfColumns = shape.rank() == 2 && strides[0] == 1 && !isOfRows;
    if (format == null
        || added != 0
        || storage.order == ByteOrder.BIG_ENDIAN
        || !(isOfRows || isOfColumns)
        || shape.length() == 0) {
      return Optional.empty();
    }
    int[] outer = isOfRows ? new int[] {0} : IntStream.range(1, sizes.length).toArray();
    long[] starts = new long[shape.size(isOfRows ? 0 : 1)];
    for (int row = 0; row < starts.length; row++) {
      int rest = row;
      starts[row] = first;
      for (int i = outer.length - 1; i >= 0; i--) {
        starts[row] += rest % sizes[outer[i]] * strides[outer[i]];
        rest /= sizes[outer[i]];
      }
    }
    boolean inBlocks =
        shape.size(isOfRows ? 1 : 0) % format.elements() == 0
            && Arrays.stream(starts).allMatch(start -> start % format.elements() == 0);
    return inBlocks
        ? Optional.of(new StoredRows(storage, format, shape, isOfColumns, starts))
        : Optional.empty();
  }

  private Tensor read(DType dtype, FileBytes.Access access) {
    int[] inFile =
        IntStream.range(0, strides.length)
            .boxed()
            .sorted(Comparator.comparingLong(axis -> -strides[axis]))
            .mapToInt(axis -> axis)
            .toArray();
    if (isSorted(inFile)) {
      return Tensor.generate(dtype, shape, new Numbers(access, inFile));
    }
    try (Scope scope = Scope.open()) {
      int[] dimensions = Arrays.stream(inFile).map(axis -> sizes[axis]).toArray();
      Tensor stored = Tensor.generate(dtype, Shape.of(dimensions), new Numbers(access, inFile));
      return scope.keep(stored.permute(inverse(inFile)).reshape(shape));
    }
  }

  /** Whether two tensors hold the same numbers in the same shape. */
  boolean sameNumbers(StoredTensor other) throws IOException {
    requireReadable();
    other.requireReadable();
    if (!shape.equals(other.shape)) {
      return false;
    }
    if (storage.equals(other.storage)
        && first == other.first
        && added == other.added
        && Arrays.equals(sizes, other.sizes)
        && Arrays.equals(strides, other.strides)) {
      return true;
    }
    int[] rowMajor = IntStream.range(0, strides.length).toArray();
    double[] x = new double[PIECE];
    double[] y = new double[PIECE];
    try (FileBytes.Access access = storage.bytes.access();
        FileBytes.Access otherAccess = other.storage.bytes.access()) {
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
    if (!type().isReadable()) {
      throw because(path(), name, "is %s, expected F32, F16, BF16 or F64", type());
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
    private float[] decoded = new float[0];

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
      if (step <= NEAR || count == 1) {
        readNear(at, (int) step, values, to, count);
      } else {
        for (int i = 0; i < count; i++) {
          readNear(at + i * step, 1, values, to + i, 1);
        }
      }
    }

    private void readNear(long at, int step, double[] values, int to, int count) {
      int elements = storage.type.elements();
      long block = (first + at) / elements;
      int skipped = (int) ((first + at) % elements);
      int last = skipped + (count - 1) * step;
      int blocks = last / elements + 1;
      fill(block, blocks);
      BlockFormat format = storage.type.format();
      if (format == null) {
        for (int i = 0; i < count; i++) {
          values[to + i] = raw.getDouble((skipped + i * step) * Double.BYTES);
        }
        return;
      }
      if (storage.order == ByteOrder.BIG_ENDIAN) {
        format.swap(raw.array(), 0, blocks);
      }
      if (decoded.length < blocks * elements) {
        decoded = new float[blocks * elements];
      }
      format.decode(raw.array(), 0, decoded, 0, blocks);
      for (int i = 0; i < count; i++) {
        values[to + i] = decoded[skipped + i * step];
      }
    }

    private void fill(long block, int blocks) {
      int size = storage.type.bytes();
      if (raw.capacity() < blocks * size) {
        raw = ByteBuffer.allocate(blocks * size).order(storage.order);
      }
      raw.clear().limit(blocks * size);
      try {
        access.fill(storage.position + block * size, raw);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      raw.flip();
    }
  }
}
