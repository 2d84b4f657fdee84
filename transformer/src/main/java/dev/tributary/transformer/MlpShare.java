package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * A share of an MLP that is a component of its own, with a copy of the residual stream of its own.
 * All else that the MLP adds, the bias of the output too, is the rest of it.
 */
public sealed interface MlpShare {
  /**
   * A neuron: its activation times its row of the output weights. What it reads is for its gate and
   * its up path alike, if it is gated: both are one function of one copy of the stream.
   *
   * @param layer from 0
   * @param neuron from 0
   */
  record Neuron(int layer, int neuron) implements MlpShare {
    @Override
    public int number() {
      return neuron;
    }

    @Override
    public void requireOf(Transformer model) {
      requireArgument(
          layer >= 0 && layer < model.layers(), "%s of a model of %d layers", this, model.layers());
      int neurons = model.mlp(layer).neuronCount();
      requireArgument(
          neuron >= 0 && neuron < neurons, "%s of a layer of %d neurons", this, neurons);
    }

    @Override
    public String toString() {
      return "m" + layer + ".n" + neuron;
    }
  }

  /** {@return the layer of the MLP, from 0} */
  int layer();

  /** {@return which of the neurons it is, from 0} */
  int number();

  /**
   * Refuses another model.
   *
   * @param model of which it is to be
   * @throws IllegalArgumentException if the model has no such layer or neuron
   */
  void requireOf(Transformer model);

  /**
   * {@return those of the MLP of one layer, in order}
   *
   * @param layer from 0
   * @param shares of all layers
   */
  static List<MlpShare> of(int layer, Collection<? extends MlpShare> shares) {
    List<MlpShare> own = new ArrayList<>(shares);
    own.removeIf(share -> share.layer() != layer);
    return List.copyOf(own);
  }

  /**
   * Refuses shares of another model, and one that comes twice.
   *
   * @param model of which they are to be
   * @param shares of MLPs
   * @throws IllegalArgumentException if the model has no such share, or one comes twice
   */
  static void requireAll(Transformer model, Collection<? extends MlpShare> shares) {
    Set<MlpShare> known = new HashSet<>();
    for (MlpShare share : shares) {
      share.requireOf(model);
      requireArgument(known.add(share), "%s is named twice", share);
    }
  }
}
