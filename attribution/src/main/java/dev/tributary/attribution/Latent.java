package dev.tributary.attribution;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Encoding;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * A latent of a dictionary at a token. It writes its activation · its row of each decoder, through
 * the output weights if it decodes into neurons or outputs of heads.
 *
 * @param dictionary that it is of
 * @param token from 0
 * @param latent from 0
 */
public record Latent(Dictionary.Id dictionary, int token, int latent) implements Source, Target {
  static final Kind KIND =
      new Kind(Latent.class, "latent") {
        @Override
        Stream<Latent> candidates(Coordinates.Name name) {
          int token = name.token().orElse(0);
          return Encoded.candidates(name, word())
              .map(of -> new Latent(of.id(), token, name.index().orElse(0)));
        }

        @Override
        List<Latents> sources(Transformer model) {
          return Encoded.of(model).stream().map(Latents::new).toList();
        }

        @Override
        List<Latents> targets(Transformer model) {
          return sources(model);
        }
      };

  /**
   * {@return the latent at the first token of a name without tokens, if it is that of one}
   *
   * @param name such as {@code L2.transcoder_latent7}
   */
  public static Optional<Latent> named(String name) {
    return Coordinates.Name.of(name).stream()
        .flatMap(KIND::candidates)
        .map(Latent.class::cast)
        .filter(latent -> latent.coordinates().withoutTokens().equals(name))
        .findFirst();
  }

  /** The latents of a dictionary at all tokens. */
  private record Latents(Encoded of) implements SourceFamily, TargetFamily {
    @Override
    public List<String> axes() {
      return List.of("token", "latent");
    }

    @Override
    public Latent node(int... index) {
      return new Latent(of.id(), index[0], index[1]);
    }

    @Override
    public OptionalInt layer() {
      return OptionalInt.of(of.id().layer());
    }

    @Override
    public Point point(Transformer model) {
      return of.written(model).get(0).point(model);
    }

    @Override
    public Optional<Encoded> encoded() {
      return Optional.of(of);
    }

    @Override
    public Optional<Tensor> activations(Run run) {
      return Optional.of(of.encoding(run).latents());
    }

    @Override
    public Tensor activationTimesGradient(NodeAttribution nodes) {
      return products(nodes.run(), 0, nodes.run().length(), place -> place.gradient(nodes));
    }

    @Override
    public Tensor writeNorms(Run run) {
      return perActive(
          run,
          0,
          run.length(),
          active -> {
            Tensor squares =
                of.written(run.model()).stream()
                    .map(place -> rows(run, place, active).square().sum(-1))
                    .reduce(Tensor::plus)
                    .orElseThrow();
            return active.values().times(squares.sqrt());
          });
    }

    /** What vectors of a token are in the residual stream where they are written, [n, dModel]. */
    private Tensor rows(Run run, Written place, Tensor vectors, int token) {
      Tensor fixed = place.fixed(run.model(), vectors);
      return place
          .perToken(run, token, fixed.reshape(fixed.shape().size(0), 1, fixed.shape().size(1)))
          .reshape(fixed.shape());
    }

    /** What active latents, each of size 1, write in a place, [active, dModel]. */
    private Tensor rows(Run run, Written place, Encoding.Active active) {
      int decoder = of.written(run.model()).indexOf(place);
      Tensor fixed = place.fixed(run.model(), active.rows(decoder));
      Tensor ones = Tensor.full(fixed.dtype(), Shape.of(run.length(), 1), 1);
      return fixed.times(active.rowsOf(place.perToken(run, 0, ones), 0));
    }

    /** Numbers of active latents in those of all, [token, latent]. */
    private Tensor perActive(Run run, int from, int to, Function<Encoding.Active, Tensor> numbers) {
      return ofActive(run, from, to, active -> active.among(numbers.apply(active)));
    }

