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
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * An attention head at a pair of tokens. It writes probability · (value of the key · its output
 * weights) at the query.
 *
 * @param layer from 0
 * @param head from 0
 * @param query token that looks
 * @param key token that is looked at, not after the query
 */
public record HeadPair(int layer, int head, int query, int key) implements Source {
  static final Kind KIND =
      new Kind(HeadPair.class, "head") {
        @Override
        Stream<HeadPair> candidates(Coordinates.Name name) {
          return Stream.of(
              new HeadPair(
                  name.layer().orElse(0),
                  name.index().orElse(0),
                  name.token().orElse(0),
                  name.key().orElse(0)));
        }

        @Override
        List<HeadPairs> sources(Transformer model) {
          return IntStream.range(0, model.layers()).mapToObj(HeadPairs::new).toList();
        }
      };

  /** The heads of a layer at all pairs. */
  private record HeadPairs(int number) implements SourceFamily {
    @Override
    public List<String> axes() {
      return List.of("head", "query", "key");
    }

    @Override
    public HeadPair node(int... index) {
      return new HeadPair(number, index[0], index[1], index[2]);
    }

    @Override
    public OptionalInt layer() {
      return OptionalInt.of(number);
    }

    private Attention attention(Run run) {
      return run.model().attention(number);
    }

    private Tensor pattern(Run run) {
      return run.value(Site.PATTERN, number);
    }

    /** Values of each head. */
    private Tensor values(Run run) {
      return attention(run).perHead(run.value(Site.VALUE, number));
    }

    /** Of each head and key what is written at a probability of 1, [head, key, dModel]. */
    private Tensor rowsByHead(Run run) {
      Tensor computed = values(run).matmul(attention(run).outputWeight());
      return attention(run).outlet().fixed(computed);
    }

    @Override
    public Point point(Transformer model) {
      return model.attention(number).writes();
    }

    @Override
    public List<Place> within() {
      return List.of(Place.of(Site.HEAD_OUTPUT, number), Place.of(Site.ATTENTION_OUTPUT, number));
    }

    @Override
    public Optional<Tensor> activations(Run run) {
      return Optional.of(pattern(run));
    }

    @Override
    public Tensor activationTimesGradient(NodeAttribution nodes) {
      return pattern(nodes.run()).times(nodes.pulled(Place.of(Site.PATTERN, number)));
    }

    @Override
    public Tensor writeNorms(Run run) {
      Tensor norms = rowsByHead(run).norm(-1).permute(0, 2, 1);
      return attention(run).outlet().perToken(run, 0, pattern(run)).times(norms);
    }

    @Override
    public NodeArray products(GradientReader gradient) {
      Run run = gradient.run();
      Attention attention = attention(run);
      int heads = attention.heads();
      int dHead = attention.dHead();
      Tensor byHead =
          gradient
              .times(attention.outlet(), attention.outputRows())
              .reshape(gradient.to() - gradient.from(), heads, dHead)
              .permute(1, 0, 2);
      Variable values = Variable.constant(run.value(Site.VALUE, number));
      Tensor read = attention.valuesAlong(Variable.constant(byHead), values).value();
      return NodeArray.of(this, read.times(gradient.read(pattern(run), 1)), 0, gradient.from());
    }

    @Override
    public List<SearchSources> lists(Run run) {
      return List.of(new Writes(this, run));
    }
  }

  /** One list entry for each head and key, head · (token + 1) + key. */
  private static final class Writes implements SearchSources {
    private final HeadPairs family;
    private final Run run;
    private final Attention attention;

    /** Probabilities over the scale of the outlet, [head, query, key]. */
    private final Tensor activations;

    /** Of what is written of each value at a probability of 1, [head, 1, key]. */
    private final Tensor norms;

    Writes(HeadPairs family, Run run) {
      this.family = family;
      this.run = run;
      this.attention = family.attention(run);
      this.activations = attention.outlet().perToken(run, 0, family.pattern(run));
      try (Scope scope = Scope.open()) {
        Norms.OfProducts products =
            new Norms.OfProducts(run, () -> attention.outlet().fixed(attention.outputWeight()));
        this.norms =
            scope.keep(products.of(family.values(run))).reshape(attention.heads(), 1, run.length());
      }
    }

    @Override
    public Point point() {
      return attention.writes();
    }

    @Override
    public long count(int token) {
      return (long) attention.heads() * (token + 1);
    }

    /** [head, 1, key] */
    private Tensor activations(int token) {
      return activations.slice(1, token, token + 1).slice(2, 0, token + 1);
    }

    @Override
    public int length(int token) {
      return attention.heads() * (token + 1);
    }

    @Override
    public Tensor norms(int token) {
      return Norms.magnitudes(activations(token)).times(norms.slice(2, 0, token + 1));
    }

    @Override
    public Tensor writes(int token, int... chosen) {
      Tensor values = family.values(run).slice(1, 0, token + 1);
      int entries = attention.heads() * (token + 1);
      Tensor scalars = activations(token).reshape(entries, 1).gather(0, chosen);
      Tensor rows = values.reshape(entries, attention.dHead()).gather(0, chosen).times(scalars);
      int[] heads = Arrays.stream(chosen).map(entry -> entry / (token + 1)).toArray();
      Tensor written =
          Groups.rows(
              heads, (head, own) -> rows.gather(0, own).matmul(attention.outputWeight(head)));
      return attention.outlet().fixed(written);
    }

