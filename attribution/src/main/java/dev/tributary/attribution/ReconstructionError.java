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
 * What the reconstruction of a sparse autoencoder lacks at a token. It writes that.
 *
 * @param site that its autoencoder encodes
 * @param layer from 0
 * @param token from 0
 */
public record ReconstructionError(Site site, int layer, int token) implements Source {
  static final Kind KIND =
      new Kind(ReconstructionError.class, "error") {
        @Override
        Stream<ReconstructionError> candidates(Coordinates.Name name) {
          return Encoded.candidates(name)
              .map(of -> new ReconstructionError(of.site(), of.layer(), name.token().orElse(0)));
        }

        @Override
        List<Errors> sources(Transformer model) {
          return Encoded.of(model).stream().map(Errors::new).toList();
        }
      };

  /** The errors of an autoencoder at all tokens. */
  private record Errors(Encoded of) implements SourceFamily {
    @Override
    public List<String> axes() {
      return List.of("token");
    }

    @Override
    public ReconstructionError node(int... index) {
      return new ReconstructionError(of.site(), of.layer(), index[0]);
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

    private Tensor error(Run run) {
      return of.encoding(run).error();
    }

    /** [token, dModel] */
    private Tensor written(Run run) {
      return of.perToken(run, 0, of.fixed(run.model(), error(run)));
    }

    @Override
    public Tensor activationTimesGradient(NodeAttribution nodes) {
      return error(nodes.run()).times(nodes.gradient(of.place())).sum(-1);
    }

    @Override
    public Tensor writeNorms(Run run) {
      return written(run).norm(-1);
    }

    @Override
    public NodeArray products(GradientReader gradient) {
      Tensor errors = gradient.read(error(gradient.run()), 0);
      return NodeArray.of(this, errors.times(gradient.at(of.place())).sum(-1), gradient.from());
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
    return new Errors(of());
  }

  @Override
  public int[] index() {
    return new int[] {token};
  }

  @Override
  public void requireIn(Run run) {
    of().requireIn(this, token, run);
  }

  @Override
  public boolean isError() {
    return true;
  }

  private Tensor error(Run run) {
    return of().encoding(run).error().slice(0, token, token + 1);
  }

  @Override
  public List<Write> writes(Run run) {
    return of().writes(run, token, error(run));
  }

  @Override
  public Change scaled(Run run, double factor) {
    try (Scope scope = Scope.open()) {
      return of().added(token, error(run).times(factor - 1));
    }
  }

  @Override
  public String toString() {
    return coordinates().toString();
  }
}
