package dev.tributary.attribution.explain;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.attribution.Ablation;
import dev.tributary.attribution.Effect;
import dev.tributary.attribution.Node;
import dev.tributary.attribution.NodeAttribution;
import dev.tributary.attribution.NodeChanges;
import dev.tributary.attribution.Readings;
import dev.tributary.attribution.Source;
import dev.tributary.attribution.explain.Overview.Prediction;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Change;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;

/**
 * What happens without some nodes, or with other activations of theirs: each alone, then all
 * together?
 *
 * @param subject what is explained
 * @param nodes that are changed
 * @param action what is done to them
 * @param top how many of the other nodes to tell of, 0 for none
 */
public record Ablate(Subject subject, List<Node> nodes, Action action, int top)
    implements Question<Ablate.Ablated> {
  /**
   * Refuses nodes that write nothing, or are named twice.
   *
   * @param subject {@link #subject()}
   * @param nodes {@link #nodes()}
   * @param action {@link #action()}
   * @param top {@link #top()}
   * @throws IllegalArgumentException if there are such, or no node at all, or less than none of the
   *     others is to be told of
   */
  public Ablate {
    requireArgument(top >= 0, "top is %d, it must be 0 or more", top);
    requireArgument(!nodes.isEmpty(), "no node is named that would be taken out");
    Set<Node> seen = new HashSet<>();
    for (Node node : nodes) {
      requireArgument(seen.add(node), "%s is named twice", node);
      requireArgument(
          node.asSource().isPresent(), "%s writes nothing that could be taken out", node);
    }
    nodes = List.copyOf(nodes);
  }

  /** What is done to nodes. */
  public sealed interface Action {
    /** What they write is taken out. */
    Action REMOVE = new Scale(0);

    /**
     * {@return the change of a run}
     *
     * @param nodes of the run
     * @param source that is changed
     */
    Change change(NodeAttribution nodes, Source source);

    /**
     * {@return how much the metric would change if it were linear, where that is known}
     *
     * @param attribution of the node
     */
    OptionalDouble predicted(double attribution);

    /**
     * {@return the activation of a node after it}
     *
     * @param before its activation
     */
    double activation(double before);
  }

  /**
   * What is left of what they write.
   *
   * @param factor with which it is multiplied
   */
  public record Scale(double factor) implements Action {
    /**
     * Refuses what is no number.
     *
     * @param factor {@link #factor()}
     * @throws IllegalArgumentException if it is none
     */
    public Scale {
      requireArgument(Double.isFinite(factor), "scale is %s, it must be a number", factor);
    }

    @Override
    public Change change(NodeAttribution nodes, Source source) {
      return Ablation.scale(nodes.run(), source, factor);
    }

    @Override
    public OptionalDouble predicted(double attribution) {
      return OptionalDouble.of((factor - 1) * attribution);
    }

    @Override
    public double activation(double before) {
      return factor * before;
    }
  }

  /**
   * They have this activation instead.
   *
   * @param activation of neurons, heads or latents
   */
  public record Put(double activation) implements Action {
    /**
     * Refuses what is no number.
     *
     * @param activation {@link #activation()}
     * @throws IllegalArgumentException if it is none
     */
    public Put {
      requireArgument(Double.isFinite(activation), "set is %s, it must be a number", activation);
    }

    @Override
    public Change change(NodeAttribution nodes, Source source) {
      return Ablation.set(nodes.run(), source, activation);
    }

    @Override
    public OptionalDouble predicted(double attribution) {
      return OptionalDouble.empty();
    }

    @Override
    public double activation(double before) {
      return activation;
    }
  }

  /**
   * What changes did.
   *
   * @param overview what is explained
   * @param action what was done
   * @param outcomes of each node alone, then of all together, if there are several
   * @param others the other nodes whose attributions the last of these changed most, most first
   */
  public record Ablated(
      Overview overview, Action action, List<Outcome> outcomes, List<Other> others) {}

  /**
   * A node that was not changed itself.
   *
   * @param node of the run
   * @param before what it was
   * @param after what it is in the changed run, of whose metric and gradients its numbers are
   */
  public record Other(Node node, NodeChanges.Numbers before, NodeChanges.Numbers after) {}

  /**
   * What a change did.
   *
   * @param nodes that were changed together
   * @param metric after it
   * @param change of the metric
   * @param firstOrderChange how much it would change if it were linear, where that is known
   * @param predictions most probable first
   */
  public record Outcome(
      List<Node> nodes,
      double metric,
      double change,
      OptionalDouble firstOrderChange,
      List<Prediction> predictions) {}

  @Override
  public Ablated answer(Work work) throws IOException {
    Explanation explanation = Explanation.of(work, subject);
    nodes.forEach(explanation::requireUpstream);
    try (Scope scope = Scope.open()) {
      NodeAttribution run = explanation.nodes();
      Readings attribution = run.activationTimesGradient();
      Map<Source, Change> all = new LinkedHashMap<>();
      List<Outcome> outcomes = new ArrayList<>();
      double sum = 0;
      boolean known = true;
      for (Node node : nodes) {
        work.enter(Phase.RUN);
        Source source = node.asSource().orElseThrow();
        Change change = action.change(run, source);
        all.put(source, change);
        OptionalDouble predicted = action.predicted(attribution.of(source).orElseThrow());
        sum += predicted.orElse(0);
        known &= predicted.isPresent();
        outcomes.add(outcome(work, explanation, List.of(node), predicted, List.of(change)));
      }
      if (nodes.size() > 1) {
        OptionalDouble predicted = known ? OptionalDouble.of(sum) : OptionalDouble.empty();
        outcomes.add(outcome(work, explanation, nodes, predicted, List.copyOf(all.values())));
      }
      return new Ablated(
          explanation.overview(), action, List.copyOf(outcomes), others(work, explanation, all));
    }
  }

  private List<Other> others(Work work, Explanation explanation, Map<Source, Change> all) {
    if (top == 0) {
      return List.of();
    }
    work.enter(Phase.GRADIENTS);
    NodeChanges changes = NodeChanges.of(explanation.nodes(), all);
    return new Largest(explanation.basis(), Optional.empty())
        .of(changes::top, node -> true, top).stream()
            .map(score -> score.node().asSource().orElseThrow())
            .map(node -> new Other(node, changes.before(node), changes.after(node)))
            .toList();
  }

  private static Outcome outcome(
      Work work,
      Explanation explanation,
      List<Node> nodes,
      OptionalDouble predicted,
      List<Change> changes) {
    try (Scope scope = Scope.open()) {
      NodeAttribution run = explanation.nodes();
      Effect effect = Effect.of(run.run(), run.metric(), changes.toArray(new Change[0]));
      int position = explanation.ofLogits().position();
      return new Outcome(
          nodes,
          effect.metricAfter(),
          effect.metricChange(),
          predicted,
          Explanation.predictions(
              work.opened(), effect.changed(), position, Explanation.PREDICTIONS));
    }
  }
}
