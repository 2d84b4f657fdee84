package dev.tributary.attribution;

import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.HeldAttention;
import dev.tributary.transformer.HeldPath;
import dev.tributary.transformer.HeldSkip;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * The residual stream with attention patterns, scales of norms and what MLPs add held, but for what
 * transcoders let pass their latents by: linear from each point, by its index, to every later one.
 * A step goes from point to point; tensors are [token, direction, dModel].
 */
final class FrozenStream {
  /** A path, which may be made each time that it is gone. */
  private record Way(int reads, int writes, Supplier<? extends HeldPath> path) {
    static Way of(HeldPath path) {
      return new Way(path.reads().index(), path.writes().index(), () -> path);
    }
  }

  private final List<Way> ways;

  private FrozenStream(List<Way> ways) {
    this.ways = List.copyOf(ways);
  }

  /** Of paths that are gone many times. */
  static FrozenStream of(List<? extends HeldPath> paths) {
    return new FrozenStream(paths.stream().map(Way::of).toList());
  }

  /**
   * The stream at some tokens, to be gone once each way: an attention is made when it is passed, so
   * that the weights of one are in memory at a time.
   */
  static FrozenStream once(Run run, List<? extends HeldPath> skips, int from, int to) {
    Transformer model = run.model();
    Stream<Way> attentions =
        IntStream.range(0, model.layers())
            .mapToObj(model::attention)
            .map(
                one ->
                    new Way(
                        one.reads().index(),
                        one.writes().index(),
                        () -> HeldAttention.of(run, one.layer(), from, to)));
    return new FrozenStream(Stream.concat(attentions, skips.stream().map(Way::of)).toList());
  }

  /** What transcoders let pass at the tokens from one on, in the innermost scope. */
  static List<HeldSkip> skips(Run run, List<Dictionary> transcoders, int from) {
    List<HeldSkip> skips = new ArrayList<>();
    for (Dictionary one : transcoders) {
      for (int decoder = 0; decoder < one.decoders().size(); decoder++) {
        if (one.passes(decoder)) {
          skips.add(HeldSkip.of(run, one, decoder, from));
        }
      }
    }
    return skips;
  }

  /** A tensor at some points, there if it is not 0. */
  private static Optional<Tensor> at(int point, Map<Integer, Tensor> points) {
    return Optional.ofNullable(points.get(point));
  }

  // ---- pushes ------------------------------------------------------------------------------

  /** What is in the stream at a point of what is in it at those before, the one before it first. */
  Tensor pushed(int point, Map<Integer, Tensor> before) {
    try (Scope scope = Scope.open()) {
      Tensor sum = at(point - 1, before).orElseThrow();
      for (Way way : ways) {
        Optional<Tensor> read = way.writes == point ? at(way.reads, before) : Optional.empty();
        if (read.isPresent()) {
          sum = sum.plus(way.path.get().push(read.get()));
        }
      }
      return scope.keep(sum);
    }
  }

  // ---- pulls -------------------------------------------------------------------------------

  /** Cotangents at a point of those at the points after, of which there is the next. */
  Tensor pulled(int point, Map<Integer, Tensor> after) {
    try (Scope scope = Scope.open()) {
      Tensor sum = at(point + 1, after).orElseThrow();
      for (Way way : ways) {
        Optional<Tensor> there = way.reads == point ? at(way.writes, after) : Optional.empty();
        if (there.isPresent()) {
          sum = sum.plus(way.path.get().pull(there.get()));
        }
      }
      return scope.keep(sum);
    }
  }

  /**
   * The same of directions that are read at the next point, each at its token.
   *
   * @param spread the directions among all tokens
   */
  Tensor pulled(int point, Tensor directions, int[] at, Tensor spread) {
    try (Scope scope = Scope.open()) {
      Tensor sum = spread;
      for (Way way : ways) {
        if (way.reads == point && way.writes == point + 1) {
          sum = sum.plus(way.path.get().pull(directions, at, spread.shape().size(0)));
        }
      }
      return scope.keep(sum);
    }
  }

  /** Products of {@link #pulled(int, Map)} with rows [token, dModel], [token, direction, 1]. */
  Tensor pulledAlong(int point, Map<Integer, Tensor> after, Tensor rows) {
    try (Scope scope = Scope.open()) {
      Tensor columns = rows.reshape(rows.shape().size(0), rows.shape().size(1), 1);
      Tensor sum = at(point + 1, after).orElseThrow().matmul(columns);
      for (Way way : ways) {
        Optional<Tensor> there = way.reads == point ? at(way.writes, after) : Optional.empty();
        if (there.isPresent()) {
          sum = sum.plus(way.path.get().pullAlong(there.get(), rows));
        }
      }
      return scope.keep(sum);
    }
  }

  /** Whether some path from before a point leads to one after. */
  boolean isAwaited(int after, int point) {
    return after == point
        || ways.stream().anyMatch(way -> way.writes == after && way.reads < point);
  }
}
