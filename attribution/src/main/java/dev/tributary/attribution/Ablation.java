package dev.tributary.attribution;

import dev.tributary.attribution.Node.Bias;
import dev.tributary.attribution.Node.Embedding;
import dev.tributary.attribution.Node.HeadPair;
import dev.tributary.attribution.Node.Latent;
import dev.tributary.attribution.Node.Neuron;
import dev.tributary.attribution.Node.PreBias;
import dev.tributary.attribution.Node.ReconstructionError;
import dev.tributary.attribution.Node.Source;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Encoding;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;

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
    if (node instanceof Embedding e) {
      return Intervention.scale(Place.of(e.part().site()).at(0, e.token()), factor);
    }
    if (node instanceof Neuron n) {
      return Intervention.scale(place(n), factor);
    }
    if (node instanceof HeadPair p) {
      return Intervention.scale(place(p), factor);
    }
    return add(run, node, factor - 1);
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
    if (node instanceof Neuron n) {
      return Intervention.set(place(n), activation);
    }
    if (node instanceof HeadPair p) {
      return Intervention.set(place(p), activation);
    }
    if (node instanceof Latent latent) {
      return add(latent, run, activation - Effect.activation(run, latent));
    }
    throw new IllegalArgumentException(node + " has no activation that could be set");
  }

  /** Where the activation of a neuron is. */
  static Place place(Neuron n) {
    return Place.of(Site.MLP_ACTIVATION, n.layer()).at(0, n.token()).at(1, n.neuron());
  }

  /** Where the probability of a head pair is. */
  static Place place(HeadPair p) {
    return Place.of(Site.PATTERN, p.layer()).at(0, p.head()).at(1, p.query()).at(2, p.key());
  }

  /** A latent made larger at its site. */
  static Change add(Latent latent, Run run, double amount) {
    try (Scope scope = Scope.open()) {
      Tensor direction =
          run.model().autoencoder(latent.site(), latent.layer()).direction(latent.latent());
      return addAt(latent.site(), latent.layer(), latent.token(), direction.times(amount));
    }
  }

  /** Nodes that have no entry of their own in a site are changed by what they add to it. */
  private static Change add(Run run, Source node, double factor) {
    try (Scope scope = Scope.open()) {
      if (node instanceof Latent l) {
        return add(l, run, factor * Effect.activation(run, l));
      }
      if (node instanceof Bias b) {
        Tensor bias = Writes.bias(run, b.part(), b.layer());
        return addAt(b.part().site(), b.layer(), b.token(), bias.times(factor));
      }
      if (node instanceof ReconstructionError e) {
        Encoding encoding = run.encoding(e.site(), e.layer());
        Tensor error = encoding.error().slice(0, e.token(), e.token() + 1);
        return addAt(e.site(), e.layer(), e.token(), error.times(factor));
      }
      PreBias b = (PreBias) node;
      Tensor preBias = run.model().autoencoder(b.site(), b.layer()).preBias();
      return addAt(b.site(), b.layer(), b.token(), preBias.times(factor));
    }
  }

  private static Change addAt(Site site, int layer, int token, Tensor vector) {
    return Intervention.add(Place.of(site, layer).at(0, token), vector);
  }
}
