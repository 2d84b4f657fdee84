package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Mlp;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * A gated neuron at a token, entered through its gate or its up alone while the other is held as
 * recorded. The edges into the two add up to those into the neuron, which is a target itself.
 *
 * @param neuron the neuron and its token
 * @param path one of its two inputs
 */
public record NeuronInput(Neuron neuron, InputPath path) implements Target {
  private static final List<InputPath> PATHS = List.of(InputPath.GATE, InputPath.UP);

  static final Kind KIND =
      new Kind(NeuronInput.class, "neuron_input") {
        /** They are parts of neurons. */
        @Override
        boolean isListed() {
          return false;
        }

        @Override
        boolean isSearched() {
          return true;
        }

        @Override
        Stream<NeuronInput> candidates(Coordinates.Name name) {
          return Neuron.KIND
              .candidates(name)
              .flatMap(neuron -> PATHS.stream().map(((Neuron) neuron)::through));
        }

        @Override
        List<NeuronInputs> targets(Transformer model) {
          return IntStream.range(0, model.layers())
              .boxed()
              .flatMap(
                  layer ->
                      PATHS.stream()
                          .filter(model.mlp(layer).paths()::contains)
                          .map(path -> new NeuronInputs(path, layer)))
              .toList();
        }
      };

  /**
   * Refuses what is no input of a neuron.
   *
   * @param neuron {@link #neuron()}
   * @param path {@link #path()}
   */
  public NeuronInput {
    requireArgument(
        PATHS.contains(path),
        "%s: a gated neuron is entered through gate or up, not through %s",
        neuron,
        Lowercase.of(path));
  }

  /** One input of the neurons of a layer at all tokens. */
  private record NeuronInputs(InputPath path, int number) implements TargetFamily {
    @Override
    public List<String> axes() {
      return List.of("token", "neuron");
    }

    @Override
    public NeuronInput node(int... index) {
      return new Neuron(number, index[0], index[1]).through(path);
    }

    @Override
    public OptionalInt layer() {
      return OptionalInt.of(number);
    }

    @Override
    public List<NodeArray> pushed(Push push) {
      Mlp mlp = push.run().model().mlp(number);
      return push.reaches(mlp)
          ? List.of(Neuron.Neurons.pushed(push, this, push.neurons(mlp, path)))
          : List.of();
    }

    @Override
    public SearchTargets lists(EdgeAttribution edges, NodeFilter wanted) {
      return new Neuron.Directions(this, path, edges, wanted);
    }
  }

  @Override
  public Coordinates coordinates() {
    return neuron.coordinates().path(path);
  }

  @Override
  public Family family() {
    return new NeuronInputs(path, neuron.layer());
  }

  @Override
  public int[] index() {
    return neuron.index();
  }

  @Override
  public void requireIn(Run run) {
    neuron.requireIn(run);
    requireArgument(
        run.model().mlp(neuron.layer()).paths().contains(path),
        "%s: the neurons of layer %d are not gated, they have no %s",
        this,
        neuron.layer(),
        Lowercase.of(path));
  }

  @Override
  public Reading reading(EdgeAttribution edges) {
    return neuron.reading(edges, path);
  }

  /** The up is, with the gate held. */
  @Override
  public Optional<Certificate.Affine> affine(EdgeAttribution edges) {
    Run run = edges.nodes().run();
    Mlp mlp = run.model().mlp(neuron.layer());
    if (path != InputPath.UP || !edges.isAffine(mlp.entry())) {
      return Optional.empty();
    }
    try (Scope scope = Scope.open()) {
      Variable origin = Variable.constant(Certificate.Affine.origin(run, mlp.entry()));
      int[] chosen = {neuron.neuron()};
      double held = edges.held(Site.MLP_ACTIVATION, neuron.layer(), neuron.index());
      double constant = mlp.neurons(origin, path, run, neuron.token(), chosen).value().item();
      double recorded = neuron.activation(run).orElseThrow();
      return Optional.of(new Certificate.Affine(held * recorded, held * constant));
    }
  }

  @Override
  public List<Object> pulledWith() {
    return List.of(family(), neuron.token());
  }

  @Override
  public List<ResidualGradient> gradients(EdgeAttribution edges, List<? extends Target> together) {
    return neuron.gradients(edges, together, path);
  }

  @Override
  public Optional<Change> without(Run run, int token, Tensor write) {
    return Optional.of(neuron.without(run, path, token, write));
  }

  @Override
  public Trace traced(Trace.Side side, Metric.OfLogits downstream) {
    return new Trace.NeuronTrace(neuron, path, side.stage(), side.scaleGradient());
  }

  @Override
  public String toString() {
    return coordinates().toString();
  }
}
