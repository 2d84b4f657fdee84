package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
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
        for (int token = from; token < end; token++) {
          double[] row = latents.slice(0, token - from, token - from + 1).toDoubles();
          active[token] = IntStream.range(0, row.length).filter(i -> row[i] != 0).toArray();
          values[token] = IntStream.of(active[token]).mapToDouble(i -> row[i]).toArray();
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

  /** {@return all latents, inactive ones among them, [token, latent]} */
  public Tensor latents() {
    try (Scope scope = Scope.open()) {
      List<Tensor> rows = new ArrayList<>();
      for (int token = 0; token < active.length; token++) {
        rows.add(values(token).scatterAdd(1, dictionary.latentCount(), active[token]));
      }
      return scope.keep(Tensor.concat(0, rows));
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
    Tensor rows = dictionary.decoders().get(decoder).rows().of(latents);
    return scale.map(own -> rows.times(own.get(token, 0))).orElse(rows);
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
      for (int token = 0; token < active.length; token++) {
        rows.add(
            active[token].length == 0
                ? Tensor.zeros(dictionary.dtype(), Shape.of(1, width))
                : values(token).matmul(rows(decoder, token, active[token])));
      }
      return scope.keep(Tensor.concat(0, rows).plus(withoutLatents(decoder)));
    }
  }
}
