package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

/**
 * What a dictionary makes of a run, beside the model and without touching it: the latents that are
 * active at each token.
 */
public final class Encoding {
  /** So many latents are computed at once at most. */
  private static final int STRIP = 1 << 22;

  private final Dictionary dictionary;

  /** What it read, [token, n]. */
  private final Tensor input;

  /** By token, ascending. */
  private final int[][] active;

  private final double[][] values;
  private final Optional<Tensor> scale;

  private Encoding(
      Dictionary dictionary,
      Tensor input,
      int[][] active,
      double[][] values,
      Optional<Tensor> scale) {
    this.dictionary = dictionary;
    this.input = input;
    this.active = active;
    this.values = values;
    this.scale = scale;
  }

  /** Of what was read, [token, n], in the innermost scope. */
  static Encoding of(Dictionary dictionary, Tensor input) {
    int tokens = input.shape().size(0);
    int strip = Math.max(1, STRIP / dictionary.latentCount());
    int[][] active = new int[tokens][];
    double[][] values = new double[tokens][];
    for (int from = 0; from < tokens; from += strip) {
      int end = Math.min(tokens, from + strip);
      try (Scope scope = Scope.open()) {
        Variable x = Variable.constant(input.slice(0, from, end));
        Tensor latents = dictionary.latents(x, ScaleGradient.DETACHED).value();
        double[] all = latents.toDoubles();
        for (int token = from; token < end; token++) {
          int first = (token - from) * dictionary.latentCount();
          active[token] =
              IntStream.range(0, dictionary.latentCount())
                  .filter(i -> all[first + i] != 0)
                  .toArray();
          values[token] = IntStream.of(active[token]).mapToDouble(i -> all[first + i]).toArray();
        }
      }
    }
    return new Encoding(dictionary, input, active, values, dictionary.scale(input));
  }

  /** {@return the dictionary that encoded} */
  public Dictionary dictionary() {
    return dictionary;
  }

  /** {@return what it read, [token, n]} */
  public Tensor input() {
    return input;
  }

  /** {@return the number of tokens} */
  public int length() {
    return active.length;
  }

  /**
   * {@return the latents that are active at a token, ascending}
   *
   * @param token from 0
   */
  public int[] active(int token) {
    return active[token].clone();
  }

  /**
   * {@return the active latents of a token, in the order of {@link #active}, [1, active]}
   *
   * @param token from 0
   */
  public Tensor values(int token) {
    return Tensor.of(dictionary.dtype(), Shape.of(1, values[token].length), values[token]);
  }

  /**
   * {@return a latent at a token, 0 if it is inactive}
   *
   * @param token from 0
   * @param latent from 0
   */
  public double value(int token, int latent) {
    int at = Arrays.binarySearch(active[token], latent);
    return at < 0 ? 0 : values[token][at];
  }

  /** Latents that are active at tokens that follow each other, one token after the other. */
  public final class Active {
    private final int from;
    private final int to;
    private final int[] tokens;
    private final int[] latents;

    private Active(int from, int to) {
      this.from = from;
      this.to = to;
      this.tokens =
          IntStream.range(from, to)
              .flatMap(token -> IntStream.generate(() -> token).limit(active[token].length))
              .toArray();
      this.latents =
          IntStream.range(from, to).flatMap(token -> IntStream.of(active[token])).toArray();
    }

    /** {@return how many they are} */
    public int count() {
      return latents.length;
    }

    /** {@return which they are, [active]} */
    public int[] latents() {
      return latents.clone();
    }

    /**
     * {@return the row of the token of each, [active, n]}
     *
     * @param rows of tokens, [token, n]
     * @param firstToken the token of the first row
     */
    public Tensor rowsOf(Tensor rows, int firstToken) {
      return rows.gather(0, IntStream.of(tokens).map(token -> token - firstToken).toArray());
    }

    /** {@return their sizes, [active, 1]} */
    public Tensor values() {
      double[] all =
          IntStream.range(from, to)
              .boxed()
              .flatMapToDouble(i -> DoubleStream.of(values[i]))
              .toArray();
      return Tensor.of(dictionary.dtype(), Shape.of(all.length, 1), all);
    }

