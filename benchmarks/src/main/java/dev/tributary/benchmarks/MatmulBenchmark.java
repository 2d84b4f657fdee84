package dev.tributary.benchmarks;

import static org.bytedeco.openblas.global.openblas_nolapack.CblasNoTrans;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasRowMajor;
import static org.bytedeco.openblas.global.openblas_nolapack.CblasTrans;
import static org.bytedeco.openblas.global.openblas_nolapack.blas_set_num_threads;
import static org.bytedeco.openblas.global.openblas_nolapack.cblas_sgemm;

import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
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
 * How far is a matrix product of GPT-2 small from the raw BLAS call: forward x·W and pull y·Wᵀ
 * through every weight, and the products of attention? FLOAT. Ours make and free their result, the
 * others write into one made beforehand, but for {@code Mmul}, which is how most would write it.
 *
 * <pre>java -jar benchmarks/target/benchmarks.jar MatmulBenchmark</pre>
 */
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 2, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 3, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Fork(1)
public class MatmulBenchmark {
  /** A weight and what meets it on its two sides. */
  @State(org.openjdk.jmh.annotations.Scope.Thread)
  public static class Weight {
    /**
     * Input and output size: of the heads' output, of query, key and value, into and out of the
     * neurons, and the embedding, through which logits are pulled the way of its transpose.
     */
    @Param({"768x768", "768x2304", "768x3072", "3072x768", "50257x768"})
    public String weight = "768x3072";

    /** Tokens. */
    @Param({"16", "64", "256"})
    public int rows = 64;

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

    /** Makes the operands of every contender. */
    @Setup(Level.Trial)
    public void open() {
      inner = Integer.parseInt(weight.substring(0, weight.indexOf('x')));
      outer = Integer.parseInt(weight.substring(weight.indexOf('x') + 1));
      scope = Scope.open();
      x = RandomModel.gaussian(rows, inner);
      w = RandomModel.gaussian(inner, outer);
      y = RandomModel.gaussian(rows, outer);
      xArray = array(x);
      wArray = array(w);
      yArray = array(y);
      lendCores();
      product = Nd4j.create(DataType.FLOAT, rows, outer);
      pulled = Nd4j.create(DataType.FLOAT, rows, inner);
    }

    /** Frees them. */
    @TearDown(Level.Trial)
    public void close() {
      scope.close();
    }
  }

  /** To the threads of BLAS, which ours does not use. */
  private static void lendCores() {
    blas_set_num_threads(Runtime.getRuntime().availableProcessors());
  }

  /** The same numbers for ND4J. */
  static INDArray array(Tensor tensor) {
    long[] sizes = new long[tensor.shape().rank()];
    for (int axis = 0; axis < sizes.length; axis++) {
      sizes[axis] = tensor.shape().size(axis);
    }
    return Nd4j.createFromArray(tensor.toDoubles()).castTo(DataType.FLOAT).reshape(sizes);
  }

  /** Forward, ours. */
  @Benchmark
  public int forwardTributary(Weight a) {
    try (Scope inside = Scope.open()) {
      return a.x.matmul(a.w).shape().length();
    }
  }

  /** Forward, the BLAS call alone. */
  @Benchmark
  public void forwardBlas(Weight a) {
    sgemm(false, a.rows, a.outer, a.inner, a.xArray, a.wArray, a.product);
  }

  /** Forward, ND4J into a result made beforehand. */
  @Benchmark
  public INDArray forwardNd4j(Weight a) {
    return Nd4j.matmul(a.xArray, a.wArray, a.product, false, false, false);
  }

  /** Forward, as most would write it with ND4J. */
  @Benchmark
  public void forwardNd4jMmul(Weight a) {
    a.xArray.mmul(a.wArray).close();
  }

  /** Pull, ours. */
  @Benchmark
  public int pullTributary(Weight a) {
    try (Scope inside = Scope.open()) {
      return a.y.matmulTransposed(a.w).shape().length();
    }
  }

  /** Pull, the BLAS call alone. */
  @Benchmark
  public void pullBlas(Weight a) {
    sgemm(true, a.rows, a.inner, a.outer, a.yArray, a.wArray, a.pulled);
  }

