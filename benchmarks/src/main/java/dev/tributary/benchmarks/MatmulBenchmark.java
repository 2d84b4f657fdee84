package dev.tributary.benchmarks;

import static org.bytedeco.openblas.global.openblas_nolapack.CblasNoTrans;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasRowMajor;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasTrans;
import static org.bytedeco.openblas.global.openblas_nolapack.cblas_sgemm;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.bytedeco.javacpp.FloatPointer;
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
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * How far is a matrix product from the raw BLAS call, for the three forms that a layer needs:
 * forward x·W, pull through it y·Wᵀ, and the weight's own gradient xᵀ·y? 64 tokens, FLOAT.
 *
 * <pre>java -jar benchmarks/target/benchmarks.jar MatmulBenchmark</pre>
 */
@State(org.openjdk.jmh.annotations.Scope.Thread)
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class MatmulBenchmark {
  private static final int ROWS = 64;

  /** Input and output size of the weight. */
  @Param({"768x768", "768x3072", "3072x768"})
  public String weight = "768x3072";

  private int inner;
  private int outer;
  private Scope scope;
  private Tensor x;
  private Tensor w;
  private Tensor y;
  private INDArray xArray;
  private INDArray wArray;
  private INDArray yArray;
  private INDArray product;
  private INDArray pulled;
  private INDArray gradient;

  /** Makes the operands of every contender. */
  @Setup(Level.Trial)
  public void open() {
    inner = Integer.parseInt(weight.substring(0, weight.indexOf('x')));
    outer = Integer.parseInt(weight.substring(weight.indexOf('x') + 1));
    scope = Scope.open();
    x = gaussian(ROWS, inner);
    w = gaussian(inner, outer);
    y = gaussian(ROWS, outer);
    xArray = array(x);
    wArray = array(w);
    yArray = array(y);
    product = Nd4j.create(DataType.FLOAT, ROWS, outer);
    pulled = Nd4j.create(DataType.FLOAT, ROWS, inner);
    gradient = Nd4j.create(DataType.FLOAT, inner, outer);
  }

  private static Tensor gaussian(int rows, int columns) {
    Random random = new Random(1);
    return Tensor.generate(
        DType.FLOAT,
        Shape.of(rows, columns),
        (from, values, count) -> {
          for (int i = 0; i < count; i++) {
            values[i] = random.nextGaussian();
          }
        });
  }

  private static INDArray array(Tensor tensor) {
    return Nd4j.createFromArray(tensor.toDoubles())
        .castTo(DataType.FLOAT)
        .reshape(tensor.shape().size(0), tensor.shape().size(1));
  }

  /** Frees them. */
  @TearDown(Level.Trial)
  public void close() {
    scope.close();
  }

  /** Forward, ours. */
  @Benchmark
  public int forwardTributary() {
    try (Scope inside = Scope.open()) {
      return x.matmul(w).shape().length();
    }
  }

  /** Forward, the BLAS call alone. */
  @Benchmark
  public void forwardBlas() {
    sgemm(CblasNoTrans, CblasNoTrans, outer, inner, xArray, inner, wArray, outer, product);
  }

  /** Forward, ND4J into a result made beforehand. */
  @Benchmark
  public INDArray forwardNd4j() {
    return Nd4j.matmul(xArray, wArray, product, false, false, false);
  }

  /** Forward, as most would write it with ND4J. */
  @Benchmark
  public void forwardNd4jMmul() {
    xArray.mmul(wArray).close();
  }

  /** Pull, ours. */
  @Benchmark
  public int pullTributary() {
    try (Scope inside = Scope.open()) {
      return y.matmulTransposed(w).shape().length();
    }
  }

  /** Pull, the BLAS call alone. */
  @Benchmark
  public void pullBlas() {
    sgemm(CblasNoTrans, CblasTrans, inner, outer, yArray, outer, wArray, outer, pulled);
  }

  /** Gradient of the weight, ours. */
  @Benchmark
  public int gradientTributary() {
    try (Scope inside = Scope.open()) {
      return x.transposedMatmul(y).shape().length();
    }
  }

  /** Gradient of the weight, the BLAS call alone. */
  @Benchmark
  public void gradientBlas() {
    cblas_sgemm(
        CblasRowMajor,
        CblasTrans,
        CblasNoTrans,
        inner,
        outer,
        ROWS,
        1,
        pointer(xArray),
        inner,
        pointer(yArray),
        outer,
        0,
        pointer(gradient),
        outer);
  }

  private static void sgemm(
      int left, int right, int n, int k, INDArray a, int lda, INDArray b, int ldb, INDArray c) {
    cblas_sgemm(
        CblasRowMajor,
        left,
        right,
        ROWS,
        n,
        k,
        1,
        pointer(a),
        lda,
        pointer(b),
        ldb,
        0,
        pointer(c),
        n);
  }

  private static FloatPointer pointer(INDArray array) {
    return new FloatPointer(array.data().addressPointer());
  }
}
