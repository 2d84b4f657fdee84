package dev.tributary.attribution;

import dev.tributary.autodiff.Jacobian;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.Mlp;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * A neuron of an MLP at a token. It writes activation · its row of the output weights.
 *
 * @param layer from 0
 * @param token from 0
 * @param neuron from 0
 */
public record Neuron(int layer, int token, int neuron) implements Source, Target {
  static final Kind KIND =
      new Kind(Neuron.class, "neuron") {
        @Override
        Stream<Neuron> candidates(Coordinates.Name name) {
          int layer = name.layer().orElse(0);
          return Stream.of(new Neuron(layer, name.token().orElse(0), name.index().orElse(0)));
        }

        @Override
        List<Neurons> sources(Transformer model) {
          return IntStream.range(0, model.layers()).mapToObj(Neurons::new).toList();
        }

        @Override
        List<Neurons> targets(Transformer model) {
          return sources(model);
        }
      };

  /** The neurons of a layer at all tokens. */
  record Neurons(int number) implements SourceFamily, TargetFamily {
    @Override
    public List<String> axes() {
      return List.of("token", "neuron");
    }

    @Override
    public Neuron node(int... index) {
      return new Neuron(number, index[0], index[1]);
    }

    @Override
    public OptionalInt layer() {
      return OptionalInt.of(number);
    }

    private Mlp mlp(Run run) {
      return run.model().mlp(number);
    }

    private Tensor activation(Run run) {
      return run.value(Site.MLP_ACTIVATION, number);
    }

    @Override
    public Point point(Transformer model) {
      return model.mlp(number).writes();
    }

    @Override
    public List<Place> within() {
      return List.of(
          Place.of(Site.MLP_ACTIVATION, number),
          Place.of(Site.MLP_RESULT, number),
          Place.of(Site.MLP_OUTPUT, number));
    }

    @Override
    public Optional<Tensor> activations(Run run) {
      return Optional.of(activation(run));
    }

    @Override
    public Tensor activationTimesGradient(NodeAttribution nodes) {
      return activation(nodes.run()).times(nodes.gradient(Site.MLP_ACTIVATION, number));
    }

    @Override
    public Tensor writeNorms(Run run) {
      Tensor rows = mlp(run).outlet().fixed(mlp(run).rows());
      Tensor norms = rows.norm(-1).reshape(rows.shape().size(0));
      return mlp(run).outlet().perToken(run, 0, activation(run)).times(norms);
    }

    @Override
    public NodeArray products(GradientReader gradient) {
      Mlp mlp = mlp(gradient.run());
      Tensor activation = gradient.read(activation(gradient.run()), 0);
      Tensor products = gradient.times(mlp.outlet(), mlp.rows()).times(activation);
      return NodeArray.of(this, products, gradient.from());
    }

    @Override
    public List<SearchSources> lists(Run run) {
      Mlp mlp = mlp(run);
      return List.of(
          SearchSources.ofRows(
              this,
              run,
              mlp.outlet().perToken(run, 0, activation(run)),
              Norms.ofRows(() -> mlp.outlet().fixed(mlp.rows())),
              chosen -> mlp.outlet().fixed(mlp.rows().gather(0, chosen))));
    }

    @Override
    public List<NodeArray> pushed(Push push) {
      if (!push.reaches(mlp(push.run()))) {
        return List.of();
      }
      return List.of(pushed(push, this, push.neurons(mlp(push.run()))));
    }

    /** Edges to neurons that move so, [1, neuron]. */
    static NodeArray pushed(Push push, Family family, Tensor moved) {
      int layer = family.layer().orElseThrow();
      int token = push.token();
      Tensor held = push.edges().heldGradient(Site.MLP_ACTIVATION, layer);
      return NodeArray.of(family, moved.times(held.slice(0, token, token + 1)), token);
    }

    @Override
    public SearchTargets lists(EdgeAttribution edges, NodeFilter wanted) {
      return new Directions(this, InputPath.ALL, edges, wanted);
    }
  }

  /**
   * One direction for each neuron of a layer through one input or all, which adds up linear maps:
   * of each, its weights times held gradient times slope.
   */
  static final class Directions implements SearchTargets {
    private final TargetFamily family;
    private final EdgeAttribution edges;
    private final NodeFilter wanted;
    private final Mlp mlp;
    private final Tensor scales;

