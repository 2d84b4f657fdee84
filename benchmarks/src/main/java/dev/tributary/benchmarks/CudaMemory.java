package dev.tributary.benchmarks;

import dev.tributary.core.DType;
import dev.tributary.core.Device;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;

/** What happens when a GPU has no room left? Run by {@code cuda-check.sh}. */
public final class CudaMemory {
  private static final int SIDE = 1 << 15;

  /** More than any GPU has of that size. */
  private static final int TOO_MANY = 1000;

  private static final Device CUDA = Device.named("cuda");

  private CudaMemory() {}

  /**
   * Prints the GPU's name, or fills its memory and prints what it says then.
   *
   * @param args {@code name} for the name alone
   * @throws IllegalArgumentException if there is no GPU that can be used
   * @throws IllegalStateException if not everything works afterwards
   */
  public static void main(String[] args) {
    if (args.length > 0) {
      System.out.println(CUDA);
      return;
    }
    for (int i = 0; i < 2; i++) {
      double before = product();
      String message = fill();
      if (before != product()) {
        throw new IllegalStateException("another product than before memory was full");
      }
      Scope.releaseUnused();
      System.out.print(i == 0 ? message : "");
    }
    System.out.println();
  }

  /** {@return what is said in the end} */
  private static String fill() {
    double sum = product();
    try (Scope scope = Scope.open()) {
      for (int i = 0; i < TOO_MANY; i++) {
        CUDA.during(() -> Tensor.full(DType.FLOAT, Shape.of(SIDE, SIDE), 1));
      }
      throw new IllegalStateException(TOO_MANY + " tensors of 4 GB");
    } catch (IllegalArgumentException e) {
      if (sum != product()) {
        throw new IllegalStateException("another product while memory is full", e);
      }
      return String.valueOf(e.getMessage());
    }
  }

  private static double product() {
    try (Scope scope = Scope.open()) {
      Tensor x = CUDA.during(() -> RandomModel.gaussian(100, 100));
      return x.matmul(x).sum(1).sum(0).item();
    }
  }
}
