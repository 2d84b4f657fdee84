package dev.tributary.attribution.dataset;

import dev.tributary.attribution.dataset.NodeList.Group;
import dev.tributary.attribution.dataset.NodeList.Node;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.function.ToIntFunction;

/** Scores of all nodes of one pair. */
public final class NodeScores {
  private final NodeList nodes;
  private final int tokens;

  /** Of the groups that have one score for each node and token, [node, token]; else by move. */
  private final Map<Group, double[]> scores = new LinkedHashMap<>();

  /** Of latents. */
  private final Map<Group, LatentMoves> moves = new HashMap<>();

  /**
   * Zeros.
   *
   * @param latents that move, of the groups of these
   */
  NodeScores(NodeList nodes, Map<Group, LatentMoves> latents, int tokens) {
    this.nodes = nodes;
    this.tokens = tokens;
    moves.putAll(latents);
    for (Group group : nodes.groups()) {
      LatentMoves own = latents.get(group);
      int count = own == null ? group.count(nodes.model()) * tokens : own.count();
      scores.put(group, new double[count]);
    }
  }

  /** Zeros of the same nodes. */
  NodeScores zeros() {
    return new NodeScores(nodes, moves, tokens);
  }

  /** To be filled: [node, token], of latents by move. */
  double[] at(Group group) {
    return Objects.requireNonNull(scores.get(group), group::toString);
  }

  /**
   * {@return the scores of the nodes of a group, [node, token]; a copy}
   *
   * @param group of nodes that are scored, no latents: {@link #of(Node, int)} has theirs
   */
  public double[] of(Group group) {
    return at(group).clone();
  }

  /**
   * {@return the score of a node at a token}
   *
   * @param node that is scored
   * @param token from 0
   */
  public double of(Node node, int token) {
    double[] own = at(node.group());
    LatentMoves moved = moves.get(node.group());
    if (moved == null) {
      return own[node.index() * tokens + token];
    }
    double score = 0;
    for (int move = 0; move < own.length; move++) {
      if (moved.latent(move) == node.index() && moved.token(move) == token) {
        score = own[move];
      }
    }
    return score;
  }

  /** {@return the scores of all nodes by their numbers: sums over the tokens of each} */
  public double[] byNumber() {
    double[] sums = new double[nodes.size()];
    scores.forEach(
        (group, own) -> {
          NodeList.Numbers numbers = nodes.numbers(group);
          LatentMoves moved = moves.get(group);
          for (int i = 0; i < own.length; i++) {
            int number =
                moved == null
                    ? numbers.of(i / tokens, i % tokens)
                    : numbers.of(moved.latent(i), moved.token(i));
            sums[number] += own[i];
          }
        });
    return sums;
  }

  /** Adds the magnitude of every number of others, over a number for its group. */
  void addMagnitudes(NodeScores other, ToIntFunction<Group> over) {
    scores.forEach(
        (group, own) -> {
          double[] more = other.at(group);
          int divisor = over.applyAsInt(group);
          for (int i = 0; i < own.length; i++) {
            own[i] += Math.abs(more[i]) / divisor;
          }
        });
  }
}
