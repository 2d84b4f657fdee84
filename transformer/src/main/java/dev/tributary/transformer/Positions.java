package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.function.DoubleUnaryOperator;

/** How queries and keys of an attention depend on where their tokens stand. */
public sealed interface Positions {
  /**
   * Rows as they enter the product of queries and keys.
   *
   * @param x [head, token, dHead]
   * @param firstToken the token of the first row
   * @return of the same shape
   */
  Variable apply(Variable x, int firstToken);

  /** {@return how many numbers of a head they change} */
  int turning();

  /**
   * {@return the same in texts of one length}
   *
   * @param tokens how many a text has
   */
  default Positions in(int tokens) {
    return this;
  }

  /** They do not: positions are in the embedding, or nowhere. */
  record None() implements Positions {
    @Override
    public Variable apply(Variable x, int firstToken) {
      return x;
    }

    @Override
    public int turning() {
      return 0;
    }
  }

  /**
   * Other ones in long texts than in short ones.
   *
   * @param longest text that is short, tokens
   * @param inShort up to there
   * @param inLong beyond
   * @see <a href="https://arxiv.org/abs/2402.13753">Ding et al. 2024, LongRoPE</a>
   */
  record ByLength(int longest, Positions inShort, Positions inLong) implements Positions {
    @Override
    public Positions in(int tokens) {
      return tokens > longest ? inLong : inShort;
    }

    @Override
    public Variable apply(Variable x, int firstToken) {
      throw new IllegalStateException("these positions depend on the length of the text");
    }

    @Override
    public int turning() {
      return Math.max(inShort.turning(), inLong.turning());
    }
  }

  /** Which two numbers of a head turn together. */
  enum Pairs {
    /** i and i + n/2 of the n that turn. */
    HALVES,
    /** 2i and 2i + 1. */
    NEIGHBOURS
  }

  /**
   * Rotary: pairs of numbers turn by token times frequency; what is left of a head passes.
   *
   * @param frequencies angle per token of each pair
   * @param pairs which numbers turn together
   * @param multiplier of the numbers that turn
   * @see <a href="https://arxiv.org/abs/2104.09864">Su et al. 2021</a>
   */
  record Rotary(List<Double> frequencies, Pairs pairs, double multiplier) implements Positions {
    /**
     * Keeps a copy of the frequencies.
     *
     * @param frequencies {@link #frequencies()}
     * @param pairs {@link #pairs()}
     * @param multiplier {@link #multiplier()}
     */
    public Rotary {
      requireArgument(!frequencies.isEmpty(), "rotary positions without a frequency");
      frequencies = List.copyOf(frequencies);
    }

    /**
     * Numbers that only turn.
     *
     * @param frequencies {@link #frequencies()}
     * @param pairs {@link #pairs()}
     */
    public Rotary(List<Double> frequencies, Pairs pairs) {
      this(frequencies, pairs, 1);
    }

    @Override
    public int turning() {
      return 2 * frequencies.size();
    }

    @Override
    public Variable apply(Variable x, int firstToken) {
      int turning = turning();
      int heads = x.shape().size(0);
      int tokens = x.shape().size(1);
      Variable first;
      Variable second;
      if (pairs == Pairs.HALVES) {
        first = x.slice(-1, 0, turning / 2);
        second = x.slice(-1, turning / 2, turning);
      } else {
        Shape byPair = Shape.of(heads, tokens, turning / 2, 2);
        Variable paired = x.slice(-1, 0, turning).reshape(byPair);
        first = paired.slice(-1, 0, 1).reshape(heads, tokens, turning / 2);
        second = paired.slice(-1, 1, 2).reshape(heads, tokens, turning / 2);
      }
      DType dtype = x.value().dtype();
      Variable cosine = Variable.constant(table(dtype, firstToken, tokens, Math::cos));
      Variable sine = Variable.constant(table(dtype, firstToken, tokens, Math::sin));
      Variable one = first.times(cosine).minus(second.times(sine));
      Variable other = second.times(cosine).plus(first.times(sine));
      List<Variable> parts = new ArrayList<>();
      if (pairs == Pairs.HALVES) {
        parts.add(one);
        parts.add(other);
      } else {
        Shape single = Shape.of(heads, tokens, turning / 2, 1);
        Variable paired = Variable.concat(-1, List.of(one.reshape(single), other.reshape(single)));
        parts.add(paired.reshape(heads, tokens, turning));
      }
      if (turning < x.shape().size(-1)) {
        parts.add(x.slice(-1, turning, x.shape().size(-1)));
      }
      return parts.size() == 1 ? parts.get(0) : Variable.concat(-1, parts);
    }

    /** A function of each angle, [token, pair]. */
    private Tensor table(DType dtype, int firstToken, int tokens, DoubleUnaryOperator of) {
      double[] values = new double[tokens * frequencies.size()];
      for (int i = 0; i < values.length; i++) {
        int token = firstToken + i / frequencies.size();
        values[i] = multiplier * of.applyAsDouble(token * frequencies.get(i % frequencies.size()));
      }
      return Tensor.of(dtype, Shape.of(tokens, frequencies.size()), values);
    }
  }
}