    /** Numbers of active latents, one token after the other. */
    private Tensor ofActive(Run run, int from, int to, Function<Encoding.Active, Tensor> numbers) {
      Encoding encoding = of.encoding(run);
      int most = Scope.tile() / encoding.input().shape().size(-1);
      try (Scope scope = Scope.open()) {
        List<Tensor> rows = new ArrayList<>();
        for (Encoding.Active active : encoding.active(from, to, most)) {
          try (Scope one = Scope.open()) {
            rows.add(one.keep(numbers.apply(active)));
          }
        }
        return scope.keep(rows.size() == 1 ? rows.get(0) : Tensor.concat(0, rows));
      }
    }

    /**
     * Products of rows of latents with vectors where they write, [active, 1].
     *
     * @param from the first token of the vectors
     */
    private Tensor products(
        Run run, Encoding.Active active, int from, Function<Written, Tensor> vectors) {
      List<Written> places = of.written(run.model());
      return IntStream.range(0, places.size())
          .mapToObj(
              decoder ->
                  active
                      .rowsOf(vectors.apply(places.get(decoder)), from)
                      .rowDots(active.rows(decoder)))
          .reduce(Tensor::plus)
          .orElseThrow();
    }

    /** Latents times products of their rows with vectors where they write, of some tokens. */
    private Tensor products(Run run, int from, int to, Function<Written, Tensor> vectors) {
      Map<Written, Tensor> there = new HashMap<>();
      of.written(run.model()).forEach(place -> there.put(place, vectors.apply(place)));
      return perActive(
          run, from, to, active -> active.values().times(products(run, active, from, there::get)));
    }

    /** Only decoder rows of active latents are read. */
    @Override
    public NodeArray products(GradientReader gradient) {
      Run run = gradient.run();
      Tensor nothing = Tensor.zeros(run.model().dtype(), Shape.of());
      return NodeArray.of(
          this,
          products(
              run,
              gradient.from(),
              gradient.to(),
              place ->
                  place.point(run.model()).reaches(gradient.point())
                      ? place.read(gradient)
                      : nothing.broadcastTo(
                          Shape.of(
                              gradient.to() - gradient.from(), run.model().width(place.place())))),
          gradient.from());
    }

    /** What readers see of a latent of several decoders, from one of these to the next. */
    @Override
    public List<SearchSources> lists(Run run) {
      List<Written> places = of.written(run.model());
      List<SearchSources> lists = new ArrayList<>();
      for (int decoder = 0; decoder < places.size(); decoder++) {
        lists.add(new Lists(this, run, places, decoder));
      }
      return lists;
    }

    /** At the tokens where what is encoded moves; only active latents are computed. */
    @Override
    public List<NodeArray> pushed(Push push) {
      Run run = push.run();
      if (!of.isReached(push)) {
        return List.of();
      }
      Tensor encoder = of.dictionary(run).encoder();
      Tensor moved = of.moved(push);
      int from = push.token();
      Tensor edges =
          perActive(
              run,
              from,
              from + moved.shape().size(0),
              active ->
                  active
                      .rowsOf(moved, from)
                      .rowDots(encoder.gather(0, active.latents()))
                      .times(weights(push.edges(), active)));
      return List.of(NodeArray.of(this, edges, from));
    }

    /** Slopes of active latents times what their gradients are held at, [active, 1]. */
    private Tensor weights(EdgeAttribution edges, Encoding.Active active) {
      return edges.measure() == EdgeMeasure.ACTIVATION
          ? active.slopes()
          : active
              .slopes()
              .times(
                  products(edges.nodes().run(), active, 0, place -> place.gradient(edges.nodes())));
    }

    /** The gradient of the metric in one latent, [1, 1]. */
    private Tensor gradient(NodeAttribution nodes, int token, int latent) {
      Encoding encoding = of.encoding(nodes.run());
      List<Written> places = of.written(nodes.run().model());
      return IntStream.range(0, places.size())
          .mapToObj(
              decoder ->
                  places
                      .get(decoder)
                      .gradient(nodes)
                      .slice(0, token, token + 1)
                      .matmulTransposed(encoding.rows(decoder, token, latent)))
          .reduce(Tensor::plus)
          .orElseThrow();
    }

