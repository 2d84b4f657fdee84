package dev.tributary.core;

import static dev.tributary.core.Checks.requirePresent;
import static dev.tributary.core.Checks.requireState;

import org.bytedeco.dnnl.global.dnnl;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;
import org.bytedeco.openblas.presets.openblas_nolapack.SetNumThreads;
import org.jspecify.annotations.Nullable;

/**
 * Matrix products of oneDNN, for machines that it is built for. It writes its code for the very
 * processor that it finds, and stays near the peak of it where OpenBLAS spends most of its time
 * packing: for 16 to 64 rows, two to five times faster.
 */
final class OneDnn {
  private static final String SET_THREADS = "omp_set_num_threads";

  /** As it is called on Linux: the one that is loaded, whose ever it is. */
  private static final String OPENMP = "libgomp.so.1";

  /** Tells OpenMP with how many threads the thread that calls it computes. */
  private static final @Nullable SetNumThreads THREADS_OF_OPENMP = load();

  /** Whether this machine has it. */
  static final boolean PRESENT = THREADS_OF_OPENMP != null;

  /**
   * Whether its code for this processor reads the right side of a product where it lies; for
   * AVX-512 it packs it first.
   */
  static final boolean READS_IN_PLACE = PRESENT && !hasAvx512();

  /**
   * Each thread computes alone, and {@link Workers} share the work: threads of OpenMP, which
   * otherwise wait for more of it on the core that a kernel could use, do not know of each other.
   */
  private static final ThreadLocal<Boolean> ALONE =
      ThreadLocal.withInitial(
          () -> {
            requirePresent(THREADS_OF_OPENMP, "this machine has no oneDNN").call(1);
            return true;
          });

  private OneDnn() {}

  /** Makes sure that this thread computes alone. */
  static void computeAlone() {
    ALONE.get();
  }

  private static boolean hasAvx512() {
    int bits = dnnl.dnnl_cpu_isa_avx512_core & ~dnnl.dnnl_cpu_isa_avx2;
    return (dnnl.dnnl_get_effective_cpu_isa() & bits) != 0;
  }

  private static @Nullable SetNumThreads load() {
    try {
      dnnl.dnnl_version();
      Pointer address = Loader.addressof(SET_THREADS);
      if (address == null) { // loaded, and known to nobody but oneDNN
        Loader.loadGlobal(OPENMP);
        address = Loader.addressof(SET_THREADS);
      }
      return address == null ? null : new SetNumThreads(new PointerPointer<>(2).put(address));
    } catch (LinkageError | RuntimeException e) { // no build for this platform
      return null;
    }
  }

  /**
   * out[m, n] = x[m, k] y[k, n] (+ out), each row-major or, if transposed, stored the other way,
   * with the distance of its stored rows.
   */
  static void sgemm(
      FloatPointer x,
      boolean xTransposed,
      int xStride,
      FloatPointer y,
      boolean yTransposed,
      int yStride,
      FloatPointer out,
      int outStride,
      boolean accumulate,
      int m,
      int n,
      int k) {
    computeAlone();
    int status =
        dnnl.dnnl_sgemm(
            letter(xTransposed),
            letter(yTransposed),
            m,
            n,
            k,
            1,
            x,
            xStride,
            y,
            yStride,
            accumulate ? 1 : 0,
            out,
            outStride);
    requireState(
        status == dnnl.dnnl_success,
        "matrix product [%d, %d] x [%d, %d]: oneDNN refused it with status %d",
        m,
        k,
        k,
        n,
        status);
  }

  private static byte letter(boolean transposed) {
    return (byte) (transposed ? 'T' : 'N');
  }
}
