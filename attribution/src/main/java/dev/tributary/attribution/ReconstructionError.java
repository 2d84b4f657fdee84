package dev.tributary.attribution;

import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.List;
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
  private record Errors(Encoded of) implements Encoded.PerToken {
    @Override
    public ReconstructionError node(int... index) {
      return new ReconstructionError(of.site(), of.layer(), index[0]);
    }

    @Override
    public Tensor vectors(Run run) {
      return of.encoding(run).error();
    }
  }

  private Errors all() {
    return new Errors(new Encoded(site, layer));
  }

  @Override
  public Coordinates coordinates() {
    return all().of().coordinates(KIND).at(token);
  }

  @Override
  public SourceFamily family() {
    return all();
  }

  @Override
  public int[] index() {
    return new int[] {token};
  }

  @Override
  public void requireIn(Run run) {
    all().of().requireIn(this, token, run);
  }

  @Override
  public boolean isError() {
    return true;
  }

  @Override
  public List<Write> writes(Run run) {
    return all().writes(run, token);
  }

  @Override
  public Change scaled(Run run, double factor) {
    return all().scaled(run, token, factor);
  }

  @Override
  public String toString() {
    return coordinates().toString();
  }
}
