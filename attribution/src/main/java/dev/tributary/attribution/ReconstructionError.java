package dev.tributary.attribution;

import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Transformer;
import java.util.List;
import java.util.stream.Stream;

/**
 * What the reconstruction of a dictionary lacks at a token, that of all layers of a cross-layer
 * transcoder. It writes that.
 *
 * @param dictionary that it is of
 * @param token from 0
 */
public record ReconstructionError(Dictionary.Id dictionary, int token) implements Source {
  static final Kind KIND =
      new Kind(ReconstructionError.class, "error") {
        @Override
        Stream<ReconstructionError> candidates(Coordinates.Name name) {
          return Encoded.candidates(name, word())
              .map(of -> new ReconstructionError(of.id(), name.token().orElse(0)));
        }

        @Override
        List<Errors> sources(Transformer model) {
          return Encoded.of(model).stream().map(Errors::new).toList();
        }
      };

  /** The errors of a dictionary at all tokens. */
  private record Errors(Encoded of) implements Encoded.PerToken {
    @Override
    public ReconstructionError node(int... index) {
      return new ReconstructionError(of.id(), index[0]);
    }

    @Override
    public Tensor vectors(Run run) {
      return of.error(run);
    }
  }

  private Errors all() {
    return new Errors(new Encoded(dictionary));
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
