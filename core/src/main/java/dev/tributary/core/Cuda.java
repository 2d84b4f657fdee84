package dev.tributary.core;

import static dev.tributary.core.Checks.requireArgument;

import java.nio.ByteBuffer;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;

/**
 * An NVIDIA GPU: {@link CudaKernels} on its own memory. All threads call into one stream, so that a
 * block that one of them gives back is used by the next only when the work before is done.
 */
final class Cuda extends Device {
  private static final Map<Integer, Cuda> OPENED = new ConcurrentHashMap<>();

  /** Pinned memory that numbers pass through on their way to the GPU, and back. */
  private static final int STAGING_BYTES = 32 << 20;

  private static final int READING_BYTES = 8 << 20;

  /** Bytes that one thread reads from a file at a time. */
  private static final int READ = 1 << 20;

  private static final int PIECE = 1 << 18;

  private static final int TILE = 1 << 24;

  private static final int LEAST_TILE = 1 << 20;

  private final CudaCalls calls;
  private final CudaKernels kernels;
  private final CudaCalls.Pinned staging;
  private final CudaCalls.Pinned reading;

  /** How much of the staging memory holds what may still be copied from; guarded by it. */
  private int staged;

  private Cuda(int index) {
    this.calls = new CudaCalls(index);
    this.kernels = new CudaKernels(this, calls);
    this.staging = calls.pin(STAGING_BYTES);
    this.reading = calls.pin(READING_BYTES);
  }

  /**
   * {@return a GPU of this machine}
   *
   * @param index from 0
   * @throws IllegalArgumentException with the reason if it cannot be used
   */
  static Cuda of(int index) {
    return OPENED.computeIfAbsent(index, Cuda::open);
  }

  private static Cuda open(int index) {
    try {
      return new Cuda(index);
    } catch (IllegalStateException e) { // it is there, and does not do what it is told
      throw new IllegalArgumentException(e.getMessage(), e);
    }
  }

  /** A block of a GPU, by its address there. */
  record Memory(Size size, long address, CudaCalls calls) implements Block {
    @Override
    public void free() {
      calls.free(address);
    }
  }

  @Override
  Memory make(Size size) {
    long address = calls.allocate(size.bytes());
    if (address == 0) {
      trim();
      address = calls.allocate(size.bytes());
    }
    if (address == 0) {
      long[] memory = calls.memory();
      requireArgument(
          false,
          "%s has no room for a tensor of %.3f GB: %.3f GB of its %.1f GB are free",
          this,
          size.bytes() / 1e9,
          memory[0] / 1e9,
          memory[1] / 1e9);
    }
    return new Memory(size, address, calls);
  }

  @Override
  Kernels kernels() {
    return kernels;
  }

  @Override
  boolean encodes(BlockFormat format) {
    return format == BlockFormat.BF16;
  }

  @Override
  IntStream scratch(
      Tensor x,
      boolean xTransposed,
      Tensor y,
      boolean yTransposed,
      Tensor out,
      boolean accumulate) {
    return CudaKernels.scratch(x, y, out);
  }

  @Override
  int wholeNumbers(int count) {
    return count;
  }

  @Override
  long limitBytes() {
    return calls.memory()[0] + reservedBytes();
  }

  @Override
  int piece() {
    return PIECE;
  }

  @Override
  int tile() {
    return TILE;
  }

  @Override
  int leastTile() {
    return LEAST_TILE;
  }

  /** Writes bytes into staging memory. */
  private interface Filler {
    void fill(ByteBuffer target, int done, int count);
  }

  /**
   * Copies so many elements to the GPU, through staging memory, which is free again when all that
   * was copied is there.
   */
  private void copyIn(long to, int elements, int size, Filler filler) {
    synchronized (staging) {
      for (int done = 0; done < elements; ) {
        int room = (STAGING_BYTES - staged) / size;
        int count = Math.min(room, elements - done);
        if (count == 0) {
          calls.synchronise();
          staged = 0;
          continue;
        }
        filler.fill(staged(staged, count * size), done, count);
        calls.copyIn(staging, staged, to + (long) done * size, (long) count * size);
        staged = Math.min(STAGING_BYTES, staged + (count * size + 63) / 64 * 64);
        done += count;
      }
    }
  }

  private ByteBuffer staged(int from, int bytes) {
    return staging.bytes().slice(from, bytes).order(staging.bytes().order());
  }

  void write(double[] values, int count, DType dtype, long to) {
    copyIn(
        to,
        count,
        dtype.bytes(),
        (target, done, n) -> {
          if (dtype == DType.FLOAT) {
            float[] floats = new float[n];
            for (int i = 0; i < n; i++) {
              floats[i] = (float) values[done + i];
            }
            target.asFloatBuffer().put(floats);
          } else {
            target.asDoubleBuffer().put(values, done, n);
          }
        });
  }

  /** Whole numbers in memory of their own, for whoever gives it back. */
  Memory write(int[] values) {
    Memory block = (Memory) take(DType.FLOAT, values.length);
    copyIn(
        block.address,
        values.length,
        Integer.BYTES,
        (target, done, n) -> target.asIntBuffer().put(values, done, n));
    return block;
  }

  /** What becomes of numbers that were read. */
  private interface Taker {
    void take(ByteBuffer source, int done, int count);
  }

  /** Copies so many elements from the GPU, when all that was called before is done. */
  private void copyOut(long from, int elements, int size, Taker taker) {
    synchronized (reading) {
      for (int done = 0; done < elements; ) {
        int count = Math.min(READING_BYTES / size, elements - done);
        calls.copyOut(from + (long) done * size, reading, (long) count * size);
        calls.synchronise();
        taker.take(reading.bytes(), done, count);
        done += count;
      }
    }
  }

  void read(long from, DType dtype, double[] values, int count) {
    copyOut(
        from,
        count,
        dtype.bytes(),
        (source, done, n) -> {
          if (dtype == DType.FLOAT) {
            float[] floats = new float[n];
            source.asFloatBuffer().get(floats);
            for (int i = 0; i < n; i++) {
              values[done + i] = floats[i];
            }
          } else {
            source.asDoubleBuffer().get(values, done, n);
          }
        });
  }

  /** Whole numbers that a kernel found. */
  int[] read(long from, int count) {
    int[] values = new int[count];
    copyOut(
        from, count, Integer.BYTES, (source, done, n) -> source.asIntBuffer().get(values, done, n));
    return values;
  }

  @Override
  void fill(Tensor encoded, Tensor.Bytes source) {
    long bytes = encoded.shape().length() * (long) encoded.encoding().format().bytes();
    long to = kernels.address(encoded);
    synchronized (staging) {
      for (long from = 0; from < bytes; from += STAGING_BYTES) {
        int n = (int) Math.min(STAGING_BYTES, bytes - from);
        long start = from;
        calls.synchronise();
        Workers.run(
            (n + READ - 1) / READ,
            n,
            (first, last) -> {
              for (int i = first; i < last; i++) {
                int at = i * READ;
                source.read(start + at, staged(at, Math.min(READ, n - at)));
              }
            });
        calls.copyIn(staging, 0, to + from, n);
        staged = STAGING_BYTES;
      }
    }
  }

  @Override
  void read(Tensor encoded, long from, ByteBuffer target) {
    copyOut(
        ((Memory) encoded.block()).address + from,
        target.remaining(),
        1,
        (source, done, n) -> target.put(source.slice(0, n)));
  }

  @Override
  public String toString() {
    return calls.toString();
  }
}
