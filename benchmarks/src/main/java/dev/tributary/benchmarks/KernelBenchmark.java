package dev.tributary.benchmarks;

import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Mlp;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Transformer;
import dev.tributary.transformer.TransformerConfig;
import dev.tributary.transformer.Weight;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.ops.transforms.Transforms;
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
 * What do GELU, layer norm and causal softmax cost at 64 tokens of GPT-2 small, and a push and a
 * pull through each, against the chain of ND4J operations that one would write? FLOAT, both
 * allocate their results, and both are found equal first.
 *
 * <pre>java -jar benchmarks/target/benchmarks.jar KernelBenchmark</pre>
 */
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 3, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Fork(1)
public class KernelBenchmark {
  /** Largest difference between the two, of numbers of about 1. */
  private static final double TOLERANCE = 1e-3;

  private static final double GELU_SCALE = Math.sqrt(2 / Math.PI);
  private static final double GELU_CUBIC = 0.044715;
  private static final double EPSILON = 1e-5;

  /** A function as ND4J writes it, with what it keeps for its derivative. */
  interface Chain {
    INDArray value(INDArray x);

    INDArray push(INDArray u);

    INDArray pull(INDArray v);
  }

  /** One function, both ways of writing it, and numbers for it. */
  @State(org.openjdk.jmh.annotations.Scope.Thread)
  public static class Kernel {
    /** Which function. */
    @Param({"gelu", "layerNorm", "causalSoftmax"})
    public String function = "gelu";

    private Scope scope;
    private UnaryOperator<Variable> ours;
    private Chain chain;
    private Tensor x;
    private Tensor direction;
    private Variable input;
    private Jacobian jacobian;
    private INDArray xArray;
    private INDArray directionArray;

    /** Makes the operands, and compares. */
    @Setup(Level.Trial)
    public void open() {
      scope = Scope.open();
      int[] sizes;
      switch (function) {
        case "gelu" -> {
          sizes = new int[] {64, 3072};
          ours = Variable::gelu;
          chain = new Gelu();
        }
        case "layerNorm" -> {
          sizes = new int[] {64, 768};
          TransformerConfig config = TransformerConfig.gpt2(1, 768, 1, 2, 2, 2, 2, EPSILON, true);
          Transformer model = Transformer.random(config, DType.FLOAT, 1);
          Mlp mlp = model.mlp(0);
          ours = v -> mlp.normalised(v, ScaleGradient.LIVE);
          chain = new Norm(model);
        }
        case "causalSoftmax" -> {
          sizes = new int[] {12, 64, 64};
          ours = v -> v.causalSoftmax(1);
          chain = new Softmax();
        }
        default -> throw new IllegalArgumentException("no function " + function);
      }
      x = RandomModel.gaussian(sizes);
      direction = RandomModel.gaussian(sizes).reshape(x.shape().prepend(1));
      xArray = MatmulBenchmark.array(x);
      directionArray = MatmulBenchmark.array(direction.reshape(x.shape()));
      input = Variable.input(x);
      Variable output = ours.apply(input);
      jacobian = Jacobian.of(output, input);
      compare("value", output.value(), chain.value(xArray));
      compare("push", jacobian.push(direction), chain.push(directionArray));
      compare("pull", jacobian.pull(direction).get(0), chain.pull(directionArray));
    }

    private void compare(String what, Tensor tensor, INDArray array) {
      double[] expected = tensor.toDoubles();
      double[] found = array.dup('c').data().asDouble();
      for (int i = 0; i < expected.length; i++) {
        if (!(Math.abs(expected[i] - found[i]) <= TOLERANCE)) {
          throw new IllegalStateException(
              function + ", " + what + ": " + expected[i] + " and " + found[i] + " at " + i);
        }
      }
    }

    /** Frees them. */
    @TearDown(Level.Trial)
    public void close() {
      scope.close();
    }
  }

  /** The function, ours. */
  @Benchmark
  public int valueTributary(Kernel kernel) {
    try (Scope inside = Scope.open()) {
      return kernel.ours.apply(Variable.constant(kernel.x)).shape().length();
    }
  }