    @Override
    public HeadPair node(int token, int place) {
      return family.node(place / (token + 1), token, place % (token + 1));
    }
  }

  /**
   * {@return this node entered through one of its inputs}
   *
   * @param path query, key or value
   */
  public HeadInput through(InputPath path) {
    return new HeadInput(this, path);
  }

  @Override
  public Coordinates coordinates() {
    return Coordinates.outside(KIND.word(), Coordinates.Component.ATTENTION)
        .layer(layer)
        .index(head)
        .at(query)
        .lookingAt(key);
  }

  @Override
  public SourceFamily family() {
    return new HeadPairs(layer);
  }

  @Override
  public int[] index() {
    return new int[] {head, query, key};
  }

  @Override
  public int token() {
    return query;
  }

  @Override
  public List<Target> targets() {
    return HeadInput.PATHS.stream().<Target>map(this::through).toList();
  }

  @Override
  public void requireIn(Run run) {
    Kind.requireIndex(this, "layer", layer, run.model().layers());
    Kind.requireIndex(this, "head", head, run.model().attention(layer).heads());
    Kind.requireIndex(this, "query token", query, run.length());
    requireArgument(
        key >= 0 && key <= query,
        "%s: key token %d is not between 0 and the query token %d",
        this,
        key,
        query);
  }

  @Override
  public OptionalDouble activation(Run run) {
    return OptionalDouble.of(run.value(Site.PATTERN, layer).get(head, query, key));
  }

  private Place place() {
    return Place.of(Site.PATTERN, layer).at(0, head).at(1, query).at(2, key);
  }

  @Override
  public List<Write> writes(Run run) {
    Attention attention = run.model().attention(layer);
    int keyHead = attention.keyHead(head);
    Tensor value =
        run.value(Site.VALUE, layer).slice(0, keyHead, keyHead + 1).slice(1, key, key + 1);
    Tensor computed =
        value.matmul(attention.outputWeight(head)).times(activation(run).orElseThrow());
    int dModel = computed.shape().size(2);
    Tensor written = attention.outlet().push(run, query, computed.reshape(1, dModel));
    return List.of(new Write(attention.writes(), query, written.reshape(dModel)));
  }

  @Override
  public Change scaled(Run run, double factor) {
    return Intervention.scale(place(), factor);
  }

  @Override
  public Change withActivation(Run run, double activation) {
    return Intervention.set(place(), activation);
  }

  /** Its score or probability, entered through its query, its key or both. */
  Reading pattern(Run run, Set<InputPath> paths, Stage stage) {
    requireArgument(
        !paths.isEmpty() && Set.of(InputPath.QUERY, InputPath.KEY).containsAll(paths),
        "%s: a pattern is entered through query or key, not through %s",
        this,
        paths);
    Attention attention = run.model().attention(layer);
    boolean throughKey = paths.contains(InputPath.KEY);
    int first = throughKey ? 0 : query;
    return new Reading(
        attention.reads(),
        first,
        query + 1,
        (r, scaleGradient) -> {
          Variable x = attention.normalised(r, scaleGradient);
          int last = x.shape().size(0) - 1;
          Variable q =
              paths.contains(InputPath.QUERY)
                  ? attention.query(x.slice(0, last, last + 1), query, scaleGradient, head)
                  : recorded(run, Site.QUERY, head, query);
          Variable k =
              throughKey
                  ? attention.key(x, 0, scaleGradient, head)
                  : recorded(run, Site.KEY, attention.keyHead(head), 0);
          Variable scores = attention.scores(q, k, query);
          Variable read = stage == Stage.ACTIVATION ? attention.pattern(scores, query) : scores;
          return read.slice(-1, key, key + 1);
        });
  }

  /** What was recorded of one head from a token to the query, held fixed: [1, token, dHead]. */
  private Variable recorded(Run run, Site site, int of, int from) {
    Tensor byHead = run.value(site, layer).slice(0, of, of + 1);
    return Variable.constant(byHead.slice(1, from, query + 1));
  }

  /**
   * What it takes from its key, weighted by the recorded probability, along a vector.
   *
   * @param along held fixed, dHead elements
   */
  Reading value(Run run, Tensor along) {
    Attention attention = run.model().attention(layer);
    double probability = activation(run).orElseThrow();
    Variable read = Variable.constant(along.reshape(1, 1, along.shape().length()));
    return new Reading(
        attention.reads(),
        key,
        key + 1,
        (r, scaleGradient) ->
            attention
                .value(attention.normalised(r, scaleGradient), head)
                .matmulTransposed(read)
                .times(probability));
  }

  @Override
  public Trace traced(Trace.Side side, Metric.OfLogits downstream) {
    Set<InputPath> both = Set.of(InputPath.QUERY, InputPath.KEY);
    return new Trace.PatternTrace(this, both, side.stage(), side.scaleGradient());
  }

  @Override
  public String toString() {
    return coordinates().toString();
  }
}
