package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Tensor;

/**
 * A share of an MLP that is a component of its own: its activation, a function of a copy of the
 * residual stream that it alone reads, times a row. All else that the MLP adds, its bias too, is
 * the rest of it. See {@link MlpSplit}.
 *
 * @param of which shares it is one of
 * @param number of the neuron or latent, from 0
 */
public record MlpShare(Family of, int number) {
  /** Shares of one MLP that differ in their numbers alone. */
  public sealed interface Family {
    /** {@return the layer of the MLP, from 0} */
    int layer();

    /**
     * {@return what one is called, as nodes are}
     *
     * @param number from 0
     */
    String name(int number);

    /**
     * {@return whether a model has some}
     *
     * @param model of which they are to be
     */
    boolean isOf(Transformer model);

    /**
     * {@return how many there are}
     *
     * @param model of which they are to be
     * @throws IllegalArgumentException if the model has none
     */
    int count(Transformer model);

    /**
     * {@return where their rows are added: {@link Site#MLP_RESULT} where an outlet stands between
     * them and the residual stream, else {@link Site#MLP_OUTPUT}}
     *
     * @param model of which they are
     */
    Site site(Transformer model);

    /**
     * {@return activations of some, in the units of their rows, [token, chosen]}
     *
     * @param model of which they are
     * @param residual the residual stream that they read, [token, dModel]
     * @param chosen numbers, from 0
     */
    Variable activations(Transformer model, Variable residual, int... chosen);

    /**
     * {@return what some of activation 1 add at {@link #site}, [chosen, dModel]}
     *
     * @param model of which they are
     * @param chosen numbers, from 0
     */
    Tensor rows(Transformer model, int... chosen);
  }

  /**
   * Neurons. What one reads is for its gate and its up path alike, if it is gated: both are one
   * function of one copy of the stream.
   *
   * @param layer from 0
   */
  public record Neurons(int layer) implements Family {
    @Override
    public String name(int number) {
      return "m" + layer + ".n" + number;
    }

    @Override
    public boolean isOf(Transformer model) {
      return layer >= 0 && layer < model.layers();
    }

    @Override
    public int count(Transformer model) {
      requireArgument(
          isOf(model), "neurons of layer %d of a model of %d layers", layer, model.layers());
      return model.mlp(layer).neuronCount();
    }

    @Override
    public Site site(Transformer model) {
      return model.mlp(layer).outlet().isNone() ? Site.MLP_OUTPUT : Site.MLP_RESULT;
    }

    @Override
    public Variable activations(Transformer model, Variable residual, int... chosen) {
      Mlp mlp = model.mlp(layer);
      return mlp.neurons(mlp.normalised(residual, ScaleGradient.LIVE), chosen);
    }

    @Override
    public Tensor rows(Transformer model, int... chosen) {
      return model.mlp(layer).rows().gather(0, chosen);
    }
  }

  /**
   * Latents of a dictionary that writes for the MLP that it reads: a transcoder, or an autoencoder
   * of what the MLP or its neurons compute. What the dictionary lacks is in the rest.
   *
   * @param dictionary of the model
   */
  public record Latents(Dictionary.Id dictionary) implements Family {
    @Override
    public int layer() {
      return dictionary.layer();
    }

    @Override
    public String name(int number) {
      return "L" + layer() + "." + dictionary.word() + "_latent" + number;
    }

    @Override
    public boolean isOf(Transformer model) {
      return model.dictionaries().stream()
          .anyMatch(own -> own.id().equals(dictionary) && isOfOneMlp(model, own));
    }

    private boolean isOfOneMlp(Transformer model, Dictionary own) {
      Place reads = own.reads();
      boolean ofLayer = reads.layer() == layer() && Mlp.SITES.contains(reads.site());
      return own.decoders().size() == 1
          && Mlp.SITES.contains(own.decoders().get(0).place().site())
          && (ofLayer || reads.equals(model.residualAt(model.mlp(layer()).reads())));
    }

    @Override
    public int count(Transformer model) {
      Dictionary own = model.dictionary(dictionary);
      requireArgument(
          isOfOneMlp(model, own),
          "latents of %s are no shares of one MLP: it reads %s and writes %s",
          dictionary,
          own.reads(),
          own.decoders().stream().map(Dictionary.Decoder::place).toList());
      return own.latentCount();
    }

    private Site written(Transformer model) {
      return model.dictionary(dictionary).decoders().get(0).place().site();
    }

    @Override
    public Site site(Transformer model) {
      return written(model) == Site.MLP_OUTPUT ? Site.MLP_OUTPUT : new Neurons(layer()).site(model);
    }

    @Override
    public Variable activations(Transformer model, Variable residual, int... chosen) {
      Dictionary own = model.dictionary(dictionary);
      Variable x =
          model.mlp(layer()).vectors(own.reads().site(), residual, ScaleGradient.LIVE::seen);
      return own.inUnits(own.latents(x, ScaleGradient.LIVE, chosen), x);
    }

    @Override
    public Tensor rows(Transformer model, int... chosen) {
      Tensor rows = model.dictionary(dictionary).decoders().get(0).rows().of(chosen);
      return written(model) == Site.MLP_ACTIVATION ? rows.matmul(model.mlp(layer()).rows()) : rows;
    }
  }

  /**
   * {@return a neuron}
   *
   * @param layer from 0
   * @param neuron from 0
   */
  public static MlpShare neuron(int layer, int neuron) {
    return new MlpShare(new Neurons(layer), neuron);
  }

  /**
   * {@return a latent}
   *
   * @param dictionary of the model
   * @param latent from 0
   */
  public static MlpShare latent(Dictionary.Id dictionary, int latent) {
    return new MlpShare(new Latents(dictionary), latent);
  }

  /** {@return the layer of the MLP, from 0} */
  public int layer() {
    return of.layer();
  }

  /**
   * Refuses another model.
   *
   * @param model of which it is to be
   * @throws IllegalArgumentException if the model has no such share
   */
  public void requireOf(Transformer model) {
    int count = of.count(model);
    requireArgument(
        number >= 0 && number < count, "%s, and there are %d, counted from 0", this, count);
  }

  @Override
  public String toString() {
    return of.name(number);
  }
}
