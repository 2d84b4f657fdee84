package dev.tributary.transformer;

import dev.tributary.core.Scope;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.Optional;

/**
 * What a transcoder lets pass its latents by, see {@link Dictionary#passing}, from the residual
 * stream that it reads to that which it writes, with the scales of norms held as a run has them.
 */
public final class HeldSkip implements HeldPath {
  private final Dictionary dictionary;
  private final int decoder;
  private final HeldInput input;
  private final Mlp mlp;
  private final int firstToken;

  /** What the outlet of the MLP multiplies, where there is one in between, [token, 1, 1]. */
  private final Optional<Tensor> outlet;

  private HeldSkip(
      Dictionary dictionary,
      int decoder,
      HeldInput input,
      Mlp mlp,
      int firstToken,
      Optional<Tensor> outlet) {
    this.dictionary = dictionary;
    this.decoder = decoder;
    this.input = input;
    this.mlp = mlp;
    this.firstToken = firstToken;
    this.outlet = outlet;
  }

  /**
   * {@return what passes by on the way to one of the places that a transcoder writes}
   *
   * @param run that recorded the residual stream and scales of outlets
   * @param dictionary of the run's model, no autoencoder
   * @param decoder which of {@link Dictionary#decoders}, from 0
   * @param from the token of the first row
   * @throws IllegalArgumentException if the dictionary does not read what an MLP reads
   */
  public static HeldSkip of(Run run, Dictionary dictionary, int decoder, int from) {
    Place place = dictionary.decoders().get(decoder).place();
    Mlp mlp = run.model().mlp(place.layer());
    HeldInput input = HeldInput.of(run, dictionary);
    boolean direct = place.site() == Site.MLP_OUTPUT || mlp.outlet().isNone();
    int tokens = run.length() - from;
    Tensor ones = Tensor.full(dictionary.dtype(), Shape.of(tokens, 1), 1);
    Optional<Tensor> outlet =
        direct
            ? Optional.empty()
            : Optional.of(mlp.outlet().perToken(run, from, ones).reshape(tokens, 1, 1));
    return new HeldSkip(dictionary, decoder, input, mlp, from, outlet);
  }

  @Override
  public Point reads() {
    return input.point();
  }

  @Override
  public Point writes() {
    return mlp.writes();
  }

  @Override
  public Tensor push(Tensor tangents) {
    try (Scope scope = Scope.open()) {
      Tensor passing = dictionary.passing(input.push(firstToken, tangents), decoder);
      return scope.keep(
          outlet
              .map(own -> mlp.outlet().fixed(passing).times(first(own, tangents)))
              .orElse(passing));
    }
  }

  @Override
  public Tensor pull(Tensor cotangents) {
    try (Scope scope = Scope.open()) {
      Tensor written =
          outlet
              .map(own -> mlp.outlet().directions(cotangents.times(first(own, cotangents))))
              .orElse(cotangents);
      return scope.keep(input.pull(firstToken, dictionary.passingPulled(written, decoder)));
    }
  }

  private static Tensor first(Tensor factors, Tensor rows) {
    return factors.slice(0, 0, rows.shape().size(0));
  }
}
