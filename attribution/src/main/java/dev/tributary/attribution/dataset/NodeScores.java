package dev.tributary.attribution.dataset;

import dev.tributary.transformer.Transformer;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleBinaryOperator;
import java.util.stream.IntStream;

/** Scores of all nodes of one pair. */
public final class NodeScores {
  /** What a node is. */
  public enum Kind {
    /** The query of a head. */
    QUERY,
    /** The key that a head reads. */
    KEY,
    /** The value that a head reads. */
    VALUE,
    /** What a head writes. */
    HEAD,
    /** What an MLP writes. */
    MLP
  }

  /** By layer. */
  private final Map<Kind, List<double[]>> scores = new EnumMap<>(Kind.class);

  /** Zeros. */
  NodeScores(Transformer model, int tokens) {
    for (Kind kind : Kind.values()) {
      scores.put(
          kind,
          IntStream.range(0, model.layers())
              .map(layer -> kind == Kind.MLP ? 1 : model.attention(layer).heads())
              .mapToObj(heads -> new double[heads * tokens])
              .toList());
    }
  }

  /** To be filled. */
  double[] at(Kind kind, int layer) {
    return scores.getOrDefault(kind, List.of()).get(layer);
  }

  /**
   * {@return the scores of the nodes of a layer, [head, token], or [token] of an MLP; a copy}
   *
   * @param kind what they are
   * @param layer from 0
   */
  public double[] of(Kind kind, int layer) {
    return at(kind, layer).clone();
  }

  /** Puts in place of each number what it and the same of another make. */
  void combine(NodeScores other, DoubleBinaryOperator operator) {
    scores.forEach(
        (kind, layers) -> {
          for (int layer = 0; layer < layers.size(); layer++) {
            double[] own = layers.get(layer);
            double[] more = other.at(kind, layer);
            for (int i = 0; i < own.length; i++) {
              own[i] = operator.applyAsDouble(own[i], more[i]);
            }
          }
        });
  }
}
