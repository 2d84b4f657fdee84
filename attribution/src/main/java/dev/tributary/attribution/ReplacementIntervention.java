package dev.tributary.attribution;

import dev.tributary.attribution.ReplacementGraph.FirstToken;
import dev.tributary.autodiff.Variable;
import dev.tributary.core.Scope;
import dev.tributary.core.Tensor;
import dev.tributary.transformer.Change;
import dev.tributary.transformer.Dictionary;
import dev.tributary.transformer.Frozen;
import dev.tributary.transformer.LatentIntervention;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.ScaleGradient;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.Tokens;
import dev.tributary.transformer.Transformer;
import java.util.ArrayList;
import java.util.List;

/**
 * What becomes of a run when latents of its transcoders are set. With all held that the {@link
 * ReplacementGraph} holds, latents change by exactly its edges; how far the model does otherwise
 * when less is held is what the graph does not see. All live in the scope in which they were made.
 *
 * @param logits of the changed run, after any cap, [token, vocabulary]
 * @param uncapped the same before any cap
 * @param preActivations what the activation of every latent takes, of each dictionary of the model,
 *     [token, latent]
 * @param latents what it gives, also where a latent was set: what the dictionary reads says so
 */
public record ReplacementIntervention(
    Tensor logits, Tensor uncapped, List<Tensor> preActivations, List<Tensor> latents) {
  /** What is held as it was in the run. */
  public enum Held {
    /**
     * Attention patterns, scales of norms, and what MLPs write but for the latents: a linear map.
     */
    ALL,
    /**
     * Attention patterns. Latents are set to a value against what the changed run makes of them.
     */
    PATTERNS,
    /** Nothing: as {@link #PATTERNS} with attention that looks where it will. */
    NOTHING
  }

  /**
   * A latent that is set.
   *
   * @param latent of a transcoder of the model
   * @param value what to
   */
  public record Edit(Latent latent, double value) {}

  /**
   * {@return what becomes of a run}
   *
   * @param run of a model with transcoders that recorded every site
   * @param edits made together
   * @param held {@link Held}
   * @throws IllegalArgumentException if a latent is not of a transcoder of the run's model
   */
  public static ReplacementIntervention of(Run run, List<Edit> edits, Held held) {
    edits.forEach(edit -> edit.latent.requireIn(run));
    return switch (held) {
      case ALL -> direct(run, edits);
      case PATTERNS -> rerun(run, edits, List.of(Frozen.patternsAs(run)));
      case NOTHING -> rerun(run, edits, List.of());
    };
  }

  private static ReplacementIntervention rerun(
      Run run, List<Edit> edits, List<? extends Change> held) {
    Transformer model = run.model();
    List<Change> changes = new ArrayList<>(held);
    for (Edit edit : edits) {
      changes.add(
          LatentIntervention.of(
              model.dictionary(edit.latent.dictionary()),
              List.of(
                  new LatentIntervention.Latent(
                      edit.latent.latent(), Tokens.at(edit.latent.token()), 0, edit.value))));
    }
    try (Scope scope = Scope.open()) {
      Run changed = run.valuesWith(run.sites(), changes.toArray(Change[]::new));
      return kept(
          scope,
          model,
          changed.value(Site.FINAL_NORMALISED),
          model.dictionaries().stream()
              .map(one -> one.encoded(changed.vectors(one.reads())))
              .toList());
    }
  }

  private static ReplacementIntervention direct(Run run, List<Edit> edits) {
    try (Scope scope = Scope.open()) {
      Transformer model = run.model();
      ReplacementModel replaced = new ReplacementModel(run, FirstToken.REPLACED);
      List<Tensor> changes =
          replaced.push(
              edits.stream()
                  .map(
                      edit ->
                          new ReplacementModel.Added(
                              edit.latent.dictionary(),
                              edit.latent.token(),
                              edit.latent.latent(),
                              edit.value))
                  .toList());
      Tensor residual = run.residual(model.end()).value();
      Tensor change = changes.get(model.end().index());
      Tensor moved =
          model
              .finalNorm()
              .map(norm -> norm.moved(change).over(norm.scale(residual)))
              .orElse(change);
      return kept(
          scope,
          model,
          run.value(Site.FINAL_NORMALISED).plus(moved),
          model.dictionaries().stream().map(one -> replaced.encoded(one, changes)).toList());
    }
  }

  private static ReplacementIntervention kept(
      Scope scope, Transformer model, Tensor normalised, List<Tensor> encoded) {
    Variable end = Variable.constant(normalised);
    List<Tensor> preActivations = new ArrayList<>();
    List<Tensor> latents = new ArrayList<>();
    for (int i = 0; i < encoded.size(); i++) {
      Dictionary dictionary =
          model.dictionaries().get(i).withNormalisation(Dictionary.Normalisation.NONE);
      Variable x = Variable.constant(encoded.get(i));
      preActivations.add(scope.keep(dictionary.preActivations(x, ScaleGradient.DETACHED).value()));
      latents.add(scope.keep(dictionary.latents(x, ScaleGradient.DETACHED).value()));
    }
    return new ReplacementIntervention(
        scope.keep(model.unembed(end).value()),
        scope.keep(model.unembedUncapped(end).value()),
        preActivations,
        latents);
  }
}