  /** The function and what its derivative needs, ours. */
  @Benchmark
  public int recordedTributary(Kernel kernel) {
    try (Scope inside = Scope.open()) {
      return kernel.ours.apply(kernel.input).shape().length();
    }
  }

  /** A push, ours. */
  @Benchmark
  public int pushTributary(Kernel kernel) {
    try (Scope inside = Scope.open()) {
      return kernel.jacobian.push(kernel.direction).shape().length();
    }
  }

  /** A pull, ours. */
  @Benchmark
  public int pullTributary(Kernel kernel) {
    try (Scope inside = Scope.open()) {
      return kernel.jacobian.pull(kernel.direction).size();
    }
  }

  /** The function, with what its derivative needs, ND4J. */
  @Benchmark
  public INDArray valueNd4j(Kernel kernel) {
    return kernel.chain.value(kernel.xArray);
  }

  /** A push, ND4J. */
  @Benchmark
  public INDArray pushNd4j(Kernel kernel) {
    return kernel.chain.push(kernel.directionArray);
  }

  /** A pull, ND4J. */
  @Benchmark
  public INDArray pullNd4j(Kernel kernel) {
    return kernel.chain.pull(kernel.directionArray);
  }

  private static final class Gelu implements Chain {
    private INDArray slope = Nd4j.empty();

    @Override
    public INDArray value(INDArray x) {
      INDArray square = x.mul(x);
      INDArray tanh =
          Transforms.tanh(square.mul(GELU_CUBIC).addi(1).muli(x).muli(GELU_SCALE), false);
      INDArray half = tanh.add(1).muli(0.5);
      INDArray inner = square.muli(3 * GELU_CUBIC).addi(1).muli(GELU_SCALE);
      slope = tanh.muli(tanh).rsubi(1).muli(inner).muli(x).muli(0.5).addi(half);
      return half.muli(x);
    }

    @Override
    public INDArray push(INDArray u) {
      return slope.mul(u);
    }

    @Override
    public INDArray pull(INDArray v) {
      return slope.mul(v);
    }
  }

  private static final class Norm implements Chain {
    private final INDArray gain;
    private final INDArray bias;
    private INDArray normalised = Nd4j.empty();
    private INDArray scale = Nd4j.empty();

    Norm(Transformer model) {
      gain = MatmulBenchmark.array(model.weight(Weight.MLP_NORM_GAIN, 0));
      bias = MatmulBenchmark.array(model.weight(Weight.MLP_NORM_BIAS, 0));
    }

    @Override
    public INDArray value(INDArray x) {
      INDArray centred = x.subColumnVector(x.mean(1));
      scale = Transforms.sqrt(centred.mul(centred).mean(1).addi(EPSILON), false);
      normalised = centred.diviColumnVector(scale);
      return normalised.mulRowVector(gain).addiRowVector(bias);
    }

    @Override
    public INDArray push(INDArray u) {
      return through(u).muliRowVector(gain);
    }

    @Override
    public INDArray pull(INDArray v) {
      return through(v.mulRowVector(gain));
    }

    private INDArray through(INDArray u) {
      INDArray along = normalised.mul(u).mean(1);
      return u.subColumnVector(u.mean(1))
          .subi(normalised.mulColumnVector(along))
          .diviColumnVector(scale);
    }
  }

  private static final class Softmax implements Chain {
    private static final int TOKENS = 64;

    private final INDArray mask = Nd4j.create(DataType.FLOAT, 1, TOKENS, TOKENS);
    private INDArray pattern = Nd4j.empty();

    Softmax() {
      for (int query = 0; query < TOKENS; query++) {
        for (int key = query + 1; key < TOKENS; key++) {
          mask.putScalar(new int[] {0, query, key}, Float.NEGATIVE_INFINITY);
        }
      }
    }

    @Override
    public INDArray value(INDArray x) {
      pattern = Nd4j.nn().softmax(x.add(mask), -1);
      return pattern;
    }

    @Override
    public INDArray push(INDArray u) {
      INDArray weighted = pattern.mul(u);
      return weighted.subi(pattern.mul(weighted.sum(true, 2)));
    }

    @Override
    public INDArray pull(INDArray v) {
      return push(v);
    }
  }
}
