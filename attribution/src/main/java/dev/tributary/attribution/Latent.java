package dev.tributary.attribution;

import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Encoding;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.SparseAutoencoder;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * A latent of a sparse autoencoder at a token. It writes its activation · its decoder row, through
 * the output weights if its autoencoder encodes neurons.
 *
 * @param site that its autoencoder encodes
 * @param layer from 0
 * @param token from 0
 * @param latent from 0
 */
public record Latent(Site site, int layer, int token, int latent) implements Source, Target {
  static final Kind KIND =
      new Kind(Latent.class, "latent") {
        @Override
        Stream<Latent> candidates(Coordinates.Name name) {
          int token = name.token().orElse(0);
          return Encoded.candidates(name)
              .map(of -> new Latent(of.site(), of.layer(), token, name.index().orElse(0)));
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

  /** The latents of an autoencoder at all tokens. */
  private record Latents(Encoded of) implements SourceFamily, TargetFamily {
    @Override
    public List<String> axes() {
      return List.of("token", "latent");
    }

    @Override
    public Latent node(int... index) {
      return new Latent(of.site(), of.layer(), index[0], index[1]);
    }

    @Override
    public OptionalInt layer() {
      return OptionalInt.of(of.layer());
    }

    @Override
    public Point point(Transformer model) {
      return of.part(model).writes();
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
      Encoding encoding = of.encoding(nodes.run());
      return encoding.latents().times(nodes.latentGradient(encoding.autoencoder()));
    }

    /** The decoder rows in the residual stream. */
    private Tensor fixed(Run run) {
      return of.fixed(run.model(), of.autoencoder(run).decoder());
    }

    @Override
    public Tensor writeNorms(Run run) {
      Tensor rows = fixed(run);
      Tensor norms = rows.norm(-1).reshape(rows.shape().size(0));
      return of.perToken(run, 0, of.encoding(run).latents()).times(norms);
    }

    /** Only decoder rows of active latents are read. */
    @Override
    public NodeArray products(GradientReader gradient) {
      Encoding encoding = of.encoding(gradient.run());
      Tensor read = gradient.at(of.place());
      List<Tensor> products = new ArrayList<>();
      for (int row = 0; row < read.shape().size(0); row++) {
        int token = gradient.from() + row;
        Tensor latents = encoding.latents().slice(0, token, token + 1);
        int[] active = active(latents);
        Tensor decoder = encoding.autoencoder().decoder().gather(0, active);
        Tensor product =
            read.slice(0, row, row + 1).matmulTransposed(decoder).times(latents.gather(1, active));
        products.add(product.scatterAdd(1, latents.shape().size(1), active));
      }
      return NodeArray.of(this, Tensor.concat(0, products), gradient.from());
    }

    @Override
    public SearchSources lists(Run run) {
      Tensor activations = of.perToken(run, 0, of.encoding(run).latents());
      Tensor decoder = of.autoencoder(run).decoder();
      return SearchSources.ofRows(
          this,
          run,
          activations,
          Norms.ofRows(() -> fixed(run)),
          chosen -> of.fixed(run.model(), decoder.gather(0, chosen)));
    }

    /** At the tokens whose rows of the site move; only active latents are computed. */
    @Override
    public List<NodeArray> pushed(Push push) {
      Run run = push.run();
      if (!push.reaches(of.part(run.model()))) {
        return List.of();
      }
      SparseAutoencoder autoencoder = of.autoencoder(run);
      Tensor moved = of.moved(push);
      List<Tensor> rows = new ArrayList<>();
      for (int i = 0; i < moved.shape().size(0); i++) {
        int token = push.token() + i;
        int[] active = active(of.encoding(run).latents().slice(0, token, token + 1));
        Tensor edges =
            moved
                .slice(0, i, i + 1)
                .matmulTransposed(autoencoder.encoder().gather(0, active))
                .times(weights(push.edges(), token, active));
        rows.add(edges.scatterAdd(1, autoencoder.latentCount(), active));
      }
      return List.of(NodeArray.of(this, Tensor.concat(0, rows), push.token()));
    }

    /** Slopes of active latents times what their gradients are held at, [1, active]. */
    private Tensor weights(EdgeAttribution edges, int token, int... active) {
      Run run = edges.nodes().run();
      SparseAutoencoder autoencoder = of.autoencoder(run);
      Tensor y = run.value(of.place()).slice(0, token, token + 1);
      Tensor slopes = autoencoder.slopes(y).gather(1, active);
      if (edges.measure() == EdgeMeasure.ACTIVATION) {
        return slopes;
      }
      Tensor gradient = edges.nodes().gradient(of.place()).slice(0, token, token + 1);
      return slopes.times(gradient.matmulTransposed(autoencoder.decoder().gather(0, active)));
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

    Directions(Latents family, EdgeAttribution edges, NodeFilter wanted) {
      this.family = family;
      this.edges = edges;
      this.run = edges.nodes().run();
      Tensor latents = family.of().encoding(run).latents();
      this.active = new int[run.length()][];
      for (int token = 0; token < active.length; token++) {
        active[token] =
            wanted.wantsToken(token) ? active(latents.slice(0, token, token + 1)) : new int[0];
      }
    }

    @Override
    public Point point() {
      return family.of().part(run.model()).reads();
    }

    /** The tokens of latents that read a row. */
    private IntStream readers(int row) {
      return IntStream.rangeClosed(row, family.of().lastReading(row, run.length()));
    }

    @Override
    public long count(int token) {
      return readers(token).mapToLong(reader -> active[reader].length).sum();
    }

    @Override
    public double[] norms(int token) {
      try (Scope scope = Scope.open()) {
        return readers(token)
            .filter(reader -> active[reader].length > 0)
            .mapToObj(reader -> directions(token, reader, active[reader]))
            .flatMapToDouble(rows -> Arrays.stream(rows.norm(-1).toDoubles()))
            .toArray();
      }
    }

    /** How latents at a token read a row, [chosen, dModel]. */
    private Tensor directions(int row, int token, int... chosen) {
      Encoded of = family.of();
      Tensor weights = family.weights(edges, token, chosen).reshape(chosen.length, 1);
      Tensor cotangents = of.autoencoder(run).encoder().gather(0, chosen).times(weights);
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

  /** Indices of what is not zero in a row. */
  private static int[] active(Tensor row) {
    double[] values = row.toDoubles();
    return IntStream.range(0, values.length).filter(i -> values[i] != 0).toArray();
  }

  private Encoded of() {
    return new Encoded(site, layer);
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
    Kind.requireIndex(this, "latent", latent, of().autoencoder(run).latentCount());
  }

  @Override
  public OptionalDouble activation(Run run) {
    return OptionalDouble.of(of().encoding(run).latents().get(token, latent));
  }

  // ---- as a source -------------------------------------------------------------------------

  @Override
  public List<Write> writes(Run run) {
    Tensor row = of().autoencoder(run).decoder().slice(0, latent, latent + 1);
    return of().writes(run, token, row.times(activation(run).orElseThrow()));
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
    try (Scope scope = Scope.open()) {
      return of().added(token, of().autoencoder(run).direction(latent).times(amount));
    }
  }

  // ---- as a target -------------------------------------------------------------------------

  @Override
  public List<Target> targets() {
    return List.of(this);
  }

  /** What it computes, on one side of its activation function. */
  Reading reading(Run run, Stage stage) {
    SparseAutoencoder autoencoder = of().autoencoder(run);
    return new Reading(
        of().part(run.model()).reads(),
        of().firstRead(token),
        token + 1,
        (r, scaleGradient) -> {
          var y = of().vector(run, token, r, scaleGradient);
          return stage == Stage.ACTIVATION
              ? autoencoder.latent(y, latent)
              : autoencoder.preActivation(y, latent);
        });
  }

  @Override
  public Reading reading(EdgeAttribution edges) {
    Run run = edges.nodes().run();
    Reading reading = reading(run, Stage.ACTIVATION);
    if (edges.measure() == EdgeMeasure.ACTIVATION) {
      return reading;
    }
    Tensor gradient = edges.nodes().gradient(site, layer).slice(0, token, token + 1);
    Tensor direction = of().autoencoder(run).decoder().slice(0, latent, latent + 1);
    return reading.times(gradient.times(direction).sum(-1).item());
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