    /** Of which only the weights outlive the constructor. */
    private final List<Mlp.Factor> factors;

    /** Held gradient times slope along each of these, [token, neuron]. */
    private final List<Tensor> coefficients = new ArrayList<>();

    /** Of each two of these, the products of their weights, [neuron]. */
    private final List<List<Tensor>> products;

    Directions(TargetFamily family, InputPath path, EdgeAttribution edges, NodeFilter wanted) {
      this.family = family;
      this.edges = edges;
      this.wanted = wanted;
      int layer = family.layer().orElseThrow();
      this.mlp = edges.nodes().run().model().mlp(layer);
      this.scales = SearchTargets.scales(edges, mlp);
      int at = mlp.paths().indexOf(path); // of a plain neuron, all is its only path
      try (Scope scope = Scope.open()) {
        List<Mlp.Factor> all = mlp.factors(edges.nodes().run());
        this.factors = at < 0 ? all : all.subList(at, at + 1);
        Tensor held = edges.heldGradient(Site.MLP_ACTIVATION, layer);
        factors.forEach(factor -> coefficients.add(scope.keep(held.times(factor.slopes()))));
      }
      this.products = products();
    }

    private List<List<Tensor>> products() {
      try (Scope scope = Scope.open()) {
        List<Tensor> rows =
            factors.stream()
                .map(factor -> SearchTargets.fixed(mlp, factor.weight().permute(1, 0)))
                .toList();
        return rows.stream()
            .map(
                one ->
                    rows.stream()
                        .map(other -> scope.keep(one.rowDots(other).reshape(mlp.neuronCount())))
                        .toList())
            .toList();
      }
    }

    @Override
    public Point point() {
      return mlp.reads();
    }

    @Override
    public long count(int token) {
      return wanted.wantsToken(token) ? mlp.neuronCount() : 0;
    }

    private Tensor coefficient(int factor, int token) {
      return coefficients.get(factor).slice(0, token, token + 1);
    }

    @Override
    public Tensor norms(int token) {
      Tensor squares = Tensor.zeros(scales.dtype(), Shape.of(1, mlp.neuronCount()));
      Tensor terms = squares;
      for (int i = 0; i < factors.size(); i++) {
        for (int j = 0; j < factors.size(); j++) {
          Tensor term = coefficient(i, token).times(coefficient(j, token));
          Tensor own = term.times(products.get(i).get(j));
          squares = squares.plus(own);
          terms = terms.plus(Norms.magnitudes(own));
        }
      }
      return Norms.ofSquares(edges.nodes().run(), squares, terms)
          .over(scales.slice(0, token, token + 1));
    }

    @Override
    public Tensor directions(int token, int... chosen) {
      Tensor sum =
          IntStream.range(0, factors.size())
              .mapToObj(
                  i -> {
                    Tensor own = coefficient(i, token).gather(-1, chosen);
                    return factors.get(i).rows(chosen).times(own.reshape(chosen.length, 1));
                  })
              .reduce(Tensor::plus)
              .orElseThrow();
      return SearchTargets.throughEntry(edges, mlp, token, sum);
    }

    @Override
    public Target target(int token, int place, int which) {
      return family.node(token, place);
    }
  }

  @Override
  public Coordinates coordinates() {
    return Coordinates.outside(KIND.word(), Coordinates.Component.MLP)
        .layer(layer)
        .index(neuron)
        .at(token);
  }

  @Override
  public SourceFamily family() {
    return new Neurons(layer);
  }

  @Override
  public int[] index() {
    return new int[] {token, neuron};
  }

  @Override
  public void requireIn(Run run) {
    Kind.requirePlace(this, layer, token, run);
    Kind.requireIndex(this, "neuron", neuron, run.model().mlp(layer).neuronCount());
  }

  @Override
  public OptionalDouble activation(Run run) {
    return OptionalDouble.of(run.value(Site.MLP_ACTIVATION, layer).get(token, neuron));
  }

  private Place place() {
    return Place.of(Site.MLP_ACTIVATION, layer).at(0, token).at(1, neuron);
  }

  // ---- as a source -------------------------------------------------------------------------

