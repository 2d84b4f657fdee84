package dev.tributary.attribution.dataset;

import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.Arrays;
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
    QUERY("q"),
    /** The key that a head reads. */
    KEY("k"),
    /** The value that a head reads. */
    VALUE("v"),
    /** What a head writes. */
    HEAD(""),
    /** What an MLP writes. */
    MLP("");

    private final String letter;

    Kind(String letter) {
      this.letter = letter;
    }
  }

  /**
   * A node at all tokens.
   *
   * @param kind what it is
   * @param layer from 0
   * @param head from 0; 0 of an MLP
   */
  public record Node(Kind kind, int layer, int head) {
    @Override
    public String toString() {
      return kind == Kind.MLP
          ? "m" + layer
          : "a" + layer + ".h" + head + (kind == Kind.HEAD ? "" : "<" + kind.letter + ">");
    }
  }

  /** By layer. */
  private final Map<Kind, List<double[]>> scores = new EnumMap<>(Kind.class);

  private final int tokens;

  /** Zeros. */
  NodeScores(Transformer model, int tokens) {
    this.tokens = tokens;
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

  /**
   * {@return all nodes of a model: layer by layer those of each head, query, key, value and what it
   * writes, then what the MLP writes}
   *
   * @param model whose they are
   */
  public static List<Node> nodes(Transformer model) {
    List<Node> nodes = new ArrayList<>();
    for (int layer = 0; layer < model.layers(); layer++) {
      for (int head = 0; head < model.attention(layer).heads(); head++) {
        for (Kind kind : List.of(Kind.QUERY, Kind.KEY, Kind.VALUE, Kind.HEAD)) {
          nodes.add(new Node(kind, layer, head));
        }
      }
      nodes.add(new Node(Kind.MLP, layer, 0));
    }
    return List.copyOf(nodes);
  }

  /**
   * {@return the sum of the scores of a node over tokens}
   *
   * @param node at all tokens
   */
  public double sum(Node node) {
    int from = node.head * tokens;
    return Arrays.stream(at(node.kind, node.layer), from, from + tokens).sum();
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
