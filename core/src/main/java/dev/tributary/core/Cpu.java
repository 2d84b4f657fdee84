package dev.tributary.core;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.Pointer;

/** The processor: {@link CpuKernels} on memory that ND4J allocates, or where it is not, JavaCPP. */
final class Cpu extends Device {
  static final Cpu INSTANCE = new Cpu();

  /**
   * Bytes at a multiple of which tensors begin: matrix products take up to a third more from
   * elsewhere.
   */
  private static final int CACHE_LINE = 64;

  private final Kernels kernels = new CpuKernels();

  private Cpu() {}

  /**
   * Memory of this process.
   *
   * @param end gives it back
   */
  record Allocated(Pointer pointer, Runnable end) {}

  /**
   * A block of the processor.
   *
   * @param end gives its memory back
   * @param access to the elements that tensors use
   * @param raw the same memory as bytes
   */
  record Memory(Size size, Runnable end, Rows.Access access, RawBytes raw) implements Block {
    @Override
    public void free() {
      end.run();
    }
  }

  /** Access to the memory of a block of this device. */
  static Rows.Access access(Block block) {
    return ((Memory) block).access;
  }

  /** The memory of a block of this device as bytes. */
  static RawBytes raw(Block block) {
    return ((Memory) block).raw;
  }

  @Override
  Memory make(Size size) {
    int bytes = size.dtype().bytes();
    Allocated memory = allocate(size.dtype(), size.elements() + CACHE_LINE / bytes);
    Pointer pointer = memory.pointer;
    int start = Math.floorMod(-pointer.address(), CACHE_LINE) / bytes;
    return new Memory(
        size,
        memory.end,
        CpuKernels.rows(size.dtype()).access(pointer, start, size.elements()),
        new RawBytes(pointer, (long) start * bytes, size.bytes()));
  }

  private static Allocated allocate(DType dtype, long elements) {
    if (HAS_ND4J && standard() == INSTANCE) {
      return Nd4jDevice.allocate(dtype, elements);
    }
    long bytes = elements * dtype.bytes();
    Pointer pointer = Pointer.malloc(bytes);
    if (pointer == null) {
      throw new OutOfMemoryError("this process was given no further " + bytes + " bytes");
    }
    return new Allocated(pointer, () -> Pointer.free(pointer));
  }

  @Override
  Kernels kernels() {
    return kernels;
  }

  @Override
  boolean encodes(BlockFormat format) {
    return true;
  }

  @Override
  void fill(Tensor encoded, Tensor.Bytes source) {
    EncodedRows.of(encoded).fill(encoded, source);
  }

  @Override
  void read(Tensor encoded, long from, ByteBuffer target) {
    raw(encoded.block()).read(from, target);
  }

  @Override
  int rowStride(DType dtype, int columns) {
    return CpuKernels.rows(dtype).rowStride(columns);
  }

  @Override
  IntStream scratch(
      Tensor x,
      boolean xTransposed,
      Tensor y,
      boolean yTransposed,
      Tensor out,
      boolean accumulate) {
    return CpuKernels.scratch(x, xTransposed, y, yTransposed, out, accumulate);
  }

  @Override
  long limitBytes() {
    return limitOfThisProcess();
  }

  /** Of the machine or container, and as JavaCPP allows. */
  static long limitOfThisProcess() {
    long limit = Pointer.maxPhysicalBytes(); // four times the heap unless somebody said otherwise
    if (ManagementFactory.getOperatingSystemMXBean() instanceof OperatingSystemMXBean system) {
      long machine = system.getTotalMemorySize();
      limit = limit > 0 ? Math.min(limit, machine) : machine;
    }
    return limit > 0 ? limit : Long.MAX_VALUE;
  }

  @Override
  public String toString() {
    return "the CPU";
  }
}