    @Override
    public SearchTargets lists(EdgeAttribution edges, NodeFilter wanted) {
      return new Directions(this, edges, wanted);
    }
  }

  /**
   * One direction for each latent that is active at a token where the row is read, one such token
   * after the other.
   */
  private static final class Directions implements SearchTargets {
    private final Latents family;
    private final EdgeAttribution edges;
    private final Run run;

    /** Active latents by token. */
    private final int[][] active;

    /** What rows of the encoder are multiplied with, of each active latent at each token. */
    private final List<Tensor> weights = new ArrayList<>();

    Directions(Latents family, EdgeAttribution edges, NodeFilter wanted) {
      this.family = family;
      this.edges = edges;
      this.run = edges.nodes().run();
      Encoding encoding = family.of().encoding(run);
      this.active = new int[run.length()][];
      for (int token = 0; token < active.length; token++) {
        active[token] = wanted.wantsToken(token) ? encoding.active(token) : new int[0];
      }
      Tensor all = family.ofActive(run, 0, run.length(), some -> family.weights(edges, some));
      int from = 0;
      for (int token = 0; token < active.length; token++) {
        int to = from + encoding.active(token).length;
        weights.add(all.slice(0, from, to));
        from = to;
      }
    }

    @Override
    public Point point() {
      return family.of().reads(run.model());
    }

    /** The tokens of latents that read a row. */
    private IntStream readers(int row) {
      return IntStream.rangeClosed(row, family.of().lastReading(run, row));
    }

    @Override
    public long count(int token) {
      return readers(token).mapToLong(reader -> active[reader].length).sum();
    }

    @Override
    public Tensor norms(int token) {
      try (Scope scope = Scope.open()) {
        return scope.keep(
            Tensor.concat(
                0,
                readers(token)
                    .filter(reader -> active[reader].length > 0)
                    .mapToObj(reader -> directions(token, reader, active[reader]).norm(-1))
                    .toList()));
      }
    }

    /** How latents at a token read a row, [chosen, dModel]. */
    private Tensor directions(int row, int token, int... chosen) {
      Encoded of = family.of();
      int[] places =
          Arrays.stream(chosen).map(own -> Arrays.binarySearch(active[token], own)).toArray();
      Tensor own = weights.get(token).gather(0, places);
      Tensor cotangents = of.dictionary(run).encoder().gather(0, chosen).times(own);
      return of.pull(run, row, token, cotangents, edges.scaleGradient());
    }

    @Override
    public Tensor directions(int token, int... chosen) {
      List<Latent> latents =
          Arrays.stream(chosen).mapToObj(place -> target(token, place, 0)).toList();
      return Groups.rows(
          latents.stream().mapToInt(Latent::token).toArray(),
          (reader, own) ->
              directions(
                  token, reader, Arrays.stream(own).map(i -> latents.get(i).latent()).toArray()));
    }

    @Override
    public Latent target(int token, int place, int which) {
      int first = 0;
      int reader = token;
      while (place - first >= active[reader].length) {
        first += active[reader++].length;
      }
      return family.node(reader, active[reader][place - first]);
    }
  }

  /** What active latents write from one decoder's place to the next. */
  private static final class Lists implements SearchSources {
    private final Latents family;
    private final Run run;
    private final List<Written> places;
    private final int decoder;

    Lists(Latents family, Run run, List<Written> places, int decoder) {
      this.family = family;
      this.run = run;
      this.places = places;
      this.decoder = decoder;
    }

    private int[] active(int token) {
      return family.of.encoding(run).active(token);
    }

    @Override
    public Point point() {
      return places.get(decoder).point(run.model());
    }

    @Override
    public Optional<Point> end() {
      return decoder + 1 < places.size()
          ? Optional.of(places.get(decoder + 1).point(run.model()))
          : Optional.empty();
    }

    @Override
    public long count(int token) {
      return family.of.dictionary(run).latentCount();
    }

    @Override
    public int length(int token) {
      return active(token).length;
    }

