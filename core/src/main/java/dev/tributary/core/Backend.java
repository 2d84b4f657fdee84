package dev.tributary.core;

import static dev.tributary.core.Checks.requireArgument;

import java.util.ArrayList;
import java.util.List;
import java.util.ServiceLoader;
import org.jspecify.annotations.Nullable;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.factory.Nd4jBackend;

/**
 * The one switch between {@link JavaKernels} and {@link Nd4jKernels}: the former where ND4J
 * computes on the CPU, unless the system property {@code tributary.kernels} says {@code nd4j}.
 */
final class Backend {
  private static final String PROPERTY = "tributary.kernels";

  private static volatile @Nullable Kernels kernels;

  private Backend() {}

  static Kernels kernels() {
    Kernels chosen = kernels;
    return chosen != null ? chosen : choose();
  }

  private static synchronized Kernels choose() {
    String choice = System.getProperty(PROPERTY, "java");
    requireArgument(
        choice.equals("java") || choice.equals("nd4j"),
        "system property %s is \"%s\", it must be java or nd4j",
        PROPERTY,
        choice);
    requireDevice();
    boolean cpu = Nd4j.getEnvironment().isCPU();
    Kernels chosen = cpu && choice.equals("java") ? new JavaKernels() : new Nd4jKernels();
    kernels = chosen;
    return chosen;
  }

  /**
   * Asks the backends of ND4J whether they can run before ND4J does, which would print stack
   * traces.
   */
  private static void requireDevice() {
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
            + "): the cuda build needs an NVIDIA GPU of compute capability 3.7 to 8.6 with its driver"
            + " and CUDA 11.6; the default build runs on the CPU");
  }
}
