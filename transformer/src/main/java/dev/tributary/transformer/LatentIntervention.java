package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import dev.tributary.core.Shape;
import dev.tributary.core.Tensor;
import java.util.List;

/**
 * A change of latents of one dictionary, in whatever text. Each is computed from what the changed
 * run has where the dictionary reads; what the dictionary writes moves by the difference times the
 * rows of its decoders, and what it lacks stays. Whether a latent is active afterwards is not
 * asked.
 */
public final class LatentIntervention extends Change {
  private final Dictionary dictionary;
  private final List<Latent> changed;

  /** Each once. */
  private final int[] latents;

  /** What has passed when all is there that the dictionary reads. */
  private final Place read;

  /**
   * What becomes of a latent: factor · latent + addend.
   *
   * @param latent from 0
   * @param tokens where
   * @param factor of what it is
   * @param addend on top
   */
  public record Latent(int latent, Tokens tokens, double factor, double addend) {}

  private LatentIntervention(Dictionary dictionary, List<Latent> changed) {
    this.dictionary = dictionary;
    this.changed = List.copyOf(changed);
    this.latents = changed.stream().mapToInt(Latent::latent).distinct().toArray();
    Place reads = dictionary.reads();
    this.read =
        switch (reads.site()) {
          case MLP_STANDARDISED, MLP_INPUT -> Place.of(Site.MLP_PRE_ACTIVATION, reads.layer());
          default -> reads;
        };
  }

  /**
   * {@return a change of some latents, made together}
   *
   * @param dictionary that encodes and decodes them
   * @param changed several of one latent follow one another
   * @throws IllegalArgumentException if there is no such latent, or a number is not finite
   */
  public static LatentIntervention of(Dictionary dictionary, List<Latent> changed) {
    for (Latent one : changed) {
      dictionary.requireLatent(one.latent);
      requireArgument(
          Double.isFinite(one.factor) && Double.isFinite(one.addend),
          "latent %d of %s: %s times what it is and %s is no number",
          one.latent,
          dictionary.id(),
          one.factor,
          one.addend);
    }
    return new LatentIntervention(dictionary, changed);
  }

  @Override
  int firstLayer(Transformer model) {
    return read.site().region() == Site.Region.LAYER ? read.layer() : 0;
  }

  @Override
  boolean changes(Site site) {
    return site == read.site()
        || dictionary.decoders().stream().anyMatch(decoder -> decoder.place().site() == site);
  }

  @Override
  void requireFits(Run base) {
    dictionary.requireFits(base.model());
  }

  @Override
  void requireFitsAnyText(Transformer model) {
    dictionary.requireFits(model);
  }

  @Override
  Variable at(Site site, int layer, Variable variable, Run.Recorder run) {
    if (site == read.site() && layer == read.layer()) {
      hold(variable, run);
    }
    Variable result = variable;
    for (Dictionary.Decoder decoder : dictionary.decoders()) {
      if (site == decoder.place().site() && layer == decoder.place().layer()) {
        Variable before = result;
        result =
            run.held(this, read.site(), read.layer())
                .map(
                    moved ->
                        before.plus(
                            byHead(
                                moved.matmul(Variable.constant(decoder.rows().of(latents))),
                                before.shape())))
                .orElse(before);
      }
    }
    return result;
  }

  /** How far latents move, [token, chosen], in the units of what is written. */
  private void hold(Variable variable, Run.Recorder run) {
    int rows = variable.shape().size(-2);
    int first = run.firstToken();
    double[] factors = new double[rows * latents.length];
    double[] addends = new double[rows * latents.length];
    boolean any = false;
    for (int i = 0; i < factors.length; i++) {
      int token = first + i / latents.length;
      factors[i] = 1;
      for (Latent one : changed) {
        if (one.latent == latents[i % latents.length]
            && token >= one.tokens.first()
            && token < one.tokens.end()) {
          factors[i] *= one.factor;
          addends[i] = one.factor * addends[i] + one.addend;
          any = true;
        }
      }
      factors[i]--;
    }
    if (!any) {
      return;
    }
    Variable x = vectors(variable, run);
    Variable now = dictionary.latents(x, ScaleGradient.LIVE, latents);
    Shape shape = Shape.of(rows, latents.length);
    Variable moved =
        now.times(Variable.constant(Tensor.of(dictionary.dtype(), shape, factors)))
            .plus(Variable.constant(Tensor.of(dictionary.dtype(), shape, addends)));
    run.hold(this, read.site(), read.layer(), dictionary.inUnits(moved, x));
  }

  /** What the dictionary reads, [token, n], of what passes and what has passed. */
  private Variable vectors(Variable variable, Run.Recorder run) {
    int layer = read.layer();
    Site site = dictionary.reads().site();
    return switch (site) {
      case HEAD_OUTPUT -> run.model().attention(layer).inRows(variable);
      case MLP_INPUT, MLP_STANDARDISED ->
          run.model()
              .mlp(layer)
              .vectors(site, residual(run), scale -> run.recorded(Site.MLP_SCALE, layer));
      default -> variable;
    };
  }

  private Variable residual(Run.Recorder run) {
    Place place = run.model().residualAt(run.model().mlp(read.layer()).reads());
    return run.recorded(place.site(), place.layer());
  }

  /** Outputs of heads, [head, token, dHead], out of rows; all else as it is. */
  private static Variable byHead(Variable rows, Shape shape) {
    return shape.rank() == 2
        ? rows
        : rows.reshape(shape.size(1), shape.size(0), shape.size(2)).permute(1, 0, 2);
  }

  @Override
  public String toString() {
    return "latents of " + dictionary.id();
  }
}
