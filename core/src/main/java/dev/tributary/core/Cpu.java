package dev.tributary.core;

import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.Pointer;
import org.nd4j.linalg.api.ndarray.INDArray;

/** The processor: {@link CpuKernels} on memory that ND4J allocates. */
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
   * A block of the processor.
   *
   * @param array whose memory it is
   * @param access to the elements that tensors use
   * @param raw the same memory as bytes
   */
  record Memory(Size size, INDArray array, Rows.Access access, RawBytes raw) implements Block {
    @Override
    public void free() {
      array.close();
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
    INDArray array = Nd4jDevice.array(size.dtype(), size.elements() + CACHE_LINE / bytes);
    Pointer pointer = array.data().addressPointer();
    int start = Math.floorMod(-pointer.address(), CACHE_LINE) / bytes;
    return new Memory(
        size,
        array,
        CpuKernels.rows(size.dtype()).access(pointer, start, size.elements()),
        new RawBytes(pointer, (long) start * bytes, size.bytes()));
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
