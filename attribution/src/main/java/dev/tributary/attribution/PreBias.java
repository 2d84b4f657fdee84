package dev.tributary.attribution;

import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Encoding;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Transformer;
import java.util.List;
import java.util.stream.Stream;

/**
 * What the reconstruction of a dictionary has whatever the latents are, at a token: its bias, a
 * mean that it took out, and what it lets pass. It writes that.
 *
 * @param dictionary that it is of
 * @param token from 0
 */
public record PreBias(Dictionary.Id dictionary, int token) implements Source {
  static final Kind KIND =
      new Kind(PreBias.class, "pre_bias") {
        @Override
        Stream<PreBias> candidates(Coordinates.Name name) {
          return Encoded.candidates(name, word())
              .map(of -> new PreBias(of.id(), name.token().orElse(0)));
        }

        @Override
        List<PreBiases> sources(Transformer model) {
          return Encoded.of(model).stream().map(PreBiases::new).toList();
        }
      };

  /** The pre-bias of a dictionary at all tokens. */
  private record PreBiases(Encoded of) implements Encoded.PerToken {
    @Override
    public PreBias node(int... index) {
      return new PreBias(of.id(), index[0]);
    }

    @Override
    public Tensor vectors(Run run) {
      return of.sum(run, Encoding::withoutLatents);
    }
  }

  private PreBiases all() {
    return new PreBiases(new Encoded(dictionary));
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
