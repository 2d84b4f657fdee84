package dev.tributary.core;

import java.util.ArrayList;
import java.util.List;
import java.util.ServiceLoader;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.factory.Nd4jBackend;

/** Whatever ND4J computes on, by its operations: {@link Nd4jKernels} on its arrays. */
final class Nd4jDevice extends Device {
  static final Nd4jDevice INSTANCE = new Nd4jDevice();

  private final Kernels kernels = new Nd4jKernels();

  private Nd4jDevice() {}

  /** An array of its own for each block. */
  record Memory(Size size, INDArray array) implements Block {
    @Override
    public void free() {
      array.close();
    }
  }

  /** {@return whether it is the processor on which ND4J computes} */
  static boolean isCpu() {
    requireBackend();
    return Nd4j.getEnvironment().isCPU();
  }

  /**
   * Asks the backends of ND4J whether they can run before ND4J does, which would print stack
   * traces.
   */
  private static void requireBackend() {
    List<String> reasons = new ArrayList<>();
    for (Nd4jBackend backend : ServiceLoader.load(Nd4jBackend.class)) {
      try {
        if (backend.canRun()) {
          return;
        }
        reasons.add(backend.getClass().getSimpleName() + " cannot run here");
      } catch (LinkageError | RuntimeException e) {
        Throwable cause = e;
        while (cause.getCause() != null) {
          cause = cause.getCause();
        }
        String message = String.valueOf(cause.getMessage());
        reasons.add(message.substring(message.lastIndexOf('/') + 1));
      }
    }
    throw new IllegalStateException(
        "no device to compute on ("
            + (reasons.isEmpty() ? "no ND4J backend on the class path" : String.join("; ", reasons))
            + "): the build for ND4J on CUDA needs an NVIDIA GPU of compute capability 3.7 to 8.6 with its"
            + " driver and CUDA 11.6; the default build runs on the CPU");
  }

  /** Memory of the processor from ND4J, its content undefined. */
  static Cpu.Allocated allocate(DType dtype, long length) {
    INDArray array = array(dtype, length);
    return new Cpu.Allocated(array.data().addressPointer(), array::close);
  }

  private static INDArray array(DType dtype, long length) {
    return Nd4j.createUninitialized(
        dtype == DType.FLOAT ? DataType.FLOAT : DataType.DOUBLE, length);
  }

  @Override
  Memory make(Size size) {
    return new Memory(size, array(size.dtype(), size.elements()));
  }

  @Override
  Kernels kernels() {
    return kernels;
  }

  @Override
  long limitBytes() {
    return Cpu.limitOfThisProcess();
  }

  @Override
  public String toString() {
    return "ND4J";
  }
}
