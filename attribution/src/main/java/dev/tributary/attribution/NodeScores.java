package dev.tributary.attribution;

import dev.tributary.attribution.Node.Embedding;
import dev.tributary.attribution.Node.EmbeddingPart;
import dev.tributary.attribution.Node.Latent;
import dev.tributary.attribution.Node.PreBias;
import dev.tributary.attribution.Node.ReconstructionError;
import dev.tributary.core.Scope;
import dev.tributary.core.TopK;
import dev.tributary.transformer.Run;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;
import java.util.function.DoubleUnaryOperator;
import java.util.function.Predicate;

/**
 * One number for every node of some kinds: a reading of each, or its edge to or from another node.
 * A node in none of the arrays has exactly 0. Lives in the scope in which it was made.
 */
public final class NodeScores {
  /** A node and its number. */
  public record NodeScore(Node node, double score) {
    @Override
    public String toString() {
      return String.format(Locale.ROOT, "%s %.4g", node, score);
    }
  }

  private final Run run;
  private final List<NodeArray> arrays;

  NodeScores(Run run, List<NodeArray> arrays) {
    this.run = run;
    this.arrays = List.copyOf(arrays);
  }

  /** Hands the numbers to the scope around the one in which they were computed. */
  NodeScores keptBy(Scope scope) {
    arrays.forEach(array -> scope.keep(array.values()));
    return this;
  }

  /** {@return the numbers, by kind and layer} No node is in two arrays. */
  public List<NodeArray> arrays() {
    return arrays;
  }

  /**
   * {@return the number of one node; of an embedding, that of its parts together}
   *
   * @param node one of the run's
   * @throws IllegalArgumentException if the run has no such node
   */
  public double of(Node node) {
    node.requireIn(run);
    for (NodeArray array : arrays) {
      OptionalDouble score = array.of(node);
      if (score.isPresent()) {
        return score.getAsDouble();
      }
    }
    return node instanceof Embedding embedding && embedding.part() == EmbeddingPart.BOTH
        ? of(new Embedding(EmbeddingPart.TOKEN, embedding.token()))
            + of(new Embedding(EmbeddingPart.POSITION, embedding.token()))
        : 0;
  }

  /**
   * {@return whether a node is in one of the arrays, or both parts of an embedding are}
   *
   * @param node one of the run's
   */
  public boolean covers(Node node) {
    boolean whole = node instanceof Embedding e && e.part() == EmbeddingPart.BOTH;
    Node covered = whole ? new Embedding(EmbeddingPart.TOKEN, ((Embedding) node).token()) : node;
    return arrays.stream().anyMatch(array -> array.of(covered).isPresent());
  }

  /**
   * {@return the {@code count} nodes of largest magnitude, largest first; exact zeros are left out}
   *
   * @param count at most so many
   */
  public List<NodeScore> top(int count) {
    List<NodeScore> best = new ArrayList<>();
    for (NodeArray array : arrays) {
      double[] values = array.values().toDoubles();
      for (int position : TopK.indices(magnitudes(values), count)) {
        if (values[position] != 0) {
          best.add(new NodeScore(array.node(position), values[position]));
        }
      }
    }
    double[] scores = best.stream().mapToDouble(NodeScore::score).toArray();
    List<NodeScore> result = new ArrayList<>();
    for (int position : TopK.indices(magnitudes(scores), count)) {
      result.add(best.get(position));
    }
    return result;
  }

  /**
   * {@return the sum over all nodes of the model itself} Latents, errors and pre-biases, which say
   * once more what the nodes at the site of their autoencoder say, are left out.
   */
  public double sum() {
    return sum(node -> !isOfAutoencoder(node), value -> value);
  }

  static boolean isOfAutoencoder(Node node) {
    return node instanceof Latent || node instanceof ReconstructionError || node instanceof PreBias;
  }

  /** Sums over arrays, each of which holds one kind of node. */
  double sum(Predicate<Node> kinds, DoubleUnaryOperator of) {
    double sum = 0;
    for (NodeArray array : arrays) {
      if (kinds.test(array.node(0))) {
        for (double value : array.values().toDoubles()) {
          sum += of.applyAsDouble(value);
        }
      }
    }
    return sum;
  }

  private static double[] magnitudes(double[] values) {
    double[] result = new double[values.length];
    for (int i = 0; i < values.length; i++) {
      result[i] = Math.abs(values[i]);
    }
    return result;
  }
}
