package dev.tributary.transformer;

import static dev.tributary.core.Checks.requireArgument;

import dev.tributary.autodiff.Variable;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.Map;
import java.util.Set;

/**
 * Holds what makes a transformer curved as it was in a base run of the same model and tokens: the
 * scales of layer norms, the attention patterns, and the slopes of neurons (each moves along its
 * tangent). What remains is linear in the embeddings and goes through the values of the base run.
 */
public final class Frozen extends Change {
  private final Run base;
  private final Set<Site.Curvature> held;

  private Frozen(Run base, Set<Site.Curvature> held) {
    this.base = base;
    this.held = held;
  }

  /**
   * Frozen as in this run.
   *
   * @param base of the same model and as many tokens
   * @return the change
   */
  public static Frozen as(Run base) {
    return new Frozen(base, EnumSet.complementOf(EnumSet.of(Site.Curvature.NONE)));
  }

  /**
   * Attention patterns alone held as in this run.
   *
   * @param base of the same model and as many tokens
   * @return the change
   */
  public static Frozen patternsAs(Run base) {
    return new Frozen(base, EnumSet.of(Site.Curvature.PATTERN));
  }

  @Override
  int firstLayer(Transformer model) {
    return 0;
  }

  @Override
  boolean changes(Site site) {
    return held.contains(site.curvature());
  }

  @Override
  void requireFits(Run other) {
    requireArgument(
        base.model().hasWeightsOf(other.model()),
        "frozen: the run that is held is of another model, %s, than the one that is changed, %s",
        base.model().description(),
        other.model().description());
    requireArgument(
        Arrays.equals(base.tokens(), other.tokens()),
        "frozen: the run that is held has tokens %s and the one that is changed %s",
        Arrays.toString(base.tokens()),
        Arrays.toString(other.tokens()));
  }

  @Override
  void requireFitsAnyText(Transformer model) {
    throw new IllegalArgumentException(
        "frozen: the run that is held has %d tokens, and a text that grows has more"
            .formatted(base.length()));
  }

  @Override
  Variable at(Site site, int layer, Variable variable, Run.Recorder run) {
    if (!changes(site)) {
      return variable;
    }
    return switch (site.curvature()) {
      case NONE -> variable;
      case SCALE, PATTERN -> Variable.constant(base.value(new Place(site, layer, Map.of())));
      case ACTIVATION -> base.model().mlp(layer).linearised(base, run);
      case LOGITS -> base.model().unembedding().linearised(base, run, variable);
    };
  }

  @Override
  public String toString() {
    return "frozen";
  }
}
