package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Transformer;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;

/**
 * What all other nodes of a run are, and do to the metric, when some are changed ({@link
 * Ablation}), beside what they were: the readings of a run of the changed model, of its own
 * gradients. Lives in the scope in which it was made, and no longer than what it is compared with.
 *
 * <p>Left out are the changed nodes, and where one is of a dictionary, nodes of that dictionary
 * that would encode the change itself: latents, if it encodes what it writes; and its error.
 */
public final class NodeChanges {
  private final Set<Source> changed;
  private final Side before;
  private final Side after;

  /** How attributions grow. */
  private final Readings growth;

  private NodeChanges(Set<Source> changed, NodeAttribution before, NodeAttribution after) {
    this.changed = changed;
    this.before = new Side(before);
    this.after = new Side(after);
    this.growth = new Readings(before.run(), family -> growth(family));
  }

  /**
   * Runs the model again and takes the gradient of the metric at every site once more.
   *
   * @param nodes before
   * @param changes of some of them, as {@link Ablation} makes them of the same run
   * @return what the others became
   * @throws IllegalArgumentException if there is no memory for it, or the changed run has numbers
   *     that are not finite
   */
  public static NodeChanges of(NodeAttribution nodes, Map<Source, Change> changes) {
    changes.keySet().forEach(source -> source.requireIn(nodes.run()));
    Change[] all = changes.values().toArray(new Change[0]);
    return new NodeChanges(Set.copyOf(changes.keySet()), nodes, nodes.with(all));
  }

  /**
   * What a node is and does.
   *
   * @param activation of a neuron or latent, probability of a head pair
   * @param attribution activation times gradient
   * @param directEffect what reaches the metric without passing another node
   * @param writeNorm Euclidean norm of what it writes
   */
  public record Numbers(
      OptionalDouble activation, double attribution, double directEffect, double writeNorm) {}

  /** What is read of one of the runs. */
  private static final class Side {
    private final NodeAttribution nodes;
    private final Readings activation;
    private final Readings attribution;
    private final Readings writeNorm;
    private final EdgeScores directEffect;

    Side(NodeAttribution nodes) {
      this.nodes = nodes;
      activation = nodes.activation();
      attribution = nodes.activationTimesGradient();
      writeNorm = nodes.writeNorm();
      directEffect = nodes.directEffect();
    }

    Numbers of(Source node) {
      return new Numbers(
          activation.of(node),
          attribution.of(node).orElseThrow(),
          directEffect.of(node),
          Math.abs(writeNorm.of(node).orElseThrow()));
    }
  }

  /** {@return the changed run with its gradients; readings of the changed nodes are meaningless} */
  NodeAttribution changed() {
    return after.nodes;
  }

  /**
   * {@return whether a node is one that this speaks of}
   *
   * @param node of the run
   */
  public boolean has(Source node) {
    node.requireIn(before.nodes.run());
    return !changed.contains(node) && has(node.family());
  }

  private boolean has(SourceFamily family) {
    Transformer model = before.nodes.run().model();
    return changed.stream()
        .flatMap(node -> node.family().encoded().stream())
        .noneMatch(dictionary -> encodesWritesOf(model, dictionary, family));
  }

  private static boolean encodesWritesOf(Transformer model, Encoded changed, SourceFamily family) {
    Optional<Encoded> own = family.encoded();
    if (own.isEmpty() || !Split.with(model, changed).owns(family)) {
      return false;
    }
    List<Place> written = changed.written(model).stream().map(Written::place).toList();
    return written.contains(model.dictionary(own.get().id()).reads())
        || (family.node(0).isError() && written.contains(own.get().written(model).get(0).place()));
  }

  private Optional<Tensor> growth(SourceFamily family) {
    if (!has(family)) {
      return Optional.empty();
    }
    try (Scope scope = Scope.open()) {
      Tensor then = family.activationTimesGradient(before.nodes);
      return Optional.of(scope.keep(family.activationTimesGradient(after.nodes).minus(then)));
    }
  }

  /**
   * {@return the nodes whose attribution changed most, with how much it grew; exact zeros are left
   * out}
   *
   * @param count at most so many
   */
  public List<NodeScore> top(int count) {
    return growth.top(count + changed.size()).stream()
        .filter(score -> !changed.contains(score.node()))
        .limit(count)
        .toList();
  }

  /**
   * {@return what a node was}
   *
   * @param node one of {@link #has}
   * @throws IllegalArgumentException if it is none
   */
  public Numbers before(Source node) {
    requireOther(node);
    return before.of(node);
  }

  /**
   * {@return what it became}
   *
   * @param node one of {@link #has}
   * @throws IllegalArgumentException if it is none
   */
  public Numbers after(Source node) {
    requireOther(node);
    return after.of(node);
  }

  private void requireOther(Source node) {
    requireArgument(has(node), "%s was changed, or its dictionary encodes the change", node);
  }
}
