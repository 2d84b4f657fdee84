package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.DType;
import dev.tributary.core.Tensor;
import java.util.List;

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

  /**
   * {@return the adjoint of {@link #apply}, for which what depends on tokens is made once, in the
   * innermost scope}
   *
   * @param dtype of the cotangents
   * @param tokens so many from the first on
   */
  Pulls pulls(DType dtype, int tokens);

  /** Cotangents at what {@link #apply} gives, pulled back to what it takes. */
  @FunctionalInterface
  interface Pulls {
    /**
     * Of tokens that follow each other.
     *
     * @param cotangents [.., token, dHead]
     * @param firstToken the token of the first row
     * @return of the same shape
     */
    Tensor of(Tensor cotangents, int firstToken);
  }

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
    public Pulls pulls(DType dtype, int tokens) {
      return (cotangents, firstToken) -> cotangents;
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
      throw needLength();
    }

    @Override
    public Pulls pulls(DType dtype, int tokens) {
      throw needLength();
    }

    private static IllegalStateException needLength() {
      return new IllegalStateException("these positions depend on the length of the text");
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
      Angles angles =
          Angles.of(this, x.value().dtype(), firstToken, firstToken + x.shape().size(-2));
      return x.rotated(angles.cosine(), angles.sine(), distance());
    }

    @Override
    public Pulls pulls(DType dtype, int tokens) {
      Angles angles = Angles.of(this, dtype, 0, tokens);
      Tensor back = angles.sine().negate();
      return (cotangents, firstToken) -> {
        int end = firstToken + cotangents.shape().size(-2);
        return cotangents.rotated(
            angles.cosine().slice(0, firstToken, end), back.slice(0, firstToken, end), distance());
      };
    }

    private int distance() {
      return pairs == Pairs.HALVES ? frequencies.size() : 1;
    }
  }
}
