package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Tensor;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.UnaryOperator;

/**
 * Multilayer perceptron with one hidden layer of neurons: neuron = f(x W + b) of plain ones, with f
 * the activation function, and f(x W + b) · (x U + c) of gated ones; output = neuron O + d.
 *
 * @see <a href="https://arxiv.org/abs/2002.05202">Shazeer 2020, of gated neurons</a>
 */
public final class Mlp implements Part {
  /** Of vectors that dictionaries of it may read and write. */
  static final Set<Site> SITES =
      EnumSet.of(
          Site.MLP_STANDARDISED,
          Site.MLP_INPUT,
          Site.MLP_ACTIVATION,
          Site.MLP_RESULT,
          Site.MLP_OUTPUT);

  private final int layer;
  private final Wiring wiring;
  private final Linear input;
  private final Optional<Linear> up;
  private final MlpActivation activation;
  private final Linear output;

  Mlp(MlpConfig config, int layer, Point reads, Point writes, Loaded weights) {
    this.layer = layer;
    this.wiring =
        new Wiring(
            layer,
            reads,
            writes,
            weights.norm(config.entry(), Weight.MLP_NORM_GAIN, Weight.MLP_NORM_BIAS),
            weights.outlet(config.outlet(), Weight.MLP_OUTLET_GAIN, Site.MLP_OUTLET_SCALE, layer));
    this.input = weights.linear(Weight.MLP_INPUT, Weight.MLP_INPUT_BIAS);
    this.up =
        config.kind() == MlpConfig.Kind.GATED
            ? Optional.of(weights.linear(Weight.MLP_UP, Weight.MLP_UP_BIAS))
            : Optional.empty();
    this.activation = config.activation();
    this.output = weights.linear(Weight.MLP_OUTPUT, Weight.MLP_OUTPUT_BIAS);
  }

  Variable apply(Variable stream, Site.Visitor visitor) {
    Variable residual =
        visitor.differences(Site.MLP_INPUT, layer).map(own -> own.ofOne(stream)).orElse(stream);
    Variable x =
        entry()
            .map(n -> n.apply(residual, scale -> visitor.at(Site.MLP_SCALE, layer, scale)))
            .orElseGet(() -> residual.reshape(residual.shape())); // a variable of its own
    if (visitor.wants(Site.MLP_INPUT)) {
      x = visitor.at(Site.MLP_INPUT, layer, x);
    }
    Variable read = x;
    Variable z = visitor.at(Site.MLP_PRE_ACTIVATION, layer, input.apply(read));
    Optional<Variable> gated = up.map(u -> visitor.at(Site.MLP_UP, layer, u.apply(read)));
    Variable neurons = visitor.at(Site.MLP_ACTIVATION, layer, activated(z, gated));
    return visitor.at(
        Site.MLP_OUTPUT,
        layer,
        outlet()
            .apply(
                visitor.wants(Site.MLP_RESULT)
                    ? visitor.at(Site.MLP_RESULT, layer, result(neurons))
                    : result(neurons),
                scale -> visitor.at(Site.MLP_OUTLET_SCALE, layer, scale)));
  }

  /**
   * What comes by at one of its {@link #SITES}.
   *
   * @param site which; where it is none of them, the residual stream itself
   * @param residual stream that it reads, [token, dModel]
   * @param scale how that of the norm of what it reads goes on
   */
  Variable vectors(Site site, Variable residual, UnaryOperator<Variable> scale) {
    return switch (site) {
      case MLP_STANDARDISED -> entry().map(n -> n.standardised(residual, scale)).orElse(residual);
      case MLP_INPUT -> entry().map(n -> n.apply(residual, scale)).orElse(residual);
      case MLP_ACTIVATION -> neurons(vectors(Site.MLP_INPUT, residual, scale));
      case MLP_RESULT -> result(vectors(Site.MLP_ACTIVATION, residual, scale));
      case MLP_OUTPUT -> written(vectors(Site.MLP_RESULT, residual, scale), ScaleGradient.LIVE);
      default -> residual;
    };
  }

  /**
   * What neurons add up to before the outlet, with the bias.
   *
   * @param neurons activations, [.., neuron]
   * @return [.., dModel]
   */
  public Variable result(Variable neurons) {
    return output.apply(neurons);
  }

  private Variable activated(Variable preActivation, Optional<Variable> gated) {
    return gated
        .map(up -> preActivation.gated(activation.ofGates(), up))
        .orElseGet(() -> activation.apply(preActivation));
  }

  /**
   * Activations of all neurons.
   *
   * @param x rows that it computes from, {@link #normalised}, [.., dModel]
   * @return [.., neuron]
   */
  public Variable neurons(Variable x) {
    return activated(input.apply(x), up.map(u -> u.apply(x)));
  }

  /** The same of some neurons, for the cost of their columns of the weights. */
  Variable neurons(Variable x, int... chosen) {
    return activated(preActivations(x, chosen), up.map(u -> columns(u, chosen).apply(x)));
  }

  /**
   * Activations of some neurons of a token, for the cost of their columns of the weights, as they
   * follow from one of their inputs; the other is as it was recorded.
   *
   * @param x the row that they compute from, {@link #normalised}, [1, dModel]
   * @param path {@link InputPath#GATE} or {@link InputPath#UP} of gated neurons, or {@link
   *     InputPath#ALL}
   * @param run that recorded the other
   * @param token of the row
   * @param chosen neurons, from 0
   * @return [1, chosen]
   * @throws IllegalArgumentException if these neurons have no such input
   */
  public Variable neurons(Variable x, InputPath path, Run run, int token, int[] chosen) {
    requirePath(path);
    Variable z =
        path.includes(InputPath.GATE)
            ? preActivations(x, chosen)
            : recorded(run, Site.MLP_PRE_ACTIVATION, token, chosen);
    return activated(
        z,
        up.map(
            u ->
                path.includes(InputPath.UP)
                    ? columns(u, chosen).apply(x)
                    : recorded(run, Site.MLP_UP, token, chosen)));
  }

