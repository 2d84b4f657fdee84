package dev.tributary.transformer;

import dev.tributary.autodiff.Variable;

/**
 * Multilayer perceptron with one hidden layer of neurons.
 *
 * @param input to the neurons, [dModel, neuron]
 * @param activation of every neuron
 * @param output from the neurons, [neuron, dModel]
 */
public record Mlp(Linear input, MlpActivation activation, Linear output) {
  Variable apply(Variable x, Site.Visitor visitor) {
    Variable preActivation = visitor.at(Site.MLP_PRE_ACTIVATION, input.apply(x));
    Variable activated = visitor.at(Site.MLP_ACTIVATION, activation.apply(preActivation));
    return visitor.at(Site.MLP_OUTPUT, output.apply(activated));
  }
}