  @Override
  public List<Write> writes(Run run) {
    Mlp mlp = run.model().mlp(layer);
    Tensor row = mlp.rows().slice(0, neuron, neuron + 1);
    Tensor written = mlp.outlet().push(run, token, row.times(activation(run).orElseThrow()));
    return List.of(new Write(mlp.writes(), token, written.reshape(written.shape().size(1))));
  }

  @Override
  public Change scaled(Run run, double factor) {
    return Intervention.scale(place(), factor);
  }

  @Override
  public Change withActivation(Run run, double activation) {
    return Intervention.set(place(), activation);
  }

  // ---- as a target -------------------------------------------------------------------------

  @Override
  public List<Target> targets() {
    return List.of(this);
  }

  /**
   * {@return this node entered through one of its inputs}
   *
   * @param path gate or up
   */
  public NeuronInput through(InputPath path) {
    return new NeuronInput(this, path);
  }

  /** What it computes from one input or all, on one side of its activation function. */
  Reading reading(Run run, InputPath path, Stage stage) {
    Mlp mlp = run.model().mlp(layer);
    return new Reading(
        mlp.reads(),
        token,
        token + 1,
        (r, scaleGradient) -> {
          Variable x = mlp.normalised(r, scaleGradient);
          return stage == Stage.ACTIVATION
              ? mlp.neurons(x, path, run, token, new int[] {neuron})
              : mlp.preActivations(x, neuron);
        });
  }

  @Override
  public Reading reading(EdgeAttribution edges) {
    return reading(edges, InputPath.ALL);
  }

  Reading reading(EdgeAttribution edges, InputPath path) {
    double held = edges.held(Site.MLP_ACTIVATION, layer, token, neuron);
    return reading(edges.nodes().run(), path, Stage.ACTIVATION).times(held);
  }

  @Override
  public List<Object> pulledWith() {
    return List.of(family(), token);
  }

  @Override
  public List<ResidualGradient> gradients(EdgeAttribution edges, List<? extends Target> together) {
    return gradients(edges, together, InputPath.ALL);
  }

  /** Neurons of one layer and token, through one input or all: as many directions of one pull. */
  List<ResidualGradient> gradients(
      EdgeAttribution edges, List<? extends Target> together, InputPath path) {
    Run run = edges.nodes().run();
    Mlp mlp = run.model().mlp(layer);
    int[] chosen = together.stream().mapToInt(target -> target.index()[1]).toArray();
    Tensor held =
        edges
            .heldGradient(Site.MLP_ACTIVATION, mlp.layer())
            .slice(0, token, token + 1)
            .gather(1, chosen);
    double[] weights = held.toDoubles();
    double[] diagonal = new double[chosen.length * chosen.length];
    for (int i = 0; i < chosen.length; i++) {
      diagonal[i * chosen.length + i] = weights[i];
    }
    Variable rows = Variable.input(run.residual(mlp.reads()).value().slice(0, token, token + 1));
    Variable neurons =
        mlp.neurons(mlp.normalised(rows, edges.scaleGradient()), path, run, token, chosen);
    Shape directions = Shape.of(chosen.length, 1, chosen.length);
    Tensor pulled =
        Jacobian.of(neurons, rows)
            .pull(Tensor.of(run.model().dtype(), directions, diagonal))
            .get(0);
    List<ResidualGradient> result = new ArrayList<>();
    for (int i = 0; i < chosen.length; i++) {
      Tensor own = pulled.slice(0, i, i + 1).reshape(1, pulled.shape().size(-1));
      result.add(new ResidualGradient(mlp.reads(), token, own));
    }
    return result;
  }

  @Override
  public Optional<Change> without(Run run, int at, Tensor write) {
    return Optional.of(without(run, InputPath.ALL, at, write));
  }

  /** Its activation without what it loses when one input, or all, does not see a write. */
  Change without(Run run, InputPath path, int at, Tensor write) {
    double lost = reading(run, path, Stage.ACTIVATION).lostWithout(run, at, write);
    return withActivation(run, activation(run).orElseThrow() - lost);
  }

  @Override
  public Trace traced(Trace.Side side, Metric.OfLogits downstream) {
    return new Trace.NeuronTrace(this, InputPath.ALL, side.stage(), side.scaleGradient());
  }

  @Override
  public String toString() {
    return coordinates().toString();
  }
}