  private Variable recorded(Run run, Site site, int token, int... chosen) {
    return Variable.constant(run.value(site, layer).slice(0, token, token + 1).gather(1, chosen));
  }

  private void requirePath(InputPath path) {
    requireArgument(
        path == InputPath.ALL || paths().contains(path),
        "the neurons of layer %d are %s and have no input %s",
        layer,
        up.isPresent() ? "gated" : "not gated",
        path);
  }

  /** {@return the inputs of each neuron; all that there are as one, unless it is gated} */
  public List<InputPath> paths() {
    return up.isPresent() ? List.of(InputPath.GATE, InputPath.UP) : List.of(InputPath.ALL);
  }

  /**
   * What the activation function of some neurons takes; of gated ones, the gate.
   *
   * @param x rows that it computes from, {@link #normalised}, [.., dModel]
   * @param chosen neurons, from 0
   * @return [.., chosen]
   */
  public Variable preActivations(Variable x, int... chosen) {
    return columns(input, chosen).apply(x);
  }

  /** One column is a view. */
  private static Linear columns(Linear linear, int... chosen) {
    return chosen.length == 1 ? linear.columns(chosen[0], chosen[0] + 1) : linear.columns(chosen);
  }

  /**
   * Activations of all neurons where what they are of was recorded: only derivatives are new.
   *
   * @param x rows that it computes from, [token, dModel]
   * @param path through which input of each, one of {@link #paths}
   * @param run that recorded these
   * @param firstToken the token of the first row
   * @return [token, neuron]
   * @throws IllegalArgumentException if these neurons have no such input
   */
  public Variable neurons(Variable x, InputPath path, Run run, int firstToken) {
    requirePath(path);
    int end = firstToken + x.shape().size(0);
    Tensor z = run.value(Site.MLP_PRE_ACTIVATION, layer).slice(0, firstToken, end);
    return activated(
        path.includes(InputPath.GATE) ? input.apply(x, z) : Variable.constant(z),
        up.map(
            u -> {
              Tensor gated = run.value(Site.MLP_UP, layer).slice(0, firstToken, end);
              return path.includes(InputPath.UP) ? u.apply(x, gated) : Variable.constant(gated);
            }));
  }

  /**
   * A linear map of what neurons are made of, and how fast they move with it.
   *
   * @param site where what the map gives is recorded
   * @param weight of the map, [dModel, neuron]
   * @param slopes derivative of each neuron, [token, neuron]
   */
  public record Factor(Site site, Tensor weight, Tensor slopes) {
    /**
     * {@return what some neurons read, [chosen, dModel]}
     *
     * @param chosen neurons, from 0
     */
    public Tensor rows(int... chosen) {
      return weight.gather(-1, chosen).permute(1, 0);
    }
  }

  /**
   * {@return how neurons move with what they compute from, through each of {@link #paths}: one
   * linear map, or two if they are gated}
   *
   * @param run in whose values
   */
  public List<Factor> factors(Run run) {
    Tensor z = run.value(Site.MLP_PRE_ACTIVATION, layer);
    Tensor slope = activation.derivative(z);
    List<Factor> factors = new ArrayList<>();
    if (up.isEmpty()) {
      factors.add(factor(Site.MLP_PRE_ACTIVATION, input, slope));
    } else {
      Tensor gated = run.value(Site.MLP_UP, layer);
      factors.add(factor(Site.MLP_PRE_ACTIVATION, input, slope.times(gated)));
      Tensor gate = activation.apply(Variable.constant(z)).value();
      factors.add(factor(Site.MLP_UP, up.get(), gate));
    }
    return factors;
  }

  private static Factor factor(Site site, Linear map, Tensor slopes) {
    return new Factor(site, map.weight(), slopes);
  }

  /** Activations that move along their tangents in a base run. */
  Variable linearised(Run base, Run.Recorder moved) {
    Variable neurons = Variable.constant(base.value(Site.MLP_ACTIVATION, layer));
    for (Factor factor : factors(base)) {
      Variable change =
          moved
              .recorded(factor.site(), layer)
              .minus(Variable.constant(base.value(factor.site(), layer)));
      neurons = neurons.plus(change.times(Variable.constant(factor.slopes())));
    }
    return neurons;
  }

  /**
   * What neurons add to the residual stream, with the bias.
   *
   * @param neurons activations, [.., neuron]
   * @param scaleGradient whether derivatives see the scale of a norm of the output move
   * @return [.., dModel]
   */
  public Variable output(Variable neurons, ScaleGradient scaleGradient) {
    return written(result(neurons), scaleGradient);
  }

  /**
   * What is added to the residual stream of what neurons add up to.
   *
   * @param result what is before the outlet, [.., dModel]
   * @param scaleGradient whether derivatives see the scale of a norm of the output move
   * @return [.., dModel]
   */
  public Variable written(Variable result, ScaleGradient scaleGradient) {
    return outlet().apply(result, scaleGradient::seen);
  }

  /** {@return what each neuron of activation 1 writes before the outlet, [neuron, dModel]} */
  public Tensor rows() {
    return output.weight();
  }

  /** {@return how many neurons there are} */
  public int neuronCount() {
    return output.weight().shape().size(0);
  }

  @Override
  public Wiring wiring() {
    return wiring;
  }

  @Override
  public Site output() {
    return Site.MLP_OUTPUT;
  }

  @Override
  public Optional<Tensor> bias() {
    return output.bias();
  }
}
