package dev.tributary.benchmarks;

import dev.tributary.core.BlockFormat;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What does it cost to decode a strip of 131,072 weights? One thread.
 *
 * <pre>java -jar benchmarks/target/benchmarks.jar BlockFormatBenchmark</pre>
 */
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 2, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 3, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Fork(1)
@State(Scope.Thread)
public class BlockFormatBenchmark {
  /** A strip of weights. */
  private static final int NUMBERS = 64 * 2048;

  /** How the numbers lie. */
  @Param({
    "F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K",
    "Q6_K", "IQ4_NL", "IQ4_XS"
  })
  public BlockFormat format = BlockFormat.Q8_0;

  private byte[] raw = {};
  private final float[] values = new float[NUMBERS];

  /** Makes the blocks. */
  @Setup(Level.Trial)
  public void draw() {
    raw = new byte[NUMBERS / format.elements() * format.bytes()];
    new Random(1).nextBytes(raw);
  }

  /**
   * All numbers.
   *
   * @return the numbers
   */
  @Benchmark
  public float[] decode() {
    format.decode(raw, 0, values, 0, NUMBERS / format.elements());
    return values;
  }
}
