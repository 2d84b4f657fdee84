package dev.tributary.benchmarks;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What does an operation cost besides its arithmetic, and what its arithmetic? Small is 16 numbers;
 * the others are the shapes of GPT-2 small at 64 tokens. Ours make and free their result; ND4J's
 * write into one made beforehand, or make one where the name says so. FLOAT.
 *
 * <pre>java -jar benchmarks/target/benchmarks.jar KernelBenchmark</pre>
 */
@State(org.openjdk.jmh.annotations.Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class KernelBenchmark {
  private Scope scope;
  private Tensor small;
  private Tensor residual;
  private Tensor hidden;
  private Tensor scores;
  private INDArray smallArray;
  private INDArray smallResult;
  private INDArray residualArray;
  private INDArray residualResult;

  /** Makes the operands. */
  @Setup(Level.Trial)
  public void open() {
    scope = Scope.open();
    small = gaussian(16);
    residual = gaussian(64, 768);
    hidden = gaussian(64, 3072);
    scores = gaussian(12, 64, 64);
    smallArray = Nd4j.rand(DataType.FLOAT, 16);
    smallResult = Nd4j.create(DataType.FLOAT, 16);
    residualArray = Nd4j.rand(DataType.FLOAT, 64, 768);
    residualResult = Nd4j.create(DataType.FLOAT, 64, 768);
  }

  private static Tensor gaussian(int... dimensions) {
    Random random = new Random(1);
    return Tensor.generate(
        DType.FLOAT,
        Shape.of(dimensions),
        (from, values, count) -> {
          for (int i = 0; i < count; i++) {
            values[i] = random.nextGaussian();
          }
        });
  }

  /** Frees them. */
  @TearDown(Level.Trial)
  public void close() {
    scope.close();
  }

  /** x + y of 16 numbers. */
  @Benchmark
  public int addSmallTributary() {
    try (Scope inside = Scope.open()) {
      return small.plus(small).shape().length();
    }
  }

  /** The same, result made beforehand. */
  @Benchmark
  public INDArray addSmallNd4j() {
    return smallArray.add(smallArray, smallResult);
  }

  /** The same, making and closing the result. */
  @Benchmark
  public void addSmallNd4jAllocating() {
    smallArray.add(smallArray).close();
  }

  /** x + y of [64, 768]. */
  @Benchmark
  public int addResidualTributary() {
    try (Scope inside = Scope.open()) {
      return residual.plus(residual).shape().length();
    }
  }

  /** The same, result made beforehand. */
  @Benchmark
  public INDArray addResidualNd4j() {
    return residualArray.add(residualArray, residualResult);
  }

  /** The same, making and closing the result. */
  @Benchmark
  public void addResidualNd4jAllocating() {
    residualArray.add(residualArray).close();
  }

  /** gelu of [64, 3072]. */
  @Benchmark
  public int geluTributary() {
    try (Scope inside = Scope.open()) {
      return hidden.gelu().shape().length();
    }
  }

  /** Causal softmax of [12, 64, 64]. */
  @Benchmark
  public int causalSoftmaxTributary() {
    try (Scope inside = Scope.open()) {
      return scores.causalSoftmax(1).shape().length();
    }
  }
}
