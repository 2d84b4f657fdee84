package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;

/**
 * Multilayer perceptron with one hidden layer of GELU neurons.
 *
 * @param input to the neurons, [dModel, neuron]
 * @param output from the neurons, [neuron, dModel]
 */
public record Mlp(Linear input, Linear output) {
  Variable apply(Variable x, Site.Visitor visitor) {
    Variable preActivation = visitor.at(Site.MLP_PRE_ACTIVATION, input.apply(x));
    Variable activation = visitor.at(Site.MLP_ACTIVATION, preActivation.gelu());
    return visitor.at(Site.MLP_OUTPUT, output.apply(activation));
  }
}