  /** Pull, ND4J into a result made beforehand. */
  @Benchmark
  public INDArray pullNd4j(Weight a) {
    return Nd4j.matmul(a.yArray, a.wArray, a.pulled, false, true, false);
  }

  /** Pull, as most would write it with ND4J. */
  @Benchmark
  public void pullNd4jMmul(Weight a) {
    a.yArray.mmul(a.wArray.transpose()).close();
  }

  /** Queries, keys, values and a pattern of twelve heads. */
  @State(org.openjdk.jmh.annotations.Scope.Thread)
  public static class Attention {
    private static final int HEADS = 12;
    private static final int D_HEAD = 64;

    /** Tokens. */
    @Param({"16", "64", "256"})
    public int rows = 64;

    private Scope scope;
    private Tensor query;
    private Tensor key;
    private Tensor pattern;
    private INDArray queryArray;
    private INDArray keyArray;
    private INDArray patternArray;
    private INDArray scores;
    private INDArray mixed;

    /** Makes the operands of every contender. */
    @Setup(Level.Trial)
    public void open() {
      scope = Scope.open();
      query = RandomModel.gaussian(HEADS, rows, D_HEAD);
      key = RandomModel.gaussian(HEADS, rows, D_HEAD);
      pattern = RandomModel.gaussian(HEADS, rows, rows);
      queryArray = array(query);
      keyArray = array(key);
      patternArray = array(pattern);
      lendCores();
      scores = Nd4j.create(DataType.FLOAT, HEADS, rows, rows);
      mixed = Nd4j.create(DataType.FLOAT, HEADS, rows, D_HEAD);
    }

    /** Frees them. */
    @TearDown(Level.Trial)
    public void close() {
      scope.close();
    }
  }

  /** Queries times keys, ours. */
  @Benchmark
  public int scoresTributary(Attention a) {
    try (Scope inside = Scope.open()) {
      return a.query.matmulTransposed(a.key).shape().length();
    }
  }

  /** Queries times keys, a BLAS call for every head. */
  @Benchmark
  public void scoresBlas(Attention a) {
    perHead(true, a.rows, a.rows, Attention.D_HEAD, a.queryArray, a.keyArray, a.scores);
  }

  /** Queries times keys, ND4J into a result made beforehand. */
  @Benchmark
  public INDArray scoresNd4j(Attention a) {
    return Nd4j.matmul(a.queryArray, a.keyArray, a.scores, false, true, false);
  }

  /** Pattern times values, ours. */
  @Benchmark
  public int mixedTributary(Attention a) {
    try (Scope inside = Scope.open()) {
      return a.pattern.matmul(a.key).shape().length();
    }
  }

  /** Pattern times values, a BLAS call for every head. */
  @Benchmark
  public void mixedBlas(Attention a) {
    perHead(false, a.rows, Attention.D_HEAD, a.rows, a.patternArray, a.keyArray, a.mixed);
  }

  /** Pattern times values, ND4J into a result made beforehand. */
  @Benchmark
  public INDArray mixedNd4j(Attention a) {
    return Nd4j.matmul(a.patternArray, a.keyArray, a.mixed, false, false, false);
  }

  private static void sgemm(
      boolean transposed, int m, int n, int k, INDArray a, INDArray b, INDArray c) {
    call(transposed, m, n, k, pointer(a), pointer(b), pointer(c));
  }

  private static void perHead(
      boolean transposed, int m, int n, int k, INDArray a, INDArray b, INDArray c) {
    FloatPointer left = pointer(a);
    FloatPointer right = pointer(b);
    FloatPointer result = pointer(c);
    for (int head = 0; head < Attention.HEADS; head++) {
      left.position((long) head * m * k);
      right.position((long) head * k * n);
      result.position((long) head * m * n);
      call(transposed, m, n, k, left, right, result);
    }
  }

  private static void call(
      boolean transposed, int m, int n, int k, FloatPointer a, FloatPointer b, FloatPointer c) {
    cblas_sgemm(
        CblasRowMajor,
        CblasNoTrans,
        transposed ? CblasTrans : CblasNoTrans,
        m,
        n,
        k,
        1,
        a,
        k,
        b,
        transposed ? k : n,
        0,
        c,
        n);
  }

  private static FloatPointer pointer(INDArray array) {
    return new FloatPointer(array.data().addressPointer());
  }
}
