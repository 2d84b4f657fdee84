package dev.tributary.benchmarks;

import dev.tributary.core.Scope;
import java.io.IOException;
import java.util.Locale;

/**
 * How much memory does a process need that scores all edges over more and more pairs? Each line is
 * one number of pairs; the peak is that of its whole life (Linux).
 *
 * <pre>
 * java -Xmx1g -cp benchmarks/target/benchmarks.jar dev.tributary.benchmarks.DatasetMemory 12 0 32 320
 * java -Xmx1g -cp benchmarks/target/benchmarks.jar dev.tributary.benchmarks.DatasetMemory 1 0 32 320 3200
 * </pre>
 *
 * With one layer of GPT-2 small, EAP of 32, 320 and 3,200 pairs took tensors of 299 MB each time,
 * weights included, in a process of 457, 507 and 736 MB; with twelve, 32 and 320 pairs took 1,147
 * MB in a process of 1,402 and 1,636 MB. What grows is the heap of Java, below its limit.
 */
public final class DatasetMemory {
  private DatasetMemory() {}

  /**
   * Prints it.
   *
   * @param args layers of the model, steps as {@link DatasetBenchmark} has them, and numbers of
   *     pairs
   * @throws IOException if the system does not say how much memory this process has
   */
  public static void main(String[] args) throws IOException {
    for (int i = 2; i < args.length; i++) {
      DatasetBenchmark.Data data = new DatasetBenchmark.Data();
      data.layers = Integer.parseInt(args[0]);
      data.steps = Integer.parseInt(args[1]);
      data.pairs = Integer.parseInt(args[i]);
      data.open();
      long start = System.nanoTime();
      data.score();
      System.out.printf(
          Locale.ROOT,
          "%,6d pairs %8.1f s  tensors %6.0f MB  process %6.0f MB%n",
          data.pairs,
          (System.nanoTime() - start) / 1e9,
          Scope.reservedBytes() / 1e6,
          Measured.peakBytes() / 1e6);
      data.close();
    }
  }
}
