package dev.tributary.attribution;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Attention;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.InputPath;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * An attention head at a pair of tokens, entered through its query, its key or its value.
 *
 * @param pair the head and its tokens
 * @param path one of its three inputs
 */
public record HeadInput(HeadPair pair, InputPath path) implements Target {
  /** The inputs of a head, each a node of its own. */
  static final List<InputPath> PATHS = List.of(InputPath.QUERY, InputPath.KEY, InputPath.VALUE);

  static final Kind KIND =
      new Kind(HeadInput.class, "head") {
        @Override
        Stream<HeadInput> candidates(Coordinates.Name name) {
          return HeadPair.KIND
              .candidates(name)
              .flatMap(pair -> ((HeadPair) pair).targets().stream())
              .map(HeadInput.class::cast);
        }

        @Override
        List<HeadInputs> targets(Transformer model) {
          return IntStream.range(0, model.layers())
              .boxed()
              .flatMap(layer -> PATHS.stream().map(path -> new HeadInputs(path, layer)))
              .toList();
        }
      };

  /**
   * Refuses what is no input of a head.
   *
   * @param pair {@link #pair()}
   * @param path {@link #path()}
   */
  public HeadInput {
    requireArgument(
        PATHS.contains(path),
        "%s: a head is entered through query, key or value, not through %s",
        pair,
        Lowercase.of(path));
  }

  /** One input of the heads of a layer at all pairs. */
  private record HeadInputs(InputPath path, int number) implements TargetFamily {
    @Override
    public List<String> axes() {
      return List.of("head", "query", "key");
    }

    @Override
    public HeadInput node(int... index) {
      return new HeadPair(number, index[0], index[1], index[2]).through(path);
    }

    @Override
    public OptionalInt layer() {
      return OptionalInt.of(number);
    }

    /** Queries at the token; keys and values of it as later queries see them. */
    @Override
    public List<NodeArray> pushed(Push push) {
      Run run = push.run();
      Attention attention = run.model().attention(number);
      if (!push.reaches(attention)) {
        return List.of();
      }
      int token = push.token();
      int end = run.length();
      Tensor held = push.edges().heldGradient(Site.PATTERN, number).slice(1, token, end);
      return switch (path) {
        case QUERY -> {
          Tensor moved =
              push.through(
                  attention,
                  path,
                  q -> {
                    Tensor keys = run.value(Site.KEY, number).slice(1, 0, token + 1);
                    Variable k = Variable.constant(keys);
                    return attention.pattern(attention.scores(q, k, token), token);
                  });
          Tensor own = held.slice(1, 0, 1).slice(2, 0, token + 1);
          yield List.of(NodeArray.of(this, moved.times(own), 0, token));
        }
        case KEY -> {
          Tensor moved =
              push.through(
                  attention,
                  path,
                  k ->
                      attention.pattern(attention.scoresWithKey(run, token, k, token, end), token));
          yield List.of(NodeArray.of(this, moved.times(held), 0, token));
        }
        case VALUE -> {
          Tensor along = along(push.edges(), token);
          Variable pattern =
              Variable.constant(
                  run.value(Site.PATTERN, number).slice(1, token, end).slice(2, token, token + 1));
          Tensor moved =
              push.through(
                  attention,
                  path,
                  v -> attention.valuesAlong(Variable.constant(along), v).times(pattern));
          yield List.of(NodeArray.of(this, moved, 0, token, token));
        }
        case GATE, UP, ALL -> throw new AssertionError(path);
      };
    }

    /** Along what the values of a token are read by the queries from it on, [head, query, e]. */
    private Tensor along(EdgeAttribution edges, int token) {
      int end = edges.nodes().run().length();
      if (edges.measure() == EdgeMeasure.ATTRIBUTION) {
        return edges.nodes().gradient(Site.HEAD_OUTPUT, number).slice(1, token, end);
      }
      Tensor directions = writtenDirections(edges.nodes().run(), number, token);
      return directions.broadcastTo(directions.shape().with(1, end - token));
    }

    @Override
    public SearchTargets lists(EdgeAttribution edges, NodeFilter wanted) {
      return HeadDirections.of(path, edges, number, wanted);
    }
  }

