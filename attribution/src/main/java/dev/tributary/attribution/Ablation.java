package dev.tributary.attribution;

import dev.tributary.transformer.Change;
import dev.tributary.transformer.Run;

/**
 * What it takes to change one node of a run, for {@link Run#with} of that run. Of a latent, a bias,
 * an error and a pre-bias it is a vector to be added, as long as it has to be in that run.
 */
public final class Ablation {
  private Ablation() {}

  /**
   * Takes a node out: it writes nothing, and everything after it answers.
   *
   * @param run what the model computed
   * @param node one of the run's
   * @return the change, for a run of the same model
   * @throws IllegalArgumentException if the run has no such node
   */
  public static Change of(Run run, Source node) {
    return scale(run, node, 0);
  }

  /**
   * Makes a node write a multiple of what it wrote.
   *
   * @param run what the model computed
   * @param node one of the run's
   * @param factor of what it wrote; 0 takes it out
   * @return the change, for a run of the same model
   * @throws IllegalArgumentException if the run has no such node
   */
  public static Change scale(Run run, Source node, double factor) {
    node.requireIn(run);
    return node.scaled(run, factor);
  }

  /**
   * Gives a neuron, head pair or latent another activation.
   *
   * @param run what the model computed
   * @param node one of the run's
   * @param activation the new one; of a head pair, its probability
   * @return the change, for a run of the same model
   * @throws IllegalArgumentException if the run has no such node, or it has no activation
   */
  public static Change set(Run run, Source node, double activation) {
    node.requireIn(run);
    return node.withActivation(run, activation);
  }
}