    /**
     * {@return what they write in the units of what is written, each of size 1, [active, written]}
     *
     * @param decoder which of {@link Dictionary#decoders}, from 0
     */
    public Tensor rows(int decoder) {
      return Encoding.this.rows(decoder, tokens, latents);
    }

    /**
     * {@return derivative of each with respect to the product of its row of the encoder and what is
     * encoded, [active, 1]}
     */
    public Tensor slopes() {
      return dictionary.slopes(input.slice(0, from, to), rows -> rowsOf(rows, from), latents);
    }

    /**
     * {@return numbers of these among zeros, [token, latent]}
     *
     * @param numbers [active, 1]
     */
    public Tensor among(Tensor numbers) {
      int count = dictionary.latentCount();
      int[] places =
          IntStream.range(0, latents.length)
              .map(i -> (tokens[i] - from) * count + latents[i])
              .toArray();
      return numbers.scatterAdd(0, (to - from) * count, places).reshape(to - from, count);
    }

    /** The sums of rows of each token, [token, n]. */
    private Tensor sums(Tensor rows) {
      return rows.scatterAdd(0, to - from, IntStream.of(tokens).map(i -> i - from).toArray());
    }
  }

  /**
   * {@return the active latents of some tokens in pieces that follow each other, each of whole
   * tokens}
   *
   * @param from the first token
   * @param to after the last token
   * @param most latents in a piece of several tokens
   */
  public List<Active> active(int from, int to, int most) {
    List<Active> pieces = new ArrayList<>();
    int first = from;
    int count = 0;
    for (int token = from; token < to; token++) {
      if (token > first && count + active[token].length > most) {
        pieces.add(new Active(first, token));
        first = token;
        count = 0;
      }
      count += active[token].length;
    }
    pieces.add(new Active(first, to));
    return pieces;
  }

  /** {@return all latents, inactive ones among them, [token, latent]} */
  public Tensor latents() {
    try (Scope scope = Scope.open()) {
      Active all = new Active(0, active.length);
      return scope.keep(all.among(all.values()));
    }
  }

  /**
   * {@return what rows of decoders are multiplied by to be in the units of what is written, [token,
   * 1]; nothing if it is 1}
   */
  public Optional<Tensor> scale() {
    return scale;
  }

  /**
   * {@return what latents of a token write in the units of what is written, each of size 1,
   * [chosen, written]}
   *
   * @param decoder which of {@link Dictionary#decoders}, from 0
   * @param token from 0
   * @param latents from 0
   */
  public Tensor rows(int decoder, int token, int... latents) {
    return rows(decoder, IntStream.generate(() -> token).limit(latents.length).toArray(), latents);
  }

  /**
   * {@return the same of latents that are each of a token of its own, [chosen, written]}
   *
   * @param decoder which of {@link Dictionary#decoders}, from 0
   * @param tokens from 0
   * @param latents as many, from 0
   */
  public Tensor rows(int decoder, int[] tokens, int[] latents) {
    Tensor rows = dictionary.decoders().get(decoder).rows().of(latents);
    return scale.map(own -> rows.times(own.gather(0, tokens))).orElse(rows);
  }

  /**
   * {@return what it writes in one place whatever the latents are, [token, written]}
   *
   * @param decoder which of {@link Dictionary#decoders}, from 0
   */
  public Tensor withoutLatents(int decoder) {
    return dictionary.withoutLatents(input, decoder);
  }

  /**
   * {@return what it writes in one place, [token, written]}
   *
   * @param decoder which of {@link Dictionary#decoders}, from 0
   */
  public Tensor reconstruction(int decoder) {
    try (Scope scope = Scope.open()) {
      List<Tensor> rows = new ArrayList<>();
      int width = dictionary.decoders().get(decoder).width();
      for (Active some : active(0, active.length, Scope.tile() / width)) {
        try (Scope one = Scope.open()) {
          rows.add(one.keep(some.sums(some.rows(decoder).times(some.values()))));
        }
      }
      return scope.keep(Tensor.concat(0, rows).plus(withoutLatents(decoder)));
    }
  }
}
