package dev.tributary.attribution.dataset;

import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
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
    MLP(""),
    /** The activation of a neuron. */
    NEURON("n");

    /** Components: heads with their inputs, and MLPs. */
    public static final Set<Kind> COMPONENTS =
        Collections.unmodifiableSet(EnumSet.complementOf(EnumSet.of(NEURON)));

    /** Components and all neurons. */
    public static final Set<Kind> ALL = Collections.unmodifiableSet(EnumSet.allOf(Kind.class));

    private final String letter;

    Kind(String letter) {
      this.letter = letter;
    }

    /** How many nodes of this kind a layer has. */
    int count(Transformer model, int layer) {
      return switch (this) {
        case MLP -> 1;
        case NEURON -> model.config().layers().get(layer).mlp().neurons();
        default -> model.attention(layer).heads();
      };
    }
  }

  /**
   * A node at all tokens.
   *
   * @param kind what it is
   * @param layer from 0
   * @param index of the head or neuron, from 0; 0 of an MLP
   */
  public record Node(Kind kind, int layer, int index) {
    @Override
    public String toString() {
      return switch (kind) {
        case MLP -> "m" + layer;
        case NEURON -> "m" + layer + "." + kind.letter + index;
        case HEAD -> "a" + layer + ".h" + index;
        default -> "a" + layer + ".h" + index + "<" + kind.letter + ">";
      };
    }
  }

  /** By layer. */
  private final Map<Kind, List<double[]>> scores = new EnumMap<>(Kind.class);

  private final int tokens;

  /** Zeros. */
  NodeScores(Transformer model, Set<Kind> kinds, int tokens) {
    this.tokens = tokens;
    for (Kind kind : kinds) {
      scores.put(
          kind,
          IntStream.range(0, model.layers())
              .mapToObj(layer -> new double[kind.count(model, layer) * tokens])
              .toList());
    }
  }

  /** To be filled. */
  double[] at(Kind kind, int layer) {
    return scores.getOrDefault(kind, List.of()).get(layer);
  }

  /**
   * {@return the scores of the nodes of a layer, [head, token], [neuron, token], or [token] of an
   * MLP; a copy}
   *
   * @param kind what they are
   * @param layer from 0
   */
  public double[] of(Kind kind, int layer) {
    return at(kind, layer).clone();
  }

  /**
   * {@return all nodes of a model: layer by layer those of each head, query, key, value and what it
   * writes, then what the MLP writes, then its neurons}
   *
   * @param model whose they are
   * @param kinds of nodes, others are left out
   */
  public static List<Node> nodes(Transformer model, Set<Kind> kinds) {
    List<Node> nodes = new ArrayList<>();
    for (int layer = 0; layer < model.layers(); layer++) {
      for (int head = 0; head < model.attention(layer).heads(); head++) {
        for (Kind kind : List.of(Kind.QUERY, Kind.KEY, Kind.VALUE, Kind.HEAD)) {
          nodes.add(new Node(kind, layer, head));
        }
      }
      nodes.add(new Node(Kind.MLP, layer, 0));
      for (int neuron = 0; neuron < Kind.NEURON.count(model, layer); neuron++) {
        nodes.add(new Node(Kind.NEURON, layer, neuron));
      }
    }
    return nodes.stream().filter(node -> kinds.contains(node.kind)).toList();
  }

  /**
   * {@return the sum of the scores of a node over tokens}
   *
   * @param node at all tokens
   */
  public double sum(Node node) {
    int from = node.index * tokens;
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
