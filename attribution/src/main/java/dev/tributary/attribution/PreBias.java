package dev.tributary.attribution;

import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Point;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Stream;

/**
 * What the reconstruction of a sparse autoencoder has whatever the latents are, at a token. It
 * writes that.
 *
 * @param site that its autoencoder encodes
 * @param layer from 0
 * @param token from 0
 */
public record PreBias(Site site, int layer, int token) implements Source {
  static final Kind KIND =
      new Kind(PreBias.class, "pre_bias") {
        @Override
        Stream<PreBias> candidates(Coordinates.Name name) {
          return Encoded.candidates(name)
              .map(of -> new PreBias(of.site(), of.layer(), name.token().orElse(0)));
        }

        @Override
        List<PreBiases> sources(Transformer model) {
          return Encoded.of(model).stream().map(PreBiases::new).toList();
        }
      };

  /** The pre-bias of an autoencoder at all tokens. */
  private record PreBiases(Encoded of) implements SourceFamily {
    @Override
    public List<String> axes() {
      return List.of("token");
    }

    @Override
    public PreBias node(int... index) {
      return new PreBias(of.site(), of.layer(), index[0]);
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

    /** What it is at every token, [1, n]. */
    private Tensor row(Run run) {
      Tensor preBias = of.autoencoder(run).preBias();
      return preBias.reshape(1, preBias.shape().length());
    }

    /** [token, dModel] */
    private Tensor written(Run run) {
      Tensor row = of.fixed(run.model(), row(run));
      return of.perToken(run, 0, row.broadcastTo(row.shape().with(0, run.length())));
    }

    @Override
    public Tensor activationTimesGradient(NodeAttribution nodes) {
      return nodes.gradient(of.place()).times(row(nodes.run())).sum(-1);
    }

    @Override
    public Tensor writeNorms(Run run) {
      return written(run).norm(-1);
    }

    @Override
    public NodeArray products(GradientReader gradient) {
      Tensor products = gradient.at(of.place()).times(row(gradient.run())).sum(-1);
      return NodeArray.of(this, products, gradient.from());
    }

    @Override
    public SearchSources rows(Run run) {
      return SearchSources.atOwnToken(this, run, written(run));
    }
  }

  private Encoded of() {
    return new Encoded(site, layer);
  }

  @Override
  public Coordinates coordinates() {
    return of().coordinates(KIND).at(token);
  }

  @Override
  public SourceFamily family() {
    return new PreBiases(of());
  }

  @Override
  public int[] index() {
    return new int[] {token};
  }

  @Override
  public void requireIn(Run run) {
    of().requireIn(this, token, run);
  }

  private Tensor row(Run run) {
    return new PreBiases(of()).row(run);
  }

  @Override
  public List<Write> writes(Run run) {
    return of().writes(run, token, row(run));
  }

  @Override
  public Change scaled(Run run, double factor) {
    try (Scope scope = Scope.open()) {
      return of().added(token, row(run).times(factor - 1));
    }
  }

  @Override
  public String toString() {
    return coordinates().toString();
  }
}
