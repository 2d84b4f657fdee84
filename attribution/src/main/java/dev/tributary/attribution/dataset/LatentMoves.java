package dev.tributary.attribution.dataset;

import dev.tributary.attribution.Latent;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Encoding;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Run;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import java.util.stream.IntStream;

/**
 * How latents of a dictionary move from the clean run of a pair to the corrupted one: each that is
 * active in one of them, at each token at which it is not the same in both. All others stay at 0.
 * Lives in the scope in which the clean run was made.
 */
final class LatentMoves {
  private final Run clean;
  private final Encoding encoding;

  /** Where, ascending. */
  private final int[] tokens;

  private final int[] latents;

  /** Their activations in the corrupted run. */
  private final double[] corrupted;

  private LatentMoves(
      Run clean, Encoding encoding, int[] tokens, int[] latents, double[] corrupted) {
    this.clean = clean;
    this.encoding = encoding;
    this.tokens = tokens;
    this.latents = latents;
    this.corrupted = corrupted;
  }

  static LatentMoves of(Dictionary dictionary, Run clean, Run corrupted) {
    Encoding from = clean.encoding(dictionary);
    Encoding to = corrupted.encoding(dictionary);
    IntStream.Builder tokens = IntStream.builder();
    IntStream.Builder latents = IntStream.builder();
    for (int token = 0; token < from.length(); token++) {
      int own = token;
      IntStream.concat(IntStream.of(from.active(token)), IntStream.of(to.active(token)))
          .sorted()
          .distinct()
          .filter(latent -> from.value(own, latent) != to.value(own, latent))
          .forEach(
              latent -> {
                tokens.add(own);
                latents.add(latent);
              });
    }
    int[] where = tokens.build().toArray();
    int[] which = latents.build().toArray();
    return new LatentMoves(
        clean,
        from,
        where,
        which,
        IntStream.range(0, where.length).mapToDouble(i -> to.value(where[i], which[i])).toArray());
  }

  Dictionary dictionary() {
    return encoding.dictionary();
  }

  int count() {
    return latents.length;
  }

  int latent(int move) {
    return latents[move];
  }

  int token(int move) {
    return tokens[move];
  }

  private double amount(int move) {
    return corrupted[move] - encoding.value(tokens[move], latents[move]);
  }

  /** One of them in the clean run, what the dictionary lacks there held. */
  Change alone(int move) {
    return new Latent(dictionary().id(), tokens[move], latents[move])
        .withActivation(clean, corrupted[move]);
  }

  /** Of each what it moves, in products with vectors where decoders write, [token, n]. */
  double[] products(Function<Place, Tensor> vectors) {
    double[] all = new double[count()];
    List<Dictionary.Decoder> decoders = dictionary().decoders();
    for (int decoder = 0; decoder < decoders.size(); decoder++) {
      Tensor there = vectors.apply(decoders.get(decoder).place());
      for (Some some : some(decoder)) {
        try (Scope scope = Scope.open()) {
          double[] products =
              there.gather(0, some.tokens()).rowDots(some.rows(decoder)).toDoubles();
          for (int i = 0; i < products.length; i++) {
            all[some.from + i] += amount(some.from + i) * products[i];
          }
        }
      }
    }
    return all;
  }

  /** What all of them together move where a decoder writes, [token, n]. */
  Tensor together(int decoder) {
    int length = encoding.length();
    int width = dictionary().decoders().get(decoder).width();
    try (Scope scope = Scope.open()) {
      Tensor sum = Tensor.zeros(dictionary().dtype(), Shape.of(length, width));
      for (Some some : some(decoder)) {
        try (Scope one = Scope.open()) {
          Tensor moved = some.rows(decoder).times(some.amounts());
          sum = one.keep(sum.plus(moved.scatterAdd(0, length, some.tokens())));
        }
      }
      return scope.keep(sum);
    }
  }

  /** All of them, so many at a time that rows of a decoder are not large. */
  private List<Some> some(int decoder) {
    int most = Math.max(1, Scope.tile() / dictionary().decoders().get(decoder).width());
    return IntStream.iterate(0, from -> from < count(), from -> from + most)
        .mapToObj(from -> new Some(from, Math.min(count(), from + most)))
        .toList();
  }

  /** Some that follow each other. */
  private final class Some {
    private final int from;
    private final int end;

    Some(int from, int end) {
      this.from = from;
      this.end = end;
    }

    int[] tokens() {
      return Arrays.copyOfRange(tokens, from, end);
    }

    /** What they write, each of size 1, [some, written]. */
    Tensor rows(int decoder) {
      return encoding.rows(decoder, tokens(), Arrays.copyOfRange(latents, from, end));
    }

    /** [some, 1] */
    Tensor amounts() {
      return Tensor.of(
          dictionary().dtype(),
          Shape.of(end - from, 1),
          IntStream.range(from, end).mapToDouble(LatentMoves.this::amount).toArray());
    }
  }
}