    @Override
    public Tensor norms(int token) {
      return Norms.ofRows(() -> writes(token, IntStream.range(0, length(token)).toArray()));
    }

    @Override
    public Tensor writes(int token, int... chosen) {
      Encoding encoding = family.of.encoding(run);
      int[] active = active(token);
      int[] latents = Arrays.stream(chosen).map(place -> active[place]).toArray();
      Tensor values = encoding.values(token).gather(1, chosen).reshape(chosen.length, 1);
      return IntStream.rangeClosed(0, decoder)
          .mapToObj(i -> family.rows(run, places.get(i), encoding.rows(i, token, latents), token))
          .reduce(Tensor::plus)
          .orElseThrow()
          .times(values);
    }

    @Override
    public Latent node(int token, int place) {
      return family.node(token, active(token)[place]);
    }
  }

  private Encoded of() {
    return new Encoded(dictionary);
  }

  @Override
  public Coordinates coordinates() {
    return of().coordinates(KIND).index(latent).at(token);
  }

  @Override
  public SourceFamily family() {
    return new Latents(of());
  }

  @Override
  public int[] index() {
    return new int[] {token, latent};
  }

  @Override
  public void requireIn(Run run) {
    of().requireIn(this, token, run);
    Kind.requireIndex(this, "latent", latent, of().dictionary(run).latentCount());
  }

  @Override
  public OptionalDouble activation(Run run) {
    return OptionalDouble.of(of().encoding(run).value(token, latent));
  }

  // ---- as a source -------------------------------------------------------------------------

  @Override
  public List<Write> writes(Run run) {
    List<Written> places = of().written(run.model());
    double activation = activation(run).orElseThrow();
    return IntStream.range(0, places.size())
        .mapToObj(
            decoder -> {
              Tensor row = of().encoding(run).rows(decoder, token, latent).times(activation);
              return of().write(run, places.get(decoder), token, row);
            })
        .toList();
  }

  @Override
  public Change scaled(Run run, double factor) {
    return added(run, (factor - 1) * activation(run).orElseThrow());
  }

  @Override
  public Change withActivation(Run run, double activation) {
    return added(run, activation - activation(run).orElseThrow());
  }

  private Change added(Run run, double amount) {
    List<Written> places = of().written(run.model());
    try (Scope scope = Scope.open()) {
      return Change.together(
          IntStream.range(0, places.size())
              .<Change>mapToObj(
                  decoder -> {
                    Tensor row = of().encoding(run).rows(decoder, token, latent).times(amount);
                    return Intervention.add(run.model(), places.get(decoder).place(), token, row);
                  })
              .toList());
    }
  }

  // ---- as a target -------------------------------------------------------------------------

  @Override
  public List<Target> targets() {
    return List.of(this);
  }

  /** What it computes, on one side of its activation function. */
  Reading reading(Run run, Stage stage) {
    Dictionary own = of().dictionary(run);
    return new Reading(
        of().reads(run.model()),
        of().firstRead(run.model(), token),
        token + 1,
        (r, scaleGradient) -> {
          Variable read = of().vector(run, token, r, scaleGradient);
          return stage == Stage.ACTIVATION
              ? own.latents(read, scaleGradient, latent)
              : own.preActivation(read, scaleGradient, latent);
        });
  }

  @Override
  public Reading reading(EdgeAttribution edges) {
    Reading reading = reading(edges.nodes().run(), Stage.ACTIVATION);
    return edges.measure() == EdgeMeasure.ACTIVATION
        ? reading
        : reading.times(new Latents(of()).gradient(edges.nodes(), token, latent).item());
  }

  @Override
  public Optional<Change> without(Run run, int at, Tensor write) {
    return Optional.of(added(run, -reading(run, Stage.ACTIVATION).lostWithout(run, at, write)));
  }

  @Override
  public Trace traced(Trace.Side side, Metric.OfLogits downstream) {
    return new Trace.LatentTrace(this, side.stage(), side.scaleGradient());
  }

  @Override
  public String toString() {
    return coordinates().toString();
  }
}
