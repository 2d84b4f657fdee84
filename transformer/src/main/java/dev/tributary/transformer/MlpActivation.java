package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Activation;
import dev.tributary.core.Tensor;

/** What an MLP neuron makes of its pre-activation. */
public enum MlpActivation {
  /** GELU in its tanh form, GPT-2's own, see {@link Tensor#gelu}. */
  TANH_GELU(Activation.GELU) {
    @Override
    public Variable apply(Variable preActivation) {
      return preActivation.gelu();
    }

    @Override
    public Tensor derivative(Tensor preActivation) {
      return preActivation.geluDerivative();
    }
  },

  /** GELU as it is defined, see {@link Tensor#exactGelu}. */
  EXACT_GELU(Activation.EXACT_GELU) {
    @Override
    public Variable apply(Variable preActivation) {
      return preActivation.exactGelu();
    }

    @Override
    public Tensor derivative(Tensor preActivation) {
      return preActivation.exactGeluDerivative();
    }
  },

  /** SiLU, also called swish, see {@link Tensor#silu}. */
  SILU(Activation.SILU) {
    @Override
    public Variable apply(Variable preActivation) {
      return preActivation.silu();
    }

    @Override
    public Tensor derivative(Tensor preActivation) {
      return preActivation.siluDerivative();
    }
  },

  /** ReLU: what is negative becomes 0. */
  RELU(Activation.RELU) {
    @Override
    public Variable apply(Variable preActivation) {
      return preActivation.relu();
    }

    @Override
    public Tensor derivative(Tensor preActivation) {
      return preActivation.positive();
    }
  };

  private final Activation ofGates;

  MlpActivation(Activation ofGates) {
    this.ofGates = ofGates;
  }

  /** The same of gates, in one pass with what they multiply. */
  Activation ofGates() {
    return ofGates;
  }

  /**
   * The activation, element by element.
   *
   * @param preActivation what the activation takes
   * @return of the same shape
   */
  public abstract Variable apply(Variable preActivation);

  /**
   * {@return the derivative of the activation there}
   *
   * @param preActivation what the activation takes
   */
  public abstract Tensor derivative(Tensor preActivation);
}