  /**
   * For each head, the direction of what it writes of the value of a token, [head, 1, dHead]; 0 for
   * a head that writes nothing.
   */
  static Tensor writtenDirections(Run run, int layer, int key) {
    Attention attention = run.model().attention(layer);
    Tensor weight = attention.outputWeight();
    Tensor value = attention.perHead(run.value(Site.VALUE, layer).slice(1, key, key + 1));
    Tensor written = attention.outlet().fixed(value.matmul(weight));
    Tensor lengths = written.norm(-1);
    Tensor divisors = lengths.plus(lengths.positive().negate().plus(1)); // 1 where it is 0
    return attention.outlet().directions(written).matmulTransposed(weight).over(divisors);
  }

  @Override
  public Coordinates coordinates() {
    return pair.coordinates().path(path);
  }

  @Override
  public Family family() {
    return new HeadInputs(path, pair.layer());
  }

  @Override
  public int[] index() {
    return pair.index();
  }

  @Override
  public void requireIn(Run run) {
    pair.requireIn(run);
  }

  @Override
  public Reading reading(EdgeAttribution edges) {
    Run run = edges.nodes().run();
    if (path == InputPath.VALUE) {
      return pair.value(run, along(edges));
    }
    double held = edges.held(Site.PATTERN, pair.layer(), pair.head(), pair.query(), pair.key());
    return pair.pattern(run, Set.of(path), Stage.ACTIVATION).times(held);
  }

  /** A value is, with the pattern held. */
  @Override
  public Optional<Certificate.Affine> affine(EdgeAttribution edges) {
    Run run = edges.nodes().run();
    Attention attention = run.model().attention(pair.layer());
    if (path != InputPath.VALUE || !edges.isAffine(attention.entry())) {
      return Optional.empty();
    }
    try (Scope scope = Scope.open()) {
      int keyHead = attention.keyHead(pair.head());
      Tensor along = along(edges).times(pair.activation(run).orElseThrow());
      Tensor recorded =
          run.value(Site.VALUE, pair.layer())
              .slice(0, keyHead, keyHead + 1)
              .slice(1, pair.key(), pair.key() + 1);
      Tensor origin = Certificate.Affine.origin(run, attention.entry());
      Tensor constant = attention.value(Variable.constant(origin), pair.head()).value();
      return Optional.of(
          new Certificate.Affine(
              recorded.matmulTransposed(along).item(), constant.matmulTransposed(along).item()));
    }
  }

  /** Along what its value is read: the metric's gradient, or what the head writes of it. */
  private Tensor along(EdgeAttribution edges) {
    int head = pair.head();
    if (edges.measure() == EdgeMeasure.ATTRIBUTION) {
      Tensor gradient = edges.nodes().gradient(Site.HEAD_OUTPUT, pair.layer());
      return gradient.slice(0, head, head + 1).slice(1, pair.query(), pair.query() + 1);
    }
    return writtenDirections(edges.nodes().run(), pair.layer(), pair.key())
        .slice(0, head, head + 1);
  }

  @Override
  public Optional<Change> without(Run run, int token, Tensor write) {
    if (path == InputPath.VALUE) {
      return Optional.of(withoutValue(run, write));
    }
    Reading reading = pair.pattern(run, Set.of(path), Stage.ACTIVATION);
    double lost = reading.lostWithout(run, token, write);
    return Optional.of(pair.withActivation(run, pair.activation(run).orElseThrow() - lost));
  }

  /** The output of the head at its query as if the value of the key had been read without. */
  private Change withoutValue(Run run, Tensor write) {
    Attention attention = run.model().attention(pair.layer());
    Tensor rows = run.residual(attention.reads()).value().slice(0, pair.key(), pair.key() + 1);
    Tensor before = value(attention, rows);
    Tensor after = value(attention, rows.minus(write));
    Tensor moved = after.minus(before).times(pair.activation(run).orElseThrow());
    Place place = Place.of(Site.HEAD_OUTPUT, pair.layer()).at(0, pair.head()).at(1, pair.query());
    return Intervention.add(place, moved);
  }

  private Tensor value(Attention attention, Tensor rows) {
    Variable x = attention.normalised(Variable.constant(rows), ScaleGradient.LIVE);
    return attention.value(x, pair.head()).value();
  }

  @Override
  public Trace traced(Trace.Side side, Metric.OfLogits downstream) {
    if (path != InputPath.VALUE) {
      return new Trace.PatternTrace(pair, Set.of(path), side.stage(), side.scaleGradient());
    }
    requireArgument(
        side.stage() == Stage.ACTIVATION,
        "%s has no nonlinearity, so it has no side before one",
        this);
    return new Trace.ValueTrace(pair, downstream);
  }

  @Override
  public String toString() {
    return coordinates().toString();
  }
}
