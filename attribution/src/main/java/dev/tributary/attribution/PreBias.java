package dev.tributary.attribution;

import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Transformer;
import java.util.List;
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
  private record PreBiases(Encoded of) implements Encoded.PerToken {
    @Override
    public PreBias node(int... index) {
      return new PreBias(of.site(), of.layer(), index[0]);
    }

    @Override
    public Tensor vectors(Run run) {
      Tensor preBias = of.autoencoder(run).preBias();
      int n = preBias.shape().length();
      return preBias.reshape(1, n).broadcastTo(Shape.of(run.length(), n));
    }
  }

  private PreBiases all() {
    return new PreBiases(new Encoded(site, layer));
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
